"""The whole path through the deployed template: real functions with their own IAM roles."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contact_activity.aws.contacts import DynamoContacts
from contact_activity.aws.queue import SqsQueue
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.shifts import Window
from contact_activity.errors import Cause
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.run.memory_queue import MAX_RECEIVES
from contact_activity.simulated import Kind, Switches
from tests.support.certificates import Authority
from tests.support.deployed import SECRET, deployed, eventually, store_secret, tick
from tests.support.fronts import Front, Proxy, closing_all
from tests.support.items import of_contact
from tests.support.retries import kind_of, retried
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    CALLS_PER_SECOND,
    CAMPAIGN,
    NOW,
    Operator,
    account_of,
    served,
    truth_of,
)

NOW_MS = int(NOW.timestamp() * 1_000)

pytestmark = pytest.mark.cloud


def test_the_local_cloud_publishes_everything_once(tmp_path: Path) -> None:
    """In spite of faults, a restart and late activity: each activity has one id, and no call is too much.

    The summary counts the functions' calls as the server saw them.
    """
    account = account_of(40)
    with served(account, switches=Switches.faulty(0.2)) as server:
        operator = Operator.of(tmp_path, server, engine="cloud")

        first = operator.run()
        assert first.returncode == 0
        calls, retries, kinds = retried(first.stderr)
        faults = Counter(kind_of(call) for call in server.calls if call.fault)
        # Not every fault is tried again: a slow answer is one, too.
        assert (retries, kinds - faults) == (kinds.total(), Counter())
        # The emulator stores a call's last lines with the next call, if the machine is busy.
        assert 0 < retries < calls <= len(server.calls)
        assert set(operator.published()) == truth_of(account)

        before = len(operator.events())
        late = NOW - timedelta(hours=59)
        for contact in random.Random(1).sample(account.contacts(), 5):
            account.add_row(Kind.CLICK, contact.id, CAMPAIGN, at=late, inserted_at=NOW)
        assert operator.run("--all").returncode == 0
        assert len(operator.events()) == before + 5
        assert set(operator.published()) == truth_of(account)
        assert all(len(ids) == 1 for ids in operator.ids_by_key().values())

        server.revoke_token()
        assert operator.run("--all").returncode == 3
        assert server.violations == []
        assert server.max_calls_in_any_second() <= CALLS_PER_SECOND

    secret_store = {"secretsmanager.json"}
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in secret_store]
    for secret in (API_KEY, ACCESS_TOKEN):
        assert [path.name for path in written if secret.encode() in path.read_bytes()] == []
        assert all(secret not in said for said in operator.said)


def test_the_functions_use_the_proxy_and_the_bundle(tmp_path: Path) -> None:
    """Every call goes through the proxy to an API with a private authority. Without it the run ends."""
    account, authority, proxy = account_of(3), Authority(tmp_path), Proxy()
    with served(account) as server:
        front = Front(int(server.base_url.split(":")[2].split("/")[0]), tls=authority.server_context())
        operator = Operator.of(tmp_path, server, engine="cloud")
        operator.environment |= {
            "CONSTANT_CONTACT_BASE_URL": f"https://127.0.0.1:{front.port}/v2",
            "CONSTANT_CONTACT_PROXY": f"http://127.0.0.1:{proxy.port}",
        }
        with closing_all(front, proxy):
            refused = operator.run()
            assert server.calls == []
            operator.environment["CONSTANT_CONTACT_CA_BUNDLE"] = str(authority.bundle)
            assert operator.run().returncode == 0, operator.said
    assert refused.returncode == 1
    told = refused.stderr.splitlines()[-1]
    assert told.startswith(f"contact-activity: no call reached the API: {Cause.CERTIFICATE_UNTRUSTED}")
    assert "CONSTANT_CONTACT_CA_BUNDLE" in told
    assert set(operator.published()) == truth_of(account)
    assert len(proxy.asked) == front.met


@pytest.fixture
def emulator(tmp_path: Path) -> Any:
    with Emulator(tmp_path / "cloud") as running:
        yield running


def received(emulator: Emulator, queue_url: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    while not messages:
        answer = emulator.client("sqs").receive_message(QueueUrl=queue_url, WaitTimeSeconds=1)
        messages = answer.get("Messages", [])
    return messages


def logged(emulator: Emulator, message: str) -> list[dict[str, Any]]:
    """Return the log lines of the worker about a message."""
    found = emulator.client("logs").filter_log_events(logGroupName="/aws/lambda/contact-activity-worker")
    texts = [event["message"] for event in found["events"]]
    lines = [json.loads(text) for text in texts if text.startswith("{") and "_aws" not in text]
    return [line for line in lines if line["message"] == message]


def test_only_a_foreign_message_reaches_the_dead_letter_queue(emulator: Emulator) -> None:
    """It goes there after its receives. The other messages of its batch are handled."""
    account = account_of(3)
    with served(account) as server:
        stack = deployed(emulator, server.base_url)
        sqs = emulator.client("sqs")
        sqs.send_message(QueueUrl=stack.outputs["ContactQueueUrl"], MessageBody='{"contact_id": "../x"}')
        tick(emulator, stack)
        contacts = SqsQueue(sqs, stack.outputs["ContactQueueUrl"])
        eventually(lambda: contacts.depth() == 0)
        letters = received(emulator, stack.outputs["ContactDeadLettersUrl"])
        asked = {call.path.split("/")[3] for call in server.calls if "/tracking" in call.path}

    assert [letter["Body"] for letter in letters] == ['{"contact_id": "../x"}']
    assert [line["message_id"] for line in logged(emulator, "no message of ours")] == [
        letters[0]["MessageId"]
    ] * MAX_RECEIVES
    assert asked == {contact.id for contact in account.contacts()}


def test_an_unreadable_secret_makes_no_dead_letter(emulator: Emulator) -> None:
    """Each message completes at its first receive, without a call. With a good secret all continues.

    The functions say the same line as the command line.
    """
    account = account_of(7)
    ids = {contact.id for contact in account.contacts()}
    with served(account) as server:
        stack = deployed(emulator, server.base_url, {})
        contacts = DynamoContacts(emulator.client("dynamodb"), stack.outputs["TableName"])
        queue = SqsQueue(emulator.client("sqs"), stack.outputs["ContactQueueUrl"])
        contacts.register([ListedContact(id_, "") for id_ in ids], NOW_MS)
        shift = Window(NOW_MS, NOW_MS + 60 * 60_000)
        queue.send([replace(of_contact(id_, NOW_MS), window=shift) for id_ in ids])
        eventually(lambda: queue.depth() == 0)
        failed = tick(emulator, stack)

        assert "has no api_key" in failed["errorMessage"]
        assert "has no api_key" in logged(emulator, "the secret cannot be read")[0]["cause"]
        assert logged(emulator, "contact failed") == []
        store_secret(emulator, stack, {"api_key": API_KEY, "access_token": "two words"})
        malformed = tick(emulator, stack)
        assert "access_token" in malformed["errorMessage"]
        assert API_KEY not in json.dumps(malformed)
        assert server.calls == []
        assert dead_letters(emulator, stack) == 0
        assert {(id_, known.failures) for id_ in ids if (known := contacts.get(id_))} == {
            (id_, 0) for id_ in ids
        }

        store_secret(emulator, stack, SECRET)
        assert tick(emulator, stack)["enqueued"] == len(ids)
        eventually(lambda: all((known := contacts.get(id_)) and known.synced_ms for id_ in ids))
        assert dead_letters(emulator, stack) == 0


def dead_letters(emulator: Emulator, stack: Stack) -> int:
    return SqsQueue(emulator.client("sqs"), stack.outputs["ContactDeadLettersUrl"]).depth()
