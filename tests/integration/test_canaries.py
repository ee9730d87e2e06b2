"""Secrets and addresses are searched in every byte that is written or sent while everything fails.

The events are what the addresses are for: there, and nowhere else, they may be.
"""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import DynamoPauses
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.template import REPOSITORY
from contact_activity.simulated import Server, SimulatedAccount, Switches, error
from contact_activity.simulated.token_switches import TokenSwitches
from contact_activity.state.codec import item_to_body
from tests.support.clients import V2, V3, VERSIONS, Version
from tests.support.command_line import run_command
from tests.support.deployed import SECRET, deployed, deployed_v3, eventually, record, set_polling
from tests.support.items import of_contact
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    Operator,
    account_of,
    served,
)

NOT_ACCEPTABLE = error(406, "http.status.not_acceptable", "refused for ada@canary.example.org")
SHORT_LIVED = TokenSwitches(expires_in_s=2, rate_limits=False)
# In place of the ids of two contacts.
REFUSED, GONE = "REFUSED", "GONE"
COMMANDS = (
    ["status", "--json"],
    ["status"],
    ["dead-letters"],
    ["check"],
    ["explain", REFUSED],
    ["explain", GONE, "--json"],
    ["tail", "--no-follow"],
    ["resync", "--all", "--since", "2026-01-01"],
)
# Runs one invocation of the worker as Lambda does, with its traces.
INVOKED = """
import json, sys, types
from functions.worker.app import handler
context = types.SimpleNamespace(
    function_name="worker", function_version="1", memory_limit_in_mb=256, aws_request_id="canary-request",
    invoked_function_arn="arn:aws:lambda:eu-west-1:000000000000:function:worker",
    get_remaining_time_in_millis=lambda: 46_000)
print(json.dumps(handler(json.load(sys.stdin), context)))
"""


def personal(account: SimulatedAccount) -> list[str]:
    return [contact.email_address for contact in account.contacts()]


def told_in(written: dict[str, bytes], canaries: list[str]) -> list[tuple[str, str]]:
    """Where each canary is found."""
    return [
        (name, canary) for name, text in written.items() for canary in canaries if canary.encode() in text
    ]


def files_in(folder: Path, *but: str) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in but]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def fail_everywhere(server: Server, account: SimulatedAccount, version: Version = V2) -> None:
    """Besides the faults of its switches: a contact that is refused, and one that is not there."""
    refused, gone, *_ = (version.contact_id(contact.id) for contact in account.contacts())
    server.script(refused, *[NOT_ACCEPTABLE] * 20)
    server.script(gone, error(404, "http.status.not_found", "no ada@canary.example.org"))


def operator_of(version: Version, folder: Path, server: Server, **settings: str) -> Operator:
    """With the credentials of v2, or with those that renew v3's tokens."""
    if version is V2:
        return Operator.of(folder, server, **settings)
    return Operator.of_v3(folder, server, is_renewing=True, **settings)


def secrets_of(server: Server) -> list[str]:
    """Every secret so far: of tokens also the old ones, and that of the client as it is sent."""
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    return [API_KEY, ACCESS_TOKEN, CLIENT_SECRET, basic, *server.authorization.issued]


def urls_of(server: Server) -> bytes:
    """All that was asked for: paths and queries, without v2's key and the address of `--email`.

    There these belong.
    """
    calls = [(call.path, {**call.query, "email": ""}) for call in (*server.calls, *server.token_calls)]
    return "\n".join(f"{path} {query}" for path, query in calls).encode()


@pytest.mark.parametrize(
    ("version", "addresses"),
    [
        (V2, "plain"),
        (V2, "hashed"),
        (V2, "omitted"),
        (V3, "plain"),
        pytest.param(V3, "hashed", marks=pytest.mark.long),
        pytest.param(V3, "omitted", marks=pytest.mark.long),
    ],
    ids=str,
)
def test_the_command_line_tells_no_secret_and_no_address(
    tmp_path: Path, addresses: str, version: Version
) -> None:
    """Neither in its state nor in what it says, with faults, a refused contact and a dead credential.

    The tokens of v3 live for seconds: the run renews them meanwhile, and they are in one file.
    """
    account = account_of(12)
    with served(account, Switches.faulty(0.3), tokens=SHORT_LIVED) as server:
        fail_everywhere(server, account, version)
        operator = operator_of(version, tmp_path, server, EMAIL_ADDRESSES=addresses, REPORTS="all,summary")
        assert operator.run("--debug").returncode == 1
        server.revoke_token()
        server.authorization.revoke_families()
        assert operator.run("--all", "--debug").returncode == 3
        refused, gone, *_ = (version.contact_id(contact.id) for contact in account.contacts())
        ids = {REFUSED: refused, GONE: gone}
        by_address = ["forget", "--yes", "--email", personal(account)[0]]
        for command in (*COMMANDS, by_address):
            place = ["--state", str(operator.state_dir)]
            if command[0] == "tail":
                place = ["--events", str(operator.events_file)]
            asked = [*(ids.get(word, word) for word in command), *place, "--debug"]
            ended = run_command(*asked, environment=operator.environment)
            assert ended.returncode == (3 if command in (["check"], by_address) else 0), ended.stderr
            operator.said += [ended.stdout, ended.stderr]
        assert server.violations == []
        secrets, urls = secrets_of(server), urls_of(server)
    # The one that was given, and a pair for each time that it was renewed.
    assert version is V2 or len(server.authorization.issued) > 4
    said = {str(number): text.encode() for number, text in enumerate(operator.said)}
    events, kept = operator.events_file.name, "credentials.json"
    canaries = [*personal(account), "@canary.example.org", *secrets]
    told = told_in(files_in(tmp_path, events, kept) | said | {"URLs": urls}, canaries)
    assert told == []
    assert version is V2 or (operator.state_dir / kept).stat().st_mode & 0o777 == 0o600
    are_plain = {canary for _, canary in told_in({events: operator.events_file.read_bytes()}, canaries)}
    assert are_plain <= set(personal(account) if addresses == "plain" else [])
    assert bool(are_plain) == (addresses == "plain")


