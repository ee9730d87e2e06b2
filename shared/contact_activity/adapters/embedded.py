"""The ports on one machine: one SQLite file, a queue in memory, a file as the bus.

Everything is committed before a call returns, so a killed process loses nothing that it was told
is stored. One connection behind one lock: calls to Constant Contact take far longer than these.
"""

import json
import sqlite3
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from contact_activity import planning
from contact_activity.activity import EVENT_SOURCE, Event, iso
from contact_activity.adapters.codec import (
    marks_from_json,
    marks_to_json,
    progress_from_json,
    progress_to_json,
    summaries_from_json,
    summaries_to_json,
    tally_from_counts,
    tally_to_counts,
)
from contact_activity.adapters.pacing import SharedLimiter
from contact_activity.planning import Listing, LongestWaits
from contact_activity.ports import (
    Campaign,
    Clock,
    Contact,
    ContactOutline,
    DayTally,
    Limiter,
    ListedContact,
    StandstillError,
    TickFailure,
)
from contact_activity.rate_limit import Limits, Pace, PaceChange, Pause, PauseReason, Pauses, changed
from contact_activity.watermark import Watermark
from contact_activity.work import WorkItem

# A power cut may not take calls from the day's count: at the API's own 4 calls a second each is on
# disk before it is made, and above that no more than this time's.
PACE_SYNCED_EVERY_MS = 250
# A transaction of a tenth of a second.
CLAIMED_AT_ONCE = 5_000

# They may wait longer than the others, or less.
_IS_SLOW = "failures > 0 OR times_gone > 0"
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
    held_until_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON contact (due_ms);
CREATE INDEX IF NOT EXISTS slow ON contact (due_ms) WHERE {_IS_SLOW};
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
# What a file of an earlier version lacks.
_ADDED_TO_CONTACT = {
    "summaries": "TEXT NOT NULL DEFAULT '{}'",
    "resync_ms": "INTEGER",
    "last_error": "TEXT",
    "failed_ms": "INTEGER",
    "held_until_ms": "INTEGER",
}


