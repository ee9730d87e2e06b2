"""`contact-activity check`, as a process, against the simulated account: each fault, and its remedy."""

import argparse
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from contact_activity.cli.check import add_check
from contact_activity.clock import SystemClock
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import DAY_MS, HOUR_MS, midnight_after
from contact_activity.domain.tokens import Granted, StoredTokens
from contact_activity.run.account_file import AccountFile
from contact_activity.run.state_folder import (
    ACCOUNT_DATABASE,
    SIMULATED_DATABASE,
    SIMULATED_V3_DATABASE,
    locked,
)
from contact_activity.simulated import Server, SimulatedAccount, Switches, V3Switches, error
from contact_activity.simulated.oauth import oauth_error
from contact_activity.simulated.token_switches import SCOPES
from contact_activity.simulated.tokens import TOKEN_PATH
from contact_activity.simulated.v3_switches import PRIVILEGES
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqlitePace, SqlitePauses, sqlite_store
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.certificates import Authority
from tests.support.command_line import run_command
from tests.support.fronts import Front, closing_all, free_port
from tests.support.running import ACCESS_TOKEN, API_KEY, Operator, account_of, served

SHARED = Path(__file__).parents[2] / "shared"
CLIENT_ID = "simulated-public-client"
V2_LINES = [
    ("ok", "credentials"),
    ("ok", "state"),
    ("ok", "API"),
    ("ok", "contacts"),
    ("ok", "campaigns"),
    ("ok", "calls today"),
    ("ok", "pauses"),
    ("ok", "clock"),
]
V3_LINES = [
    ("ok", "credentials"),
    ("ok", "token endpoint"),
    ("ok", "state"),
    ("ok", "API"),
    ("ok", "account"),
    ("ok", "contacts"),
    ("ok", "campaigns"),
    ("ok", "reports"),
    ("ok", "calls today"),
    ("ok", "pauses"),
    ("ok", "clock"),
]


@dataclass
class Result:
    """What a check said. `lines` has level and topic; `told` text and remedy by topic."""

    status: int
    out: str
    err: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.out.splitlines():
            if found := re.match(r"(ok|warning|failing) +(.{15}) (.*)", line):
                topic = found[2].strip()
                self.lines.append((found[1], topic))
                self.told[topic] = found[3]
            elif line.startswith("  ") and self.lines:
                self.told[self.lines[-1][1]] += "\n" + line.strip()

    def levels(self, *topics: str) -> list[str]:
        return [level for level, topic in self.lines if topic in topics]

    @property
    def amiss(self) -> list[tuple[str, str]]:
        return [line for line in self.lines if line[0] != "ok"]


@pytest.fixture(scope="module")
def account() -> SimulatedAccount:
    return account_of(12)


@pytest.fixture
def server(account: SimulatedAccount) -> Iterator[Server]:
    with served(account) as server:
        yield server


def v2(server: Server, **settings: str) -> dict[str, str]:
    return {
        "CONSTANT_CONTACT_API_KEY": API_KEY,
        "CONSTANT_CONTACT_ACCESS_TOKEN": ACCESS_TOKEN,
        "CONSTANT_CONTACT_BASE_URL": server.base_url,
    } | settings


def v3(server: Server, **settings: str) -> dict[str, str]:
    return {
        "CONSTANT_CONTACT_BASE_URL": server.v3_url,
        "CONSTANT_CONTACT_TOKEN_URL": server.token_url,
    } | settings


def log_in(
    server: Server, state: Path, *, scopes: frozenset[str] = SCOPES, life_ms: int = DAY_MS, age_ms: int = 0
) -> StoredTokens:
    """Store what a login brings, as if that had been `age_ms` ago."""
    tokens = server.authorization.issue(CLIENT_ID, scopes)
    asked_ms = time.time_ns() // 1_000_000 - age_ms
    granted = Granted(tokens.access_token, tokens.refresh_token, life_ms)
    stored = StoredTokens().logged_in(CLIENT_ID, granted, asked_ms=asked_ms)
    state.mkdir(exist_ok=True)
    CredentialsFile(state).save(stored)
    return stored


