"""Which contacts are asked, when, and how many: the quota is spent where activity is. Pure."""

from dataclasses import dataclass, replace

from contact_activity.rate_limit import (
    CLOCKS_DIFFER_MS,
    DAY_MS,
    HOUR_MS,
    Limits,
    Pace,
    calls_before,
    is_too_late,
)

WEEK_MS = 7 * DAY_MS
# Of every listing, and of the deep one: a contact may come into the list a day after its date.
LISTING_OVERLAP_MS = HOUR_MS
DEEP_OVERLAP_MS = DAY_MS
DEEP_LISTING_EVERY_MS = 6 * HOUR_MS
FULL_LISTING_EVERY_MS = WEEK_MS
# Of the day's calls; a full listing may take as much again, since it is what finds everybody.
LISTING_MOST_PERCENT = 25
FULL_LISTING_MOST_PERCENT = 50
FAILURE_WAIT_MAX_MS = DAY_MS
GONE_WAIT_MAX_MS = 4 * WEEK_MS
QUEUED_TICKS = 2
GONE_MOST = 10
GONE_MOST_PERCENT = 1
# The contact queue's: until then nobody else is given a message that a worker has.
VISIBILITY_MS = 720_000
# After its deadline a worker may still publish the page that it has read.
HELD_LONGER_MS = 60_000
# Longer than a function may run, and than that.
HELD_MAX_MS = 15 * 60_000 + HELD_LONGER_MS


