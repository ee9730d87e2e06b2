"""Write the metrics and the structured logs of the functions: ids and counts, no e-mail addresses."""

from dataclasses import asdict
from enum import Enum

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from contact_activity.domain.pauses import PauseReason
from contact_activity.domain.work import Report, WorkItem
from contact_activity.entrypoints.tries import TryCount
from contact_activity.errors import Cause, describe
from contact_activity.settings import SettingsError
from contact_activity.use_cases.tick_report import TickOutcome, TickReport

NAMESPACE = "ContactActivity"
QUOTA_NEARLY_USED_PERCENT = 90

logger = Logger()
metrics = Metrics(namespace=NAMESPACE)
# Told by the line of the tick or of the message that they were for, so that no call costs a line.
tries = TryCount()


class Metric(Enum):
    """Every metric, with its name and unit. The alarms and the dashboard of the template use these names."""

    # Sent by each tick, also when 0.
    LAG = ("LagSeconds", MetricUnit.Seconds)
    QUOTA_USED = ("QuotaUsedPercent", MetricUnit.Percent)
    QUOTA_LAG = ("QuotaLagSeconds", MetricUnit.Seconds)
    PAUSED = ("Paused", MetricUnit.Count)
    PAUSED_BY_QUOTA = ("PausedByQuota", MetricUnit.Count)
    PAUSED_BY_CREDENTIAL = ("PausedByCredential", MetricUnit.Count)
    PAUSED_BY_OPERATOR = ("PausedByOperator", MetricUnit.Count)
    # Sent by ticks and workers when there is something to count.
    CONTACTS_ENQUEUED = ("ContactsEnqueued", MetricUnit.Count)
    CONTACTS_REGISTERED = ("ContactsRegistered", MetricUnit.Count)
    MESSAGES_REJECTED = ("MessagesRejected", MetricUnit.Count)
    UNREADABLE_CONTACTS = ("UnreadableContacts", MetricUnit.Count)
    EVENTS_PUBLISHED = ("EventsPublished", MetricUnit.Count)
    # Sent for each activity that is not backfill: its age when it was read.
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
    REPORTS_ENQUEUED = ("ReportsEnqueued", MetricUnit.Count)
    # Types of activity whose reports of campaigns are not trusted any more; sent by each tick.
    REPORT_TYPES_OFF = ("ReportTypesOff", MetricUnit.Count)
    # 1 while the API refuses reports for want of a right (v3); sent by each tick that looks.
    MISSING_RIGHT = ("MissingRight", MetricUnit.Count)
    # Rows of the contacts that were read that wait for their mailing's report, and those it owes (v3).
    ROWS_ASKING = ("RowsAsking", MetricUnit.Count)
    ROWS_OWED = ("RowsOwed", MetricUnit.Count)
    ROWS_LEFT = ("RowsLeft", MetricUnit.Count)
    ROWS_SHIFTED = ("RowsShifted", MetricUnit.Count)
    ROWS_UNKNOWN_CONTACT = ("RowsUnknownContact", MetricUnit.Count)
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
    CONTACTS_LATE = ("ContactsLate", MetricUnit.Count)
    CONTACTS_EARLY = ("ContactsEarly", MetricUnit.Count)
    # Its own report, for want of a right (v3).
    CONTACTS_REFUSED = ("ContactsRefused", MetricUnit.Count)
    CONTACTS_FAILED = ("ContactsFailed", MetricUnit.Count)
    # How the message of a campaign's report ended.
    REPORTS_READ = ("ReportsRead", MetricUnit.Count)
    REPORTS_SAMPLED = ("ReportsSampled", MetricUnit.Count)
    REPORTS_UNFINISHED = ("ReportsUnfinished", MetricUnit.Count)
    REPORTS_PAUSED = ("ReportsPaused", MetricUnit.Count)
    REPORTS_STALE = ("ReportsStale", MetricUnit.Count)
    REPORTS_LATE = ("ReportsLate", MetricUnit.Count)
    REPORTS_EARLY = ("ReportsEarly", MetricUnit.Count)
    REPORTS_HELD = ("ReportsHeld", MetricUnit.Count)
    REPORTS_RACE_LOST = ("ReportsRaceLost", MetricUnit.Count)
    # For want of a right, as far as anybody knows (v3).
    REPORTS_REFUSED = ("ReportsRefused", MetricUnit.Count)
    REPORTS_FAILED = ("ReportsFailed", MetricUnit.Count)
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
    """Add the id of the tick to every log line from here on. None removes it."""
    logger.set_correlation_id(correlation_id)


