"""What campaigns' reports cost in DynamoDB: a query when nothing is due, and a write for each contact."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.domain.watermark import Watermark
from contact_activity.domain.work import Outcome, Report
from contact_activity.ports import Bus
from contact_activity.use_cases.read_report import read_report
from tests.support.families import create_table
from tests.support.items import of_report
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import HOUR_MS, NOON_MS, activity
from tests.support.usages import counting
from tests.support.world import LIMITS, World

IDS = [str(number) for number in range(110)]
REPORT = CampaignReport(ReportId("7", ActivityType.SENT), NOON_MS, NOON_MS)


@dataclass(frozen=True, slots=True)
class Counted:
    """A store in DynamoDB with some contacts, and what is asked of it since the last look."""

    store: DynamoStore
    asked: Counter[str]
    world: World = field(default_factory=World)

    def look(self) -> dict[str, int]:
        asked = dict(self.asked)
        self.asked.clear()
        return asked

    def show(self, rows: Sequence[Activity]) -> None:
        self.world.source.shown["7"] = list(rows)

    def read(self, bus: Bus | None = None) -> Report:
        """Read the report of opens, an hour after the last time."""
        self.world.wait(HOUR_MS)
        self.asked.clear()
        now_ms = self.world.clock.now_ms()
        ports = replace(self.world.work_ports(), store=self.store, bus=bus or self.world.bus)
        item = of_report("7-opens", now_ms)
        return read_report(item, ports, self.world.policy(), deadline_ms=now_ms + HOUR_MS // 12)


@pytest.fixture(scope="module")
def registered() -> list[Any]:
    """The items of contacts that were registered: to register them takes half a second of CPU."""
    with nobodys_aws(), mock_aws():
        client: Any = aws_client("dynamodb")
        table = create_table(client, "registered")
        contacts = dynamo_store(client, table, LIMITS, World().clock, threads=1).contacts
        contacts.register([ListedContact(id_, "") for id_ in IDS], NOON_MS)
        return list(client.scan(TableName=table)["Items"])


@pytest.fixture
def counted(registered: list[Any]) -> Iterator[Counted]:
    with nobodys_aws(), mock_aws():
        client: Any = aws_client("dynamodb")
        table = create_table(client, "reports")
        world = World()
        store = dynamo_store(client, table, LIMITS, world.clock, threads=1)
        for first in range(0, len(registered), 25):
            requests = [{"PutRequest": {"Item": item}} for item in registered[first : first + 25]]
            client.batch_write_item(RequestItems={table: requests})
        with counting(client) as asked:
            yield Counted(store, asked, world)


def test_contacts_are_read_by_the_hundred_and_written_once_each(counted: Counted) -> None:
    """However many of a page's rows are theirs; who lost costs no more."""
    contacts = counted.store.contacts
    read = contacts.get_many(IDS)
    assert len(read) == len(IDS)
    assert counted.look() == {"BatchGetItem": 2}
    changed = [replace(contact, watermark=Watermark(reported=bytes(14))) for contact in read.values()]
    assert contacts.remember(changed[:40]) == []
    assert counted.look() == {"UpdateItem": 40}
    assert len(contacts.remember(changed[:50])) == 40
    assert counted.look() == {"UpdateItem": 50}


def test_only_contacts_that_are_not_known_are_looked_up_as_erased_ones(counted: Counted) -> None:
    """By the hundred, and consistently. One that stays erased costs no write, one that is back two."""
    contacts = counted.store.contacts
    listed = [ListedContact(id_, "") for id_ in IDS[:100]]
    assert contacts.register(listed, NOON_MS) == 0
    assert counted.look() == {"BatchGetItem": 1}
    unknown = [ListedContact(f"new-{number}", iso(NOON_MS)) for number in range(100)]
    for contact in unknown[:60]:
        contacts.erase(contact.id, NOON_MS - (contact.id < "new-2"))
    assert counted.look() == {"UpdateItem": 60, "DeleteItem": 60}
    back = sum(contact.id < "new-2" for contact in unknown[:60])
    assert contacts.register(listed + unknown, NOON_MS) == 40 + back
    assert counted.look() == {"BatchGetItem": 3, "UpdateItem": 40 + back, "DeleteItem": back}


def test_a_tick_with_no_report_due_costs_a_query(counted: Counted) -> None:
    """Of the index, where contacts and reports that are due later stand beside it."""
    reports = counted.store.reports
    assert reports.save(replace(REPORT, due_ms=NOON_MS + HOUR_MS))
    assert counted.look() == {"UpdateItem": 1}
    assert reports.due(NOON_MS) == []
    assert counted.look() == {"Query": 1}


def test_due_reports_are_read_by_the_hundred(counted: Counted) -> None:
    """And the index two hundred at once."""
    reports = counted.store.reports
    ids = [ReportId(str(number), ActivityType.SENT) for number in range(150)]
    for id_ in ids:
        assert reports.save(replace(REPORT, id=id_))
    counted.look()
    assert len(reports.due(NOON_MS)) == len(ids)
    assert counted.look() == {"Query": 1, "BatchGetItem": 2}


def test_what_reports_share_costs_one_call_each(counted: Counted) -> None:
    """But urgent contacts: a look at them, and a write where it changes them."""
    reports = counted.store.reports
    for read in (reports.feed, reports.trust, reports.shifts, reports.take_urgent):
        read()
        assert counted.look() == {"GetItem": 1}
    reports.put_feed(CampaignFeed())
    assert counted.look() == {"PutItem": 1}
    reports.put_watched(WatchedCampaign("7", NOON_MS))
    reports.save_trust(Trust())
    reports.save_shifts(Shifts(1, 2, 3), None)
    assert counted.look() == {"UpdateItem": 3}
    for _ in range(2):
        reports.add_urgent(["4711"])
    assert counted.look() == {"GetItem": 2, "UpdateItem": 1}
    assert reports.take_urgent() == ("4711",)
    assert counted.look() == {"GetItem": 1, "UpdateItem": 1}


