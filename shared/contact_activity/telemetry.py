"""What the functions say of their work: structured logs, metrics, traces. Ids and counts, no addresses."""

from dataclasses import asdict

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from contact_activity.dispatch import DispatchReport, TickOutcome
from contact_activity.sync import SyncReport

logger = Logger()
metrics = Metrics()
tracer = Tracer()


def tell_tick(report: DispatchReport) -> dict[str, object]:
    """Log and count one tick; returns what the invocation answers."""
    _count("ContactsEnqueued", report.enqueued)
    _count("ContactsRegistered", report.new_contacts)
    _count("MessagesRejected", report.rejected)
    _count("UnreadableContacts", report.unreadable_contacts)
    _count("TicksPaused", int(report.outcome is TickOutcome.PAUSED))
    told = asdict(report)
    logger.info("tick", extra=told)
    return told


def tell_sync(report: SyncReport, contact_id: str) -> None:
    """Log and count one contact's sync."""
    _count("EventsPublished", report.published)
    _count("PagesRead", report.pages)
    _count("WalksRestarted", report.restarts)
    _count("RowsCollapsed", report.counts.collapsed)
    _count("RowsInFuture", report.counts.in_future)
    _count("UnreadableRows", len(report.unreadable))
    _count("MemoriesFull", int(report.memory_is_full))
    _count(f"Contacts{report.outcome.title().replace('_', '')}", 1)
    logger.info(
        "contact",
        extra={
            "contact_id": contact_id,
            "outcome": report.outcome,
            "published": report.published,
            "pages": report.pages,
            "unreadable": report.unreadable,
        },
    )


def tell_failure(contact_id: str, error: Exception) -> None:
    """Log and count a contact whose message goes back; the errors of the ports hold no personal data."""
    _count("ContactsFailed", 1)
    logger.warning("contact failed", extra={"contact_id": contact_id, "cause": str(error)})


def _count(name: str, value: int) -> None:
    if value:
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
