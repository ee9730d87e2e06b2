"""Shows the progress of a run on standard error. Standard output is for events."""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from contact_activity.domain.counted import counted
from contact_activity.run.progress import RunProgress

LINE_INTERVAL_S = 5.0
BAR_WIDTH = 24


class ProgressBar:
    """The `Display` of a run: a bar on a terminal, a line every few seconds elsewhere.

    Warnings of the run are printed above the bar, or on `warnings`.
    """

    def __init__(self, console: Console, *, warnings: Console | None = None) -> None:
        self._console, self._warnings = console, warnings or console
        self._step = ""
        self._last_line_s = float("-inf")
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
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
        self._progress.stop()

    def step(self, text: str) -> None:
        self._step = text
        self._progress.update(self._task, description=text)

    def show(self, progress: RunProgress) -> None:
        figures = (
            f"{progress.done:,}/{progress.planned:,} {progress.counted} · "
            f"{counted(progress.events, 'event')} · {counted(progress.calls_today, 'call')} today · "
            f"{progress.waits_for or _time_left(progress.left_s)}"
        )
        self._progress.update(
            self._task, total=progress.planned or None, completed=progress.done, figures=figures
        )
        if not self._console.is_terminal:
            self._print_line(figures)

    def _print_line(self, figures: str) -> None:
        now_s = time.monotonic()
        if now_s - self._last_line_s >= LINE_INTERVAL_S:
            self._last_line_s = now_s
            self._console.print(f"{self._step}: {figures}", highlight=False, soft_wrap=True)


def _time_left(left_s: float) -> str:
    minutes, seconds = divmod(round(left_s), 60)
    return f"about {minutes} min left" if minutes else f"{seconds} s left"
