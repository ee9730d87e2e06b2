"""Keep the contacts in the table, one item each."""

import heapq
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from botocore.client import BaseClient

from contact_activity.aws.several import each
from contact_activity.aws.table import CONTACT, Item, Table, Value
from contact_activity.domain import schedule
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.schedule import LongestWaits
from contact_activity.domain.watermark import Watermark
from contact_activity.ports import Clock
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

# Before the digest of the id of a contact that was erased.
FORGOTTEN = "forgotten#"
SHARDS = 8
# After them one shard for each other standing. How long a contact may wait depends on its standing, so
# the key of the index shows it.
ALL_SHARDS = SHARDS + schedule.STANDINGS - 1
THREADS = 8
# More contacts than can be in messages at once: those of two ticks, on the largest usual day.
MAX_CLAIMS_READ = 20_000
# About a second of work. After each part the tick checks its time limit.
CLAIMS_READ_AT_ONCE = 100
# More than one tick hands out on the largest usual day. The next tick continues.
MAX_PULLED_BACK = 5_000
_OUTLINE_ATTRIBUTES = (
    *("pk", "due_at", "queued_until", "synced_at", "failures", "times_gone"),
    *("last_error", "failed_at", "asks"),
)
_IS_FREE = "(attribute_not_exists(queued_until) OR queued_until <= :now OR queued_until > :latest)"
_REGISTER = (
    "SET modified_date = :modified, registered_at = :now, due_shard = :shard, version = :zero, due_at = :now"
)
_LISTED_ATTRIBUTES = ("pk", "registered_at", "modified_date", "times_gone")
_NOT_GONE = "attribute_exists(registered_at) AND (attribute_not_exists(times_gone) OR times_gone = :zero)"
A = TypeVar("A")
R = TypeVar("R")


def due_shard(contact_id: str, standing: int = schedule.USUAL) -> int:
    """Return the shard of a contact. It never changes while the standing is the same."""
    if standing != schedule.USUAL:
        return SHARDS + standing - 1
    return zlib.crc32(contact_id.encode()) % SHARDS


