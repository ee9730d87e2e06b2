"""Defines what is stored of a campaign, and what the list says of one."""

from dataclasses import dataclass, field

from contact_activity.domain.summary import Summarized, SummaryKind


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """`modified_ms` None: the list had no usable date."""

    id: str
    modified_ms: int | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """All that is stored of a campaign; version 0 is one that nothing is stored of."""

    id: str
    version: int = 0
    summarized: Summarized = field(default_factory=lambda: Summarized(SummaryKind.CAMPAIGN))
