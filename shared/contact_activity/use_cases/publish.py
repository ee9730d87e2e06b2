"""Publish what moved in a summary report, of a contact or of a campaign."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from contact_activity.domain.answers import Refusal
from contact_activity.domain.event import Event
from contact_activity.domain.shifts import publish_by_ms
from contact_activity.domain.summary import (
    Summarized,
    SummaryDiff,
    SummaryReport,
    compare,
    part_of,
    summary_event,
)
from contact_activity.errors import PartlyAcceptedError
from contact_activity.ports import Bus


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Result of publishing a report. `summarized` is to be stored, since its events are published.

    `is_owed`: the bus took only a part of them.
    """

    summarized: Summarized
    by_type: Counter[str] = field(default_factory=Counter)
    unreadable: tuple[str, ...] = ()
    left_out: int = 0
    is_owed: bool = False


def publish_changes(
    known: Summarized,
    report: SummaryReport | Refusal,
    *,
    account: str,
    bus: Bus,
    now_ms: int,
    deadline_ms: int,
    correlation_id: str | None,
) -> PublishResult:
    """Publish what moved, which is nothing for a report that does not exist."""
    if isinstance(report, Refusal):
        return PublishResult(replace(known, asked_ms=now_ms))
    diff = compare(known, report.snapshots, now_ms)
    events = [
        summary_event(change, account=account, observed_ms=now_ms, correlation_id=correlation_id)
        for change in diff.changes
    ]
    try:
        if events:
            bus.publish(events, deadline_ms=publish_by_ms(deadline_ms))
    except PartlyAcceptedError as error:
        return _done_in_part(known, diff, events, error.accepted)
    by_type = Counter(event.detail_type for event in events)
    return PublishResult(diff.summarized, by_type, report.unreadable, diff.left_out)


def _done_in_part(
    known: Summarized, diff: SummaryDiff, events: Sequence[Event], accepted: frozenset[str]
) -> PublishResult:
    """The result if the bus accepted a part: the rest is owed."""
    out = [event.id in accepted for event in events]
    changes = [change for change, is_out in zip(diff.changes, out, strict=True) if is_out]
    by_type = Counter(event.detail_type for event, is_out in zip(events, out, strict=True) if is_out)
    return PublishResult(part_of(known, changes), by_type, is_owed=True)
