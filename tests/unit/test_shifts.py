"""The two shifts of a tick: whatever the dispatchers' start times, no two shifts meet."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.pace import Limits
from contact_activity.domain.shifts import (
    EARLY_END_MS,
    MAX_REPORTS_SHIFT_MS,
    MIN_SHIFT_MS,
    MIN_TICK_MS,
    NO_CALL_MS,
    NO_PUBLICATION_MS,
    Shifts,
    Window,
    plan_shifts,
    publish_by_ms,
)
from contact_activity.domain.times import HOUR_MS
from contact_activity.domain.work import WorkItem, WorkKind
from contact_activity.ports import Clock, Store
from contact_activity.state.codec import item_from_body, item_to_body, shifts_from_json, shifts_to_json
from contact_activity.use_cases.turns import OneAfterTheOther, StoredShifts
from tests.support.rows import NOON_MS

MINUTE_MS = 60_000
# The longest that SQS lets a message wait.
MAX_DELAY_MS = 15 * MINUTE_MS

TICKS_MS = st.sampled_from([MINUTE_MS, MIN_TICK_MS, 7 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS])
WORKS_MS = st.one_of(st.just(0), st.integers(1, 20 * MINUTE_MS))


@dataclass(slots=True)
class StoredTick:
    """The part of a store that keeps shifts, by compare and set. `meanwhile` runs before a write."""

    stored: Shifts | None = None
    written: list[Shifts] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None

    def shifts(self) -> Shifts | None:
        return self.stored

    def save_shifts(self, shifts: Shifts, seen: Shifts | None) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        if self.stored != seen:
            return False
        self.stored = shifts
        self.written.append(shifts)
        return True


@dataclass(slots=True)
class SetClock:
    """A clock that stands until it is set."""

    at_ms: int

    def now_ms(self) -> int:
        return self.at_ms


def turns(tick: StoredTick, clock: SetClock, tick_ms: int) -> StoredShifts:
    store = SimpleNamespace(reports=tick, limiter=SimpleNamespace(limits=Limits(4, 9_000)))
    return StoredShifts(cast(Store, store), cast(Clock, clock), tick_ms)


@dataclass(frozen=True, slots=True)
class Start:
    """A dispatcher: after what time it starts, how long it takes before it plans, and what is due."""

    gap_s: int
    looks_s: int
    lists_s: int
    work_ms: int
    has_contacts: bool


STARTS = st.lists(
    st.builds(
        Start,
        st.sampled_from([1, 60, 240, 290, 299, 300, 301, 310, 900]) | st.integers(1, 2_000),
        st.integers(0, 120),
        st.integers(0, 400),
        WORKS_MS,
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def windows_of(
    start: Start, tick: StoredTick, clock: SetClock, tick_ms: int
) -> list[tuple[str, int, Window]]:
    """What a dispatcher sends: for whom, when, and when it may be worked on."""
    sent: list[tuple[str, int, Window]] = []
    mine = turns(tick, clock, tick_ms)
    clock.at_ms += start.looks_s * 1_000
    turn = mine.of_reports(start.work_ms) if start.work_ms else None
    if turn and turn.window:
        sent.append(("reports", clock.at_ms, turn.window))
    clock.at_ms += start.lists_s * 1_000
    turn = mine.of_contacts() if start.has_contacts else None
    if turn and turn.window:
        sent.append(("contacts", clock.at_ms, turn.window))
    return sent


# --- no two shifts meet -----------------------------------------------------------------------------


@given(STARTS, TICKS_MS)
def test_no_shift_of_contacts_meets_one_of_reports(starts: list[Start], tick_ms: int) -> None:
    """Whenever dispatchers start and however long they take, over any number of ticks.

    Messages of one kind may share a shift: a dispatcher that starts in a tick works by its shifts.
    """
    tick, clock = StoredTick(), SetClock(NOON_MS)
    sent: list[tuple[str, int, Window]] = []
    for start in starts:
        clock.at_ms += start.gap_s * 1_000
        before_ms = clock.at_ms
        sent += windows_of(start, tick, clock, tick_ms)
        clock.at_ms = max(before_ms, clock.at_ms - 30_000)
    reports = {window for kind, _, window in sent if kind == "reports"}
    contacts = {window for kind, _, window in sent if kind == "contacts"}
    assert all(
        one.until_ms <= other.from_ms or other.until_ms <= one.from_ms
        for one in reports
        for other in contacts
    )
    for kind in (reports, contacts):
        ordered = sorted(kind, key=lambda window: window.from_ms)
        assert all(one.until_ms <= other.from_ms for one, other in pairwise(ordered))


@given(STARTS, TICKS_MS)
def test_ticks_follow_one_another(starts: list[Start], tick_ms: int) -> None:
    """What is stored never overlaps, and nothing is planned beyond the end of a tick."""
    tick, clock = StoredTick(), SetClock(NOON_MS)
    for start in starts:
        clock.at_ms += start.gap_s * 1_000
        windows_of(start, tick, clock, tick_ms)
    for one, other in pairwise(tick.written):
        assert one.end_ms <= other.begin_ms
    for shifts in tick.written:
        assert shifts.begin_ms <= shifts.change_ms <= shifts.end_ms
        assert shifts.end_ms - shifts.begin_ms == max(MIN_TICK_MS, tick_ms) - EARLY_END_MS
        assert shifts.reports.until_ms == shifts.contacts.from_ms


@given(STARTS, TICKS_MS)
def test_each_shift_is_long_enough_and_no_message_waits_too_long(starts: list[Start], tick_ms: int) -> None:
    """A minute and a half for each of both, and the contacts' messages wait no longer than SQS lets them."""
    tick, clock = StoredTick(), SetClock(NOON_MS)
    for start in starts:
        clock.at_ms += start.gap_s * 1_000
        for kind, at_ms, window in windows_of(start, tick, clock, tick_ms):
            assert window.wait_ms(at_ms) <= MAX_DELAY_MS
            assert not window.is_over(at_ms)
            if kind == "reports":
                assert MIN_SHIFT_MS <= window.until_ms - max(window.from_ms, at_ms) <= MAX_REPORTS_SHIFT_MS
                assert tick.written[-1].contacts.until_ms - window.until_ms >= MIN_SHIFT_MS


