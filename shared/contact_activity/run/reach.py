"""Whether calls reach the API, as a run sees it: what to say of failed tries, and when to give up."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.certificates import checked_ca_bundle
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.http_transport import HttpTransport
from contact_activity.constant_contact.transport import Connection, NoAnswerError, Transport
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.pace import Limits, Pace
from contact_activity.errors import Cause, Throttle, WaitError, WaitReason
from contact_activity.ports import Clock, Limiter
from contact_activity.run.options import Account

WARN_EVERY_MS = 10_000
TRIES_MOST = 3
# A one-time run ends within 5 s; the rest is for starting and stopping.
TRY_FOR_MS = 3_000
TURN_S = 1.0

# What no further try mends before somebody changes something, with what to check.
_TO_CHECK = {
    Cause.UNKNOWN_HOST: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    Cause.CONNECTION_REFUSED: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    # A wrong password, or its word for a host that is unknown or takes no connection.
    Cause.PROXY_REFUSED: "CONSTANT_CONTACT_PROXY and CONSTANT_CONTACT_BASE_URL",
    Cause.CERTIFICATE_UNTRUSTED: "CONSTANT_CONTACT_CA_BUNDLE, CONSTANT_CONTACT_BASE_URL and "
    "CONSTANT_CONTACT_PROXY",
}


class Reach:
    """Hears how each connection and each call ends, in any thread.

    `is_one_time`: after three connections in a row that fail as no further one can mend, or as many as
    fit into a few seconds, it is over: no call begins any more.
    """

    def __init__(self, clock: Clock, warn: Callable[[str], None], *, is_one_time: bool) -> None:
        self._clock, self._warn = clock, warn
        self._is_one_time = is_one_time
        self._lock = threading.Lock()
        self._throttle = Throttle(WARN_EVERY_MS)
        self._in_a_row = 0
        self._since_ms = 0
        self._over = threading.Event()
        self.failed_tries: Counter[str] = Counter()
        self.cause: Cause | None = None

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def to_check(self) -> str | None:
        """One line that says why it is over and which settings to check; None while it is not."""
        if self.cause is None:
            return None
        return f"no call reached the API: {self.cause}: check {_TO_CHECK[self.cause]}"

    def failed(self, cause: Cause, status: int, tries: int) -> None:  # noqa: ARG002  of that call alone
        """After each call that failed; `status` 0: no answer came."""
        with self._lock:
            self.failed_tries[cause.value] += 1
            is_to_say = self._throttle.admit(cause.value, self._clock.monotonic_ms())
        if is_to_say:
            answered = f" ({status})" if status >= 400 else ""
            self._warn(f"{cause.value}{answered}; it is tried again")

    def connected(self) -> None:
        """After each connection that stands."""
        with self._lock:
            self._in_a_row = 0

    def not_connected(self, cause: Cause) -> None:
        """After each connection that failed."""
        with self._lock:
            self._count(cause, self._clock.monotonic_ms())

    def _count(self, cause: Cause, now_ms: int) -> None:
        if cause not in _TO_CHECK:
            self._in_a_row = 0
            return
        self._since_ms = self._since_ms if self._in_a_row else now_ms
        self._in_a_row += 1
        is_last = self._in_a_row >= TRIES_MOST or now_ms > self._since_ms + TRY_FOR_MS
        if self._is_one_time and is_last and not self.is_over:
            self.cause = cause
            self._over.set()

    def go_on(self) -> None:
        """Raises `WaitError` once it is over."""
        if self.is_over:
            raise WaitError(WaitReason.UNREACHABLE)

    def sleep(self, wait_s: float) -> None:
        """Returns early when it is over."""
        self._over.wait(wait_s)


class ReachTransport:
    """The `Transport` port, which makes no connection when it is over.

    Connections are made one after the other, so that a run in which none can be made knows it after
    the third; a slow one holds up the others for a second at most.
    """

    def __init__(self, transport: Transport, reach: Reach) -> None:
        self._transport, self._reach = transport, reach
        self._turn = threading.Lock()

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[Connection]:
        with ExitStack() as stack:
            with self._in_turn():
                connection = self._connect(stack, within_s)
            yield connection

    def _connect(self, stack: ExitStack, within_s: float) -> Connection:
        self._reach.go_on()
        try:
            connection = stack.enter_context(self._transport.connected(within_s=within_s))
        except NoAnswerError as error:
            self._reach.not_connected(error.cause)
            raise
        self._reach.connected()
        return connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        is_ours = self._turn.acquire(timeout=TURN_S)
        try:
            yield
        finally:
            if is_ours:
                self._turn.release()

    def close(self) -> None:
        self._transport.close()


class ReachClock(SystemClock):
    """The clock of those who call: nobody sleeps on when it is over."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def sleep(self, wait_s: float) -> None:
        self._reach.sleep(wait_s)


class ReachLimiter:
    """The `Limiter` port, which grants no call when it is over."""

    def __init__(self, limiter: Limiter, reach: Reach) -> None:
        self._limiter, self._reach = limiter, reach

    @property
    def limits(self) -> Limits:
        return self._limiter.limits

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        self._reach.go_on()
        self._limiter.acquire(deadline_ms=deadline_ms, prepare=prepare, lead_ms=lead_ms)
        self._reach.go_on()

    def slow_down(self, wait_s: float = 0) -> None:
        self._limiter.slow_down(wait_s)

    def set_right(self) -> None:
        self._limiter.set_right()

    def pace(self) -> Pace:
        return self._limiter.pace()


def reaching_source(
    account: Account, limiter: Limiter, reach: Reach, *, connections: int
) -> ConstantContactV2:
    """The account's API, heard by `reach`. Raises `SettingsError` for a bundle that cannot be used."""
    settings = account.settings
    transport = HttpTransport(
        settings.base_url,
        connections=connections,
        proxy=settings.proxy,
        ca_bundle=checked_ca_bundle(settings.ca_bundle),
    )
    client = ApiClient(
        settings.base_url,
        lambda: account.credentials,
        limiter,
        ReachClock(reach),
        transport=ReachTransport(transport, reach),
        on_failure=reach.failed,
    )
    return ConstantContactV2(client)
