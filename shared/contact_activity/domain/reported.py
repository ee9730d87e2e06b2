"""What of a campaign's report is new, by the memory of each contact that it names."""

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum

from contact_activity.domain.activity import Activity
from contact_activity.domain.memory import activity_key, key_time_ms
from contact_activity.domain.times import HOUR_MS

# A memory that is full of what the contact's own walk read has room for so much more from reports.
ROOM = 1_000
# Stamps were seen to be whole hours off, on one side or on both (issue reports of the official SDKs).
MAX_SHIFT_H = 14


class Standing(Enum):
    """What a row of a report is to the contact that it names."""

    NEW = "new"
    KNOWN = "known"
    OUTSIDE = "outside of what is published"
    LEFT = "left to the contact's own walk"
    SHIFTED = "the like of a known activity at another hour"


def likes(account: str, activity: Activity) -> Iterator[bytes]:
    """The keys that an activity would have if its stamp were some whole hours off."""
    for shift_h in range(-MAX_SHIFT_H, MAX_SHIFT_H + 1):
        occurred_ms = activity.occurred_ms + shift_h * HOUR_MS
        if shift_h and occurred_ms > 0:
            yield activity_key(account, replace(activity, occurred_ms=occurred_ms))


class Shadows:
    """Finds among known keys the like of an activity at another hour."""

    def __init__(self, account: str, known: "set[bytes]") -> None:
        self._account = account
        self._known = known
        self._within_hour = {key_time_ms(key) % HOUR_MS for key in known}

    def of(self, activity: Activity) -> bytes | None:
        """The known like of an activity, or None."""
        if activity.occurred_ms % HOUR_MS not in self._within_hour:
            return None
        return next((key for key in likes(self._account, activity) if key in self._known), None)