# Longer than the commits of a backup or of a person who looks at the file take.
BUSY_WAIT_S = 5.0
_PASSING_FAULTS = {
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
_DENIED_FAULTS = {
    sqlite3.SQLITE_READONLY: "may not be written: see who owns it and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: see who owns it and its folder",
    sqlite3.SQLITE_PERM: "may not be used: see who owns it and its folder",
}


def _standstill(where: object, error: sqlite3.Error) -> StandstillError | None:
    """What to do about a fault of the file; None for a fault that is ours."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _LASTING_FAULTS:
        return StandstillError(f"the state {where} {_LASTING_FAULTS[code]}: {_MOVE_AWAY}", is_passing=False)
    if code in _DENIED_FAULTS:
        return StandstillError(f"the state {where} {_DENIED_FAULTS[code]}", is_passing=False)
    if code in _PASSING_FAULTS:
        return StandstillError(f"the state {where} {_PASSING_FAULTS[code]}", is_passing=True)
    return None


class Database:
    """One SQLite file, or `:memory:`; every statement is its own transaction, in any thread.

    Every method raises `StandstillError` when the file cannot be used.
    `is_read_only`: nothing is created or changed, also beside a process that writes.
    """

    def __init__(self, path: Path | str, *, is_read_only: bool = False) -> None:
        self._lock = threading.RLock()
        self._path = path
        self._fault: StandstillError | None = None
        self._failed_s = float("-inf")
        where = f"{Path(path).absolute().as_uri()}?mode=ro" if is_read_only else path
        with self._told():
            self._connection = sqlite3.connect(
                where, BUSY_WAIT_S, check_same_thread=False, isolation_level=None, uri=is_read_only
            )
            if is_read_only:
                self._stand_in()
            else:
                self._set_up()

    def _set_up(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # What is erased or overwritten shall not stay in free pages.
        self._connection.execute("PRAGMA secure_delete = ON")
        # A power cut may take the last commits, never their order: events are on disk before them.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        for column, kind in self._lacking().items():
            self.execute(f"ALTER TABLE contact ADD COLUMN {column} {kind}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One statement, or those of a transaction, with no other thread beside."""
        asked_s = time.monotonic()
        with self._lock:
            if self._fault and asked_s < self._failed_s:
                # It has waited as long as the one before it.
                raise self._fault
            try:
                yield
            except sqlite3.Error as error:
                self._fault, self._failed_s = _standstill(self._path, error), time.monotonic()
                if self._fault is None:
                    raise
                raise self._fault from error

    def _lacking(self) -> dict[str, str]:
        present = {row[0] for row in self.rows("SELECT name FROM pragma_table_info('contact')")}
        return {column: kind for column, kind in _ADDED_TO_CONTACT.items() if column not in present}

    def _stand_in(self) -> None:
        """A file of an earlier version that nothing may change reads as if it lacked nothing."""
        lacking = self._lacking()
        if lacking:
            added = ", ".join(
                f"{kind.partition('DEFAULT ')[2] or 'NULL'} AS {c}" for c, kind in lacking.items()
            )
            self.execute(f"CREATE TEMP VIEW contact AS SELECT *, {added} FROM main.contact")  # noqa: S608

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Returns how many rows changed."""
        with self._told():
            return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """All in one transaction; returns how many rows changed."""
        with self._told(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            return self._connection.executemany(sql, rows).rowcount

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._told():
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread reads or writes meanwhile."""
        with self._lock:
            yield

    def get(self, name: str) -> str | None:
        rows = self.rows("SELECT value FROM state WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def put(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def swap(self, name: str, seen: str | None, wanted: str) -> bool:
        """Store `wanted` if `seen` is what is stored (None: nothing)."""
        if seen is None:
            return bool(self.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (name, wanted)))
        changed = self.execute(
            "UPDATE state SET value = ? WHERE name = ? AND value = ?", (wanted, name, seen)
        )
        return bool(changed)

    @contextmanager
    def synced(self) -> Iterator[None]:
        """What is committed meanwhile, and all before it, is on disk when the commit returns."""
        with self._lock:
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class SqliteContacts:
    """The `Contacts` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        new = self._database.execute_many(
            "INSERT OR IGNORE INTO contact (id, modified_date, registered_ms, due_ms) VALUES (?, ?, ?, ?)",
            [(contact.id, contact.modified_date, now_ms, now_ms) for contact in listed],
        )
        self._database.execute_many(
            "UPDATE contact SET due_ms = CASE WHEN times_gone > 0 THEN min(due_ms, ?) ELSE due_ms END,"
            " modified_date = ? WHERE id = ? AND (modified_date <> ? OR (? AND times_gone > 0))",
            [(now_ms, of.modified_date, of.id, of.modified_date, is_full) for of in listed],
        )
        return new

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        is_full = True
        # A part that is not full is the last: who is free again meanwhile waits for the next tick.
        while is_full and most > 0:
            ids = self._claim(clock, tick_ms, min(most, CLAIMED_AT_ONCE))
            is_full, most = len(ids) == CLAIMED_AT_ONCE, most - len(ids)
            if ids:
                yield ids

    def _claim(self, clock: Clock, tick_ms: int, most: int) -> list[str]:
        with self._database.alone():
            now_ms = clock.now_ms()
            until_ms = planning.queued_until_ms(now_ms, tick_ms)
            rows = self._database.rows(
                "SELECT id FROM contact WHERE due_ms <= ? AND (queued_until_ms <= ? OR queued_until_ms > ?)"
                " ORDER BY due_ms LIMIT ?",
                (now_ms, now_ms, planning.latest_queued_ms(until_ms), most),
            )
            ids = [str(row[0]) for row in rows]
            self._queue_until(ids, until_ms)
        return ids

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        usual = self._database.execute(
            f"UPDATE contact SET due_ms = ? WHERE due_ms > ? AND NOT ({_IS_SLOW})",  # noqa: S608
            (now_ms, waits.latest_ms(now_ms, planning.USUAL)),
        )
        others = self._database.rows(
            f"SELECT id, due_ms, failures, times_gone FROM contact WHERE due_ms > ? AND ({_IS_SLOW})",  # noqa: S608
            (now_ms,),
        )
        late = []
        for id_, due_ms, failures, times_gone in others:
            standing = planning.standing(failures=_whole(failures), times_gone=_whole(times_gone))
            if _whole(due_ms) > waits.latest_ms(now_ms, standing):
                late.append((now_ms, id_, due_ms))
        return usual + self._database.execute_many(
            "UPDATE contact SET due_ms = ? WHERE id = ? AND due_ms = ?", late
        )

    def release(self, contact_ids: Sequence[str]) -> None:
        self._queue_until(contact_ids, 0)

    def _queue_until(self, contact_ids: Sequence[str], until_ms: int) -> None:
        self._database.execute_many(
            "UPDATE contact SET queued_until_ms = ? WHERE id = ?", [(until_ms, id_) for id_ in contact_ids]
        )

    def get(self, contact_id: str) -> Contact | None:
        rows = self._database.rows(
            "SELECT registered_ms, due_ms, version, synced_ms, failures, times_gone,"
            " marks, remembered, unreadable, progress, summaries, resync_ms, last_error, failed_ms,"
            " held_until_ms"
            " FROM contact WHERE id = ?",
            (contact_id,),
        )
        return _contact(contact_id, *rows[0]) if rows else None

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        changed = self._database.execute(
            "UPDATE contact SET registered_ms = ?, due_ms = ?, synced_ms = ?, failures = ?, times_gone = ?,"
            " marks = ?, remembered = ?, unreadable = ?, progress = ?, summaries = ?, resync_ms = ?,"
            " last_error = ?, failed_ms = ?, held_until_ms = ?, queued_until_ms = ?, version = version + 1"
            " WHERE id = ? AND version = ?",
            (
                contact.registered_ms,
                contact.due_ms,
                contact.synced_ms,
                contact.failures,
                contact.times_gone,
                marks_to_json(contact.watermark.marks),
                contact.watermark.remembered,
                contact.watermark.unreadable,
                progress_to_json(contact.progress) if contact.progress else None,
                summaries_to_json(contact.summaries),
                contact.watermark.resync_ms,
                contact.last_error,
                contact.failed_ms,
                contact.held_until_ms,
                queued_until_ms,
                contact.id,
                contact.version,
            ),
        )
        return bool(changed)

    def erase(self, contact_id: str) -> bool:
        is_erased = bool(self._database.execute("DELETE FROM contact WHERE id = ?", (contact_id,)))
        # Otherwise the log holds it until it is next written over.
        self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return is_erased

    def make_due(self, now_ms: int) -> None:
        self._database.execute("UPDATE contact SET due_ms = min(due_ms, ?), queued_until_ms = 0", (now_ms,))

    def oldest_due_ms(self, now_ms: int) -> int | None:
        rows = self._database.rows(
            "SELECT due_ms FROM contact WHERE due_ms <= ? ORDER BY due_ms LIMIT 1", (now_ms,)
        )
        return _whole(rows[0][0]) if rows else None

    def outlines(self) -> Iterator[ContactOutline]:
        rows = self._database.rows(
            "SELECT id, due_ms, queued_until_ms, synced_ms, failures, times_gone, last_error, failed_ms"
            " FROM contact ORDER BY id"
        )
        for id_, due_ms, queued_until_ms, synced_ms, failures, times_gone, last_error, failed_ms in rows:
            yield ContactOutline(
                id=str(id_),
                due_ms=_whole(due_ms),
                queued_until_ms=_whole(queued_until_ms),
                synced_ms=_whole_or_none(synced_ms),
                failures=_whole(failures),
                times_gone=_whole(times_gone),
                last_error=None if last_error is None else str(last_error),
                failed_ms=_whole_or_none(failed_ms),
            )

    def release_all(self) -> None:
        """Free every contact. Only for a process that holds the folder and has an empty queue."""
        self._database.execute(
            "UPDATE contact SET queued_until_ms = 0, held_until_ms = NULL"
            " WHERE queued_until_ms > 0 OR held_until_ms IS NOT NULL"
        )

    def count(self) -> int:
        return _whole(self._database.rows("SELECT count(*) FROM contact")[0][0])

    def count_due(self, now_ms: int) -> int:
        rows = self._database.rows("SELECT count(*) FROM contact WHERE due_ms <= ?", (now_ms,))
        return _whole(rows[0][0])


def _contact(
    contact_id: str,
    registered_ms: object,
    due_ms: object,
    version: object,
    synced_ms: object,
    failures: object,
    times_gone: object,
    marks: object,
    remembered: object,
    unreadable: object,
    progress: object,
    summaries: object,
    resync_ms: object,
    last_error: object,
    failed_ms: object,
    held_until_ms: object,
) -> Contact:
    return Contact(
        id=contact_id,
        registered_ms=_whole(registered_ms),
        due_ms=_whole(due_ms),
        version=_whole(version),
        synced_ms=_whole_or_none(synced_ms),
        failures=_whole(failures),
        times_gone=_whole(times_gone),
        watermark=Watermark(
            marks_from_json(str(marks)), _blob(remembered), _blob(unreadable), _whole_or_none(resync_ms)
        ),
        progress=None if progress is None else progress_from_json(str(progress)),
        summaries=summaries_from_json(str(summaries)),
        last_error=None if last_error is None else str(last_error),
        failed_ms=_whole_or_none(failed_ms),
        held_until_ms=_whole_or_none(held_until_ms),
    )


def _whole(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101  the schema says so; this tells the type checker
    return value


def _whole_or_none(value: object) -> int | None:
    return None if value is None else _whole(value)


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes)  # noqa: S101  as above
    return value


class SqliteCampaigns:
    """The `Campaigns` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def listed_ms(self) -> int | None:
        stored = self._database.get("campaigns_listed")
        return None if stored is None else _whole_or_none(json.loads(stored))

    def put_listed(self, listed_ms: int | None) -> None:
        self._database.put("campaigns_listed", json.dumps(listed_ms))

    def get(self, campaign_id: str) -> Campaign:
        rows = self._database.rows("SELECT version, summary FROM campaign WHERE id = ?", (campaign_id,))
        if not rows:
            return Campaign(campaign_id)
        (summarized,) = summaries_from_json(str(rows[0][1]))
        return Campaign(campaign_id, _whole(rows[0][0]), summarized)

    def save(self, campaign: Campaign) -> bool:
        summary = summaries_to_json((campaign.summarized,))
        if campaign.version == 0:
            sql, parameters = "INSERT OR IGNORE INTO campaign VALUES (?, 1, ?)", (campaign.id, summary)
            return bool(self._database.execute(sql, parameters))
        changed = self._database.execute(
            "UPDATE campaign SET version = version + 1, summary = ? WHERE id = ? AND version = ?",
            (summary, campaign.id, campaign.version),
        )
        return bool(changed)


class SqliteListings:
    """The `Listings` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Listing:
        stored = self._database.get("listing")
        return Listing(**json.loads(stored)) if stored else Listing()

    def put(self, listing: Listing) -> None:
        self._database.put("listing", json.dumps(asdict(listing)))

    def failure(self) -> TickFailure | None:
        stored = json.loads(self._database.get("tick_failure") or "null")
        return stored and TickFailure(**stored)

    def put_failure(self, failure: TickFailure | None) -> None:
        self._database.put("tick_failure", json.dumps(failure and asdict(failure)))


class SqliteTally:
    """The `Tally` port: a row a day and detail type, or bucket of ages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        self._database.execute_many(
            "INSERT INTO published VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET events = events + excluded.events",
            [(day, name, count) for name, count in tally_to_counts(events, ages).items()],
        )

    def on(self, day: int) -> DayTally:
        rows = self._database.rows("SELECT detail_type, events FROM published WHERE day = ?", (day,))
        return tally_from_counts({str(name): _whole(count) for name, count in rows})


class SqlitePauses:
    """The `PauseBoard` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Pauses:
        return _pauses(self._database.get("pauses"))

    def pause(self, pause: Pause) -> None:
        self._change(lambda pauses: pauses.with_pause(pause))

    def lift(self, reason: PauseReason) -> None:
        self._change(lambda pauses: pauses.without(reason))

    def _change(self, change: Callable[[Pauses], Pauses]) -> None:
        swapped = False
        while not swapped:
            seen = self._database.get("pauses")
            by_reason = {pause.reason: pause.until_ms for pause in change(_pauses(seen)).by_reason}
            swapped = self._database.swap("pauses", seen, json.dumps(by_reason))


def _pauses(stored: str | None) -> Pauses:
    by_reason = json.loads(stored) if stored else {}
    return Pauses(tuple(Pause(PauseReason(reason), until) for reason, until in by_reason.items()))


class SqliteLease:
    """The `Lease` port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid.uuid4().hex

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        seen = self._database.get("lease")
        held = json.loads(seen) if seen else {"until_ms": 0}
        if now_ms < held["until_ms"] <= planning.latest_lease_ms(now_ms) and held["holder"] != self._holder:
            return False
        return self._database.swap("lease", seen, self._mine(until_ms))

    def clear(self) -> None:
        """Free it, whoever holds it. Only for a process that holds the folder."""
        self._database.put("lease", self._mine(0))

    def give_back(self) -> None:
        seen = self._database.get("lease")
        if seen and json.loads(seen)["holder"] == self._holder:
            self._database.swap("lease", seen, self._mine(0))

    def _mine(self, until_ms: int) -> str:
        return json.dumps({"holder": self._holder, "until_ms": until_ms})


def sqlite_limiter(database: Database, limits: Limits, clock: Clock) -> SharedLimiter:
    """The `Limiter` port."""
    return SharedLimiter(limits, SqlitePace(database), clock)


class SqlitePace:
    """The `PaceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._synced_slot_ms = 0

    def load(self) -> Pace:
        stored = self._database.get("pace")
        return Pace(**json.loads(stored)) if stored else Pace()

    def change(self, change: PaceChange) -> Pace:
        with self._database.alone():
            found = self.load()
            self._store(changed(found, change))
        return found

    def tidy(self) -> None:
        """Nothing is ever put off."""

    def _store(self, pace: Pace) -> None:
        is_to_sync = abs(pace.next_slot_ms - self._synced_slot_ms) >= PACE_SYNCED_EVERY_MS
        with self._database.synced() if is_to_sync else nullcontext():
            self._database.put("pace", _pace_to_json(pace))
        if is_to_sync:
            self._synced_slot_ms = pace.next_slot_ms


def _pace_to_json(pace: Pace) -> str:
    return json.dumps({"day": pace.day, "used": pace.used, "next_slot_ms": pace.next_slot_ms})


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """The `Store` port."""

    contacts: SqliteContacts
    campaigns: SqliteCampaigns
    listings: SqliteListings
    pauses: SqlitePauses
    tally: SqliteTally
    lease: SqliteLease
    limiter: Limiter

    def free_all(self) -> None:
        """Undo what a killed process held. The caller holds the folder, so nobody else is alive."""
        self.lease.clear()
        self.contacts.release_all()


def sqlite_store(database: Database, limits: Limits, clock: Clock) -> SqliteStore:
    """All ports over one database; `limits` and `clock` are the limiter's."""
    return SqliteStore(
        contacts=SqliteContacts(database),
        campaigns=SqliteCampaigns(database),
        listings=SqliteListings(database),
        pauses=SqlitePauses(database),
        tally=SqliteTally(database),
        lease=SqliteLease(database),
        limiter=sqlite_limiter(database, limits, clock),
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """An item handed to a worker, for the `receives`-th time."""

    item: WorkItem
    receives: int = 1


class MemoryQueue:
    """The `Queue` port; a worker takes with `receive` and ends each delivery with `done` or `again`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Delivery] = deque()
        self._in_flight = 0

    def send(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        with self._changed:
            self._waiting.extend(Delivery(item) for item in items)
            self._changed.notify_all()
        return []

    def depth(self) -> int:
        with self._changed:
            return len(self._waiting) + self._in_flight

    def receive(self, *, wait_s: float) -> Delivery | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, wait_s):
                return None
            self._in_flight += 1
            return self._waiting.popleft()

    def done(self) -> None:
        with self._changed:
            self._in_flight -= 1

    def again(self, delivery: Delivery) -> None:
        """Deliver once more, behind all that waits."""
        with self._changed:
            self._in_flight -= 1
            self._waiting.append(replace(delivery, receives=delivery.receives + 1))
            self._changed.notify()


class Sink(Protocol):
    """Takes lines, from any thread."""

    def write(self, lines: bytes, /) -> int:
        """Return how many bytes once all of them are where they will not be lost."""


class FileBus:
    """The `Bus` port: each event as a subscriber receives it from EventBridge, one JSON object a line.

    `published` counts the events by `detail-type`.
    """

    def __init__(self, sink: Sink, clock: Clock, new_id: Callable[[], str]) -> None:
        self._sink = sink
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self.published: Counter[str] = Counter()

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  a file is never busy
        """Return when the sink has the events; raises what it raises."""
        time = iso(self._clock.now_ms())[:-5] + "Z"
        self._sink.write(b"".join(self._envelope(event, time) for event in events))
        with self._lock:
            self.published.update(event.detail_type for event in events)

    def _envelope(self, event: Event, time: str) -> bytes:
        envelope = {
            "version": "0",
            "id": self._new_id(),
            "detail-type": event.detail_type,
            "source": EVENT_SOURCE,
            "account": "000000000000",
            "time": time,
            "region": "local",
            "resources": [],
        }
        head = json.dumps(envelope, separators=(",", ":"))
        return f'{head[:-1]},"detail":{event.detail}}}\n'.encode()
