"""Sync one contact: read its tracking since its watermark, publish what is new, move the watermark.

The watermark moves once, when every event of the walk was accepted by the bus. Whatever happens
before that costs at most a second publication with equal ids.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress

from contact_activity import planning
from contact_activity.activity import Activity, EmailAddresses, Event, to_event
from contact_activity.failures import describe
from contact_activity.freshness import by_bucket
from contact_activity.paging import RESTARTS_MAX, Rounds
from contact_activity.ports import (
    Contact,
    FatalError,
    PartlyAcceptedError,
    PauseBoard,
    Refusal,
    RetryError,
    StandstillError,
    TrackingPage,
    WaitError,
    WaitReason,
    WorkPorts,
)
from contact_activity.rate_limit import DAY_MS, Pause, PauseReason
from contact_activity.summaries import publish_news
from contact_activity.summary import Summarized, SummaryKind, is_due
from contact_activity.watermark import Fresh, Progress, Reading, Walk, set_right
from contact_activity.work import Outcome, Report, WorkItem

PAGES_BETWEEN_MARKERS = 10
# Two and a half million activities: no contact has them, so the API goes round.
PAGES_MAX = 5_000
# A cursor that expired twice does not outlive an invocation: it is not stored, and an invocation
# that cannot finish without one has failed.
RESTARTS_WITH_STORED_CURSOR = 1
CURSORS_DID_NOT_HOLD = "the API's cursors did not hold until the end of the walk"

# A report that cannot be had for so long is asked for another time: many tries would cost many calls.
SUMMARY_TIME_MS = 30_000

_PAUSE_BY_WAIT = {WaitReason.QUOTA: PauseReason.QUOTA, WaitReason.CREDENTIAL: PauseReason.CREDENTIAL}


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """The settings of a worker."""

    reading: Reading
    email_addresses: EmailAddresses
    tick_ms: int
    summaries: tuple[SummaryKind, ...] = ()


def pause_for(wait: WaitError, pauses: PauseBoard) -> None:
    """Tell every worker, when it is the quota or the credential that has to be waited for."""
    reason = _PAUSE_BY_WAIT.get(wait.reason)
    if reason:
        pauses.pause(Pause(reason, wait.until_ms))


def sync(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Sync the contact of an item.

    Raises `RetryError` or `FatalError` when the contact itself failed; it is then due again later.
    Raises `StandstillError` when nothing can be stored: it stays due.
    """
    now_ms = ports.clock.now_ms()
    if ports.store.pauses.get().active(now_ms):
        ports.store.contacts.release([item.id])
        return Report(Outcome.PAUSED)
    stored = ports.store.contacts.get(item.id)
    if stored is None:
        return Report(Outcome.UNKNOWN_CONTACT)
    contact = _set_right(stored, now_ms)
    # A sync in the future is a clock that was set back: it makes nothing stale.
    if stored.synced_ms is not None and item.planned_ms <= stored.synced_ms <= now_ms:
        return Report(Outcome.STALE)
    if planning.is_held(contact.held_until_ms, now_ms):
        # Should that worker be dead, the next tick hands it out again.
        ports.store.contacts.release([item.id])
        return Report(Outcome.HELD)
    return _Syncing(contact, item, ports, policy, deadline_ms, now_ms).run()


def _set_right(contact: Contact, now_ms: int) -> Contact:
    """Nothing of it began later than now, whatever a clock said that ran ahead."""
    progress = contact.progress
    if progress:
        progress = replace(progress, started_ms=min(progress.started_ms, now_ms))
    return replace(
        contact,
        registered_ms=min(contact.registered_ms, now_ms),
        watermark=set_right(contact.watermark, now_ms),
        progress=progress,
    )


def _continued(contact: Contact, reading: Reading) -> tuple[Contact, Reading]:
    """The contact, and what is read of it, when other settings began an unfinished walk.

    The walk is given up, and what it published stays known. One that published more than would be
    remembered, or that a resync asked for, is finished as it was begun, since nothing else tells what it
    published from what is new, or wanted again.
    """
    progress = contact.progress
    if progress is None or progress.fingerprint == reading.fingerprint:
        return contact, reading
    begun = reading.as_begun(progress.fingerprint)
    is_long = progress.forgotten_ms is not None or contact.watermark.is_too_long_with(progress)
    is_to_finish = is_long or contact.watermark.resync_ms is not None
    if begun and is_to_finish:
        return contact, begun
    # Under another account the same activities have other ids.
    watermark = contact.watermark.with_published(progress) if begun else contact.watermark
    return replace(contact, watermark=watermark, progress=None), reading