class DynamoContacts:
    """The `Contacts` port. `threads`: how many calls run at once when many contacts change."""

    def __init__(self, client: BaseClient, table_name: str, threads: int = THREADS) -> None:
        self._table = Table(client, table_name)
        self._threads = threads

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        by_pk = {CONTACT + contact.id: contact for contact in listed}
        known = self._table.get_many(list(by_pk), *_LISTED_ATTRIBUTES)
        unknown = {pk: of for pk, of in by_pk.items() if "registered_at" not in known.get(pk, Item({}))}
        forgotten_ms = self._forgotten_ms([contact.id for contact in unknown.values()])

        def register(pk: str) -> bool:
            contact = by_pk[pk]
            if pk in unknown:
                return self._add(contact, now_ms, forgotten_ms.get(contact.id))
            self._note_change(contact, known[pk], now_ms, is_full)
            return False

        return sum(self._each(register, list(by_pk)))

    def _forgotten_ms(self, contact_ids: Sequence[str]) -> dict[str, int]:
        """When contacts were erased, of those that were. A call for each hundred.

        Consistent: the digest of a contact that is not there any more is there already.
        """
        by_pk = {FORGOTTEN + id_digest(id_): id_ for id_ in contact_ids}
        items = self._table.get_many(list(by_pk), is_consistent=True)
        return {by_pk[pk]: item.whole("forgotten_ms") for pk, item in items.items()}

    def _add(self, contact: ListedContact, now_ms: int, forgotten_ms: int | None) -> bool:
        """Add a contact. Return False if another dispatcher was first, or if it stays erased."""
        if forgotten_ms is not None and not contact.is_changed_since(forgotten_ms):
            return False
        is_added = self._add_new(contact, now_ms)
        if is_added and forgotten_ms is not None:
            self._table.delete(FORGOTTEN + id_digest(contact.id))
        return is_added

    def _add_new(self, contact: ListedContact, now_ms: int) -> bool:
        return self._table.update(
            CONTACT + contact.id,
            _REGISTER,
            "attribute_not_exists(registered_at)",
            modified=contact.modified_date,
            now=now_ms,
            shard=due_shard(contact.id),
            zero=0,
        )

    def _note_change(self, contact: ListedContact, known: Item, now_ms: int, is_full: bool) -> None:
        """Store the new date of a contact, and make a gone contact due.

        `known` may be out of date: the conditions keep what was stored or erased since it was read.
        """
        pk, modified = CONTACT + contact.id, contact.modified_date
        is_changed, is_gone = known.text("modified_date") != modified, known.whole("times_gone") > 0
        if not is_changed and not (is_gone and is_full):
            return
        if not is_gone and self._table.update(
            pk, "SET modified_date = :modified", _NOT_GONE, modified=modified, zero=0
        ):
            return
        change = "SET modified_date = :modified, due_at = :now"
        self._table.update(pk, change, "attribute_exists(registered_at)", modified=modified, now=now_ms)

    def erased_ms(self, contact_id: str) -> int | None:
        return self._forgotten_ms([contact_id]).get(contact_id)

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        """Costs a read for each due contact, and a write for each that does not seem to be in a message."""
        due = _without_repeats(
            contact_id for _, contact_id in islice(self._due(clock.now_ms()), MAX_CLAIMS_READ)
        )
        while most > 0 and (read := list(islice(due, min(CLAIMS_READ_AT_ONCE, max(THREADS, most))))):
            queued = self._in_messages(read, clock.now_ms(), tick_ms)
            free = (contact_id for contact_id in read if contact_id not in queued)
            claimed = self._claim_free(free, clock, tick_ms, most)
            most -= len(claimed)
            yield claimed

    def _claim_free(self, free: Iterator[str], clock: Clock, tick_ms: int, most: int) -> list[str]:
        claimed: list[str] = []
        while len(claimed) < most and (tried := list(islice(free, most - len(claimed)))):
            won = self._each(partial(self._claim, now_ms=clock.now_ms(), tick_ms=tick_ms), tried)
            claimed += [contact_id for contact_id, is_ours in zip(tried, won, strict=True) if is_ours]
        return claimed

    def _in_messages(self, contact_ids: Sequence[str], now_ms: int, tick_ms: int) -> set[str]:
        """Return those that seem to be in a message. Eventually consistent: the claim itself decides."""
        items = self._table.get_many([CONTACT + id_ for id_ in contact_ids], "pk", "queued_until")
        until_ms = {pk: item.whole("queued_until") for pk, item in items.items()}
        return {
            id_ for id_ in contact_ids if schedule.is_queued(until_ms.get(CONTACT + id_, 0), now_ms, tick_ms)
        }

    def _claim(self, contact_id: str, *, now_ms: int, tick_ms: int) -> bool:
        return self._table.update(
            CONTACT + contact_id,
            "SET queued_until = :until",
            f"due_at <= :now AND {_IS_FREE}",
            until=schedule.queued_until_ms(now_ms, tick_ms),
            now=now_ms,
            latest=schedule.latest_queued_ms(now_ms, tick_ms),
        )

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        """At most 5,000 in one call. Costs a query for each shard, and a read and a write for each find."""
        late = (
            contact_id
            for shard in range(ALL_SHARDS)
            for contact_id in self._table.due_after(shard, waits.latest_ms(now_ms, _standing_in(shard)))
        )
        found = list(islice(late, MAX_PULLED_BACK))
        return sum(self._each(lambda contact_id: self._pull_back(contact_id, now_ms, waits), found))

    def _pull_back(self, contact_id: str, now_ms: int, waits: LongestWaits) -> bool:
        """Make a contact due now if it is due too late. Return whether it was.

        An earlier version kept all contacts in the shards of the usual standing, so move it as well.
        """
        item = self._table.get(CONTACT + contact_id)
        standing = schedule.standing(failures=item.whole("failures"), times_gone=item.whole("times_gone"))
        seen_ms, shard = item.whole("due_at"), due_shard(contact_id, standing)
        is_late = seen_ms > waits.latest_ms(now_ms, standing)
        if is_late or item.whole("due_shard") != shard:
            change, is_as_seen = "SET due_at = :due, due_shard = :shard", "due_at = :seen"
            due_ms = now_ms if is_late else seen_ms
            pk = CONTACT + contact_id
            is_changed = self._table.update(pk, change, is_as_seen, due=due_ms, shard=shard, seen=seen_ms)
            return is_late and is_changed
        return False

    def release(self, contact_ids: Sequence[str]) -> None:
        self._each(self._release, contact_ids)

    def abandon(self, contact_ids: Sequence[str]) -> None:
        """Release contacts that a stopped worker may hold. Only while no worker runs."""
        self._each(lambda contact_id: self._remove(contact_id, "queued_until, held_until"), contact_ids)

    def _release(self, contact_id: str) -> bool:
        return self._remove(contact_id, "queued_until")

    def _remove(self, contact_id: str, attributes: str) -> bool:
        return self._table.update(CONTACT + contact_id, f"REMOVE {attributes}", "attribute_exists(pk)")

    def get_many(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        """Costs a call for each hundred, and more if they are large."""
        items = self._table.get_many([CONTACT + id_ for id_ in contact_ids], is_consistent=True)
        by_id = {pk.removeprefix(CONTACT): item for pk, item in items.items() if "registered_at" in item}
        return {id_: _contact(id_, item) for id_, item in by_id.items()}

    def get(self, contact_id: str) -> Contact | None:
        item = self._table.get(CONTACT + contact_id)
        return _contact(contact_id, item) if "registered_at" in item else None

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        standing = schedule.standing(failures=contact.failures, times_gone=contact.times_gone)
        values: dict[str, Value] = {
            "registered_at": contact.registered_ms,
            "due_at": contact.due_ms,
            "due_shard": due_shard(contact.id, standing),
            "failures": contact.failures,
            "times_gone": contact.times_gone,
            "unreadable": contact.watermark.unreadable,
            "summaries": summaries_to_json(contact.summaries),
            "synced_at": contact.synced_ms,
            "resync_from": contact.watermark.resync_ms,
            "resync_asked_at": contact.watermark.resync_asked_ms,
            "last_error": contact.last_error,
            "failed_at": contact.failed_ms,
            "held_until": contact.held_until_ms,
            "queued_until": queued_until_ms or None,
            "progress": progress_to_json(contact.progress) if contact.progress else None,
        }
        return self._save(contact, values)

    def remember(self, contacts: Sequence[Contact], *, due: Collection[str] = ()) -> list[str]:
        def save(contact: Contact) -> bool:
            return self._save(contact, {"due_at": contact.due_ms} if contact.id in due else {})

        saved = self._each(save, contacts)
        return [contact.id for contact, is_saved in zip(contacts, saved, strict=True) if not is_saved]

    def _save(self, contact: Contact, values: Mapping[str, Value]) -> bool:
        """Store these values and what is remembered, if the version is the stored one."""
        remembered: dict[str, Value] = {
            "marks": marks_to_json(contact.watermark.marks),
            "remembered": contact.watermark.remembered,
            "reported": contact.watermark.reported or None,
            "asks": asks_to_json(contact.asks) if contact.asks else None,
        }
        return self._table.save(CONTACT + contact.id, contact.version, {**values, **remembered})

    def erase(self, contact_id: str, now_ms: int) -> bool:
        self._table.update(FORGOTTEN + id_digest(contact_id), "SET forgotten_ms = :now", now=now_ms)
        return self._table.delete(CONTACT + contact_id)

    def make_due(self, now_ms: int) -> None:
        known = [contact_id for _, contact_id in self._due(None)]
        self._each(lambda contact_id: self._make_due(contact_id, now_ms), known)

    def scan(self) -> Iterator[Contact]:
        """Yield every contact, for the operator. Reads the whole table."""
        for item in self._table.scan(CONTACT):
            yield _contact(item.text("pk").removeprefix(CONTACT), item)

    def outlines(self) -> Iterator[ContactOutline]:
        for item in self._table.scan(CONTACT, *_OUTLINE_ATTRIBUTES):
            asking = asks_from_json(item.text("asks", "{}"))
            yield ContactOutline(
                id=item.text("pk").removeprefix(CONTACT),
                due_ms=item.whole("due_at"),
                queued_until_ms=item.whole("queued_until"),
                synced_ms=item.whole_or_none("synced_at"),
                failures=item.whole("failures"),
                times_gone=item.whole("times_gone"),
                last_error=item.text_or_none("last_error"),
                failed_ms=item.whole_or_none("failed_at"),
                asking=len(asking),
                owed=sum(ask.is_owed for ask in asking),
            )

    def oldest_due_ms(self, now_ms: int) -> int | None:
        rows = (next(self._table.due(shard, now_ms, page_rows=1), None) for shard in range(ALL_SHARDS))
        return min((due_ms for due_ms, _ in filter(None, rows)), default=None)

    def _make_due(self, contact_id: str, now_ms: int) -> bool:
        pk = CONTACT + contact_id
        is_later = self._table.update(
            pk, "SET due_at = :now REMOVE queued_until", "due_at > :now", now=now_ms
        )
        return is_later or self._release(contact_id)

    def _due(self, until_ms: int | None) -> Iterator[tuple[int, str]]:
        return heapq.merge(*(self._table.due(shard, until_ms) for shard in range(ALL_SHARDS)))

    def _each(self, do: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
        return each(do, arguments, self._threads)


def _without_repeats(contact_ids: Iterator[str]) -> Iterator[str]:
    """Drop repeated ids: a contact that changes its shard during the read may appear in both shards."""
    seen: set[str] = set()
    for contact_id in contact_ids:
        if contact_id not in seen:
            seen.add(contact_id)
            yield contact_id


def _standing_in(shard: int) -> int:
    return schedule.USUAL if shard < SHARDS else shard - SHARDS + 1


def _contact(contact_id: str, item: Item) -> Contact:
    return Contact(
        id=contact_id,
        registered_ms=item.whole("registered_at"),
        due_ms=item.whole("due_at"),
        version=item.whole("version"),
        synced_ms=item.whole_or_none("synced_at"),
        failures=item.whole("failures"),
        times_gone=item.whole("times_gone"),
        watermark=Watermark(
            marks_from_json(item.text("marks", "{}")),
            item.blob("remembered"),
            item.blob("unreadable"),
            item.whole_or_none("resync_from"),
            item.whole_or_none("resync_asked_at"),
            item.blob("reported"),
        ),
        progress=progress_from_json(item.text("progress")) if "progress" in item else None,
        summaries=summaries_from_json(item.text("summaries", "{}")),
        last_error=item.text_or_none("last_error"),
        failed_ms=item.whole_or_none("failed_at"),
        held_until_ms=item.whole_or_none("held_until"),
        asks=asks_from_json(item.text("asks", "{}")),
    )
