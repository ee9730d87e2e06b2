"""One tick: list the contacts, hand out those that are due, within the budget."""

from contextlib import suppress
from dataclasses import replace

import pytest

from contact_activity.domain.answers import Refusal
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.schedule import QUEUED_TICKS
from contact_activity.domain.times import DAY_MS, midnight_after
from contact_activity.domain.work import Outcome
from contact_activity.errors import Cause, FatalError, RetryError, WaitError, WaitReason, describe
from contact_activity.sqlite.store import SqliteLease, sqlite_limiter
from contact_activity.use_cases.tick_report import TickOutcome
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.world import CALL_MS, TICK_MS, World, drain

FIVE = [ListedContact(str(number), "2024-06-01T00:00:00.000Z") for number in range(5)]


LISTED = Listing(
    mark_ms=NOON_MS - HOUR_MS,
    full_ms=NOON_MS,
    contacts=5,
    deep_ms=NOON_MS,
    day=NOON_MS // DAY_MS,
    pages=3,
)


@pytest.fixture
def world() -> World:
    """Five contacts on three pages of the listing; none is registered yet."""
    world = World()
    world.source.listed = list(FIVE)
    return world


def handed_out(world: World) -> list[str]:
    return [message.id for message in drain(world.queue)]


# --- a tick that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [RetryError("the API failed 9 times", Cause.CONNECTION_REFUSED), FatalError("no /contacts")]
)
def test_a_tick_that_fails_says_why_until_one_lists_again(world: World, error: Exception) -> None:
    """Why and when the listing failed is stored; the next page that is read takes it away."""
    world.source.fault = error
    with pytest.raises(type(error)):
        world.tick()
    assert world.listings.failure() == TickFailure(describe(error), world.clock.now_ms())
    world.source.fault = None
    world.tick()
    assert world.listings.failure() is None


def test_a_tick_that_lists_nothing_mends_nothing(world: World) -> None:
    """A pause says nothing about whether the API can be reached again."""
    failure = TickFailure("the connection is refused", NOON_MS)
    world.listings.put_failure(failure)
    world.pauses.pause(Pause(PauseReason.OPERATOR, None))
    world.tick()
    assert world.listings.failure() == failure


# --- the listing ----------------------------------------------------------------------------------


def test_a_first_tick_registers_and_hands_out_every_contact(world: World) -> None:
    """All pages are read; each contact is in one message that says when it was planned."""
    report = world.tick()
    assert (report.outcome, report.pages, report.new_contacts) == (TickOutcome.DISPATCHED, 3, 5)
    assert (report.listing_is_complete, report.enqueued, report.rejected) == (True, 5, 0)
    messages = drain(world.queue)
    assert sorted(message.id for message in messages) == ["0", "1", "2", "3", "4"]
    assert {message.planned_ms for message in messages} == {world.clock.now_ms()}
    assert world.listings.get().contacts == 5


def test_a_listing_without_enough_time_goes_on_in_the_next_tick(world: World) -> None:
    """What was listed so far is handed out, and no page is read twice."""
    first = world.tick(for_ms=int(1.5 * CALL_MS / 0.6))
    assert (first.pages, first.listing_is_complete, first.enqueued) == (1, False, 2)
    world.wait(TICK_MS)
    second = world.tick()
    assert (second.pages, second.listing_is_complete) == (2, True)
    assert world.listings.get() == LISTED


def test_a_next_listing_asks_for_what_changed_since_an_hour_before_the_last(world: World) -> None:
    """By the start of the last complete listing; every seven days it is a full one."""
    for wait_ms in (TICK_MS, 7 * DAY_MS - TICK_MS, TICK_MS):
        world.tick()
        world.wait(NOON_MS + wait_ms - world.clock.now_ms() if wait_ms == TICK_MS else wait_ms)
    asked = [since_ms for _, since_ms, next_ in world.source.asked if next_ is None]
    assert asked == [None, NOON_MS - HOUR_MS, None]


