"""Read and write the items of one DynamoDB table.

The table has the string key `pk`. The index `due` (`due_shard`, `due_at`; keys only) holds only
contacts and campaigns' reports, because no other item has these attributes. Times are milliseconds
since 1970.
"""

from collections.abc import Iterator, Mapping, Sequence

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.aws.errors import as_retry_error, error_code
from contact_activity.errors import RetryError

DUE_INDEX = "due"
PAGE_ROWS = 200
# The limit of DynamoDB for one BatchGetItem.
MAX_BATCH_KEYS = 100
CONTACT = "contact#"

Value = str | int | bytes | tuple[str, ...] | frozenset[str] | None


class Item:
    """A stored item. An attribute that it does not have reads as empty, 0 or None."""

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

    def text_set(self, name: str) -> frozenset[str]:
        stored = self._attributes[name]["SS"] if name in self else ()
        assert isinstance(stored, list | tuple)  # noqa: S101  as above, for SS
        return frozenset(stored)

    def blob(self, name: str) -> bytes:
        value = self._attributes[name]["B"] if name in self else b""
        assert isinstance(value, bytes)  # noqa: S101  what boto3 gives for B; this tells the type checker
        return value

    def whole(self, name: str) -> int:
        return self.whole_or_none(name) or 0

    def whole_or_none(self, name: str) -> int | None:
        """None for a missing attribute and for a stored null."""
        value = self._attributes.get(name, {}).get("N")
        return None if value is None else int(str(value))


class Table:
    """The few operations on one table that the ports need.

    In a change and in a condition `:x` stands for the value `x`. Every method raises `RetryError` when
    a call to DynamoDB fails. Reads are consistent unless they say otherwise.
    """

    def __init__(self, client: BaseClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, pk: str) -> Item:
        """Return the item; an empty one if there is none."""
        with as_retry_error("the table"):
            found = self._client.get_item(TableName=self._name, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return Item(found.get("Item", {}))

    def get_many(self, pks: Sequence[str], *attributes: str, is_consistent: bool = False) -> dict[str, Item]:
        """Return these attributes of the items that exist, or all, by `pk`.

        Eventually consistent, at half the price, unless `is_consistent`.
        """
        items: dict[str, Item] = {}
        # DynamoDB refuses a batch that names a key twice.
        once = list(dict.fromkeys(pks))
        for first in range(0, len(once), MAX_BATCH_KEYS):
            items |= self._get_batch(once[first : first + MAX_BATCH_KEYS], attributes, is_consistent)
        return items

    def _get_batch(
        self, pks: Sequence[str], attributes: Sequence[str], is_consistent: bool
    ) -> dict[str, Item]:
        keys = [{"pk": {"S": pk}} for pk in pks]
        request = {"Keys": keys, "ConsistentRead": is_consistent, **_only(attributes)}
        with as_retry_error("the table"):
            found = self._client.batch_get_item(RequestItems={self._name: request})
        items = [Item(attributes) for attributes in found["Responses"].get(self._name, ())]
        # Read what DynamoDB left out one by one: botocore repeats single calls, with back-off.
        left = [key["pk"]["S"] for key in found["UnprocessedKeys"].get(self._name, {}).get("Keys", ())]
        one_by_one = {pk: item for pk in left if "pk" in (item := self.get(pk))}
        return {item.text("pk"): item for item in items} | one_by_one

    def put(self, pk: str, attribute: str, value: Value) -> None:
        with as_retry_error("the table"):
            self._client.put_item(TableName=self._name, Item={"pk": {"S": pk}, attribute: _typed(value)})

    def delete(self, pk: str) -> bool:
        """Delete the item. Return False if there was none."""
        key = {"pk": {"S": pk}}
        with as_retry_error("the table"):
            old = self._client.delete_item(TableName=self._name, Key=key, ReturnValues="ALL_OLD")
        return bool(old.get("Attributes"))

    def update(self, pk: str, change: str, condition: str = "", **values: Value) -> bool:
        """Change one item. Return False, and change nothing, if the condition does not hold."""
        try:
            self._update(pk, change, condition, values)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def save(self, pk: str, version: int, values: Mapping[str, Value], *, is_new: bool = False) -> bool:
        """Store values, and a version one higher, if `version` is what is stored. Return whether it was.

        None removes a value. `is_new`: store them if there is no item at all.
        """
        kept = {name: value for name, value in values.items() if value is not None}
        dropped = [name for name, value in values.items() if value is None]
        change = ", ".join(["SET version = :next", *(f"{name} = :{name}" for name in kept)])
        if dropped:
            change += f" REMOVE {', '.join(dropped)}"
        if is_new:
            return self.update(pk, change, "attribute_not_exists(pk)", next=version + 1, **kept)
        return self.update(pk, change, "version = :seen", seen=version, next=version + 1, **kept)

    def add(self, pk: str, amounts: Mapping[str, int]) -> None:
        """Add to numbers of one item, in one write. An attribute name may hold any character."""
        numbered = list(enumerate(amounts.items()))
        with as_retry_error("the table"):
            self._client.update_item(
                TableName=self._name,
                Key={"pk": {"S": pk}},
                UpdateExpression="ADD " + ", ".join(f"#n{number} :n{number}" for number, _ in numbered),
                ExpressionAttributeNames={f"#n{number}": name for number, (name, _) in numbered},
                ExpressionAttributeValues={f":n{number}": _typed(of) for number, (_, of) in numbered},
            )

    def append(self, pk: str, attribute: str, text: str) -> Item:
        """Append a text to a list, in one write. Return the item as it is afterwards."""
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
            raise RetryError(f"a write to the table failed: {error_code(error)}") from error
        return dict(response.get("Attributes", {}))

    def due(self, shard: int, until_ms: int | None, page_rows: int = PAGE_ROWS) -> Iterator[tuple[int, str]]:
        """Yield due time and id of what is in a shard, earliest first. Eventually consistent."""
        if until_ms is None:
            return self._query_shard("due_shard = :shard", page_rows, shard=shard)
        return self._query_shard(
            "due_shard = :shard AND due_at <= :until", page_rows, shard=shard, until=until_ms
        )

    def due_after(self, shard: int, after_ms: int) -> Iterator[str]:
        """Yield the ids of what is in a shard and due later than `after_ms`. Eventually consistent."""
        condition = "due_shard = :shard AND due_at > :after"
        return (contact_id for _, contact_id in self._query_shard(condition, shard=shard, after=after_ms))

    def _query_shard(
        self, condition: str, page_rows: int = PAGE_ROWS, **values: Value
    ) -> Iterator[tuple[int, str]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=DUE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_placeholders(values),
            PaginationConfig={"PageSize": page_rows},
        )
        with as_retry_error("the table"):
            for page in pages:
                for row in page["Items"]:
                    item = Item(row)
                    yield item.whole("due_at"), item.text("pk").partition("#")[2]

    def scan(self, prefix: str, *attributes: str) -> Iterator[Item]:
        """Yield the items whose `pk` has this prefix, in no order, with these attributes or all.

        Reads the whole table. Eventually consistent.
        """
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._name,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues=_placeholders({"prefix": prefix}),
            **_only(attributes),
        )
        with as_retry_error("the table"):
            for page in pages:
                yield from map(Item, page["Items"])


def _only(attributes: Sequence[str]) -> dict[str, str]:
    """What asks for some attributes; for all, if none is named."""
    return {"ProjectionExpression": ", ".join(attributes)} if attributes else {}


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
        case frozenset():
            return {"SS": sorted(value)}
    return {"S": value}
