"""One account, read by one worker in virtual time: the real tick, workers, client, limiter and store."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.tokens import FixedToken
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.v3 import ConstantContactV3
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import Limits
from contact_activity.domain.schedule import next_due_ms
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import WorkPolicy
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.settings import Credentials
from contact_activity.simulated import Server, SimulatedAccount, Switches
from contact_activity.simulated.v3_ids import contact_uuid
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import OneAfterTheOther
from contact_activity.use_cases.work_on import work_on
from tests.support.in_process import InProcess
from tests.support.running import ActivityKey, key_of
from tests.support.virtual_clock import SharedClock

LIMITS = Limits(calls_per_second=4, calls_per_day=9_000)
TICK_MS = 5 * 60_000
ANSWER_S = 0.2
# To publish an activity and to remember it, on AWS.
STORE_S = 0.008
WORK_FOR_MS = 300_000
CREDENTIALS = Credentials("virtual-key", "virtual-token")


@dataclass(slots=True)
class TimedBus:
    """The `Bus` port: notes when each activity arrives, and how often."""

    clock: SharedClock
    arrived_ms: dict[ActivityKey, int] = field(default_factory=dict)
    repeated: int = 0

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        now_ms = self.clock.now_ms()
        for event in events:
            key = key_of({"detail": json.loads(event.detail)})
            self.repeated += key in self.arrived_ms
            self.arrived_ms.setdefault(key, now_ms)
        self.clock.sleep(STORE_S * len(events))


class VirtualReader:
    """The embedded engine's way of working, by a clock that passes only for who sleeps.

    `server` is asked directly, or through HTTP while it runs in its `with` block.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        start_ms: int,
        *,
        has_reports: bool = True,
        tick_ms: int = TICK_MS,
        switches: Switches | None = None,
        is_v3: bool = False,
    ) -> None:
        self.account = account
        self.tick_ms = tick_ms
        self.is_v3, self.has_reports = is_v3, has_reports
        self.clock = SharedClock(start_ms)
        self.server = Server(
            account,
            api_key=CREDENTIALS.api_key,
            access_token=CREDENTIALS.access_token,
            switches=switches,
            calls_per_second=4,
            calls_per_day=10_000,
            now=lambda: datetime.fromtimestamp(self.clock.now_ms() / 1_000, UTC),
            monotonic=lambda: self.clock.now_ms() / 1_000,
        )
        self.store: SqliteStore = sqlite_store(Database(":memory:"), LIMITS, self.clock)
        self.bus = TimedBus(self.clock)
        self.queue = MemoryQueue()
        self.policy = WorkPolicy(Reading("default", is_witnessed=is_v3), EmailAddresses.PLAIN, tick_ms)
        # In v3 nothing else publishes: without reports those are read that rows ask for.
        self.types = self.policy.reading.types if has_reports or is_v3 else ()
        self._next_tick_ms = start_ms
        self.connect()

    def connect(self, base_url: str = "") -> None:
        """Ask the server through HTTP from now on; without `base_url` directly, `ANSWER_S` a call."""
        client = ApiClient(
            base_url or f"https://api.example.org/{'v3' if self.is_v3 else 'v2'}",
            FixedToken(CREDENTIALS.access_token) if self.is_v3 else lambda: CREDENTIALS,
            self.store.limiter,
            self.clock,
            jitter=random.Random(1).random,
            transport=None if base_url else InProcess(self.server, self.clock, answer_s=ANSWER_S),
        )
        source = ConstantContactV3(client) if self.is_v3 else ConstantContactV2(client)
        self.tick_ports = TickPorts(self.store, source, self.queue, self.clock)
        self.work_ports = WorkPorts(self.store, source, self.queue, self.bus, self.clock)

    def register_everybody(self) -> None:
        """The account was read for months: everybody is known, and due at some time of the cadence."""
        start_ms = self.clock.now_ms()
        ids = {of.id: contact_uuid(of.id) if self.is_v3 else of.id for of in self.account.contacts()}
        listed = [ListedContact(ids[of.id], iso(of.modified_ms)) for of in self.account.contacts()]
        self.store.contacts.register(listed, start_ms - 90 * DAY_MS)
        contacts = len(listed)
        sweep_ms = next_due_ms(0, contacts=contacts, calls_each=1, tick_ms=self.tick_ms, limits=LIMITS) + 1
        rng = random.Random(1)
        for of in listed:
            contact = self.store.contacts.get(of.id)
            assert contact
            due_ms = start_ms + rng.randrange(sweep_ms)
            self.store.contacts.save(replace(contact, synced_ms=due_ms - sweep_ms, due_ms=due_ms))
        listing = replace(
            self.store.listings.get(),
            mark_ms=start_ms - HOUR_MS,
            full_ms=start_ms,
            deep_ms=start_ms,
            contacts=contacts,
        )
        self.store.listings.put(listing)

    def trust_reports(self) -> None:
        """The account was read for months: all types have earned it."""
        now_ms = self.clock.now_ms()
        trusted = TypeTrust(Mode.PUBLISH, now_ms - DAY_MS, sampled_ms=now_ms)
        self.store.reports.save_trust(Trust(dict.fromkeys(self.types, trusted)))

    def run_until(self, end_ms: int) -> None:
        while self._next_tick_ms < end_ms:
            self.clock.sleep(max(0, self._next_tick_ms - self.clock.now_ms()) / 1_000)
            self._next_tick_ms += self.tick_ms
            self.tick(self._next_tick_ms)

    def tick(self, until_ms: int) -> TickReport:
        """Run a tick, and work on its messages until the next one begins."""
        report = run_tick(
            self.tick_ports,
            tick_ms=self.tick_ms,
            deadline_ms=self.clock.monotonic_ms() + WORK_FOR_MS,
            types=self.types,
            is_witnessed=self.is_v3,
            has_watch=self.has_reports,
            turns=OneAfterTheOther(self._work_until(until_ms)),
        )
        self._work_until(until_ms)()
        return report

    def _work_until(self, until_ms: int) -> Callable[[], None]:
        def work() -> None:
            while self.clock.now_ms() < until_ms and (delivery := self.queue.receive(wait_s=0)):
                self.queue.complete()
                deadline_ms = self.clock.monotonic_ms() + WORK_FOR_MS
                work_on(delivery.item, self.work_ports, self.policy, deadline_ms=deadline_ms)

        return work

    def calls_by_day(self) -> dict[int, int]:
        by_day: dict[int, int] = {}
        for call in self.server.calls:
            by_day[call.at.toordinal()] = by_day.get(call.at.toordinal(), 0) + 1
        return by_day
