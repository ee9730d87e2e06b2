"""When a campaign's report is read, from where on, and what is found by it: examples and random histories."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import SentCampaign, WatchedCampaign
from contact_activity.domain.campaign_report import (
    MAX_FAILURE_WAIT_MS,
    MAX_FRESH_WAIT_MS,
    OVERLAP_MS,
    WATCHED_MS,
    WATCHED_WEEKLY_MS,
    CampaignReport,
    ReportId,
    ReportProgress,
    due_after_read_ms,
)
from contact_activity.domain.times import DAY_MS, HOUR_MS, WEEK_MS
from contact_activity.state.codec import (
    report_from_json,
    report_to_json,
    watched_from_json,
    watched_to_json,
)
from tests.support.rows import NOON_MS, TYPES

MINUTE_MS = 60_000
TICK_MS = 5 * MINUTE_MS
SENT_MS = NOON_MS
OPENS = ReportId("7", ActivityType.OPENED)
SENDS = ReportId("7", ActivityType.SENT)
# Rows show at most so long after their stamp.
SHOWN_AFTER_MS = 9 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the source: its stamp, and when it was inserted."""

    stamp_ms: int
    inserted_ms: int


@dataclass(frozen=True, slots=True)
class Read:
    """A finished read: from where on it read, and the rows that it was given."""

    since_ms: int | None
    rows: list[Row]


def new_report(id_: ReportId = OPENS) -> CampaignReport:
    return CampaignReport(id_, SENT_MS, SENT_MS)


def read(
    report: CampaignReport, rows: Sequence[Row], started_ms: int, *, takes_ms: int = 0, trusted_ms: int = 0
) -> tuple[CampaignReport, Read]:
    """A whole read, which is given what was inserted before it began, and nothing that came in since."""
    begun = report.set_right(started_ms).begun(started_ms, trusted_ms)
    found = [
        row
        for row in rows
        if row.inserted_ms <= begun.started_ms and (begun.since_ms is None or row.stamp_ms >= begun.since_ms)
    ]
    newest_ms = max((row.stamp_ms for row in found), default=None)
    done = replace(begun, newest_ms=newest_ms, rows=len(found), news=len(found))
    return report.finished(done, started_ms + takes_ms, TICK_MS), Read(begun.since_ms, found)


