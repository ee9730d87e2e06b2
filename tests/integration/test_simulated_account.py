"""The simulated account, called over real HTTP as a client would."""

import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from contact_activity.simulated import (
    AccountFileError,
    BadValue,
    Cursor,
    Fault,
    Kind,
    Link,
    Order,
    Reply,
    Row,
    Server,
    SimulatedAccount,
    Switches,
    Tie,
    error,
    open_account,
    realistic_account,
)
from contact_activity.simulated.account import Campaign
from contact_activity.simulated.api import Api, Query
from contact_activity.simulated.switches import FIVE_HOURS_EARLY, Shift, Side

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
KEY, TOKEN = "key-1", "token-1"
CAMPAIGN = "1117000000001"


@dataclass
class Clock:
    """A `now` that tests move."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Caller:
    """A plain HTTP client."""

    server: Server
    session: requests.Session = field(default_factory=requests.Session)

    def get(
        self, path: str, parameters: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        known = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
        return self.session.get(
            self.server.base_url + path,
            params={"api_key": KEY, **(parameters or {})},
            headers={**known, **(headers or {})},
            timeout=10,
        )

    def results(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        response = self.get(path, parameters)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["results"]
        return found

    def pages(self, path: str, **parameters: str) -> Iterator[list[dict[str, Any]]]:
        for _ in range(1_000):
            page = self.get(path, parameters).json()
            yield page["results"]
            if not page["meta"]["pagination"]:
                return
            parameters = {"next": page["meta"]["pagination"]["next_link"].partition("?next=")[2]}
        pytest.fail("the walk has no end")

    def walk(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        return [row for page in self.pages(path, **parameters) for row in page]


Serve = Callable[..., Caller]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(
            account: SimulatedAccount,
            switches: Switches | None = None,
            *,
            calls_per_second: int = 10_000,
            **options: Any,
        ) -> Caller:
            options = {"now": Clock(), **options}
            server: AbstractContextManager[Server] = Server(
                account,
                switches=switches,
                api_key=KEY,
                access_token=TOKEN,
                calls_per_second=calls_per_second,
                **options,
            )
            caller = Caller(stack.enter_context(server))
            stack.enter_context(closing(caller.session))
            return caller

        yield start


@pytest.fixture
def account() -> SimulatedAccount:
    """One contact, 4711, and one campaign, with no activity."""
    account = SimulatedAccount()
    account.add_contact("ada@example.org", contact_id="4711", at=NOW - timedelta(days=90))
    account.add_campaign("June news", campaign_id=CAMPAIGN, sent_at=NOW - timedelta(days=30))
    return account


def add_opens(account: SimulatedAccount, count: int, contact_id: str = "4711") -> None:
    for number in range(count):
        at = NOW - timedelta(minutes=1 + 7 * number)
        account.add_row(Kind.OPEN, contact_id, CAMPAIGN, at=at)


def stamps(rows: list[dict[str, Any]]) -> list[str]:
    return [row["open_date"] for row in rows]


def shown(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Return type, campaign and time of rows."""
    return sorted((row.kind.activity_type, row.campaign_id, iso(row.occurred_ms)) for row in rows)


def received(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    date_fields = {kind.activity_type: kind.date_field for kind in Kind}
    return sorted(
        (row["activity_type"], row["campaign_id"], row[date_fields[row["activity_type"]]]) for row in rows
    )


def iso(time_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_key(response: requests.Response) -> str:
    (problem,) = response.json()
    assert set(problem) == {"error_key", "error_message"}
    return str(problem["error_key"])


TRACKING = "/contacts/4711/tracking"


class TestCredentials:
    @pytest.mark.parametrize("parameters", [{"api_key": "other"}, {"api_key": ""}])
    def test_an_unknown_key_is_inactive(
        self, serve: Serve, account: SimulatedAccount, parameters: dict[str, str]
    ) -> None:
        """A key that is not the account's is refused by the gateway with 403."""
        response = serve(account).get(TRACKING, parameters)
        assert (response.status_code, error_key(response)) == (403, "mashery.not.authorized.inactive")

    @pytest.mark.parametrize("authorization", ["Bearer other", "", TOKEN])
    def test_a_wrong_token_is_refused(
        self, serve: Serve, account: SimulatedAccount, authorization: str
    ) -> None:
        """A token that is wrong, missing or without `Bearer` is answered 401."""
        response = serve(account).get(TRACKING, headers={"Authorization": authorization})
        assert response.status_code == 401
        assert error_key(response) == "http.status.authentication.invalid_token"

    def test_a_revoked_token_can_come_back(self, serve: Serve, account: SimulatedAccount) -> None:
        """A revoked token is answered 401 until it is restored."""
        caller = serve(account)
        caller.server.revoke_token()
        assert caller.get(TRACKING).status_code == 401
        caller.server.restore_token()
        assert caller.get(TRACKING).status_code == 200

    @pytest.mark.parametrize("accept", ["text/html", "*/*", "application/xml, text/json"])
    def test_only_json_can_be_accepted(self, serve: Serve, account: SimulatedAccount, accept: str) -> None:
        """An `Accept` without `application/json` is answered 406."""
        response = serve(account).get(TRACKING, headers={"Accept": accept})
        assert (response.status_code, error_key(response)) == (406, "http.status.not_acceptable")

    def test_a_lenient_api_accepts_anything(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, `*/*` passes and `text/html` still does not."""
        caller = serve(account, Switches(accept_anything=True))
        assert caller.get(TRACKING, headers={"Accept": "*/*"}).status_code == 200
        assert caller.get(TRACKING, headers={"Accept": "text/html"}).status_code == 406

    def test_the_account_can_only_be_read(self, serve: Serve, account: SimulatedAccount) -> None:
        """A write is refused, and the next call on the same session works."""
        caller = serve(account)
        response = caller.session.post(
            caller.server.base_url + "/contacts",
            params={"api_key": KEY},
            json={"a": 1},
            headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"},
            timeout=10,
        )
        assert response.status_code == 405
        assert caller.get(TRACKING).status_code == 200


class TestRows:
    def test_a_row_looks_as_documented(self, serve: Serve, account: SimulatedAccount) -> None:
        """A click has the common fields, its own, and a stamp with milliseconds and `Z`."""
        at = datetime(2026, 1, 2, 3, 4, 5, 6_000, tzinfo=UTC)
        account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=at, link_id="0", link_uri="https://example.org/a")
        assert serve(account).results(TRACKING) == [
            {
                "activity_type": "EMAIL_CLICK",
                "campaign_id": CAMPAIGN,
                "contact_id": "4711",
                "email_address": "ada@example.org",
                "link_id": "0",
                "link_uri": "https://example.org/a",
                "click_date": "2026-01-02T03:04:05.006Z",
            }
        ]

    def test_each_report_has_its_own_type(self, serve: Serve, account: SimulatedAccount) -> None:
        """The six reports hold one type each and the list of all activities holds all, newest first."""
        for number, kind in enumerate(Kind):
            account.add_row(kind, "4711", CAMPAIGN, at=NOW - timedelta(hours=number))
        caller = serve(account)
        assert [row["activity_type"] for row in caller.results(TRACKING)] == [
            kind.activity_type for kind in Kind
        ]
        for kind in Kind:
            (row,) = caller.results(f"{TRACKING}/{kind.report}")
            assert row["activity_type"] == kind.activity_type
            assert kind.date_field in row

    def test_no_activity_is_an_empty_page(self, serve: Serve, account: SimulatedAccount) -> None:
        """Without activity the body is the envelope with empty pagination and empty results."""
        assert serve(account).get(TRACKING).json() == {"meta": {"pagination": {}}, "results": []}

    def test_late_rows_appear_when_they_are_inserted(self, serve: Serve, account: SimulatedAccount) -> None:
        """A row with an old stamp is not shown before its `inserted_at`, and from then on it is."""
        stamp, inserted_at = NOW - timedelta(hours=60), NOW + timedelta(hours=1)
        account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=stamp, inserted_at=inserted_at)
        clock = Clock(inserted_at - timedelta(milliseconds=1))
        caller = serve(account, now=clock)
        assert caller.results(TRACKING) == []
        clock.now = inserted_at
        assert [row["bounce_date"] for row in caller.results(TRACKING)] == ["2026-01-12T22:00:00.000Z"]
        assert len(account.truth(inserted_at)) == 1

    def test_numeric_ids(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, contact, campaign and link ids are numbers, 0 too."""
        account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=NOW, link_id="0")
        (row,) = serve(account, Switches(numeric_ids=True)).results(TRACKING)
        assert (row["contact_id"], row["campaign_id"], row["link_id"]) == (4711, int(CAMPAIGN), 0)

    def test_five_hour_shift(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, an open is stamped 5 h early and before its send, and filtered by that stamp."""
        account.add_row(Kind.SEND, "4711", CAMPAIGN, at=NOW - timedelta(hours=1))
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW)
        caller = serve(account, Switches(shift=FIVE_HOURS_EARLY))
        send, opened = caller.results(TRACKING)
        assert (send["send_date"], opened["open_date"]) == (
            "2026-01-15T09:00:00.000Z",
            "2026-01-15T05:00:00.000Z",
        )
        assert caller.results(f"{TRACKING}/opens", created_since="2026-01-15T05:00:00.001Z") == []

    def test_missing_fields(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, optional fields have no key while type, ids and stamp stay."""
        account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=NOW)
        (row,) = serve(account, Switches(missing_fields_share=1.0)).results(TRACKING)
        assert set(row) == {"activity_type", "campaign_id", "contact_id", "bounce_code", "bounce_date"}

    def test_unknown_type_and_bounce_code(self, serve: Serve, account: SimulatedAccount) -> None:
        """Undocumented types come as further rows and undocumented codes on the same bounces every time."""
        account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=NOW)
        caller = serve(account, Switches(unknown_type_share=1.0, unknown_bounce_code_share=1.0))
        rows = caller.results(TRACKING)
        assert [row["activity_type"] for row in rows] == ["EMAIL_BOUNCE", "EMAIL_SURVEY"]
        assert rows[0]["bounce_code"] == "Q"
        assert caller.results(TRACKING) == rows

    def test_a_share_concerns_always_the_same_rows(self, serve: Serve, account: SimulatedAccount) -> None:
        """A share of 0.3 leaves about that many rows without an address, the same at every read."""
        add_opens(account, 300)
        caller = serve(account, Switches(missing_fields_share=0.3))
        rows = caller.results(TRACKING)
        assert 50 < sum("email_address" not in row for row in rows) < 130
        assert caller.results(TRACKING) == rows

    def test_only_the_first_open(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, the earliest open of a campaign is its only row."""
        add_opens(account, 3)
        (row,) = serve(account, Switches(repeated_opens=False)).results(TRACKING)
        assert row["open_date"] == "2026-01-15T09:45:00.000Z"

    def test_retention_and_counters(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switches, old activity is gone and rows carry counters of what is left."""
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(days=91))
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(days=89))
        (row,) = serve(account, Switches(retention_days=90, row_counters=True)).results(TRACKING)
        assert (row["opens"], row["clicks"]) == (1, 0)


