"""State that the version before stored: this one goes on with it, publishes nothing twice and loses nothing.

`stored/` holds what that version's own code left of six contacts with twelve activities each: one
synced with a summary, one in the middle of a walk, one whose walk failed, one gone, one never read,
one to be published again; with a campaign, a listing, a pause and messages.
"""

import base64
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.domain.activity import Activity, ActivityType, derive_id
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import SummaryCounts, SummaryKind
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.state.codec import item_from_body
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.work_on import work_on
from tests.support.families import AwsFamily, Clients, EmbeddedFamily, Family
from tests.support.items import of_contact, of_report
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.virtual_clock import VirtualClock
from tests.support.world import TICK_MS, ScriptedSource

STORED = Path(__file__).parent / "stored"
BEFORE: dict[str, Any] = json.loads((STORED / "before.json").read_text(encoding="utf-8"))
RESYNC_MS = NOON_MS - 2 * DAY_MS
TYPES = (ActivityType.SENT, ActivityType.OPENED, ActivityType.CLICKED)
READING = Reading("default", remembered_min=3, overlap_h=24)


def rows_of(contact_id: str) -> list[Activity]:
    """Twelve activities, one every twelve hours."""
    kinds = [TYPES[number % len(TYPES)] for number in range(12)]
    return [
        activity(
            NOON_MS - (12 - number) * 12 * HOUR_MS,
            type_,
            contact_id=contact_id,
            link_id="1" if type_ is ActivityType.CLICKED else None,
        )
        for number, type_ in enumerate(kinds)
    ]


