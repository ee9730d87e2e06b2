"""Which contacts are asked, and when."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.listing import (
    Listing,
    begin_listing,
    count_contacts,
    count_page,
    has_listed_its_share,
    listing_page_read,
    pages_on,
    restart_listing,
)
from contact_activity.domain.pace import Limits, Pace, take_slot
from contact_activity.domain.schedule import (
    are_too_many_gone,
    due_after_failure_ms,
    due_after_gone_ms,
    held_until_ms,
    is_held,
    latest_held_ms,
    longest_waits,
    next_due_ms,
    queued_until_ms,
    standing,
    tick_budget,
)
from contact_activity.domain.times import CLOCKS_DIFFER_MS, DAY_MS, HOUR_MS, WEEK_MS
from contact_activity.use_cases.tick import LEASE_MARGIN_MS
from tests.support.rows import NOON_MS

TICK_MS = 15 * 60_000
KEY = Limits(4, 9_000)


# --- the listing ----------------------------------------------------------------------------------


def test_the_first_listing_is_a_full_one() -> None:
    """Nothing is known yet, so every contact is asked for."""
    listing = begin_listing(Listing(), NOON_MS)
    assert (listing.is_under_way, listing.since_ms, listing.next) == (True, None, None)


def test_a_complete_listing_sets_the_mark_an_hour_before_its_start() -> None:
    """What was modified while the pages were read, and an hour before, is asked for again."""
    listing = begin_listing(Listing(), NOON_MS)
    listing = listing_page_read(count_contacts(listing, shown=500, new=500), "second")
    listing = begin_listing(listing, NOON_MS + HOUR_MS)
    assert (listing.next, listing.started_ms) == ("second", NOON_MS)
    listing = listing_page_read(count_contacts(listing, shown=7, new=7), None)
    assert listing == Listing(mark_ms=NOON_MS - HOUR_MS, full_ms=NOON_MS, contacts=507, deep_ms=NOON_MS)
    assert begin_listing(listing, NOON_MS + TICK_MS).since_ms == NOON_MS - HOUR_MS


def test_four_listings_a_day_are_deep() -> None:
    """Of 96 ticks; between them only an hour is asked for again."""
    listing, asked_h = listing_page_read(begin_listing(Listing(), NOON_MS), None), []
    for tick in range(1, 97):
        listing = begin_listing(listing, NOON_MS + tick * TICK_MS)
        assert listing.started_ms is not None
        assert listing.since_ms is not None
        asked_h.append((listing.started_ms - listing.since_ms) / HOUR_MS)
        listing = listing_page_read(listing, None)
    assert Counter(asked_h) == {1.25: 92, 30: 4}


@given(
    st.lists(st.integers(60_000, DAY_MS), min_size=1, max_size=40),
    st.integers(0, 3 * DAY_MS),
    st.integers(0, DAY_MS),
)
def test_a_contact_that_is_listed_late_is_found(gaps_ms: list[int], after_ms: int, late_ms: int) -> None:
    """Up to an hour after its date by the next listing, up to a day after it within six hours."""
    dated_ms, shown_ms = NOON_MS + after_ms - late_ms, NOON_MS + after_ms
    wait_ms = 0 if late_ms <= HOUR_MS else 6 * HOUR_MS
    listing, now_ms = listing_page_read(begin_listing(Listing(), NOON_MS - DAY_MS), None), NOON_MS - DAY_MS
    is_found = False
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        listing = begin_listing(listing, now_ms)
        is_found = is_found or (now_ms >= shown_ms and (listing.since_ms or 0) <= dated_ms)
        assert is_found or now_ms < shown_ms + wait_ms
        listing = listing_page_read(listing, None)


def test_a_listing_of_the_version_before_is_a_deep_one() -> None:
    """Its mark lay a day before each listing, and it kept no deep one."""
    known = Listing(mark_ms=NOON_MS - DAY_MS, full_ms=NOON_MS, contacts=9)
    listing = begin_listing(known, NOON_MS + TICK_MS)
    assert listing.since_ms == NOON_MS - DAY_MS
    assert listing_page_read(listing, None).deep_ms == NOON_MS + TICK_MS


@pytest.mark.parametrize(("since_ms", "most"), [(NOON_MS, 2_250), (None, 4_500)])
def test_the_list_takes_no_more_than_its_share_of_a_day(since_ms: int | None, most: int) -> None:
    """A quarter of the calls, a half where it is a full one; the next day it goes on."""
    listing = Listing("next", NOON_MS, since_ms)
    for _ in range(most):
        assert not has_listed_its_share(listing, KEY, NOON_MS)
        listing = count_page(listing, NOON_MS)
    assert has_listed_its_share(listing, KEY, NOON_MS)
    assert pages_on(listing, NOON_MS) == most
    assert not has_listed_its_share(listing, KEY, NOON_MS + DAY_MS)
    # One that begins anew each day, since its cursors do not hold overnight, would never end.
    tomorrow = replace(listing, day=NOON_MS // DAY_MS + 1, pages=most)
    assert has_listed_its_share(tomorrow, KEY, NOON_MS + DAY_MS) == (since_ms is not None)
    assert pages_on(count_page(listing, NOON_MS + DAY_MS), NOON_MS + DAY_MS) == 1


@given(st.lists(st.integers(1, 3 * DAY_MS), min_size=1, max_size=60))
def test_every_seven_days_a_listing_is_full(gaps_ms: list[int]) -> None:
    """A listing is full exactly if a week has passed since the start of the last full one."""
    listing, now_ms, full_ms = Listing(), NOON_MS, NOON_MS - WEEK_MS
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        listing = begin_listing(listing, now_ms)
        is_due = now_ms - full_ms >= WEEK_MS
        assert (listing.since_ms is None) == (is_due or full_ms < NOON_MS)
        if listing.since_ms is None:
            full_ms = now_ms
        listing = listing_page_read(listing, None)
        assert listing.mark_ms == now_ms - HOUR_MS


def test_a_restart_keeps_the_start_and_what_is_asked_for() -> None:
    """An expired cursor costs pages, but the mark can only be earlier for it."""
    under_way = Listing(next="old", started_ms=NOON_MS, since_ms=5, mark_ms=5, full_ms=3, contacts=9)
    restarted = restart_listing(under_way)
    assert begin_listing(restarted, NOON_MS + DAY_MS) == restarted
    assert listing_page_read(restarted, None).mark_ms == NOON_MS - HOUR_MS
    assert (restarted.next, restarted.since_ms, restarted.contacts) == (None, 5, 9)


# --- when a contact is due ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contacts", "wait_ms"),
    [(0, TICK_MS), (93, TICK_MS), (94, 902_400), (9_000, DAY_MS), (90_000, 10 * DAY_MS)],
)
def test_a_contact_is_due_again_as_often_as_the_budget_allows(contacts: int, wait_ms: int) -> None:
    """The wait is contacts times a day over the day's calls, and never less than a tick."""
    assert (
        next_due_ms(NOON_MS, contacts=contacts, calls_each=1, tick_ms=TICK_MS, limits=KEY)
        == NOON_MS + wait_ms
    )


