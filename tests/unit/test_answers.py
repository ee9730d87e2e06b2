"""Judging the answers of the API, and reading the pages of v2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.v2_pages import cursor_of, listed_contact, read_page, sent_campaign
from contact_activity.constant_contact.verdict import Answer, Verdict, _error_key, judge
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.contact import ListedContact
from tests.support.rows import ANY_TEXT, JSON, row, rows

QPS, RATE = "mashery.not.authorized.over.qps", "mashery.not.authorized.over.ratelimit"
PAGE = {"meta": {"pagination": {}}, "results": []}


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "verdict", "verdict_with_cursor"),
    [
        (Answer(200, PAGE), Verdict.OK, Verdict.OK),
        (Answer(200, None), Verdict.RETRY, Verdict.RETRY),
        (Answer(400), Verdict.FATAL, Verdict.NEXT_EXPIRED),
        (Answer(404), Verdict.GONE, Verdict.NEXT_EXPIRED),
        (Answer(401), Verdict.REFUSED, Verdict.REFUSED),
        (Answer(403), Verdict.REFUSED, Verdict.REFUSED),
        (Answer(403, None, "mashery.not.authorized.inactive"), Verdict.REFUSED, Verdict.REFUSED),
        (Answer(403, None, QPS), Verdict.SLOW_DOWN, Verdict.SLOW_DOWN),
        (Answer(429), Verdict.SLOW_DOWN, Verdict.SLOW_DOWN),
        (Answer(403, None, RATE), Verdict.DAY_USED_UP, Verdict.DAY_USED_UP),
        (Answer(0), Verdict.RETRY, Verdict.RETRY),
        (Answer(500), Verdict.RETRY, Verdict.RETRY),
        (Answer(502), Verdict.RETRY, Verdict.RETRY),
        (Answer(503, None), Verdict.RETRY, Verdict.RETRY),
        (Answer(504), Verdict.RETRY, Verdict.RETRY),
        (Answer(406), Verdict.FATAL, Verdict.FATAL),
        (Answer(405), Verdict.FATAL, Verdict.FATAL),
        (Answer(410), Verdict.FATAL, Verdict.FATAL),
    ],
)
def test_each_answer_has_one_meaning(answer: Answer, verdict: Verdict, verdict_with_cursor: Verdict) -> None:
    """The documented table; a cursor makes 400 and 404 an expired one, never a gone contact."""
    assert judge(answer, has_cursor=False) is verdict
    assert judge(answer, has_cursor=True) is verdict_with_cursor


@given(st.integers(0, 999), JSON, st.sampled_from(["", QPS, RATE, "http.status.bad_request"]), st.booleans())
def test_only_a_whole_answer_is_gone_on_with(status: int, body: object, key: str, has_cursor: bool) -> None:
    """No other status is ever taken for a page, whatever its body says."""
    verdict = judge(Answer(status, body, key), has_cursor=has_cursor)
    assert (verdict is Verdict.OK) == (200 <= status < 300 and body is not None)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ([{"error_key": QPS, "error_message": "..."}], QPS),
        ({"error_key": RATE}, RATE),
        ([{"error_key": "ada@example.org is unknown"}], ""),
        ([{"error_key": "x" * 81}], ""),
        ([{"error_key": 5}], ""),
        ([], ""),
        (["text"], ""),
        ([[{"error_key": QPS}]], ""),
        (None, ""),
        ("<html>", ""),
    ],
)
def test_an_error_key_is_found_in_an_array_or_an_object(body: object, key: str) -> None:
    """Anything else, and text that is no key, is no key."""
    assert _error_key(body) == key


@given(JSON)
def test_any_body_can_be_asked_for_its_error_key(body: object) -> None:
    """What is not a key in it stays out of the exceptions."""
    assert " " not in _error_key(body)


# --- pages ----------------------------------------------------------------------------------------


def linked(link: object) -> dict[str, object]:
    return {"meta": {"pagination": {"next_link": link}}, "results": [1]}


@pytest.mark.parametrize(
    "body",
    [PAGE, {"results": []}, {"meta": None, "results": []}, {"meta": {"pagination": None}, "results": []}],
)
def test_a_page_without_a_link_is_the_last(body: object) -> None:
    """The pagination can be empty, null or left out."""
    page = read_page(body)
    assert page
    assert page.next is None


@pytest.mark.parametrize(
    ("link", "token"),
    [
        ("/v2/contacts/4711/tracking?next=bGltaXQ9Mg", "bGltaXQ9Mg"),
        ("/v2/emailmarketing/campaigns/51/tracking/forwards?next=a-b_c", "a-b_c"),
        ("https://elsewhere.example.org/steal?next=abc", "abc"),
        ("?api_key=k&next=abc&limit=2", "abc"),
        ("/v2/x?next=a%3Db", "a=b"),
    ],
)
def test_only_the_token_of_a_link_counts(link: str, token: str) -> None:
    """Whatever path or host a link names, its token alone is taken."""
    page = read_page(linked(link))
    assert page
    assert page.next == token


@pytest.mark.parametrize("link", ["/v2/x", "/v2/x?next=", "/v2/x?after=abc", "http://[", 7, ["x"], {"a": 1}])
def test_a_page_whose_link_has_no_token_is_not_whole(link: object) -> None:
    """It is asked for again, since the pages behind it would be lost."""
    assert read_page(linked(link)) is None


@pytest.mark.parametrize(
    "body", [None, [], "text", 5, {}, {"results": {}}, {"results": None}, {"meta": [1], "results": []}]
)
def test_what_is_no_page_is_not_taken_for_an_empty_one(body: object) -> None:
    """An empty page would end the walk."""
    assert read_page(body) is None


@pytest.mark.parametrize("name", ["contact_id", "campaign_id"])
@pytest.mark.parametrize("named", ["51", 51, 51.0, "", None])
def test_the_rows_of_a_page_may_name_whose_they_are(name: str, named: object) -> None:
    """As a number or a string, or not at all."""
    results: list[object] = [row() | {name: "51"}, row() | {name: named}, {}, "no row"]
    page = read_page({"results": results}, (name, "51"))
    assert page
    assert page.rows == results


@pytest.mark.parametrize("name", ["contact_id", "campaign_id"])
@pytest.mark.parametrize("named", ["52", 52, "051", " 51", 51.5, True, ["51"], {"id": "51"}])
def test_a_page_with_a_row_of_another_is_no_page(name: str, named: object) -> None:
    """One such row is enough: whose the others are is then unknown."""
    body = {"results": [row() | {name: "51"}, row() | {name: named}]}
    assert read_page(body)
    assert read_page(body, (name, "51")) is None


def test_whose_a_page_is_goes_by_one_field() -> None:
    """The report of a campaign has rows of any contact, and the other way round."""
    body = {"results": [row(contact_id=1, campaign_id=51), row(contact_id=2, campaign_id=51)]}
    assert read_page(body, ("campaign_id", "51"))
    assert read_page(body, ("contact_id", "1")) is None


@given(
    st.fixed_dictionaries({}, optional={"meta": JSON, "results": st.lists(rows()) | JSON}) | JSON,
    st.none() | st.tuples(st.sampled_from(["contact_id", "campaign_id"]), ANY_TEXT),
)
def test_any_body_is_a_page_or_none(body: object, of: tuple[str, str] | None) -> None:
    """Reading a page never fails."""
    page = read_page(body, of)
    assert page is None or isinstance(page.rows, list)


@given(JSON)
def test_any_link_has_a_token_or_none(link: object) -> None:
    """Reading a link never fails, and no empty token comes of it."""
    assert cursor_of(link) != ""


# --- listed contacts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "listed"),
    [
        ({"id": "4711", "modified_date": "2024-06-12"}, ListedContact("4711", "2024-06-12")),
        ({"id": 4711}, ListedContact("4711", "")),
        ({"id": "4711", "modified_date": 5}, ListedContact("4711", "")),
        ({"id": "a/../b"}, None),
        ({"id": "1?x=y"}, None),
        ({"id": ""}, None),
        ({"id": True}, None),
        ({"id": None}, None),
        ({}, None),
        ("4711", None),
    ],
)
def test_alisted_contact_has_an_id_that_can_be_part_of_a_path(
    row: object, listed: ListedContact | None
) -> None:
    """Any other row is counted as unreadable."""
    assert listed_contact(row) == listed


@given(JSON | st.fixed_dictionaries({"id": JSON | ANY_TEXT, "modified_date": JSON}))
def test_any_listed_row_is_a_contact_or_none(row: object) -> None:
    """Reading a contact never fails."""
    listed = listed_contact(row)
    assert listed is None or listed.id.isascii()


# --- a campaign's own resource --------------------------------------------------------------------

CAMPAIGN = "1117643206590"
JUNE_MS = 1_718_180_140_207


def resource(*details: object, **fields: object) -> dict[str, object]:
    """A campaign as the API sends it, with `fields` added or replaced."""
    last_run = "2024-06-12T08:15:40.207Z"
    return {"id": CAMPAIGN, "last_run_date": last_run, "click_through_details": list(details), **fields}


def detail(uid: object = "9", url: object = "https://example.org/a") -> dict[str, object]:
    return {"url_uid": uid, "url": url, "click_count": 0}


@pytest.mark.parametrize("id_", [CAMPAIGN, int(CAMPAIGN), float(CAMPAIGN)])
@pytest.mark.parametrize("uid", ["9", 9, 9.0])
def test_a_campaign_names_its_links_by_strings_or_numbers(id_: object, uid: object) -> None:
    """Both are the same id, as in rows."""
    read = sent_campaign(resource(detail(uid), id=id_), CAMPAIGN)
    assert read == SentCampaign(CAMPAIGN, JUNE_MS, {"9": "https://example.org/a"})


@pytest.mark.parametrize("details", [None, [], {}, "text", 5, [None, "text", 5, [detail()]]])
def test_a_campaign_may_have_no_links(details: object) -> None:
    """Left out, null, empty, or nothing that is a link."""
    assert sent_campaign(resource(click_through_details=details), CAMPAIGN) == SentCampaign(
        CAMPAIGN, JUNE_MS, {}
    )
    left_out = resource()
    del left_out["click_through_details"]
    assert sent_campaign(left_out, CAMPAIGN) == SentCampaign(CAMPAIGN, JUNE_MS, {})


@pytest.mark.parametrize(
    "unreadable",
    [
        {},
        {"url_uid": "8"},
        {"url": "https://example.org/b"},
        detail(url=None),
        detail(url=7),
        detail(uid=None),
        detail(uid=True),
        detail(uid=0.5),
        None,
    ],
)
def test_a_link_without_id_or_url_is_left_out(unreadable: object) -> None:
    """The others are read."""
    read = sent_campaign(resource(unreadable, detail("9")), CAMPAIGN)
    assert read
    assert read.urls == {"9": "https://example.org/a"}


def test_link_0_and_an_empty_url_are_kept() -> None:
    """As a row keeps them."""
    read = sent_campaign(resource(detail(0, "")), CAMPAIGN)
    assert read
    assert read.urls == {"0": ""}


@pytest.mark.parametrize(
    "last_run", [None, "", "soon", 1_718_180_140_207, True, ["2024-06-12"], "1970-01-01"]
)
def test_a_campaign_without_a_usable_date_was_never_sent(last_run: object) -> None:
    """Its links are read all the same."""
    read = sent_campaign(resource(detail(), last_run_date=last_run), CAMPAIGN)
    assert read == SentCampaign(CAMPAIGN, None, {"9": "https://example.org/a"})


@pytest.mark.parametrize("id_", ["1117643206591", 51, "", None, True, [CAMPAIGN], f" {CAMPAIGN}"])
def test_another_campaign_is_not_the_one_that_was_asked_for(id_: object) -> None:
    """A resource that names none is not either: its links could be those of another."""
    assert sent_campaign(resource(detail(), id=id_), CAMPAIGN) is None


@pytest.mark.parametrize("body", [None, [], [resource()], "text", 5, {}])
def test_what_is_no_campaign_is_none(body: object) -> None:
    """It is asked for again."""
    assert sent_campaign(body, CAMPAIGN) is None


def test_a_link_is_found_by_the_id_of_its_clicks_and_its_url_can_be_stored() -> None:
    """A lone surrogate becomes `?` and a long id is cut, as in rows; a URL keeps its length."""
    long_url = "https://example.org/" + "é" * 5_000
    read = sent_campaign(resource(detail("a\ud800", "b\udfff"), detail("x" * 5_000, long_url)), CAMPAIGN)
    assert read
    assert read.urls == {"a?": "b?", "x" * 4_096: long_url}


@given(
    st.lists(st.fixed_dictionaries({}, optional={"url_uid": JSON | ANY_TEXT, "url": JSON | ANY_TEXT}) | JSON),
    JSON | ANY_TEXT,
)
def test_any_resource_of_a_campaign_can_be_stored(details: list[object], last_run: object) -> None:
    """Reading it never fails."""
    read = sent_campaign(resource(*details, last_run_date=last_run), CAMPAIGN)
    assert read
    assert read.sent_ms is None or read.sent_ms > 0
    "".join([*read.urls, *read.urls.values()]).encode()


@given(JSON)
def test_any_body_is_a_campaign_or_none(body: object) -> None:
    """Reading it never fails."""
    assert sent_campaign(body, CAMPAIGN) is None
