"""Secrets and addresses are searched in every byte that is written or sent while everything fails.

The events are what the addresses are for: there, and nowhere else, they may be.
"""

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
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.template import REPOSITORY
from contact_activity.simulated import Server, SimulatedAccount, Switches, error
from contact_activity.state.codec import item_to_body
from tests.support.command_line import run_command
from tests.support.deployed import deployed, eventually, record, set_polling
from tests.support.items import of_contact
from tests.support.running import ACCESS_TOKEN, API_KEY, Operator, account_of, served

NOT_ACCEPTABLE = error(406, "http.status.not_acceptable", "refused for ada@canary.example.org")
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


def fail_everywhere(server: Server, account: SimulatedAccount) -> None:
    """Besides the faults of its switches: a contact that is refused, and one that is not there."""
    refused, gone, *_ = account.contacts()
    server.script(refused.id, *[NOT_ACCEPTABLE] * 20)
    server.script(gone.id, error(404, "http.status.not_found", "no ada@canary.example.org"))


@pytest.mark.parametrize("addresses", ["plain", "hashed", "omitted"])
def test_the_command_line_tells_no_secret_and_no_address(tmp_path: Path, addresses: str) -> None:
    """Neither in its state nor in what it says, with faults, a refused contact and a dead token."""
    account = account_of(12)
    with served(account, Switches.faulty(0.3)) as server:
        fail_everywhere(server, account)
        operator = Operator.of(tmp_path, server, EMAIL_ADDRESSES=addresses, REPORTS="all,summary")
        assert operator.run("--debug").returncode == 1
        server.revoke_token()
        assert operator.run("--all", "--debug").returncode == 3
    for command in (["status", "--json"], ["dead-letters"], ["resync", "--all", "--since", "2026-01-01"]):
        asked = [*command, "--state", str(operator.state_dir), "--debug"]
        ended = run_command(*asked, environment=operator.environment)
        assert ended.returncode == 0, ended.stderr
        operator.said += [ended.stdout, ended.stderr]
    said = {str(number): text.encode() for number, text in enumerate(operator.said)}
    events = operator.events_file.name
    canaries = [*personal(account), "@canary.example.org", API_KEY, ACCESS_TOKEN]
    assert told_in(files_in(tmp_path, events) | said, canaries) == []
    are_plain = {canary for _, canary in told_in({events: operator.events_file.read_bytes()}, canaries)}
    assert are_plain <= set(personal(account) if addresses == "plain" else [])
    assert bool(are_plain) == (addresses == "plain")


@pytest.fixture
def account() -> SimulatedAccount:
    return account_of(6)


@pytest.fixture
def server(account: SimulatedAccount) -> Iterator[Server]:
    with served(account, Switches.faulty(0.3)) as running:
        fail_everywhere(running, account)
        yield running


@pytest.mark.cloud
def test_the_functions_tell_no_secret_and_no_address(
    tmp_path: Path, server: Server, account: SimulatedAccount
) -> None:
    """Neither in logs, metrics, queues nor the table; the secret is in the store of secrets alone."""
    with Emulator(tmp_path) as emulator:
        stack = deployed(emulator, server.base_url, EmailAddresses="omitted", LogLevel="DEBUG")
        functions, name = emulator.client("lambda"), stack.outputs["DispatcherName"]
        pauses = DynamoPauses(emulator.client("dynamodb"), stack.outputs["TableName"])
        failures = SqsQueue(emulator.client("sqs"), stack.outputs["DispatchFailuresUrl"])
        functions.invoke(FunctionName=name, Payload=b"{}")
        eventually(
            lambda: (
                {c.id for c in account.contacts()}
                <= {part for call in server.calls for part in call.path.split("/")}
            )
        )
        server.script("/v2/contacts", *[NOT_ACCEPTABLE] * 20)
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        eventually(lambda: failures.depth() == 1)
        server.calm()
        server.revoke_token()
        functions.invoke(FunctionName=name, Payload=b"{}")
        assert pauses.get().by_reason
    written = files_in(tmp_path, "secretsmanager.json")
    assert any(b"contact failed" in text for text in written.values())
    assert any(b"not_acceptable" in text for text in written.values())
    assert told_in(written, [*personal(account), "@canary.example.org", API_KEY, ACCESS_TOKEN]) == []


@pytest.mark.cloud
def test_a_worker_whose_api_is_not_there_tells_no_secret_and_no_address(
    tmp_path: Path, server: Server, account: SimulatedAccount
) -> None:
    """It is the case in which an HTTP client's error names the whole address."""
    with Emulator(tmp_path) as emulator:
        stack = deployed(emulator, server.base_url, EmailAddresses="omitted", LogLevel="DEBUG")
        functions = emulator.client("lambda")
        set_polling(emulator, is_enabled=False)
        functions.invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
        worker = functions.get_function(FunctionName=stack.outputs["WorkerName"])["Configuration"]
        elsewhere = {"CONSTANT_CONTACT_BASE_URL": "http://127.0.0.1:9/v2"}
        ended = invoked(account, worker["Environment"]["Variables"] | of_lambda(emulator) | elsewhere)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["batchItemFailures"]
    told = {"log": ended.stdout.encode(), "errors": ended.stderr.encode()}
    assert told_in(told, [*personal(account), "@canary.example.org", API_KEY, ACCESS_TOKEN]) == []


def invoked(account: SimulatedAccount, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    now_ms = time.time_ns() // 1_000_000
    bodies = [
        "{}",
        *(item_to_body(of_contact(contact.id, now_ms)) for contact in account.contacts()),
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
