"""The ports on one DynamoDB table: an item a contact, and one for each thing that all share.

The table has the string key `pk`. The index `due` (`due_shard`, `due_at`; keys only) holds the
contacts alone, since no other item has these attributes. Times are milliseconds since 1970.
"""

import heapq
import json
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from contact_activity import planning
from contact_activity.activity import iso
from contact_activity.adapters.aws_errors import as_our_errors, error_code
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
from contact_activity.planning import Listing, LongestWaits
from contact_activity.ports import (
    Campaign,
    Clock,
    Contact,
    ContactOutline,
    DayTally,
    ListedContact,
    RetryError,
    TickFailure,
)
from contact_activity.rate_limit import DAY_MS, Pause, PauseReason, Pauses
from contact_activity.watermark import Watermark

DUE_INDEX = "due"
SHARDS = 8
# Behind them one for each other standing: what a contact can honestly wait shows in the index's keys.
ALL_SHARDS = SHARDS + planning.STANDINGS - 1
THREADS = 8
PAGE_ROWS = 200
# What DynamoDB takes in one BatchGetItem.
BATCH_MOST = 100
# More than can be in messages at once on the largest day that is usual: two ticks of the day's calls.
LOOKED_AT_MOST = 20_000
# A second's work at most, before the tick looks at its time limit again.
LOOKED_AT_ONCE = 100
# More than a tick of the largest day that is usual hands out; the next tick goes on.
PULLED_BACK_MOST = 5_000
_CONTACT = "contact#"
_CAMPAIGN = "campaign#"
_OUTLINE = (
    *("pk", "due_at", "queued_until", "synced_at", "failures", "times_gone"),
    *("last_error", "failed_at"),
)
_IS_FREE = "(attribute_not_exists(queued_until) OR queued_until <= :now OR queued_until > :latest)"
_REGISTER = (
    "SET modified_date = :modified, registered_at = :now, due_shard = :shard, version = :zero, due_at = :now"
)
_OF_LISTING = ("pk", "registered_at", "modified_date", "times_gone")
_IS_NO_GONE_ONE = (
    "attribute_exists(registered_at) AND (attribute_not_exists(times_gone) OR times_gone = :zero)"
)

Value = str | int | bytes | tuple[str, ...] | None
A = TypeVar("A")
R = TypeVar("R")


class Item:
    """A stored item, read by attribute."""

    def __init__(self, attributes: Mapping[str, Mapping[str, object]]) -> None:
        self._attributes = attributes

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __contains__(self, name: str) -> bool:
        return name in self._attributes

    def text(self, name: str, default: str = "") -> str:
        return str(self._attributes[name]["S"]) if name in self else default

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if name in self else None

    def texts(self, name: str) -> list[str]:
        stored = self._attributes[name]["L"] if name in self else []
        assert isinstance(stored, list)  # noqa: S101  what boto3 gives for L; this tells the type checker
        return [str(text["S"]) for text in stored]

    def blob(self, name: str) -> bytes:
        value = self._attributes[name]["B"] if name in self else b""
        assert isinstance(value, bytes)  # noqa: S101  what boto3 gives for B; this tells the type checker
        return value

    def whole(self, name: str) -> int:
        return self.whole_or_none(name) or 0

    def whole_or_none(self, name: str) -> int | None:
        """None if there is none, and for a stored null."""
        value = self._attributes.get(name, {}).get("N")
        return None if value is None else int(str(value))


