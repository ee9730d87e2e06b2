"""Which contacts are asked, when, and how many: the quota is spent where activity is. Pure."""

from dataclasses import dataclass, replace

from contact_activity.rate_limit import DAY_MS, Limits, Pace, calls_before

WEEK_MS = 7 * DAY_MS
LISTING_OVERLAP_MS = DAY_MS
FULL_LISTING_EVERY_MS = WEEK_MS
FAILURE_WAIT_MAX_MS = DAY_MS
GONE_WAIT_MAX_MS = 4 * WEEK_MS
QUEUED_TICKS = 2


@dataclass(frozen=True, slots=True)
class Listing:
    """Where the listing of contacts stands.

    `next`: cursor of an unfinished listing, which began at `started_ms`; None between listings.
    `since_ms`: the `modified_since` it is asked with; None is a full listing.
    `mark_ms`: start of the last complete listing less a day, the next one's `since_ms`.
    `contacts`: how many are known.
    """

    next: str | None = None
    started_ms: int | None = None
    since_ms: int | None = None
    mark_ms: int | None = None
    full_ms: int | None = None
    contacts: int = 0

    @property
    def is_under_way(self) -> bool:
        return self.started_ms is not None


def begin_listing(listing: Listing, now_ms: int) -> Listing:
    """Go on with an unfinished listing, or begin the next.

    Every 7 days it is a full one: pages of an offset cursor shift while they are read, so an
    incremental listing can skip a contact.
    """
    if listing.is_under_way:
        return listing
    is_full = listing.full_ms is None or now_ms - listing.full_ms >= FULL_LISTING_EVERY_MS
    return replace(listing, next=None, started_ms=now_ms, since_ms=None if is_full else listing.mark_ms)


def restart_listing(listing: Listing) -> Listing:
    """The cursor expired: from page one again. The start stays, so the mark can only be earlier."""
    return replace(listing, next=None)


def count_contacts(listing: Listing, new_contacts: int) -> Listing:
    return replace(listing, contacts=listing.contacts + new_contacts)


def listing_page_read(listing: Listing, next_: str | None, new_contacts: int) -> Listing:
    """After a page is registered; without a `next_` the listing is complete."""
    listing = replace(count_contacts(listing, new_contacts), next=next_)
    if next_ is not None or listing.started_ms is None:
        return listing
    return replace(
        listing,
        started_ms=None,
        since_ms=None,
        mark_ms=listing.started_ms - LISTING_OVERLAP_MS,
        full_ms=listing.started_ms if listing.since_ms is None else listing.full_ms,
    )


def next_due_ms(now_ms: int, *, contacts: int, calls_each: int, tick_ms: int, limits: Limits) -> int:
    """When a contact that was just synced is asked again: as often as the day's calls allow.

    `calls_each`: the calls that a sync of one contact takes when nothing is new.
    """
    calls_a_day = min(limits.calls_per_day, DAY_MS // limits.slot_ms)
    return now_ms + max(tick_ms, contacts * calls_each * DAY_MS // max(1, calls_a_day))


def due_after_failure_ms(now_ms: int, *, failures: int, tick_ms: int) -> int:
    """Doubles from one tick to 24 h; `failures` counts this one."""
    return now_ms + min(FAILURE_WAIT_MAX_MS, tick_ms << min(failures - 1, 20))


def due_after_gone_ms(now_ms: int, *, times_gone: int) -> int:
    """7 days after the first 404, doubling to 28; `times_gone` counts this one."""
    return now_ms + min(GONE_WAIT_MAX_MS, WEEK_MS << min(times_gone - 1, 20))


def tick_budget(
    pace: Pace, limits: Limits, *, now_ms: int, tick_ms: int, calls_each: int, outstanding: int
) -> int:
    """How many contacts a tick hands out: what can be granted before the next, less what is out.

    At least one, as long as nothing is out and the day has a call left.
    """
    calls = calls_before(pace, limits, now_ms, now_ms + tick_ms)
    contacts = max(1, calls // calls_each) if calls else 0
    return max(0, contacts - outstanding)


def queued_until_ms(now_ms: int, tick_ms: int) -> int:
    """A lost message delays its contact by no more than this."""
    return now_ms + QUEUED_TICKS * tick_ms
