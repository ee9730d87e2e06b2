"""Prints a status for people, as two tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from contact_activity.cli.arguments import command_line
from contact_activity.cli.missing_right import missing_text, remedy
from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Mode
from contact_activity.operations.status import (
    REFUSED,
    Ahead,
    DayCount,
    Freshness,
    Messages,
    Spread,
    Status,
)
from contact_activity.operations.verdict import Word, verdict_of

NONE = "–"
MAX_CAUSES_SHOWN = 5
_TRUST_AGAIN = "set CAMPAIGN_REPORTS=off for one run, then auto, once the stamps agree again"
_WHILE_REFUSED = "the API does not list the campaigns: contacts' own reports bring all activity"


_STYLES = {Word.OK: "bold green", Word.LATE: "bold yellow", Word.QUOTA: "bold yellow"}


def print_status(console: Console, status: Status, place: str = "") -> None:
    """Print the verdict and what to do, a table of facts, and a table of what was published.

    `place`: see `pasted_place`.
    """
    verdict = verdict_of(status)
    console.print(status.name, style="italic")
    console.print(
        Text(verdict.word.value, style=_STYLES.get(verdict.word, "bold red")), f" {verdict.because}"
    )
    if verdict.next:
        console.print(f"next: {command_line(verdict.next, place, status.name)}")
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim")
    facts.add_column()
    for fact, text in _facts(status):
        facts.add_row(fact, text)
    console.print(facts)
    console.print(_published_table(status.published))


def _facts(status: Status) -> list[tuple[str, str]]:
    counts = status.contacts
    facts = [
        ("contacts", f"{counts.known:,} known · {counts.due:,} due · {counts.waiting:,} in a message"),
        ("", f"{counts.never_synced:,} never read · {counts.failing:,} failing · {counts.gone:,} gone"),
        *(("failing" if not n else "", line) for n, line in enumerate(_failing_lines(status))),
        ("due for", _spread_text(status.lag_s)),
        ("since last read", _spread_text(status.since_sync_s)),
        ("calls today", f"{status.quota.used:,} of {status.quota.limit:,}"),
        ("paused", ", ".join(map(_pause_text, status.pauses)) or "no"),
        *(("campaign reports" if not n else "", line) for n, line in enumerate(_reports_lines(status))),
    ]
    return facts + _rare_facts(status)


def _rare_facts(status: Status) -> list[tuple[str, str]]:
    """Return the facts that only some systems have."""
    facts = []
    if status.listing.waits:
        pages = status.listing.pages_today
        facts.append(
            ("contact list", f"{counted(pages, 'page')} today, its share of the calls: goes on at 00:00 UTC")
        )
    if status.tick_failure:
        failure = status.tick_failure
        facts.append(("last tick", f"failed at {iso(failure.at_ms)}: {failure.error}"))
    if status.contacts.asking:
        facts.append(("mailings' reports", _asking_text(status)))
    right = _right_of(status)
    if right:
        facts.append(("missing", f"{missing_text(right)}: {remedy(right)}"))
    ahead = status.clock
    if ahead.due or ahead.read or ahead.failed:
        facts.append(("clock", _ahead_text(ahead)))
    if status.messages:
        facts.append(("messages", _messages_text(status.messages)))
    return facts


def _asking_text(status: Status) -> str:
    counts, owing = status.contacts, status.campaign_reports.owing
    # Without that one mailings are not watched, and their reports are read all the same.
    is_for_right = _right_of(status) not in (None, Right.CAMPAIGN_READ) and counts.owed == counts.asking
    why = "until a right is there" if is_for_right else "for more than a day"
    failing = (
        f" · {counted(owing, 'report that they wait for fails', 'reports that they wait for fail')}"
        if owing
        else ""
    )
    waiting = counted(counts.asking, "activity waits", "activities wait")
    return f"{waiting} for it, {counts.owed:,} {why}{failing}"


def _right_of(status: Status) -> Right | None:
    return Right.named(status.missing_right.name) if status.missing_right else None


def _failing_lines(status: Status) -> list[str]:
    shown = list(status.failing_by_cause.items())[:MAX_CAUSES_SHOWN]
    return [f"{count:,} · {cause}" for cause, count in shown]


def _reports_lines(status: Status) -> list[str]:
    reports = status.campaign_reports
    failing = f" · {reports.failing:,} failing" if reports.failing else ""
    lines = [f"{reports.mode} · {reports.watched:,} watched · {reports.due:,} due{failing}"]
    if reports.mode == REFUSED:
        return lines if status.missing_right else [*lines, _WHILE_REFUSED]
    types: dict[str, list[str]] = {}
    for type_, mode in reports.modes.items():
        types.setdefault(mode, []).append(type_)
    untrusted = [mode for mode in Mode if mode in types and mode is not Mode.PUBLISH]
    if len(types) > 1:
        lines.append(" · ".join(f"{mode}: {', '.join(types[mode])}" for mode in untrusted))
    if reports.differing:
        lines.append(f"{', '.join(reports.differing)} differ from contacts' own reports")
    if Mode.OFF in types:
        lines.append(_TRUST_AGAIN)
    return lines


def _ahead_text(ahead: Ahead) -> str:
    return (
        f"was ahead: of {counted(ahead.due, 'contact')} the due time is too late "
        f"(the next tick corrects it), {ahead.read:,} were read and {ahead.failed:,} failed in the future"
    )


def _messages_text(messages: Messages) -> str:
    named = (
        ("waiting", "waiting", messages.waiting),
        ("dead letter", "dead letters", messages.dead_letters),
        ("failed tick", "failed ticks", messages.failed_ticks),
    )
    return " · ".join(counted(count, one, many) for one, many, count in named)


def _pause_text(pause: Pause) -> str:
    until = "" if pause.until_ms is None else f" until {iso(pause.until_ms)}"
    return pause.reason.value + until


def _spread_text(spread: Spread | None) -> str:
    if spread is None:
        return NONE
    named = (("median", spread.median), ("p95", spread.p95), ("oldest", spread.oldest))
    return " · ".join(f"{name} {_age(age_s)}" for name, age_s in named)


def _age(age_s: int) -> str:
    for unit, unit_s, part, part_s in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60)):
        if age_s >= unit_s:
            return f"{age_s // unit_s} {unit} {age_s % unit_s // part_s} {part}"
    return f"{age_s // 60} min" if age_s >= 60 else f"{age_s} s"


def _published_table(days: Sequence[DayCount]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("published (UTC)")
    for count in days:
        table.add_column(count.day, justify="right")
    detail_types = sorted({detail_type for count in days for detail_type in count.events})
    for detail_type in detail_types:
        table.add_row(detail_type, *(f"{count.events.get(detail_type, 0):,}" for count in days))
    table.add_row("all", *(f"{sum(count.events.values()):,}" for count in days), style="bold")
    p50, p95 = zip(*(_freshness_texts(count.freshness) for count in days), strict=True)
    table.add_row("fresh, p50", *p50)
    table.add_row("fresh, p95", *p95)
    return table


def _freshness_texts(freshness: Freshness | None) -> tuple[str, str]:
    if freshness is None:
        return NONE, NONE
    return f"within {_age(freshness.p50)}", f"within {_age(freshness.p95)}"
