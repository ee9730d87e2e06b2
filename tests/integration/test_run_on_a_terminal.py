"""What a run shows of its events on a terminal: the first ones, above the bar, as `tail` shows them."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from contact_activity.cli.event_line import event_line
from contact_activity.cli.progress_bar import SHOWN_EVENTS, ProgressBar
from contact_activity.errors import StandstillError
from contact_activity.run.sinks import ShownSink
from tests.support.command_line import COMMAND, SHARED, run_command

OWN = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "CALLS_PER_SECOND": "1000", "TERM": "xterm"}
CLICK = json.loads(
    (Path(__file__).parents[2] / "events" / "samples" / "email.clicked.v1.json").read_text(encoding="utf-8")
)
LINE = json.dumps(CLICK).encode() + b"\n"
# What moves the cursor and what colours.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
A_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  [a-z]+ +\d+  ")
PROGRESS = re.compile(r"[a-z ]+: .*calls? today")
WITHIN_S = 60


class Terminal:
    """What a process writes to a terminal."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._read = b""

    def until(self, is_there: Callable[[], bool]) -> None:
        """Read until that is there, or the other side is closed."""
        give_up_s = time.monotonic() + WITHIN_S
        # Linux answers with an error once nobody has the other side open.
        with suppress(OSError):
            while not is_there() and (some := os.read(self._file, 65_536)):
                self._read += some
                assert time.monotonic() < give_up_s, self.lines()

    def lines(self) -> list[str]:
        text = CONTROL.sub("", self._read.decode(errors="replace"))
        return [line for line in re.split(r"[\r\n]+", text) if line]

    def events(self) -> list[str]:
        return [line for line in self.lines() if A_LINE.match(line)]


