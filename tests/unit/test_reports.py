"""Read a campaign's report: what it publishes, each contact remembers, and nobody publishes it again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain import schedule
from contact_activity.domain.activity import Activity, ActivityType, Link
from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.campaign_report import MAX_FAILURE_WAIT_MS, OVERLAP_MS, YOUNG_MS
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import KEY_BYTES, MAX_REMEMBERED, TIME_BYTES, activity_key, unpack
from contact_activity.domain.paging import MAX_RESTARTS
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.reported import ROOM_FOR_REPORTS
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Mode
from contact_activity.domain.watermark import Mark, Progress, Reading, Span, Watermark
from contact_activity.domain.work import Outcome, Report
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.use_cases.read_report import MAX_PAGES, PAGES_BETWEEN_MARKERS, read_report
from tests.support.items import of_report
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.world import CALL_MS, TICK_MS, World, drain_all, with_contacts

SECOND_MS, MINUTE_MS = 1_000, 60_000
CONTACTS = ("1", "2", "3")


@pytest.fixture
def world() -> World:
    """Three contacts, and the report of opens of campaign 7, which is trusted and due."""
    world = World()
    for contact_id in CONTACTS:
        world.register(contact_id)
    world.trust(*ActivityType)
    world.watch()
    world.wait(HOUR_MS)
    return world


def opens(count: int, contact_ids: Sequence[str] = CONTACTS) -> list[Activity]:
    """So many opens a second apart, of each contact in turn."""
    return [
        activity(NOON_MS + n * SECOND_MS, contact_id=contact_ids[n % len(contact_ids)]) for n in range(count)
    ]


def show(world: World, rows: Sequence[Activity]) -> None:
    """Show rows in the campaign's reports, and each in its contact's own."""
    world.source.shown["7"] = list(rows)
    for contact_id in {row.contact_id for row in rows}:
        own = [row for row in rows if row.contact_id == contact_id]
        world.source.activities[contact_id] = own


def times_of(rows: Sequence[Activity]) -> list[str]:
    return sorted(iso(row.occurred_ms) for row in rows)


def read_again(world: World, wait_ms: int = TICK_MS) -> Report:
    world.wait(wait_ms)
    return world.read()


def sync_all(world: World) -> int:
    """How much all contacts' own walks publish."""
    return sum(world.sync(contact_id).published for contact_id in CONTACTS)


def keys(rows: Sequence[Activity]) -> set[bytes]:
    return {activity_key("default", row) for row in rows}


def reported(world: World, contact_id: str = "1") -> set[bytes]:
    return set(unpack(world.contact(contact_id).watermark.reported))


def change(world: World, contact_id: str = "1", **changes: object) -> None:
    contact = replace(world.contact(contact_id), **changes)  # type: ignore[arg-type]
    assert world.contacts.save(contact)


def reports_asked(world: World) -> int:
    return sum(resource.startswith("7-") for resource, _, _ in world.source.asked)


# --- what is new, and what is known -----------------------------------------------------------------


def test_what_a_report_shows_is_published_once(world: World) -> None:
    """The next read knows it, and so do the contacts' own walks."""
    rows = opens(7)
    show(world, rows)
    report = world.read()
    assert (report.outcome, report.published, report.pages) == (Outcome.READ, 7, 4)
    assert sorted(world.times) == times_of(rows)
    again = read_again(world)
    assert (again.outcome, again.published, again.counts.known) == (Outcome.READ, 0, 7)
    assert sync_all(world) == 0
    assert read_again(world).published == 0
    assert len(world.ids) == len(set(world.ids)) == 7


def test_what_a_walk_published_no_report_publishes(world: World) -> None:
    """And what comes in since then either of them does, once."""
    show(world, opens(6))
    assert sync_all(world) == 6
    assert (report := world.read()).published == 0
    assert report.counts.known == 6
    show(world, opens(8))
    assert read_again(world).published == 2
    assert sync_all(world) == 0
    show(world, opens(9))
    assert sync_all(world) == 1
    assert read_again(world).published == 0
    assert len(world.ids) == len(set(world.ids)) == 9


@given(st.lists(st.sampled_from([*CONTACTS, "report"]), max_size=12), st.lists(st.integers(0, 11)))
def test_in_any_order_each_activity_is_published_once(steps: list[str], come_in: list[int]) -> None:
    """Whoever meets it first publishes it, also what comes in late with an old stamp."""
    world = World()
    for contact_id in CONTACTS:
        world.register(contact_id)
    world.trust(*ActivityType)
    world.watch()
    rows, shown = opens(12), list[Activity]()
    for number, step in enumerate([*steps, *CONTACTS, "report"]):
        shown += [rows[row] for row in come_in[number : number + 1]]
        show(world, shown)
        world.wait(HOUR_MS)
        _ = world.read() if step == "report" else world.sync(step)
    assert len(world.ids) == len(set(world.ids))
    for contact_id in CONTACTS:
        world.sync(contact_id)
    assert sorted(world.times) == sorted(set(times_of(shown)))


