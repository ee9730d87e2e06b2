"""Judging the answers of the API, and reading the pages of v2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.constant_contact.v2_pages import cursor_of, listed_contact, read_page
from contact_activity.constant_contact.verdict import Answer, Verdict, _error_key, judge
from contact_activity.domain.contact import ListedContact
from tests.support.rows import ANY_TEXT, JSON, rows

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
def test_only_a_whole_200_is_gone_on_with(status: int, body: object, key: str, has_cursor: bool) -> None:
    """No other status is ever taken for a page, whatever its body says."""
    verdict = judge(Answer(status, body, key), has_cursor=has_cursor)
    assert (verdict is Verdict.OK) == (status == 200 and body is not None)


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


@given(st.fixed_dictionaries({}, optional={"meta": JSON, "results": st.lists(rows()) | JSON}) | JSON)
def test_any_body_is_a_page_or_none(body: object) -> None:
    """Reading a page never fails."""
    page = read_page(body)
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
