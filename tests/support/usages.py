"""What DynamoDB does for one sync of a contact: operations, and the capacity that AWS bills for them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import boto3
from moto import mock_aws

from contact_activity.aws.store import dynamo_store
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, WorkPolicy
from contact_activity.ports import Limiter, WorkPorts
from contact_activity.use_cases.sync_contact import sync
from tests.support.families import create_table
from tests.support.items import of_contact
from tests.support.rows import HOUR_MS, NOON_MS, activity
from tests.support.virtual_clock import VirtualClock
from tests.support.world import LIMITS, TICK_MS, ScriptedSource, World

READ_UNIT_BYTES, WRITE_UNIT_BYTES = 4_096, 1_024
KEY = {"pk": {"S": "contact#1"}}


class PacedSource(ScriptedSource):
    """As the client does, takes a slot for each call."""

    def __init__(self, clock: VirtualClock, limiter: Limiter) -> None:
        super().__init__(clock)
        self.page_rows = 500
        self._limiter = limiter

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        self._limiter.acquire(deadline_ms=deadline_ms)
        return super().tracking(contact_id, report, since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)


@dataclass
class Usage:
    """Operations on the table since it was last looked at; the contact's item in bytes."""

    operations: Counter[str] = field(default_factory=Counter)
    item_bytes: int = 0

    @property
    def read_units(self) -> int:
        """Consistent reads: one unit for 4 KB; all items but the contact's are small."""
        return self.operations["GetItem"] - 1 + ceil(self.item_bytes / READ_UNIT_BYTES)

    @property
    def write_units(self) -> int:
        """One unit for 1 KB; the contact's moved `due_at` is a deletion and a row of the index."""
        return self.operations["UpdateItem"] - 1 + ceil(self.item_bytes / WRITE_UNIT_BYTES) + 2


def usages_of_syncs(known: int, new: int) -> list[Usage]:
    """A contact's first sync with `known` activities, one with nothing new, one with `new` more."""
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        name, world = create_table(client, "bench"), World()
        store = dynamo_store(client, name, LIMITS, world.clock, threads=1)
        source = PacedSource(world.clock, store.limiter)
        ports = WorkPorts(store, source, world.queue, world.bus, world.clock)
        store.contacts.register([ListedContact("1", "")], NOON_MS)
        store.limiter.acquire(deadline_ms=NOON_MS + HOUR_MS)
        usages = []
        for rows in (known, known, known + new):
            source.activities["1"] = [activity(NOON_MS - rows + n) for n in range(rows)]
            usages.append(_usage_of_sync(client, name, ports))
        return usages


def _usage_of_sync(client: Any, name: str, ports: WorkPorts) -> Usage:
    ports.clock.sleep(60)
    policy = WorkPolicy(Reading("default"), EmailAddresses.PLAIN, TICK_MS)
    now_ms = ports.clock.now_ms()
    with counting(client) as asked:
        report = sync(of_contact("1", now_ms), ports, policy, deadline_ms=now_ms + HOUR_MS)
    assert report.outcome is Outcome.SYNCED
    return Usage(asked, item_bytes(client.get_item(TableName=name, Key=KEY)["Item"]))


@contextmanager
def counting(dynamodb: Any) -> Iterator[Counter[str]]:
    """What is asked of DynamoDB meanwhile, by operation."""
    asked: Counter[str] = Counter()

    def count(model: Any, **_: object) -> None:
        asked[model.name] += 1

    dynamodb.meta.events.register("after-call.dynamodb", count)
    yield asked
    dynamodb.meta.events.unregister("after-call.dynamodb", count)


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """As AWS counts: names and values, a number about a byte for two digits."""
    return sum(len(name) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    match value:
        case {"N": str(digits)}:
            return ceil(len(digits) / 2) + 1
        case {"L": list(values)}:
            return 3 + sum(1 + _value_bytes(of) for of in values)
        case {"NULL": _}:
            return 1
    [content] = value.values()
    return len(content)