def test_a_list_that_took_its_share_of_the_day_waits_for_the_next(world: World) -> None:
    """What is due is handed out all the same, and tomorrow the listing goes on where it stopped."""
    world.limits = Limits(4, 5)
    first = world.tick()
    assert (first.pages, first.listing_waits, first.listing_is_complete) == (2, True, False)
    assert first.enqueued == 4
    again = world.tick()
    assert (again.pages, again.listing_waits) == (0, True)
    world.wait(midnight_after(world.clock.now_ms()) - world.clock.now_ms())
    later = world.tick()
    assert (later.pages, later.listing_waits, later.listing_is_complete) == (1, False, True)


def test_a_tick_may_only_go_on_with_a_listing(world: World) -> None:
    """Without leave to begin one, nothing is listed, and that counts as complete."""
    report = world.tick(begin_listing=False)
    assert (report.pages, report.listing_is_complete) == (0, True)
    world.tick(for_ms=int(1.5 * CALL_MS / 0.6))
    assert world.tick(begin_listing=False).pages == 2


def test_an_expired_cursor_restarts_the_listing(world: World) -> None:
    """From page one, with the start that it had; nobody is registered twice."""
    world.source.faults[2] = Refusal.NEXT_EXPIRED
    report = world.tick()
    assert (report.new_contacts, report.listing_is_complete) == (5, True)
    assert world.listings.get() == replace(LISTED, pages=5)


@pytest.mark.parametrize("broken", ["every cursor is refused", "a page links to itself", "links go round"])
def test_a_listing_that_never_ends_is_a_failure(world: World, broken: str) -> None:
    """It is told, and does not use up the calls of the contacts that are due."""
    if broken == "every cursor is refused":
        world.source.fault_of_next = Refusal.NEXT_EXPIRED
    else:
        world.source.links = {"2": "2"} if broken == "a page links to itself" else {"2": "4", "4": "2"}
    with pytest.raises((RetryError, FatalError)):
        world.tick()
    assert world.source.calls < 100


def test_a_list_that_goes_round_with_ever_new_cursors_costs_few_calls(world: World) -> None:
    """The tick fails, contacts that are known are handed out, and the next tick begins again."""
    world.source.round_pages = 3
    with pytest.raises(RetryError):
        world.tick()
    assert world.source.calls < 100
    assert sorted(handed_out(world)) == ["0", "1", "2", "3", "4"]
    world.source.round_pages = None
    world.wait(TICK_MS)
    assert world.tick().listing_is_complete


def test_empty_pages_before_others_do_not_end_a_listing(world: World) -> None:
    """An API that filters after it has cut its pages shows them, each with a cursor."""
    world.source.empty_pages = 20
    assert world.tick().listing_is_complete
    assert sorted(handed_out(world)) == ["0", "1", "2", "3", "4"]


def test_a_failed_listing_does_not_keep_due_contacts_from_being_handed_out(world: World) -> None:
    """They are handed out first; then the failure is raised, and the lease is free again."""
    world.register("7")
    world.source.fault = RetryError("no")
    with pytest.raises(RetryError):
        world.tick()
    assert handed_out(world) == ["7"]
    world.source.fault = None
    assert world.tick().outcome is TickOutcome.DISPATCHED


def test_a_refused_listing_hands_out_nothing(world: World) -> None:
    """An API that does not know its contact list would call every contact gone."""
    world.register("7")
    world.source.fault = FatalError("no")
    with pytest.raises(FatalError):
        world.tick()
    assert handed_out(world) == []
    world.source.fault = None
    assert world.tick().outcome is TickOutcome.DISPATCHED


# --- handing out ----------------------------------------------------------------------------------


def test_who_is_in_a_message_is_not_handed_out_again_for_two_ticks(world: World) -> None:
    """Then the message counts as lost."""
    world.tick()
    assert len(handed_out(world)) == 5
    for _ in range(QUEUED_TICKS - 1):
        world.wait(TICK_MS)
        assert world.tick().enqueued == 0
    world.wait(TICK_MS)
    assert world.tick().enqueued == 5


