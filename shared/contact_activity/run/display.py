"""What a person sees of a run: a progress bar or plain lines while it works, a summary at its end.

All of it goes to standard error; standard output is for events.
"""

import logging
import time
from datetime import UTC, datetime
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.pauses import Pause
from contact_activity.domain.schedule import are_too_many_gone
from contact_activity.domain.summary import SummaryKind
from contact_activity.run.options import Account, RunOptions, Standing, Summary

PLAIN_LINE_EVERY_S = 5.0
BAR_CELLS = 24
FAILED_SHOWN = 5


class RunDisplay:
    """A live bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = ""
        self._said_s = float("-inf")
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(BAR_CELLS),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, figures="")

    def __enter__(self) -> "RunDisplay":
        self._progress.start()
        handler = RichHandler(console=self._console, show_path=False, show_time=False)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, text: str) -> None:
        self._step = text
        self._progress.update(self._task, description=text)

    def show(self, standing: Standing) -> None:
        figures = (
            f"{standing.done:,}/{standing.planned:,} contacts · {standing.events:,} events · "
            f"{standing.calls:,} calls today · {_left(standing)}"
        )
        self._progress.update(
            self._task, total=standing.planned or None, completed=standing.done, figures=figures
        )
        if not self._console.is_terminal and time.monotonic() - self._said_s >= PLAIN_LINE_EVERY_S:
            self._said_s = time.monotonic()
            self._console.print(f"{self._step}: {figures}", highlight=False, soft_wrap=True)


def _left(standing: Standing) -> str:
    if standing.wait:
        return standing.wait
    if standing.left_s is None:
        return "…"
    minutes, seconds = divmod(round(standing.left_s), 60)
    return f"about {minutes} min left" if minutes else f"{seconds} s left"


def print_start(console: Console, account: Account, options: RunOptions, engine: str) -> None:
    settings = account.settings
    where = "a simulated account on this machine" if account.is_simulated else settings.base_url
    console.print(f"Contact Activity · {engine} engine · reading {where}", highlight=False, soft_wrap=True)
    if account.is_simulated:
        console.print(
            f"No credentials are set, so nothing leaves this machine. The simulated account allows "
            f"{settings.calls_per_second:g} calls/s to keep this short; the real one allows 4.",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )
    if options.every_ms:
        console.print(f"A tick every {options.every_ms // 60_000} min; stop with Ctrl-C.", highlight=False)


def print_summary(console: Console, summary: Summary, options: RunOptions, took_s: float) -> None:
    """The end of a run: events by type, then what else there is to know, if anything."""
    if summary.published:
        console.print(_events_table(summary))
    elif not summary.pause and not summary.failed and not summary.to_check:
        console.print(_nothing_text(summary), soft_wrap=True)
    console.print(
        f"{summary.published:,} events from {summary.synced:,} contacts in {took_s:.1f} s · "
        f"{summary.contacts:,} contacts known · {summary.calls_today:,} calls today",
        highlight=False,
        soft_wrap=True,
    )
    for line in _remarks(summary):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"Events: {options.events}", highlight=False, soft_wrap=True)


def _nothing_text(summary: Summary) -> str:
    if summary.contacts and not summary.synced and not summary.gone:
        return "No contact is due yet, so none was read; with --all each is read now."
    return "Nothing new: no contact did anything that is not published already."


def _events_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    most = max(summary.events.values())
    summarized = [kind for kind in SummaryKind if summary.events[kind.detail_type]]
    for type_ in (*ActivityType, *summarized):
        count = summary.events[type_.detail_type]
        bar = "█" * max(1, round(BAR_CELLS * count / most)) if count else ""
        table.add_row(type_.detail_type, f"{count:,}", Text(bar, style="cyan"))
    return table


def _remarks(summary: Summary) -> list[str]:
    remarks = []
    if summary.gone:
        remarks.append(
            f"{summary.gone:,} contacts no longer exist; they are asked again after a tick, a day, "
            "then 7, 14 and 28 days."
        )
    if are_too_many_gone(summary.newly_gone, summary.synced + summary.gone):
        remarks.append(
            f"{summary.newly_gone:,} contacts are gone at once: is CONSTANT_CONTACT_BASE_URL right, "
            "and is it the account that was read before?"
        )
    if summary.unreadable_rows:
        remarks.append(f"{summary.unreadable_rows:,} rows were no activity and were skipped (digests above).")
    if summary.unreadable_contacts:
        remarks.append(f"{summary.unreadable_contacts:,} rows of the contact list had no usable id.")
    if summary.collapsed:
        remarks.append(f"{summary.collapsed:,} rows repeated another to the millisecond and count as one.")
    if summary.full_memories:
        remarks.append(
            f"{summary.full_memories:,} contacts have more activity inside OVERLAP_HOURS than is remembered."
        )
    if summary.owed_summaries:
        remarks.append(f"{summary.owed_summaries:,} summaries could not be had; they are asked for later.")
    return remarks + _failures(summary)


def _failures(summary: Summary) -> list[str]:
    remarks = []
    if summary.failed_tries:
        causes = ", ".join(f"{cause} ({count:,})" for cause, count in summary.failed_tries.most_common())
        remarks.append(f"{summary.failed_tries.total():,} calls failed: {causes}.")
    for name, cause in list(summary.failed.items())[:FAILED_SHOWN]:
        remarks.append(f"{name} failed: {cause}; it is tried again later.")
    if len(summary.failed) > FAILED_SHOWN:
        remarks.append(f"... and {len(summary.failed) - FAILED_SHOWN:,} more contacts failed.")
    return remarks


def pause_text(pause: Pause) -> str:
    """One line: what is paused, and what ends it."""
    if pause.reason == "credential":
        return (
            "the API refuses the credential: renew CONSTANT_CONTACT_ACCESS_TOKEN "
            "(or CONSTANT_CONTACT_API_KEY) and run again"
        )
    until = ""
    if pause.until_ms is not None:
        until = datetime.fromtimestamp(pause.until_ms / 1_000, UTC).strftime(" until %Y-%m-%d %H:%M UTC")
    if pause.reason == "quota":
        return f"the day's quota is used up{until}: run again then, the rest is kept"
    return f"paused by the operator{until}: `contact-activity resume` ends it"
