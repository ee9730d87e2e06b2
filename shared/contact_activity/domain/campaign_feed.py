"""The campaign list as it was seen last: it tells which campaigns to look at, and costs one page a tick.

A row of the list tells neither when a campaign was sent nor its links (v2 documentation), so those cost
a call. The list is in the order of the last sends, newest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contact_activity.domain.times import DAY_MS, HOUR_MS

MAX_LISTED = 2_000
WHOLE_EVERY_MS = DAY_MS
REFUSED_FOR_MS = DAY_MS
LACKING_FOR_MS = HOUR_MS
# Each tick asks for a page of contacts and one of campaigns.
LISTS = 2
# One that is first in the list and is sent again does not move.
FIRST_EVERY_MS = HOUR_MS
# Each costs a call. A list in another order each time would otherwise use up the day.
LEAST_LOOKS_A_DAY = 60
LOOKS_PERCENT_OF_DAY = 10


@dataclass(frozen=True, slots=True)
class CampaignFeed:
    """`listed`: the ids as the list showed them last. `whole_ms`: when it was last read whole.

    `first_ms`: when the first campaign was looked at last, though it had not moved.
    `refused_ms`: when the API last refused the list; None: it does not. `lacks`: what right that takes, if
    the version of the API tells.
    `report_calls`: how many calls reports were planned to take on `day`, which counts UTC days since
    1970; `report_calls_before`: on the day before. `looks`: how many campaigns were looked at on `day`.
    """

    listed: tuple[str, ...] = ()
    whole_ms: int | None = None
    first_ms: int | None = None
    refused_ms: int | None = None
    day: int = 0
    report_calls: int = 0
    report_calls_before: int = 0
    looks: int = 0
    lacks: str = ""

    def is_to_be_read_whole(self, now_ms: int) -> bool:
        """Whether to read the list to the end of the watch, not only as far as it is new."""
        return _is_past(self.whole_ms, WHOLE_EVERY_MS, now_ms)

    def is_first_due(self, now_ms: int) -> bool:
        return _is_past(self.first_ms, FIRST_EVERY_MS, now_ms)

    def is_refused(self, now_ms: int) -> bool:
        """Whether to leave the list alone. Where a login brings the right that is named, it is soon tried."""
        return not _is_past(self.refused_ms, LACKING_FOR_MS if self.lacks else REFUSED_FOR_MS, now_ms)

    def moved(self, listed: Sequence[str]) -> list[str]:
        """The campaigns to look at: those that are new, and those that moved up.

        One that moved up was sent again: nothing else changes its place.
        """
        place = {id_: number for number, id_ in enumerate(self.listed)}
        found: list[str] = []
        highest = len(place)
        for id_ in reversed(listed):
            at = place.get(id_)
            if at is None or at > highest:
                found.append(id_)
            else:
                highest = min(highest, at)
        return found[::-1]

    def seen(self, listed: Sequence[str]) -> "CampaignFeed":
        """After campaigns were looked at. They come before all that were listed earlier."""
        now_listed = dict.fromkeys(listed)
        rest = (id_ for id_ in self.listed if id_ not in now_listed)
        return replace(self, listed=(*now_listed, *rest)[:MAX_LISTED])

    def counted(self, calls: int, now_ms: int, *, looks: int = 0) -> "CampaignFeed":
        """With so many more calls planned for reports, and so many more campaigns looked at."""
        day = now_ms // DAY_MS
        if day == self.day:
            return replace(self, report_calls=self.report_calls + calls, looks=self.looks + looks)
        before = self.report_calls if day == self.day + 1 else 0
        return replace(self, day=day, report_calls=calls, report_calls_before=before, looks=looks)

    def looks_left(self, calls_per_day: int, now_ms: int) -> int:
        """How many campaigns may still be looked at on this UTC day."""
        most = max(LEAST_LOOKS_A_DAY, calls_per_day * LOOKS_PERCENT_OF_DAY // 100)
        return max(0, most - self.counted(0, now_ms).looks)

    def report_calls_a_day(self, now_ms: int) -> int:
        """How many calls reports take a day, by today so far and by yesterday."""
        counted = self.counted(0, now_ms)
        return max(counted.report_calls, counted.report_calls_before)

    def reserved(self, now_ms: int, tick_ms: int) -> int:
        """How many calls of a day are for reports and for the two lists; 0 while no report is read."""
        reports = self.report_calls_a_day(now_ms)
        return reports + LISTS * DAY_MS // tick_ms if reports else 0


def _is_past(at_ms: int | None, every_ms: int, now_ms: int) -> bool:
    """Whether so much time has passed. A time in the future means that the clock was set back."""
    return at_ms is None or not 0 <= now_ms - at_ms < every_ms
