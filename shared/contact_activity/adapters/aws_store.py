"""The `Store` port on one DynamoDB table, built in one place."""

from dataclasses import dataclass

from botocore.client import BaseClient

from contact_activity.adapters.aws_pace import dynamo_limiter
from contact_activity.adapters.aws_table import (
    THREADS,
    DynamoCampaigns,
    DynamoContacts,
    DynamoLease,
    DynamoListings,
    DynamoPauses,
    DynamoTally,
)
from contact_activity.ports import Clock, Limiter
from contact_activity.rate_limit import Limits


@dataclass(frozen=True, slots=True)
class DynamoStore:
    """The `Store` port."""

    contacts: DynamoContacts
    campaigns: DynamoCampaigns
    listings: DynamoListings
    pauses: DynamoPauses
    tally: DynamoTally
    lease: DynamoLease
    limiter: Limiter


def dynamo_store(
    client: BaseClient, table_name: str, limits: Limits, clock: Clock, *, threads: int = THREADS
) -> DynamoStore:
    """All ports over one table; `limits` and `clock` are the limiter's.

    `threads`: how many calls are made at once where many contacts change.
    """
    return DynamoStore(
        contacts=DynamoContacts(client, table_name, threads),
        campaigns=DynamoCampaigns(client, table_name),
        listings=DynamoListings(client, table_name),
        pauses=DynamoPauses(client, table_name),
        tally=DynamoTally(client, table_name),
        lease=DynamoLease(client, table_name),
        limiter=dynamo_limiter(client, table_name, limits, clock),
    )
