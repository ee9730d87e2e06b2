"""The embedded engine: the use cases over one SQLite file, in one process."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeVar

from contact_activity.clock import SystemClock
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind, WorkPolicy
from contact_activity.errors import FatalError, RetryError, StandstillError
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.run.events_file import opened_events
from contact_activity.run.file_bus import FileBus
from contact_activity.run.memory_queue import Delivery, MemoryQueue
from contact_activity.run.options import (
    ACCOUNT_DATABASE,
    LISTING_WAITS,
    RECEIVES_MAX,
    SIMULATED_DATABASE,
    Account,
    Display,
    RunOptions,
    Standing,
    Summary,
    locked,
)
from contact_activity.run.reach import Reach, ReachClock, ReachLimiter, reaching_source
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from contact_activity.use_cases.tick import dispatch
from contact_activity.use_cases.tick_report import DispatchReport
from contact_activity.use_cases.working import work_on

WORKERS = 8
TICK_TIME_MS = 300_000
CONTACT_TIME_MS = 120_000
STOP_WITHIN_MS = 5_000
LOOK_S = 0.05

_log = logging.getLogger(__name__)

T = TypeVar("T")


def run_embedded(account: Account, options: RunOptions, display: Display) -> Summary:
    """Run the whole path once, or every `options.every_ms` until interrupted.

    Raises `RunError`, `StandstillError`, or `RetryError` and `FatalError` when the contacts cannot be
    listed.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(options.state_dir))
        sink = stack.enter_context(
            opened_events(options.events, is_copied_to_stdout=options.is_copied_to_stdout)
        )
        name = SIMULATED_DATABASE if account.is_simulated else ACCOUNT_DATABASE
        path = options.state_dir / name
        database = stack.enter_context(closing(_when_free(lambda: Database(path), options)))
        clock = SystemClock()
        engine = EmbeddedEngine(database, FileBus(sink, clock, _new_id), account, options, display, clock)
        stack.callback(engine.stop)
        _when_free(engine.start, options)
        return engine.run_every() if options.every_ms else engine.run_once()


def _when_free(begin: Callable[[], T], options: RunOptions) -> T:
    """What it returns; a run that keeps running waits for a state that another process has."""
    while True:
        try:
            return begin()
        except StandstillError as error:
            if not (options.every_ms and error.is_passing):
                raise
            _log.warning("%s; it is tried again", error)
            time.sleep(LOOK_S)


def _new_id() -> str:
    return str(uuid.uuid4())


