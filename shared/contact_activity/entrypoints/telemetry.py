"""What the functions say of their work: structured logs and metrics. Ids and counts, no addresses."""

from dataclasses import asdict
from enum import Enum

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from contact_activity.domain.pauses import PauseReason
from contact_activity.domain.work import Report, WorkItem
from contact_activity.errors import Cause, describe
from contact_activity.settings import SettingsError
from contact_activity.use_cases.tick_report import DispatchReport, TickOutcome

NAMESPACE = "ContactActivity"
QUOTA_NEARLY_USED_PERCENT = 90

logger = Logger()
metrics = Metrics(namespace=NAMESPACE)


class Metric(Enum):
    """Every metric, by its name and unit; the template's alarms and dashboard are checked against it."""

    # Of each tick, zero included.
    LAG = ("LagSeconds", MetricUnit.Seconds)
    QUOTA_USED = ("QuotaUsedPercent", MetricUnit.Percent)
    QUOTA_LAG = ("QuotaLagSeconds", MetricUnit.Seconds)
    PAUSED = ("Paused", MetricUnit.Count)
    PAUSED_BY_QUOTA = ("PausedByQuota", MetricUnit.Count)
    PAUSED_BY_CREDENTIAL = ("PausedByCredential", MetricUnit.Count)
    PAUSED_BY_OPERATOR = ("PausedByOperator", MetricUnit.Count)
    # Of each tick and each contact, where there is something to count.
    CONTACTS_ENQUEUED = ("ContactsEnqueued", MetricUnit.Count)
    CONTACTS_REGISTERED = ("ContactsRegistered", MetricUnit.Count)
    MESSAGES_REJECTED = ("MessagesRejected", MetricUnit.Count)
    UNREADABLE_CONTACTS = ("UnreadableContacts", MetricUnit.Count)
    EVENTS_PUBLISHED = ("EventsPublished", MetricUnit.Count)
    # Of each activity that is no backfill: from when it happened to when it was met.
    FRESHNESS = ("FreshnessSeconds", MetricUnit.Seconds)
    PAGES_READ = ("PagesRead", MetricUnit.Count)
    WALKS_RESTARTED = ("WalksRestarted", MetricUnit.Count)
    ROWS_COLLAPSED = ("RowsCollapsed", MetricUnit.Count)
    ROWS_IN_FUTURE = ("RowsInFuture", MetricUnit.Count)
    UNREADABLE_ROWS = ("UnreadableRows", MetricUnit.Count)
    MEMORIES_FULL = ("MemoriesFull", MetricUnit.Count)
    SUMMARIES_OWED = ("SummariesOwed", MetricUnit.Count)
    SUMMARIES_REFUSED = ("SummariesRefused", MetricUnit.Count)
    CAMPAIGNS_LEFT_OUT = ("CampaignsLeftOut", MetricUnit.Count)
    CAMPAIGNS_ENQUEUED = ("CampaignsEnqueued", MetricUnit.Count)
    CAMPAIGN_LISTINGS_FAILED = ("CampaignListingsFailed", MetricUnit.Count)
    # How a contact's message ended.
    CONTACTS_SYNCED = ("ContactsSynced", MetricUnit.Count)
    CONTACTS_UNFINISHED = ("ContactsUnfinished", MetricUnit.Count)
    CONTACTS_GONE = ("ContactsGone", MetricUnit.Count)
    CONTACTS_NEWLY_GONE = ("ContactsNewlyGone", MetricUnit.Count)
    CONTACTS_PAUSED = ("ContactsPaused", MetricUnit.Count)
    CONTACTS_STALE = ("ContactsStale", MetricUnit.Count)
    CONTACTS_UNKNOWN_CONTACT = ("ContactsUnknownContact", MetricUnit.Count)
    CONTACTS_RACE_LOST = ("ContactsRaceLost", MetricUnit.Count)
    CONTACTS_HELD = ("ContactsHeld", MetricUnit.Count)
    CONTACTS_FAILED = ("ContactsFailed", MetricUnit.Count)
    # How a campaign's message ended.
    CAMPAIGNS_SUMMARIZED = ("CampaignsSummarized", MetricUnit.Count)
    CAMPAIGNS_UNFINISHED = ("CampaignsUnfinished", MetricUnit.Count)
    CAMPAIGNS_GONE = ("CampaignsGone", MetricUnit.Count)
    CAMPAIGNS_PAUSED = ("CampaignsPaused", MetricUnit.Count)
    CAMPAIGNS_REFUSED = ("CampaignsRefused", MetricUnit.Count)
    CAMPAIGNS_STALE = ("CampaignsStale", MetricUnit.Count)
    CAMPAIGNS_RACE_LOST = ("CampaignsRaceLost", MetricUnit.Count)
    CAMPAIGNS_FAILED = ("CampaignsFailed", MetricUnit.Count)

    def __init__(self, metric_name: str, unit: MetricUnit) -> None:
        self.metric_name = metric_name
        self.unit = unit


