"""Open a SQLite file, and say what to do when it cannot be used.

Everything is committed before a call returns, so a killed process loses nothing. There is one
connection behind one lock: calls to Constant Contact take far longer than these.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from contact_activity.errors import StandstillError

# The contacts whose longest wait differs from the usual one.
FAILED_OR_GONE = "failures > 0 OR times_gone > 0"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS contact (
    id TEXT PRIMARY KEY,
    modified_date TEXT NOT NULL,
    registered_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    queued_until_ms INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    synced_ms INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    times_gone INTEGER NOT NULL DEFAULT 0,
    marks TEXT NOT NULL DEFAULT '{{}}',
    remembered BLOB NOT NULL DEFAULT x'',
    unreadable BLOB NOT NULL DEFAULT x'',
    progress TEXT,
    summaries TEXT NOT NULL DEFAULT '{{}}',
    resync_ms INTEGER,
    last_error TEXT,
    failed_ms INTEGER,
    held_until_ms INTEGER,
    reported BLOB NOT NULL DEFAULT x'',
    resync_asked_ms INTEGER,
    asks TEXT NOT NULL DEFAULT '{{}}'
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON contact (due_ms);
CREATE INDEX IF NOT EXISTS slow ON contact (due_ms) WHERE {FAILED_OR_GONE};
CREATE TABLE IF NOT EXISTS campaign (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, summary TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
    day INTEGER NOT NULL,
    detail_type TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (day, detail_type)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# Columns that a file of an earlier version does not have.
_ADDED_COLUMNS = {
    "summaries": "TEXT NOT NULL DEFAULT '{}'",
    "resync_ms": "INTEGER",
    "last_error": "TEXT",
    "failed_ms": "INTEGER",
    "held_until_ms": "INTEGER",
    "reported": "BLOB NOT NULL DEFAULT x''",
    "resync_asked_ms": "INTEGER",
    "asks": "TEXT NOT NULL DEFAULT '{}'",
}
# Tables that a file of an earlier version does not have.
_ADDED_TABLES = {
    "campaign_report": (
        "(id TEXT PRIMARY KEY, version INTEGER NOT NULL, due_ms INTEGER, report TEXT NOT NULL) WITHOUT ROWID"
    ),
    "watched_campaign": "(id TEXT PRIMARY KEY, campaign TEXT NOT NULL) WITHOUT ROWID",
    "forgotten": "(digest TEXT PRIMARY KEY, forgotten_ms INTEGER NOT NULL) WITHOUT ROWID",
}


# Longer than the commit of a backup, or of a person who looks at the file, takes.
BUSY_WAIT_S = 5.0
_TEMPORARY_FAULTS = {
    sqlite3.SQLITE_BUSY: "is locked by another process: end that one, or wait for it, and run again",
    sqlite3.SQLITE_LOCKED: "is locked by another process: end that one, or wait for it, and run again",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: make room and run again",
    sqlite3.SQLITE_IOERR: "cannot be read or written: look after the disk, then run again",
}
_LASTING_FAULTS = {
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_NOTADB: "is no database",
}
_MOVE_AWAY = "put a copy in its place, or move it away: all activity is then read and published again"
_PERMISSION_FAULTS = {
    sqlite3.SQLITE_READONLY: "may not be written: see who owns it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: see who owns it and its folder",
    sqlite3.SQLITE_PERM: "may not be used: see who owns it and its folder",
}


def _standstill(path: object, error: sqlite3.Error) -> StandstillError | None:
    """Return what to do about an error of the file; None for an error of our own SQL."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _LASTING_FAULTS:
        return StandstillError(f"the state {path} {_LASTING_FAULTS[code]}: {_MOVE_AWAY}", is_passing=False)
    if code in _PERMISSION_FAULTS:
        return StandstillError(f"the state {path} {_PERMISSION_FAULTS[code]}", is_passing=False)
    if code in _TEMPORARY_FAULTS:
        return StandstillError(f"the state {path} {_TEMPORARY_FAULTS[code]}", is_passing=True)
    return None