class EmbeddedEngine:
    """The ports, a few worker threads, and the loop that ticks."""

    def __init__(
        self,
        database: Database,
        bus: FileBus,
        account: Account,
        options: RunOptions,
        display: Display,
        clock: SystemClock,
    ) -> None:
        settings = account.settings
        self._reach = Reach(clock, _log.warning, is_one_time=options.every_ms is None)
        store = sqlite_store(database, settings.limits, ReachClock(self._reach))
        self._store = replace(store, limiter=ReachLimiter(store.limiter, self._reach))
        self._source = reaching_source(account, self._store.limiter, self._reach, connections=WORKERS)
        self._queue = MemoryQueue()
        self._tick_ports = TickPorts(self._store, self._source, self._queue, clock)
        self._work_ports = WorkPorts(self._store, self._source, self._queue, bus, clock)
        self._policy = WorkPolicy(
            settings.reading, settings.email_addresses, options.tick_ms, settings.contact_summaries
        )
        self._lookback_days = settings.lookback_days
        self._clock = clock
        self._options, self._display = options, display
        self._summary = Summary(events=bus.published, failed_tries=self._reach.failed_tries)
        self._summary_lock = threading.Lock()
        self._stopping = threading.Event()
        self._crash: Exception | None = None
        self._standstill: StandstillError | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(WORKERS)
        ]

    def start(self) -> None:
        self._store.free_all()
        if self._options.treat_all_as_due:
            self._store.contacts.make_due(self._clock.now_ms())
            self._store.campaigns.put_listed(None)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every worker end the call it is in; what is not done stays due."""
        self._stopping.set()
        until_ms = self._clock.monotonic_ms() + STOP_WITHIN_MS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=max(0, until_ms - self._clock.monotonic_ms()) / 1_000)
        self._source.close()

    def run_once(self) -> Summary:
        """Until the listing is complete, nothing is due and the queue is empty; or a pause."""
        report = self._tick(begin_listing=True)
        while not self._is_ended() and (not report.is_listed or self._count_due()):
            # Nothing may be due that can be handed out yet, or all of it be in other hands.
            self._clock.sleep(LOOK_S)
            report = self._tick(begin_listing=False)
        return self._sum_up()

    def _is_ended(self) -> bool:
        if not self._reach.is_over:
            return self._is_paused()
        self._summary.to_check = self._reach.to_check()
        self._store.listings.put_failure(TickFailure(str(self._reach.cause), self._clock.now_ms()))
        return True

    def run_every(self) -> Summary:
        """Until interrupted; pauses are waited out."""
        while True:
            started_ms = self._clock.monotonic_ms()
            try:
                self._go_on_after_a_standstill()
                self._tick(begin_listing=True)
            except (RetryError, FatalError) as error:
                _log.warning("this tick could not list the contacts: %s", error)
            except StandstillError as error:
                if not error.is_passing:
                    raise
                _log.warning("this tick failed, the next one goes on: %s", error)
            while self._clock.monotonic_ms() < started_ms + self._options.tick_ms:
                self._show(wait="the next tick")
                self._clock.sleep(LOOK_S)

    def _go_on_after_a_standstill(self) -> None:
        """What was given up is still claimed, though nobody has it: the queue is empty between ticks."""
        if self._standstill:
            self._store.contacts.release_all()
            self._standstill = None

    def _tick(self, *, begin_listing: bool) -> DispatchReport:
        self._display.step("listing contacts")
        report = DispatchReport()
        failure: Exception | None = None
        try:
            report = dispatch(
                self._tick_ports,
                tick_ms=self._options.tick_ms,
                deadline_ms=self._clock.monotonic_ms() + TICK_TIME_MS,
                calls_each=len(self._policy.reading.reports),
                begin_listing=begin_listing,
                campaign_lookback_days=self._lookback_days,
                correlation_id=_new_id(),
            )
        except (RetryError, StandstillError) as error:
            failure = error
        self._summary.unreadable_contacts += report.unreadable_contacts
        if report.listing_waits:
            _log.warning(LISTING_WAITS)
        if report.campaigns_failed:
            _log.warning("the campaigns could not be listed: %s", report.campaigns_failed)
        self._display.step("reading activity")
        while self._queue.depth() and not self._crash and not self._reach.is_over:
            self._show()
            self._clock.sleep(LOOK_S)
        self._show()
        cause = self._crash or self._standstill or failure
        if cause:
            raise cause
        return report

    def _work(self) -> None:
        while not self._stopping.is_set():
            delivery = self._queue.receive(wait_s=LOOK_S)
            if delivery:
                try:
                    self._handle_unless_standing(delivery)
                except StandstillError as error:
                    self._stand_still(error)
                except Exception as error:  # noqa: BLE001  it ends the run; the main thread raises it
                    self._crash = error
                    self._stopping.set()

    def _stand_still(self, error: StandstillError) -> None:
        """Give the delivery up: its contact stays due. A single run ends, and so does any that must."""
        if self._options.every_ms and error.is_passing:
            self._standstill = error
            self._queue.done()
        else:
            self._crash = error
            self._stopping.set()

    def _handle_unless_standing(self, delivery: Delivery) -> None:
        if self._standstill:
            # Each would wait as long as the first.
            self._queue.done()
        else:
            self._handle(delivery)

    def _handle(self, delivery: Delivery) -> None:
        deadline_ms = self._clock.monotonic_ms() + CONTACT_TIME_MS
        try:
            report = work_on(delivery.item, self._work_ports, self._policy, deadline_ms=deadline_ms)
        except (RetryError, FatalError) as error:
            if delivery.receives < RECEIVES_MAX:
                self._queue.again(delivery)
                return
            with self._summary_lock:
                self._summary.failed[str(delivery.item)] = str(error)
        else:
            self._note(delivery.item, report)
        self._queue.done()

    def _note(self, item: WorkItem, report: Report) -> None:
        for digest in report.unreadable:
            _log.warning("a row that cannot be read was skipped, digest %s", digest)
        with self._summary_lock:
            self._summary.unreadable_rows += len(report.unreadable)
            self._summary.failed.pop(str(item), None)
            if item.kind is WorkKind.CONTACT:
                self._note_contact(report)

    def _note_contact(self, report: Report) -> None:
        summary = self._summary
        summary.synced += report.outcome is Outcome.SYNCED
        summary.gone += report.outcome is Outcome.GONE
        summary.newly_gone += report.is_newly_gone
        summary.collapsed += report.counts.collapsed
        summary.full_memories += report.memory_is_full
        summary.restarts += report.restarts
        summary.owed_summaries += report.summaries_owed + report.summaries_refused

    def _count_due(self) -> int:
        return self._store.contacts.count_due(self._clock.now_ms())

    def _is_paused(self) -> bool:
        active = self._store.pauses.get().active(self._clock.now_ms())
        self._summary.pause = active[0] if active else None
        return bool(active)

    def _show(self, wait: str = "") -> None:
        summary, left = self._summary, self._queue.depth()
        done = summary.synced + summary.gone + len(summary.failed)
        limits = self._store.limiter.limits
        try:
            paused = self._is_paused() and self._summary.pause
            calls = self._calls_today()
        except StandstillError:
            # Whoever needs the state to go on tells of it.
            return
        self._display.show(
            Standing(
                done=done,
                planned=done + left,
                events=summary.published,
                calls=calls,
                left_s=left * limits.slot_ms / 1_000,
                wait=f"pause: {paused.reason}" if paused else wait,
            )
        )

    def _calls_today(self) -> int:
        return self._store.limiter.pace().used_on(self._clock.now_ms())

    def _sum_up(self) -> Summary:
        self._summary.contacts = self._store.contacts.count()
        self._summary.calls_today = self._calls_today()
        return self._summary
