"""Prints what a run reads when it starts, and its summary when it ends, on standard error."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.schedule import are_too_many_gone
from contact_activity.domain.summary import SummaryKind
from contact_activity.errors import Cause
from contact_activity.operations.remedies import WRONG_CLIENT, for_right, login, renewal
from contact_activity.operations.told_times import when
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.program import program
from contact_activity.run.summary import Summary
from contact_activity.settings import AnyCredentials

BAR_WIDTH = 24
# A table without a box has a blank on both sides of a column, but at its edges.
_COLUMN_GAPS = 4
MAX_FAILED_SHOWN = 5
_SHORT = {
    Cause.TIMED_OUT.value: "timed out",
    Cause.CONNECTION_CLOSED.value: "connection closed",
    Cause.CONNECTION_REFUSED.value: "connection refused",
    Cause.ANSWER_UNUSABLE.value: "cut or unusable answer",
}


def print_start(console: Console, account: Account, options: RunOptions, engine: str) -> None:
    settings = account.settings
    where = "a simulated account on this machine" if account.is_simulated else settings.base_url
    version = settings.api_version.value
    _print(console, f"Contact Activity · {engine} engine · API {version} · reading {where}")
    if account.is_simulated:
        text = (
            f"No credentials are set, so nothing leaves this machine. The simulated account allows "
            f"{settings.calls_per_second:g} calls/s to keep this short; the real one allows 4."
        )
        console.print(text, style="dim", highlight=False, soft_wrap=True)
    if options.every_ms:
        console.print(f"A tick every {options.every_ms // 60_000} min; stop with Ctrl-C.", highlight=False)


@dataclass(frozen=True, slots=True)
class Hints:
    """What to do, in words: `login` brings other tokens; `run` is the command of this run, without --all."""

    login: str
    run: str


def print_summary(
    console: Console, summary: Summary, options: RunOptions, took_s: float, hints: Hints
) -> None:
    """Print the summary of a run: the events by type, then what else is worth knowing."""
    if summary.published:
        console.print(_events_table(summary, console.width))
    elif not summary.pause and not summary.failed and not summary.unreachable:
        console.print(_nothing_text(summary), soft_wrap=True)
    reports = f"{counted(summary.reports, 'report')} read · " if summary.reports else ""
    _print(
        console,
        f"{counted(summary.published, 'event')} from {counted(summary.synced, 'contact')} "
        f"in {took_s:.1f} s · {reports}"
        f"{counted(summary.contacts, 'contact')} known · {counted(summary.calls_today, 'call')} today",
    )
    failed = (*_failed_reports(summary), *_failed_contacts(summary))
    for line in (
        *_missing_right(summary, hints),
        *_remarks(summary),
        *_calls(summary),
        *failed,
    ):
        _print(console, line)
    _print(console, f"Events: {options.events}")


def print_warnings(console: Console, summary: Summary, hints: Hints) -> None:
    """Print what of a summary calls for somebody: missing rights, and what failed."""
    for line in (*_missing_right(summary, hints), *_failed_reports(summary), *_failed_contacts(summary)):
        _print(console, line)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def _nothing_text(summary: Summary) -> str:
    right = summary.missing_right
    if right and not summary.synced:
        return f"No contact could be read: {right.missing}."
    if right and summary.asking:
        return f"Nothing could be published, since mailings' reports could not be read: {right.missing}."
    if summary.contacts and not summary.synced and not summary.gone:
        return "No contact is due yet, so none was read; --all reads each one now."
    return "Nothing new: no contact did anything that is not published already."


def _events_table(summary: Summary, width: int) -> Table:
    """Return a line for each type of event, whose bar has what the width of the terminal leaves."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    highest = max(summary.events.values())
    summarized = [kind for kind in SummaryKind if summary.events[kind.detail_type]]
    shown = [type_.detail_type for type_ in (*ActivityType, *summarized)]
    left = width - max(map(len, shown)) - len(f"{highest:,}") - _COLUMN_GAPS
    longest = max(0, min(BAR_WIDTH, left))
    for detail_type in shown:
        count = summary.events[detail_type]
        bar = "█" * max(1, round(longest * count / highest)) if count and longest else ""
        table.add_row(detail_type, f"{count:,}", Text(bar, style="cyan"))
    return table


def _remarks(summary: Summary) -> list[str]:
    remarks = []
    if summary.gone:
        remarks.append(
            counted(
                summary.gone,
                "contact no longer exists; it is asked for again",
                "contacts no longer exist; they are asked for again",
            )
            + " after a tick, a day, then 7, 14 and 28 days."
        )
    if are_too_many_gone(summary.newly_gone, summary.synced + summary.gone):
        remarks.append(
            f"{counted(summary.newly_gone, 'contact is', 'contacts are')} gone at once: "
            "is CONSTANT_CONTACT_BASE_URL right, and is it the account that was read before?"
        )
    if summary.unreadable_rows:
        rows = counted(
            summary.unreadable_rows,
            "row was no activity and was skipped (digest above).",
            "rows were no activity and were skipped (digests above).",
        )
        remarks.append(rows)
    if summary.unreadable_contacts:
        remarks.append(f"{counted(summary.unreadable_contacts, 'row')} of the contact list had no usable id.")
    if summary.collapsed:
        count = "counts" if summary.collapsed == 1 else "count"
        rows = counted(summary.collapsed, "row")
        remarks.append(f"{rows} repeated another to the millisecond and {count} as one.")
    if summary.full_memories:
        remarks.append(
            counted(summary.full_memories, "contact has", "contacts have")
            + " more activity inside OVERLAP_HOURS than is remembered."
        )
    if summary.asking and not summary.missing_right:
        remarks.append(
            counted(
                summary.asking,
                "activity waits until the report of its mailing shows it",
                "activities wait until the report of their mailing shows them",
            )
            + f", {summary.owed:,} for more than a day; that is read again for it."
        )
    if summary.owed_summaries:
        summaries = counted(
            summary.owed_summaries,
            "summary could not be read; it is asked for later.",
            "summaries could not be read; they are asked for later.",
        )
        remarks.append(summaries)
    return remarks


