"""What of a contact is new, and what is remembered of it: examples and random histories."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import (
    MAX_REMEMBERED,
    MAX_UNREADABLE,
    activity_key,
    key_time_ms,
    pack,
    unpack,
)
from contact_activity.domain.walk import Walk
from contact_activity.domain.watermark import (
    ALL_REPORT,
    MAX_SPANS,
    TYPES_BY_REPORT,
    Mark,
    Reading,
    Span,
    Watermark,
    set_right,
    united,
)
from contact_activity.state.codec import marks_from_json, marks_to_json, progress_from_json, progress_to_json
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity

KEY_BYTES = 14
ALL = Reading("a")
BOUNCES = "bounces"

REPORTS = st.sampled_from([(ALL_REPORT,), ("opens",), ("sends", "opens", BOUNCES), (BOUNCES, "clicks")])
READINGS = st.builds(
    Reading,
    account=st.just("a"),
    reports=REPORTS,
    start_ms=st.none() | st.integers(NOON_MS - 60 * DAY_MS, NOON_MS),
    overlap_h=st.sampled_from([1, 24, 168]),
    remembered_min=st.sampled_from([1, 3, 200]),
)
# Coarse steps, so that rows of one millisecond are common.
HISTORY_TIMES_MS = st.integers(-240, 8).map(lambda steps: NOON_MS + steps * 6 * HOUR_MS)
HISTORIES = st.lists(
    st.builds(
        activity, HISTORY_TIMES_MS, st.sampled_from(ActivityType), link_id=st.sampled_from([None, "0", "1"])
    ),
    max_size=40,
    unique=True,
)
SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Told:
    """What a walk came to."""

    watermark: Watermark
    published: list[Activity]
    is_memory_full: bool

    @property
    def remembered_ms(self) -> list[int]:
        return [key_time_ms(key) for key in unpack(self.watermark.remembered)]


def pages_of(history: Sequence[Activity], seed: int | None) -> list[list[Activity]]:
    """The rows in pages: newest first in pages of 500, or by a seed in any order, split and repetition."""
    if seed is None:
        ordered = sorted(history, key=lambda of: -of.occurred_ms)
        return [ordered[at : at + 500] for at in range(0, len(ordered), 500)] or [[]]
    chance = random.Random(seed)
    repeated = [*history, *chance.sample(list(history), k=len(history) // 3)]
    chance.shuffle(repeated)
    pages: list[list[Activity]] = [[]]
    for of in repeated:
        if chance.random() < 0.3:
            pages.append([])
        pages[-1].append(of)
    return pages


def served(history: Sequence[Activity], walk: Walk, report: str) -> list[Activity]:
    """What the API gives for a report: it filters inclusively, but not the bounces."""
    since_ms = None if report == BOUNCES else walk.since_ms(report)
    types = TYPES_BY_REPORT[report]
    return [of for of in history if of.type in types and (since_ms is None or of.occurred_ms >= since_ms)]


def walked(
    history: Sequence[Activity],
    watermark: Watermark | None = None,
    reading: Reading = ALL,
    *,
    now_ms: int = NOON_MS,
    seed: int | None = None,
    interrupted: bool = False,
) -> Told:
    """A whole walk; interrupted: its progress is stored and read again after every page."""
    walk = Walk(watermark or Watermark(), reading, now_ms)
    published: list[Activity] = []
    for report in reading.reports:
        for page in pages_of(served(history, walk, report), seed):
            published += walk.take(page, (), now_ms).activities
            if interrupted:
                stored = progress_to_json(walk.progress(report, "token"))
                walk = Walk.resume(walk.watermark, reading, progress_from_json(stored))
    watermark = walk.finish()
    return Told(watermark, published, walk.memory_is_full)


def in_window(history: Sequence[Activity], reading: Reading) -> list[Activity]:
    types = {type_ for report in reading.reports for type_ in TYPES_BY_REPORT[report]}
    return [of for of in history if of.type in types and of.occurred_ms >= (reading.start_ms or 0)]


def by_time(activities: Sequence[Activity]) -> list[Activity]:
    return sorted(activities, key=lambda of: activity_key("a", of))


def minutely(count: int, *, newest_ms: int = NOON_MS) -> list[Activity]:
    """A minute apart, the newest first."""
    return [activity(newest_ms - minutes * 60_000) for minutes in range(count)]


# --- nothing lost, nothing twice ------------------------------------------------------------------


@given(HISTORIES, READINGS, SEEDS)
def test_a_first_walk_publishes_every_activity_once(
    history: list[Activity], reading: Reading, seed: int
) -> None:
    """Whatever the order, the pages and the repetitions, each activity from START_DATE on comes once."""
    told = walked(history, reading=reading, seed=seed)
    assert by_time(told.published) == by_time(in_window(history, reading))


@given(HISTORIES, READINGS, READINGS, SEEDS, st.integers(0, 400))
def test_a_second_walk_over_the_same_rows_publishes_nothing(
    history: list[Activity], reading: Reading, other: Reading, seed: int, later_h: int
) -> None:
    """Later, in another order, with another memory: what was published is not published again."""
    first = walked(history, reading=reading, seed=seed)
    again = replace(reading, overlap_h=other.overlap_h, remembered_min=other.remembered_min)
    for turn in range(3):
        second = walked(history, first.watermark, again, now_ms=NOON_MS + later_h * HOUR_MS, seed=seed + turn)
        assert second.published == []
        first = second


@given(HISTORIES, st.lists(st.lists(st.integers(0, 168 * 60), max_size=5), max_size=8), READINGS, SEEDS)
def test_a_row_inserted_late_within_the_overlap_is_published_exactly_once(
    history: list[Activity], late: list[list[int]], reading: Reading, seed: int
) -> None:
    """Walk after walk, rows appear with stamps up to the overlap old; in the end each was published once."""
    reading = replace(reading, start_ms=None)
    now_ms, watermark, rows = NOON_MS, Watermark(), list(history)
    published: list[Activity] = []
    for turn, ages_min in enumerate([[], *late]):
        now_ms += 12 * HOUR_MS
        rows += [
            activity(now_ms - min(age_min * 60_000, reading.overlap_h * HOUR_MS), link_id=f"{turn}-{number}")
            for number, age_min in enumerate(ages_min)
        ]
        told = walked(rows, watermark, reading, now_ms=now_ms, seed=seed + turn)
        watermark = told.watermark
        published += told.published
    assert by_time(published) == by_time(in_window(rows, reading))


@given(HISTORIES, HISTORIES, READINGS, SEEDS)
def test_a_walk_gone_on_with_after_every_page_is_the_same_walk(
    before: list[Activity], added: list[Activity], reading: Reading, seed: int
) -> None:
    """Stored and resumed at any page, a walk publishes the same and ends at the same watermark."""
    watermark = walked(before, reading=reading).watermark
    rows = [*before, *(of for of in added if of not in before)]
    whole = walked(rows, watermark, reading, seed=seed)
    parts = walked(rows, watermark, reading, seed=seed, interrupted=True)
    assert parts == whole


@pytest.mark.parametrize("order", ["newest first", "oldest first", "shuffled"])
def test_a_long_walk_resumed_at_every_page_forgets_the_same(order: str) -> None:
    """Also beyond what a walk keeps in memory, an interruption changes neither events nor watermark."""
    pages = paged(ordered(minutely(20_000), order))
    whole, parts = Walk(Watermark(), ALL, NOON_MS), Walk(Watermark(), ALL, NOON_MS)
    for page in pages:
        fresh = whole.take(page, (), NOON_MS)
        assert parts.take(page, (), NOON_MS) == fresh
        parts = Walk.resume(Watermark(), ALL, parts.progress(ALL_REPORT, "token"))
    assert parts.finish() == whole.finish()


@given(HISTORIES, st.sampled_from(list(TYPES_BY_REPORT)), READINGS, SEEDS)
def test_reports_added_later_bring_the_rest_of_the_history_once(
    history: list[Activity], report: str, reading: Reading, seed: int
) -> None:
    """From one type to all: the others' whole history is published, what was known is not."""
    one = walked(history, reading=replace(reading, reports=(report,)), seed=seed)
    all_ = walked(history, one.watermark, replace(reading, reports=(ALL_REPORT,)), seed=seed)
    everything = in_window(history, replace(reading, reports=(ALL_REPORT,)))
    assert by_time([*one.published, *all_.published]) == by_time(everything)


