"""The result of one tick."""

from dataclasses import dataclass
from enum import StrEnum


class TickOutcome(StrEnum):
    DISPATCHED = "dispatched"
    PAUSED = "paused"
    LEASE_HELD = "lease_held"


@dataclass(slots=True)
class TickReport:
    """Result of one tick.

    `paused_by`: the first pause that holds. `paused`: every pause that held since the last tick, also one
    that this tick lifted.
    `listing_waits`: the listing has spent its share of the day's calls, and goes on at 00:00 UTC.
    `pulled_back`: how many contacts were due later than any contact should be, and are due now.
    `report_calls`: about how many calls the campaigns' reports take that were handed out.
    `report_types_off`: the types whose reports were seen to differ from what contacts' own reports show.
    `missing_right`: the right by whose want reports are refused; "": none; None: nobody looked (v3 only).
    `campaigns_failed`: why the campaigns could not be listed.
    `lag_ms`: how long the contact that waits longest has been due at the end of the tick. It and the
    calls are None if another tick was under way.
    """

    outcome: TickOutcome = TickOutcome.DISPATCHED
    paused_by: str | None = None
    pages: int = 0
    new_contacts: int = 0
    unreadable_contacts: int = 0
    listing_is_complete: bool = False
    listing_waits: bool = False
    pulled_back: int = 0
    enqueued: int = 0
    rejected: int = 0
    reports_enqueued: int = 0
    report_calls: int = 0
    report_types_off: tuple[str, ...] = ()
    missing_right: str | None = None
    campaigns_enqueued: int = 0
    campaigns_failed: str | None = None
    paused: tuple[str, ...] = ()
    lag_ms: int | None = None
    calls_used: int | None = None
    calls_per_day: int | None = None

    @property
    def is_listed(self) -> bool:
        """Whether nothing more of the list can be read now."""
        return self.listing_is_complete or self.listing_waits
