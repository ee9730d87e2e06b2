"""Pages and rows of v3: whatever a server writes has one meaning, and no link leads away."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import Request

from contact_activity.constant_contact.v3_pages import (
    Page,
    cursor_of,
    listed_campaign,
    listed_contact,
    parameters,
    read_page,
    sent_campaign,
    tracking_page,
)
from contact_activity.constant_contact.v3_rows import PROVIDER_TYPES, parse_campaign_row, parse_row
from contact_activity.constant_contact.v3_summaries import (
    contact_report,
    read_contact_summaries,
    read_mailing_summaries,
)
from contact_activity.domain.activity import Activity, ActivityType, BounceCategory, Unreadable
from contact_activity.domain.summary import SummaryKind

MAILING, CONTACT = "98edac88-f4bc-408c-9e64-acd890384231", "a2fdc285-f4bc-408c-9e64-f3f89038ec82"
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=12,
)
ROW = {
    "contact_id": CONTACT,
    "campaign_activity_id": MAILING,
    "tracking_activity_type": "em_clicks",
    "created_time": "2026-01-15T10:04:00.000Z",
    "email_address": "a@example.org",
    "url_id": "1100407204171",
    "link_url": "https://www.example.org/",
    "first_name": "Maddie",
    "deleted_at": "2026-01-16",
}
AT_MS = 1_768_471_440_000


def row(**fields: object) -> dict[str, object]:
    return {**ROW, **fields}


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"_links": None},
        {"_links": {}},
        {"_links": {"next": None}},
        {"_links": {"next": {}}},
        {"_links": {"next": {"href": None}}},
        {"_links": {"next": {"href": ""}}},
    ],
)
def test_every_form_of_the_end_is_the_end(links: dict[str, object]) -> None:
    """The contract has four; the others say no more."""
    assert read_page({"tracking_activities": [ROW], **links}, "tracking_activities") == Page([ROW], None)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"tracking_activities": {}},
        {"tracking_activities": [], "_links": []},
        {"tracking_activities": [], "_links": {"next": "/v3/x?cursor=1"}},
        {"tracking_activities": [], "_links": {"next": {"href": 7}}},
        {"tracking_activities": [], "_links": {"next": {"href": "/v3/x"}}},
        {"tracking_activities": [], "_links": {"next": {"href": "/v3/x?cursor=" + "x" * 5_000}}},
        {"tracking_activities": [], "_links": {"next": {"href": "//[::1/?cursor=1"}}},
        {"tracking_activities": [], "_links": {"next": {"href": "/v3/x?" + "&".join("abcdefg" * 51)}}},
    ],
)
def test_what_is_no_page_is_none(body: object) -> None:
    """A link that leads nowhere is not the end: rows would be lost."""
    assert read_page(body, "tracking_activities") is None


def test_a_page_of_another_is_none() -> None:
    """Rows that name another mailing make the page a broken one."""
    body = {"tracking_activities": [row(campaign_activity_id="other")]}
    assert read_page(body, "tracking_activities", ("campaign_activity_id", MAILING)) is None


def test_of_a_link_only_the_query_is_sent_again() -> None:
    """Never its host, and no credential that it may hold."""
    href = "https://evil.example.com/v3/x?cursor=bGltaXQ9MQ%3D%3D&limit=100&access_token=t&Client_Secret=s"
    cursor = cursor_of(href)
    assert cursor is not None
    assert "=t" not in cursor
    assert parameters(cursor) == {"cursor": ["bGltaXQ9MQ=="], "limit": ["100"]}


def test_a_parameter_that_a_link_repeats_is_sent_again_with_all_its_values() -> None:
    """Such as the types of a contact's rows: without one of them its rows would be in no later page."""
    cursor = cursor_of("/v3/x?tracking_activity_type=em_sends&cursor=c&tracking_activity_type=em_opens")
    assert cursor is not None
    assert parameters(cursor) == {"tracking_activity_type": ["em_sends", "em_opens"], "cursor": ["c"]}
    sent = Request("GET", "https://api.example.com/v3/x", params=parameters(cursor)).prepare()
    assert sent.path_url.count("tracking_activity_type=em_") == 2