@given(HISTORIES, st.lists(st.tuples(REPORTS, st.integers(0, 3)), max_size=6), READINGS, SEEDS)
def test_no_sequence_of_report_settings_loses_an_activity(
    history: list[Activity], turns: list[tuple[tuple[str, ...], int]], reading: Reading, seed: int
) -> None:
    """Types that were left out for a while come back with all that happened in between."""
    now_ms, watermark, rows = NOON_MS, Watermark(), list(history)
    published: set[Activity] = set()
    for number, (reports, new) in enumerate([*turns, ((ALL_REPORT,), 0)]):
        now_ms += 30 * HOUR_MS
        rows += [activity(now_ms - age, ActivityType.SENT, link_id=f"{number}") for age in range(new)]
        reading = replace(reading, reports=reports, start_ms=None)
        told = walked(rows, watermark, reading, now_ms=now_ms, seed=seed)
        watermark = told.watermark
        published |= set(told.published)
    assert published == set(rows)


def test_a_page_is_given_back_oldest_first_without_its_doubles() -> None:
    """Rows equal in their key are one activity, the first of them; the others are counted."""
    first, double = activity(NOON_MS), replace(activity(NOON_MS), provider_time="another wording")
    older = activity(NOON_MS - 1)
    walk = Walk(Watermark(), ALL, NOON_MS)
    assert walk.take([first, double, older], (), NOON_MS).activities == (older, first)
    assert walk.take([double], (), NOON_MS).activities == ()
    assert (walk.counts.rows, walk.counts.collapsed, walk.counts.known) == (4, 1, 1)


# --- the window -----------------------------------------------------------------------------------


@given(HISTORIES, HISTORIES, READINGS, READINGS, SEEDS)
def test_floors_never_fall_and_no_mark_is_ahead_of_the_clock(
    before: list[Activity], after: list[Activity], reading: Reading, other: Reading, seed: int
) -> None:
    """Whatever rows and settings come, a type's floor and newest time only rise, and never past now."""
    first = walked(before, reading=reading, seed=seed).watermark
    later_ms = NOON_MS + DAY_MS
    second = walked([*before, *after], first, other, now_ms=later_ms, seed=seed).watermark
    for type_ in ActivityType:
        old, new = first.mark(type_), second.mark(type_)
        assert (old.floor_ms or 0) <= (new.floor_ms or 0) <= later_ms
        assert (old.through_ms or 0) <= (new.through_ms or 0) <= later_ms


@given(HISTORIES, READINGS, SEEDS)
def test_while_nothing_is_forgotten_the_whole_history_is_asked_for(
    history: list[Activity], reading: Reading, seed: int
) -> None:
    """`created_since` is START_DATE or nothing as long as every activity is remembered."""
    told = walked(history, reading=replace(reading, remembered_min=200), seed=seed)
    for report in reading.reports:
        assert Walk(told.watermark, reading, NOON_MS).since_ms(report) == reading.start_ms


@given(st.lists(HISTORY_TIMES_MS, unique=True, max_size=40), READINGS, SEEDS)
def test_only_what_is_old_and_beyond_the_newest_is_forgotten(
    times_ms: list[int], reading: Reading, seed: int
) -> None:
    """An activity is remembered while it is among the newest or inside the overlap."""
    reading = replace(reading, reports=(ALL_REPORT,), start_ms=None)
    told = walked([activity(at_ms) for at_ms in times_ms], reading=reading, seed=seed)
    newest_first = sorted(times_ms, reverse=True)
    through_ms = max((at_ms for at_ms in times_ms if at_ms <= NOON_MS), default=0)
    oldest_ms = through_ms - reading.overlap_h * HOUR_MS
    kept = [
        at_ms
        for rank, at_ms in enumerate(newest_first)
        if rank < reading.remembered_min or at_ms >= oldest_ms or not through_ms
    ]
    assert told.remembered_ms == kept
    forgotten = newest_first[len(kept) :]
    assert told.watermark.mark(ActivityType.OPENED).floor_ms == (forgotten[0] + 1 if forgotten else None)


