"""What a run's summary says of its calls, and what it has to say of a call that the server failed."""

import re
from collections import Counter

from contact_activity.simulated import Call, Fault


def kind_of(call: Call) -> str:
    """What the summary has to call a call that failed."""
    if call.status >= 400:
        return str(call.status)
    is_closed = call.fault in (Fault.CUT_CONNECTION, Fault.CLOSED_CONNECTION)
    return "connection closed" if is_closed else "cut or unusable answer"


def retried(stderr: str) -> tuple[int, int, Counter[str]]:
    """Return the calls of the summary, how many were retried, and those by kind."""
    (found,) = re.findall(r"^Calls: ([\d,]+), of them ([\d,]+) retried: (.*)$", stderr, re.MULTILINE)
    calls, retries, kinds = found
    counts = Counter({kind: int(count) for count, kind in re.findall(r"(\d+) × ([^,]+)", kinds)})
    return int(calls.replace(",", "")), int(retries.replace(",", "")), counts
