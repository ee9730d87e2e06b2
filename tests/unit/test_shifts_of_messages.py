"""Work on a message in its shift only: reports first, then contacts, and never both at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.listing import Listing
from contact_activity.domain.shifts import (
    EARLY_END_MS,
    EARLY_MS,
    MAX_REPORTS_SHIFT_MS,
    MIN_SHIFT_MS,
    NO_CALL_MS,
    NO_PUBLICATION_MS,
    Shifts,
    Window,
)
from contact_activity.domain.summary import SummaryCounts
from contact_activity.domain.work import Outcome, WorkItem, WorkKind
from contact_activity.errors import RetryError
from contact_activity.ports import Bus
from contact_activity.use_cases.in_shift import MAX_EARLY_MS
from contact_activity.use_cases.turns import StoredShifts
from contact_activity.use_cases.work_on import work_on
from tests.support.items import of_campaign, of_contact, of_report
from tests.support.rows import HOUR_MS, NOON_MS, activity
from tests.support.world import CALL_MS, TICK_MS, World, drain_all

SECOND_MS, MINUTE_MS = 1_000, 60_000
OPENED = ActivityType.OPENED


@pytest.fixture
def world() -> World:
    """Contact 1 with five activities on three pages, which the report of campaign 7 shows too."""
    world = World(types=(OPENED,), has_shifts=True)
    rows = [activity(NOON_MS - HOUR_MS + n) for n in range(5)]
    world.register("1", rows)
    world.source.shown["7"] = rows
    world.source.listed = [ListedContact("1", "")]
    world.listings.put(Listing(full_ms=NOON_MS, mark_ms=NOON_MS, deep_ms=NOON_MS, contacts=1))
    world.trust(OPENED)
    world.watch()
    return world


def item(kind: WorkKind, from_ms: int, until_ms: int, planned_ms: int = NOON_MS) -> WorkItem:
    """A message with a window, in milliseconds from noon on."""
    made = of_contact("1", planned_ms) if kind is WorkKind.CONTACT else of_report("7-opens", planned_ms)
    return replace(made, window=Window(NOON_MS + from_ms, NOON_MS + until_ms))


def claim(world: World) -> None:
    """Have the contact in a message, as a tick does."""
    assert list(world.contacts.claim(world.clock, tick_ms=TICK_MS, most=1)) == [["1"]]


def is_free(world: World) -> bool:
    (outline,) = world.contacts.outlines()
    return outline.queued_until_ms == 0


KINDS = [WorkKind.CONTACT, WorkKind.REPORT]
DONE = {WorkKind.CONTACT: Outcome.SYNCED, WorkKind.REPORT: Outcome.READ}


# --- before and after its window --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_ms", [1, EARLY_MS])
def test_a_message_that_is_a_little_early_is_waited_for(world: World, kind: WorkKind, early_ms: int) -> None:
    """No call is made before its window begins."""
    assert world.work_on(item(kind, early_ms, HOUR_MS)).outcome is DONE[kind]
    assert world.clock.slept_s[0] == early_ms / SECOND_MS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_ms", [EARLY_MS + 1, MAX_EARLY_MS])
def test_a_message_that_is_early_is_sent_again(world: World, kind: WorkKind, early_ms: int) -> None:
    """As it was; it costs no call, and its contact stays in a message."""
    claim(world)
    message = item(kind, early_ms, early_ms + HOUR_MS)
    assert world.work_on(message).outcome is Outcome.EARLY
    assert drain_all(world.queue) == [message]
    assert (world.source.calls, world.clock.now_ms(), is_free(world)) == (0, NOON_MS, False)


def test_an_early_message_that_the_queue_does_not_take_comes_again(world: World) -> None:
    """It has failed, so that it is received once more."""
    world.queue.rejected = {"1"}
    with pytest.raises(RetryError):
        world.work_on(item(WorkKind.CONTACT, HOUR_MS // 6, HOUR_MS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("from_ms", "until_ms"),
    [
        (-HOUR_MS, -1),
        (-HOUR_MS, 0),
        (-HOUR_MS, NO_CALL_MS),
        (EARLY_MS, NO_CALL_MS),
        (MAX_EARLY_MS + 1, MAX_EARLY_MS + HOUR_MS),
    ],
)
def test_a_message_whose_window_is_over_gives_its_contact_free(
    world: World, kind: WorkKind, from_ms: int, until_ms: int
) -> None:
    """Also one of a clock that ran ahead. It costs no call, and the next tick hands it out."""
    claim(world)
    report = world.report()
    assert world.work_on(item(kind, from_ms, until_ms)).outcome is Outcome.LATE
    assert (world.source.calls, drain_all(world.queue)) == (0, [])
    assert is_free(world) == (kind is WorkKind.CONTACT)
    assert world.report() == report


def test_a_contact_that_failed_in_its_shift_becomes_a_dead_letter(world: World) -> None:
    """Its message, received again when the shift is over, fails without a call; a later message does not."""
    message = item(WorkKind.CONTACT, 0, 4 * MINUTE_MS)
    world.source.fault = RetryError("the API failed 9 times")
    with pytest.raises(RetryError):
        world.work_on(message)
    calls = world.source.calls
    world.wait(4 * MINUTE_MS)
    for _ in range(4):
        with pytest.raises(RetryError, match="the API failed 9 times"):
            world.work_on(message)
        world.wait(30 * SECOND_MS)
    assert (world.source.calls, world.contact().failures) == (calls, 1)
    later = replace(message, planned_ms=world.clock.now_ms())
    assert world.work_on(later).outcome is Outcome.LATE


def test_a_late_message_of_an_unknown_contact_is_completed(world: World) -> None:
    """It may have been erased."""
    world.contacts.erase("1", NOON_MS)
    assert world.work_on(item(WorkKind.CONTACT, -HOUR_MS, 0)).outcome is Outcome.LATE


# --- without a window -------------------------------------------------------------------------------


def test_a_message_of_the_version_before_is_worked_on_in_the_shift_of_contacts(world: World) -> None:
    """As the stored shifts say; at any other time its contact is given free, or it is sent again."""
    message = of_contact("1", NOON_MS)
    claim(world)
    assert world.work_on(message).outcome is Outcome.LATE
    assert is_free(world)
    shifts = Shifts(NOON_MS, NOON_MS + 5 * MINUTE_MS, NOON_MS + 14 * MINUTE_MS)
    assert world.reports.save_shifts(shifts, None)
    assert world.work_on(message).outcome is Outcome.EARLY
    (again,) = drain_all(world.queue)
    world.wait(5 * MINUTE_MS)
    assert world.work_on(again).outcome is Outcome.SYNCED
    world.wait(8 * MINUTE_MS)
    assert world.work_on(replace(message, planned_ms=world.clock.now_ms())).outcome is Outcome.LATE


def test_a_summary_is_asked_for_in_any_shift(world: World) -> None:
    """Nobody else publishes it."""
    world.source.counts = {(None, "7"): SummaryCounts(sends=1)}
    assert world.work_on(of_campaign("7", NOON_MS)).outcome is Outcome.SUMMARIZED


def test_where_nothing_else_works_messages_have_no_windows(world: World) -> None:
    """The embedded engine does one after the other."""
    world.has_shifts = False
    assert world.work_on(of_contact("1", NOON_MS)).outcome is Outcome.SYNCED
    assert world.work_on(of_report("7-opens", NOON_MS)).outcome is Outcome.READ


# --- near the end of a window -----------------------------------------------------------------------


@dataclass(slots=True)
class SlowBus:
    """The `Bus` port as EventBridge's: a publication takes a while, and none begins at its deadline."""

    world: World
    bus: Bus
    takes_s: float = 0
    begun_ms: list[int] = field(default_factory=list)

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        if self.world.clock.monotonic_ms() >= deadline_ms:
            raise RetryError("no time was left")
        self.begun_ms.append(self.world.clock.now_ms())
        self.world.clock.sleep(self.takes_s)
        self.bus.publish(events, deadline_ms=deadline_ms)


