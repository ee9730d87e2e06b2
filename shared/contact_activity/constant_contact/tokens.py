"""Give out access tokens of the v3 API, and refresh them: one thread of one process at a time.

Before a refresh token is sent, it is stored that it is; what comes back is stored before it is used. So
wherever the process is killed, the next one knows whether the refresh token may be spent.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from contact_activity.constant_contact.token_answers import INVALID_GRANT, Busy, Denied, Lost, TokenAnswer
from contact_activity.domain.pace import back_off_s
from contact_activity.domain.tokens import Granted, Step, StoredTokens
from contact_activity.errors import Cause, RetryError, WaitError, WaitReason
from contact_activity.ports import Clock, TokenStore
from contact_activity.settings import V3Credentials

# The token endpoint takes one call a second. The rest is for a call that arrives late.
CALL_INTERVAL_MS = 1_250
# No refresh begins that our own deadline could cut: its answer would be lost.
REFRESH_MS = 26_000
# While the access token still lives, a refresh that failed is tried again this much later.
TRY_AGAIN_MS = 30_000
# How long to wait for the lock to note that a token was accepted. The next call notes it otherwise.
NOTE_S = 1.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 1.0, 16.0
# No further try changes these, so that nobody has to wait for the deadline to read what is wrong.
MAX_HOPELESS = 3
_HOPELESS = {
    Cause.UNKNOWN_HOST,
    Cause.CONNECTION_REFUSED,
    Cause.PROXY_REFUSED,
    Cause.CERTIFICATE_UNTRUSTED,
}


class Refresher(Protocol):
    """Spends refresh tokens: the authorization server."""

    def refresh(self, refresh_token: str, client_id: str | None) -> TokenAnswer: ...


# An error: nothing was sent.
_Outcome = TokenAnswer | RetryError | WaitError


class Tokens:
    """The `BearerTokens` port over a store.

    `given`: what the environment gives. A refresh token in it that was never taken replaces what is stored,
    which comes back if that one never brings an access token that is accepted.
    `tell` is called with a line for the operator when a refresh fails, and `on_denied` with the error of
    RFC 6749 when the server refuses one. Neither holds a secret.
    """

    def __init__(
        self,
        store: TokenStore,
        server: Refresher,
        clock: Clock,
        given: V3Credentials,
        tell: Callable[[str], object] = lambda _: None,
        on_denied: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._store, self._server, self._clock, self._given = store, server, clock, given
        self._tell, self._on_denied = tell, on_denied
        self._turn = threading.Lock()
        self._not_before_ms = 0
        self._accepted: str | None = None
        # What is stored, and what could not be stored in its place.
        self._unsaved: tuple[StoredTokens, StoredTokens] | None = None

    def access_token(self, *, deadline_ms: int) -> str:
        stored = self._store.read()
        living = self._living(stored)
        if living and (self._is_too_soon() or stored.next_step(self._clock.now_ms()) is Step.USE):
            return living
        within_s = 0.0 if living else self._left_s(deadline_ms)
        try:
            with self._exclusive(within_s) as is_exclusive:
                if is_exclusive:
                    return self._settled(deadline_ms)
        except RetryError as error:
            # The store fails, which a token that lives does not have to wait for.
            if living is None:
                raise
            self._tell(str(error))
            self._not_before_ms = self._clock.monotonic_ms() + TRY_AGAIN_MS
        if living:
            # Somebody else refreshes it.
            return living
        raise WaitError(WaitReason.TIME)

    def take_given(self, *, within_s: float) -> bool:
        """Store what the environment has new, without a call. False if that takes too long."""
        with self._exclusive(within_s) as is_exclusive:
            if is_exclusive:
                self._current()
            return is_exclusive

    def accepted(self, token: str) -> None:
        if token == self._accepted:
            return
        if self._store.read().is_unproven:
            with self._exclusive(NOTE_S) as is_exclusive:
                if not is_exclusive:
                    return
                stored = self._store.read()
                if stored.access and stored.access.text == token:
                    self._store.save(stored.proven())
        self._accepted = token

    def refused(self, token: str, *, deadline_ms: int) -> None:
        with self._exclusive(self._left_s(deadline_ms)) as is_exclusive:
            if not is_exclusive:
                raise WaitError(WaitReason.TIME)
            self._settled(deadline_ms, refused=token)

    def restore(self, token: str, *, deadline_ms: int) -> None:
        """Go back to what the credential of this token replaced, if that is kept."""
        with self._exclusive(self._left_s(deadline_ms)) as is_exclusive:
            stored = self._store.read()
            is_of_it = stored.access is not None and stored.access.text == token
            if is_exclusive and is_of_it and stored.replaced:
                self._restored(stored)

    def _living(self, stored: StoredTokens) -> str | None:
        """Return the stored access token, if it can be used without a look at anything else."""
        if self._is_news(stored) or self._unsaved:
            return None
        is_living = stored.access and not stored.access.has_ended(self._clock.now_ms())
        return stored.access.text if stored.access and is_living else None

    def _is_news(self, stored: StoredTokens) -> bool:
        """Whether the environment has a refresh token that was never taken."""
        token = self._given.refresh_token
        return token is not None and not stored.has_taken(token, self._given.client_id)

    def _is_too_soon(self) -> bool:
        return self._clock.monotonic_ms() < self._not_before_ms

    def _settled(self, deadline_ms: int, refused: str | None = None) -> str:
        """Return the access token to use, after a refresh if one is due. The caller is exclusive."""
        stored, failures = self._current(), 0
        if refused and stored.is_unproven and stored.access and stored.access.text == refused:
            stored = self._restored(stored)
        while True:
            is_refused = stored.access is not None and stored.access.text == refused
            living = None if is_refused else self._living(stored)
            step = stored.next_step(self._clock.now_ms(), is_refused=is_refused)
            if step is Step.GIVE_UP:
                stored = self._restored(stored)
                continue
            if living and step is Step.USE:
                return living
            if not self._wait_for_slot(stored, deadline_ms):
                if living:
                    return living
                raise WaitError(WaitReason.TIME)
            stored, answer = self._refresh_to_the_end(stored, deadline_ms, is_refused=is_refused)
            if isinstance(answer, Granted):
                return answer.access_token
            if isinstance(answer, Lost) or answer == Denied(INVALID_GRANT):
                continue
            if living:
                self._not_before_ms = self._clock.monotonic_ms() + TRY_AGAIN_MS
                return living
            failures += 1
            self._back_off(answer, failures, deadline_ms)

    def _current(self) -> StoredTokens:
        """Return what is stored, with what could not be saved and what the environment has new."""
        stored = self._store.read()
        if self._unsaved:
            before, after = self._unsaved
            # Another process may have tried in vain what brought new tokens here.
            has_news = not after.has_same_tokens(before)
            if stored == before or (has_news and stored.has_same_tokens(before)):
                stored = after.having_taken(stored.taken)
                self._store.save(stored)
            self._unsaved = None
        token = self._given.refresh_token
        if token:
            is_news, before = self._is_news(stored), stored
            given = self._given.client_id
            stored = stored.taking(token, given) if is_news else stored.of_client(token, given)
            if stored != before:
                self._store.save(stored)
        return stored

    def _restored(self, stored: StoredTokens) -> StoredTokens:
        """Go back to the tokens that were replaced. Raises `WaitError` if there are none."""
        if stored.replaced is None:
            raise WaitError(WaitReason.CREDENTIAL)
        self._tell("the refresh token that was given is good for nothing here: what was stored is used")
        stored = stored.restored()
        self._store.save(stored)
        return stored

    def _refresh_to_the_end(
        self, stored: StoredTokens, deadline_ms: int, *, is_refused: bool
    ) -> tuple[StoredTokens, _Outcome]:
        """Refresh in a thread that Ctrl-C, SIGTERM and the end of the process wait for."""
        sending = stored.sending(self._clock.now_ms())
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._refresh, sending, deadline_ms, is_refused).result()

    def _note(self, sending: StoredTokens, deadline_ms: int) -> RetryError | WaitError | None:
        """Store that the refresh token is sent. Return why it must not be: that failed, or took too long."""
        try:
            self._store.save(sending)
        except RetryError as error:
            self._tell(str(error))
            return error
        # The wait for the slot is over.
        if self._clock.monotonic_ms() + REFRESH_MS <= deadline_ms + CALL_INTERVAL_MS:
            return None
        self._store.save(sending.not_spent())
        return WaitError(WaitReason.TIME)

    def _refresh(
        self, sending: StoredTokens, deadline_ms: int, is_refused: bool
    ) -> tuple[StoredTokens, _Outcome]:
        """Spend the refresh token once. Return what is stored then, and the answer."""
        if not_sent := self._note(sending, deadline_ms):
            return self._store.read(), not_sent
        answer = self._server.refresh(sending.refresh_token or "", sending.client_id)
        match answer:
            case Granted():
                after = sending.renewed(answer, asked_ms=sending.called_ms, is_unproven=is_refused)
            case Denied(error):
                self._tell(f"the token endpoint refuses: {error}")
                self._on_denied(error)
                after = sending.not_spent()
                after = after.dead() if error == INVALID_GRANT else after
            case Busy(why):
                if not answer.is_throttled:
                    self._tell(f"the token endpoint cannot be used: {why}")
                after = sending.not_spent()
            case Lost(why):
                hint = ": check CONSTANT_CONTACT_TOKEN_URL" if answer.is_elsewhere else ""
                self._tell(f"the answer of the token endpoint is lost: {why}{hint}")
                after = sending
        after = after.called(self._clock.now_ms())
        self._unsaved = (sending, after)
        self._store.save(after)
        self._unsaved = None
        return after, answer

    def _wait_for_slot(self, stored: StoredTokens, deadline_ms: int) -> bool:
        """Wait until the endpoint takes a call. Return False if there is no time for one."""
        wait_ms = min(CALL_INTERVAL_MS, max(0, stored.called_ms + CALL_INTERVAL_MS - self._clock.now_ms()))
        if self._clock.monotonic_ms() + wait_ms + REFRESH_MS > deadline_ms:
            return False
        self._clock.sleep(wait_ms / 1_000)
        return True

    def _back_off(
        self, answer: Busy | Denied | RetryError | WaitError, failures: int, deadline_ms: int
    ) -> None:
        if isinstance(answer, RetryError | WaitError):
            raise answer
        if isinstance(answer, Denied):
            # The refresh token is unspent, but the client id, its secret or its rights are wrong.
            raise WaitError(WaitReason.CREDENTIAL)
        if answer.is_elsewhere:
            raise RetryError(
                f"the token endpoint cannot be used: {answer.why}: is it the authorization server that "
                "answers? check CONSTANT_CONTACT_TOKEN_URL"
            )
        wait_s = back_off_s(failures, first_s=FIRST_BACKOFF_S, most_s=MAX_BACKOFF_S, jitter=1.0)
        wait_s = max(wait_s, answer.retry_after_s)
        if failures >= MAX_HOPELESS and _cause(answer.why) in _HOPELESS:
            raise RetryError(
                f"the token endpoint cannot be used: {answer.why}: check CONSTANT_CONTACT_TOKEN_URL, "
                "CONSTANT_CONTACT_PROXY and CONSTANT_CONTACT_CA_BUNDLE"
            )
        if self._clock.monotonic_ms() + wait_s * 1_000 + REFRESH_MS > deadline_ms:
            raise RetryError(f"the token endpoint cannot be used: {answer.why}", _cause(answer.why))
        self._clock.sleep(wait_s)

    @contextmanager
    def _exclusive(self, within_s: float) -> Iterator[bool]:
        """Be the only thread of all processes. Gives False if that takes too long."""
        begun_ms = self._clock.monotonic_ms()
        if not self._turn.acquire(timeout=within_s):
            yield False
            return
        try:
            left_s = within_s - (self._clock.monotonic_ms() - begun_ms) / 1_000
            with self._store.exclusive(within_s=max(0.0, left_s)) as is_exclusive:
                yield is_exclusive
        finally:
            self._turn.release()

    def _left_s(self, deadline_ms: int) -> float:
        return max(0.0, (deadline_ms - self._clock.monotonic_ms()) / 1_000)


class FixedToken:
    """The `BearerTokens` port for an access token that nobody can refresh."""

    def __init__(self, token: str) -> None:
        self._token = token

    def access_token(self, *, deadline_ms: int) -> str:  # noqa: ARG002  the port's
        return self._token

    def accepted(self, token: str) -> None: ...

    def refused(self, token: str, *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        raise WaitError(WaitReason.CREDENTIAL)

    def restore(self, token: str, *, deadline_ms: int) -> None:
        """Do nothing: it replaced nothing."""


def _cause(why: str) -> Cause:
    return next((cause for cause in Cause if cause.value == why), Cause.SERVER_ERROR)
