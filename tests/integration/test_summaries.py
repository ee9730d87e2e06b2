"""The summary reports through `contact-activity run`, over real HTTP."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contact_activity.simulated import Kind, Reply, Server, SimulatedAccount, Switches, error
from tests.support.running import CAMPAIGN, NOW, Operator, account_of, served

CONTACT_KIND = "Contact Activity Summarized"
CONTACT_CAMPAIGN_KIND = "Contact Campaign Activity Summarized"
CAMPAIGN_KIND = "Campaign Activity Summarized"
EVERYTHING = "all,summary,summary_by_campaign,campaign_summary"
OLD_CAMPAIGN = "1117000000099"
ADA, GRACE = "4711", "4712"


def small_account() -> SimulatedAccount:
    """Ada opened and clicked what she got, Grace did not; another campaign is long past."""
    account = SimulatedAccount()
    account.add_campaign("June news", sent_at=NOW - timedelta(days=3), campaign_id=CAMPAIGN)
    account.add_campaign("Old news", sent_at=NOW - timedelta(days=90), campaign_id=OLD_CAMPAIGN)
    for contact_id in (ADA, GRACE):
        account.add_contact(f"c{contact_id}@example.org", at=NOW - timedelta(days=9), contact_id=contact_id)
        account.add_row(Kind.SEND, contact_id, CAMPAIGN, at=NOW - timedelta(days=3))
    for hours in (1, 2):
        account.add_row(Kind.OPEN, ADA, CAMPAIGN, at=NOW - timedelta(hours=hours))
    account.add_row(Kind.CLICK, ADA, CAMPAIGN, at=NOW - timedelta(hours=1))
    return account


def summaries(operator: Operator, start: int = 0) -> list[dict[str, Any]]:
    """The summary events of the file from its line `start` on."""
    return [event for event in operator.events()[start:] if "summary" in event["detail"]["data"]]


def told(event: dict[str, Any]) -> tuple[str, str | None, str | None]:
    data = event["detail"]["data"]
    ids = (data.get(name, {}).get("id") for name in ("contact", "campaign"))
    return (event["detail-type"], *ids)


def kinds_asked(server: Server, start: int = 0) -> Counter[str]:
    """How often each summary resource was asked."""
    asked: Counter[str] = Counter()
    for call in server.calls[start:]:
        if call.path.endswith("/campaigns"):
            asked["list"] += 1
        elif "/reports/" in call.path:
            asked["/".join([call.path.split("/")[2], call.path.rsplit("/", 1)[-1]])] += 1
    return asked


def test_every_summary_is_published_once_and_then_what_moved(tmp_path: Path) -> None:
    """First everything, then nothing, then exactly the contact, the pair and the campaign that moved."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server, REPORTS=EVERYTHING)
        assert operator.run().returncode == 0
        first = {told(event): event["detail"]["data"] for event in summaries(operator)}
        assert set(first) == {
            (CONTACT_KIND, ADA, None),
            (CONTACT_KIND, GRACE, None),
            (CONTACT_CAMPAIGN_KIND, ADA, CAMPAIGN),
            (CONTACT_CAMPAIGN_KIND, GRACE, CAMPAIGN),
            (CAMPAIGN_KIND, None, CAMPAIGN),
        }
        ada = first[CONTACT_KIND, ADA, None]
        assert ada["summary"] == {
            "sends": 1,
            "opens": 2,
            "clicks": 1,
            "forwards": 0,
            "unsubscribes": 0,
            "bounces": 0,
        }
        assert ada["changed"] == list(ada["summary"])
        pair = first[CONTACT_CAMPAIGN_KIND, ADA, CAMPAIGN]
        assert pair["summary"] == {"opens": 2, "clicks": 1, "forwards": 0, "bounces": 0}
        assert first[CAMPAIGN_KIND, None, CAMPAIGN]["summary"]["opens"] == 1

        published = len(operator.events())
        assert operator.run("--all").returncode == 0
        assert len(operator.events()) == published

        account.add_row(Kind.OPEN, GRACE, CAMPAIGN, at=NOW - timedelta(minutes=1))
        assert operator.run("--all").returncode == 0
        changed = {
            told(event): event["detail"]["data"]["changed"] for event in summaries(operator, published)
        }
        assert changed == {
            (CONTACT_KIND, GRACE, None): ["opens"],
            (CONTACT_CAMPAIGN_KIND, GRACE, CAMPAIGN): ["opens"],
            (CAMPAIGN_KIND, None, CAMPAIGN): ["opens"],
        }
        assert server.violations == []
    ids = [event["detail"]["id"] for event in operator.events()]
    assert len(set(ids)) == len(ids)


