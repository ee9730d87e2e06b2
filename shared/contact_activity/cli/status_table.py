"""Prints a status for people: the verdict, facts, and what was published. Narrow terminals get lists."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from contact_activity.cli.arguments import command_line
from contact_activity.cli.narrow import LEAST_COLUMNS
from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.times import midnight_after
from contact_activity.domain.trust import Mode
from contact_activity.operations.remedies import for_right, login_command
from contact_activity.operations.status import (
    REFUSED,
    Ahead,
    DayCount,
    Freshness,
    LoginStatus,
    Messages,
    Spread,
    Status,
)
from contact_activity.operations.told_times import duration, when
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
    if right := status.missing_right:
        # A table would break its command.
        console.print(f"{right.missing}: {for_right(right, login_command(place))}")
    if console.width < LEAST_COLUMNS:
        _print_lists(console, status)
        return
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for fact, lines in _facts(status):
        for number, line in enumerate(lines):
            facts.add_row("" if number else fact, line)
    console.print(facts)
    console.print(_published_table(status.published))


def _print_lists(console: Console, status: Status) -> None:
    for fact, lines in _facts(status):
        console.print(fact, style="dim")
        for line in lines:
            console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2)), soft_wrap=False)
    for count in status.published:
        console.print(f"published {count.day} (UTC)", style="dim")
        for what, text in _published_rows([count]):
            console.print(Padding(Text(f"{what}: {text[0]}", overflow="fold"), (0, 0, 0, 2)), soft_wrap=False)


def _facts(status: Status) -> list[tuple[str, list[str]]]:
    """Return each fact with its lines; without those that only some systems have, and this one has not."""
    counts = status.contacts
    facts = [
        (
            "contacts",
            [
                f"{counts.known:,} known · {counts.due:,} due · {counts.waiting:,} in a message",
                f"{counts.never_synced:,} never read · {counts.failing:,} failing · {counts.gone:,} gone",
            ],
        ),
        ("failing", _failing_lines(status)),
        ("due for", [_spread_text(status.lag_s)]),
        ("since last read", [_spread_text(status.since_sync_s)]),
        ("calls today", [_calls_text(status)]),
        ("paused", [", ".join(_pause_text(pause, status.at_ms) for pause in status.pauses) or "no"]),
        ("login", _login_lines(status.login, status.at_ms)),
        ("campaign reports", _reports_lines(status)),
        ("contact list", _listing_lines(status)),
        ("last tick", _tick_lines(status)),
        ("mailings' reports", [_asking_text(status)] if counts.asking else []),
        ("clock", _ahead_lines(status.clock)),
        ("messages", [_messages_text(status.messages)] if status.messages else []),
    ]
    return [(fact, lines) for fact, lines in facts if lines]


def _calls_text(status: Status) -> str:
    """A folder does not keep the limit of its runs, so that another shell may count by another one."""
    whose = "" if status.messages else " (CALLS_PER_DAY × QUOTA_SHARE of this shell)"
    return f"{status.quota.used:,} of {status.quota.limit:,}{whose}"


def _listing_lines(status: Status) -> list[str]:
    if not status.listing.waits:
        return []
    pages = counted(status.listing.pages_today, "page")
    goes_on = when(midnight_after(status.at_ms), status.at_ms)
    return [f"{pages} today, its share of the calls: goes on {goes_on}"]


def _tick_lines(status: Status) -> list[str]:
    failure = status.tick_failure
    return [f"failed {when(failure.at_ms, status.at_ms)}: {failure.error}"] if failure else []


def _login_lines(login: LoginStatus | None, now_ms: int) -> list[str]:
    if login is None:
        return []
    if login.fault:
        return [login.fault]
    account = f"account {login.account}" if login.account else "no account is known yet"
    if login.is_dead:
        return [f"{account} · the provider takes its refresh token no more: log in again"]
    if login.renewed_ms is None and not login.is_renewed:
        return [f"{account} · no token is stored: an access token that is given lives for a day at most"]
    got = "access token not asked for yet"
    if login.renewed_ms is not None:
        got = f"access token of {when(login.renewed_ms, now_ms)}"
    ends = "" if login.ends_ms is None else f" until {when(login.ends_ms, now_ms)}, then log in again"
    return [f"{account} · {got}, " + ("renewed by itself" if login.is_renewed else f"works{ends}")]


def _asking_text(status: Status) -> str:
    counts, owing = status.contacts, status.campaign_reports.owing
    # Without that one mailings are not watched, and their reports are read all the same.
    is_for_right = status.missing_right not in (None, Right.CAMPAIGN_READ) and counts.owed == counts.asking
    why = "until a right is there" if is_for_right else "for more than a day"
    waits = (
        "waits for the report of its mailing" if counts.asking == 1 else "wait for those of their mailings"
    )
    fails = "fails" if owing == 1 else "fail"
    failing = f" · {counted(owing, 'report')} that they wait for {fails}" if owing else ""
    return f"{counted(counts.asking, 'activity', 'activities')} {waits}, {counts.owed:,} {why}{failing}"


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
    if len(types) > 1:
        lines.append(" · ".join(f"{mode}: {', '.join(types[mode])}" for mode in Mode if mode in types))
    if reports.differing:
        lines.append(f"{', '.join(reports.differing)} differ from contacts' own reports")
    if Mode.OFF in types:
        lines.append(_TRUST_AGAIN)
    return lines


def _ahead_lines(ahead: Ahead) -> list[str]:
    if not (ahead.due or ahead.read or ahead.failed):
        return []
    has = "has" if ahead.due == 1 else "have"
    due = f"{counted(ahead.due, 'contact')} {has} a due time that is too late (the next tick corrects it)"
    others = f"{ahead.read:,} read and {ahead.failed:,} failed in the future"
    return [f"was ahead, or CALLS_PER_DAY was smaller: {due}, {others}"]


def _messages_text(messages: Messages) -> str:
    letters, ticks = (
        counted(messages.dead_letters, "dead letter"),
        counted(messages.failed_ticks, "failed tick"),
    )
    return f"{messages.waiting:,} waiting · {letters} · {ticks}"


def _pause_text(pause: Pause, now_ms: int) -> str:
    until = "" if pause.until_ms is None else f" until {when(pause.until_ms, now_ms)}"
    return pause.reason.value + until


def _spread_text(spread: Spread | None) -> str:
    if spread is None:
        return NONE
    named = (("median", spread.median), ("p95", spread.p95), ("oldest", spread.oldest))
    return " · ".join(f"{name} {duration(age_s)}" for name, age_s in named)


def _published_table(days: Sequence[DayCount]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("published (UTC)", overflow="fold")
    for count in days:
        table.add_column(count.day, justify="right", no_wrap=True)
    for what, texts in _published_rows(days):
        table.add_row(what, *texts, style="bold" if what == "all" else None)
    return table


def _published_rows(days: Sequence[DayCount]) -> list[tuple[str, list[str]]]:
    """Return what each row tells, with a text for each day."""
    detail_types = sorted({detail_type for count in days for detail_type in count.events})
    rows = [
        (detail_type, [f"{count.events.get(detail_type, 0):,}" for count in days])
        for detail_type in detail_types
    ]
    rows.append(("all", [f"{sum(count.events.values()):,}" for count in days]))
    fresh = [_freshness_texts(count.freshness) for count in days]
    return [*rows, ("fresh, p50", [p50 for p50, _ in fresh]), ("fresh, p95", [p95 for _, p95 in fresh])]


def _freshness_texts(freshness: Freshness | None) -> tuple[str, str]:
    if freshness is None:
        return NONE, NONE
    return f"within {duration(freshness.p50)}", f"within {duration(freshness.p95)}"
