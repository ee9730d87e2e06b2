"""Publish what moved in a summary report, whoever asked for it."""

from collections import Counter
from dataclasses import dataclass, field, replace

from contact_activity.ports import Bus, Refusal
from contact_activity.summary import Summarized, SummaryReport, compare, summary_event


@dataclass(frozen=True, slots=True)
class Done:
    """What a report came to; `summarized` is to be stored now that its events are out."""

    summarized: Summarized
    by_type: Counter[str] = field(default_factory=Counter)
    unreadable: tuple[str, ...] = ()
    left_out: int = 0


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
    if events:
        bus.publish(events, deadline_ms=deadline_ms)
    by_type = Counter(event.detail_type for event in events)
    return Done(news.summarized, by_type, report.unreadable, news.left_out)