def test_what_the_summaries_cost(tmp_path: Path) -> None:
    """A call a contact and report with news, none without; a list and a call a campaign, every six hours."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server, REPORTS=EVERYTHING, CAMPAIGN_REPORTS="off")
        operator.run()
        assert kinds_asked(server) == {
            "contacts/summary": 2,
            "contacts/summaryByCampaign": 2,
            "list": 1,
            "emailmarketing/summary": 1,
        }
        before = len(server.calls)
        operator.run()
        assert kinds_asked(server, before) == {}

        account.add_row(Kind.OPEN, GRACE, CAMPAIGN, at=NOW - timedelta(minutes=1))
        before = len(server.calls)
        operator.run("--all")
        assert kinds_asked(server, before) == {
            "contacts/summary": 1,
            "contacts/summaryByCampaign": 1,
            "list": 1,
            "emailmarketing/summary": 1,
        }
        (asked,) = [call for call in server.calls[before:] if call.path.endswith("/campaigns")]
        assert (asked.query["status"], asked.query["limit"]) == ("SENT", "50")


def test_a_failing_api_costs_no_summary(tmp_path: Path) -> None:
    """With one call in five failing, each contact's and each recent campaign's summary is published once."""
    account = account_of(20)
    with served(account, switches=Switches.faulty(0.2)) as server:
        operator = Operator.of(tmp_path, server, REPORTS=EVERYTHING)
        assert operator.run().returncode == 0
        found = Counter(told(event) for event in summaries(operator))
        before = len(operator.events())
        assert operator.run("--all").returncode == 0
        assert len(operator.events()) == before
        assert server.violations == []
    assert set(found.values()) == {1}
    contacts = {contact for kind, contact, _ in found if kind == CONTACT_KIND}
    assert contacts == {contact.id for contact in account.contacts()}
    sent = {campaign for kind, _, campaign in found if kind == CAMPAIGN_KIND}
    recent = NOW - timedelta(days=60)
    assert sent == {
        campaign.id
        for campaign in account.campaigns()
        if campaign.status == "SENT" and campaign.modified_ms >= recent.timestamp() * 1_000
    }


def test_a_list_of_many_campaigns_is_read_to_its_end(tmp_path: Path) -> None:
    """A page holds 50 campaigns; the summaries of those on later pages are asked for too."""
    account = small_account()
    for number in range(60):
        account.add_campaign(f"News {number}", sent_at=NOW - timedelta(days=4, hours=number))
    with served(account) as server:
        operator = Operator.of(tmp_path, server, REPORTS="all,campaign_summary")
        assert operator.run().returncode == 0
        assert kinds_asked(server) == {"list": 2, "emailmarketing/summary": 61}
        assert server.violations == []
    assert len(summaries(operator)) == 61


def test_a_key_that_may_not_read_campaigns_still_reads_contacts(tmp_path: Path) -> None:
    """A refused campaign list is told and pauses nothing."""
    account = small_account()
    with served(account) as server:
        refused = error(403, "http.status.forbidden", "no")
        server.script("/v2/emailmarketing/campaigns", *[refused] * 9)
        operator = Operator.of(tmp_path, server, REPORTS=EVERYTHING)
        done = operator.run()
    assert done.returncode == 0
    assert "campaigns could not be listed" in done.stderr
    assert {told(event)[0] for event in summaries(operator)} == {CONTACT_KIND, CONTACT_CAMPAIGN_KIND}


def test_a_malformed_summary_is_asked_for_again(tmp_path: Path) -> None:
    """A negative count publishes nothing; the failed call is counted, and the next answer is taken."""
    account = small_account()
    with served(account) as server:
        bad = Reply(200, {"sends": 1, "opens": -1, "contact_id": ADA})
        server.script(f"/v2/contacts/{ADA}/tracking/reports/summary", bad)
        operator = Operator.of(tmp_path, server, REPORTS="all,summary")
        done = operator.run()
    assert done.returncode == 0
    assert "the answer cannot be used" in done.stderr
    assert sorted(told(event) for event in summaries(operator)) == sorted(
        (CONTACT_KIND, contact_id, None) for contact_id in (ADA, GRACE)
    )
    assert len(operator.events()) == 2 + 5


@pytest.mark.cloud
def test_the_local_cloud_publishes_summaries_too(tmp_path: Path) -> None:
    """Through the deployed template and its roles: everything once, and then what moved."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server, engine="cloud", REPORTS=EVERYTHING)
        assert operator.run().returncode == 0
        assert len(summaries(operator)) == 5
        before = len(operator.events())
        account.add_row(Kind.OPEN, GRACE, CAMPAIGN, at=NOW - timedelta(minutes=1))
        assert operator.run("--all").returncode == 0
        changed = [event["detail"]["data"]["changed"] for event in summaries(operator, before)]
        assert changed == [["opens"]] * 3
        assert server.violations == []