class Table:
    """One table, by the few operations that the ports are made of.

    In a change and in a condition `:x` stands for the value `x`. Raises `RetryError` where AWS does
    not do what it is asked.
    """

    def __init__(self, client: BaseClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, pk: str) -> Item:
        """Empty if there is none."""
        with as_our_errors("the table"):
            found = self._client.get_item(TableName=self._name, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return Item(found.get("Item", {}))

    def get_many(self, pks: Sequence[str], *attributes: str) -> dict[str, Item]:
        """These attributes of those there are, by `pk`; soon after, not at once, true, at half the price."""
        items: dict[str, Item] = {}
        # DynamoDB refuses a batch that names a key twice.
        once = list(dict.fromkeys(pks))
        for first in range(0, len(once), BATCH_MOST):
            items |= self._get_batch(once[first : first + BATCH_MOST], attributes)
        return items

    def _get_batch(self, pks: Sequence[str], attributes: Sequence[str]) -> dict[str, Item]:
        asked = {"Keys": [{"pk": {"S": pk}} for pk in pks], "ProjectionExpression": ", ".join(attributes)}
        with as_our_errors("the table"):
            found = self._client.batch_get_item(RequestItems={self._name: asked})
        items = [Item(attributes) for attributes in found["Responses"].get(self._name, ())]
        # By single calls, which botocore repeats with a growing wait.
        left = [key["pk"]["S"] for key in found["UnprocessedKeys"].get(self._name, {}).get("Keys", ())]
        return {item.text("pk"): item for item in items} | {pk: self.get(pk) for pk in left}

    def put(self, pk: str, attribute: str, value: Value) -> None:
        with as_our_errors("the table"):
            self._client.put_item(TableName=self._name, Item={"pk": {"S": pk}, attribute: _typed(value)})

    def delete(self, pk: str) -> bool:
        """False if there was none."""
        key = {"pk": {"S": pk}}
        with as_our_errors("the table"):
            old = self._client.delete_item(TableName=self._name, Key=key, ReturnValues="ALL_OLD")
        return bool(old.get("Attributes"))

    def update(self, pk: str, change: str, condition: str = "", **values: Value) -> bool:
        """Change one item; False when the condition does not hold."""
        try:
            self._update(pk, change, condition, values)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def add(self, pk: str, amounts: Mapping[str, int]) -> None:
        """Raise numbers of one item, by any attribute names."""
        numbered = list(enumerate(amounts.items()))
        with as_our_errors("the table"):
            self._client.update_item(
                TableName=self._name,
                Key={"pk": {"S": pk}},
                UpdateExpression="ADD " + ", ".join(f"#n{number} :n{number}" for number, _ in numbered),
                ExpressionAttributeNames={f"#n{number}": name for number, (name, _) in numbered},
                ExpressionAttributeValues={f":n{number}": _typed(of) for number, (_, of) in numbered},
            )

    def append(self, pk: str, attribute: str, text: str) -> Item:
        """Put a text behind the others of a list; the item as it is then."""
        change = f"SET {attribute} = list_append(if_not_exists({attribute}, :none), :more)"
        return Item(self._update(pk, change, "", {"none": (), "more": (text,)}, ReturnValues="ALL_NEW"))

    def _update(
        self, pk: str, change: str, condition: str, values: Mapping[str, Value], **returned: str
    ) -> dict[str, dict[str, object]]:
        request: dict[str, object] = {"UpdateExpression": change, **returned}
        if condition:
            request["ConditionExpression"] = condition
        if values:
            request["ExpressionAttributeValues"] = _placeholders(values)
        try:
            response = self._client.update_item(TableName=self._name, Key={"pk": {"S": pk}}, **request)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise
        except (ClientError, BotoCoreError) as error:
            raise RetryError(f"the table did not take a change: {error_code(error)}") from error
        return dict(response.get("Attributes", {}))

    def due(self, shard: int, until_ms: int | None, page_rows: int = PAGE_ROWS) -> Iterator[tuple[int, str]]:
        """The due time and the id of a shard's contacts, earliest first; soon after, not at once, true."""
        if until_ms is None:
            return self._shard("due_shard = :shard", page_rows, shard=shard)
        return self._shard("due_shard = :shard AND due_at <= :until", page_rows, shard=shard, until=until_ms)

    def due_after(self, shard: int, after_ms: int) -> Iterator[str]:
        """The ids of a shard's contacts that are due later than that; soon after, not at once, true."""
        condition = "due_shard = :shard AND due_at > :after"
        return (contact_id for _, contact_id in self._shard(condition, shard=shard, after=after_ms))

    def _shard(
        self, condition: str, page_rows: int = PAGE_ROWS, **values: Value
    ) -> Iterator[tuple[int, str]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=DUE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_placeholders(values),
            PaginationConfig={"PageSize": page_rows},
        )
        with as_our_errors("the table"):
            for page in pages:
                for row in page["Items"]:
                    item = Item(row)
                    yield item.whole("due_at"), item.text("pk").removeprefix(_CONTACT)

    def scan(self, prefix: str, *attributes: str) -> Iterator[Item]:
        """The items whose `pk` begins so, in no order; only some attributes if any are named."""
        only = {"ProjectionExpression": ", ".join(attributes)} if attributes else {}
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues=_placeholders({"prefix": prefix}),
            **only,
        )
        with as_our_errors("the table"):
            for page in pages:
                yield from map(Item, page["Items"])


def _placeholders(values: Mapping[str, Value]) -> dict[str, dict[str, object]]:
    return {f":{name}": _typed(value) for name, value in values.items()}


def _typed(value: Value) -> dict[str, object]:
    match value:
        case None:
            return {"NULL": True}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case tuple():
            return {"L": [_typed(text) for text in value]}
    return {"S": value}


