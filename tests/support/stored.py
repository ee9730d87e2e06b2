"""All that a store holds, number by number, as one reads and writes it past every port."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

Json = Any
Change = Callable[[str, str, Json], Json]
"""`change(owner, name, value)`: what is stored instead of a number or null."""

# What DynamoDB calls otherwise than SQLite.
_NAMES = {
    "contact.registered_at": "contact.registered_ms",
    "contact.due_at": "contact.due_ms",
    "contact.queued_until": "contact.queued_until_ms",
    "contact.held_until": "contact.held_until_ms",
    "contact.synced_at": "contact.synced_ms",
    "contact.failed_at": "contact.failed_ms",
    "contact.resync_from": "contact.resync_ms",
    "contact.resync_asked_at": "contact.resync_asked_ms",
    "pace.pace_day": "pace.day",
    "pace.next_slot_at": "pace.next_slot_ms",
    "lease.held_until": "lease.until_ms",
    "campaigns.listed_at": "campaigns_listed",
    "tick_failure.failure.at_ms": "tick_failure.at_ms",
    "pauses.quota_until": "pauses.quota",
    "pauses.credential_until": "pauses.credential",
    "pauses.operator_until": "pauses.operator",
}
_FIELD = re.compile(r"[a-z_]+(_ms|_until|_at)?")
# Keys of JSON objects that are no names of fields.
_BY_KIND = {
    *("all", "sends", "opens", "clicks", "forwards", "bounces", "unsubscribes"),
    *("summary", "summary_by_campaign", "campaign_summary"),
}


class Stored(Protocol):
    def change(self, change: Change) -> None:
        """Every number and null goes through it; a name is such as `contact.marks.*[0]`."""


def names(stored: Stored) -> set[str]:
    """Of all that is stored."""
    found = set()

    def note(_: str, name: str, value: Json) -> Json:
        found.add(name)
        return value

    stored.change(note)
    return found


def _walk(value: Json, name: str, change: Callable[[str, Json], Json]) -> Json:
    match value:
        case dict():
            return {key: _walk(inner, _inner(name, key), change) for key, inner in value.items()}
        case list():
            return [_walk(inner, f"{name}[{n}]", change) for n, inner in enumerate(value)]
        case int() | None:
            return change(_NAMES.get(name, name), value)
    return value


def _inner(name: str, key: str) -> str:
    is_field = _FIELD.fullmatch(key) and (key not in _BY_KIND or name.endswith("published"))
    return f"{name}.{key}" if is_field else f"{name}.*"


class SqliteStored:
    """The tables of a state file; what `state` holds under a name is a thing of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def change(self, change: Change) -> None:
        with closing(sqlite3.connect(self._path)) as database, database:
            for (table,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                for row in self._rows(database, table):
                    self._write(database, table, row, self._changed(table, row, change))

    def _rows(self, database: sqlite3.Connection, table: str) -> Iterator[dict[str, Json]]:
        found = database.execute(f"SELECT * FROM {table}")  # noqa: S608  a table's name
        columns = [column[0] for column in found.description]
        yield from [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

    def _changed(self, table: str, row: dict[str, Json], change: Change) -> dict[str, Json]:
        owner = str(next(iter(row.values())))
        changed = {}
        for column, value in row.items():
            is_state = table == "state"
            name = owner if is_state else f"{table}.{column}"
            is_json = isinstance(value, str) and (value[:1] in {"{", "["} or (is_state and column == "value"))
            before = json.loads(value) if is_json else value
            new = _walk(before, name, lambda n, v: change(owner, n, v))
            changed[column] = value if new == before else json.dumps(new) if is_json else new
        return changed

    def _write(
        self, database: sqlite3.Connection, table: str, row: dict[str, Json], changed: dict[str, Json]
    ) -> None:
        if changed == row:
            return
        where = " AND ".join(f"{column} IS ?" for column in row)
        kept = ", ".join(f"{column} = ?" for column in row)
        database.execute(f"UPDATE {table} SET {kept} WHERE {where}", (*changed.values(), *row.values()))  # noqa: S608


class DynamoStored:
    """The items of a table; what stands before the `#` of its key is what an item is."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def change(self, change: Change) -> None:
        for item in self._dynamodb.scan(TableName=self._table)["Items"]:
            kind, _, id_ = item["pk"]["S"].partition("#")
            changed = {
                name: self._attribute(kind, id_ or kind, name, of, change) for name, of in item.items()
            }
            if changed != item:
                self._dynamodb.put_item(TableName=self._table, Item=changed)

    def _attribute(self, kind: str, owner: str, name: str, value: Json, change: Change) -> Json:
        full = "published.*" if kind == "published" else kind if name == kind else f"{kind}.{name}"
        match value:
            case {"N": number}:
                return {"N": str(_walk(int(number), full, lambda n, v: change(owner, n, v)))}
            case {"S": str(text)} if text[:1] in {"{", "["}:
                before = json.loads(text)
                new = _walk(before, full, lambda n, v: change(owner, n, v))
                return value if new == before else {"S": json.dumps(new)}
            case {"L": list(values)}:
                return {"L": [self._attribute(kind, owner, f"{name}.*", of, change) for of in values]}
        return value
