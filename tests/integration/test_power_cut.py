"""A power cut keeps what was synced and no more: nothing that a watermark depends on may be missing then."""

import errno
import json
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.pace import Limits
from contact_activity.domain.times import HOUR_MS
from contact_activity.errors import StandstillError
from contact_activity.run.engine import run_on
from contact_activity.run.file_bus import FileBus
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.sinks import AppendedFile
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.run.summary import Summary
from contact_activity.settings import read_credentials, read_settings
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.rows import NOON_MS
from tests.support.running import Operator, account_of, served, truth_of
from tests.support.virtual_clock import VirtualClock

# Of SQLite's `PRAGMA synchronous`: FULL.
SYNCED = 2


class Disk:
    """The events file with what of it would outlive a power cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self.synced_bytes = 0
        self.syncs = 0

    def sync(self, file: int) -> None:
        written = os.fstat(file).st_size
        os.fdatasync(file)
        self.synced_bytes = written
        self.syncs += 1

    def kept(self) -> bytes:
        return os.pread(self.file, self.synced_bytes, 0)

    def not_kept(self) -> bytes:
        return os.pread(self.file, 10_000_000, self.synced_bytes)


class WatchedDatabase(Database):
    """Looks at the disk whenever a contact is stored; keeps a copy of both at one such moment."""

    def __init__(self, path: Path, disk: Disk, copy_at: int, copies: Path) -> None:
        self.disk, self.copy_at, self.copies = disk, copy_at, copies
        self.saves = 0
        self.leads: list[str] = []
        self._watching = threading.Lock()
        super().__init__(path)
        self.path = path

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        if not (sql.startswith("UPDATE contact SET") and sql.endswith("WHERE id = ? AND version = ?")):
            return super().execute(sql, parameters)
        contact_id = str(parameters[-2])
        with self._watching:
            own = [line for line in self.disk.not_kept().splitlines() if _contact_of(line) == contact_id]
            if own:
                self.leads.append(contact_id)
            changed = super().execute(sql, parameters)
            self.saves += 1
            if self.saves == self.copy_at:
                self._copy()
        return changed

    def _copy(self) -> None:
        """The worst that a power cut can leave: all of the database, of the events what was synced."""
        with closing(sqlite3.connect(self.path)) as whole, closing(sqlite3.connect(self.copies)) as copy:
            whole.backup(copy)
        self.copies.with_name("events.jsonl").write_bytes(self.disk.kept())


def _contact_of(line: bytes) -> str:
    try:
        return str(json.loads(line)["detail"]["subject"])
    except ValueError:
        return ""


class _Quiet:
    def step(self, text: str) -> None: ...
    def show(self, progress: object) -> None: ...
    def published(self, lines: bytes) -> None: ...
    def tick_is_over(self) -> None: ...


def run_with(operator: Operator, database: Database, disk: Disk) -> Summary:
    environment = operator.environment
    credentials = read_credentials(environment)
    assert credentials
    account = Account(read_settings(environment), credentials, is_simulated=False)
    options = RunOptions(operator.state_dir, disk.path, treat_all_as_due=True)
    clock, numbers = SystemClock(), iter(range(1_000_000))
    bus = FileBus(AppendedFile(disk.file, str(disk.path), disk.sync), clock, lambda: str(next(numbers)))
    return run_on(database, bus, account, options, _Quiet())


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_at_any_commit_loses_nothing(tmp_path: Path, seed: int) -> None:
    """What was stored of a contact by then is on disk before; the next run publishes all the rest."""
    account = account_of(60)
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        operator.state_dir.mkdir()
        disk = Disk(tmp_path / "before.jsonl")
        copy_at = random.Random(seed).randrange(10, 60)
        path = tmp_path / "before.sqlite3"
        with closing(WatchedDatabase(path, disk, copy_at, tmp_path / "after.sqlite3")) as database:
            assert run_with(operator, database, disk).failed == {}
            assert database.saves >= 60
            assert database.leads == []
        os.close(disk.file)
        shutil.move(tmp_path / "after.sqlite3", operator.state_dir / ACCOUNT_DATABASE)
        assert operator.run("--all").returncode == 0
    assert set(operator.published()) == truth_of(account)


def test_threads_that_write_at_once_share_a_sync(tmp_path: Path) -> None:
    """Each returns only when its own line is kept, and there are fewer syncs than writes."""
    disk = Disk(tmp_path / "events.jsonl")
    sink = AppendedFile(disk.file, "events.jsonl", disk.sync)
    missing: list[bytes] = []

    def write(thread: int) -> None:
        for number in range(100):
            line = b'{"of":%d,"n":%d}\n' % (thread, number)
            sink.write(line)
            if line not in disk.kept():
                missing.append(line)

    threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    assert disk.syncs < 800
    os.close(disk.file)


class WatchedPace(Database):
    """Notes with each count of a call whether it is on disk when it is committed."""

    def __init__(self, path: Path) -> None:
        self.on_disk: list[bool] = []
        super().__init__(path)

    def swap(self, name: str, seen: str | None, wanted: str) -> bool:
        ((level,),) = self.rows("PRAGMA synchronous")
        self.on_disk.append(level == SYNCED)
        return super().swap(name, seen, wanted)


@pytest.mark.parametrize(("calls_per_second", "unsynced_most"), [(1, 0), (4, 0), (60, 12)])
def test_a_power_cut_takes_no_call_from_the_days_count(
    tmp_path: Path, calls_per_second: int, unsynced_most: int
) -> None:
    """At the API's own pace each call is on disk before it is made; above it, all but a quarter second's."""
    clock = VirtualClock(NOON_MS)
    with closing(WatchedPace(tmp_path / "pace.sqlite3")) as database:
        limiter = sqlite_limiter(database, Limits(calls_per_second, 9_000), clock)
        for _ in range(100):
            limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)
        runs = "".join("x" if synced else "." for synced in database.on_disk).split("x")
        assert max(map(len, runs)) <= unsynced_most
        assert database.rows("PRAGMA synchronous") == [(SYNCED - 1,)]


def test_a_sync_that_failed_is_nobodys_success(tmp_path: Path) -> None:
    """The system tells of it once; who waits for the same sync must not hear that all is well."""
    begun, may_fail = threading.Event(), threading.Event()

    def sync(_: int) -> None:
        if not begun.is_set():
            begun.set()
            may_fail.wait(10)
            raise OSError(errno.EIO, "Input/output error")

    outcomes: list[type] = []
    file = os.open(tmp_path / "events.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    sink = AppendedFile(file, "events.jsonl", sync)

    def write() -> None:
        try:
            sink.write(b"{}\n")
            outcomes.append(int)
        except StandstillError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
        begun.wait(10)
    may_fail.set()
    for thread in threads:
        thread.join()
    os.close(file)
    assert outcomes == [StandstillError, StandstillError]
