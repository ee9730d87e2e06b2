"""Where a run shows what it tries again."""

import io

from rich.console import Console

from contact_activity.cli.progress_bar import ProgressBar
from contact_activity.run.progress import RunProgress

TROUBLE = "api answered 503, next try in 4 s"
PROGRESS = RunProgress(done=1, planned=2, events=3, calls_today=4, left_s=5, trouble=TROUBLE)


def shown(*, is_terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200)
    with ProgressBar(console) as display:
        display.step("reading activity")
        display.show(PROGRESS)
        display.stop()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_why_it_waits() -> None:
    """Beside the figures."""
    assert TROUBLE in shown(is_terminal=True)


def test_lines_elsewhere_leave_it_to_the_warnings() -> None:
    """They come every few seconds; the warnings once a minute."""
    told = shown(is_terminal=False)
    assert "1/2 contacts" in told
    assert TROUBLE not in told
