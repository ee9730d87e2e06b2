"""Where contacts' rows only vouch: what asks for reports, and what becomes of it when they do not answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from contact_activity.constant_contact.client import ApiVersion, Call
from contact_activity.constant_contact.v3 import ConstantContactV3
from contact_activity.domain.activity import Activity, ActivityType, Link, derive_id
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.asks import MAX_ASKS, Ask
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.campaign_report import Asked, CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.judging import Judging
from contact_activity.domain.memory import MAX_REMEMBERED, activity_key, pack, unpack
from contact_activity.domain.rights import Right
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.watermark import Reading, Watermark
from contact_activity.domain.work import Outcome
from contact_activity.errors import FatalError, RefusedError, RetryError
from contact_activity.sqlite.database import Database
from contact_activity.state.reports import MAX_DUE
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.turns import OneAfterTheOther
from tests.support.items import of_contact
from tests.support.rows import NOON_MS
from tests.support.world import TICK_MS, FailingBus, World
from tests.unit.test_witnesses import PROVIDER_TYPES, Row, VouchingSource

MINUTE_MS = 60_000
OPENED, CLICKED = ActivityType.OPENED, ActivityType.CLICKED


def shown(mailing: str, at_ms: int, *, contact: str = "c0", link: str | None = None) -> Row:
    """A row that both sides show; a click if it has a link."""
    type_ = CLICKED if link else OPENED
    found = Link(link, "https://www.example.org/") if link else None
    return Row(Activity(type_, contact, mailing, at_ms, iso(at_ms), PROVIDER_TYPES[type_], link=found), 0, 0)


def hidden(row: Row) -> Row:
    """The same row, if no report shows it."""
    return Row(row.activity, None, row.vouched_ms)


@dataclass
class Account:
    """What contacts and reports show, and a system that reads it."""

    rows: list[Row]
    contacts: Sequence[str] = ("c0",)
    page_rows: int = 100
    reports: tuple[str, ...] = ("all",)
    for_ms: int = 600_000
    reading: Reading = field(default_factory=lambda: Reading("a"))
    database: Database = field(default_factory=lambda: Database(":memory:"))
    world: World = field(init=False)

    def __post_init__(self) -> None:
        reading = replace(self.reading, reports=self.reports, is_witnessed=True)
        self.world = World(reading=reading, types=tuple(ActivityType), database=self.database)
        self.world.source = VouchingSource(self.world.clock, self.rows, self.page_rows)
        self.world.source.listed = [ListedContact(id_, "") for id_ in self.contacts]

    @property
    def faults(self) -> dict[str, BaseException | Refusal]:
        return self.world.source.fault_of

    def tick(self, *, has_watch: bool = True) -> None:
        """Every contact is due; reports first, as on one machine."""
        self.world.contacts.make_due(self.world.clock.now_ms())
        run_tick(
            self.world.tick_ports(),
            tick_ms=TICK_MS,
            deadline_ms=self.world.clock.monotonic_ms() + 300_000,
            types=self.world.types,
            is_witnessed=True,
            has_watch=has_watch,
            is_paced=False,
            turns=OneAfterTheOther(self._work),
        )
        self._work()

    def hours(self, count: int) -> None:
        for _ in range(count):
            self.tick()
            self.world.wait(HOUR_MS)

    def _work(self) -> None:
        while delivery := self.world.queue.receive(wait_s=0):
            try:
                self.world.work_on(delivery.item, for_ms=self.for_ms)
            except RetryError:
                continue
            finally:
                self.world.queue.complete()


@pytest.mark.parametrize("watched", [MAX_DUE - 10, MAX_DUE])
def test_what_nobody_asks_for_holds_up_no_report_that_is_asked_for(watched: int) -> None:
    """However many were watched until the operator switched that off."""
    account = Account([shown("m-auto", NOON_MS - HOUR_MS)])
    for number in range(watched):
        id_ = ReportId(f"m{number}", OPENED)
        assert account.world.reports.save(CampaignReport(id_, NOON_MS - DAY_MS, NOON_MS - 1))
    for _ in range(5):
        account.tick(has_watch=False)
        account.world.wait(HOUR_MS)
    assert len(account.world.ids) == 1


def test_a_walk_of_two_types_that_is_not_finished_can_be_resynced() -> None:
    """It is one report, by the names of both."""
    account = Account(
        [shown("m", NOON_MS - n * HOUR_MS) for n in range(1, 30)], page_rows=2, reports=("opens", "clicks")
    )
    # The first tick lists, and leaves the contacts to the next.
    account.world.tick()
    account.world.tick()
    delivery = account.world.queue.receive(wait_s=0)
    assert delivery is not None
    account.world.work_on(delivery.item, for_ms=2_000)
    contact = account.world.contact("c0")
    assert contact.progress is not None
    assert contact.resynced(NOON_MS - DAY_MS, NOON_MS).progress is None


@pytest.mark.long
@pytest.mark.parametrize("forbidden", [MAX_ASKS - 1, MAX_ASKS])
def test_a_walk_full_of_asks_comes_to_its_end(forbidden: int) -> None:
    """Though nothing answers them, what is new is found."""
    account = Account([shown("m-forbidden", NOON_MS - DAY_MS - n * MINUTE_MS) for n in range(forbidden)])
    account.faults["m-forbidden-opens"] = RefusedError("403")
    account.hours(5)
    account.rows.append(shown("m-auto", account.world.clock.now_ms() - MINUTE_MS))
    account.hours(24)
    assert len(account.world.ids) == 1


def test_a_refusal_counts_only_for_rows_that_were_met_before() -> None:
    """A report that was not there last week may be there now."""
    account = Account([shown("m", NOON_MS - 3 * DAY_MS, link="x")], contacts=("c0", "c1"))
    account.faults["m-clicks"] = Refusal.GONE
    account.hours(3)
    assert len(account.world.ids) == 1
    del account.faults["m-clicks"]
    late = shown("m", account.world.clock.now_ms() - 2 * DAY_MS, contact="c1", link="y")
    account.rows.append(late)
    account.hours(30)
    assert derive_id("a", late.activity) in account.world.ids


FORBIDDEN = RefusedError("403", is_forbidden=True, lacks=Right.CAMPAIGN_DATA)


def published(account: Account, row: Row) -> bool:
    return derive_id("a", row.activity) in account.world.ids


def test_what_is_refused_stays_owed_until_another_report_answers() -> None:
    """However old: maybe a right is missing. Once it is not, the refusal is this report's own."""
    owed = shown("m-auto", NOON_MS - 5 * DAY_MS)
    account = Account([owed])
    account.faults["m-auto-opens"] = FORBIDDEN
    account.hours(60)
    assert account.world.reports.access().is_missing
    assert not account.world.ids
    report = account.world.report("m-auto-opens")
    assert (report.is_asked, report.failures > 0, report.is_owing) == (True, True, False)
    told = account.world.work_on(of_contact("c0", account.world.clock.now_ms()))
    assert (told.asking, told.owed) == (1, 1)
    assert account.world.tick().missing_right == Right.METRICS
    other = shown("m", account.world.clock.now_ms() - DAY_MS)
    account.rows.append(other)
    account.hours(4)
    assert published(account, other)
    assert not account.world.reports.access().is_missing
    assert account.world.tick().missing_right == ""
    assert [event["data"]["missing"] for event in account.world.events if "missing" in event["data"]] == [
        ["email_address"]
    ]
    account.hours(30)
    assert Counter(account.world.ids) == Counter(derive_id("a", of.activity) for of in (owed, other))


