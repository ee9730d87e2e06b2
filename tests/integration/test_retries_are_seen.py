"""A run against an API that fails says what is tried again, and counts it exactly."""

from collections import Counter
from pathlib import Path

import pytest

from contact_activity.simulated import Fault, Switches
from tests.support.retries import kind_of, retried
from tests.support.running import Operator, account_of, served

CONTACTS = 60
FAULTS = (
    Fault.TOO_MANY,
    Fault.OVER_QPS,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.UNAVAILABLE_HTML,
    Fault.EMPTY_BODY,
    Fault.TRUNCATED_JSON,
    Fault.CUT_CONNECTION,
    Fault.CLOSED_CONNECTION,
    Fault.UNAUTHORIZED,
)


@pytest.mark.parametrize("api", ["v2", "v3"])
def test_the_summary_counts_what_the_api_failed(tmp_path: Path, api: str) -> None:
    """Calls and retries are those that the server saw, each kind apart."""
    # Seldom twice in a row, which would end a call, or more than one.
    switches = Switches(faults=dict.fromkeys(FAULTS, 0.02) | {Fault.UNAUTHORIZED: 0.005}, seed=3)
    with served(account_of(CONTACTS), switches) as server:
        of = Operator.of if api == "v2" else Operator.of_v3
        ended = of(tmp_path, server).run()
        seen = list(server.calls)
    assert ended.returncode == 0, ended.stderr
    calls, retries, kinds = retried(ended.stderr)
    faults = Counter(kind_of(call) for call in seen if call.fault)
    assert len(faults) >= 5
    assert (calls, retries, kinds) == (len(seen), faults.total(), faults)


def test_a_calm_run_has_no_such_line(tmp_path: Path) -> None:
    """Nothing was retried, so that nothing is said of it."""
    with served(account_of(CONTACTS)) as server:
        ended = Operator.of(tmp_path, server).run()
    assert (ended.returncode, "retried" in ended.stderr) == (0, False)


def test_off_a_terminal_a_rate_limit_is_one_line_a_minute(tmp_path: Path) -> None:
    """However often the API says it."""
    with served(account_of(CONTACTS)) as server:
        server.script("/v2/contacts", *[Fault.TOO_MANY] * 5)
        ended = Operator.of(tmp_path, server).run()
    assert ended.stderr.count("rate limited by the API (429)") == 1
    assert retried(ended.stderr)[1:] == (5, Counter({"429": 5}))
