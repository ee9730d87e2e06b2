"""v3 of the simulated account, called over real HTTP as a client would."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
import requests

from contact_activity.simulated import (
    Campaign,
    Cursor,
    Fault,
    Kind,
    Role,
    Row,
    SimulatedAccount,
    Step,
    Switches,
    V3Switches,
    activity_of,
    activity_uuid,
    campaign_uuid,
    contact_uuid,
    realistic_account,
)
from contact_activity.simulated.switches import Shift, Side
from contact_activity.simulated.times import iso, to_ms
from tests.support.v3_caller import KEY, NOW, TOKEN, Clock, V3Caller, calling, next_of

CAMPAIGN = "1117000000001"
CONTACT, ACTIVITY = contact_uuid("4711"), activity_uuid(CAMPAIGN)
DETAILS = f"/reports/contact_reports/{CONTACT}/activity_details"
REPORT = f"/reports/email_reports/{ACTIVITY}/tracking"
TYPES = {
    "em_sends": Kind.SEND,
    "em_opens": Kind.OPEN,
    "em_clicks": Kind.CLICK,
    "em_forwards": Kind.FORWARD,
    "em_bounces": Kind.BOUNCE,
    "em_optouts": Kind.UNSUBSCRIBE,
}
ALL_TYPES = ",".join(TYPES)

Serve = Callable[..., V3Caller]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda account, switches=None, **options: stack.enter_context(
            calling(account, switches=switches, **options)
        )


@pytest.fixture
def account() -> SimulatedAccount:
    """One contact, 4711, and one campaign, with no activity."""
    account = SimulatedAccount()
    account.add_contact("ada@example.org", contact_id="4711", at=NOW - timedelta(days=90), first_name="Ada")
    account.add_campaign("June news", campaign_id=CAMPAIGN, sent_at=NOW - timedelta(days=30))
    return account


def v3(**switches: Any) -> Switches:
    return Switches(v3=V3Switches(**switches))


def add_opens(account: SimulatedAccount, count: int) -> None:
    for number in range(count):
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(minutes=1 + 7 * number))


def shown(rows: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    """What rows have on both sides."""
    names = ("contact_id", "campaign_activity_id", "tracking_activity_type", "created_time")
    return Counter(tuple(row[name] for name in names) for row in rows)


def expected(rows: list[Row], account: SimulatedAccount, step_ms: int = 1) -> Counter[tuple[str, ...]]:
    type_of = {kind: name for name, kind in TYPES.items()}
    return Counter(
        (
            contact_uuid(row.contact_id),
            activity_of(row, account),
            type_of[row.kind],
            iso(row.occurred_ms - row.occurred_ms % step_ms),
        )
        for row in rows
    )


class TestBothVersions:
    def test_one_account_is_read_through_both(self, serve: Serve) -> None:
        """v2, the contacts' reports and the campaigns' reports of v3 all show the truth, and nothing else."""
        account = realistic_account(2, now=NOW, contacts=30)
        truth = account.truth(NOW)
        caller = serve(account, v3(step=Step.MILLISECOND))
        details = [row for of in account.contacts() for row in caller.details(contact_uuid(of.id), ALL_TYPES)]
        reports = [
            row
            for of in account.campaigns()
            for type_ in TYPES
            for row in caller.report(activity_uuid(of.id), type_.removeprefix("em_"), limit="100")
        ]
        assert shown(details) == shown(reports) == expected(truth, account)
        answer = requests.get(
            f"{caller.server.base_url}/contacts/1001/tracking",
            params={"api_key": KEY},
            headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"},
            timeout=10,
        )
        assert len(answer.json()["results"]) == sum(row.contact_id == "1001" for row in truth)

    def test_v2_shows_the_ids_of_v3(self, serve: Serve, account: SimulatedAccount) -> None:
        """With `include_contact_id`, as the bridge for those who migrate."""
        caller = serve(account)
        answer = requests.get(
            f"{caller.server.base_url}/contacts",
            params={"api_key": KEY, "include_contact_id": "true"},
            headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"},
            timeout=10,
        )
        assert answer.json()["results"][0]["contact_id"] == CONTACT
        assert caller.json("/contacts")["contacts"][0]["contact_id"] == CONTACT

    def test_the_quota_is_shared(self, serve: Serve, account: SimulatedAccount) -> None:
        """Three calls of v2 and one of v3 use up a second."""
        caller = serve(account, calls_per_second=4, monotonic=lambda: 5.0)
        for _ in range(3):
            requests.get(f"{caller.server.base_url}/contacts", params={"api_key": KEY}, timeout=10)
        assert [caller.get("/contacts").status_code for _ in range(2)] == [200, 429]
        assert [call.status for call in caller.server.calls] == [401, 401, 401, 200, 429]


class TestContactRows:
    def test_a_row_is_poor(self, serve: Serve, account: SimulatedAccount) -> None:
        """A click has ids, type, stamp and name, and nothing of a click."""
        account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=NOW - timedelta(seconds=1))
        row = {
            "contact_id": CONTACT,
            "campaign_activity_id": ACTIVITY,
            "tracking_activity_type": "em_clicks",
            "created_time": "2026-01-15T09:59:00.000Z",
        }
        caller = serve(account)
        assert caller.details(CONTACT, "em_clicks") == [{**row, "campaign_activity_name": "June news"}]
        assert caller.details(CONTACT, "em_clicks", include_campaign_activity_names="false") == [row]

    def test_types_are_a_list_or_repeated(self, serve: Serve, account: SimulatedAccount) -> None:
        """Both ways give the same rows, on each page. Types of landing pages have none."""
        for number, kind in enumerate(Kind):
            account.add_row(kind, "4711", CAMPAIGN, at=NOW - timedelta(hours=number))
        caller = serve(account)
        listed = caller.details(CONTACT, "em_sends,em_clicks,p_contact_open", limit="1")
        first = caller.get(
            DETAILS,
            [
                ("tracking_activity_type", "em_sends"),
                ("tracking_activity_type", "em_clicks"),
                ("limit", "1"),
            ],
        ).json()
        href = next_of(first)
        assert href
        second = caller.json(href.removeprefix("/v3"))
        assert listed == [*first["tracking_activities"], *second["tracking_activities"]]
        assert [row["tracking_activity_type"] for row in listed] == ["em_sends", "em_clicks"]
        assert next_of(second) is None

    def test_a_deleted_contact_stays_readable(self, serve: Serve, account: SimulatedAccount) -> None:
        """One that is forgotten does not."""
        add_opens(account, 1)
        account.remove_contact("4711", at=NOW)
        caller = serve(account)
        assert len(caller.details(CONTACT, "em_opens")) == 1
        account.forget_contact("4711")
        assert caller.get(DETAILS, {"tracking_activities_list": "em_opens"}).status_code == 404

    def test_a_summary_counts_times(self, serve: Serve, account: SimulatedAccount) -> None:
        """By campaign activity, with the last send, of those that were sent between two dates."""
        account.add_row(Kind.SEND, "4711", CAMPAIGN, at=NOW - timedelta(days=30))
        add_opens(account, 3)
        path = f"/reports/contact_reports/{CONTACT}/activity_summary"
        caller = serve(account)
        found = caller.json(path, start="2025-12-01T00:00:00-0500", end="2026-01-01T00:00:00Z")
        assert found["contact_id"] == CONTACT
        assert found["campaign_activities"] == [
            {
                "campaign_activity_id": ACTIVITY,
                "start_on": "2025-12-16T10:00:00.000Z",
                "em_sends": 1,
                "em_opens": 3,
                "em_clicks": 0,
                "em_forwards": 0,
                "em_bounces": 0,
                "em_unsubscribes": 0,
            }
        ]
        assert caller.json(path, start="2026-01-01", end="2026-02-01")["campaign_activities"] == []

    def test_a_summary_has_200_a_page(self, serve: Serve, account: SimulatedAccount) -> None:
        """With a link to the rest, which keeps the dates."""
        for number in range(203):
            account.add_row(Kind.SEND, "4711", str(number), at=NOW - timedelta(hours=number))
        path = f"/reports/contact_reports/{CONTACT}/activity_summary"
        pages = list(serve(account).pages(path, start="2025-01-01", end="2027-01-01"))
        assert [len(page["campaign_activities"]) for page in pages] == [200, 3]


class TestCampaignRows:
    def test_a_click(self, serve: Serve, account: SimulatedAccount) -> None:
        """It has the link and the device, and can be asked for by its link."""
        account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=NOW, link_id="0", link_uri="https://example.org/a")
        account.add_row(Kind.CLICK, "4711", CAMPAIGN, at=NOW, link_id="7", link_uri="https://example.org/b")
        caller = serve(account)
        (row,) = caller.report(ACTIVITY, "clicks", url_id="0")
        assert (row["url_id"], row["link_url"]) == ("0", "https://example.org/a")
        assert row["device_type"] in {"computer", "mobile", "tablet", "other"}
        assert len(caller.report(ACTIVITY, "clicks")) == 2

    def test_a_bounce(self, serve: Serve, account: SimulatedAccount) -> None:
        """It has the code and today's address. Codes can be asked for, by repeating the parameter."""
        for code in "BFZ":
            account.add_row(Kind.BOUNCE, "4711", CAMPAIGN, at=NOW, bounce_code=code)
        caller = serve(account)
        found = caller.get(f"{REPORT}/bounces", [("bounce_code", "B"), ("bounce_code", "Z")]).json()
        rows = found["tracking_activities"]
        assert {row["bounce_code"] for row in rows} == {"B", "Z"}
        assert {row["current_email_address"] for row in rows} == {"ada@example.org"}
        assert all("bounce_message" not in row for row in rows)

    def test_addresses_are_of_then_or_of_today(self, serve: Serve, account: SimulatedAccount) -> None:
        """Sends, opens, clicks and bounces have the one that the mail was sent to, the others today's."""
        for kind in (Kind.SEND, Kind.OPEN, Kind.CLICK, Kind.BOUNCE, Kind.FORWARD):
            account.add_row(kind, "4711", CAMPAIGN, at=NOW)
        account.add_row(Kind.UNSUBSCRIBE, "4711", CAMPAIGN, at=NOW, unsubscribe_reason="Enough")
        contact = account.contact("4711")
        assert contact
        account.replace_contact(replace(contact, email_address="new@example.org", status="REMOVED"))
        caller = serve(account)
        rows = {type_: caller.report(ACTIVITY, type_.removeprefix("em_"))[0] for type_ in TYPES}
        assert {type_ for type_, row in rows.items() if row["email_address"] == "new@example.org"} == {
            "em_forwards",
            "em_optouts",
        }
        assert rows["em_optouts"]["opt_out_reason"] == "Enough"
        assert {row["deleted_at"] for row in rows.values()} == {iso(contact.modified_ms)[:10]}
        assert {row["first_name"] for row in rows.values()} == {"Ada"}

    def test_what_was_never_sent_has_an_empty_report(self, serve: Serve, account: SimulatedAccount) -> None:
        """200, as the documentation says."""
        made_ms = to_ms(NOW)
        account.put_campaign(Campaign("5", "Untitled", "DRAFT", made_ms, made_ms, None))
        assert serve(account).report(activity_uuid("5"), "sends") == []

    def test_a_campaign_that_was_sent_again_has_two_activities(
        self, serve: Serve, account: SimulatedAccount
    ) -> None:
        """The second has the rows of each contact from its second sending on; no row is in both."""
        sent_ms, again_ms = to_ms(NOW - timedelta(days=9)), to_ms(NOW - timedelta(days=3))
        account.put_campaign(Campaign("5", "Twice", "SENT", sent_ms, sent_ms, sent_ms, resent_ms=(again_ms,)))
        account.add_contact("grace@example.org", contact_id="4712", at=NOW - timedelta(days=90))
        for contact_id, kind, days in (
            ("4711", Kind.SEND, 9),
            ("4712", Kind.SEND, 9),
            ("4712", Kind.OPEN, 8),
            ("4711", Kind.SEND, 3),
            ("4711", Kind.OPEN, 2),
            ("4712", Kind.OPEN, 1),
        ):
            account.add_row(kind, contact_id, "5", at=NOW - timedelta(days=days))
        caller = serve(account)
        first, again = activity_uuid("5"), activity_uuid("5", Role.RESEND)
        assert [len(caller.report(id_, "sends")) for id_ in (first, again)] == [2, 1]
        assert [row["contact_id"] for row in caller.report(again, "opens")] == [CONTACT]
        assert len(caller.report(first, "opens")) == 2
        details = caller.details(CONTACT, ALL_TYPES)
        assert [row["campaign_activity_id"] for row in details] == [again, again, first]
        roles = caller.json(f"/emails/{campaign_uuid('5')}")["campaign_activities"]
        assert [of["role"] for of in roles] == ["primary_email", "permalink", "resend"]

    @pytest.mark.parametrize(("answers", "status"), [(True, 200), (False, 404)])
    def test_automations(
        self, serve: Serve, account: SimulatedAccount, *, answers: bool, status: int
    ) -> None:
        """No list shows them, contacts' rows do, and their reports answer unless a switch says otherwise."""
        account.add_campaign("Welcome", campaign_id="900", sent_at=NOW, listed=False)
        for campaign_id in ("900", "901"):  # of 901 only the row is known
            account.add_row(Kind.OPEN, "4711", campaign_id, at=NOW)
        caller = serve(account, v3(automation_reports_answer=answers))
        ids = {row["campaign_activity_id"] for row in caller.details(CONTACT, "em_opens")}
        assert ids == {activity_uuid("900"), activity_uuid("901")}
        for id_ in ids:
            path = f"/reports/email_reports/{id_}/tracking/opens"
            assert caller.get(path).status_code == status
            assert caller.get(f"/emails/activities/{id_}").status_code == 404
        names = [row["name"] for row in caller.walk("/emails", "campaigns")]
        assert names == ["June news"]

    @pytest.mark.parametrize("status", [403, 404])
    def test_reports_may_be_refused(self, serve: Serve, account: SimulatedAccount, status: int) -> None:
        """While those of contacts answer."""
        add_opens(account, 1)
        caller = serve(account, v3(campaign_reports_refused=status))
        assert caller.get(f"{REPORT}/opens").status_code == status
        assert len(caller.details(CONTACT, "em_opens")) == 1

    def test_rows_may_be_missing_or_late(self, serve: Serve, account: SimulatedAccount) -> None:
        """A share of rows is in no report of a campaign; others show there an hour later."""
        add_opens(account, 200)
        missing = serve(account, v3(missing_in_campaign_reports_share=0.3))
        reported = missing.report(ACTIVITY, "opens")
        assert 20 < 200 - len(reported) < 100
        assert missing.report(ACTIVITY, "opens") == reported
        assert len(missing.details(CONTACT, "em_opens")) == 200
        late = serve(account, v3(campaign_reports_late_s=3_600))
        assert len(late.report(ACTIVITY, "opens")) == 191
        assert len(serve(account, v3(contact_reports_late_s=3_600)).details(CONTACT, "em_opens")) == 191


