"""Keep to one account: what is stored of one must never meet the activity of another."""

import threading
from collections.abc import Callable
from typing import Protocol

from contact_activity.constant_contact.client import ApiClient, ApiVersion, Call
from contact_activity.constant_contact.fields import usable_id
from contact_activity.constant_contact.tokens import FixedToken
from contact_activity.constant_contact.transport import Transport
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.answers import Refusal
from contact_activity.domain.rights import Right
from contact_activity.domain.tokens import token_digest
from contact_activity.errors import FatalError, WaitError, WaitReason
from contact_activity.ports import AccountRecord, BearerTokens, Clock, Limiter, TryWatch
from contact_activity.settings import SettingsError

# Given a token and a deadline; None if the API does not say whose it is.
Identify = Callable[[str, int], str | None]
OTHER_ACCOUNT = (
    "--state holds what was read of another Constant Contact account than this credential's: give another "
    "--state, or a credential of that account"
)


class Replacing(BearerTokens, Protocol):
    """Tokens that may have replaced others."""

    def restore(self, token: str, *, deadline_ms: int) -> None:
        """Go back to what the credential of this token replaced, if that is kept."""


class OneAccount:
    """The `BearerTokens port over another one: gives out no token of another account than the first.

    A token that was not seen before costs one call. Raises `SettingsError` with `refusal` for one of another
    account.
    """

    def __init__(
        self,
        tokens: Replacing,
        record: AccountRecord,
        identify: Identify,
        tell: Callable[[str], object] = lambda _: None,
        *,
        refusal: str = OTHER_ACCOUNT,
    ) -> None:
        self._tokens, self._record, self._identify = tokens, record, identify
        self._tell, self._refusal = tell, refusal
        self._turn = threading.Lock()
        self._checked: str | None = None

    def access_token(self, *, deadline_ms: int) -> str:
        token = self._tokens.access_token(deadline_ms=deadline_ms)
        if token == self._checked:
            return token
        with self._turn:
            while token != self._checked:
                self._check(token, deadline_ms)
                token = self._tokens.access_token(deadline_ms=deadline_ms)
        return token

    def accepted(self, token: str) -> None:
        self._tokens.accepted(token)

    def refused(self, token: str, *, deadline_ms: int) -> None:
        self._tokens.refused(token, deadline_ms=deadline_ms)

    def _check(self, token: str, deadline_ms: int) -> None:
        """Check a token, or renew one that the API refuses."""
        stored = self._record.read()
        if stored is None or stored.checked != token_digest(token):
            try:
                account_id = self._identify(token, deadline_ms)
            except WaitError as wait:
                # Of want of a right a new token is no cure.
                if wait.reason is not WaitReason.CREDENTIAL or wait.lacks:
                    raise
                self._tokens.refused(token, deadline_ms=deadline_ms)
                return
            if account_id is None:
                self._tell(f"the API does not say which account this is: {Right.ACCOUNT_READ.missing}")
            else:
                self._keep_to_account(account_id, token, deadline_ms)
            self._tokens.accepted(token)
        self._checked = token

    def _keep_to_account(self, account_id: str, token: str, deadline_ms: int) -> None:
        try:
            keep_to_account(self._record, account_id, token, self._refusal)
        except SettingsError:
            # Those of the right account are worth more, and may be stored yet.
            self._tokens.restore(token, deadline_ms=deadline_ms)
            raise


def keep_to_account(record: AccountRecord, account_id: str, token: str, refusal: str = OTHER_ACCOUNT) -> None:
    """Store whose state this is, if that is not known. Raises `SettingsError` if it is another's."""
    stored = record.read()
    if stored is None or stored.account_id == account_id:
        record.save(StoredAccount(account_id, token_digest(token)))
        # Another process may have been first.
        stored = record.read()
    if stored is None or stored.account_id != account_id:
        raise SettingsError(refusal)


def _read_account_id(body: object) -> str | None:
    return usable_id(body.get("encoded_account_id")) if isinstance(body, dict) else None


# Needs the scope `account_read`.
ACCOUNT_CALL: Call[str] = Call("/account/summary", {}, _read_account_id)


def identified_by(
    base_url: str,
    limiter: Limiter,
    clock: Clock,
    transport: Transport,
    version: ApiVersion,
    watch: TryWatch | None = None,
) -> Identify:
    """Return a function that asks the API whose a token is. Each time it takes a slot of the limiter.

    `watch` is told of its tries.
    """

    def identify(token: str, deadline_ms: int) -> str | None:
        client = ApiClient(base_url, FixedToken(token), limiter, clock, transport=transport, watch=watch)
        try:
            found = client.call(ACCOUNT_CALL, version, deadline_ms=deadline_ms)
        except FatalError:
            return None
        return None if isinstance(found, Refusal) else found

    return identify
