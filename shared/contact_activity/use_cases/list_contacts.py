"""List the contacts, page by page, and register those that are new."""

from dataclasses import replace

from contact_activity.domain.answers import Refusal
from contact_activity.domain.listing import (
    Listing,
    begin_listing,
    count_contacts,
    count_page,
    has_listed_its_share,
    listing_page_read,
    restart_listing,
)
from contact_activity.domain.paging import MAX_RESTARTS, Rounds
from contact_activity.errors import RetryError, WaitError
from contact_activity.ports import TickPorts
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.tick_report import TickReport

# After a second expired cursor in one tick the list is read on, but running out of time is a failure.
RESTARTS_ALLOWED = 1
# Share of a tick's time. The rest is for handing out.
LISTING_SHARE = 0.6
# Enough for a slow page and a few tries.
LISTING_TRIED_MS = 15_000


def list_contacts(
    ports: TickPorts, report: TickReport, deadline_ms: int, may_begin: bool, has_failed: bool
) -> None:
    """List until the listing is complete, its share of the day is spent, or time runs out.

    `may_begin` False: only go on with a listing that is under way. `has_failed`: the last tick could not
    list. Raises `RetryError` or `FatalError` if the list cannot be had.
    """
    now_ms, begun_ms = ports.clock.now_ms(), ports.clock.monotonic_ms()
    listing_deadline_ms = begun_ms + _listing_time_ms(deadline_ms - begun_ms, has_failed)
    listing = ports.store.listings.get()
    if may_begin:
        listing = begin_listing(listing, now_ms)
    rounds, restarts = Rounds(), 0
    try:
        while listing.is_under_way:
            if has_listed_its_share(listing, ports.store.limiter.limits, ports.clock.now_ms()):
                report.listing_waits = True
                return
            listing = count_page(listing, ports.clock.now_ms())
            listing, is_restart = _list_page(ports, report, listing, rounds, listing_deadline_ms)
            rounds, restarts = Rounds() if is_restart else rounds, restarts + is_restart
            ports.store.listings.put(listing)
            if restarts > MAX_RESTARTS:
                raise _cursors_did_not_hold(restarts)
        report.listing_is_complete = True
    except RetryError:
        # The page that failed was a call of the day too.
        ports.store.listings.put(replace(ports.store.listings.get(), day=listing.day, pages=listing.pages))
        raise
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)
        if restarts > RESTARTS_ALLOWED:
            raise _cursors_did_not_hold(restarts) from wait


def _listing_time_ms(left_ms: int, has_failed: bool) -> int:
    """How long to try. Short after a failed tick: a list that is down would cost half the day's calls."""
    share_ms = int(left_ms * LISTING_SHARE)
    return min(share_ms, LISTING_TRIED_MS) if has_failed else share_ms


def _cursors_did_not_hold(restarts: int) -> RetryError:
    return RetryError(f"the contact list's cursors did not hold: {restarts} restarts")


def _list_page(
    ports: TickPorts,
    report: TickReport,
    listing: Listing,
    rounds: Rounds,
    deadline_ms: int,
) -> tuple[Listing, bool]:
    """Read and register one page. Return the listing behind it, and whether it had to begin again.

    Raises `RetryError` if pages go in circles; the next tick begins again.
    """
    page = ports.source.contacts(since_ms=listing.since_ms, next_=listing.next, deadline_ms=deadline_ms)
    if isinstance(page, Refusal):
        return restart_listing(listing), True
    is_full = listing.since_ms is None
    new = ports.store.contacts.register(page.contacts, ports.clock.now_ms(), is_full=is_full)
    listing = count_contacts(listing, shown=len({contact.id for contact in page.contacts}), new=new)
    report.pages += 1
    report.new_contacts += new
    report.unreadable_contacts += page.unreadable
    is_empty = not page.contacts
    if page.next is not None and rounds.are_endless(hash(page.contacts), is_empty=is_empty):
        ports.store.listings.put(restart_listing(listing))
        raise RetryError("the pages of the contact list go round, each with another cursor")
    if page.next is not None and rounds.was_seen(page.next):
        return restart_listing(listing), True
    return listing_page_read(listing, page.next), False
