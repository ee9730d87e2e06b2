"""Trust in campaigns' reports is earned, type by type, by comparing them with the contacts' own rows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from contact_activity.domain.activity import Activity, ActivityType, Link
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.listing import Listing
from contact_activity.domain.times import iso
from contact_activity.domain.trust import (
    BOTH_SHOW_MS,
    EXACT_ENOUGH,
    MAX_ROWS_EACH,
    MAX_SAMPLED,
    MAX_SAMPLED_DAILY,
    MAX_SHIFTED,
    SAMPLE_EVERY_MS,
    Match,
    Mode,
)
from contact_activity.domain.work import Outcome, WorkKind
from contact_activity.operations.forget import forget
from contact_activity.operations.system import System
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.world import TICK_MS, World, drain_all

OPENED, CLICKED = ActivityType.OPENED, ActivityType.CLICKED
SECOND_MS = 1_000


def account(contacts: int, opens_each: int = 1) -> World:
    """Contacts that opened campaign 7, as both sides show it; nobody has read anything yet."""
    world = World(types=(OPENED,))
    world.source.page_rows = 500
    world.listings.put(Listing(full_ms=NOON_MS, mark_ms=NOON_MS, deep_ms=NOON_MS, contacts=contacts))
    rows = [
        activity(NOON_MS + n * SECOND_MS + each, contact_id=str(n))
        for n in range(contacts)
        for each in range(opens_each)
    ]
    for n in range(contacts):
        world.register(str(n))
    show(world, rows)
    world.watch()
    world.wait(HOUR_MS)
    return world


def show(world: World, rows: Sequence[Activity]) -> None:
    """Show rows in the report, and each in its contact's own."""
    world.source.shown["7"] = list(rows)
    for row in rows:
        world.source.activities[row.contact_id] = [of for of in rows if of.contact_id == row.contact_id]


def shift(rows: Sequence[Activity], by_ms: int) -> list[Activity]:
    return [replace(row, occurred_ms=row.occurred_ms + by_ms) for row in rows]


def sampled(world: World) -> list[str]:
    return sorted(world.trust_of(OPENED).pending)


def sync_sampled(world: World) -> None:
    """Work on the messages of the contacts of the sample, which a tick hands out."""
    world.tick(begin_listing=False)
    for item in drain_all(world.queue):
        if item.is_sampled:
            world.work_on(item)


def tick(world: World, wait_ms: int = TICK_MS) -> None:
    """A tick, and all that it hands out."""
    world.wait(wait_ms)
    world.tick(begin_listing=False)
    for item in drain_all(world.queue):
        world.work_on(item)


def mode(world: World) -> Mode:
    return world.trust_of(OPENED).mode


# --- on probation -----------------------------------------------------------------------------------


def test_on_probation_a_report_publishes_nothing(world_of_four: World) -> None:
    """It takes a sample, and the contacts of that are urgent."""
    world = world_of_four
    report = world.read()
    assert (report.outcome, report.published) == (Outcome.SAMPLED, 0)
    assert world.events == []
    assert sampled(world) == ["0", "1", "2", "3"]
    assert sorted(world.reports.take_urgent()) == ["0", "1", "2", "3"]
    assert all(not world.contact(str(n)).watermark.reported for n in range(4))
    stored = world.report()
    assert stored.read_ms is None
    assert stored.due_ms
    assert stored.due_ms > world.clock.now_ms()


@pytest.fixture
def world_of_four() -> World:
    return account(4)


def test_a_sample_is_of_fifty_contacts_and_three_rows_of_each() -> None:
    """One a day."""
    world = account(MAX_SAMPLED + 10, opens_each=MAX_ROWS_EACH + 1)
    world.read()
    first = world.trust_of(OPENED)
    assert len(first.pending) == MAX_SAMPLED
    assert {len(rows) for rows in first.pending.values()} == {MAX_ROWS_EACH}
    world.wait(SAMPLE_EVERY_MS - HOUR_MS)
    world.read()
    assert world.trust_of(OPENED).sampled_ms == first.sampled_ms
    world.wait(HOUR_MS)
    world.read()
    assert world.trust_of(OPENED).sampled_ms == world.clock.now_ms()


