"""Reads the status of a system from its store, and of the systems in a state folder."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.domain.freshness import percentile_s
from contact_activity.domain.pace import Limits
from contact_activity.domain.schedule import longest_waits, next_due_ms
from contact_activity.domain.times import DAY_MS, iso
from contact_activity.errors import StandstillError
from contact_activity.operations.status import (
    DayCount,
    Freshness,
    LoginStatus,
    Messages,
    Status,
    StoredState,
    status_of,
)
from contact_activity.ports import Store, Tally
from contact_activity.run.account_file import AccountFile
from contact_activity.run.interval import stored_tick_ms
from contact_activity.run.state_folder import ACCOUNT_DATABASE, databases_in, is_locked
from contact_activity.settings import Version
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from contact_activity.state.credentials_file import CredentialsFile


def folder_status(state_dir: Path, limits: Limits, calls_each: int = 1) -> list[Status]:
    """Return the status of each system in the folder, which a run may use.

    Raises `RunError` if there are none.
    """
    is_running = is_locked(state_dir)
    statuses = (
        _database_status(name, path, limits, calls_each) for name, path in databases_in(state_dir).items()
    )
    return [replace(status, is_running=is_running) for status in statuses]


def _database_status(name: str, path: Path, limits: Limits, calls_each: int) -> Status:
    clock = SystemClock()
    with closing(Database(path, is_read_only=True)) as database:
        store = sqlite_store(database, limits, clock)
        is_v3 = database.get("api_version") == Version.V3
        return status_of_store(
            name,
            store,
            now_ms=clock.now_ms(),
            # A run that ends by itself is to be begun again within a day.
            tick_ms=stored_tick_ms(database) or DAY_MS,
            # What is stored may be from a run with another interval.
            longest_tick_ms=DAY_MS,
            calls_each=calls_each,
            login=_login(path.parent) if is_v3 and path.name == ACCOUNT_DATABASE else None,
            is_witnessed=is_v3,
        )


def _login(state_dir: Path) -> LoginStatus:
    try:
        account, tokens = AccountFile(state_dir).read(), CredentialsFile(state_dir).read()
    except StandstillError as error:
        return LoginStatus(None, fault=str(error))
    access, is_renewed = tokens.access, tokens.refresh_token is not None
    return LoginStatus(
        account=account.account_id if account else None,
        renewed_ms=access.asked_ms if access else None,
        ends_ms=access.expires_ms if access and not is_renewed else None,
        is_renewed=is_renewed,
        is_dead=tokens.is_dead,
    )


def status_of_store(
    name: str,
    store: Store,
    *,
    now_ms: int,
    tick_ms: int,
    calls_each: int,
    longest_tick_ms: int | None = None,
    messages: Messages | None = None,
    login: LoginStatus | None = None,
    is_witnessed: bool = False,
) -> Status:
    """Return the status of a system. Reads each contact once, without its memory, and each watched report.

    `tick_ms` is the time between two ticks, `longest_tick_ms` the longest that it may have been; None: the
    same. `calls_each` is the number of calls that a contact takes when nothing is new. `login` and
    `is_witnessed`: see `StoredState`.
    """
    limits, listing, feed = store.limiter.limits, store.listings.get(), store.reports.feed()
    longest_tick_ms = longest_tick_ms or tick_ms
    waits = longest_waits(
        contacts=listing.contacts,
        calls_each=calls_each,
        tick_ms=longest_tick_ms,
        limits=limits,
        reserved=feed.reserved(now_ms, longest_tick_ms),
    )
    sweep_ms = next_due_ms(
        0,
        contacts=listing.contacts,
        calls_each=calls_each,
        tick_ms=tick_ms,
        limits=limits,
        reserved=feed.reserved(now_ms, tick_ms),
    )
    stored = StoredState(
        name=name,
        contacts=store.contacts.outlines(),
        pace=store.limiter.pace(),
        limits=limits,
        pauses=store.pauses.get(),
        published=_last_two_days(store.tally, now_ms),
        tick_failure=store.listings.failure(),
        waits=waits,
        listing=listing,
        feed=feed,
        trust=store.reports.trust(),
        reports=store.reports.outlines(),
        tick_ms=tick_ms,
        sweep_ms=sweep_ms,
        access=store.reports.access(),
        messages=messages,
        login=login,
        is_witnessed=is_witnessed,
    )
    return status_of(stored, now_ms)


def _last_two_days(tally: Tally, now_ms: int) -> tuple[DayCount, DayCount]:
    """Return what was published today and yesterday, in this order."""
    today = now_ms // DAY_MS
    return _day_count(tally, today), _day_count(tally, today - 1)


def _day_count(tally: Tally, day: int) -> DayCount:
    counted = tally.on(day)
    return DayCount(iso(day * DAY_MS)[:10], dict(sorted(counted.events.items())), _freshness(counted.ages))


def _freshness(ages: Mapping[int, int]) -> Freshness | None:
    p50, p95 = percentile_s(ages, 50), percentile_s(ages, 95)
    return None if p50 is None or p95 is None else Freshness(p50, p95)
