"""What of a campaign's report is new, by the memory of the contacts that it names."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import MAX_REMEMBERED, activity_key, unpack
from contact_activity.domain.schedule import is_held
from contact_activity.domain.shadows import MAX_SHIFT_H, Shadows
from contact_activity.domain.times import HOUR_MS
from contact_activity.domain.watermark import Reading, Window

# A memory that is full of what the contact's own walks read has so much room left for reports.
ROOM_FOR_REPORTS = 1_000


class Standing(Enum):
    """What a report's row is to its contact."""

    NEW = "new"
    KNOWN = "known"
    OUTSIDE = "outside of what is published"
    LEFT = "left to the contact's own walk"
    SHIFTED = "the like of a known activity at another hour"


class Memory(Protocol):
    """What one contact knows of a report's rows."""

    @property
    def late_details(self) -> int: ...

    def standing(self, activity: Activity) -> Standing: ...

    def keys_of(self, published: Sequence[Activity], known: Sequence[Activity]) -> set[bytes]:
        """What to remember of rows that are out: of those just published, and those known before."""


class ContactMemory:
    """Tells what a report's rows are to one contact. What it calls new, it knows from then on."""

    def __init__(self, contact: Contact, reading: Reading, now_ms: int) -> None:
        watermark, progress = contact.watermark, contact.progress
        reported = set(unpack(watermark.reported))
        published = {*unpack(watermark.remembered), *unpack(progress.candidates if progress else b"")}
        self._reading = reading
        self._marks = watermark
        self._known = published | reported
        # What a report published it shows itself: only what a contact's walk published can be its shadow.
        self._shadows = Shadows(reading.account, published - reported)
        self._room = MAX_REMEMBERED + ROOM_FOR_REPORTS - len(reported) - len(unpack(watermark.remembered))
        is_compacted = progress is not None and progress.forgotten_ms is not None
        self._is_left = is_compacted or is_held(contact.held_until_ms, now_ms)

    @property
    def late_details(self) -> int:
        """Where contacts' rows are whole, nothing is published without its details."""
        return 0

    def standing(self, activity: Activity) -> Standing:
        """What a row is. A click without a URL that its contact's row has is left to that."""
        if not self._window(activity.type).holds(activity.occurred_ms):
            return Standing.OUTSIDE
        key = activity_key(self._reading.account, activity)
        if key in self._known:
            return Standing.KNOWN
        if self._is_left or self._room <= 0 or lacks_url(activity) or self._is_near_forgotten(activity):
            return Standing.LEFT
        if any(True for _ in self._shadows.of(activity)):
            return Standing.SHIFTED
        self._known.add(key)
        self._room -= 1
        return Standing.NEW

    def keys_of(self, published: Sequence[Activity], known: Sequence[Activity]) -> set[bytes]:  # noqa: ARG002
        return {activity_key(self._reading.account, row) for row in published}

    def _is_near_forgotten(self, activity: Activity) -> bool:
        """Whether its like at another hour may be forgotten. The contact's walk asks from there on."""
        floor_ms = self._marks.mark(activity.type).floor_ms
        return floor_ms is not None and activity.occurred_ms < floor_ms + MAX_SHIFT_H * HOUR_MS

    def _window(self, type_: ActivityType) -> Window:
        return self._marks.window(type_, self._reading.start_ms or 0)


def lacks_url(activity: Activity) -> bool:
    """Whether it is a click whose URL only its contact's row may tell."""
    return activity.type is ActivityType.CLICKED and (activity.link is None or activity.link.url is None)


def once_each(account: str, activities: Iterable[Activity]) -> list[Activity]:
    """The rows of a page without those that are equal in what makes an activity; the first counts."""
    found: dict[bytes, Activity] = {}
    for activity in activities:
        found.setdefault(activity_key(account, activity), activity)
    return list(found.values())
