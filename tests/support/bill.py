"""What a month on AWS costs: units that the tests count, times list prices."""

from collections.abc import Mapping
from math import ceil

# US dollars in us-east-1, on demand, without free tiers, as listed in 2025.
PRICES_OF = "us-east-1, 2025"
USD = {
    "read unit": 0.125e-6,
    "write unit": 0.625e-6,
    "GB stored": 0.25,
    "GB of point-in-time recovery": 0.20,
    "Lambda request": 0.20e-6,
    "Lambda GB-second, arm64": 13.3334e-6,
    "SQS request": 0.40e-6,
    "event": 1.00e-6,
    "trace": 5.00e-6,
    "GB of logs": 0.50,
    "metric": 0.30,
    "alarm": 0.10,
    "dashboard": 3.00,
    "secret": 0.40,
}
DAYS, TICKS_A_DAY, CALLS_A_DAY = 30, 288, 9_000

# Operations of one sync, counted by `tests/integration/test_any_size.py`.
SYNC_READS, SYNC_WRITES, NEWS_WRITES = 4, 2, 2
# A slot costs 17 writes for 16 calls; the due time that moves, a row out of the index and one into it.
SLOT_UNITS, INDEX_UNITS = 17 / 16, 2
# Each contact: an item of 50 remembered activities, and four mailings a month with what they bring.
ITEM_BYTES, ACTIVITIES_A_MONTH = 1_500, 6
# Of one tick without work, counted by `tests/integration/test_claims.py`: what all share, and three
# looks at each of the index's 14 shards of contacts, one at that of reports. It makes two calls.
TICK_READS, TICK_QUERIES, TICK_WRITES, QUERY_UNITS = 22, 44, 6, 0.5
TICK_CALLS = 2
# Of an activity that a campaign's report tells: its contact is read as often as the overlap shows the
# row, and written once. A read of a report without news is four reads and a write of 1 KB.
ROW_READS, ROW_WRITES = 3, 1
REPORT_CALLS_A_DAY, REPORT_READS, REPORT_WRITES = 1_000, 4, 1
# Billed: a call of a second, in batches of five; the waits of two workers are shorter than that.
CALL_S, BATCH, MEMORY_GB, TICK_S = 1.0, 5, 0.25, 10
# Five pollers that ask three times a minute, whether or not there are messages.
EMPTY_RECEIVES = 5 * 3 * 60 * 24 * DAYS
LOG_BYTES_A_CALL, LOG_BYTES_A_TICK = 1_000, 2_000
METRICS, ALARMS = 14, 11

LINES = ("DynamoDB", "Lambda", "SQS", "EventBridge", "CloudWatch", "X-Ray", "Secrets Manager")


def monthly_usd(contacts: int) -> Mapping[str, float]:
    """The lines of a month's bill for so many contacts, all read as often as 9,000 calls a day allow."""
    ticks = DAYS * TICKS_A_DAY
    report_calls = DAYS * REPORT_CALLS_A_DAY
    all_calls = DAYS * min(
        CALLS_A_DAY, contacts * TICKS_A_DAY + TICKS_A_DAY * TICK_CALLS + REPORT_CALLS_A_DAY
    )
    calls = max(0, all_calls - report_calls - ticks * TICK_CALLS)
    events = contacts * ACTIVITIES_A_MONTH
    kilobytes = ceil(ITEM_BYTES / 1_024)
    claim_units, sync_units = kilobytes, SLOT_UNITS + kilobytes + INDEX_UNITS
    write_units = calls * (claim_units + sync_units) + ticks * (TICK_WRITES + TICK_CALLS * SLOT_UNITS)
    write_units += events * ROW_WRITES * kilobytes + report_calls * (REPORT_WRITES + SLOT_UNITS)
    # Who is out already is looked at once more: half a unit each time.
    read_units = calls * (SYNC_READS + 1) + ticks * (TICK_READS + TICK_QUERIES * QUERY_UNITS)
    read_units += events * ROW_READS + report_calls * REPORT_READS
    calls = all_calls
    gb = contacts * ITEM_BYTES / 1e9
    invocations = ticks + calls / BATCH
    gb_seconds = MEMORY_GB * (ticks * TICK_S + calls * CALL_S)
    logs_gb = (calls * LOG_BYTES_A_CALL + ticks * LOG_BYTES_A_TICK) / 1e9
    return {
        "DynamoDB": read_units * USD["read unit"]
        + write_units * USD["write unit"]
        + gb * (USD["GB stored"] + USD["GB of point-in-time recovery"]),
        "Lambda": invocations * USD["Lambda request"] + gb_seconds * USD["Lambda GB-second, arm64"],
        "SQS": (EMPTY_RECEIVES + calls / 10 + 2 * calls / BATCH) * USD["SQS request"],
        "EventBridge": events * USD["event"],
        "CloudWatch": METRICS * USD["metric"]
        + ALARMS * USD["alarm"]
        + USD["dashboard"]
        + logs_gb * USD["GB of logs"],
        "X-Ray": invocations * USD["trace"],
        "Secrets Manager": USD["secret"],
    }


def table_of(*sizes: int) -> str:
    """The bill in Markdown: a row for each line, a column for each number of contacts."""
    bills = [monthly_usd(contacts) for contacts in sizes]
    rows = [["a month, US dollars", *(f"{contacts:,}" for contacts in sizes)]]
    rows.append(["---", *["---:"] * len(sizes)])
    rows += [[line, *(f"{bill[line]:.2f}" for bill in bills)] for line in LINES]
    rows.append(["**all**", *(f"**{sum(bill.values()):.2f}**" for bill in bills)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
