"""What keeping the registry costs on AWS, where a system of the user's touches every contact each night."""

from collections import Counter
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from contact_activity.aws.contacts import DynamoContacts
from contact_activity.domain.answers import ContactsPage, Refusal
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso, parse_time
from contact_activity.use_cases.tick import run_tick
from tests.support.families import create_table
from tests.support.rows import NOON_MS
from tests.support.world import TICK_MS, ScriptedSource, World, with_contacts

# Of 3,000 contacts in pages of 500 the fiftieth part.
CONTACTS, PAGE_ROWS = 60, 10
# Nearly none is handed out: only the listing is looked at.
LIMITS = Limits(calls_per_second=0.001, calls_per_day=9_000)


class ChangedSince(ScriptedSource):
    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        every, self.listed = self.listed, [of for of in self.listed if _changed_ms(of) >= (since_ms or 0)]
        try:
            return super().contacts(since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)
        finally:
            self.listed = every


def _changed_ms(listed: ListedContact) -> int:
    return parse_time(listed.modified_date) or 0


@pytest.mark.long
@pytest.mark.parametrize("is_touched", [True, False], ids=["touched", "left alone"])
def test_a_day_of_ticks_writes_what_changed_once(is_touched: bool) -> None:
    """96 ticks: nine of them show the touched, four by looking a day back; the first writes them."""
    with mock_aws():
        client = boto3.client("dynamodb", "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        world, table = World(limits=LIMITS), create_table(client, "costs")
        source = ChangedSince(world.clock)
        source.page_rows = PAGE_ROWS
        source.listed = [ListedContact(str(number), iso(NOON_MS - 90 * DAY_MS)) for number in range(CONTACTS)]
        world.source = source
        store = with_contacts(world.store, DynamoContacts(client, table, threads=1))
        ports = replace(world.tick_ports(), store=store)

        def tick() -> None:
            run_tick(ports, tick_ms=TICK_MS, deadline_ms=world.clock.monotonic_ms() + TICK_MS)

        tick()
        world.clock.sleep((DAY_MS + HOUR_MS) / 1_000)
        tick()
        asked = _counted(client)
        if is_touched:
            touched = iso(world.clock.now_ms())
            source.listed = [replace(contact, modified_date=touched) for contact in source.listed]
        calls, began_ms = source.calls, world.clock.now_ms()
        for number in range(1, 97):
            world.clock.sleep((began_ms + number * TICK_MS - world.clock.now_ms()) / 1_000)
            tick()
    pages = (CONTACTS // PAGE_ROWS - 1) * (9 if is_touched else 0) + 96
    assert source.calls - calls == pages
    assert asked["registry writes"] == CONTACTS * is_touched
    assert asked["BatchGetItem"] == (pages - 96) // 5 * 6


def _counted(client: Any) -> Counter[str]:
    """By operation, from now on; and of the writes those that the listing makes."""
    asked: Counter[str] = Counter()

    def count(model: Any, params: Any, **_: object) -> None:
        asked[model.name] += 1
        asked["registry writes"] += "modified_date" in params.get("UpdateExpression", "")

    client.meta.events.register("provide-client-params.dynamodb.*", count)
    return asked