@given(
    st.builds(Start, st.just(1), st.integers(0, 60), st.integers(0, 60), WORKS_MS, st.just(True)), TICKS_MS
)
def test_a_dispatcher_on_time_always_has_a_turn(start: Start, tick_ms: int) -> None:
    """Ten ticks, each a little late or early, with up to two minutes of other work: none goes by unused."""
    tick_ms = max(MIN_TICK_MS, tick_ms)
    tick, at_ms = StoredTick(), NOON_MS
    for number in range(10):
        clock = SetClock(at_ms + number * tick_ms + (number % 3) * 4_000)
        kinds = [kind for kind, _, _ in windows_of(start, tick, clock, tick_ms)]
        assert kinds == (["reports", "contacts"] if start.work_ms else ["contacts"])


@given(STARTS, STARTS, TICKS_MS)
def test_of_two_dispatchers_at_once_one_plans_a_tick(
    ones: list[Start], others: list[Start], tick_ms: int
) -> None:
    """The second one reads what the first one had not written yet, and has no turn of its own."""
    tick, clock = StoredTick(), SetClock(NOON_MS)
    for one, other in zip(ones, others, strict=False):
        clock.at_ms += one.gap_s * 1_000
        first, second = turns(tick, clock, tick_ms), turns(tick, clock, tick_ms)
        known = tick.stored
        is_on = known is not None and known.goes_on(clock.at_ms)
        if not is_on:
            tick.meanwhile = partial(second.of_reports, other.work_ms)
        turn = first.of_reports(one.work_ms)
        assert is_on or turn is None
        tick.meanwhile = None
        now = first.of_contacts()
        assert now is None or (tick.stored and now.window == tick.stored.contacts)
    for before, after in pairwise(tick.written):
        assert before.end_ms <= after.begin_ms


# --- a clock that ran ahead -------------------------------------------------------------------------


@given(st.integers(2 * MINUTE_MS + 1, 400 * 24 * HOUR_MS), st.integers(0, 2 * HOUR_MS), STARTS, TICKS_MS)
def test_a_clock_that_ran_ahead_stops_nobody(
    ahead_ms: int, later_ms: int, starts: list[Start], tick_ms: int
) -> None:
    """Its tick is given up by the next dispatcher; from then on shifts follow one another again."""
    tick_ms = max(MIN_TICK_MS, tick_ms)
    wrong = plan_shifts(NOON_MS + ahead_ms, NOON_MS + ahead_ms, tick_ms=tick_ms, work_ms=1)
    tick, clock = StoredTick(wrong), SetClock(NOON_MS)
    clock.at_ms += later_ms
    is_ahead = wrong.begin_ms > clock.at_ms + 2 * MINUTE_MS
    sent = windows_of(Start(0, 0, 0, 1, True), tick, clock, tick_ms)
    if is_ahead:
        assert [kind for kind, _, _ in sent] == ["reports", "contacts"]
    for start in starts:
        clock.at_ms += start.gap_s * 1_000
        windows_of(start, tick, clock, tick_ms)
    for one, other in pairwise(tick.written):
        assert one.end_ms <= other.begin_ms


@given(st.integers(0, 2 * MINUTE_MS), TICKS_MS)
def test_a_tick_of_a_clock_that_differs_a_little_holds(ahead_ms: int, tick_ms: int) -> None:
    """Who is a minute or two behind it works by its shifts."""
    tick_ms = max(MIN_TICK_MS, tick_ms)
    theirs = plan_shifts(NOON_MS + ahead_ms, NOON_MS + ahead_ms, tick_ms=tick_ms, work_ms=1)
    tick = StoredTick(theirs)
    mine = turns(tick, SetClock(NOON_MS), tick_ms)
    assert mine.of_reports(1) is None
    turn = mine.of_contacts()
    assert turn is not None
    assert turn.window == theirs.contacts
    assert tick.written == []


