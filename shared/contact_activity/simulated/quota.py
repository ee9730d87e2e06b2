"""The gateway's two quotas of an API key."""

from collections import deque
from collections.abc import Iterable
from datetime import date
from enum import StrEnum


class Over(StrEnum):
    """Which quota a call is over, as the gateway's error key."""

    SECOND = "mashery.not.authorized.over.qps"
    DAY = "mashery.not.authorized.over.ratelimit"


class Quota:
    """Counts calls in a sliding second and in a UTC day. Not thread-safe."""

    def __init__(self, calls_per_second: int, calls_per_day: int, *, refused_count: bool) -> None:
        self._per_second = calls_per_second
        self._per_day = calls_per_day
        self._refused_count = refused_count
        self._last_second: deque[float] = deque()
        self._day: date | None = None
        self._in_day = 0

    def take(self, at_s: float, day: date) -> Over | None:
        """Count a call that arrives at `at_s` (seconds of a clock that never goes back)."""
        self._forget(at_s, day)
        over = self._over()
        if over is None or self._refused_count:
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
    """The largest number of the times that lie within less than one second of each other."""
    window: deque[float] = deque()
    most = 0
    for at_s in sorted(times_s):
        window.append(at_s)
        while window[0] <= at_s - 1:
            window.popleft()
        most = max(most, len(window))
    return most
