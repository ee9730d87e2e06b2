"""Ports: what the use cases need of the world, as small protocols.

Times are milliseconds since 1970 in UTC. A `deadline_ms` is a time of `Clock.monotonic_ms`, because
somebody may set the clock while the caller works.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from contact_activity.domain.account import StoredAccount
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import Campaign, SentCampaign, WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits, Pace
from contact_activity.domain.pauses import Pause, PauseReason, Pauses
from contact_activity.domain.retries import Retry
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.schedule import LongestWaits
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.tally import DayTally
from contact_activity.domain.tokens import StoredTokens
from contact_activity.domain.trust import Trust
from contact_activity.domain.work import DeadLetter, WorkItem


class Clock(Protocol):
    """Time, and waiting."""

    def now_ms(self) -> int:
        """The time of day, to be stored and compared with stamps. Jumps when somebody sets the clock."""

    def monotonic_ms(self) -> int:
        """A time that only goes forward, from any beginning. Waits and deadlines are measured by it."""

    def sleep(self, wait_s: float) -> None: ...


class Source(Protocol):
    """Constant Contact.

    Each call waits for its slot and is tried again until the deadline. Raises `RetryError` if it may
    work later, `WaitError` for the quota, the credential or the deadline, and `FatalError` if it never
    will. A page has a `next` cursor unless it is the last.
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
        """Read a contact's summary report, of all campaigns or by campaign."""

    def campaigns(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> CampaignsPage | Refusal:
        """Read a page of the campaigns that were sent, last sent first.

        `since_ms`: only those that were modified then or later.
        """

    def campaign_summaries(
        self, campaign_ids: Sequence[str], *, deadline_ms: int
    ) -> Mapping[str, SummaryReport | Refusal]:
        """Read the summary reports of campaigns, by id: those that one message names."""

    def campaign(self, campaign_id: str, *, deadline_ms: int) -> SentCampaign | Refusal: ...

    def campaign_report(
        self,
        campaign_id: str,
        type_: ActivityType,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,
    ) -> TrackingPage | Refusal:
        """Read a page of what all contacts did of one type with a campaign."""

    def probe(self, *, deadline_ms: int) -> None:
        """Make one cheap call, to learn whether the API accepts calls again."""


class BearerTokens(Protocol):
    """The access tokens of the v3 API, for any number of threads. What a client does with them:

    - ask for one before each try, and send that one;
    - after any answer but a refusal say `accepted`;
    - after a 401 ask again: if another token comes, try with it (the first was due, or somebody renewed
      it). Otherwise make the neutral call. If that is accepted, the 401 is the resource's own failure. If
      it gets a 401 too, say `refused`, and try again when that returns.
    """

    def access_token(self, *, deadline_ms: int) -> str:
        """Return the token to send now. One that is due is refreshed first.

        Raises `WaitError`: `credential` if there is none and no try can bring one, `time` if the deadline
        leaves no time to refresh it; and `RetryError` if the token endpoint failed until the deadline.
        """

    def accepted(self, token: str) -> None:
        """Note that the API accepted a call with this token."""

    def refused(self, token: str, *, deadline_ms: int) -> None:
        """Renew a token that the API refuses, on the neutral call too. Return when another one is there.

        Raises as `access_token`: `credential` also if the token is itself such a renewed one, and was never
        accepted.
        """


class TokenStore(Protocol):
    """Where the tokens of one credential are stored, for any number of processes."""

    def read(self) -> StoredTokens:
        """What is stored now; empty tokens if nothing is."""

    def exclusive(self, *, within_s: float) -> AbstractContextManager[bool]:
        """Give the right to refresh and to save, which one thread has at a time: True if it came in time."""

    def save(self, tokens: StoredTokens) -> None:
        """Store all of it, or nothing. It is kept whatever happens once this returns."""


class AccountRecord(Protocol):
    """Where the account of the state is stored."""

    def read(self) -> StoredAccount | None: ...
    def save(self, account: StoredAccount) -> None:
        """Store it; where processes may race, another account that is stored stays."""


class TryWatch(Protocol):
    """Is told of the tries of calls as they happen. Every method may be called from any thread."""

    def record_try(self) -> None:
        """Count a try, whatever its end."""

    def record_retry(self, retry: Retry) -> None:
        """Count a try that is followed by another one. Called before the wait for that."""


class Limiter(Protocol):
    """The pace of one API key, shared by every worker."""

    @property
    def limits(self) -> Limits: ...

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        """Wait for the next slot, and call `prepare` `lead_ms` before it.

        A slot that is granted counts as a call of the day, whatever happens then. Raises `WaitError`:
        `quota` if the day has no call left, `time` if the slot lies behind the deadline; and whatever
        `prepare` raises.
        """

    def slow_down(self, wait_s: float = 0) -> None:
        """Let nobody take a slot for `wait_s`, and for a second at least. The API said "too fast"."""

    def set_right(self) -> None:
        """Count for today what a clock that ran ahead counted for a later day."""

    def pace(self) -> Pace:
        """The calls that are counted, and the next free slot."""


class Contacts(Protocol):
    """The registry of contacts, with their watermarks."""

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        """Add the contacts that are not known, due now. Return how many are new.

        A gone contact is due again if its date changed, or if the listing is full. Nothing that a worker
        stored is touched. A contact that is stored as listed costs no write. One that was erased is left
        out, unless its date is later than that: then it is a new contact, and no longer known as erased.
        """

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        """Claim up to `most` due contacts that are in no message, oldest first, until `queued_until_ms`.

        Yield the claimed ids in parts; a part may be empty. A caller that stops early leaves the rest
        unclaimed. The clock is read for each claim, since a tick may stall between two of them. A contact
        that is queued for longer than a claim of now would last counts as free: a clock that ran ahead
        wrote that. Each claim is atomic; which contacts are due may be seen a moment late.
        """

    def pull_back(self, now_ms: int, waits: LongestWaits) -> int:
        """Make contacts due now that wait longer than any contact should. Return how many were found."""

    def release(self, contact_ids: Sequence[str]) -> None:
        """Undo a claim: these contacts are in no message. Unknown ids are ignored."""

    def get_many(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        """What is stored of those that are registered, read consistently, by id."""

    def remember(self, contacts: Sequence[Contact], *, due: Collection[str] = ()) -> list[str]:
        """Store the watermark's marks, `remembered` and `reported` of each contact.

        `due`: the ids of those whose due time is stored, too; others may have changed it meanwhile. One
        write each, conditional on `version`, which goes up by one; nothing else of it changes. Return
        the ids of those that somebody else stored since they were read, or erased.
        """

    def get(self, contact_id: str) -> Contact | None:
        """What is stored, read consistently; None for a contact that is not registered."""

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        """Store it, unless somebody else did since it was read. Return whether it is stored.

        One atomic write, conditional on `version`, which goes up by one. `queued_until_ms`: until then it
        counts as in a message; 0: it is in none.
        """

    def erase(self, contact_id: str, now_ms: int) -> bool:
        """Delete all that is stored of it, whoever works on it. False if nothing was stored.

        First a digest of its id is stored, by which `register` knows that it was erased. Erased once more,
        it counts as erased now.
        """

    def erased_ms(self, contact_id: str) -> int | None:
        """When it was erased; None if it was not, or came back since."""

    def make_due(self, now_ms: int) -> None:
        """Make every known contact due now, and in no message."""

    def oldest_due_ms(self, now_ms: int) -> int | None:
        """When the contact that waits longest became due, in a message or not; None if none is due."""

    def outlines(self) -> Iterator[ContactOutline]:
        """Every contact without its memory, in no order. Reads all that is stored: for the operator."""


class Campaigns(Protocol):
    """What was published of each campaign, and when campaigns were listed."""

    def listed_ms(self) -> int | None:
        """When campaigns were last listed; None if never, or if they are to be listed now."""

    def put_listed(self, listed_ms: int | None) -> None: ...

    def get(self, campaign_id: str) -> Campaign:
        """What is stored, read consistently; version 0 if nothing is."""

    def save(self, campaign: Campaign) -> bool:
        """Store it, unless somebody else did since it was read. Return whether it is stored.

        One atomic write, conditional on `version`, which goes up by one.
        """


class Reports(Protocol):
    """Campaigns' reports: which there are, what is known of each, and what all of them share."""

    def feed(self) -> CampaignFeed:
        """The campaign list as it was seen last. Only the holder of the lease writes it."""

    def put_feed(self, feed: CampaignFeed) -> None: ...

    def watched(self, campaign_id: str) -> WatchedCampaign | None: ...

    def put_watched(self, campaign: WatchedCampaign) -> None: ...

    def due(self, now_ms: int) -> list[CampaignReport]:
        """The reports that are due, those of the newest sends first: 1,000 at most.

        Which reports are due may be seen a moment late.
        """

    def make_due(self, now_ms: int, *, after_ms: int | None = None) -> None:
        """Make every watched report due now, or those that are due after a time."""

    def get(self, id_: ReportId) -> CampaignReport | None:
        """What is stored of a report, read consistently."""

    def save(self, report: CampaignReport) -> bool:
        """Store it, unless somebody else did since it was read. Return whether it is stored.

        One atomic write, conditional on `version`, which goes up by one; version 0: only if there is none.
        """

    def outlines(self) -> Iterator[CampaignReport]:
        """Every report that is watched, in no order: for the operator."""

    def trust(self) -> Trust:
        """What is stored, read consistently."""

    def save_trust(self, trust: Trust) -> bool:
        """Store it, unless somebody else did since it was read. Return whether it is stored."""

    def shifts(self) -> Shifts | None:
        """The shifts of the last tick, read consistently."""

    def save_shifts(self, shifts: Shifts, seen: Shifts | None) -> bool:
        """Store them if `seen` is still what is stored. Return whether they are."""

    def access(self) -> ReportAccess:
        """Whether the API gives the reports of mailings, read consistently."""

    def save_access(self, access: ReportAccess, seen: ReportAccess) -> bool:
        """Store it if `seen` is still what is stored. Return whether it is."""

    def take_urgent(self) -> tuple[str, ...]:
        """The contacts that are to be read in the next shift, each once."""

    def add_urgent(self, contact_ids: Collection[str]) -> None:
        """Have contacts read in the next shift, at most 200 in all: the others wait until they are due."""

    def drop_urgent(self, contact_id: str) -> None:
        """Keep nothing of a contact among those that are to be read in the next shift."""


class Listings(Protocol):
    """Where the listing of contacts stands. Only the holder of the lease writes it."""

    def get(self) -> Listing:
        """What is stored; a listing that never began if nothing is."""

    def put(self, listing: Listing) -> None: ...

    def failure(self) -> TickFailure | None:
        """Why the last tick failed; None if it did not."""

    def put_failure(self, failure: TickFailure | None) -> None: ...


class Tally(Protocol):
    """Counts of what was published on each UTC day, numbered from 1970.

    For people to look at: a crash right after a publication leaves it out.
    """

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        """Add to a day's counts, in one atomic write."""

    def on(self, day: int) -> DayTally:
        """The counts of a day. Both are empty if nothing was published."""


class PauseBoard(Protocol):
    """The pauses, at most one for each reason. Each change is atomic and leaves the others alone."""

    def get(self) -> Pauses:
        """All pauses that are stored, also those that are over."""

    def pause(self, pause: Pause) -> None: ...
    def lift(self, reason: PauseReason) -> None: ...


class Lease(Protocol):
    """The right to run a tick, which one dispatcher has at a time."""

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        """Take it if it is free, or if its holder's time is over. Return whether it is ours now."""

    def give_back(self) -> None:
        """Free it, if it is still ours."""


class Store(Protocol):
    """All state of one account: a DynamoDB table or a SQLite file.

    Every process shares it; each `Store` takes the lease as a holder of its own.
    """

    @property
    def contacts(self) -> Contacts: ...
    @property
    def campaigns(self) -> Campaigns: ...
    @property
    def reports(self) -> Reports: ...
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
    """The queue of work."""

    def send(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Send them all. Return those that were not accepted, however often they were tried."""

    def depth(self) -> int:
        """About how many messages are waiting or in flight."""


class DeadLetters(Protocol):
    """Messages that were received too often, for the operator."""

    def take(self) -> Iterator[Sequence[DeadLetter]]:
        """Yield each letter once, in parts. Those taken are hidden from others for a while."""

    def delete(self, letters: Sequence[DeadLetter]) -> int:
        """Return how many were deleted; the others come back."""

    def give_back(self, letters: Sequence[DeadLetter]) -> None:
        """Show them to others again at once."""


class Bus(Protocol):
    """The event bus."""

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        """Return when every event is accepted. No publication begins after the deadline.

        Raises `PartlyAcceptedError` if time runs out before that. After any other error nobody knows
        which events were accepted.
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