@given(st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_a_sweep_fits_the_day(contacts: int, calls_per_day: int) -> None:
    """All contacts at this cadence use no more than the day's calls, but for the rounding of a ms."""
    wait_ms = next_due_ms(0, contacts=contacts, calls_each=1, tick_ms=60_000, limits=Limits(4, calls_per_day))
    assert contacts * DAY_MS <= (wait_ms + 1) * calls_per_day


def test_a_list_of_reports_is_asked_less_often() -> None:
    """Each report of a contact is a call of its own, in the cadence and in what a tick hands out."""
    due_ms = next_due_ms(0, contacts=1_000, calls_each=3, tick_ms=TICK_MS, limits=KEY)
    assert due_ms == 3 * 1_000 * DAY_MS // KEY.calls_per_day
    budget = tick_budget(
        Pace(), KEY, from_ms=NOON_MS, until_ms=NOON_MS + TICK_MS, calls_each=3, outstanding=0
    )
    assert budget == 900_000 // 313 // 3


def test_the_cadence_is_never_faster_than_the_pace() -> None:
    """A day's budget that the calls a second cannot reach promises nothing."""
    limits = Limits(4, 10_000_000)
    due_ms = next_due_ms(0, contacts=100_000, calls_each=1, tick_ms=TICK_MS, limits=limits)
    assert due_ms >= 100_000 * limits.slot_ms


def test_a_failed_contact_waits_a_tick_then_twice_as_long_up_to_a_day() -> None:
    """15, 30, 60 minutes ... 24 hours, however many failures follow."""
    waits = [due_after_failure_ms(0, failures=n, tick_ms=TICK_MS) for n in (1, 2, 3, 7, 8, 100)]
    assert waits == [TICK_MS, 2 * TICK_MS, 4 * TICK_MS, 16 * HOUR_MS, DAY_MS, DAY_MS]


def test_a_gone_contact_is_asked_again_soon_then_later_and_later() -> None:
    """After a tick, a day, 7, 14 and from then on 28 days."""
    waits = [due_after_gone_ms(0, times_gone=n, tick_ms=TICK_MS) for n in (1, 2, 3, 4, 5, 6, 100)]
    assert waits == [TICK_MS, DAY_MS, WEEK_MS, 2 * WEEK_MS, *[4 * WEEK_MS] * 3]


@pytest.mark.parametrize(
    ("newly_gone", "handed_out", "are_too_many"),
    [
        (10, 10, False),
        (11, 11, True),
        (11, 1_000, True),
        (20, 2_000, False),
        (28, 2_870, False),
        (29, 2_870, True),
    ],
)
def test_more_than_ten_and_one_percent_gone_at_once_are_too_many(
    newly_gone: int, handed_out: int, are_too_many: bool
) -> None:
    """Then it is rather the API that answers wrongly."""
    assert are_too_many_gone(newly_gone, handed_out) is are_too_many


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), min_size=1, max_size=8), st.integers(0, 10**6))
def test_a_full_listing_counts_the_contacts_anew(pages: list[tuple[int, bool]], before: int) -> None:
    """Those that are gone or forgotten no longer slow the cadence down; a restart counts afresh."""
    listing = begin_listing(Listing(contacts=before), NOON_MS)
    shown = 0
    for count, is_restarted in pages:
        listing = listing_page_read(count_contacts(listing, shown=count, new=count % 2), "next")
        shown += count
        if is_restarted:
            listing, shown = restart_listing(listing), 0
    listing = listing_page_read(listing, None)
    assert (listing.contacts, listing.counted) == (shown, None)
    later = begin_listing(listing, NOON_MS + TICK_MS)
    later = listing_page_read(count_contacts(later, shown=9, new=2), None)
    assert later.contacts == shown + 2


