"""Puts together the tokens of the v3 API that a state folder holds."""

from collections.abc import Callable
from pathlib import Path

from contact_activity.constant_contact.oauth import authorization_server
from contact_activity.constant_contact.one_account import Identify, OneAccount
from contact_activity.constant_contact.tokens import FixedToken, Tokens
from contact_activity.ports import BearerTokens, Clock
from contact_activity.run.account_file import AccountFile
from contact_activity.settings import Settings, V3Credentials
from contact_activity.state.credentials_file import CredentialsFile


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
    tokens: BearerTokens
    if given.access_token:
        tokens = FixedToken(given.access_token)
    else:
        server = authorization_server(settings, given, clock)
        tokens = Tokens(CredentialsFile(state_dir), server, clock, given, tell, on_denied)
    return OneAccount(tokens, AccountFile(state_dir), identify, tell) if identify else tokens
