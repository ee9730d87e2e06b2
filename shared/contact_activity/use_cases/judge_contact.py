"""Reads one contact's rows where they only vouch, and has the reports read that lack some of them.

What no report shows is kept and asked for, so that no floor passes it. Only where there is no such report,
or it shows nothing of the contact for a day, the row is published for itself, and says what it lacks.
"""

from contextlib import suppress
from dataclasses import replace

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign_report import Asked, CampaignReport, ReportId
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import Event, to_event
from contact_activity.domain.judging import Judging
from contact_activity.domain.shadows import MAX_SHIFT_H
from contact_activity.domain.shifts import publish_by_ms
from contact_activity.domain.times import DAY_MS, HOUR_MS, WEEK_MS
from contact_activity.domain.witness import alone
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.errors import (
    PartlyAcceptedError,
    RefusedError,
    RetryError,
    StandstillError,
    WaitError,
    WaitReason,
    describe,
)
from contact_activity.ports import WorkPorts
from contact_activity.use_cases.held_contact import HeldContact
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.read_history import CURSORS_DID_NOT_HOLD, History
from contact_activity.use_cases.summarize_contact import ContactSummaries
from contact_activity.use_cases.sync_contact import count_published, next_due_ms, taken_in_hand

PAGES_BETWEEN_MARKERS = 20
# A row is judged by a report that was read so long after the row was met.
JUDGED_AFTER_MS = DAY_MS
LOOKED_FOR_AFTER_MS = 23 * HOUR_MS
# The report of a mailing that was just sent may not be there yet.
GONE_BELIEVED_AFTER_MS = DAY_MS


