"""Sync one contact: publish first, then move the watermark, whatever happens in between."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import Refusal
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.schedule import is_held
from contact_activity.domain.times import iso, midnight_after
from contact_activity.domain.watermark import Mark, Progress, Reading, Span, Watermark
from contact_activity.domain.work import Outcome, WorkItem, WorkPolicy
from contact_activity.errors import (
    Cause,
    FatalError,
    PartlyAcceptedError,
    RetryError,
    StandstillError,
    WaitError,
    WaitReason,
    describe,
)
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.use_cases.read_history import MAX_PAGES
from contact_activity.use_cases.sync_contact import PAGES_BETWEEN_MARKERS, sync
from tests.support.items import of_contact
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.virtual_clock import VirtualClock
from tests.support.world import CALL_MS, TICK_MS, World, drain, with_contacts

PAST_MS = NOON_MS - 10 * DAY_MS
FIVE = [activity(PAST_MS + n) for n in range(5)]


@pytest.fixture
def world() -> World:
    """One registered contact, `1`, with five activities on three pages."""
    world = World()
    world.register("1", FIVE)
    return world


def times(count: int) -> list[str]:
    return [iso(of.occurred_ms) for of in FIVE[:count]]


# --- the way it should go -------------------------------------------------------------------------


def test_a_first_sync_publishes_the_whole_history(world: World) -> None:
    """Every page is read and published, and the contact is due again after a tick."""
    report = world.sync()
    assert (report.outcome, report.published, report.pages) == (Outcome.SYNCED, 5, 3)
    assert sorted(world.times) == times(5)
    contact = world.contact()
    assert (contact.synced_ms, contact.failures, contact.progress) == (NOON_MS, 0, None)
    assert contact.due_ms == world.clock.now_ms() + TICK_MS


def test_a_sync_in_which_nothing_is_new_publishes_nothing(world: World) -> None:
    """What is remembered is not published again, and what is added is published alone."""
    world.sync()
    world.wait(HOUR_MS)
    assert world.sync().published == 0
    world.source.activities["1"].append(activity(PAST_MS - DAY_MS, ActivityType.BOUNCED))
    world.wait(HOUR_MS)
    assert world.sync().published == 1
    assert len(world.ids) == len(set(world.ids)) == 6


def test_what_is_older_than_the_registration_is_marked(world: World) -> None:
    """`backfill` is true for the past of a contact, whenever it is met, and for nothing else."""
    world.source.activities["1"].append(activity(NOON_MS))
    world.sync()
    world.source.activities["1"] += [activity(PAST_MS - 1), activity(NOON_MS + 1)]
    world.wait(HOUR_MS)
    world.sync()
    told = {event["time"]: event["backfill"] for event in world.events}
    assert told == {
        **dict.fromkeys(times(5), True),
        iso(NOON_MS): False,
        iso(PAST_MS - 1): True,
        iso(NOON_MS + 1): False,
    }


def resync(world: World, from_ms: int) -> None:
    """Ask for it as the operator's command does."""
    contact = world.contact()
    watermark = contact.watermark
    if contact.progress:
        watermark = watermark.with_published(contact.progress)
    watermark = replace(watermark, resync_ms=from_ms)
    assert world.contacts.save(replace(contact, watermark=watermark, progress=None))


def test_a_resync_publishes_the_same_events_again_as_backfill(world: World) -> None:
    """Ids and data are those of the first time; what is new beside them is no backfill."""
    world.sync()
    first = {event["id"]: event["data"] for event in world.events}
    resync(world, PAST_MS + 2)
    world.wait(HOUR_MS)
    world.source.activities["1"].append(activity(NOON_MS))
    assert world.sync().published == 4
    again = world.events[5:]
    assert {event["time"]: event["backfill"] for event in again} == {
        **dict.fromkeys(times(5)[2:], True),
        iso(NOON_MS): False,
    }
    assert all(first[event["id"]] == event["data"] for event in again if event["backfill"])
    assert world.contact().watermark.resync_ms is None


def test_settings_that_change_during_a_resync_bring_nothing_a_third_time(world: World) -> None:
    """What the resync asked for is finished as it was begun."""
    world.sync()
    resync(world, PAST_MS)
    world.wait(HOUR_MS)
    world.sync(for_ms=2 * CALL_MS)
    world.reading = Reading("default", ("opens",))
    for _ in range(2):
        world.wait(HOUR_MS)
        world.sync()
    assert sorted(world.times) == sorted(times(5) * 2)


def test_a_worker_that_raced_a_resync_does_not_drop_it(world: World) -> None:
    """It was asked for while a walk was under way: that walk stores nothing, the next one serves it."""
    world.sync()
    world.wait(HOUR_MS)
    world.source.meanwhile[world.source.calls + 1] = lambda: resync(world, 1)
    assert world.sync().outcome is Outcome.RACE_LOST
    world.wait(HOUR_MS)
    assert world.sync().published == 5


def test_a_worker_that_lost_to_a_resync_holds_it_up_no_longer() -> None:
    """The resync's message comes right after it, and is served."""
    world = long_world(10_000)
    world.source.meanwhile[5] = lambda: resync(world, 1)
    assert world.sync().outcome is Outcome.RACE_LOST
    world.wait(1_000)
    assert [message.id for message in claimed(world)] == ["1"]
    assert world.sync().outcome is Outcome.SYNCED


