"""The v3 API, from the simulated account over HTTP to the events file, as an operator runs it."""

import re
from pathlib import Path

import pytest

from contact_activity.domain.times import DAY_MS
from contact_activity.simulated import Cursor, Kind, SimulatedAccount, Switches
from contact_activity.simulated.token_switches import SCOPES, TokenSwitches
from contact_activity.simulated.v3_ids import activity_of, campaign_uuid
from contact_activity.simulated.v3_switches import PRIVILEGES, PageEnd, Step, V3Switches
from tests.support.command_line import run_command
from tests.support.logging_in import login
from tests.support.running import (
    ACCESS_TOKEN,
    NOW,
    Operator,
    account_of,
    key_of,
    key_of_v3_row,
    served,
    truth_of_v3,
)

UNCERTAIN = {str(end): V3Switches(page_end=end) for end in PageEnd} | {
    "links keep parameters": V3Switches(links_keep_parameters=True),
    "an opt-out is an update": V3Switches(optouts_update=True),
}

SUMMARIZED = {
    Kind.SEND: "sends",
    Kind.OPEN: "opens",
    Kind.CLICK: "clicks",
    Kind.FORWARD: "forwards",
    Kind.UNSUBSCRIBE: "unsubscribes",
    Kind.BOUNCE: "bounces",
}


@pytest.mark.parametrize("step", list(Step))
def test_everything_is_published_once(step: Step, tmp_path: Path) -> None:
    """By the first run; the second one finds nothing new. Stamps may be as exact as they like."""
    account = account_of(40)
    with served(account, Switches(v3=V3Switches(step=step))) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 0, ran.stderr
    published = operator.published()
    assert len(set(published)) == len(published)
    assert set(published) == truth_of_v3(account, step)
    assert server.violations == []
    # Neither in what is stored nor in what is said.
    kept = b"".join(path.read_bytes() for path in operator.state_dir.iterdir())
    for secret in (ACCESS_TOKEN, account.contacts()[0].email_address.partition("@")[2]):
        assert secret.encode() not in kept
        assert secret not in "".join(operator.said)


def test_events_name_the_campaign_of_their_mailing_where_it_is_known(tmp_path: Path) -> None:
    """Where the list told it before the mailing's report was read. Automations are in no list."""
    account = account_of(15)
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run("--all").returncode == 0
    day_ms, now_ms = DAY_MS, NOW.timestamp() * 1_000
    parents = {activity_of(row, account): campaign_uuid(row.campaign_id) for row in account.truth(NOW)}
    sent_ms = {campaign_uuid(of.id): of.last_run_ms(int(now_ms)) or 0 for of in account.campaigns()}
    watched = {
        mailing
        for mailing, parent in parents.items()
        if now_ms - sent_ms[parent] < 29 * day_ms and parent in listed_of(account)
    }
    details = [event["detail"] for event in operator.events()]
    named = {of["data"]["campaign"]["id"]: of["campaignid"] for of in details if "campaignid" in of}
    assert watched
    assert watched <= set(named)
    assert named == {mailing: parents[mailing] for mailing in named}
    assert set(named.values()) <= listed_of(account)
    assert all("campaignid" in of for of in details if of["data"]["campaign"]["id"] in named)


def listed_of(account: SimulatedAccount) -> set[str]:
    return {campaign_uuid(campaign.id) for campaign in account.campaigns() if campaign.listed}


@pytest.mark.long
@pytest.mark.parametrize("uncertain", UNCERTAIN)
def test_what_no_source_is_certain_of_makes_no_difference(uncertain: str, tmp_path: Path) -> None:
    """How a list ends, what a link holds, and what an opt-out changes."""
    account = account_of(15)
    with served(account, Switches(v3=UNCERTAIN[uncertain])) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(2):
            assert operator.run("--all").returncode == 0
    published = operator.published()
    assert len(set(published)) == len(published)
    assert set(published) == truth_of_v3(account)


@pytest.mark.long
@pytest.mark.parametrize("cursor", list(Cursor))
@pytest.mark.parametrize("step", [Step.SECOND, Step.MINUTE])
def test_pages_of_few_rows_lose_and_repeat_nothing(cursor: Cursor, step: Step, tmp_path: Path) -> None:
    """Wherever the edges of pages cut the clicks of one moment."""
    account = account_of(15)
    switches = Switches(cursor=cursor, max_page_rows=7, v3=V3Switches(step=step))
    with served(account, switches) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(2):
            assert operator.run("--all").returncode == 0
    published = operator.published()
    assert len(set(published)) == len(published)
    assert set(published) == truth_of_v3(account, step)


