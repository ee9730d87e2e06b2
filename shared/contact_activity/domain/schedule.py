"""Decides which contacts are asked, when, and how many: it spends the quota where activity is. Pure."""

from dataclasses import dataclass

from contact_activity.domain.pace import Limits, Pace, calls_before
from contact_activity.domain.times import CLOCKS_DIFFER_MS, DAY_MS, WEEK_MS

FAILURE_WAIT_MAX_MS = DAY_MS
GONE_WAIT_MAX_MS = 4 * WEEK_MS
QUEUED_TICKS = 2
GONE_MOST = 10
GONE_MOST_PERCENT = 1
# The contact queue's: until then nobody else is given a message that a worker has.
VISIBILITY_MS = 720_000
# After its deadline a worker may still publish the page that it has read.
HELD_LONGER_MS = 60_000
# Longer than a function may run, and than that.
HELD_MAX_MS = 15 * 60_000 + HELD_LONGER_MS


def next_due_ms(now_ms: int, *, contacts: int, calls_each: int, tick_ms: int, limits: Limits) -> int:
    """When a contact that was just synced is asked again: as often as the day's calls allow.

    `calls_each`: the calls that a sync of one contact takes when nothing is new.
    """
    calls_a_day = min(limits.calls_per_day, DAY_MS // limits.slot_ms)
    return now_ms + max(tick_ms, contacts * calls_each * DAY_MS // max(1, calls_a_day))


def due_after_failure_ms(now_ms: int, *, failures: int, tick_ms: int) -> int:
    """Doubles from one tick to 24 h; `failures` counts this one."""
    return now_ms + min(FAILURE_WAIT_MAX_MS, tick_ms << min(failures - 1, 20))


def due_after_gone_ms(now_ms: int, *, times_gone: int, tick_ms: int) -> int:
    """After one tick, a day, 7, 14 and from then on 28 days; `times_gone` counts this 404.

    A burst of answers that are wrong is so found out soon, and one that is right costs few calls.
    """
    waits_ms = _gone_waits_ms(tick_ms)
    return now_ms + waits_ms[min(times_gone, len(waits_ms)) - 1]


def _gone_waits_ms(tick_ms: int) -> tuple[int, ...]:
    return (tick_ms, DAY_MS, WEEK_MS, 2 * WEEK_MS, GONE_WAIT_MAX_MS)


USUAL, FAILING, GONE = 0, 1, 2
STANDINGS = GONE + len(_gone_waits_ms(0))


def standing(*, failures: int, times_gone: int) -> int:
    """What decides how long a contact waits: 0 nothing, 1 that it fails, from 2 on how often it was gone.

    Of two the one that waits longer.
    """
    if times_gone == 0 or (failures and times_gone == 1):
        return FAILING if failures else USUAL
    return min(GONE + times_gone, STANDINGS) - 1


@dataclass(frozen=True, slots=True)
class LongestWaits:
    """The longest that a contact can honestly wait until it is due, by its `standing`."""

    by_standing_ms: tuple[int, ...]

    def latest_ms(self, now_ms: int, standing: int) -> int:
        """One that is due later was put off by a clock that ran ahead, and is due now."""
        return now_ms + self.by_standing_ms[standing] + CLOCKS_DIFFER_MS


def longest_waits(*, contacts: int, calls_each: int, tick_ms: int, limits: Limits) -> LongestWaits:
    usual_ms = next_due_ms(0, contacts=contacts, calls_each=calls_each, tick_ms=tick_ms, limits=limits)
    return LongestWaits((usual_ms, FAILURE_WAIT_MAX_MS, *_gone_waits_ms(tick_ms)))


def tick_budget(
    pace: Pace, limits: Limits, *, now_ms: int, tick_ms: int, calls_each: int, outstanding: int
) -> int:
    """How many contacts a tick hands out: what can be granted before the next, less what is out.

    At least one, as long as nothing is out and the day has a call left.
    """
    calls = calls_before(pace, limits, now_ms, now_ms + tick_ms)
    contacts = max(1, calls // calls_each) if calls else 0
    return max(0, contacts - outstanding)


def queued_until_ms(now_ms: int, tick_ms: int) -> int:
    """A lost message delays its contact by no more than this."""
    return now_ms + max(QUEUED_TICKS * tick_ms, VISIBILITY_MS + tick_ms)


def latest_queued_ms(until_ms: int) -> int:
    """One that is out for longer than a claim of now would have it is in no message."""
    return until_ms + CLOCKS_DIFFER_MS


def held_until_ms(now_ms: int, left_ms: int) -> int:
    """Until when a worker with so much time left may publish; nobody else does meanwhile."""
    return now_ms + max(0, left_ms) + HELD_LONGER_MS


def latest_lease_ms(now_ms: int) -> int:
    """A tick's lease that ends later than any tick was taken by a clock that ran ahead, and is free."""
    return now_ms + HELD_MAX_MS + CLOCKS_DIFFER_MS


def is_held(held_until_ms: int | None, now_ms: int) -> bool:
    """Whether a worker has it in hand. A time later than any worker lasts was written by a clock ahead."""
    latest_ms = now_ms + HELD_MAX_MS + CLOCKS_DIFFER_MS
    return held_until_ms is not None and now_ms < held_until_ms <= latest_ms


def are_too_many_gone(newly_gone: int, handed_out: int) -> bool:
    """Whether so many contacts at once are more likely an API that answers wrongly than a purge."""
    return newly_gone > max(GONE_MOST, handed_out * GONE_MOST_PERCENT // 100)