def claimed(world: World) -> list[WorkItem]:
    world.tick(begin_listing=False)
    return drain(world.queue)


def test_the_more_contacts_the_later_each_is_due_again(world: World) -> None:
    """The cadence follows the number of contacts that the listing found."""
    world.listings.put(replace(world.listings.get(), contacts=90_000))
    world.sync()
    assert world.contact().due_ms == world.clock.now_ms() + 10 * DAY_MS


def test_the_reports_are_read_one_after_the_other() -> None:
    """Each chosen report is asked for by its name, from its first page to its last."""
    world = World(Reading("default", ("sends", "opens")))
    world.register(
        "1", [*FIVE, activity(PAST_MS, ActivityType.SENT), activity(PAST_MS, ActivityType.CLICKED)]
    )
    assert world.sync().published == 6
    assert [report for report, _, _ in world.source.asked] == ["sends", "opens", "opens", "opens"]


def test_reports_may_share_their_tokens() -> None:
    """A token that another report had is no repetition: nothing is restarted."""
    world = World(Reading("default", ("sends", "opens", "clicks")))
    types = (ActivityType.SENT, ActivityType.OPENED, ActivityType.CLICKED)
    world.register("1", [activity(PAST_MS + n, type_) for n in range(5) for type_ in types])
    report = world.sync()
    assert (report.published, report.restarts, report.pages) == (15, 0, 9)


def test_an_unreadable_row_is_told_and_blocks_nothing(world: World) -> None:
    """Its digest is in the report of the first sync only."""
    world.source.unreadable["1"] = ("0123456789abcdef",)
    report = world.sync()
    assert (report.unreadable, report.published) == (["0123456789abcdef"], 5)
    world.wait(HOUR_MS)
    assert world.sync().unreadable == []


# --- thousands of activities ----------------------------------------------------------------------

ADDED_TO_MARKERS = {"oldest", "again_from"}
LONG = Reading("default", overlap_h=1, remembered_min=10)


def long_world(activities: int, reading: Reading = LONG) -> World:
    """One contact, with an activity a minute; a walk of more than 10,000 cannot remember them all."""
    world = World(reading)
    world.source.page_rows = 500
    world.register("1", [activity(NOON_MS - n * 60_000) for n in range(activities)])
    return world


def sync_until_synced(world: World) -> None:
    outcome = None
    while outcome is not Outcome.SYNCED:
        world.wait(DAY_MS)
        outcome = world.sync().outcome


@pytest.mark.parametrize(("call", "taken"), [(22, None), (23, 250)])
def test_a_page_that_the_bus_did_not_take_outlives_an_expired_cursor(call: int, taken: int | None) -> None:
    """It lies among what a long walk let go, and is told from that when the walk begins anew."""
    world = long_world(12_000)

    def fail() -> None:
        world.bus.is_down, world.bus.takes_only = taken is None, taken

    world.source.meanwhile[call] = fail
    with pytest.raises(RetryError):
        world.sync()
    world.bus.is_down, world.bus.takes_only = False, None
    world.source.faults[call + 1] = Refusal.NEXT_EXPIRED
    sync_until_synced(world)
    assert len(world.ids) == len(set(world.ids)) == 12_000


@pytest.mark.parametrize(("calls", "reports"), [(22, ("all",)), (23, ("sends", "opens"))])
def test_a_resync_during_a_long_walk_repeats_nothing_before_its_date(
    calls: int, reports: tuple[str, ...]
) -> None:
    """Also of what that walk published and let go; and what it had not come to is not lost."""
    world = long_world(12_000, replace(LONG, reports=reports))
    world.sync(for_ms=calls * CALL_MS)
    from_ms = NOON_MS - HOUR_MS
    resync(world, from_ms)
    sync_until_synced(world)
    repeated = [time for time, times in Counter(world.times).items() if times > 1]
    assert len(set(world.ids)) == 12_000
    assert len(repeated) == 61
    assert min(repeated) == iso(from_ms)


def test_settings_that_change_during_a_walk_of_thousands_repeat_nothing() -> None:
    """What is remembered and what the walk published are more than can be stored together."""
    reading = Reading("default", remembered_min=5_000)
    world = long_world(5_000, reading)
    world.sync()
    world.wait(DAY_MS)
    world.source.activities["1"] += [activity(NOON_MS + 1 + n * 1_000) for n in range(9_500)]
    world.sync(for_ms=19 * CALL_MS)
    world.reading = replace(reading, reports=("opens",))
    sync_until_synced(world)
    assert len(world.ids) == len(set(world.ids)) == 14_500


def test_a_marker_of_the_version_before_outlives_an_expired_cursor() -> None:
    """It does not say how far the walk came; what that published and let go is not published again."""
    world = long_world(12_000)
    world.sync(for_ms=22 * CALL_MS)
    ((stored,),) = world.database.rows("SELECT progress FROM contact")
    before = {name: value for name, value in json.loads(str(stored)).items() if name not in ADDED_TO_MARKERS}
    world.database.execute("UPDATE contact SET progress = ?", (json.dumps(before),))
    world.source.faults[world.source.calls + 1] = Refusal.NEXT_EXPIRED
    sync_until_synced(world)
    assert len(world.ids) == len(set(world.ids)) == 12_000


