"""What the API can answer: pages, and refusals that are no failure."""

from dataclasses import dataclass
from enum import Enum

from contact_activity.domain.activity import Activity
from contact_activity.domain.campaign import ListedCampaign
from contact_activity.domain.contact import ListedContact


class Refusal(Enum):
    """Answers of the API that are no failure and no page."""

    NEXT_EXPIRED = "the next token is no longer valid"
    GONE = "the contact, or the campaign, does not exist"


@dataclass(frozen=True, slots=True)
class TrackingPage:
    """One page of a tracking report. `unreadable` holds digests of rows that could not be read."""

    activities: tuple[Activity, ...]
    unreadable: tuple[str, ...]
    next: str | None

    @property
    def is_empty(self) -> bool:
        return not self.activities and not self.unreadable


@dataclass(frozen=True, slots=True)
class ContactsPage:
    """One page of the contact list. `unreadable` counts rows without a usable id."""

    contacts: tuple[ListedContact, ...]
    unreadable: int
    next: str | None


@dataclass(frozen=True, slots=True)
class CampaignsPage:
    """One page of the campaign list."""

    campaigns: tuple[ListedCampaign, ...]
    next: str | None
