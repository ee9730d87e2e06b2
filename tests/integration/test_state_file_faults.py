"""The state database as others may leave it: locked, damaged, full; one line, and nothing is lost."""

import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.sqlite.database import Database
from tests.support.command_line import run_command
from tests.support.running import Operator, account_of, served, truth_of

ACCOUNT = account_of(40)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As a backup does, or a person with a database browser."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


KEEPS_RUNNING = """
import logging, os, sys
from pathlib import Path
from contact_activity.run.engine import run_embedded
from contact_activity.run.options import Account, RunOptions
from contact_activity.errors import StandstillError
from contact_activity.settings import read_credentials, read_settings
from tests.bench.stage import Quiet

logging.basicConfig(level=logging.WARNING)
account = Account(read_settings(os.environ), read_credentials(os.environ), is_simulated=False)
options = RunOptions(Path(sys.argv[1]), Path(sys.argv[2]), treat_all_as_due=True, every_ms=3_000)
try:
    run_embedded(account, options, Quiet())
except StandstillError as error:
    sys.exit(f"contact-activity: {error}")
"""


@contextmanager
def running(operator: Operator) -> "Iterator[subprocess.Popen[str]]":
    """As `run --every`, with ticks of three seconds, which the command line does not let pass."""
    with subprocess.Popen(
        [sys.executable, "-c", KEEPS_RUNNING, str(operator.state_dir), str(operator.events_file)],
        env=operator.environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def said_by(run: "subprocess.Popen[str]", words: str) -> None:
    """Wait until it says so."""
    assert run.stderr
    said = "\n"
    while words not in said:
        assert said, f"ended with {run.wait()} and did not say: {words}"
        said = run.stderr.readline()


def cause_of(said: str) -> str:
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("contact-activity:")]
    return line


def test_a_run_over_a_locked_state_says_what_to_do(tmp_path: Path) -> None:
    """Status 1 and one line; when it is free again the next run goes on."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
        with locked(operator.state_dir / ACCOUNT_DATABASE):
            ended = operator.run("--all")
        assert ended.returncode == 1
        assert re.search(r"state .* is locked by another process: end that one", cause_of(ended.stderr))
        assert operator.run("--all").returncode == 0
    assert sorted(operator.published()) == sorted(truth_of(ACCOUNT))


@pytest.mark.long
def test_a_state_that_is_locked_for_a_while_is_a_failed_tick(tmp_path: Path) -> None:
    """`--every` says so, and the next tick publishes what that one did not."""
    account = account_of(120)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, CALLS_PER_SECOND="30")
        with running(operator) as run:
            while not operator.events():
                time.sleep(0.05)
            with locked(operator.state_dir / ACCOUNT_DATABASE):
                said_by(run, "this tick failed")
            while set(operator.published()) != truth_of(account):
                assert run.poll() is None
                time.sleep(0.1)


def test_a_run_that_keeps_running_waits_for_its_state_at_the_start(tmp_path: Path) -> None:
    """Then it begins."""
    with served(ACCOUNT) as server, ExitStack() as stack:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
        calls = len(server.calls)
        with locked(operator.state_dir / ACCOUNT_DATABASE):
            run = stack.enter_context(running(operator))
            said_by(run, "is locked by another process")
        while len(server.calls) < calls + 10:
            assert run.poll() is None
            time.sleep(0.05)


@pytest.mark.parametrize("command", ["pause", "resync 4711 --since 2026-01-01", "forget 4711 --yes"])
def test_a_command_over_a_locked_state_says_what_to_do(tmp_path: Path, command: str) -> None:
    """In the same words as a run."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        database.execute(
            "INSERT INTO contact (id, modified_date, registered_ms, due_ms) VALUES ('4711','',0,0)"
        )
    with locked(tmp_path / ACCOUNT_DATABASE):
        ended = run_command(*command.split(), "--state", str(tmp_path))
    assert (ended.returncode, "is locked by another process" in cause_of(ended.stderr)) == (1, True)


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"not a database at all" * 100, "is no database"), (None, "is damaged")],
)
def test_a_damaged_state_is_one_line(tmp_path: Path, content: bytes | None, cause: str) -> None:
    """Nothing that waits could mend it, so that every run ends, also one that keeps running."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
        database = operator.state_dir / ACCOUNT_DATABASE
        whole = database.read_bytes()
        database.write_bytes(content or whole[:4_096] + bytes(len(whole) - 4_096))
        ended = operator.run("--all")
        assert (ended.returncode, cause in cause_of(ended.stderr)) == (1, True)
        assert "move it away" in ended.stderr
        with running(operator) as run:
            _, said = run.communicate(timeout=60)
        assert (run.returncode, cause in cause_of(said)) == (1, True)


def test_a_state_that_cannot_grow_is_one_line(tmp_path: Path) -> None:
    """A full disk; with room again the next run goes on, and nothing is lost."""
    with served(account_of(120)) as server:
        operator = Operator.of(tmp_path, server)
        ended = subprocess.run(
            operator.command("--events", "/dev/null"),
            env=operator.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        )
        assert (ended.returncode, "state" in cause_of(ended.stderr)) == (1, True), ended.stderr
        assert "run again" in cause_of(ended.stderr)
        assert operator.run().returncode == 0
