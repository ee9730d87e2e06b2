"""What rows that ask for reports take of a run: at its beginning, and at its end."""

from dataclasses import replace

from contact_activity.ports import Reports, Store


def try_refused_again(reports: Reports, now_ms: int) -> None:
    """Try what was refused for want of a right: whoever starts a run may have mended that."""
    access, feed = reports.access(), reports.feed()
    if access.is_missing:
        reports.save_access(access.retried(), access)
        for report in list(reports.outlines()):
            if report.asked and report.asked.forbidden_ms is not None:
                reports.save(replace(report, due_ms=now_ms))
    if feed.lacks:
        reports.put_feed(replace(feed, refused_ms=None))


def make_asking_due(store: Store, now_ms: int) -> bool:
    """Have contacts read once more whose rows may be theirs to publish now. False if there are none."""
    if store.reports.access().is_missing:
        return False
    asking = [contact.id for contact in store.contacts.outlines() if contact.asking > contact.owed]
    due = [replace(contact, due_ms=now_ms) for contact in store.contacts.get_many(asking).values()]
    store.contacts.remember(due, due=asking)
    return bool(due)
