"""`--email`: a contact by its address, which the API is asked for, and which is told nowhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.simulated import Server, SimulatedAccount, error
from contact_activity.simulated.replies import Reply
from contact_activity.simulated.token_switches import TokenSwitches
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqlitePace, SqlitePauses
from tests.support.clients import V2, V3, VERSIONS, Version
from tests.support.command_line import SHARED, run_command
from tests.support.running import ACCESS_TOKEN, API_KEY, NOW, Operator, account_of, served

ADDRESS = "ada+news@xn--canary.example.org"
V3_TELLING = "/v3/reports/contact_reports/00000000-0000-0000-0000-000000000000/activity_details"
HIDDEN = ("ada", "canary.example", "%40", API_KEY, ACCESS_TOKEN)


@pytest.fixture
def account() -> SimulatedAccount:
    account = account_of(3)
    account.add_contact(ADDRESS, at=NOW - timedelta(days=9), contact_id="4711")
    return account


@pytest.fixture(params=VERSIONS, ids=str)
def version(request: pytest.FixtureRequest) -> Version:
    chosen: Version = request.param
    return chosen


@pytest.fixture
def server(account: SimulatedAccount) -> Iterator[Server]:
    with served(account) as running:
        yield running


@pytest.fixture
def operator(tmp_path: Path, server: Server, version: Version) -> Operator:
    """Who has run once, so that all contacts are known."""
    operator = Operator.of(tmp_path, server) if version is V2 else Operator.of_v3(tmp_path, server)
    assert operator.run().returncode == 0
    return operator


def called(operator: Operator, *arguments: str) -> subprocess.CompletedProcess[str]:
    """See that a command tells no address and no secret, and return how it ended."""
    asked = [*arguments, "--state", str(operator.state_dir), "--debug"]
    ended = run_command(*asked, environment=operator.environment)
    told = ended.stdout + ended.stderr
    assert not [text for text in HIDDEN if text in told], told
    assert "Traceback" not in told
    return ended


def refused(operator: Operator, *arguments: str) -> tuple[int, str]:
    """Return the exit status and the only line of a command that could not find the contact."""
    ended = called(operator, *arguments)
    (line,) = ended.stderr.splitlines()
    assert ended.stdout == ""
    return ended.returncode, line


def used(operator: Operator) -> int:
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE, is_read_only=True)) as database:
        return SqlitePace(database).load().used


def asked_for(server: Server) -> list[str]:
    return [call.query["email"] for call in server.calls if "email" in call.query]


def test_a_contact_is_explained_by_its_address(operator: Operator, server: Server, version: Version) -> None:
    """In one call, which counts as any other."""
    before, calls = used(operator), len(server.calls)
    ended = called(operator, "explain", "--email", ADDRESS, "--json")
    (system,) = json.loads(ended.stdout)["systems"]
    assert system["contact"] == version.contact_id("4711")
    assert (used(operator) - before, len(server.calls) - calls) == (1, 1)
    assert server.calls[-1].query.get("status") == (None if version is V2 else "all")
    assert server.violations == []


def test_a_contact_is_published_again_and_erased_by_its_address(operator: Operator, version: Version) -> None:
    id_ = version.contact_id("4711")
    ended = called(operator, "resync", "--email", ADDRESS, "--since", "2026-01-01")
    assert ended.stdout.splitlines()[0] == f"the address given is that of contact {id_}"
    looked = called(
        operator, "forget", "--email", ADDRESS, "--dry-run", "--events", str(operator.events_file)
    )
    assert f"contact {id_}: would be erased" in looked.stdout
    erased = called(operator, "forget", "--email", ADDRESS, "--yes", "--events", str(operator.events_file))
    assert f"contact {id_}: erased" in erased.stdout
    assert "was erased by `forget`" in called(operator, "explain", "--email", ADDRESS).stdout
    assert ADDRESS not in operator.events_file.read_text()
    held = [path.read_bytes() for path in operator.state_dir.iterdir() if path.is_file()]
    assert not [text for text in held if b"canary.example" in text]


@pytest.mark.parametrize("written", [f"  {ADDRESS}\t", ADDRESS.upper(), "Zoë@Bücher.example"])
def test_an_address_may_be_written_in_several_ways(
    operator: Operator, server: Server, account: SimulatedAccount, version: Version, written: str
) -> None:
    """As given at first, then in small letters."""
    account.add_contact("zoë@bücher.example", at=NOW, contact_id="4712")
    wanted = version.contact_id("4712" if "cher" in written else "4711")
    # The second is not known here yet: the answer names its id all the same.
    assert wanted in (ended := called(operator, "explain", "--email", written)).stdout + ended.stderr
    tries = {written.strip(): None, written.strip().lower(): None}
    assert asked_for(server) == list(tries)


@pytest.mark.parametrize(
    "text",
    [
        *("4711", "", "@", "ada@", "a@b@c", "a b@c.org", "Ada <ada@c.org>", "a@c.org,b@c.org"),
        *("a" * 250 + "@c.org", "a\u202e@c.org", "\udcff@c.org"),
    ],
    ids=ascii,
)
def test_what_is_no_address_is_one_line(tmp_path: Path, text: str) -> None:
    for command in (["explain"], ["forget", "--yes"], ["resync", "--since", "2026-01-01"]):
        ended = run_command(*command, f"--email={text}", "--state", str(tmp_path))
        assert (ended.returncode, ended.stdout) == (2, "")
        (line,) = ended.stderr.splitlines()
        assert "give one alone" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", ADDRESS],
        ["forget", ADDRESS, "--yes"],
        ["explain", "4711", ADDRESS],
        ["explain", f"--emial={ADDRESS}", "4711"],
        ["explain", "4711", "--email", ADDRESS],
        [ADDRESS],
        ["resync", "--all", "--email", ADDRESS, "--since", "2026-01-01"],
        ["status", ADDRESS],
    ],
    ids=str,
)
def test_an_address_at_the_wrong_place_is_not_repeated(tmp_path: Path, arguments: list[str]) -> None:
    ended = run_command(*arguments, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "canary.example" not in line


def test_an_address_that_the_account_does_not_have(operator: Operator, version: Version) -> None:
    status, line = refused(operator, "forget", "--email", "nobody@canary.example.org", "--yes")
    assert status == 1
    assert f"--state {operator.state_dir} has no contact with the address given" in line
    assert ("deleted ones too" in line) == (version is V3)
    assert "detail.data.contact.id" in line


def test_a_deleted_contact_is_found_in_v3_only(
    operator: Operator, account: SimulatedAccount, version: Version
) -> None:
    """v2 finds no address that was deleted, so that the id is needed, which its events have."""
    account.remove_contact("4711", at=NOW)
    ended = called(operator, "explain", "--email", ADDRESS)
    assert (ended.returncode, version.contact_id("4711") in ended.stdout) == ((1, False), (0, True))[
        version is V3
    ]
    assert version is V3 or "if the contact was deleted" in ended.stderr


def test_an_address_of_several_contacts_names_them(
    operator: Operator, account: SimulatedAccount, version: Version
) -> None:
    account.add_contact(ADDRESS, at=NOW, contact_id="4712")
    status, line = refused(operator, "resync", "--email", ADDRESS, "--since", "2026-01-01")
    assert status == 1
    ids = [version.contact_id(id_) for id_ in ("4711", "4712")]
    assert f"2 contacts have the address given: {', '.join(ids)}; name one" in line
    pasted = line.partition("`contact-activity ")[2].partition("`")[0].split()
    assert called(operator, *pasted[:-2]).returncode == 0


def test_no_other_contact_is_taken_for_the_one_that_was_asked_for(
    operator: Operator, server: Server, version: Version
) -> None:
    """An API that does not filter by address answers with all contacts."""
    rows = {
        V2: [{"id": "1", "email_addresses": [{"email_address": "other@example.org"}]}],
        V3: [{"contact_id": version.contact_id("1"), "email_address": {"address": "other@example.org"}}],
    }[version]
    body = {"results": rows, "meta": {}} if version is V2 else {"contacts": rows}
    server.script(f"/{version}/contacts", *[Reply(200, body)] * 9)
    status, line = refused(operator, "forget", "--email", ADDRESS, "--yes")
    assert status == 1
    assert "the answer cannot be used" in line


def test_a_pause_of_the_operator_holds(operator: Operator, server: Server) -> None:
    assert called(operator, "pause").returncode == 0
    calls = len(server.calls)
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, len(server.calls)) == (1, calls)
    assert f"`contact-activity resume --state {operator.state_dir}`" in line


def test_used_up_calls_of_the_day_are_one_line(operator: Operator, server: Server) -> None:
    """By our own count, and as the API said before."""
    calls = len(server.calls)
    operator.environment["CALLS_PER_DAY"] = "1"
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, "calls of the day are used up until" in line) == (4, True)
    del operator.environment["CALLS_PER_DAY"]
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE)) as database:
        SqlitePauses(database).pause(Pause(PauseReason.QUOTA, SystemClock().now_ms() + 600_000))
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, "calls of the day are used up until" in line) == (4, True)
    assert len(server.calls) == calls


def test_a_refused_credential_says_how_to_renew_it(operator: Operator, server: Server) -> None:
    server.revoke_token()
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert status == 3
    assert "the API refuses the credential" in line
    assert "renew CONSTANT_CONTACT_ACCESS_TOKEN" in line


def test_an_api_that_is_down_says_what_to_check(operator: Operator, server: Server, version: Version) -> None:
    server.script(f"/{version}/contacts", *[error(500, "http.status.internal_server_error", ADDRESS)] * 9)
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, "the API failed 3 times" in line) == (1, True)
    operator.environment["CONSTANT_CONTACT_BASE_URL"] = f"http://127.0.0.1:9/{version}"
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, "check host and port in CONSTANT_CONTACT_BASE_URL" in line) == (1, True)


def test_a_folder_whose_account_cannot_be_asked_says_so(tmp_path: Path, operator: Operator) -> None:
    """No credentials; those of another version; a folder that was never read; one without state."""
    credentials = dict(operator.environment)
    for name in list(operator.environment):
        if name.startswith("CONSTANT_CONTACT"):
            del operator.environment[name]
    status, line = refused(operator, "explain", "--email", ADDRESS)
    assert (status, "credentials" in line) == (2, True)
    operator.environment = credentials
    ended = run_command("explain", "--email", ADDRESS, "--state", str(tmp_path), environment=credentials)
    assert (ended.returncode, "holds no state: run" in ended.stderr) == (1, True)


def test_the_simulated_account_is_asked_too(tmp_path: Path) -> None:
    """Without credentials, as a run reads it; its file stays as it is."""
    place = ["--state", str(tmp_path / "state")]
    assert run_command("run", "--quiet", *place).returncode == 0
    kept = tmp_path / "state" / "simulated.json"
    before, contact = kept.read_bytes(), json.loads(kept.read_text())["contacts"][0]
    ended = run_command("explain", "--email", contact[1], "--json", *place)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["systems"][0]["contact"] == contact[0]
    assert kept.read_bytes() == before


def test_a_token_of_v3_is_renewed_for_it(tmp_path: Path, account: SimulatedAccount) -> None:
    with served(account, tokens=TokenSwitches(expires_in_s=1, rate_limits=False)) as server:
        operator = Operator.of_v3(tmp_path, server, is_renewing=True)
        assert operator.run().returncode == 0
        assert called(operator, "explain", "--email", ADDRESS).returncode == 0


@pytest.mark.parametrize(
    ("refused_too", "missing"),
    [(V3_TELLING, "the scope contact_data"), ("", "the privilege contacts:read")],
)
def test_a_missing_right_of_v3_is_named(
    tmp_path: Path, account: SimulatedAccount, refused_too: str, missing: str
) -> None:
    """As a run and `check` name it, by one more call."""
    with served(account) as server:
        operator = Operator.of_v3(tmp_path, server)
        assert operator.run().returncode == 0
        for path in filter(None, ("/v3/contacts", refused_too)):
            server.script(path, *[error(403, "access_denied", "x")] * 9)
        before = len(server.calls)
        status, line = refused(operator, "explain", "--email", ADDRESS)
        assert len(server.calls) == before + 2
    assert (status, f"{missing} is missing" in line) == (1, True)


def test_an_address_may_come_from_standard_input(operator: Operator) -> None:
    """So that neither the shell's history nor the list of processes has it."""
    command = [sys.executable, "-m", "contact_activity", "explain", "--email", "-"]
    for given, status in ((f"{ADDRESS}\n", 0), ("", 2)):
        ended = subprocess.run(
            [*command, "--state", str(operator.state_dir)],
            env=operator.environment | {"PYTHONPATH": str(SHARED)},
            input=given,
            text=True,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, len(ended.stderr.splitlines())) == (status, int(status > 0))