# --- how long ---------------------------------------------------------------------------------------


@given(TICKS_MS, WORKS_MS, st.integers(0, HOUR_MS), st.integers(0, MINUTE_MS))
def test_the_shift_of_reports_follows_their_work(
    tick_ms: int, work_ms: int, late_ms: int, early_ms: int
) -> None:
    """As long as they take and a minute, within its bounds; without work contacts have all of the tick."""
    tick_ms = max(MIN_TICK_MS, tick_ms)
    begin_ms = NOON_MS + early_ms
    now_ms = NOON_MS + early_ms + late_ms if late_ms else NOON_MS
    shifts = plan_shifts(begin_ms, now_ms, tick_ms=tick_ms, work_ms=work_ms)
    from_ms = max(begin_ms, now_ms)
    room_ms = shifts.end_ms - from_ms
    if work_ms == 0 or room_ms < 2 * MIN_SHIFT_MS:
        assert shifts.change_ms == shifts.begin_ms
        return
    length_ms = shifts.change_ms - from_ms
    assert MIN_SHIFT_MS <= length_ms <= MAX_REPORTS_SHIFT_MS
    assert shifts.end_ms - shifts.change_ms >= MIN_SHIFT_MS
    most_ms = min(MAX_REPORTS_SHIFT_MS, room_ms - MIN_SHIFT_MS)
    assert length_ms == most_ms or length_ms >= work_ms + NO_CALL_MS


@given(st.integers(-HOUR_MS, HOUR_MS))
def test_a_window_ends_a_minute_early_for_calls_and_half_a_minute_for_publications(at_ms: int) -> None:
    """So what was read by the last call can be published, and nothing is when the next shift begins."""
    window = Window(NOON_MS - HOUR_MS, NOON_MS)
    now_ms = NOON_MS + at_ms
    assert window.is_over(now_ms) is (now_ms >= NOON_MS - NO_CALL_MS)
    assert window.is_ending(now_ms) is window.is_over(now_ms + EARLY_END_MS)
    assert window.wait_ms(now_ms) == max(0, window.from_ms - now_ms)
    assert publish_by_ms(NOON_MS - NO_CALL_MS) == NOON_MS - NO_PUBLICATION_MS


def test_an_engine_that_is_alone_needs_no_shifts() -> None:
    """Reports first; contacts wait until nothing of them is left."""
    waited: list[int] = []
    alone = OneAfterTheOther(lambda: waited.append(1))
    assert alone.of_reports(1).window is None
    assert waited == []
    assert alone.of_contacts().window is None
    assert waited == [1]


# --- what is stored and sent ------------------------------------------------------------------------

TIMES_MS = st.integers(1, 2 * NOON_MS)


@given(st.builds(Shifts, TIMES_MS, TIMES_MS, TIMES_MS))
def test_shifts_are_stored_and_read_back(shifts: Shifts) -> None:
    """The JSON of shifts is the shifts, in the same words each time: the next write compares them."""
    assert shifts_from_json(shifts_to_json(shifts)) == shifts
    assert shifts_to_json(shifts_from_json(shifts_to_json(shifts))) == shifts_to_json(shifts)


@given(
    st.builds(
        WorkItem,
        st.sampled_from(WorkKind),
        st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
        TIMES_MS,
        st.none() | st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
        st.none() | st.builds(Window, TIMES_MS, TIMES_MS),
        st.booleans(),
    )
)
def test_a_message_is_sent_and_read_with_its_window(item: WorkItem) -> None:
    """Of each kind, to the millisecond."""
    assert item_from_body(item_to_body(item)) == item


@pytest.mark.parametrize(
    "window",
    [
        '"from": "2024-06-12T12:00:00Z"',
        '"until": "2024-06-12T12:00:00Z"',
        '"from": null, "until": "2024-06-12T12:00:00Z"',
        '"from": "soon", "until": "2024-06-12T12:00:00Z"',
        '"from": 5, "until": 7',
        '"from": "2024-06-12T12:00:00Z", "until": "0001-01-01T00:00:00Z"',
    ],
)
def test_a_message_with_half_a_window_is_none_of_ours(window: str) -> None:
    """It is not taken for one that may be worked on at any time."""
    body = f'{{"contact_id": "1", "planned_at": "2024-06-12T12:00:00Z", {window}}}'
    with pytest.raises(ValueError, match="from and until"):
        item_from_body(body)


def test_a_message_of_the_version_before_has_no_window() -> None:
    """Nor one whose window is null."""
    body = '{"contact_id": "1", "planned_at": "2024-06-12T12:00:00Z", "is_sampled": 1}'
    assert item_from_body(body) == WorkItem(WorkKind.CONTACT, "1", NOON_MS)