def test_the_longest_due_are_handed_out_first(world: World) -> None:
    """No more than can be granted before the next tick, less what is out already."""
    world.source.listed = []
    world.limits = Limits(calls_per_second=5_000 / TICK_MS, calls_per_day=9_000)
    for contact_id in ("late", "later", "last"):
        world.register(contact_id)
        world.wait(1_000)
    world.limits = Limits(calls_per_second=1_250 * 2.5 / TICK_MS, calls_per_day=9_000)
    assert world.tick().enqueued == 2
    assert world.tick().enqueued == 0
    assert handed_out(world) == ["late", "later"]
    assert world.tick().enqueued == 1
    assert handed_out(world) == ["last"]


def test_no_more_is_handed_out_than_the_day_has_left(world: World) -> None:
    """The day's budget bounds a tick too."""
    world.source.page_rows = 5
    world.limits = Limits(4, 3)
    assert world.tick().enqueued == 3


def test_what_the_queue_rejects_can_be_handed_out_by_the_next_tick(world: World) -> None:
    """It is in no message after all."""
    world.queue.rejected = {"1", "3"}
    report = world.tick()
    assert report.enqueued == 3
    assert sorted(handed_out(world)) == ["0", "2", "4"]
    world.queue.rejected = set()
    world.tick()
    assert sorted(handed_out(world)) == ["1", "3"]


def test_what_the_queue_rejects_is_not_offered_again_in_the_same_tick(world: World) -> None:
    """A queue that is out of order is not hammered until the budget is used up."""
    world.queue.rejected = {"1", "3"}
    report = world.tick()
    assert (report.enqueued, report.rejected) == (3, 2)


# --- pauses, lease, quota -------------------------------------------------------------------------


def test_one_dispatcher_at_a_time(world: World) -> None:
    """A second tick does nothing while the first holds the lease, nor does a dead one hold it for ever."""
    other = SqliteLease(world.database)
    assert other.take(now_ms=NOON_MS, until_ms=NOON_MS + 300_000)
    report = world.tick()
    assert (report.outcome, world.source.calls) == (TickOutcome.LEASE_HELD, 0)
    world.wait(HOUR_MS)
    assert world.tick().outcome is TickOutcome.DISPATCHED
    assert other.take(now_ms=world.clock.now_ms(), until_ms=world.clock.now_ms() + 1)


@pytest.mark.parametrize("reason", [PauseReason.OPERATOR, PauseReason.QUOTA])
def test_a_pause_stops_the_tick_until_it_ends(world: World, reason: PauseReason) -> None:
    """No call is made and nobody is handed out; then all goes on."""
    world.pauses.pause(Pause(reason, NOON_MS + HOUR_MS))
    report = world.tick()
    assert (report.outcome, report.paused_by) == (TickOutcome.PAUSED, reason.value)
    assert (world.source.calls, handed_out(world)) == (0, [])
    world.wait(HOUR_MS)
    assert world.tick().enqueued == 5


def test_a_refused_credential_is_probed_once_a_tick(world: World) -> None:
    """While it is refused that is the only call; once it is accepted the pause is lifted."""
    world.pauses.pause(Pause(PauseReason.CREDENTIAL, None))
    world.source.fault = WaitError(WaitReason.CREDENTIAL)
    assert world.tick().paused_by == "credential"
    assert [resource for resource, _, _ in world.source.asked] == ["probe"]
    world.source.fault = RetryError("no answer")
    assert world.tick().paused_by == "credential"
    world.source.fault = None
    assert world.tick().enqueued == 5
    assert world.pauses.get().by_reason == ()


