"""What a command says stands on a terminal of any width: nothing is cut off, or shortened to dots.

And it tells each time in the one way that `told_times` says.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.memory import KEY_BYTES
from contact_activity.domain.pace import Limits
from contact_activity.domain.times import HOUR_MS
from contact_activity.run.state_folder import ACCOUNT_DATABASE, EVENTS_FILES
from contact_activity.simulated import Server, error
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import SHARED
from tests.support.running import Operator, account_of, served
from tests.support.told import oddly_told

WIDE, WIDTHS = 200, (80, 40)
LIMITS = Limits(100, 10_000)
CLICK = json.loads((SHARED.parent / "events/samples/email.clicked.v1.json").read_text(encoding="utf-8"))
LONG_ID = "c0ffee00-1234-11ef-8f5e-fa163e123456"
# Times, how long a run takes, and the calls of the day, which a check makes itself, differ each time.
PASSING = re.compile(
    r"[\d,]+ of [\d,]+ used|[\d,]+ left for"
    r"|\d+\.\d s|\d\d:\d\d(?::\d\d)?(?:\.\d+Z)?|\d+ (?:h \d+ )?min|\d+ s\b|\d+ ms"
)
# What a run shows while it reads, and takes away again.
_PROGRESS = re.compile(r"\x1b\[\?25l.*\x1b\[\?25h", re.DOTALL)
# A command to paste is one word, and what a terminal folds itself may be wider than it.
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )?\bcontact-activity [a-z][^`\n]*")
HEADINGS = {"what", "id"}
IN_LINES = ("check", "explain", "tail", "dead-letters")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def server() -> Iterator[Server]:
    with served(account_of(3)) as running:
        yield running


def shown(operator: Operator, width: int, *arguments: str) -> str:
    """Return what a terminal of this width gets from a command, standard output and standard error."""
    # Written in full whatever stands in the shell; the terminal itself says how wide it is, too.
    environment = {**operator.environment, "PYTHONPATH": str(SHARED), "COLUMNS": str(width), "TERM": "xterm"}
    command = [sys.executable, "-m", "contact_activity", *arguments, "--state", str(operator.state_dir)]
    terminal, side = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    how: dict[str, Any] = {"stdin": side, "stdout": side, "stderr": side}
    with subprocess.Popen(command, env=environment, cwd=operator.folder, **how):
        os.close(side)
        told = b"".join(_read(terminal)).decode()
    os.close(terminal)
    return _PROGRESS.sub("", told)


def _read(terminal: int) -> Iterator[bytes]:
    until_s = time.monotonic() + 60
    while select.select([terminal], [], [], until_s - time.monotonic())[0]:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:
            # So Linux tells that nobody has the other side any more.
            return
        if not part:
            return
        yield part


def values(told: str) -> set[str]:
    """The words of an output, without what passes and what a bar is drawn of."""
    return set(_lasting(told).replace("█", "").split())


def whole(told: str) -> str:
    return "".join(ESCAPES.sub("", told).split()) + "".join(_lasting(told).split())


def assert_words_are_whole(wide: str, narrow: str, columns: int) -> None:
    """Nothing but one word, or one command, is wider than the terminal; a command has no newline in it."""
    lines = ESCAPES.sub("", narrow).splitlines()
    for line in lines:
        assert len(line) <= columns or " " not in COMMAND.sub("", line).strip(" `.,:;()"), line
    ids = [line.find(LONG_ID) for line in lines if LONG_ID in COMMAND.sub("", line)]
    assert [at for at in ids if at % columns + len(LONG_ID) > columns] == []
    commands = [of.group().rstrip() for of in COMMAND.finditer(ESCAPES.sub("", wide))]
    assert [command for command in commands if command not in narrow] == []


def _lasting(told: str) -> str:
    return PASSING.sub("", ESCAPES.sub("", told))


def assert_nothing_is_lost(wide: str, narrow: str) -> None:
    assert "…" not in narrow
    kept = whole(narrow)
    assert [word for word in values(wide) - HEADINGS if word not in kept] == []


@pytest.fixture
def operator(tmp_path: Path, server: Server) -> Operator:
    """With a state in which much is wrong, so that much is said."""
    operator = Operator.of(tmp_path, server)
    operator.state_dir.mkdir(mode=0o700)
    now_ms = SystemClock().now_ms()
    link = {"id": "1", "url": "https://shop.example.org/summer/sale?of=the+week"}
    detail = CLICK["detail"] | {"subject": LONG_ID, "data": CLICK["detail"]["data"] | {"link": link}}
    events = operator.state_dir / EVENTS_FILES["embedded"]
    events.write_text(json.dumps(CLICK | {"detail": detail}) + "\n", encoding="utf-8")
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE)) as database:
        store = sqlite_store(database, LIMITS, SystemClock())
        store.contacts.register([ListedContact(LONG_ID, ""), ListedContact("4711", "")], now_ms)
        contact = store.contacts.get(LONG_ID)
        assert contact
        ask = Ask(ReportId(LONG_ID, ActivityType.OPENED), bytes(KEY_BYTES), now_ms)
        error_text = "the API failed 9 times, at last: the API answers with server errors (503)"
        failed: dict[str, Any] = {"failures": 1_234, "last_error": error_text, "failed_ms": now_ms}
        assert store.contacts.save(replace(contact, asks=(ask,), due_ms=now_ms + HOUR_MS, **failed))
        store.reports.put_watched(WatchedCampaign(LONG_ID, now_ms))
        for type_ in ActivityType:
            store.reports.save(CampaignReport(ReportId(LONG_ID, type_), now_ms, now_ms + HOUR_MS, **failed))
    return operator


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["explain", LONG_ID],
        ["explain", LONG_ID, "--json"],
        ["explain", "--campaign", LONG_ID],
        ["status"],
        ["tail", "--no-follow"],
        ["dead-letters"],
        ["dead-letters", "--redrive", "--dry-run"],
        ["pause", "--dry-run"],
        ["pause", "--until", "2999-01-31"],
        ["resume", "--dry-run"],
        ["resync", "--all", "--since", "2026-01-31", "--dry-run"],
    ],
    ids=" ".join,
)
def test_a_narrow_terminal_shows_every_value(operator: Operator, arguments: list[str]) -> None:
    wide = shown(operator, WIDE, *arguments)
    assert len(values(wide)) >= 3
    assert "--json" in arguments or oddly_told(ESCAPES.sub("", wide)) == []
    at_80, at_40 = (shown(operator, width, *arguments) for width in WIDTHS)
    assert_nothing_is_lost(wide, at_80)
    assert_nothing_is_lost(wide, at_40)
    if arguments[0] in IN_LINES:
        assert _lasting(at_80) == _lasting(wide)
        assert "--json" in arguments or "--redrive" in arguments or at_40.count("\n") > wide.count("\n")
    if arguments[0] in IN_LINES and "--json" not in arguments:
        assert_words_are_whole(wide, at_40, 40)


def test_a_narrow_terminal_shows_every_value_of_a_run(tmp_path: Path, server: Server) -> None:
    """Its table of events, and its remarks about what failed."""
    told = {}
    for width in (WIDE, *WIDTHS):
        folder = tmp_path / str(width)
        folder.mkdir()
        operator = Operator.of(folder, server)
        server.calm()
        server.script("1001", *[error(406, "http.status.not_acceptable", "x")] * 20)
        told[width] = shown(operator, width, "run").replace(str(folder), "FOLDER")
        told[width] = re.sub(rf"(?s){re.escape(str(tmp_path))}\W+{width}", "FOLDER", told[width])
    assert "Email Opened" in told[WIDE]
    assert oddly_told(told[WIDE]) == []
    for width in WIDTHS:
        assert_nothing_is_lost(told[WIDE], told[width])
