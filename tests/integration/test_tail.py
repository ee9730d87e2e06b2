"""`contact-activity tail`: what it shows of an events file, and of one that grows."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contact_activity.cli import tail as tailing
from contact_activity.cli.event_line import MAX_DETAIL_CHARACTERS, event_line
from tests.support.command_line import run_command

SAMPLES = {
    path.name.removesuffix(".v1.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parents[2] / "events" / "samples").glob("*.json")
}
CLICK, BOUNCE = SAMPLES["email.clicked"], SAMPLES["email.bounced"]
WAIT_S = 20
# Longer than any of the samples.
BOUND = 4_096
# A shell has what it starts in the background ignore Ctrl-C, and with it the tests that it runs so.
TAIL = """
import signal, sys
from contact_activity.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["tail", "--state", sys.argv[1]]))
"""


def changed(envelope: dict[str, Any], **data: object) -> dict[str, Any]:
    """An event with other data, and if it says so another contact."""
    detail = envelope["detail"]
    return envelope | {"detail": detail | {"data": detail["data"] | data}}


def write(path: Path, *events: object) -> Path:
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return path


def tail(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("tail", "--events", str(path), "--no-follow", *arguments)


def test_a_click_in_one_line() -> None:
    """When it was met, what, who, where to, and how long after it happened."""
    assert event_line(CLICK).split() == [
        "2024-06-12",
        "08:31:04",
        "UTC",
        "clicked",
        "4711",
        "shop.example.org/summer",
        "15",
        "min",
        "later",
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_has_a_line(name: str) -> None:
    envelope = SAMPLES[name]
    assert str(envelope["detail"]["subject"]) in event_line(envelope)


def test_text_of_others_does_not_steer_the_terminal() -> None:
    """Nor fill it."""
    line = event_line(changed(CLICK, link={"id": "1", "url": "https://x/\x1b[2J\r" + "y" * 500}))
    assert line.isprintable()
    assert len(line) < 60 + MAX_DETAIL_CHARACTERS


def test_backfill_is_said() -> None:
    assert event_line(CLICK | {"detail": CLICK["detail"] | {"backfill": True}}).endswith("  backfill")


def test_the_last_lines_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", *[CLICK] * 5, BOUNCE)
    shown = tail(path, "--lines", "2").stdout.splitlines()
    assert [line.split()[3] for line in shown] == ["clicked", "bounced"]
    assert tail(path, "--lines", "0").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        (["--type", "clicked,opened"], ["clicked"]),
        (["--type", "clicked", "--type", "bounced"], ["clicked", "bounced"]),
        (["--type", "summarized"], []),
        (["--contact", CLICK["detail"]["subject"]], ["clicked"]),
        (["--contact", "1"], []),
        (["--campaign", BOUNCE["detail"]["data"]["campaign"]["id"]], ["bounced"]),
        (["--campaign", "1"], []),
    ],
)
def test_events_are_chosen(tmp_path: Path, arguments: list[str], types: list[str]) -> None:
    shown = tail(write(tmp_path / "events.jsonl", CLICK, BOUNCE), *arguments)
    assert [line.split()[3] for line in shown.stdout.splitlines()] == types


def test_whole_events_for_scripts(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", CLICK)
    assert json.loads(tail(path, "--json").stdout) == CLICK


def test_broken_lines_are_counted(tmp_path: Path) -> None:
    """Whatever stands there; a line that is not ended yet is none."""
    path = write(tmp_path / "events.jsonl", CLICK, 1, [], {"detail": None}, {"detail": {"data": []}})
    path.write_bytes(path.read_bytes() + b"\xff{\n" + b'"\xed\xa0\x80"\n' + b'{"detail": ')
    shown = tail(path)
    assert len(shown.stdout.splitlines()) == 1
    assert "6 lines" in shown.stderr


def test_a_line_without_an_end_is_skipped_and_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it grows. It counts as one, and the next line is read."""
    monkeypatch.setattr(tailing, "MAX_LINE_BYTES", BOUND)
    shown, lines = tailing._Shown(Namespace(type=None, contact=None, campaign=None, json=False)), list[str]()
    read = tailing._Read(write(tmp_path / "events.jsonl", CLICK), 0, 0)
    tracemalloc.start()
    try:
        for size in (100 * BOUND, 1_000 * BOUND):
            os.truncate(read.path, size)
            read = tailing._read_new(read, shown, lines.append)
            assert (read.position, len(lines), shown.broken) == (size, 1, 1)
        assert tracemalloc.get_traced_memory()[1] < 100 * BOUND
    finally:
        tracemalloc.stop()
    with read.path.open("a", encoding="utf-8") as file:
        file.write(f"the end\n{json.dumps(BOUNCE)}\n" + "x" * (BOUND - 2))
    read = tailing._read_new(read, shown, lines.append)
    assert (lines, shown.broken) == ([event_line(CLICK), event_line(BOUNCE)], 1)
    assert read.position == read.path.stat().st_size - (BOUND - 2)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_longest_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excess: int) -> None:
    path = write(tmp_path / "events.jsonl", CLICK, CLICK)
    longest = path.stat().st_size // 2
    monkeypatch.setattr(tailing, "MAX_LINE_BYTES", longest - excess)
    shown, lines = tailing._Shown(Namespace(type=None, contact=None, campaign=None, json=False)), list[str]()
    read = tailing._read_new(tailing._Read(path, 0, 0), shown, lines.append)
    assert (len(lines), shown.broken) == (2 - 2 * excess, 2 * excess)
    assert read.position == path.stat().st_size


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--type", "seen"], ["--lines", "-1"], ["--lines", "x"], ["--lines", "9" * 20]),
        *(["--contact", "a b"], ["--campaign", "1" * 3_000]),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path: Path, arguments: list[str]) -> None:
    refused = tail(write(tmp_path / "events.jsonl", CLICK), *arguments)
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


