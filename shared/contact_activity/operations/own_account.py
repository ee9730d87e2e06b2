"""Check whose a new credential is, before it is stored beside the state of an account."""

from contextlib import ExitStack, closing
from pathlib import Path

from contact_activity.constant_contact.certificates import checked_ca_bundle
from contact_activity.constant_contact.client import ApiVersion, Call
from contact_activity.constant_contact.http_transport import HttpTransport
from contact_activity.constant_contact.one_account import OTHER_ACCOUNT, identified_by
from contact_activity.errors import RetryError, WaitError
from contact_activity.ports import Clock
from contact_activity.run.account_file import AccountFile
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.settings import Settings, SettingsError, Version
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter

MAX_ASKING_MS = 60_000
# What a token is worth that may not read the account.
_NEUTRAL = ApiVersion(Call("/contacts", {"limit": "1"}, lambda body: body), lambda _: {})


def is_of_known_account(state_dir: Path, settings: Settings, token: str, clock: Clock) -> bool:
    """Whether a token is of the account whose state the folder holds; True if it holds none.

    False if the API does not say. Raises `SettingsError` if the token is of another account. The call is
    counted as every call of this folder.
    """
    stored = AccountFile(state_dir).read()
    if stored is None:
        return True
    database = state_dir / ACCOUNT_DATABASE
    with ExitStack() as stack:
        opened = stack.enter_context(closing(Database(database if database.is_file() else ":memory:")))
        transport = stack.enter_context(
            closing(
                HttpTransport(
                    settings.base_url,
                    connections=1,
                    proxy=settings.proxy,
                    ca_bundle=checked_ca_bundle(settings.ca_bundle),
                )
            )
        )
        limiter = sqlite_limiter(opened, settings.limits, clock)
        identify = identified_by(settings.base_url, limiter, clock, transport, _NEUTRAL)
        try:
            account_id = identify(token, clock.monotonic_ms() + MAX_ASKING_MS)
        except (RetryError, WaitError):
            return False
    if account_id is not None and account_id != stored.account_id:
        raise SettingsError(OTHER_ACCOUNT)
    return account_id is not None


def keep_to_v3(state_dir: Path) -> None:
    """Raise `SettingsError` if the folder holds what was read from v2: in v3 all of it has other ids."""
    path = state_dir / ACCOUNT_DATABASE
    if not path.is_file():
        return
    with closing(Database(path, is_read_only=True)) as database:
        is_of_v2 = database.get("api_version") in (None, Version.V2.value)
        if is_of_v2 and database.rows("SELECT count(*) FROM contact")[0][0]:
            raise SettingsError("--state holds what was read from API v2: give another --state for v3")