def test_a_right_that_is_lost_publishes_nothing() -> None:
    """The reports that answered before are refused too. What they owe comes when they answer again."""
    account = Account([shown(mailing, NOON_MS - 5 * DAY_MS) for mailing in ("m0", "m1")])
    account.hours(3)
    assert len(account.world.ids) == 2
    late = [shown(mailing, NOON_MS - 4 * DAY_MS) for mailing in ("m0", "m1", "m2")]
    account.rows += late
    for mailing in ("m0", "m1", "m2"):
        account.faults[f"{mailing}-opens"] = FORBIDDEN
    account.hours(60)
    assert len(account.world.ids) == 2
    account.faults.clear()
    account.hours(3)
    assert all(published(account, row) for row in late)
    assert len(account.world.ids) == 2 + len(late)
    assert not any("missing" in event["data"] for event in account.world.events)


def test_a_report_that_fails_otherwise_says_nothing_of_rights() -> None:
    """Neither that one is missing, nor that it is there."""
    account = Account([shown("m-auto", NOON_MS - 5 * DAY_MS), shown("m", NOON_MS - 5 * DAY_MS)])
    account.faults["m-auto-opens"] = FatalError("the API answered 400")
    account.hours(30)
    report = account.world.report("m-auto-opens")
    assert (len(account.world.ids), report.is_owing) == (1, True)
    assert not account.world.reports.access().is_missing


