"""What of a summary report is news, and the event that tells it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.fields import MAX_EXACT_INTEGER
from contact_activity.constant_contact.v2_summaries import (
    parse_campaign_summary,
    parse_contact_summary,
    parse_summary_by_campaign,
)
from contact_activity.domain.summary import (
    COUNT_NAMES,
    MAX_CAMPAIGNS,
    SUMMARY_AGE_MS,
    Snapshot,
    Summarized,
    SummaryCounts,
    SummaryKind,
    SummaryReport,
    compare,
    derive_summary_id,
    is_due,
    part_of,
    summary_event,
)
from contact_activity.domain.times import iso
from tests.support.rows import JSON, NOON_MS

BODY = {"sends": 42, "opens": 19, "clicks": 7, "forwards": 1, "unsubscribes": 0, "bounces": 2}
COUNTS = SummaryCounts(**BODY)
NOTHING_KNOWN = Summarized(SummaryKind.CONTACT_CAMPAIGN)


def in_campaign(campaign_id: str, **counts: int) -> Snapshot:
    return Snapshot(SummaryKind.CONTACT_CAMPAIGN, "4711", campaign_id, SummaryCounts(**counts))


def moved(
    known: Summarized, *snapshots: Snapshot
) -> tuple[list[tuple[str, int, tuple[str, ...]]], Summarized]:
    """Key, sequence and changed counts of each change, and what is known then."""
    news = compare(known, snapshots, NOON_MS)
    changes = [(change.snapshot.key, change.sequence, change.changed) for change in news.changes]
    return changes, news.summarized


# Reading


def test_a_contact_summary_is_read_with_its_own_counts() -> None:
    """The six counts are taken, the rest of the report is let be."""
    report = parse_contact_summary({**BODY, "contact_id": "4711", "spam_count": 3}, "4711")
    assert report == SummaryReport((Snapshot(SummaryKind.CONTACT, "4711", None, COUNTS),))


def test_a_summary_by_campaign_has_the_counts_that_it_has() -> None:
    """Sends and unsubscribes are not in this report, and stay out; an id may be a number."""
    row = {"campaign_id": 1117643206590, "contact_id": "4711", "opens": 1, "clicks": 3, "bounces": 0}
    report = parse_summary_by_campaign([row], "4711")
    assert report == SummaryReport((in_campaign("1117643206590", opens=1, clicks=3, bounces=0),))
    assert report.snapshots[0].counts.present == (("opens", 1), ("clicks", 3), ("bounces", 0))


def test_a_contact_in_no_campaign_has_an_empty_summary() -> None:
    """An empty array is a whole report."""
    assert parse_summary_by_campaign([], "4711") == SummaryReport()


@pytest.mark.parametrize("named", [{"campaign_id": 111}, {"campaign_id": "111"}, {"campaign_id": 111.0}, {}])
def test_a_campaign_summary_is_of_the_campaign_asked_for(named: dict[str, object]) -> None:
    """It may say so itself, as text or as a number, or not."""
    report = parse_campaign_summary({**BODY, **named}, "111")
    assert report == SummaryReport((Snapshot(SummaryKind.CAMPAIGN, None, "111", COUNTS),))


def test_a_summary_that_names_another_is_none() -> None:
    """Counts of another contact or campaign are never taken for those that were asked for."""
    assert parse_campaign_summary({**BODY, "campaign_id": 9}, "111") is None
    assert parse_contact_summary({**BODY, "contact_id": "9"}, "4711") is None
    rows = [{"campaign_id": "111", "contact_id": of, "opens": 1} for of in (4711, 9)]
    assert parse_summary_by_campaign(rows, "4711") is None


@pytest.mark.parametrize("opens", ["19", 19, 19.0])
def test_a_count_may_be_text_or_a_number(opens: object) -> None:
    """Whatever the provider's serialiser makes of it today."""
    report = parse_contact_summary({**BODY, "opens": opens}, "4711")
    assert report == parse_contact_summary({**BODY, "opens": 19}, "4711")


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "opens": -1},
        {**BODY, "opens": "many"},
        {**BODY, "opens": 1.5},
        {**BODY, "opens": True},
        {**BODY, "opens": MAX_EXACT_INTEGER + 1},
        {**BODY, "opens": 1e30},
        {},
        {"contact_id": "4711"},
        [{"error_key": "http.status.internal_server_error", "error_message": "..."}],
        dict.fromkeys(BODY),
        [],
        "busy",
    ],
)
def test_a_malformed_summary_is_none(body: object) -> None:
    """A negative, endless or wordy count makes a report no report, and so does no count at all."""
    assert parse_contact_summary(body, "4711") is None
    assert parse_campaign_summary(body, "111") is None