def correlate(correlation_id: str | None) -> None:
    """Put the tick's id into every line that is logged from here on; None takes it out."""
    logger.set_correlation_id(correlation_id)


def tell_tick(report: DispatchReport) -> dict[str, object]:
    """Log and measure one tick; returns what the invocation answers."""
    _count(Metric.CONTACTS_ENQUEUED, report.enqueued)
    _count(Metric.CONTACTS_REGISTERED, report.new_contacts)
    _count(Metric.MESSAGES_REJECTED, report.rejected)
    _count(Metric.UNREADABLE_CONTACTS, report.unreadable_contacts)
    _count(Metric.CAMPAIGNS_ENQUEUED, report.campaigns_enqueued)
    _count(Metric.CAMPAIGN_LISTINGS_FAILED, int(report.campaigns_failed is not None))
    if report.outcome is not TickOutcome.LEASE_HELD:
        _gauge(Metric.PAUSED, int(bool(report.paused)))
        for reason in PauseReason:
            _gauge(Metric[f"PAUSED_BY_{reason.name}"], int(reason in report.paused))
        _tell_lag_and_quota(report)
    told = asdict(report)
    logger.info("tick", extra=told)
    return told


def tell_no_credentials() -> None:
    """Measure a tick that could not read its credentials: nothing is read until it can."""
    _gauge(Metric.PAUSED, 1)
    _gauge(Metric.PAUSED_BY_CREDENTIAL, 1)


def _tell_lag_and_quota(report: DispatchReport) -> None:
    if report.lag_ms is None or report.calls_used is None or report.calls_per_day is None:
        return
    lag_s = report.lag_ms / 1_000
    used_percent = 100 * report.calls_used / report.calls_per_day
    _gauge(Metric.LAG, lag_s)
    _gauge(Metric.QUOTA_USED, used_percent)
    # The cadence uses up the day's calls on purpose: that is news only while contacts wait for it.
    _gauge(Metric.QUOTA_LAG, lag_s if used_percent >= QUOTA_NEARLY_USED_PERCENT else 0)


def tell_work(item: WorkItem, report: Report) -> None:
    """Log and count the result of one message."""
    _count(Metric.EVENTS_PUBLISHED, report.published)
    for age_s in report.ages_s:
        # As values one by one, of which CloudWatch makes percentiles; a full record goes out at once.
        _gauge(Metric.FRESHNESS, age_s)
    _count(Metric.PAGES_READ, report.pages)
    _count(Metric.WALKS_RESTARTED, report.restarts)
    _count(Metric.ROWS_COLLAPSED, report.counts.collapsed)
    _count(Metric.ROWS_IN_FUTURE, report.counts.in_future)
    _count(Metric.UNREADABLE_ROWS, len(report.unreadable))
    _count(Metric.MEMORIES_FULL, int(report.memory_is_full))
    _count(Metric.SUMMARIES_OWED, report.summaries_owed)
    _count(Metric.SUMMARIES_REFUSED, report.summaries_refused)
    _count(Metric.CAMPAIGNS_LEFT_OUT, report.campaigns_left_out)
    _count(Metric.CONTACTS_NEWLY_GONE, int(report.is_newly_gone))
    _count(_metric_of(item, report.outcome.name), 1)
    logger.info(
        item.kind.value,
        extra={
            **_id_of(item),
            "outcome": report.outcome,
            "published": report.published,
            "pages": report.pages,
            "unreadable": report.unreadable,
        },
    )


def tell_failure(item: WorkItem, error: Exception) -> None:
    """Log and count a message that goes back."""
    _count(_metric_of(item, "FAILED"), 1)
    logger.warning("%s failed", item.kind, extra={**_id_of(item), "cause": _cause(error)})


def _metric_of(item: WorkItem, ending: str) -> Metric:
    return Metric[f"{item.kind.name}S_{ending}"]


def _id_of(item: WorkItem) -> dict[str, str]:
    return {f"{item.kind}_id": item.id}


def tell_failed_try(cause: Cause, status: int, tries: int) -> None:
    """Log a call that is tried again; `status` 0: no answer came."""
    logger.warning("call failed", extra={"cause": cause, "status": status, "tries": tries})


def tell_unreadable_secret(error: Exception) -> None:
    """Log why nothing can be read, in a line without the value."""
    logger.error("the secret cannot be read", extra={"cause": _cause(error)})


def tell_no_message(message_id: str) -> None:
    """Log a body that is none of ours, which may hold anything: by the id that SQS gave it."""
    logger.warning("no message of ours", extra={"message_id": message_id})


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, SettingsError) else describe(error)


def _count(metric: Metric, value: int) -> None:
    if value:
        _gauge(metric, value)


def _gauge(metric: Metric, value: float) -> None:
    metrics.add_metric(name=metric.metric_name, unit=metric.unit, value=value)