@pytest.mark.parametrize("call", [3, 5])
def test_a_write_of_the_operator_during_a_walk_repeats_nothing(world: World, call: int) -> None:
    """The worker loses its race, and what it published is known all the same."""
    world.source.page_rows = 1
    world.source.meanwhile[call] = lambda: world.contacts.save(replace(world.contact(), failures=0))
    assert world.sync().outcome is Outcome.RACE_LOST
    world.wait(HOUR_MS)
    assert world.sync().outcome is Outcome.SYNCED
    assert sorted(world.times) == times(5)


class WrittenBehind(SqliteContacts):
    """The `Contacts` port; `meanwhile` is done once, behind the read of its number."""

    def __init__(self, database: Database, meanwhile: dict[int, Callable[[], object]]) -> None:
        super().__init__(database)
        self._reads = 0
        self._meanwhile = meanwhile

    def get(self, contact_id: str) -> Contact | None:
        contact = super().get(contact_id)
        self._reads += 1
        self._meanwhile.pop(self._reads, lambda: None)()
        return contact


def test_a_resync_that_is_asked_for_twice_during_a_walk_repeats_nothing_before_its_date(world: World) -> None:
    """The second time just after the worker read what the first one stored, to keep what it published."""
    world.source.page_rows = 1
    world.source.meanwhile[3] = lambda: resync(world, PAST_MS + 3)
    contacts = WrittenBehind(world.database, {2: lambda: resync(world, PAST_MS + 3)})
    ports = replace(world.work_ports(), store=with_contacts(world.store, contacts))
    policy = WorkPolicy(world.reading, EmailAddresses.PLAIN, TICK_MS)
    report = sync(of_contact("1", NOON_MS), ports, policy, deadline_ms=NOON_MS + HOUR_MS)
    assert report.outcome is Outcome.RACE_LOST
    world.wait(2 * HOUR_MS)
    assert world.sync().outcome is Outcome.SYNCED
    assert sorted(world.times) == sorted(times(5) + times(5)[3:])


def test_what_a_long_walk_had_not_come_to_is_not_given_up_with_what_it_published() -> None:
    """It lies between that and what is remembered, and its type is left out and read again."""
    world = long_world(300)
    world.sync()
    world.wait(DAY_MS)
    world.source.activities["1"] += [activity(NOON_MS + 1 + n * 1_000) for n in range(8_000)]
    world.sync(for_ms=10 * CALL_MS)
    for reports in (("clicks",), ("all",)):
        world.reading = replace(LONG, reports=reports)
        for _ in range(2):
            sync_until_synced(world)
    assert len(world.ids) == len(set(world.ids)) == 8_300


def test_a_standstill_of_the_bus_repeats_nothing(world: World) -> None:
    """What was published before it is stored, though no marker was due, and it is no failure."""
    stands = StandstillError("the events file takes no more", is_passing=False)
    world.source.faults[3] = stands
    with pytest.raises(StandstillError):
        world.sync()
    assert world.contact().failures == 0
    world.wait(HOUR_MS)
    assert world.sync().outcome is Outcome.SYNCED
    assert sorted(world.times) == times(5)


# --- without a call -------------------------------------------------------------------------------


def test_a_message_older_than_the_last_sync_makes_no_call(world: World) -> None:
    """A doubled message is completed at once."""
    world.sync()
    calls = world.source.calls
    assert world.sync(planned_ms=NOON_MS).outcome is Outcome.STALE
    assert world.source.calls == calls


def test_a_clock_that_was_set_back_makes_no_message_stale(world: World) -> None:
    """A sync in the future was no sync: otherwise nothing would be read until that time comes."""
    ahead = World(clock=VirtualClock(NOON_MS + DAY_MS), database=world.database)
    ahead.source.activities["1"] = FIVE
    ahead.sync()
    world.contacts.make_due(NOON_MS)
    assert world.sync().outcome is Outcome.SYNCED


def test_a_message_of_an_unknown_contact_is_completed(world: World) -> None:
    """Nothing is asked about it."""
    assert world.sync("unknown").outcome is Outcome.UNKNOWN_CONTACT
    assert world.source.calls == 0


@pytest.mark.parametrize("reason", PauseReason)
def test_a_paused_system_leaves_the_contact_due(world: World, reason: PauseReason) -> None:
    """The message is completed without a call, and the contact is as it was."""
    before = world.contact()
    world.pauses.pause(Pause(reason, NOON_MS + HOUR_MS))
    assert world.sync().outcome is Outcome.PAUSED
    assert (world.source.calls, world.contact()) == (0, before)


# --- failures -------------------------------------------------------------------------------------


def test_what_the_bus_does_not_take_is_published_by_the_next_sync(world: World) -> None:
    """The watermark does not move before the bus has every event."""
    world.bus.is_down = True
    with pytest.raises(RetryError):
        world.sync()
    assert world.contact().watermark == Watermark()
    world.bus.is_down = False
    assert world.sync().published == 5
    assert sorted(world.times) == times(5)


