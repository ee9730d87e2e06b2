"""One contact, or one account, of any size: run by `any_size` in a process of its own, to see its memory.

`contact URL`: sync one contact to its end. `account URL`: list the contacts to the end, then two
ticks that hand out. Prints JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import Limits
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, WorkPolicy
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.settings import Credentials
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from contact_activity.state.codec import progress_to_json
from contact_activity.use_cases.sync_contact import sync
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from tests.support.items import of_contact

LIMITS = Limits(1_000, 100_000_000)
TICK_MS = 900_000
# Far shorter than the functions have, since there is no wait for the pace here.
SYNC_FOR_MS, TICK_FOR_MS = 8_000, 30_000


class CountingBus:
    """The `Bus` port; keeps only how many."""

    events = 0

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002
        self.events += len(events)


class Large:
    """The embedded engine's ports over a file, with the real client."""

    def __init__(self, base_url: str, folder: Path) -> None:
        self.clock = SystemClock()
        database = Database(folder / "state.sqlite3")
        self.store = sqlite_store(database, LIMITS, self.clock)
        self.queue, self.bus = MemoryQueue(), CountingBus()
        credentials = Credentials("k", "t")
        self.source = ConstantContactV2(
            ApiClient(base_url, lambda: credentials, self.store.limiter, self.clock)
        )

    def contact(self) -> dict[str, object]:
        self.store.contacts.register([ListedContact("1", "")], self.clock.now_ms())
        message = of_contact("1", self.clock.now_ms())
        ports = WorkPorts(self.store, self.source, self.queue, self.bus, self.clock)
        pages, marker_bytes, invocations, outcome = 0, 0, 0, Outcome.UNFINISHED
        while outcome is Outcome.UNFINISHED:
            deadline_ms = self.clock.monotonic_ms() + SYNC_FOR_MS
            report = sync(message, ports, _POLICY, deadline_ms=deadline_ms)
            outcome, pages, invocations = report.outcome, pages + report.pages, invocations + 1
            progress = getattr(self.store.contacts.get("1"), "progress", None)
            marker_bytes = max(marker_bytes, len(progress_to_json(progress)) if progress else 0)
        stored = self.store.contacts.get("1")
        assert stored
        return {
            "outcome": outcome,
            "invocations": invocations,
            "pages": pages,
            "events": self.bus.events,
            "marker_bytes": marker_bytes,
            "remembered_bytes": len(stored.watermark.remembered),
        }

    def account(self) -> dict[str, object]:
        ticks, took_s = 0, time.monotonic()
        while not self._tick(begin_listing=True).listing_is_complete:
            ticks += 1
        took_s = time.monotonic() - took_s
        self.store.contacts.release_all()
        while delivery := self.queue.receive(wait_s=0):
            self.queue.complete()
            del delivery
        started_s = time.monotonic()
        handed_out = self._tick(begin_listing=False).enqueued
        busy_s = time.monotonic() - started_s
        started_s = time.monotonic()
        nothing = self._tick(begin_listing=False).enqueued
        return {
            "contacts": self.store.contacts.count(),
            "ticks": ticks + 1,
            "listing_s": round(took_s, 1),
            "handed_out": handed_out,
            "tick_s": round(busy_s, 2),
            "handed_out_when_all_is_out": nothing,
            "idle_tick_s": round(time.monotonic() - started_s, 2),
        }

    def _tick(self, *, begin_listing: bool) -> TickReport:
        deadline_ms = self.clock.monotonic_ms() + TICK_FOR_MS
        return run_tick(
            TickPorts(self.store, self.source, self.queue, self.clock),
            tick_ms=TICK_MS,
            deadline_ms=deadline_ms,
            begin_listing=begin_listing,
        )


_POLICY = WorkPolicy(Reading("default"), EmailAddresses.PLAIN, TICK_MS)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        large = Large(sys.argv[2], Path(scratch))
        print(json.dumps(large.contact() if sys.argv[1] == "contact" else large.account()))
