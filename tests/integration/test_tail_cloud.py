"""`contact-activity tail --stack` on the deployed template: what it shows, may do, and leaves when killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.template import STACK_NAME
from tests.support.deployed import aws_settings, deployed, eventually

pytestmark = pytest.mark.cloud

Json = dict[str, Any]
SAMPLES = Path(__file__).parents[2] / "events" / "samples"
CLICK, BOUNCE = (
    json.loads((SAMPLES / f"email.{name}.v1.json").read_text(encoding="utf-8"))
    for name in ("clicked", "bounced")
)
NAMES = "contact-activity-tail-*"
# As `tail --help` lists them. The emulator takes a batch for an action of its own, which AWS does not know.
PERMISSIONS = {
    "*": ["cloudformation:DescribeStacks", "events:ListRules", "sqs:ListQueues"],
    f"arn:aws:events:*:*:rule/*/{NAMES}": [
        *("events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:DeleteRule")
    ],
    f"arn:aws:sqs:*:*:{NAMES}": [
        *("sqs:CreateQueue", "sqs:TagQueue", "sqs:ListQueueTags", "sqs:ReceiveMessage"),
        *("sqs:DeleteMessage", "sqs:DeleteMessageBatch", "sqs:DeleteQueue"),
    ],
}
# The emulator asks for these by the bus, for want of the rule's name.
BY_BUS = ["events:PutTargets", "events:RemoveTargets"]
# A lease that a test can wait for. A shell has what it starts in the background ignore Ctrl-C.
TAIL = """
import signal, sys
from contact_activity.cli.main import main
from contact_activity.operations import follow_stack, tap
tap.LEASE_S, follow_stack.RENEW_S = 4, 1
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["tail", "--stack", *sys.argv[1:]]))
"""
WITHIN_S = 30


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("aws")) as started:
        deployed(started, "http://127.0.0.1:9/v2")
        yield started


def bus_of(emulator: Emulator) -> str:
    (stack,) = emulator.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return str(outputs["EventBusName"])


def publish(emulator: Emulator, *events: Json) -> None:
    entries = [
        {
            "EventBusName": bus_of(emulator),
            "Source": "contact-activity",
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
        for event in events
    ]
    assert emulator.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0


def left(emulator: Emulator) -> set[str]:
    """The names of the rules and queues of tails."""
    prefix = NAMES.removesuffix("*")
    rules = emulator.client("events").list_rules(EventBusName=bus_of(emulator), NamePrefix=prefix)["Rules"]
    urls = emulator.client("sqs").list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
    return {rule["Name"] for rule in rules} | {url.rpartition("/")[2] for url in urls}


def caller(emulator: Emulator) -> dict[str, str]:
    """Return the settings of somebody who has these permissions only."""
    iam = emulator.client("iam")
    iam.create_user(UserName="somebody")
    allowed = PERMISSIONS | {"arn:aws:events:*:*:event-bus/*": BY_BUS}
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resource} for resource, actions in allowed.items()
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="somebody", PolicyName="tail", PolicyDocument=policy)
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    return aws_settings(emulator) | {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


@contextmanager
def tail_process(settings: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """It listens when this is entered."""
    with subprocess.Popen(
        [sys.executable, "-c", TAIL, STACK_NAME, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
    ) as process:
        try:
            assert process.stderr
            assert "listening on the bus" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def test_what_is_published_is_shown_with_the_documented_permissions(emulator: Emulator) -> None:
    """Nobody but the rule may put anything into the queue. Nothing is left at the end."""
    with tail_process(caller(emulator), "--type", "clicked") as process:
        assert process.stdout
        publish(emulator, BOUNCE, CLICK)
        assert process.stdout.readline().split()[3:5] == ["clicked", CLICK["detail"]["subject"]]
        (name,) = left(emulator)
        sqs = emulator.client("sqs")
        with pytest.raises(ClientError, match="AccessDenied"):
            sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody="any")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(WITHIN_S) == 0
    assert left(emulator) == set()


def test_the_next_start_removes_what_kill_9_left(emulator: Emulator) -> None:
    """And nothing of a tail that lives, for longer than a lease: both of them show what comes."""
    settings = aws_settings(emulator)
    with tail_process(settings) as killed:
        (dead,) = left(emulator)
        killed.kill()
        killed.wait(WITHIN_S)
    assert left(emulator) == {dead}
    with tail_process(settings) as one, tail_process(settings, "--json") as other:
        eventually(lambda: dead not in left(emulator))
        two = left(emulator)
        assert len(two) == 2
        with tail_process(settings) as late:
            (its_name,) = left(emulator) - two
            late.kill()
            late.wait(WITHIN_S)
        eventually(lambda: its_name not in left(emulator))
        assert left(emulator) == two
        publish(emulator, CLICK)
        assert one.stdout
        assert other.stdout
        assert one.stdout.readline().split()[3] == "clicked"
        assert json.loads(other.stdout.readline())["detail"] == CLICK["detail"]
        for process in (one, other):
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
    assert left(emulator) == set()
