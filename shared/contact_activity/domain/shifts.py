"""The two shifts of a tick: reports first, then contacts, so that no two publishers meet."""

from dataclasses import dataclass

from contact_activity.domain.times import is_too_late

# A tick ends so long before the next one is expected: a schedule does not fire to the second.
EARLY_END_MS = 15_000
MIN_SHIFT_MS = 90_000
MIN_TICK_MS = 5 * 60_000
# Messages of contacts wait in the queue until their shift; SQS lets one wait for 15 minutes.
MAX_REPORTS_SHIFT_MS = 14 * 60_000
# Near the end of a shift no call of the API begins, and still nearer no publication.
NO_CALL_MS = 60_000
NO_PUBLICATION_MS = 30_000
# A message that comes so much too early is waited for.
EARLY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when a message may be worked on, by the time of day."""

    from_ms: int
    until_ms: int

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing can be begun in it any more."""
        return now_ms >= self.until_ms - NO_CALL_MS

    def is_ending(self, now_ms: int) -> bool:
        """Whether another message in it would come too late."""
        return self.is_over(now_ms + EARLY_END_MS)

    def wait_ms(self, now_ms: int) -> int:
        """How long until it begins."""
        return max(0, self.from_ms - now_ms)


@dataclass(frozen=True, slots=True)
class Shifts:
    """A tick: reports until `change_ms`, then contacts until `end_ms`."""

    begin_ms: int
    change_ms: int
    end_ms: int

    @property
    def reports(self) -> Window:
        return Window(self.begin_ms, self.change_ms)

    @property
    def contacts(self) -> Window:
        return Window(self.change_ms, self.end_ms)

    def holds(self, now_ms: int) -> bool:
        """Whether this tick is still on. A clock that ran ahead wrote one that begins much later."""
        return now_ms < self.end_ms and not is_too_late(self.begin_ms, now_ms + NO_CALL_MS)

    def goes_on(self, now_ms: int) -> bool:
        """Whether a dispatcher that starts now works by it: not where it is all but over."""
        return self.holds(now_ms) and not self.contacts.is_over(now_ms)


def publish_by_ms(deadline_ms: int) -> int:
    """Until when to publish what was read until a deadline."""
    return deadline_ms + NO_CALL_MS - NO_PUBLICATION_MS


def plan_shifts(begin_ms: int, now_ms: int, *, tick_ms: int, work_ms: int) -> Shifts:
    """The shifts of a tick that is planned now. Without work for reports, contacts have all of it.

    `work_ms`: about how long the reports take. They have no shift where too little of the tick is left.
    """
    end_ms = begin_ms + tick_ms - EARLY_END_MS
    from_ms = max(begin_ms, now_ms)
    longest_ms = min(MAX_REPORTS_SHIFT_MS, end_ms - from_ms - MIN_SHIFT_MS)
    if work_ms == 0 or longest_ms < MIN_SHIFT_MS:
        return Shifts(begin_ms, begin_ms, end_ms)
    wanted_ms = max(MIN_SHIFT_MS, work_ms + NO_CALL_MS)
    return Shifts(begin_ms, from_ms + min(wanted_ms, longest_ms), end_ms)
