"""What all processes of a simulated world share: every port over one store, and a look into it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from contact_activity.domain.pace import Limits
from contact_activity.ports import Clock, Store
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store

ROOT = Path(__file__).parents[2]
_numbers = count()
Item = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of a contact beside its watermark."""

    due_ms: int
    queued_until_ms: int
    version: int
    synced_ms: int | None
    times_gone: int
    modified_date: str


class Stores(Protocol):
    """One store; `store` gives another holder of it each time."""

    def store(self, limits: Limits, clock: Clock) -> Store: ...
    def look(self, contact_id: str) -> Stored | None: ...
    def close(self) -> None: ...


class EmbeddedStores:
    """SQLite, in memory."""

    def __init__(self) -> None:
        self._database = Database(":memory:")

    def store(self, limits: Limits, clock: Clock) -> Store:
        return sqlite_store(self._database, limits, clock)

    def look(self, contact_id: str) -> Stored | None:
        rows: Any = self._database.rows(
            "SELECT due_ms, queued_until_ms, version, synced_ms, times_gone, modified_date"
            " FROM contact WHERE id = ?",
            (contact_id,),
        )
        return Stored(*rows[0]) if rows else None

    def close(self) -> None:
        self._database.close()


@cache
def _dynamodb() -> Any:
    """moto's DynamoDB, in this process; imported only where a history asks for it: it takes seconds."""
    import boto3
    from moto import mock_aws

    mock_aws(config={"core": {"mock_credentials": False}}).start()
    return boto3.client(
        "dynamodb",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@cache
def _template_table() -> dict[str, Any]:
    """Read once: it takes longer than most histories."""
    from contact_activity.local_cloud.template import load_template

    defined = load_template(ROOT / "template.yaml")["Resources"]["Table"]["Properties"]
    parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {part: defined[part] for part in parts}


class AwsStores:
    """DynamoDB. Its index is true at once, or while `is_stale` says so as it was at the last look."""

    def __init__(self, is_stale: Callable[[], bool]) -> None:
        from contact_activity.aws.reports import REPORTS_SHARD
        from contact_activity.aws.store import dynamo_store
        from contact_activity.aws.table import Table

        self._client = _dynamodb()
        self._name = f"simulation-{next(_numbers)}"
        self._store = dynamo_store
        self._client.create_table(TableName=self._name, **_template_table())
        self._table = Table(self._client, self._name)
        self._indexed: Any = StaleIndex(self._client, self._name, is_stale, REPORTS_SHARD)

    def store(self, limits: Limits, clock: Clock) -> Store:
        return self._store(self._indexed, self._name, limits, clock, threads=1)

    def look(self, contact_id: str) -> Stored | None:
        item = self._table.get(f"contact#{contact_id}")
        if "registered_at" not in item:
            return None
        return Stored(
            item.whole("due_at"),
            item.whole("queued_until"),
            item.whole("version"),
            item.whole_or_none("synced_at"),
            item.whole("times_gone"),
            item.text("modified_date"),
        )

    def close(self) -> None:
        self._client.delete_table(TableName=self._name)


class StaleIndex:
    """A client of DynamoDB whose index follows the table late, as a global index does."""

    def __init__(self, client: Any, table: str, is_stale: Callable[[], bool], reports_shard: int) -> None:
        self._client = client
        self._table = table
        self._is_stale = is_stale
        self._seen: list[dict[str, Any]] = []
        self._first_shards = {"0", str(reports_shard)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_paginator(self, operation: str) -> Any:
        return self if operation == "query" else self._client.get_paginator(operation)

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        """As a query is answered that asks for reports, or all shards of contacts in turn, from the first."""
        values = asked["ExpressionAttributeValues"]
        if values[":shard"]["N"] in self._first_shards and not self._is_stale():
            pages = self._client.get_paginator("scan").paginate(TableName=self._table)
            self._seen = [item for page in pages for item in page["Items"] if "due_shard" in item]
        until_ms = int(values[":until"]["N"]) if ":until" in values else None
        rows = [
            {name: item[name] for name in ("pk", "due_shard", "due_at")}
            for item in self._seen
            if item["due_shard"] == values[":shard"]
            and (until_ms is None or int(item["due_at"]["N"]) <= until_ms)
        ]
        yield {"Items": sorted(rows, key=lambda row: int(row["due_at"]["N"]))}
