"""Each kind of answer that v3 of the simulated account gives, against the provider's contract."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from contact_activity.simulated import (
    Campaign,
    Fault,
    Kind,
    PageEnd,
    Role,
    SimulatedAccount,
    Switches,
    V3Switches,
    activity_uuid,
    campaign_uuid,
    contact_uuid,
    realistic_account,
)
from contact_activity.simulated.times import to_ms
from tests.support.v3_caller import NOW, V3Caller, calling

SCHEMA = json.loads((Path(__file__).parent / "v3_answers.schema.json").read_text(encoding="utf-8"))
CAMPAIGN, RESENT, DELETED, DRAFT = "21", "22", "23", "24"
CONTACT = contact_uuid("4711")
TYPES = "em_sends,em_opens,em_clicks,em_bounces,em_optouts,em_forwards"
REPORTS = ("sends", "opens", "clicks", "forwards", "optouts", "bounces")
DETAILS = f"/reports/contact_reports/{CONTACT}/activity_details?tracking_activities_list={TYPES}"
SUMMARY = f"/reports/contact_reports/{CONTACT}/activity_summary?start=2025-01-01T00:00:00-0500&end=2026-12-31"
PRIMARY = activity_uuid(CAMPAIGN)
REPORT = f"/reports/email_reports/{PRIMARY}/tracking"
STATS = "/reports/stats/email_campaign_activities"

# A definition, and a path that answers with it.
ANSWERS = [
    ("account", "/account/summary"),
    ("contacts", "/contacts?status=all&include_count=true&limit=2"),
    ("contacts", "/contacts"),
    ("activity_details", DETAILS),
    ("activity_details", f"{DETAILS}&limit=2"),
    ("activity_details", f"{DETAILS}&include_campaign_activity_names=false"),
    ("activity_summary", SUMMARY),
    *((report, f"{REPORT}/{report}") for report in REPORTS),
    *((report, f"{REPORT}/{report}?limit=1") for report in REPORTS),
    *((report, f"/reports/email_reports/{activity_uuid(DRAFT)}/tracking/{report}") for report in REPORTS),
    ("email_campaign_summaries", "/reports/summary_reports/email_campaign_summaries"),
    ("email_campaign_summaries", "/reports/summary_reports/email_campaign_summaries?limit=1"),
    ("stats", f"{STATS}/{PRIMARY},{activity_uuid(RESENT, Role.RESEND)},{activity_uuid('no such')}"),
    ("campaigns", "/emails"),
    ("campaigns", "/emails?limit=1"),
    ("campaign", f"/emails/{campaign_uuid(RESENT)}"),
    ("campaign_activity", f"/emails/activities/{activity_uuid(RESENT, Role.RESEND)}"),
    ("campaign_activity", f"/emails/activities/{activity_uuid(CAMPAIGN, Role.PERMALINK)}"),
]
LISTS = [
    "/contacts",
    DETAILS,
    SUMMARY,
    *(f"{REPORT}/{report}" for report in REPORTS),
    "/reports/summary_reports/email_campaign_summaries",
    "/emails",
]
DEFINITIONS = {path: definition for definition, path in ANSWERS}


def account_with_all() -> SimulatedAccount:
    """Two activities of each kind of a deleted contact, and a campaign of each kind."""
    account = SimulatedAccount()
    joined = NOW - timedelta(days=90)
    account.add_contact("ada@example.org", contact_id="4711", at=joined, first_name="Ada", last_name="Amsel")
    for status in ("UNCONFIRMED", "OPTOUT", "VISITOR"):
        account.add_contact(f"{status}@example.org", at=joined, status=status)
    sent_ms = to_ms(NOW - timedelta(days=30))
    campaign = Campaign(CAMPAIGN, "June news", "SENT", sent_ms, sent_ms, sent_ms)
    account.put_campaign(campaign)
    account.put_campaign(replace(campaign, id=RESENT, resent_ms=(sent_ms + 1,)))
    account.put_campaign(replace(campaign, id=DELETED, status="DELETED"))
    account.put_campaign(replace(campaign, id=DRAFT, status="DRAFT", sent_ms=None))
    for number, kind in enumerate((*Kind, *Kind)):
        account.add_row(kind, "4711", CAMPAIGN, at=NOW - timedelta(hours=number))
    account.add_row(Kind.UNSUBSCRIBE, "4711", CAMPAIGN, at=NOW, unsubscribe_reason="Too many messages")
    account.add_row(Kind.SEND, "4711", RESENT, at=NOW - timedelta(days=1))
    account.remove_contact("4711", at=NOW - timedelta(days=1))
    return account


@pytest.fixture(scope="module")
def caller() -> Iterator[V3Caller]:
    with calling(account_with_all()) as caller:
        yield caller


def problems(definition: str, body: object) -> list[str]:
    schema = {**SCHEMA, "$ref": f"#/$defs/{definition}"}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


def body_of(response: requests.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def test_the_schema_is_one() -> None:
    """And every answer that it defines is asked for."""
    Draft202012Validator.check_schema(SCHEMA)
    parts = {"error", "errors", "links", "next", "report_row"}
    assert SCHEMA["$defs"].keys() - parts == {definition for definition, _ in ANSWERS}


def test_the_schema_refuses(caller: V3Caller) -> None:
    """A link in a contact's row, a bounce without its code, a list without links that it must have."""
    details, bounces = (body_of(caller.get(path)) for path in (DETAILS, f"{REPORT}/bounces"))
    details["tracking_activities"][0]["link_url"] = "https://example.org/"
    del bounces["tracking_activities"][0]["bounce_code"], bounces["_links"]
    assert len(problems("activity_details", details)) == 1
    assert len(problems("bounces", bounces)) == 2


