"""How the contact list is read: when, from which date on, and how much of it a day."""

from dataclasses import dataclass, replace

from contact_activity.domain.pace import Limits
from contact_activity.domain.times import DAY_MS, HOUR_MS, WEEK_MS, is_too_late

# How far each listing reaches back behind the last: a contact may appear a day after its date.
LISTING_OVERLAP_MS = HOUR_MS
DEEP_OVERLAP_MS = DAY_MS
DEEP_LISTING_EVERY_MS = 6 * HOUR_MS
FULL_LISTING_EVERY_MS = WEEK_MS
# Shares of the day's calls. A full listing may take more, since only it finds everybody.
MAX_LISTING_PERCENT = 25
MAX_FULL_LISTING_PERCENT = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """Where the listing of contacts stands.

    `started_ms`: when the unfinished listing began; None between listings. `next`: its cursor.
    `since_ms`: the `modified_since` that it asks with; None for a full listing.
    `mark_ms`: the start of the last complete listing less an hour, which is the next one's `since_ms`.
    `deep_ms` and `full_ms`: when the last deep and the last full listing began. A deep one asks from a
    day before the last deep one on.
    `contacts`: how many are known: those of the last full listing, and the new ones since.
    `counted`: how many this full listing has shown so far; None in any other listing, and in one that
    an earlier version began.
    `pages`: how many were read on `day`, which counts UTC days since 1970.
    """

    next: str | None = None
    started_ms: int | None = None
    since_ms: int | None = None
    mark_ms: int | None = None
    full_ms: int | None = None
    contacts: int = 0
    counted: int | None = None
    deep_ms: int | None = None
    day: int = 0
    pages: int = 0

    @property
    def is_under_way(self) -> bool:
        return self.started_ms is not None


def begin_listing(listing: Listing, now_ms: int) -> Listing:
    """Go on with an unfinished listing, or begin the next.

    Every 6 hours it is a deep one and every 7 days a full one, since pages behind an offset cursor shift
    while they are read, and a listing can skip a contact. It is full, too, after a clock ran ahead: a
    contact that changed since then may lie before the mark.
    """
    if _is_ahead(listing, now_ms):
        listing = replace(listing, next=None, started_ms=None, since_ms=None, full_ms=None, deep_ms=None)
    if listing.is_under_way:
        return listing
    is_full = listing.full_ms is None or now_ms - listing.full_ms >= FULL_LISTING_EVERY_MS
    since_ms = None if is_full else _since_ms(listing, now_ms)
    counted = 0 if since_ms is None else None
    return replace(listing, next=None, started_ms=now_ms, since_ms=since_ms, counted=counted)


def _since_ms(listing: Listing, now_ms: int) -> int | None:
    """The date to ask from. An earlier version kept no `deep_ms`, and its mark reached a day back."""
    if listing.deep_ms is None or now_ms - listing.deep_ms < DEEP_LISTING_EVERY_MS:
        return listing.mark_ms
    return listing.deep_ms - DEEP_OVERLAP_MS


def _is_deep(listing: Listing) -> bool:
    """Whether this listing finds contacts that appeared a day after their date."""
    if listing.since_ms is None or listing.started_ms is None:
        return True
    return listing.since_ms <= listing.started_ms - DEEP_OVERLAP_MS


def _is_ahead(listing: Listing, now_ms: int) -> bool:
    begun = (listing.started_ms, listing.full_ms, listing.deep_ms)
    marks = (listing.mark_ms, listing.since_ms)
    return any(is_too_late(time_ms, now_ms) for time_ms in begun) or any(
        is_too_late(time_ms, now_ms - LISTING_OVERLAP_MS) for time_ms in marks
    )


def has_listed_its_share(listing: Listing, limits: Limits, now_ms: int) -> bool:
    """Whether the listing has spent its share of this UTC day, so that the rest goes to activity.

    A full listing that began on an earlier day takes all it needs: if its cursors expire overnight it
    would otherwise begin again each day and never end.
    """
    if listing.since_ms is None and (listing.started_ms or now_ms) // DAY_MS < now_ms // DAY_MS:
        return False
    percent = MAX_LISTING_PERCENT if listing.since_ms is not None else MAX_FULL_LISTING_PERCENT
    return pages_on(listing, now_ms) >= max(1, limits.calls_per_day * percent // 100)


def pages_on(listing: Listing, now_ms: int) -> int:
    """The pages of contacts read on the UTC day of `now_ms`."""
    return listing.pages if listing.day == now_ms // DAY_MS else 0


def count_page(listing: Listing, now_ms: int) -> Listing:
    """The listing with one more page of this day, before that page is asked for."""
    return replace(listing, day=now_ms // DAY_MS, pages=pages_on(listing, now_ms) + 1)


def restart_listing(listing: Listing) -> Listing:
    """The listing at page one again, after its cursor expired. Its start stays, and so does its mark."""
    return replace(listing, next=None, counted=None if listing.counted is None else 0)


def count_contacts(listing: Listing, *, shown: int, new: int) -> Listing:
    """The listing after a page was registered that showed so many contacts, `new` of them new."""
    counted = None if listing.counted is None else listing.counted + shown
    return replace(listing, contacts=listing.contacts + new, counted=counted)


def listing_page_read(listing: Listing, next_: str | None) -> Listing:
    """The listing behind a page that was registered. Without `next_` it is complete."""
    listing = replace(listing, next=next_)
    if next_ is not None or listing.started_ms is None:
        return listing
    return replace(
        listing,
        contacts=listing.contacts if listing.counted is None else listing.counted,
        counted=None,
        started_ms=None,
        since_ms=None,
        mark_ms=listing.started_ms - LISTING_OVERLAP_MS,
        deep_ms=listing.started_ms if _is_deep(listing) else listing.deep_ms,
        full_ms=listing.started_ms if listing.since_ms is None else listing.full_ms,
    )


@dataclass(frozen=True, slots=True)
class TickFailure:
    """Why a tick failed, in one line, and when."""

    error: str
    at_ms: int