def test_rows_below_the_floor_are_dropped_though_the_api_sends_them() -> None:
    """The bounces ignore `created_since`: those that were forgotten are not published again."""
    reading = Reading("a", (BOUNCES,), remembered_min=1)
    history = [activity(NOON_MS - days * DAY_MS, ActivityType.BOUNCED) for days in (0, 10, 20)]
    first = walked(history, reading=reading)
    walk = Walk(first.watermark, reading, NOON_MS)
    assert walk.take(history, (), NOON_MS).activities == ()
    assert walk.counts.out_of_window == 2


def test_start_date_bounds_what_is_asked_and_published() -> None:
    """Without a floor `created_since` is START_DATE; what is older is dropped, also from the bounces."""
    reading = Reading("a", ("opens", BOUNCES), start_ms=NOON_MS)
    walk = Walk(Watermark(), reading, NOON_MS)
    assert walk.since_ms("opens") == NOON_MS
    page = [activity(NOON_MS - 1, ActivityType.BOUNCED), activity(NOON_MS, ActivityType.BOUNCED)]
    assert walk.take(page, (), NOON_MS).activities == (page[1],)


def test_the_later_of_start_date_and_floor_is_asked_with() -> None:
    """A floor above START_DATE wins, and the other way round."""
    watermark = Watermark((Mark(ActivityType.OPENED, NOON_MS, (Span(0, NOON_MS - DAY_MS),)),))
    for start_ms, since_ms in ((NOON_MS - 9 * DAY_MS, NOON_MS - DAY_MS), (NOON_MS, NOON_MS)):
        reading = Reading("a", ("opens",), start_ms=start_ms)
        assert Walk(watermark, reading, NOON_MS).since_ms("opens") == since_ms


def test_an_earlier_start_date_brings_the_older_activities() -> None:
    """Moving START_DATE back, or taking it away, publishes what it had held back, once."""
    history = [activity(NOON_MS - days * DAY_MS) for days in range(5)]
    first = walked(history, reading=Reading("a", start_ms=NOON_MS - DAY_MS))
    second = walked(history, first.watermark)
    assert by_time([*first.published, *second.published]) == by_time(history)


# --- the bounds -----------------------------------------------------------------------------------


def ordered(history: Sequence[Activity], order: str) -> list[Activity]:
    """`history` comes newest first."""
    if order == "shuffled":
        return random.Random(7).sample(list(history), k=len(history))
    return list(history) if order == "newest first" else list(reversed(history))


def paged(history: Sequence[Activity]) -> list[Sequence[Activity]]:
    return [history[at : at + 500] for at in range(0, len(history), 500)]


@pytest.mark.parametrize("order", ["newest first", "oldest first", "shuffled"])
def test_memory_is_flat_in_a_walk_of_any_length(order: str) -> None:
    """In a walk of 30,000 rows no marker holds more than two full memories and a page."""
    walk = Walk(Watermark(), ALL, NOON_MS)
    sizes, published = [], 0
    for page in paged(ordered(minutely(30_000), order)):
        published += len(walk.take(page, (), NOON_MS).activities)
        sizes.append(len(walk.progress(ALL_REPORT, "token").candidates))
    assert published == 30_000
    assert max(sizes) <= KEY_BYTES * (2 * MAX_REMEMBERED + 500)
    assert len(walk.finish().remembered) <= KEY_BYTES * MAX_REMEMBERED


@pytest.mark.parametrize("order", ["newest first", "oldest first", "shuffled"])
def test_the_walk_after_a_long_one_publishes_nothing(order: str) -> None:
    """What a long walk forgot lies below the floor, so it does not come again."""
    history = ordered(minutely(20_000), order)
    first = Walk(Watermark(), ALL, NOON_MS)
    for page in paged(history):
        first.take(page, (), NOON_MS)
    watermark = first.finish()
    second = Walk(watermark, ALL, NOON_MS)
    assert not any(second.take(page, (), NOON_MS).activities for page in paged(history))
    assert second.finish() == watermark


def test_a_long_walk_knows_what_was_remembered_before_it() -> None:
    """What it meets again after making room in memory is still known."""
    known = minutely(100, newest_ms=NOON_MS - 30 * DAY_MS)
    watermark = walked(known).watermark
    added = minutely(2 * MAX_REMEMBERED + 1_000)
    assert len(walked([*added, *known], watermark).published) == len(added)


def test_the_floor_lies_a_millisecond_above_what_is_forgotten() -> None:
    """An activity of that very millisecond is remembered, so it does not come again."""
    reading = replace(ALL, overlap_h=1, remembered_min=3)
    old_ms = NOON_MS - 2 * HOUR_MS
    history = [activity(NOON_MS), *(activity(old_ms - ago_ms) for ago_ms in range(4))]
    first = walked(history, reading=reading)
    assert first.remembered_ms == [NOON_MS, old_ms, old_ms - 1]
    assert first.watermark.mark(ActivityType.OPENED).floor_ms == old_ms - 1
    assert walked(history, first.watermark, reading).published == []


def test_at_5_000_activities_inside_the_overlap_the_floor_rises_all_the_same() -> None:
    """The bound holds, the watermark says so, and what was forgotten is not published again."""
    history = minutely(MAX_REMEMBERED + 100)
    first = walked(history)
    assert len(first.remembered_ms) == MAX_REMEMBERED
    assert first.is_memory_full
    assert first.watermark.mark(ActivityType.OPENED).floor_ms == history[MAX_REMEMBERED].occurred_ms + 1
    assert walked(history, first.watermark).published == []


def test_a_full_memory_is_told_also_when_the_bound_falls_into_one_millisecond() -> None:
    """That the promised window is shorter is told whatever the stamps at the bound are."""
    tied = activity(NOON_MS - (MAX_REMEMBERED - 1) * 60_000, ActivityType.SENT)
    first = walked([*minutely(MAX_REMEMBERED), tied])
    assert first.watermark.mark(ActivityType.OPENED).floor_ms is not None
    assert first.is_memory_full


def test_a_stamp_in_the_future_is_published_and_moves_no_mark_past_now() -> None:
    """It is published once, as it is, and counted."""
    future, past = activity(NOON_MS + DAY_MS), activity(NOON_MS - 1)
    walk = Walk(Watermark(), ALL, NOON_MS)
    assert walk.take([future, past], (), NOON_MS).activities == (past, future)
    assert walk.counts.in_future == 1
    watermark = walk.finish()
    assert watermark.mark(ActivityType.OPENED) == Mark(ActivityType.OPENED, past.occurred_ms)
    assert walked([future, past], watermark).published == []