def judge(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Read the rows of an item's contact, and ask for the reports of those that none shows.

    A contact whose own report is refused for want of a right has not failed: none can be read then.

    Raises `RetryError` or `FatalError` if the contact itself failed, and `StandstillError` if nothing can
    be stored.
    """
    now_ms = ports.clock.now_ms()
    contact = taken_in_hand(item, ports, now_ms)
    if isinstance(contact, Report):
        return contact
    return _Judge(contact, item, ports, policy, deadline_ms, now_ms).run()


class _RaceLostError(Exception):
    """Somebody else wrote the contact, and may publish of it."""


def _stands_alone(ask: Ask, asked: Asked, now_ms: int) -> bool:
    """Whether a row is published for itself: there is no report of it, or none that shows its contact."""
    is_gone = asked.gone_ms is not None and asked.gone_ms >= ask.met_ms
    if is_gone and now_ms - ask.stamp_ms > GONE_BELIEVED_AFTER_MS:
        return True
    is_old = now_ms - ask.met_ms >= JUDGED_AFTER_MS
    return is_old and not ask.is_elsewhere and asked.has_looked_through(ask.met_ms + LOOKED_FOR_AFTER_MS)


def _is_owed(ask: Ask, asked: Asked) -> bool:
    """Whether a report was read for it long enough after it was met, as far down as it takes."""
    began_ms = ask.met_ms + LOOKED_FOR_AFTER_MS
    if not ask.is_elsewhere:
        return asked.has_looked_through(began_ms)
    return asked.has_looked_for(ask.stamp_ms, began_ms)


def _is_asked_again(ask: Ask, asked: Asked, now_ms: int) -> bool:
    """Whether to have a report read again, which may show a row days later: daily, after a week weekly."""
    if not _is_owed(ask, asked):
        return True
    wait_ms = DAY_MS if now_ms - ask.met_ms < WEEK_MS else WEEK_MS
    return now_ms - (asked.read_ms or 0) >= wait_ms


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
        begun = contact.progress
        self._is_resynced = contact.watermark.resync_ms is not None or (
            begun is not None and begun.is_resynced
        )
        # Reports published something, in a resumed walk perhaps before its earlier part.
        self._has_news = bool(contact.watermark.reported) or contact.progress is not None
        self._found = contact
        contact = contact.cut_back(started_ms)
        progress = contact.progress
        if progress and progress.fingerprint != policy.reading.fingerprint:
            progress = None
        self._begun = contact = replace(contact, progress=progress)
        self._item, self._ports, self._policy = item, ports, policy
        self._deadline_ms = deadline_ms
        self._held = HeldContact(
            contact, ports.store.contacts, ports.clock, tick_ms=policy.tick_ms, deadline_ms=deadline_ms
        )
        walk = Judging(contact, policy.reading, started_ms)
        reports = (",".join(policy.reading.reports),)
        self._history = History(ports.source, contact.id, walk, reports, progress)
        self._report = Report(Outcome.UNFINISHED, counts=walk.counts)
        self._is_spent = False
        self._is_right_missing = False
        self._out: dict[ActivityType, set[bytes]] = {}
        self._parents: dict[ReportId, str | None] = {}

    def run(self) -> Report:
        try:
            self._report.outcome = self._read_or_wait()
        except StandstillError:
            with suppress(StandstillError):
                self._give_way()
            raise
        except Exception as error:
            # Any error: trying again at once and for ever would cost a call of the day each time.
            self._fail(error)
            if not (isinstance(error, RefusedError) and error.is_forbidden):
                raise
            self._report.outcome, self._report.error = Outcome.REFUSED, describe(error)
        finally:
            self._report.restarts = self._history.restarts
            self._report.asking = len(self._history.walk.asks)
            owed = sum(ask.is_owed for ask in self._history.walk.asks)
            self._report.owed = self._report.asking if self._is_right_missing else owed
            count_published(self._ports, self._report)
        return self._report

    def _read_or_wait(self) -> Outcome:
        try:
            try:
                return self._read()
            except WaitError as wait:
                return self._wait(wait)
        except _RaceLostError:
            self._give_way()
            return Outcome.RACE_LOST

    def _read(self) -> Outcome:
        walk = self._history.walk
        while (page := self._history.next_page(self._deadline_ms)) is not None:
            if page is Refusal.GONE:
                return self._end_gone()
            self._take(page)
            if page.next is None:
                continue
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
        walk = self._history.walk
        walk.keep_unseen()
        asks = self._asked_for()
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
        # What asks is in the summary already, and perhaps never published.
        found_new = self._has_news or bool(walk.new_asks) or self._report.published > 0
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
        asks = (*self._asked_for(), *self._history.walk.asks_ahead())
        contact = replace(
            self._held.contact, watermark=self._history.walk.watermark(is_whole=False), asks=asks
        )
        progress = self._history.progress()
        # The last page again would number its clicks on.
        next_ = None if self._history.is_at_end else progress.next
        return contact.interrupted(replace(progress, next=next_, is_resynced=self._is_resynced))

    def _saved(self, contact: Contact, outcome: Outcome) -> Outcome:
        return outcome if self._save(contact) else Outcome.RACE_LOST

    def _save(self, contact: Contact, *, is_queued: bool = False) -> bool:
        """Store it. Who loses the write keeps what it published."""
        if self._held.save(contact, is_queued=is_queued):
            self._out.clear()
            return True
        self._give_way()
        return False

    def _give_way(self) -> None:
        """Add what was published for itself to what somebody else wrote. What a resync wants stays wanted."""
        resync, is_stored = self._held.contact.watermark.resync, not self._out
        while not is_stored:
            stored = self._ports.store.contacts.get(self._held.contact.id)
            if stored is None:
                return
            kept = replace(stored, held_until_ms=None)
            for type_, keys in self._out.items():
                kept = kept.vouched(type_, keys, resync)
            is_stored = self._ports.store.contacts.save(kept)

    def _save_progress(self, *, goes_on: bool) -> bool:
        stopped = self._stopped()
        held_until_ms = self._held.contact.held_until_ms if goes_on else None
        return self._save(replace(stopped, held_until_ms=held_until_ms), is_queued=True)

    def _asked_for(self) -> tuple[Ask, ...]:
        """Have the reports read that a row asks for, and settle those that were looked for in vain."""
        now_ms = self._ports.clock.now_ms()
        walk = self._history.walk
        by_report: dict[ReportId, list[Ask]] = {}
        for ask in walk.asks:
            if ask.report.is_usable:
                by_report.setdefault(ask.report, []).append(ask)
        if by_report:
            self._is_right_missing = self._ports.store.reports.access().is_missing
        without: list[Ask] = []
        for id_, own in by_report.items():
            stored = self._ask(id_, own, now_ms)
            asked, self._parents[id_] = stored.asked, stored.parent_id
            without += [ask for ask in own if asked and _stands_alone(ask, asked, now_ms)]
            walk.settle(replace(ask, is_owed=True) for ask in own if asked and _is_owed(ask, asked))
        self._publish(without, now_ms)
        return walk.asks

    def _ask(self, id_: ReportId, asks: list[Ask], now_ms: int) -> CampaignReport:
        """Have a report read for the rows that need it. Return what was known of it."""
        reports, new = self._ports.store.reports, {ask.key for ask in self._history.walk.new_asks}
        while True:
            stored = (reports.get(id_) or CampaignReport(id_, 0, None)).set_right(now_ms)
            asked = stored.asked
            aged = [ask for ask in asks if now_ms - ask.met_ms >= JUDGED_AFTER_MS]
            in_vain = [ask for ask in aged if not asked or _is_asked_again(ask, asked, now_ms)]
            # What was not shown at its stamp may stand below it in the report, at another step or hour.
            stamps_ms = [max(0, ask.stamp_ms - MAX_SHIFT_H * HOUR_MS) for ask in in_vain]
            stamps_ms += [ask.stamp_ms for ask in asks if ask.key in new]
            # Whether a report shows nothing of a contact, only its end tells.
            is_to_end = any(not ask.is_elsewhere for ask in in_vain)
            down_to_ms = None if is_to_end else min(stamps_ms, default=0)
            is_new = len(stamps_ms) > len(in_vain)
            began_ms = max((ask.met_ms + LOOKED_FOR_AFTER_MS for ask in in_vain), default=0)
            if not stamps_ms or stored.will_look_for(down_to_ms, now_ms):
                return stored
            if not is_new and stored.is_looking_for(down_to_ms, began_ms):
                return stored
            wanted = stored.asked_for(down_to_ms, now_ms, is_new=is_new, is_wanted=self._is_resynced)
            if reports.save(wanted):
                return stored

    def _publish(self, asks: list[Ask], now_ms: int) -> None:
        """Publish rows for themselves, equal ones once. What the bus does not take asks on."""
        walk, events, by_id = self._history.walk, list[Event](), dict[str, list[Ask]]()
        ages_s: dict[str, int] = {}
        for ask in asks:
            row = walk.row_of(ask)
            if row is None or self._is_spent:
                continue
            event = self._event(alone(row), now_ms, self._parents.get(ask.report))
            if event.id not in by_id and not walk.is_published(row):
                events.append(event)
                if row.occurred_ms >= self._held.contact.registered_ms:
                    ages_s[event.id] = max(0, now_ms - row.occurred_ms) // 1_000
            by_id.setdefault(event.id, []).append(ask)
        if not by_id:
            return
        if events and not self._held.hold():
            raise _RaceLostError
        accepted = frozenset(by_id) - {event.id for event in events}
        # What fails once is left to the next sync.
        self._is_spent = True
        try:
            if events:
                self._ports.bus.publish(events, deadline_ms=publish_by_ms(self._deadline_ms))
            accepted, self._is_spent = frozenset(by_id), False
        except PartlyAcceptedError as error:
            accepted |= error.accepted
            raise
        finally:
            out = [ask for id_, own in by_id.items() if id_ in accepted for ask in own]
            for type_, keys in walk.note_published(out).items():
                self._out.setdefault(type_, set()).update(keys)
            self._report.by_type.update(event.detail_type for event in events if event.id in accepted)
            self._report.ages_s.extend(age_s for id_, age_s in ages_s.items() if id_ in accepted)

    def _event(self, activity: Activity, now_ms: int, parent_id: str | None) -> Event:
        return to_event(
            activity,
            account=self._policy.reading.account,
            email_addresses=self._policy.email_addresses,
            observed_ms=now_ms,
            backfill=activity.occurred_ms < min(self._held.contact.registered_ms, now_ms),
            correlation_id=self._item.correlation_id,
            parent_id=parent_id,
        )

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
        return self._item.is_shift_ending(self._ports.clock.now_ms())

    def _end_gone(self) -> Outcome:
        """What was read of it before stays stored: it may only have been out of sight."""
        gone = self._unread.gone(
            self._ports.clock.now_ms(),
            tick_ms=self._policy.tick_ms,
            started_ms=self._history.walk.started_ms,
            progress=None,
        )
        self._report.is_newly_gone = gone.times_gone == 1
        return self._saved(gone, Outcome.GONE)

    @property
    def _unread(self) -> Contact:
        """The contact without this walk. What a resync wants it still wants, unless some of it is stored."""
        return self._found if self._held.contact is self._begun else self._held.contact

    def _fail(self, error: Exception) -> None:
        self._is_spent = True
        with suppress(StandstillError):
            contact = self._stopped() if self._report.pages else self._unread
            failed = contact.failed(
                describe(error),
                now_ms=self._ports.clock.now_ms(),
                tick_ms=self._policy.tick_ms,
                planned_ms=self._item.planned_ms,
                progress=contact.progress,
            )
            self._save(failed)