@pytest.mark.parametrize("taken", range(3))
def test_what_the_bus_took_of_a_page_is_not_published_again(world: World, taken: int) -> None:
    """Only the rest of the page is new to the next try."""
    world.source.page_rows = 3
    world.bus.takes_only = taken
    with pytest.raises(RetryError):
        world.sync()
    world.bus.takes_only = None
    world.sync()
    assert sorted(world.times) == times(5)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_error_that_nobody_foresaw_counts_as_a_failure(world: World, call: int) -> None:
    """It is backed off from; otherwise each try would cost calls of the day, for ever."""
    world.source.faults[call] = ValueError("never seen before")
    with pytest.raises(ValueError, match="never seen"):
        world.sync()
    assert world.contact().failures == 1
    assert world.contact().due_ms == world.clock.now_ms() + TICK_MS
    world.sync()
    assert sorted(world.times) == times(5)


@given(st.integers(1, 3), st.sampled_from([RetryError("no"), FatalError("no")]))
def test_a_failure_on_any_page_costs_at_most_a_repetition(call: int, error: Exception) -> None:
    """The next sync publishes what is missing, and only that: the published pages are remembered."""
    world = World()
    world.register("1", FIVE)
    world.source.faults[call] = error
    with pytest.raises(type(error)):
        world.sync()
    world.sync()
    assert sorted(world.times) == times(5)
    assert len(set(world.ids)) == 5


def test_failures_push_the_contact_back_until_it_succeeds(world: World) -> None:
    """The wait doubles from one tick to a day; a success starts afresh."""
    world.source.fault = RetryError("no")
    waits = []
    for _ in range(9):
        with pytest.raises(RetryError):
            world.sync()
        waits.append(world.contact().due_ms - world.clock.now_ms())
    assert waits == [min(TICK_MS << n, DAY_MS) for n in range(9)]
    world.source.fault = None
    world.sync()
    assert world.contact().failures == 0


def test_a_message_that_is_received_again_counts_as_one_failure(world: World) -> None:
    """Five receives within minutes put the contact off by a tick, and not by sixteen."""
    world.source.fault, planned_ms = RetryError("no"), world.clock.now_ms()
    for _ in range(5):
        with pytest.raises(RetryError):
            world.sync(planned_ms=planned_ms)
        world.wait(30_000)
    assert world.contact().failures == 1
    with pytest.raises(RetryError):
        world.sync()
    assert world.contact().failures == 2


@pytest.mark.parametrize("ahead_ms", [1, 400 * DAY_MS])
def test_a_failure_of_the_future_hides_no_other(world: World, ahead_ms: int) -> None:
    """A clock that was ahead when the contact failed, and is right again."""
    failed_ms = world.clock.now_ms() + HOUR_MS + ahead_ms
    assert world.contacts.save(replace(world.contact(), failures=1, failed_ms=failed_ms))
    world.source.fault = RetryError("no")
    with pytest.raises(RetryError):
        world.sync()
    assert world.contact().failures == 2


@pytest.mark.parametrize("end", ["synced", "gone"])
def test_a_contact_that_fails_says_why_and_since_when_until_it_is_read(world: World, end: str) -> None:
    """The last failure is the one that is kept; a finished sync or a 404 ends it."""
    for error in (FatalError("the API answered 405"), RetryError("no answer", Cause.TIMED_OUT)):
        world.wait(HOUR_MS)
        world.source.fault = error
        with pytest.raises(type(error)):
            world.sync()
        contact = world.contact()
        assert (contact.last_error, contact.failed_ms) == (describe(error), world.clock.now_ms())
    world.source.fault = None if end == "synced" else Refusal.GONE
    assert world.sync().outcome.value == end
    contact = world.contact()
    assert (contact.failures, contact.last_error, contact.failed_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("reason", "pause"),
    [(WaitReason.QUOTA, PauseReason.QUOTA), (WaitReason.CREDENTIAL, PauseReason.CREDENTIAL)],
)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_quota_and_credential_pause_everybody_and_are_no_failure(
    world: World, reason: WaitReason, pause: PauseReason, call: int
) -> None:
    """The message is completed, the contact stays due, and nothing is lost."""
    until_ms = midnight_after(NOON_MS) if reason is WaitReason.QUOTA else None
    world.source.faults[call] = WaitError(reason, until_ms)
    assert world.sync().outcome is Outcome.PAUSED
    assert world.pauses.get().by_reason == (Pause(pause, until_ms),)
    contact = world.contact()
    assert (contact.failures, contact.synced_ms) == (0, None)
    assert contact.due_ms <= NOON_MS
    assert drain(world.queue) == []
    world.pauses.lift(pause)
    world.sync()
    assert sorted(set(world.times)) == times(5)


def test_a_contact_with_more_pages_than_a_day_has_calls_is_finished_in_the_end(world: World) -> None:
    """What a day's quota allowed is not read and published again on the next day."""
    world.register("2", [activity(PAST_MS + n) for n in range(14)])
    for _ in range(4):
        world.source.faults = {world.source.calls + 4: WaitError(WaitReason.QUOTA, NOON_MS)}
        if world.sync("2").outcome is Outcome.SYNCED:
            break
    assert world.contact("2").synced_ms is not None
    assert len(world.ids) == len(set(world.ids)) == 14


