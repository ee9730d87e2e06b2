"""`contact-activity status --watch`, as a process, and the status at any width of a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.freshness import by_bucket
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.reports import SqliteReports
from contact_activity.sqlite.store import SqliteListings, SqlitePauses, SqliteTally
from tests.support.command_line import SHARED, run_command

WAIT_S = 30
CLEAR = b"\x1b[2J"
# A shell has what it starts in the background ignore Ctrl-C, and with it the tests that it runs so.
WATCH = """
import signal, sys
from contact_activity.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["status", "--watch", *sys.argv[1:]]))
"""


def store_contact(state_dir: Path) -> None:
    state_dir.mkdir(exist_ok=True)
    with closing(Database(state_dir / ACCOUNT_DATABASE)) as database:
        SqliteContacts(database).register([ListedContact("1", "")], SystemClock().now_ms())


@contextmanager
def watching(
    state_dir: Path, output: int, *arguments: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SHARED), "TERM": "xterm"}
    environment = own | variables
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, "--state", str(state_dir), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(file: int, is_there: Callable[[bytes], bool]) -> bytes:
    """Return what came. Fails if what is waited for does not come."""
    text, until_s = b"", time.monotonic() + WAIT_S
    while not is_there(text):
        assert select.select([file], [], [], max(0.0, until_s - time.monotonic()))[0], text
        text += os.read(file, 1 << 16)
    return text


def end(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C ends it well, and says nothing."""
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0
    assert process.stderr
    assert process.stderr.read() == b""


def test_a_pipe_gets_a_block_each_time(tmp_path: Path) -> None:
    store_contact(tmp_path)
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb"), watching(tmp_path, theirs) as process:
        text = read_until(ours, lambda text: text.count(b"fresh, p95") == 2)
        end(process)
    first, second, _ = re.split(rb"^\n", text + b"\n", maxsplit=2, flags=re.MULTILINE)
    for block in (first, second):
        time_line, name, verdict, *_ = block.decode().splitlines()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", time_line)
        assert (name, verdict) == ("account", "OK  no contact was read yet, 1 contact is due")
    assert b"\x1b" not in text


def test_a_look_that_fails_is_one_line_and_the_next_one_comes(tmp_path: Path) -> None:
    """A folder without state is watched until there is some, and a damaged one until it is mended."""
    ours, theirs = os.pipe()
    folder = tmp_path / "later"
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb"), watching(folder, theirs) as process:
        missing = read_until(ours, lambda text: text.endswith(b"\n\n"))
        (line,) = missing.decode().strip().splitlines()
        assert " UTC  cannot be read: --state" in line
        assert "holds no state" in line
        store_contact(folder)
        read_until(ours, lambda text: b"OK  no contact was read yet" in text)
        path = folder / ACCOUNT_DATABASE
        whole = path.rename(folder / "whole")
        path.write_bytes(b"no database at all, but long enough to be taken for one" * 20)
        read_until(ours, lambda text: b"cannot be read" in text)
        path.unlink()
        whole.rename(path)
        read_until(ours, lambda text: b"OK  no contact was read yet" in text)
        end(process)


def test_a_terminal_is_drawn_anew(tmp_path: Path) -> None:
    """Each look alone is on the screen."""
    store_contact(tmp_path)
    ours, theirs = pty.openpty()
    with watching(tmp_path, theirs) as process:
        text = read_until(ours, lambda text: text.count(b"fresh, p95") == 2)
        end(process)
    os.close(theirs)
    os.close(ours)
    screens = text.split(CLEAR)[1:]
    assert [screen.count(b"no contact was read yet") for screen in screens] == [1, 1]


def test_colours_that_are_forced_clear_no_file(tmp_path: Path) -> None:
    """CI sets FORCE_COLOR, which asks for colours only."""
    store_contact(tmp_path)
    ours, theirs = os.pipe()
    with watching(tmp_path, theirs, FORCE_COLOR="1") as process:
        text = read_until(ours, lambda text: text.count(b"fresh, p95") == 2)
        end(process)
    os.close(theirs)
    os.close(ours)
    assert CLEAR not in text
    assert b"\x1b[" in text


def test_settings_that_cannot_be_used_end_it(tmp_path: Path) -> None:
    """They stay as they are, however long it waits."""
    store_contact(tmp_path)
    ended = run_command(
        "status",
        "--watch",
        "--state",
        str(tmp_path),
        environment={"PATH": os.environ["PATH"], "CALLS_PER_DAY": "many"},
    )
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)


def store_all(state_dir: Path) -> None:
    """Store something for each fact of the table."""
    now_ms = SystemClock().now_ms()
    with closing(Database(state_dir / ACCOUNT_DATABASE)) as database:
        contacts = SqliteContacts(database)
        contacts.register([ListedContact(str(number), "") for number in range(1_200)], now_ms - 50 * HOUR_MS)
        contact = contacts.get("1")
        assert contact
        failed = {"failures": 1, "last_error": "https://example.org/" + "x" * 90, "failed_ms": now_ms}
        assert contacts.save(replace(contact, synced_ms=now_ms - HOUR_MS, **failed))  # type: ignore[arg-type]
        SqliteListings(database).put_failure(TickFailure("the host is unknown", now_ms))
        SqlitePauses(database).pause(Pause(PauseReason.CREDENTIAL, None))
        SqlitePauses(database).pause(Pause(PauseReason.OPERATOR, now_ms + 9 * DAY_MS))
        for days in (0, 1):
            events = {"Contact Campaign Summarized": 1_234_567 + days, "Email Opened": 23}
            SqliteTally(database).add(now_ms // DAY_MS - days, events, by_bucket([50, 3_000]))
        trust = {ActivityType.OPENED: TypeTrust(Mode.OFF), ActivityType.CLICKED: TypeTrust(Mode.PUBLISH)}
        SqliteReports(database).save_trust(Trust(trust, 1))


def shown_at(columns: int, state_dir: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "COLUMNS": str(columns)}
    ended = run_command("status", "--state", str(state_dir), environment=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def words_of(shown: str) -> set[str]:
    """A list has a colon where a table has a column."""
    return {word.rstrip(":") for word in shown.split()}


@pytest.mark.parametrize("columns", [80, 72, 71, 40])
def test_a_narrow_terminal_shows_every_value(tmp_path: Path, columns: int) -> None:
    """Each word stands whole, but for one that is longer than the line: that is folded."""
    store_all(tmp_path)
    wide, narrow = shown_at(300, tmp_path), shown_at(columns, tmp_path)
    assert "1,234,567" in wide
    unbroken = "".join(narrow.split())
    assert [word for word in words_of(wide) if word not in unbroken] == []
    assert {word for word in words_of(wide) if len(word) < 36} <= words_of(narrow)
    assert "…" not in narrow
    lines = narrow.splitlines()[2:]
    drawn = [line for line in lines if not line.startswith("next: ")]
    assert max(map(len, drawn)) <= columns