class TestStamps:
    @pytest.mark.parametrize("step", Step)
    def test_both_sides_have_the_same_step(self, serve: Serve, account: SimulatedAccount, step: Step) -> None:
        """Stamps tell the beginning of their step. Rows of one step stay rows."""
        for ms in (1, 2, 999, 1_000, 59_999, 60_000):
            account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(milliseconds=ms))
        caller = serve(account, v3(step=step))
        details, report = caller.details(CONTACT, "em_opens"), caller.report(ACTIVITY, "opens")
        assert shown(details) == shown(report) == expected(account.rows(), account, step)
        assert len(details) == 6

    def test_the_step_of_one_side_may_differ(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch."""
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(milliseconds=1))
        caller = serve(account, v3(step=Step.MILLISECOND, campaign_step=Step.SECOND))
        assert caller.details(CONTACT, "em_opens")[0]["created_time"] == "2026-01-15T09:59:59.999Z"
        assert caller.report(ACTIVITY, "opens")[0]["created_time"] == "2026-01-15T09:59:59.000Z"

    def test_the_zone_of_one_side_may_differ(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch that v2 has too."""
        add_opens(account, 1)
        caller = serve(account, Switches(shift=Shift(Side.CAMPAIGN)))
        assert caller.details(CONTACT, "em_opens")[0]["created_time"] == "2026-01-15T09:59:00.000Z"
        assert caller.report(ACTIVITY, "opens")[0]["created_time"] == "2026-01-15T04:59:00.000Z"


class TestPaging:
    @pytest.mark.parametrize("cursor", Cursor)
    def test_a_walk_has_every_row_once(self, serve: Serve, account: SimulatedAccount, cursor: Cursor) -> None:
        """Newest first, also where a hundred rows are equal, and no page holds more than asked for."""
        add_opens(account, 20)
        for _ in range(100):
            account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW - timedelta(hours=1))
        caller = serve(account, Switches(cursor=cursor))
        for path, parameters in (
            (DETAILS, {"tracking_activities_list": "em_opens"}),
            (f"{REPORT}/opens", {}),
        ):
            pages = list(caller.pages(path, limit="7", **parameters))
            sizes = [len(page["tracking_activities"]) for page in pages]
            assert sizes == [7] * 17 + [1]
            rows = [row for page in pages for row in page["tracking_activities"]]
            assert shown(rows) == expected(account.rows(), account, Step.MINUTE)
            assert all(newer["created_time"] >= older["created_time"] for newer, older in pairwise(rows))

    @pytest.mark.parametrize(("cursor", "repeated"), [(Cursor.TIME, 0), (Cursor.OFFSET, 1)])
    def test_a_row_that_comes_in_during_a_walk(
        self, serve: Serve, account: SimulatedAccount, cursor: Cursor, repeated: int
    ) -> None:
        """It shifts pages by offset, which then repeat a row. A cursor behind a row repeats none."""
        add_opens(account, 6)
        caller = serve(account, Switches(cursor=cursor))
        first = caller.json(f"{REPORT}/opens", limit="3")
        account.add_row(Kind.OPEN, "4711", CAMPAIGN, at=NOW)
        href = next_of(first)
        assert href
        second = caller.json(href.removeprefix("/v3"))
        both = shown(first["tracking_activities"]) & shown(second["tracking_activities"])
        assert both.total() == repeated

    def test_links_may_keep_the_parameters(self, serve: Serve, account: SimulatedAccount) -> None:
        """Beside the cursor, which is enough alone."""
        add_opens(account, 5)
        caller = serve(account, v3(links_keep_parameters=True))
        page = caller.json(DETAILS, tracking_activities_list="em_opens,em_sends", limit="2")
        href = next_of(page) or ""
        assert "limit=2&tracking_activities_list=em_opens%2Cem_sends&cursor=" in href
        alone = f"{DETAILS}?{href[href.index('cursor=') :]}"
        assert caller.get(alone).json() == caller.get(href.removeprefix("/v3")).json()

    def test_limits(self, serve: Serve, account: SimulatedAccount) -> None:
        """A contact's report has at most 100 rows a page, a campaign's 500, and contacts 50 by default."""
        add_opens(account, 501)
        for number in range(51):
            account.add_contact(f"{number}@example.org", at=NOW)
        caller = serve(account)
        sizes = [
            len(p["tracking_activities"]) for p in caller.pages(DETAILS, tracking_activities_list="em_opens")
        ]
        assert sizes == [100] * 5 + [1]
        assert [len(p["tracking_activities"]) for p in caller.pages(f"{REPORT}/opens")] == [500, 1]
        assert [len(p["contacts"]) for p in caller.pages("/contacts")] == [50, 2]

    def test_cursors_may_expire(self, serve: Serve, account: SimulatedAccount) -> None:
        """With the switch of v2."""
        add_opens(account, 5)
        clock = Clock()
        caller = serve(account, Switches(next_lifetime_s=60), now=clock)
        href = (next_of(caller.json(f"{REPORT}/opens", limit="2")) or "").removeprefix("/v3")
        assert caller.get(href).status_code == 200
        clock.now += timedelta(seconds=61)
        assert caller.get(href).status_code == 400