# --- gone -----------------------------------------------------------------------------------------


def test_a_gone_contact_is_asked_again_soon_then_later_and_later(world: World) -> None:
    """404 is no failure: it is asked again after a tick, a day, 7, 14 and 28 days; a return starts afresh."""
    world.source.fault = Refusal.GONE
    waits_ms, newly = [], []
    for _ in range(6):
        report = world.sync()
        assert report.outcome is Outcome.GONE
        newly.append(report.is_newly_gone)
        waits_ms.append(world.contact().due_ms - world.clock.now_ms())
        world.wait(28 * DAY_MS)
    assert waits_ms == [TICK_MS, DAY_MS, 7 * DAY_MS, 14 * DAY_MS, 28 * DAY_MS, 28 * DAY_MS]
    assert newly == [True, *[False] * 5]
    world.source.fault = None
    assert world.sync().published == 5
    assert (world.contact().times_gone, world.contact().failures) == (0, 0)


def test_a_contact_that_is_gone_in_the_middle_of_a_walk_repeats_nothing(world: World) -> None:
    """What the walk published before stays known until the contact is back."""
    world.source.faults[2] = Refusal.GONE
    assert world.sync().outcome is Outcome.GONE
    world.wait(DAY_MS)
    assert world.sync().outcome is Outcome.SYNCED
    assert sorted(world.times) == times(5)


def test_a_gone_contact_that_a_listing_shows_changed_is_due_at_once(world: World) -> None:
    """It is asked again before its time."""
    world.source.fault = Refusal.GONE
    world.sync()
    world.contacts.register([ListedContact("1", "changed")], world.clock.now_ms())
    assert world.contact().due_ms == world.clock.now_ms()


def test_a_contact_that_goes_and_comes_back_repeats_nothing(world: World) -> None:
    """Its watermark stays while it is gone."""
    world.sync()
    world.wait(HOUR_MS)
    world.source.fault = Refusal.GONE
    world.sync()
    world.source.fault = None
    world.source.activities["1"].append(activity(PAST_MS + 99))
    world.wait(7 * DAY_MS)
    assert world.sync().published == 1


# --- two at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 2, 3])
def test_two_workers_at_once_publish_nothing_twice(world: World, call: int) -> None:
    """Who has something to publish first has the contact alone; what comes in meanwhile is not lost."""
    inner: list[Outcome] = []

    def overtake() -> None:
        inner.append(world.sync().outcome)
        world.source.activities["1"].append(activity(PAST_MS + 99))

    world.source.meanwhile[call] = overtake
    outer = world.sync().outcome
    assert (outer, inner) == {
        1: (Outcome.RACE_LOST, [Outcome.SYNCED]),
        2: (Outcome.SYNCED, [Outcome.HELD]),
        3: (Outcome.SYNCED, [Outcome.HELD]),
    }[call]
    assert sorted(set(world.times))[:5] == times(5)
    world.wait(HOUR_MS)
    world.sync()
    assert sorted(world.times) == [*times(5), iso(PAST_MS + 99)]


def test_a_worker_that_dies_with_a_contact_in_its_hands_holds_it_up_for_minutes(world: World) -> None:
    """Nobody touches the contact as long as it could still publish; then the walk goes on."""

    class KilledError(BaseException):
        """Nothing of the process runs any more."""

    world.source.faults[2] = KilledError()
    with pytest.raises(KilledError):
        world.sync(for_ms=75_000)
    calls = world.source.calls
    assert world.sync().outcome is Outcome.HELD
    assert world.source.calls == calls
    world.wait(3 * 60_000)
    assert world.sync().outcome is Outcome.SYNCED
    assert sorted(set(world.times)) == times(5)


def test_a_hold_of_a_clock_that_ran_ahead_holds_nobody_up(world: World) -> None:
    """It ends later than any worker can last."""
    for ahead_ms in (HOUR_MS, 400 * DAY_MS):
        held = replace(world.contact(), held_until_ms=NOON_MS + ahead_ms)
        assert world.contacts.save(held)
        assert world.sync(planned_ms=world.clock.now_ms()).outcome is Outcome.SYNCED
        world.wait(HOUR_MS)


def test_a_walk_that_goes_on_is_handed_out_to_nobody_else(world: World) -> None:
    """However long its message waits behind others: until then it is due, and in a message."""
    world.source.activities["1"] = [activity(PAST_MS + n) for n in range(2 * PAGES_BETWEEN_MARKERS * 6)]

    def claim() -> list[list[str]]:
        return list(world.contacts.claim(world.clock, tick_ms=TICK_MS, most=10))

    assert claim() == [["1"]]
    outcomes = []
    while Outcome.SYNCED not in outcomes:
        world.wait(TICK_MS)
        assert claim() == []
        outcomes.append(world.sync(planned_ms=NOON_MS, for_ms=20 * CALL_MS).outcome)
    assert outcomes == [Outcome.UNFINISHED, Outcome.UNFINISHED, Outcome.SYNCED]
    assert len(world.ids) == len(set(world.ids)) == 120