@st.composite
def rows_after_send(draw: st.DrawFn) -> list[Row]:
    """Rows of the first hours, each shown within nine minutes."""
    seconds = st.integers(0, 3 * 3_600)
    lates = st.integers(0, SHOWN_AFTER_MS // 1_000)
    times = draw(st.lists(st.tuples(seconds, lates), max_size=40))
    return [Row(SENT_MS + at * 1_000, SENT_MS + (at + late) * 1_000) for at, late in times]


READS = st.lists(st.tuples(st.integers(1, 40 * 60), st.integers(0, 15 * 60)), max_size=30)


# --- nothing is read past ---------------------------------------------------------------------------


@given(rows_after_send(), READS, st.sampled_from([-14, -5, -1, 0, 1, 5, 14]))
def test_every_row_that_shows_within_nine_minutes_is_in_some_read(
    rows: list[Row], reads: list[tuple[int, int]], shift_h: int
) -> None:
    """Whenever reads begin and however long they take, also where all stamps are hours off."""
    rows = [Row(row.stamp_ms + shift_h * HOUR_MS, row.inserted_ms) for row in rows]
    report, found, now_ms = new_report(), set[Row](), SENT_MS
    for gap_s, takes_s in [*reads, (5 * 3_600, 0)]:
        now_ms += gap_s * 1_000
        report, done = read(report, rows, now_ms, takes_ms=takes_s * 1_000)
        found.update(done.rows)
        now_ms += takes_s * 1_000
    assert found == set(rows)


@given(rows_after_send(), READS, st.sampled_from([-5, 0]))
def test_a_report_without_history_shows_what_comes_in_from_now_on(
    rows: list[Row], reads: list[tuple[int, int]], shift_h: int
) -> None:
    """A campaign that is watched late is not read from its beginning; with right stamps nothing is missed."""
    watched_ms = SENT_MS + HOUR_MS
    rows = [Row(row.stamp_ms + shift_h * HOUR_MS, row.inserted_ms) for row in rows]
    report, found, now_ms = (
        CampaignReport(OPENS, SENT_MS, watched_ms, 0, watched_ms, watched_ms, watched_ms),
        set(),
        watched_ms,
    )
    for gap_s, takes_s in [*reads, (5 * 3_600, 0)]:
        now_ms += gap_s * 1_000
        report, done = read(report, rows, now_ms, takes_ms=takes_s * 1_000)
        assert done.since_ms is not None
        found.update(done.rows)
        now_ms += takes_s * 1_000
    if shift_h == 0:
        assert {row for row in rows if row.inserted_ms > watched_ms} <= found


@given(rows_after_send(), st.sampled_from([-14, -5, 0]))
def test_a_quiet_report_is_read_again_from_its_newest_stamp(rows: list[Row], shift_h: int) -> None:
    """Then a read gives the rows of that moment and no more, however many there are."""
    rows = [Row(row.stamp_ms + shift_h * HOUR_MS, row.inserted_ms) for row in rows]
    report, now_ms = new_report(), SENT_MS
    for _ in range(4):
        now_ms += 4 * HOUR_MS
        report, done = read(report, rows, now_ms)
    newest_ms = max((row.stamp_ms for row in rows), default=None)
    assert done.since_ms == newest_ms
    assert {row.stamp_ms for row in done.rows} == ({newest_ms} if rows else set())


@given(rows_after_send(), READS, st.sampled_from([-5, 0, 5]))
def test_no_read_goes_back_for_more_than_the_overlap(
    rows: list[Row], reads: list[tuple[int, int]], shift_h: int
) -> None:
    """Beyond the newest stamp and the last read it is the overlap, on a day without a read of all."""
    rows = [Row(row.stamp_ms + shift_h * HOUR_MS, row.inserted_ms) for row in rows]
    report, now_ms = new_report(), SENT_MS
    for gap_s, takes_s in reads:
        now_ms += gap_s * 1_000
        before = report
        report, done = read(report, rows, now_ms, takes_ms=takes_s * 1_000)
        if before.read_ms is not None and before.through_ms is not None:
            assert done.since_ms is not None
            assert done.since_ms >= min(before.read_ms, before.through_ms) - OVERLAP_MS
        assert report.through_ms is None or report.through_ms <= now_ms + takes_s * 1_000
        now_ms += takes_s * 1_000


@given(rows_after_send(), READS, st.integers(0, 29))
def test_trust_that_begins_anew_has_all_read_again_once(
    rows: list[Row], reads: list[tuple[int, int]], trusted_after: int
) -> None:
    """What was read before was not published, so every row is in a read that began since then."""
    report, found, now_ms, trusted_ms = new_report(), set[Row](), SENT_MS, 0
    deep = 0
    for number, (gap_s, takes_s) in enumerate([*reads, (5 * 3_600, 0), (5 * 3_600, 0)]):
        now_ms += gap_s * 1_000
        if number == min(trusted_after, len(reads)):
            found, trusted_ms, deep = set(), now_ms, 0
        assert report.is_long(trusted_ms) is (report.read_ms is None or report.read_ms < trusted_ms)
        has_rows = report.through_ms is not None
        report, done = read(report, rows, now_ms, takes_ms=takes_s * 1_000, trusted_ms=trusted_ms)
        found.update(done.rows)
        deep += done.since_ms is None and (has_rows or deep == 0)
        now_ms += takes_s * 1_000
    assert found == set(rows)
    assert deep == 1


def test_a_read_goes_on_where_it_stopped_unless_trust_began_since() -> None:
    """An unfinished read keeps its beginning and its cursor; what it read before trust was not published."""
    begun = new_report().begun(NOON_MS, 0)
    stopped = new_report().interrupted(replace(begun, next="cursor", rows=500))
    assert stopped.begun(NOON_MS + HOUR_MS, NOON_MS) == stopped.progress
    assert stopped.is_long(0)
    assert stopped.begun(NOON_MS + HOUR_MS, NOON_MS + 1) == ReportProgress(NOON_MS + HOUR_MS, None)


# --- reads from the beginning -----------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), max_size=150), st.sampled_from([SENDS, OPENS]), st.booleans())
def test_a_report_is_read_from_its_beginning_once_for_each_of_its_days(
    gaps_h: list[int], id_: ReportId, is_shifted: bool
) -> None:
    """Days 1, 3, 8 and 29 after the send, sends on day 1 only, whenever reads come; nothing twice."""
    shift_ms = -5 * HOUR_MS if is_shifted else 0
    rows = [Row(SENT_MS + MINUTE_MS + shift_ms, SENT_MS + MINUTE_MS)]
    report, _ = read(new_report(id_), rows, SENT_MS + 2 * MINUTE_MS)
    now_ms, deep_ms = SENT_MS + 2 * MINUTE_MS, list[int]()
    times_ms = [now_ms]
    for gap_h in gaps_h:
        now_ms += gap_h * HOUR_MS
        times_ms.append(now_ms)
        report, done = read(report, rows, now_ms)
        if done.since_ms is None:
            deep_ms.append(now_ms)
            assert report.deep_ms == now_ms
            assert report.rows == 1
    days = (1,) if id_ is SENDS else (1, 3, 8, 29)
    expected = {next((at for at in times_ms if at >= SENT_MS + day * DAY_MS), None) for day in days}
    assert deep_ms == sorted(at for at in expected if at is not None)


@pytest.mark.parametrize("id_", [SENDS, OPENS])
def test_by_its_own_cadence_a_report_is_read_from_its_beginning_in_time(id_: ReportId) -> None:
    """Left to its own waits it meets each of the days within a day, and ends after 90."""
    rows = [Row(SENT_MS + MINUTE_MS, SENT_MS + MINUTE_MS)]
    report, deep_days, reads, now_ms = new_report(id_), [], 0, SENT_MS + MINUTE_MS
    while report.due_ms is not None:
        now_ms = max(now_ms, report.due_ms)
        begun = report.begun(now_ms, 0)
        if begun.since_ms is None:
            deep_days.append((now_ms - SENT_MS) // DAY_MS)
        report = report.finished(replace(begun, newest_ms=rows[0].stamp_ms), now_ms, TICK_MS)
        reads += 1
    assert deep_days == ([0, 1] if id_ is SENDS else [0, 1, 3, 8, 29])
    assert now_ms < SENT_MS + WATCHED_WEEKLY_MS + WEEK_MS
    assert reads < 7 * DAY_MS // MAX_FRESH_WAIT_MS * 2


# --- when it is due ---------------------------------------------------------------------------------

AGES_MS = st.integers(-HOUR_MS, 120 * DAY_MS)
TICKS_MS = st.integers(5, 60).map(lambda minutes: minutes * MINUTE_MS)


@given(AGES_MS, st.integers(0, 2), TICKS_MS)
def test_a_report_waits_by_the_age_of_its_send(age_ms: int, quiet: int, tick_ms: int) -> None:
    """At most twenty minutes in the first week, a day until 30 days, a week until 90; then it is over."""
    due_ms = due_after_read_ms(SENT_MS + age_ms, sent_ms=SENT_MS, quiet=quiet, tick_ms=tick_ms)
    if age_ms >= WATCHED_WEEKLY_MS:
        assert due_ms is None
        return
    assert due_ms is not None
    wait_ms = due_ms - SENT_MS - age_ms
    most_ms = MAX_FRESH_WAIT_MS if age_ms < WEEK_MS else DAY_MS if age_ms < WATCHED_MS else WEEK_MS
    assert tick_ms <= wait_ms <= max(tick_ms, most_ms)
    if age_ms >= WATCHED_MS:
        assert wait_ms == WEEK_MS


@given(st.integers(0, 8 * HOUR_MS - 1), TICKS_MS)
def test_in_the_first_hours_a_report_with_news_is_read_at_every_tick(age_ms: int, tick_ms: int) -> None:
    """So the first opens are on the bus minutes after they happened."""
    assert due_after_read_ms(SENT_MS + age_ms, sent_ms=SENT_MS, quiet=0, tick_ms=tick_ms) == (
        SENT_MS + age_ms + tick_ms
    )


@given(AGES_MS, st.integers(0, 1), TICKS_MS)
def test_a_report_without_news_waits_no_less(age_ms: int, quiet: int, tick_ms: int) -> None:
    """Each read that finds nothing makes the wait as long or longer."""
    waits = [
        due_after_read_ms(SENT_MS + age_ms, sent_ms=SENT_MS, quiet=of, tick_ms=tick_ms)
        for of in (quiet, quiet + 1)
    ]
    assert waits[0] is None or waits[0] <= (waits[1] or 0)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), AGES_MS)
