"""Reads and writes the items of one DynamoDB table.

The table has the string key `pk`. The index `due` (`due_shard`, `due_at`; keys only) holds the
contacts alone, since no other item has these attributes. Times are milliseconds since 1970.
"""

from collections.abc import Iterator, Mapping, Sequence

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.aws.errors import as_our_errors, error_code
from contact_activity.errors import RetryError

DUE_INDEX = "due"
PAGE_ROWS = 200
# What DynamoDB takes in one BatchGetItem.
BATCH_MOST = 100
CONTACT = "contact#"

Value = str | int | bytes | tuple[str, ...] | None


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
                    yield item.whole("due_at"), item.text("pk").removeprefix(CONTACT)

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
