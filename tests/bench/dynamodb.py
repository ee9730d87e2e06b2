"""What DynamoDB does for one sync of a contact: operations, and the capacity that AWS bills for them."""

from tests.bench.measure import table
from tests.support.usages import usages_of_syncs


def bench() -> None:
    rows = []
    for known in (0, 10, 200, 1_000):
        names = (f"{known:,} known: first sync", "nothing new", "ten new")
        for name, usage in zip(names, usages_of_syncs(known, 10), strict=True):
            operations = usage.operations
            rows.append(
                [
                    name,
                    str(operations["GetItem"]),
                    str(operations["UpdateItem"]),
                    f"{usage.item_bytes:,}",
                    str(usage.read_units),
                    str(usage.write_units),
                ]
            )
    head = ["a contact's sync", "reads", "writes", "item bytes", "read units", "write units"]
    table("DynamoDB, the slot of each call included", head, rows)