def test_a_refusal_for_want_of_a_right_counts_for_no_row() -> None:
    """Not even when another report answers later: this one is asked once more first."""
    old = shown("m-auto", NOON_MS - 5 * DAY_MS)
    account = Account([old])
    account.faults["m-auto-opens"] = FORBIDDEN
    account.hours(3)
    account.faults.clear()
    account.rows.append(shown("m", NOON_MS - 5 * DAY_MS))
    account.hours(4)
    assert len(account.world.ids) == 2
    assert not any("missing" in event["data"] for event in account.world.events)


def test_the_campaign_of_a_mailing_is_named_where_it_is_known() -> None:
    """By a report, and by a row that is published for itself. What an earlier release stored learns it."""
    account = Account([shown("m", NOON_MS - 2 * DAY_MS), shown("m-auto", NOON_MS - 2 * DAY_MS)])
    source, sent_ms = account.world.source, NOON_MS - 2 * DAY_MS
    source.sent = [ListedCampaign("c-m", sent_ms, sent_ms)]
    source.resources["c-m"] = SentCampaign("c-m", None, {}, ("m",))
    account.faults["m-opens"] = Refusal.GONE
    account.hours(3)
    found = {event["data"]["campaign"]["id"]: event for event in account.world.events}
    assert found["m"]["data"]["missing"] == ["email_address"]
    assert (found["m"]["campaignid"], "campaignid" in found["m-auto"]) == ("c-m", False)
    assert account.world.reports.save(replace(account.world.report("m-clicks"), parent_id=None))
    account.hours(25)
    assert account.world.report("m-clicks").parent_id == "c-m"
    account.rows.append(shown("m", account.world.clock.now_ms() - HOUR_MS, link="x"))
    account.hours(3)
    assert account.world.events[-1]["campaignid"] == "c-m"


def test_reports_that_are_all_refused_cost_few_calls() -> None:
    """Ten at first, then ten in an hour, and each has its turn: one that answers opens the others."""
    at_ms = NOON_MS - 5 * DAY_MS
    account = Account([shown(f"m{n}", at_ms - n * MINUTE_MS) for n in range(60)])
    for n in range(60):
        account.faults[f"m{n}-opens"] = FORBIDDEN
    account.hours(12)
    tries = [name for name, *_ in account.world.source.asked if name.endswith("-opens")]
    assert len(tries) <= 10 * 13
    assert set(tries) == {f"m{n}-opens" for n in range(60)}
    account.faults.clear()
    account.hours(3)
    assert len(account.world.ids) == 60