def test_an_unreadable_row_spoils_no_other() -> None:
    """In the summary by campaign each row counts for itself."""
    good = {"campaign_id": "111", "opens": 1}
    bad: list[object] = [
        {"campaign_id": "112", "opens": -1},
        {"opens": 1},
        {"campaign_id": "../x", "opens": 1},
    ]
    report = parse_summary_by_campaign([good, *bad], "4711")
    assert report
    assert report.snapshots == (in_campaign("111", opens=1),)
    assert len(set(report.unreadable)) == len(bad)


@pytest.mark.parametrize("body", [{"error": 1}, {}, None, [{"error_key": "busy"}], [5, []]])
def test_a_summary_by_campaign_without_a_readable_row_is_none(body: object) -> None:
    """Only the empty array says that there is nothing."""
    assert parse_summary_by_campaign(body, "4711") is None
    assert parse_summary_by_campaign([], "4711") == SummaryReport()


@given(JSON)
def test_any_body_is_a_report_or_none(body: object) -> None:
    """Whatever the API sends, no parser fails, and what is told of an unreadable row is a digest."""
    for report in (
        parse_contact_summary(body, "4711"),
        parse_summary_by_campaign(body, "4711"),
        parse_campaign_summary(body, "111"),
    ):
        assert report is None or all(len(digest) == 16 for digest in report.unreadable)


# When to ask


def test_a_summary_is_due_with_news_or_with_age() -> None:
    """Asked for at first, with new activity, and after 28 days; a stamp in the future is no age."""
    known = Summarized(SummaryKind.CONTACT, asked_ms=NOON_MS)
    assert is_due(Summarized(SummaryKind.CONTACT), now_ms=NOON_MS, found_new=False)
    assert is_due(known, now_ms=NOON_MS + 1, found_new=True)
    assert not is_due(known, now_ms=NOON_MS + SUMMARY_AGE_MS - 1, found_new=False)
    assert is_due(known, now_ms=NOON_MS + SUMMARY_AGE_MS, found_new=False)
    assert is_due(known, now_ms=NOON_MS - 1, found_new=False)


# What moved


def test_everything_is_news_the_first_time_and_nothing_the_second() -> None:
    """The first snapshot names every count as changed, zeros too; an equal one is no news."""
    first = in_campaign("111", opens=1, clicks=0)
    changes, known = moved(NOTHING_KNOWN, first)
    assert changes == [("111", 0, ("opens", "clicks"))]
    assert moved(known, first) == ([], known)


def test_exactly_what_moved_is_told() -> None:
    """One change per campaign whose counts moved, naming those counts; the sequence counts on."""
    one, other = in_campaign("111", opens=1, clicks=1), in_campaign("112", opens=5)
    _, known = moved(NOTHING_KNOWN, one, other)
    opened = in_campaign("111", opens=2, clicks=1)
    changes, known = moved(known, opened, other)
    assert changes == [("111", 1, ("opens",))]
    fresh = in_campaign("113", opens=1)
    changes, known = moved(known, in_campaign("111", opens=1, clicks=0), other, fresh)
    assert changes == [("111", 2, ("opens", "clicks")), ("113", 0, ("opens",))]


def test_a_count_that_comes_and_goes() -> None:
    """A count that is new in the report is news, one that is no longer in it is not."""
    _, known = moved(NOTHING_KNOWN, in_campaign("111", opens=1))
    changes, known = moved(known, in_campaign("111", opens=1, bounces=0))
    assert changes == [("111", 1, ("bounces",))]
    assert moved(known, in_campaign("111", opens=1)) == ([], known)


def test_a_campaign_that_is_no_longer_reported_keeps_its_place() -> None:
    """When it comes back with other counts, it goes on in its sequence."""
    _, known = moved(NOTHING_KNOWN, in_campaign("111", opens=1))
    changes, known = moved(known)
    assert changes == []
    assert moved(known, in_campaign("111", opens=2))[0] == [("111", 1, ("opens",))]


def test_a_row_that_comes_twice_is_told_once() -> None:
    """Of two rows for one campaign the first counts, so that they do not take turns."""
    rows = in_campaign("111", opens=1), in_campaign("111", opens=2)
    changes, known = moved(NOTHING_KNOWN, *rows)
    assert len(changes) == 1
    assert moved(known, *rows)[0] == []


def test_the_newest_campaigns_of_a_contact_are_followed() -> None:
    """Beyond the bound the oldest campaigns are left out, counted, and never published again and again."""
    rows = [in_campaign(str(number), opens=1) for number in range(1, MAX_CAMPAIGNS + 3)]
    news = compare(NOTHING_KNOWN, rows, NOON_MS)
    assert len(news.changes) == len(news.summarized.published) == MAX_CAMPAIGNS
    assert news.left_out == 2
    assert {"1", "2"}.isdisjoint(published.key for published in news.summarized.published)
    again = compare(news.summarized, rows, NOON_MS)
    assert (again.changes, again.summarized) == ((), news.summarized)


def test_campaigns_are_published_in_the_order_in_which_they_were_made() -> None:
    """Their ids count up; the order in which the API sends them decides nothing."""
    rows = [in_campaign(id_, opens=1) for id_ in ("1111", "99", "111")]
    changes, known = moved(NOTHING_KNOWN, *rows)
    made = ["99", "111", "1111"]
    assert [key for key, _, _ in changes] == [published.key for published in known.published] == made