class TestLists:
    def test_deleted_contacts_are_left_out(self, serve: Serve, account: SimulatedAccount) -> None:
        """Unless all are asked for. The count is of all that match."""
        account.add_contact("b@example.org", contact_id="4712", at=NOW, status="REMOVED")
        account.add_contact("c@example.org", contact_id="4713", at=NOW, status="OPTOUT")
        caller = serve(account)
        known = caller.json("/contacts", include_count="true", limit="1")
        assert (len(known["contacts"]), known["contacts_count"]) == (1, 2)
        assert len(caller.walk("/contacts", "contacts", status="all", limit="1")) == 3
        (deleted,) = caller.walk("/contacts", "contacts", status="deleted")
        assert (deleted["contact_id"], deleted["deleted_at"]) == (contact_uuid("4712"), "2026-01-15")
        assert len(caller.walk("/contacts", "contacts", status="deleted,unsubscribed")) == 2

    def test_an_optout_is_no_update(self, serve: Serve, account: SimulatedAccount) -> None:
        """It is found by `optout_after`, and by `updated_after` only with the switch."""
        account.set_status("4711", "OPTOUT", at=NOW)
        since = iso(to_ms(NOW) - 1)
        caller = serve(account)
        assert caller.walk("/contacts", "contacts", updated_after=since) == []
        (row,) = caller.walk("/contacts", "contacts", optout_after=since)
        assert row["email_address"]["opt_out_date"] == "2026-01-15T10:00:00.000Z"
        assert caller.walk("/contacts", "contacts", optout_after=iso(to_ms(NOW))) == []
        assert serve(account, v3(optouts_update=True)).walk("/contacts", "contacts", updated_after=since)

    def test_campaigns_without_a_filter(self, serve: Serve, account: SimulatedAccount) -> None:
        """Deleted ones and drafts are in the list, none of which tells when it was sent."""
        made_ms = to_ms(NOW)
        for id_, status in (("5", "DELETED"), ("6", "DRAFT")):
            account.put_campaign(Campaign(id_, id_, status, made_ms, made_ms, None))
        caller = serve(account)
        rows = caller.walk("/emails", "campaigns", limit="1")
        assert {row["current_status"] for row in rows} == {"Done", "Removed", "Draft"}
        assert len(caller.walk("/emails", "campaigns", after_date=iso(made_ms - 1))) == 2
        assert caller.json(f"/emails/{campaign_uuid('5')}")["current_status"] == "Removed"

    def test_the_summaries_of_campaigns(self, serve: Serve, account: SimulatedAccount) -> None:
        """What was sent last is first. They count contacts, and lag behind."""
        account.add_campaign("July news", campaign_id="5", sent_at=NOW - timedelta(days=1))
        for kind in (Kind.SEND, Kind.OPEN, Kind.OPEN):
            account.add_row(kind, "4711", "5", at=NOW - timedelta(days=1))
        add_opens(account, 1)
        caller = serve(account)
        page = caller.json("/reports/summary_reports/email_campaign_summaries")
        first, second = page["bulk_email_campaign_summaries"]
        assert (first["campaign_id"], first["last_sent_date"]) == (
            campaign_uuid("5"),
            "2026-01-14T10:00:00.000Z",
        )
        assert (first["unique_counts"]["opens"], first["unique_counts"]["not_opened"]) == (1, 0)
        assert second["unique_counts"]["opens"] == 0
        assert page["aggregate_percents"]["open"] == 100.0

    def test_statistics(self, serve: Serve, account: SimulatedAccount) -> None:
        """They count contacts, and times by device. What has none is named beside them."""
        for kind in (Kind.SEND, Kind.OPEN, Kind.OPEN, Kind.BOUNCE):
            account.add_row(kind, "4711", CAMPAIGN, at=NOW - timedelta(days=1))
        unknown = activity_uuid("no such")
        found = serve(account).json(f"/reports/stats/email_campaign_activities/{ACTIVITY},{unknown}")
        (result,), (problem,) = found["results"], found["errors"]
        counts = result["stats"]
        assert (counts["em_opens"], counts["em_opens_all"], counts["em_bounces_mailbox_full"]) == (1, 2, 1)
        assert sum(counts[f"em_opens_all_{of}"] for of in ("computer", "mobile", "tablet", "other")) == 2
        assert result["last_refresh_time"] == "2026-01-15T06:00:00.000Z"
        assert unknown in problem["error_message"]

    def test_the_account_has_an_id(self, serve: Serve, account: SimulatedAccount) -> None:
        """Another one with the switch."""
        assert serve(account).json("/account/summary")["encoded_account_id"] == "p07simulated01"
        other = serve(account, v3(account_id="p07another0002"))
        assert other.json("/account/summary")["encoded_account_id"] == "p07another0002"