@pytest.mark.parametrize("reason", [PauseReason.OPERATOR, PauseReason.QUOTA])
def test_no_probe_goes_out_while_another_pause_is_active(world: World, reason: PauseReason) -> None:
    """Neither a used up day nor an operator's stop is ended by asking for the credential."""
    world.pauses.pause(Pause(PauseReason.CREDENTIAL, None))
    world.pauses.pause(Pause(reason, NOON_MS + HOUR_MS))
    assert world.tick().outcome is TickOutcome.PAUSED
    assert world.source.calls == 0


@pytest.mark.parametrize(
    ("reason", "pause"),
    [(WaitReason.QUOTA, PauseReason.QUOTA), (WaitReason.CREDENTIAL, PauseReason.CREDENTIAL)],
)
def test_a_listing_that_has_to_wait_pauses_everybody(
    world: World, reason: WaitReason, pause: PauseReason
) -> None:
    """The page that was not read is read when the pause is over."""
    world.source.faults[2] = WaitError(reason, NOON_MS + HOUR_MS)
    report = world.tick()
    assert (report.outcome, report.paused_by, report.enqueued) == (TickOutcome.PAUSED, pause.value, 0)
    world.pauses.lift(pause)
    report = world.tick()
    assert (report.pages, report.enqueued) == (2, 5)


def test_a_used_up_day_pauses_until_midnight(world: World) -> None:
    """By our own count, without asking the API; after 00:00 UTC all goes on."""
    world.limits = Limits(4, 1)
    limiter = world.store.limiter
    limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)
    report = world.tick()
    assert (report.outcome, report.paused_by) == (TickOutcome.PAUSED, "quota")
    assert world.pauses.get().by_reason == (Pause(PauseReason.QUOTA, midnight_after(NOON_MS)),)
    world.wait(midnight_after(NOON_MS) - world.clock.now_ms())
    assert world.tick().outcome is TickOutcome.DISPATCHED


# --- both use cases -------------------------------------------------------------------------------


def test_what_is_synced_is_handed_out_again_when_it_is_due(world: World) -> None:
    """Ticks and syncs together: every contact once now, and once after its wait."""
    world.tick()
    for message in drain(world.queue):
        assert world.sync(message.id, planned_ms=message.planned_ms).outcome is Outcome.SYNCED
    assert world.tick().enqueued == 0
    world.wait(TICK_MS)
    assert world.tick().enqueued == 5


def test_messages_that_a_pause_completed_are_handed_out_again(world: World) -> None:
    """Nothing of the backlog is forgotten when the pause ends."""
    world.tick()
    world.pauses.pause(Pause(PauseReason.OPERATOR, NOON_MS + TICK_MS))
    for message in drain(world.queue):
        assert world.sync(message.id, planned_ms=message.planned_ms).outcome is Outcome.PAUSED
    world.wait(TICK_MS)
    assert world.tick().enqueued == 5


# --- what an operator sees of it ------------------------------------------------------------------


def test_every_message_names_its_tick(world: World) -> None:
    """The tick's correlation id goes into each message that it sends."""
    world.tick(correlation_id="tick-1")
    assert {message.correlation_id for message in drain(world.queue)} == {"tick-1"}


def test_a_tick_measures_how_long_the_oldest_contact_waits(world: World) -> None:
    """The lag is the age of the earliest due time at the tick's end, zero when nobody is due."""
    assert World().tick().lag_ms == 0
    world.register("0")
    world.wait(HOUR_MS)
    assert world.tick().lag_ms == HOUR_MS + 3 * CALL_MS


def test_a_tick_measures_the_days_calls(world: World) -> None:
    """It tells the calls that the limiter granted today and how many it may grant."""
    sqlite_limiter(world.database, world.limits, world.clock).acquire(deadline_ms=NOON_MS + HOUR_MS)
    report = world.tick()
    assert (report.calls_used, report.calls_per_day) == (1, world.limits.calls_per_day)