def test_quiet_reads_are_counted_in_a_row_and_up_to_two(news: list[int], age_ms: int) -> None:
    """One with news begins anew."""
    report, in_a_row = new_report(), 0
    for number, of in enumerate(news):
        now_ms = SENT_MS + max(0, age_ms) + number
        report = report.finished(replace(report.begun(now_ms, 0), news=of), now_ms, TICK_MS)
        in_a_row = 0 if of else in_a_row + 1
        assert report.quiet == min(2, in_a_row)


@given(
    AGES_MS.filter(lambda age_ms: age_ms < WATCHED_WEEKLY_MS),
    st.lists(st.booleans(), min_size=1, max_size=30),
)
def test_failures_double_to_an_hour_and_believed_refusals_are_tried_daily(
    age_ms: int, refused: list[bool]
) -> None:
    """A refusal counts once it came twice in a row, and its campaign is a day old."""
    report, in_a_row, now_ms = new_report(), 0, SENT_MS + age_ms
    for number, is_refused in enumerate(refused):
        report = report.failed("no", None, is_refused=is_refused, now_ms=now_ms, tick_ms=TICK_MS)
        in_a_row = in_a_row + 1 if is_refused else 0
        doubled_ms = min(MAX_FAILURE_WAIT_MS, TICK_MS * 2**number)
        is_believed = in_a_row >= 2 and age_ms >= DAY_MS
        assert report.due_ms == now_ms + (DAY_MS if is_believed else doubled_ms)
        assert (report.failures, report.refusals) == (number + 1, in_a_row)
    read_again = report.finished(report.begun(now_ms, 0), now_ms, TICK_MS)
    assert (read_again.failures, read_again.refusals, read_again.last_error) == (0, 0, None)