def test_reports_of_new_sends_that_are_refused_hold_up_no_other() -> None:
    """Of those that are due the ones that wait for longest are tried, however new the others are."""
    sent_ms = NOON_MS - HOUR_MS
    account = Account([shown("m-auto", NOON_MS - 5 * DAY_MS)])
    source = account.world.source
    for n in range(15):
        source.sent.append(ListedCampaign(f"c{n}", sent_ms, sent_ms))
        source.resources[f"c{n}"] = SentCampaign(f"c{n}", None, {}, (f"m{n}",))
        for type_ in ActivityType:
            account.faults[f"m{n}-{type_.report}"] = FORBIDDEN
    account.hours(24)
    assert len(account.world.ids) == 1


def test_a_report_that_answered_before_says_nothing_of_itself() -> None:
    """Where no other is known it is asked once, and stays owed."""
    account = Account([shown("m", NOON_MS - 5 * DAY_MS)])
    account.hours(3)
    account.rows.append(shown("m", NOON_MS - 4 * DAY_MS))
    account.faults["m-opens"] = FORBIDDEN
    account.tick()
    before = len(account.world.source.asked)
    account.tick()
    tries = [name for name, *_ in account.world.source.asked[before:] if name == "m-opens"]
    assert (len(tries), len(account.world.ids)) == (1, 1)
    assert account.world.reports.access().is_missing


def test_a_contact_whose_own_report_is_refused_has_not_failed() -> None:
    """Its message is done with. It is tried again later, and what it did is published then."""
    account = Account([shown("m", NOON_MS - 5 * DAY_MS)])
    account.faults["c0"] = RefusedError("403", is_forbidden=True, lacks=Right.METRICS)
    account.hours(2)
    told = account.world.work_on(of_contact("c0", account.world.clock.now_ms()))
    assert (told.outcome, told.error) == (Outcome.REFUSED, "403")
    assert account.world.contact("c0").failures > 0
    account.faults.clear()
    account.hours(2)
    assert len(account.world.ids) == 1
    assert account.world.contact("c0").failures == 0


def test_a_list_that_is_refused_for_want_of_a_right_is_asked_for_every_hour() -> None:
    """A login may bring it. The right is kept with it, for who asks."""
    account = Account([])
    account.faults["campaigns"] = FORBIDDEN
    account.hours(24)
    tries = sum(name == "campaigns" for name, *_ in account.world.source.asked)
    assert 20 <= tries <= 24
    assert account.world.reports.feed().lacks == Right.CAMPAIGN_DATA
    del account.faults["campaigns"]
    account.hours(2)
    assert account.world.reports.feed().lacks == ""