def test_a_listing_of_what_changed_counts_nobody_out_when_it_restarts() -> None:
    """It shows a few contacts only: the number of all of them stays, and the new ones come on top."""
    complete = listing_page_read(count_contacts(begin_listing(Listing(), NOON_MS), shown=900, new=900), None)
    restarted = restart_listing(begin_listing(complete, NOON_MS + TICK_MS))
    assert listing_page_read(count_contacts(restarted, shown=3, new=1), None).contacts == 901


# --- how many a tick hands out --------------------------------------------------------------------


def test_a_tick_hands_out_what_can_be_granted_before_the_next() -> None:
    """A quarter of an hour at 313 ms a call, less what is out already, less than the day has left."""
    budget = {"from_ms": NOON_MS, "until_ms": NOON_MS + TICK_MS, "calls_each": 1}
    assert tick_budget(Pace(), KEY, **budget, outstanding=0) == 900_000 // 313
    assert tick_budget(Pace(), KEY, **budget, outstanding=2_800) == 900_000 // 313 - 2_800
    assert tick_budget(Pace(), KEY, **budget, outstanding=5_000) == 0
    assert tick_budget(Pace(NOON_MS // DAY_MS, 8_990), KEY, **budget, outstanding=0) == 10


@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.builds(Limits, st.sampled_from([0.5, 4, 60]), st.integers(1, 300)),
    st.integers(1, 60),
)
def test_a_budget_is_never_more_than_the_limiter_grants(
    used: int, outstanding: int, limits: Limits, minutes: int
) -> None:
    """What is out and what is handed out together find their slots before the next tick."""
    pace, until_ms = Pace(NOON_MS // DAY_MS, used, NOON_MS), NOON_MS + minutes * 60_000
    budget = tick_budget(
        pace, limits, from_ms=NOON_MS, until_ms=until_ms, calls_each=1, outstanding=outstanding
    )
    for _ in range(min(budget + outstanding, 600) if budget else 0):
        slot = take_slot(pace, limits, NOON_MS)
        assert slot
        assert slot.at_ms < until_ms
        pace = slot.pace


def test_a_lost_message_delays_its_contact_by_two_ticks() -> None:
    """That long a contact counts as in a message."""
    assert queued_until_ms(NOON_MS, TICK_MS) == NOON_MS + 2 * TICK_MS


# --- a clock that was ahead -----------------------------------------------------------------------


@pytest.mark.parametrize("ahead_ms", [5 * 60_000, DAY_MS, 400 * DAY_MS])
@pytest.mark.parametrize("name", ["started_ms", "since_ms", "mark_ms", "full_ms", "deep_ms"])
def test_a_listing_after_a_clock_that_was_ahead_is_a_full_one(name: str, ahead_ms: int) -> None:
    """Whatever was changed since then is in it, also where a listing was under way."""
    for started_ms in (None, NOON_MS - HOUR_MS):
        mark_ms = NOON_MS - 2 * HOUR_MS
        since_ms = None if started_ms is None else mark_ms
        known = Listing("cursor", started_ms, since_ms, mark_ms, NOON_MS - 2 * DAY_MS)
        latest_ms = NOON_MS - (HOUR_MS if name in {"since_ms", "mark_ms"} else 0)
        listing = begin_listing(replace(known, **{name: latest_ms + ahead_ms}), NOON_MS)  # type: ignore[arg-type]
        assert (listing.started_ms, listing.since_ms, listing.next) == (NOON_MS, None, None)


STANDING = {"failures": st.integers(0, 40), "times_gone": st.integers(0, 12)}


@given(**STANDING, contacts=st.integers(0, 10**6), tick_ms=st.integers(1, 24 * 60).map(lambda m: m * 60_000))
def test_no_honest_wait_is_taken_for_a_dishonest_one(
    failures: int, times_gone: int, contacts: int, tick_ms: int
) -> None:
    """Whatever a worker sets now, by a clock that is at most a minute ahead, is within the bound."""
    waits = longest_waits(contacts=contacts, calls_each=1, tick_ms=tick_ms, limits=KEY)
    latest_ms = waits.latest_ms(NOON_MS, standing(failures=failures, times_gone=times_gone))
    now_ms = NOON_MS + CLOCKS_DIFFER_MS
    if failures:
        assert due_after_failure_ms(now_ms, failures=failures, tick_ms=tick_ms) <= latest_ms
    if times_gone:
        assert due_after_gone_ms(now_ms, times_gone=times_gone, tick_ms=tick_ms) <= latest_ms
    if not failures and not times_gone:
        due_ms = next_due_ms(now_ms, contacts=contacts, calls_each=1, tick_ms=tick_ms, limits=KEY)
        assert due_ms == latest_ms


@given(**STANDING)
def test_nobody_waits_for_longer_than_its_standing_allows(failures: int, times_gone: int) -> None:
    """The bound is what the longest of its reasons gives, and a minute for clocks that differ."""
    waits = longest_waits(contacts=1, calls_each=1, tick_ms=TICK_MS, limits=KEY)
    latest_ms = waits.latest_ms(0, standing(failures=failures, times_gone=times_gone))
    longest_ms = max(
        TICK_MS,
        DAY_MS if failures else 0,
        due_after_gone_ms(0, times_gone=times_gone, tick_ms=TICK_MS) if times_gone else 0,
    )
    assert latest_ms <= longest_ms + CLOCKS_DIFFER_MS


@pytest.mark.parametrize("behind_ms", [0, 15, CLOCKS_DIFFER_MS])
def test_clocks_may_differ_by_a_minute_and_a_hold_still_holds(behind_ms: int) -> None:
    """However long a function may run, another machine does not take its hold for a clock gone wrong."""
    longest_ms = 15 * 60_000
    assert is_held(held_until_ms(NOON_MS, longest_ms), NOON_MS - behind_ms)
    assert NOON_MS + longest_ms + LEASE_MARGIN_MS <= latest_held_ms(NOON_MS - behind_ms)