@pytest.mark.parametrize(("definition", "path"), ANSWERS, ids=[path for _, path in ANSWERS])
def test_an_answer(caller: V3Caller, definition: str, path: str) -> None:
    """It has all that the contract requires, and nothing that the contract does not have."""
    assert problems(definition, body_of(caller.get(path))) == []


@pytest.mark.parametrize("end", PageEnd)
@pytest.mark.parametrize("path", LISTS)
def test_the_end_of_a_list(path: str, end: PageEnd) -> None:
    """In all its forms. Bounces and opt-outs have links in each of them."""
    with calling(account_with_all(), switches=Switches(v3=V3Switches(page_end=end))) as caller:
        body = body_of(caller.get(path))
    assert problems(DEFINITIONS.get(path, "contacts"), body) == []
    needs_links = path.endswith(("bounces", "optouts"))
    forms: dict[PageEnd, object] = {
        PageEnd.NO_LINKS: {} if needs_links else None,
        PageEnd.EMPTY_LINKS: {},
        PageEnd.NEXT_NULL: {"next": None},
        PageEnd.HREF_NULL: {"next": {"href": None}},
    }
    assert body.get("_links") == forms[end]
    assert ("_links" in body) is (needs_links or end is not PageEnd.NO_LINKS)


UNKNOWN = activity_uuid("no such")
LIST_ERRORS = [
    (400, "/contacts?limit=0"),
    (400, "/contacts?status=asleep"),
    (400, "/contacts?updated_after=yesterday"),
    (400, "/contacts?cursor=x"),
    (400, f"/reports/contact_reports/{CONTACT}/activity_details"),
    (400, f"{DETAILS}&tracking_activity_type=em_opens"),
    (400, f"{DETAILS}&limit=101"),
    (400, f"{DETAILS},em_unknown"),
    (400, f"/reports/contact_reports/{CONTACT}/activity_summary?start=2025-01-01"),
    (404, f"/reports/contact_reports/{UNKNOWN}/activity_details?tracking_activities_list=em_opens"),
    (404, f"/reports/contact_reports/{UNKNOWN}/activity_summary?start=2025-01-01&end=2026-01-01"),
    *((404, f"/reports/email_reports/{UNKNOWN}/tracking/{report}") for report in REPORTS),
    (404, f"/reports/email_reports/{activity_uuid(CAMPAIGN, Role.PERMALINK)}/tracking/sends"),
    (404, f"/reports/email_reports/{activity_uuid(CAMPAIGN, Role.RESEND)}/tracking/sends"),
    (404, f"/reports/email_reports/{activity_uuid(DELETED)}/tracking/sends"),
    (404, "/reports/email_reports/no-uuid/tracking/sends"),
    (400, f"{REPORT}/sends?limit=501"),
    (400, "/emails?limit=501"),
    (404, f"/emails/{UNKNOWN}"),
    (404, f"/emails/activities/{UNKNOWN}"),
    (404, f"/emails/activities/{activity_uuid(DELETED)}"),
    (404, "/nothing/here"),
]


