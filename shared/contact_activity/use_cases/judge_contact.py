"""Reads one contact's rows where they only vouch, and has the reports read that lack some of them.

Nothing is published here. What no report shows is kept and asked for, so that no floor passes it.
"""

from contextlib import suppress
from dataclasses import replace

from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact
from contact_activity.domain.judging import Judging
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.errors import RetryError, StandstillError, WaitError, WaitReason, describe
from contact_activity.ports import WorkPorts
from contact_activity.use_cases.held_contact import HeldContact
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.read_history import CURSORS_DID_NOT_HOLD, History
from contact_activity.use_cases.summarize_contact import ContactSummaries
from contact_activity.use_cases.sync_contact import next_due_ms, taken_in_hand

PAGES_BETWEEN_MARKERS = 20
# A row is judged by a report that was read so long after the row was met.
JUDGED_AFTER_MS = DAY_MS
LOOKED_FOR_AFTER_MS = 23 * HOUR_MS


def judge(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Read the rows of an item's contact, and ask for the reports of those that none shows.

    Raises `RetryError` or `FatalError` if the contact itself failed, and `StandstillError` if nothing can
    be stored.
    """
    now_ms = ports.clock.now_ms()
    contact = taken_in_hand(item, ports, now_ms)
    if isinstance(contact, Report):
        return contact
    return _Judge(contact, item, ports, policy, deadline_ms, now_ms).run()


class _Judge:
    """One item being worked on."""

    def __init__(
        self,
        contact: Contact,
        item: WorkItem,
        ports: WorkPorts,
        policy: WorkPolicy,
        deadline_ms: int,
        started_ms: int,
    ) -> None:
        contact = contact.cut_back(started_ms)
        progress = contact.progress
        if progress and progress.fingerprint != policy.reading.fingerprint:
            progress = None
        contact = replace(contact, progress=progress)
        self._item, self._ports, self._policy = item, ports, policy
        self._deadline_ms = deadline_ms
        self._held = HeldContact(
            contact, ports.store.contacts, ports.clock, tick_ms=policy.tick_ms, deadline_ms=deadline_ms
        )
        walk = Judging(contact, policy.reading, started_ms)
        reports = (",".join(policy.reading.reports),)
        self._history = History(ports.source, contact.id, walk, reports, progress)
        self._report = Report(Outcome.UNFINISHED, counts=walk.counts)

    def run(self) -> Report:
        try:
            self._report.outcome = self._read_or_wait()
        except StandstillError:
            raise
        except Exception as error:
            # Any error: trying again at once and for ever would cost a call of the day each time.
            self._fail(error)
            raise
        finally:
            self._report.restarts = self._history.restarts
            self._report.asking = len(self._history.walk.asks)
            self._report.owed = sum(ask.is_owed for ask in self._history.walk.asks)
        return self._report

    def _read_or_wait(self) -> Outcome:
        try:
            return self._read()
        except WaitError as wait:
            return self._wait(wait)

    def _read(self) -> Outcome:
        walk = self._history.walk
        while (page := self._history.next_page(self._deadline_ms)) is not None:
            if page is Refusal.GONE:
                return self._end_gone()
            self._take(page)
            if walk.is_full:
                return self._stop_full()
            if self._report.pages % PAGES_BETWEEN_MARKERS == 0 and not self._save_progress(goes_on=True):
                return Outcome.RACE_LOST
        return self._end_synced()

    def _take(self, page: TrackingPage) -> None:
        fresh = self._history.walk.take(page.activities, page.unreadable, self._ports.clock.now_ms())
        self._report.unreadable.extend(fresh)
        self._report.pages += 1
        self._history.turn(page)

    def _end_synced(self) -> Outcome:
        asks = self._asked_for()
        walk = self._history.walk
        watermark = walk.watermark(is_whole=True)
        self._report.memory_is_full = walk.memory_is_full
        summaries = ContactSummaries(
            self._held,
            self._ports,
            self._report,
            account=self._policy.reading.account,
            deadline_ms=self._deadline_ms,
            correlation_id=self._item.correlation_id,
        )
        contact = self._held.contact
        # A report published something, or will.
        found_new = bool(walk.new_asks) or contact.watermark.remembered != watermark.remembered
        synced = contact.synced(
            watermark,
            summaries=summaries.renewed(self._policy.summaries, found_new=found_new),
            started_ms=walk.started_ms,
            due_ms=next_due_ms(self._ports, self._policy),
        )
        return self._saved(replace(synced, asks=asks), Outcome.SYNCED)

    def _stop_full(self) -> Outcome:
        """Reports must be read before so many rows ask. If any is new, it goes on in the next tick."""
        is_new = bool(self._history.walk.new_asks)
        due_ms = self._ports.clock.now_ms() if is_new else next_due_ms(self._ports, self._policy)
        stopped = replace(self._stopped(), due_ms=due_ms)
        return self._saved(stopped, Outcome.UNFINISHED)

    def _stopped(self) -> Contact:
        """The contact in a walk that stops here. Reports are told first what they are asked for."""
        asks = self._asked_for()
        contact = replace(
            self._held.contact, watermark=self._history.walk.watermark(is_whole=False), asks=asks
        )
        return contact.interrupted(self._history.progress())

    def _saved(self, contact: Contact, outcome: Outcome) -> Outcome:
        return outcome if self._held.save(contact) else Outcome.RACE_LOST

    def _save_progress(self, *, goes_on: bool) -> bool:
        stopped = self._stopped()
        held_until_ms = self._held.contact.held_until_ms if goes_on else None
        return self._held.save(replace(stopped, held_until_ms=held_until_ms), is_queued=True)

    def _asked_for(self) -> tuple[Ask, ...]:
        """Have the reports read that a row asks for, and judge those that were looked for in vain."""
        now_ms = self._ports.clock.now_ms()
        walk = self._history.walk
        new = {ask.key for ask in walk.new_asks}
        asks: dict[bytes, Ask] = {ask.key: ask for ask in walk.asks}
        by_report: dict[ReportId, list[Ask]] = {}
        for ask in asks.values():
            is_to_be_judged = not ask.is_owed and now_ms - ask.met_ms >= JUDGED_AFTER_MS
            if ask.key in new or is_to_be_judged:
                by_report.setdefault(ask.report, []).append(ask)
        for id_, own in by_report.items():
            owed = self._ask(id_, own, now_ms)
            asks |= {ask.key: replace(ask, is_owed=True) for ask in owed}
        walk.settle(asks.values())
        return walk.asks

    def _ask(self, id_: ReportId, asks: list[Ask], now_ms: int) -> list[Ask]:
        """Have a report read for rows. Return those that it was read for in vain, long enough after."""
        reports = self._ports.store.reports
        is_stored = not id_.is_usable
        owed: list[Ask] = []
        while not is_stored:
            stored = reports.get(id_) or CampaignReport(id_, 0, None)
            asked = stored.asked
            owed = [
                ask
                for ask in asks
                if asked and asked.has_looked_for(ask.stamp_ms, ask.met_ms + LOOKED_FOR_AFTER_MS)
            ]
            left = [ask.stamp_ms for ask in asks if ask not in owed]
            if not left or stored.will_look_for(min(left), now_ms):
                break
            is_stored = reports.save(stored.asked_for(min(left), now_ms))
        return owed

    def _wait(self, wait: WaitError) -> Outcome:
        is_time = wait.reason is WaitReason.TIME
        if is_time and self._history.needs_cursor:
            self._history.begin_anew()
            raise RetryError(CURSORS_DID_NOT_HOLD) from wait
        pause_for(wait, self._ports.store.pauses)
        if not self._report.pages:
            self._held.release()
        elif not self._save_progress(goes_on=False):
            return Outcome.RACE_LOST
        elif not is_time or self._is_shift_ending() or self._ports.queue.send([self._item]):
            self._held.release()
        return Outcome.UNFINISHED if is_time else Outcome.PAUSED

    def _is_shift_ending(self) -> bool:
        window = self._item.window
        return window is not None and window.is_ending(self._ports.clock.now_ms())

    def _end_gone(self) -> Outcome:
        """What was read of it before stays stored: it may only have been out of sight."""
        gone = self._held.contact.gone(
            self._ports.clock.now_ms(),
            tick_ms=self._policy.tick_ms,
            started_ms=self._history.walk.started_ms,
            progress=None,
        )
        self._report.is_newly_gone = gone.times_gone == 1
        return self._saved(gone, Outcome.GONE)

    def _fail(self, error: Exception) -> None:
        with suppress(StandstillError):
            contact = self._stopped() if self._report.pages else self._held.contact
            failed = contact.failed(
                describe(error),
                now_ms=self._ports.clock.now_ms(),
                tick_ms=self._policy.tick_ms,
                planned_ms=self._item.planned_ms,
                progress=contact.progress,
            )
            self._held.save(failed)
