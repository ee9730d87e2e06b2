"""When the reports of a tick are read, and when its contacts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from contact_activity.domain.shifts import MIN_TICK_MS, Shifts, Window, plan_shifts
from contact_activity.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Turn:
    """Messages may be sent now. `window`: when they may be worked on; None: at any time."""

    window: Window | None = None


class Turns(Protocol):
    """Reports first, then contacts."""

    def of_reports(self, work_ms: int) -> Turn | None:
        """The turn of reports that take about so long; None if they have to wait for another tick."""

    def of_contacts(self) -> Turn | None:
        """The turn of contacts; None if it is over."""


class OneAfterTheOther:
    """For an engine that is alone: contacts begin when nothing of the reports is left."""

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self._wait = wait

    def of_reports(self, work_ms: int) -> Turn:  # noqa: ARG002  the protocol's
        return Turn()

    def of_contacts(self) -> Turn:
        self._wait()
        return Turn()


class StoredShifts:
    """For functions: the shifts of a tick are stored before its first message, and never overlap.

    A dispatcher that starts within a tick works by its shifts. A new tick begins when the last one is over.
    """

    def __init__(self, store: Store, clock: Clock, tick_ms: int) -> None:
        self._reports = store.reports
        self._clock = clock
        self._tick_ms = max(MIN_TICK_MS, tick_ms)
        self._started_ms = clock.now_ms()
        self._shifts: Shifts | None = None

    def of_reports(self, work_ms: int) -> Turn | None:
        seen = self._reports.shifts()
        if seen and seen.goes_on(self._clock.now_ms()):
            return None
        shifts = self._begin(seen, work_ms)
        return Turn(shifts.reports) if shifts and shifts.change_ms > shifts.begin_ms else None

    def of_contacts(self) -> Turn | None:
        shifts = self._shifts
        if shifts is None:
            seen = self._reports.shifts()
            is_on = seen and seen.goes_on(self._clock.now_ms())
            shifts = seen if is_on else self._begin(seen, 0)
        if shifts is None or shifts.contacts.is_over(self._clock.now_ms()):
            return None
        return Turn(shifts.contacts)

    def _begin(self, seen: Shifts | None, work_ms: int) -> Shifts | None:
        """Store a new tick. None if another dispatcher stored one since."""
        now_ms = self._clock.now_ms()
        begin_ms = min(self._started_ms, now_ms)
        if seen and (seen.holds(now_ms) or seen.end_ms <= now_ms):
            begin_ms = max(begin_ms, seen.end_ms)
        shifts = plan_shifts(begin_ms, now_ms, tick_ms=self._tick_ms, work_ms=work_ms)
        if not self._reports.save_shifts(shifts, seen):
            return None
        self._shifts = shifts
        return shifts
