"""`contact-activity explain` and `status` on folders that nobody can write, or that are just being made."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import SHARED, run_command

PATH = {"PATH": os.environ["PATH"]}
NOBODY = 65_534
LOOKS = [["explain", "4711"], ["status"]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that knows contact 4711, and that any user can reach."""
    folder = Path(mkdtemp(prefix="state-"))
    with closing(Database(folder / ACCOUNT_DATABASE)) as database:
        store = sqlite_store(database, Limits(100, 10_000), SystemClock())
        store.contacts.register([ListedContact("4711", "")], SystemClock().now_ms())
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


# Root may write anything. It becomes another user once all is imported, which that one may not read.
_AS_NOBODY = f"""
import os, sys
import contact_activity.cli.status_table, contact_activity.operations.read_status
from contact_activity.cli.main import main
if os.getuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
sys.exit(main(sys.argv[1:]))
"""


def looked(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """As a user who may read the folder, and not write it."""
    return subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *command, "--state", str(folder)],
        env=PATH | {"PYTHONPATH": str(SHARED)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", LOOKS)
def test_a_folder_that_cannot_be_written_is_read(folder: Path, command: list[str]) -> None:
    """Such as a backup. Nothing is left in it."""
    (folder / ACCOUNT_DATABASE).chmod(0o444)
    folder.chmod(0o555)
    ended = looked(folder, *command)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [path.name for path in folder.iterdir()] == [ACCOUNT_DATABASE]


def test_what_is_in_no_file_that_can_be_read_alone_is_not_left_out(folder: Path) -> None:
    """A log that is not empty, and that nobody may share: then the state is not shown without it."""
    copy = folder / "copy"
    copy.mkdir()
    with closing(Database(folder / ACCOUNT_DATABASE)) as database:
        sqlite_store(database, Limits(100, 10_000), SystemClock()).contacts.erase("4711", 1)
        database.put("anything", "in the log")
        for name in (ACCOUNT_DATABASE, f"{ACCOUNT_DATABASE}-wal"):
            shutil.copyfile(folder / name, copy / name)
            (copy / name).chmod(0o444)
    folder.chmod(0o755)
    copy.chmod(0o555)
    ended = looked(copy, "explain", "4711")
    copy.chmod(0o755)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [*LOOKS, ["event", "sample", "clicked"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_failure(
    folder: Path, command: list[str], unbuffered: str
) -> None:
    """As in `| head -1`, also where each line is written at once, as containers have it."""
    place = [] if command[0] == "event" else ["--state", str(folder)]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "contact_activity", *command, *place],
        env=PATH | {"PYTHONPATH": str(SHARED), "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("command", LOOKS)
def test_a_state_file_that_is_being_made_is_told(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / ACCOUNT_DATABASE).touch()
    ended = run_command(*command, "--state", str(tmp_path), environment=PATH)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "holds nothing yet" in line
