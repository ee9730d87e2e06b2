"""Ages by bucket, and percentiles that are never less than the true ones."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.freshness import ENDS_S, by_bucket, percentile_s

# From 1970 to the year 2200.
AGES_S = st.integers(min_value=0, max_value=230 * 366 * 86_400)


@pytest.mark.parametrize(
    ("age_s", "end_s"), [(0, 60), (60, 60), (61, 120), (86_400, 86_400), (86_401, 172_800)]
)
def test_an_age_falls_within_the_next_end(age_s: int, end_s: int) -> None:
    """An age that is an end's own still falls within it; a day is one of the ends."""
    assert by_bucket([age_s]) == {end_s: 1}


def test_ends_grow_by_no_more_than_double() -> None:
    """So a percentile is said as less than twice what it is, from a minute on."""
    assert all(before < after <= 2 * before for before, after in pairwise(ENDS_S))


@given(ages_s=st.lists(AGES_S, min_size=1), percent=st.integers(min_value=1, max_value=100))
def test_so_many_are_within_it_and_in_the_bucket_before_are_fewer(ages_s: list[int], percent: int) -> None:
    """The end is the least under which the percentile of the ages themselves falls."""
    counts = by_bucket(ages_s)
    assert counts.total() == len(ages_s)
    true_s = sorted(ages_s)[math.ceil(len(ages_s) * percent / 100) - 1]
    assert percentile_s(counts, percent) == min(end_s for end_s in ENDS_S if end_s >= true_s)


def test_nothing_counted_has_no_percentile() -> None:
    """A day without new activity is not called fresh."""
    assert percentile_s({}, 50) is None


def test_an_age_beyond_every_end_is_counted_with_the_oldest() -> None:
    """A clock that runs centuries ahead stops no sync: its age falls into the last bucket."""
    assert by_bucket([ENDS_S[-1] + 1]) == {ENDS_S[-1]: 1}
