"""A stack that goes, and another that begins with the table that it left, on the local AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contact_activity.aws.contacts import DynamoContacts
from contact_activity.domain.contact import ListedContact
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.engine import STACK_NAME
from tests.support.deployed import aws_settings, deployed, eventually

pytestmark = pytest.mark.cloud

BASE_URL = "http://127.0.0.1:9/v2"


@dataclass(frozen=True)
class Operator:
    """Somebody at a shell, whose AWS settings lead to the emulator."""

    emulator: Emulator

    def runs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "contact_activity.operations.lifecycle", *arguments],
            env={"PATH": os.environ["PATH"], **aws_settings(self.emulator)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator(tmp_path / "cloud") as running:
        yield running


def is_gone(emulator: Emulator) -> bool:
    stacks = emulator.client("cloudformation").list_stacks()["StackSummaries"]
    return all(stack["StackStatus"] == "DELETE_COMPLETE" for stack in stacks)


def test_a_new_stack_takes_up_the_table_that_an_old_one_left(emulator: Emulator) -> None:
    """The table is the same, with all that it knew: nothing of it is replaced by the deployment."""
    table = deployed(emulator, BASE_URL).outputs["TableName"]
    DynamoContacts(emulator.client("dynamodb"), table).register([ListedContact("4711", "")], 1)
    emulator.client("cloudformation").delete_stack(StackName=STACK_NAME)
    eventually(lambda: is_gone(emulator))

    operator = Operator(emulator)
    refused = operator.runs("adopt", "--table", "no-such-table")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no-such-table" in refused.stderr
    done = operator.runs("adopt", "--table", table)
    assert (done.returncode, done.stderr) == (0, "")
    # A stack that has no bus yet can be removed.
    assert operator.runs("rules").returncode == 0

    again = deployed(emulator, BASE_URL)
    assert again.outputs["TableName"] == table
    assert DynamoContacts(emulator.client("dynamodb"), table).get("4711") is not None


def test_rules_of_subscribers_are_told_before_a_stack_is_removed(emulator: Emulator) -> None:
    """The stack's own rule is no hindrance; another's would leave half a stack behind."""
    bus = deployed(emulator, BASE_URL, DeploySubscriber="true").outputs["EventBusName"]
    operator = Operator(emulator)
    assert operator.runs("rules").returncode == 0
    pattern = json.dumps({"source": ["contact-activity"]})
    emulator.client("events").put_rule(Name="hard-bounces", EventBusName=bus, EventPattern=pattern)
    told = operator.runs("rules")
    assert told.returncode == 1
    assert told.stderr == "The bus has rules of subscribers, delete them first: hard-bounces\n"
    assert operator.runs("rules", "--stack", "nothing").returncode == 1