class TestRights:
    def test_a_user_may_list_contacts_and_read_no_report(
        self, serve: Serve, account: SimulatedAccount
    ) -> None:
        """A missing privilege is 403 `access_denied`."""
        caller = serve(account, v3(privileges=frozenset({"contacts:read"})))
        assert caller.get("/contacts").status_code == 200
        for path in (f"{REPORT}/opens", f"{DETAILS}?tracking_activities_list=em_opens", "/emails"):
            denied = caller.get(path)
            assert (denied.status_code, denied.json()["error_key"]) == (403, "access_denied")

    def test_a_token_has_scopes(self, serve: Serve, account: SimulatedAccount) -> None:
        """Without `campaign_data` it reads the reports of contacts, and none of campaigns."""
        caller = serve(account)
        caller.token = caller.server.authorization.issue(scopes=frozenset({"contact_data"})).access_token
        assert caller.get(f"{DETAILS}?tracking_activities_list=em_opens").status_code == 200
        assert caller.get(f"{REPORT}/opens").status_code == 403

    def test_the_static_token_can_be_revoked(self, serve: Serve, account: SimulatedAccount) -> None:
        """One that was issued stays good meanwhile."""
        caller = serve(account)
        caller.server.revoke_token()
        assert caller.get("/contacts").status_code == 401
        caller.token = caller.server.authorization.issue().access_token
        assert caller.get("/contacts").status_code == 200

    def test_it_can_only_be_read_as_json(self, serve: Serve, account: SimulatedAccount) -> None:
        """Another `Accept` is 406, a write 405."""
        caller = serve(account)
        assert caller.get("/contacts", Accept="text/html").status_code == 406
        headers = {"Authorization": f"Bearer {TOKEN}"}
        posted = caller.session.post(f"{caller.server.v3_url}/contacts", json={}, headers=headers, timeout=10)
        assert posted.status_code == 405

    def test_misuse_is_named(self, serve: Serve, account: SimulatedAccount) -> None:
        """Parameters that a path does not have, such as a date filter of a report."""
        caller = serve(account)
        caller.get(f"{REPORT}/opens", {"created_since": "2026-01-01"})
        caller.get("/nothing")
        assert caller.server.violations == ["unknown parameter created_since", "unknown path"]


