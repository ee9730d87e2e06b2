"""Put together the API that the functions read, in the version that is set."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.secret_tokens import Secrets, SecretTokens
from contact_activity.aws.table import Table
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.constant_contact.oauth import StoredRefresher
from contact_activity.constant_contact.one_account import OneAccount, identified_by
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.constant_contact.transport import Transport
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.v3 import V3, ConstantContactV3
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.invocation import CLOCK
from contact_activity.entrypoints.waits import TokensAsWaits, errors_as_waits
from contact_activity.errors import Cause, Throttle
from contact_activity.ports import BearerTokens, Limiter, Source, TokenStore
from contact_activity.settings import Credentials, Settings, V3Credentials, Version
from contact_activity.state.credentials_file import CredentialsFile

T = TypeVar("T")
CONNECTIONS = 8
OTHER_ACCOUNT = (
    "the table holds what was read of another Constant Contact account than this credential's: "
    "log in to that account, or deploy another stack"
)
_THROTTLE = Throttle(every_ms=10_000)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the credential is. `client_id`: the application of v3, where the secret names none.

    `local_folder`: on the local cloud, the folder whose file of tokens outlives it.
    """

    secrets: Secrets
    table: Table
    client_id: str | None = None
    local_folder: str | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """`source`: the port. `read_credentials` raises `SettingsError` for unusable ones, and `RetryError`."""

    source: Source
    read_credentials: Callable[[], object]


def api(settings: Settings, place: Place, limiter: Limiter) -> Api:
    """Return the API. Raises `SettingsError` if the CA bundle cannot be used."""
    version = settings.api_version
    account = DynamoAccount(place.table)
    if version is Version.V3:
        return _v3(settings, place, limiter, account)
    return _v2(settings, place, limiter, account)


def _v2(settings: Settings, place: Place, limiter: Limiter, account: DynamoAccount) -> Api:
    secret = secret_credentials(place.secrets.client, place.secrets.given, CLOCK)
    read = _of_one_version(account, Version.V2, secret)

    def read_or_wait() -> Credentials:
        with errors_as_waits(telemetry.log_unreadable_secret):
            return read()

    transport = transport_to(settings.base_url, settings, connections=CONNECTIONS)
    return Api(ConstantContactV2(_client(settings, read_or_wait, limiter, transport)), read)


def _v3(settings: Settings, place: Place, limiter: Limiter, account: DynamoAccount) -> Api:
    given = V3Credentials(client_id=place.client_id)
    # On the local cloud the secret has the application only.
    is_local = place.local_folder is not None
    secret = SecretTokens(place.secrets, place.table, CLOCK, given, replaces=is_local)
    stored: TokenStore = secret
    if place.local_folder:
        stored = CredentialsFile(Path(place.local_folder))
    read = _of_one_version(account, Version.V3, stored.read)
    refresher = StoredRefresher(settings, secret, CLOCK)
    tokens = Tokens(stored, refresher, CLOCK, V3Credentials(), telemetry.log_token_trouble)
    transport = transport_to(settings.base_url, settings, connections=CONNECTIONS)
    identify = identified_by(settings.base_url, limiter, CLOCK, transport, V3, telemetry.tries)
    kept = OneAccount(tokens, account, identify, telemetry.log_token_trouble, refusal=OTHER_ACCOUNT)
    waiting = TokensAsWaits(kept, read, telemetry.log_unreadable_secret)
    return Api(ConstantContactV3(_client(settings, waiting, limiter, transport)), read)


def _of_one_version(account: DynamoAccount, version: Version, read: Callable[[], T]) -> Callable[[], T]:
    """Read a credential, and note by which version of the API the state is read.

    Not before there is one: a stack that was deployed with the wrong version has read nothing.
    """
    check = cache(lambda: account.check_version(version))
    keep = cache(lambda: account.keep_to_version(version))

    def read_kept() -> T:
        check()
        found = read()
        keep()
        return found

    return read_kept


def _client(
    settings: Settings,
    credentials: Callable[[], Credentials] | BearerTokens,
    limiter: Limiter,
    transport: Transport,
) -> ApiClient:
    return ApiClient(
        settings.base_url,
        credentials,
        limiter,
        CLOCK,
        on_failure=_log_failed_try,
        transport=transport,
        watch=telemetry.tries,
    )


def _log_failed_try(cause: Cause, status: int, tries: int) -> None:
    telemetry.tries.record_failure(cause, status)
    if _THROTTLE.admit(cause, CLOCK.monotonic_ms()):
        telemetry.log_failed_try(cause, status, tries)
