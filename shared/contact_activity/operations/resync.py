"""Requests that activity is published again."""

from collections.abc import Iterable, Iterator

from contact_activity.domain.contact import Contact
from contact_activity.operations.change_contacts import change_contacts
from contact_activity.operations.system import System


def resyncable_ids(system: System) -> list[str]:
    """Return the ids of all contacts that a resync can reach: those that are not gone."""
    return [outline.id for outline in system.store.contacts.outlines() if not outline.times_gone]


def request_resync(system: System, contact_ids: Iterable[str], from_ms: int, now_ms: int) -> Iterator[bool]:
    """Have the activity of each contact since a time published again.

    Yields False for a contact that is gone or unknown. Of two requests that are open the earlier time
    counts. Raises `RetryError`.
    """

    def resync(contact: Contact) -> Contact | None:
        return None if contact.times_gone else contact.resynced(from_ms, now_ms)

    yield from change_contacts(system, contact_ids, resync)