def test_a_row_that_appears_between_two_pages_is_published_by_the_next_sync(world: World) -> None:
    """Though it lies on a page that was read already."""
    world.source.meanwhile[3] = lambda: world.source.activities["1"].append(activity(NOON_MS))
    world.sync()
    world.wait(HOUR_MS)
    world.sync()
    assert sorted(world.times) == [*times(5), iso(NOON_MS)]


# --- out of time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("calls_at_a_time", [1, 2])
def test_out_of_time_the_walk_goes_on_in_a_next_message(world: World, calls_at_a_time: int) -> None:
    """It stores its progress and sends a message, and nothing is published twice."""
    outcomes = [world.sync(for_ms=calls_at_a_time * CALL_MS).outcome]
    while messages := drain(world.queue):
        (message,) = messages
        outcomes.append(world.sync(planned_ms=message.planned_ms, for_ms=calls_at_a_time * CALL_MS).outcome)
    assert outcomes == [*[Outcome.UNFINISHED] * (len(outcomes) - 1), Outcome.SYNCED]
    assert len(outcomes) == {1: 3, 2: 2}[calls_at_a_time]
    assert world.source.calls == 3
    assert sorted(world.times) == times(5)
    assert all(event["backfill"] for event in world.events)


def test_a_walk_that_was_interrupted_moves_no_watermark(world: World) -> None:
    """Until it is finished, nothing of it counts; and the contact is no failure."""
    world.sync(for_ms=CALL_MS)
    contact = world.contact()
    assert (contact.watermark, contact.synced_ms, contact.failures) == (Watermark(), None, 0)
    assert contact.progress


def test_progress_is_dropped_when_the_reports_change(world: World) -> None:
    """The marker belongs to other reports: the walk begins anew."""
    world.sync(for_ms=CALL_MS)
    world.reading = Reading("default", ("opens",))
    world.sync()
    assert world.source.asked[1:] == [("opens", None, None), ("opens", None, "2"), ("opens", None, "4")]
    assert world.contact().progress is None


@given(
    st.sampled_from([("opens",), ("opens", "sends"), ("all", "summary")]),
    st.sampled_from([None, PAST_MS + 2]),
    st.integers(1, 2),
)
def test_settings_that_change_during_a_walk_repeat_nothing(
    reports: tuple[str, ...], start_ms: int | None, calls: int
) -> None:
    """The walk is given up, and what it published stays known."""
    world = World()
    world.register("1", FIVE)
    world.sync(for_ms=calls * CALL_MS)
    world.reading = Reading("default", tuple(name for name in reports if name != "summary"), start_ms)
    world.sync()
    world.reading = Reading("default")
    world.wait(HOUR_MS)
    world.sync()
    assert sorted(world.times) == times(5)


@pytest.mark.parametrize("gives_up", ["reports", "resync"])
def test_a_type_that_a_given_up_walk_read_repeats_nothing_when_it_is_read_again(
    world: World, gives_up: str
) -> None:
    """Its first walk was never finished, and other types raise their floors meanwhile."""
    reading = Reading("default", remembered_min=1, overlap_h=1)
    clicks = [activity(PAST_MS + n * HOUR_MS, ActivityType.CLICKED, link_id="1") for n in range(3)]
    opens = [activity(PAST_MS + (20 + n) * HOUR_MS) for n in range(6)]
    world.reading, world.source.page_rows = reading, 9
    world.source.activities["1"] = list(clicks)
    world.source.links = {None: "9"}
    world.sync(for_ms=CALL_MS)
    world.source.links = {}
    if gives_up == "resync":
        resync(world, NOON_MS)
    world.source.activities["1"] += opens
    for reports in (("opens",), ("all",)):
        world.reading = replace(reading, reports=reports)
        world.wait(HOUR_MS)
        assert world.sync().outcome is Outcome.SYNCED
    assert sorted(world.times) == [iso(of.occurred_ms) for of in clicks + opens]


class FailsOnce(SqliteContacts):
    """The `Contacts` port; the first contact that is stored is not."""

    has_failed = False

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        if not self.has_failed:
            self.has_failed = True
            raise RetryError("a write to the table failed")
        return super().save(contact, queued_until_ms=queued_until_ms)


@pytest.mark.parametrize("reports", [("opens",), ("sends", "opens")])
def test_what_could_not_be_held_is_published_by_the_next_sync(world: World, reports: tuple[str, ...]) -> None:
    """The store fails just before the first publication: nothing of the page counts as published."""
    world.reading = Reading("default", reports)
    ports = replace(world.work_ports(), store=with_contacts(world.store, FailsOnce(world.database)))
    policy = WorkPolicy(world.reading, EmailAddresses.PLAIN, TICK_MS)
    with pytest.raises(RetryError):
        sync(of_contact("1", NOON_MS), ports, policy, deadline_ms=NOON_MS + HOUR_MS)
    assert world.times == []
    world.sync()
    assert sorted(world.times) == times(5)


def test_every_ten_pages_the_progress_is_stored(world: World) -> None:
    """After a crash the next sync begins at the last marker, not at the first page."""
    world.source.activities["1"] = [activity(PAST_MS + n) for n in range(26)]
    world.source.faults[13] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.sync(for_ms=75_000)
    world.wait(3 * 60_000)
    calls = world.source.calls
    world.sync()
    assert world.source.asked[calls] == ("all", None, str(2 * PAGES_BETWEEN_MARKERS))
    assert len(set(world.ids)) == 26