def check(state: Path, environment: dict[str, str]) -> Result:
    """Check as the command line does, in this process."""
    parser = argparse.ArgumentParser()
    add_check(parser.add_subparsers())
    arguments = parser.parse_args(["check", "--state", str(state)])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = arguments.command(arguments, {"CALLS_PER_SECOND": "50"} | environment, Console(file=err))
    return result(state, environment, status, out.getvalue(), err.getvalue())


def check_by_command(state: Path, environment: dict[str, str], *arguments: str) -> Result:
    """Check as an operator does, in a process of its own."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SHARED), "CALLS_PER_SECOND": "50"}
    ended = subprocess.run(
        [sys.executable, "-m", "contact_activity", "check", "--state", str(state), *arguments],
        env=given | environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return result(state, environment, ended.returncode, ended.stdout, ended.stderr)


def result(state: Path, environment: dict[str, str], status: int, out: str, err: str) -> Result:
    """See that no secret was said, and return what was."""
    stored = CredentialsFile(state).read()
    secrets = [API_KEY, ACCESS_TOKEN, CLIENT_ID, stored.refresh_token, stored.access and stored.access.text]
    secrets += [value for name, value in environment.items() if name.endswith("_TOKEN")]
    assert not [secret for secret in secrets if secret and secret in out + err]
    assert "@" not in out + err
    assert "Traceback" not in err
    return Result(status, out, err)


def calls_of(server: Server) -> list[str]:
    return [call.path for call in server.calls]


def refreshes(server: Server) -> int:
    """How many calls brought tokens. The test of the endpoint, which names no application, brings none."""
    return sum(call.status == 200 for call in server.token_calls)


def used(state: Path) -> int:
    with closing(Database(state / ACCOUNT_DATABASE, is_read_only=True)) as database:
        return SqlitePace(database).load().used


def test_without_credentials_it_says_how_to_get_in(tmp_path: Path) -> None:
    """A run would read the simulated account. Nothing is created."""
    found = check_by_command(tmp_path / "state", {})
    assert found.status == 0
    assert found.lines == [("warning", "credentials")]
    assert "simulated" in found.told["credentials"]
    assert "contact-activity login --client-id ID" in found.told["credentials"]
    assert not (tmp_path / "state").exists()


def test_v2_that_works(tmp_path: Path, server: Server) -> None:
    """Every line is ok, and each call is counted as a run's."""
    found = check_by_command(tmp_path, v2(server))
    assert (found.status, found.err) == (0, "")
    assert found.lines == V2_LINES
    assert found.out.endswith("a run would work\n")
    assert calls_of(server) == ["/v2/contacts", "/v2/emailmarketing/campaigns"]
    assert used(tmp_path) == 2
    assert "2 of 9,000 used" in found.told["calls today"]


def test_v3_that_works(tmp_path: Path, server: Server) -> None:
    """By a stored login: it says until when the token lives, spends none, and makes five calls."""
    stored = log_in(server, tmp_path)
    found = check_by_command(tmp_path, v3(server))
    assert (found.status, found.err) == (0, "")
    assert found.lines == V3_LINES
    assert re.search(
        r"API v3, the stored login: an access token until (?:today|tomorrow) \d\d:\d\d UTC",
        found.told["credentials"],
    )
    assert "a refresh token that renews it" in found.told["credentials"]
    assert "p07simulated01" in found.told["account"]
    assert (refreshes(server), CredentialsFile(tmp_path).read()) == (0, stored)
    assert [call.status for call in server.token_calls] == [401], "the test of the endpoint"
    assert (len(server.calls), used(tmp_path)) == (5, 5)
    assert not (tmp_path / "account.json").exists()
    assert server.violations == []


