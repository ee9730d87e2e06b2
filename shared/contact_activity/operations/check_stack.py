"""Opens a deployed stack, and the way from here to the API, for a check."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.secret_tokens import SecretTokens
from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.constant_contact.oauth import StoredRefresher
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.operations.check import Checked, Held
from contact_activity.operations.remedies import login_command
from contact_activity.operations.stack_credential import StackCredential, explained
from contact_activity.ports import BearerTokens
from contact_activity.settings import Credentials, V3Credentials, Version


@contextmanager
def checked_stack(stack: StackCredential, where: str = "") -> Iterator[Checked]:
    """Give what is to be checked of a stack, whose functions may run meanwhile.

    `where`: the options of a command that names the stack. Raises `SettingsError` if its secret or the CA
    bundle cannot be used, and `RunError` if AWS refuses.
    """
    settings, where = stack.settings, where or f"--stack {stack.stack_name}"
    denied: list[str] = []
    with explained(stack.stack_name):
        held, pauses = _held(stack), stack.store.pauses.get()
        credentials, origin, tokens = _credentials(stack, denied.append)
    is_v3 = stack.version is Version.V3
    login = login_command(where)
    with closing(transport_to(settings.base_url, settings, connections=1)) as transport:
        yield Checked(
            settings=settings,
            credentials=credentials,
            origin=origin,
            renewal=login if is_v3 else "put a new access_token (or api_key) into the secret of the stack",
            login=login,
            where=where,
            limiter=stack.limiter,
            pauses=pauses,
            held=held,
            transport=transport,
            stored_tokens=tokens.read if tokens else None,
            token_transport=transport_to(settings.token_url, settings, connections=0) if tokens else None,
            denied=denied,
        )


def _credentials(
    stack: StackCredential, on_denied: Callable[[str], object]
) -> tuple[Credentials | BearerTokens, str, SecretTokens | None]:
    """Return the credential, where it is from, and what is stored of tokens that can be renewed."""
    if stack.version is Version.V2:
        secret = secret_credentials(stack.secrets.client, stack.secrets.given, stack.clock)
        return secret(), "the secret of the stack", None
    stored = SecretTokens(stack.secrets, stack.table, stack.clock, stack.application)
    stored.read()
    refresher = StoredRefresher(stack.settings, stored, stack.clock)
    tokens = Tokens(stored, refresher, stack.clock, V3Credentials(), on_denied=on_denied)
    if stored.given().access_token:
        trial = "an access_token in the secret of the stack, which lives for a day at most and is not renewed"
        return tokens, trial, None
    return tokens, "the secrets of the stack", stored


def _held(stack: StackCredential) -> Held:
    # An earlier version of this program knew v2 only.
    version = stack.account.version() or Version.V2
    return Held(stack.store.listings.get().contacts, version, stack.account.read())
