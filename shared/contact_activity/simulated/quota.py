"""The two quotas of an API key: calls in a second, and calls in a day."""

from collections import deque
from collections.abc import Iterable
from datetime import date
from enum import StrEnum


class Over(StrEnum):
    """The quota that a call exceeds, as the error key of the gateway."""

    SECOND = "mashery.not.authorized.over.qps"
    DAY = "mashery.not.authorized.over.ratelimit"


class Quota:
    """Counts calls in a sliding second and in a UTC day. Not thread-safe.

    With `counts_refused` refused calls use up the quotas too.
    """

    def __init__(self, calls_per_second: int, calls_per_day: int, *, counts_refused: bool) -> None:
        self._per_second = calls_per_second
        self._per_day = calls_per_day
        self._counts_refused = counts_refused
        self._last_second: deque[float] = deque()
        self._day: date | None = None
        self._in_day = 0

    def take(self, at_s: float, day: date) -> Over | None:
        """Count a call at `at_s` of a monotonic clock. Return the quota that it exceeds, or None."""
        self._forget(at_s, day)
        over = self._over()
        if over is None or self._counts_refused:
            self._last_second.append(at_s)
            self._in_day += 1
        return over

    def _forget(self, at_s: float, day: date) -> None:
        while self._last_second and self._last_second[0] <= at_s - 1:
            self._last_second.popleft()
        if day != self._day:
            self._day, self._in_day = day, 0

    def _over(self) -> Over | None:
        if self._in_day >= self._per_day:
            return Over.DAY
        return Over.SECOND if len(self._last_second) >= self._per_second else None


def most_in_a_second(times_s: Iterable[float]) -> int:
    """Return the largest number of times that lie within less than one second."""
    window: deque[float] = deque()
    most = 0
    for at_s in sorted(times_s):
        window.append(at_s)
        while window[0] <= at_s - 1:
            window.popleft()
        most = max(most, len(window))
    return most
