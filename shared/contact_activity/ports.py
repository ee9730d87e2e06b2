"""What the use cases need of the world: small protocols, the clock, and the three errors.

Times are milliseconds since 1970 in UTC. A `deadline_ms` is when the caller must be done, by
`Clock.monotonic_ms`: somebody may set the clock while it works.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Protocol

from contact_activity.activity import Activity, Event
from contact_activity.planning import Listing, LongestWaits, due_after_failure_ms, due_after_gone_ms
from contact_activity.rate_limit import Limits, Pace, Pause, PauseReason, Pauses
from contact_activity.summary import Summarized, SummaryKind, SummaryReport
from contact_activity.watermark import Progress, Reading, Watermark, set_right
from contact_activity.work import DeadLetter, WorkItem


class Cause(StrEnum):
    """Why no answer came, as a person may read it; tells nothing of addresses, bodies or secrets."""

    UNKNOWN_HOST = "the host is unknown"
    CONNECTION_REFUSED = "the connection is refused"
    CERTIFICATE_UNTRUSTED = "the certificate is not trusted"
    PROXY_REFUSED = "the proxy opens no way to the host"
    NOT_CONNECTED = "the host cannot be reached"
    TIMED_OUT = "no answer came in time"
    CONNECTION_CLOSED = "the connection was closed"
    ANSWER_UNUSABLE = "the answer cannot be used"
    SERVER_ERROR = "the API answers with server errors"


class RetryError(Exception):
    """It may work later: a server error, a time-out, a bus or a queue that took only a part."""

    def __init__(self, message: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class FatalError(Exception):
    """It will not work for this contact however often it is tried."""


class PartlyAcceptedError(RetryError):
    """The bus took only a part of the events; `accepted` holds the ids of those."""

    def __init__(self, message: str, accepted: frozenset[str]) -> None:
        super().__init__(message)
        self.accepted = accepted


class RefusedError(FatalError):
    """The API refuses this one resource, though it accepts the credential."""


class StandstillError(Exception):
    """The state or the events file cannot be used now: no contact's failure, and none can be worked on.

    One line that says what to do. `is_passing`: it may end by itself.
    """

    def __init__(self, message: str, *, is_passing: bool) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class WaitReason(StrEnum):
    QUOTA = "quota"
    CREDENTIAL = "credential"
    TIME = "time"
    # A run that somebody watches ends: no call gets through before a setting or the network changes.
    UNREACHABLE = "unreachable"


class WaitError(Exception):
    """Nobody's failure: nothing can be done before `until_ms` (None: before something changes)."""

    def __init__(self, reason: WaitReason, until_ms: int | None = None) -> None:
        super().__init__(f"wait: {reason}")
        self.reason = reason
        self.until_ms = until_ms


class Refusal(Enum):
    """Answers of the API that are no failure and no page."""

    NEXT_EXPIRED = "the next token is no longer valid"
    GONE = "the contact, or the campaign, does not exist"


