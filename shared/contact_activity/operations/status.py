"""`contact-activity status`: how many contacts wait, for how long, what is used up, what is paused.

Nothing is changed and no call is made to Constant Contact.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low

from rich.console import Console
from rich.table import Table

from contact_activity.clock import SystemClock
from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.freshness import percentile_s
from contact_activity.domain.listing import (
    Listing,
    TickFailure,
    begin_listing,
    has_listed_its_share,
    pages_on,
)
from contact_activity.domain.pace import Limits, Pace
from contact_activity.domain.pauses import Pause, Pauses
from contact_activity.domain.schedule import (
    LongestWaits,
    latest_queued_ms,
    longest_waits,
    queued_until_ms,
    standing,
)
from contact_activity.domain.times import DAY_MS, is_too_late, iso
from contact_activity.errors import failure_kind
from contact_activity.ports import Store, Tally
from contact_activity.run.options import databases_in
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store

P95 = 0.95
NONE = "–"
NO_CAUSE = "unknown"
CAUSES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Messages:
    """About how many there are in each queue of a stack."""

    waiting: int
    dead_letters: int
    failed_ticks: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What is stored of one system; `messages` is None where the queue is in the memory of a run."""

    name: str
    contacts: Iterable[ContactOutline]
    pace: Pace
    limits: Limits
    pauses: Pauses
    published: Sequence["DayCount"]
    waits: LongestWaits
    listing: Listing
    messages: Messages | None = None
    tick_failure: TickFailure | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """Of a day's activities that were no backfill, in seconds from when they happened to when they were met.

    Half of them, and all but one in twenty, were met within so long; buckets make it a little more.
    """

    p50: int
    p95: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """Events published on a UTC day, by detail type; no freshness of a day without new activity."""

    day: str
    events: Mapping[str, int]
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class ContactCounts:
    """`due`: in a message or not; `waiting`: in a message; `failing`: the last try failed."""

    known: int
    due: int
    waiting: int
    failing: int
    gone: int
    never_synced: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a number of ages, in whole seconds."""

    median: int
    p95: int
    oldest: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many contacts have a time in the future that only a clock that ran ahead can have set."""

    due: int
    read: int
    failed: int


