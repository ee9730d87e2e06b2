"""What rows that ask for reports take of a run: at its beginning, and at its end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.rights import TRIED_AT_ONCE, are_refused, is_refused
from contact_activity.ports import Store


def try_refused_again(store: Store, now_ms: int) -> None:
    """Try what was refused for want of a right: whoever starts a run may have mended that."""
    reports = store.reports
    access, feed = reports.access(), reports.feed()
    _make_due(store, _refused(store.contacts.outlines(), now_ms)[:TRIED_AT_ONCE], now_ms)
    if access.is_missing:
        reports.save_access(access.retried(), access)
        for report in list(reports.outlines()):
            if report.asked and report.asked.forbidden_ms is not None:
                reports.save(replace(report, due_ms=now_ms))
    if feed.lacks:
        reports.put_feed(replace(feed, refused_ms=None))


def make_asking_due(store: Store, now_ms: int) -> bool:
    """Have contacts read once more whose rows may be theirs to publish now. False if there are none.

    So are those that were refused for want of a right, once others are given.
    """
    contacts = list(store.contacts.outlines())
    ids = [] if are_refused(contacts) else _refused(contacts, now_ms)
    if not store.reports.access().is_missing:
        ids += [contact.id for contact in contacts if contact.asking > contact.owed]
    return _make_due(store, ids, now_ms)


def _refused(contacts: Iterable[ContactOutline], now_ms: int) -> list[str]:
    return [contact.id for contact in contacts if is_refused(contact) and contact.due_ms > now_ms]


def _make_due(store: Store, ids: Sequence[str], now_ms: int) -> bool:
    """Return whether there are any."""
    due = [replace(contact, due_ms=now_ms) for contact in store.contacts.get_many(ids).values()]
    store.contacts.remember(due, due=ids)
    return bool(due)
