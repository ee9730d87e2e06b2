"""Where a login is stored: a state folder, or a deployed stack."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from contact_activity.constant_contact.client import ApiVersion, Call
from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.constant_contact.one_account import OTHER_ACCOUNT, identified_by
from contact_activity.errors import RetryError, WaitError
from contact_activity.operations.login import Login
from contact_activity.ports import AccountRecord, Clock, Limiter, TokenStore
from contact_activity.run.account_file import AccountFile
from contact_activity.run.errors import RunError
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.run.tokens import IN_USE, MAX_WAIT_S
from contact_activity.settings import Settings, SettingsError, V3Credentials, Version
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from contact_activity.state.credentials_file import CredentialsFile

MAX_ASKING_MS = 60_000
REFRESH_UNGIVEN = "Constant Contact gave no refresh token"
# What a token is worth that may not read the account.
_NEUTRAL = ApiVersion(Call("/contacts", {"limit": "1"}, lambda body: body), lambda _: {})


class LoginPlace(Protocol):
    """Where tokens are stored. Every method raises `RunError` or `SettingsError` if it cannot be used."""

    @property
    def name(self) -> str:
        """What it is called in a sentence."""

    def client_id(self) -> str | None:
        """The application of the login that is stored; None if there is none."""

    def check(self) -> None:
        """Raise what would keep a login from being stored, or from being used."""

    def is_of_known_account(self, login: Login, settings: Settings) -> bool:
        """Whether a login is of the account whose state is there; True if there is none.

        False if the API does not say. Raises `SettingsError` if it is of another account. The call is
        counted as every call for that state.
        """

    def save(self, login: Login, client: V3Credentials) -> None: ...

    def remove(self) -> bool:
        """Remove the tokens. False if there are none."""


class LoginFolder:
    """A state folder as the place of a login."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self.name = f"--state {state_dir}"
        self._state_dir, self._clock = state_dir, clock
        self._store = CredentialsFile(state_dir)

    def client_id(self) -> str | None:
        return self._store.read().client_id

    def check(self) -> None:
        with exclusive(self._store):
            self._store.read()
        path = self._state_dir / ACCOUNT_DATABASE
        if not path.is_file():
            return
        with closing(Database(path, is_read_only=True)) as database:
            is_of_v2 = database.get("api_version") in (None, Version.V2.value)
            if is_of_v2 and database.rows("SELECT count(*) FROM contact")[0][0]:
                raise SettingsError("--state holds what was read from API v2: give another --state for v3")

    def is_of_known_account(self, login: Login, settings: Settings) -> bool:
        path = self._state_dir / ACCOUNT_DATABASE
        with closing(Database(path if path.is_file() else ":memory:")) as database:
            limiter = sqlite_limiter(database, settings.limits, self._clock)
            token = login.granted.access_token
            return is_of(AccountFile(self._state_dir), token, settings, limiter, self._clock)

    def save(self, login: Login, client: V3Credentials) -> None:
        with exclusive(self._store):
            stored = self._store.read()
            self._store.save(stored.logged_in(client.client_id or "", login.granted, asked_ms=login.asked_ms))

    def remove(self) -> bool:
        if not self._state_dir.is_dir() or self._store.read().is_empty:
            return False
        with exclusive(self._store):
            self._store.remove()
        return True


def exclusive(store: TokenStore, within_s: float = MAX_WAIT_S) -> ExitStack:
    """Have the right to change the tokens, until it is closed. Raises `RunError` if that takes too long."""
    with ExitStack() as stack:
        if not stack.enter_context(store.exclusive(within_s=within_s)):
            raise RunError(IN_USE)
        return stack.pop_all()


def is_of(
    record: AccountRecord,
    token: str,
    settings: Settings,
    limiter: Limiter,
    clock: Clock,
    refusal: str = OTHER_ACCOUNT,
) -> bool:
    """See `LoginPlace.is_of_known_account`. `refusal`: what is said of another account."""
    stored = record.read()
    if stored is None:
        return True
    with closing(transport_to(settings.base_url, settings, connections=1)) as transport:
        identify = identified_by(settings.base_url, limiter, clock, transport, _NEUTRAL)
        try:
            account_id = identify(token, clock.monotonic_ms() + MAX_ASKING_MS)
        except (RetryError, WaitError):
            return False
    if account_id is not None and account_id != stored.account_id:
        raise SettingsError(refusal)
    return account_id is not None
