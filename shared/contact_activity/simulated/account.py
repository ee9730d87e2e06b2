"""The data of a simulated account: contacts, campaigns and what contacts did, in memory.

It shares no code with the client side on purpose: a mistake there must not be hidden by the same
mistake here.
"""

import threading
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from contact_activity.simulated.times import to_ms


class Kind(Enum):
    """The six reports of a contact: `activity_type`, name of the report, name of the date field."""

    SEND = ("EMAIL_SEND", "sends", "send_date")
    OPEN = ("EMAIL_OPEN", "opens", "open_date")
    CLICK = ("EMAIL_CLICK", "clicks", "click_date")
    FORWARD = ("EMAIL_FORWARD", "forwards", "forward_date")
    BOUNCE = ("EMAIL_BOUNCE", "bounces", "bounce_date")
    UNSUBSCRIBE = ("EMAIL_UNSUBSCRIBE", "unsubscribes", "unsubscribe_date")

    def __init__(self, activity_type: str, report: str, date_field: str) -> None:
        self.activity_type = activity_type
        self.report = report
        self.date_field = date_field


# What a row says when a test does not care; the names are the API's own.
_OWN_FIELDS = {
    Kind.CLICK: {"link_id": "1", "link_uri": "https://www.example.org/"},
    Kind.BOUNCE: {"bounce_code": "F", "bounce_description": "Mailbox full", "bounce_message": ""},
    Kind.UNSUBSCRIBE: {"unsubscribe_source": "ACTION_BY_CUSTOMER", "unsubscribe_reason": ""},
}


@dataclass(frozen=True, slots=True)
class Contact:
    """`status` is one of ACTIVE, UNCONFIRMED, OPTOUT, REMOVED; `id` a decimal string."""

    id: str
    email_address: str
    first_name: str
    last_name: str
    status: str
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Link:
    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """`listed` is False for autoresponders: their activity shows, but no list and no report has them."""

    id: str
    name: str
    status: str
    created_ms: int
    modified_ms: int
    sent_ms: int | None
    links: tuple[Link, ...] = ()
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One activity. The API shows it from `inserted_ms` on, which may be long after `occurred_ms`.

    `own` are the fields beside the common ones, as (name, value).
    """

    kind: Kind
    campaign_id: str
    contact_id: str
    email_address: str
    occurred_ms: int
    inserted_ms: int
    own: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What tells activities apart: type, campaign, contact, milliseconds, link id or ""."""
        link_id = dict(self.own).get("link_id", "") if self.kind is Kind.CLICK else ""
        return (self.kind.activity_type, self.campaign_id, self.contact_id, self.occurred_ms, link_id)


