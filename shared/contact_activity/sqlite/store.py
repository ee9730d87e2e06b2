"""Keep campaigns, listings, counts, pauses, lease and pace in SQLite, and join all ports to a store."""

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from types import MappingProxyType

from contact_activity.domain import schedule
from contact_activity.domain.campaign import Campaign
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits, Pace, PaceChange, changed
from contact_activity.domain.pauses import Pause, PauseReason, Pauses
from contact_activity.domain.tally import DayTally
from contact_activity.ports import Clock, Limiter
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database, whole, whole_or_none
from contact_activity.sqlite.reports import SqliteReports
from contact_activity.state.codec import (
    summaries_from_json,
    summaries_to_json,
    tally_from_counts,
    tally_to_counts,
)
from contact_activity.state.shared_limiter import SharedLimiter

# A power cut must not lose calls from the day's count. At the 4 calls a second of the API each call is on
# disk before it is made; at a higher rate a power cut loses those of this time at most.
PACE_SYNC_INTERVAL_MS = 250


class SqliteCampaigns:
    """The `Campaigns` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def listed_ms(self) -> int | None:
        stored = self._database.get("campaigns_listed")
        return None if stored is None else whole_or_none(json.loads(stored))

    def put_listed(self, listed_ms: int | None) -> None:
        self._database.put("campaigns_listed", json.dumps(listed_ms))

    def get(self, campaign_id: str) -> Campaign:
        rows = self._database.rows("SELECT version, summary FROM campaign WHERE id = ?", (campaign_id,))
        if not rows:
            return Campaign(campaign_id)
        (summarized,) = summaries_from_json(str(rows[0][1]))
        return Campaign(campaign_id, whole(rows[0][0]), summarized)

    def save(self, campaign: Campaign) -> bool:
        summary = summaries_to_json((campaign.summarized,))
        if campaign.version == 0:
            sql, parameters = "INSERT OR IGNORE INTO campaign VALUES (?, 1, ?)", (campaign.id, summary)
            return bool(self._database.execute(sql, parameters))
        changed = self._database.execute(
            "UPDATE campaign SET version = version + 1, summary = ? WHERE id = ? AND version = ?",
            (summary, campaign.id, campaign.version),
        )
        return bool(changed)


class SqliteListings:
    """The `Listings` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Listing:
        stored = self._database.get("listing")
        return Listing(**json.loads(stored)) if stored else Listing()

    def put(self, listing: Listing) -> None:
        self._database.put("listing", json.dumps(asdict(listing)))

    def failure(self) -> TickFailure | None:
        stored = json.loads(self._database.get("tick_failure") or "null")
        return stored and TickFailure(**stored)

    def put_failure(self, failure: TickFailure | None) -> None:
        self._database.put("tick_failure", json.dumps(failure and asdict(failure)))


class SqliteTally:
    """The `Tally` port: one row for each day and detail type, or day and age bucket."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        self._database.execute_many(
            "INSERT INTO published VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET events = events + excluded.events",
            [(day, name, count) for name, count in tally_to_counts(events, ages).items()],
        )

    def on(self, day: int) -> DayTally:
        rows = self._database.rows("SELECT detail_type, events FROM published WHERE day = ?", (day,))
        return tally_from_counts({str(name): whole(count) for name, count in rows})


class SqlitePauses:
    """The `PauseBoard` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Pauses:
        return _pauses(self._database.get("pauses"))

    def pause(self, pause: Pause) -> None:
        self._change(lambda pauses: pauses.with_pause(pause))

    def lift(self, reason: PauseReason) -> None:
        self._change(lambda pauses: pauses.without(reason))

    def _change(self, change: Callable[[Pauses], Pauses]) -> None:
        swapped = False
        while not swapped:
            seen = self._database.get("pauses")
            paused = change(_pauses(seen)).by_reason
            stored = {pause.reason.value: pause.until_ms for pause in paused} | {
                _lacks_name(pause.reason): pause.lacks for pause in paused if pause.lacks
            }
            swapped = self._database.swap("pauses", seen, json.dumps(stored))


def _pauses(stored: str | None) -> Pauses:
    found = json.loads(stored) if stored else {}
    reasons = [PauseReason(name) for name in found if name in list(PauseReason)]
    return Pauses(tuple(Pause(of, found[of.value], found.get(_lacks_name(of), "")) for of in reasons))


def _lacks_name(reason: PauseReason) -> str:
    return f"{reason.value}_lacks"


class SqliteLease:
    """The `Lease` port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid.uuid4().hex

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        seen = self._database.get("lease")
        held = json.loads(seen) if seen else {"until_ms": 0}
        if schedule.is_held(held["until_ms"], now_ms) and held["holder"] != self._holder:
            return False
        return self._database.swap("lease", seen, self._owned_until(until_ms))

    def clear(self) -> None:
        """Free the lease, whoever holds it. Only for a process that has locked the folder."""
        self._database.put("lease", self._owned_until(0))

    def give_back(self) -> None:
        seen = self._database.get("lease")
        if seen and json.loads(seen)["holder"] == self._holder:
            self._database.swap("lease", seen, self._owned_until(0))

    def _owned_until(self, until_ms: int) -> str:
        return json.dumps({"holder": self._holder, "until_ms": until_ms})


def sqlite_limiter(database: Database, limits: Limits, clock: Clock) -> SharedLimiter:
    """The `Limiter` port."""
    return SharedLimiter(limits, SqlitePace(database), clock)


class SqlitePace:
    """The `PaceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._synced_slot_ms = 0

    def load(self) -> Pace:
        return _pace_of(self._database.get("pace"))

    def change(self, change: PaceChange) -> Pace:
        """Another process may change it meanwhile, such as `contact-activity check` beside a run."""
        with self._database.exclusive():
            while True:
                seen = self._database.get("pace")
                found = _pace_of(seen)
                if self._swap(seen, changed(found, change)):
                    return found

    def tidy(self) -> None:
        """Do nothing: this store puts nothing off."""

    def _swap(self, seen: str | None, pace: Pace) -> bool:
        must_sync = abs(pace.next_slot_ms - self._synced_slot_ms) >= PACE_SYNC_INTERVAL_MS
        with self._database.durable() if must_sync else nullcontext():
            is_stored = self._database.swap("pace", seen, _pace_to_json(pace))
        if must_sync and is_stored:
            self._synced_slot_ms = pace.next_slot_ms
        return is_stored


def _pace_of(stored: str | None) -> Pace:
    return Pace(**json.loads(stored)) if stored else Pace()


def _pace_to_json(pace: Pace) -> str:
    return json.dumps({"day": pace.day, "used": pace.used, "next_slot_ms": pace.next_slot_ms})


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """The `Store` port."""

    contacts: SqliteContacts
    campaigns: SqliteCampaigns
    reports: SqliteReports
    listings: SqliteListings
    pauses: SqlitePauses
    tally: SqliteTally
    lease: SqliteLease
    limiter: Limiter

    def free_all(self) -> None:
        """Release what a killed process held. Only for a process that has locked the folder."""
        self.lease.clear()
        self.contacts.release_all()
        self.reports.release_all()


def sqlite_store(database: Database, limits: Limits, clock: Clock) -> SqliteStore:
    """Return all ports over one database. `limits` and `clock` are for the limiter."""
    return SqliteStore(
        contacts=SqliteContacts(database),
        campaigns=SqliteCampaigns(database),
        reports=SqliteReports(database),
        listings=SqliteListings(database),
        pauses=SqlitePauses(database),
        tally=SqliteTally(database),
        lease=SqliteLease(database),
        limiter=sqlite_limiter(database, limits, clock),
    )