def test_an_event_of_a_report_is_that_of_a_walk(world: World) -> None:
    """But for when it was observed; what is older than its contact's registration is backfill."""
    rows = [activity(NOON_MS - DAY_MS), activity(NOON_MS + SECOND_MS)]
    show(world, rows)
    assert world.read().published == 2
    by_report = {event["id"]: event for event in world.events}
    other = World()
    other.register("1", rows)
    other.wait(HOUR_MS)
    other.sync()
    for event in other.events:
        assert {**event, "observedtime": 0} == {**by_report[event["id"]], "observedtime": 0}
    assert {event["time"]: event["backfill"] for event in world.events} == {
        iso(NOON_MS - DAY_MS): True,
        iso(NOON_MS + SECOND_MS): False,
    }


def test_a_message_of_a_tick_names_it_in_its_events(world: World) -> None:
    """Its correlation id is in each."""
    show(world, opens(1))
    item = of_report("7-opens", world.clock.now_ms(), "tick-1")
    world.work_on(item)
    assert [event["correlationid"] for event in world.events] == ["tick-1"]


def test_rows_of_contacts_that_nobody_knows_are_counted_and_left_out(world: World) -> None:
    """Their first walk brings them, and no report does then."""
    rows = opens(4, ("1", "unknown"))
    show(world, rows)
    report = world.read()
    assert (report.published, report.rows_unknown, report.rows_left) == (2, 2, 0)
    world.register("unknown", rows[1::2])
    assert world.sync("unknown").published == 2
    assert read_again(world).published == 0


def test_equal_rows_of_a_page_are_one_activity(world: World) -> None:
    """The first is published, the others are counted."""
    world.source.page_rows = 5
    show(world, [*opens(2), *opens(2), *opens(1)])
    report = world.read()
    assert (report.published, report.counts.collapsed, report.counts.rows) == (2, 3, 5)
    assert len(world.ids) == 2


def test_equal_rows_on_two_pages_are_published_once(world: World) -> None:
    """A page edge between them makes no difference."""
    show(world, [*opens(2, ("1",)), *opens(2, ("1",))])
    assert world.read().published == 2
    assert len(world.ids) == 2


def test_what_is_below_a_floor_is_not_published(world: World) -> None:
    """A floor is of a type. What lies within fourteen hours of it is left to the contact's own walk."""
    rows = opens(4, ("1",))
    show(world, rows)
    floor = Mark(ActivityType.OPENED, None, (Span(0, rows[2].occurred_ms - 14 * HOUR_MS),))
    change(world, watermark=Watermark(marks=(floor, Mark(ActivityType.SENT, None, (Span(0, NOON_MS * 2),)))))
    report = world.read()
    assert (report.published, report.counts.out_of_window, report.rows_left) == (2, 0, 2)
    assert sorted(world.times) == times_of(rows[2:])
    assert world.sync().published == 2
    assert sorted(world.times) == times_of(rows)


def test_what_is_before_the_start_date_is_not_published(world: World) -> None:
    """From either side."""
    rows = opens(4)
    show(world, rows)
    world.reading = Reading("default", start_ms=rows[1].occurred_ms)
    assert (report := world.read()).published == 3
    assert report.counts.out_of_window == 1
    assert sync_all(world) == 0


def test_what_a_contact_remembers_of_a_report_is_one_key_for_each_activity(world: World) -> None:
    """In one write a page, with a mark that says that there is something of its type."""
    world.source.page_rows = 500
    rows = opens(9)
    show(world, rows)
    before = {contact_id: world.contact(contact_id) for contact_id in CONTACTS}
    world.read()
    for contact_id in CONTACTS:
        contact = world.contact(contact_id)
        assert contact == replace(
            before[contact_id], version=before[contact_id].version + 1, watermark=contact.watermark
        )
        assert contact.watermark == Watermark(
            marks=(Mark(ActivityType.OPENED),), reported=contact.watermark.reported
        )
        assert reported(world, contact_id) == keys([row for row in rows if row.contact_id == contact_id])


def test_a_contact_without_news_is_not_written(world: World) -> None:
    """Its rows are all known."""
    show(world, opens(6))
    sync_all(world)
    before = [world.contact(contact_id) for contact_id in CONTACTS]
    world.read()
    assert [world.contact(contact_id) for contact_id in CONTACTS] == before