class SimulatedAccount:
    """An account in memory, empty at first; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._contacts: dict[str, Contact] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._by_contact: dict[str, list[Row]] = {}
        self._by_campaign: dict[str, list[Row]] = {}
        self._last_contact_id = 1000

    def add_contact(
        self,
        email_address: str,
        *,
        at: datetime,
        contact_id: str | None = None,
        first_name: str = "",
        last_name: str = "",
        status: str = "ACTIVE",
    ) -> Contact:
        """A new contact, created and modified at `at`; ids count up when none is given.

        ValueError if the id is taken.
        """
        with self._lock:
            id_ = contact_id or self._free_contact_id()
            at_ms = to_ms(at)
            contact = Contact(id_, email_address, first_name, last_name, status, at_ms, at_ms)
            self.put_contact(contact)
            return contact

    def put_contact(self, contact: Contact) -> None:
        """Store a contact as it is; ValueError if its id is taken."""
        with self._lock:
            if contact.id in self._contacts:
                raise ValueError(f"contact {contact.id} exists")
            self._contacts[contact.id] = contact
            if contact.id.isdecimal():
                self._last_contact_id = max(self._last_contact_id, int(contact.id))

    def set_status(self, contact_id: str, status: str, *, at: datetime) -> None:
        """Change a contact's status, which moves its modified date; KeyError if there is none."""
        with self._lock:
            self.replace_contact(replace(self._contacts[contact_id], status=status, modified_ms=to_ms(at)))

    def replace_contact(self, contact: Contact) -> None:
        """Store a contact's new state; KeyError if there is none with its id."""
        with self._lock:
            if contact.id not in self._contacts:
                raise KeyError(contact.id)
            self._contacts[contact.id] = contact

    def touch_contact(self, contact_id: str, *, at: datetime) -> None:
        """Move a contact's modified date, as an edit of its profile does."""
        with self._lock:
            self.set_status(contact_id, self._contacts[contact_id].status, at=at)

    def remove_contact(self, contact_id: str, *, at: datetime) -> None:
        """Delete as the product does, softly: REMOVED, and its activity stays readable."""
        self.set_status(contact_id, "REMOVED", at=at)

    def forget_contact(self, contact_id: str) -> None:
        """Make it one that never existed: the API answers 404. Its rows are gone."""
        with self._lock:
            del self._contacts[contact_id]
            for row in self._by_contact.pop(contact_id, []):
                self._by_campaign[row.campaign_id].remove(row)

    def add_campaign(
        self,
        name: str,
        *,
        sent_at: datetime,
        campaign_id: str | None = None,
        links: Iterable[Link] = (),
        listed: bool = True,
    ) -> Campaign:
        """A campaign that was sent at `sent_at`; ids of 13 digits count up when none is given."""
        with self._lock:
            id_ = campaign_id or str(1_117_000_000_001 + len(self._campaigns))
            sent_ms = to_ms(sent_at)
            campaign = Campaign(id_, name, "SENT", sent_ms, sent_ms, sent_ms, tuple(links), listed)
            self.put_campaign(campaign)
            return campaign

    def put_campaign(self, campaign: Campaign) -> None:
        """Store a campaign as it is; ValueError if its id is taken."""
        with self._lock:
            if campaign.id in self._campaigns:
                raise ValueError(f"campaign {campaign.id} exists")
            self._campaigns[campaign.id] = campaign

    def add_row(
        self,
        kind: Kind,
        contact_id: str,
        campaign_id: str,
        *,
        at: datetime,
        inserted_at: datetime | None = None,
        **own: str,
    ) -> Row:
        """One activity at `at`, visible from `inserted_at` (by default at once).

        `own` overrides the fields that its kind has beside the common ones, such as `link_id`.
        The campaign need not exist; KeyError if the contact does not.
        """
        row = Row(
            kind=kind,
            campaign_id=campaign_id,
            contact_id=contact_id,
            email_address=self._contacts[contact_id].email_address,
            occurred_ms=to_ms(at),
            inserted_ms=to_ms(inserted_at or at),
            own=tuple({**_OWN_FIELDS.get(kind, {}), **own}.items()),
        )
        self.put_row(row)
        return row

    def put_row(self, row: Row) -> None:
        """Store a row as it is."""
        with self._lock:
            insort(self._by_contact.setdefault(row.contact_id, []), row, key=_newest_first)
            self._by_campaign.setdefault(row.campaign_id, []).append(row)

    def contact(self, contact_id: str) -> Contact | None:
        return self._contacts.get(contact_id)

    def campaign(self, campaign_id: str) -> Campaign | None:
        return self._campaigns.get(campaign_id)

    def contacts(self) -> list[Contact]:
        """All contacts, in the order in which they were added."""
        with self._lock:
            return list(self._contacts.values())

    def campaigns(self) -> list[Campaign]:
        """All campaigns, unlisted ones too, in the order in which they were added."""
        with self._lock:
            return list(self._campaigns.values())

    def rows_of_contact(self, contact_id: str, now_ms: int) -> list[Row]:
        """What the account shows of a contact at a moment, newest activity first."""
        with self._lock:
            rows = self._by_contact.get(contact_id, ())
            return [row for row in rows if row.inserted_ms <= now_ms]

    def rows_of_campaign(self, campaign_id: str, now_ms: int) -> list[Row]:
        """What the account shows of a campaign at a moment, in no promised order."""
        with self._lock:
            rows = self._by_campaign.get(campaign_id, ())
            return [row for row in rows if row.inserted_ms <= now_ms]

    def rows(self) -> list[Row]:
        """Every row, also those that become visible later; by contact, newest first."""
        with self._lock:
            return [row for rows in self._by_contact.values() for row in rows]

    def truth(self, now: datetime) -> list[Row]:
        """Every row that is visible at `now`: what a client must have found by then."""
        now_ms = to_ms(now)
        return [row for row in self.rows() if row.inserted_ms <= now_ms]

    def _free_contact_id(self) -> str:
        return str(self._last_contact_id + 1)


def _newest_first(row: Row) -> int:
    return -row.occurred_ms
