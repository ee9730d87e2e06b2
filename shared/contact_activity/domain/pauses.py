"""Pauses: while one holds, no call goes out."""

from dataclasses import dataclass
from enum import StrEnum

from contact_activity.domain.pace import Limits, Pace, calls_left
from contact_activity.domain.times import CLOCKS_DIFFER_MS, HOUR_MS, is_too_late, midnight_after


def quota_refused_until(pace: Pace, limits: Limits, now_ms: int) -> int:
    """When to ask again after the API said that the day's calls are used up.

    That is midnight. But if our own count has calls left, somebody else uses the key, or the provider's
    day ends at another time: one probe an hour finds out.
    """
    return now_ms + HOUR_MS if calls_left(pace, limits, now_ms) else midnight_after(now_ms)


def is_own_budget(pause: "Pause", now_ms: int) -> bool:
    """Whether our own count of the day's calls made this pause, not an answer of the API."""
    return pause.reason is PauseReason.QUOTA and pause.until_ms == midnight_after(now_ms)


def _longest_quota_pause(now_ms: int) -> int:
    """The latest end of a quota pause, also by a clock that is past midnight already."""
    return max(midnight_after(now_ms + CLOCKS_DIFFER_MS), now_ms + HOUR_MS)


class PauseReason(StrEnum):
    QUOTA = "quota"
    CREDENTIAL = "credential"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Pause:
    """No calls until `until_ms`, or until it is lifted if that is None.

    `lacks`: the right for want of which the API lists no contacts; "" if the credential is refused for
    something else.
    """

    reason: PauseReason
    until_ms: int | None
    lacks: str = ""

    def is_active(self, now_ms: int, since_ms: int) -> bool:
        """Whether it holds now or did at any time since `since_ms`.

        A quota pause ends at midnight: one that lasts longer was written by a clock that ran ahead.
        """
        if self.until_ms is None:
            return True
        if self.reason is PauseReason.QUOTA and is_too_late(self.until_ms, _longest_quota_pause(now_ms)):
            return False
        return since_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class Pauses:
    """At most one pause for each reason. The system is paused while any of them is active."""

    by_reason: tuple[Pause, ...] = ()

    def active(self, now_ms: int, *, since_ms: int | None = None) -> tuple[Pause, ...]:
        """The pauses that hold now, or that held at any time since `since_ms`."""
        since_ms = now_ms if since_ms is None else since_ms
        return tuple(pause for pause in self.by_reason if pause.is_active(now_ms, since_ms))

    def with_pause(self, pause: Pause) -> "Pauses":
        return Pauses((*self.without(pause.reason).by_reason, pause))

    def without(self, reason: PauseReason) -> "Pauses":
        return Pauses(tuple(p for p in self.by_reason if p.reason is not reason))
