"""Defines what the use cases need of the world, as small protocols.

Times are milliseconds since 1970 in UTC. A `deadline_ms` is when the caller must be done, by
`Clock.monotonic_ms`: somebody may set the clock while it works.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import Campaign
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits, Pace
from contact_activity.domain.pauses import Pause, PauseReason, Pauses
from contact_activity.domain.schedule import LongestWaits
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.tally import DayTally
from contact_activity.domain.work import DeadLetter, WorkItem


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


class Listings(Protocol):
    """Where the listing of contacts stands; one dispatcher at a time writes it."""

    def get(self) -> Listing: ...
    def put(self, listing: Listing) -> None: ...

    def failure(self) -> TickFailure | None:
        """Of the last tick, if it failed."""

    def put_failure(self, failure: TickFailure | None) -> None: ...


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