def _missing_right(summary: Summary, hints: Hints) -> list[str]:
    right = summary.missing_right
    if right is None or summary.pause:
        # What ends the run is told with the pause.
        return []
    # Contacts' own reports take it, too, so that there is nothing to wait with.
    again = " --all" if summary.refused else ""
    line = f"Warning: {right.missing}, so {_without(summary, right)}"
    return [f"{line}. To mend it, {for_right(right, hints.login)}; then `{hints.run}{again}`."]


def _without(summary: Summary, right: Right) -> str:
    """What cannot be had."""
    if summary.refused:
        contacts = counted(len(summary.refused), "contact, whose", "contacts, whose")
        return f"the API refuses the reports of {contacts} activity is owed"
    if right is Right.CAMPAIGN_READ:
        return "mailings are not watched: what they tell comes later, as contacts' own reports show it"
    return f"the API refuses mailings' reports: {counted(summary.owed, 'activity is', 'activities are')} owed"


def _calls(summary: Summary) -> list[str]:
    return [*_retries(summary), *_failed_calls(summary)]


def _retries(summary: Summary) -> list[str]:
    if not summary.retries:
        return []
    most_first = summary.retries.most_common()
    kinds = ", ".join(f"{count:,} × {_SHORT.get(kind, kind)}" for kind, count in most_first)
    return [f"Calls: {summary.tries:,}, of them {summary.retries.total():,} retried: {kinds}"]


def _failed_calls(summary: Summary) -> list[str]:
    if not summary.failed_calls:
        return []
    causes = ", ".join(f"{cause} ({count:,})" for cause, count in summary.failed_calls.most_common())
    return [f"{counted(summary.failed_calls.total(), 'call')} failed: {causes}."]


def _failed_reports(summary: Summary) -> list[str]:
    """A line for each of the first. What they would have shown is in contacts' own reports, or waits."""
    failed = {id_: (cause, summary.owing.get(id_)) for id_, cause in summary.failed_reports.items()}
    failed |= {id_: (cause, cause) for id_, cause in summary.owing.items()}
    shown = list(failed.items())[:MAX_FAILED_SHOWN]
    lines = []
    for id_, (cause, owing) in shown:
        then = "contacts' activity waits for this report" if owing else "its contacts are read all the same"
        lines.append(f"Campaign report {id_} was not read: {cause}; {then}.")
    if len(failed) > MAX_FAILED_SHOWN:
        more = len(failed) - MAX_FAILED_SHOWN
        reports = counted(more, "more campaign report was", "more campaign reports were")
        lines.append(f"... and {reports} not read.")
    return lines


def _failed_contacts(summary: Summary) -> list[str]:
    shown = list(summary.failed.items())[:MAX_FAILED_SHOWN]
    lines = [f"{name} failed: {cause}; it is tried again later." for name, cause in shown]
    if len(summary.failed) > MAX_FAILED_SHOWN:
        lines.append(f"... and {counted(len(summary.failed) - MAX_FAILED_SHOWN, 'more contact')} failed.")
    return lines


def pause_text(
    pause: Pause,
    credentials: AnyCredentials,
    now_ms: int,
    denied: str = "",
    where: str = "",
    used: int = 0,
    limit: int = 0,
) -> str:
    """Return one line: what is paused, and what ends the pause. `denied`: see `Summary`.

    `where`: what its commands need to act on the same folder, after a blank. `used` and `limit`: calls of
    the day.
    """
    if pause.reason == "credential":
        if denied in WRONG_CLIENT:
            return f"the token endpoint refuses the application: {WRONG_CLIENT[denied]}, and run again"
        if right := Right.named(pause.lacks):
            remedy = for_right(right, login(credentials, where))
            return f"{right.missing}, so the API does not list the contacts: {remedy}, and run again"
        return f"the API refuses the credential: {renewal(credentials, where)}, and run again"
    until = ""
    if pause.until_ms is not None:
        until = f" until {when(pause.until_ms, now_ms)}"
    if pause.reason == "quota":
        calls = f"{used:,} of {limit:,}, by CALLS_PER_DAY × QUOTA_SHARE of this shell"
        if used < limit:
            calls = f"as the API says; {used:,} of {limit:,} counted here"
        return f"the day's calls are used up ({calls}){until}: run again then, the rest is kept"
    return f"paused by the operator{until}: `{program()} resume{where}` ends it"