# --- cursors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [2, 3])
def test_an_expired_cursor_restarts_the_walk(world: World, call: int) -> None:
    """From page one; what was published in this walk is not published again."""
    world.source.faults[call] = Refusal.NEXT_EXPIRED
    report = world.sync()
    assert (report.outcome, report.restarts) == (Outcome.SYNCED, 1)
    assert sorted(world.times) == times(5)


def test_a_repeated_cursor_restarts_the_walk(world: World) -> None:
    """The pages behind it were not read, so the walk does not end there."""
    world.source.links["2"] = "2"
    world.source.meanwhile[3] = world.source.links.clear
    report = world.sync()
    assert (report.outcome, report.restarts) == (Outcome.SYNCED, 1)
    assert sorted(world.times) == times(5)


def test_a_cursor_that_expired_twice_is_not_stored(world: World) -> None:
    """It does not outlive an invocation: the try failed, and the next one begins at page one."""
    world.source.faults = {2: Refusal.NEXT_EXPIRED, 4: Refusal.NEXT_EXPIRED}
    with pytest.raises(RetryError):
        world.sync(for_ms=6 * CALL_MS)
    progress = world.contact().progress
    assert progress
    assert (progress.restarts, progress.next) == (0, None)
    published = len(world.ids)
    assert world.sync().published == 5 - published


def sync_again_and_again(world: World) -> None:
    """As five messages would, each with a minute."""
    for _ in range(5):
        world.sync(planned_ms=NOON_MS, for_ms=60_000)


@pytest.mark.parametrize("broken", ["every cursor is refused", "a page links to itself"])
def test_cursors_that_never_work_end_as_a_failure_of_the_contact(world: World, broken: str) -> None:
    """One contact that cannot be read does not use up the calls of all others."""
    if broken == "every cursor is refused":
        world.source.fault_of_next = Refusal.NEXT_EXPIRED
    else:
        world.source.links["2"] = "2"
    with pytest.raises((RetryError, FatalError)):
        sync_again_and_again(world)
    assert world.contact().due_ms > world.clock.now_ms()
    assert world.source.calls < 100


@pytest.mark.parametrize("round_pages", [1, 2, 7])
def test_pages_that_go_round_with_ever_new_cursors_cost_few_calls(world: World, round_pages: int) -> None:
    """They fail the contact long before the day is used up; empty pages do too."""
    for rows in (FIVE[:1], [], [activity(PAST_MS + n) for n in range(2 * round_pages)]):
        world = World()
        world.register("1", rows)
        world.source.round_pages = round_pages
        with pytest.raises(FatalError):
            world.sync(for_ms=10_000 * CALL_MS)
        assert world.source.calls < 200
        assert len(world.ids) == len(set(world.ids)) == len(rows)
        world.source.round_pages = None
        world.wait(HOUR_MS)
        assert world.sync().outcome is Outcome.SYNCED


def test_empty_pages_before_others_do_not_end_a_walk(world: World) -> None:
    """An API that filters after it has cut its pages shows them, each with a cursor."""
    world.register("2", FIVE)
    world.source.empty_pages = 20
    assert world.sync("2", for_ms=100 * CALL_MS).outcome is Outcome.SYNCED
    assert sorted(world.times) == times(5)


def test_a_contact_whose_cursors_misbehaved_for_long_is_readable_again(world: World) -> None:
    """What bounds a walk counts the pages of one pass, and is forgotten with it."""
    world.register("2", FIVE)
    stored = Progress(NOON_MS, world.reading.fingerprint, "all", "4", b"", b"", (), None, 0, MAX_PAGES)
    assert world.contacts.save(replace(world.contact("2"), progress=stored))
    world.source.links = {"4": "2"}
    with pytest.raises(FatalError):
        world.sync("2")
    world.source.links = {}
    world.wait(HOUR_MS)
    assert world.sync("2").outcome is Outcome.SYNCED
    assert sorted(world.times) == times(5)


def test_links_that_go_round_are_not_followed_for_ever(world: World) -> None:
    """Two pages that link to each other end as a failure too."""
    world.source.links = {"2": "4", "4": "2"}
    with pytest.raises((RetryError, FatalError)):
        sync_again_and_again(world)


# --- what the source is asked ---------------------------------------------------------------------


def test_the_whole_history_is_asked_for_until_something_is_forgotten(world: World) -> None:
    """Then `created_since` is the floor."""
    world.reading = Reading("default", remembered_min=2, overlap_h=1)
    world.source.activities["1"] = [activity(PAST_MS + hours * HOUR_MS) for hours in range(6)]
    world.sync()
    world.wait(HOUR_MS)
    calls = world.source.calls
    assert world.sync().published == 0
    assert {since_ms for _, since_ms, _ in world.source.asked[:calls]} == {None}
    assert {since_ms for _, since_ms, _ in world.source.asked[calls:]} == {PAST_MS + 3 * HOUR_MS + 1}


# --- what an operator sees of it ------------------------------------------------------------------