def test_thousands_of_future_stamps_do_not_raise_the_floor_into_the_future() -> None:
    """An activity of the present is published also after more future stamps than are remembered."""
    future = minutely(MAX_REMEMBERED + 100, newest_ms=NOON_MS + 30 * DAY_MS)
    first = walked(future)
    assert (first.watermark.mark(ActivityType.OPENED).floor_ms or 0) <= NOON_MS
    later_ms = NOON_MS + HOUR_MS
    present = activity(later_ms, ActivityType.CLICKED)
    assert present in walked([*future, present], first.watermark, now_ms=later_ms).published


def test_future_stamps_do_not_take_the_window_away_from_the_present() -> None:
    """A row of yesterday that is inserted late is published, though many rows carry a future stamp."""
    history = [*minutely(300, newest_ms=NOON_MS + 30 * DAY_MS), *minutely(50)]
    first = walked(history)
    late = activity(NOON_MS - DAY_MS, ActivityType.BOUNCED)
    assert walked([*history, late], first.watermark, now_ms=NOON_MS + HOUR_MS).published == [late]


# --- unreadable rows ------------------------------------------------------------------------------


def test_an_unreadable_row_is_told_once() -> None:
    """By its digest: on the same page, on a later one, after an interruption, in the next walk."""
    one, other = "0123456789abcdef", "fedcba9876543210"
    walk = Walk(Watermark(), ALL, NOON_MS)
    assert walk.take([], [one, one], NOON_MS).unreadable == (one,)
    walk = Walk.resume(Watermark(), ALL, walk.progress(ALL_REPORT, "token"))
    assert walk.take([], [other, one], NOON_MS).unreadable == (other,)
    again = Walk(walk.finish(), ALL, NOON_MS)
    assert again.take([], [one, other], NOON_MS).unreadable == ()


def test_the_digests_of_unreadable_rows_are_bounded() -> None:
    """Only the last ones are remembered."""
    walk = Walk(Watermark(), ALL, NOON_MS)
    walk.take([], [f"{number:016x}" for number in range(MAX_UNREADABLE + 10)], NOON_MS)
    assert len(walk.finish().unreadable) == 8 * MAX_UNREADABLE


# --- what is stored -------------------------------------------------------------------------------


@given(HISTORIES, READINGS)
def test_marks_are_stored_and_read_back(history: list[Activity], reading: Reading) -> None:
    """The JSON of the marks is the marks."""
    marks = walked(history, reading=reading).watermark.marks
    assert marks_from_json(marks_to_json(marks)) == marks


@pytest.mark.parametrize(
    "changed",
    [replace(ALL, account="b"), replace(ALL, reports=("opens",)), replace(ALL, start_ms=NOON_MS)],
)
def test_a_marker_knows_the_settings_it_belongs_to(changed: Reading) -> None:
    """A change of account, reports or START_DATE changes the fingerprint."""
    assert changed.fingerprint != ALL.fingerprint


def test_a_walk_interrupted_for_days_forgets_no_more_than_when_it_began() -> None:
    """What came in late during the interruption, on pages read before it, is still in the next window."""
    reading = replace(ALL, overlap_h=96, remembered_min=1)
    walk = Walk(Watermark(), reading, NOON_MS)
    days_old = [activity(NOON_MS - days * DAY_MS) for days in range(9)]
    walk.take(days_old, (), NOON_MS)
    later_ms = NOON_MS + 3 * DAY_MS
    walk = Walk.resume(Watermark(), reading, walk.progress(ALL_REPORT, "token"))
    walk.take([activity(later_ms)], (), later_ms)
    watermark = walk.finish()
    assert walk.since_ms(ALL_REPORT) is None
    floor_ms = watermark.mark(ActivityType.OPENED).floor_ms
    assert floor_ms is not None
    assert floor_ms <= NOON_MS - 96 * HOUR_MS
    late = activity(NOON_MS - DAY_MS + 1)
    assert late in walked([late], watermark, reading, now_ms=later_ms).published


# --- a resync ---------------------------------------------------------------------------------------


@given(HISTORIES, READINGS, SEEDS, HISTORY_TIMES_MS, st.booleans())
def test_a_resync_publishes_again_from_its_date_and_then_nothing(
    history: list[Activity], reading: Reading, seed: int, resync_ms: int, interrupted: bool
) -> None:
    """Everything from the date on comes exactly once more, forgotten or not; no mark falls for it."""
    first = walked(history, reading=reading).watermark
    asked = replace(first, resync_ms=resync_ms)
    again = walked(history, asked, reading, seed=seed, interrupted=interrupted)
    assert by_time(again.published) == by_time(
        [of for of in in_window(history, reading) if of.occurred_ms >= resync_ms]
    )
    assert again.watermark.resync_ms is None
    for mark in first.marks:
        after = again.watermark.mark(mark.type)
        assert (after.floor_ms or 0) >= (mark.floor_ms or 0)
        assert after.through_ms == mark.through_ms
    assert walked(history, again.watermark, reading).published == []


def test_a_long_resync_repeats_what_its_memory_has_already_let_go() -> None:
    """Beyond what a walk can hold the rest of a resync still comes, and each activity once."""
    history = minutely(3 * MAX_REMEMBERED)
    first = walked(history).watermark
    again = walked(history, replace(first, resync_ms=history[-1].occurred_ms))
    assert by_time(again.published) == by_time(history)


def test_a_resync_tells_what_was_published_before() -> None:
    """Remembered and forgotten activities were, new ones were not."""
    history = [activity(NOON_MS - days * DAY_MS) for days in (0, 1, 20, 30)]
    reading = Reading("a", remembered_min=1)
    watermark = replace(walked(history, reading=reading).watermark, resync_ms=1)
    walk = Walk(watermark, reading, NOON_MS)
    assert [walk.is_again(of) for of in history] == [True] * 4
    assert not walk.is_again(activity(NOON_MS - 5))


# --- settings that change over an existing state --------------------------------------------------


@st.composite
def settings_over_time(draw: st.DrawFn) -> list[tuple[int, Reading]]:
    """For each walk how many activities there are by then, and what is read."""
    steps = draw(st.lists(st.integers(0, 25), min_size=2, max_size=7))
    starts = st.none() | st.integers(0, sum(steps)).map(lambda n: NOON_MS + n * HOUR_MS)
    readings = st.builds(
        Reading,
        account=st.just("a"),
        reports=REPORTS,
        start_ms=starts,
        overlap_h=st.sampled_from([1, 4]),
        remembered_min=st.sampled_from([1, 3]),
    )
    return [(sum(steps[: n + 1]), draw(readings)) for n in range(len(steps))]


