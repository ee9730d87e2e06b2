"""What `contact-activity explain --campaign` prints."""

from collections.abc import Sequence

from contact_activity.cli.arguments import command_line
from contact_activity.domain.campaign_report import CampaignReport
from contact_activity.domain.counted import counted
from contact_activity.domain.times import iso
from contact_activity.operations.campaign_explanation import CampaignFacts, campaign_causes, next_command
from contact_activity.operations.told_times import when, when_of_several

# So that all is on one screen.
MAX_REPORTS_SHOWN = 12
MAX_MAILINGS_SHOWN = 3


def campaign_lines(facts: CampaignFacts, place: str) -> list[str]:
    """Return what to print of a campaign. `place`: see `pasted_place`."""
    first, *others = campaign_causes(facts)
    lines = [f"campaign {facts.campaign_id} in {facts.system}: {first.text}"]
    lines += [f"  also: {cause.text}" for cause in others]
    if facts.watched and facts.watched.mailings:
        lines.append(f"  mailings: {_some(facts.watched.mailings)}")
    shown = sorted(facts.reports, key=lambda of: (of.last_error is None, of.due_ms is None, of.due_ms or 0))
    lines += [f"  {_report_line(facts, report)}" for report in shown[:MAX_REPORTS_SHOWN]]
    if len(shown) > MAX_REPORTS_SHOWN:
        lines.append(f"  and {counted(len(shown) - MAX_REPORTS_SHOWN, 'more report')}; --json has all")
    return [*lines, *_next(facts, place)]


def _some(mailings: Sequence[str]) -> str:
    left = len(mailings) - MAX_MAILINGS_SHOWN
    more = f" and {left:,} more" if left > 0 else ""
    return ", ".join(mailings[:MAX_MAILINGS_SHOWN]) + more


def next_lines(step: str, why: str = "") -> list[str]:
    """The lines of the next step: the step alone, so that it can be pasted, then what it is for."""
    return [f"  next: {step}", *([f"        ({why})"] if why else [])]


def _next(facts: CampaignFacts, place: str) -> list[str]:
    """What to do about the first cause that something can be done about, its command on a line by itself."""
    for cause in campaign_causes(facts):
        if command := command_line(cause.command, place, facts.system):
            return next_lines(command, cause.remedy)
        if cause.remedy:
            return next_lines(cause.remedy)
    return next_lines(command_line("status", place))


def _report_line(facts: CampaignFacts, report: CampaignReport) -> str:
    told, read, due = when, "never read", "no longer due"
    if report.due_ms is not None:
        told, due = when_of_several, f"due {when(report.due_ms, facts.now_ms)}"
    if report.read_ms is not None:
        read = f"read {told(report.read_ms, facts.now_ms)}"
    mode = facts.mode(report.id.type).value
    rows, failures = counted(report.rows, "row"), counted(report.failures, "failure")
    return f"{report.id}: {mode}, {read}, {due}, {rows}, {failures}"


def campaign_json(facts: CampaignFacts, place: str) -> dict[str, object]:
    """Return what `--json` prints of a campaign. `place`: see `pasted_place`."""
    watched = facts.watched
    return {
        "name": facts.system,
        "campaign": facts.campaign_id,
        "causes": [{"kind": of.kind.value, "text": of.text} for of in campaign_causes(facts)],
        "next": command_line(next_command(facts), place, facts.system),
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