counts = st.builds(SummaryCounts, *(st.none() | st.integers(0, 3) for _ in COUNT_NAMES))
reports = st.lists(
    st.builds(in_campaign, st.sampled_from("123")).flatmap(
        lambda snapshot: counts.map(lambda found: replace(snapshot, counts=found))
    ),
    max_size=4,
)


@given(st.lists(reports, max_size=6))
def test_no_two_publications_share_an_id(history: list[list[Snapshot]]) -> None:
    """However counts go up and down, each change has an id of its own, and the last one is what is known."""
    known, ids = NOTHING_KNOWN, []
    for report in history:
        news = compare(known, report, NOON_MS)
        again = compare(known, report, NOON_MS + 1)
        ids += [derive_summary_id("default", change) for change in news.changes]
        assert again.changes == news.changes
        known = news.summarized
        assert compare(known, report, NOON_MS).changes == ()
    assert len(set(ids)) == len(ids)


# The event


def event_of(snapshot: Snapshot, observed_ms: int = NOON_MS) -> dict[str, Any]:
    (change,) = compare(Summarized(snapshot.kind), [snapshot], observed_ms).changes
    event = summary_event(
        change, account="default", observed_ms=observed_ms, correlation_id=f"tick-{observed_ms}"
    )
    detail: dict[str, Any] = json.loads(event.detail)
    assert detail["id"] == event.id
    assert event.detail_type == snapshot.kind.detail_type
    return detail


@pytest.mark.parametrize(
    ("snapshot", "subject", "data"),
    [
        (Snapshot(SummaryKind.CONTACT, "4711", None, COUNTS), "4711", {"contact": {"id": "4711"}}),
        (
            Snapshot(SummaryKind.CONTACT_CAMPAIGN, "4711", "111", COUNTS),
            "4711",
            {"contact": {"id": "4711"}, "campaign": {"id": "111"}},
        ),
        (Snapshot(SummaryKind.CAMPAIGN, None, "111", COUNTS), "111", {"campaign": {"id": "111"}}),
    ],
)
def test_an_event_says_whose_counts_these_are(
    snapshot: Snapshot, subject: str, data: dict[str, object]
) -> None:
    """Contact and campaign as far as they apply, all counts, what changed, and when it was observed."""
    detail = event_of(snapshot)
    assert detail["subject"] == subject
    assert detail["data"] == {
        "account": "default",
        **data,
        "summary": BODY,
        "changed": list(COUNT_NAMES),
    }
    assert detail["time"] == detail["observedtime"] == iso(NOON_MS)
    assert detail["backfill"] is False


def test_the_same_counts_seen_later_are_the_same_event() -> None:
    """Two publications of one change differ in when they were observed only."""
    snapshot = Snapshot(SummaryKind.CONTACT, "4711", None, COUNTS)
    one, other = event_of(snapshot), event_of(snapshot, NOON_MS + 1)
    assert {name for name in one if one[name] != other[name]} == {"time", "observedtime", "correlationid"}


def test_an_id_tells_account_kind_contact_and_campaign_apart() -> None:
    """Equal counts of different things never share an id."""
    snapshots = [
        Snapshot(SummaryKind.CONTACT, "1", None, COUNTS),
        Snapshot(SummaryKind.CONTACT, "2", None, COUNTS),
        Snapshot(SummaryKind.CONTACT_CAMPAIGN, "1", "2", COUNTS),
        Snapshot(SummaryKind.CONTACT_CAMPAIGN, "2", "1", COUNTS),
        Snapshot(SummaryKind.CAMPAIGN, None, "1", COUNTS),
    ]
    changes = [compare(Summarized(of.kind), [of], NOON_MS).changes[0] for of in snapshots]
    ids = {derive_summary_id(account, change) for account in ("a", "b") for change in changes}
    assert len(ids) == 2 * len(snapshots)


def test_a_report_of_which_a_part_is_published_is_due_again() -> None:
    """What is published is known, and the rest is asked for at once."""
    known = replace(NOTHING_KNOWN, asked_ms=NOON_MS)
    changes = compare(known, [in_campaign("1", opens=1), in_campaign("2", opens=2)], NOON_MS).changes
    left = part_of(known, changes[:1])
    assert is_due(left, now_ms=NOON_MS, found_new=False)
    assert [last.key for last in left.published] == [changes[0].snapshot.key]


def test_the_event_of_a_summary_is_compact() -> None:
    """Without blanks, as that of an activity: its bytes are what a bus charges for."""
    (change,) = compare(NOTHING_KNOWN, [in_campaign("1", opens=1)], NOON_MS).changes
    detail = summary_event(change, account="default", observed_ms=NOON_MS).detail
    assert detail == json.dumps(json.loads(detail), separators=(",", ":"))
