"""What handing out costs in DynamoDB: writes only for who is handed out, and reads for who is looked at."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.contacts import DynamoContacts, due_shard
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.listing import Listing
from contact_activity.domain.times import DAY_MS, iso
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from tests.support.account import System
from tests.support.bill import TICK_QUERIES, TICK_READS, TICK_WRITES
from tests.support.families import AwsFamily, Clients, create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import NOON_MS
from tests.support.usages import counting
from tests.support.virtual_clock import SettableClock
from tests.support.world import LIMITS, TICK_MS, World, drain, with_contacts

DUE, BATCHES = 210, 3
IDS = [f"{number:03}" for number in range(DUE)]


@dataclass
class Ticks:
    """A world whose contacts are in DynamoDB, and what each tick asks of it."""

    dynamodb: Any
    contacts: DynamoContacts
    asked: Counter[str]
    world: World = field(default_factory=World)

    def tick(self, for_ms: int = 300_000) -> TickReport:
        self.asked.clear()
        store = with_contacts(self.world.store, self.contacts)
        ports = replace(self.world.tick_ports(), store=store)
        deadline_ms = self.world.clock.monotonic_ms() + for_ms
        return run_tick(ports, tick_ms=TICK_MS, deadline_ms=deadline_ms, begin_listing=False)

    def sent(self) -> list[str]:
        return [message.id for message in drain(self.world.queue)]


def registered(number: int) -> dict[str, dict[str, str]]:
    """As the registry stores it; the first has waited longest."""
    due_ms, shard = str(NOON_MS - DUE + number), str(due_shard(IDS[number]))
    return {
        "pk": {"S": f"contact#{IDS[number]}"},
        "registered_at": {"N": due_ms},
        "due_at": {"N": due_ms},
        "due_shard": {"N": shard},
        "version": {"N": "0"},
    }


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    with nobodys_aws(), mock_aws():
        dynamodb: Any = aws_client("dynamodb")
        table = create_table(dynamodb, "contacts")
        for first in range(0, DUE, 25):
            few = range(first, min(first + 25, DUE))
            requests = [{"PutRequest": {"Item": registered(number)}} for number in few]
            dynamodb.batch_write_item(RequestItems={table: requests})
        with counting(dynamodb) as asked:
            yield Ticks(dynamodb, DynamoContacts(dynamodb, table, threads=1), asked)


def test_who_is_handed_out_costs_one_write(ticks: Ticks) -> None:
    """Nobody is tried twice in a tick, whatever is left of the budget."""
    assert ticks.tick().enqueued == DUE
    assert (ticks.asked["BatchGetItem"], ticks.asked["UpdateItem"]) == (BATCHES, DUE)
    assert ticks.sent() == IDS


def test_who_is_out_costs_no_write(ticks: Ticks) -> None:
    """Until its time is over; a message that was lost by then is sent again, the longest waiting first."""
    enqueued, writes = [], []
    for _ in range(3):
        enqueued.append(ticks.tick().enqueued)
        writes.append(ticks.asked["UpdateItem"])
        assert ticks.asked["BatchGetItem"] == BATCHES
        assert ticks.sent() in ([], IDS)
        ticks.world.wait(TICK_MS)
    assert enqueued == writes == [DUE, 0, DUE]


def test_the_time_limit_is_looked_at_between_claims(ticks: Ticks) -> None:
    """What a slow table leaves to the next tick is due as before, and costs no more then."""
    slow = ticks.dynamodb.meta.events
    slow.register("after-call.dynamodb.BatchGetItem", lambda **_: ticks.world.clock.sleep(2))
    assert ticks.tick(for_ms=3_000).enqueued == 200
    assert ticks.asked["UpdateItem"] == 200
    assert ticks.tick().enqueued == DUE - 200
    assert ticks.asked["UpdateItem"] == DUE - 200
    assert ticks.sent() == IDS


def test_who_is_skipped_is_looked_at_within_the_time_limit(ticks: Ticks) -> None:
    """Also a tick that finds nobody but those who are out ends in time."""
    ticks.tick()
    ticks.sent()
    slow = ticks.dynamodb.meta.events
    slow.register("after-call.dynamodb.BatchGetItem", lambda **_: ticks.world.clock.sleep(2))
    assert ticks.tick(for_ms=1_000).enqueued == 0
    assert ticks.asked["BatchGetItem"] == 1


def test_a_tick_without_work_costs_what_the_bill_says() -> None:
    """A table whose contacts are not due: looks at what all share, and at the index."""
    with nobodys_aws(), mock_aws():
        clients = Clients(aws_client)
        family, clock, types = AwsFamily(clients), SettableClock(NOON_MS), tuple(ActivityType)
        system = System(family, clock, LIMITS, lookback_days=None, types=types, has_shifts=True)
        listed_ms = NOON_MS - TICK_MS
        family.listings.put(Listing(mark_ms=listed_ms, full_ms=listed_ms, deep_ms=listed_ms, contacts=1))
        family.contacts.register([ListedContact("1", iso(NOON_MS - DAY_MS))], NOON_MS)
        system.tick()
        # The next tick, in which the contact is not due yet.
        clock.sleep(TICK_MS / 1_000 - 1)
        with counting(clients.dynamodb) as asked:
            assert system.tick().enqueued == 0
    writes = asked["UpdateItem"] + asked["PutItem"]
    assert (asked["GetItem"], asked["Query"], writes) == (TICK_READS, TICK_QUERIES, TICK_WRITES)
    assert asked.total() == TICK_READS + TICK_QUERIES + TICK_WRITES