@pytest.fixture
def account() -> SimulatedAccount:
    return account_of(6)


@pytest.fixture(params=VERSIONS, ids=str)
def version(request: pytest.FixtureRequest) -> Version:
    chosen: Version = request.param
    return chosen


@pytest.fixture
def server(account: SimulatedAccount, version: Version) -> Iterator[Server]:
    with served(account, Switches.faulty(0.3), tokens=SHORT_LIVED) as running:
        fail_everywhere(running, account, version)
        yield running


def deployed_for(version: Version, emulator: Emulator, server: Server) -> Stack:
    parameters = {"EmailAddresses": "omitted", "LogLevel": "DEBUG"}
    if version is V2:
        return deployed(emulator, server.base_url, SECRET, **parameters)
    secret = {
        "client_secret": CLIENT_SECRET,
        "refresh_token": server.authorization.issue(CLIENT_ID).refresh_token or "",
    }
    # Otherwise reports have the first minutes of a tick, and contacts wait for them.
    return deployed_v3(emulator, server, secret, CLIENT_ID, CampaignReports="off", **parameters)


@pytest.mark.cloud
def test_the_functions_tell_no_secret_and_no_address(
    tmp_path: Path, server: Server, account: SimulatedAccount, version: Version
) -> None:
    """Neither in logs, metrics, queues nor the table; secrets are in the store of secrets alone."""
    with Emulator(tmp_path) as emulator:
        stack = deployed_for(version, emulator, server)
        functions, name = emulator.client("lambda"), stack.outputs["DispatcherName"]
        pauses = DynamoPauses(emulator.client("dynamodb"), stack.outputs["TableName"])
        failures = SqsQueue(emulator.client("sqs"), stack.outputs["DispatchFailuresUrl"])
        wanted = {version.contact_id(contact.id) for contact in account.contacts()}

        def ticked() -> bool:
            functions.invoke(FunctionName=name, Payload=b"{}")
            return True

        def asked() -> set[str]:
            return {part for call in server.calls for part in call.path.split("/")}

        eventually(lambda: ticked() and wanted <= asked())
        server.script(f"/{version}/contacts", *[NOT_ACCEPTABLE] * 20)
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        eventually(lambda: failures.depth() == 1)
        server.calm()
        server.revoke_token()
        server.authorization.revoke_families()
        eventually(lambda: ticked() and bool(pauses.get().by_reason))
    written = files_in(tmp_path, "secretsmanager.json")
    assert any(b"contact failed" in text for text in written.values())
    assert any(b"not_acceptable" in text for text in written.values())
    canaries = [*personal(account), "@canary.example.org", *secrets_of(server)]
    assert told_in(written | {"URLs": urls_of(server)}, canaries) == []


@pytest.mark.cloud
def test_a_worker_whose_api_is_not_there_tells_no_secret_and_no_address(
    tmp_path: Path, server: Server, account: SimulatedAccount, version: Version
) -> None:
    """It is the case in which an HTTP client's error names the whole address."""
    with Emulator(tmp_path) as emulator:
        stack = deployed_for(version, emulator, server)
        functions = emulator.client("lambda")
        set_polling(emulator, is_enabled=False)
        functions.invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
        worker = functions.get_function(FunctionName=stack.outputs["WorkerName"])["Configuration"]
        elsewhere = {"CONSTANT_CONTACT_BASE_URL": f"http://127.0.0.1:9/{version}"}
        ids = [version.contact_id(contact.id) for contact in account.contacts()]
        ended = invoked(ids, worker["Environment"]["Variables"] | of_lambda(emulator) | elsewhere)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["batchItemFailures"]
    told = {"log": ended.stdout.encode(), "errors": ended.stderr.encode()}
    assert told_in(told, [*personal(account), "@canary.example.org", *secrets_of(server)]) == []


def invoked(contact_ids: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    now_ms = time.time_ns() // 1_000_000
    bodies = [
        "{}",
        *(item_to_body(of_contact(contact_id, now_ms)) for contact_id in contact_ids),
    ]
    return subprocess.run(
        [sys.executable, "-c", INVOKED],
        input=json.dumps(
            {"Records": [record(str(number), "none", body) for number, body in enumerate(bodies)]}
        ),
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def of_lambda(emulator: Emulator) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY / "shared"),
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": "worker",
        "LAMBDA_TASK_ROOT": "/var/task",
    }
