"""A small world for the use cases: the embedded adapters in memory, virtual time, a scripted source."""

import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import Snapshot, SummaryCounts, SummaryKind, SummaryReport
from contact_activity.domain.trust import Mode, TypeTrust
from contact_activity.domain.watermark import TYPES_BY_REPORT, Reading
from contact_activity.domain.work import Report, WorkItem, WorkKind, WorkPolicy
from contact_activity.errors import PartlyAcceptedError, RetryError, WaitError, WaitReason
from contact_activity.ports import (
    Bus,
    Campaigns,
    Contacts,
    Lease,
    Limiter,
    Listings,
    PauseBoard,
    Reports,
    Store,
    Tally,
    TickPorts,
    WorkPorts,
)
from contact_activity.run.file_bus import FileBus
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.reports import SqliteReports
from contact_activity.sqlite.store import (
    SqliteCampaigns,
    SqliteListings,
    SqlitePauses,
    SqliteStore,
    SqliteTally,
    sqlite_store,
)
from contact_activity.use_cases.read_report import read_report
from contact_activity.use_cases.summarize_campaign import summarize
from contact_activity.use_cases.sync_contact import sync
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import StoredShifts
from contact_activity.use_cases.work_on import work_on
from tests.support.items import of_campaign, of_report
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock

TICK_MS = 15 * 60_000
CALL_MS = 250
LIMITS = Limits(4, 9_000)

Fault = BaseException | Refusal


