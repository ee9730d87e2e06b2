"""When the next call may go out, and when none may: pacing, the day's budget, pauses.

Pure: every decision is a function of a stored state and the time. Constant Contact allows 4 calls
a second and 10,000 a day per API key, whoever uses it; the day ends at 00:00 UTC.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Slots are spread over a little more than a second, so that calls which arrive late do not meet
# those of the next second at the server.
ARRIVAL_MARGIN_MS = 250
LATE_FOR_SLOT_MS = 100
SLOW_DOWN_MS = 1_000
# A worker waits no longer than it may run, 15 minutes, and the slot behind its own is at most two
# minutes further. One that is later was taken by a clock that ran ahead.
SLOT_AHEAD_MAX_MS = 20 * 60_000
# The clocks of machines that are kept right differ by less.
CLOCKS_DIFFER_MS = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What this system may use of the API key: calls in any second, and in a UTC day."""

    calls_per_second: float
    calls_per_day: int

    @property
    def slot_ms(self) -> int:
        return ceil((1_000 + ARRIVAL_MARGIN_MS) / self.calls_per_second)


@dataclass(frozen=True, slots=True)
class Pace:
    """What every worker shares: calls granted on `day` (days since 1970), and the next free slot."""

    day: int = 0
    used: int = 0
    next_slot_ms: int = 0

    def used_on(self, now_ms: int) -> int:
        """The calls of this day; what a clock counted that ran ahead was called today at the latest."""
        return self.used if self.day >= now_ms // DAY_MS else 0


@dataclass(frozen=True, slots=True)
class Slot:
    """A granted call: store `pace`, wait until `at_ms`, then call."""

    pace: Pace
    at_ms: int


def is_too_late(time_ms: int | None, latest_ms: int) -> bool:
    """Later than anybody could honestly set it: it was set by a clock that ran ahead."""
    return time_ms is not None and time_ms > latest_ms + CLOCKS_DIFFER_MS