@given(st.integers(WATCHED_WEEKLY_MS, 400 * DAY_MS), st.integers(1, 5), st.booleans())
def test_a_report_is_over_after_ninety_days_though_it_fails(
    age_ms: int, failures: int, is_refused: bool
) -> None:
    """A campaign that was deleted is not asked for daily for ever."""
    report = new_report()
    for _ in range(failures):
        report = report.failed("no", None, is_refused=is_refused, now_ms=SENT_MS + age_ms, tick_ms=TICK_MS)
    assert report.due_ms is None
    assert report.put_off(SENT_MS + age_ms, TICK_MS).due_ms is None


def test_a_failed_read_goes_on_from_its_last_page() -> None:
    """What is published is known, so the next try need not begin again."""
    reached = replace(new_report().begun(NOON_MS, 0), next="cursor")
    failed = new_report().failed("no", reached, is_refused=False, now_ms=NOON_MS + 1, tick_ms=TICK_MS)
    assert failed.begun(NOON_MS + HOUR_MS, 0) == reached
    assert (failed.held_until_ms, failed.failed_ms, failed.last_error) == (None, NOON_MS + 1, "no")


# --- sent again -------------------------------------------------------------------------------------


@given(st.integers(0, 100 * DAY_MS), st.sampled_from([SENDS, OPENS]))
def test_a_campaign_that_is_sent_again_is_watched_anew(after_ms: int, id_: ReportId) -> None:
    """Due now, with its days to come once more; and what was read of it is not read again."""
    rows = [Row(SENT_MS + MINUTE_MS, SENT_MS + MINUTE_MS)]
    report, _ = read(new_report(id_), rows, SENT_MS + 2 * MINUTE_MS)
    again_ms = SENT_MS + 3 * MINUTE_MS + after_ms
    failed = report.failed("no", None, is_refused=True, now_ms=again_ms, tick_ms=TICK_MS)
    again = failed.sent_again(again_ms, again_ms)
    assert (again.sent_ms, again.due_ms, again.quiet, again.failures, again.refusals) == (
        again_ms,
        again_ms,
        0,
        0,
        0,
    )
    assert again.begun(again_ms, 0).since_ms is not None
    assert again.begun(again_ms + DAY_MS, 0).since_ms is None


def test_sends_that_are_much_later_show_that_a_campaign_was_sent_again() -> None:
    """By its sends only, where some of them are new."""
    report = new_report(SENDS)
    later = replace(report.begun(NOON_MS, 0), newest_ms=SENT_MS + HOUR_MS + 1, news=1)
    assert report.is_sent_again(later)
    assert not report.is_sent_again(replace(later, news=0))
    assert not report.is_sent_again(replace(later, newest_ms=SENT_MS + HOUR_MS))
    assert not report.is_sent_again(replace(later, newest_ms=None))
    assert not replace(report, id=OPENS).is_sent_again(later)


# --- a clock that ran ahead -------------------------------------------------------------------------