@contextmanager
def on_a_terminal(
    *arguments: str, term: str = "xterm", is_stdout: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """Start a run whose standard error is a terminal. `is_stdout`: standard output, too."""
    ours, theirs = pty.openpty()
    environment = OWN | {"PYTHONPATH": str(SHARED), "TERM": term}
    command = [str(COMMAND), "run", *arguments]
    output = theirs if is_stdout else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=output, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield process, Terminal(ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def lines_of(path: Path) -> list[str]:
    return [event_line(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_first_events_are_shown_above_the_bar(tmp_path: Path) -> None:
    """As `tail` shows them; then come the progress and the summary."""
    with on_a_terminal("--state", str(tmp_path)) as (process, terminal):
        terminal.until(lambda: False)
        assert process.wait(WITHIN_S) == 0
    shown, published = terminal.events(), lines_of(tmp_path / "events.jsonl")
    assert len(published) > len(shown) == SHOWN_EVENTS
    assert set(shown) <= set(published)
    after = terminal.lines()[terminal.lines().index(shown[-1]) :]
    assert any("reading activity" in line for line in after)
    assert any(line.startswith("Email Sent") for line in after)
    assert not any(re.fullmatch(r"and [\d,]+ more", line) for line in terminal.lines())


def test_a_run_that_goes_on_counts_the_rest_of_a_tick(tmp_path: Path) -> None:
    with on_a_terminal("--state", str(tmp_path), "--every", "5") as (process, terminal):
        terminal.until(lambda: any(re.fullmatch(r"and [\d,]+ more", line) for line in terminal.lines()))
        process.send_signal(signal.SIGTERM)
        terminal.until(lambda: False)
        assert process.wait(WITHIN_S) == 0
    published = lines_of(tmp_path / "events.jsonl")
    assert len(terminal.events()) == SHOWN_EVENTS
    assert f"and {len(published) - SHOWN_EVENTS:,} more" in terminal.lines()


@pytest.mark.parametrize("arguments", [["--quiet"], ["--events", "-"]])
def test_none_are_shown_where_they_would_disturb(tmp_path: Path, arguments: Sequence[str]) -> None:
    with on_a_terminal("--state", str(tmp_path), *arguments) as (process, terminal):
        terminal.until(lambda: False)
        assert process.wait(WITHIN_S) == 0
    assert terminal.events() == []
    assert (tmp_path / "events.jsonl").stat().st_size


def test_no_bar_runs_into_events_on_the_same_terminal(tmp_path: Path) -> None:
    with on_a_terminal("--state", str(tmp_path), "--events", "-", is_stdout=True) as (process, terminal):
        terminal.until(lambda: False)
        assert process.wait(WITHIN_S) == 0
    lines = terminal.lines()
    published = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if '"detail"' in line} == set(published)
    assert any(map(PROGRESS.match, lines))


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "colours"])
def test_off_a_terminal_there_are_none(tmp_path: Path, variables: dict[str, str]) -> None:
    """Nor is a bar drawn there, also where colours are forced, as CI does; lines tell how far it is."""
    ended = run_command("run", "--state", str(tmp_path), environment=OWN | variables)
    assert ended.returncode == 0
    lines = [CONTROL.sub("", line) for line in ended.stderr.splitlines()]
    assert not [line for line in lines if A_LINE.match(line)]
    assert any(map(PROGRESS.match, lines))
    assert not [moves for moves in CONTROL.findall(ended.stderr) if not moves.endswith("m")]


def test_a_terminal_that_draws_nothing_gets_lines(tmp_path: Path) -> None:
    """As that of an editor: it showed nothing of a run until its end."""
    with on_a_terminal("--state", str(tmp_path), term="dumb") as (process, terminal):
        terminal.until(lambda: False)
        assert process.wait(WITHIN_S) == 0
    assert any(map(PROGRESS.match, terminal.lines()))


@pytest.mark.cloud
def test_those_of_the_local_cloud_are_shown(tmp_path: Path) -> None:
    with on_a_terminal("--state", str(tmp_path), "--engine", "cloud") as (process, terminal):
        terminal.until(lambda: len(terminal.events()) == SHOWN_EVENTS)
        process.send_signal(signal.SIGTERM)
        terminal.until(lambda: False)
        process.wait(WITHIN_S)
    assert set(terminal.events()) <= set(lines_of(tmp_path / "cloud-events.jsonl"))


@pytest.fixture
def bar() -> ProgressBar:
    """On a terminal that cannot move its cursor, so that the lines alone are in it."""
    return ProgressBar(Console(file=StringIO(), force_terminal=True, width=20, color_system=None))


def printed(bar: ProgressBar) -> list[str]:
    file = bar._console.file
    assert isinstance(file, StringIO)
    return file.getvalue().splitlines()


def test_each_tick_shows_its_own(bar: ProgressBar) -> None:
    """Long lines are not broken. A tick without events shows nothing."""
    line = event_line(CLICK)
    bar.published(LINE * 12)
    bar.published(LINE)
    bar.tick_is_over()
    bar.tick_is_over()
    bar.published(LINE)
    assert printed(bar) == [line] * SHOWN_EVENTS + ["and 3 more", line]


def test_what_has_no_line_does_not_stop_the_publication(bar: ProgressBar) -> None:
    """Nor does text of others command the terminal."""
    detail = CLICK["detail"]
    url = {"link": {"id": "1", "url": "https://x/[bold]:bomb:"}}
    odd = json.dumps(CLICK | {"detail": detail | {"data": detail["data"] | url}}).encode()
    bar.published(b"{\n[]\n1\n\xff\n" + odd + b"\n")
    (line,) = printed(bar)
    assert "x/[bold]:bomb:" in line


def test_what_the_file_did_not_take_is_not_shown() -> None:
    class Full:
        def write(self, _: bytes, /) -> int:
            raise StandstillError("full", is_passing=False)

    shown: list[bytes] = []
    with pytest.raises(StandstillError):
        ShownSink(Full(), shown.append).write(LINE)
    assert shown == []
