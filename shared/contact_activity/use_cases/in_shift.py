"""Keep work to the shift of its message, so that reports and contacts are never published at once."""

from contact_activity.domain.shifts import EARLY_MS, NO_CALL_MS, Window
from contact_activity.domain.times import CLOCKS_DIFFER_MS
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind
from contact_activity.errors import RetryError
from contact_activity.ports import WorkPorts

# No message is sent so early. A clock that ran ahead planned one that is.
MAX_EARLY_MS = 15 * 60_000 + CLOCKS_DIFFER_MS


def window_of(item: WorkItem, ports: WorkPorts) -> Window | None:
    """When a message may be worked on; None: at no time.

    A message of an earlier version tells no window: it may be worked on in the shift of contacts.
    """
    if item.window is not None:
        return item.window
    shifts = ports.store.reports.shifts()
    now_ms = ports.clock.now_ms()
    return shifts.contacts if shifts and shifts.holds(now_ms) else None


def wait_for_shift(item: WorkItem, window: Window | None, ports: WorkPorts) -> Report | None:
    """Return None once the shift of a message is on, and else how the message ended.

    Raises `RetryError` if its contact failed before, so that poison becomes a dead letter.
    """
    wait_ms = window.wait_ms(ports.clock.now_ms()) if window else 0
    if window is None or wait_ms > MAX_EARLY_MS:
        return _too_late(item, ports)
    if wait_ms > EARLY_MS:
        if ports.queue.send([item]):
            raise RetryError("the queue does not take a message that came early")
        return Report(Outcome.EARLY)
    ports.clock.sleep(wait_ms / 1_000)
    return _too_late(item, ports) if window.is_over(ports.clock.now_ms()) else None


def deadline_in(window: Window, ports: WorkPorts, deadline_ms: int) -> int:
    """When to stop calling the API, by the monotonic clock."""
    left_ms = window.until_ms - NO_CALL_MS - ports.clock.now_ms()
    return min(deadline_ms, ports.clock.monotonic_ms() + left_ms)


def _too_late(item: WorkItem, ports: WorkPorts) -> Report:
    """Give a contact free, so that the next tick hands it out. A report was not taken in hand."""
    if item.kind is WorkKind.CONTACT:
        contact = ports.store.contacts.get(item.id)
        if contact and contact.failed_ms is not None and item.planned_ms <= contact.failed_ms:
            raise RetryError(contact.last_error or "it failed in its shift, which is over")
        ports.store.contacts.release([item.id])
    return Report(Outcome.LATE)
