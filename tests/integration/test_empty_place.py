"""An empty --stack or --state, as of a variable that a script did not set, means no other place."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import STACK_COMMANDS, run_command

PATH = {"PATH": os.environ["PATH"]}
COMMANDS = {"run": list[str](), **STACK_COMMANDS}
PLACES = [(command, "--state") for command in COMMANDS]
PLACES += [(command, "--stack") for command in STACK_COMMANDS]


@pytest.mark.parametrize(("command", "option"), PLACES)
def test_an_empty_place_is_refused(tmp_path: Path, command: str, option: str) -> None:
    ended = run_command(command, *COMMANDS[command], option, "", environment=PATH, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"argument {option}: it is empty" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_forget_with_an_empty_stack_erases_nothing_here(tmp_path: Path) -> None:
    folder = tmp_path / ".local"
    folder.mkdir()
    with closing(Database(folder / ACCOUNT_DATABASE)) as database:
        store = sqlite_store(database, Limits(100, 10_000), SystemClock())
        store.contacts.register([ListedContact("4711", "")], SystemClock().now_ms())
        run_command("forget", "4711", "--stack", "", "--yes", environment=PATH, folder=tmp_path)
        assert store.contacts.get("4711")
