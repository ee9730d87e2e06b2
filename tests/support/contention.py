"""What the limiter costs where workers contend: writes to DynamoDB, and the calls that they buy."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import boto3
from moto import mock_aws

from contact_activity.aws.pace import dynamo_limiter
from contact_activity.domain.pace import Limits, Pace, take_slot
from contact_activity.domain.times import DAY_MS
from contact_activity.errors import WaitError
from tests.support.families import create_table
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.shared_time import SharedTime

WORKERS, CALLS_EACH = 4, 50
LIMITS = Limits(calls_per_second=4, calls_per_day=9_000)
# The rest of a sync: the API's answer and what is stored.
WORK_MS = 200


@dataclass
class Contention:
    """Operations on the table, when each call began, and the calls that the day's count holds."""

    operations: Counter[str] = field(default_factory=Counter)
    called_ms: list[int] = field(default_factory=list)
    counted: int = 0

    @property
    def calls(self) -> int:
        return len(self.called_ms)

    @property
    def writes_a_call(self) -> float:
        return self.operations["UpdateItem"] / self.calls

    @property
    def calls_a_second(self) -> float:
        return (self.calls - 1) * 1_000 / (max(self.called_ms) - min(self.called_ms))

    @property
    def most_in_a_second(self) -> int:
        return max(sum(at <= of < at + 1_000 for of in self.called_ms) for at in self.called_ms)


def take_as_before(client: Any, table: str, from_ms: int) -> int | None:
    """As the version before took a slot, by compare and set of the pace alone; None for a lost race."""
    key, names = {"pk": {"S": "pace"}}, ("pace_day", "used", "next_slot_at")
    item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    seen = {name: item[name] for name in names}
    slot = take_slot(Pace(*(int(seen[name]["N"]) for name in names)), LIMITS, from_ms)
    assert slot
    wanted = (slot.pace.day, slot.pace.used, slot.pace.next_slot_ms)
    values = {f":{name}": {"N": str(value)} for name, value in zip(names, wanted, strict=True)}
    try:
        client.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in names),
            ConditionExpression=" AND ".join(f"{name} = :seen_{name}" for name in names),
            ExpressionAttributeValues=values | {f":seen_{name}": seen[name] for name in names},
        )
    except client.exceptions.ConditionalCheckFailedException:
        return None
    return slot.at_ms


def _acquire_as_before(client: Any, table: str, time: SharedTime) -> None:
    while (slot_ms := take_as_before(client, table, time.now_ms() + 50)) is None:
        pass
    time.sleep(max(0, slot_ms - time.now_ms()) / 1_000)


def change_over(latency_ms: int, *, new: int, old: int) -> Contention:
    """Workers of this version and of the one before on one pace, as for minutes after an update."""
    time, seen = SharedTime(NOON_MS), Contention()
    rng = random.Random(latency_ms)
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        table = create_table(client, "changeover")
        pace = {"pace_day": NOON_MS // DAY_MS, "used": 5, "next_slot_at": NOON_MS}
        item = {name: {"N": str(value)} for name, value in pace.items()}
        client.put_item(TableName=table, Item={"pk": {"S": "pace"}} | item)

        def on_the_way(**_: object) -> None:
            time.sleep(latency_ms * rng.uniform(0.5, 1.5) / 2_000)

        def worker(acquire: Callable[[], None]) -> Callable[[], None]:
            def work() -> None:
                for _ in range(CALLS_EACH):
                    acquire()
                    seen.called_ms.append(time.now_ms())
                    time.sleep(3 * WORK_MS * rng.uniform(0.5, 1.5) / 1_000)

            return work

        def acquire() -> Callable[[], None]:
            limiter = dynamo_limiter(client, table, LIMITS, time)
            return lambda: limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)

        events = ("before-call.dynamodb", "after-call.dynamodb")
        for event in events:
            client.meta.events.register(event, on_the_way)
        before = partial(_acquire_as_before, client, table, time)
        time.run([worker(acquire()) for _ in range(new)] + [worker(before) for _ in range(old)])
        for event in events:
            client.meta.events.unregister(event, on_the_way)
        seen.counted = dynamo_limiter(client, table, LIMITS, time).pace().used
    return seen


@cache
def contend(latency_ms: int, *, work_ms: int = WORK_MS, limits: Limits = LIMITS) -> Contention:
    """Workers that call as often as they may, each over a client that waits so long for each answer."""
    time, seen = SharedTime(NOON_MS), Contention()
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        table = create_table(client, "contention")

        def on_the_way(**_: object) -> None:
            time.sleep(latency_ms / 2_000)

        def counted(model: object, **_: object) -> None:
            seen.operations[str(getattr(model, "name", ""))] += 1
            on_the_way()

        def worker() -> Callable[[], None]:
            limiter = dynamo_limiter(client, table, limits, time)

            def work() -> None:
                for _ in range(CALLS_EACH):
                    try:
                        limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)
                    except WaitError:
                        return
                    seen.called_ms.append(time.now_ms())
                    time.sleep(work_ms / 1_000)

            return work

        client.meta.events.register("before-call.dynamodb", on_the_way)
        client.meta.events.register("after-call.dynamodb", counted)
        time.run([worker() for _ in range(WORKERS)])
        client.meta.events.unregister("before-call.dynamodb", on_the_way)
        client.meta.events.unregister("after-call.dynamodb", counted)
        seen.counted = dynamo_limiter(client, table, limits, time).pace().used
    return seen