def test_a_link_without_any_parameter_of_ours_is_unusable() -> None:
    """It would ask for the first page again."""
    assert cursor_of("/v3/x?access_token=t") is None


@given(JSON)
def test_any_json_is_a_page_or_none(body: Any) -> None:
    """Nothing that a server writes raises."""
    for name in ("tracking_activities", "contacts", "campaign_activities"):
        found = read_page({name: [body], "_links": body}, name)
        assert found is None or found.rows == [body]
    assert listed_contact(body) is None
    assert listed_campaign(body) is None
    assert sent_campaign(body, MAILING) is None
    assert isinstance(parse_row(body, CONTACT), Unreadable)
    assert isinstance(parse_campaign_row(body, MAILING, ActivityType.SENT), Unreadable)
    assert read_contact_summaries({"campaign_activities": [body]}, CONTACT) is None
    assert read_mailing_summaries({"results": [body]}, [MAILING]) is None


@given(st.fixed_dictionaries(dict.fromkeys(ROW, SCALARS)))
def test_any_row_is_an_activity_or_unreadable(found: dict[str, Any]) -> None:
    """Whatever its fields hold."""
    parsed = parse_campaign_row(
        {**found, "tracking_activity_type": "em_clicks"}, MAILING, ActivityType.CLICKED
    )
    assert isinstance(parsed, Activity | Unreadable)


def test_a_row_of_a_contact_has_no_details() -> None:
    """Not even those that a server adds: they would differ from the report's."""
    parsed = parse_row(ROW, CONTACT)
    assert parsed == Activity(
        ActivityType.CLICKED, CONTACT, MAILING, AT_MS, "2026-01-15T10:04:00.000Z", "em_clicks"
    )


def test_a_row_of_a_report_has_what_belongs_to_the_activity() -> None:
    """The names, and when the contact was deleted, describe the contact now."""
    parsed = parse_campaign_row(ROW, MAILING, ActivityType.CLICKED)
    assert isinstance(parsed, Activity)
    assert parsed.email_address == "a@example.org"
    assert parsed.link is not None
    assert (parsed.link.id, parsed.link.url) == ("1100407204171", "https://www.example.org/")
    assert parsed.occurred_ms == AT_MS


@pytest.mark.parametrize("type_", [ActivityType.FORWARDED, ActivityType.UNSUBSCRIBED])
def test_an_address_that_may_be_todays_is_left_out(type_: ActivityType) -> None:
    """Of forwards and opt-outs the contract says "the contact's"."""
    parsed = parse_campaign_row(row(tracking_activity_type=PROVIDER_TYPES[type_]), MAILING, type_)
    assert isinstance(parsed, Activity)
    assert parsed.email_address is None
    assert parsed.unsubscribe is None


def test_a_bounce_has_its_code_and_no_words() -> None:
    """v3 sends neither description nor message."""
    bounced = row(tracking_activity_type="em_bounces", bounce_code="F", current_email_address="b@example.org")
    parsed = parse_campaign_row(bounced, MAILING, ActivityType.BOUNCED)
    assert isinstance(parsed, Activity)
    assert parsed.bounce is not None
    assert (parsed.bounce.code, parsed.bounce.category) == ("F", BounceCategory.SOFT)
    assert parsed.bounce.description is parsed.bounce.message is None
    assert parsed.email_address == "a@example.org"


@pytest.mark.parametrize(
    "changed",
    [
        {"contact_id": None},
        {"contact_id": "../x"},
        {"tracking_activity_type": "em_opens"},
        {"tracking_activity_type": "p_contact_open"},
        {"created_time": None},
        {"created_time": "yesterday"},
    ],
)
def test_a_row_that_is_none_is_told_by_a_digest(changed: dict[str, object]) -> None:
    """It is counted and logged without what it holds."""
    parsed = parse_campaign_row(row(**changed), MAILING, ActivityType.CLICKED)
    assert isinstance(parsed, Unreadable)
    assert "example.org" not in parsed.reason + parsed.digest


