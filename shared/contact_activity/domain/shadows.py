"""Find the like of an activity at another hour: one side may show stamps that are whole hours off."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from contact_activity.domain.activity import Activity
from contact_activity.domain.memory import activity_key, key_time_ms
from contact_activity.domain.times import HOUR_MS

# Old captures show five hours; the zones of the world differ by so many from each other's neighbours.
MAX_SHIFT_H = 14


def is_shifted(occurred_ms: int, other_ms: int) -> bool:
    """Whether two times are some whole hours apart, and not too many."""
    apart_ms = abs(occurred_ms - other_ms)
    return apart_ms % HOUR_MS == 0 and 0 < apart_ms <= MAX_SHIFT_H * HOUR_MS


class Shadows:
    """The likes of activities among some keys."""

    def __init__(self, account: str, keys: Collection[bytes]) -> None:
        self._account = account
        self._keys = keys
        self._within_hour = {key_time_ms(key) % HOUR_MS for key in keys}

    def of(self, activity: Activity) -> Iterator[bytes]:
        """Yield the keys that the activity would have at another hour, the earliest first."""
        if activity.occurred_ms % HOUR_MS not in self._within_hour:
            return
        for shift_h in range(-MAX_SHIFT_H, MAX_SHIFT_H + 1):
            occurred_ms = activity.occurred_ms + shift_h * HOUR_MS
            if shift_h and occurred_ms > 0:
                key = activity_key(self._account, replace(activity, occurred_ms=occurred_ms))
                if key in self._keys:
                    yield key