def midnight_after(now_ms: int) -> int:
    return (now_ms // DAY_MS + 1) * DAY_MS


def take_slot(pace: Pace, limits: Limits, now_ms: int) -> Slot | None:
    """The next slot, or None when the slot's day has no call left."""
    at_ms = _free_from(pace, now_ms)
    # It may arrive behind midnight, and is then of the next day: so it is sent behind midnight.
    if midnight_after(at_ms) - at_ms <= ARRIVAL_MARGIN_MS:
        at_ms = midnight_after(at_ms)
    day, used = at_ms // DAY_MS, pace.used_on(at_ms)
    if used >= limits.calls_per_day:
        return None
    return Slot(Pace(day, used + 1, at_ms + limits.slot_ms), at_ms)


def set_right(pace: Pace, now_ms: int) -> Pace:
    """What a clock that ran ahead counted for a day to come is of today, as that day may be used up."""
    today, latest_day = now_ms // DAY_MS, (now_ms + SLOT_AHEAD_MAX_MS) // DAY_MS
    return pace if pace.day <= latest_day else Pace(today, pace.used, _free_from(pace, now_ms))


def slow_down(pace: Pace, now_ms: int, wait_ms: int = 0) -> Pace:
    """After the API said "too fast": nobody calls for a second, or for as long as it asked for.

    The second comes on top of the slots that others hold, the longer wait does not.
    """
    asked_ms = max(_free_from(pace, now_ms) + SLOW_DOWN_MS, now_ms + wait_ms)
    return replace(pace, next_slot_ms=min(asked_ms, now_ms + SLOT_AHEAD_MAX_MS))


def _free_from(pace: Pace, now_ms: int) -> int:
    return pace.next_slot_ms if now_ms < pace.next_slot_ms <= now_ms + SLOT_AHEAD_MAX_MS else now_ms


@dataclass(frozen=True, slots=True)
class Take:
    """A call is wanted: the next slot from `from_ms` on, if it begins within `within_ms` of that."""

    limits: Limits
    from_ms: int
    within_ms: int


@dataclass(frozen=True, slots=True)
class SlowDown:
    """The API said "too fast"."""

    now_ms: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class SetRight:
    """A clock that ran ahead may be right again."""

    now_ms: int


PaceChange = Take | SlowDown | SetRight


def changed(pace: Pace, change: PaceChange) -> Pace:
    """The pace behind a change; whoever knows both finds the same."""
    match change:
        case Take(limits, from_ms, within_ms):
            slot = take_slot(pace, limits, from_ms)
            return slot.pace if slot and slot.at_ms <= from_ms + within_ms else pace
        case SlowDown(now_ms, wait_ms):
            return slow_down(pace, now_ms, wait_ms)
        case SetRight(now_ms):
            return set_right(pace, now_ms)


def calls_left(pace: Pace, limits: Limits, now_ms: int) -> int:
    return max(0, limits.calls_per_day - pace.used_on(now_ms))


def calls_before(pace: Pace, limits: Limits, now_ms: int, until_ms: int) -> int:
    """The calls that can still be granted from now until then, by pace and by the day's budget."""
    by_pace = (until_ms - _free_from(pace, now_ms)) // limits.slot_ms
    by_day = calls_left(pace, limits, now_ms)
    if until_ms > midnight_after(now_ms):
        by_day += limits.calls_per_day
    return max(0, min(by_pace, by_day))


def quota_refused_until(pace: Pace, limits: Limits, now_ms: int) -> int:
    """When to ask again after the API said that the day is used up.

    With calls left by our own count somebody else uses the key, or the provider's day ends
    elsewhere: one probe an hour finds out.
    """
    return now_ms + HOUR_MS if calls_left(pace, limits, now_ms) else midnight_after(now_ms)


def is_own_budget(pause: "Pause", now_ms: int) -> bool:
    """The pause came from our own count of the day's calls, not from the API's word."""
    return pause.reason is PauseReason.QUOTA and pause.until_ms == midnight_after(now_ms)


def back_off_s(failures: int, *, first_s: float, most_s: float, jitter: float) -> float:
    """How long to wait after so many failures: doubling, and half of it left to chance (0 to 1)."""
    return float(min(most_s, first_s * 2.0 ** min(failures - 1, 10)) * (0.5 + jitter / 2))


def _longest_quota_pause(now_ms: int) -> int:
    """Until when the day's calls can be used up, also by a clock that is past midnight already."""
    return max(midnight_after(now_ms + CLOCKS_DIFFER_MS), now_ms + HOUR_MS)


class PauseReason(StrEnum):
    QUOTA = "quota"
    CREDENTIAL = "credential"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Pause:
    """No calls until `until_ms`; None: until it is lifted."""

    reason: PauseReason
    until_ms: int | None

    def is_active(self, now_ms: int, since_ms: int) -> bool:
        """Whether it holds, or held since then.

        A day that is used up ends at midnight; only the operator may pause for longer.
        """
        if self.until_ms is None:
            return True
        if self.reason is PauseReason.QUOTA and is_too_late(self.until_ms, _longest_quota_pause(now_ms)):
            return False
        return since_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class Pauses:
    """At most one pause a reason; the system is paused while any is active, so none lifts another."""

    by_reason: tuple[Pause, ...] = ()

    def active(self, now_ms: int, *, since_ms: int | None = None) -> tuple[Pause, ...]:
        """Those that hold, or held since then if a time is given."""
        since_ms = now_ms if since_ms is None else since_ms
        return tuple(pause for pause in self.by_reason if pause.is_active(now_ms, since_ms))

    def with_pause(self, pause: Pause) -> "Pauses":
        return Pauses((*self.without(pause.reason).by_reason, pause))

    def without(self, reason: PauseReason) -> "Pauses":
        return Pauses(tuple(p for p in self.by_reason if p.reason is not reason))
