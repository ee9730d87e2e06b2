"""The line that tells how far a run is, and what it tries again."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from contact_activity.cli.progress_bar import ProgressBar
from contact_activity.run.progress import REPORTS, RunProgress

TROUBLE = "api answered 503, next try in 4 s"
READING = RunProgress(done=310, planned=500, events=1_200, calls_today=4, left_s=190)


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (READING, "310/500 contacts · 1,200 events · 4 calls today · about 3 min left"),
        (RunProgress(1, 6, 0, 4, 7.4, counted=REPORTS), "1/6 reports · 0 events · 4 calls today · 7 s left"),
        # Nothing was handed out yet: nobody knows how much there is, nor how long it takes.
        (RunProgress(0, 0, 0, 4, 0.0), "0 events · 4 calls today"),
        (
            RunProgress(6, 6, 0, 4, 250, "the contacts' shift", REPORTS),
            "6/6 reports · 0 events · 4 calls today · the contacts' shift, about 4 min left",
        ),
        (
            RunProgress(0, 0, 0, 4, 32_580, "pause: quota"),
            "0 events · 4 calls today · pause: quota, about 9 h 3 min left",
        ),
        (RunProgress(0, 0, 0, 4, None, "pause: operator"), "0 events · 4 calls today · pause: operator"),
    ],
)
def test_the_line_is_true_in_each_phase(progress: RunProgress, line: str) -> None:
    written = io.StringIO()
    with ProgressBar(Console(file=written, width=200)) as display:
        display.step("at it")
        display.show(progress)
    assert written.getvalue() == f"at it: {line}\n"


def shown(*, is_terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200)
    with ProgressBar(console) as display:
        display.step("reading activity")
        display.show(replace(READING, trouble=TROUBLE))
        display.stop()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_why_it_waits() -> None:
    """Beside the figures."""
    assert TROUBLE in shown(is_terminal=True)


def test_lines_elsewhere_leave_it_to_the_warnings() -> None:
    """They come every few seconds; the warnings once a minute."""
    told = shown(is_terminal=False)
    assert "310/500 contacts" in told
    assert TROUBLE not in told
