"""Puts together the tokens of the v3 API that a state folder holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contact_activity.constant_contact.oauth import authorization_server
from contact_activity.constant_contact.one_account import Identify, OneAccount
from contact_activity.constant_contact.tokens import FixedToken, Tokens
from contact_activity.ports import BearerTokens, Clock
from contact_activity.run.account_file import AccountFile
from contact_activity.run.errors import RunError
from contact_activity.run.options import Account
from contact_activity.settings import Settings, V3Credentials
from contact_activity.state.credentials_file import CredentialsFile

# Longer than anybody takes to renew the tokens.
MAX_WAIT_S = 40.0
IN_USE = "another process holds the credentials of this folder: try again in a minute"


def bearer_tokens(
    state_dir: Path,
    settings: Settings,
    given: V3Credentials,
    clock: Clock,
    tell: Callable[[str], object] = lambda _: None,
    identify: Identify | None = None,
    on_denied: Callable[[str], object] = lambda _: None,
) -> BearerTokens:
    """Return the tokens for a client of the API. `tell`, `on_denied`: see `Tokens`.

    An access token of the environment is used as it is, and what is stored is left alone. With `identify`
    (see `identified_by`) only tokens of the account that the folder is of are given out.
    """
    tokens: FixedToken | Tokens
    if given.access_token:
        tokens = FixedToken(given.access_token)
    else:
        server = authorization_server(settings, given, clock)
        tokens = Tokens(CredentialsFile(state_dir), server, clock, given, tell, on_denied)
    return OneAccount(tokens, AccountFile(state_dir), identify, tell) if identify else tokens


def keeps_tokens(account: Account) -> bool:
    """Whether the account's tokens are renewed, and so kept in the state folder."""
    return isinstance(account.credentials, V3Credentials) and not account.credentials.access_token


def take_given(state_dir: Path, account: Account, clock: Clock) -> None:
    """Store a refresh token of the environment that was never taken. Raises `RunError` if it cannot."""
    given = account.credentials
    assert isinstance(given, V3Credentials)  # noqa: S101  the account keeps tokens
    server = authorization_server(account.settings, given, clock)
    tokens = Tokens(CredentialsFile(state_dir), server, clock, given)
    if not tokens.take_given(within_s=MAX_WAIT_S):
        raise RunError(IN_USE)


@contextmanager
def tokens_at_rest(state_dir: Path) -> Iterator[None]:
    """Let nobody begin to renew the folder's tokens, and wait for who does. Gives up after a while."""
    with CredentialsFile(state_dir).exclusive(within_s=MAX_WAIT_S):
        yield
