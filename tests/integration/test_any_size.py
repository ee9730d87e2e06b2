"""Any size: memory, markers and work stay bounded however large a contact or an account is."""

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from contact_activity.domain.answers import ContactsPage, Refusal, TrackingPage
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.memory import MAX_REMEMBERED
from contact_activity.domain.pace import Pace
from contact_activity.domain.schedule import tick_budget
from contact_activity.domain.work import Outcome, Report, WorkItem
from contact_activity.state.codec import progress_to_json
from tests.support.bill import NEWS_WRITES, SYNC_READS, SYNC_WRITES
from tests.support.rows import HOUR_MS, NOON_MS, activity
from tests.support.usages import usages_of_syncs
from tests.support.world import LIMITS, TICK_MS, FailingBus, ScriptedSource, World, drain

PAGE_ROWS = 500
# The largest that DynamoDB stores as one item.
ITEM_BYTES_MAX = 400 * 1_024


class LongSource(ScriptedSource):
    """Pages of one contact's `rows` opens, a minute apart, or of `contacts` contacts, made when asked for."""

    rows = 0
    contacts_listed = 0

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        self._call(report, since_ms, next_, deadline_ms)
        start = int(next_ or 0)
        end = min(start + PAGE_ROWS, self.rows)
        times = (NOON_MS - (n + 1) * 60_000 for n in range(start, end))
        shown = [activity(at_ms, contact_id=contact_id) for at_ms in times if at_ms >= (since_ms or 0)]
        more = end < self.rows and len(shown) == PAGE_ROWS
        return TrackingPage(tuple(shown), (), str(end) if more else None)

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        self._call("contacts", since_ms, next_, deadline_ms)
        start = int(next_ or 0)
        end = min(start + PAGE_ROWS, self.contacts_listed)
        listed = tuple(ListedContact(str(1 + n), "") for n in range(start, end))
        return ContactsPage(listed, 0, str(end) if end < self.contacts_listed else None)


@dataclass
class CountingBus:
    """The `Bus` port; keeps nothing but how many events it took and a digest of which."""

    events: int = 0
    digest: int = 0

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002
        self.events += len(events)
        for event in events:
            self.digest ^= int(event.id, 16)


@dataclass
class Long:
    """A world with one contact that has `rows` activities; invocations of 5 s, which is 20 pages."""

    rows: int
    for_ms: int = 5_000
    world: World = field(default_factory=World)
    bus: CountingBus = field(default_factory=CountingBus)
    reports: list[Report] = field(default_factory=list)
    marker_bytes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = LongSource(self.world.clock)
        source.rows = self.rows
        self.world.source = source
        self.world.bus = FailingBus(self.bus)
        self.world.register("1")

    def sync_to_the_end(self) -> None:
        self.reports.append(self.world.sync(for_ms=self.for_ms))
        while self.reports[-1].outcome is Outcome.UNFINISHED:
            progress = self.world.contact().progress
            assert progress
            self.marker_bytes.append(len(progress_to_json(progress)))
            [message] = drain(self.world.queue)
            self.reports.append(self.world.sync(planned_ms=message.planned_ms, for_ms=self.for_ms))

    @property
    def pages(self) -> int:
        return sum(report.pages for report in self.reports)


def peak_bytes(do: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_contact_is_read_over_several_invocations() -> None:
    """30,000 activities take their 60 pages once, in as few messages as time allows, and no event twice."""
    long = Long(30_000)
    long.sync_to_the_end()
    assert long.reports[-1].outcome is Outcome.SYNCED
    assert long.pages == 60
    assert len(long.reports) <= 4
    assert long.bus.events == 30_000


def test_what_is_stored_of_a_long_contact_fits_an_item() -> None:
    """Marker and watermark together stay below the largest item, at any number of activities."""
    long = Long(30_000)
    long.sync_to_the_end()
    watermark = long.world.contact().watermark
    assert len(watermark.remembered) <= MAX_REMEMBERED * 14
    assert max(long.marker_bytes) + len(watermark.remembered) < ITEM_BYTES_MAX


@pytest.mark.long
def test_memory_does_not_grow_with_a_contacts_history() -> None:
    """Twice the activities take no more than a quarter more memory at the peak."""
    small, large = Long(10_500), Long(21_000)
    assert peak_bytes(large.sync_to_the_end) < 1.25 * peak_bytes(small.sync_to_the_end)
    assert large.bus.events == 21_000


def test_a_long_contact_without_news_costs_what_is_remembered() -> None:
    """The second sync asks for the promised window only, and publishes nothing."""
    long = Long(30_000)
    long.sync_to_the_end()
    pages, events = long.pages, long.bus.events
    long.world.clock.sleep(HOUR_MS / 1_000)
    long.sync_to_the_end()
    assert long.bus.events == events
    assert long.pages - pages <= MAX_REMEMBERED // PAGE_ROWS + 1


def large_account(contacts: int) -> tuple[World, LongSource]:
    world = World()
    source = LongSource(world.clock)
    source.contacts_listed = contacts
    world.source = source
    return world, source


def test_a_large_account_is_listed_over_several_ticks() -> None:
    """20,000 contacts are registered in 40 calls over several ticks, each where the last ended."""
    world, source = large_account(20_000)
    ticks = [world.tick(for_ms=5_000)]
    while not ticks[-1].listing_is_complete:
        ticks.append(world.tick(for_ms=5_000))
    assert len(ticks) > 2
    assert source.calls == 40
    assert world.contacts.count() == world.listings.get().contacts == 20_000


@pytest.mark.parametrize("known", [2_000, 20_000])
def test_a_tick_works_for_what_it_hands_out(known: int) -> None:
    """However many contacts are known, a tick claims and sends what fits before the next, and no more."""
    world, source = large_account(known)
    world.tick(for_ms=60_000)
    drain(world.queue)
    world.contacts.release_all()
    source.contacts_listed = 0
    statements: list[str] = []
    world.database._connection.set_trace_callback(statements.append)
    report = world.tick(begin_listing=False)
    sent: list[WorkItem] = drain(world.queue)
    budget = tick_budget(
        Pace(), LIMITS, from_ms=NOON_MS, until_ms=NOON_MS + TICK_MS, calls_each=1, outstanding=0
    )
    assert report.enqueued == len(sent) == min(known, budget)
    # One more looks for those that a clock which ran ahead has put off.
    assert len([text for text in statements if text.startswith("UPDATE contact")]) == report.enqueued + 1
    assert len(statements) < report.enqueued + 30


@pytest.mark.parametrize("known", [0, 150])
def test_a_sync_without_news_costs_four_reads_and_two_writes(known: int) -> None:
    """In DynamoDB: pauses, contact, listing and feed of campaigns; the call's slot and the watermark.

    News cost two writes more: one that holds the contact, one for the day's tally.
    """
    _, quiet, news = usages_of_syncs(known, 10)
    assert quiet.operations == {"GetItem": SYNC_READS, "UpdateItem": SYNC_WRITES}
    assert news.operations == {"GetItem": SYNC_READS, "UpdateItem": SYNC_WRITES + NEWS_WRITES}
