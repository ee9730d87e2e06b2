"""The account that a run reads: of the environment, else of a login, else none but the simulated one."""

from pathlib import Path
from shlex import quote

from contact_activity.run.account_file import AccountFile
from contact_activity.run.options import Account
from contact_activity.run.program import program
from contact_activity.settings import (
    Environment,
    SettingsError,
    Version,
    read_credentials,
    read_settings,
    read_version,
)
from contact_activity.state.credentials_file import holds_login


def given_account(environment: Environment, state_dir: Path) -> Account | None:
    """Return the account of the credentials; None if there are none, so that it is the simulated one.

    Raises `SettingsError` if they cannot be used, or if there are none for a folder that needs them.
    """
    # Whether there was a login does not matter if the environment decides for v2.
    is_logged_in = read_version(environment, is_logged_in=True) is Version.V3 and holds_login(state_dir)
    login = f"{program()} login --state {quote(str(state_dir))}"
    credentials = read_credentials(environment, is_logged_in=is_logged_in, login=login)
    if credentials:
        settings = read_settings(environment, is_logged_in=is_logged_in)
        return Account(settings, credentials, is_simulated=False)
    if AccountFile(state_dir).read() is not None:
        if read_version(environment, is_logged_in=True) is Version.V2:
            # The record of the account is one of v3: a login would change nothing.
            raise SettingsError(
                f"CONSTANT_CONTACT_API_VERSION is v2, but --state {state_dir} is of v3: leave it out, or "
                "give another --state"
            )
        raise SettingsError(
            f"no credentials are set, but --state {state_dir} is of a real account: run "
            f"`{login}`, or give another --state for the "
            "simulated one"
        )
    if environment.get("CONSTANT_CONTACT_BASE_URL", "").strip():
        if read_version(environment) is Version.V3:
            raise SettingsError(
                "CONSTANT_CONTACT_BASE_URL is set, but there are no credentials of v3: run "
                f"`{login}`, or leave it "
                "out for the simulated account"
            )
        raise SettingsError(
            "CONSTANT_CONTACT_API_KEY is not set, but CONSTANT_CONTACT_BASE_URL is: "
            "set both credentials too, or none of the three for the simulated account"
        )
    return None
