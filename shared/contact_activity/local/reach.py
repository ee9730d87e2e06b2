"""Whether calls reach the API, as a run sees it: what to say of failed tries, and when to give up."""

import threading
from collections import Counter
from collections.abc import Callable

from contact_activity.adapters.clock import SystemClock
from contact_activity.failures import Seldom
from contact_activity.ports import Cause, Limiter, WaitError, WaitReason
from contact_activity.rate_limit import Limits, Pace

WARN_EVERY_MS = 10_000
TRIES_MOST = 3
# A one-time run ends within 5 s; the rest is for starting and stopping.
TRY_FOR_MS = 3_500

# What no further try mends before somebody changes something, with what to check.
_TO_CHECK = {
    Cause.UNKNOWN_HOST: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    Cause.CONNECTION_REFUSED: "CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY",
    Cause.CERTIFICATE_UNTRUSTED: "CONSTANT_CONTACT_CA_BUNDLE, CONSTANT_CONTACT_BASE_URL and "
    "CONSTANT_CONTACT_PROXY",
}


class Reach:
    """Hears of every failed try and of every answer, in any thread.

    `is_one_time`: after three tries in a row that no further try can mend, or as many as fit into a
    few seconds, it is over: no call begins any more.
    """

    def __init__(
        self, clock: SystemClock, slot_ms: int, warn: Callable[[str], None], *, is_one_time: bool
    ) -> None:
        self._clock, self._slot_ms, self._warn = clock, slot_ms, warn
        self._is_one_time = is_one_time
        self._lock = threading.Lock()
        self._seldom = Seldom(WARN_EVERY_MS)
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
        """After each failed try; `status` 0: no answer came. Raises `WaitError` when it is over."""
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            self.failed_tries[cause.value] += 1
            self._count(cause, now_ms)
            is_to_say = self._seldom.lets_through(cause.value, now_ms)
        if is_to_say:
            self._warn(f"{cause.value}{f' ({status})' if status else ''}; it is tried again")
        self.go_on()

    def _count(self, cause: Cause, now_ms: int) -> None:
        if cause not in _TO_CHECK:
            self._in_a_row = 0
            return
        self._since_ms = self._since_ms if self._in_a_row else now_ms
        self._in_a_row += 1
        is_last = self._in_a_row >= TRIES_MOST or now_ms + self._slot_ms > self._since_ms + TRY_FOR_MS
        if self._is_one_time and is_last and not self.is_over:
            self.cause = cause
            self._over.set()

    def answered(self) -> None:
        """After each answer."""
        with self._lock:
            self._in_a_row = 0

    def go_on(self) -> None:
        """Raises `WaitError` once it is over."""
        if self.is_over:
            raise WaitError(WaitReason.UNREACHABLE)

    def sleep(self, wait_s: float) -> None:
        """Returns early when it is over."""
        self._over.wait(wait_s)


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

    def acquire(self, *, deadline_ms: int) -> None:
        self._reach.go_on()
        self._limiter.acquire(deadline_ms=deadline_ms)
        self._reach.go_on()

    def slow_down(self) -> None:
        self._limiter.slow_down()

    def pace(self) -> Pace:
        return self._limiter.pace()
