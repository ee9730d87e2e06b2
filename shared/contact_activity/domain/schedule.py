"""When each contact is asked next, and how many a tick hands out: the quota goes where activity is."""

from dataclasses import dataclass

from contact_activity.domain.pace import Limits, Pace, calls_before
from contact_activity.domain.times import CLOCKS_DIFFER_MS, DAY_MS, WEEK_MS

MAX_FAILURE_WAIT_MS = DAY_MS
MAX_GONE_WAIT_MS = 4 * WEEK_MS
LEAST_FOR_CONTACTS_PERCENT = 10
QUEUED_TICKS = 2
MAX_GONE = 10
MAX_GONE_PERCENT = 1
# The visibility time-out of the contact queue: so long nobody else receives a worker's message.
VISIBILITY_MS = 720_000
# A worker may publish the page that it has read after its deadline.
HELD_LONGER_MS = 60_000
# The longest that a function may run, and the time above.
MAX_HELD_MS = 15 * 60_000 + HELD_LONGER_MS


def next_due_ms(
    now_ms: int, *, contacts: int, calls_each: int, tick_ms: int, limits: Limits, reserved: int = 0
) -> int:
    """When a contact that was just synced is due again: as often as the day's calls allow for all.

    `calls_each`: how many calls a sync takes when nothing is new. `reserved`: how many calls of a day are
    for others than contacts, who have a tenth in any case.
    """
    calls_a_day = min(limits.calls_per_day, DAY_MS // limits.slot_ms)
    for_contacts = max(1, calls_a_day * LEAST_FOR_CONTACTS_PERCENT // 100, calls_a_day - reserved)
    return now_ms + max(tick_ms, contacts * calls_each * DAY_MS // for_contacts)


def due_after_failure_ms(now_ms: int, *, failures: int, tick_ms: int) -> int:
    """When a contact that failed is due again. The wait doubles from one tick to 24 h.

    `failures` counts this one.
    """
    return now_ms + min(MAX_FAILURE_WAIT_MS, tick_ms << min(failures - 1, 20))


def due_after_gone_ms(now_ms: int, *, times_gone: int, tick_ms: int) -> int:
    """When a contact that the API does not know is asked again: after a tick, a day, 7, 14, then 28 days.

    So a burst of wrong answers is soon found out, and a contact that is really gone costs few calls.
    `times_gone` counts this answer.
    """
    waits_ms = _gone_waits_ms(tick_ms)
    return now_ms + waits_ms[min(times_gone, len(waits_ms)) - 1]


def _gone_waits_ms(tick_ms: int) -> tuple[int, ...]:
    return (tick_ms, DAY_MS, WEEK_MS, 2 * WEEK_MS, MAX_GONE_WAIT_MS)


USUAL, FAILING, GONE = 0, 1, 2
STANDINGS = GONE + len(_gone_waits_ms(0))


def standing(*, failures: int, times_gone: int) -> int:
    """What decides how long a contact waits: 0 nothing, 1 its failures, from 2 on how often it was gone.

    If it both fails and is gone, the longer wait decides.
    """
    if times_gone == 0 or (failures and times_gone == 1):
        return FAILING if failures else USUAL
    return min(GONE + times_gone, STANDINGS) - 1


@dataclass(frozen=True, slots=True)
class LongestWaits:
    """The longest that a contact may wait until it is due, by its `standing`."""

    by_standing_ms: tuple[int, ...]

    def latest_ms(self, now_ms: int, standing: int) -> int:
        """The latest due time. A clock that ran ahead wrote any later one: that contact is due now."""
        return now_ms + self.by_standing_ms[standing] + CLOCKS_DIFFER_MS


def longest_waits(
    *, contacts: int, calls_each: int, tick_ms: int, limits: Limits, reserved: int = 0
) -> LongestWaits:
    """The longest waits in an account of so many contacts. What is reserved may have been more before."""
    usual_ms = next_due_ms(
        0,
        contacts=contacts,
        calls_each=calls_each,
        tick_ms=tick_ms,
        limits=limits,
        reserved=limits.calls_per_day if reserved else 0,
    )
    return LongestWaits((usual_ms, MAX_FAILURE_WAIT_MS, *_gone_waits_ms(tick_ms)))


def tick_budget(
    pace: Pace, limits: Limits, *, from_ms: int, until_ms: int, calls_each: int, outstanding: int
) -> int:
    """How many contacts a tick hands out: the calls from now or later on, less those already out.

    At least one, if nothing is out and the day has a call left.
    """
    calls = calls_before(pace, limits, from_ms, until_ms)
    contacts = max(1, calls // calls_each) if calls else 0
    return max(0, contacts - outstanding)


def queued_until_ms(now_ms: int, tick_ms: int) -> int:
    """Until when a contact that is handed out now counts as in a message. A lost one waits so long."""
    return now_ms + max(QUEUED_TICKS * tick_ms, VISIBILITY_MS + tick_ms)


def latest_queued_ms(now_ms: int, tick_ms: int) -> int:
    """The latest end of a claim. A contact that is queued for longer is in no message."""
    return queued_until_ms(now_ms, tick_ms) + CLOCKS_DIFFER_MS


def is_queued(queued_until_ms: int, now_ms: int, tick_ms: int) -> bool:
    """Whether a contact counts as in a message."""
    return now_ms < queued_until_ms <= latest_queued_ms(now_ms, tick_ms)


def held_until_ms(now_ms: int, left_ms: int) -> int:
    """Until when a worker with `left_ms` left holds its contact, so that nobody else publishes."""
    return now_ms + max(0, left_ms) + HELD_LONGER_MS


def latest_held_ms(now_ms: int) -> int:
    """The latest end of a worker's hold or of a tick's lease. A clock that ran ahead wrote a later one."""
    return now_ms + MAX_HELD_MS + CLOCKS_DIFFER_MS


def is_held(held_until_ms: int | None, now_ms: int) -> bool:
    """Whether a hold or a lease that ends then holds now."""
    return held_until_ms is not None and now_ms < held_until_ms <= latest_held_ms(now_ms)


def are_too_many_gone(newly_gone: int, handed_out: int) -> bool:
    """Whether so many contacts are gone at once that the API is more likely wrong than right."""
    return newly_gone > max(MAX_GONE, handed_out * MAX_GONE_PERCENT // 100)
