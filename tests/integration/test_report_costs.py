"""What campaigns' reports cost in DynamoDB: a query when nothing is due, and a write for each contact."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Trust
from contact_activity.domain.watermark import Watermark
from tests.support.families import create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.usages import counting
from tests.support.world import LIMITS

IDS = [str(number) for number in range(250)]
REPORT = CampaignReport(ReportId("7", ActivityType.SENT), NOON_MS, NOON_MS)


@dataclass(frozen=True, slots=True)
class Counted:
    """A store in DynamoDB with some contacts, and what is asked of it since the last look."""

    store: DynamoStore
    asked: Counter[str]

    def look(self) -> dict[str, int]:
        asked = dict(self.asked)
        self.asked.clear()
        return asked


@pytest.fixture
def counted() -> Iterator[Counted]:
    with nobodys_aws(), mock_aws():
        client = aws_client("dynamodb")
        table = create_table(client, "reports")
        store = dynamo_store(client, table, LIMITS, SystemClock(), threads=1)
        store.contacts.register([ListedContact(id_, "") for id_ in IDS], NOON_MS)
        with counting(client) as asked:
            yield Counted(store, asked)


def test_contacts_are_read_by_the_hundred_and_written_once_each(counted: Counted) -> None:
    """However many of a page's rows are theirs; who lost costs no more."""
    contacts = counted.store.contacts
    read = contacts.get_many(IDS)
    assert len(read) == len(IDS)
    assert counted.look() == {"BatchGetItem": 3}
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
