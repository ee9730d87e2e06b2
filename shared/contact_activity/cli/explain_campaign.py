"""What `contact-activity explain --campaign` prints."""

from contact_activity.domain.campaign_report import CampaignReport
from contact_activity.domain.times import iso
from contact_activity.operations.campaign_explanation import CampaignFacts, campaign_causes


def campaign_lines(facts: CampaignFacts, place: str) -> list[str]:
    """Return what to print of a campaign. `place`: see `pasted_place`."""
    first, *others = campaign_causes(facts)
    lines = [f"campaign {facts.campaign_id} in {facts.system}: {first}"]
    lines += [f"  also: {cause}" for cause in others]
    if facts.watched and facts.watched.mailings:
        lines.append(f"  mailings: {', '.join(facts.watched.mailings)}")
    lines += [f"  {_report_line(facts, report)}" for report in facts.reports]
    return [*lines, f"  next: contact-activity status{place}"]


def _report_line(facts: CampaignFacts, report: CampaignReport) -> str:
    read = "never read" if report.read_ms is None else f"read {iso(report.read_ms)}"
    due = "no longer due" if report.due_ms is None else f"due {iso(report.due_ms)}"
    mode = facts.mode(report.id.type).value
    return f"{report.id}: {mode}, {read}, {due}, {report.rows:,} rows, {report.failures} failures"


def campaign_json(facts: CampaignFacts) -> dict[str, object]:
    """Return what `--json` prints of a campaign."""
    watched = facts.watched
    return {
        "name": facts.system,
        "campaign": facts.campaign_id,
        "causes": list(campaign_causes(facts)),
        "sent_at": _iso(watched.sent_ms if watched else None),
        "mailings": list(watched.mailings) if watched else [],
        "reports": {
            str(of.id): {
                "mode": facts.mode(of.id.type).value,
                "read_at": _iso(of.read_ms),
                "due_at": _iso(of.due_ms),
                "rows": of.rows,
                "failures": of.failures,
                "last_error": of.last_error,
            }
            for of in facts.reports
        },
    }


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)
