"""Syncs one contact: reads its tracking since its watermark, publishes what is new, moves the watermark.

The watermark moves once, when the bus has accepted every event of the walk. A crash before that costs
at most a second publication with equal ids.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import compress

from contact_activity.domain import schedule
from contact_activity.domain.activity import Activity
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import Event, to_event
from contact_activity.domain.freshness import by_bucket
from contact_activity.domain.shifts import publish_by_ms
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.trust import TypeTrust
from contact_activity.domain.walk import NewOnPage, Walk
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.errors import (
    PartlyAcceptedError,
    RetryError,
    StandstillError,
    WaitError,
    WaitReason,
    describe,
)
from contact_activity.ports import Source, WorkPorts
from contact_activity.use_cases.change_trust import change_trust
from contact_activity.use_cases.compare_sample import SampleComparison
from contact_activity.use_cases.held_contact import HeldContact
from contact_activity.use_cases.link_urls import with_decided_urls
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.read_history import CURSORS_DID_NOT_HOLD, History
from contact_activity.use_cases.summarize_contact import ContactSummaries

PAGES_BETWEEN_MARKERS = 10


def sync(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Sync the contact of an item.

    Raises `RetryError` or `FatalError` if the contact itself failed; it is then due again later. Raises
    `StandstillError` if nothing can be stored; it stays due.
    """
    now_ms = ports.clock.now_ms()
    contact = taken_in_hand(item, ports, now_ms)
    if isinstance(contact, Report):
        return contact
    return _Sync(contact, item, ports, policy, deadline_ms, now_ms).run()


def taken_in_hand(item: WorkItem, ports: WorkPorts, now_ms: int) -> Contact | Report:
    """The contact of an item as it is stored, or how the message ended that needs no work."""
    if ports.store.pauses.get().active(now_ms):
        ports.store.contacts.release([item.id])
        return Report(Outcome.PAUSED)
    stored = ports.store.contacts.get(item.id)
    if stored is None:
        return Report(Outcome.UNKNOWN_CONTACT)
    # A sync in the future means that the clock was set back: it makes nothing stale.
    if stored.synced_ms is not None and item.planned_ms <= stored.synced_ms <= now_ms:
        return Report(Outcome.STALE)
    if schedule.is_held(stored.held_until_ms, now_ms):
        # If that worker is dead, the next tick hands the contact out again.
        ports.store.contacts.release([item.id])
        return Report(Outcome.HELD)
    return stored.set_right(now_ms)


