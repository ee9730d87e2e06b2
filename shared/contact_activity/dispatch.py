"""One tick: keep the registry of contacts, and hand out those that are due.

The listing goes on where the last tick's time limit stopped it. A message is a hint only: what is
lost or doubled here is planned again from the registry by a later tick.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from contact_activity import planning
from contact_activity.campaigns import give_up_listing, hand_out_campaigns
from contact_activity.failures import describe
from contact_activity.paging import RESTARTS_MAX, Rounds
from contact_activity.pausing import pause_for
from contact_activity.ports import (
    Clock,
    FatalError,
    Refusal,
    RetryError,
    TickFailure,
    TickPorts,
    WaitError,
)
from contact_activity.rate_limit import Pause, PauseReason, calls_left, is_own_budget, midnight_after
from contact_activity.work import WorkItem, WorkKind

# A cursor that expired twice in one tick: the list is read until time runs out, and that is a failure.
RESTARTS_ALLOWED = 1
# The rest of a tick's time is for handing out.
LISTING_SHARE = 0.6
LEASE_MARGIN_MS = 10_000
# Enough for a slow page and a few tries.
LISTING_TRIED_MS = 15_000


class TickOutcome(StrEnum):
    DISPATCHED = "dispatched"
    PAUSED = "paused"
    LEASE_HELD = "lease_held"


@dataclass(slots=True)
class DispatchReport:
    """What one tick came to. `paused_by` names the first active pause.

    `pulled_back`: contacts that were due later than they can honestly wait, and are due now.

    `listing_waits`: it has read its share of the day's calls, and goes on at 00:00 UTC.

    `paused` names every pause that held since the last tick, also one that this tick lifted.

    `lag_ms` is how long the contact that waits longest has been due at the end of the tick; it and
    the calls are None when another tick was under way. `campaigns_failed`: why the campaigns could
    not be listed.
    """

    outcome: TickOutcome = TickOutcome.DISPATCHED
    paused_by: str | None = None
    pages: int = 0
    new_contacts: int = 0
    unreadable_contacts: int = 0
    listing_is_complete: bool = False
    listing_waits: bool = False
    pulled_back: int = 0
    enqueued: int = 0
    rejected: int = 0
    campaigns_enqueued: int = 0
    campaigns_failed: str | None = None
    paused: tuple[str, ...] = ()
    lag_ms: int | None = None
    calls_used: int | None = None
    calls_per_day: int | None = None

    @property
    def is_listed(self) -> bool:
        """Nothing more of the list can be read now."""
        return self.listing_is_complete or self.listing_waits


def dispatch(
    ports: TickPorts,
    *,
    tick_ms: int,
    deadline_ms: int,
    calls_each: int = 1,
    begin_listing: bool = True,
    correlation_id: str | None = None,
    campaign_lookback_days: int | None = None,
    report: DispatchReport | None = None,
) -> DispatchReport:
    """Run one tick; `begin_listing=False` only goes on with a listing that is under way.

    `calls_each`: the calls that a contact takes when nothing is new. `correlation_id` goes into
    every message. `campaign_lookback_days`: how long after its send a campaign's summary is asked
    for; None is never. `report`: filled in as the tick goes, for a caller that tells also of a tick
    that raises. Raises `RetryError` when the
    listing failed, after handing out what is due; `FatalError` when the API refuses to list, since
    it would then call every contact gone.
    """
    report = report or DispatchReport()
    until_ms = _lease_until_ms(ports.clock, deadline_ms)
    if not ports.store.lease.take(now_ms=ports.clock.now_ms(), until_ms=until_ms):
        report.outcome = TickOutcome.LEASE_HELD
        return report
    try:
        _note_pauses(ports, report, tick_ms)
        ports.store.limiter.set_right()
        _lift_raised_budget(ports)
        _probe_credential(ports, deadline_ms)
        failure = _list_if_not_paused(ports, report, deadline_ms, begin_listing)
        if not _is_paused(ports, report):
            _hand_out(ports, report, tick_ms, calls_each, deadline_ms, correlation_id)
        if campaign_lookback_days is not None and not _is_paused(ports, report):
            _hand_out_campaigns(ports, report, campaign_lookback_days, deadline_ms, correlation_id)
        _measure(ports, report)
    finally:
        ports.store.lease.give_back()
    if failure:
        raise failure
    return report


def _lease_until_ms(clock: Clock, deadline_ms: int) -> int:
    return clock.now_ms() + deadline_ms - clock.monotonic_ms() + LEASE_MARGIN_MS


def _list_if_not_paused(
    ports: TickPorts, report: DispatchReport, deadline_ms: int, begin_listing: bool
) -> RetryError | None:
    if _is_paused(ports, report):
        return None
    # Read first: a tick that failed is rare, and a write costs more.
    has_failed = ports.store.listings.failure() is not None
    try:
        _list_contacts(ports, report, deadline_ms, begin_listing, has_failed)
    except (RetryError, FatalError) as error:
        ports.store.listings.put_failure(TickFailure(describe(error), ports.clock.now_ms()))
        if isinstance(error, FatalError):
            raise
        return error
    if report.pages and has_failed:
        ports.store.listings.put_failure(None)
    return None


def _note_pauses(ports: TickPorts, report: DispatchReport, tick_ms: int) -> None:
    """Also those that are over by now: an operator looks at a pause that comes with every tick."""
    now_ms = ports.clock.now_ms()
    _note(report, ports.store.pauses.get().active(now_ms, since_ms=now_ms - tick_ms))


def _note(report: DispatchReport, pauses: Sequence[Pause]) -> None:
    reasons = {*report.paused, *(pause.reason.value for pause in pauses)}
    report.paused = tuple(reason.value for reason in PauseReason if reason.value in reasons)


def _is_paused(ports: TickPorts, report: DispatchReport) -> bool:
    active = ports.store.pauses.get().active(ports.clock.now_ms())
    if active:
        report.outcome, report.paused_by = TickOutcome.PAUSED, active[0].reason.value
        _note(report, active)
    return bool(active)


def _measure(ports: TickPorts, report: DispatchReport) -> None:
    now_ms = ports.clock.now_ms()
    oldest_ms = ports.store.contacts.oldest_due_ms(now_ms)
    report.lag_ms = 0 if oldest_ms is None else now_ms - oldest_ms
    report.calls_used = ports.store.limiter.pace().used_on(now_ms)
    report.calls_per_day = ports.store.limiter.limits.calls_per_day


def _lift_raised_budget(ports: TickPorts) -> None:
    """The operator may have raised the day's calls since they were used up."""
    now_ms = ports.clock.now_ms()
    own = [pause for pause in ports.store.pauses.get().active(now_ms) if is_own_budget(pause, now_ms)]
    if own and calls_left(ports.store.limiter.pace(), ports.store.limiter.limits, now_ms):
        ports.store.pauses.lift(PauseReason.QUOTA)


