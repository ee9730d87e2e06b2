"""What both stores hold themselves to where they keep campaigns' reports."""

from collections.abc import Collection, Iterable

from contact_activity.domain.campaign_report import CampaignReport

MAX_DUE = 1_000
MAX_URGENT = 200


def due_now(reports: Iterable[CampaignReport], now_ms: int) -> list[CampaignReport]:
    """Those that are due, those of the newest sends first; otherwise in the order given."""
    due = (report for report in reports if report.due_ms is not None and report.due_ms <= now_ms)
    return sorted(due, key=lambda report: -report.sent_ms)


def with_room(wanted: Collection[str], urgent: Collection[str]) -> list[str]:
    """Those of the wanted contacts that are not urgent yet, as many as there is room for."""
    new = [id_ for id_ in dict.fromkeys(wanted) if id_ not in urgent]
    return new[: max(0, MAX_URGENT - len(urgent))]
