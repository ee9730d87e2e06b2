"""What a run on the local cloud reads of its functions' logs, over the logs of moto."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.clock import SystemClock
from contact_activity.local_cloud import told_tries
from contact_activity.local_cloud.told_tries import OVERLAP_MS, ToldTries
from tests.support.nobodys_aws import nobodys_aws
from tests.support.virtual_clock import VirtualClock

GROUPS = ("/aws/lambda/dispatcher", "/aws/lambda/worker")


@pytest.fixture
def logs() -> Iterator[Any]:
    with nobodys_aws(), mock_aws():
        client = aws_client("logs")
        for group in GROUPS:
            client.create_log_group(logGroupName=group)
        yield client


def tell(logs: Any, clock: VirtualClock, stream: str, *lines: object, group: str = GROUPS[1]) -> None:
    """As the local AWS keeps the lines of an invocation: all at once, in a stream of their own."""
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": clock.now_ms(), "message": json.dumps(line)} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def read(told: ToldTries) -> int:
    return sum(tally.tries for tally in told.read())


def test_each_line_is_returned_once(logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of one invocation, of either function, and those of one that ended before the last look."""
    monkeypatch.setattr(told_tries, "MOST_STREAMS", 3)
    # Moto compares with the time of the machine.
    clock = VirtualClock(SystemClock().now_ms())
    tell(logs, clock, "before", {"calls": 100})
    clock.sleep(1)
    told = ToldTries(logs, GROUPS, clock)
    tell(logs, clock, "first", {"calls": 1}, {"calls": 2}, {"message": "no calls"}, "calls")
    tell(logs, clock, "tick", {"calls": 4}, group=GROUPS[0])
    assert (read(told), read(told)) == (7, 0)
    clock.sleep(OVERLAP_MS / 2_000)
    assert read(told) == 0
    tell(logs, clock, "second", {"calls": 8})
    assert (read(told), read(told)) == (8, 0)
    for number in range(5):
        clock.sleep(OVERLAP_MS / 1_000 + 1)
        tell(logs, clock, str(number), {"calls": 1})
        assert (read(told), read(told)) == (1, 0)
    assert len(told._read) == 3