def work_on_slowly(world: World, message: WorkItem, bus: SlowBus) -> Outcome:
    ports = replace(world.work_ports(), bus=bus)
    deadline_ms = world.clock.monotonic_ms() + HOUR_MS
    try:
        return work_on(message, ports, world.policy(), deadline_ms=deadline_ms).outcome
    except RetryError:
        return Outcome.FAILED


def calls_until(world: World, begun_ms: list[int]) -> None:
    """Note when each call of the API begins."""
    real = world.source._call

    def call(*asked: object) -> object:
        before = world.source.calls
        begins_ms = world.clock.now_ms()
        try:
            return real(*asked)  # type: ignore[arg-type]
        finally:
            if world.source.calls > before:
                begun_ms.append(begins_ms)

    world.source._call = call  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("takes_s", [0, 1, 20, 31, 40, 70])
@pytest.mark.parametrize("left_ms", [CALL_MS, 2 * CALL_MS, 30 * SECOND_MS, 100 * SECOND_MS])
def test_nothing_begins_near_the_end_of_a_shift(
    world: World, kind: WorkKind, takes_s: int, left_ms: int
) -> None:
    """No call of the API in the last minute, no publication in the last half minute."""
    calls_ms: list[int] = []
    calls_until(world, calls_ms)
    bus = SlowBus(world, world.bus, takes_s)
    end_ms = NO_CALL_MS + left_ms
    work_on_slowly(world, item(kind, -MINUTE_MS, end_ms), bus)
    assert calls_ms
    assert max(calls_ms) < NOON_MS + end_ms - NO_CALL_MS
    assert bus.begun_ms
    assert max(bus.begun_ms) < NOON_MS + end_ms - NO_PUBLICATION_MS
    drain_all(world.queue)
    world.wait(HOUR_MS)
    message = replace(item(kind, 0, 9 * HOUR_MS), planned_ms=world.clock.now_ms())
    assert work_on_slowly(world, message, SlowBus(world, world.bus)) is DONE[kind]
    assert len(world.ids) == len(set(world.ids)) == 5


