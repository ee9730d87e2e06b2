"""Change how far the reports of a type are trusted, whoever else does at the same time."""

from collections.abc import Callable

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.trust import TypeTrust
from contact_activity.ports import Reports


def change_trust(
    reports: Reports, type_: ActivityType, change: Callable[[TypeTrust], TypeTrust]
) -> TypeTrust:
    """Store the change, and return what is stored. Costs no write if nothing changes."""
    while True:
        trust = reports.trust()
        before = trust.of(type_)
        after = change(before)
        if after == before or reports.save_trust(trust.with_type(type_, after)):
            return after
