"""The embedded engine: the use cases over one SQLite file, in one process.

Puts the ports together. The loop is in `tick_loop`, the worker threads are in `workers`.
"""

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeVar

from contact_activity.clock import SystemClock
from contact_activity.domain.work import WorkPolicy
from contact_activity.errors import StandstillError
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.run.asking import try_refused_again
from contact_activity.run.connection_watch import (
    ConnectionWatch,
    WatchedClock,
    WatchedLimiter,
    watched_source,
)
from contact_activity.run.events_file import opened_events
from contact_activity.run.file_bus import FileBus
from contact_activity.run.interval import note_interval
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.progress import Display
from contact_activity.run.sinks import ShownSink
from contact_activity.run.state_folder import database_name, locked
from contact_activity.run.summary import Summary, WorkRecorder
from contact_activity.run.tick_loop import TickLoop
from contact_activity.run.workers import WORKERS, Workers
from contact_activity.settings import Settings, SettingsError, Version
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store

POLL_S = 0.05

_log = logging.getLogger(__name__)

T = TypeVar("T")


def run_embedded(account: Account, options: RunOptions, display: Display) -> Summary:
    """Run until nothing is due, or tick every `options.every_ms` until interrupted. Return the summary.

    Raises `RunError`, `StandstillError`, or `RetryError` and `FatalError` when the contacts cannot be
    listed.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(options.state_dir))
        sink = stack.enter_context(
            opened_events(options.events, is_copied_to_stdout=options.is_copied_to_stdout)
        )
        version = account.settings.api_version
        path = options.state_dir / database_name(is_simulated=account.is_simulated, version=version)
        database = stack.enter_context(closing(_when_free(lambda: Database(path), options)))
        bus = FileBus(ShownSink(sink, display.published), SystemClock(), lambda: str(uuid.uuid4()))
        return run_on(database, bus, account, options, display)


def run_on(
    database: Database, bus: FileBus, account: Account, options: RunOptions, display: Display
) -> Summary:
    """Run over a database and a bus that are open already. As `run_embedded`."""
    clock, settings = SystemClock(), account.settings
    watch = ConnectionWatch(clock, _log.warning, is_one_time=options.is_one_time)
    summary = Summary(events=bus.published, failed_calls=watch.failed_calls, retries=watch.retries)
    store = _watched_store(database, settings, watch)
    queue, policy = MemoryQueue(), _policy(settings, options)
    _when_free(lambda: _keep_to_version(database, store, settings.api_version), options)
    _when_free(lambda: note_interval(database, options), options)
    source = watched_source(account, store.limiter, watch, options.state_dir, connections=WORKERS)
    with closing(source):
        _when_free(lambda: _prepare(store, clock, options), options)
        work_ports = WorkPorts(store, source, queue, bus, clock)
        recorder = WorkRecorder(summary)
        with Workers(work_ports, queue, policy, recorder, is_one_time=options.is_one_time) as workers:
            loop = TickLoop(
                TickPorts(store, source, queue, clock),
                store,
                workers,
                watch,
                summary,
                options=options,
                policy=policy,
                campaign_lookback_days=settings.lookback_days,
                campaign_reports=settings.campaign_reports,
                has_watch=settings.has_campaign_reports,
                display=display,
            )
            return loop.run_once() if options.is_one_time else loop.run_every()


def _watched_store(database: Database, settings: Settings, watch: ConnectionWatch) -> SqliteStore:
    store = sqlite_store(database, settings.limits, WatchedClock(watch))
    return replace(store, limiter=WatchedLimiter(store.limiter, watch))


def _policy(settings: Settings, options: RunOptions) -> WorkPolicy:
    return WorkPolicy(settings.reading, settings.email_addresses, options.tick_ms, settings.contact_summaries)


def _keep_to_version(database: Database, store: SqliteStore, version: Version) -> None:
    """Note by which version of the API the state was read: in the other one all activity has other ids.

    Raises `SettingsError` if it was the other one.
    """
    # An earlier version of this program knew v2 only, and what holds no contact yet is of neither.
    stored = database.get("api_version") or Version.V2.value
    if stored != version and store.contacts.count():
        raise SettingsError(
            f"--state holds what was read from API {stored}, and {version.value} has other ids: "
            "give another --state"
        )
    database.put("api_version", version.value)


def _prepare(store: SqliteStore, clock: SystemClock, options: RunOptions) -> None:
    """Free what a killed run held, and make every contact due if the options say so."""
    store.free_all()
    try_refused_again(store, clock.now_ms())
    if options.treat_all_as_due:
        store.contacts.make_due(clock.now_ms())
        store.reports.make_due(clock.now_ms())
        store.campaigns.put_listed(None)


def _when_free(begin: Callable[[], T], options: RunOptions) -> T:
    """Call `begin`. A run that keeps running tries again while another process locks the state."""
    while True:
        try:
            return begin()
        except StandstillError as error:
            if options.is_one_time or not error.is_passing:
                raise
            _log.warning("%s; it is tried again", error)
            time.sleep(POLL_S)