def _probe_credential(ports: TickPorts, deadline_ms: int) -> None:
    """A refused credential may be mended at any time: ask once a tick."""
    active = ports.store.pauses.get().active(ports.clock.now_ms())
    if [pause.reason for pause in active] != [PauseReason.CREDENTIAL]:
        return
    try:
        ports.source.probe(deadline_ms=deadline_ms)
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)
    except RetryError:
        return
    else:
        ports.store.pauses.lift(PauseReason.CREDENTIAL)


def _list_contacts(
    ports: TickPorts, report: DispatchReport, deadline_ms: int, begin_listing: bool, has_failed: bool
) -> None:
    now_ms, begun_ms = ports.clock.now_ms(), ports.clock.monotonic_ms()
    listing_deadline_ms = begun_ms + _listing_time_ms(deadline_ms - begun_ms, has_failed)
    listing = ports.store.listings.get()
    if begin_listing:
        listing = planning.begin_listing(listing, now_ms)
    rounds, restarts = Rounds(), 0
    try:
        while listing.is_under_way:
            if planning.has_listed_its_share(listing, ports.store.limiter.limits, ports.clock.now_ms()):
                report.listing_waits = True
                return
            listing = planning.count_page(listing, ports.clock.now_ms())
            listing, is_restart = _list_page(ports, report, listing, rounds, listing_deadline_ms)
            rounds, restarts = Rounds() if is_restart else rounds, restarts + is_restart
            ports.store.listings.put(listing)
            if restarts > RESTARTS_MAX:
                raise _cursors_did_not_hold(restarts)
        report.listing_is_complete = True
    except RetryError:
        # The page that was asked for in vain counts.
        ports.store.listings.put(replace(ports.store.listings.get(), day=listing.day, pages=listing.pages))
        raise
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)
        if restarts > RESTARTS_ALLOWED:
            raise _cursors_did_not_hold(restarts) from wait