class _Sync:
    """One item being worked on: gather pages, let the walk decide, publish and store."""

    def __init__(
        self,
        contact: Contact,
        item: WorkItem,
        ports: WorkPorts,
        policy: WorkPolicy,
        deadline_ms: int,
        started_ms: int,
    ) -> None:
        contact, self._reading = contact.continued(policy.reading)
        self._item = item
        self._ports = ports
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._held = HeldContact(
            contact, ports.store.contacts, ports.clock, tick_ms=policy.tick_ms, deadline_ms=deadline_ms
        )
        self._history = history_of(ports.source, contact, self._reading, started_ms)
        self._is_resumed = contact.progress is not None
        is_compared = item.is_sampled and not self._is_resumed
        reports = ports.store.reports
        self._sample = SampleComparison(reports, contact.id, policy) if is_compared else None
        self._report = Report(Outcome.UNFINISHED, counts=self._history.walk.counts)

    def run(self) -> Report:
        try:
            self._report.outcome = self._read_or_wait()
            if self._report.outcome is Outcome.RACE_LOST:
                self._held.give_way(self._history.progress())
        except StandstillError:
            self._keep_published()
            raise
        except Exception as error:
            # Any error: trying again at once and for ever would cost a call of the day each time.
            self._fail(error)
            raise
        finally:
            self._report.restarts = self._history.restarts
            count_published(self._ports, self._report)
        return self._report

    def _read_or_wait(self) -> Outcome:
        try:
            return self._read()
        except WaitError as wait:
            return self._wait(wait)

    def _read(self) -> Outcome:
        while (page := self._history.next_page(self._deadline_ms)) is not None:
            if page is Refusal.GONE:
                return self._end_gone()
            if not self._publish(page):
                return Outcome.RACE_LOST
            self._history.turn(page)
            is_time_for_marker = self._report.pages % PAGES_BETWEEN_MARKERS == 0
            if is_time_for_marker and not self._held.save_progress(self._history.progress(), goes_on=True):
                return Outcome.RACE_LOST
        return self._end_synced()

    def _publish(self, page: TrackingPage) -> bool:
        """Publish what is new on a page. False, and nothing published, if another worker was faster."""
        now_ms = self._ports.clock.now_ms()
        activities = with_decided_urls(page.activities, self._ports.store.reports)
        fresh = self._history.walk.take(activities, page.unreadable, now_ms)
        if self._sample:
            self._sample.see(activities)
        if fresh.activities and not self._publish_new(fresh, now_ms):
            return False
        self._report.unreadable.extend(fresh.unreadable)
        self._report.pages += 1
        return True

    def _publish_new(self, fresh: NewOnPage, now_ms: int) -> bool:
        """What the bus does not accept is not published: the next try finds it new again."""
        events = [self._event(activity, now_ms) for activity in fresh.activities]
        accepted: frozenset[str] = frozenset()
        try:
            if not self._held.hold():
                return False
            self._ports.bus.publish(events, deadline_ms=publish_by_ms(self._deadline_ms))
            accepted = frozenset(event.id for event in events)
        except PartlyAcceptedError as error:
            accepted = error.accepted
            raise
        finally:
            self._report.by_type.update(event.detail_type for event in events if event.id in accepted)
            out = [event.id in accepted for event in events]
            self._note_ages(compress(fresh.activities, out), now_ms)
            left = [activity for activity, is_out in zip(fresh.activities, out, strict=True) if not is_out]
            self._history.walk.take_back(left, fresh.unreadable if left else ())
        return True

    def _is_backfill(self, activity: Activity) -> bool:
        contact = self._held.contact
        if activity.occurred_ms < contact.registered_ms:
            return True
        return contact.watermark.resync_ms is not None and self._history.walk.is_again(activity)

    def _note_ages(self, published: Iterable[Activity], now_ms: int) -> None:
        """A stamp in the future counts as age 0: a negative age would spoil every percentile."""
        live = (activity for activity in published if not self._is_backfill(activity))
        self._report.ages_s.extend(max(0, now_ms - activity.occurred_ms) // 1_000 for activity in live)

    def _event(self, activity: Activity, now_ms: int) -> Event:
        return to_event(
            activity,
            account=self._reading.account,
            email_addresses=self._policy.email_addresses,
            observed_ms=now_ms,
            backfill=self._is_backfill(activity),
            correlation_id=self._item.correlation_id,
        )

    def _wait(self, wait: WaitError) -> Outcome:
        is_time = wait.reason is WaitReason.TIME
        if is_time and self._history.needs_cursor:
            self._history.begin_anew()
            raise RetryError(CURSORS_DID_NOT_HOLD) from wait
        pause_for(wait, self._ports.store.pauses)
        if not self._report.pages:
            self._held.release()
        elif not self._held.save_progress(self._history.progress(), goes_on=False):
            return Outcome.RACE_LOST
        elif not is_time or self._is_shift_ending() or self._ports.queue.send([self._item]):
            self._held.release()
        return Outcome.UNFINISHED if is_time else Outcome.PAUSED

    def _is_shift_ending(self) -> bool:
        return self._item.is_shift_ending(self._ports.clock.now_ms())

    def _end_synced(self) -> Outcome:
        walk = self._history.walk
        watermark = walk.finish()
        self._tell_trust()
        self._report.memory_is_full = walk.memory_is_full
        summaries = ContactSummaries(
            self._held,
            self._ports,
            self._report,
            account=self._reading.account,
            deadline_ms=self._deadline_ms,
            correlation_id=self._item.correlation_id,
        )
        # An earlier part of a resumed walk, or a campaign's report, may have found something new.
        is_reported = self._held.contact.watermark.reported != watermark.reported
        found_new = self._is_resumed or is_reported or self._report.published > 0
        synced = self._held.contact.synced(
            watermark,
            summaries=summaries.renewed(self._policy.summaries, found_new=found_new),
            started_ms=walk.started_ms,
            due_ms=next_due_ms(self._ports, self._policy),
        )
        return Outcome.SYNCED if self._held.save(synced) else Outcome.RACE_LOST

    def _tell_trust(self) -> None:
        """Tell whether the two sides show the same. A row is compared only by a walk that is whole."""
        now_ms, shifted = self._ports.clock.now_ms(), self._report.counts.shifted
        if self._sample:
            self._sample.store(now_ms)
        for type_, rows in self._history.walk.shifted_by_type().items():
            counted = partial(TypeTrust.counted, news=0, shifted=rows, now_ms=now_ms)
            change_trust(self._ports.store.reports, type_, counted)
        self._report.rows_shifted = shifted

    def _end_gone(self) -> Outcome:
        """What was read of it before stays stored: it may only have been out of sight."""
        now_ms = self._ports.clock.now_ms()
        self._history.begin_anew()
        gone = self._held.contact.gone(
            now_ms,
            tick_ms=self._policy.tick_ms,
            started_ms=self._history.walk.started_ms,
            progress=self._history.progress() if self._is_resumed or self._report.pages else None,
        )
        self._report.is_newly_gone = gone.times_gone == 1
        return Outcome.GONE if self._held.save(gone) else Outcome.RACE_LOST

    def _fail(self, error: Exception) -> None:
        """What is published stays published: the next try goes on behind it."""
        now_ms, contact = self._ports.clock.now_ms(), self._held.contact
        failed = contact.failed(
            describe(error),
            now_ms=now_ms,
            tick_ms=self._policy.tick_ms,
            planned_ms=self._item.planned_ms,
            progress=self._history.progress() if self._has_read else contact.progress,
        )
        if not self._held.save(failed) and self._has_read:
            self._held.give_way(self._history.progress())

    def _keep_published(self) -> None:
        """The events file may stand still where the state does not: the next try goes on behind it."""
        if self._has_read:
            with suppress(StandstillError):
                progress = self._history.progress()
                if not self._held.save(self._held.contact.interrupted(progress)):
                    self._held.give_way(progress)

    @property
    def _has_read(self) -> bool:
        return bool(self._report.pages or self._report.published)


def history_of(source: Source, contact: Contact, reading: Reading, started_ms: int) -> History[Walk]:
    """The position of a contact's walk: where an earlier one stopped, or the beginning of a new one."""
    progress = contact.progress
    walk = (
        Walk.resume(contact.watermark, reading, progress)
        if progress
        else Walk(contact.watermark, reading, started_ms)
    )
    return History(source, contact.id, walk, reading.reports, progress)


def next_due_ms(ports: WorkPorts, policy: WorkPolicy) -> int:
    """When a contact is due again that was just read."""
    now_ms, tick_ms = ports.clock.now_ms(), policy.tick_ms
    return schedule.next_due_ms(
        now_ms,
        contacts=ports.store.listings.get().contacts,
        calls_each=policy.reading.calls_each,
        tick_ms=tick_ms,
        limits=ports.store.limiter.limits,
        reserved=ports.store.reports.feed().reserved(now_ms, tick_ms),
    )


def count_published(ports: WorkPorts, report: Report) -> None:
    """Count for the day what a message published."""
    if report.by_type:
        ages = by_bucket(report.ages_s)
        ports.store.tally.add(ports.clock.now_ms() // DAY_MS, report.by_type, ages)
