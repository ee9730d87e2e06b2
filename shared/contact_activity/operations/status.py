"""The status of a system, and how it follows from what is stored. Reads and prints nothing."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport
from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.listing import (
    LISTING_OVERLAP_MS,
    Listing,
    TickFailure,
    begin_listing,
    has_listed_its_share,
    pages_on,
)
from contact_activity.domain.pace import Limits, Pace
from contact_activity.domain.pauses import Pause, PauseReason, Pauses
from contact_activity.domain.rights import ReportAccess, Right, missing_right
from contact_activity.domain.schedule import VISIBILITY_MS, LongestWaits, is_queued, standing
from contact_activity.domain.times import DAY_MS, HOUR_MS, is_too_late, midnight_after
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.errors import failure_kind

P95 = 0.95
NO_CAUSE = "unknown"
# In place of a mode, while the API refuses to list the campaigns.
REFUSED = "refused"
_ALL_TRUSTED = Trust(dict.fromkeys(ActivityType, TypeTrust(Mode.PUBLISH)))


@dataclass(frozen=True, slots=True)
class Messages:
    """Approximate numbers of messages in the queues of a stack."""

    waiting: int
    dead_letters: int
    failed_ticks: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh the activity of a day was: the age at which it was published, without backfill.

    Half of it was at most `p50` seconds old, nineteen of twenty at most `p95` seconds. Both are
    rounded up to the end of a bucket.
    """

    p50: int
    p95: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """Events published on a UTC day, by detail type. `freshness` is None if no activity was new."""

    day: str
    events: Mapping[str, int]
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """What is stored of a login (v3), without any secret.

    `renewed_ms`: when the access token was asked for; None if none is known. `ends_ms`: when it ends; None
    while a refresh token brings others, or if nobody knows. `is_dead`: the provider takes the refresh token
    no more. `fault`: why nothing can be said; "" if something can.
    """

    account: str | None
    renewed_ms: int | None = None
    ends_ms: int | None = None
    is_renewed: bool = False
    is_dead: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is stored of one system. `reports`: those that are watched. `messages`: None for a folder.

    `tick_ms`: the time between two ticks; `sweep_ms`: that between two turns of a contact.
    `is_witnessed`: contacts' rows only vouch (v3), so that reports need no trust.
    """

    name: str
    contacts: Iterable[ContactOutline]
    pace: Pace
    limits: Limits
    pauses: Pauses
    published: Sequence[DayCount]
    waits: LongestWaits
    listing: Listing
    feed: CampaignFeed
    trust: Trust
    reports: Iterable[CampaignReport]
    tick_ms: int
    sweep_ms: int
    access: ReportAccess = field(default_factory=ReportAccess)
    messages: Messages | None = None
    tick_failure: TickFailure | None = None
    login: LoginStatus | None = None
    is_witnessed: bool = False


@dataclass(frozen=True, slots=True)
class ContactCounts:
    """Numbers of contacts.

    `due` counts them in a message or not, `waiting` those in a message, `failing` those whose last try
    failed. `asking` and `owed` count activities: those that wait for the report of their mailing (v3), and
    those of them that wait for more than a day, or for a right.
    """

    known: int
    due: int
    waiting: int
    failing: int
    gone: int
    never_synced: int
    asking: int = 0
    owed: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """Spread of some ages, in whole seconds."""

    median: int
    p95: int
    oldest: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """Numbers of contacts whose times only a clock that was ahead can have set."""

    due: int
    read: int
    failed: int


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls of the UTC day, as this system counts them, and their limit.

    `ends_ms`: when there are calls again at the latest; None while there are some. `asks_ms`: when the API
    is asked again, if it alone says that they are used up. `is_raised`: a run with a lower limit used up its
    calls, and this one has some left.
    """

    used: int
    limit: int
    ends_ms: int | None = None
    asks_ms: int | None = None
    is_raised: bool = False


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often contacts are read, and whether they are.

    `tick_s`: the time between two ticks; that of a folder whose run ends by itself is a day.
    `sweep_s`: the time between two turns of a contact. `idle_s`: since something was read; None if nothing
    was. `is_idle`: for longer than from tick to tick. `late_after_s`: who is due for longer is late.
    """

    tick_s: int
    sweep_s: int
    late_after_s: int
    idle_s: int | None
    is_idle: bool
    is_late: bool


@dataclass(frozen=True, slots=True)
class ListStatus:
    """Pages of the contact list read on the UTC day. `waits`: its share of the calls is used up."""

    pages_today: int
    waits: bool


@dataclass(frozen=True, slots=True)
class ReportsStatus:
    """How far campaigns' reports are trusted, how many there are, and what they cost on the UTC day.

    `mode`: that of the least trusted type of those that were compared so far, `probation` if none was;
    `refused` while the API refuses to list the campaigns. `modes`: of each type, by the name of its report.
    `differing`: the types that were seen to differ from what contacts' own reports show.
    `failing`: whose last read failed; `owing`: those of them that activity waits for and that no right
    would mend (v3). `calls_today`: about, as they were planned. What `CAMPAIGN_REPORTS`
    says is not stored: while it is off nobody trusts any type, so that each of them shows `probation`. In
    v3, where only reports publish, each shows `publish`.
    """

    mode: str
    modes: Mapping[str, str]
    differing: tuple[str, ...]
    watched: int
    due: int
    failing: int
    calls_today: int
    owing: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """Status of one system at a time. The names of the other fields are the keys of `--json`.

    `missing_right`: what the credential of v3 lacks. `is_running`: a run holds the folder.
    """

    name: str
    at_ms: int
    contacts: ContactCounts
    lag_s: Spread | None
    since_sync_s: Spread | None
    quota: Quota
    cadence: Cadence
    pauses: tuple[Pause, ...]
    messages: Messages | None
    published: Sequence[DayCount]
    failing_by_cause: Mapping[str, int]
    tick_failure: TickFailure | None
    clock: Ahead
    listing: ListStatus
    campaign_reports: ReportsStatus
    missing_right: Right | None = None
    login: LoginStatus | None = None
    is_running: bool = False


def status_of(stored: StoredState, now_ms: int) -> Status:
    """Return the status of a system at a time."""
    contacts, reports = list(stored.contacts), list(stored.reports)
    put_off = sum(_is_put_off(contact, stored.waits, now_ms) for contact in contacts)
    # No honest schedule makes a contact wait for so long, so that it counts as due now.
    due_ms = [contact.due_ms for contact in contacts if contact.due_ms <= now_ms] + [now_ms] * put_off
    synced_ms = [contact.synced_ms for contact in contacts if contact.synced_ms is not None]
    right = missing_right(
        stored.access,
        list_lacks=stored.feed.lacks,
        contacts=contacts,
        pauses=stored.pauses.active(now_ms),
    )
    return Status(
        name=stored.name,
        at_ms=now_ms,
        contacts=_counts(contacts, len(due_ms), now_ms, is_all_owed=stored.access.is_missing),
        lag_s=_spread(now_ms - since_ms for since_ms in due_ms),
        since_sync_s=_spread(max(0, now_ms - since_ms) for since_ms in synced_ms),
        quota=_quota(stored, _latest(synced_ms, now_ms), now_ms),
        cadence=_cadence(stored, due_ms, _last_read_ms(contacts, reports, now_ms), now_ms),
        pauses=stored.pauses.active(now_ms),
        messages=stored.messages,
        published=stored.published,
        failing_by_cause=_failing_by_cause(contacts),
        tick_failure=stored.tick_failure,
        clock=Ahead(
            due=put_off,
            read=sum(is_too_late(contact.synced_ms, now_ms) for contact in contacts),
            failed=sum(is_too_late(contact.failed_ms, now_ms) for contact in contacts),
        ),
        listing=ListStatus(
            pages_on(stored.listing, now_ms),
            has_listed_its_share(begin_listing(stored.listing, now_ms), stored.limits, now_ms),
        ),
        campaign_reports=_reports_status(stored, reports, now_ms),
        missing_right=right,
        login=stored.login,
    )


def _quota(stored: StoredState, synced_ms: int | None, now_ms: int) -> Quota:
    """Return what the day's calls come to. `synced_ms`: when a contact was read last.

    The API's word counts for its day, or until it gave something again: the pause ends after an hour, so
    that somebody asks, and in a folder nobody may.
    """
    used, limit = stored.pace.used_on(now_ms), stored.limits.calls_per_day
    if 0 < limit <= used:
        return Quota(used, limit, midnight_after(now_ms))
    until_ms = next(
        (of.until_ms for of in stored.pauses.by_reason if of.reason is PauseReason.QUOTA and of.until_ms), 0
    )
    is_paused = any(of.reason is PauseReason.QUOTA for of in stored.pauses.active(now_ms))
    if is_paused and until_ms == midnight_after(now_ms):
        return Quota(used, limit, until_ms, is_raised=True)
    said_ms = until_ms - HOUR_MS
    ends_ms = max(until_ms, midnight_after(said_ms))
    listed_ms = (stored.listing.mark_ms or 0) + LISTING_OVERLAP_MS
    is_over = now_ms >= ends_ms or max(synced_ms or 0, listed_ms) > said_ms
    if is_paused or (until_ms <= now_ms and not is_over):
        return Quota(used, limit, ends_ms, until_ms)
    return Quota(used, limit)


def _cadence(stored: StoredState, due_ms: Sequence[int], read_ms: int | None, now_ms: int) -> Cadence:
    """Return how often contacts are read. `read_ms`: when something was read last.

    A due contact is handed out within a sweep, while others are: all were due at first, and the day has
    calls for some. But if nothing is read any more, one tick shows it.
    """
    paused_until_ms = _latest((of.until_ms for of in stored.pauses.by_reason), now_ms) or 0
    soon_ms = stored.tick_ms + VISIBILITY_MS
    # Until all contacts are listed nobody may read any.
    is_first = stored.listing.full_ms is None
    is_idle = not is_first and now_ms - max(read_ms or 0, paused_until_ms) > soon_ms
    late_after_ms = soon_ms if is_idle else max(stored.sweep_ms, stored.tick_ms) + VISIBILITY_MS
    waits_ms = now_ms - max(min(due_ms, default=now_ms), paused_until_ms)
    return Cadence(
        tick_s=stored.tick_ms // 1_000,
        sweep_s=stored.sweep_ms // 1_000,
        late_after_s=late_after_ms // 1_000,
        idle_s=None if read_ms is None else (now_ms - read_ms) // 1_000,
        is_idle=is_idle,
        is_late=waits_ms > late_after_ms,
    )


def _last_read_ms(
    contacts: Sequence[ContactOutline], reports: Sequence[CampaignReport], now_ms: int
) -> int | None:
    """Return when a contact or a report was read last, or failed."""
    tries = [time_ms for of in contacts for time_ms in (of.synced_ms, of.failed_ms)]
    return _latest([*tries, *(report.read_ms for report in reports)], now_ms)


def _latest(times_ms: Iterable[int | None], now_ms: int) -> int | None:
    """Return the latest of these that is no later than now."""
    return max((of for of in times_ms if of is not None and of <= now_ms), default=None)


def _reports_status(stored: StoredState, reports: Sequence[CampaignReport], now_ms: int) -> ReportsStatus:
    is_refused = stored.feed.refused_ms is not None
    trust = _ALL_TRUSTED if stored.is_witnessed else stored.trust
    return ReportsStatus(
        mode=REFUSED if is_refused else _least_trusted(trust).value,
        modes={type_.report: trust.of(type_).mode.value for type_ in ActivityType},
        differing=tuple(type_.report for type_ in ActivityType if trust.of(type_).is_doubted),
        watched=len(reports),
        due=sum(report.due_ms is not None and report.due_ms <= now_ms for report in reports),
        failing=sum(report.last_error is not None for report in reports),
        calls_today=stored.feed.counted(0, now_ms).report_calls,
        owing=0 if stored.access.is_missing else sum(report.is_owing for report in reports),
    )


def _least_trusted(trust: Trust) -> Mode:
    compared = {of.mode for of in trust.types.values() if _is_compared(of)}
    return next((mode for mode in Mode if mode in compared), Mode.PROBATION)


def _is_compared(trust: TypeTrust) -> bool:
    return trust.mode is not Mode.PROBATION or bool(trust.found)


def _counts(contacts: Sequence[ContactOutline], due: int, now_ms: int, *, is_all_owed: bool) -> ContactCounts:
    return ContactCounts(
        known=len(contacts),
        due=due,
        waiting=sum(is_queued(contact.queued_until_ms, now_ms, DAY_MS) for contact in contacts),
        failing=sum(contact.failures > 0 for contact in contacts),
        gone=sum(contact.times_gone > 0 for contact in contacts),
        never_synced=sum(contact.synced_ms is None for contact in contacts),
        asking=sum(contact.asking for contact in contacts),
        owed=sum(contact.asking if is_all_owed else contact.owed for contact in contacts),
    )


def _is_put_off(contact: ContactOutline, waits: LongestWaits, now_ms: int) -> bool:
    """Whether a contact is due later than any schedule allows."""
    waits_for = standing(failures=contact.failures, times_gone=contact.times_gone)
    return contact.due_ms > waits.latest_ms(now_ms, waits_for)


def _failing_by_cause(contacts: Iterable[ContactOutline]) -> Mapping[str, int]:
    """Return the number of failing contacts by cause, the most frequent cause first."""
    # An earlier version stored no cause.
    causes = Counter(failure_kind(contact.last_error or NO_CAUSE) for contact in contacts if contact.failures)
    return dict(causes.most_common())


def _spread(ages_ms: Iterable[int]) -> Spread | None:
    ages_s = sorted(age_ms // 1_000 for age_ms in ages_ms)
    if not ages_s:
        return None
    return Spread(median_low(ages_s), ages_s[math.ceil(P95 * len(ages_s)) - 1], ages_s[-1])