@dataclass(frozen=True, slots=True)
class Listing:
    """Where the listing of contacts stands.

    `next`: cursor of an unfinished listing, which began at `started_ms`; None between listings.
    `since_ms`: the `modified_since` it is asked with; None is a full listing.
    `mark_ms`: start of the last complete listing less an hour, the next one's `since_ms`, unless
    that is a deep one: then it is `deep_ms`, the start of the last deep or full one, less a day.
    `contacts`: how many are known: as many as the last full listing showed, and the new ones since.
    `counted`: how many this full listing has shown so far; None in any other, and in one that a
    version began which did not count.
    `pages`: how many were read on `day`, a number of UTC days since 1970.
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

    Every 6 hours it is a deep one, and every 7 days a full one: pages of an offset cursor shift while
    they are read, so an incremental listing can skip a contact. It is full, too, after a clock that
    ran ahead: what was changed since then may lie before the mark.
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
    """An earlier version kept no `deep_ms`: its mark lies a day before its last listing."""
    if listing.deep_ms is None or now_ms - listing.deep_ms < DEEP_LISTING_EVERY_MS:
        return listing.mark_ms
    return listing.deep_ms - DEEP_OVERLAP_MS


def _is_deep(listing: Listing) -> bool:
    """Whether this listing, under way, shows what came into the list a day after its date."""
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
    """Whether no page more may be read on this UTC day: the other calls are for activity.

    A full listing that began on an earlier day takes what it needs: its cursors may not have held
    overnight, and it would begin anew each day and never end.
    """
    if listing.since_ms is None and (listing.started_ms or now_ms) // DAY_MS < now_ms // DAY_MS:
        return False
    percent = LISTING_MOST_PERCENT if listing.since_ms is not None else FULL_LISTING_MOST_PERCENT
    return pages_on(listing, now_ms) >= max(1, limits.calls_per_day * percent // 100)


def pages_on(listing: Listing, now_ms: int) -> int:
    """The pages of contacts read on the UTC day of `now_ms`."""
    return listing.pages if listing.day == now_ms // DAY_MS else 0


def count_page(listing: Listing, now_ms: int) -> Listing:
    """Before a page is asked for."""
    return replace(listing, day=now_ms // DAY_MS, pages=pages_on(listing, now_ms) + 1)


def restart_listing(listing: Listing) -> Listing:
    """The cursor expired: from page one again. The start stays, so the mark can only be earlier."""
    return replace(listing, next=None, counted=None if listing.counted is None else 0)


def count_contacts(listing: Listing, *, shown: int, new: int) -> Listing:
    """After a page that shows so many contacts is registered, of which so many are new."""
    counted = None if listing.counted is None else listing.counted + shown
    return replace(listing, contacts=listing.contacts + new, counted=counted)


def listing_page_read(listing: Listing, next_: str | None) -> Listing:
    """After a page is registered and counted; without a `next_` the listing is complete."""
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


def next_due_ms(now_ms: int, *, contacts: int, calls_each: int, tick_ms: int, limits: Limits) -> int:
    """When a contact that was just synced is asked again: as often as the day's calls allow.

    `calls_each`: the calls that a sync of one contact takes when nothing is new.
    """
    calls_a_day = min(limits.calls_per_day, DAY_MS // limits.slot_ms)
    return now_ms + max(tick_ms, contacts * calls_each * DAY_MS // max(1, calls_a_day))


def due_after_failure_ms(now_ms: int, *, failures: int, tick_ms: int) -> int:
    """Doubles from one tick to 24 h; `failures` counts this one."""
    return now_ms + min(FAILURE_WAIT_MAX_MS, tick_ms << min(failures - 1, 20))


def due_after_gone_ms(now_ms: int, *, times_gone: int, tick_ms: int) -> int:
    """After one tick, a day, 7, 14 and from then on 28 days; `times_gone` counts this 404.

    A burst of answers that are wrong is so found out soon, and one that is right costs few calls.
    """
    waits_ms = _gone_waits_ms(tick_ms)
    return now_ms + waits_ms[min(times_gone, len(waits_ms)) - 1]


def _gone_waits_ms(tick_ms: int) -> tuple[int, ...]:
    return (tick_ms, DAY_MS, WEEK_MS, 2 * WEEK_MS, GONE_WAIT_MAX_MS)


USUAL, FAILING, GONE = 0, 1, 2
STANDINGS = GONE + len(_gone_waits_ms(0))


def standing(*, failures: int, times_gone: int) -> int:
    """What decides how long a contact waits: 0 nothing, 1 that it fails, from 2 on how often it was gone.

    Of two the one that waits longer.
    """
    if times_gone == 0 or (failures and times_gone == 1):
        return FAILING if failures else USUAL
    return min(GONE + times_gone, STANDINGS) - 1


@dataclass(frozen=True, slots=True)
class LongestWaits:
    """The longest that a contact can honestly wait until it is due, by its `standing`."""

    by_standing_ms: tuple[int, ...]

    def latest_ms(self, now_ms: int, standing: int) -> int:
        """One that is due later was put off by a clock that ran ahead, and is due now."""
        return now_ms + self.by_standing_ms[standing] + CLOCKS_DIFFER_MS


def longest_waits(*, contacts: int, calls_each: int, tick_ms: int, limits: Limits) -> LongestWaits:
    usual_ms = next_due_ms(0, contacts=contacts, calls_each=calls_each, tick_ms=tick_ms, limits=limits)
    return LongestWaits((usual_ms, FAILURE_WAIT_MAX_MS, *_gone_waits_ms(tick_ms)))


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
    return now_ms + max(QUEUED_TICKS * tick_ms, VISIBILITY_MS + tick_ms)


def latest_queued_ms(until_ms: int) -> int:
    """One that is out for longer than a claim of now would have it is in no message."""
    return until_ms + CLOCKS_DIFFER_MS


def held_until_ms(now_ms: int, left_ms: int) -> int:
    """Until when a worker with so much time left may publish; nobody else does meanwhile."""
    return now_ms + max(0, left_ms) + HELD_LONGER_MS


def latest_lease_ms(now_ms: int) -> int:
    """A tick's lease that ends later than any tick was taken by a clock that ran ahead, and is free."""
    return now_ms + HELD_MAX_MS + CLOCKS_DIFFER_MS


def is_held(held_until_ms: int | None, now_ms: int) -> bool:
    """Whether a worker has it in hand. A time later than any worker lasts was written by a clock ahead."""
    latest_ms = now_ms + HELD_MAX_MS + CLOCKS_DIFFER_MS
    return held_until_ms is not None and now_ms < held_until_ms <= latest_ms


def are_too_many_gone(newly_gone: int, handed_out: int) -> bool:
    """Whether so many contacts at once are more likely an API that answers wrongly than a purge."""
    return newly_gone > max(GONE_MOST, handed_out * GONE_MOST_PERCENT // 100)
