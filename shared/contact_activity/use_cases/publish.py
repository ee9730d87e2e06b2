"""Publish what moved in a summary report, whoever asked for it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from contact_activity.domain.answers import Refusal
from contact_activity.domain.event import Event
from contact_activity.domain.summary import News, Summarized, SummaryReport, compare, part_of, summary_event
from contact_activity.errors import PartlyAcceptedError
from contact_activity.ports import Bus


@dataclass(frozen=True, slots=True)
class Done:
    """What a report came to; `summarized` is to be stored now that its events are out.

    `is_owed`: the bus took only a part of them.
    """

    summarized: Summarized
    by_type: Counter[str] = field(default_factory=Counter)
    unreadable: tuple[str, ...] = ()
    left_out: int = 0
    is_owed: bool = False


def publish_news(
    known: Summarized,
    report: SummaryReport | Refusal,
    *,
    account: str,
    bus: Bus,
    now_ms: int,
    deadline_ms: int,
    correlation_id: str | None,
) -> Done:
    """A report that does not exist, or of which nothing moved, publishes nothing."""
    if isinstance(report, Refusal):
        return Done(replace(known, asked_ms=now_ms))
    news = compare(known, report.snapshots, now_ms)
    events = [
        summary_event(change, account=account, observed_ms=now_ms, correlation_id=correlation_id)
        for change in news.changes
    ]
    try:
        if events:
            bus.publish(events, deadline_ms=deadline_ms)
    except PartlyAcceptedError as error:
        return _done_in_part(known, news, events, error.accepted)
    by_type = Counter(event.detail_type for event in events)
    return Done(news.summarized, by_type, report.unreadable, news.left_out)


def _done_in_part(known: Summarized, news: News, events: Sequence[Event], accepted: frozenset[str]) -> Done:
    """What is out is known; the rest is owed."""
    out = [event.id in accepted for event in events]
    changes = [change for change, is_out in zip(news.changes, out, strict=True) if is_out]
    by_type = Counter(event.detail_type for event, is_out in zip(events, out, strict=True) if is_out)
    return Done(part_of(known, changes), by_type, is_owed=True)