def test_a_page_that_comes_too_late_is_not_published(world: World) -> None:
    """A call that hung until the last half minute; the next shift publishes it."""
    message = item(WorkKind.REPORT, 0, 3 * MINUTE_MS)
    world.source.meanwhile[1] = lambda: world.wait(3 * MINUTE_MS - NO_PUBLICATION_MS)
    bus = SlowBus(world, world.bus)
    assert work_on_slowly(world, message, bus) is Outcome.FAILED
    assert (bus.begun_ms, world.events) == ([], [])
    world.wait(HOUR_MS)
    later = replace(item(WorkKind.REPORT, 0, 9 * HOUR_MS), planned_ms=world.clock.now_ms())
    assert work_on_slowly(world, later, bus) is Outcome.READ
    assert len(world.ids) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_work_that_is_not_done_in_its_shift_waits_for_the_next_tick(world: World, kind: WorkKind) -> None:
    """It is in no message then, keeps what it read, and stays due."""
    claim(world)
    message = item(kind, 0, NO_CALL_MS + 2 * CALL_MS)
    assert world.work_on(message).outcome is Outcome.UNFINISHED
    assert drain_all(world.queue) == []
    assert world.contact().progress if kind is WorkKind.CONTACT else world.report().progress
    assert is_free(world) == (kind is WorkKind.CONTACT)
    world.wait(TICK_MS)
    pages = world.work_on(replace(message, window=Window(NOON_MS, NOON_MS + HOUR_MS))).pages
    assert pages == 1
    assert len(world.ids) == len(set(world.ids)) == 5


