"""How old activities are when they are published, counted in buckets of age."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
# Each end is about twice the one before. A day is among them; the last is older than any stamp.
ENDS_S = (
    *(minutes * _MINUTE_S for minutes in (1, 2, 4, 8, 15, 30)),
    *(hours * _HOUR_S for hours in (1, 2, 4, 8, 16)),
    *(_DAY_S << doubled for doubled in range(18)),
)


def by_bucket(ages_s: Iterable[int]) -> Counter[int]:
    """Count the ages by the upper end of their bucket."""
    return Counter(next((end_s for end_s in ENDS_S if age_s <= end_s), ENDS_S[-1]) for age_s in ages_s)


def percentile_s(counts: Mapping[int, int], percent: int) -> int | None:
    """The upper end of the bucket that holds this percentile; None if nothing was counted."""
    left = math.ceil(sum(counts.values()) * percent / 100)
    for end_s in sorted(counts):
        left -= counts[end_s]
        if left <= 0:
            return end_s
    return None
