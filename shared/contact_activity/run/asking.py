"""Contacts whose rows ask for reports, at the end of a run."""

from dataclasses import replace

from contact_activity.ports import Contacts


def make_asking_due(contacts: Contacts, now_ms: int) -> bool:
    """Have contacts read once more whose rows may be theirs to publish now. False if there are none."""
    asking = [contact.id for contact in contacts.outlines() if contact.asking > contact.owed]
    due = [replace(contact, due_ms=now_ms) for contact in contacts.get_many(asking).values()]
    contacts.remember(due, due=asking)
    return bool(due)