@given(settings_over_time(), st.randoms(use_true_random=False))
def test_whatever_the_settings_become_all_that_they_ask_for_is_published_once(
    walks: list[tuple[int, Reading]], chance: random.Random
) -> None:
    """What was never asked for, or not read for a while, is not taken for what is forgotten.

    Also behind a floor: of ten activities and more only the newest few are remembered.
    """
    types = [chance.choice(list(ActivityType)) for _ in range(walks[-1][0])]
    history = [activity(NOON_MS + n * HOUR_MS, type_) for n, type_ in enumerate(types)]
    watermark, published = Watermark(), list[Activity]()
    for count, reading in walks:
        now_ms = NOON_MS + count * HOUR_MS
        told = walked(history[:count], watermark, reading, now_ms=now_ms, interrupted=chance.random() < 0.5)
        watermark = replace(told.watermark, marks=marks_from_json(marks_to_json(told.watermark.marks)))
        published += told.published
        assert set(in_window(history[:count], reading)) <= set(published)
    assert len(published) == len(set(published))


def test_a_start_date_that_moves_back_brings_the_time_between() -> None:
    """Forty activities that were never asked for come, though 250 newer ones raised a floor."""
    history = [activity(NOON_MS - n * HOUR_MS) for n in range(290)]
    reading = Reading("a", start_ms=NOON_MS - 249 * HOUR_MS, overlap_h=24, remembered_min=10)
    first = walked(history, reading=reading)
    assert len(first.published) == 250
    for start_ms, between in ((NOON_MS - 279 * HOUR_MS, 30), (None, 40)):
        again = walked(history, first.watermark, replace(reading, start_ms=start_ms))
        assert len(again.published) == between
        assert walked(history, again.watermark, replace(reading, start_ms=start_ms)).published == []


def test_a_mark_of_the_version_before_does_not_bring_what_it_forgot() -> None:
    """It does not say what was asked for: the start date of its next walk stands for that."""
    history = [activity(NOON_MS - n * HOUR_MS) for n in range(290)]
    reading = Reading("a", start_ms=NOON_MS - 249 * HOUR_MS, overlap_h=24, remembered_min=10)
    first = walked(history, reading=reading)
    stored = {mark.type.report: [mark.through_ms, mark.floor_ms] for mark in first.watermark.marks}
    again = walked(history, replace(first.watermark, marks=marks_from_json(json.dumps(stored))), reading)
    assert again.published == []
    assert len(walked(history, again.watermark, replace(reading, start_ms=None)).published) == 40


def test_a_full_memory_keeps_half_for_types_that_are_not_read() -> None:
    """What it gives up of them raises their floor; what comes of them later is found all the same."""
    sends = [activity(NOON_MS - n - 9, ActivityType.SENT) for n in range(MAX_REMEMBERED)]
    opens = [activity(NOON_MS - n - 9, ActivityType.OPENED) for n in range(MAX_REMEMBERED)]
    watermark = walked(sends, reading=Reading("a", ("sends",))).watermark
    narrowed = walked([*sends, *opens], watermark, Reading("a", ("opens",)))
    assert narrowed.is_memory_full
    assert len(narrowed.remembered_ms) <= MAX_REMEMBERED
    late = activity(NOON_MS, ActivityType.SENT)
    widened = walked([*sends, late, *opens], narrowed.watermark, ALL)
    assert widened.published == [late]


@pytest.mark.parametrize("is_newest_first", [True, False])
@pytest.mark.parametrize("restart_at", [21, 23, 24])
def test_a_long_walk_that_begins_anew_repeats_nothing(is_newest_first: bool, restart_at: int) -> None:
    """Though it no longer remembers all that it published: that part it knows by its time and type."""
    chance = random.Random(restart_at)
    types = [ActivityType.SENT, *chance.choices(list(ActivityType), k=11_998), ActivityType.BOUNCED]
    history = [activity(NOON_MS - n * 60_000, type_) for n, type_ in enumerate(types)]
    ordered = history if is_newest_first else history[::-1]
    pages = [ordered[at : at + 500] for at in range(0, len(ordered), 500)]
    reading = Reading("a", overlap_h=1, remembered_min=10)
    walk, published = Walk(Watermark(), reading, NOON_MS), list[Activity]()
    for page in pages[:restart_at]:
        published += walk.take(page, (), NOON_MS).activities
    stored = progress_from_json(progress_to_json(walk.progress(ALL_REPORT, None)))
    walk = Walk.resume(Watermark(), reading, stored)
    for page in pages:
        published += walk.take(page, (), NOON_MS).activities
    assert len(published) == len(set(published)) == len(history)


def test_what_was_never_asked_for_is_not_given_up_with_what_is_remembered() -> None:
    """Clicks lie among the opens that have no room beside them, and come once they are asked for."""
    opens = minutely(MAX_REMEMBERED)
    clicks = [activity(of.occurred_ms - 1, ActivityType.CLICKED) for of in opens]
    history, keep = [*opens, *clicks], MAX_REMEMBERED
    first = walked(history, reading=Reading("a", ("opens",), remembered_min=keep))
    later = Reading("a", ("clicks",), start_ms=NOON_MS, remembered_min=keep)
    narrowed = walked(history, first.watermark, later)
    assert narrowed.is_memory_full
    widened = walked(history, narrowed.watermark, replace(later, start_ms=None))
    assert by_time(widened.published) == by_time(clicks)


@pytest.mark.parametrize("shift", [2, 500])
def test_rows_that_come_in_during_a_long_walk_shift_nothing_out_of_memory(shift: int) -> None:
    """New rows push the last ones of a page onto the next, whenever memory is given up."""
    reading, published = Reading("a", overlap_h=1, remembered_min=10), list[Activity]()
    rows = minutely(24 * 500)
    for at in (20, 21, 22):
        walk = Walk(Watermark(), reading, NOON_MS)
        published = []
        for number in range(24):
            begin = number * 500 - (shift if number > at else 0)
            published += walk.take(rows[begin : begin + 500], (), NOON_MS).activities
        assert len(published) == len(set(published))


