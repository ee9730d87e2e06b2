"""What DynamoDB does for a contact's sync and where workers contend: operations, and units as AWS bills."""

from tests.bench.measure import table
from tests.support.contention import WORKERS, contend
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
    _bench_slots()


def _bench_slots() -> None:
    rows = []
    for latency_ms in (50, 300, 1_000):
        seen = contend(latency_ms)
        wasted = seen.counted - seen.calls
        rows.append(
            [f"{latency_ms} ms", f"{seen.writes_a_call:.2f}", f"{seen.calls_a_second:.2f}", str(wasted)]
        )
    head = ["DynamoDB answers in", "writes a call", "calls a second", "slots wasted"]
    table(f"Slots, {WORKERS} workers in virtual time", head, rows)
