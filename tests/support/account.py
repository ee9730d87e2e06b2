"""A whole system over a family of stores, with a clock that can be set, reading an account in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import ContactsPage, Refusal, TrackingPage
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import parse_time
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import WorkItem, WorkKind, WorkPolicy
from contact_activity.errors import RetryError
from contact_activity.ports import Store, TickPorts, WorkPorts
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import StoredShifts
from contact_activity.use_cases.work_on import work_on
from tests.support.families import Family
from tests.support.virtual_clock import SettableClock
from tests.support.world import TICK_MS, ScriptedSource

LEFT_MS = 300_000


class Account(ScriptedSource):
    """Constant Contact: lists what was changed since a time; calls take their slots.

    `read_ms` holds when each contact was asked for, by the time that passes; `gone` those that it
    does not know, `failing` those that it cannot answer for.
    """

    def __init__(self, clock: SettableClock, acquire: Callable[[int], None]) -> None:
        super().__init__(clock)
        self.page_rows = 500
        self.gone: set[str] = set()
        self.failing: set[str] = set()
        self.read_ms: dict[str, list[int]] = {}
        self.called_ms: list[int] = []
        self._real = clock
        self._acquire = acquire

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        page = super().contacts(since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)
        if isinstance(page, Refusal):
            return page
        shown = [of for of in page.contacts if (parse_time(of.modified_date) or 0) >= (since_ms or 0)]
        return replace(page, contacts=tuple(shown))

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        page = super().tracking(contact_id, report, since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)
        self.read_ms.setdefault(contact_id, []).append(self._real.real_ms)
        if contact_id in self.failing:
            raise RetryError("the API does not answer for it")
        return Refusal.GONE if contact_id in self.gone else page

    def _call(
        self, resource: str, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> Refusal | None:
        self._acquire(deadline_ms)
        self.called_ms.append(self._real.real_ms)
        return super()._call(resource, since_ms, next_, deadline_ms)


@dataclass(slots=True)
class CollectingBus:
    """The `Bus` port: takes everything."""

    events: list[Event] = field(default_factory=list)

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        self.events += events


@dataclass
class System:
    """One system; its queue lives as long as it does.

    `types`: whose reports of campaigns are read. With `has_shifts` messages wait for theirs.
    """

    family: Family
    clock: SettableClock
    limits: Limits
    reading: Reading = field(default_factory=lambda: Reading("default"))
    summaries: tuple[SummaryKind, ...] = (SummaryKind.CONTACT,)
    lookback_days: int | None = 30
    types: tuple[ActivityType, ...] = ()
    has_shifts: bool = False
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    bus: CollectingBus = field(default_factory=CollectingBus)
    account: Account = field(init=False)

    def __post_init__(self) -> None:
        limiter = self.family.limiter(self.limits, self.clock)
        self.account = Account(self.clock, lambda deadline_ms: limiter.acquire(deadline_ms=deadline_ms))

    def contact(self, contact_id: str) -> Contact:
        contact = self.family.contacts.get(contact_id)
        assert contact
        return contact

    def tick(self) -> TickReport:
        """One tick, and all that it hands out."""
        ports = TickPorts(self._store(), self.account, self.queue, self.clock)
        report = run_tick(
            ports,
            tick_ms=TICK_MS,
            deadline_ms=self.clock.monotonic_ms() + LEFT_MS,
            campaign_lookback_days=self.lookback_days,
            types=self.types,
            is_witnessed=self.reading.is_witnessed,
            turns=StoredShifts(ports.store, self.clock, TICK_MS) if self.has_shifts else None,
        )
        while delivery := self.queue.receive(wait_s=0):
            self.queue.complete()
            self._work_on(delivery.item)
        return report

    def tick_until(self, real_ms: int) -> None:
        """Tick by tick."""
        while self.clock.real_ms < real_ms:
            begun_ms = self.clock.real_ms
            self.tick()
            self.clock.sleep(max(0, begun_ms + TICK_MS - self.clock.real_ms) / 1_000)

    def _store(self) -> Store:
        return self.family.store(self.limits, self.clock)

    def _work_on(self, item: WorkItem) -> None:
        ports = WorkPorts(self._store(), self.account, self.queue, self.bus, self.clock)
        policy = WorkPolicy(
            self.reading, EmailAddresses.PLAIN, TICK_MS, self.summaries, has_shifts=self.has_shifts
        )
        if item.window:
            self.clock.sleep(item.window.wait_ms(self.clock.now_ms()) / 1_000)
        try:
            work_on(item, ports, policy, deadline_ms=self.clock.monotonic_ms() + LEFT_MS)
        except RetryError:
            # Only a contact may fail here.
            assert item.kind is WorkKind.CONTACT