def _opened(location: Path | str, *, is_uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(location, BUSY_WAIT_S, check_same_thread=False, isolation_level=None, uri=is_uri)


def _opened_to_read(path: Path) -> sqlite3.Connection:
    """Open a file to read it, also where nothing can be written.

    Those who share a file that has a write-ahead log do so by another file beside it. A folder that must not
    change has no place for that, and needs none as long as the log is empty.
    """
    uri = path.absolute().as_uri()
    connection = _opened(f"{uri}?mode=ro", is_uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        is_permission = error.sqlite_errorcode & 0xFF in _PERMISSION_FAULTS
        log = path.with_name(f"{path.name}-wal")
        if not is_permission or not os.access(path, os.R_OK) or (log.exists() and log.stat().st_size):
            raise
        return _opened(f"{uri}?immutable=1", is_uri=True)
    return connection


class Database:
    """One SQLite file, or `:memory:`, for any number of threads. Each statement is a transaction.

    Every method raises `StandstillError` when the file cannot be used. `is_read_only`: create and
    change nothing, also while another process writes.
    """

    def __init__(self, path: Path | str, *, is_read_only: bool = False) -> None:
        self._lock = threading.RLock()
        self._path = path
        self._fault: StandstillError | None = None
        self._failed_s = float("-inf")
        with self._in_turn():
            self._connection = _opened_to_read(Path(path)) if is_read_only else _opened(path)
            if is_read_only:
                self._check_present()
                self._show_missing_columns()
                self._create_added_tables("TEMP TABLE")
            else:
                self._create_tables()

    def _check_present(self) -> None:
        """Raise `StandstillError` if the process that makes the file has not yet made the last table."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'state'"):
            raise StandstillError(
                f"the state {self._path} holds nothing yet: if a run began just now, try again; if none did, "
                "the next one fills it",
                is_passing=True,
            )

    def _create_tables(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Overwrite erased data, so that it does not stay in free pages.
        self._connection.execute("PRAGMA secure_delete = ON")
        # A power cut may lose the last commits, never an earlier one alone. Their events are on disk already.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        for column, kind in self._missing_columns().items():
            self.execute(f"ALTER TABLE contact ADD COLUMN {column} {kind}")
        self._create_added_tables("TABLE")
        self.execute("CREATE INDEX IF NOT EXISTS due_report ON campaign_report (due_ms)")

    def _create_added_tables(self, kind: str) -> None:
        """Create those that are missing: as temporary ones, if the file must not change."""
        present = {row[0] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, columns in _ADDED_TABLES.items():
            if table not in present:
                self.execute(f"CREATE {kind} IF NOT EXISTS {table} {columns}")

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Run one statement or transaction while no other thread uses the file.

        Raises `StandstillError` in place of an error of the file.
        """
        asked_s = time.monotonic()
        with self._lock:
            if self._fault and asked_s < self._failed_s:
                # This thread waited while the one before it failed, so it would fail too.
                raise self._fault
            try:
                yield
            except sqlite3.Error as error:
                self._fault, self._failed_s = _standstill(self._path, error), time.monotonic()
                if self._fault is None:
                    raise
                raise self._fault from error

    def _missing_columns(self) -> dict[str, str]:
        present = {row[0] for row in self.rows("SELECT name FROM pragma_table_info('contact')")}
        return {column: kind for column, kind in _ADDED_COLUMNS.items() if column not in present}

    def _show_missing_columns(self) -> None:
        """Add the missing columns in a temporary view, because the file must not change."""
        missing = self._missing_columns()
        if missing:
            added = ", ".join(
                f"{kind.partition('DEFAULT ')[2] or 'NULL'} AS {c}" for c, kind in missing.items()
            )
            self.execute(f"CREATE TEMP VIEW contact AS SELECT *, {added} FROM main.contact")  # noqa: S608

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Return how many rows changed."""
        with self._in_turn():
            return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """Run a statement for each row, in one transaction. Return how many rows changed."""
        with self._in_turn(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return self._connection.executemany(sql, rows).rowcount

    def execute_each(self, sql: str, rows: Sequence[Sequence[object]]) -> list[int]:
        """Run a statement for each row, in one transaction. Return how many rows each of them changed."""
        with self._in_turn(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return [self._connection.execute(sql, row).rowcount for row in rows]

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._in_turn():
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other threads from reading and writing."""
        with self._lock:
            yield

    def get(self, name: str) -> str | None:
        """Return a value of the `state` table, or None."""
        rows = self.rows("SELECT value FROM state WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def put(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def swap(self, name: str, seen: str | None, wanted: str) -> bool:
        """Store `wanted` if `seen` is still stored (None: nothing is). Return whether it was. Atomic."""
        if seen is None:
            return bool(self.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (name, wanted)))
        changed = self.execute(
            "UPDATE state SET value = ? WHERE name = ? AND value = ?", (wanted, name, seen)
        )
        return bool(changed)

    @contextmanager
    def durable(self) -> Iterator[None]:
        """Make commits wait until they, and all commits before them, are on disk."""
        with self._lock:
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def whole(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101  the schema says so; this tells the type checker
    return value


def whole_or_none(value: object) -> int | None:
    return None if value is None else whole(value)


def blob(value: object) -> bytes:
    assert isinstance(value, bytes)  # noqa: S101  as above
    return value