@dataclass(frozen=True, slots=True)
class TrackingPage:
    """One page of a tracking report, read; `unreadable` holds digests of the rows that were not."""

    activities: tuple[Activity, ...]
    unreadable: tuple[str, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ListedContact:
    id: str
    modified_date: str


@dataclass(frozen=True, slots=True)
class ContactsPage:
    contacts: tuple[ListedContact, ...]
    unreadable: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Contact:
    """All that is stored of a contact and that a worker may change. No address, only ids.

    `last_error` and `failed_ms`: why its last try failed, in one line, and when; None after a sync.
    `held_until_ms`: until then a worker publishes what it did, and no other may; None: nobody does.
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
        """With what a walk from `watermark` on published, after an operator's write won over it.

        A resync ends the walk: what it wants again, it also wants of what this walk published.
        """
        if self.watermark == watermark:
            return self.interrupted(progress)
        return replace(self, held_until_ms=None, watermark=self.watermark.with_published(progress))

    def resynced(self, from_ms: int, now_ms: int) -> "Contact":
        """Due now, to publish its activity from `from_ms` on again; the earlier of two dates holds."""
        asked_ms, watermark = self.watermark.resync_ms, self.watermark
        if self.progress:
            watermark = watermark.with_published(self.progress)
        watermark = replace(watermark, resync_ms=from_ms if asked_ms is None else min(asked_ms, from_ms))
        return replace(self, due_ms=min(self.due_ms, now_ms), watermark=watermark, progress=None)

    def retried(self, now_ms: int) -> "Contact":
        """Due now, as if it had never failed."""
        return replace(self, due_ms=min(self.due_ms, now_ms), failures=0)

    def _without_failures(self) -> "Contact":
        return replace(self, failures=0, last_error=None, failed_ms=None, held_until_ms=None)


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """`modified_ms` None: the list had no usable date."""

    id: str
    modified_ms: int | None


@dataclass(frozen=True, slots=True)
class CampaignsPage:
    campaigns: tuple[ListedCampaign, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """All that is stored of a campaign; version 0 is one that nothing is stored of."""

    id: str
    version: int = 0
    summarized: Summarized = field(default_factory=lambda: Summarized(SummaryKind.CAMPAIGN))


@dataclass(frozen=True, slots=True)
class ContactOutline:
    """What an operator's count of contacts needs of each, without its memory."""

    id: str
    due_ms: int
    queued_until_ms: int
    synced_ms: int | None
    failures: int
    times_gone: int
    last_error: str | None = None
    failed_ms: int | None = None


class Clock(Protocol):
    def now_ms(self) -> int:
        """What is stored and compared with stamps; it jumps when somebody sets the clock."""

    def monotonic_ms(self) -> int:
        """What waiting is measured by: it only goes forward, from any beginning."""

    def sleep(self, wait_s: float) -> None: ...


class Source(Protocol):
    """Constant Contact. Each call waits for its slot and is tried again until the deadline.

    Raises `RetryError`, `WaitError` or `FatalError`.
    """

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal: ...

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal: ...

    def contact_summary(
        self, contact_id: str, kind: SummaryKind, *, deadline_ms: int
    ) -> SummaryReport | Refusal:
        """A contact's summary report, of all campaigns or by campaign."""

    def campaigns(self, *, since_ms: int, next_: str | None, deadline_ms: int) -> CampaignsPage | Refusal:
        """A page of the campaigns that were sent, without those last modified before `since_ms`."""

    def campaign_summary(self, campaign_id: str, *, deadline_ms: int) -> SummaryReport | Refusal: ...

    def probe(self, *, deadline_ms: int) -> None:
        """One cheap call, to learn whether the API accepts calls again."""


class Limiter(Protocol):
    """The pace that every worker shares."""

    @property
    def limits(self) -> Limits: ...

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        """Wait for the next slot; `prepare` is called so long before it, and may raise anything.

        Raises `WaitError`: `quota` when the day's budget is used up, `time` when the slot lies
        behind the deadline.
        """

    def slow_down(self, wait_s: float = 0) -> None:
        """The API said "too fast": nobody takes a slot for so long, and for a second at least."""

    def set_right(self) -> None:
        """The clock may have been set back: what is counted for a day to come counts for today."""

    def pace(self) -> Pace: ...


class Contacts(Protocol):
    """The registry of contacts with their watermarks."""

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        """Add those not known, due now. Returns how many are new; what is as known costs no write.

        A gone one that changed is due again, and in a full listing any that is shown. Never touches
        what a worker stored.
        """

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        """Claim up to `most` due contacts that are in no message, oldest first, until `queued_until_ms`.

        Yields the claimed ids in parts; a part may be empty. A caller that stops early leaves the rest
        unclaimed. The clock is read for each claim: a tick may stall between two of them. A contact
        that is queued for longer than a claim of now lasts counts as free: a clock ahead wrote that.
        """

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        """Those due later than they can honestly wait are due now. Returns how many were found."""

    def release(self, contact_ids: Sequence[str]) -> None:
        """They are in no message after all."""

    def get(self, contact_id: str) -> Contact | None: ...

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        """Store it if nobody stored another since it was read (by `version`, which goes up by one).

        `queued_until_ms`: it is in a message, as long as that is worth waiting for; 0: in none.
        """

    def erase(self, contact_id: str) -> bool:
        """Forget all that is stored of it, also under a worker's hands; False if nothing was."""

    def make_due(self, now_ms: int) -> None:
        """Every known contact is due now, and in no message."""

    def oldest_due_ms(self, now_ms: int) -> int | None:
        """Since when the contact that waits longest is due, in a message or not; None if none is due."""

    def outlines(self) -> Iterator[ContactOutline]:
        """Every contact, in no order, for the operator: it reads all that is stored."""


class Campaigns(Protocol):
    """What was published of each campaign, and when they were listed."""

    def listed_ms(self) -> int | None:
        """When the campaigns were last listed; None makes them due."""

    def put_listed(self, listed_ms: int | None) -> None: ...
    def get(self, campaign_id: str) -> Campaign: ...

    def save(self, campaign: Campaign) -> bool:
        """Store it if nobody stored another since it was read (by `version`, which goes up by one)."""


@dataclass(frozen=True, slots=True)
class TickFailure:
    """Why a tick failed, in one line, and when."""

    error: str
    at_ms: int


class Listings(Protocol):
    """Where the listing of contacts stands; one dispatcher at a time writes it."""

    def get(self) -> Listing: ...
    def put(self, listing: Listing) -> None: ...

    def failure(self) -> TickFailure | None:
        """Of the last tick, if it failed."""

    def put_failure(self, failure: TickFailure | None) -> None: ...


@dataclass(frozen=True, slots=True)
class DayTally:
    """What was published on one UTC day.

    `events` counts events by detail type. `ages` counts the activities that were no backfill by the
    upper end of their age's bucket, in seconds.
    """

    events: Mapping[str, int]
    ages: Mapping[int, int]


class Tally(Protocol):
    """Counts of what was published on each UTC day, numbered from 1970.

    For people to look at: a crash right after a publication leaves it out.
    """

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        """Add to a day's counts, in one write."""

    def on(self, day: int) -> DayTally:
        """The counts of a day. Both are empty if nothing was published."""


class PauseBoard(Protocol):
    def get(self) -> Pauses: ...
    def pause(self, pause: Pause) -> None: ...
    def lift(self, reason: PauseReason) -> None: ...


class Lease(Protocol):
    def take(self, *, now_ms: int, until_ms: int) -> bool:
        """True if it is now ours: it was free, or its holder's time is over."""

    def give_back(self) -> None: ...


class Store(Protocol):
    """All state of one account: a DynamoDB table or a SQLite file.

    `contacts`, `campaigns`, `listings`, `pauses` and `tally` are shared by every process; each `Store`
    takes the `lease` as a holder of its own.
    """

    @property
    def contacts(self) -> Contacts: ...
    @property
    def campaigns(self) -> Campaigns: ...
    @property
    def listings(self) -> Listings: ...
    @property
    def pauses(self) -> PauseBoard: ...
    @property
    def tally(self) -> Tally: ...
    @property
    def lease(self) -> Lease: ...
    @property
    def limiter(self) -> Limiter: ...


class Queue(Protocol):
    def send(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Send them all. Returns those that were not accepted, however often they were tried."""

    def depth(self) -> int:
        """About how many messages are waiting or in flight."""


class DeadLetters(Protocol):
    """Messages that were received too often, for the operator."""

    def take(self) -> Iterator[Sequence[DeadLetter]]:
        """All of them, each once, some at a time; those taken are hidden from others for a while."""

    def delete(self, letters: Sequence[DeadLetter]) -> int:
        """Returns how many are deleted; the others come back."""

    def give_back(self, letters: Sequence[DeadLetter]) -> None:
        """Others can see them again at once."""


class Bus(Protocol):
    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        """Return when every event is accepted.

        Raises `PartlyAcceptedError` when that cannot be had in time. After any other error nobody
        knows which were accepted.
        """


@dataclass(frozen=True, slots=True)
class TickPorts:
    """What the dispatcher needs."""

    store: Store
    source: Source
    queue: Queue
    clock: Clock


@dataclass(frozen=True, slots=True)
class WorkPorts:
    """What a worker needs, whatever the kind of work."""

    store: Store
    source: Source
    queue: Queue
    bus: Bus
    clock: Clock