def test_work_that_runs_out_of_its_invocation_goes_on_in_its_shift(world: World) -> None:
    """By a message with the same window."""
    message = item(WorkKind.REPORT, 0, HOUR_MS)
    assert world.work_on(message, for_ms=2 * CALL_MS).outcome is Outcome.UNFINISHED
    assert drain_all(world.queue) == [message]


# --- the shifts of a tick ---------------------------------------------------------------------------


def windows(world: World) -> dict[WorkKind, set[Window | None]]:
    found: dict[WorkKind, set[Window | None]] = {}
    for message in drain_all(world.queue):
        found.setdefault(message.kind, set()).add(message.window)
    return found


def test_a_tick_gives_reports_their_shift_and_contacts_the_rest(world: World) -> None:
    """They meet, and end before the next tick begins."""
    world.contacts.make_due(NOON_MS)
    world.tick(begin_listing=False)
    shifts = world.reports.shifts()
    assert shifts
    assert windows(world) == {WorkKind.REPORT: {shifts.reports}, WorkKind.CONTACT: {shifts.contacts}}
    assert shifts.begin_ms == NOON_MS
    assert NOON_MS + MIN_SHIFT_MS <= shifts.change_ms <= NOON_MS + MAX_REPORTS_SHIFT_MS
    assert shifts.end_ms == NOON_MS + TICK_MS - EARLY_END_MS


def test_without_a_report_that_is_due_contacts_have_the_whole_tick(world: World) -> None:
    """Their shift begins with it."""
    assert world.reports.save(replace(world.report(), due_ms=NOON_MS + HOUR_MS))
    world.tick(begin_listing=False)
    shifts = world.reports.shifts()
    assert shifts
    assert shifts.change_ms == shifts.begin_ms == NOON_MS
    assert set(windows(world)) == {WorkKind.CONTACT}


def test_a_dispatcher_that_starts_within_a_tick_works_by_its_shifts(world: World) -> None:
    """It hands out contacts for their shift, and no report; nothing that is stored changes."""
    world.tick(begin_listing=False)
    shifts = world.reports.shifts()
    assert shifts
    drain_all(world.queue)
    world.contacts.make_due(NOON_MS)
    world.wait(8 * MINUTE_MS)
    world.reports.make_due(NOON_MS)
    report = world.tick(begin_listing=False)
    assert (report.reports_enqueued, report.enqueued) == (0, 1)
    assert windows(world) == {WorkKind.CONTACT: {shifts.contacts}}
    assert world.reports.shifts() == shifts


def test_a_dispatcher_that_starts_at_the_end_of_a_tick_begins_the_next_behind_it(world: World) -> None:
    """Its reports are read as soon as the contacts of the last tick are done."""
    world.tick(begin_listing=False)
    before = world.reports.shifts()
    assert before
    world.contacts.make_due(NOON_MS)
    drain_all(world.queue)
    world.wait(before.end_ms - NO_CALL_MS - world.clock.now_ms())
    world.reports.make_due(NOON_MS)
    world.tick(begin_listing=False)
    shifts = world.reports.shifts()
    assert shifts
    assert shifts.begin_ms == before.end_ms
    assert windows(world) == {WorkKind.REPORT: {shifts.reports}, WorkKind.CONTACT: {shifts.contacts}}


@pytest.mark.parametrize("late_ms", [0, 1, 14 * SECOND_MS, HOUR_MS])
def test_the_next_tick_has_shifts_of_its_own(world: World, late_ms: int) -> None:
    """They begin when its dispatcher started."""
    world.tick(begin_listing=False)
    before = world.reports.shifts()
    assert before
    drain_all(world.queue)
    world.wait(NOON_MS + TICK_MS + late_ms - world.clock.now_ms())
    world.reports.make_due(NOON_MS)
    world.tick(begin_listing=False)
    shifts = world.reports.shifts()
    assert shifts
    assert shifts.begin_ms == NOON_MS + TICK_MS + late_ms >= before.end_ms
    assert set(windows(world)) >= {WorkKind.REPORT}