def clicks(*times_ms: int) -> list[Activity | Unreadable]:
    parsed = parse_row(ROW, CONTACT)
    assert isinstance(parsed, Activity)
    return [Activity(parsed.type, CONTACT, MAILING, at_ms, "", "em_clicks") for at_ms in times_ms]


@pytest.mark.parametrize(
    ("page", "since_ms", "wanted", "following"),
    [
        (clicks(9, 8), None, 2, "c"),
        (clicks(9, 8), 8, 2, "c"),
        (clicks(9, 8), 9, 1, "c"),
        (clicks(9, 8), 10, 0, None),
        ([Unreadable("", "0" * 16)], 10, 0, "c"),
        ([*clicks(9), Unreadable("", "0" * 16)], 10, 0, None),
        ([], 10, 0, "c"),
    ],
)
def test_a_report_ends_at_a_page_that_lies_wholly_before(
    page: list[Activity | Unreadable], since_ms: int | None, wanted: int, following: str | None
) -> None:
    """Newest first. Rows without a usable stamp do not decide."""
    found = tracking_page(page, "c", since_ms)
    assert (len(found.activities), found.next) == (wanted, following)


def test_the_summary_of_a_contact_is_the_sum_over_its_mailings() -> None:
    """And by mailing as it is. Pages shift when a mailing is sent: one that comes again counts once."""
    names = ("em_sends", "em_opens", "em_clicks", "em_forwards", "em_unsubscribes", "em_bounces")
    pages = []
    for number, ids in enumerate((("m1", "m2"), ("m2", "m3", "m4"))):
        rows = [{"campaign_activity_id": of, **dict.fromkeys(names, 2 - number)} for of in ids]
        page = read_contact_summaries({"contact_id": CONTACT, "campaign_activities": [*rows, {}]}, CONTACT)
        assert page is not None
        assert len(page.unreadable) == 1
        pages.append(page)
    by_mailing = contact_report(pages, SummaryKind.CONTACT_CAMPAIGN, CONTACT)
    assert [of.campaign_id for of in by_mailing.snapshots] == ["m1", "m2", "m3", "m4"]
    (total,) = contact_report(pages, SummaryKind.CONTACT, CONTACT).snapshots
    assert set(dict(total.counts.present).values()) == {2 + 2 + 1 + 1}


def test_the_statistics_of_mailings_are_told_apart() -> None:
    """By their ids. One whose counts are none is unreadable, and one that is not there is left out."""
    rows = [
        {"campaign_activity_id": "m1", "stats": {"em_sends": 3, "em_optouts": 1, "em_opens_all": 9}},
        {"campaign_activity_id": "m2", "stats": {"em_sends": -3}},
        {"campaign_activity_id": "m3"},
    ]
    reports = read_mailing_summaries({"results": rows, "errors": []}, ["m1", "m2", "m3", "m4"])
    assert reports is not None
    assert list(reports) == ["m1", "m2", "m3"]
    (snapshot,) = reports["m1"].snapshots
    assert (snapshot.campaign_id, dict(snapshot.counts.present)) == ("m1", {"sends": 3, "unsubscribes": 1})
    assert [len(reports[id_].unreadable) for id_ in ("m1", "m2", "m3")] == [0, 1, 1]
    # An answer that names another mailing is that of another call.
    assert read_mailing_summaries({"results": rows}, ["m1"]) is None
    assert read_mailing_summaries({"errors": []}, ["m1"]) is None
    assert read_mailing_summaries({"results": []}, ["m1"]) == {}


def test_a_campaign_tells_what_of_it_has_reports() -> None:
    """Its mail and what was sent again; a permalink has none."""
    roles = ("permalink", "primary_email", "resend", "unknown")
    body = {
        "campaign_id": "c1",
        "campaign_activities": [
            {"campaign_activity_id": f"m-{number}", "role": role} for number, role in enumerate(roles)
        ],
    }
    found = sent_campaign(body, "c1")
    assert found is not None
    assert found.mailings == ("m-1", "m-2")
