"""Keep the contacts in SQLite, one row each."""

from collections.abc import Collection, Iterator, Sequence

from contact_activity.domain import schedule
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.schedule import LongestWaits
from contact_activity.domain.watermark import Watermark
from contact_activity.ports import Clock
from contact_activity.sqlite.database import FAILED_OR_GONE, Database, blob, whole, whole_or_none
from contact_activity.state.codec import (
    asks_from_json,
    asks_to_json,
    marks_from_json,
    marks_to_json,
    progress_from_json,
    progress_to_json,
    summaries_from_json,
    summaries_to_json,
)
from contact_activity.state.forgotten import id_digest

_COLUMNS = (
    "registered_ms, due_ms, version, synced_ms, failures, times_gone,"
    " marks, remembered, unreadable, progress, summaries, resync_ms, last_error, failed_ms,"
    " held_until_ms, reported, resync_asked_ms, asks"
)
READ_AT_ONCE = 500
# One transaction takes about a tenth of a second.
CLAIMS_AT_ONCE = 5_000


class SqliteContacts:
    """The `Contacts` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        forgotten_ms = self._forgotten_ms([contact.id for contact in listed])
        wanted = [
            of for of in listed if of.id not in forgotten_ms or of.is_changed_since(forgotten_ms[of.id])
        ]
        new = self._database.execute_many(
            "INSERT OR IGNORE INTO contact (id, modified_date, registered_ms, due_ms) VALUES (?, ?, ?, ?)",
            [(contact.id, contact.modified_date, now_ms, now_ms) for contact in wanted],
        )
        back = [(id_digest(contact.id),) for contact in wanted if contact.id in forgotten_ms]
        if back:
            self._database.execute_many("DELETE FROM forgotten WHERE digest = ?", back)
        self._database.execute_many(
            "UPDATE contact SET due_ms = CASE WHEN times_gone > 0 THEN min(due_ms, ?) ELSE due_ms END,"
            " modified_date = ? WHERE id = ? AND (modified_date <> ? OR (? AND times_gone > 0))",
            [(now_ms, of.modified_date, of.id, of.modified_date, is_full) for of in listed],
        )
        return new

    def _forgotten_ms(self, contact_ids: Sequence[str]) -> dict[str, int]:
        """When contacts were erased, of those that were."""
        by_digest = {id_digest(id_): id_ for id_ in contact_ids}
        digests, found = list(by_digest), dict[str, int]()
        for first in range(0, len(digests), READ_AT_ONCE):
            part = digests[first : first + READ_AT_ONCE]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT digest, forgotten_ms FROM forgotten WHERE digest IN ({marks})"  # noqa: S608
            found |= {
                by_digest[str(digest)]: whole(at_ms) for digest, at_ms in self._database.rows(sql, part)
            }
        return found

    def erased_ms(self, contact_id: str) -> int | None:
        return self._forgotten_ms([contact_id]).get(contact_id)

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        claimed: set[str] = set()
        is_full = True
        # A part that is not full is the last one. Contacts that become free meanwhile wait for the next tick,
        # also those of an earlier part, if the clock is set or the machine sleeps in between.
        while is_full and most > 0:
            ids = self._claim(clock, tick_ms, min(most, CLAIMS_AT_ONCE), claimed)
            is_full, most = len(ids) == CLAIMS_AT_ONCE, most - len(ids)
            claimed.update(ids)
            if ids:
                yield ids

    def _claim(self, clock: Clock, tick_ms: int, most: int, claimed: Collection[str]) -> list[str]:
        with self._database.exclusive():
            now_ms = clock.now_ms()
            rows = self._database.rows(
                "SELECT id FROM contact WHERE due_ms <= ? AND (queued_until_ms <= ? OR queued_until_ms > ?)"
                " ORDER BY due_ms LIMIT ?",
                (now_ms, now_ms, schedule.latest_queued_ms(now_ms, tick_ms), most),
            )
            ids = [id_ for row in rows if (id_ := str(row[0])) not in claimed]
            self._queue_until(ids, schedule.queued_until_ms(now_ms, tick_ms))
        return ids

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        usual = self._database.execute(
            f"UPDATE contact SET due_ms = ? WHERE due_ms > ? AND NOT ({FAILED_OR_GONE})",  # noqa: S608
            (now_ms, waits.latest_ms(now_ms, schedule.USUAL)),
        )
        others = self._database.rows(
            f"SELECT id, due_ms, failures, times_gone FROM contact WHERE due_ms > ? AND ({FAILED_OR_GONE})",  # noqa: S608
            (now_ms,),
        )
        late = []
        for id_, due_ms, failures, times_gone in others:
            standing = schedule.standing(failures=whole(failures), times_gone=whole(times_gone))
            if whole(due_ms) > waits.latest_ms(now_ms, standing):
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
        return self.get_many([contact_id]).get(contact_id)

    def get_many(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        parts = range(0, len(contact_ids), READ_AT_ONCE)
        contacts = (
            contact for first in parts for contact in self._read(contact_ids[first : first + READ_AT_ONCE])
        )
        return {contact.id: contact for contact in contacts}

    def _read(self, contact_ids: Sequence[str]) -> list[Contact]:
        ids = ", ".join("?" * len(contact_ids))
        rows = self._database.rows(f"SELECT id, {_COLUMNS} FROM contact WHERE id IN ({ids})", contact_ids)  # noqa: S608
        return [_contact(str(id_), *columns) for id_, *columns in rows]

    def remember(self, contacts: Sequence[Contact], *, due: Collection[str] = ()) -> list[str]:
        changed = self._database.execute_each(
            "UPDATE contact SET due_ms = coalesce(?, due_ms), marks = ?, remembered = ?, reported = ?,"
            " asks = ?, version = version + 1 WHERE id = ? AND version = ?",
            [
                (
                    contact.due_ms if contact.id in due else None,
                    marks_to_json(contact.watermark.marks),
                    contact.watermark.remembered,
                    contact.watermark.reported,
                    asks_to_json(contact.asks),
                    contact.id,
                    contact.version,
                )
                for contact in contacts
            ],
        )
        return [contact.id for contact, rows in zip(contacts, changed, strict=True) if not rows]

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        changed = self._database.execute(
            "UPDATE contact SET registered_ms = ?, due_ms = ?, synced_ms = ?, failures = ?, times_gone = ?,"
            " marks = ?, remembered = ?, unreadable = ?, progress = ?, summaries = ?, resync_ms = ?,"
            " last_error = ?, failed_ms = ?, held_until_ms = ?, reported = ?, resync_asked_ms = ?, asks = ?,"
            " queued_until_ms = ?, version = version + 1"
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
                contact.watermark.reported,
                contact.watermark.resync_asked_ms,
                asks_to_json(contact.asks),
                queued_until_ms,
                contact.id,
                contact.version,
            ),
        )
        return bool(changed)

    def erase(self, contact_id: str, now_ms: int) -> bool:
        self._database.execute(
            "INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (id_digest(contact_id), now_ms)
        )
        is_erased = bool(self._database.execute("DELETE FROM contact WHERE id = ?", (contact_id,)))
        # Otherwise the write-ahead log holds the contact until it is overwritten.
        self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return is_erased

    def make_due(self, now_ms: int) -> None:
        self._database.execute("UPDATE contact SET due_ms = min(due_ms, ?), queued_until_ms = 0", (now_ms,))

    def oldest_due_ms(self, now_ms: int) -> int | None:
        rows = self._database.rows(
            "SELECT due_ms FROM contact WHERE due_ms <= ? ORDER BY due_ms LIMIT 1", (now_ms,)
        )
        return whole(rows[0][0]) if rows else None

    def outlines(self) -> Iterator[ContactOutline]:
        rows = self._database.rows(
            "SELECT id, due_ms, queued_until_ms, synced_ms, failures, times_gone, last_error, failed_ms,"
            " asks FROM contact ORDER BY id"
        )
        for (
            id_,
            due_ms,
            queued_until_ms,
            synced_ms,
            failures,
            times_gone,
            last_error,
            failed_ms,
            asks,
        ) in rows:
            asking = asks_from_json(str(asks))
            yield ContactOutline(
                id=str(id_),
                due_ms=whole(due_ms),
                queued_until_ms=whole(queued_until_ms),
                synced_ms=whole_or_none(synced_ms),
                failures=whole(failures),
                times_gone=whole(times_gone),
                last_error=None if last_error is None else str(last_error),
                failed_ms=whole_or_none(failed_ms),
                asking=len(asking),
                owed=sum(ask.is_owed for ask in asking),
            )

    def release_all(self) -> None:
        """Release every contact. Only for a process that has locked the folder and has an empty queue."""
        self._database.execute(
            "UPDATE contact SET queued_until_ms = 0, held_until_ms = NULL"
            " WHERE queued_until_ms > 0 OR held_until_ms IS NOT NULL"
        )

    def count(self) -> int:
        return whole(self._database.rows("SELECT count(*) FROM contact")[0][0])

    def count_due(self, now_ms: int) -> int:
        rows = self._database.rows("SELECT count(*) FROM contact WHERE due_ms <= ?", (now_ms,))
        return whole(rows[0][0])


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
    reported: object,
    resync_asked_ms: object,
    asks: object,
) -> Contact:
    return Contact(
        id=contact_id,
        registered_ms=whole(registered_ms),
        due_ms=whole(due_ms),
        version=whole(version),
        synced_ms=whole_or_none(synced_ms),
        failures=whole(failures),
        times_gone=whole(times_gone),
        watermark=Watermark(
            marks_from_json(str(marks)),
            blob(remembered),
            blob(unreadable),
            whole_or_none(resync_ms),
            whole_or_none(resync_asked_ms),
            blob(reported),
        ),
        progress=None if progress is None else progress_from_json(str(progress)),
        summaries=summaries_from_json(str(summaries)),
        last_error=None if last_error is None else str(last_error),
        failed_ms=whole_or_none(failed_ms),
        held_until_ms=whole_or_none(held_until_ms),
        asks=asks_from_json(str(asks)),
    )
