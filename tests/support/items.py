"""Work items by kind, short enough to be read in a line of a test."""

from contact_activity.domain.work import WorkItem, WorkKind


def of_contact(contact_id: str, planned_ms: int, correlation_id: str | None = None) -> WorkItem:
    return WorkItem(WorkKind.CONTACT, contact_id, planned_ms, correlation_id)


def of_campaign(campaign_id: str, planned_ms: int, correlation_id: str | None = None) -> WorkItem:
    return WorkItem(WorkKind.CAMPAIGN, campaign_id, planned_ms, correlation_id)


def of_report(report_id: str, planned_ms: int, correlation_id: str | None = None) -> WorkItem:
    return WorkItem(WorkKind.REPORT, report_id, planned_ms, correlation_id)