class TestFaults:
    @pytest.mark.parametrize("target", [CONTACT, f"/v3{DETAILS}"])
    def test_a_body_that_is_no_json(self, serve: Serve, account: SimulatedAccount, target: str) -> None:
        """Cut, empty or HTML. A contact's id names the calls about it."""
        add_opens(account, 5)
        caller = serve(account)
        caller.server.script(target, Fault.TRUNCATED_JSON, Fault.EMPTY_BODY, Fault.UNAVAILABLE_HTML)
        answers = [caller.get(DETAILS, {"tracking_activities_list": "em_opens"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 503, 200]
        assert answers[0].content == answers[3].content[: len(answers[3].content) // 2]
        assert answers[1].content == b""

    def test_a_connection_that_ends(self, serve: Serve, account: SimulatedAccount) -> None:
        """Before the answer or in the middle of it. A campaign activity's id names its reports."""
        add_opens(account, 5)
        caller = serve(account)
        caller.server.script(ACTIVITY, Fault.CLOSED_CONNECTION, Fault.CUT_CONNECTION)
        for _ in range(2):
            with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
                caller.get(f"{REPORT}/opens")
        assert caller.get(f"{REPORT}/opens").status_code == 200

    def test_a_page_that_misleads(self, serve: Serve, account: SimulatedAccount) -> None:
        """It repeats rows, or links to itself."""
        add_opens(account, 5)
        caller = serve(account)
        whole = caller.json(f"{REPORT}/opens", limit="2")
        href = (next_of(whole) or "").removeprefix("/v3")
        caller.server.script(ACTIVITY, Fault.REPEATED_ROWS, Fault.REPEATED_NEXT)
        repeated = caller.json(f"{REPORT}/opens", limit="2")["tracking_activities"]
        assert shown(repeated) > shown(whole["tracking_activities"])
        assert next_of(caller.get(href).json()) == f"/v3{href}"

    def test_a_faulty_account_fails_now_and_then(self, serve: Serve, account: SimulatedAccount) -> None:
        """Each call with its own chance, the same in every run."""
        runs = []
        for _ in range(2):
            caller = serve(account, Switches.faulty(0.6, slow_s=0.0))
            for _ in range(60):
                try:
                    caller.get("/contacts")
                except requests.RequestException:
                    continue
            runs.append([call.fault for call in caller.server.calls])
        assert runs[0] == runs[1]
        assert len(set(runs[0])) > 8


@contextmanager
def program(tmp_path: Path, *options: str) -> Iterator[dict[str, str]]:
    """Give the settings that the program prints, and end it by a signal."""
    command = [sys.executable, "-m", "contact_activity", "sandbox", "--contacts", "20", *options]
    with subprocess.Popen(
        [*command, "--state", str(tmp_path / "account.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = iter(process.stdout.readline, "")
        lines = takewhile(lambda line: not line.startswith("contact-activity run"), printed)
        try:
            yield dict(
                line.strip().removeprefix("export CONSTANT_CONTACT_").split("=", 1)
                for line in lines
                if line.startswith("export ")
            )
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(20)
    assert process.returncode == 0


def granted_by(settings: dict[str, str]) -> Any:
    return requests.post(
        settings["TOKEN_URL"],
        data={"grant_type": "refresh_token", "refresh_token": settings["REFRESH_TOKEN"]},
        auth=(settings["CLIENT_ID"], settings["CLIENT_SECRET"]),
        timeout=10,
    ).json()


def answer_to(settings: dict[str, str], path: str, token: str) -> requests.Response:
    return requests.get(settings["BASE_URL"] + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_the_program_serves_v3(tmp_path: Path) -> None:
    """It prints the settings of a client, whose refresh token gives an access token."""
    with program(tmp_path, "--refresh-token") as settings:
        response = answer_to(settings, "/contacts", granted_by(settings)["access_token"])
    assert settings["API_VERSION"] == "v3"
    assert len(response.json()["contacts"]) >= 20


@pytest.mark.parametrize(
    ("option", "right", "refused"),
    [
        ("--without-scope", "contact_data", "/contacts"),
        ("--without-scope", "campaign_data", "/emails"),
        ("--without-privilege", "contacts:read", "/contacts"),
        ("--without-privilege", "campaign:read", "/emails"),
    ],
)
def test_the_program_lacks_a_right(tmp_path: Path, option: str, right: str, refused: str) -> None:
    """So that anybody can see what then happens: with a token that was issued, and with the static one."""
    given = next(path for path in ("/contacts", "/emails") if path != refused)
    with program(tmp_path, option, right, "--refresh-token", "--access-token", "static") as settings:
        for token in (granted_by(settings)["access_token"], "static"):
            assert answer_to(settings, refused, token).status_code == 403
            assert answer_to(settings, given, token).status_code == 200
