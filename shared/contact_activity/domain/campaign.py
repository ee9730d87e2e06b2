"""What is stored of a campaign, and what the list says of one."""

from dataclasses import dataclass, field

from contact_activity.domain.summary import Summarized, SummaryKind


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """A row of the campaign list. `modified_ms` is None if the list has no usable date."""

    id: str
    modified_ms: int | None


@dataclass(frozen=True, slots=True)
class Campaign:
    """All that is stored of a campaign. Version 0: nothing is stored yet."""

    id: str
    version: int = 0
    summarized: Summarized = field(default_factory=lambda: Summarized(SummaryKind.CAMPAIGN))