def due_shard(contact_id: str, standing: int = planning.USUAL) -> int:
    """The same for a contact for ever, as long as nothing changes how long it may wait."""
    if standing != planning.USUAL:
        return SHARDS + standing - 1
    return zlib.crc32(contact_id.encode()) % SHARDS


class DynamoContacts:
    """The `Contacts` port. `threads` calls are made at once where many contacts change."""

    def __init__(self, client: BaseClient, table_name: str, threads: int = THREADS) -> None:
        self._table = Table(client, table_name)
        self._threads = threads

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        by_pk = {_CONTACT + contact.id: contact for contact in listed}
        known = self._table.get_many(list(by_pk), *_OF_LISTING)

        def register(pk: str) -> bool:
            item, contact = known.get(pk, Item({})), by_pk[pk]
            if "registered_at" not in item:
                return self._add(contact, now_ms)
            self._note_change(contact, item, now_ms, is_full)
            return False

        return sum(self._each(register, list(by_pk)))

    def _add(self, contact: ListedContact, now_ms: int) -> bool:
        """False if another dispatcher was first."""
        return self._table.update(
            _CONTACT + contact.id,
            _REGISTER,
            "attribute_not_exists(registered_at)",
            modified=contact.modified_date,
            now=now_ms,
            shard=due_shard(contact.id),
            zero=0,
        )

    def _note_change(self, contact: ListedContact, known: Item, now_ms: int, is_full: bool) -> None:
        """`known` may be a moment old: what a worker stored or a person erased since then wins."""
        pk, modified = _CONTACT + contact.id, contact.modified_date
        is_changed, is_gone = known.text("modified_date") != modified, known.whole("times_gone") > 0
        if not is_changed and not (is_gone and is_full):
            return
        if not is_gone and self._table.update(
            pk, "SET modified_date = :modified", _IS_NO_GONE_ONE, modified=modified, zero=0
        ):
            return
        change = "SET modified_date = :modified, due_at = :now"
        self._table.update(pk, change, "attribute_exists(registered_at)", modified=modified, now=now_ms)

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        """A read for each that is looked at, and a write for each that the read does not show as out."""
        due = _once(contact_id for _, contact_id in islice(self._due(clock.now_ms()), LOOKED_AT_MOST))
        while most > 0 and (looked_at := list(islice(due, min(LOOKED_AT_ONCE, max(THREADS, most))))):
            out = self._out_of(looked_at, clock.now_ms(), tick_ms)
            free = (contact_id for contact_id in looked_at if contact_id not in out)
            claimed = self._claim_of(free, clock, tick_ms, most)
            most -= len(claimed)
            yield claimed

    def _claim_of(self, free: Iterator[str], clock: Clock, tick_ms: int, most: int) -> list[str]:
        claimed: list[str] = []
        while len(claimed) < most and (tried := list(islice(free, most - len(claimed)))):
            won = self._each(partial(self._claim, now_ms=clock.now_ms(), tick_ms=tick_ms), tried)
            claimed += [contact_id for contact_id, is_ours in zip(tried, won, strict=True) if is_ours]
        return claimed

    def _out_of(self, contact_ids: Sequence[str], now_ms: int, tick_ms: int) -> set[str]:
        """Those in a message, as it was a moment ago: the write decides."""
        items = self._table.get_many([_CONTACT + id_ for id_ in contact_ids], "pk", "queued_until")
        latest_ms = planning.latest_queued_ms(planning.queued_until_ms(now_ms, tick_ms))
        is_out = {pk: now_ms < item.whole("queued_until") <= latest_ms for pk, item in items.items()}
        return {id_ for id_ in contact_ids if is_out.get(_CONTACT + id_)}

    def _claim(self, contact_id: str, *, now_ms: int, tick_ms: int) -> bool:
        until_ms = planning.queued_until_ms(now_ms, tick_ms)
        return self._table.update(
            _CONTACT + contact_id,
            "SET queued_until = :until",
            f"due_at <= :now AND {_IS_FREE}",
            until=until_ms,
            now=now_ms,
            latest=planning.latest_queued_ms(until_ms),
        )

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        """At most 5,000 at once. Costs a query a shard, and a read and a write for each that is found."""
        late = (
            contact_id
            for shard in range(ALL_SHARDS)
            for contact_id in self._table.due_after(shard, waits.latest_ms(now_ms, _standing_in(shard)))
        )
        found = list(islice(late, PULLED_BACK_MOST))
        return sum(self._each(lambda contact_id: self._pull_back(contact_id, now_ms, waits), found))

    def _pull_back(self, contact_id: str, now_ms: int, waits: LongestWaits) -> bool:
        """An earlier version kept every contact in the shards of the usual ones: it is moved."""
        item = self._table.get(_CONTACT + contact_id)
        standing = planning.standing(failures=item.whole("failures"), times_gone=item.whole("times_gone"))
        seen_ms, shard = item.whole("due_at"), due_shard(contact_id, standing)
        is_late = seen_ms > waits.latest_ms(now_ms, standing)
        if is_late or item.whole("due_shard") != shard:
            change, is_as_seen = "SET due_at = :due, due_shard = :shard", "due_at = :seen"
            due_ms = now_ms if is_late else seen_ms
            pk = _CONTACT + contact_id
            is_changed = self._table.update(pk, change, is_as_seen, due=due_ms, shard=shard, seen=seen_ms)
            return is_late and is_changed
        return False

    def release(self, contact_ids: Sequence[str]) -> None:
        self._each(self._release, contact_ids)

    def abandon(self, contact_ids: Sequence[str]) -> None:
        """They are in no message, and nobody works on them: all that could is stopped."""
        self._each(lambda contact_id: self._remove(contact_id, "queued_until, held_until"), contact_ids)

    def _release(self, contact_id: str) -> bool:
        return self._remove(contact_id, "queued_until")

    def _remove(self, contact_id: str, attributes: str) -> bool:
        return self._table.update(_CONTACT + contact_id, f"REMOVE {attributes}", "attribute_exists(pk)")

    def get(self, contact_id: str) -> Contact | None:
        item = self._table.get(_CONTACT + contact_id)
        return _contact(contact_id, item) if "registered_at" in item else None

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        standing = planning.standing(failures=contact.failures, times_gone=contact.times_gone)
        values: dict[str, Value] = {
            "registered_at": contact.registered_ms,
            "due_at": contact.due_ms,
            "due_shard": due_shard(contact.id, standing),
            "failures": contact.failures,
            "times_gone": contact.times_gone,
            "marks": marks_to_json(contact.watermark.marks),
            "remembered": contact.watermark.remembered,
            "unreadable": contact.watermark.unreadable,
            "summaries": summaries_to_json(contact.summaries),
        }
        may_be_none: dict[str, Value] = {
            "synced_at": contact.synced_ms,
            "resync_from": contact.watermark.resync_ms,
            "last_error": contact.last_error,
            "failed_at": contact.failed_ms,
            "held_until": contact.held_until_ms,
            "queued_until": queued_until_ms or None,
            "progress": progress_to_json(contact.progress) if contact.progress else None,
        }
        values |= {name: value for name, value in may_be_none.items() if value is not None}
        dropped = [name for name, value in may_be_none.items() if value is None]
        kept = ", ".join(f"{name} = :{name}" for name in values)
        return self._table.update(
            _CONTACT + contact.id,
            f"SET version = :next, {kept}" + (f" REMOVE {', '.join(dropped)}" if dropped else ""),
            "version = :seen",
            seen=contact.version,
            next=contact.version + 1,
            **values,
        )

    def erase(self, contact_id: str) -> bool:
        return self._table.delete(_CONTACT + contact_id)

    def make_due(self, now_ms: int) -> None:
        known = [contact_id for _, contact_id in self._due(None)]
        self._each(lambda contact_id: self._make_due(contact_id, now_ms), known)

    def scan(self) -> Iterator[Contact]:
        """Every contact, for the operator: it reads the whole table."""
        for item in self._table.scan(_CONTACT):
            yield _contact(item.text("pk").removeprefix(_CONTACT), item)

    def outlines(self) -> Iterator[ContactOutline]:
        for item in self._table.scan(_CONTACT, *_OUTLINE):
            yield ContactOutline(
                id=item.text("pk").removeprefix(_CONTACT),
                due_ms=item.whole("due_at"),
                queued_until_ms=item.whole("queued_until"),
                synced_ms=item.whole_or_none("synced_at"),
                failures=item.whole("failures"),
                times_gone=item.whole("times_gone"),
                last_error=item.text_or_none("last_error"),
                failed_ms=item.whole_or_none("failed_at"),
            )

    def oldest_due_ms(self, now_ms: int) -> int | None:
        rows = (next(self._table.due(shard, now_ms, page_rows=1), None) for shard in range(ALL_SHARDS))
        return min((due_ms for due_ms, _ in filter(None, rows)), default=None)

    def _make_due(self, contact_id: str, now_ms: int) -> bool:
        pk = _CONTACT + contact_id
        is_later = self._table.update(
            pk, "SET due_at = :now REMOVE queued_until", "due_at > :now", now=now_ms
        )
        return is_later or self._release(contact_id)

    def _due(self, until_ms: int | None) -> Iterator[tuple[int, str]]:
        return heapq.merge(*(self._table.due(shard, until_ms) for shard in range(ALL_SHARDS)))

    def _each(self, do: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
        """Do it for each, in order of the arguments, a few at a time."""
        if self._threads == 1 or len(arguments) < 2:
            return [do(argument) for argument in arguments]
        with ThreadPoolExecutor(min(self._threads, len(arguments))) as pool:
            return list(pool.map(do, arguments))


def _once(contact_ids: Iterator[str]) -> Iterator[str]:
    """A contact that changes its shard while the index is read may be met in both."""
    seen: set[str] = set()
    for contact_id in contact_ids:
        if contact_id not in seen:
            seen.add(contact_id)
            yield contact_id


def _standing_in(shard: int) -> int:
    return planning.USUAL if shard < SHARDS else shard - SHARDS + 1


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
        ),
        progress=progress_from_json(item.text("progress")) if "progress" in item else None,
        summaries=summaries_from_json(item.text("summaries", "{}")),
        last_error=item.text_or_none("last_error"),
        failed_ms=item.whole_or_none("failed_at"),
        held_until_ms=item.whole_or_none("held_until"),
    )