def test_the_tick_that_planned_a_contact_is_named_in_its_events(world: World) -> None:
    """The message's correlation id is context of every event; without one there is no attribute."""
    world.sync(correlation_id="tick-1")
    assert [event["correlationid"] for event in world.events] == ["tick-1"] * 5
    world.register("2", [activity(PAST_MS)])
    world.sync("2")
    assert "correlationid" not in world.events[-1]


def test_a_walk_that_goes_on_keeps_its_correlation_id(world: World) -> None:
    """The next message of an unfinished walk names the tick that the first one named."""
    assert world.sync(correlation_id="tick-1", for_ms=2 * CALL_MS).outcome is Outcome.UNFINISHED
    assert [message.correlation_id for message in drain(world.queue)] == ["tick-1"]


def test_what_is_published_is_counted_by_day_and_type(world: World) -> None:
    """A sync adds its events to the count of the day in which it ends, a failing one too."""
    world.sync()
    world.source.activities["1"].append(activity(PAST_MS - DAY_MS, ActivityType.BOUNCED))
    world.wait(DAY_MS // 1_000 * 1_000)
    world.source.faults = {world.source.calls + 2: RetryError("cut")}
    with pytest.raises(RetryError):
        world.sync()
    world.sync()
    today = NOON_MS // DAY_MS
    opened, bounced = FIVE[0].type.detail_type, ActivityType.BOUNCED.detail_type
    assert world.tally.on(today).events == {opened: 5}
    assert world.tally.on(today + 1).events == {bounced: 1}


def test_a_sync_that_publishes_nothing_counts_nothing(world: World) -> None:
    """A sweep without news writes no count."""
    world.source.activities["1"] = []
    world.sync()
    assert world.tally.on(NOON_MS // DAY_MS).events == {}


def test_how_fresh_new_activity_is_is_counted_by_bucket(world: World) -> None:
    """What happened since the registration is, from then to when it is met; backfill is not."""
    assert not world.sync().ages_s
    world.wait(2 * HOUR_MS)
    now_ms = world.clock.now_ms()
    world.source.page_rows = 9
    world.source.activities["1"] += [activity(now_ms - age_ms) for age_ms in (0, 50_000, HOUR_MS, -DAY_MS)]
    world.source.activities["1"].append(activity(PAST_MS - DAY_MS, ActivityType.BOUNCED))
    assert sorted(world.sync().ages_s) == [0, 0, 50, 3_600]
    assert world.tally.on(NOON_MS // DAY_MS).ages == {60: 3, 3_600: 1}


def test_only_what_the_bus_took_is_counted_as_fresh(world: World) -> None:
    """The rest is as old as it is when it is published."""
    world.source.activities["1"] = []
    world.sync()
    world.wait(HOUR_MS)
    now_ms = world.clock.now_ms()
    world.source.activities["1"] = [activity(now_ms - 30_000), activity(now_ms - 10_000)]
    world.bus.takes_only = 1
    with pytest.raises(PartlyAcceptedError):
        world.sync()
    world.bus.takes_only = None
    world.wait(HOUR_MS)
    (age_s,) = world.sync().ages_s
    assert age_s in (3_630, 3_610)
    assert world.tally.on(NOON_MS // DAY_MS).ages == {60: 1, 7_200: 1}


def test_what_a_resync_brings_again_is_not_late(world: World) -> None:
    """It was published when it was new."""
    world.wait(HOUR_MS)
    world.source.activities["1"] = [activity(world.clock.now_ms())]
    world.sync()
    contact = world.contact()
    world.contacts.save(replace(contact, watermark=replace(contact.watermark, resync_ms=PAST_MS)))
    world.wait(HOUR_MS)
    report = world.sync()
    assert (report.published, len(report.ages_s)) == (1, 0)


def test_a_worker_keeps_its_contact_while_it_stores_how_far_it_is(world: World) -> None:
    """Between two pages of a long walk, too, no other worker publishes the same contact's activity."""
    world.source.activities["1"] = [activity(PAST_MS - n) for n in range(2 * PAGES_BETWEEN_MARKERS + 2)]
    held: list[bool] = []
    world.source.meanwhile[PAGES_BETWEEN_MARKERS + 1] = lambda: held.append(
        is_held(world.contact().held_until_ms, world.clock.now_ms())
    )
    assert world.sync().outcome is Outcome.SYNCED
    assert held == [True]


def test_what_was_known_already_is_counted_once(world: World) -> None:
    """Each row of a second reading is one that is known."""
    world.sync()
    world.wait(HOUR_MS)
    counts = world.sync().counts
    assert (counts.rows, counts.known) == (5, 5)


def test_a_mark_that_a_clock_ahead_wrote_is_set_right_before_the_contact_is_read(world: World) -> None:
    """Otherwise nothing would be asked for until that time has come."""
    contact = world.contact()
    ahead = Mark(ActivityType.OPENED, NOON_MS + DAY_MS, (Span(None, NOON_MS + DAY_MS),))
    right = replace(contact, watermark=Watermark((ahead,))).set_right(NOON_MS)
    (mark,) = right.watermark.marks
    assert (mark.through_ms, mark.floor_ms) == (NOON_MS, NOON_MS)
