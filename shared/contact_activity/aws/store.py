"""Keep campaigns, listings, counts, pauses and lease in the table, and join all ports to a store."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from botocore.client import BaseClient

from contact_activity.aws.contacts import THREADS, DynamoContacts
from contact_activity.aws.pace import dynamo_limiter
from contact_activity.aws.reports import DynamoReports
from contact_activity.aws.table import Table
from contact_activity.domain import schedule
from contact_activity.domain.campaign import Campaign
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason, Pauses
from contact_activity.domain.tally import DayTally
from contact_activity.domain.times import DAY_MS, iso
from contact_activity.ports import Clock, Limiter
from contact_activity.state.codec import (
    summaries_from_json,
    summaries_to_json,
    tally_from_counts,
    tally_to_counts,
)

_CAMPAIGN = "campaign#"


class DynamoCampaigns:
    """The `Campaigns` port: one item for each campaign, and one for when they were listed."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def listed_ms(self) -> int | None:
        return self._table.get("campaigns").whole_or_none("listed_at")

    def put_listed(self, listed_ms: int | None) -> None:
        self._table.put("campaigns", "listed_at", listed_ms)

    def get(self, campaign_id: str) -> Campaign:
        item = self._table.get(_CAMPAIGN + campaign_id)
        if "summary" not in item:
            return Campaign(campaign_id)
        (summarized,) = summaries_from_json(item.text("summary"))
        return Campaign(campaign_id, item.whole("version"), summarized)

    def save(self, campaign: Campaign) -> bool:
        values = {"summary": summaries_to_json((campaign.summarized,))}
        pk, is_new = _CAMPAIGN + campaign.id, campaign.version == 0
        return self._table.save(pk, campaign.version, values, is_new=is_new)


class DynamoListings:
    """The `Listings` port."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def get(self) -> Listing:
        item = self._table.get("listing")
        return Listing(**json.loads(item.text("listing", "{}")))

    def put(self, listing: Listing) -> None:
        self._table.put("listing", "listing", json.dumps(asdict(listing)))

    def failure(self) -> TickFailure | None:
        stored = json.loads(self._table.get("tick_failure").text("failure", "null"))
        return stored and TickFailure(**stored)

    def put_failure(self, failure: TickFailure | None) -> None:
        self._table.put("tick_failure", "failure", json.dumps(failure and asdict(failure)))


class DynamoTally:
    """The `Tally` port: one item for each day, with an attribute for each detail type and age bucket."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def add(
        self, day: int, events: Mapping[str, int], ages: Mapping[int, int] = MappingProxyType({})
    ) -> None:
        self._table.add(_tally_key(day), tally_to_counts(events, ages))

    def on(self, day: int) -> DayTally:
        item = self._table.get(_tally_key(day))
        return tally_from_counts({name: item.whole(name) for name in item if name != "pk"})


def _tally_key(day: int) -> str:
    return "published#" + iso(day * DAY_MS)[:10]


class DynamoPauses:
    """The `PauseBoard` port: one attribute for each reason, so that each changes on its own."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)

    def get(self) -> Pauses:
        item = self._table.get("pauses")
        paused = [reason for reason in PauseReason if _until_name(reason) in item]
        return Pauses(
            tuple(Pause(of, item.whole_or_none(_until_name(of)), item.text(_lacks_name(of))) for of in paused)
        )

    def pause(self, pause: Pause) -> None:
        self._table.update(
            "pauses",
            f"SET {_until_name(pause.reason)} = :until, {_lacks_name(pause.reason)} = :lacks",
            until=pause.until_ms,
            lacks=pause.lacks,
        )

    def lift(self, reason: PauseReason) -> None:
        self._table.update("pauses", f"REMOVE {_until_name(reason)}, {_lacks_name(reason)}")


def _until_name(reason: PauseReason) -> str:
    return f"{reason.value}_until"


def _lacks_name(reason: PauseReason) -> str:
    return f"{reason.value}_lacks"


class DynamoLease:
    """The `Lease` port. Each instance is a holder of its own."""

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)
        self._holder = uuid.uuid4().hex

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        return self._table.update(
            "lease",
            "SET holder = :me, held_until = :until",
            "attribute_not_exists(pk) OR held_until <= :now OR held_until > :latest OR holder = :me",
            me=self._holder,
            until=until_ms,
            now=now_ms,
            latest=schedule.latest_held_ms(now_ms),
        )

    def give_back(self) -> None:
        self._table.update("lease", "SET held_until = :zero", "holder = :me", me=self._holder, zero=0)


@dataclass(frozen=True, slots=True)
class DynamoStore:
    """The `Store` port."""

    contacts: DynamoContacts
    campaigns: DynamoCampaigns
    reports: DynamoReports
    listings: DynamoListings
    pauses: DynamoPauses
    tally: DynamoTally
    lease: DynamoLease
    limiter: Limiter


def dynamo_store(
    client: BaseClient, table_name: str, limits: Limits, clock: Clock, *, threads: int = THREADS
) -> DynamoStore:
    """Return all ports over one table. `limits` and `clock` are for the limiter.

    `threads`: how many calls run at once when many contacts change.
    """
    return DynamoStore(
        contacts=DynamoContacts(client, table_name, threads),
        campaigns=DynamoCampaigns(client, table_name),
        reports=DynamoReports(client, table_name, threads),
        listings=DynamoListings(client, table_name),
        pauses=DynamoPauses(client, table_name),
        tally=DynamoTally(client, table_name),
        lease=DynamoLease(client, table_name),
        limiter=dynamo_limiter(client, table_name, limits, clock),
    )