def test_a_paused_tick_measures_too_and_names_every_pause(world: World) -> None:
    """Lag grows while nothing is handed out, and each active pause is told."""
    world.register("0")
    world.pauses.pause(Pause(PauseReason.CREDENTIAL, None))
    world.pauses.pause(Pause(PauseReason.OPERATOR, None))
    world.wait(HOUR_MS)
    report = world.tick()
    assert (report.outcome, report.lag_ms) == (TickOutcome.PAUSED, HOUR_MS)
    assert sorted(report.paused) == ["credential", "operator"]


@pytest.mark.parametrize(
    "pause",
    [Pause(PauseReason.CREDENTIAL, None), Pause(PauseReason.QUOTA, NOON_MS + HOUR_MS)],
    ids=["lifted by the probe", "over by itself"],
)
def test_a_pause_that_this_tick_no_longer_finds_is_named_once(world: World, pause: Pause) -> None:
    """One that comes back with every tick would otherwise be seen by nobody."""
    world.pauses.pause(pause)
    world.wait(HOUR_MS)
    report = world.tick()
    assert (report.outcome, report.enqueued) == (TickOutcome.DISPATCHED, 5)
    assert report.paused == (pause.reason.value,)
    world.wait(2 * TICK_MS)
    assert world.tick().paused == ()


def test_a_full_listing_asks_after_contacts_that_are_gone(world: World) -> None:
    """One that it shows is due, though nothing says that it changed; and it counts the contacts anew."""
    world.tick()
    drain(world.queue)
    world.source.fault = Refusal.GONE
    for of in FIVE:
        for _ in range(4):
            world.sync(of.id)
    world.source.fault = None
    world.source.listed = FIVE[:2]
    world.wait(7 * DAY_MS)
    world.tick()
    assert sorted(handed_out(world)) == ["0", "1"]
    assert world.listings.get().contacts == 2


def test_a_tick_that_another_one_keeps_out_measures_nothing(world: World) -> None:
    """What it would measure is the other tick's to tell."""
    SqliteLease(world.database).take(now_ms=NOON_MS, until_ms=NOON_MS + 300_000)
    report = world.tick()
    assert (report.lag_ms, report.calls_used, report.calls_per_day) == (None, None, None)


def test_pages_asked_for_in_vain_count_for_the_lists_share_of_the_day(world: World) -> None:
    """A list that fails all day takes no more calls from the contacts than one that works."""
    world.limits = Limits(4, 8)
    world.source.fault = RetryError("busy")
    for _ in range(6):
        with suppress(RetryError):
            world.tick()
        world.wait(TICK_MS)
    assert world.source.calls == 4


def test_a_raised_budget_ends_the_pause_of_a_used_up_day(world: World) -> None:
    """The operator gives the key more calls, and the next tick goes on without waiting for midnight."""
    world.limits = Limits(4, 1)
    world.store.limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)
    assert world.tick().outcome is TickOutcome.PAUSED
    world.limits = Limits(4, 100)
    report = world.tick()
    assert (report.outcome, report.enqueued) == (TickOutcome.DISPATCHED, 5)


def test_a_tick_after_one_that_could_not_list_tries_for_a_quarter_minute(world: World) -> None:
    """A list that is down takes few calls; once it works, the tick after has its time again."""
    world.source.listed = [replace(FIVE[0], id=str(number)) for number in range(400)]
    world.source.faults[1] = RetryError("busy")
    with pytest.raises(RetryError):
        world.tick()
    tried = world.tick()
    assert 0 < tried.pages * CALL_MS <= 15_000
    assert not tried.listing_is_complete
    assert world.tick().listing_is_complete


def test_a_cursor_of_the_list_that_comes_again_begins_it_again(world: World) -> None:
    """What followed it was not read: a listing that stopped there would leave contacts out."""
    world.source.links = {"2": "2"}
    world.source.meanwhile = {4: world.source.links.clear}
    report = world.tick()
    assert report.listing_is_complete
    assert len(list(world.contacts.outlines())) == 5
    assert [next_ for _, _, next_ in world.source.asked].count(None) == 2