def record_tick(report: TickReport) -> dict[str, object]:
    """Log and measure one tick. Return its report as the result of the invocation."""
    _count(Metric.CONTACTS_ENQUEUED, report.enqueued)
    _count(Metric.CONTACTS_REGISTERED, report.new_contacts)
    _count(Metric.MESSAGES_REJECTED, report.rejected)
    _count(Metric.UNREADABLE_CONTACTS, report.unreadable_contacts)
    _count(Metric.REPORTS_ENQUEUED, report.reports_enqueued)
    _count(Metric.CAMPAIGNS_ENQUEUED, report.campaigns_enqueued)
    _count(Metric.CAMPAIGN_LISTINGS_FAILED, int(report.campaigns_failed is not None))
    if report.outcome is not TickOutcome.LEASE_HELD:
        _gauge(Metric.PAUSED, int(bool(report.paused)))
        for reason in PauseReason:
            _gauge(Metric[f"PAUSED_BY_{reason.name}"], int(reason in report.paused))
        _gauge(Metric.REPORT_TYPES_OFF, len(report.report_types_off))
        if report.missing_right is not None:
            _gauge(Metric.MISSING_RIGHT, int(bool(report.missing_right)))
        _record_lag_and_quota(report)
    fields = asdict(report)
    logger.info("tick", extra={**fields, **tries.take().fields()})
    return fields


def record_unreadable_credentials() -> None:
    """Measure a tick that cannot read its credentials, as a pause by the credential."""
    _gauge(Metric.PAUSED, 1)
    _gauge(Metric.PAUSED_BY_CREDENTIAL, 1)


def _record_lag_and_quota(report: TickReport) -> None:
    if report.lag_ms is None or report.calls_used is None or report.calls_per_day is None:
        return
    lag_s = report.lag_ms / 1_000
    used_percent = 100 * report.calls_used / report.calls_per_day
    _gauge(Metric.LAG, lag_s)
    _gauge(Metric.QUOTA_USED, used_percent)
    # Using up the calls of a day is intended. It matters only while contacts are waiting.
    _gauge(Metric.QUOTA_LAG, lag_s if used_percent >= QUOTA_NEARLY_USED_PERCENT else 0)


def record_work(item: WorkItem, report: Report) -> None:
    """Log and count the result of one message."""
    _count(Metric.EVENTS_PUBLISHED, report.published)
    for age_s in report.ages_s:
        # CloudWatch needs single values for percentiles. Powertools sends a record as soon as it is full.
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
    _count(Metric.ROWS_ASKING, report.asking)
    _count(Metric.ROWS_OWED, report.owed)
    _count(Metric.ROWS_LEFT, report.rows_left)
    _count(Metric.ROWS_SHIFTED, report.rows_shifted)
    _count(Metric.ROWS_UNKNOWN_CONTACT, report.rows_unknown)
    _count(_metric_of(item, report.outcome.name), 1)
    logger.info(
        item.kind.value,
        extra={
            **_id_field(item),
            "outcome": report.outcome,
            "published": report.published,
            "pages": report.pages,
            "unreadable": report.unreadable,
            **({"asking": report.asking, "owed": report.owed} if report.asking else {}),
            **({"cause": report.error} if report.error else {}),
            **tries.take().fields(),
        },
    )


def record_failure(item: WorkItem, error: Exception) -> None:
    """Log and count a message that failed and returns to the queue."""
    _count(_metric_of(item, "FAILED"), 1)
    told = {**_id_field(item), "cause": _cause(error), **tries.take().fields()}
    logger.warning("%s failed", item.kind, extra=told)


def _metric_of(item: WorkItem, ending: str) -> Metric:
    return Metric[f"{item.kind.name}S_{ending}"]


def _id_field(item: WorkItem) -> dict[str, str]:
    return {f"{item.kind}_id": item.id}


def log_failed_try(cause: Cause, status: int, tries: int) -> None:
    """Log a call that failed. `status` 0: no answer came. `tries`: the failures of this call so far."""
    logger.warning("call failed", extra={"cause": cause, "status": status, "tries": tries})


def log_unreadable_secret(error: Exception) -> None:
    """Log that the secret cannot be read, without its value."""
    logger.error("the secret cannot be read", extra={"cause": _cause(error)})


def log_token_trouble(line: str) -> None:
    """Log a line about the tokens of v3, which holds no secret."""
    logger.warning("tokens", extra={"cause": line})


def log_malformed_message(message_id: str) -> None:
    """Log a message with an unknown body by its SQS id. The body may hold anything."""
    logger.warning("no message of ours", extra={"message_id": message_id})


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, SettingsError) else describe(error)


def _count(metric: Metric, value: int) -> None:
    if value:
        _gauge(metric, value)


def _gauge(metric: Metric, value: float) -> None:
    metrics.add_metric(name=metric.metric_name, unit=metric.unit, value=value)