@pytest.mark.parametrize("page_rows", [500, 2])
def test_a_report_that_takes_several_ticks_is_judged_too(page_rows: int) -> None:
    """Rows that ask in vain do not have it read without end."""
    at_ms = NOON_MS - 2 * DAY_MS
    rows = [shown("m", at_ms - n * MINUTE_MS, contact="c1") for n in range(60)]
    rows.append(hidden(shown("m", at_ms)))
    account = Account(rows, contacts=("c0", "c1"), page_rows=page_rows)
    account.hours(60)
    assert len(set(account.world.ids)) == len(rows)
    pages = sum(name == "m-opens" for name, *_ in account.world.source.asked)
    assert pages <= 10 * (60 // page_rows + 2)


def test_a_walk_of_several_invocations_publishes_what_it_must() -> None:
    """What stands on its earlier pages too, though none but the last reads to the end."""
    account = Account([shown("m", NOON_MS - 3 * DAY_MS - n * HOUR_MS) for n in range(20)], page_rows=1)
    account.faults["m-opens"] = Refusal.GONE
    account.for_ms = 2_000
    account.hours(6)
    assert list(Counter(account.world.ids).values()) == [1] * 20


def test_what_a_stop_leaves_unread_counts_from_when_it_was_met() -> None:
    """Or a row on a later page would be met anew each time, and never be judged."""
    account = Account([shown("m", NOON_MS - n * HOUR_MS) for n in range(20)], page_rows=1)
    account.faults["m-opens"] = RefusedError("403")
    account.hours(2)
    met_ms = {ask.key: ask.met_ms for ask in account.world.contact("c0").asks}
    assert len(met_ms) == 20
    account.for_ms = 2_000
    account.hours(2)
    assert {ask.key: ask.met_ms for ask in account.world.contact("c0").asks} == met_ms


class ShiftedSource(VouchingSource):
    """Contacts show the rows of one mailing with other stamps than its report."""

    off_ms = 0

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        rows = self.rows
        self.rows = [
            replace(row, activity=replace(row.activity, occurred_ms=row.activity.occurred_ms + self.off_ms))
            if row.activity.campaign_id == "m-shifted"
            else row
            for row in rows
        ]
        try:
            return super().tracking(
                contact_id, report, since_ms=since_ms, next_=next_, deadline_ms=deadline_ms
            )
        finally:
            self.rows = rows


@pytest.mark.parametrize("off_ms", [-5 * HOUR_MS, 5 * HOUR_MS, -59_999, 0])
def test_what_asks_is_not_forgotten_under_the_stamp_of_its_report(off_ms: int) -> None:
    """Whatever else is out and old enough to be forgotten."""
    account = Account(
        [shown("m", NOON_MS - n * HOUR_MS) for n in (1, 5, 40)],
        reading=Reading("a", overlap_h=1, remembered_min=1),
    )
    source = ShiftedSource(account.world.clock, account.rows, page_rows=100)
    source.off_ms, source.listed = off_ms, account.world.source.listed
    account.world.source = source
    account.tick()
    account.tick()
    late = shown("m-shifted", NOON_MS - 20 * HOUR_MS)
    account.rows.append(late)
    account.hours(5)
    assert derive_id("a", late.activity) in account.world.ids


@pytest.mark.parametrize("off_ms", [5 * HOUR_MS, 59_999])
def test_what_its_report_shows_below_its_stamp_is_found(off_ms: int) -> None:
    """Though the report was read to its end before, and shows other rows of the contact."""
    account = Account([shown("m-shifted", NOON_MS - n * HOUR_MS) for n in (1, 15)])
    source = ShiftedSource(account.world.clock, account.rows, page_rows=100)
    source.off_ms, source.listed = off_ms, account.world.source.listed
    account.world.source = source
    account.hours(48)
    late = shown("m-shifted", NOON_MS - 20 * HOUR_MS)
    account.rows.append(late)
    account.hours(72)
    assert len(account.world.ids) == len(account.rows)


@pytest.mark.parametrize("link", [None, "x"])
@pytest.mark.parametrize(("mailing", "times"), [("m-listed", 1), ("m-auto", 2)])
def test_a_row_has_the_summary_asked_for(mailing: str, times: int, link: str | None) -> None:
    """Once its report showed it before its contact was read; and when it asks, and when it is answered."""
    account = Account([])
    source, sent_ms = account.world.source, NOON_MS - HOUR_MS
    account.world.summaries = (SummaryKind.CONTACT,)
    source.sent = [ListedCampaign("c-listed", sent_ms, sent_ms)]
    source.resources["c-listed"] = SentCampaign("c-listed", None, {}, ("m-listed",))
    account.hours(3)
    asked = len(source.asked)
    account.rows.append(shown(mailing, account.world.clock.now_ms() - MINUTE_MS, link=link))
    account.hours(3)
    assert len(account.world.ids) == 1
    assert [name for name, *_ in source.asked[asked:]].count(SummaryKind.CONTACT.report) == times


@pytest.mark.parametrize("days", [3, 12])
@pytest.mark.parametrize("off_ms", [59_999, -59_999, 5 * HOUR_MS])
def test_a_resync_publishes_what_its_report_shows_under_another_stamp(off_ms: int, days: int) -> None:
    """Though the contact's row asks in vain, and what lies around it was forgotten."""
    account = Account(
        [shown(mailing, NOON_MS - n * HOUR_MS) for mailing in ("m-shifted", "m") for n in (1, 5, 15, 40)],
        reading=Reading("a", overlap_h=1, remembered_min=1),
    )
    source = ShiftedSource(account.world.clock, account.rows, page_rows=100)
    source.off_ms, source.listed = off_ms, account.world.source.listed
    account.world.source = source
    account.hours(24 * days)
    assert list(Counter(account.world.ids).values()) == [1] * 8
    now_ms = account.world.clock.now_ms()
    assert account.world.contacts.save(account.world.contact("c0").resynced(0, now_ms))
    account.hours(24 * 9)
    assert list(Counter(account.world.ids).values()) == [2] * 8


@pytest.mark.parametrize("fault", [None, RetryError("the API answered 503"), Refusal.GONE])
def test_a_resync_is_still_wanted_after_its_contact_could_not_be_read(
    fault: BaseException | Refusal | None,
) -> None:
    """So its reports are read at once, though they were just read in vain."""
    rows = [shown("m", NOON_MS - n * HOUR_MS) for n in (1, 5)]
    account = Account([*rows, hidden(shown("m", NOON_MS - 9 * HOUR_MS))])
    account.hours(54)
    now_ms = account.world.clock.now_ms()
    assert account.world.contacts.save(account.world.contact("c0").resynced(0, now_ms))
    if fault:
        account.faults["c0"] = fault
        account.hours(1)
        del account.faults["c0"]
    account.hours(3)
    assert list(Counter(account.world.ids).values()) == [2, 2]


def test_a_resync_of_several_invocations_has_all_its_reports_read_at_once() -> None:
    """Though that of its later pages was just read in vain."""
    rows = [
        shown(mailing, NOON_MS - n * HOUR_MS) for mailing, n in (("m0", 1), ("m0", 2), ("m1", 5), ("m1", 6))
    ]
    account = Account([*rows, hidden(shown("m1", NOON_MS - 9 * HOUR_MS))], page_rows=1)
    account.hours(54)
    now_ms = account.world.clock.now_ms()
    assert account.world.contacts.save(account.world.contact("c0").resynced(0, now_ms))
    account.for_ms = 500
    account.hours(3)
    assert list(Counter(account.world.ids).values()) == [2] * 4


@pytest.mark.parametrize("mailing", ["m-listed", "m-auto"])
def test_a_clock_that_ran_ahead_keeps_no_row_waiting(mailing: str) -> None:
    """For years it wrote when the report of the row is due, and that it was read in vain."""
    account = Account([])
    source, sent_ms = account.world.source, NOON_MS - HOUR_MS
    source.sent = [ListedCampaign("c-listed", sent_ms, sent_ms)]
    source.resources["c-listed"] = SentCampaign("c-listed", None, {}, ("m-listed",))
    account.hours(2)
    id_, year_ms = ReportId(mailing, OPENED), account.world.clock.now_ms() + 365 * DAY_MS
    report = account.world.reports.get(id_) or CampaignReport(id_, 0, None)
    asked = Asked(NOON_MS, due_ms=year_ms, misses=2, read_ms=year_ms)
    ahead = replace(report, due_ms=year_ms, read_ms=year_ms, deep_ms=year_ms, asked=asked)
    assert account.world.reports.save(ahead)
    account.rows.append(shown(mailing, account.world.clock.now_ms() - MINUTE_MS))
    account.hours(3)
    assert len(account.world.ids) == 1


def test_two_resyncs_of_one_moment_differ() -> None:
    """A report that was read between them has published nothing of the second."""
    watermark = Watermark().with_resync(0, NOON_MS)
    again = watermark.with_resync(0, NOON_MS)
    assert again.resync != watermark.resync


def test_who_loses_a_write_to_a_resync_keeps_what_it_published() -> None:
    """The resync wants later rows only."""
    account = Account([shown("m", NOON_MS - 5 * DAY_MS)])
    account.faults["m-opens"] = Refusal.GONE
    account.tick()
    account.world.wait(HOUR_MS)
    world, bus = account.world, account.world.bus

    class ResyncedMeanwhile(FailingBus):
        def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
            bus.publish(events, deadline_ms=deadline_ms)
            world.bus = bus
            now_ms = world.clock.now_ms()
            assert world.contacts.save(world.contact("c0").resynced(now_ms - DAY_MS, now_ms))

    world.bus = ResyncedMeanwhile(bus)
    account.hours(6)
    assert list(Counter(world.ids).values()) == [1]


def test_the_memory_is_bounded_beside_rows_that_are_owed() -> None:
    """What lies between them is forgotten."""
    opens = [shown("m", NOON_MS - n * HOUR_MS).activity for n in range(30_000)]
    keys = [activity_key("a", of) for of in opens]
    asking = set(keys[::1_500])
    contact = Contact(
        "c0",
        0,
        0,
        watermark=Watermark(remembered=pack(key for key in keys if key not in asking)),
        asks=tuple(Ask(ReportId("m", OPENED), key, NOON_MS, is_owed=True) for key in asking),
    )
    walk = Judging(contact, Reading("a", is_witnessed=True), NOON_MS)
    walk.take(opens, (), NOON_MS)
    left = walk.watermark(is_whole=True)
    assert len(unpack(left.remembered)) <= MAX_REMEMBERED
    assert len(walk.asks) == len(asking)
    assert all(not window_holds(left, key) for key in set(keys) - asking - set(unpack(left.remembered)))


def window_holds(watermark: Watermark, key: bytes) -> bool:
    at_ms = int.from_bytes(key[:6])
    spans = watermark.mark(OPENED).forgotten
    return not any((of.from_ms or 0) <= at_ms < of.to_ms for of in spans)


@pytest.mark.parametrize("fails", [False, True])
def test_a_bus_that_fails_makes_no_second_click_of_one(fails: bool) -> None:
    """Another click of the same moment, which comes in late, is still told from it."""
    at_ms = NOON_MS - 3 * DAY_MS
    account = Account([shown("m", at_ms, link="x")])
    account.faults["m-clicks"] = Refusal.GONE
    account.hours(1)
    account.world.bus.is_down = fails
    account.hours(1)
    account.world.bus.is_down = False
    account.hours(2)
    assert len(account.world.ids) == 1
    del account.faults["m-clicks"]
    account.rows.append(shown("m", at_ms, link="y"))
    for _ in range(40):
        account.tick()
        account.world.wait(6 * HOUR_MS)
    assert len(account.world.ids) == 2


class Lists:
    """The contact list of v3, whose cursors tell nothing."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str | list[str]]] = []

    def close(self) -> None:
        pass

    def call(self, call: Call[object], version: ApiVersion, *, deadline_ms: int) -> object:  # noqa: ARG002
        self.asked.append(call.params)
        listed: dict[str, object] = {"contacts": [{"contact_id": f"c{len(self.asked)}", "updated_at": ""}]}
        if "optout_after" in call.params:
            listed["_links"] = {"next": {"href": "/v3/contacts?cursor=b3B0b3V0LTI"}}
        return call.read(listed)


def test_pages_of_who_unsubscribed_end_the_list() -> None:
    """They come after those of who changed, and lead back to none of them."""
    lists = Lists()
    source = ConstantContactV3(lists)  # type: ignore[arg-type]
    next_, pages = None, 0
    while pages == 0 or next_ is not None:
        page = source.contacts(since_ms=NOON_MS, next_=next_, deadline_ms=0)
        assert not isinstance(page, Refusal)
        next_, pages = page.next, pages + 1
    assert [sorted(asked) for asked in lists.asked] == [
        ["limit", "status", "updated_after"],
        ["limit", "optout_after", "status"],
        ["cursor"],
    ]
