"""The loop of a run on the local cloud: it ticks the dispatcher, and waits for the deployed workers."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.shifts import Shifts
from contact_activity.local_cloud.deployed_system import DeployedSystem
from contact_activity.local_cloud.event_reader import EventReader
from contact_activity.run.asking import make_asking_due, try_refused_again
from contact_activity.run.connection_watch import ConnectionWatch
from contact_activity.run.errors import RunError
from contact_activity.run.options import RunOptions
from contact_activity.run.progress import (
    CONTACTS,
    LISTING_WAITS,
    REPORTS,
    Display,
    active_pause,
    calls_today,
    is_credential_refused,
    progress_of,
)
from contact_activity.run.summary import Summary, add_what_waits

POLL_S = 0.2
# How often the functions' logs are read.
TOLD_MS = 1_000
# A run ends after so long without progress: three minutes, or the time of 20 calls if that is longer.
MAX_STALL_MS = 180_000
MAX_STALL_CALLS = 20

_log = logging.getLogger(__name__)


class CloudTickLoop:
    """Ticks once or at an interval, and reads the events meanwhile.

    `watch` is told of the functions' calls.
    """

    def __init__(
        self,
        system: DeployedSystem,
        reader: EventReader,
        options: RunOptions,
        display: Display,
        watch: ConnectionWatch,
    ) -> None:
        self._system, self._store, self._clock = system, system.store, system.clock
        self._reader = reader
        self._options, self._display = options, display
        self._watch, self._told_ms = watch, 0
        self._enqueued = self._reports_enqueued = 0
        self._was_refused = False

    def run_once(self) -> Summary:
        """Tick until the contacts are listed and none is due, or until a pause. Return the summary.

        Where contacts' rows ask for reports, one more tick reads these and then those contacts.
        """
        started_ms = self._clock.now_ms()
        self._prepare()
        dead_letters_before = self._system.dead_letters.depth()
        self._was_refused = is_credential_refused(active_pause(self._store, self._clock.now_ms()))
        report = self._tick()
        pause = active_pause(self._store, self._clock.now_ms())
        has_asked_last = False
        while not pause:
            if not self._is_all_done(report):
                self._wait_while(_are_all_but_over)
            elif has_asked_last or not make_asking_due(self._store, self._clock.now_ms()):
                break
            else:
                # Reports have the first shift of a tick.
                has_asked_last = True
                self._wait_while(Shifts.holds)
            report = self._tick()
            pause = active_pause(self._store, self._clock.now_ms())
        new_dead_letters = self._system.dead_letters.depth() - dead_letters_before
        return self._summary(started_ms, new_dead_letters, pause)

    def run_every(self) -> NoReturn:
        """Tick at the interval of the options until interrupted. Pauses are waited out."""
        self._prepare()
        while True:
            next_tick_ms = self._clock.monotonic_ms() + self._options.tick_ms
            self._tick_or_warn()
            self._display.tick_is_over()
            self._display.step("waiting")
            while self._clock.monotonic_ms() < next_tick_ms:
                wait_ms = next_tick_ms - self._clock.monotonic_ms()
                self._show_progress("the next tick", self._clock.now_ms() + wait_ms)
                self._reader.drain()
                self._clock.sleep(POLL_S)

    def _prepare(self) -> None:
        self._system.drop_messages()
        try_refused_again(self._store, self._clock.now_ms())
        if self._options.treat_all_as_due:
            self._store.contacts.make_due(self._clock.now_ms())
            self._store.reports.make_due(self._clock.now_ms())
            self._store.campaigns.put_listed(None)

    def _tick_or_warn(self) -> None:
        try:
            self._tick()
        except RunError as error:
            _log.warning("%s", error)

    def _tick(self) -> dict[str, Any]:
        """Run one tick, wait until its messages are handled, and return the report of the dispatcher."""
        self._display.step("listing contacts")
        self._enqueued = self._reports_enqueued = 0
        report = self._system.tick()
        if report["listing_waits"]:
            _log.warning(LISTING_WAITS)
        self._reports_enqueued = int(report["reports_enqueued"])
        if report["reports_enqueued"]:
            self._display.step("reading campaign reports")
            self._wait_for_reports(int(report["enqueued"]))
        self._enqueued = int(report["enqueued"])
        if self._enqueued or self._reports_enqueued:
            # Contacts are counted from here on, even if there are none.
            self._display.step("reading activity")
        self._wait_for_workers()
        return report

    def _wait_for_reports(self, waiting: int) -> None:
        """Wait until the shift of contacts begins; `waiting`: how many messages of contacts wait for it."""
        shifts = self._shifts()
        while shifts and self._clock.now_ms() < shifts.change_ms and (depth := self._system.queue.depth()):
            # The emulator's own schedule may tick too, and hand out more contacts.
            queued = min(max(0, depth - waiting), self._reports_enqueued)
            done = self._reports_enqueued - queued
            self._show(REPORTS, done, queued, *(("", None) if queued else _contacts_turn(shifts)))
            self._reader.drain()
            self._clock.sleep(POLL_S)

    def _wait_for_workers(self) -> None:
        slot_ms = self._store.limiter.limits.slot_ms
        watch = _StallWatch(self._system.log_path, slot_ms, self._contacts_since_ms)
        while depth := self._system.queue.depth():
            shifts = self._shifts()
            is_early = shifts is not None and self._clock.now_ms() < shifts.change_ms
            self._show_progress(*(_contacts_turn(shifts) if shifts and is_early else ()))
            self._reader.drain()
            watch.observe((depth, self._calls_today()), self._clock.monotonic_ms())
            self._clock.sleep(POLL_S)
        self._reader.drain()
        self._show_progress()

    def _shifts(self) -> Shifts | None:
        """The shifts that are on."""
        shifts = self._store.reports.shifts()
        return shifts if shifts and shifts.holds(self._clock.now_ms()) else None

    def _contacts_since_ms(self) -> int | None:
        """For how long contacts have been worked on; less than 0 while they wait. None: no shift is on."""
        shifts = self._shifts()
        return None if shifts is None else self._clock.now_ms() - shifts.change_ms

    def _wait_while(self, is_so: Callable[[Shifts, int], bool]) -> None:
        """Wait for the next shifts while this holds of those that are on."""
        shifts = self._shifts()
        while shifts and is_so(shifts, self._clock.now_ms()):
            self._show_progress("the next shift", shifts.end_ms)
            self._reader.drain()
            self._clock.sleep(POLL_S)

    def _is_all_done(self, report: dict[str, Any]) -> bool:
        is_listed = report["listing_is_complete"] or report["listing_waits"]
        return is_listed and not self._is_any_due()

    def _is_any_due(self) -> bool:
        """Whether any contact is due, in a message or not."""
        return any(contact.due_ms <= self._clock.now_ms() for contact in self._store.contacts.scan())

    def _show_progress(self, waits_for: str = "", until_ms: int | None = None) -> None:
        """Show how many contacts of this tick are read. Others may be in the queue beside them."""
        queued = min(self._system.queue.depth(), self._enqueued)
        self._show(CONTACTS, self._enqueued - queued, queued, waits_for, until_ms)

    def _show(self, counted: str, done: int, queued: int, waits_for: str, until_ms: int | None) -> None:
        now_ms = self._clock.now_ms()
        if self._clock.monotonic_ms() >= self._told_ms + TOLD_MS:
            self._hear_tries()
        progress = progress_of(
            self._store,
            now_ms,
            done=done,
            queued=queued,
            events=self._reader.received.total(),
            waits_for=waits_for,
            wait_ms=None if until_ms is None else until_ms - now_ms,
            counted=counted,
            trouble=self._watch.trouble(),
        )
        self._display.show(progress)

    def _hear_tries(self) -> None:
        self._told_ms = self._clock.monotonic_ms()
        for tally in self._system.told_tries.read():
            self._watch.record_told(tally)

    def _calls_today(self) -> int:
        return calls_today(self._store, self._clock.now_ms())

    def _summary(self, started_ms: int, new_dead_letters: int, pause: Pause | None) -> Summary:
        self._hear_tries()
        contacts = list(self._store.contacts.scan())
        # A later time than now comes from a clock that was ahead before this run.
        now_ms = self._clock.now_ms()
        read = [contact for contact in contacts if started_ms <= (contact.synced_ms or 0) <= now_ms]
        gone = sum(contact.times_gone > 0 for contact in read)
        failing = [contact for contact in contacts if contact.failures][:new_dead_letters]
        failed = [contact for contact in contacts if started_ms <= (contact.failed_ms or 0) <= now_ms]
        # For want of a right: their messages are no dead letters.
        refused = [contact for contact in failed if Right.METRICS in (contact.last_error or "")]
        reports = list(self._store.reports.outlines())
        no_cause = "its message is in the dead-letter queue"
        summary = Summary(
            contacts=len(contacts),
            synced=len(read) - gone,
            gone=gone,
            reports=sum(started_ms <= (report.read_ms or 0) <= now_ms for report in reports),
            calls_today=self._calls_today(),
            events=self._reader.received,
            failed={f"contact {contact.id}": contact.last_error or no_cause for contact in failing},
            failed_reports={
                str(report.id): report.last_error or ""
                for report in reports
                if started_ms <= (report.failed_ms or 0) <= now_ms
            },
            refused={f"contact {contact.id}": contact.last_error or "" for contact in refused},
            failed_calls=self._watch.failed_calls,
            tries=self._watch.tries,
            retries=self._watch.retries,
            pause=pause,
        )
        if self._was_refused and is_credential_refused(pause):
            # What a run before met is told only if the API says so still.
            summary.unreachable = self._watch.why_not_probed()
        add_what_waits(summary, self._store)
        return summary


def _contacts_turn(shifts: Shifts) -> tuple[str, int]:
    """What contacts wait for, and when it comes."""
    return "the contacts' shift", shifts.change_ms


def _are_all_but_over(shifts: Shifts, now_ms: int) -> bool:
    """Whether no contact is handed out any more."""
    return shifts.holds(now_ms) and not shifts.goes_on(now_ms)


class _StallWatch:
    """Ends a run that makes no progress, so that it does not wait for ever.

    `contacts_since_ms`: for how long contacts have been worked on. The time before that does not count,
    since their messages wait in the queue until then; None: all of it counts.
    """

    def __init__(
        self, log_path: Path, slot_ms: int, contacts_since_ms: Callable[[], int | None] = lambda: None
    ) -> None:
        self._log_path = log_path
        self._contacts_since_ms = contacts_since_ms
        self._max_stall_ms = max(MAX_STALL_MS, MAX_STALL_CALLS * slot_ms)
        self._last: tuple[int, int] | None = None
        self._changed_ms = 0

    def observe(self, counts: tuple[int, int], now_ms: int) -> None:
        """Record the counts of waiting messages and of calls. Raises `RunError` if they stand still."""
        if counts != self._last:
            self._last, self._changed_ms = counts, now_ms
        elif self._is_too_long(now_ms - self._changed_ms):
            raise RunError(f"the local AWS makes no progress, see {self._log_path}; run again to go on")

    def _is_too_long(self, unchanged_ms: int) -> bool:
        if unchanged_ms <= self._max_stall_ms:
            return False
        since_ms = self._contacts_since_ms()
        return since_ms is None or since_ms > self._max_stall_ms