def turns(world: World) -> StoredShifts:
    return StoredShifts(world.store, world.clock, TICK_MS)


def test_of_two_dispatchers_in_one_tick_one_stores_the_shifts(world: World) -> None:
    """The other goes by them."""
    first, second = turns(world), turns(world)
    reports = first.of_reports(MINUTE_MS)
    assert reports
    assert reports.window
    assert second.of_reports(MINUTE_MS) is None
    assert second.of_contacts() == first.of_contacts()
    third = turns(world)
    assert third.of_contacts() == first.of_contacts()


def test_a_dispatcher_that_was_overtaken_between_reading_and_storing_sends_nothing(world: World) -> None:
    """It read that there are no shifts, and another stored some before it did."""
    late = turns(world)
    real = late._reports

    class Overtaken:
        """The part of the `Reports` port that is used; another dispatcher is faster once."""

        def shifts(self) -> Shifts | None:
            seen = real.shifts()
            if seen is None:
                assert turns(world).of_contacts()
            return seen

        def save_shifts(self, shifts: Shifts, seen: Shifts | None) -> bool:
            return real.save_shifts(shifts, seen)

    late._reports = Overtaken()  # type: ignore[assignment]
    assert late.of_reports(MINUTE_MS) is None


def test_a_dispatcher_that_took_longer_than_its_tick_hands_out_no_contact(world: World) -> None:
    """Its shifts are over."""
    slow = turns(world)
    assert slow.of_reports(MINUTE_MS)
    world.wait(TICK_MS - EARLY_END_MS - NO_CALL_MS)
    assert slow.of_contacts() is None


def test_a_dispatcher_that_listed_for_long_leaves_reports_no_shift_that_is_too_short(world: World) -> None:
    """Contacts have the rest of its tick."""
    slow = turns(world)
    world.wait(TICK_MS - EARLY_END_MS - 2 * MIN_SHIFT_MS + 1)
    assert slow.of_reports(MINUTE_MS) is None
    turn = slow.of_contacts()
    assert turn
    assert turn.window
    assert turn.window.until_ms == NOON_MS + TICK_MS - EARLY_END_MS


def test_shifts_of_a_clock_that_ran_ahead_are_put_aside(world: World) -> None:
    """They would hold up everything until then."""
    ahead_ms = NOON_MS + 9 * HOUR_MS
    assert world.reports.save_shifts(Shifts(ahead_ms, ahead_ms + 1, ahead_ms + TICK_MS), None)
    turn = turns(world).of_reports(MINUTE_MS)
    assert turn
    assert turn.window
    assert turn.window.from_ms == NOON_MS


def test_no_two_windows_of_any_ticks_overlap(world: World) -> None:
    """Whenever a dispatcher starts, however long it takes, and whether reports are due."""
    seen: set[tuple[WorkKind, Window]] = set()
    turn_of = other = turns(world)
    for number in range(200):
        world.wait(number * 7_919 % 400_000)
        # Every third is a dispatcher that started before the last one, and is not done yet.
        turn_of, other = (other, turn_of) if number % 3 == 0 else (turns(world), turn_of)
        world.wait(number * 104_729 % 90_000)
        reports = turn_of.of_reports(number % 3 * MINUTE_MS)
        world.wait(number * 1_299_709 % 200_000)
        contacts = turn_of.of_contacts()
        seen |= {(WorkKind.REPORT, turn.window) for turn in [reports] if turn and turn.window}
        seen |= {(WorkKind.CONTACT, turn.window) for turn in [contacts] if turn and turn.window}
    of_reports = [window for kind, window in seen if kind is WorkKind.REPORT]
    of_contacts = [window for kind, window in seen if kind is WorkKind.CONTACT]
    assert len(of_reports) > 20
    assert len(of_contacts) > 20
    for window in of_reports:
        for other_window in of_contacts:
            assert window.until_ms <= other_window.from_ms or other_window.until_ms <= window.from_ms
