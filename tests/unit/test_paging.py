"""Pages that go round are found out, whatever their cursors are; pages that do not are let be."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.paging import MAX_EMPTY_IN_A_ROW, MAX_REPEATS, Rounds

PAGES = st.lists(st.integers(), min_size=1, max_size=40, unique=True)


@given(st.lists(st.integers(), max_size=40), PAGES)
def test_a_round_of_any_length_is_found_out(before: list[int], round_: list[int]) -> None:
    """Soon: within some times as many pages as lie before it and in it."""
    rounds = Rounds()
    pages = (page for lap in count() for page in (before if lap == 0 else round_))
    read = next(number for number, page in enumerate(pages, 1) if rounds.are_endless(page, is_empty=False))
    assert read <= 4 * (len(before) + len(round_)) + (MAX_REPEATS + 2) * 2 * len(round_)


@given(PAGES, st.integers(0, MAX_REPEATS))
def test_pages_that_come_twice_now_and_then_are_no_round(pages: list[int], repeated: int) -> None:
    """Rows that come in while a report is read shift its pages."""
    rounds = Rounds()
    shown = [page for number, page in enumerate(pages) for _ in range(2 if number < repeated else 1)]
    assert not any(rounds.are_endless(page, is_empty=False) for page in shown)


@given(st.lists(st.integers(0, MAX_EMPTY_IN_A_ROW), max_size=20))
def test_empty_pages_before_others_are_no_round(empty: list[int]) -> None:
    """However many there are in all, and whoever reads on; without a page that has rows they end."""
    rounds = Rounds()
    for number, before in enumerate(empty):
        rounds = Rounds.resume(rounds.pages, rounds.kept, rounds.repeats, rounds.empty)
        assert not any(rounds.are_endless(None, is_empty=True) for _ in range(before))
        assert not rounds.are_endless(number, is_empty=False)
    read = next(number for number in count(1) if rounds.are_endless(None, is_empty=True))
    assert read == MAX_EMPTY_IN_A_ROW + 1


@pytest.mark.parametrize("cursor", ["a", "b"])
def test_a_cursor_is_seen_the_second_time(cursor: str) -> None:
    """Another is not."""
    rounds = Rounds()
    assert not rounds.was_seen("a")
    assert rounds.was_seen(cursor) is (cursor == "a")