def test_what_has_no_report_is_published_without_its_details(tmp_path: Path) -> None:
    """The reports of automations may not be there. What is younger than a day waits, and is said."""
    account = account_of(15)
    unlisted = {campaign.id for campaign in account.campaigns() if not campaign.listed}
    automated = [row for row in account.truth(NOW) if row.campaign_id in unlisted]
    young = [row for row in automated if NOW.timestamp() * 1_000 - row.occurred_ms < DAY_MS]
    alone = {(*key_of_v3_row(row, account, Step.MINUTE)[:4], "") for row in automated if row not in young}
    waiting = {key_of_v3_row(row, account, Step.MINUTE) for row in young}
    with served(account, Switches(v3=V3Switches(automation_reports_answer=False))) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 0
    published = operator.published()
    assert len(set(published)) == len(published)
    whole = {key_of_v3_row(row, account, Step.MINUTE) for row in account.truth(NOW) if row not in automated}
    assert set(published) == whole | alone
    missing = {key_of(event) for event in operator.events() if "missing" in event["detail"]["data"]}
    assert missing == {key for key in alone if key[0] != "em_forwards"}
    assert f"{len(waiting):,} activities wait" in ran.stderr or not waiting


def test_a_report_that_is_refused_alone_counts_as_not_there(tmp_path: Path) -> None:
    """403 of automations' reports, while others answer: as if they were not there."""
    account = account_of(15)
    unlisted = {campaign.id for campaign in account.campaigns() if not campaign.listed}
    automated = [row for row in account.truth(NOW) if row.campaign_id in unlisted]
    old = [row for row in automated if NOW.timestamp() * 1_000 - row.occurred_ms >= DAY_MS]
    switches = Switches(v3=V3Switches(automation_reports_answer=False, automation_refusal=403))
    with served(account, switches) as server:
        operator = Operator.of_v3(tmp_path, server)
        ran = operator.run("--all")
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    published = operator.published()
    whole = {key_of_v3_row(row, account, Step.MINUTE) for row in account.truth(NOW) if row not in automated}
    assert len(set(published)) == len(published)
    assert set(published) == whole | {(*key_of_v3_row(row, account, Step.MINUTE)[:4], "") for row in old}


def test_a_scope_that_is_missing_is_named_and_what_it_owes_is_counted(tmp_path: Path) -> None:
    """Nothing is published for want of a report, however old. With the scope all of it comes, whole."""
    account = account_of(15)
    with served(account) as server:
        poor = server.authorization.issue(scopes=frozenset({"contact_data", "account_read"})).access_token
        operator = Operator.of_v3(tmp_path, server, CONSTANT_CONTACT_ACCESS_TOKEN=poor)
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 0, ran.stderr
            assert "Warning: the scope campaign_data is missing" in ran.stderr
            assert f"{len(truth_of_v3(account)):,} activities are owed" in ran.stderr
            assert f"`contact-activity login --state {operator.state_dir}`" in ran.stderr
            assert "Nothing could be published" in ran.stderr
        assert operator.published() == []
        told = operator.status()
        assert told["missing_right"] == {"kind": "scope", "name": "campaign_data"}
        assert told["contacts"]["owed"] == told["contacts"]["asking"] == len(truth_of_v3(account))
        assert told["campaign_reports"]["owing"] == 0
        # A few of its reports are tried, not each in vain.
        assert sum("/email_reports/" in call.path for call in server.calls) < 60
        operator.environment["CONSTANT_CONTACT_ACCESS_TOKEN"] = ACCESS_TOKEN
        ran = operator.run()
        assert ran.returncode == 0, ran.stderr
        assert "Warning" not in ran.stderr
        assert operator.status()["missing_right"] is None
    published = operator.published()
    assert len(set(published)) == len(published)
    assert set(published) == truth_of_v3(account)