def test_an_address_is_no_id_and_leads_to_no_option_that_tail_lacks(tmp_path: Path) -> None:
    refused = tail(write(tmp_path / "events.jsonl", CLICK), "--contact", "ada@example.org")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "give a contact's id" in refused.stderr
    assert "--email" not in refused.stderr
    assert "ada@" not in refused.stderr


def test_a_file_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    refused = tail(tmp_path / "none.jsonl")
    assert refused.returncode == 1
    assert f"`contact-activity run --events {tmp_path / 'none.jsonl'}` makes it" in refused.stderr


def test_a_pipe_is_no_events_file(tmp_path: Path) -> None:
    """Nor one that nobody writes, which could not be opened."""
    os.mkfifo(tmp_path / "pipe")
    ended = tail(tmp_path / "pipe")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "is a pipe, and no file" in ended.stderr


def test_the_words_of_who_unsubscribed_are_shown() -> None:
    left = changed(SAMPLES["email.unsubscribed"], unsubscribe={"reason": "Too many mails"})
    assert "  Too many mails  " in event_line(left)


@pytest.fixture
def following(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A tail of a folder that holds nothing yet."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAIL, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    process.kill()
    process.communicate()


def test_it_follows_a_file_that_comes_grows_and_is_emptied(
    tmp_path: Path, following: subprocess.Popen[str]
) -> None:
    """A line that comes in two parts is shown once, when it is whole. Ctrl-C ends it well."""
    assert following.stdout
    assert following.stderr
    assert "waiting" in following.stderr.readline()
    path, line = tmp_path / "events.jsonl", f"{json.dumps(CLICK)}\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(line[:100])
        file.flush()
        time.sleep(0.5)
        file.write(line[100:])
    assert following.stdout.readline().split()[3] == "clicked"
    path.write_text("", encoding="utf-8")
    time.sleep(0.5)
    write(path, BOUNCE)
    assert following.stdout.readline().split()[3] == "bounced"
    write(tmp_path / "other", CLICK, BOUNCE).replace(path)
    assert [following.stdout.readline().split()[3] for _ in range(2)] == ["clicked", "bounced"]
    following.send_signal(signal.SIGINT)
    assert following.wait(WAIT_S) == 0


def test_the_file_of_the_local_cloud_is_followed_when_it_comes(
    tmp_path: Path, following: subprocess.Popen[str]
) -> None:
    """Whichever of the two a run makes."""
    assert following.stdout
    assert following.stderr
    assert "waiting" in following.stderr.readline()
    write(tmp_path / "cloud-events.jsonl", CLICK)
    assert following.stdout.readline().split()[3] == "clicked"
