"""Opens a state folder, and the way from here to the API, for a check."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote

from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.domain.pace import Limits, calls_left
from contact_activity.operations.check import Checked, Held, pause_findings
from contact_activity.operations.findings import Fault, Finding
from contact_activity.operations.remedies import login, renewal
from contact_activity.ports import BearerTokens, Clock
from contact_activity.run.account_file import AccountFile
from contact_activity.run.errors import RunError
from contact_activity.run.options import Account
from contact_activity.run.state_folder import database_name
from contact_activity.run.tokens import bearer_tokens
from contact_activity.settings import Credentials, V3Credentials, Version
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store
from contact_activity.state.credentials_file import CredentialsFile

_KEY, _ACCESS, _REFRESH = (
    "CONSTANT_CONTACT_API_KEY",
    "CONSTANT_CONTACT_ACCESS_TOKEN",
    "CONSTANT_CONTACT_REFRESH_TOKEN",
)


@contextmanager
def checked_folder(account: Account, state_dir: Path, clock: Clock) -> Iterator[Checked]:
    """Give what is to be checked of an account, in a folder that a run may use meanwhile.

    The folder and its database are created if they are missing, since the calls of a check count as a
    run's. Raises `SettingsError` if the CA bundle cannot be used, and `RunError` or `StandstillError` if
    the folder cannot.
    """
    settings, credentials = account.settings, account.credentials
    denied: list[str] = []
    where = f"--state {quote(str(state_dir))}"
    with ExitStack() as stack:
        name = database_name(is_simulated=account.is_simulated, version=settings.api_version)
        database = stack.enter_context(closing(_database(state_dir, name)))
        store = sqlite_store(database, settings.limits, clock)
        transport = stack.enter_context(closing(transport_to(settings.base_url, settings, connections=1)))
        used: Credentials | BearerTokens
        is_refreshed = False
        if isinstance(credentials, Credentials):
            used = credentials
        else:
            used = bearer_tokens(state_dir, settings, credentials, clock, on_denied=denied.append)
            is_refreshed = credentials.access_token is None
        tokens = CredentialsFile(state_dir)
        token_transport = transport_to(settings.token_url, settings, connections=0) if is_refreshed else None
        yield Checked(
            settings=settings,
            credentials=used,
            origin=_origin(credentials, tokens),
            renewal=renewal(credentials, where),
            login=login(credentials, where),
            where=where,
            limiter=store.limiter,
            pauses=store.pauses.get(),
            held=_held(database, store, state_dir),
            transport=transport,
            stored_tokens=tokens.read if is_refreshed else None,
            token_transport=token_transport,
            denied=denied,
        )


def simulated_pauses(state_dir: Path, version: Version, limits: Limits, clock: Clock) -> Iterator[Finding]:
    """Yield the pauses of the simulated account as a folder has it; nothing if no run read it yet.

    A day that is used up is a fault, as it is of another account.

    Raises `StandstillError` if the folder cannot be used.
    """
    path = state_dir / database_name(is_simulated=True, version=version)
    if path.is_file():
        with closing(Database(path, is_read_only=True)) as database:
            store, now_ms = sqlite_store(database, limits, clock), clock.now_ms()
            pauses, left = store.pauses.get(), calls_left(store.limiter.pace(), limits, now_ms)
        where = f"--state {quote(str(state_dir))}"
        for finding in pause_findings(pauses, where, now_ms, has_calls_left=left > 0):
            is_used_up = not (left or finding.fault) and pauses.active(now_ms)
            yield replace(finding, fault=Fault.QUOTA) if is_used_up else finding


def _database(state_dir: Path, name: str) -> Database:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"--state {state_dir} cannot be used ({error.strerror}): give a folder that you can write to"
        ) from None
    return Database(state_dir / name)


def _origin(credentials: Credentials | V3Credentials, tokens: CredentialsFile) -> str:
    if isinstance(credentials, Credentials):
        return f"{_KEY} and {_ACCESS} of the environment"
    stored = tokens.read()
    before = "" if stored.is_empty else ", which comes before the stored tokens"
    if credentials.access_token:
        return f"{_ACCESS} of the environment{before}: it lives for a day at most, and nobody can renew it"
    if not credentials.refresh_token:
        return "the stored login"
    if stored.has_taken(credentials.refresh_token, credentials.client_id):
        return f"the stored tokens ({_REFRESH} was taken before)"
    return f"a new {_REFRESH} of the environment{before}"


def _held(database: Database, store: SqliteStore, state_dir: Path) -> Held:
    # An earlier version of this program knew v2 only.
    version = Version(database.get("api_version") or Version.V2)
    return Held(store.contacts.count(), version, AccountFile(state_dir).read())