@given(rows_after_send(), st.integers(0, 400 * DAY_MS), st.integers(1, 60))
def test_after_a_clock_that_ran_ahead_nothing_is_read_past(
    rows: list[Row], ahead_ms: int, right_again_min: int
) -> None:
    """A worker read with a clock that was ahead; what came in meanwhile is in the next reads."""
    first_ms = SENT_MS + HOUR_MS
    report, first = read(new_report(), rows, first_ms)
    found, wrong_ms = set(first.rows), first_ms + 20 * MINUTE_MS
    begun = report.set_right(wrong_ms + ahead_ms).begun(wrong_ms + ahead_ms, 0)
    given_then = [
        row
        for row in rows
        if row.inserted_ms <= wrong_ms and (begun.since_ms is None or row.stamp_ms >= begun.since_ms)
    ]
    found.update(given_then)
    newest_ms = max((row.stamp_ms for row in given_then), default=None)
    report = report.finished(replace(begun, newest_ms=newest_ms), wrong_ms + ahead_ms, TICK_MS)
    now_ms = wrong_ms
    for _ in range(2):
        now_ms += right_again_min * 5 * MINUTE_MS
        report, done = read(report, rows, now_ms)
        found.update(done.rows)
    assert {row for row in rows if row.inserted_ms <= now_ms} <= found


TIMES = st.none() | st.integers(1, 2 * NOON_MS)
PROGRESSES = st.builds(
    ReportProgress,
    st.integers(1, 2 * NOON_MS),
    TIMES,
    st.none() | st.text(max_size=9),
    TIMES,
    st.integers(0, 9_999),
    st.integers(0, 9_999),
    st.integers(0, 20),
)
REPORT_IDS = st.builds(ReportId, st.from_regex(r"[A-Za-z0-9-]{1,40}", fullmatch=True), TYPES)
REPORTS = st.builds(
    CampaignReport,
    REPORT_IDS,
    st.integers(1, 2 * NOON_MS),
    TIMES,
    st.integers(0, 99),
    TIMES,
    TIMES,
    TIMES,
    TIMES,
    st.integers(0, 2),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 10**6),
    TIMES,
    st.none() | PROGRESSES,
    st.none() | st.text(max_size=9),
    TIMES,
)


@given(REPORTS)
def test_a_report_that_is_set_right_has_read_nothing_later_than_now(report: CampaignReport) -> None:
    """And what is right stays as it is."""
    right = report.set_right(NOON_MS)
    times = [right.sent_ms, right.read_ms, right.through_ms, right.through_seen_ms, right.deep_ms]
    assert all(at is None or at <= NOON_MS for at in times)
    assert right.progress is None or right.progress.started_ms <= NOON_MS
    assert right.set_right(NOON_MS) == right
    assert report.set_right(2 * NOON_MS) == report


# --- what is stored ---------------------------------------------------------------------------------


@given(REPORTS)
def test_a_report_is_stored_and_read_back(report: CampaignReport) -> None:
    """The JSON of a report, with what the stores keep beside it, is the report."""
    assert report_from_json(report.id, report.version, report.due_ms, report_to_json(report)) == report


@given(REPORT_IDS)
def test_an_id_is_its_text(id_: ReportId) -> None:
    """Whatever the campaign's id looks like."""
    assert ReportId.parse(str(id_)) == id_
    assert id_.is_usable


@pytest.mark.parametrize("text", ["", "opens", "-opens", "7-", "7-all", "7-OPENS", "7 opens"])
def test_another_text_is_no_report(text: str) -> None:
    """So a message that names one is stale."""
    assert ReportId.parse(text) is None


@pytest.mark.parametrize("campaign_id", ["a b", "ä", "x" * 60, "#"])
def test_an_id_that_no_key_can_hold_is_not_usable(campaign_id: str) -> None:
    """Its report is not watched: the contacts' own walks carry it."""
    assert not ReportId(campaign_id, ActivityType.OPENED).is_usable


URLS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["https://1", "https://2", ""]))


@given(st.lists(st.builds(SentCampaign, st.just("7"), TIMES, URLS), max_size=6))
def test_what_was_decided_of_a_link_never_changes(told: list[SentCampaign]) -> None:
    """Both sides give equal events for ever; a send that is not told any more stays known."""
    watched = WatchedCampaign("7", None, {"d": None})
    # Of "d" nothing was told when it was first met.
    first: dict[str, str | None] = {"d": None}
    for campaign in told:
        watched = watched.told(campaign)
        first = {**campaign.urls, **first}
        assert watched.urls == first
        assert watched.sent_ms == campaign.sent_ms or campaign.sent_ms is None
    sent = [campaign.sent_ms for campaign in told if campaign.sent_ms is not None]
    assert watched.sent_ms == (sent[-1] if sent else None)


@given(
    st.builds(
        WatchedCampaign,
        st.just("7"),
        TIMES,
        st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=9)),
    )
)
def test_a_watched_campaign_is_stored_and_read_back(campaign: WatchedCampaign) -> None:
    """The JSON of a campaign is the campaign, also of a link that has no URL."""
    assert watched_from_json("7", watched_to_json(campaign)) == campaign