class _Syncing:
    """One message being worked on."""

    def __init__(
        self,
        contact: Contact,
        item: WorkItem,
        ports: WorkPorts,
        policy: WorkPolicy,
        deadline_ms: int,
        started_ms: int,
    ) -> None:
        self._contact, self._reading = _continued(contact, policy.reading)
        self._item = item
        self._ports = ports
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._report_name, self._next = self._reading.reports[0], None
        progress = self._contact.progress
        self._is_resumed = progress is not None
        if progress:
            self._walk = Walk.resume(contact.watermark, self._reading, progress)
            self._report_name, self._next = progress.report, progress.next
        else:
            self._walk = Walk(self._contact.watermark, self._reading, started_ms)
        self._rounds = Rounds()
        self._is_held = False
        self._is_pausing = False
        self._result = Report(Outcome.UNFINISHED, counts=self._walk.counts)

    def run(self) -> Report:
        try:
            self._result.outcome = self._read_or_wait()
            if self._result.outcome is Outcome.RACE_LOST:
                self._let_go()
        except StandstillError:
            self._keep_published()
            raise
        except Exception as error:
            # Any: tried again at once and for ever, it would cost a call of the day each time.
            self._record_failure(error)
            raise
        finally:
            self._result.restarts = max(self._result.restarts, self._walk.restarts)
            self._count_published()
        return self._result

    def _count_published(self) -> None:
        if self._result.by_type:
            self._ports.store.tally.add(
                self._ports.clock.now_ms() // DAY_MS, self._result.by_type, by_bucket(self._result.ages_s)
            )

    def _read_or_wait(self) -> Outcome:
        try:
            return self._read()
        except WaitError as wait:
            return self._wait(wait)

    def _read(self) -> Outcome:
        reports = self._reading.reports
        for report in reports[reports.index(self._report_name) :]:
            if report != self._report_name:
                self._report_name, self._next = report, None
                self._rounds = Rounds()
                self._walk.begin_report()
            outcome = self._read_report(report)
            if outcome:
                return outcome
        return self._end_synced()

    def _read_report(self, report: str) -> Outcome | None:
        """Read a report to its last page; an outcome only if the whole walk ends here."""
        is_last = False
        while not is_last:
            page = self._ports.source.tracking(
                self._contact.id,
                report,
                since_ms=self._walk.since_ms(report),
                next_=self._next,
                deadline_ms=self._deadline_ms,
            )
            if page is Refusal.GONE:
                return self._end_gone()
            if isinstance(page, Refusal):
                self._restart()
                continue
            if not self._publish(page):
                return Outcome.RACE_LOST
            is_last = self._turn_page(page)
            if self._result.pages % PAGES_BETWEEN_MARKERS == 0 and not self._save_progress():
                return Outcome.RACE_LOST
        return None

    def _publish(self, page: TrackingPage) -> bool:
        """False if another worker was faster: nothing is published then."""
        now_ms = self._ports.clock.now_ms()
        fresh = self._walk.take(page.activities, page.unreadable, now_ms)
        if fresh.activities and not self._publish_new(fresh, now_ms):
            return False
        self._result.unreadable.extend(fresh.unreadable)
        self._result.pages += 1
        return True

    def _publish_new(self, fresh: Fresh, now_ms: int) -> bool:
        """What the bus did not take is not published: the next try finds it new again."""
        events = [self._event(activity, now_ms) for activity in fresh.activities]
        accepted: frozenset[str] = frozenset()
        try:
            if not self._hold():
                return False
            self._ports.bus.publish(events, deadline_ms=self._deadline_ms)
            accepted = frozenset(event.id for event in events)
        except PartlyAcceptedError as error:
            accepted = error.accepted
            raise
        finally:
            self._result.by_type.update(event.detail_type for event in events if event.id in accepted)
            out = [event.id in accepted for event in events]
            self._note_ages(compress(fresh.activities, out), now_ms)
            left = [activity for activity, is_out in zip(fresh.activities, out, strict=True) if not is_out]
            self._walk.take_back(left, fresh.unreadable if left else ())
        return True

    def _hold(self) -> bool:
        """Have the contact alone until this invocation ends, so that no two publish the same.

        One write of an invocation that has something to publish.
        """
        if not self._is_held:
            clock = self._ports.clock
            left_ms = self._deadline_ms - clock.monotonic_ms()
            until_ms = planning.held_until_ms(clock.now_ms(), left_ms)
            held = replace(self._contact, held_until_ms=until_ms)
            self._is_held = self._save(held, queued_until_ms=self._queued_until_ms())
        return self._is_held

    def _queued_until_ms(self) -> int:
        return planning.queued_until_ms(self._ports.clock.now_ms(), self._policy.tick_ms)

    def _is_backfill(self, activity: Activity) -> bool:
        if activity.occurred_ms < self._contact.registered_ms:
            return True
        return self._contact.watermark.resync_ms is not None and self._walk.is_again(activity)

    def _note_ages(self, published: Iterable[Activity], now_ms: int) -> None:
        """A stamp in the future is as fresh as can be: a negative age would spoil every percentile."""
        live = (activity for activity in published if not self._is_backfill(activity))
        self._result.ages_s.extend(max(0, now_ms - activity.occurred_ms) // 1_000 for activity in live)

    def _event(self, activity: Activity, now_ms: int) -> Event:
        return to_event(
            activity,
            account=self._reading.account,
            email_addresses=self._policy.email_addresses,
            observed_ms=now_ms,
            backfill=self._is_backfill(activity),
            correlation_id=self._item.correlation_id,
        )

    def _turn_page(self, page: TrackingPage) -> bool:
        """Go to the next page; True if there is none.

        A token that comes again would go round for ever, and the pages behind it were not read:
        it counts as expired. Pages that go round with tokens of their own fail the contact.
        """
        if page.next is None:
            return True
        if self._walk.pages >= PAGES_MAX:
            self._begin_anew()
            raise FatalError(f"a history of more than {PAGES_MAX} pages")
        if self._rounds.are_endless(hash((page.activities, page.unreadable))):
            self._begin_anew()
            raise FatalError("the API's pages go round, each with another cursor")
        if self._rounds.was_seen(page.next):
            self._restart()
        else:
            self._next = page.next
        return False

    def _restart(self) -> None:
        self._walk.restarts += 1
        if self._walk.restarts > RESTARTS_MAX:
            self._begin_anew()
            raise RetryError(CURSORS_DID_NOT_HOLD)
        self._walk.begin_anew()
        self._next = None
        self._rounds = Rounds()

    def _begin_anew(self) -> None:
        """The next try begins at page one with what is published so far, and counts restarts anew."""
        self._next = None
        self._walk.begin_anew()
        self._result.restarts, self._walk.restarts = self._walk.restarts, 0

    def _wait(self, wait: WaitError) -> Outcome:
        is_time = wait.reason is WaitReason.TIME
        if is_time and self._walk.restarts > RESTARTS_WITH_STORED_CURSOR:
            self._begin_anew()
            raise RetryError(CURSORS_DID_NOT_HOLD) from wait
        pause_for(wait, self._ports.store.pauses)
        if not self._result.pages:
            self._ports.store.contacts.release([self._contact.id])
        elif not self._save_progress(is_at_work=False):
            return Outcome.RACE_LOST
        elif not is_time or self._ports.queue.send([self._item]):
            self._ports.store.contacts.release([self._contact.id])
        return Outcome.UNFINISHED if is_time else Outcome.PAUSED

    def _save_progress(self, *, is_at_work: bool = True) -> bool:
        """A walk that goes on stays in a message, so that no tick hands it out beside."""
        held_until_ms = self._contact.held_until_ms if is_at_work else None
        unfinished = replace(self._contact, progress=self._progress(), held_until_ms=held_until_ms)
        return self._save(unfinished, queued_until_ms=self._queued_until_ms())

    def _progress(self) -> Progress:
        stored_next = self._next if self._walk.restarts <= RESTARTS_WITH_STORED_CURSOR else None
        return self._walk.progress(self._report_name, stored_next)

    def _end_synced(self) -> Outcome:
        watermark = self._walk.finish()
        self._result.memory_is_full = self._walk.memory_is_full
        synced = replace(self._contact, watermark=watermark, progress=None, times_gone=0)
        synced = replace(synced, summaries=self._summarize(), due_ms=self._next_due_ms())
        # Asking for summaries may have taken the contact into the hands of this invocation.
        return self._end(Outcome.SYNCED, replace(synced, version=self._contact.version))

    def _next_due_ms(self) -> int:
        return planning.next_due_ms(
            self._ports.clock.now_ms(),
            contacts=self._ports.store.listings.get().contacts,
            calls_each=len(self._reading.reports),
            tick_ms=self._policy.tick_ms,
            limits=self._ports.store.limiter.limits,
        )

    def _summarize(self) -> tuple[Summarized, ...]:
        """What is known of each summary report once what moved is published.

        An earlier part of a resumed walk may have found something new.
        """
        found_new = self._is_resumed or self._result.published > 0
        wanted = [self._contact.summarized(kind) for kind in self._policy.summaries]
        others = [known for known in self._contact.summaries if known.kind not in self._policy.summaries]
        now_ms = self._ports.clock.now_ms()
        asked = [
            self._ask_summary(known) if is_due(known, now_ms=now_ms, found_new=found_new) else known
            for known in wanted
        ]
        return (*others, *asked)

    def _ask_summary(self, known: Summarized) -> Summarized:
        """A summary that cannot be had now holds up nothing: the activity is published already."""
        try:
            if not self._is_pausing and self._hold():
                return self._read_summary(known)
        except WaitError as wait:
            self._is_pausing = wait.reason in _PAUSE_BY_WAIT
            pause_for(wait, self._ports.store.pauses)
        except RetryError:
            pass
        except FatalError:
            self._result.summaries_refused += 1
            return replace(known, asked_ms=self._ports.clock.now_ms())
        self._result.summaries_owed += 1
        return replace(known, asked_ms=None)

    def _read_summary(self, known: Summarized) -> Summarized:
        give_up_ms = min(self._deadline_ms, self._ports.clock.monotonic_ms() + SUMMARY_TIME_MS)
        report = self._ports.source.contact_summary(self._contact.id, known.kind, deadline_ms=give_up_ms)
        done = publish_news(
            known,
            report,
            account=self._reading.account,
            bus=self._ports.bus,
            now_ms=self._ports.clock.now_ms(),
            deadline_ms=self._deadline_ms,
            correlation_id=self._item.correlation_id,
        )
        self._result.by_type.update(done.by_type)
        self._result.unreadable.extend(done.unreadable)
        self._result.campaigns_left_out += done.left_out
        self._result.summaries_owed += done.is_owed
        return done.summarized

    def _end_gone(self) -> Outcome:
        """What was read of it before stays: it may only have been out of sight."""
        times_gone = self._contact.times_gone + 1
        self._result.is_newly_gone = times_gone == 1
        now_ms, tick_ms = self._ports.clock.now_ms(), self._policy.tick_ms
        due_ms = planning.due_after_gone_ms(now_ms, times_gone=times_gone, tick_ms=tick_ms)
        self._begin_anew()
        progress = self._progress() if self._is_resumed or self._result.pages else None
        gone = replace(self._contact, times_gone=times_gone, due_ms=due_ms, progress=progress)
        return self._end(Outcome.GONE, gone)

    def _end(self, outcome: Outcome, contact: Contact) -> Outcome:
        done = replace(
            contact,
            failures=0,
            last_error=None,
            failed_ms=None,
            synced_ms=self._walk.started_ms,
            held_until_ms=None,
        )
        return outcome if self._save(done) else Outcome.RACE_LOST

    def _record_failure(self, error: Exception) -> None:
        """What is published stays so: the next try goes on behind it."""
        now_ms = self._ports.clock.now_ms()
        failures = self._contact.failures + (not self._has_failed_before(now_ms))
        failed = replace(
            self._contact,
            failures=failures,
            due_ms=planning.due_after_failure_ms(now_ms, failures=failures, tick_ms=self._policy.tick_ms),
            last_error=describe(error),
            failed_ms=now_ms,
            held_until_ms=None,
        )
        if self._result.pages or self._result.published:
            failed = replace(failed, progress=self._progress())
        self._save(failed)

    def _has_failed_before(self, now_ms: int) -> bool:
        """Of the receives of one message only the first counts: an API that is down for minutes is no
        reason to leave a contact alone for hours."""
        failed_ms = self._contact.failed_ms
        return failed_ms is not None and self._item.planned_ms < failed_ms <= now_ms

    def _keep_published(self) -> None:
        """The events file may stand still where the state does not: the next try goes on behind it."""
        if self._result.pages or self._result.published:
            with suppress(StandstillError):
                self._save(replace(self._contact, progress=self._progress(), held_until_ms=None))

    def _let_go(self) -> None:
        """Who lost the contact to an operator's write holds it up no longer, and says what is published."""
        stored = self._ports.store.contacts.get(self._contact.id)
        if not (self._is_held and stored and stored.held_until_ms == self._contact.held_until_ms):
            return
        stored = replace(stored, held_until_ms=None)
        if stored.watermark == self._contact.watermark:
            stored = replace(stored, progress=self._progress())
        else:
            # A resync ended the walk: what it wants again, it wants of this too.
            stored = replace(stored, watermark=stored.watermark.with_published(self._progress()))
        self._ports.store.contacts.save(stored)

    def _save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        if not self._ports.store.contacts.save(contact, queued_until_ms=queued_until_ms):
            return False
        self._contact = replace(contact, version=contact.version + 1)
        return True
