"""The loop of a run: it ticks, waits for the workers, and knows when the run is over."""

import logging
import uuid
from typing import NoReturn

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import missing_right
from contact_activity.domain.work import WorkPolicy
from contact_activity.errors import FatalError, RetryError, StandstillError
from contact_activity.ports import Clock, TickPorts
from contact_activity.run.asking import make_asking_due
from contact_activity.run.connection_watch import ConnectionWatch
from contact_activity.run.options import RunOptions
from contact_activity.run.progress import (
    CONTACTS,
    LISTING_WAITS,
    REPORTS,
    Display,
    RunProgress,
    active_pause,
    calls_today,
    is_credential_refused,
    progress_of,
)
from contact_activity.run.summary import Summary, add_what_waits
from contact_activity.run.workers import Workers
from contact_activity.sqlite.store import SqliteStore
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import OneAfterTheOther

MAX_TICK_MS = 300_000
POLL_S = 0.05

_log = logging.getLogger(__name__)


class TickLoop:
    """Ticks once or at an interval, while workers handle what each tick queues."""

    def __init__(
        self,
        ports: TickPorts,
        store: SqliteStore,
        workers: Workers,
        watch: ConnectionWatch,
        summary: Summary,
        *,
        options: RunOptions,
        policy: WorkPolicy,
        campaign_lookback_days: int | None,
        campaign_reports: tuple[ActivityType, ...],
        has_watch: bool,
        display: Display,
    ) -> None:
        self._ports, self._store, self._workers, self._watch = ports, store, workers, watch
        self._clock: Clock = ports.clock
        self._summary = summary
        self._options, self._policy = options, policy
        self._campaign_lookback_days = campaign_lookback_days
        self._campaign_reports, self._has_watch = campaign_reports, has_watch
        self._display = display
        self._was_refused = False

    def run_once(self) -> Summary:
        """Tick until the contacts are listed and none is due, or until a pause. Return the summary.

        Only the first tick reads campaigns' reports: those that are due at the start. Where contacts' rows
        only vouch, each tick reads those that rows ask for. Also ends when the API cannot be reached.
        """
        self._was_refused = is_credential_refused(active_pause(self._store, self._clock.now_ms()))
        report = self._tick(begin_listing=True)
        pause = active_pause(self._store, self._clock.now_ms())
        has_asked_last = False
        while not (self._watch.has_given_up or pause):
            if self._is_all_done(report):
                if has_asked_last or not self._make_asking_due():
                    break
                has_asked_last = True
            # A contact may be due and still claimed or held, so that this tick could not queue it.
            self._clock.sleep(POLL_S)
            report = self._tick(begin_listing=False, has_reports=self._policy.reading.is_witnessed)
            pause = active_pause(self._store, self._clock.now_ms())
        self._record_end(pause)
        return self._summary

    def run_every(self) -> NoReturn:
        """Tick at the interval of the options until interrupted. Pauses are waited out."""
        while True:
            next_tick_ms = self._clock.monotonic_ms() + self._options.tick_ms
            self._tick_or_warn()
            self._display.tick_is_over()
            self._display.step("waiting")
            while self._clock.monotonic_ms() < next_tick_ms:
                wait_ms = next_tick_ms - self._clock.monotonic_ms()
                self._show_progress(waits_for="the next tick", wait_ms=wait_ms)
                self._clock.sleep(POLL_S)

    def _tick_or_warn(self) -> None:
        try:
            self._recover()
            self._tick(begin_listing=True)
        except (RetryError, FatalError) as error:
            _log.warning("this tick could not list the contacts: %s", error)
        except StandstillError as error:
            if not error.is_passing:
                raise
            _log.warning("this tick failed, the next one tries again: %s", error)

    def _recover(self) -> None:
        """After a standstill release the contacts and reports that the workers gave up.

        They are still claimed, but the queue is empty between two ticks, so that nobody reads them.
        """
        if self._workers.is_standstill:
            self._store.contacts.release_all()
            self._store.reports.release_all()
            self._workers.resume()

    def _tick(self, *, begin_listing: bool, has_reports: bool = True) -> TickReport:
        """Run one tick, and wait until its messages are handled.

        `has_reports`: campaigns' reports that are due are read before the contacts. Raises the error of a
        worker first, then that of the listing.
        """
        self._display.step("listing contacts")
        report, failure = self._dispatch(begin_listing=begin_listing, has_reports=has_reports)
        self._summary.unreadable_contacts += report.unreadable_contacts
        if report.listing_waits:
            _log.warning(LISTING_WAITS)
        if report.enqueued or report.reports_enqueued:
            # Contacts are counted from here on, even if there are none.
            self._display.step("reading activity")
        self._wait_for_workers()
        self._warn_of_campaigns(report)
        self._workers.raise_error()
        if failure:
            raise failure
        return report

    def _dispatch(self, *, begin_listing: bool, has_reports: bool) -> tuple[TickReport, Exception | None]:
        try:
            report = run_tick(
                self._ports,
                tick_ms=self._options.tick_ms,
                deadline_ms=self._clock.monotonic_ms() + MAX_TICK_MS,
                calls_each=self._policy.reading.calls_each,
                begin_listing=begin_listing,
                campaign_lookback_days=self._campaign_lookback_days,
                types=self._campaign_reports,
                is_witnessed=self._policy.reading.is_witnessed,
                has_watch=self._has_watch,
                turns=OneAfterTheOther(self._wait_for_reports),
                has_reports=has_reports,
                is_paced=not self._options.is_one_time,
                correlation_id=str(uuid.uuid4()),
            )
        except (RetryError, StandstillError) as error:
            return TickReport(), error
        return report, None

    def _wait_for_reports(self) -> None:
        """Wait until the reports of this tick are read. Nothing else is in the queue yet."""
        if self._ports.queue.depth():
            self._display.step("reading campaign reports")
            self._wait_for_workers(REPORTS)

    def _wait_for_workers(self, counted: str = CONTACTS) -> None:
        while self._ports.queue.depth() and not (self._workers.are_stopped or self._watch.has_given_up):
            self._show_progress(counted=counted)
            self._clock.sleep(POLL_S)
        self._show_progress(counted=counted)

    def _warn_of_campaigns(self, report: TickReport) -> None:
        """Say why the campaigns could not be listed.

        Their refusal alone leaves open whether a scope or a privilege is missing: contacts' own reports tell.
        """
        failed, reports = report.campaigns_failed, self._store.reports
        if failed is None:
            return
        lacks = reports.feed().lacks
        right = None
        if lacks and lacks in failed:
            contacts = self._store.contacts.outlines()
            right = missing_right(reports.access(), list_lacks=lacks, contacts=contacts)
        _log.warning("the campaigns could not be listed: %s", right.missing if right else failed)

    def _is_all_done(self, report: TickReport) -> bool:
        now_ms = self._clock.now_ms()
        return report.is_listed and not self._store.contacts.count_due(now_ms) and not self._are_asked(now_ms)

    def _make_asking_due(self) -> bool:
        """Have contacts read once more whose rows may be theirs to publish now. False if there are none."""
        return self._policy.reading.is_witnessed and make_asking_due(self._store, self._clock.now_ms())

    def _are_asked(self, now_ms: int) -> bool:
        """Whether contacts' rows ask for reports that are to be read now."""
        reports = self._store.reports
        if not self._policy.reading.is_witnessed or reports.access().most_tried(now_ms) == 0:
            return False
        return any(report.is_asked for report in reports.due(now_ms))

    def _record_end(self, pause: Pause | None) -> None:
        if self._watch.cause:
            self._store.listings.put_failure(TickFailure(str(self._watch.cause), self._clock.now_ms()))
        self._summary.unreachable = self._watch.what_to_check()
        if self._was_refused and is_credential_refused(pause):
            # What a run before met is told only if the API says so still.
            self._summary.unreachable = self._summary.unreachable or self._watch.why_not_probed()
        self._summary.pause = pause
        self._summary.denied = self._watch.denied
        self._summary.tries = self._watch.tries
        self._summary.contacts = self._store.contacts.count()
        if self._policy.reading.is_witnessed:
            add_what_waits(self._summary, self._store)
        self._summary.calls_today = calls_today(self._store, self._clock.now_ms())

    def _show_progress(
        self, waits_for: str = "", counted: str = CONTACTS, wait_ms: int | None = None
    ) -> None:
        try:
            progress = self._progress(waits_for, counted, wait_ms)
        except StandstillError:
            # The tick or a worker meets the same error, and reports it.
            return
        self._display.show(progress)

    def _progress(self, waits_for: str, counted: str, wait_ms: int | None) -> RunProgress:
        summary = self._summary
        return progress_of(
            self._store,
            self._clock.now_ms(),
            done=summary.finished_reports if counted == REPORTS else summary.finished,
            queued=self._ports.queue.depth(),
            events=summary.published,
            waits_for=waits_for,
            wait_ms=wait_ms,
            counted=counted,
            trouble=self._watch.trouble(),
        )