def test_a_sample_holds_no_more_than_ids_and_digests(world_of_four: World) -> None:
    """No address."""
    rows = [replace(row, email_address="ada@example.org") for row in world_of_four.source.shown["7"]]
    world_of_four.source.shown["7"] = rows
    world_of_four.read()
    ((stored,),) = world_of_four.database.rows("SELECT value FROM state WHERE name = 'trust'")
    assert "ada" not in str(stored)


def test_who_cannot_be_compared_is_not_sampled(world_of_four: World) -> None:
    """Contacts that fail, are gone or unknown, and rows that are never published."""
    world = world_of_four
    assert world.contacts.save(replace(world.contact("0"), failures=1))
    assert world.contacts.save(replace(world.contact("1"), times_gone=1))
    world.contacts.erase("2", NOON_MS)
    assert world.contacts.save(replace(world.contact("3"), held_until_ms=world.clock.now_ms() + HOUR_MS // 6))
    world.read()
    assert sampled(world) == []
    assert world.trust_of(OPENED).sampled_ms is None


def test_an_empty_report_leaves_the_sample_to_another(world_of_four: World) -> None:
    """No sample is taken, and the report waits like one without news."""
    world_of_four.source.shown["7"] = []
    assert world_of_four.read().outcome is Outcome.SAMPLED
    assert world_of_four.trust_of(OPENED).is_sample_due(world_of_four.clock.now_ms())


def test_a_sample_that_is_exact_lets_the_type_publish(world_of_four: World) -> None:
    """Each report is read from its beginning then, and publishes what contacts did not."""
    world = world_of_four
    world.register("late", [activity(NOON_MS + 60 * SECOND_MS, contact_id="late")])
    world.contacts.erase("late", NOON_MS)
    tick(world)
    assert mode(world) is Mode.PROBATION
    for n in range(3):
        tick(world)
        assert mode(world) is Mode.PUBLISH, n
    since = [since_ms for resource, since_ms, _ in world.source.asked if resource == "7-opens"]
    assert since[:2] == [None, None]
    assert since[2] is not None
    assert len(world.ids) == len(set(world.ids)) == 4
    new = activity(world.clock.now_ms(), contact_id="1")
    world.source.shown["7"].append(new)
    world.wait(TICK_MS)
    assert world.read().published == 1
    assert world.times[-1] == iso(new.occurred_ms)


def test_what_was_read_before_a_type_was_trusted_is_read_again(world_of_four: World) -> None:
    """From its beginning: nothing of it was published."""
    world = world_of_four
    world.trust(OPENED)
    world.read()
    world.trust(OPENED, mode=Mode.PROBATION)
    show(world, [*world.source.shown["7"], activity(NOON_MS - DAY_MS, contact_id="1")])
    world.wait(TICK_MS)
    world.trust(OPENED)
    assert world.read().published == 1


def test_twenty_exact_are_enough() -> None:
    """Though the rest of the sample is not compared yet."""
    world = account(EXACT_ENOUGH + 5)
    world.read()
    world.tick(begin_listing=False)
    items = [item for item in drain_all(world.queue) if item.is_sampled]
    for number, item in enumerate(items, 1):
        assert mode(world) is (Mode.PROBATION if number <= EXACT_ENOUGH else Mode.PUBLISH)
        world.work_on(item)


@pytest.mark.parametrize("found", [Match.UNEQUAL, Match.SHIFTED])
def test_one_row_that_differs_keeps_a_type_on_probation(world_of_four: World, found: Match) -> None:
    """A day later another sample decides."""
    world = world_of_four
    (own,) = world.source.activities["1"]
    if found is Match.UNEQUAL:
        other = replace(own, email_address="ada@example.org")
    else:
        (other,) = shift([own], 5 * HOUR_MS)
    world.source.activities["1"] = [other]
    world.read()
    sync_sampled(world)
    trust = world.trust_of(OPENED)
    assert (trust.mode, dict(trust.found)) == (Mode.PROBATION, {Match.EXACT: 3, found: 1})
    assert world.read().published == 0
    for _ in range(3):
        tick(world)
    assert mode(world) is Mode.PROBATION
    world.source.activities["1"] = [own]
    tick(world, SAMPLE_EVERY_MS)
    tick(world)
    assert mode(world) is Mode.PUBLISH


def test_a_row_that_a_contact_shows_later_is_asked_for_again_after_an_hour(world_of_four: World) -> None:
    """Until then nobody says that it is absent."""
    world = world_of_four
    (own,) = world.source.activities["1"]
    world.source.activities["1"] = []
    world.read()
    sync_sampled(world)
    assert (mode(world), sampled(world)) == (Mode.PROBATION, ["1"])
    world.source.activities["1"] = [own]
    world.wait(BOTH_SHOW_MS // 2)
    sync_sampled(world)
    assert sampled(world) == ["1"]
    world.wait(BOTH_SHOW_MS // 2)
    sync_sampled(world)
    assert mode(world) is Mode.PUBLISH


def test_a_row_that_a_contact_does_not_show_after_an_hour_is_absent(world_of_four: World) -> None:
    """And the type is not trusted by this sample."""
    world = world_of_four
    world.source.activities["1"] = []
    world.read()
    sync_sampled(world)
    world.wait(BOTH_SHOW_MS)
    sync_sampled(world)
    trust = world.trust_of(OPENED)
    assert (trust.mode, trust.pending) == (Mode.PROBATION, {})
    assert dict(trust.found) == {Match.EXACT: 3, Match.ABSENT: 1}


def test_a_row_beside_its_like_is_exact(world_of_four: World) -> None:
    """People open twice, some at whole hours."""
    world = world_of_four
    (own,) = world.source.activities["1"]
    world.source.activities["1"] = [own, *shift([own], HOUR_MS), *shift([own], -HOUR_MS)]
    world.read()
    sync_sampled(world)
    assert mode(world) is Mode.PUBLISH


def test_a_walk_that_is_not_whole_compares_nothing(world_of_four: World) -> None:
    """Its contact is asked again later."""
    world = world_of_four
    world.source.page_rows = 1
    show(world, [*world.source.shown["7"], activity(NOON_MS - 1, contact_id="0")])
    world.source.page_rows = 500
    world.read()
    world.source.page_rows = 1
    world.tick(begin_listing=False)
    items = [item for item in drain_all(world.queue) if item.is_sampled and item.id == "0"]
    assert world.work_on(items[0], for_ms=400).outcome is Outcome.UNFINISHED
    (rest,) = [item for item in drain_all(world.queue) if item.kind is WorkKind.CONTACT]
    world.wait(BOTH_SHOW_MS)
    assert world.work_on(rest).outcome is Outcome.SYNCED
    assert "0" in sampled(world)
    assert Match.ABSENT not in world.trust_of(OPENED).found


def test_clicks_are_compared_with_the_url_of_their_campaign(world_of_four: World) -> None:
    """Which the contact's own row has by itself."""
    world = world_of_four
    world.watch("7-clicks")
    own = replace(activity(NOON_MS, CLICKED), link=Link("a", "https://a.example"))
    world.source.activities["1"].append(own)
    world.source.shown["7"].append(replace(own, link=Link("a", None)))
    world.source.resources["7"] = SentCampaign("7", NOON_MS, {"a": "https://a.example"})
    world.types = (OPENED, CLICKED)
    world.read("7-clicks")
    sync_sampled(world)
    assert world.trust_of(CLICKED).mode is Mode.PUBLISH
    assert mode(world) is Mode.PROBATION


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_what_is_sampled_of_a_contact_is_forgotten_with_it(world_of_four: World, *, is_dry_run: bool) -> None:
    """The rest of the sample stays, and decides."""
    world = world_of_four
    world.read()
    assert forget(System("simulated", world.store), "1", NOON_MS, is_dry_run=is_dry_run).is_known
    assert sampled(world) == (["0", "1", "2", "3"] if is_dry_run else ["0", "2", "3"])
    sync_sampled(world)
    assert mode(world) is Mode.PUBLISH


# --- trusted ----------------------------------------------------------------------------------------


def trusted(contacts: int) -> World:
    """An account whose opens are trusted since a day."""
    world = account(contacts)
    world.trust(OPENED)
    world.wait(SAMPLE_EVERY_MS)
    return world


def test_a_type_that_is_trusted_is_sampled_daily() -> None:
    """Twenty contacts; what the report publishes is not published again by comparing."""
    world = trusted(MAX_SAMPLED_DAILY + 5)
    assert world.read().published == MAX_SAMPLED_DAILY + 5
    assert len(sampled(world)) == MAX_SAMPLED_DAILY
    sync_sampled(world)
    trust = world.trust_of(OPENED)
    assert (trust.mode, dict(trust.found)) == (Mode.PUBLISH, {Match.EXACT: MAX_SAMPLED_DAILY})
    assert len(world.ids) == MAX_SAMPLED_DAILY + 5
    world.wait(TICK_MS)
    world.read()
    assert world.trust_of(OPENED) == trust


def test_a_report_without_rows_takes_no_sample() -> None:
    """The next one does."""
    world = trusted(3)
    rows, world.source.shown["7"] = world.source.shown["7"], []
    world.read()
    assert world.trust_of(OPENED).is_sample_due(world.clock.now_ms())
    world.source.shown["7"] = [*rows, activity(world.clock.now_ms(), contact_id="1")]
    world.wait(TICK_MS)
    world.read()
    assert "1" in sampled(world)


@pytest.mark.parametrize("found", [Match.UNEQUAL, Match.SHIFTED])
def test_rows_that_differ_switch_a_trusted_type_off(found: Match) -> None:
    """One whose data differ, two at another hour. The contacts carry it then, and know what was published."""
    world = trusted(4)
    (own,) = world.source.activities["1"]
    if found is Match.UNEQUAL:
        other = replace(own, email_address="ada@example.org")
    else:
        (other,) = shift([own], 5 * HOUR_MS)
        world.source.activities["2"] = shift(world.source.activities["2"], 5 * HOUR_MS)
    world.source.activities["1"] = [other]
    assert world.read().published == 4
    sync_sampled(world)
    assert mode(world) is Mode.OFF
    world.wait(TICK_MS)
    assert world.read().outcome is Outcome.STALE
    assert world.tick(begin_listing=False).report_types_off == ("opens",)
    for n in range(4):
        show(world, [*world.source.shown["7"], activity(NOON_MS + 90 * SECOND_MS + n, contact_id=str(n))])
    world.source.activities["1"][0] = other
    drain_all(world.queue)
    world.wait(DAY_MS)
    assert sum(world.sync(str(n)).published for n in range(4)) == 4
    assert len(world.ids) == len(set(world.ids)) == 8


def test_a_row_that_is_absent_switches_no_trusted_type_off() -> None:
    """A contact's own report may be late by more than an hour."""
    world = trusted(4)
    world.source.activities["1"] = []
    world.read()
    world.wait(BOTH_SHOW_MS)
    sync_sampled(world)
    assert dict(world.trust_of(OPENED).found) == {Match.EXACT: 3, Match.ABSENT: 1}
    assert mode(world) is Mode.PUBLISH


def test_ten_shifted_rows_in_a_row_switch_a_type_off() -> None:
    """A report whose stamps are hours off from then on: none of its rows is published twice."""
    world = account(MAX_SHIFTED + 2)
    world.trust(OPENED)
    for n in range(MAX_SHIFTED + 2):
        world.sync(str(n))
    world.source.shown["7"] = shift(world.source.shown["7"], 5 * HOUR_MS)
    report = world.read()
    assert (report.published, report.rows_shifted) == (0, MAX_SHIFTED + 2)
    assert mode(world) is Mode.OFF
    assert len(world.ids) == len(set(world.ids)) == MAX_SHIFTED + 2


def test_walks_tell_of_shifted_rows_too() -> None:
    """The report published first; the contacts' rows are hours off, remembered and not published."""
    world = account(MAX_SHIFTED + 2)
    world.trust(OPENED)
    assert world.read().published == MAX_SHIFTED + 2
    for n in range(MAX_SHIFTED + 2):
        world.source.activities[str(n)] = shift(world.source.activities[str(n)], 5 * HOUR_MS)
        report = world.sync(str(n))
        assert (report.published, report.rows_shifted) == (0, 1)
        assert mode(world) is (Mode.PUBLISH if n + 1 < MAX_SHIFTED else Mode.OFF)
    world.wait(DAY_MS)
    assert sum(world.sync(str(n)).published for n in range(MAX_SHIFTED + 2)) == 0