@pytest.mark.parametrize("reports", [(ALL_REPORT,), ("sends", "opens")])
def test_floors_that_differ_by_type_hide_nothing(reports: tuple[str, ...]) -> None:
    """A call that reads several types asks from the earliest of their floors on."""
    marks = (
        Mark(ActivityType.SENT, NOON_MS, (Span(0, NOON_MS - HOUR_MS),)),
        Mark(ActivityType.OPENED, NOON_MS, (Span(0, NOON_MS - 9 * HOUR_MS),)),
    )
    missed = activity(NOON_MS - 8 * HOUR_MS, ActivityType.OPENED)
    forgotten = activity(NOON_MS - 8 * HOUR_MS, ActivityType.SENT)
    told = walked([missed, forgotten], Watermark(marks), Reading("a", reports))
    assert told.published == [missed]


# At which step the bus takes how much of a page, and whether the cursor expires before the next try.
FAULTS = st.dictionaries(st.integers(0, 60), st.tuples(st.integers(0, 5), st.booleans()), max_size=12)


@given(history=st.lists(HISTORY_TIMES_MS, min_size=25, max_size=60), faults=FAULTS)
def test_a_page_that_is_published_in_part_repeats_nothing_when_it_is_read_again(
    history: list[int], faults: dict[int, tuple[int, bool]]
) -> None:
    """Whatever the walk forgot meanwhile, at a bound of a few activities instead of thousands."""
    rows = [activity(time_ms, link_id=str(n)) for n, time_ms in enumerate(sorted(history, reverse=True))]
    pages = [rows[at : at + 5] for at in range(0, len(rows), 5)]
    reading = Reading("a", overlap_h=1, remembered_min=1)
    published: list[Activity] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{Walk.__module__}.MAX_REMEMBERED", 6)
        walk, at, step = Walk(Watermark(), reading, NOON_MS), 0, 0
        while at < len(pages):
            fresh = walk.take(pages[at], (), NOON_MS)
            accepted, has_expired = faults.get(step, (len(fresh.activities), False))
            published += fresh.activities[:accepted]
            walk.take_back(fresh.activities[accepted:])
            at = 0 if has_expired else at + (accepted >= len(fresh.activities))
            marker = progress_to_json(walk.progress(ALL_REPORT, str(at) if at else None))
            walk, step = Walk.resume(Watermark(), reading, progress_from_json(marker)), step + 1
    assert by_time(published) == by_time(rows)


def test_a_mark_of_the_version_before_that_forgot_nothing_hides_nothing() -> None:
    """It stored no floor: all that is not remembered can come."""
    assert marks_from_json('{"opens":[5,null]}') == (Mark(ActivityType.OPENED, 5),)


def test_a_long_walk_that_is_given_up_remembers_its_newest() -> None:
    """There is no room for the oldest, which count as forgotten: the next walk repeats none of either."""
    reading = Reading("a", overlap_h=1, remembered_min=MAX_REMEMBERED)
    old = [activity(NOON_MS - 99 * DAY_MS - n) for n in range(MAX_REMEMBERED)]
    first = walked(old, reading=reading)
    new = minutely(MAX_REMEMBERED + 1_000)
    walk = Walk(first.watermark, reading, NOON_MS)
    for at in range(0, len(new), 500):
        walk.take(new[at : at + 500], (), NOON_MS)
    watermark = first.watermark.with_published(walk.progress(ALL_REPORT, "next"))
    assert walked([*new, *old], watermark, reading).published == []


