"""The ids of v3: UUIDs that are derived from the ids of v2, so that one account has both."""

import uuid
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from contact_activity.simulated.account import Kind, Row, SimulatedAccount

T = TypeVar("T")


class Role(StrEnum):
    """What a campaign activity is for (v3 contract)."""

    PRIMARY = "primary_email"
    PERMALINK = "permalink"
    RESEND = "resend"


def contact_uuid(contact_id: str) -> str:
    """Return the v3 id of a contact with this v2 id. v2 shows it too, as `contact_id`."""
    return _uuid(f"contact:{contact_id}")


def campaign_uuid(campaign_id: str) -> str:
    """Return the v3 id of a campaign with this v2 id."""
    return _uuid(f"campaign:{campaign_id}")


def activity_uuid(campaign_id: str, role: Role = Role.PRIMARY) -> str:
    """Return the v3 id of a campaign activity: of the campaign with this v2 id, in a role."""
    return _uuid(f"activity:{campaign_id}:{role}")


@lru_cache(maxsize=100_000)
def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class V3Ids:
    """Finds what a v3 id stands for in an account. Ids of things that are added later are found too."""

    def __init__(self, account: SimulatedAccount) -> None:
        self._account = account
        self._contacts = _Index(lambda id_: [(contact_uuid(id_), id_)])
        self._campaigns = _Index(lambda id_: [(campaign_uuid(id_), id_)])
        self._activities = _Index(lambda id_: [(activity_uuid(id_, role), (id_, role)) for role in Role])

    def contact_id(self, v3_id: str) -> str | None:
        """Return the v2 id of a contact. None for an unknown id."""
        return self._contacts.find(v3_id, (of.id for of in self._account.contacts()))

    def campaign_id(self, v3_id: str) -> str | None:
        """Return the v2 id of a campaign. None for an unknown id."""
        return self._campaigns.find(v3_id, self._account.campaign_ids())

    def activity(self, v3_id: str) -> tuple[str, Role] | None:
        """Return campaign (v2 id) and role of a campaign activity. None for an unknown id."""
        return self._activities.find(v3_id, self._account.campaign_ids())


class _Index(Generic[T]):
    """Maps v3 ids to what they stand for. Grows when an id is unknown that may have come meanwhile."""

    def __init__(self, entries: Callable[[str], Iterable[tuple[str, T]]]) -> None:
        self._entries = entries
        self._found: dict[str, T] = {}
        self._seen: set[str] = set()

    def find(self, v3_id: str, ids: Iterable[str]) -> T | None:
        if v3_id not in self._found:
            for id_ in ids:
                if id_ not in self._seen:
                    self._found.update(self._entries(id_))
                    self._seen.add(id_)
        return self._found.get(v3_id)


def role_of(row: Row, account: SimulatedAccount) -> Role:
    """Return the role of the campaign activity that a row belongs to, for as long as it is there.

    A campaign that was sent again has a second activity. It has the rows of each contact from its second
    sending on, as far as that was there before them.
    """
    role = account.v3_roles.get(row)
    if role is None:
        role = account.v3_roles[row] = _role_now(row, account)
    return Role(role)


def _role_now(row: Row, account: SimulatedAccount) -> Role:
    campaign = account.campaign(row.campaign_id)
    if campaign is None or not campaign.resent_ms or row.occurred_ms < campaign.resent_ms[0]:
        return Role.PRIMARY
    was_sent_again = any(
        sent.kind is Kind.SEND
        and sent.campaign_id == row.campaign_id
        and campaign.resent_ms[0] <= sent.occurred_ms <= row.occurred_ms
        for sent in account.rows_of_contact(row.contact_id, row.inserted_ms)
    )
    return Role.RESEND if was_sent_again else Role.PRIMARY


def activity_of(row: Row, account: SimulatedAccount) -> str:
    """Return the v3 id of the campaign activity that a row belongs to."""
    return activity_uuid(row.campaign_id, role_of(row, account))