@pytest.fixture(params=["embedded", "aws"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Family]:
    """The ports over what is stored."""
    if request.param == "embedded":
        path = tmp_path / "state.sqlite3"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((STORED / "before.sql").read_text(encoding="utf-8"))
        opened = EmbeddedFamily(path)
        yield opened
        opened.close()
        return
    with nobodys_aws(), mock_aws():
        clients = Clients(aws_client)
        family = AwsFamily(clients)
        for item in BEFORE["items"]:
            clients.dynamodb.put_item(TableName=family.table, Item=_blobs(item))
        yield family


def _blobs(item: dict[str, dict[str, str]]) -> dict[str, dict[str, str | bytes]]:
    return {
        name: {kind: base64.b64decode(value) if kind == "B" else value for kind, value in typed.items()}
        for name, typed in item.items()
    }


class Later:
    """This version, a day after the version before."""

    def __init__(self, family: Family) -> None:
        self.family, self.clock = family, VirtualClock(NOON_MS + DAY_MS)
        self.source = ScriptedSource(self.clock)
        ids = [str(number) for number in range(1, 7)]
        self.source.listed = [ListedContact(id_, "2024-06-01") for id_ in ids]
        self.source.activities = {id_: rows_of(id_) for id_ in ids}
        self.source.counts = {
            ("1", None): SummaryCounts(sends=4, opens=4),
            (None, "7"): SummaryCounts(sends=9),
        }
        self.store = family.store(Limits(4, 9_000), self.clock)
        self.bus = family.bus(self.clock)

    def tick(self) -> int:
        ports = TickPorts(self.store, self.source, self.family.queue, self.clock)
        return run_tick(ports, tick_ms=TICK_MS, deadline_ms=self.clock.monotonic_ms() + 300_000).enqueued

    def work_on(self, message: WorkItem, reading: Reading = READING) -> Report:
        policy = WorkPolicy(reading, EmailAddresses.PLAIN, TICK_MS, (SummaryKind.CONTACT,))
        return work_on(message, self._ports(), policy, deadline_ms=self.clock.monotonic_ms() + 600_000)

    def _ports(self) -> WorkPorts:
        return WorkPorts(self.store, self.source, self.family.queue, self.bus, self.clock)

    def published(self, count: int) -> Counter[str]:
        return Counter(event["detail"]["id"] for event in self.family.published(count))


def test_a_stored_state_goes_on_and_publishes_nothing_twice(family: Family) -> None:
    """Every activity is published once by the two versions together, but for what a resync asked for."""
    later = Later(family)
    assert later.tick() == 6
    fresh = {id_: activity(NOON_MS + HOUR_MS, contact_id=id_) for id_ in later.source.activities}
    for id_, of in fresh.items():
        later.source.activities[id_].append(of)
    reports = []
    # Twice: what came in on a page that the version before had read is found by the next walk.
    for _ in range(2):
        later.clock.sleep(HOUR_MS / 1_000)
        reports += [later.work_on(of_contact(id_, later.clock.now_ms())) for id_ in later.source.activities]
    assert {report.outcome for report in reports} == {Outcome.SYNCED}
    published = later.published(sum(report.published for report in reports))
    both = published + Counter(BEFORE["published"])
    rows = [of for own in later.source.activities.values() for of in own]
    again = {derive_id("default", of) for of in rows_of("6") if of.occurred_ms >= RESYNC_MS}
    assert {derive_id("default", of): both[derive_id("default", of)] for of in rows} == {
        derive_id("default", of): 2 if derive_id("default", of) in again else 1 for of in rows
    }
    assert max(count for id_, count in both.items() if id_ not in again) == 1


def test_campaigns_reports_over_a_stored_state_publish_nothing_twice(family: Family) -> None:
    """Even if they were trusted at once, in the middle of walks that the version before began."""
    later = Later(family)
    rows = [of for own in later.source.activities.values() for of in own]
    campaign_id = rows[0].campaign_id or ""
    later.source.shown[campaign_id] = rows
    now_ms = later.clock.now_ms()
    later.store.reports.save_trust(Trust(dict.fromkeys(TYPES, TypeTrust(Mode.PUBLISH))))
    watched = WatchedCampaign(campaign_id, now_ms - DAY_MS, {"1": "https://example.org/a"})
    later.store.reports.put_watched(watched)
    published = 0
    for type_ in TYPES:
        id_ = ReportId(campaign_id, type_)
        assert later.store.reports.save(CampaignReport(id_, now_ms - DAY_MS, now_ms))
        report = later.work_on(of_report(str(id_), now_ms))
        assert report.outcome is Outcome.READ
        published += report.published
    for contact_id in later.source.activities:
        later.clock.sleep(HOUR_MS / 1_000)
        published += later.work_on(of_contact(contact_id, later.clock.now_ms())).published
    both = later.published(published) + Counter(BEFORE["published"])
    again = {derive_id("default", of) for of in rows_of("6") if of.occurred_ms >= RESYNC_MS}
    expected = Counter({derive_id("default", of): 1 for of in rows}) + Counter(dict.fromkeys(again, 1))
    # Beside them summaries come.
    assert Counter({id_: both[id_] for id_ in expected}) == expected
    assert max(both.values()) <= 2


def test_a_stored_tally_without_ages_goes_on(family: Family) -> None:
    """The version before counted events alone: they stay, and ages add up from now on."""
    day = NOON_MS // DAY_MS
    stored = family.tally.on(day)
    assert stored.events
    assert not stored.ages
    family.tally.add(day, {"Email Opened": 1}, {60: 1})
    later = family.tally.on(day)
    assert sum(later.events.values()) == sum(stored.events.values()) + 1
    assert later.ages == {60: 1}


def test_a_stored_floor_holds_whatever_the_start_date_becomes(family: Family) -> None:
    """The version before did not note what it asked for: nothing that it may have published comes again."""
    later = Later(family)
    for start_ms in (NOON_MS - DAY_MS, NOON_MS + HOUR_MS, None):
        later.clock.sleep(HOUR_MS / 1_000)
        message = of_contact("1", later.clock.now_ms())
        assert later.work_on(message, replace(READING, start_ms=start_ms)).published == 0


def test_queued_messages_of_the_version_before_are_understood(family: Family) -> None:
    """One goes on with its walk, one begins one, and one is of a campaign that was asked for since."""
    later = Later(family)
    items = map(item_from_body, BEFORE["messages"])
    outcomes = [later.work_on(item).outcome for item in items]
    assert outcomes == [Outcome.SYNCED, Outcome.SYNCED, Outcome.STALE]
