"""Pacing, the day's budget and pauses, in virtual time."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.pace import (
    ARRIVAL_MARGIN_MS,
    MAX_SLOT_AHEAD_MS,
    Limits,
    Pace,
    PaceChange,
    Take,
    calls_before,
    calls_left,
    changed,
    set_right,
    slow_down,
    take_slot,
)
from contact_activity.domain.pauses import Pause, PauseReason, Pauses, is_own_budget, quota_refused_until
from contact_activity.domain.times import DAY_MS, HOUR_MS, midnight_after
from contact_activity.errors import WaitError, WaitReason
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqlitePace, sqlite_limiter
from contact_activity.state.shared_limiter import SharedLimiter
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock

MIDNIGHT_MS = midnight_after(NOON_MS)
KEY = Limits(4, 10_000)
LIMITS = st.builds(
    Limits,
    calls_per_second=st.sampled_from([0.5, 1, 2.5, 3, 4, 7, 10, 60]),
    calls_per_day=st.integers(1, 200),
)
GAPS_MS = st.lists(st.sampled_from([0, 0, 0, 1, 50, 313, 900, 5_000, HOUR_MS, 7 * HOUR_MS]), max_size=150)


def granted(limits: Limits, gaps_ms: list[int], *, start_ms: int) -> list[int]:
    """The slots of callers that come one after another, each asking once when it comes."""
    pace, now_ms, slots = Pace(), start_ms, []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        slot = take_slot(pace, limits, now_ms)
        if slot:
            assert slot.at_ms >= now_ms
            pace = slot.pace
            slots.append(slot.at_ms)
    return slots


def most_within(times_ms: list[int], window_ms: int) -> int:
    """The largest number of the times that fall into one window, its end excluded."""
    ordered = sorted(times_ms)
    return max((sum(at <= of < at + window_ms for of in ordered) for at in ordered), default=0)


# --- slots ----------------------------------------------------------------------------------------


@given(LIMITS, GAPS_MS, st.randoms(use_true_random=False))
def test_no_second_ever_holds_more_than_the_calls_allowed(
    limits: Limits, gaps_ms: list[int], chance: random.Random
) -> None:
    """Also when each call reaches the server up to 250 ms late, every one by another delay."""
    slots = granted(limits, gaps_ms, start_ms=NOON_MS)
    arrivals = [at_ms + chance.randint(0, ARRIVAL_MARGIN_MS) for at_ms in slots]
    allowed = ceil(limits.calls_per_second)
    assert most_within(slots, 1_000) <= allowed
    assert most_within(arrivals, 1_000) <= allowed


@given(LIMITS, GAPS_MS, st.integers(0, DAY_MS))
def test_no_utc_day_ever_holds_more_than_its_budget(
    limits: Limits, gaps_ms: list[int], start_ms: int
) -> None:
    """A slot counts for the day it lies in, not for the day it was asked for."""
    slots = granted(limits, gaps_ms, start_ms=NOON_MS + start_ms)
    days = [at_ms // DAY_MS for at_ms in slots]
    assert all(days.count(day) <= limits.calls_per_day for day in days)


def test_a_full_speed_minute_uses_what_the_margin_leaves() -> None:
    """At 4 calls a second slots are 313 ms apart: 192 calls in a minute."""
    slots = granted(KEY, [0] * 192, start_ms=NOON_MS)
    assert {later - earlier for earlier, later in pairwise(slots)} == {313}
    assert slots[-1] - slots[0] < 60_000


def test_the_last_call_of_a_day_is_followed_by_the_first_of_the_next() -> None:
    """With the budget used up there is no slot before 00:00 UTC, and then there is one."""
    limits = Limits(4, 2)
    pace = Pace(NOON_MS // DAY_MS, 2, NOON_MS)
    assert take_slot(pace, limits, MIDNIGHT_MS - ARRIVAL_MARGIN_MS - 1) is None
    slot = take_slot(pace, limits, MIDNIGHT_MS)
    assert slot
    assert (slot.at_ms, slot.pace.used) == (MIDNIGHT_MS, 1)


def test_a_slot_behind_midnight_counts_for_the_next_day() -> None:
    """A caller before midnight whose slot lies behind it takes from the new budget."""
    pace = Pace(NOON_MS // DAY_MS, 2, MIDNIGHT_MS + 10)
    slot = take_slot(pace, Limits(4, 2), MIDNIGHT_MS - 5)
    assert slot
    assert (slot.at_ms, slot.pace.day, slot.pace.used) == (MIDNIGHT_MS + 10, MIDNIGHT_MS // DAY_MS, 1)


@given(LIMITS, st.integers(0, 5_000))
def test_after_too_fast_nobody_calls_for_a_second(limits: Limits, ahead_ms: int) -> None:
    """The next slot moves on by a second from where it was, and never backwards."""
    pace = slow_down(Pace(0, 0, NOON_MS + ahead_ms), NOON_MS)
    slot = take_slot(pace, limits, NOON_MS)
    assert slot
    assert slot.at_ms == NOON_MS + ahead_ms + 1_000
    assert slow_down(Pace(0, 0, 5), NOON_MS).next_slot_ms == NOON_MS + 1_000


@given(st.integers(0, 5_000), st.integers(0, 60_000))
def test_after_too_fast_nobody_calls_for_as_long_as_the_api_asks(ahead_ms: int, wait_ms: int) -> None:
    """From now on, however many were told so at once, and for a second behind the last slot at least."""
    once = slow_down(Pace(0, 0, NOON_MS + ahead_ms), NOON_MS, wait_ms)
    assert once.next_slot_ms == max(NOON_MS + ahead_ms + 1_000, NOON_MS + wait_ms)
    again = slow_down(once, NOON_MS, wait_ms)
    assert again.next_slot_ms == once.next_slot_ms + 1_000


@given(LIMITS, GAPS_MS, st.integers(0, 3 * HOUR_MS))
def test_the_promised_calls_before_a_time_can_be_granted(
    limits: Limits, gaps_ms: list[int], for_ms: int
) -> None:
    """As many slots as `calls_before` promises do lie before that time."""
    pace = Pace()
    for _ in gaps_ms:
        slot = take_slot(pace, limits, NOON_MS)
        pace = slot.pace if slot else pace
    until_ms = NOON_MS + for_ms
    promised = calls_before(pace, limits, NOON_MS, until_ms)
    for _ in range(min(promised, 300)):
        slot = take_slot(pace, limits, NOON_MS)
        assert slot
        assert slot.at_ms < until_ms
        pace = slot.pace


def test_the_calls_before_a_time_behind_midnight_hold_both_days() -> None:
    """A tick across midnight may use what is left today and the budget of tomorrow."""
    pace = Pace(NOON_MS // DAY_MS, 9_999, 0)
    assert calls_left(pace, KEY, NOON_MS) == 1
    assert calls_before(pace, KEY, MIDNIGHT_MS - 60_000, MIDNIGHT_MS) == 1
    assert calls_before(pace, KEY, MIDNIGHT_MS - 60_000, MIDNIGHT_MS + 60_000) == 120_000 // 313


def test_a_refused_day_lasts_to_midnight_if_our_own_count_says_so_too() -> None:
    """With calls left by our own count, one probe an hour finds out whether the day is really over."""
    used_up, unused = Pace(NOON_MS // DAY_MS, 10_000), Pace()
    assert quota_refused_until(used_up, KEY, NOON_MS) == MIDNIGHT_MS
    assert quota_refused_until(unused, KEY, NOON_MS) == NOON_MS + HOUR_MS
    assert quota_refused_until(unused, KEY, MIDNIGHT_MS - 1) == MIDNIGHT_MS - 1 + HOUR_MS


def test_the_pause_of_our_own_budget_is_told_from_the_apis() -> None:
    """Only the one that ends with the day is lifted when the operator raises the day's calls."""
    assert is_own_budget(Pause(PauseReason.QUOTA, MIDNIGHT_MS), NOON_MS)
    assert not is_own_budget(Pause(PauseReason.QUOTA, NOON_MS + HOUR_MS), NOON_MS)
    assert not is_own_budget(Pause(PauseReason.OPERATOR, MIDNIGHT_MS), NOON_MS)