def test_v3_by_an_access_token_alone(tmp_path: Path, server: Server) -> None:
    """A trial: nothing can renew it, and the token endpoint does not matter."""
    found = check(tmp_path, v3(server, CONSTANT_CONTACT_ACCESS_TOKEN=ACCESS_TOKEN))
    assert found.status == 0
    assert found.lines == [line for line in V3_LINES if line[1] != "token endpoint"]
    assert "CONSTANT_CONTACT_ACCESS_TOKEN of the environment" in found.told["credentials"]
    log_in(server, tmp_path)
    found = check(tmp_path, v3(server, CONSTANT_CONTACT_ACCESS_TOKEN=ACCESS_TOKEN))
    assert "comes before the stored tokens" in found.told["credentials"]


def test_a_token_that_has_ended_is_refreshed_and_kept(tmp_path: Path, server: Server) -> None:
    """Once, as a run would. One that is not due is not."""
    before = log_in(server, tmp_path, age_ms=2 * DAY_MS)
    found = check(tmp_path, v3(server))
    after = CredentialsFile(tmp_path).read()
    assert found.lines == V3_LINES
    assert [call.query["grant_type"] for call in server.token_calls] == ["refresh_token"]
    assert before.refresh_token != after.refresh_token
    assert check(tmp_path, v3(server)).status == 0
    assert CredentialsFile(tmp_path).read() == after


def test_a_refresh_token_of_the_environment_is_taken_and_named(tmp_path: Path, server: Server) -> None:
    """At the first check it is new here; the second goes on with what it brought."""
    given = v3(
        server,
        CONSTANT_CONTACT_CLIENT_ID=CLIENT_ID,
        CONSTANT_CONTACT_REFRESH_TOKEN=server.authorization.issue(CLIENT_ID).refresh_token or "",
    )
    first, second = check(tmp_path, given), check(tmp_path, given)
    assert (first.status, second.status) == (0, 0)
    assert "a new CONSTANT_CONTACT_REFRESH_TOKEN of the environment" in first.told["credentials"]
    assert "was taken before" in second.told["credentials"]
    assert refreshes(server) == 1


def test_a_dead_refresh_token_says_how_to_log_in(tmp_path: Path, server: Server) -> None:
    """Exit 3, and no call of the API is made with nothing."""
    log_in(server, tmp_path, age_ms=2 * DAY_MS)
    server.authorization.revoke_families()
    found = check_by_command(tmp_path, v3(server))
    assert found.status == 3
    assert found.err == "contact-activity: a run would fail: credentials\n"
    assert found.amiss == [("failing", "credentials"), ("warning", "not checked")]
    assert "invalid_grant" in found.told["credentials"]
    assert f"`contact-activity login --state {tmp_path}`" in found.told["credentials"]
    assert "account, contacts, campaigns, reports, clock" in found.told["not checked"]
    assert server.calls == []


def test_a_wrong_token_of_the_environment_is_told_with_what_is_used(tmp_path: Path, server: Server) -> None:
    """The stored login, which it did not bring to an end."""
    log_in(server, tmp_path)
    given = v3(server, CONSTANT_CONTACT_CLIENT_ID=CLIENT_ID, CONSTANT_CONTACT_REFRESH_TOKEN="refresh-wrong")
    found = check(tmp_path, given)
    assert (found.status, found.amiss) == (0, [("warning", "credentials")])
    assert "refused (invalid_grant), so the tokens before it are used" in found.told["credentials"]
    assert check(tmp_path, given).lines == V3_LINES


