"""Which campaigns to look at, by the order of their list: random changes against a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.campaign_feed import (
    FIRST_EVERY_MS,
    MAX_LISTED,
    REFUSED_FOR_MS,
    WHOLE_EVERY_MS,
    CampaignFeed,
)
from contact_activity.domain.times import DAY_MS
from contact_activity.state.codec import feed_from_json, feed_to_json
from tests.support.rows import NOON_MS

IDS = st.lists(st.integers(0, 60).map(str), unique=True, max_size=30)
# A new campaign, one that is sent again by its place, or one that is deleted.
CHANGES = st.lists(st.tuples(st.sampled_from(["new", "again", "deleted"]), st.integers(0, 30)), max_size=8)


def changed(listed: list[str], changes: list[tuple[str, int]]) -> tuple[list[str], set[str]]:
    """The list after changes, and the campaigns that were sent in them and are still there."""
    after, sent = list(listed), set[str]()
    for number, (change, place) in enumerate(changes):
        if change == "new":
            after.insert(0, f"new {number}")
        elif after:
            id_ = after.pop(place % len(after))
            if change == "again":
                after.insert(0, id_)
        sent = (
            {id_ for id_ in {*sent, *after[:1]} if id_ in after} if change != "deleted" else sent & set(after)
        )
    return after, sent


def longest_in_order(listed: list[str], known: list[str]) -> int:
    """How many of the list can have stayed where they were: the most that are in the order known."""
    best: list[int] = []
    places = [known.index(id_) for id_ in listed if id_ in known]
    for number, place in enumerate(places):
        best.append(1 + max((best[at] for at in range(number) if places[at] < place), default=0))
    return max(best, default=0)


@given(IDS)
def test_nothing_moved_where_nothing_changed(listed: list[str]) -> None:
    """Nor on any page of it, nor where campaigns were deleted."""
    feed = CampaignFeed().seen(listed)
    for size in range(len(listed) + 1):
        assert feed.moved(listed[:size]) == []
    assert feed.moved(listed[::2]) == []


@given(IDS, CHANGES)
def test_all_that_moved_up_is_found_and_nothing_else(
    listed: list[str], changes: list[tuple[str, int]]
) -> None:
    """Those that are not found are in the order in which they were; those that are found were sent."""
    after, sent = changed(listed, changes)
    found = CampaignFeed().seen(listed).moved(after)
    assert set(found) <= sent
    assert found == [id_ for id_ in after if id_ in found]
    rest = [id_ for id_ in after if id_ not in found]
    assert [id_ for id_ in listed if id_ in rest] == rest


@given(IDS, CHANGES)
def test_who_moved_above_one_that_stayed_is_found(listed: list[str], changes: list[tuple[str, int]]) -> None:
    """Only what is where the list could have it anyway can have been sent without a trace."""
    after, sent = changed(listed, changes)
    found = set(CampaignFeed().seen(listed).moved(after))
    stayed = [id_ for id_ in after if id_ not in sent]
    for id_ in sent:
        if id_ not in listed or any(listed.index(id_) > listed.index(of) for of in stayed):
            assert id_ in found


@given(IDS, CHANGES, st.integers(1, 10))
def test_pages_find_the_same_as_the_whole_list(
    listed: list[str], changes: list[tuple[str, int]], size: int
) -> None:
    """As far as the page shows one that stayed: above it all that was sent is found."""
    after, _ = changed(listed, changes)
    feed = CampaignFeed().seen(listed)
    whole, page = set(feed.moved(after)), after[:size]
    found = set(feed.moved(page))
    assert found <= whole
    stayed = [place for place, id_ in enumerate(page) if id_ not in whole]
    if stayed:
        assert [id_ for id_ in page[: stayed[-1]] if id_ in whole] == [
            id_ for id_ in page[: stayed[-1]] if id_ in found
        ]


@given(IDS, CHANGES)
def test_as_few_as_possible_are_looked_at(listed: list[str], changes: list[tuple[str, int]]) -> None:
    """No fewer campaigns than those can have moved, each of which costs a call."""
    after, _ = changed(listed, changes)
    found = CampaignFeed().seen(listed).moved(after)
    new = [id_ for id_ in after if id_ not in listed]
    moved = len(found) - len(new)
    at_least = len(after) - len(new) - longest_in_order(after, listed)
    assert moved >= at_least
    assert moved <= sum(change == "again" for change, _ in changes)


@given(IDS, st.lists(st.tuples(CHANGES, st.integers(1, 40)), max_size=5))
def test_what_was_seen_is_not_found_again(
    listed: list[str], ticks: list[tuple[list[tuple[str, int]], int]]
) -> None:
    """Tick after tick, by pages of any length."""
    feed = CampaignFeed().seen(listed)
    for number, (changes, size) in enumerate(ticks):
        listed, _ = changed(listed, changes)
        listed = [f"{number} {id_}" if id_.startswith("new") else id_ for id_ in listed]
        page = listed[:size]
        feed = feed.seen(page)
        assert feed.moved(page) == []
        assert feed.listed[: len(page)] == tuple(page)
        assert len(set(feed.listed)) == len(feed.listed)


def test_what_is_known_is_bounded() -> None:
    """The newest stay, however many campaigns an account has."""
    feed = CampaignFeed().seen([str(number) for number in range(MAX_LISTED)])
    feed = feed.seen(["new", "1"])
    assert len(feed.listed) == MAX_LISTED
    assert feed.listed[:3] == ("new", "1", "0")
    assert str(MAX_LISTED - 1) not in feed.listed
    assert len(CampaignFeed().seen([str(number) for number in range(3 * MAX_LISTED)]).listed) == MAX_LISTED


# --- when to look -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_ms", "is_past"), [(-1, True), (0, False), (WHOLE_EVERY_MS - 1, False), (WHOLE_EVERY_MS, True)]
)
def test_the_list_is_read_whole_once_a_day(after_ms: int, is_past: bool) -> None:
    """And at first; a time in the future is one of a clock that ran ahead."""
    assert CampaignFeed().is_to_be_read_whole(NOON_MS)
    assert CampaignFeed(whole_ms=NOON_MS).is_to_be_read_whole(NOON_MS + after_ms) is is_past


@pytest.mark.parametrize(
    ("after_ms", "is_past"), [(-1, True), (0, False), (FIRST_EVERY_MS - 1, False), (FIRST_EVERY_MS, True)]
)
def test_the_first_of_the_list_is_looked_at_once_an_hour(after_ms: int, is_past: bool) -> None:
    """It does not move if it is sent again."""
    assert CampaignFeed().is_first_due(NOON_MS)
    assert CampaignFeed(first_ms=NOON_MS).is_first_due(NOON_MS + after_ms) is is_past


@pytest.mark.parametrize(
    ("after_ms", "is_past"), [(-1, True), (0, False), (REFUSED_FOR_MS - 1, False), (REFUSED_FOR_MS, True)]
)
def test_a_list_that_is_refused_is_asked_again_after_a_day(after_ms: int, is_past: bool) -> None:
    """Until then it costs no call."""
    assert not CampaignFeed().is_refused(NOON_MS)
    assert CampaignFeed(refused_ms=NOON_MS).is_refused(NOON_MS + after_ms) is not is_past


# --- how many calls reports take --------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, DAY_MS * 3 // 2), st.integers(0, 500)), max_size=20))
def test_calls_are_counted_by_day(steps: list[tuple[int, int]]) -> None:
    """Over midnight, and over days on which nothing was planned."""
    feed, now_ms, by_day = CampaignFeed(), NOON_MS, dict[int, int]()
    for gap_ms, calls in steps:
        now_ms += gap_ms
        feed = feed.counted(calls, now_ms)
        day = now_ms // DAY_MS
        by_day[day] = by_day.get(day, 0) + calls
        assert feed.report_calls == by_day[day]
        assert feed.report_calls_a_day(now_ms) == max(by_day[day], by_day.get(day - 1, 0))
    day = now_ms // DAY_MS
    assert feed.report_calls_a_day(now_ms + DAY_MS) == by_day.get(day, 0)
    assert feed.report_calls_a_day(now_ms + 2 * DAY_MS) == 0


FEEDS = st.builds(
    CampaignFeed,
    IDS.map(tuple),
    st.none() | st.integers(1, 2 * NOON_MS),
    st.none() | st.integers(1, 2 * NOON_MS),
    st.none() | st.integers(1, 2 * NOON_MS),
    st.integers(0, 30_000),
    st.integers(0, 9_000),
    st.integers(0, 9_000),
)


@given(FEEDS)
def test_a_feed_is_stored_and_read_back(feed: CampaignFeed) -> None:
    """The JSON of a feed is the feed."""
    assert feed_from_json(feed_to_json(feed)) == feed