@dataclass(frozen=True, slots=True)
class Quota:
    """The calls of the UTC day, by this system's own count."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class ListStatus:
    """Of the list of contacts, on the UTC day; `waits`: its share of the day's calls is used up."""

    pages_today: int
    waits: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What an operator reads of one system; its fields are the keys of `--json`."""

    name: str
    contacts: ContactCounts
    lag_s: Spread | None
    since_sync_s: Spread | None
    quota: Quota
    pauses: tuple[Pause, ...]
    messages: Messages | None
    published: Sequence[DayCount]
    failing_by_cause: Mapping[str, int]
    tick_failure: TickFailure | None
    clock: "Ahead"
    listing: ListStatus


def status_of(observed: Observed, now_ms: int) -> Status:
    """Sum up what is stored of a system."""
    contacts = list(observed.contacts)
    put_off = [of for of in contacts if _is_put_off(of, observed.waits, now_ms)]
    longest_queued_ms = latest_queued_ms(queued_until_ms(now_ms, DAY_MS))
    # One that is due in a time that nobody can honestly wait is due now.
    due_ms = [of.due_ms for of in contacts if of.due_ms <= now_ms] + [now_ms] * len(put_off)
    return Status(
        name=observed.name,
        contacts=ContactCounts(
            known=len(contacts),
            due=len(due_ms),
            waiting=sum(now_ms < of.queued_until_ms <= longest_queued_ms for of in contacts),
            failing=sum(of.failures > 0 for of in contacts),
            gone=sum(of.times_gone > 0 for of in contacts),
            never_synced=sum(of.synced_ms is None for of in contacts),
        ),
        lag_s=_spread(now_ms - since_ms for since_ms in due_ms),
        since_sync_s=_spread(max(0, now_ms - of.synced_ms) for of in contacts if of.synced_ms is not None),
        quota=Quota(observed.pace.used_on(now_ms), observed.limits.calls_per_day),
        pauses=observed.pauses.active(now_ms),
        messages=observed.messages,
        published=observed.published,
        failing_by_cause=_by_cause(contacts),
        tick_failure=observed.tick_failure,
        clock=Ahead(
            due=len(put_off),
            read=sum(is_too_late(of.synced_ms, now_ms) for of in contacts),
            failed=sum(is_too_late(of.failed_ms, now_ms) for of in contacts),
        ),
        listing=ListStatus(
            pages_on(observed.listing, now_ms),
            has_listed_its_share(begin_listing(observed.listing, now_ms), observed.limits, now_ms),
        ),
    )


def _is_put_off(of: ContactOutline, waits: LongestWaits, now_ms: int) -> bool:
    waits_for = standing(failures=of.failures, times_gone=of.times_gone)
    return of.due_ms > waits.latest_ms(now_ms, waits_for)


def _by_cause(contacts: Iterable[ContactOutline]) -> Mapping[str, int]:
    """How many contacts fail by each cause, most first."""
    # An earlier version kept no cause.
    causes = Counter(failure_kind(of.last_error or NO_CAUSE) for of in contacts if of.failures)
    return dict(causes.most_common())


def _spread(ages_ms: Iterable[int]) -> Spread | None:
    ages_s = sorted(age_ms // 1_000 for age_ms in ages_ms)
    if not ages_s:
        return None
    return Spread(median_low(ages_s), ages_s[math.ceil(P95 * len(ages_s)) - 1], ages_s[-1])


def status_of_store(
    name: str,
    store: Store,
    *,
    now_ms: int,
    tick_ms: int,
    calls_each: int,
    messages: Messages | None = None,
) -> Status:
    """The status of a system by its state. Reads every contact once, without its memory."""
    limits, listing = store.limiter.limits, store.listings.get()
    observed = Observed(
        name=name,
        contacts=store.contacts.outlines(),
        pace=store.limiter.pace(),
        limits=limits,
        pauses=store.pauses.get(),
        published=_last_two_days(store.tally, now_ms),
        tick_failure=store.listings.failure(),
        waits=longest_waits(contacts=listing.contacts, calls_each=calls_each, tick_ms=tick_ms, limits=limits),
        listing=listing,
        messages=messages,
    )
    return status_of(observed, now_ms)


def _last_two_days(tally: Tally, now_ms: int) -> tuple[DayCount, DayCount]:
    """What was published today and yesterday."""
    today = now_ms // DAY_MS
    return _day_count(tally, today), _day_count(tally, today - 1)


def _day_count(tally: Tally, day: int) -> DayCount:
    counted = tally.on(day)
    return DayCount(iso(day * DAY_MS)[:10], dict(sorted(counted.events.items())), _freshness(counted.ages))


def _freshness(ages: Mapping[int, int]) -> Freshness | None:
    p50, p95 = percentile_s(ages, 50), percentile_s(ages, 95)
    return None if p50 is None or p95 is None else Freshness(p50, p95)


def folder_status(state_dir: Path, limits: Limits, calls_each: int = 1) -> list[Status]:
    """Each system whose state is in the folder, also while a run holds it. Raises `RunError` for none."""
    return [
        _database_status(name, path, limits, calls_each) for name, path in databases_in(state_dir).items()
    ]


def _database_status(name: str, path: Path, limits: Limits, calls_each: int) -> Status:
    clock = SystemClock()
    with closing(Database(path, is_read_only=True)) as database:
        store = sqlite_store(database, limits, clock)
        # A run may tick as rarely as once a day.
        return status_of_store(name, store, now_ms=clock.now_ms(), tick_ms=DAY_MS, calls_each=calls_each)


def to_json(statuses: Sequence[Status], now_ms: int) -> dict[str, object]:
    """The document that `--json` prints; later releases only add keys."""
    systems = [
        asdict(status)
        | {"pauses": [{"reason": pause.reason.value, "until": _until(pause)} for pause in status.pauses]}
        | {"published": {count.day: dict(count.events) for count in status.published}}
        | {"freshness_s": {of.day: of.freshness and asdict(of.freshness) for of in status.published}}
        | {"failing_by_cause": dict(status.failing_by_cause), "tick_failure": _failure(status.tick_failure)}
        for status in statuses
    ]
    return {"observed_at": iso(now_ms), "systems": systems}


def _failure(failure: TickFailure | None) -> dict[str, str] | None:
    return None if failure is None else {"error": failure.error, "at": iso(failure.at_ms)}


def _until(pause: Pause) -> str | None:
    return None if pause.until_ms is None else iso(pause.until_ms)


def print_status(console: Console, status: Status) -> None:
    """Two tables: how things stand, and what was published."""
    facts = Table(title=status.name, title_justify="left", box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim")
    facts.add_column()
    for fact, text in _facts(status):
        facts.add_row(fact, text)
    console.print(facts)
    console.print(_published_table(status.published))


def _facts(status: Status) -> list[tuple[str, str]]:
    counts = status.contacts
    facts = [
        ("contacts", f"{counts.known:,} known · {counts.due:,} due · {counts.waiting:,} in a message"),
        ("", f"{counts.never_synced:,} never read · {counts.failing:,} failing · {counts.gone:,} gone"),
        *(("failing" if not n else "", line) for n, line in enumerate(_failing_lines(status))),
        ("due for", _spread_text(status.lag_s)),
        ("since last read", _spread_text(status.since_sync_s)),
        ("calls today", f"{status.quota.used:,} of {status.quota.limit:,}"),
        ("paused", ", ".join(map(_pause_text, status.pauses)) or "no"),
    ]
    if status.listing.waits:
        pages = status.listing.pages_today
        facts.append(("contact list", f"{pages:,} pages today, its share of the calls: goes on at 00:00 UTC"))
    if status.tick_failure:
        told = status.tick_failure
        facts.append(("last tick", f"failed at {iso(told.at_ms)}: {told.error}"))
    ahead = status.clock
    if ahead.due or ahead.read or ahead.failed:
        facts.append(("clock", _ahead_text(ahead)))
    if status.messages:
        facts.append(("messages", _messages_text(status.messages)))
    return facts


def _failing_lines(status: Status) -> list[str]:
    return [f"{count:,} · {cause}" for cause, count in list(status.failing_by_cause.items())[:CAUSES_SHOWN]]


def _ahead_text(ahead: Ahead) -> str:
    return (
        f"was ahead: of {ahead.due:,} contacts the due time is too late (the next tick mends it), "
        f"{ahead.read:,} were read and {ahead.failed:,} failed in the future"
    )


def _messages_text(messages: Messages) -> str:
    named = (
        ("waiting", messages.waiting),
        ("dead letters", messages.dead_letters),
        ("failed ticks", messages.failed_ticks),
    )
    return " · ".join(f"{count:,} {name}" for name, count in named)


def _pause_text(pause: Pause) -> str:
    return pause.reason.value + (f" until {_until(pause)}" if pause.until_ms is not None else "")


def _spread_text(spread: Spread | None) -> str:
    if spread is None:
        return NONE
    named = (("median", spread.median), ("p95", spread.p95), ("oldest", spread.oldest))
    return " · ".join(f"{name} {_age(age_s)}" for name, age_s in named)


def _age(age_s: int) -> str:
    for unit, unit_s, part, part_s in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60)):
        if age_s >= unit_s:
            return f"{age_s // unit_s} {unit} {age_s % unit_s // part_s} {part}"
    return f"{age_s // 60} min" if age_s >= 60 else f"{age_s} s"


def _published_table(days: Sequence[DayCount]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("published (UTC)")
    for count in days:
        table.add_column(count.day, justify="right")
    detail_types = sorted({detail_type for count in days for detail_type in count.events})
    for detail_type in detail_types:
        table.add_row(detail_type, *(f"{count.events.get(detail_type, 0):,}" for count in days))
    table.add_row("all", *(f"{sum(count.events.values()):,}" for count in days), style="bold")
    p50, p95 = zip(*(_within(count.freshness) for count in days), strict=True)
    table.add_row("fresh, p50", *p50)
    table.add_row("fresh, p95", *p95)
    return table


def _within(freshness: Freshness | None) -> tuple[str, str]:
    if freshness is None:
        return NONE, NONE
    return f"within {_age(freshness.p50)}", f"within {_age(freshness.p95)}"