def test_a_privilege_that_is_missing_is_named(tmp_path: Path) -> None:
    """The user may list contacts and read no report. No contact has failed, and none is a dead letter."""
    account = account_of(5)
    lists_only = V3Switches(privileges=PRIVILEGES - {"ui:campaign:metrics"})
    with served(account, Switches(v3=lists_only)) as server:
        operator = Operator.of_v3(tmp_path, server)
        ran = operator.run("--all")
        assert ran.returncode == 0, ran.stderr
        told = operator.status()
    assert "Warning: the privilege ui:campaign:metrics is missing" in ran.stderr
    assert "No contact could be read: the privilege ui:campaign:metrics is missing." in ran.stderr
    warned = " ".join(ran.stderr.split())
    assert "the campaigns could not be listed: the privilege ui:campaign:metrics is missing" in warned
    assert "the scope" not in warned.partition("Warning:")[0]
    assert "reports of 5 contacts" in ran.stderr
    assert told["missing_right"] == {"kind": "privilege", "name": "ui:campaign:metrics"}
    with served(account) as server:
        operator.environment["CONSTANT_CONTACT_BASE_URL"] = server.v3_url
        ran = operator.run()
        assert ran.returncode == 0, ran.stderr
        assert "Warning" not in ran.stderr
        told = operator.status()
        assert (told["missing_right"], told["contacts"]["failing"]) == (None, 0)
    assert set(operator.published()) == truth_of_v3(account)


@pytest.mark.parametrize(
    ("scopes", "privileges", "right", "kind"),
    [
        (SCOPES - {"contact_data"}, PRIVILEGES, "contact_data", "scope"),
        (SCOPES, PRIVILEGES - {"contacts:read"}, "contacts:read", "privilege"),
    ],
)
def test_contacts_that_may_not_be_listed_are_told_by_every_command_alike(
    scopes: frozenset[str], privileges: frozenset[str], right: str, kind: str, tmp_path: Path
) -> None:
    """`run` and `check` end alike, `status` knows it until a run lists contacts again."""
    account = account_of(5)
    with served(account, Switches(v3=V3Switches(privileges=privileges))) as server:
        poor = server.authorization.issue(scopes=scopes).access_token
        operator = Operator.of_v3(tmp_path, server, CONSTANT_CONTACT_ACCESS_TOKEN=poor)
        ran = operator.run("--all")
        place = ("--state", str(operator.state_dir))
        looked = {
            name: run_command(name, *place, environment=operator.environment) for name in ("check", "status")
        }
        told = operator.status()
    fact = f"the {kind} {right} is missing"
    assert (ran.returncode, looked["check"].returncode) == (3, 3)
    assert f"{fact}, so the API does not list the contacts" in ran.stderr
    assert "No contact is due" not in ran.stderr
    assert "Warning" not in ran.stderr
    (remedy,) = re.findall(
        f"may not be read \\(403 access_denied\\): {fact}\\s+to do: (.*)", looked["check"].stdout
    )
    assert remedy in ran.stderr
    assert f"`contact-activity login --state {operator.state_dir}`" in remedy
    assert told["missing_right"] == {"kind": kind, "name": right}
    assert (
        told["verdict"]["because"] == f"{fact}, so no contact is read; nothing was read yet, nothing is lost"
    )
    # Who reads it need not have the environment of the run.
    assert (
        f"{fact}: {remedy.replace('unset CONSTANT_CONTACT_ACCESS_TOKEN, then ', '')}"
        in looked["status"].stdout
    )
    with served(account) as server:
        operator.environment |= {
            "CONSTANT_CONTACT_BASE_URL": server.v3_url,
            "CONSTANT_CONTACT_ACCESS_TOKEN": ACCESS_TOKEN,
        }
        assert operator.run().returncode == 0
        assert operator.status()["missing_right"] is None
    assert set(operator.published()) == truth_of_v3(account)


def test_a_report_that_fails_owes_its_activity(tmp_path: Path) -> None:
    """Not for want of a right: the run has failed."""
    account = account_of(5)
    with served(account, Switches(v3=V3Switches(campaign_reports_refused=400))) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 1, ran.stderr
            assert "campaign reports failed that activity waits for" in ran.stderr
            assert "Warning" not in ran.stderr
        told = operator.status()
    assert operator.published() == []
    assert told["missing_right"] is None
    assert told["campaign_reports"]["owing"] > 0
    assert told["contacts"]["asking"] == len(truth_of_v3(account))


