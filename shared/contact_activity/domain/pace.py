"""When the next call may go out, and how many calls the day has left.

Constant Contact allows 4 calls a second and 10,000 a day per API key, whoever uses it. The day ends at
00:00 UTC.
"""

from dataclasses import dataclass, replace
from math import ceil

from contact_activity.domain.times import DAY_MS, midnight_after

# Slots are spread over a little more than a second: a call that arrives late must not meet those of
# the next second at the server.
ARRIVAL_MARGIN_MS = 250
LATE_FOR_SLOT_MS = 100
SLOW_DOWN_MS = 1_000
# A worker waits for at most the 15 minutes that it may run, and the next slot is at most two minutes
# later. A clock that ran ahead took any slot beyond that.
MAX_SLOT_AHEAD_MS = 20 * 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls this system may make in any second and in a UTC day."""

    calls_per_second: float
    calls_per_day: int

    @property
    def slot_ms(self) -> int:
        """The time between two slots."""
        return ceil((1_000 + ARRIVAL_MARGIN_MS) / self.calls_per_second)


@dataclass(frozen=True, slots=True)
class Pace:
    """What all workers share: calls granted on `day` (days since 1970), and the next free slot."""

    day: int = 0
    used: int = 0
    next_slot_ms: int = 0

    def used_on(self, now_ms: int) -> int:
        """The calls counted for this day. A clock that ran ahead counted calls of today for a later day."""
        return self.used if self.day >= now_ms // DAY_MS else 0


@dataclass(frozen=True, slots=True)
class Slot:
    """A granted call. Store `pace`, wait until `at_ms`, then call."""

    pace: Pace
    at_ms: int


def take_slot(pace: Pace, limits: Limits, now_ms: int) -> Slot | None:
    """The next slot, or None if the slot's day has no call left."""
    at_ms = _free_from(pace, now_ms)
    # A call sent just before midnight may count for the next day, so wait until midnight.
    if midnight_after(at_ms) - at_ms <= ARRIVAL_MARGIN_MS:
        at_ms = midnight_after(at_ms)
    day, used = at_ms // DAY_MS, pace.used_on(at_ms)
    if used >= limits.calls_per_day:
        return None
    return Slot(Pace(day, used + 1, at_ms + limits.slot_ms), at_ms)


def set_right(pace: Pace, now_ms: int) -> Pace:
    """Count for today what a clock that ran ahead counted for a later day, which may look used up."""
    today, latest_day = now_ms // DAY_MS, (now_ms + MAX_SLOT_AHEAD_MS) // DAY_MS
    return pace if pace.day <= latest_day else Pace(today, pace.used, _free_from(pace, now_ms))


def slow_down(pace: Pace, now_ms: int, wait_ms: int = 0) -> Pace:
    """The pace after the API said "too fast": nobody calls for a second, or for `wait_ms`.

    The second is added behind the slots that others hold. A longer wait counts from now.
    """
    asked_ms = max(_free_from(pace, now_ms) + SLOW_DOWN_MS, now_ms + wait_ms)
    return replace(pace, next_slot_ms=min(asked_ms, now_ms + MAX_SLOT_AHEAD_MS))


def _free_from(pace: Pace, now_ms: int) -> int:
    return pace.next_slot_ms if now_ms < pace.next_slot_ms <= now_ms + MAX_SLOT_AHEAD_MS else now_ms


@dataclass(frozen=True, slots=True)
class Take:
    """Take the next slot from `from_ms` on, if it begins within `within_ms` of that."""

    limits: Limits
    from_ms: int
    within_ms: int


@dataclass(frozen=True, slots=True)
class SlowDown:
    """Slow down: the API said "too fast"."""

    now_ms: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class SetRight:
    """Undo what a clock that ran ahead counted."""

    now_ms: int


PaceChange = Take | SlowDown | SetRight


def changed(pace: Pace, change: PaceChange) -> Pace:
    """The pace after a change. Everybody who knows both computes the same."""
    match change:
        case Take(limits, from_ms, within_ms):
            slot = take_slot(pace, limits, from_ms)
            return slot.pace if slot and slot.at_ms <= from_ms + within_ms else pace
        case SlowDown(now_ms, wait_ms):
            return slow_down(pace, now_ms, wait_ms)
        case SetRight(now_ms):
            return set_right(pace, now_ms)


def calls_left(pace: Pace, limits: Limits, now_ms: int) -> int:
    """How many calls the day has left."""
    return max(0, limits.calls_per_day - pace.used_on(now_ms))


def calls_before(pace: Pace, limits: Limits, now_ms: int, until_ms: int) -> int:
    """How many calls can be granted from `now_ms` to `until_ms`, by the pace and the day's budget."""
    by_pace = (until_ms - _free_from(pace, now_ms)) // limits.slot_ms
    by_day = calls_left(pace, limits, now_ms)
    if until_ms > midnight_after(now_ms):
        by_day += limits.calls_per_day
    return max(0, min(by_pace, by_day))


def back_off_s(failures: int, *, first_s: float, most_s: float, jitter: float) -> float:
    """How long to wait after so many failures. Doubles each time; `jitter` (0 to 1) decides half of it."""
    return float(min(most_s, first_s * 2.0 ** min(failures - 1, 10)) * (0.5 + jitter / 2))
