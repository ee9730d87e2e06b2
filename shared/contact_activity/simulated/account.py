"""The data of a simulated account: contacts, campaigns and what contacts did, in memory.

It shares no code with the client side, so that no mistake there is hidden by the same mistake here.
"""

import threading
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from contact_activity.simulated.times import to_ms


class Kind(Enum):
    """Kind of activity, with the names that the API uses: its type, its report and its date field."""

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


# The fields of a row that only its kind has, with default values. The names are the API's.
_OWN_FIELDS = {
    Kind.CLICK: {"link_id": "1", "link_uri": "https://www.example.org/"},
    Kind.BOUNCE: {"bounce_code": "F", "bounce_description": "Mailbox full", "bounce_message": ""},
    Kind.UNSUBSCRIBE: {"unsubscribe_source": "ACTION_BY_CUSTOMER", "unsubscribe_reason": ""},
}


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact. `id` is a decimal string; `status` is ACTIVE, UNCONFIRMED, OPTOUT or REMOVED."""

    id: str
    email_address: str
    first_name: str
    last_name: str
    status: str
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link in the mail of a campaign."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """`listed` is False for autoresponders: their activity shows, but no list and no report has them.

    `resent_ms`: when it was sent again, each time later than before.
    """

    id: str
    name: str
    status: str
    created_ms: int
    modified_ms: int
    sent_ms: int | None
    links: tuple[Link, ...] = ()
    listed: bool = True
    resent_ms: tuple[int, ...] = ()

    def last_run_ms(self, now_ms: int) -> int | None:
        """When it was last sent by then; None for one that never was."""
        return max((of for of in self.resent_ms if of <= now_ms), default=self.sent_ms)


@dataclass(frozen=True, slots=True)
class Row:
    """One activity. The API shows it from `inserted_ms` on, which may be long after `occurred_ms`.

    `own` holds the fields that only its kind has, as (name, value).
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
        """What identifies the activity: type, campaign, contact, time in ms, id of the link or ""."""
        link_id = dict(self.own).get("link_id", "") if self.kind is Kind.CLICK else ""
        return (self.kind.activity_type, self.campaign_id, self.contact_id, self.occurred_ms, link_id)


class SimulatedAccount:
    """An account in memory, empty at first. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._contacts: dict[str, Contact] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._by_contact: dict[str, list[Row]] = {}
        self._by_campaign: dict[str, list[Row]] = {}
        self._last_contact_id = 1000
        # Which mail of its campaign v3 counts a row to, once that was asked.
        self.v3_roles: dict[Row, str] = {}

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
        """Add a contact, created and modified at `at`. Without an id it gets the next number.

        Raises `ValueError` if the id is taken.
        """
        with self._lock:
            id_ = contact_id or self._free_contact_id()
            at_ms = to_ms(at)
            contact = Contact(id_, email_address, first_name, last_name, status, at_ms, at_ms)
            self.put_contact(contact)
            return contact

    def put_contact(self, contact: Contact) -> None:
        """Add a contact as it is. Raises `ValueError` if its id is taken."""
        with self._lock:
            if contact.id in self._contacts:
                raise ValueError(f"contact {contact.id} exists")
            self._contacts[contact.id] = contact
            if contact.id.isdecimal():
                self._last_contact_id = max(self._last_contact_id, int(contact.id))

    def set_status(self, contact_id: str, status: str, *, at: datetime) -> None:
        """Change the status and the modified date of a contact. Raises `KeyError` if it is unknown."""
        with self._lock:
            self.replace_contact(replace(self._contacts[contact_id], status=status, modified_ms=to_ms(at)))

    def replace_contact(self, contact: Contact) -> None:
        """Replace a contact that has this id. Raises `KeyError` if there is none."""
        with self._lock:
            if contact.id not in self._contacts:
                raise KeyError(contact.id)
            self._contacts[contact.id] = contact

    def touch_contact(self, contact_id: str, *, at: datetime) -> None:
        """Change the modified date of a contact, as an edit of its profile does."""
        with self._lock:
            self.set_status(contact_id, self._contacts[contact_id].status, at=at)

    def remove_contact(self, contact_id: str, *, at: datetime) -> None:
        """Delete a contact as Constant Contact does: its status is REMOVED, its activity stays readable."""
        self.set_status(contact_id, "REMOVED", at=at)

    def forget_contact(self, contact_id: str) -> None:
        """Delete a contact and its rows, as if it had never existed. The API answers 404."""
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
        """Add a campaign that was sent at `sent_at`. Without an id it gets the next one of 13 digits."""
        with self._lock:
            id_ = campaign_id or str(1_117_000_000_001 + len(self._campaigns))
            sent_ms = to_ms(sent_at)
            campaign = Campaign(id_, name, "SENT", sent_ms, sent_ms, sent_ms, tuple(links), listed)
            self.put_campaign(campaign)
            return campaign

    def put_campaign(self, campaign: Campaign) -> None:
        """Add a campaign as it is. Raises `ValueError` if its id is taken."""
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
        """Add an activity at `at`, visible from `inserted_at` on (by default at once).

        `own` overrides fields that only its kind has, such as `link_id`. The campaign need not exist.
        Raises `KeyError` if the contact does not.
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
        """Add a row as it is."""
        with self._lock:
            insort(self._by_contact.setdefault(row.contact_id, []), row, key=_newest_first)
            self._by_campaign.setdefault(row.campaign_id, []).append(row)

    def contact(self, contact_id: str) -> Contact | None:
        return self._contacts.get(contact_id)

    def campaign(self, campaign_id: str) -> Campaign | None:
        return self._campaigns.get(campaign_id)

    def contacts(self) -> list[Contact]:
        """Return all contacts, in the order in which they were added."""
        with self._lock:
            return list(self._contacts.values())

    def campaigns(self) -> list[Campaign]:
        """Return all campaigns, including unlisted ones, in the order in which they were added."""
        with self._lock:
            return list(self._campaigns.values())

    def campaign_ids(self) -> list[str]:
        """Return the ids of all campaigns, and of those that only rows name."""
        with self._lock:
            return list(self._campaigns | self._by_campaign)

    def rows_of_contact(self, contact_id: str, now_ms: int) -> list[Row]:
        """Return the rows of a contact that are visible at a time, newest activity first."""
        with self._lock:
            rows = self._by_contact.get(contact_id, ())
            return [row for row in rows if row.inserted_ms <= now_ms]

    def rows_of_campaign(self, campaign_id: str, now_ms: int) -> list[Row]:
        """Return the rows of a campaign that are visible at a time, in any order."""
        with self._lock:
            rows = self._by_campaign.get(campaign_id, ())
            return [row for row in rows if row.inserted_ms <= now_ms]

    def rows(self) -> list[Row]:
        """Return all rows, including those that become visible later. By contact, newest first."""
        with self._lock:
            return [row for rows in self._by_contact.values() for row in rows]

    def truth(self, now: datetime) -> list[Row]:
        """Return all rows that are visible at `now`: what a client must have found by then."""
        now_ms = to_ms(now)
        return [row for row in self.rows() if row.inserted_ms <= now_ms]

    def _free_contact_id(self) -> str:
        return str(self._last_contact_id + 1)


def _newest_first(row: Row) -> int:
    return -row.occurred_ms
