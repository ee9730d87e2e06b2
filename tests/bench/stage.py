"""What the trials of the deployed functions share: the stack on the local AWS, and the final comparison."""

import subprocess

from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.run.progress import RunProgress
from contact_activity.simulated import Server
from tests.support.deployed import deployed
from tests.support.running import ActivityKey, Operator

CALLS_PER_DAY = 1_000_000


class Quiet:
    """A `Display` that shows nothing."""

    def step(self, text: str) -> None:
        pass

    def show(self, progress: RunProgress) -> None:
        pass

    def published(self, lines: bytes) -> None:
        pass

    def tick_is_over(self) -> None:
        pass


def deployed_for_a_trial(
    emulator: Emulator, server: Server, *, calls_per_second: int, visibility_s: int
) -> Stack:
    """Deploy the real template, with a shorter visibility timeout than its 12 minutes."""
    stack = deployed(
        emulator, server.base_url, CallsPerSecond=str(calls_per_second), CallsPerDay=str(CALLS_PER_DAY)
    )
    emulator.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["ContactQueueUrl"], Attributes={"VisibilityTimeout": str(visibility_s)}
    )
    return stack


def children_of(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def compared(operator: Operator, truth: set[ActivityKey]) -> tuple[str, bool]:
    """Return what became of the activities, in words, and whether a promise is broken."""
    ids = operator.ids_by_key()
    lost = len(truth - ids.keys())
    ambiguous = sum(len(of_key) > 1 for of_key in ids.values())
    twice = len(operator.events()) - len(ids)
    said = f"{len(ids):,} activities · {lost} lost · {ambiguous} with two ids · {twice:,} published twice"
    return said, bool(lost or ambiguous)