def test_what_is_published_is_counted_with_its_age(world: World) -> None:
    """In the day's tally, but for what is backfill."""
    show(world, [activity(NOON_MS - DAY_MS), *opens(2, ("1",))])
    report = world.read()
    assert len(report.ages_s) == 2
    assert sum(world.tally.on(NOON_MS // DAY_MS).events.values()) == 3
    assert sum(world.tally.on(NOON_MS // DAY_MS).ages.values()) == 2


# --- what is left to the contact's own walk ---------------------------------------------------------


def held(world: World) -> None:
    change(world, held_until_ms=schedule.held_until_ms(world.clock.now_ms(), 10 * MINUTE_MS))


def compacted(world: World) -> None:
    reading = world.reading
    progress = Progress(NOON_MS, reading.fingerprint, "all", None, b"", b"", (), NOON_MS - DAY_MS, 0)
    change(world, progress=progress)


def full(world: World) -> None:
    numbers = range(1, MAX_REMEMBERED + ROOM_FOR_REPORTS + 1)
    packed = b"".join(bytes(TIME_BYTES) + n.to_bytes(KEY_BYTES - TIME_BYTES) for n in reversed(numbers))
    change(world, watermark=Watermark((Mark(ActivityType.SENT),), packed))


def shadowed(world: World) -> None:
    """The contact's own walk published the like of the row, an hour later."""
    like = activity_key("default", activity(NOON_MS + HOUR_MS))
    change(world, watermark=Watermark((Mark(ActivityType.OPENED),), like))


LEAVING = [held, compacted, full, shadowed]


@pytest.mark.parametrize("prepare", LEAVING)
def test_what_a_report_cannot_decide_is_left_to_a_walk_soon(
    world: World, prepare: Callable[[World], None]
) -> None:
    """The contact is due and urgent, once, and what others did is published."""
    prepare(world)
    show(world, opens(3))
    later_ms = NOON_MS + DAY_MS
    change(world, due_ms=later_ms)
    report = world.read()
    assert (report.published, report.rows_left) == (2, 1)
    assert report.rows_shifted == (prepare is shadowed)
    assert world.contact().due_ms <= world.clock.now_ms()
    assert reported(world) == set()
    assert world.reports.take_urgent() == ("1",)
    change(world, due_ms=later_ms)
    before = world.contact()
    again = read_again(world, MINUTE_MS)
    assert (again.published, again.rows_left) == (0, 1)
    assert world.reports.take_urgent() == ()
    assert world.contact() == before


@pytest.mark.parametrize("prepare", [held, compacted])
def test_what_was_left_the_walk_publishes(world: World, prepare: Callable[[World], None]) -> None:
    """And the report does not after it."""
    prepare(world)
    show(world, opens(3))
    world.read()
    world.wait(HOUR_MS)
    assert world.sync().published == 1
    assert read_again(world).published == 0
    assert sorted(world.times) == times_of(opens(3))


def test_a_memory_takes_what_there_is_room_for(world: World) -> None:
    """The rest of a page is left."""
    world.source.page_rows = 500
    full(world)
    watermark = world.contact().watermark
    change(world, watermark=replace(watermark, remembered=watermark.remembered[: -2 * KEY_BYTES]))
    show(world, opens(5, ("1",)))
    report = world.read()
    assert (report.published, report.rows_left) == (2, 3)
    assert len(reported(world)) == 2


# --- links ------------------------------------------------------------------------------------------

CLICKS = "7-clicks"


def click(second: int, link_id: str | None, contact_id: str = "1") -> Activity:
    at_ms = NOON_MS + second * SECOND_MS
    return activity(at_ms, ActivityType.CLICKED, contact_id=contact_id, link_id=link_id)


def sent_campaign(**urls: str) -> SentCampaign:
    return SentCampaign("7", NOON_MS, urls)


def asked_for_campaign(world: World) -> int:
    return sum(resource == "campaign 7" for resource, _, _ in world.source.asked)


@pytest.fixture
def clicked(world: World) -> World:
    """Clicks of two links, of which the campaign tells one."""
    world.watch(CLICKS)
    world.source.resources["7"] = sent_campaign(a="https://a.example")
    world.source.shown["7"] = [click(n, link_id) for n, link_id in enumerate(("a", "a", "b", "b", "a"))]
    return world


def test_a_click_has_the_url_that_its_campaign_tells(clicked: World) -> None:
    """The campaign is asked once a read; a click of another link is left to its contact."""
    report = clicked.read(CLICKS)
    assert (report.published, report.rows_left) == (3, 2)
    assert asked_for_campaign(clicked) == 1
    assert {event["data"]["link"]["url"] for event in clicked.events} == {"https://a.example"}
    assert clicked.reports.take_urgent() == ("1",)


def test_a_url_that_was_told_never_changes(clicked: World) -> None:
    """Nor is a campaign asked for what it told, or did not tell, before."""
    clicked.read(CLICKS)
    clicked.source.resources["7"] = sent_campaign(a="https://other.example", b="https://b.example")
    clicked.source.shown["7"] += [click(60, "a"), click(61, "b")]
    clicked.wait(TICK_MS)
    report = clicked.read(CLICKS)
    assert (report.published, asked_for_campaign(clicked)) == (1, 1)
    assert {event["data"]["link"]["url"] for event in clicked.events} == {"https://a.example"}
    watched = clicked.reports.watched("7")
    assert watched
    assert watched.urls == {"a": "https://a.example", "b": None}


def test_a_campaign_that_is_gone_leaves_its_clicks(clicked: World) -> None:
    """No failure: the contacts' own rows have the URL."""
    del clicked.source.resources["7"]
    report = clicked.read(CLICKS)
    assert (report.outcome, report.published, report.rows_left) == (Outcome.READ, 0, 5)


def test_a_click_without_a_link_is_left(clicked: World) -> None:
    """Its campaign is not even asked."""
    clicked.source.shown["7"] = [click(0, None)]
    report = clicked.read(CLICKS)
    assert (report.published, report.rows_left, asked_for_campaign(clicked)) == (0, 1, 0)


def test_a_url_of_the_row_itself_holds(clicked: World) -> None:
    """Nothing is asked."""
    row = replace(click(0, "a"), link=Link("a", "https://own.example"))
    clicked.source.shown["7"] = [row]
    assert clicked.read(CLICKS).published == 1
    assert asked_for_campaign(clicked) == 0
    assert clicked.events[0]["data"]["link"]["url"] == "https://own.example"


# --- first the bus, then the memory -----------------------------------------------------------------


class Contacts(SqliteContacts):
    """The `Contacts` port; before the first `remember` it does something, which may be a crash."""

    def __init__(self, world: World, meanwhile: Callable[[], object]) -> None:
        super().__init__(world.database)
        self._meanwhile = [meanwhile]

    def remember(self, contacts: Sequence[Contact], *, due: Collection[str] = ()) -> list[str]:
        if self._meanwhile:
            self._meanwhile.pop()()
        return super().remember(contacts, due=due)


class CrashError(Exception):
    """The process dies here."""


def crash() -> None:
    raise CrashError


def read_and(world: World, meanwhile: Callable[[], object]) -> Report:
    """Read, and do something between the first publication and what is remembered of it."""
    ports = replace(world.work_ports(), store=with_contacts(world.store, Contacts(world, meanwhile)))
    now_ms = world.clock.now_ms()
    deadline_ms = now_ms + 10 * MINUTE_MS
    return read_report(of_report("7-opens", now_ms), ports, world.policy(), deadline_ms=deadline_ms)


def test_what_the_bus_does_not_take_is_not_remembered(world: World) -> None:
    """It is no failed message: the report is due again, and publishes it then."""
    show(world, opens(5))
    world.bus.is_down = True
    report = world.read()
    assert (report.outcome, report.published) == (Outcome.FAILED, 0)
    assert report.error == "the bus took nothing"
    assert all(reported(world, contact_id) == set() for contact_id in CONTACTS)
    assert world.report().due_ms == world.clock.now_ms() + TICK_MS
    world.bus.is_down = False
    assert read_again(world).published == 5


@pytest.mark.parametrize("taken", range(6))
def test_of_what_the_bus_took_in_part_exactly_that_is_remembered(world: World, taken: int) -> None:
    """The next read publishes the rest and nothing twice."""
    world.source.page_rows = 500
    rows = opens(6)
    show(world, rows)
    world.bus.takes_only = taken
    report = world.read()
    assert (report.outcome, report.published) == (Outcome.FAILED, taken)
    known = {key for contact_id in CONTACTS for key in reported(world, contact_id)}
    out = set(world.times)
    assert known == keys([row for row in rows if iso(row.occurred_ms) in out])
    world.bus.takes_only = None
    assert read_again(world).published == 6 - taken
    assert sync_all(world) == 0
    assert len(world.ids) == len(set(world.ids)) == 6


def test_a_crash_before_it_is_remembered_repeats_one_page_with_equal_ids(world: World) -> None:
    """Not the pages before it, nor those behind."""
    show(world, opens(8))
    world.read(for_ms=2 * CALL_MS)
    drain_all(world.queue)
    world.wait(MINUTE_MS)
    with pytest.raises(CrashError):
        read_and(world, crash)
    world.wait(HOUR_MS)
    world.read()
    assert len(world.ids) == 10
    assert len(set(world.ids)) == 8
    assert sync_all(world) == 0


def test_a_contact_that_is_saved_meanwhile_remembers_all_the_same(world: World) -> None:
    """What the other wrote stays."""
    show(world, opens(3))

    def meanwhile() -> None:
        change(world, failures=3, watermark=Watermark((Mark(ActivityType.SENT, 7),)))

    assert read_and(world, meanwhile).published == 3
    contact = world.contact()
    assert (contact.failures, contact.watermark.mark(ActivityType.SENT).through_ms) == (3, 7)
    assert reported(world) == keys(opens(1))
    assert read_again(world).published == 0
    assert sync_all(world) == 0


def test_a_walk_that_finished_meanwhile_knows_what_the_report_published(world: World) -> None:
    """Their keys are united."""
    show(world, opens(3))
    old = activity(NOON_MS - DAY_MS)

    def meanwhile() -> None:
        # As if its walk had shown only this row.
        watermark = Watermark((Mark(ActivityType.OPENED, old.occurred_ms),), activity_key("default", old))
        change(world, watermark=watermark, synced_ms=world.clock.now_ms())

    read_and(world, meanwhile)
    watermark = world.contact().watermark
    assert {*unpack(watermark.remembered), *unpack(watermark.reported)} == keys([old, *opens(1)])
    world.source.activities["1"].append(old)
    world.wait(HOUR_MS)
    assert world.sync().published == 0


def test_a_resync_that_is_asked_for_meanwhile_publishes_it_again(world: World) -> None:
    """Once, whoever meets it first; of what lies before its date nothing."""
    show(world, opens(6))

    def meanwhile() -> None:
        resynced = world.contact().resynced(opens(6)[3].occurred_ms, world.clock.now_ms())
        assert world.contacts.save(resynced)

    world.source.page_rows = 500
    assert read_and(world, meanwhile).published == 6
    world.wait(HOUR_MS)
    assert world.sync().published == 1
    again = world.events[6:]
    assert [(event["time"], event["backfill"]) for event in again] == [(times_of(opens(4))[3], True)]
    world.wait(HOUR_MS)
    assert (world.sync().published, world.read().published) == (0, 0)


def test_what_a_report_publishes_after_a_resync_was_asked_for_is_not_wanted_again(world: World) -> None:
    """The resync wants what was published before it."""
    show(world, opens(3))
    world.read()
    assert world.contacts.save(world.contact().resynced(NOON_MS - DAY_MS, world.clock.now_ms()))
    show(world, opens(6))
    assert read_again(world).published == 3
    assert world.sync().published == 1
    assert len(world.ids) == 7
    assert len(set(world.ids)) == 6


def test_of_a_contact_that_is_erased_meanwhile_nothing_is_stored(world: World) -> None:
    """The others remember."""
    world.source.page_rows = 500
    show(world, opens(3))
    assert read_and(world, lambda: world.contacts.erase("1", NOON_MS)).published == 3
    assert world.contacts.get("1") is None
    assert reported(world, "2")


def test_a_walk_that_a_report_overtook_publishes_nothing_twice(world: World) -> None:
    """It loses its write, and the next walk knows."""
    show(world, opens(3))
    world.source.meanwhile[1] = world.read
    assert world.sync().outcome is Outcome.RACE_LOST
    world.wait(HOUR_MS)
    assert world.sync().published == 0
    assert len(world.ids) == len(set(world.ids)) == 3


def test_a_walk_under_way_knows_what_a_report_publishes_of_its_pages_to_come(world: World) -> None:
    """The report leaves what the walk holds; what it is free to publish the walk does not repeat."""
    rows = opens(6, ("1",))
    show(world, rows)
    world.source.meanwhile[2] = world.read
    world.sync()
    world.wait(HOUR_MS)
    world.sync()
    assert sorted(world.times) == times_of(rows)


# --- two workers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", range(1, 5))
def test_two_workers_with_one_report_publish_once(world: World, call: int) -> None:
    """Who writes first goes on; the other publishes nothing."""
    show(world, opens(7))
    inner: list[Report] = []
    world.source.meanwhile[call] = lambda: inner.append(world.read())
    outer = world.read()
    outcomes = {outer.outcome, inner[0].outcome}
    assert outcomes == ({Outcome.READ, Outcome.RACE_LOST} if call == 1 else {Outcome.READ, Outcome.HELD})
    assert sorted(world.times) == times_of(opens(7))


def test_a_message_that_comes_twice_is_stale(world: World) -> None:
    """It costs no call once the report was read."""
    show(world, opens(3))
    planned_ms = world.clock.now_ms()
    world.read(planned_ms=planned_ms)
    calls = world.source.calls
    assert world.read(planned_ms=planned_ms).outcome is Outcome.STALE
    assert world.source.calls == calls


def test_who_died_holds_a_report_for_no_longer_than_its_time(world: World) -> None:
    """Then another goes on, and publishes only the rest."""
    show(world, opens(9))
    world.source.faults[3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.read(for_ms=120_000)
    world.wait(SECOND_MS)
    calls = world.source.calls
    assert world.read().outcome is Outcome.HELD
    assert world.source.calls == calls
    world.wait(120_000 + schedule.HELD_LONGER_MS)
    report = world.read()
    assert (report.outcome, report.published) == (Outcome.READ, 5)
    assert sorted(world.times) == times_of(opens(9))


def test_a_report_that_nobody_watches_costs_no_call(world: World) -> None:
    """Nor one that is unknown, no report, or not trusted."""
    for report_id in ("8-opens", "7-nothing", "opens"):
        assert world.read(report_id).outcome is Outcome.STALE
    assert world.reports.save(replace(world.report(), due_ms=None))
    assert world.read().outcome is Outcome.STALE
    assert world.reports.save(replace(world.report(), due_ms=NOON_MS))
    world.trust(ActivityType.OPENED, mode=Mode.OFF)
    assert world.read().outcome is Outcome.STALE
    assert world.source.calls == 0


# --- pages ------------------------------------------------------------------------------------------


def test_an_invocation_reads_twenty_pages_and_hands_the_rest_on(world: World) -> None:
    """By a message of the same tick; the whole report is read then."""
    rows = opens(2 * MAX_PAGES + 5)
    show(world, rows)
    first = world.read()
    assert (first.outcome, first.pages) == (Outcome.UNFINISHED, MAX_PAGES)
    assert world.report().progress
    (item,) = drain_all(world.queue)
    assert item.id == "7-opens"
    second = world.work_on(item)
    assert (second.outcome, second.pages) == (Outcome.READ, 3)
    assert drain_all(world.queue) == []
    stored = world.report()
    assert (stored.progress, stored.held_until_ms, stored.rows) == (None, None, len(rows))
    assert sorted(world.times) == times_of(rows)


def test_how_far_a_read_is_is_stored_every_five_pages(world: World) -> None:
    """Who dies costs no more calls than that."""
    show(world, opens(20))
    world.source.faults[PAGES_BETWEEN_MARKERS + 3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.read()
    world.wait(HOUR_MS)
    assert world.read().pages == 10 - PAGES_BETWEEN_MARKERS
    assert len(world.ids) == len(set(world.ids)) == 20


@pytest.mark.parametrize("call", range(2, 6))
def test_a_cursor_that_expires_begins_again_and_repeats_nothing(world: World, call: int) -> None:
    """What is published is known to the contacts."""
    show(world, opens(9))
    world.source.faults[call] = Refusal.NEXT_EXPIRED
    report = world.read()
    assert (report.outcome, report.restarts, report.published) == (Outcome.READ, 1, 9)
    assert world.report().rows == 9
    assert sorted(world.times) == times_of(opens(9))


def read_until(world: World, outcome: Outcome) -> Report:
    """Work on what is handed on, until it ends so."""
    report = world.read()
    for _ in range(60):
        if report.outcome is outcome:
            break
        (item,) = drain_all(world.queue)
        report = world.work_on(item)
    assert report.outcome is outcome
    return report


@pytest.mark.parametrize("broken", ["every cursor is refused", "a page links to itself", "links go round"])
def test_cursors_that_never_hold_are_a_failure(world: World, broken: str) -> None:
    """After a bounded number of calls; the wait doubles to an hour, and what is published stays known."""
    show(world, opens(9))
    if broken == "every cursor is refused":
        world.source.fault_of_next = Refusal.NEXT_EXPIRED
    else:
        world.source.links = {"2": "2"} if broken == "a page links to itself" else {"4": "2"}
    waits = []
    for _ in range(4):
        calls = world.source.calls
        report = read_until(world, Outcome.FAILED)
        assert world.source.calls - calls <= 4 * (MAX_RESTARTS + 1)
        assert report.error
        due_ms = world.report().due_ms
        assert due_ms
        waits.append(due_ms - world.clock.now_ms())
        world.wait(waits[-1])
    assert waits == [min(MAX_FAILURE_WAIT_MS, TICK_MS << n) for n in range(4)]
    assert world.report().failures == 4
    world.source.fault_of_next, world.source.links = None, {}
    assert world.read().outcome is Outcome.READ
    assert world.report().failures == 0
    assert sorted(world.times) == times_of(opens(9))


@pytest.mark.parametrize("pages", [1, 2, 3, 5, 19, 21, 50])
def test_pages_that_go_round_with_ever_new_cursors_are_a_failure(world: World, pages: int) -> None:
    """However many there are in a round, it ends after a few rounds."""
    show(world, opens(2 * pages))
    world.source.round_pages = pages
    report = read_until(world, Outcome.FAILED)
    assert report.error == "the API's pages go round, each with another cursor"
    assert world.source.calls <= 20 * pages + 50
    assert sorted(world.times) == times_of(opens(2 * pages))


def test_empty_pages_before_others_do_not_end_a_report(world: World) -> None:
    """An API that filters after it has cut its pages shows them, each with a cursor."""
    show(world, opens(9))
    world.source.empty_pages = 20
    read_until(world, Outcome.READ)
    assert sorted(world.times) == times_of(opens(9))


def test_a_report_that_is_empty_without_end_is_a_failure(world: World) -> None:
    """However few pages an invocation reads."""
    show(world, opens(9))
    world.source.empty_pages = 10_000
    report = world.read(for_ms=7 * CALL_MS)
    for _ in range(20):
        if report.outcome is Outcome.FAILED:
            break
        (item,) = drain_all(world.queue)
        report = world.work_on(item, for_ms=7 * CALL_MS)
    assert report.error == "the API's pages go round, each with another cursor"
    assert world.source.calls < 60


def test_rows_that_come_in_while_a_report_is_read_are_published_once(world: World) -> None:
    """They shift what was read onto the next page."""
    show(world, opens(9))
    world.source.meanwhile[3] = lambda: show(world, opens(12))
    world.read()
    read_again(world)
    assert sorted(world.times) == times_of(opens(12))


# --- from where on ----------------------------------------------------------------------------------


def since_asked(world: World) -> list[int | None]:
    return [
        since_ms
        for resource, since_ms, next_ in world.source.asked
        if resource == "7-opens" and next_ is None
    ]


def test_a_report_is_read_from_its_beginning_once(world: World) -> None:
    """Then from an overlap before its newest row on, and behind that row once nothing else can come in."""
    show(world, opens(3))
    newest_ms = opens(3)[-1].occurred_ms
    world.read()
    read_again(world, OVERLAP_MS)
    read_again(world)
    assert since_asked(world) == [None, newest_ms - OVERLAP_MS, newest_ms + 1]


def test_rows_of_one_stamp_are_not_read_again_and_again(world: World) -> None:
    """A mailing may bear one stamp, and show row by row: what still comes in is found.

    https://github.com/dlt-hub/dlt/issues/4030: all rows of the newest stamp came again with each run.
    """
    rows = [activity(NOON_MS, link_id=str(n)) for n in range(20)]
    for shown in (8, 14, 20):
        show(world, rows[:shown])
        read_again(world)
    assert len(world.ids) == len(set(world.ids)) == 20
    read_again(world)
    before = reports_asked(world)
    for _ in range(5):
        assert read_again(world).counts.rows == 0
    assert reports_asked(world) == before + 5


def test_what_comes_in_late_is_found_a_day_after_the_send(world: World) -> None:
    """The report is read from its beginning then."""
    show(world, opens(5)[2:])
    world.read()
    read_again(world, 2 * HOUR_MS)
    show(world, opens(5))
    world.wait(DAY_MS)
    assert world.read().published == 2
    assert since_asked(world)[-1] is None


def test_quiet_reads_wait_longer_and_news_shorten_the_wait(world: World) -> None:
    """Up to four times as long, within twenty minutes in the first week."""
    world.wait(2 * DAY_MS)
    waits = []
    for rows in (3, 3, 3, 3, 4):
        show(world, opens(rows))
        world.read()
        due_ms = world.report().due_ms
        assert due_ms
        waits.append(due_ms - world.clock.now_ms())
        world.wait(TICK_MS)
    assert waits[0] == waits[-1]
    assert waits[0] <= waits[1] <= waits[2] == waits[3] == 20 * MINUTE_MS


def test_sends_an_hour_later_mean_that_the_campaign_was_sent_again(world: World) -> None:
    """All of its reports are watched anew: due now, and read from their beginning a day later."""
    world.watch("7-sends")
    assert world.reports.save(replace(world.report(), due_ms=NOON_MS + 9 * DAY_MS, deep_ms=NOON_MS, quiet=2))
    send = activity(NOON_MS, ActivityType.SENT)
    show(world, [send])
    world.read("7-sends")
    assert world.report().sent_ms == NOON_MS
    world.wait(5 * DAY_MS)
    later = activity(world.clock.now_ms() - MINUTE_MS, ActivityType.SENT, contact_id="2")
    show(world, [send, later])
    assert world.read("7-sends").published == 1
    now_ms = world.clock.now_ms()
    for report_id in ("7-sends", "7-opens"):
        report = world.report(report_id)
        assert (report.sent_ms, report.due_ms) == (later.occurred_ms, now_ms)
    assert (world.report().quiet, world.report().deep_ms) == (0, None)


def test_an_open_an_hour_later_is_no_send(world: World) -> None:
    """Only the sends say when a campaign was sent."""
    show(world, [activity(NOON_MS + 9 * HOUR_MS)])
    world.wait(DAY_MS)
    world.read()
    assert world.report().sent_ms == NOON_MS


# --- failures and pauses ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Refusal.GONE, RefusedError("the API refuses this resource: 403")])
def test_a_report_that_is_refused_pauses_nothing(world: World, fault: Refusal | RefusedError) -> None:
    """It is tried at ticks while its campaign is young, and daily after that."""
    world.source.fault_of["7-opens"] = fault
    report = world.read()
    assert report.outcome is Outcome.FAILED
    assert report.error
    assert world.report().due_ms == world.clock.now_ms() + TICK_MS
    assert not world.pauses.get().by_reason
    world.wait(YOUNG_MS)
    world.read()
    assert world.report().due_ms == world.clock.now_ms() + DAY_MS
    del world.source.fault_of["7-opens"]
    show(world, opens(3))
    world.wait(DAY_MS)
    assert world.read().published == 3
    assert (world.report().failures, world.report().refusals, world.report().last_error) == (0, 0, None)


@pytest.mark.parametrize("error", [RetryError("busy"), FatalError("no"), RefusedError("403")])
@pytest.mark.parametrize("call", [1, 3])
def test_a_failure_on_any_page_costs_no_repetition(world: World, error: Exception, call: int) -> None:
    """The next read goes on where it stopped."""
    show(world, opens(9))
    world.source.faults[call] = error
    report = world.read()
    assert (report.outcome, report.error) == (Outcome.FAILED, str(error))
    assert (world.report().failures, world.report().last_error) == (1, str(error))
    assert read_again(world).pages == 6 - call
    assert sorted(world.times) == times_of(opens(9))


@pytest.mark.parametrize("call", [1, 3])
def test_an_error_that_nobody_foresaw_counts_as_a_failure(world: World, call: int) -> None:
    """It is backed off from; otherwise each try would cost calls of the day, for ever."""
    show(world, opens(9))
    world.source.faults[call] = ValueError("never seen before")
    with pytest.raises(ValueError, match="never seen"):
        world.read()
    report = world.report()
    assert (report.failures, report.due_ms) == (1, world.clock.now_ms() + TICK_MS)
    assert read_again(world).outcome is Outcome.READ
    assert sorted(world.times) == times_of(opens(9))


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize(
    "wait", [WaitError(WaitReason.CREDENTIAL), WaitError(WaitReason.QUOTA, NOON_MS + 2 * HOUR_MS)]
)
def test_the_quota_and_the_credential_pause(world: World, wait: WaitError, call: int) -> None:
    """No failure: the report stays due and goes on where it stopped, and nothing is sent again."""
    show(world, opens(9))
    due_ms = world.report().due_ms
    world.source.faults[call] = wait
    assert world.read().outcome is Outcome.PAUSED
    assert world.pauses.get().by_reason
    assert drain_all(world.queue) == []
    report = world.report()
    assert (report.due_ms, report.failures, report.held_until_ms) == (due_ms, 0, None)
    for pause in world.pauses.get().by_reason:
        world.pauses.lift(pause.reason)
    assert read_again(world).pages == 6 - call
    assert sorted(world.times) == times_of(opens(9))


@pytest.mark.parametrize("reason", PauseReason)
def test_a_paused_system_reads_no_report(world: World, reason: PauseReason) -> None:
    """The message is completed without a call; the report stays as it was."""
    before = world.report()
    world.pauses.pause(Pause(reason, NOON_MS + 2 * HOUR_MS))
    assert world.read().outcome is Outcome.PAUSED
    assert (world.source.calls, world.report()) == (0, before)


def test_a_deadline_hands_the_rest_on(world: World) -> None:
    """With what is read so far; without a page there is nothing to hand on."""
    show(world, opens(9))
    before = world.report()
    assert world.read(for_ms=CALL_MS - 1).outcome is Outcome.UNFINISHED
    assert (drain_all(world.queue), world.report()) == ([], before)
    report = world.read(for_ms=3 * CALL_MS)
    assert (report.outcome, report.pages) == (Outcome.UNFINISHED, 3)
    (item,) = drain_all(world.queue)
    assert world.work_on(item).pages == 2
    assert sorted(world.times) == times_of(opens(9))


def test_a_clock_that_was_set_back_makes_no_message_stale(world: World) -> None:
    """A read in the future was no read. The contacts carry what came in before it."""
    show(world, opens(3))
    ahead_ms = world.clock.now_ms() + DAY_MS
    assert world.reports.save(
        replace(world.report(), read_ms=ahead_ms, through_ms=ahead_ms, deep_ms=ahead_ms)
    )
    now_ms = world.clock.now_ms()
    assert world.read().outcome is Outcome.READ
    assert since_asked(world) == [now_ms - OVERLAP_MS]
    assert sync_all(world) == 3


# --- the URL of a link ------------------------------------------------------------------------------


def click_without_url(number: int) -> Activity:
    row = activity(NOON_MS + number * SECOND_MS, ActivityType.CLICKED, contact_id="1", link_id="9")
    return replace(row, link=Link("9", None))


@pytest.mark.parametrize("is_contact_first", [True, False])
def test_a_click_has_one_url_whichever_side_tells_it(world: World, *, is_contact_first: bool) -> None:
    """Its contact's row lacks it and the campaign tells it: what was decided first holds for both sides."""
    rows = [click_without_url(number) for number in range(2)]
    world.source.activities["1"] = rows[:1]
    world.source.shown["7"] = rows
    world.source.resources["7"] = SentCampaign("7", NOON_MS - HOUR_MS, {"9": "https://example.org/9"})
    if is_contact_first:
        world.sync()
    world.watch("7-clicks")
    world.read("7-clicks")
    world.source.activities["1"] = rows
    world.contacts.make_due(world.clock.now_ms())
    world.sync()
    urls = {event["data"]["link"].get("url") for event in world.events}
    assert urls == {None if is_contact_first else "https://example.org/9"}
    assert len(world.ids) == len(set(world.ids)) == 2
