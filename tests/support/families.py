"""The families of adapters, each with every port over one store, and a look at what came out."""

import io
import itertools
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from contact_activity.aws.bus import EventBridgeBus
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.domain.pace import Limits
from contact_activity.domain.work import WorkItem
from contact_activity.local_cloud.template import TEMPLATE, load_template
from contact_activity.ports import (
    Bus,
    Campaigns,
    Clock,
    Contacts,
    Lease,
    Limiter,
    Listings,
    PauseBoard,
    Queue,
    Reports,
    Store,
    Tally,
)
from contact_activity.run.file_bus import FileBus
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store
from contact_activity.state.codec import item_from_body

ARRIVES_WITHIN_S = 20.0
# For all but a limiter.
ANY_LIMITS, ANY_CLOCK = Limits(4, 9_000), SystemClock()
Json = dict[str, Any]
_numbers = itertools.count()


class Family(ABC):
    """One store with every port on it; `store`, `lease`, `limiter` and `bus` give another each time."""

    @property
    @abstractmethod
    def queue(self) -> Queue: ...

    @abstractmethod
    def store(self, limits: Limits = ANY_LIMITS, clock: Clock = ANY_CLOCK) -> Store: ...

    @abstractmethod
    def bus(self, clock: Clock) -> Bus: ...

    @abstractmethod
    def received(self, count: int) -> list[WorkItem]:
        """Take messages from the queue, which are then in flight."""

    @abstractmethod
    def published(self, count: int) -> list[Json]:
        """The first events as a subscriber has received them."""

    @abstractmethod
    def close(self) -> None: ...

    @cached_property
    def _shared(self) -> Store:
        return self.store()

    @property
    def contacts(self) -> Contacts:
        return self._shared.contacts

    @property
    def campaigns(self) -> Campaigns:
        return self._shared.campaigns

    @property
    def reports(self) -> Reports:
        return self._shared.reports

    @property
    def listings(self) -> Listings:
        return self._shared.listings

    @property
    def pauses(self) -> PauseBoard:
        return self._shared.pauses

    @property
    def tally(self) -> Tally:
        return self._shared.tally

    def lease(self) -> Lease:
        return self.store().lease

    def limiter(self, limits: Limits, clock: Clock) -> Limiter:
        return self.store(limits, clock).limiter


class EmbeddedFamily(Family):
    def __init__(self, path: Path | str = ":memory:") -> None:
        self._database = Database(path)
        self._sink = io.BytesIO()
        self._queue = MemoryQueue()

    @property
    def queue(self) -> Queue:
        return self._queue

    def store(self, limits: Limits = ANY_LIMITS, clock: Clock = ANY_CLOCK) -> SqliteStore:
        return sqlite_store(self._database, limits, clock)

    def bus(self, clock: Clock) -> Bus:
        return FileBus(self._sink, clock, lambda: f"envelope-{next(_numbers)}")

    def received(self, count: int) -> list[WorkItem]:
        deliveries = [self._queue.receive(wait_s=0) for _ in range(count)]
        return [delivery.item for delivery in deliveries if delivery]

    def published(self, count: int) -> list[Json]:
        return [json.loads(line) for line in self._sink.getvalue().splitlines()][:count]

    def close(self) -> None:
        self._database.close()


class AwsFamily(Family):
    """Over a table, a queue and a bus of its own, the table as the template defines it.

    Queue and bus are made for the first who asks: most tests look at the table only.
    """

    def __init__(self, clients: "Clients") -> None:
        self._clients = clients
        name = f"family-{next(_numbers)}"
        self.table = create_table(clients.dynamodb, name)
        self._name = name

    @cached_property
    def _queue_url(self) -> str:
        return str(self._clients.sqs.create_queue(QueueName=self._name)["QueueUrl"])

    @cached_property
    def _events_url(self) -> str:
        return create_bus(self._clients, self._name)

    @property
    def queue(self) -> Queue:
        return SqsQueue(self._clients.sqs, self._queue_url)

    def store(self, limits: Limits = ANY_LIMITS, clock: Clock = ANY_CLOCK) -> DynamoStore:
        return dynamo_store(self._clients.dynamodb, self.table, limits, clock)

    def bus(self, clock: Clock) -> Bus:
        assert self._events_url
        return EventBridgeBus(self._clients.events, self._name, clock)

    def received(self, count: int) -> list[WorkItem]:
        return [item_from_body(body) for body in self._bodies(self._queue_url, count)]

    def published(self, count: int) -> list[Json]:
        return [self._envelope(body) for body in self._bodies(self._events_url, count)]

    def _envelope(self, body: str) -> Json:
        envelope: Json = json.loads(body)
        return envelope

    def _bodies(self, queue_url: str, count: int) -> list[str]:
        bodies: list[str] = []
        give_up_s = time.monotonic() + ARRIVES_WITHIN_S
        while len(bodies) < count and time.monotonic() < give_up_s:
            most = min(10, count - len(bodies))
            answer = self._clients.sqs.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=most, WaitTimeSeconds=1
            )
            bodies += [message["Body"] for message in answer.get("Messages", ())]
        return bodies

    def close(self) -> None:
        """Leave it: the local AWS ends with the tests."""


class MotoFamily(AwsFamily):
    def _envelope(self, body: str) -> Json:
        """moto leaves out the account, which EventBridge names in every event."""
        return {"account": "123456789012"} | super()._envelope(body)


class Clients:
    """The clients of one AWS; `make` builds one by the name of its service."""

    def __init__(self, make: Any) -> None:
        self.dynamodb = make("dynamodb")
        self.sqs = make("sqs")
        self.events = make("events")
        self.secrets = make("secretsmanager")


@cache
def whole_template(path: Path = TEMPLATE) -> Json:
    """A template, to be read only; it is parsed once: that takes longer than to create a table."""
    return load_template(path)


def create_table(dynamodb: Any, name: str, template: Path = TEMPLATE) -> str:
    """Create the template's table by what its keys, its index and its billing are; returns its name."""
    dynamodb.create_table(TableName=name, **_table_of(template))
    return name


def _table_of(template: Path) -> Json:
    defined = whole_template(template)["Resources"]["Table"]["Properties"]
    parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {part: defined[part] for part in parts}


def create_bus(clients: Clients, name: str) -> str:
    """Create a bus with a rule for our events; returns the URL of the queue where they arrive."""
    queue_url = str(clients.sqs.create_queue(QueueName=f"{name}-events")["QueueUrl"])
    arn = clients.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    clients.events.create_event_bus(Name=name)
    pattern = json.dumps({"source": [EVENT_SOURCE]})
    clients.events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
    targets: Sequence[Json] = [{"Id": "queue", "Arn": arn["QueueArn"]}]
    clients.events.put_targets(Rule=name, EventBusName=name, Targets=targets)
    return queue_url