def test_a_wrong_application_is_told_from_a_wrong_token(tmp_path: Path, server: Server) -> None:
    """The remedy names the client id and its secret, since the refresh token may be good."""
    stored = log_in(server, tmp_path, age_ms=2 * DAY_MS)
    server.script(TOKEN_PATH, oauth_error("invalid_client", "", 401))
    found = check(tmp_path, v3(server))
    assert found.status == 3
    assert "CONSTANT_CONTACT_CLIENT_ID, or CONSTANT_CONTACT_CLIENT_SECRET if" in found.told["credentials"]
    assert CredentialsFile(tmp_path).read().refresh_token == stored.refresh_token
    log_in(server, tmp_path, age_ms=DAY_MS * 19 // 20)
    server.script(TOKEN_PATH, oauth_error("invalid_client", "", 401))
    found = check(tmp_path, v3(server))
    assert (found.status, found.amiss) == (0, [("warning", "credentials")])
    assert "CONSTANT_CONTACT_CLIENT_ID" in found.told["credentials"]


@pytest.mark.parametrize(
    ("scope", "level", "topics", "status"),
    [
        ("contact_data", "failing", ["contacts"], 3),
        ("campaign_data", "failing", ["campaigns", "reports"], 1),
        ("account_read", "warning", ["account"], 0),
    ],
)
def test_a_missing_scope_is_named(
    tmp_path: Path, server: Server, scope: str, level: str, topics: list[str], status: int
) -> None:
    """With the login that asks for it. Without `account_read` a run works all the same."""
    stored = log_in(server, tmp_path, scopes=SCOPES - {scope})
    found = check(tmp_path, v3(server))
    assert found.status == status
    assert found.amiss == [(level, topic) for topic in topics]
    told = {0: "", 1: "a run would work without these, with exit status 0: campaigns, reports"}
    assert told.get(status, "a run would fail: contacts") in found.err
    for topic in topics:
        assert f"the scope {scope}" in found.told[topic]
        assert "contact-activity login" in found.told[topic]
    assert CredentialsFile(tmp_path).read() == stored


@pytest.mark.parametrize(
    ("privilege", "topic", "status", "would"),
    [
        ("contacts:read", "contacts", 3, "fail"),
        ("campaign:read", "campaigns", 1, "work without these, with exit status 0"),
        ("ui:campaign:metrics", "reports", 1, "publish nothing, and end with exit status 0"),
    ],
)
def test_a_missing_privilege_is_told_from_a_missing_scope(
    tmp_path: Path, account: SimulatedAccount, privilege: str, topic: str, status: int, would: str
) -> None:
    """The account owner has to give it, whatever the login asks for."""
    switches = Switches(v3=V3Switches(privileges=PRIVILEGES - {privilege}))
    with served(account, switches) as server:
        log_in(server, tmp_path)
        found = check(tmp_path, v3(server))
    assert (found.status, found.amiss) == (status, [("failing", topic)])
    assert f"a run would {would}: {topic}" in found.err
    assert f"the privilege {privilege} is missing" in found.told[topic]
    assert "scope" not in found.told[topic]
    assert "account owner" in found.told[topic]


def test_reports_that_alone_are_refused_are_seen(tmp_path: Path, account: SimulatedAccount) -> None:
    """Though the list of what was sent is not."""
    with served(account, Switches(v3=V3Switches(campaign_reports_refused=403))) as server:
        log_in(server, tmp_path)
        assert check(tmp_path, v3(server)).amiss == [("failing", "reports")]


def test_an_account_that_sent_nothing_is_checked_by_its_lists(tmp_path: Path) -> None:
    """There is no report to try, and nothing to complain of."""
    with served(SimulatedAccount()) as server:
        log_in(server, tmp_path)
        assert check(tmp_path, v3(server)).lines == V3_LINES
        log_in(server, tmp_path, scopes=SCOPES - {"campaign_data"})
        assert check(tmp_path, v3(server)).amiss == [("failing", "campaigns"), ("failing", "reports")]


def test_the_account_of_the_folder_is_known_again(tmp_path: Path, server: Server) -> None:
    """Another one fails with what a run would say: exit 2. Nothing is stored of it."""
    log_in(server, tmp_path)
    AccountFile(tmp_path).save(StoredAccount("p07simulated01", ""))
    assert "as that of the state" in check(tmp_path, v3(server)).told["account"]
    AccountFile(tmp_path).save(StoredAccount("another", ""))
    found = check(tmp_path, v3(server))
    assert (found.status, found.amiss) == (2, [("failing", "account")])
    assert "give another --state" in found.told["account"]
    assert AccountFile(tmp_path).read() == StoredAccount("another", "")


@pytest.mark.parametrize("held", ["v2", "v3"])
def test_a_folder_of_another_version_fails_before_a_token_is_spent(
    tmp_path: Path, server: Server, held: str
) -> None:
    """A token that is taken up for this folder would be lost for the one that it needs."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        SqliteContacts(database).register([ListedContact("4711", "")], 1)
        database.put("api_version", held)
    given = v2(server)
    if held == "v2":
        given = v3(
            server,
            CONSTANT_CONTACT_CLIENT_ID=CLIENT_ID,
            CONSTANT_CONTACT_REFRESH_TOKEN=server.authorization.issue(CLIENT_ID).refresh_token or "",
        )
    found = check(tmp_path, given)
    assert found.status == 2
    assert found.amiss == [("failing", "state"), ("warning", "not checked")]
    assert f"1 contact, read from API {held}" in found.told["state"]
    assert (server.calls, server.token_calls) == ([], [])
    assert CredentialsFile(tmp_path).read().is_empty


def test_a_credential_of_v2_that_is_refused_is_named(tmp_path: Path, server: Server) -> None:
    """The gateway refuses the key, and the API the token; a 401 is believed the second time."""
    found = check(tmp_path, v2(server, CONSTANT_CONTACT_API_KEY="another"))
    assert found.status == 3
    assert "renew CONSTANT_CONTACT_API_KEY" in found.told["credentials"]
    server.script("/v2/contacts", error(401, "http.status.authentication.invalid_token", ""))
    assert check(tmp_path, v2(server)).status == 0
    server.revoke_token()
    found = check(tmp_path, v2(server))
    assert found.status == 3
    assert "renew CONSTANT_CONTACT_ACCESS_TOKEN" in found.told["credentials"]
    assert ("failing", "contacts") not in found.lines


def test_an_access_token_that_v3_refuses_is_renewed_or_named(tmp_path: Path, server: Server) -> None:
    """A stored one is renewed at once, as in a run; one of the environment cannot be."""
    log_in(server, tmp_path)
    server.authorization.revoke_access_tokens()
    assert check(tmp_path, v3(server)).lines == V3_LINES
    assert refreshes(server) == 1
    found = check(tmp_path, v3(server, CONSTANT_CONTACT_ACCESS_TOKEN="x" * 9))
    assert found.status == 3
    assert "renew CONSTANT_CONTACT_ACCESS_TOKEN" in found.told["credentials"]
    assert found.levels("API", "clock") == ["ok", "ok"]
    assert "not checked     account, contacts, campaigns, reports" in found.out


def test_v2_campaigns_that_are_refused_are_a_warning(tmp_path: Path, server: Server) -> None:
    """Contacts' own reports bring all activity."""
    server.script("/v2/emailmarketing/campaigns", error(403, "no.privilege", ""))
    found = check(tmp_path, v2(server))
    assert (found.status, found.amiss) == (0, [("warning", "campaigns")])


@pytest.mark.parametrize(
    ("name", "url", "cause", "remedy"),
    [
        ("BASE_URL", "https://no-such-host.invalid/v3", "the host is unknown", "the host in"),
        ("BASE_URL", "http://127.0.0.1:{nobody}/v3", "the connection is refused", "host and port in"),
        ("TOKEN_URL", "https://no-such-host.invalid/t", "the host is unknown", "the host in"),
        ("TOKEN_URL", "http://127.0.0.1:{nobody}/t", "the connection is refused", "host and port in"),
    ],
)
def test_a_host_that_cannot_be_reached_names_its_setting(
    tmp_path: Path, server: Server, name: str, url: str, cause: str, remedy: str
) -> None:
    """The other one is checked all the same, and no token is spent."""
    log_in(server, tmp_path)
    setting = f"CONSTANT_CONTACT_{name}"
    found = check(tmp_path, v3(server, **{setting: url.format(nobody=free_port())}))
    topic = "API" if name == "BASE_URL" else "token endpoint"
    assert found.status == 1
    assert ("failing", topic) in found.lines
    assert cause in found.told[topic]
    assert f"{remedy} {setting}" in found.told[topic]
    assert "set CONSTANT_CONTACT_PROXY" in found.told[topic]
    assert found.levels("credentials") == ["ok"]
    assert found.levels("account") == (["ok"] if topic == "token endpoint" else [])


def test_a_token_that_is_due_waits_for_its_endpoint(tmp_path: Path, server: Server) -> None:
    """The credentials fail for the endpoint's sake, which is no refusal; nothing is sent."""
    before = log_in(server, tmp_path, age_ms=2 * DAY_MS)
    nobody = f"http://127.0.0.1:{free_port()}/t"
    found = check(tmp_path, v3(server, CONSTANT_CONTACT_TOKEN_URL=nobody))
    assert found.status == 1
    assert found.levels("credentials", "token endpoint") == ["failing", "failing"]
    assert CredentialsFile(tmp_path).read() == before


def test_another_server_at_the_token_endpoint_is_seen_before_a_renewal_is_due(
    tmp_path: Path, server: Server
) -> None:
    """The host answers, but no authorization server does. No token is sent to find that."""
    before = log_in(server, tmp_path)
    found = check(tmp_path, v3(server, CONSTANT_CONTACT_TOKEN_URL=f"{server.origin}/nothing/token"))
    assert (found.status, found.amiss) == (1, [("failing", "token endpoint")])
    assert "check CONSTANT_CONTACT_TOKEN_URL" in found.told["token endpoint"]
    assert CredentialsFile(tmp_path).read() == before


def test_a_proxy_that_cannot_be_reached_is_named(tmp_path: Path, server: Server) -> None:
    """And not its password."""
    proxy = f"http://me:{ACCESS_TOKEN}@127.0.0.1:{free_port()}"
    found = check(tmp_path, v2(server, CONSTANT_CONTACT_PROXY=proxy))
    assert found.status == 1
    assert "check host and port in CONSTANT_CONTACT_PROXY" in found.told["API"]


def test_a_certificate_that_is_not_trusted_asks_for_its_authority(tmp_path: Path, server: Server) -> None:
    """With the authority in CONSTANT_CONTACT_CA_BUNDLE it is ok."""
    authority = Authority(tmp_path)
    front = Front(int(server.origin.rpartition(":")[2]), tls=authority.server_context())
    with closing_all(front):
        given = v2(server, CONSTANT_CONTACT_BASE_URL=f"https://127.0.0.1:{front.port}/v2")
        found = check(tmp_path, given)
        assert found.status == 1
        assert "set CONSTANT_CONTACT_CA_BUNDLE to a PEM file" in found.told["API"]
        given["CONSTANT_CONTACT_CA_BUNDLE"] = str(authority.bundle)
        assert check(tmp_path, given).status == 0


def test_another_server_than_the_api_is_seen(tmp_path: Path, server: Server) -> None:
    """Whatever it answers to the first call."""
    found = check(tmp_path, v2(server, CONSTANT_CONTACT_BASE_URL=f"{server.origin}/v2/nothing"))
    assert (found.status, found.levels("API")) == (1, ["failing"])
    assert "check CONSTANT_CONTACT_BASE_URL" in found.told["API"]
    assert "API v2, unless CONSTANT_CONTACT_API_VERSION" in found.told["API"]


@pytest.mark.parametrize(
    ("ahead_s", "level", "way"),
    [(95, "warning", "behind"), (-95, "warning", "ahead of"), (-9, "ok", "ahead of")],
)
def test_a_clock_that_is_off_is_named(
    tmp_path: Path, account: SimulatedAccount, ahead_s: float, level: str, way: str
) -> None:
    """Above 20 seconds, and which way."""
    with served(account, Switches(date_ahead_s=ahead_s)) as server:
        found = check(tmp_path, v2(server))
    assert (found.status, found.levels("clock")) == (0, [level])
    assert re.search(rf"\d (s|min) {way} the API's", found.told["clock"])
    assert ("timedatectl" in found.told["clock"]) == (level == "warning")


def test_a_day_that_is_used_up_ends_the_check(tmp_path: Path, server: Server) -> None:
    """By our own count: exit 4, and no call too many."""
    given = v2(server, CALLS_PER_DAY="2", QUOTA_SHARE="1")
    assert check(tmp_path, given).status == 4
    found = check(tmp_path, given)
    assert found.status == 4
    assert found.amiss == [("failing", "calls today"), ("warning", "not checked")]
    assert "2 of 2 used (2 CALLS_PER_DAY × 1 QUOTA_SHARE), 0 left" in found.told["calls today"]
    assert "CALLS_PER_DAY" in found.told["calls today"]
    assert (len(server.calls), used(tmp_path)) == (2, 2)


def test_a_day_that_the_api_calls_used_up_ends_the_check(tmp_path: Path, account: SimulatedAccount) -> None:
    """Others may use the key. It is asked no more while the pause of a run for that holds."""
    with served(account, calls_per_day=1) as server:
        found = check(tmp_path, v2(server))
        assert found.status == 4
        assert "as the API says" in found.told["calls today"]
        calls = len(server.calls)
        with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
            until_ms = time.time_ns() // 1_000_000 + HOUR_MS // 2
            SqlitePauses(database).pause(Pause(PauseReason.QUOTA, until_ms))
        found = check(tmp_path, v2(server))
        assert found.status == 4
        assert len(server.calls) == calls


@pytest.mark.parametrize(
    ("reason", "level", "remedy", "status"),
    [
        (PauseReason.OPERATOR, "failing", "contact-activity resume --state", 1),
        (PauseReason.CREDENTIAL, "warning", "run again: it tries the credential", 0),
    ],
)
def test_a_pause_is_told_with_its_end(
    tmp_path: Path, server: Server, reason: PauseReason, level: str, remedy: str, status: int
) -> None:
    """A run ends at once while the operator's holds. The rest is checked: the credential may be mended."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        SqlitePauses(database).pause(Pause(reason, None))
    found = check(tmp_path, v2(server))
    assert (found.status, found.amiss) == (status, [(level, "pauses")])
    assert remedy in found.told["pauses"]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_pause_of_the_simulated_account_is_told(tmp_path: Path, version: str) -> None:
    """A run without credentials would meet it. A pause of another system of the folder does not matter."""
    names = {"v2": SIMULATED_DATABASE, "v3": SIMULATED_V3_DATABASE}
    with closing(Database(tmp_path / names[version])) as database:
        SqlitePauses(database).pause(Pause(PauseReason.OPERATOR, None))
    found = check(tmp_path, {"CONSTANT_CONTACT_API_VERSION": version})
    assert (found.status, found.amiss) == (1, [("warning", "credentials"), ("failing", "pauses")])
    assert f"contact-activity resume --state {tmp_path}" in found.told["pauses"]
    other = check(tmp_path, {"CONSTANT_CONTACT_API_VERSION": "v2" if version == "v3" else "v3"})
    assert (other.status, other.amiss) == (0, [("warning", "credentials")])


@pytest.mark.parametrize(("calls", "status"), [("100", 0), ("1", 4)])
def test_a_day_of_the_simulated_account_is_used_up_as_a_run_finds_it(
    tmp_path: Path, calls: str, status: int
) -> None:
    """Another run used up a lower limit. With a higher one the next run goes on."""
    database_path, clock = tmp_path / SIMULATED_DATABASE, SystemClock()
    with closing(Database(database_path)) as database:
        store = sqlite_store(database, Limits(4, 1), clock)
        store.limiter.acquire(deadline_ms=clock.monotonic_ms() + HOUR_MS)
        store.pauses.pause(Pause(PauseReason.QUOTA, midnight_after(clock.now_ms())))
    found = check(tmp_path, {"CALLS_PER_DAY": calls, "QUOTA_SHARE": "1"})
    assert found.status == status
    assert ("goes on at once" in found.told["pauses"]) == (status == 0)


def test_a_run_may_use_the_folder_meanwhile(tmp_path: Path, server: Server) -> None:
    """Neither its lock nor a refresh that it is in keeps a check from working."""
    log_in(server, tmp_path, age_ms=DAY_MS * 19 // 20)
    with (
        locked(tmp_path),
        closing(Database(tmp_path / ACCOUNT_DATABASE)),
        CredentialsFile(tmp_path).exclusive(within_s=1) as is_exclusive,
    ):
        assert is_exclusive
        assert check(tmp_path, v3(server)).lines == V3_LINES
    assert refreshes(server) == 0


def test_a_run_and_checks_share_the_calls(tmp_path: Path, server: Server) -> None:
    """All calls are counted, whoever makes them, and none come faster than allowed."""
    operator = Operator.of(tmp_path, server, PYTHONPATH=str(SHARED), CALLS_PER_SECOND="10")
    given = v2(server, CALLS_PER_SECOND="10")
    with operator.start() as process:
        while process.poll() is None:
            assert check(operator.state_dir, given).status == 0
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert used(operator.state_dir) == len(server.calls)
    assert server.max_calls_in_any_second() <= 10
    assert len(set(operator.published())) == len(operator.published()) > 0


def test_settings_that_cannot_be_used_are_named_first(tmp_path: Path, server: Server) -> None:
    """One line and exit 2, as everywhere."""
    bad = [
        v2(server, CALLS_PER_DAY="many"),
        v2(server, CONSTANT_CONTACT_ACCESS_TOKEN=""),
        v2(server, CONSTANT_CONTACT_CA_BUNDLE="/no/such/file"),
        {"CONSTANT_CONTACT_CLIENT_ID": CLIENT_ID},
    ]
    for given in bad:
        found = check_by_command(tmp_path, given)
        assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
    assert server.calls == []


def test_the_help_teaches_by_an_example(tmp_path: Path) -> None:
    """With every exit status."""
    found = check_by_command(tmp_path, {}, "--help")
    assert "contact-activity check" in found.out
    assert all(re.search(rf"^  {status}  ", found.out, re.MULTILINE) for status in range(5))


def test_an_address_of_v3_without_credentials_asks_for_a_login(tmp_path: Path) -> None:
    """Not for a key of v2, which v3 would refuse next."""
    environment = {
        "CONSTANT_CONTACT_API_VERSION": "v3",
        "CONSTANT_CONTACT_BASE_URL": "http://127.0.0.1:9/v3",
    }
    told = run_command("run", "--state", str(tmp_path), environment=environment)
    assert told.returncode == 2
    assert "contact-activity login" in told.stderr
    assert "API_KEY" not in told.stderr


def test_the_name_of_the_region_that_is_advised_is_enough(tmp_path: Path) -> None:
    """boto3 itself knows another name only."""
    environment = {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nobody",
        "HOME": str(tmp_path),
    }
    told = run_command("status", "--stack", "mine", environment=environment)
    assert told.returncode == 1
    assert "Region" not in told.stderr
