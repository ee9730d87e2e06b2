"""What is stored of a campaign, and what the list says of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contact_activity.domain.summary import Summarized, SummaryKind


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """A row of the campaign list. `modified_ms` is None if the list has no usable date."""

    id: str
    modified_ms: int | None


@dataclass(frozen=True, slots=True)
class SentCampaign:
    """A campaign's own resource. `sent_ms`: when it was sent last; None if it never was.

    `urls`: the URL of each link by its id, as far as the provider tells.
    """

    id: str
    sent_ms: int | None
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Campaign:
    """All that is stored of a campaign. Version 0: nothing is stored yet."""

    id: str
    version: int = 0
    summarized: Summarized = field(default_factory=lambda: Summarized(SummaryKind.CAMPAIGN))


@dataclass(frozen=True, slots=True)
class WatchedCampaign:
    """A campaign whose reports are read. `urls`: the URL of each link, as it was first told.

    None stands for a link that the provider did not tell when it was asked.
    """

    id: str
    sent_ms: int | None
    urls: Mapping[str, str | None] = field(default_factory=dict)

    def told(self, campaign: SentCampaign) -> "WatchedCampaign":
        """What is known after its own resource was read: a URL that was told once never changes."""
        known = {link_id: url for link_id, url in self.urls.items() if url is not None}
        return WatchedCampaign(self.id, campaign.sent_ms or self.sent_ms, {**campaign.urls, **known})
