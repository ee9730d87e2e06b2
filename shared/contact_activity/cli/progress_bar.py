"""Shows the progress of a run, and its first events, on standard error. Standard output is for events."""

import logging
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from contact_activity.cli.event_line import line_of
from contact_activity.domain.counted import counted
from contact_activity.run.progress import RunProgress

LINE_INTERVAL_S = 5.0
BAR_WIDTH = 24
# Of a run, or of each tick of one that goes on.
SHOWN_EVENTS = 10


class ProgressBar:
    """The `Display` of a run: a bar on a terminal that can draw one, a line every few seconds elsewhere.

    `draws`: false where others write to the same terminal, whose lines a bar would run into.

    Where there is a bar, the first events are printed above it, unless `shows_events` is false. Warnings of
    the run are printed above it, too, or on `warnings`.
    """

    def __init__(
        self,
        console: Console,
        *,
        warnings: Console | None = None,
        shows_events: bool = True,
        draws: bool = True,
    ) -> None:
        self._console, self._warnings = console, warnings or console
        self._draws = draws and console.is_interactive
        self._shows_events = shows_events and self._draws
        self._publishing = threading.Lock()
        self._shown = self._more = 0
        self._step = ""
        self._last_line_s = float("-inf")
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            disable=not self._draws,
        )
        self._task = self._progress.add_task("starting", total=None, figures="")

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        handler = RichHandler(console=self._warnings, show_path=False, show_time=False)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Show no bar any more."""
        self._progress.stop()

    def step(self, text: str) -> None:
        self._step = text
        self._progress.update(self._task, description=text)

    def show(self, progress: RunProgress) -> None:
        figures = _figures(progress)
        # A line elsewhere leaves it out: a warning tells it, once a minute.
        shown = f"{figures} · {progress.trouble}" if progress.trouble else figures
        self._progress.update(
            self._task, total=progress.planned or None, completed=progress.done, figures=shown
        )
        if not self._draws:
            self._print_line(figures)

    def published(self, lines: bytes) -> None:
        if not self._shows_events:
            return
        with self._publishing:
            events = lines.split(b"\n")[:-1]
            room = SHOWN_EVENTS - self._shown
            for text in filter(None, map(line_of, events[:room])):
                self._console.print(Text(text), soft_wrap=True)
            self._shown += len(events[:room])
            self._more += len(events[room:])

    def tick_is_over(self) -> None:
        with self._publishing:
            if self._more:
                self._console.print(f"and {self._more:,} more", highlight=False)
            self._shown = self._more = 0

    def _print_line(self, figures: str) -> None:
        now_s = time.monotonic()
        if now_s - self._last_line_s >= LINE_INTERVAL_S:
            self._last_line_s = now_s
            self._console.print(f"{self._step}: {figures}", highlight=False, soft_wrap=True)


def _figures(progress: RunProgress) -> str:
    # Nothing is counted before anything is handed out.
    done = [f"{progress.done:,}/{progress.planned:,} {progress.counted}"] if progress.planned else []
    figures = [*done, counted(progress.events, "event"), f"{counted(progress.calls_today, 'call')} today"]
    left = [] if progress.left_s is None else [f"{_time(progress.left_s)} left"]
    if progress.waits_for:
        figures.append(", ".join([progress.waits_for, *left]))
    elif progress.planned:
        figures += left
    return " · ".join(figures)


def _time(time_s: float) -> str:
    hours, minutes = divmod(round(time_s / 60), 60)
    if hours:
        return f"about {hours} h {minutes} min"
    return f"{round(time_s)} s" if time_s < 60 else f"about {minutes} min"