# --- reading a report -------------------------------------------------------------------------------

# Pauses, the report, the trust in its type, and what is known of its campaign.
READS = 4
# The trust is read again, and changed, to count what is new; and so is the day's tally.
COUNT_READS, COUNT_WRITES = 1, 2


@pytest.fixture
def opened(counted: Counted) -> Counted:
    """With the report of opens, which is trusted, and read in pages of 500 rows."""
    counted.world.source.page_rows = 500
    trusted = TypeTrust(Mode.PUBLISH, NOON_MS, sampled_ms=NOON_MS)
    assert counted.store.reports.save_trust(Trust({ActivityType.OPENED: trusted}))
    assert counted.store.reports.save(replace(REPORT, id=ReportId("7", ActivityType.OPENED)))
    return counted


def opens(contacts: int, each: int = 1, at_ms: int = NOON_MS) -> list[Activity]:
    return [
        activity(at_ms + number * 10 + open_, contact_id=IDS[number])
        for number in range(contacts)
        for open_ in range(each)
    ]


def test_a_quiet_report_costs_its_reads_and_one_write(opened: Counted) -> None:
    """Whether it is empty, or shows again what is known of a contact."""
    assert opened.read().outcome is Outcome.READ
    assert opened.look() == {"GetItem": READS, "UpdateItem": 1}
    opened.show(opens(1))
    opened.read()
    assert opened.read().counts.known == 1
    assert opened.look() == {"GetItem": READS, "BatchGetItem": 1, "UpdateItem": 1}


@pytest.mark.parametrize(("contacts", "each"), [(1, 90), (101, 2)])
def test_a_page_of_news_costs_a_read_and_a_write_for_each_contact(
    opened: Counted, contacts: int, each: int
) -> None:
    """Reads by the hundred; the report is held once and stored once. Read again, it costs no write."""
    opened.show(opens(contacts, each))
    assert opened.read().published == contacts * each
    reads = {"GetItem": READS + COUNT_READS, "BatchGetItem": ceil(contacts / 100)}
    assert opened.look() == {**reads, "UpdateItem": contacts + 2 + COUNT_WRITES}
    # A read from the beginning shows all of it.
    report = opened.store.reports.get(ReportId("7", ActivityType.OPENED))
    assert report
    assert opened.store.reports.save(replace(report, read_ms=None))
    assert opened.read().counts.known == contacts * each
    assert opened.look() == {
        "GetItem": READS,
        "BatchGetItem": ceil(contacts / 100),
        "UpdateItem": 1,
    }


def test_each_page_costs_its_contacts_once(opened: Counted) -> None:
    """The report is held by the first page that has news; five pages cost a marker."""
    opened.world.source.page_rows = 10
    opened.show(opens(50))
    assert opened.read().pages == 5
    assert opened.look() == {
        "GetItem": READS + COUNT_READS,
        "BatchGetItem": 5,
        "UpdateItem": 50 + 2 + COUNT_WRITES,
    }
    opened.show([*opens(50), *opens(50, at_ms=NOON_MS + HOUR_MS)])
    assert opened.read().published == 50
    pages = opened.world.source.calls - 5
    assert opened.look() == {
        "GetItem": READS + COUNT_READS,
        "BatchGetItem": pages,
        "UpdateItem": 50 + 2 + (pages - 1) // 5 + COUNT_WRITES,
    }


def test_rows_of_contacts_that_nobody_knows_cost_a_read(opened: Counted) -> None:
    """And no write, but the report's."""
    opened.show([activity(NOON_MS + n, contact_id=f"unknown-{n}") for n in range(250)])
    assert opened.read().rows_unknown == 250
    assert opened.look() == {"GetItem": READS, "BatchGetItem": 3, "UpdateItem": 1}


def test_what_is_left_costs_a_write_for_its_contact_once(opened: Counted) -> None:
    """It is due then; and the urgent ones are one item, read and changed."""
    contacts = opened.store.contacts
    for contact in contacts.get_many(IDS[:3]).values():
        held_ms = opened.world.clock.now_ms() + HOUR_MS + HOUR_MS // 6
        assert contacts.save(replace(contact, held_until_ms=held_ms, due_ms=2 * held_ms))
    opened.show(opens(3, each=4))
    assert opened.read().rows_left == 12
    assert opened.look() == {"GetItem": READS + 1, "BatchGetItem": 1, "UpdateItem": 3 + 1 + 1}
    assert opened.store.reports.take_urgent() == tuple(IDS[:3])


@dataclass(slots=True)
class OvertakenBus:
    """The `Bus` port; right after a publication somebody else writes."""

    bus: Bus
    write: Callable[[], None]

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        self.bus.publish(events, deadline_ms=deadline_ms)
        self.write()


def test_a_lost_write_costs_one_more_read_and_write_for_who_lost(opened: Counted) -> None:
    """The others of the page cost nothing more."""

    def save_some() -> None:
        contacts = opened.store.contacts
        for contact in contacts.get_many(IDS[:7]).values():
            assert contacts.save(contact)
        opened.asked.clear()

    opened.show(opens(20))
    assert opened.read(OvertakenBus(opened.world.bus, save_some)).published == 20
    assert opened.look() == {
        "GetItem": COUNT_READS,
        "BatchGetItem": 1,
        "UpdateItem": 20 + 7 + 1 + COUNT_WRITES,
    }
