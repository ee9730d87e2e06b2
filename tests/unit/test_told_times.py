"""How durations, times and numbers are said."""

import pytest

from contact_activity.domain.times import parse_time
from contact_activity.operations.told_times import duration, stamp, when, when_of_several
from tests.support.told import oddly_told

NOW = "2026-11-28T11:20:00Z"


def ms(text: str) -> int:
    time_ms = parse_time(text)
    assert time_ms is not None
    return time_ms


@pytest.mark.parametrize(
    ("seconds", "told", "bound"),
    [
        (-5, "0 s", "0 s"),
        (0, "0 s", "0 s"),
        (119, "119 s", "119 s"),
        (121, "2 min", "3 min"),
        (7_199, "119 min", "120 min"),
        (10_740, "2 h", "3 h"),
        (172_799, "47 h", "48 h"),
        (172_801, "2 days", "3 days"),
        (1_000 * 86_400, "1,000 days", "1,000 days"),
    ],
)
def test_a_duration_has_one_unit(seconds: int, told: str, bound: str) -> None:
    """What passed is rounded down, what all lies within up."""
    assert (duration(seconds), duration(seconds, is_bound=True)) == (told, bound)


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2026-11-28T11:19:59.999Z", "today 11:19 UTC"),
        ("2026-11-28T00:00:00Z", "today 00:00 UTC"),
        ("2026-11-27T23:10:00Z", "yesterday 23:10 UTC"),
        ("2026-11-29T00:00:00Z", "tomorrow 00:00 UTC"),
        ("2026-11-26T23:59:00Z", "2026-11-26 23:59 UTC"),
        ("2026-11-30T00:00:00Z", "2026-11-30 00:00 UTC"),
    ],
)
def test_a_time_is_told_by_its_day(time: str, told: str) -> None:
    assert when(ms(time), ms(NOW)) == told
    assert f"{when_of_several(ms(time), ms(NOW))} UTC" == told
    assert oddly_told(told) == []


def test_a_line_of_a_stream_has_the_date_and_seconds() -> None:
    assert stamp(ms(NOW)) == "2026-11-28 11:20:00 UTC"
    assert oddly_told(stamp(ms(NOW))) == []


@pytest.mark.parametrize(
    "text", [NOW, "at 11:20", "11:20:00 UTC", "2026-11-28 11:20:00.000 UTC", "today 11:20", "today 9:05 UTC"]
)
def test_any_other_time_in_a_text_is_found(text: str) -> None:
    """By the tests that walk the outputs of the commands."""
    assert oddly_told(text)