class TestCreatedSince:
    def test_it_is_inclusive(self, serve: Serve, account: SimulatedAccount) -> None:
        """A row at the very millisecond of `created_since` is shown, one a millisecond older is not."""
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW)
        caller = serve(account)
        assert len(caller.results(TRACKING, created_since="2026-01-15T10:00:00.000Z")) == 1
        assert caller.results(TRACKING, created_since="2026-01-15T10:00:00.001Z") == []
        assert len(caller.results(TRACKING, created_since="2026-01-15T11:00:00.000+01:00")) == 1
        assert len(caller.results(TRACKING, created_since="2026-01-15")) == 1

    @pytest.mark.parametrize(("honours", "expected"), [(False, 1), (True, 0)])
    def test_bounces_ignore_it(
        self, serve: Serve, account: SimulatedAccount, *, honours: bool, expected: int
    ) -> None:
        """A contact's bounces ignore `created_since` unless the switch says otherwise."""
        account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=NOW - timedelta(days=1))
        caller = serve(account, Switches(bounces_honour_created_since=honours))
        since = "2026-01-15T00:00:00.000Z"
        assert len(caller.results(f"{TRACKING}/bounces", created_since=since)) == expected
        assert caller.results(TRACKING, created_since=since) == []

    @pytest.mark.parametrize(("honours", "expected"), [(False, 1), (True, 0)])
    def test_bounces_of_a_campaign_honour_it(
        self, serve: Serve, account: SimulatedAccount, *, honours: bool, expected: int
    ) -> None:
        """Unless the switch says otherwise."""
        account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=NOW - timedelta(days=1))
        caller = serve(account, Switches(campaign_bounces_honour_created_since=honours))
        path, since = f"/emailmarketing/campaigns/{CAMPAIGN}/tracking/bounces", "2026-01-15T00:00:00.000Z"
        assert len(caller.results(path, created_since=since)) == expected
        assert Switches().campaign_bounces_honour_created_since

    def test_bad_values_are_refused(self, serve: Serve, account: SimulatedAccount) -> None:
        """A `created_since` that is no time and a `limit` outside 1 to 500 are answered 400."""
        caller = serve(account)
        bad = [{"created_since": "yesterday"}, {"limit": "0"}, {"limit": "501"}, {"limit": "many"}]
        for parameters in bad:
            response = caller.get(TRACKING, parameters)
            assert (response.status_code, error_key(response)) == (400, "http.status.bad_request")

    def test_bad_values_may_be_ignored(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switches, bad values are ignored."""
        add_opens(account, 3)
        lenient = Switches(bad_limit=BadValue.IGNORED, bad_created_since=BadValue.IGNORED)
        assert len(serve(account, lenient).results(TRACKING, limit="0", created_since="yesterday")) == 3


class TestPaging:
    @pytest.mark.parametrize("cursor", list(Cursor))
    @pytest.mark.parametrize("order", list(Order))
    def test_a_walk_has_every_row_once(
        self, serve: Serve, account: SimulatedAccount, cursor: Cursor, order: Order
    ) -> None:
        """Without faults a walk shows every row exactly once, in order, and its last page has no link."""
        add_opens(account, 23)
        walked = serve(account, Switches(cursor=cursor, order=order)).walk(TRACKING, limit="5")
        assert stamps(walked) == sorted(stamps(walked), reverse=order is Order.NEWEST_FIRST)
        assert received(walked) == shown(account.truth(NOW))

    @pytest.mark.parametrize("cursor", list(Cursor))
    def test_a_filter_lasts_for_the_walk(
        self, serve: Serve, account: SimulatedAccount, cursor: Cursor
    ) -> None:
        """The token remembers `created_since`; with the switch it forgets it after the first page."""
        add_opens(account, 20)
        since = "2026-01-15T09:00:00.000Z"
        keeping = serve(account, Switches(cursor=cursor))
        assert len(keeping.walk(TRACKING, limit="5", created_since=since)) == 9
        forgetting = serve(account, Switches(cursor=cursor, next_keeps_created_since=False))
        assert len(forgetting.walk(TRACKING, limit="5", created_since=since)) == 20

    def test_the_link_is_relative_and_has_only_the_token(
        self, serve: Serve, account: SimulatedAccount
    ) -> None:
        """`next_link` is a path with `next` alone; the token is unpadded base64url of limit and last ms."""
        add_opens(account, 5)
        page = serve(account).get(TRACKING, {"limit": "2"}).json()
        link = page["meta"]["pagination"]["next_link"]
        path, _, token = link.partition("?next=")
        assert path == "/v2/contacts/4711/tracking"
        last_ms = round(datetime.fromisoformat(page["results"][-1]["open_date"]).timestamp() * 1000)
        assert base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode() == f"limit=2&next={last_ms}"
        assert "=" not in token

    @pytest.mark.parametrize("cursor", list(Cursor))
    def test_an_exactly_full_last_page_has_no_link(
        self, serve: Serve, account: SimulatedAccount, cursor: Cursor
    ) -> None:
        """Four rows in pages of two are two pages, not three; so is it with campaigns and contacts."""
        add_opens(account, 4)
        account.add_contact("b@example.org", at=NOW)
        account.add_campaign("July news", sent_at=NOW)
        caller = serve(account, Switches(cursor=cursor))
        assert [len(page) for page in caller.pages(TRACKING, limit="2")] == [2, 2]
        for path in ("/contacts", "/emailmarketing/campaigns"):
            assert [len(page) for page in caller.pages(path, limit="1")] == [1, 1]

    def test_limit_has_documented_defaults(self, serve: Serve, account: SimulatedAccount) -> None:
        """A tracking page holds 500 rows without `limit`."""
        add_opens(account, 501)
        assert [len(page) for page in serve(account).pages(TRACKING)] == [500, 1]

    @pytest.mark.parametrize("cursor", list(Cursor))
    def test_limit_plus_one(self, serve: Serve, account: SimulatedAccount, cursor: Cursor) -> None:
        """With the switch, full pages hold one row more than asked for, and the walk is still whole."""
        add_opens(account, 7)
        caller = serve(account, Switches(limit_plus_one=True, cursor=cursor))
        assert [len(page) for page in caller.pages(TRACKING, limit="2")] == [3, 3, 1]
        assert received(caller.walk(TRACKING, limit="2")) == shown(account.truth(NOW))

    @pytest.mark.parametrize(("tie", "numbers"), [(Tie.STRETCHED, 5), (Tie.REPEATED, 6), (Tie.LOST, 4)])
    def test_ties_at_a_page_edge(
        self, serve: Serve, account: SimulatedAccount, tie: Tie, numbers: int
    ) -> None:
        """Rows of one millisecond at a page edge come once, again, or not at all, as the switch says."""
        for hours, ties in ((1, 2), (2, 2), (3, 1)):
            for number in range(ties):
                at = NOW - timedelta(hours=hours)
                account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=at, link_id=str(number))
        assert len(serve(account, Switches(tie=tie)).walk(TRACKING, limit="3")) == numbers

    def test_small_pages_whatever_limit_says(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, pages stay small although the caller asks for 500 rows."""
        add_opens(account, 5)
        caller = serve(account, Switches(max_page_rows=2))
        assert [len(page) for page in caller.pages(TRACKING, limit="500")] == [2, 2, 1]

    def test_next_stands_alone(self, serve: Serve, account: SimulatedAccount) -> None:
        """`next` with any other parameter is answered 400 and recorded as a violation."""
        add_opens(account, 5)
        caller = serve(account)
        link = caller.get(TRACKING, {"limit": "2"}).json()["meta"]["pagination"]["next_link"]
        token = link.partition("?next=")[2]
        assert caller.server.violations == []
        response = caller.get(TRACKING, {"next": token, "limit": "2"})
        assert (response.status_code, error_key(response)) == (400, "http.status.bad_request")
        assert caller.server.violations == ["next together with limit"]

    def test_wrong_paths_in_links(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, links name a campaign's path, and whoever follows them gets a 404."""
        add_opens(account, 5)
        caller = serve(account, Switches(wrong_next_path=True))
        link = caller.get(TRACKING, {"limit": "2"}).json()["meta"]["pagination"]["next_link"]
        assert link.startswith("/v2/emailmarketing/campaigns/4711/tracking?next=")
        followed = caller.get(link.removeprefix("/v2"))
        assert followed.status_code == 404
        assert caller.server.violations == ["unknown path"]

    @pytest.mark.parametrize("token", ["", "%%%", "bGltaXQ9Mg", "ünfug"])
    @pytest.mark.parametrize("status", [400, 404])
    def test_a_malformed_token_is_refused(
        self, serve: Serve, account: SimulatedAccount, token: str, status: int
    ) -> None:
        """A malformed `next` gets the status that the switch says."""
        response = serve(account, Switches(expired_next_status=status)).get(TRACKING, {"next": token})
        assert response.status_code == status

    def test_tokens_may_expire(self, serve: Serve, account: SimulatedAccount) -> None:
        """With a lifetime, a `next` works within it and is refused after it."""
        add_opens(account, 5)
        clock = Clock()
        caller = serve(account, Switches(next_lifetime_s=60), now=clock)
        link = caller.get(TRACKING, {"limit": "2"}).json()["meta"]["pagination"]["next_link"]
        token = {"next": link.partition("?next=")[2]}
        clock.now = NOW + timedelta(seconds=60)
        assert caller.get(TRACKING, token).status_code == 200
        clock.now = NOW + timedelta(seconds=61)
        assert caller.get(TRACKING, token).status_code == 400


class TestContacts:
    def test_the_listing_pages_by_offset(self, serve: Serve) -> None:
        """A page holds 50 contacts without `limit`, and tokens count contacts from 1."""
        account = SimulatedAccount()
        for number in range(120):
            account.add_contact(f"c{number}@example.org", at=NOW)
        caller = serve(account)
        assert [len(page) for page in caller.pages("/contacts")] == [50, 50, 20]
        ids = [contact["id"] for contact in caller.walk("/contacts", limit="7")]
        assert ids == [contact.id for contact in account.contacts()]
        link = caller.get("/contacts", {"limit": "2"}).json()["meta"]["pagination"]["next_link"]
        assert link == "/v2/contacts?next=" + "c3RhcnRBdD0zJmxpbWl0PTI"

    def test_modified_since_is_inclusive_and_lasts(self, serve: Serve) -> None:
        """`modified_since` shows contacts changed at or after it, on every page of the walk."""
        account = SimulatedAccount()
        for day in range(10):
            account.add_contact(f"c{day}@example.org", at=NOW + timedelta(days=day))
        account.touch_contact("1001", at=NOW + timedelta(days=20))
        walked = serve(account).walk("/contacts", limit="2", modified_since="2026-01-20T10:00:00.000Z")
        assert [contact["id"] for contact in walked] == ["1001", "1006", "1007", "1008", "1009", "1010"]

    def test_status_filters(self, serve: Serve, account: SimulatedAccount) -> None:
        """`status` shows one state, ALL is the default, and an unknown state is answered 400."""
        account.add_contact("b@example.org", contact_id="2", at=NOW, status="OPTOUT")
        caller = serve(account)
        assert [contact["id"] for contact in caller.results("/contacts", status="OPTOUT")] == ["2"]
        assert len(caller.results("/contacts")) == 2
        assert caller.get("/contacts", {"status": "ASLEEP"}).status_code == 400

    def test_a_contact_looks_as_documented(self, serve: Serve, account: SimulatedAccount) -> None:
        """A contact has its address in a list, dates in UTC, and its v3 id only when asked for."""
        caller = serve(account)
        (contact,) = caller.results("/contacts")
        assert contact["email_addresses"][0]["email_address"] == "ada@example.org"
        assert contact["modified_date"] == "2025-10-17T10:00:00.000Z"
        assert "contact_id" not in contact
        (bridged,) = caller.results("/contacts", include_contact_id="true")
        assert len(bridged["contact_id"]) == 36

    def test_removed_contacts_stay_readable(self, serve: Serve, account: SimulatedAccount) -> None:
        """A soft-deleted contact is REMOVED, and its activity is still answered 200."""
        add_opens(account, 2)
        account.remove_contact("4711", at=NOW)
        caller = serve(account)
        assert len(caller.results(TRACKING)) == 2
        assert caller.get("/contacts/4711").json()["status"] == "REMOVED"
        assert len(caller.results("/contacts", status="REMOVED")) == 1

    def test_only_ids_that_never_existed_are_unknown(self, serve: Serve, account: SimulatedAccount) -> None:
        """An id that the account never had is answered 404 on every path about it."""
        add_opens(account, 2)
        account.forget_contact("4711")
        caller = serve(account)
        for path in ("", "/tracking", "/tracking/opens", "/tracking/reports/summary"):
            response = caller.get(f"/contacts/4711{path}")
            assert (response.status_code, error_key(response)) == (404, "http.status.not_found")
        assert account.truth(NOW) == []

    def test_newest_first_shifts_pages(self, serve: Serve) -> None:
        """With the switch, a contact that changes during a walk moves to the front and shifts the rest."""
        account = SimulatedAccount()
        for number in range(4):
            account.add_contact(f"c{number}@example.org", at=NOW + timedelta(seconds=number))
        caller = serve(account, Switches(contacts_newest_first=True))
        pages = caller.pages("/contacts", limit="2")
        first = [contact["id"] for contact in next(pages)]
        account.touch_contact("1001", at=NOW + timedelta(minutes=1))
        assert (first, [contact["id"] for contact in next(pages)]) == (["1004", "1003"], ["1003", "1002"])


class TestSummaries:
    def test_a_contact_summary_counts_activities(self, serve: Serve, account: SimulatedAccount) -> None:
        """The contact summary has the six counts and the contact's id."""
        account.add_row(Kind.SEND, "4711", CAMPAIGN, at=NOW)
        add_opens(account, 3)
        assert serve(account).get(f"{TRACKING}/reports/summary").json() == {
            "sends": 1,
            "opens": 3,
            "clicks": 0,
            "forwards": 0,
            "unsubscribes": 0,
            "bounces": 0,
            "contact_id": "4711",
        }

    def test_summary_by_campaign_is_a_bare_list(self, serve: Serve, account: SimulatedAccount) -> None:
        """The summary by campaign is a list without envelope whose clicks count links."""
        caller = serve(account)
        assert caller.get(f"{TRACKING}/reports/summaryByCampaign").json() == []
        for number, link_id in enumerate(("7", "7", "8")):
            account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=NOW - timedelta(hours=number), link_id=link_id)
        assert caller.get(f"{TRACKING}/reports/summaryByCampaign").json() == [
            {
                "campaign_id": CAMPAIGN,
                "contact_id": "4711",
                "opens": 0,
                "clicks": 2,
                "forwards": 0,
                "bounces": 0,
            }
        ]

    def test_a_campaign_summary_lags(self, serve: Serve, account: SimulatedAccount) -> None:
        """Counts of contacts are as of the last computation until `updateSummary=true` makes a new one."""
        clock = Clock(NOW.replace(hour=12))
        caller = serve(account, now=clock)
        path = f"/emailmarketing/campaigns/{CAMPAIGN}/tracking/reports/summary"
        add_opens(account, 3)
        account.add_row(Kind.FORWARD, "4711", CAMPAIGN, at=clock.now + timedelta(minutes=1))
        clock.now += timedelta(minutes=2)
        stale = caller.get(path).json()
        assert (stale["opens"], stale["forwards"]) == (1, 0)
        assert caller.get(path, {"updateSummary": "true"}).json()["forwards"] == 1
        assert caller.get(path).json()["forwards"] == 1

    def test_extra_summary_fields(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, a campaign's summary also has its id as a number and a spam count."""
        caller = serve(account, Switches(extra_summary_fields=True))
        summary = caller.get(f"/emailmarketing/campaigns/{CAMPAIGN}/tracking/reports/summary").json()
        assert (summary["campaign_id"], summary["spam_count"]) == (int(CAMPAIGN), 0)


class TestCampaigns:
    def test_sent_campaigns_by_last_run(self, serve: Serve) -> None:
        """Sent campaigns come newest first in pages of at most 50, with page numbers in the token."""
        account = SimulatedAccount()
        for day in range(60):
            account.add_campaign(f"News {day}", sent_at=NOW - timedelta(days=(day * 7) % 60))
        caller = serve(account)
        pages = list(caller.pages("/emailmarketing/campaigns", status="SENT"))
        assert [len(page) for page in pages] == [50, 10]
        dates = [row["modified_date"] for page in pages for row in page]
        assert dates == sorted(dates, reverse=True)
        assert caller.get("/emailmarketing/campaigns", {"limit": "51"}).status_code == 400
        page = caller.get("/emailmarketing/campaigns", {"limit": "3"}).json()
        assert page["meta"]["pagination"]["next_link"].endswith("?next=cGFnZU51bT0yJnBhZ2VTaXplPTM")

    def test_a_campaign_has_its_links(self, serve: Serve, account: SimulatedAccount) -> None:
        """A single campaign tells when it was sent and how often each link was clicked."""
        sent_at = NOW - timedelta(days=2)
        links = [Link("7", "https://example.org/a")]
        id_ = account.add_campaign("News", sent_at=sent_at, links=links).id
        account.add_row(Kind.CLICK, "4711", id_, at=NOW, link_id="7")
        campaign = serve(account).get(f"/emailmarketing/campaigns/{id_}").json()
        assert campaign["last_run_date"] == "2026-01-13T10:00:00.000Z"
        assert campaign["click_through_details"] == [
            {"url": "https://example.org/a", "url_uid": "7", "click_count": 1}
        ]

    def test_the_links_of_a_campaign_can_have_numbers(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, the id of a link is the same number in a campaign as in a click."""
        links = [Link("7", "https://example.org/a")]
        id_ = account.add_campaign("News", sent_at=NOW, links=links).id
        account.add_row(Kind.CLICK, "4711", id_, at=NOW, link_id="7")
        caller = serve(account, Switches(numeric_ids=True))
        (link,) = caller.get(f"/emailmarketing/campaigns/{id_}").json()["click_through_details"]
        (clicked,) = caller.results(TRACKING)
        assert link["url_uid"] == clicked["link_id"] == 7
        assert link["click_count"] == 1

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_unlisted_campaigns(self, serve: Serve, account: SimulatedAccount, share: float) -> None:
        """Unlisted campaigns answer 404 and are in no list, but contacts show their activity."""
        id_ = account.add_campaign("Welcome", sent_at=NOW, listed=share == 1.0).id
        account.add_row(Kind.SEND, "4711", id_, at=NOW)
        caller = serve(account, Switches(unlisted_campaign_share=share))
        listed = [row["id"] for row in caller.results("/emailmarketing/campaigns")]
        assert id_ not in listed
        assert caller.get(f"/emailmarketing/campaigns/{id_}/tracking/reports/summary").status_code == 404
        assert [row["campaign_id"] for row in caller.results(TRACKING)] == [id_]


def campaign_report(report: str) -> str:
    return f"/emailmarketing/campaigns/{CAMPAIGN}/tracking/{report}"


class TestCampaignReports:
    @pytest.mark.parametrize("cursor", Cursor)
    @pytest.mark.parametrize("order", Order)
    def test_both_sides_show_the_same_activities(self, serve: Serve, cursor: Cursor, order: Order) -> None:
        """Whatever the order and the cursor, a row of one side is a row of the other, URLs apart."""
        account = SimulatedAccount()
        account.add_campaign("News", sent_at=NOW - timedelta(days=2), campaign_id=CAMPAIGN)
        for number in range(1, 8):
            contact = account.add_contact(f"c{number}@example.org", at=NOW - timedelta(days=9))
            for kind in Kind:
                account.add_row(kind, contact.id, CAMPAIGN, at=NOW - timedelta(minutes=3 * number))
        switches = Switches(cursor=cursor, campaign_order=order, max_page_rows=3)
        caller = serve(account, switches)
        by_campaign = [row for kind in Kind for row in caller.walk(campaign_report(kind.report), limit="3")]
        by_contact = [
            {name: value for name, value in row.items() if name != "link_uri"}
            for contact in account.contacts()
            for row in caller.walk(f"/contacts/{contact.id}/tracking")
        ]
        assert sorted(by_campaign, key=str) == sorted(by_contact, key=str)

    @pytest.mark.parametrize("switches", [Switches(repeated_opens=False), Switches(retention_days=1)])
    def test_what_one_side_leaves_out_the_other_does_too(self, serve: Serve, switches: Switches) -> None:
        """Opens after the first of a contact, and activity that is too old."""
        account = SimulatedAccount()
        account.add_campaign("News", sent_at=NOW - timedelta(days=2), campaign_id=CAMPAIGN)
        for number in (1, 2):
            contact = account.add_contact(f"c{number}@example.org", at=NOW - timedelta(days=9))
            for hours in (3, 40, 1):
                account.add_row(Kind.OPEN, contact.id, CAMPAIGN, at=NOW - timedelta(hours=hours))
        caller = serve(account, switches)
        by_campaign = caller.results(campaign_report("opens"))
        by_contact = [
            row
            for contact in account.contacts()
            for row in caller.results(f"/contacts/{contact.id}/tracking")
        ]
        assert 0 < len(by_campaign) < 6
        assert sorted(by_campaign, key=str) == sorted(by_contact, key=str)

    def test_a_report_has_one_type_in_order(self, serve: Serve, account: SimulatedAccount) -> None:
        """Newest first, from `created_since` on, bounces as well."""
        for hours in (1, 2, 3):
            for kind in (Kind.OPEN, Kind.BOUNCE):
                account.add_row(kind, "4711", CAMPAIGN, at=NOW - timedelta(hours=hours))
        caller, since = serve(account), (NOW - timedelta(hours=2)).isoformat()
        opens = caller.results(campaign_report("opens"), created_since=since)
        dates = [row["open_date"] for row in opens]
        assert dates == sorted(dates, reverse=True)
        assert all(date >= "2026-01-15T08:00" for date in dates)
        bounces = caller.results(campaign_report("bounces"), created_since=since)
        assert len(bounces) == len(caller.results(campaign_report("bounces"))) - 1

    @pytest.mark.parametrize("side", Side)
    @pytest.mark.parametrize("from_h", [None, 2])
    def test_stamps_of_one_side_may_be_hours_off(
        self, serve: Serve, account: SimulatedAccount, side: Side, from_h: int | None
    ) -> None:
        """Of some types, and perhaps from a day on; the other side shows them as they were."""
        for hours in (1, 3):
            account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(hours=hours))
        from_ms = 0 if from_h is None else round((NOW - timedelta(hours=from_h)).timestamp() * 1_000)
        shift = Shift(side, hours=-5, reports=frozenset(("opens",)), from_ms=from_ms)
        plain, shifted = serve(account), serve(account, Switches(shift=shift))
        paths = {Side.CONTACT: f"{TRACKING}/opens", Side.CAMPAIGN: campaign_report("opens")}
        for path_side, path in paths.items():
            before = sorted(row["open_date"] for row in plain.results(path))
            after = sorted(row["open_date"] for row in shifted.results(path))
            moved = len(set(before) - set(after))
            assert bool(moved) == (path_side is side)
            assert moved < len(before) or from_h is None

    def test_links_may_be_missing(self, serve: Serve, account: SimulatedAccount) -> None:
        """A click of a campaign's report has an id whose URL the campaign tells, or does not."""
        links = [Link(str(number), f"https://example.org/{number}") for number in range(20)]
        id_ = account.add_campaign("Links", sent_at=NOW, links=links).id
        details = "click_through_details"
        caller = serve(account, Switches(missing_link_share=0.5))
        left = caller.get(f"/emailmarketing/campaigns/{id_}").json()[details]
        assert 0 < len(left) < len(links)

    @pytest.mark.parametrize("status", [403, 404])
    def test_reports_may_be_refused(self, serve: Serve, account: SimulatedAccount, status: int) -> None:
        """By a key without the right, or for a campaign that is unknown or no list shows."""
        caller = serve(account, Switches(campaign_reports_refused=status == 403))
        path = campaign_report("opens") if status == 403 else campaign_report("opens").replace("1", "2")
        assert caller.get(path).status_code == status
        assert caller.get(f"{TRACKING}/opens").status_code == 200

    def test_a_campaign_may_be_listed_late(self, account: SimulatedAccount) -> None:
        """Its contacts show its activity before the list and its reports do."""
        id_ = account.add_campaign("Late", sent_at=NOW).id
        api = Api(account, Switches(listed_after_s=600))
        for wait_s, status in ((599, 404), (600, 200)):
            query = Query(f"/v2/emailmarketing/campaigns/{id_}", {}, round(NOW.timestamp() + wait_s) * 1_000)
            assert api.answer(query).status == status

    def test_a_campaign_that_is_sent_again_is_first_in_the_list(self, account: SimulatedAccount) -> None:
        """From then on, with the new date of its last run."""
        now_ms = round(NOW.timestamp() * 1_000)
        day_ms = 86_400_000
        for id_, days, resent_ms in (("51", 9, (now_ms,)), ("52", 3, ())):
            sent_ms = now_ms - days * day_ms
            account.put_campaign(Campaign(id_, id_, "SENT", sent_ms, sent_ms, sent_ms, resent_ms=resent_ms))
        api = Api(account, Switches())

        def first(at_ms: int) -> str:
            listed = api.answer(Query("/v2/emailmarketing/campaigns", {"status": "SENT"}, at_ms)).content
            assert isinstance(listed, dict)
            return next(str(row["id"]) for row in listed["results"] if row["id"] in {"51", "52"})

        assert (first(now_ms - 1), first(now_ms)) == ("52", "51")
        shown = api.answer(Query("/v2/emailmarketing/campaigns/51", {}, now_ms)).content
        assert isinstance(shown, dict)
        assert shown["last_run_date"] == "2026-01-15T10:00:00.000Z"


class TestQuotas:
    def test_calls_per_second(self, serve: Serve, account: SimulatedAccount) -> None:
        """The fifth call within a second is refused, counted, and one second later calls pass again."""
        seconds = [0.0, 0.1, 0.2, 0.3, 0.9, 1.95]
        times = iter(seconds)
        caller = serve(account, calls_per_second=4, monotonic=lambda: next(times))
        answers = [caller.get(TRACKING) for _ in seconds]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 403, 200]
        assert error_key(answers[4]) == "mashery.not.authorized.over.qps"
        assert set(answers[4].headers) == {"Server", "Date", "Content-Type", "Content-Length"}
        assert caller.server.max_calls_in_any_second() == 5

    def test_calls_per_day(self, serve: Serve, account: SimulatedAccount) -> None:
        """A used-up day has its own key and ends at midnight UTC."""
        clock = Clock(datetime(2026, 1, 15, 23, 59, tzinfo=UTC))
        caller = serve(account, calls_per_day=2, now=clock)
        answers = [caller.get(TRACKING) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 403]
        assert error_key(answers[2]) == "mashery.not.authorized.over.ratelimit"
        clock.now += timedelta(minutes=1)
        assert caller.get(TRACKING).status_code == 200

    @pytest.mark.parametrize(("counts", "last"), [(True, 403), (False, 200)])
    def test_refused_calls_use_up_the_second(
        self, serve: Serve, account: SimulatedAccount, *, counts: bool, last: int
    ) -> None:
        """A refused call counts in the second that follows it, unless the switch says otherwise."""
        times = iter([0.0, 0.5, 1.2])
        switches = Switches(refused_calls_count=counts)
        caller = serve(account, switches, calls_per_second=1, monotonic=lambda: next(times))
        assert [caller.get(TRACKING).status_code for _ in range(3)] == [200, 403, last]

    def test_gateway_headers(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switches, quota answers carry the gateway's headers and `Retry-After`."""
        caller = serve(account, Switches(gateway_headers=True, retry_after_s=1), calls_per_second=0)
        headers = caller.get(TRACKING).headers
        assert headers["X-Mashery-Error-Code"] == "ERR_403_DEVELOPER_OVER_QPS"
        assert headers["Retry-After"] == "1"

    def test_over_the_second_as_401(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch, too many calls in a second look like a bad token."""
        response = serve(account, Switches(over_qps_as_401=True), calls_per_second=0).get(TRACKING)
        assert error_key(response) == "http.status.authentication.invalid_token"

    def test_limits_can_be_off(self, serve: Serve, account: SimulatedAccount) -> None:
        """Without limits no call is refused, and every call is still recorded."""
        caller = serve(account, Switches(rate_limits=False), calls_per_second=0, calls_per_day=0)
        assert [caller.get(TRACKING).status_code for _ in range(3)] == [200, 200, 200]
        assert len(caller.server.calls) == 3

    def test_every_call_is_recorded(self, serve: Serve, account: SimulatedAccount) -> None:
        """Calls of many threads are all recorded in order of arrival, refused ones too, without the key."""
        arrivals = itertools.count(step=0.01)
        caller = serve(account, calls_per_second=4, monotonic=lambda: next(arrivals))
        threads = [
            threading.Thread(
                target=Caller(caller.server, caller.session).get, args=(TRACKING, {"limit": "9"})
            )
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls = caller.server.calls
        assert len(calls) == 12
        assert [call.at_s for call in calls] == sorted(call.at_s for call in calls)
        assert all(call.query == {"limit": "9"} for call in calls)
        assert [call.status for call in calls] == [200] * 4 + [403] * 8


class TestFaults:
    def scripted(self, serve: Serve, account: SimulatedAccount, *faults: Fault) -> Caller:
        add_opens(account, 5)
        caller = serve(account, Switches(slow_s=0.05))
        caller.server.script("4711", *faults)
        return caller

    @pytest.mark.parametrize(
        ("fault", "status", "key"),
        [
            (Fault.UNAUTHORIZED, 401, "http.status.authentication.invalid_token"),
            (Fault.OVER_QPS, 403, "mashery.not.authorized.over.qps"),
            (Fault.TOO_MANY, 429, "http.status.too_many_requests"),
            (Fault.SERVER_ERROR, 500, "http.status.internal_server_error"),
        ],
    )
    def test_refusals(
        self, serve: Serve, account: SimulatedAccount, fault: Fault, status: int, key: str
    ) -> None:
        """One call gets the documented error body. The next call is answered."""
        caller = self.scripted(serve, account, fault)
        response = caller.get(TRACKING)
        assert (response.status_code, error_key(response)) == (status, key)
        assert caller.get(TRACKING).status_code == 200
        assert [call.fault for call in caller.server.calls] == [fault, None]

    def test_a_gateway_that_is_down(self, serve: Serve, account: SimulatedAccount) -> None:
        """A gateway answers 503 with HTML or 502 with nothing."""
        caller = self.scripted(serve, account, Fault.UNAVAILABLE_HTML, Fault.BAD_GATEWAY)
        html, empty = caller.get(TRACKING), caller.get(TRACKING)
        assert html.status_code == 503
        assert html.headers["Content-Type"].startswith("text/html")
        assert "<html>" in html.text
        assert (empty.status_code, empty.content) == (502, b"")

    def test_bodies_that_are_no_json(self, serve: Serve, account: SimulatedAccount) -> None:
        """A 200 can have an empty body, or half of one whose length is that of the half."""
        caller = self.scripted(serve, account, Fault.EMPTY_BODY, Fault.TRUNCATED_JSON)
        empty, half = caller.get(TRACKING), caller.get(TRACKING)
        whole = caller.get(TRACKING)
        assert (empty.status_code, empty.content) == (200, b"")
        assert half.status_code == 200
        assert half.content == whole.content[: len(whole.content) // 2]
        with pytest.raises(requests.exceptions.JSONDecodeError):
            half.json()

    def test_a_cut_connection(self, serve: Serve, account: SimulatedAccount) -> None:
        """A connection can close after half of the declared body."""
        caller = self.scripted(serve, account, Fault.CUT_CONNECTION)
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            caller.get(TRACKING)
        assert caller.get(TRACKING).status_code == 200

    def test_a_closed_connection(self, serve: Serve, account: SimulatedAccount) -> None:
        """A connection can close without an answer, recorded with status 0."""
        caller = self.scripted(serve, account, Fault.CLOSED_CONNECTION)
        with pytest.raises(requests.exceptions.ConnectionError):
            caller.get(TRACKING)
        assert [call.status for call in caller.server.calls] == [0]
        assert caller.get(TRACKING).status_code == 200

    def test_a_slow_body(self, serve: Serve, account: SimulatedAccount) -> None:
        """A body can pause half-way: whole for a patient client, a time-out for one that is not."""
        add_opens(account, 5)
        caller = serve(account, Switches(slow_s=30))
        caller.server.script("4711", Fault.SLOW_BODY)
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
        with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout)):
            caller.session.get(
                f"{caller.server.base_url}{TRACKING}?api_key={KEY}", headers=headers, timeout=(5, 0.1)
            )
        patient = self.scripted(serve, account, Fault.SLOW_BODY)
        assert patient.get(TRACKING).json() == caller.get(TRACKING).json()

    def test_repeated_rows(self, serve: Serve, account: SimulatedAccount) -> None:
        """A page can show some of its rows twice, and never leaves one out."""
        caller = self.scripted(serve, account, Fault.REPEATED_ROWS)
        repeated, whole = caller.results(TRACKING), caller.results(TRACKING)
        assert Counter(stamps(repeated)) > Counter(stamps(whole))
        assert set(stamps(repeated)) == set(stamps(whole))

    def test_repeated_next(self, serve: Serve, account: SimulatedAccount) -> None:
        """A page can link to itself."""
        caller = self.scripted(serve, account)
        link = caller.get(TRACKING, {"limit": "2"}).json()["meta"]["pagination"]["next_link"]
        token = {"next": link.partition("?next=")[2]}
        caller.server.script("4711", Fault.REPEATED_NEXT)
        assert caller.get(TRACKING, token).json()["meta"]["pagination"]["next_link"] == link
        assert caller.get(TRACKING, token).json()["meta"]["pagination"]["next_link"] != link

    @pytest.mark.parametrize(
        ("fault", "status"), [(Fault.NEXT_REFUSED_400, 400), (Fault.NEXT_REFUSED_404, 404)]
    )
    def test_next_refused(self, serve: Serve, account: SimulatedAccount, fault: Fault, status: int) -> None:
        """A good `next` can be refused with 400 or 404, and a call without `next` never is."""
        caller = self.scripted(serve, account, fault, fault)
        first = caller.get(TRACKING, {"limit": "2"})
        token = first.json()["meta"]["pagination"]["next_link"].partition("?next=")[2]
        assert caller.get(TRACKING, {"next": token}).status_code == status
        assert caller.get(TRACKING, {"next": token}).status_code == 200

    def test_a_script_gives_exact_answers(self, serve: Serve, account: SimulatedAccount) -> None:
        """The steps of a script apply to the calls of its target, in order, and to no others."""
        account.add_contact("b@example.org", contact_id="2", at=NOW)
        caller = serve(account)
        caller.server.script(
            "4711",
            error(418, "teapot", "No coffee."),
            None,
            lambda: add_opens(account, 2),
            Fault.SERVER_ERROR,
        )
        caller.server.script("/v2/contacts", Reply(200, "{", headers={"X-Test": "1"}))
        other = caller.get("/contacts/2/tracking")
        answers = [caller.get(path) for path in (TRACKING, TRACKING, f"{TRACKING}/opens", TRACKING, TRACKING)]
        listing = caller.get("/contacts")
        assert [answer.status_code for answer in answers] == [418, 200, 200, 500, 200]
        assert [len(answers[place].json()["results"]) for place in (1, 2)] == [0, 2]
        assert (other.status_code, listing.text, listing.headers["X-Test"]) == (200, "{", "1")

    def test_the_same_calls_get_the_same_faults_in_every_run(self, serve: Serve) -> None:
        """Equal seeds give equal faults per path, whatever else is called; other seeds give others."""
        account = SimulatedAccount()
        for number in range(4):
            account.add_contact(f"c{number}@example.org", at=NOW)

        def run(seed: int, ids: list[str]) -> dict[str, list[Fault | None]]:
            caller = serve(
                account, Switches(faults={Fault.SERVER_ERROR: 0.3, Fault.BAD_GATEWAY: 0.3}, seed=seed)
            )
            for id_ in ids:
                caller.get(f"/contacts/{id_}/tracking")
            return {
                id_: [call.fault for call in caller.server.calls if id_ in call.path]
                for id_ in sorted(set(ids))
            }

        ids = ["1001", "1002", "1003", "1004"] * 10
        assert run(5, ids) == run(5, sorted(ids))
        assert run(5, ids) != run(6, ids)

    def test_a_faulty_account_fails_in_every_way(self, serve: Serve, account: SimulatedAccount) -> None:
        """`faulty` spreads its rate over all faults, and never refuses a good token twice in a row."""
        add_opens(account, 9)
        caller = serve(account, Switches.faulty(0.6, seed=3, slow_s=0))
        for _ in range(400):
            try:
                page = caller.get(TRACKING, {"limit": "2"}).json()
                token = page["meta"]["pagination"]["next_link"].partition("?next=")[2]
                caller.get(TRACKING, {"next": token})
            except (requests.RequestException, ValueError, TypeError):
                continue
        met = Counter(call.fault for call in caller.server.calls)
        assert set(met) == {None, *Fault}
        assert 0.3 < 1 - met[None] / met.total() < 0.6
        accepted = [call.status == 200 and call.fault is None for call in caller.server.calls]
        refused = [place for place, call in enumerate(caller.server.calls) if call.status == 401]
        assert len(refused) > 1
        assert all(any(accepted[a:b]) for a, b in itertools.pairwise(refused))

    def test_impossible_probabilities(self) -> None:
        """Faults that are more likely than certain are refused."""
        with pytest.raises(ValueError, match="from 0 to 1"):
            Switches(faults={Fault.SERVER_ERROR: 0.6, Fault.BAD_GATEWAY: 0.6})


class TestServer:
    def test_it_stops_with_open_connections(self, account: SimulatedAccount) -> None:
        """Leaving the block closes idle keep-alive connections and frees the port at once."""
        with Server(account, api_key=KEY, access_token=TOKEN) as server:
            caller = Caller(server)
            assert caller.get(TRACKING).status_code == 200
            port = int(server.base_url.split(":")[2].split("/")[0])
        with Server(account, api_key=KEY, access_token=TOKEN, port=port) as again:
            assert again.base_url == server.base_url
        with closing(caller.session), pytest.raises(requests.exceptions.ConnectionError):
            caller.get(TRACKING)
        assert not [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]

    def test_errors_of_the_server_are_raised(self, account: SimulatedAccount) -> None:
        """An error inside the server is raised when the block ends."""

        def fail() -> None:
            raise LookupError("a defect")

        server = Server(account, api_key=KEY, access_token=TOKEN)
        server.script("4711", fail)
        with ExitStack() as stack:
            session = stack.enter_context(closing(requests.Session()))
            stack.enter_context(pytest.raises(LookupError, match="a defect"))
            stack.enter_context(server)
            stack.enter_context(pytest.raises(requests.exceptions.ConnectionError))
            Caller(server, session).get(TRACKING)

    def test_ids_are_not_taken_twice(self, account: SimulatedAccount) -> None:
        """A contact or a campaign with an id that is taken is refused."""
        with pytest.raises(ValueError, match="4711 exists"):
            account.add_contact("b@example.org", contact_id="4711", at=NOW)
        with pytest.raises(ValueError, match="exists"):
            account.add_campaign("Again", campaign_id=CAMPAIGN, sent_at=NOW)


class TestRealisticAccount:
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_it_is_plausible(self, seed: int) -> None:
        """About a dozen campaigns to 250 contacts with the usual shares of opens, clicks and the rest."""
        account = realistic_account(seed, now=NOW)
        rows = account.truth(NOW)
        count = Counter(row.kind for row in rows)
        openers = {(row.contact_id, row.campaign_id) for row in rows if row.kind is Kind.OPEN}
        assert len(account.contacts()) == 250
        assert 3_000 <= len(rows) <= 5_000
        assert 0.30 <= len(openers) / count[Kind.SEND] <= 0.42
        assert count[Kind.OPEN] > len(openers)
        assert 0.04 <= count[Kind.CLICK] / count[Kind.SEND] <= 0.09
        assert 0.005 <= count[Kind.BOUNCE] / count[Kind.SEND] <= 0.02
        assert 0 < count[Kind.FORWARD] < count[Kind.CLICK]
        assert 0 < count[Kind.UNSUBSCRIBE] <= 0.01 * count[Kind.SEND]

    def test_its_rows_can_be_told_apart(self) -> None:
        """No two rows have the same key, and one link that is clicked has the id 0."""
        rows = realistic_account(1, now=NOW).rows()
        assert len({row.key for row in rows}) == len(rows)
        assert any(row.kind is Kind.CLICK and row.key[-1] == "0" for row in rows)

    def test_late_bounces(self) -> None:
        """Some bounces show hours or days after their stamp, and none later than three days."""
        rows = realistic_account(1, now=NOW).rows()
        late_h = [(row.inserted_ms - row.occurred_ms) / 3.6e6 for row in rows if row.kind is Kind.BOUNCE]
        assert max(late_h) > 24
        assert max(late_h) < 72

    def test_who_unsubscribed_gets_no_more(self) -> None:
        """An unsubscribed contact is OPTOUT and gets no campaign that was sent later."""
        account = realistic_account(1, now=NOW)
        rows = account.truth(NOW)
        left_ms = {row.contact_id: row.occurred_ms for row in rows if row.kind is Kind.UNSUBSCRIBE}
        assert {contact.id for contact in account.contacts() if contact.status == "OPTOUT"} == set(left_ms)
        sends = [row for row in rows if row.kind is Kind.SEND and row.contact_id in left_ms]
        assert all(row.occurred_ms < left_ms[row.contact_id] for row in sends)

    def test_equal_seeds_are_equal_accounts(self) -> None:
        """The same seed and time give the same rows, another seed gives others."""
        once, again, other = (realistic_account(seed, now=NOW, contacts=40) for seed in (1, 1, 2))
        assert once.rows() == again.rows()
        assert once.contacts() == again.contacts()
        assert once.rows() != other.rows()

    def test_the_truth_can_be_read_over_http(self, serve: Serve) -> None:
        """Walking every contact of the listing yields exactly the account's truth."""
        account = realistic_account(4, now=NOW, contacts=60)
        caller = serve(account, Switches(max_page_rows=7))
        rows = [
            row
            for contact in caller.walk("/contacts")
            for row in caller.walk(f"/contacts/{contact['id']}/tracking")
        ]
        assert received(rows) == shown(account.truth(NOW))
        assert caller.server.violations == []


class TestNewActivity:
    def test_a_second_visit_shows_new_activity(self, tmp_path: Path) -> None:
        """Seconds later some contacts have new rows, and what was there is unchanged."""
        path = tmp_path / "deep" / "account.json"
        before = open_account(path, NOW).truth(NOW)
        later = NOW + timedelta(seconds=20)
        after = open_account(path, later).truth(later)
        new = set(after) - set(before)
        assert set(before) <= set(after)
        assert 10 <= len(new) <= 60
        assert 5 <= len({row.contact_id for row in new}) <= 30

    def test_activity_trickles_in(self, tmp_path: Path) -> None:
        """Without another visit, the coming hours show more and more."""
        account = open_account(tmp_path / "account.json", NOW)
        counts = [len(account.truth(NOW + timedelta(hours=hours))) for hours in range(12)]
        assert counts == sorted(set(counts))

    def test_longer_absences_have_more(self, tmp_path: Path) -> None:
        """After weeks there are new campaigns and many rows, but no more than a bounded number."""
        path = tmp_path / "account.json"
        first = open_account(path, NOW)
        later = NOW + timedelta(days=200)
        account = open_account(path, later)
        new = len(account.truth(later)) - len(first.truth(NOW))
        assert 1 <= len(account.campaigns()) - len(first.campaigns()) <= 3
        assert 500 < new < 3_000

    @pytest.mark.parametrize("days", [2, 400])
    def test_activity_continues_after_a_clock_that_was_ahead(self, tmp_path: Path, days: int) -> None:
        """After a visit in the future the next visits still add activity and campaigns."""
        path = tmp_path / "account.json"
        open_account(path, NOW)
        open_account(path, NOW + timedelta(days=days))
        at = NOW + timedelta(days=1, hours=1)
        account = open_account(path, at)
        counts = [len(account.truth(at + timedelta(hours=hours))) for hours in range(12)]
        assert counts == sorted(set(counts))
        sent = len(account.campaigns())
        assert len(open_account(path, NOW + timedelta(days=25)).campaigns()) > sent

    def test_late_bounces_arrive_between_visits(self, tmp_path: Path) -> None:
        """Over some visits, bounces with stamps of more than a day ago turn up."""
        path = tmp_path / "account.json"
        seen = set(open_account(path, NOW).truth(NOW))
        late = []
        for minutes in range(1, 9):
            at = NOW + timedelta(minutes=minutes)
            rows = set(open_account(path, at).truth(at))
            late += [row for row in rows - seen if row.kind is Kind.BOUNCE]
            seen = rows
        assert late
        assert all(row.inserted_ms - row.occurred_ms <= 60 * 3_600_000 for row in late)
        assert any(row.inserted_ms - row.occurred_ms > 24 * 3_600_000 for row in late)

    def test_equal_visits_make_equal_accounts(self, tmp_path: Path) -> None:
        """Two files visited at the same moments hold the same account."""
        visits = [NOW + timedelta(hours=hours) for hours in (0, 1, 30)]
        once, again = (
            [open_account(tmp_path / name, at).rows() for at in visits]
            for name in ("once.json", "again.json")
        )
        assert once == again
        assert len(list(tmp_path.iterdir())) == 2

    def test_no_row_is_visible_before_it_happens(self, tmp_path: Path) -> None:
        """No visible row has a time in the future."""
        path = tmp_path / "account.json"
        for minutes in (0, 1, 600, 90_000):
            now = NOW + timedelta(minutes=minutes)
            assert all(
                row.occurred_ms <= now.timestamp() * 1000 for row in open_account(path, now).truth(now)
            )

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "life": [1]}', "\xff"]
    )
    def test_a_corrupt_file_is_one_clear_error(self, tmp_path: Path, content: str) -> None:
        """A file that is no account is left as it is, and the error says what to do."""
        path = tmp_path / "account.json"
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(AccountFileError, match=r"account\.json holds no .* delete it to start a new one"):
            open_account(path, NOW)
        assert path.read_bytes() == content.encode("latin-1")


class TestProgram:
    def test_it_serves_until_it_is_told_to_end(self, tmp_path: Path) -> None:
        """The program prints what a client needs, serves, and ends with 0 on SIGTERM."""
        command = [
            sys.executable,
            "-m",
            "contact_activity",
            "sandbox",
            "--api",
            "v2",
            "--contacts",
            "20",
            "--state",
        ]
        with subprocess.Popen(
            [*command, str(tmp_path / "account.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(5)]
            settings = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines[1:])
            response = requests.get(
                settings["CONSTANT_CONTACT_BASE_URL"] + "/contacts",
                params={"api_key": settings["CONSTANT_CONTACT_API_KEY"]},
                headers={
                    "Authorization": f"Bearer {settings['CONSTANT_CONTACT_ACCESS_TOKEN']}",
                    "Accept": "application/json",
                },
                timeout=10,
            )
            os.kill(process.pid, signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        assert len(response.json()["results"]) >= 20
        assert process.returncode == 0
        assert "calls answered: 1" in errors

    def test_a_bad_file_is_one_line(self, tmp_path: Path) -> None:
        """A file that is no account ends the program with 1 and one line."""
        path = tmp_path / "account.json"
        path.write_text(json.dumps({"format": 0}))
        command = [sys.executable, "-m", "contact_activity", "sandbox", "--state", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
