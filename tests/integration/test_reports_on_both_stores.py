"""Reports and contacts side by side, in shifts, on each store: every activity is published once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.rights import Right
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Mode
from contact_activity.domain.watermark import Reading
from contact_activity.errors import RefusedError, WaitError, WaitReason
from contact_activity.operations.read_status import status_of_store
from contact_activity.operations.status import Status
from contact_activity.operations.verdict import verdict_of
from tests.support.account import CollectingBus, System
from tests.support.families import AwsFamily, Clients, EmbeddedFamily, Family
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import DAY_MS, NOON_MS, activity
from tests.support.virtual_clock import SettableClock
from tests.support.world import LIMITS, TICK_MS

TYPES = (ActivityType.SENT, ActivityType.OPENED)
CONTACTS = [str(number) for number in range(4)]
CAMPAIGNS = ("8", "7")


@pytest.fixture(params=["SQLite", "SQLite, in shifts", "DynamoDB, in shifts"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """Four contacts, and two campaigns that were sent to them an hour ago."""
    has_shifts = request.param.endswith("shifts")
    if request.param.startswith("SQLite"):
        family = EmbeddedFamily()
        yield system_of(family, has_shifts=has_shifts)
        family.close()
    else:
        with nobodys_aws(), mock_aws():
            yield system_of(AwsFamily(Clients(aws_client)), has_shifts=has_shifts)


def system_of(family: Family, *, has_shifts: bool) -> System:
    system = System(family, SettableClock(NOON_MS), LIMITS, summaries=(), lookback_days=None)
    system.types, system.has_shifts = TYPES, has_shifts
    account = system.account
    account.listed = [ListedContact(id_, iso(NOON_MS - DAY_MS)) for id_ in CONTACTS]
    account.sent = [ListedCampaign(id_, NOON_MS) for id_ in CAMPAIGNS]
    for number, campaign_id in enumerate(CAMPAIGNS):
        sent_ms = NOON_MS - 3_600_000 - number * 60_000
        account.resources[campaign_id] = SentCampaign(campaign_id, sent_ms, {})
        for contact in CONTACTS:
            happens(system, campaign_id, contact, ActivityType.SENT, sent_ms)
    return system


def happens(system: System, campaign_id: str, contact_id: str, type_: ActivityType, at_ms: int) -> Activity:
    """Both sides show it."""
    row = replace(activity(at_ms, type_, contact_id=contact_id), campaign_id=campaign_id)
    system.account.shown.setdefault(campaign_id, []).append(row)
    system.account.activities.setdefault(contact_id, []).append(row)
    return row


def opens(system: System, number: int) -> None:
    """A contact opens a campaign now. No two opens are whole hours apart, as ticks are."""
    campaign_id, contact = CAMPAIGNS[number % 2], CONTACTS[number % 4]
    happens(system, campaign_id, contact, ActivityType.OPENED, system.clock.now_ms() - rows(system))


def tick(system: System) -> int:
    """A tick, a quarter of an hour after the last; how much it published."""
    begun_ms, before = system.clock.real_ms, len(system.bus.events)
    system.tick()
    system.clock.sleep(max(0, begun_ms + TICK_MS - system.clock.real_ms) / 1_000)
    return len(system.bus.events) - before


def rows(system: System) -> int:
    return sum(map(len, system.account.shown.values()))


def assert_each_once(system: System) -> None:
    ids = [event.id for event in system.bus.events]
    assert len(ids) == len(set(ids)) == rows(system)


@pytest.mark.long
def test_trust_is_earned_and_then_reports_publish(system: System) -> None:
    """What happens is published by the next tick, though no contact is due."""
    for number in range(6):
        tick(system)
        opens(system, number)
    for _ in range(2):
        tick(system)
    assert {system.family.reports.trust().of(type_).mode for type_ in TYPES} == {Mode.PUBLISH}
    assert_each_once(system)
    # As if there were so many that each is read once a day.
    listings = system.family.listings
    listings.put(replace(listings.get(), contacts=LIMITS.calls_per_day))
    for contact_id in CONTACTS:
        contact = system.contact(contact_id)
        put_off = replace(contact, due_ms=system.clock.now_ms() + DAY_MS)
        assert system.family.contacts.save(put_off)
    reads = {contact_id: len(times) for contact_id, times in system.account.read_ms.items()}
    for number in range(4):
        opens(system, number)
    # Two ticks: a campaign that was quiet is read a little later.
    assert tick(system) + tick(system) == 4
    assert {contact_id: len(times) for contact_id, times in system.account.read_ms.items()} == reads
    system.family.contacts.make_due(system.clock.now_ms())
    tick(system)
    assert_each_once(system)


def test_what_is_owed_for_want_of_a_right_is_counted_and_comes_with_it(system: System) -> None:
    """In v3, on each store. Nothing is published in its place, though it is days old."""
    system.reading = Reading("default", is_witnessed=True)
    refused = RefusedError("403", is_forbidden=True, lacks=Right.CAMPAIGN_DATA)
    of_reports = [f"{campaign}-{type_.report}" for campaign in CAMPAIGNS for type_ in TYPES]
    system.account.fault_of = dict.fromkeys(["campaigns", *of_reports], refused)
    system.clock.sleep(3 * DAY_MS / 1_000)
    for _ in range(12):
        tick(system)
    assert system.bus.events == []
    assert system.tick().missing_right == "campaign_data"
    told = status_of(system)
    assert (told.contacts.asking, told.contacts.owed) == (rows(system), rows(system))
    assert told.missing_right == Right.CAMPAIGN_DATA
    system.account.fault_of = {}
    for _ in range(8):
        system.family.contacts.make_due(system.clock.now_ms())
        tick(system)
    assert_each_once(system)
    assert not any("missing" in json.loads(event.detail)["data"] for event in system.bus.events)
    told = status_of(system)
    assert (told.contacts.asking, told.contacts.owed, told.missing_right) == (0, 0, None)
    assert system.tick().missing_right == ""


def test_contacts_that_may_not_be_listed_are_a_missing_right(system: System) -> None:
    """On each store, until a tick may list them again. The tick tells its metrics."""
    system.reading = Reading("default", is_witnessed=True)
    lacking = WaitError(WaitReason.CREDENTIAL, lacks=Right.CONTACT_DATA)
    system.account.fault_of = {"contacts": lacking}
    system.account.fault = lacking
    system.tick()
    assert system.tick().missing_right == "contact_data"
    told = status_of(system)
    assert told.missing_right is Right.CONTACT_DATA
    assert (
        verdict_of(told).because
        == "the scope contact_data is missing, so no contact is read; nothing was read yet, nothing is lost"
    )
    system.account.fault_of, system.account.fault = {}, None
    tick(system)
    assert status_of(system).missing_right is None


def status_of(system: System) -> Status:
    store = system.family.store(LIMITS, system.clock)
    return status_of_store("s", store, now_ms=system.clock.now_ms(), tick_ms=TICK_MS, calls_each=1)


def trusted(system: System) -> None:
    """All is read and trusted."""
    for number in range(4):
        opens(system, number)
    for _ in range(6):
        tick(system)
    assert {system.family.reports.trust().of(type_).mode for type_ in TYPES} == {Mode.PUBLISH}


@pytest.mark.long
def test_reports_that_are_switched_off_and_on_repeat_and_lose_nothing(system: System) -> None:
    """The contacts carry it meanwhile."""
    trusted(system)
    system.types = ()
    opens(system, 1)
    tick(system)
    tick(system)
    assert_each_once(system)
    system.types = TYPES
    opens(system, 2)
    for _ in range(3):
        tick(system)
    assert_each_once(system)


def resync(system: System, contact_id: str) -> None:
    contact = system.contact(contact_id)
    assert system.family.contacts.save(contact.resynced(NOON_MS - DAY_MS, system.clock.now_ms()))


@pytest.mark.long
def test_a_resync_publishes_again_what_either_side_published(system: System) -> None:
    """Once, and with equal ids; of the other contacts nothing."""
    trusted(system)
    of_contact = len(system.account.activities["1"])
    resync(system, "1")
    assert tick(system) + tick(system) == of_contact
    assert tick(system) == 0
    ids = [event.id for event in system.bus.events]
    assert len(ids) == rows(system) + of_contact
    assert len(set(ids)) == rows(system)


class OvertakenBus(CollectingBus):
    """The `Bus` port; right after the first publication somebody else writes."""

    def __init__(self, write: Callable[[], object]) -> None:
        super().__init__()
        self._write = [write]

    def publish(self, events: object, *, deadline_ms: int) -> None:
        super().publish(events, deadline_ms=deadline_ms)  # type: ignore[arg-type]
        if self._write:
            self._write.pop()()


@pytest.mark.long
@pytest.mark.parametrize("what", ["saved", "resynced", "erased"])
def test_whoever_writes_a_contact_between_bus_and_memory_repeats_and_loses_nothing(
    system: System, what: str
) -> None:
    """A resync brings again what it asks for, and an erased contact is a new one."""
    trusted(system)
    before = len(system.bus.events)

    def write() -> None:
        if what == "saved":
            assert system.family.contacts.save(system.contact("1"))
        elif what == "resynced":
            resync(system, "1")
        else:
            assert system.family.contacts.erase("1", NOON_MS)

    bus = OvertakenBus(write)
    system.bus = bus
    at_ms = system.clock.now_ms()
    for contact_id in CONTACTS:
        happens(system, "7", contact_id, ActivityType.OPENED, at_ms)
    published = sum(tick(system) for _ in range(4))
    ids = [event.id for event in bus.events]
    again = len(system.account.activities["1"]) if what != "saved" else 0
    new = {event.id for event in bus.events if f'"time":"{iso(at_ms)}"' in event.detail}
    assert len(new) == len(CONTACTS)
    if what == "erased":
        # It is listed again by a full listing only, and everything of it is then published once more.
        assert published == len(CONTACTS)
        assert system.family.contacts.get("1") is None
    else:
        assert len(ids) == published == len(CONTACTS) + again
    assert before + len(CONTACTS) == rows(system)