# --- the shared limiter ---------------------------------------------------------------------------


def limiters(clock: VirtualClock, limits: Limits, count: int) -> list[SharedLimiter]:
    """Return limiters over one store, each with its own memory."""
    database = Database(":memory:")
    return [sqlite_limiter(database, limits, clock) for _ in range(count)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_workers_share_one_pace(turns: list[int]) -> None:
    """Calls of all workers are a slot apart and counted together, in any order."""
    clock = VirtualClock(NOON_MS)
    workers, called_ms = limiters(clock, KEY, 4), []
    for turn in turns:
        workers[turn].acquire(deadline_ms=NOON_MS + HOUR_MS)
        called_ms.append(clock.now_ms())
    gaps_ms = [later - earlier for earlier, later in pairwise(called_ms)]
    assert all(gap_ms >= KEY.slot_ms for gap_ms in gaps_ms)
    assert workers[0].pace().used == len(turns)


def test_processes_on_one_file_lose_no_call_of_each_other(tmp_path: Path) -> None:
    """Each has a connection of its own, as a run and a command beside it have. No slot is given twice."""

    def take(_: int) -> list[int]:
        with closing(Database(tmp_path / "state")) as database:
            pace, change = SqlitePace(database), Take(Limits(1_000, 10_000), NOON_MS, HOUR_MS)
            return [changed(pace.change(change), change).next_slot_ms for _ in range(calls_each)]

    workers, calls_each = 3, 50
    with closing(Database(tmp_path / "state")) as database, ThreadPoolExecutor(workers) as threads:
        taken = [slot_ms for slots in threads.map(take, range(workers)) for slot_ms in slots]
        assert len(set(taken)) == workers * calls_each
        assert SqlitePace(database).load().used == workers * calls_each


def test_a_slot_after_the_deadline_is_not_taken() -> None:
    """It stays free for another worker."""
    clock = VirtualClock(NOON_MS)
    one, other = limiters(clock, Limits(1, 100), 2)
    one.acquire(deadline_ms=NOON_MS)
    with pytest.raises(WaitError) as wait:
        other.acquire(deadline_ms=NOON_MS + 1_000)
    assert wait.value.reason is WaitReason.TIME
    assert other.pace().used == 1


def test_after_a_used_up_budget_the_wait_lasts_until_midnight() -> None:
    """The error holds the reason and the end of the day."""
    clock = VirtualClock(NOON_MS)
    one, other = limiters(clock, Limits(4, 1), 2)
    one.acquire(deadline_ms=MIDNIGHT_MS)
    with pytest.raises(WaitError) as wait:
        other.acquire(deadline_ms=MIDNIGHT_MS)
    assert (wait.value.reason, wait.value.until_ms) == (WaitReason.QUOTA, MIDNIGHT_MS)


class _LateClock(VirtualClock):
    """The first sleeps take 0.2 s longer than asked."""

    late_sleeps = 2

    def sleep(self, wait_s: float) -> None:
        self.late_sleeps -= 1
        super().sleep(wait_s + (0.2 if self.late_sleeps >= 0 else 0))


def test_a_worker_that_misses_its_slot_takes_another() -> None:
    """It never calls more than 0.1 s after its slot."""
    clock = _LateClock(NOON_MS)
    (worker,) = limiters(clock, KEY, 1)
    for _ in range(4):
        worker.acquire(deadline_ms=NOON_MS + HOUR_MS)
        assert clock.now_ms() <= worker.pace().next_slot_ms - KEY.slot_ms + 100
    assert worker.pace().used == 6


class _SlowStore:
    def __init__(self, clock: VirtualClock) -> None:
        self.pace = Pace()
        self._clock = clock

    def load(self) -> Pace:
        self._clock.sleep(0.3)
        return self.pace

    def change(self, change: PaceChange) -> Pace:
        self._clock.sleep(0.3)
        found, self.pace = self.pace, changed(self.pace, change)
        return found

    def tidy(self) -> None:
        """Do nothing: this store puts nothing off."""


def test_a_slow_store_wastes_no_calls() -> None:
    """The limiter takes each slot far enough ahead for the store to answer in time."""
    clock = VirtualClock(NOON_MS)
    store = _SlowStore(clock)
    worker = SharedLimiter(KEY, store, clock)
    for _ in range(10):
        worker.acquire(deadline_ms=MIDNIGHT_MS)
        clock.sleep(1.0)
    assert store.pace.used == 10


def test_slowing_down_holds_for_all_workers() -> None:
    """It moves the shared pace."""
    clock = VirtualClock(NOON_MS)
    one, other = limiters(clock, KEY, 2)
    one.acquire(deadline_ms=MIDNIGHT_MS)
    one.slow_down()
    other.acquire(deadline_ms=MIDNIGHT_MS)
    assert clock.now_ms() == NOON_MS + KEY.slot_ms + 1_000


def test_a_clock_that_was_set_back_does_not_stop_all_calls() -> None:
    """A slot taken by a clock that was a day ahead does not block calls for a day."""
    database = Database(":memory:")
    sqlite_limiter(database, KEY, VirtualClock(NOON_MS + DAY_MS)).acquire(deadline_ms=NOON_MS + 2 * DAY_MS)
    corrected = VirtualClock(NOON_MS)
    sqlite_limiter(database, KEY, corrected).acquire(deadline_ms=NOON_MS + 15 * 60_000)
    assert corrected.now_ms() < NOON_MS + 15 * 60_000


# --- pauses ---------------------------------------------------------------------------------------

PAUSES = st.builds(
    Pause, st.sampled_from(PauseReason), st.none() | st.integers(NOON_MS - HOUR_MS, NOON_MS + HOUR_MS)
)


@given(st.lists(PAUSES, max_size=6), st.sampled_from(PauseReason))
def test_no_pause_lifts_another(given_pauses: list[Pause], lifted: PauseReason) -> None:
    """Each reason holds its last pause; lifting one leaves the others as they are."""
    pauses = Pauses()
    for pause in given_pauses:
        pauses = pauses.with_pause(pause)
    last = {pause.reason: pause for pause in given_pauses}
    assert set(pauses.by_reason) == set(last.values())
    left = {pause for reason, pause in last.items() if reason is not lifted}
    assert set(pauses.without(lifted).by_reason) == left
    active = {pause for pause in last.values() if pause.until_ms is None or pause.until_ms > NOON_MS}
    assert set(pauses.active(NOON_MS)) == active


def test_a_pause_ends_at_its_time_and_one_without_a_time_when_it_is_lifted() -> None:
    """At `until_ms` calls may go out again."""
    pauses = Pauses().with_pause(Pause(PauseReason.QUOTA, NOON_MS))
    assert pauses.active(NOON_MS - 1)
    assert not pauses.active(NOON_MS)
    assert pauses.with_pause(Pause(PauseReason.CREDENTIAL, None)).active(NOON_MS + 100 * DAY_MS)


AHEAD_MS = st.sampled_from([5 * 60_000, HOUR_MS, 3 * DAY_MS, 400 * DAY_MS])


@given(AHEAD_MS)
def test_a_day_that_is_used_up_ends_at_midnight_whatever_a_clock_said(ahead_ms: int) -> None:
    """A later end was set by a clock that ran ahead; only an operator pauses for so long."""
    late_ms = MIDNIGHT_MS + ahead_ms
    assert not Pauses((Pause(PauseReason.QUOTA, late_ms),)).active(NOON_MS)
    assert Pauses((Pause(PauseReason.OPERATOR, late_ms),)).active(NOON_MS)


@given(st.integers(0, DAY_MS), st.integers(0, 60_000))
def test_a_pause_that_another_clock_set_honestly_holds(now_ms: int, ahead_ms: int) -> None:
    """For the day or for an hour, by a clock that is at most a minute ahead, also past midnight."""
    theirs_ms = NOON_MS + now_ms + ahead_ms
    for until_ms in (midnight_after(theirs_ms), theirs_ms + HOUR_MS):
        pauses = Pauses((Pause(PauseReason.QUOTA, until_ms),))
        assert bool(pauses.active(NOON_MS + now_ms)) == (NOON_MS + now_ms < until_ms)


@given(LIMITS, AHEAD_MS, st.integers(1, 400), st.integers(0, 200))
def test_what_a_clock_counted_that_ran_ahead_was_called_today(
    limits: Limits, ahead_ms: int, days: int, used: int
) -> None:
    """It is spent once: from today's calls, and from no other day's."""
    pace = Pace((NOON_MS + days * DAY_MS) // DAY_MS, used, NOON_MS + days * DAY_MS + ahead_ms)
    assert calls_left(pace, limits, NOON_MS) == max(0, limits.calls_per_day - used)
    slot = take_slot(pace, limits, NOON_MS)
    assert (slot is None) == (used >= limits.calls_per_day)
    if slot:
        assert (slot.at_ms, slot.pace.day, slot.pace.used) == (NOON_MS, NOON_MS // DAY_MS, used + 1)
    right = set_right(pace, NOON_MS)
    assert calls_left(right, limits, NOON_MS) == calls_left(pace, limits, NOON_MS)
    assert calls_left(right, limits, NOON_MS + DAY_MS) == limits.calls_per_day


@given(LIMITS, st.integers(0, DAY_MS - 1), st.integers(0, MAX_SLOT_AHEAD_MS))
def test_a_slot_that_others_wait_for_is_left_as_it_is(limits: Limits, at_ms: int, ahead_ms: int) -> None:
    """Also behind midnight: no clock ran ahead that gave it."""
    now_ms = MIDNIGHT_MS + at_ms
    pace = Pace((now_ms + ahead_ms) // DAY_MS, 1, now_ms + ahead_ms)
    assert set_right(pace, now_ms) == pace
    slot = take_slot(pace, limits, now_ms)
    assert slot is None or slot.at_ms >= now_ms + ahead_ms


def test_many_that_come_too_fast_stop_nobody_for_long() -> None:
    """However many workers are told so at once."""
    pace = Pace(0, 0, NOON_MS)
    for _ in range(5_000):
        pace = slow_down(pace, NOON_MS)
    assert pace.next_slot_ms == NOON_MS + MAX_SLOT_AHEAD_MS


def test_a_slot_that_others_wait_for_outlives_the_day_that_is_set_right() -> None:
    """Its day alone came from a clock that ran ahead: nobody else calls at the same moment."""
    taken_ms = NOON_MS + 1_000
    right = set_right(Pace(NOON_MS // DAY_MS + 3, 5, taken_ms), NOON_MS)
    assert right == Pace(NOON_MS // DAY_MS, 5, taken_ms)


@pytest.mark.parametrize(("left_ms", "waits"), [(ARRIVAL_MARGIN_MS, True), (ARRIVAL_MARGIN_MS + 1, False)])
def test_a_call_that_may_arrive_after_midnight_is_made_after_it(left_ms: int, waits: bool) -> None:
    """The API would count it for the next day, and this system for the last one."""
    midnight_ms = midnight_after(NOON_MS)
    slot = take_slot(Pace(), KEY, midnight_ms - left_ms)
    assert slot
    assert slot.at_ms == (midnight_ms if waits else midnight_ms - left_ms)
