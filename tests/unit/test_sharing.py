"""How a tick shares the day's calls: bounds that hold for any day, and days that are simulated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, ReportId, ReportProgress
from contact_activity.domain.sharing import PlannedReports, contacts_most, plan_reports
from contact_activity.domain.times import DAY_MS, HOUR_MS, midnight_after
from tests.support.rows import NOON_MS, TYPES

MINUTE_MS = 60_000
TICK_MS = 5 * MINUTE_MS
SLOT_MS = 313
MIDNIGHT_MS = NOON_MS - 12 * HOUR_MS

NOWS_MS = st.integers(0, DAY_MS - 1).map(lambda ms: MIDNIGHT_MS + ms)
TICKS_MS = st.integers(5, 60).map(lambda minutes: minutes * MINUTE_MS)
CALLS_LEFT = st.integers(0, 10_000)
CONTACTS = st.sampled_from([0, 1, 1_000, 10_000, 100_000, 1_000_000])


def report(
    number: int,
    *,
    now_ms: int = NOON_MS,
    age_ms: int = DAY_MS // 2,
    waits_ms: int = 0,
    type_: ActivityType = ActivityType.OPENED,
    is_long: bool = False,
) -> CampaignReport:
    read_ms = None if is_long else now_ms - TICK_MS
    return CampaignReport(
        ReportId(str(number), type_), now_ms - age_ms, now_ms - waits_ms, 1, read_ms, read_ms
    )


@st.composite
def due_reports(draw: st.DrawFn, now_ms: int = NOON_MS, most: int = 60) -> list[CampaignReport]:
    """Those of the newest sends first, as the stores give them."""
    reports = [
        report(
            number,
            now_ms=now_ms,
            age_ms=draw(st.integers(0, 6 * HOUR_MS)),
            waits_ms=draw(st.integers(0, HOUR_MS)),
            type_=draw(TYPES),
            is_long=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, most)))
    ]
    return sorted(reports, key=lambda of: -of.sent_ms)


def plan(
    due: Sequence[CampaignReport],
    *,
    contacts: int = 10_000,
    calls_left: int = 4_500,
    now_ms: int = NOON_MS,
    tick_ms: int = TICK_MS,
) -> PlannedReports:
    return plan_reports(
        due,
        contacts=contacts,
        trusted_ms=dict.fromkeys(ActivityType, 0),
        calls_left=calls_left,
        now_ms=now_ms,
        tick_ms=tick_ms,
        slot_ms=SLOT_MS,
    )


def numbers(planned: PlannedReports) -> list[str]:
    return [of.id.campaign_id for of in planned.reports]


def even_part(calls_left: int, now_ms: int, tick_ms: int) -> int:
    return calls_left * tick_ms // max(tick_ms, midnight_after(now_ms) - now_ms)


# --- reports ----------------------------------------------------------------------------------------


@given(due_reports(), CONTACTS, CALLS_LEFT, NOWS_MS, TICKS_MS)
def test_no_more_is_planned_than_the_day_has_left(
    due: list[CampaignReport], contacts: int, calls_left: int, now_ms: int, tick_ms: int
) -> None:
    """Each report at most once, all of them due."""
    planned = plan(due, contacts=contacts, calls_left=calls_left, now_ms=now_ms, tick_ms=tick_ms)
    assert planned.calls <= calls_left
    assert len(set(planned.reports)) == len(planned.reports)
    assert set(planned.reports) <= set(due)
    assert bool(planned.reports) is bool(due and calls_left)


@given(due_reports(most=200), CALLS_LEFT, NOWS_MS, TICKS_MS)
def test_short_reads_take_at_most_nine_tenths_of_the_ticks_part(
    due: list[CampaignReport], calls_left: int, now_ms: int, tick_ms: int
) -> None:
    """But for those of young campaigns, which may take half of the day, and for one that always goes."""
    due = [replace(of, read_ms=NOON_MS) for of in due]
    planned = plan(due, calls_left=calls_left, now_ms=now_ms, tick_ms=tick_ms)
    young = sum(now_ms - of.sent_ms < 2 * HOUR_MS for of in planned.reports)
    even = even_part(calls_left, now_ms, tick_ms) * 9 // 10
    assert young <= max(1, even + 1, calls_left // 2)
    assert len(planned.reports) <= max(1, even + 1, young + 1)


@given(st.permutations(range(12)))
def test_who_waits_longest_comes_first(waits: list[int]) -> None:
    """Among those that are no longer young, whichever was sent last."""
    due = [report(number, age_ms=(3 + number) * HOUR_MS, waits_ms=wait) for number, wait in enumerate(waits)]
    calls_left = 8 * 144 * 10 // 9  # About eight calls for this tick's reports.
    planned = plan(due, calls_left=calls_left)
    longest = sorted(range(12), key=lambda number: -waits[number])
    assert set(numbers(planned)) == {str(number) for number in longest[: len(planned.reports)]}
    assert 7 <= len(planned.reports) <= 9


def test_the_newest_sends_come_before_who_waits() -> None:
    """Most of what happens with a mailing happens in its first hours."""
    old = [report(number, age_ms=DAY_MS, waits_ms=HOUR_MS) for number in range(100, 200)]
    young = [report(number, age_ms=number * MINUTE_MS) for number in range(50)]
    planned = plan([*young, *old], calls_left=1_000)
    assert numbers(planned)[:50] == [str(number) for number in range(50)]
    assert len(planned.reports) <= 51


def test_a_first_read_of_a_young_campaign_is_not_rationed_by_the_tick() -> None:
    """It may take up to half of what the day has left: here about a hundred pages."""
    long = report(1, age_ms=HOUR_MS, is_long=True)
    planned = plan([report(0, age_ms=MINUTE_MS), long], contacts=100_000, calls_left=4_500)
    assert numbers(planned) == ["0", "1"]
    assert planned.calls == 1 + 101


@given(st.integers(1, 20), st.integers(0, 3))
def test_a_read_that_is_too_long_for_a_tick_does_not_block_the_others(short: int, long: int) -> None:
    """Whether it waits longest or not."""
    longs = [report(100 + of, waits_ms=HOUR_MS - of, is_long=True) for of in range(long)]
    shorts = [report(of, waits_ms=of) for of in range(short)]
    planned = plan([*longs, *shorts], contacts=1_000_000, calls_left=4_500)
    assert {str(of) for of in range(short)} <= set(numbers(planned))


def test_a_long_read_has_its_turn_though_young_campaigns_are_due_at_every_tick() -> None:
    """It goes on from tick to tick, so it need not fit into one: the one that waits longest goes first."""
    young = [report(number, age_ms=MINUTE_MS) for number in range(10)]
    longs = [report(100 + of, waits_ms=HOUR_MS + of, is_long=True) for of in range(2)]
    planned = plan([*young, *longs], contacts=1_000_000, calls_left=4_500)
    assert "101" in numbers(planned)
    assert planned.calls <= even_part(4_500, NOON_MS, TICK_MS)


@given(CONTACTS, TYPES, st.booleans(), st.integers(0, 2))
def test_a_read_that_is_not_finished_or_not_trusted_counts_its_pages(
    contacts: int, type_: ActivityType, is_unfinished: bool, trusted: int
) -> None:
    """About as many as its type has rows; any other read is one call."""
    of = replace(
        report(1, age_ms=0, type_=type_), progress=ReportProgress(NOON_MS, None) if is_unfinished else None
    )
    trusted_ms = {type_: (of.read_ms or 0) + trusted - 1}
    planned = plan_reports(
        [of],
        contacts=contacts,
        trusted_ms=trusted_ms,
        calls_left=9_000,
        now_ms=NOON_MS,
        tick_ms=TICK_MS,
        slot_ms=SLOT_MS,
    )
    percent = {ActivityType.SENT: 100, ActivityType.OPENED: 50}.get(type_, 5)
    pages = contacts * percent // 50_000 if is_unfinished or trusted == 2 else 0
    assert planned.calls == 1 + pages
    assert planned.work_ms >= planned.calls * SLOT_MS
    assert planned.work_ms >= pages * 4_000


@given(st.integers(1, 30), st.sampled_from([1_000, 100_000, 1_000_000]), st.integers(200, 9_000), TICKS_MS)
def test_over_a_day_every_report_is_planned(
    busy: int, contacts: int, calls_per_day: int, tick_ms: int
) -> None:
    """Also if more are due than the day has calls, and a campaign is sent in every hour."""
    seen, left = Counter[str](), calls_per_day
    waiting = {
        number: report(number, now_ms=MIDNIGHT_MS, age_ms=DAY_MS, waits_ms=number, is_long=number % 10 == 0)
        for number in range(busy)
    }
    for now_ms in range(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, tick_ms):
        young = report(1_000, now_ms=now_ms, age_ms=now_ms % HOUR_MS)
        due = [young, *(of for of in waiting.values() if of.due_ms is not None and of.due_ms <= now_ms)]
        planned = plan(due, contacts=contacts, calls_left=left, now_ms=now_ms, tick_ms=tick_ms)
        seen.update(numbers(planned))
        left -= planned.calls
        for of in planned.reports:
            if of is not young:
                read_again = replace(of, due_ms=now_ms + tick_ms, read_ms=now_ms)
                waiting[int(of.id.campaign_id)] = read_again
    assert all(seen[str(number)] for number in range(busy))


# --- contacts ---------------------------------------------------------------------------------------


def most(
    contacts: int,
    *,
    calls_left: int,
    planned: int = 0,
    a_day: int = 0,
    now_ms: int = NOON_MS,
    tick_ms: int = TICK_MS,
) -> int | None:
    return contacts_most(
        contacts=contacts,
        calls_left=calls_left,
        planned=planned,
        report_calls_a_day=a_day,
        now_ms=now_ms,
        tick_ms=tick_ms,
    )


@given(due_reports(most=200), CONTACTS, CALLS_LEFT, st.integers(0, 20_000), NOWS_MS, TICKS_MS)
def test_contacts_get_a_tenth_and_both_together_no_more_than_the_day_has(
    due: list[CampaignReport], contacts: int, calls_left: int, a_day: int, now_ms: int, tick_ms: int
) -> None:
    """But for the single call that always goes, to either of them."""
    planned = plan(due, contacts=contacts, calls_left=calls_left, now_ms=now_ms, tick_ms=tick_ms).calls
    bound = most(
        contacts, calls_left=calls_left, planned=planned, a_day=a_day, now_ms=now_ms, tick_ms=tick_ms
    )
    if bound is None:
        assert contacts + planned <= calls_left
        return
    assert bound >= 1
    assert 9 * (bound + 1) > planned
    if planned * 10 <= calls_left * 9:
        assert bound + planned <= max(calls_left, planned + 1)


@given(st.integers(1, 20_000), st.integers(0, 9_000), st.integers(0, 9_000), NOWS_MS)
def test_contacts_are_not_bounded_while_the_day_has_enough_for_all(
    contacts: int, planned: int, a_day: int, now_ms: int
) -> None:
    """For all of them once, for the reports that are planned, and for half more than those took of late."""
    rest_ms = midnight_after(now_ms) - now_ms
    needed = contacts + planned + a_day * 3 * rest_ms // (2 * DAY_MS) + 1
    assert (
        most(contacts, calls_left=needed * 100 // 97 + 2, planned=planned, a_day=a_day, now_ms=now_ms) is None
    )


@given(CALLS_LEFT, st.integers(0, 9_000), st.integers(0, 20_000), TICKS_MS, st.integers(1, 60 * MINUTE_MS))
def test_nothing_is_kept_back_at_the_days_end(
    calls_left: int, planned: int, a_day: int, tick_ms: int, before_ms: int
) -> None:
    """In the last tick before midnight contacts may take all that reports do not."""
    now_ms = MIDNIGHT_MS + DAY_MS - min(before_ms, tick_ms)
    bound = most(
        10**6,
        calls_left=calls_left,
        planned=min(planned, calls_left),
        a_day=a_day,
        now_ms=now_ms,
        tick_ms=tick_ms,
    )
    assert bound is not None
    assert bound >= calls_left - min(planned, calls_left)


@given(st.integers(288, 20_000), st.integers(0, 20), st.integers(0, 20_000))
def test_over_a_day_contacts_take_what_reports_leave(calls_per_day: int, reports: int, a_day: int) -> None:
    """And never more, whatever is kept for reports meanwhile: hardly a call is left at midnight."""
    left = calls_per_day
    for now_ms in range(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, TICK_MS):
        planned = min(left, reports, calls_per_day * 9 // 10 // 288)
        bound = most(10**6, calls_left=left, planned=planned, a_day=a_day, now_ms=now_ms)
        assert bound is not None
        left -= min(left, planned + bound)
    assert left == 0


@given(st.integers(1, 20_000), st.integers(0, 20_000), NOWS_MS)
def test_the_more_reports_took_of_late_the_more_is_kept_for_them(
    calls_left: int, a_day: int, now_ms: int
) -> None:
    """Of two days alike, contacts get no more on the one with more reports."""
    quiet = most(10**6, calls_left=calls_left, a_day=a_day, now_ms=now_ms)
    busy = most(10**6, calls_left=calls_left, a_day=a_day + 100, now_ms=now_ms)
    assert quiet is not None
    assert busy is not None
    assert quiet >= busy
