"""Sync one contact: read its tracking since its watermark, publish what is new, move the watermark.

The watermark moves once, when every event of the walk was accepted by the bus. Whatever happens
before that costs at most a second publication with equal ids.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

from contact_activity import planning
from contact_activity.activity import Activity, EmailAddresses, Event, to_event
from contact_activity.failures import describe
from contact_activity.ports import (
    Bus,
    Clock,
    Contact,
    Contacts,
    FatalError,
    Limiter,
    Listings,
    Message,
    PauseBoard,
    Queue,
    Refusal,
    RetryError,
    Source,
    Tally,
    TrackingPage,
    WaitError,
    WaitReason,
)
from contact_activity.rate_limit import DAY_MS, Pause, PauseReason
from contact_activity.summaries import publish_news
from contact_activity.summary import Summarized, SummaryKind, is_due
from contact_activity.watermark import Counts, Progress, Reading, Walk

PAGES_BETWEEN_MARKERS = 10
# Ten million activities: no contact has them, so the API goes round.
PAGES_MAX = 20_000
# A cursor that expired twice does not outlive an invocation: it is not stored, and an invocation
# that cannot finish without one has failed.
RESTARTS_WITH_STORED_CURSOR = 1

# A report that cannot be had for so long is asked for another time: many tries would cost many calls.
SUMMARY_TIME_MS = 30_000

_PAUSE_BY_WAIT = {WaitReason.QUOTA: PauseReason.QUOTA, WaitReason.CREDENTIAL: PauseReason.CREDENTIAL}


class Outcome(StrEnum):
    """How a message ended that is not to be delivered again."""

    SYNCED = "synced"
    UNFINISHED = "unfinished"
    GONE = "gone"
    PAUSED = "paused"
    STALE = "stale"
    UNKNOWN_CONTACT = "unknown_contact"
    RACE_LOST = "race_lost"


@dataclass(slots=True)
class SyncReport:
    """What one message came to. `unreadable` holds row digests, safe to log.

    `by_type` counts what was published by detail type; `summaries_owed`: not to be had now, asked
    for at the next sync; `summaries_refused`: the API refuses them; `campaigns_left_out`: of a
    summary by campaign, beyond its bound.
    """

    outcome: Outcome = Outcome.SYNCED
    by_type: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    restarts: int = 0
    memory_is_full: bool = False
    summaries_owed: int = 0
    summaries_refused: int = 0
    campaigns_left_out: int = 0
    counts: Counts = field(default_factory=Counts)
    unreadable: list[str] = field(default_factory=list)

    @property
    def published(self) -> int:
        return self.by_type.total()


@dataclass(frozen=True, slots=True)
class SyncPorts:
    contacts: Contacts
    source: Source
    bus: Bus
    queue: Queue
    pauses: PauseBoard
    listings: Listings
    limiter: Limiter
    clock: Clock
    tally: Tally


@dataclass(frozen=True, slots=True)
class SyncPolicy:
    reading: Reading
    email_addresses: EmailAddresses
    tick_ms: int
    summaries: tuple[SummaryKind, ...] = ()


def pause_for(wait: WaitError, pauses: PauseBoard) -> None:
    """Tell every worker, when it is the quota or the credential that has to be waited for."""
    reason = _PAUSE_BY_WAIT.get(wait.reason)
    if reason:
        pauses.pause(Pause(reason, wait.until_ms))


def sync(message: Message, ports: SyncPorts, policy: SyncPolicy, *, deadline_ms: int) -> SyncReport:
    """Sync the contact of a message.

    Raises `RetryError` or `FatalError` when the contact itself failed; it is then due again later.
    """
    now_ms = ports.clock.now_ms()
    if ports.pauses.get().active(now_ms):
        ports.contacts.release([message.contact_id])
        return SyncReport(Outcome.PAUSED)
    contact = ports.contacts.get(message.contact_id)
    if contact is None:
        return SyncReport(Outcome.UNKNOWN_CONTACT)
    # A sync in the future is a clock that was set back: it makes nothing stale.
    if contact.synced_ms is not None and message.planned_ms <= contact.synced_ms <= now_ms:
        return SyncReport(Outcome.STALE)
    return _Syncing(contact, message, ports, policy, deadline_ms, now_ms).run()


class _Syncing:
    """One message being worked on."""

    def __init__(
        self,
        contact: Contact,
        message: Message,
        ports: SyncPorts,
        policy: SyncPolicy,
        deadline_ms: int,
        started_ms: int,
    ) -> None:
        self._contact = contact
        self._message = message
        self._ports = ports
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._report_name, self._next = policy.reading.reports[0], None
        progress = contact.progress
        self._is_resumed = bool(progress and progress.fingerprint == policy.reading.fingerprint)
        if progress and self._is_resumed:
            self._walk = Walk.resume(contact.watermark, policy.reading, progress)
            self._report_name, self._next = progress.report, progress.next
        else:
            self._walk = Walk(contact.watermark, policy.reading, started_ms)
        self._seen_next: set[str] = set()
        self._is_published = True
        self._is_pausing = False
        self._result = SyncReport(counts=self._walk.counts)

    def run(self) -> SyncReport:
        try:
            self._result.outcome = self._read_or_wait()
        except (RetryError, FatalError) as error:
            self._record_failure(error)
            raise
        finally:
            self._result.restarts = max(self._result.restarts, self._walk.restarts)
            self._count_published()
        return self._result

    def _count_published(self) -> None:
        if self._result.by_type:
            self._ports.tally.add(self._ports.clock.now_ms() // DAY_MS, self._result.by_type)

    def _read_or_wait(self) -> Outcome:
        try:
            return self._read()
        except WaitError as wait:
            return self._wait(wait)

    def _read(self) -> Outcome:
        reports = self._policy.reading.reports
        for report in reports[reports.index(self._report_name) :]:
            if report != self._report_name:
                self._report_name, self._next = report, None
                self._seen_next.clear()
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
            self._publish(page)
            is_last = self._turn_page(page.next)
            if self._result.pages % PAGES_BETWEEN_MARKERS == 0 and not self._save_progress():
                return Outcome.RACE_LOST
        return None

    def _publish(self, page: TrackingPage) -> None:
        now_ms = self._ports.clock.now_ms()
        self._is_published = False
        fresh = self._walk.take(page.activities, page.unreadable, now_ms)
        events = [self._event(activity, now_ms) for activity in fresh.activities]
        if events:
            self._ports.bus.publish(events, deadline_ms=self._deadline_ms)
        self._is_published = True
        self._result.by_type.update(event.detail_type for event in events)
        self._result.unreadable.extend(fresh.unreadable)
        self._result.pages += 1

    def _is_backfill(self, activity: Activity) -> bool:
        if self._walk.is_first:
            return activity.occurred_ms < self._contact.registered_ms
        return self._contact.watermark.resync_ms is not None and self._walk.is_again(activity)

    def _event(self, activity: Activity, now_ms: int) -> Event:
        return to_event(
            activity,
            account=self._policy.reading.account,
            email_addresses=self._policy.email_addresses,
            observed_ms=now_ms,
            backfill=self._is_backfill(activity),
            correlation_id=self._message.correlation_id,
        )

    def _turn_page(self, next_: str | None) -> bool:
        """Go to the next page; True if there is none.

        A token that comes again would go round for ever, and the pages behind it were not read:
        it counts as expired.
        """
        if next_ is None:
            return True
        if self._walk.pages >= PAGES_MAX:
            raise FatalError(f"a history of more than {PAGES_MAX} pages")
        if next_ in self._seen_next:
            self._restart()
        else:
            self._seen_next.add(next_)
            self._next = next_
        return False

    def _restart(self) -> None:
        self._walk.restarts += 1
        self._next = None
        self._seen_next.clear()

    def _begin_anew(self) -> None:
        """The next try begins at page one with what is published so far, and counts restarts anew."""
        self._next = None
        self._result.restarts, self._walk.restarts = self._walk.restarts, 0

    def _wait(self, wait: WaitError) -> Outcome:
        is_time = wait.reason is WaitReason.TIME
        if is_time and self._walk.restarts > RESTARTS_WITH_STORED_CURSOR:
            self._begin_anew()
            raise RetryError("the API's cursors did not hold until the end of the walk") from wait
        pause_for(wait, self._ports.pauses)
        if self._result.pages and not self._save_progress():
            return Outcome.RACE_LOST
        if is_time and self._result.pages:
            self._ports.queue.send([self._message])
        else:
            self._ports.contacts.release([self._contact.id])
        return Outcome.UNFINISHED if is_time else Outcome.PAUSED

    def _save_progress(self) -> bool:
        return self._save(progress=self._progress())

    def _progress(self) -> Progress:
        stored_next = self._next if self._walk.restarts <= RESTARTS_WITH_STORED_CURSOR else None
        return self._walk.progress(self._report_name, stored_next)

    def _end_synced(self) -> Outcome:
        watermark = self._walk.finish()
        self._result.memory_is_full = self._walk.memory_is_full
        return self._end(
            Outcome.SYNCED,
            watermark=watermark,
            summaries=self._summarize(),
            times_gone=0,
            due_ms=planning.next_due_ms(
                self._ports.clock.now_ms(),
                contacts=self._ports.listings.get().contacts,
                calls_each=len(self._policy.reading.reports),
                tick_ms=self._policy.tick_ms,
                limits=self._ports.limiter.limits,
            ),
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
            if not self._is_pausing:
                return self._read_summary(known)
        except WaitError as wait:
            self._is_pausing = wait.reason in _PAUSE_BY_WAIT
            pause_for(wait, self._ports.pauses)
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
            account=self._policy.reading.account,
            bus=self._ports.bus,
            now_ms=self._ports.clock.now_ms(),
            deadline_ms=self._deadline_ms,
            correlation_id=self._message.correlation_id,
        )
        self._result.by_type.update(done.by_type)
        self._result.unreadable.extend(done.unreadable)
        self._result.campaigns_left_out += done.left_out
        return done.summarized

    def _end_gone(self) -> Outcome:
        times_gone = self._contact.times_gone + 1
        due_ms = planning.due_after_gone_ms(self._ports.clock.now_ms(), times_gone=times_gone)
        return self._end(Outcome.GONE, times_gone=times_gone, due_ms=due_ms)

    def _end(self, outcome: Outcome, **changes: object) -> Outcome:
        done = {"failures": 0, "last_error": None, "failed_ms": None, "synced_ms": self._walk.started_ms}
        is_saved = self._save(progress=None, **done, **changes)
        return outcome if is_saved else Outcome.RACE_LOST

    def _record_failure(self, error: Exception) -> None:
        """What is published stays so: the next try goes on behind it."""
        failures, now_ms = self._contact.failures + 1, self._ports.clock.now_ms()
        due_ms = planning.due_after_failure_ms(now_ms, failures=failures, tick_ms=self._policy.tick_ms)
        changes: dict[str, object] = {"failures": failures, "due_ms": due_ms}
        changes |= {"last_error": describe(error), "failed_ms": now_ms}
        if self._result.pages and self._is_published:
            changes["progress"] = self._progress()
        self._save(**changes)

    def _save(self, **changes: object) -> bool:
        changed = replace(self._contact, **changes)  # type: ignore[arg-type]
        if not self._ports.contacts.save(changed):
            return False
        self._contact = replace(changed, version=changed.version + 1)
        return True