class DynamoCampaigns:
    """The `Campaigns` port: an item a campaign, and one for when they were listed."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def listed_ms(self) -> int | None:
        return self._table.get("campaigns").whole_or_none("listed_at")

    def put_listed(self, listed_ms: int | None) -> None:
        self._table.put("campaigns", "listed_at", listed_ms)

    def get(self, campaign_id: str) -> Campaign:
        item = self._table.get(_CAMPAIGN + campaign_id)
        if "summary" not in item:
            return Campaign(campaign_id)
        (summarized,) = summaries_from_json(item.text("summary"))
        return Campaign(campaign_id, item.whole("version"), summarized)

    def save(self, campaign: Campaign) -> bool:
        values: dict[str, Value] = {
            "next": campaign.version + 1,
            "summary": summaries_to_json((campaign.summarized,)),
        }
        is_as_seen = "attribute_not_exists(pk)"
        if campaign.version:
            is_as_seen = "version = :seen"
            values["seen"] = campaign.version
        return self._table.update(
            _CAMPAIGN + campaign.id, "SET version = :next, summary = :summary", is_as_seen, **values
        )


class DynamoListings:
    """The `Listings` port."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def get(self) -> Listing:
        item = self._table.get("listing")
        return Listing(**json.loads(item.text("listing", "{}")))

    def put(self, listing: Listing) -> None:
        self._table.put("listing", "listing", json.dumps(asdict(listing)))

    def failure(self) -> TickFailure | None:
        stored = json.loads(self._table.get("tick_failure").text("failure", "null"))
        return stored and TickFailure(**stored)

    def put_failure(self, failure: TickFailure | None) -> None:
        self._table.put("tick_failure", "failure", json.dumps(failure and asdict(failure)))