def _listing_time_ms(left_ms: int, has_failed: bool) -> int:
    """Little after a tick that could not list: a list that is down for a day would cost half its calls."""
    share_ms = int(left_ms * LISTING_SHARE)
    return min(share_ms, LISTING_TRIED_MS) if has_failed else share_ms


def _cursors_did_not_hold(restarts: int) -> RetryError:
    return RetryError(f"the contact list's cursors did not hold: {restarts} restarts")


def _list_page(
    ports: TickPorts,
    report: DispatchReport,
    listing: planning.Listing,
    rounds: Rounds,
    deadline_ms: int,
) -> tuple[planning.Listing, bool]:
    """The listing one page on, and whether it had to begin again.

    Raises `RetryError` for pages that go round: the next tick begins again.
    """
    page = ports.source.contacts(since_ms=listing.since_ms, next_=listing.next, deadline_ms=deadline_ms)
    if isinstance(page, Refusal):
        return planning.restart_listing(listing), True
    is_full = listing.since_ms is None
    new = ports.store.contacts.register(page.contacts, ports.clock.now_ms(), is_full=is_full)
    listing = planning.count_contacts(listing, shown=len({contact.id for contact in page.contacts}), new=new)
    report.pages += 1
    report.new_contacts += new
    report.unreadable_contacts += page.unreadable
    if page.next is not None and rounds.are_endless(hash(page.contacts)):
        ports.store.listings.put(planning.restart_listing(listing))
        raise RetryError("the pages of the contact list go round, each with another cursor")
    if page.next is not None and rounds.was_seen(page.next):
        return planning.restart_listing(listing), True
    return planning.listing_page_read(listing, page.next), False


def _hand_out(
    ports: TickPorts,
    report: DispatchReport,
    tick_ms: int,
    calls_each: int,
    deadline_ms: int,
    correlation_id: str | None,
) -> None:
    now_ms = ports.clock.now_ms()
    pace, limits = ports.store.limiter.pace(), ports.store.limiter.limits
    report.pulled_back = _pull_back(ports, now_ms, tick_ms, calls_each)
    if calls_left(pace, limits, now_ms) == 0:
        ports.store.pauses.pause(Pause(PauseReason.QUOTA, midnight_after(now_ms)))
        _is_paused(ports, report)
        return
    budget = planning.tick_budget(
        pace,
        limits,
        now_ms=now_ms,
        tick_ms=tick_ms,
        calls_each=calls_each,
        outstanding=ports.queue.depth(),
    )
    claims = ports.store.contacts.claim(ports.clock, tick_ms=tick_ms, most=budget)
    while ports.clock.monotonic_ms() < deadline_ms and not report.rejected:
        now_ms = ports.clock.now_ms()
        claimed = next(claims, None)
        if claimed is None:
            return
        items = [WorkItem(WorkKind.CONTACT, contact_id, now_ms, correlation_id) for contact_id in claimed]
        rejected = ports.queue.send(items)
        ports.store.contacts.release([item.id for item in rejected])
        report.enqueued += len(claimed) - len(rejected)
        report.rejected += len(rejected)


def _pull_back(ports: TickPorts, now_ms: int, tick_ms: int, calls_each: int) -> int:
    """A clock that was ahead and is set right leaves contacts due in days or years."""
    contacts, limits = ports.store.listings.get().contacts, ports.store.limiter.limits
    waits = planning.longest_waits(contacts=contacts, calls_each=calls_each, tick_ms=tick_ms, limits=limits)
    return ports.store.contacts.pull_back(now_ms, waits)


def _hand_out_campaigns(
    ports: TickPorts,
    report: DispatchReport,
    lookback_days: int,
    deadline_ms: int,
    correlation_id: str | None,
) -> None:
    """Contacts come first: campaigns that cannot be listed are told and hold up nothing."""
    try:
        report.campaigns_enqueued = hand_out_campaigns(
            ports, lookback_days=lookback_days, deadline_ms=deadline_ms, correlation_id=correlation_id
        )
    except (RetryError, FatalError) as error:
        _give_up_campaigns(ports, report, str(error), is_refused=isinstance(error, FatalError))
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)


def _give_up_campaigns(ports: TickPorts, report: DispatchReport, cause: str, *, is_refused: bool) -> None:
    """Trying at every tick would spend calls on what is nobody's activity."""
    report.campaigns_failed = cause
    give_up_listing(ports.store.campaigns, ports.clock.now_ms(), is_refused=is_refused)
