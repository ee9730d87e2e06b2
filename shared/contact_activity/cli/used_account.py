"""The account that a command reads: of the credentials, else the simulated one, which it serves meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from contact_activity.run.given_account import given_account
from contact_activity.run.options import Account
from contact_activity.run.state_folder import SIMULATED_ACCOUNT
from contact_activity.settings import Environment, read_settings

SIMULATED_CALLS_PER_SECOND = "60"


@contextmanager
def used_account(environment: Environment, state_dir: Path, *, is_kept: bool = False) -> Iterator[Account]:
    """Give the account. `is_kept`: leave the file of the simulated one as it is, with nothing new.

    Raises `SettingsError` if the credentials cannot be used.
    """
    account = given_account(environment, state_dir)
    if account:
        yield account
        return
    # Imported only here, since those who have an account need no server.
    from contact_activity.simulated.account_for_run import served_account

    settings = read_settings({"CALLS_PER_SECOND": SIMULATED_CALLS_PER_SECOND} | _not_blank(environment))
    with served_account(state_dir / SIMULATED_ACCOUNT, settings, is_kept=is_kept) as (base_url, credentials):
        yield Account(replace(settings, base_url=base_url), credentials, is_simulated=True)


def _not_blank(environment: Environment) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value.strip()}
