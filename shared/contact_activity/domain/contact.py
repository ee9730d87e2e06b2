"""What is stored of a contact, and what a sync, a failure, a 404 or a resync makes of it."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask, unanswered
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.schedule import due_after_failure_ms, due_after_gone_ms
from contact_activity.domain.shadows import MAX_SHIFT_H
from contact_activity.domain.summary import Summarized, SummaryKind
from contact_activity.domain.times import HOUR_MS, parse_time
from contact_activity.domain.watermark import Progress, Reading, Watermark, set_right


@dataclass(frozen=True, slots=True)
class ListedContact:
    """A row of the contact list."""

    id: str
    modified_date: str

    def is_changed_since(self, time_ms: int) -> bool:
        """Whether it was changed later. One whose date cannot be used counts as unchanged."""
        modified_ms = parse_time(self.modified_date)
        return modified_ms is not None and modified_ms > time_ms


@dataclass(frozen=True, slots=True)
class Contact:
    """All that is stored of a contact and that a worker may change. Holds ids, no personal data.

    `last_error` and `failed_ms`: why its last try failed, in one line, and when; None after a sync.
    `held_until_ms`: until when a worker publishes its activity and no other may; None: nobody does.
    `asks`: its rows that no report has shown yet, where rows only vouch.
    """

    id: str
    registered_ms: int
    due_ms: int
    version: int = 0
    synced_ms: int | None = None
    failures: int = 0
    times_gone: int = 0
    watermark: Watermark = field(default_factory=Watermark)
    progress: Progress | None = None
    summaries: tuple[Summarized, ...] = ()
    last_error: str | None = None
    failed_ms: int | None = None
    held_until_ms: int | None = None
    asks: tuple[Ask, ...] = ()

    def summarized(self, kind: SummaryKind) -> Summarized:
        """What is known of a summary report; nothing yet for one that was never asked for."""
        return next((known for known in self.summaries if known.kind is kind), Summarized(kind))

    def set_right(self, now_ms: int) -> "Contact":
        """This contact without times after `now_ms`, which a clock that ran ahead wrote."""
        progress = self.progress
        if progress:
            progress = replace(progress, started_ms=min(progress.started_ms, now_ms))
        return replace(
            self,
            registered_ms=min(self.registered_ms, now_ms),
            watermark=set_right(self.watermark, now_ms),
            progress=progress,
            asks=tuple(ask if ask.met_ms <= now_ms else replace(ask, met_ms=now_ms) for ask in self.asks),
        )

    def vouched(
        self, type_: ActivityType, keys: Collection[bytes], resync: tuple[int | None, int | None]
    ) -> "Contact":
        """With what a report shows, while that resync was asked for. What it answers asks no more."""
        watermark = self.watermark.with_vouched(type_, keys, resync)
        return replace(self, watermark=watermark, asks=unanswered(self.asks, set(keys)))

    def met_in(self, report: ReportId) -> "Contact":
        """After a report showed some row of it: what else asks for that report may have another stamp."""
        if all(ask.is_elsewhere or ask.report != report for ask in self.asks):
            return self
        asks = (replace(ask, is_elsewhere=ask.is_elsewhere or ask.report == report) for ask in self.asks)
        return replace(self, asks=tuple(asks))

    def cut_back(self, now_ms: int) -> "Contact":
        """Without all that a resync wants again. What happened before it was asked for is backfill.

        What asks in vain may have been published under its report's stamp, so that it is asked for as if it
        were met now. It counts as owed as before: a walk that is full of such rows would not get on.
        """
        if self.watermark.resync_ms is None:
            return self
        known_ms = min(now_ms, self.watermark.resync_asked_ms or now_ms)
        registered_ms = max(self.registered_ms, known_ms)
        from_ms = self.watermark.resync_ms - MAX_SHIFT_H * HOUR_MS
        asks = (replace(ask, met_ms=now_ms) if ask.stamp_ms >= from_ms else ask for ask in self.asks)
        return replace(
            self,
            registered_ms=registered_ms,
            watermark=self.watermark.cut_back(),
            progress=None,
            asks=tuple(asks),
        )

    def continued(self, reading: Reading) -> "tuple[Contact, Reading]":
        """This contact and what to read of it, if other settings began its unfinished walk.

        The walk is given up, and what it published stays known. But a walk that published more than is
        remembered, or that a resync asked for, is finished as it was begun: nothing else tells what it
        published from what is new, or wanted again.
        """
        progress = self.progress
        if progress is None or progress.fingerprint == reading.fingerprint:
            return self, reading
        begun = reading.as_begun(progress.fingerprint)
        is_long = progress.forgotten_ms is not None or self.watermark.is_too_long_with(progress)
        is_to_finish = is_long or self.watermark.resync_ms is not None
        if begun and is_to_finish:
            return self, begun
        # Under another account the same activities have other ids.
        watermark = self.watermark.with_published(progress) if begun else self.watermark
        return replace(self, watermark=watermark, progress=None), reading

    def synced(
        self, watermark: Watermark, *, summaries: tuple[Summarized, ...], started_ms: int, due_ms: int
    ) -> "Contact":
        """After a walk that began at `started_ms` and is finished."""
        return replace(
            self._without_failures(),
            watermark=watermark,
            progress=None,
            times_gone=0,
            summaries=summaries,
            synced_ms=started_ms,
            due_ms=due_ms,
        )

    def gone(self, now_ms: int, *, tick_ms: int, started_ms: int, progress: Progress | None) -> "Contact":
        """After an answer that it does not exist; due again after a while that grows each time."""
        times_gone = self.times_gone + 1
        return replace(
            self._without_failures(),
            times_gone=times_gone,
            due_ms=due_after_gone_ms(now_ms, times_gone=times_gone, tick_ms=tick_ms),
            synced_ms=started_ms,
            progress=progress,
        )

    def failed(
        self, error: str, *, now_ms: int, tick_ms: int, planned_ms: int, progress: Progress | None
    ) -> "Contact":
        """After a failure; due again after a while that doubles with each message that failed.

        Only the first receive of a message counts, which was planned at `planned_ms`: an API that is
        down for minutes is no reason to leave a contact alone for hours.
        """
        is_again = self.failed_ms is not None and planned_ms < self.failed_ms <= now_ms
        failures = self.failures + (not is_again)
        return replace(
            self,
            failures=failures,
            due_ms=due_after_failure_ms(now_ms, failures=failures, tick_ms=tick_ms),
            last_error=error,
            failed_ms=now_ms,
            held_until_ms=None,
            progress=progress,
        )

    def interrupted(self, progress: Progress) -> "Contact":
        """In a walk that stops at `progress`, held by nobody."""
        return replace(self, progress=progress, held_until_ms=None)

    def given_way(self, watermark: Watermark, progress: Progress) -> "Contact":
        """With what a walk from `watermark` on published, after another's write won over it.

        A resync ends the walk: what it wants again, it also wants of what this walk published.
        """
        if self.watermark.resync == watermark.resync:
            return self.interrupted(progress)
        return replace(self, held_until_ms=None, watermark=self.watermark.with_published(progress))

    def resynced(self, from_ms: int, now_ms: int) -> "Contact":
        """Due now, to publish its activity from `from_ms` on again; the earlier of two dates holds."""
        watermark = self.watermark
        # Where rows only vouch, a walk publishes nothing.
        if self.progress and (self.progress.candidates or self.progress.unreadable):
            watermark = watermark.with_published(self.progress)
        watermark = watermark.with_resync(from_ms, now_ms)
        return replace(self, due_ms=min(self.due_ms, now_ms), watermark=watermark, progress=None)

    def retried(self, now_ms: int) -> "Contact":
        """Due now, as if it had never failed."""
        return replace(self, due_ms=min(self.due_ms, now_ms), failures=0)

    def _without_failures(self) -> "Contact":
        return replace(self, failures=0, last_error=None, failed_ms=None, held_until_ms=None)


@dataclass(frozen=True, slots=True)
class ContactOutline:
    """A contact without its memory, for counts and lists.

    `asking`: how many of its rows no report has shown yet, `owed` of them for more than a day.
    """

    id: str
    due_ms: int
    queued_until_ms: int
    synced_ms: int | None
    failures: int
    times_gone: int
    last_error: str | None = None
    failed_ms: int | None = None
    asking: int = 0
    owed: int = 0
