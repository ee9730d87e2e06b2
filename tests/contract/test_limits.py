"""Fifty workers at once, each with a client and a limiter of its own, over real HTTP: the API counts."""

import threading
from contextlib import closing
from datetime import timedelta

import pytest

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.pace import Limits
from contact_activity.errors import WaitError, WaitReason
from contact_activity.settings import Credentials
from contact_activity.simulated import Kind, SimulatedAccount
from tests.support.families import Family
from tests.support.running import ACCESS_TOKEN, API_KEY, CAMPAIGN, NOW, served

WORKERS = 50
LIMITS = Limits(20, 120)


def work(family: Family, base_url: str, waits: list[WaitReason]) -> None:
    """Call until one may not; what ends it is noted."""
    clock = SystemClock()
    limiter = family.limiter(LIMITS, clock)
    credentials = Credentials(API_KEY, ACCESS_TOKEN)
    client = ConstantContactV2(ApiClient(base_url, lambda: credentials, limiter, clock))
    deadline_ms = clock.monotonic_ms() + 60_000
    with closing(client):
        try:
            while True:
                client.tracking("4711", "all", since_ms=None, next_=None, deadline_ms=deadline_ms)
        except WaitError as wait:
            waits.append(wait.reason)


# moto is asked one request at a time, so that there nobody meets anybody.
@pytest.mark.parametrize(
    "family", ["embedded", "emulator", pytest.param("moto", marks=pytest.mark.long)], indirect=True
)
def test_fifty_workers_never_exceed_the_limits(family: Family) -> None:
    """In no second more calls than allowed, and of the day's calls exactly all."""
    account = SimulatedAccount()
    account.add_contact("ada@example.org", at=NOW - timedelta(days=9), contact_id="4711")
    account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW)
    waits: list[WaitReason] = []
    with served(account) as server:
        workers = [
            threading.Thread(target=work, args=(family, server.base_url, waits)) for _ in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert server.max_calls_in_any_second() <= LIMITS.calls_per_second
        assert {call.status for call in server.calls} == {200}
        assert len(server.calls) <= LIMITS.calls_per_day
    assert waits == [WaitReason.QUOTA] * WORKERS
    assert family.limiter(LIMITS, SystemClock()).pace().used == LIMITS.calls_per_day