@pytest.mark.long
def test_a_newcomer_logs_in_and_has_events(tmp_path: Path) -> None:
    """By a code that is entered in a browser; tokens that live for seconds are renewed meanwhile."""
    account = account_of(40)
    tokens = TokenSwitches(expires_in_s=4, device_interval_s=1, calls_per_second=100)
    with served(account, tokens=tokens) as server:
        operator = Operator.of_v3(tmp_path, server)
        del operator.environment["CONSTANT_CONTACT_ACCESS_TOKEN"]
        operator.environment |= {
            "CONSTANT_CONTACT_CLIENT_ID": "simulated-public-client",
            "CONSTANT_CONTACT_TOKEN_URL": server.token_url,
            "CALLS_PER_SECOND": "8",
        }
        operator.said += [login(operator.environment, server, "--state", str(operator.state_dir))]
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 0, ran.stderr
        refreshes = sum(call.query.get("grant_type") == "refresh_token" for call in server.token_calls)
    published = operator.published()
    assert len(set(published)) == len(published)
    assert set(published) == truth_of_v3(account)
    assert refreshes > 1
    stored = (operator.state_dir / "credentials.json").read_text()
    secrets = set(re.findall(r'_token": ?"([^"]{8,})"', stored))
    assert len(secrets) == 2, stored
    assert not any(secret in text for secret in secrets for text in operator.said)


def test_reports_come_before_contacts_where_calls_are_few(tmp_path: Path) -> None:
    """The first day of a large account tells what its mailings' reports show, not who waits for them."""
    account = account_of(40)
    with served(account, calls_per_day=150) as server:
        operator = Operator.of_v3(tmp_path, server, CALLS_PER_DAY="100", QUOTA_SHARE="1")
        ran = operator.run()
        assert ran.returncode == 4, ran.stderr
    assert len(operator.published()) > len(truth_of_v3(account)) // 4


@pytest.mark.parametrize("reports", ["auto", "off"])
def test_the_summaries_of_mailings_are_published_ten_a_call(reports: str, tmp_path: Path) -> None:
    """As the provider counts them: contacts, not times. Nothing comes again until something moves."""
    account = account_of(15)
    with served(account, Switches(summary_every_h=0)) as server:
        operator = Operator.of_v3(
            tmp_path,
            server,
            REPORTS="all,campaign_summary",
            CAMPAIGN_REPORTS=reports,
            CAMPAIGN_LOOKBACK_DAYS="366",
        )
        for _ in range(2):
            ran = operator.run("--all")
            assert ran.returncode == 0, ran.stderr
        asked = [call for call in server.calls if "/stats/" in call.path]
    told = [event["detail"] for event in operator.events() if "summary" in event["detail"]["data"]]
    found = {detail["data"]["campaign"]["id"]: detail["data"]["summary"] for detail in told}
    assert len(found) == len(told)
    parents = {activity_of(row, account): campaign_uuid(row.campaign_id) for row in account.truth(NOW)}
    assert all(detail["campaignid"] == parents[detail["data"]["campaign"]["id"]] for detail in told)
    recipients: dict[str, dict[str, set[str]]] = {}
    for row in account.truth(NOW):
        of = recipients.setdefault(activity_of(row, account), {})
        of.setdefault(SUMMARIZED[row.kind], set()).add(row.contact_id)
    assert found
    assert all(
        summary == {name: len(recipients[id_].get(name, ())) for name in SUMMARIZED.values()}
        for id_, summary in found.items()
    )
    listed = {campaign.id for campaign in account.campaigns() if campaign.listed}
    sent = {activity_of(row, account) for row in account.truth(NOW) if row.campaign_id in listed}
    assert set(found) == sent
    assert len(asked) == 2 * -(-len(sent) // 10)
    assert server.violations == []


def test_a_resync_is_published_by_the_next_run(tmp_path: Path) -> None:
    """However often the reports were read in vain before."""
    account = account_of(10)
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        for _ in range(3):
            assert operator.run("--all").returncode == 0
        before = operator.published()
        contact = before[0][2]
        resync = ["resync", contact, "--since", "2000-01-01", "--state", str(operator.state_dir)]
        asked = run_command(*resync, environment=operator.environment)
        assert asked.returncode == 0, asked.stderr
        assert operator.run().returncode == 0
    again = operator.published()[len(before) :]
    assert sorted(again) == sorted(key for key in before if key[2] == contact)


def test_a_folder_of_a_real_account_never_becomes_a_simulated_one(tmp_path: Path) -> None:
    """Without credentials a run says so, and invents nothing."""
    account = account_of(3)
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run("--all").returncode == 0
        published = operator.published()
        for name in [name for name in operator.environment if name.startswith("CONSTANT_CONTACT")]:
            del operator.environment[name]
        ran = operator.run("--all")
    assert ran.returncode == 2
    assert "contact-activity login" in ran.stderr
    assert operator.published() == published