def test_of_what_is_not_read_the_newest_half_is_kept() -> None:
    """The older half is forgotten, so that a wider setting later asks for as little as it can."""
    sends = [activity(NOON_MS - n - 9, ActivityType.SENT) for n in range(MAX_REMEMBERED)]
    watermark = walked(sends, reading=Reading("a", ("sends",), remembered_min=MAX_REMEMBERED)).watermark
    narrowed = walked(sends, watermark, Reading("a", ("opens",), remembered_min=MAX_REMEMBERED))
    newest_ms = sorted((of.occurred_ms for of in sends), reverse=True)[: MAX_REMEMBERED // 2]
    assert sorted(narrowed.remembered_ms, reverse=True) == newest_ms


def test_the_earliest_of_too_many_spans_become_one() -> None:
    """Eight are kept: the gaps between the later ones stay gaps, those between the earliest are closed."""
    spans = [(n * 10, n * 10 + 5) for n in range(12)]
    kept = united(spans)
    assert len(kept) == MAX_SPANS
    assert kept[0] == Span(0, 45)
    assert [(span.from_ms, span.to_ms) for span in kept[1:]] == spans[5:]


def test_a_span_that_a_clock_ahead_began_is_one_whose_beginning_is_not_known() -> None:
    """Nothing of now is taken for forgotten."""
    ahead = Mark(ActivityType.SENT, NOON_MS, (Span(NOON_MS + 5, NOON_MS + 9),))
    (mark,) = set_right(Watermark((ahead,)), NOON_MS).marks
    assert mark.forgotten == (Span(None, NOON_MS),)


# --- what campaigns' reports published --------------------------------------------------------------


def reported(*activities: Activity) -> Watermark:
    """What a contact knows after reports published these."""
    return Watermark((), b"", reported=pack(activity_key("a", of) for of in activities))


def resumed(walk: Walk, report: str = ALL_REPORT) -> Walk:
    """The walk in another invocation: from its beginning if it is undecided."""
    stored = progress_to_json(walk.progress(report, None if walk.is_undecided else "token"))
    return Walk.resume(walk.watermark, walk.reading, progress_from_json(stored))


@given(HISTORIES, st.sets(st.integers(0, 39)), READINGS, SEEDS, st.booleans())
def test_a_walk_publishes_what_reports_did_not(
    history: list[Activity], places: set[int], reading: Reading, seed: int, interrupted: bool
) -> None:
    """And remembers both: neither walk nor report has anything left; what was not shown stays apart."""
    told_before = [of for place, of in enumerate(history) if place in places]
    told = walked(history, reported(*told_before), reading, seed=seed)
    expected = [of for of in in_window(history, reading) if of not in told_before]
    # A row that is whole hours from a report's row is decided once its like is shown.
    assert by_time(told.published) == by_time(expected)
    unshown = [of for of in told_before if of not in in_window(history, reading)]
    assert set(unpack(told.watermark.reported)) <= {activity_key("a", of) for of in unshown}
    again = walked(history, told.watermark, reading, seed=seed + 1, interrupted=interrupted)
    assert again.published == []


HOURS = st.integers(1, 14) | st.integers(-14, -1)


@given(HOURS, st.booleans(), SEEDS)
def test_a_row_at_a_reported_rows_minute_is_the_same_unless_both_are_shown(
    hours: int, is_like_shown: bool, seed: int
) -> None:
    """Both happened if this walk shows both; otherwise the stamps differ, and it counts as shifted."""
    own, like = activity(NOON_MS - 20 * HOUR_MS), activity(NOON_MS - 20 * HOUR_MS + hours * HOUR_MS)
    others = minutely(5, newest_ms=NOON_MS - 30_000)
    walk, published = Walk(reported(like), ALL, NOON_MS), list[Activity]()
    for page in pages_of([own, *others, *([like] if is_like_shown else [])], seed):
        published += walk.take(page, (), NOON_MS).activities
    assert walk.is_undecided is not is_like_shown
    assert walk.shifted_by_type() == ({} if is_like_shown else {ActivityType.OPENED: 1})
    watermark = walk.finish()
    assert by_time(published) == by_time([*others, *([own] if is_like_shown else [])])
    assert walk.counts.shifted == (not is_like_shown)
    assert activity_key("a", own) in unpack(watermark.remembered)
    assert activity_key("a", like) in unpack(watermark.remembered)
    assert walked([own, *others, like], watermark, seed=seed).published == []


@pytest.mark.parametrize("hours", [0.5, 15, -15, 1 + 1 / HOUR_MS])
def test_a_row_that_is_no_like_of_a_reported_one_is_published(hours: float) -> None:
    """Not by whole hours, or by too many; nor one of another type or link."""
    like = activity(NOON_MS)
    at_ms = NOON_MS + round(hours * HOUR_MS)
    history = [activity(at_ms)]
    assert walked(history, reported(like)).published == history
    for other in (
        activity(NOON_MS - HOUR_MS, ActivityType.CLICKED),
        activity(NOON_MS - HOUR_MS, link_id="1"),
    ):
        assert walked([other], reported(like)).published == [other]


def test_a_row_of_a_report_stands_for_one_row_only() -> None:
    """Of two rows that may be the same as one, the second happened."""
    like, one, other = (activity(NOON_MS - hours * HOUR_MS) for hours in (5, 6, 7))
    walk = Walk(reported(like), ALL, NOON_MS)
    assert walk.take([one], (), NOON_MS).activities == ()
    assert walk.take([one, other], (), NOON_MS).activities == (other,)
    assert walk.take([one, other], (), NOON_MS).activities == ()


def test_what_an_earlier_walk_published_is_no_like() -> None:
    """A contact's own walks agree with themselves: only reports' rows may be shifted."""
    first, later = activity(NOON_MS - HOUR_MS), activity(NOON_MS)
    assert walked([first, later], walked([first]).watermark).published == [later]


def test_a_like_that_the_walk_cannot_show_decides_nothing() -> None:
    """It lies before the start date: a row is published rather than held back for it."""
    like, own = activity(NOON_MS - 5 * HOUR_MS), activity(NOON_MS)
    reading = replace(ALL, start_ms=NOON_MS - HOUR_MS)
    assert walked([like, own], reported(like), reading).published == [own]


def test_a_walk_that_is_interrupted_leaves_the_decision_to_the_next_one() -> None:
    """It counts nothing as shifted, publishes nothing of it, and no floor passes it."""
    reading = replace(ALL, overlap_h=1, remembered_min=1)
    like, own = activity(NOON_MS - 40 * HOUR_MS), activity(NOON_MS - 45 * HOUR_MS)
    old = activity(NOON_MS - 44 * HOUR_MS - 60_000)
    walk = Walk(reported(like), reading, NOON_MS)
    walk.take([own], (), NOON_MS)
    walk = resumed(walk)
    assert walk.take([own, old, activity(NOON_MS)], (), NOON_MS).activities == (old, activity(NOON_MS))
    assert walk.shifted_by_type() == {}
    watermark = walk.finish()
    assert walk.counts.shifted == 0
    floor_ms = watermark.mark(ActivityType.OPENED).floor_ms
    assert floor_ms is None or floor_ms <= own.occurred_ms
    assert activity_key("a", own) not in unpack(watermark.remembered)
    shifted = walked([own, old, activity(NOON_MS)], watermark, reading)
    assert shifted.published == []
    both = walked([own, like, old, activity(NOON_MS)], watermark, reading)
    assert both.published == [own]


@pytest.mark.parametrize("accepted", [0, 1])
def test_what_the_bus_did_not_take_of_an_earlier_page_is_read_again(accepted: int) -> None:
    """A row of page one waits for its like on page two. If the bus takes it not, the walk begins again."""
    reading = replace(ALL, overlap_h=1, remembered_min=1)
    own, like, new = activity(NOON_MS - 50 * HOUR_MS), activity(NOON_MS - 49 * HOUR_MS), activity(NOON_MS)
    walk = Walk(reported(like), reading, NOON_MS)
    assert walk.take([own], (), NOON_MS).activities == ()
    fresh = walk.take([like, new], (), NOON_MS).activities
    assert fresh == (own, new)
    walk.take_back(fresh[accepted:])
    assert walk.is_undecided is (accepted == 0)
    walk = resumed(walk)
    again = [*walk.take([own], (), NOON_MS).activities, *walk.take([like, new], (), NOON_MS).activities]
    assert again == list(fresh[accepted:])
    assert walked([own, like, new], walk.finish(), reading).published == []


def test_a_walk_that_drops_memory_publishes_what_it_set_aside() -> None:
    """It cannot tell any more what it has shown: twice is better than never."""
    own, like = activity(NOON_MS + HOUR_MS // 2 + 1), activity(NOON_MS - HOUR_MS // 2 + 1)
    walk = Walk(reported(like), ALL, NOON_MS + HOUR_MS)
    assert walk.take([own], (), NOON_MS + HOUR_MS).activities == ()
    published: list[Activity] = []
    for page in paged(minutely(2 * MAX_REMEMBERED + 1_000)):
        published += walk.take(page, (), NOON_MS + HOUR_MS).activities
    assert own in published
    assert not walk.is_undecided
    assert len(published) == 2 * MAX_REMEMBERED + 1_001


# --- what reports add while others write -------------------------------------------------------------

KEYS = st.sets(
    st.integers(-50, 50).map(lambda h: activity_key("a", activity(NOON_MS + h * HOUR_MS))), max_size=6
)
RESYNCS = st.tuples(st.integers(-50, 50).map(lambda h: NOON_MS + h * HOUR_MS), st.integers(1, 9))


@given(KEYS, KEYS, KEYS, st.none() | RESYNCS, st.none() | RESYNCS)
def test_what_a_report_published_is_known_whatever_was_asked_for_meanwhile(
    remembered: set[bytes],
    known: set[bytes],
    keys: set[bytes],
    before: tuple[int, int] | None,
    after: tuple[int, int] | None,
) -> None:
    """It counts as reported, unless a resync was asked for since: that wants it again."""
    watermark = Watermark((), pack(remembered), reported=pack(known))
    if before:
        watermark = watermark.with_resync(*before)
    current = watermark.with_resync(*after) if after else watermark
    told = current.with_reported(ActivityType.OPENED, keys, watermark.resync)
    assert {*unpack(told.remembered), *unpack(told.reported)} == remembered | known | keys
    assert told.resync == current.resync
    if current.resync == watermark.resync:
        assert set(unpack(told.reported)) == set(unpack(watermark.reported)) | keys
    else:
        assert set(unpack(told.remembered)) == set(unpack(current.remembered)) | keys
    assert told.marks == (Mark(ActivityType.OPENED),)
    assert told.with_reported(ActivityType.OPENED, keys, told.resync).marks == told.marks


@given(KEYS, KEYS, st.lists(RESYNCS, min_size=1, max_size=4))
def test_of_several_resyncs_the_earliest_date_holds_and_each_is_another(
    remembered: set[bytes], known: set[bytes], asked: list[tuple[int, int]]
) -> None:
    """All that was known before is one memory, which the resync looks through."""
    watermark, seen = Watermark((), pack(remembered), reported=pack(known)), set()
    for number, (from_ms, _) in enumerate(asked):
        watermark = watermark.with_resync(from_ms, number)
        assert watermark.resync not in seen
        seen.add(watermark.resync)
    assert watermark.resync_ms == min(from_ms for from_ms, _ in asked)
    assert set(unpack(watermark.remembered)) == remembered | known
    assert watermark.reported == b""


@given(KEYS, KEYS, KEYS, RESYNCS)
def test_what_a_resync_wants_again_is_what_was_published_before_it(
    remembered: set[bytes], known: set[bytes], since: set[bytes], asked: tuple[int, int]
) -> None:
    """From its date on. What reports published since is not wanted, though it is as old."""
    asked_ms = asked[0]
    since -= remembered | known
    watermark = Watermark((), pack(remembered), reported=pack(known)).with_resync(*asked)
    watermark = watermark.with_reported(ActivityType.OPENED, since, watermark.resync)
    history = [activity(NOON_MS + h * HOUR_MS) for h in range(-50, 51)]
    rows = [of for of in history if activity_key("a", of) in remembered | known | since]
    told = walked(rows, watermark, now_ms=NOON_MS + 60 * HOUR_MS)
    wanted = {key for key in remembered | known if key_time_ms(key) >= asked_ms}
    assert {activity_key("a", of) for of in told.published} == wanted
    assert walked(rows, told.watermark, now_ms=NOON_MS + 60 * HOUR_MS).published == []


@given(KEYS, KEYS, KEYS, st.none() | RESYNCS)
def test_a_walk_that_gives_way_keeps_what_it_published(
    candidates: set[bytes], remembered: set[bytes], keys: set[bytes], asked: tuple[int, int] | None
) -> None:
    """After a report's write it goes on; a resync ends it. Either way all of it is known."""
    before = Watermark((), pack(remembered))
    marker = replace(Walk(before, ALL, NOON_MS).progress(ALL_REPORT, "next"), candidates=pack(candidates))
    stored = Contact("1", NOON_MS, NOON_MS, watermark=before, held_until_ms=NOON_MS + 1)
    stored = replace(stored, watermark=before.with_reported(ActivityType.OPENED, keys, before.resync))
    if asked:
        stored = stored.resynced(*asked)
    after = stored.given_way(before, marker)
    assert after.held_until_ms is None
    assert after.progress == (None if asked else marker)
    known = {*unpack(after.watermark.remembered), *unpack(after.watermark.reported)}
    assert known | (candidates if after.progress else set()) == remembered | keys | candidates
    assert after.watermark.resync == stored.watermark.resync
    assert set(unpack(after.watermark.reported)) == (set() if asked else keys)


@given(KEYS, KEYS, KEYS, RESYNCS, st.booleans())
def test_a_resync_ends_a_walk_and_loses_nothing_of_it(
    candidates: set[bytes],
    remembered: set[bytes],
    known: set[bytes],
    asked: tuple[int, int],
    is_walking: bool,
) -> None:
    """The contact is due at once; what the walk and the reports published is remembered as published."""
    from_ms, number = asked
    before = Watermark((), pack(remembered), reported=pack(known))
    marker = replace(Walk(before, ALL, NOON_MS).progress(ALL_REPORT, "next"), candidates=pack(candidates))
    stored = Contact("1", 0, NOON_MS + DAY_MS, watermark=before, progress=marker if is_walking else None)
    after = stored.resynced(from_ms, NOON_MS + number)
    assert (after.due_ms, after.progress) == (NOON_MS + number, None)
    assert after.watermark.resync == (from_ms, NOON_MS + number)
    expected = remembered | known | (candidates if is_walking else set())
    assert set(unpack(after.watermark.remembered)) == expected
    assert after.watermark.reported == b""


def test_after_a_clock_that_ran_ahead_no_floor_hides_what_is_reported() -> None:
    """A floor in the future moves to where the memory begins, and reports' rows are part of it."""
    ahead = Mark(ActivityType.OPENED, NOON_MS + DAY_MS, (Span(0, NOON_MS + DAY_MS),))
    old = activity(NOON_MS - DAY_MS)
    watermark = replace(reported(old), marks=(ahead,))
    mark = set_right(watermark, NOON_MS).mark(ActivityType.OPENED)
    assert (mark.through_ms, mark.floor_ms) == (NOON_MS, old.occurred_ms)
