"""Watches whether calls reach the API: warns of failed calls, and ends a run that cannot connect."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.constant_contact.one_account import identified_by
from contact_activity.constant_contact.transport import Connection, NoAnswerError, Transport
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.v3 import V3, ConstantContactV3
from contact_activity.domain.pace import Limits, Pace
from contact_activity.domain.retries import RATE_LIMITED, Retry, TryTally
from contact_activity.errors import Cause, Throttle, WaitError, WaitReason
from contact_activity.ports import BearerTokens, Clock, Limiter
from contact_activity.run.options import Account
from contact_activity.run.tokens import bearer_tokens
from contact_activity.settings import Credentials

WARNING_INTERVAL_MS = 60_000
MIN_SHOWN_MS = 1_000
# What another process tells is over when it is told, and the next word comes when its next work ends.
TOLD_SHOWN_MS = 5_000
MAX_CONNECTION_TRIES = 3
# A one-time run that cannot connect ends within 5 s. The rest is for its start and its end.
MAX_TRYING_MS = 3_000
MAX_TURN_S = 1.0

# Causes that no further try changes, and the settings to check.
_SETTINGS_TO_CHECK = {
    Cause.UNKNOWN_HOST: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    Cause.CONNECTION_REFUSED: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    # The password is wrong, or the proxy does not know the host or cannot connect to it.
    Cause.PROXY_REFUSED: "CONSTANT_CONTACT_PROXY and CONSTANT_CONTACT_BASE_URL",
    Cause.CERTIFICATE_UNTRUSTED: "CONSTANT_CONTACT_CA_BUNDLE, CONSTANT_CONTACT_BASE_URL and "
    "CONSTANT_CONTACT_PROXY",
}

_log = logging.getLogger(__name__)


class ConnectionWatch:
    """Records the end of each connection and of each call. Every method may be called from any thread.

    A one-time run gives up after three hopeless connections in a row, or after as many as fit into a
    few seconds. A connection is hopeless if no further try would change its failure. Once the run has
    given up, no call begins any more.
    """

    def __init__(self, clock: Clock, warn: Callable[[str], None], *, is_one_time: bool) -> None:
        self._clock, self._warn = clock, warn
        self._is_one_time = is_one_time
        self._lock = threading.Lock()
        self._throttle = Throttle(WARNING_INTERVAL_MS)
        self._hopeless_in_a_row = 0
        self._first_hopeless_ms = 0
        self._given_up = threading.Event()
        self.failed_calls: Counter[str] = Counter()
        # How many tries there were, and those of them that were tried again, by their kind.
        self.tries = 0
        self.retries: Counter[str] = Counter()
        self._trouble, self._trouble_until_ms = "", 0
        self.cause: Cause | None = None
        # Why the last try failed; None if it did not.
        self._last_failure: Cause | None = None
        # The last error by which the token endpoint refused a refresh; "" if it refused none.
        self.denied = ""

    @property
    def has_given_up(self) -> bool:
        return self._given_up.is_set()

    def what_to_check(self) -> str | None:
        """Return one line: why the run gave up, and which settings to check. None if it did not."""
        if self.cause is None:
            return None
        return f"no call reached the API: {self.cause}: check {_SETTINGS_TO_CHECK[self.cause]}"

    def why_not_probed(self) -> str | None:
        """Return one line: why a refused credential could not be tried again, and what to do.

        None if the last try did not fail, or nothing was tried.
        """
        cause = self._last_failure
        if cause is None:
            return None
        settings = _SETTINGS_TO_CHECK.get(cause)
        return (
            "whether the API still refuses the credential is not known, since the last call failed: "
            f"{cause}: {f'check {settings}' if settings else 'run again later'}"
        )

    def record_failed_call(self, cause: Cause, status: int, tries: int) -> None:  # noqa: ARG002  not shown
        """Count a failed call, and warn of it. `status` is 0 if no answer came."""
        self._last_failure = cause
        self._record_failures(cause.value, status, 1)

    def _record_failures(self, cause: str, status: int, count: int) -> None:
        with self._lock:
            self.failed_calls[cause] += count
            is_to_warn = self._throttle.admit(cause, self._clock.monotonic_ms())
        if is_to_warn:
            answered = f" ({status})" if status >= 400 else ""
            self._warn(f"{cause}{answered}; it is tried again")

    def record_try(self) -> None:
        """Count a try, whatever its end."""
        with self._lock:
            self.tries += 1
            self._last_failure = None

    def record_retry(self, retry: Retry) -> None:
        """Count a try that is followed by another one, and warn of a rate limit, which is no failure."""
        self._record_retries(retry, 1, retry.text, max(MIN_SHOWN_MS, round(retry.wait_s * 1_000)))

    def record_told(self, tally: TryTally) -> None:
        """Count what another process tells of its tries, and warn of it."""
        with self._lock:
            self.tries += tally.tries
        if tally.tries:
            # It does not tell in which order they ended.
            failed = next((Cause(cause) for cause, _ in tally.failures), None)
            self._last_failure = failed if tally.failures.total() >= tally.tries else None
        for (cause, status), count in tally.failures.items():
            self._record_failures(cause, status, count)
        for retry, count in tally.retries.items():
            self._record_retries(retry, count, retry.past, TOLD_SHOWN_MS)

    def _record_retries(self, retry: Retry, count: int, text: str, shown_ms: int) -> None:
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            self.retries[retry.kind] += count
            self._trouble, self._trouble_until_ms = text, now_ms + shown_ms
            is_to_warn = retry.is_rate_limited and self._throttle.admit(RATE_LIMITED, now_ms)
        if is_to_warn:
            self._warn(f"{RATE_LIMITED} ({retry.status}); it is tried again")

    def trouble(self) -> str:
        """Return what the last retry waits for, as long as it waits; "" if nothing does."""
        with self._lock:
            is_waiting = self._clock.monotonic_ms() < self._trouble_until_ms
            return self._trouble if is_waiting else ""

    def record_denied(self, error: str) -> None:
        """Record that the token endpoint refused a refresh."""
        self.denied = error

    def record_connection(self) -> None:
        """Record a connection that was made."""
        with self._lock:
            self._hopeless_in_a_row = 0

    def record_failed_connection(self, cause: Cause) -> None:
        """Record a connection that could not be made. Gives up if it was the last try."""
        with self._lock:
            if cause in _SETTINGS_TO_CHECK:
                self._count_hopeless(cause, self._clock.monotonic_ms())
            else:
                self._hopeless_in_a_row = 0

    def _count_hopeless(self, cause: Cause, now_ms: int) -> None:
        self._first_hopeless_ms = self._first_hopeless_ms if self._hopeless_in_a_row else now_ms
        self._hopeless_in_a_row += 1
        is_last = (
            self._hopeless_in_a_row >= MAX_CONNECTION_TRIES
            or now_ms > self._first_hopeless_ms + MAX_TRYING_MS
        )
        if self._is_one_time and is_last and not self.has_given_up:
            self.cause = cause
            self._given_up.set()

    def raise_if_given_up(self) -> None:
        """Raise `WaitError` if the run has given up."""
        if self.has_given_up:
            raise WaitError(WaitReason.UNREACHABLE)

    def sleep(self, wait_s: float) -> None:
        """Sleep, and return early when the run gives up."""
        self._given_up.wait(wait_s)


class WatchedTransport:
    """The `Transport` port. It makes no connection once the run has given up.

    Connections are made one after the other, so that a run knows after the third that none can be
    made. A slow one delays the others by a second at most.
    """

    def __init__(self, transport: Transport, watch: ConnectionWatch) -> None:
        self._transport, self._watch = transport, watch
        self._turn = threading.Lock()

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[Connection]:
        with ExitStack() as stack:
            with self._in_turn():
                connection = self._connect(stack, within_s)
            yield connection

    def _connect(self, stack: ExitStack, within_s: float) -> Connection:
        self._watch.raise_if_given_up()
        try:
            connection = stack.enter_context(self._transport.connected(within_s=within_s))
        except NoAnswerError as error:
            self._watch.record_failed_connection(error.cause)
            raise
        self._watch.record_connection()
        return connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        has_turn = self._turn.acquire(timeout=MAX_TURN_S)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()

    def close(self) -> None:
        self._transport.close()


class WatchedClock(SystemClock):
    """A clock whose sleep ends when the run gives up."""

    def __init__(self, watch: ConnectionWatch) -> None:
        self._watch = watch

    def sleep(self, wait_s: float) -> None:
        self._watch.sleep(wait_s)


class WatchedLimiter:
    """The `Limiter` port. It grants no call once the run has given up."""

    def __init__(self, limiter: Limiter, watch: ConnectionWatch) -> None:
        self._limiter, self._watch = limiter, watch

    @property
    def limits(self) -> Limits:
        return self._limiter.limits

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        self._watch.raise_if_given_up()
        self._limiter.acquire(deadline_ms=deadline_ms, prepare=prepare, lead_ms=lead_ms)
        self._watch.raise_if_given_up()

    def slow_down(self, wait_s: float = 0) -> None:
        self._limiter.slow_down(wait_s)

    def set_right(self) -> None:
        self._limiter.set_right()

    def pace(self) -> Pace:
        return self._limiter.pace()


def watched_source(
    account: Account, limiter: Limiter, watch: ConnectionWatch, state_dir: Path, *, connections: int
) -> ConstantContactV2 | ConstantContactV3:
    """Return the API of an account, watched. Raises `SettingsError` if the CA bundle cannot be used.

    `state_dir`: where the tokens of v3 are.
    """
    settings, credentials = account.settings, account.credentials
    transport = transport_to(settings.base_url, settings, connections=connections)
    clock, watched = WatchedClock(watch), WatchedTransport(transport, watch)

    def client(credentials: Callable[[], Credentials] | BearerTokens) -> ApiClient:
        return ApiClient(
            settings.base_url,
            credentials,
            limiter,
            clock,
            transport=watched,
            on_failure=watch.record_failed_call,
            watch=watch,
        )

    if isinstance(credentials, Credentials):
        return ConstantContactV2(client(lambda: credentials))
    identify = None
    if not account.is_simulated:
        identify = identified_by(settings.base_url, limiter, clock, watched, V3, watch)
    tokens = bearer_tokens(
        state_dir, settings, credentials, clock, _log.warning, identify, watch.record_denied
    )
    return ConstantContactV3(client(tokens))
