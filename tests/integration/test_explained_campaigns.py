"""`explain --campaign`: each cause, in a folder in which a real run met it."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from contact_activity.simulated import Kind, Server, SimulatedAccount, Switches, V3Switches, error
from contact_activity.simulated.v3_ids import activity_uuid, campaign_uuid
from contact_activity.simulated.v3_switches import PRIVILEGES
from tests.support.command_line import run_command
from tests.support.running import NOW, Operator, served

CAMPAIGN, OLD, AUTOMATED = "1117000000001", "1117000000002", "1117000000003"
REFUSED = error(406, "http.status.not_acceptable", "x")
FORBIDDEN = error(403, "http.status.forbidden", "x")


@pytest.fixture
def account() -> SimulatedAccount:
    """One contact, who opened three mailings: a new one, an old one, and one that no list shows."""
    account = SimulatedAccount()
    contact = account.add_contact("ada@example.org", at=NOW - timedelta(days=200))
    for campaign_id, days, is_listed in ((CAMPAIGN, 2, True), (OLD, 100, True), (AUTOMATED, 2, False)):
        sent_at = NOW - timedelta(days=days)
        account.add_campaign("news", sent_at=sent_at, campaign_id=campaign_id, listed=is_listed)
        account.add_row(Kind.SEND, contact.id, campaign_id, at=sent_at)
        account.add_row(Kind.OPEN, contact.id, campaign_id, at=sent_at + timedelta(hours=3))
    return account


def kinds(operator: Operator, campaign_id: str) -> list[str]:
    place = ["--state", str(operator.state_dir)]
    ended = run_command(
        "explain", "--campaign", campaign_id, "--json", *place, environment=operator.environment
    )
    assert ended.returncode == 0, ended.stderr
    (system,) = json.loads(ended.stdout)["systems"]
    return [cause["kind"] for cause in system["causes"]]


def _fail_opens(server: Server) -> None:
    server.script(f"/v3/reports/email_reports/{activity_uuid(CAMPAIGN)}/tracking/opens", *[REFUSED] * 20)


@pytest.mark.parametrize(
    ("prepare", "settings", "campaign_id", "expected"),
    [
        (lambda _: None, {}, CAMPAIGN, ["nothing_wrong"]),
        (_fail_opens, {}, CAMPAIGN, ["failing"]),
        (lambda _: None, {"CALLS_PER_DAY": "6", "QUOTA_SHARE": "1"}, CAMPAIGN, ["paused", "due"]),
        (lambda _: None, {}, OLD, ["no_longer_watched"]),
    ],
    ids=["nothing wrong", "failing", "due", "old"],
)
def test_a_run_leaves_the_cause(
    tmp_path: Path,
    account: SimulatedAccount,
    prepare: Callable[[Server], None],
    settings: dict[str, str],
    campaign_id: str,
    expected: list[str],
) -> None:
    with served(account) as server:
        prepare(server)
        operator = Operator.of_v3(tmp_path, server)
        operator.environment |= settings
        operator.run()
    assert kinds(operator, campaign_uuid(campaign_id)) == expected


def test_an_operator_s_pause_is_the_first_cause(tmp_path: Path, account: SimulatedAccount) -> None:
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run().returncode == 0
    assert run_command("pause", "--state", str(operator.state_dir)).returncode == 0
    assert kinds(operator, campaign_uuid(CAMPAIGN)) == ["paused"]


def test_a_campaign_list_that_is_refused_is_a_cause(tmp_path: Path, account: SimulatedAccount) -> None:
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run().returncode == 0
        server.script("/v3/reports/summary_reports/email_campaign_summaries", *[FORBIDDEN] * 20)
        operator.run("--all")
    # The API says 403 for want of a right, which is what it names first.
    assert kinds(operator, campaign_uuid(CAMPAIGN)) == ["missing_right", "list_refused"]


def test_a_right_that_is_missing_is_a_cause(tmp_path: Path, account: SimulatedAccount) -> None:
    lacking = Switches(v3=V3Switches(privileges=PRIVILEGES - {"ui:campaign:metrics"}))
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run().returncode == 0
    with served(account, lacking) as server:
        operator.environment["CONSTANT_CONTACT_BASE_URL"] = server.v3_url
        operator.run("--all")
    assert kinds(operator, campaign_uuid(CAMPAIGN))[0] == "missing_right"


def test_an_automated_mailing_is_not_watched(tmp_path: Path, account: SimulatedAccount) -> None:
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        operator.run()
    assert "not_watched" in kinds(operator, activity_uuid(AUTOMATED))
