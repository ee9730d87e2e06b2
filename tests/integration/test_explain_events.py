"""What `contact-activity explain` shows of an events file, whatever that file is."""

import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.operations.recent_events import MAX_LINE_BYTES, SEARCHED_BYTES, recent_events
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import SHARED, run_command

GIGABYTE = 1_000_000_000
PATH = {"PATH": os.environ["PATH"]}


def event(contact_id: str = "4711", day: int = 1, detail_type: str = "Email Opened") -> str:
    detail = {"subject": contact_id, "time": f"2026-01-{day:02}", "observedtime": "2026-02-01"}
    return json.dumps({"detail-type": detail_type, "detail": detail}) + "\n"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """The events file, which is not there yet, of a folder that knows contact 4711."""
    folder = tmp_path / "größer"
    folder.mkdir()
    with closing(Database(folder / ACCOUNT_DATABASE)) as database:
        store = sqlite_store(database, Limits(100, 10_000), SystemClock())
        store.contacts.register([ListedContact("4711", "")], SystemClock().now_ms())
    return folder / "events.jsonl"


def shown(events: Path) -> str:
    ended = run_command("explain", "4711", "--state", str(events.parent), environment=PATH)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def document_of(events: Path) -> dict[str, Any]:
    arguments = ["explain", "4711", "--state", str(events.parent), "--json"]
    document: dict[str, Any] = json.loads(run_command(*arguments, environment=PATH).stdout)
    return document


def test_of_a_huge_file_the_end_is_read_and_that_is_said(events: Path) -> None:
    """The first event lies before what is read."""
    with events.open("w") as file:
        file.write(event(day=1))
        file.truncate(GIGABYTE)
        file.seek(GIGABYTE)
        file.write("\n" + event(day=2))
    found = document_of(events)["events"]
    assert [of["occurred_at"] for of in found["events"]] == ["2026-01-02"]
    assert found["is_whole"] is False
    tail = f"contact-activity tail --contact 4711 --no-follow --state {events.parent}"
    assert tail in shown(events).replace("'", "")


def test_a_line_that_does_not_end_is_not_taken_into_memory(events: Path) -> None:
    """As a power cut may leave it: zeros."""
    with events.open("wb") as file:
        file.truncate(GIGABYTE)
    tracemalloc.start()
    try:
        recent_events(events, "4711")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_LINE_BYTES


@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_event_at_the_edge_of_what_is_read_is_whole_or_left_out(events: Path, before: int) -> None:
    """The first line that is looked at begins there, `before` bytes of the file come earlier."""
    line = event().encode()
    with events.open("wb") as file:
        file.write(b"x" * (before - 1) + b"\n" if before else b"")
        file.write(line)
        file.truncate(before + SEARCHED_BYTES)
    recent = recent_events(events, "4711")
    assert recent is not None
    assert (len(recent.events), recent.broken) == (1, 0)


def test_a_pipe_in_place_of_the_file_holds_nobody_up(events: Path) -> None:
    os.mkfifo(events)
    assert document_of(events)["events"] is None


def test_a_file_that_cannot_be_read_is_no_file_without_events(events: Path) -> None:
    # Root may read all, but nobody follows a link for ever.
    events.symlink_to(events)
    document = document_of(events)
    assert document["events"] is None
    assert "symbolic links" in document["events_error"]
    assert "the events file cannot be read (" in shown(events)


def test_what_the_file_says_steers_no_terminal_and_ends_no_command(events: Path) -> None:
    events.write_text(event(detail_type="Email \x1b[2J") + event(detail_type="Email \ud800"))
    text = shown(events)
    assert "\x1b" not in text
    assert text.count("event: Email ?") == 2


def test_what_a_terminal_lacks_is_shown_as_an_escape(events: Path) -> None:
    # An encoding is chosen when a process starts.
    called = [sys.executable, "-m", "contact_activity", "explain", "4711", "--state", str(events.parent)]
    environment = PATH | {"PYTHONPATH": str(SHARED), "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(called, env=environment, capture_output=True, check=True)
    assert b"gr\\xf6\\xdfer" in ended.stdout


def test_a_folder_that_looks_like_an_option_can_be_pasted(events: Path) -> None:
    folder = events.parent.parent
    events.parent.rename(folder / "-state")
    ended = run_command("explain", "4711", "--state=-state", environment=PATH, folder=folder)
    assert "--state=-state" in ended.stdout


def test_an_empty_campaign_is_refused() -> None:
    ended = run_command("explain", "--campaign", "", environment=PATH)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)


def test_an_event_of_no_day_is_a_broken_line(events: Path) -> None:
    """It cannot be told when that was."""
    events.write_text(event(day=99) + event(day=1), encoding="utf-8")
    recent = recent_events(events, "4711")
    assert recent is not None
    assert ([of.occurred_at for of in recent.events], recent.broken) == (["2026-01-01"], 1)