class DynamoTally:
    """The `Tally` port: an item a day, an attribute a detail type and a bucket of ages."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        self._table.add(_tally_of(day), tally_to_counts(events, ages))

    def on(self, day: int) -> DayTally:
        item = self._table.get(_tally_of(day))
        return tally_from_counts({name: item.whole(name) for name in item if name != "pk"})


def _tally_of(day: int) -> str:
    return "published#" + iso(day * DAY_MS)[:10]


class DynamoPauses:
    """The `PauseBoard` port: an attribute a reason, so that one changes without reading the others."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def get(self) -> Pauses:
        item = self._table.get("pauses")
        paused = [reason for reason in PauseReason if _until(reason) in item]
        return Pauses(tuple(Pause(reason, item.whole_or_none(_until(reason))) for reason in paused))

    def pause(self, pause: Pause) -> None:
        self._table.update("pauses", f"SET {_until(pause.reason)} = :until", until=pause.until_ms)

    def lift(self, reason: PauseReason) -> None:
        self._table.update("pauses", f"REMOVE {_until(reason)}")


def _until(reason: PauseReason) -> str:
    return f"{reason.value}_until"


class DynamoLease:
    """The `Lease` port; each instance is another holder."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)
        self._holder = uuid.uuid4().hex

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        return self._table.update(
            "lease",
            "SET holder = :me, held_until = :until",
            "attribute_not_exists(pk) OR held_until <= :now OR held_until > :latest OR holder = :me",
            me=self._holder,
            until=until_ms,
            now=now_ms,
            latest=planning.latest_lease_ms(now_ms),
        )

    def give_back(self) -> None:
        self._table.update("lease", "SET held_until = :zero", "holder = :me", me=self._holder, zero=0)