@pytest.mark.parametrize(("status", "path"), LIST_ERRORS, ids=[path for _, path in LIST_ERRORS])
def test_an_error_that_is_a_list(caller: V3Caller, status: int, path: str) -> None:
    """Of most paths."""
    assert problems("errors", body_of(caller.get(path), status)) == []


@pytest.mark.parametrize(
    ("status", "ids"),
    [(404, f"{PRIMARY},no-uuid"), (400, ",".join(activity_uuid(str(n)) for n in range(11)))],
)
def test_an_error_of_the_statistics_is_an_object(caller: V3Caller, status: int, ids: str) -> None:
    """A malformed id makes the whole call fail, as do more than ten."""
    assert problems("error", body_of(caller.get(f"{STATS}/{ids}"), status)) == []


def test_errors_of_the_gateway_are_objects() -> None:
    """A bad token, a missing privilege, and both limits. The first is byte for byte the one on record."""
    refused = Switches(v3=V3Switches(campaign_reports_refused=403))
    with calling(account_with_all(), switches=refused, calls_per_second=2, calls_per_day=3) as caller:
        denied = caller.get(f"{REPORT}/sends")
        caller.token = "other"
        unauthorized = caller.get("/contacts")
        throttled = caller.get("/contacts")
        used_up = caller.get("/contacts")
    answers = ((denied, 403, "access_denied"), (unauthorized, 401, "unauthorized"))
    for response, status, key in (*answers, (throttled, 429, "throttled"), (used_up, 429, "quota_exceeded")):
        body = body_of(response, status)
        assert problems("error", body) == []
        assert body["error_key"] == key
    assert unauthorized.headers["Content-Length"] == "59"
    assert unauthorized.headers["WWW-Authenticate"] == "Bearer realm=api.cc.email"
    assert re.fullmatch(r"[0-9a-f-]{36}", unauthorized.headers["x-amzn-RequestId"])


@pytest.mark.parametrize(
    ("fault", "status", "definition"),
    [
        (Fault.UNAUTHORIZED, 401, "error"),
        (Fault.OVER_QPS, 429, "error"),
        (Fault.TOO_MANY, 429, "error"),
        (Fault.SERVER_ERROR, 500, "errors"),
        (Fault.NEXT_REFUSED_400, 400, "errors"),
        (Fault.NEXT_REFUSED_404, 404, "errors"),
        (Fault.REPEATED_ROWS, 200, "contacts"),
        (Fault.REPEATED_NEXT, 200, "contacts"),
        (Fault.SLOW_BODY, 200, "contacts"),
    ],
)
def test_a_fault_with_a_body(caller: V3Caller, fault: Fault, status: int, definition: str) -> None:
    """It has the form of what it pretends to be."""
    cursor = body_of(caller.get("/contacts?limit=1"))["_links"]["next"]["href"].removeprefix("/v3")
    caller.server.script("/v3/contacts", fault)
    assert problems(definition, body_of(caller.get(cursor), status)) == []


def test_a_whole_account() -> None:
    """All pages of a realistic account: every contact, every campaign and what they did."""
    account = realistic_account(3, now=NOW, contacts=25)
    with calling(account) as caller:
        for contact in account.contacts()[:8]:
            path = f"/reports/contact_reports/{contact_uuid(contact.id)}/activity_details"
            for page in caller.pages(path, tracking_activities_list=TYPES, limit="7"):
                assert problems("activity_details", page) == []
        for campaign in account.campaigns():
            for report in REPORTS:
                path = f"/reports/email_reports/{activity_uuid(campaign.id)}/tracking/{report}"
                for page in caller.pages(path, limit="20"):
                    assert problems(report, page) == []
        for page in caller.pages("/emails", limit="5"):
            assert problems("campaigns", page) == []