class ScriptedSource:
    """The `Source` port over rows in memory, in pages of `page_rows`; each call takes `CALL_MS`.

    A call that would end behind its deadline is out of time. `faults` holds, by number, the calls
    that fail instead (the first is 1); `fault` is what every call fails with, `fault_of_next` every
    call with a `next`. `links` replaces the `next` of a page, by the `next` that asked for it.
    With `round_pages` pages never end: after so many the first comes again, with another cursor. Before
    each page with rows come `empty_pages` without.
    `meanwhile` is done once, before the call of its number. `counts` are the summaries, by contact
    and campaign; `sent` the campaigns in the order of their list, `resources` each campaign's own, and
    `shown` what its reports show. A report is called by its id, such as `7-opens`, and a campaign's own
    resource `campaign 7`; `fault_of` is what every call of such a name fails with.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.page_rows = 2
        self.listed: list[ListedContact] = []
        self.activities: dict[str, list[Activity]] = {}
        self.unreadable: dict[str, tuple[str, ...]] = {}
        self.counts: dict[tuple[str | None, str | None], SummaryCounts] = {}
        self.unreadable_summaries: tuple[str, ...] = ()
        self.sent: list[ListedCampaign] = []
        self.resources: dict[str, SentCampaign] = {}
        self.shown: dict[str, list[Activity]] = {}
        self.fault_of: dict[str, Fault] = {}
        self.faults: dict[int, Fault] = {}
        self.fault: Fault | None = None
        self.fault_of_next: Fault | None = None
        self.meanwhile: dict[int, Callable[[], object]] = {}
        self.links: dict[str | None, str | None] = {}
        self.round_pages: int | None = None
        self.empty_pages = 0
        self.asked: list[tuple[str, int | None, str | None]] = []
        self._clock = clock

    @property
    def calls(self) -> int:
        return len(self.asked)

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        refusal = self._call("contacts", since_ms, next_, deadline_ms)
        if refusal:
            return refusal
        page, following = self._page(self.listed, next_)
        return ContactsPage(tuple(page), 0, following)

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        refusal = self._call(report, since_ms, next_, deadline_ms)
        if refusal:
            return refusal
        rows = sorted(self.activities.get(contact_id, []), key=lambda of: -of.occurred_ms)
        wanted = [
            of for of in rows if of.type in TYPES_BY_REPORT[report] and of.occurred_ms >= (since_ms or 0)
        ]
        page, following = self._page(wanted, next_)
        return TrackingPage(tuple(page), self.unreadable.get(contact_id, ()), following)

    def contact_summary(
        self, contact_id: str, kind: SummaryKind, *, deadline_ms: int
    ) -> SummaryReport | Refusal:
        wants_campaign = kind is SummaryKind.CONTACT_CAMPAIGN
        found = {
            campaign: counts
            for (contact, campaign), counts in self.counts.items()
            if contact == contact_id and bool(campaign) == wants_campaign
        }
        refusal = self._call(kind.report, None, None, deadline_ms)
        return refusal or self._report(kind, contact_id, found)

    def campaigns(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> CampaignsPage | Refusal:
        refusal = self._call("campaigns", since_ms, next_, deadline_ms)
        if refusal:
            return refusal
        page, following = self._page(self.sent, next_)
        return CampaignsPage(tuple(page), following)

    def campaign_summaries(
        self, campaign_ids: Sequence[str], *, deadline_ms: int
    ) -> Mapping[str, SummaryReport | Refusal]:
        refusal = self._call("campaign_summary", None, None, deadline_ms)
        return {id_: refusal or self._of_campaign(id_) for id_ in campaign_ids}

    def _of_campaign(self, campaign_id: str) -> SummaryReport:
        counts = self.counts.get((None, campaign_id), SummaryCounts(sends=0))
        return self._report(SummaryKind.CAMPAIGN, None, {campaign_id: counts})

    def campaign(self, campaign_id: str, *, deadline_ms: int) -> SentCampaign | Refusal:
        refusal = self._call(f"campaign {campaign_id}", None, None, deadline_ms)
        if refusal:
            return refusal
        return self.resources.get(campaign_id, Refusal.GONE)

    def campaign_report(
        self,
        campaign_id: str,
        type_: ActivityType,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,
    ) -> TrackingPage | Refusal:
        refusal = self._call(str(ReportId(campaign_id, type_)), since_ms, next_, deadline_ms)
        if refusal:
            return refusal
        rows = sorted(self.shown.get(campaign_id, []), key=lambda of: -of.occurred_ms)
        wanted = [of for of in rows if of.type is type_ and of.occurred_ms >= (since_ms or 0)]
        page, following = self._page(wanted, next_)
        return TrackingPage(tuple(page), (), following)

    def _report(
        self, kind: SummaryKind, contact_id: str | None, found: Mapping[str | None, SummaryCounts]
    ) -> SummaryReport:
        snapshots = (Snapshot(kind, contact_id, campaign, counts) for campaign, counts in found.items())
        return SummaryReport(tuple(snapshots), self.unreadable_summaries)

    def probe(self, *, deadline_ms: int) -> None:
        self._call("probe", None, None, deadline_ms)

    def _call(
        self, resource: str, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> Refusal | None:
        if self._clock.monotonic_ms() + CALL_MS > deadline_ms:
            raise WaitError(WaitReason.TIME)
        self._clock.sleep(CALL_MS / 1_000)
        self.asked.append((resource, since_ms, next_))
        if self.calls in self.meanwhile:
            self.meanwhile.pop(self.calls)()
        usual = self.fault_of.get(resource, self.fault_of_next if next_ else self.fault)
        fault = self.faults.get(self.calls, usual)
        if isinstance(fault, BaseException):
            raise fault
        return fault

    def _page(self, rows: list[Any], next_: str | None) -> tuple[list[Any], str | None]:
        if self.round_pages:
            number = int(next_ or 0)
            start = number % self.round_pages * self.page_rows
            return rows[start : start + self.page_rows], str(number + 1)
        if self.empty_pages:
            next_, _, empty = (next_ or "0").partition(" ")
            if int(empty or 0) < self.empty_pages:
                return [], f"{next_} {int(empty or 0) + 1}"
        start = int(next_ or 0)
        end = start + self.page_rows
        following = str(end) if end < len(rows) else None
        return rows[start:end], self.links.get(next_, following)


class FailingBus:
    """The `Bus` port over another; takes nothing while `is_down`, and only the first `takes_only`."""

    def __init__(self, bus: Bus) -> None:
        self.is_down = False
        self.takes_only: int | None = None
        self._bus = bus

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        if self.is_down:
            raise RetryError("the bus took nothing")
        if self.takes_only is not None:
            taken = events[: self.takes_only]
            self._bus.publish(taken, deadline_ms=deadline_ms)
            raise PartlyAcceptedError("the bus took a part", frozenset(event.id for event in taken))
        self._bus.publish(events, deadline_ms=deadline_ms)


class RejectingQueue(MemoryQueue):
    """The `Queue` port in memory; does not accept messages of the contacts and campaigns in `rejected`."""

    def __init__(self) -> None:
        super().__init__()
        self.rejected: set[str] = set()

    def send(self, messages: Sequence[WorkItem]) -> list[WorkItem]:
        super().send([message for message in messages if id_of(message) not in self.rejected])
        return [message for message in messages if id_of(message) in self.rejected]


def id_of(message: WorkItem) -> str:
    return message.id


@dataclass(frozen=True, slots=True)
class MixedStore:
    """The `Store` port, made of parts of several."""

    contacts: Contacts
    campaigns: Campaigns
    reports: Reports
    listings: Listings
    pauses: PauseBoard
    tally: Tally
    lease: Lease
    limiter: Limiter


def with_contacts(store: Store, contacts: Contacts) -> MixedStore:
    parts = {part.name: getattr(store, part.name) for part in fields(MixedStore)}
    return MixedStore(**parts | {"contacts": contacts})


@dataclass(slots=True)
class World:
    """Everything that one engine holds."""

    reading: Reading = field(default_factory=lambda: Reading("default"))
    limits: Limits = LIMITS
    summaries: tuple[SummaryKind, ...] = ()
    lookback_days: int | None = None
    types: tuple[ActivityType, ...] = ()
    has_shifts: bool = False
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOON_MS))
    database: Database = field(default_factory=lambda: Database(":memory:"))
    sink: io.BytesIO = field(default_factory=io.BytesIO)
    queue: RejectingQueue = field(default_factory=RejectingQueue)
    source: ScriptedSource = field(init=False)
    bus: FailingBus = field(init=False)

    def __post_init__(self) -> None:
        ids = itertools.count()
        self.source = ScriptedSource(self.clock)
        self.bus = FailingBus(FileBus(self.sink, self.clock, lambda: str(next(ids))))

    @property
    def contacts(self) -> SqliteContacts:
        return self.store.contacts

    @property
    def campaigns(self) -> SqliteCampaigns:
        return self.store.campaigns

    @property
    def reports(self) -> SqliteReports:
        return self.store.reports

    @property
    def pauses(self) -> SqlitePauses:
        return self.store.pauses

    @property
    def listings(self) -> SqliteListings:
        return self.store.listings

    @property
    def tally(self) -> SqliteTally:
        return self.store.tally

    @property
    def events(self) -> list[dict[str, Any]]:
        """The details of all events published so far."""
        return [json.loads(line)["detail"] for line in self.sink.getvalue().splitlines()]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    @property
    def times(self) -> list[str]:
        return [event["time"] for event in self.events]

    def register(self, contact_id: str, activities: Sequence[Activity] = ()) -> None:
        self.contacts.register([ListedContact(contact_id, "")], self.clock.now_ms())
        self.source.activities[contact_id] = list(activities)

    def contact(self, contact_id: str = "1") -> Contact:
        contact = self.contacts.get(contact_id)
        assert contact
        return contact

    @property
    def store(self) -> SqliteStore:
        """Another holder each time."""
        return sqlite_store(self.database, self.limits, self.clock)

    def work_ports(self) -> WorkPorts:
        return WorkPorts(self.store, self.source, self.queue, self.bus, self.clock)

    def sync(
        self,
        contact_id: str = "1",
        *,
        planned_ms: int | None = None,
        for_ms: int = 600_000,
        correlation_id: str | None = None,
    ) -> Report:
        """Sync a contact by a message of now, if not another time, in at most `for_ms`."""
        now_ms = self.clock.now_ms()
        message = WorkItem(
            WorkKind.CONTACT, contact_id, now_ms if planned_ms is None else planned_ms, correlation_id
        )
        return sync(message, self.work_ports(), self.policy(), deadline_ms=now_ms + for_ms)

    def read(
        self, report_id: str = "7-opens", *, planned_ms: int | None = None, for_ms: int = 600_000
    ) -> Report:
        """Read a campaign's report by a message of now, if not another time, in at most `for_ms`."""
        now_ms = self.clock.now_ms()
        message = of_report(report_id, now_ms if planned_ms is None else planned_ms)
        return read_report(message, self.work_ports(), self.policy(), deadline_ms=now_ms + for_ms)

    def work_on(self, item: WorkItem, *, for_ms: int = 600_000) -> Report:
        """What a worker does with a message."""
        deadline_ms = self.clock.monotonic_ms() + for_ms
        return work_on(item, self.work_ports(), self.policy(), deadline_ms=deadline_ms)

    def watch(self, report_id: str = "7-opens", sent_ms: int = NOON_MS) -> None:
        """Have a report that is due now."""
        id_ = ReportId.parse(report_id)
        assert id_
        assert self.reports.save(CampaignReport(id_, sent_ms, self.clock.now_ms()))

    def report(self, report_id: str = "7-opens") -> CampaignReport:
        id_ = ReportId.parse(report_id)
        report = self.reports.get(id_) if id_ else None
        assert report
        return report

    def trust(self, *types: ActivityType, mode: Mode = Mode.PUBLISH) -> None:
        """Have the reports of these types in a mode, with no sample due for a day."""
        trust = self.reports.trust()
        now_ms = self.clock.now_ms()
        for type_ in types:
            trust = trust.with_type(type_, TypeTrust(mode, now_ms, sampled_ms=now_ms))
        assert self.reports.save_trust(trust)

    def trust_of(self, type_: ActivityType) -> TypeTrust:
        return self.reports.trust().of(type_)

    def tick_ports(self) -> TickPorts:
        return TickPorts(self.store, self.source, self.queue, self.clock)

    def policy(self) -> WorkPolicy:
        return WorkPolicy(
            self.reading, EmailAddresses.PLAIN, TICK_MS, self.summaries, has_shifts=self.has_shifts
        )

    def summarize(self, campaign_id: str, *, planned_ms: int | None = None, for_ms: int = 600_000) -> Report:
        """Ask for a campaign's summary by a message of now, if not another time, in at most `for_ms`."""
        now_ms = self.clock.now_ms()
        message = of_campaign(campaign_id, now_ms if planned_ms is None else planned_ms)
        return summarize(message, self.work_ports(), self.policy(), deadline_ms=now_ms + for_ms)

    def tick(
        self, *, for_ms: int = 300_000, begin_listing: bool = True, correlation_id: str | None = None
    ) -> TickReport:
        ports = self.tick_ports()
        return run_tick(
            ports,
            tick_ms=TICK_MS,
            deadline_ms=self.clock.now_ms() + for_ms,
            begin_listing=begin_listing,
            campaign_lookback_days=self.lookback_days,
            correlation_id=correlation_id,
            types=self.types,
            is_witnessed=self.reading.is_witnessed,
            turns=StoredShifts(ports.store, self.clock, TICK_MS) if self.has_shifts else None,
        )

    def wait(self, wait_ms: int) -> None:
        self.clock.sleep(wait_ms / 1_000)


def drain(queue: MemoryQueue) -> list[WorkItem]:
    """The messages of contacts that are waiting; all are taken."""
    return [message for message in drain_all(queue) if message.kind is WorkKind.CONTACT]


def drain_all(queue: MemoryQueue) -> list[WorkItem]:
    """All messages that are waiting."""
    messages = []
    while delivery := queue.receive(wait_s=0):
        queue.complete()
        messages.append(delivery.item)
    return messages
