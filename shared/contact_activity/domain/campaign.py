"""What is stored of a campaign, and what the list says of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contact_activity.domain.summary import Summarized, SummaryKind

# DynamoDB takes 400 KB an item, and JSON writes a strange character in twelve bytes.
MAX_URLS_CHARACTERS = 30_000
MAX_LINKS = 1_000


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """A row of the campaign list. `modified_ms` is None if the list has no usable date.

    `sent_ms`: when it was sent last, if the list tells.
    """

    id: str
    modified_ms: int | None
    sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SentCampaign:
    """A campaign's own resource. `sent_ms`: when it was sent last; None if it does not tell.

    `urls`: the URL of each link by its id, as far as the provider tells. `mailings`: what of it has
    reports of its own, by which rows name it; empty: the campaign itself.
    """

    id: str
    sent_ms: int | None
    urls: Mapping[str, str]
    mailings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Campaign:
    """All that is stored of a campaign. Version 0: nothing is stored yet."""

    id: str
    version: int = 0
    summarized: Summarized = field(default_factory=lambda: Summarized(SummaryKind.CAMPAIGN))


@dataclass(frozen=True, slots=True)
class WatchedCampaign:
    """A campaign whose reports are read. `urls`: the URL of each link, as it was first told.

    None stands for a link that the provider did not tell when it was first met. Events go by it for ever.
    `mailings`: what of it has reports of its own; empty: the campaign itself.
    """

    id: str
    sent_ms: int | None
    urls: Mapping[str, str | None] = field(default_factory=dict)
    mailings: tuple[str, ...] = ()

    @property
    def reported_ids(self) -> tuple[str, ...]:
        """By which ids its reports are asked for."""
        return self.mailings or (self.id,)

    @property
    def parent_id(self) -> str | None:
        """What its mailings are of, if those have the reports; None: it has them itself."""
        return self.id if self.mailings else None

    def listed(self, campaign: ListedCampaign) -> "WatchedCampaign":
        """What is known after the list told when it was sent, if it did."""
        return self if campaign.sent_ms is None else replace(self, sent_ms=campaign.sent_ms)

    def told(self, campaign: SentCampaign) -> "WatchedCampaign":
        """What is known after its own resource was read: what was decided of a link never changes."""
        sent_ms = self.sent_ms if campaign.sent_ms is None else campaign.sent_ms
        urls = _bounded({**self.urls, **campaign.urls, **self.urls})
        return WatchedCampaign(self.id, sent_ms, urls, campaign.mailings or self.mailings)


def _bounded(urls: Mapping[str, str | None]) -> dict[str, str | None]:
    """The URLs that have room in one item, but for those with an address. Others count as not told."""
    room, bounded = MAX_URLS_CHARACTERS, dict[str, str | None]()
    for link_id, url in list(urls.items())[:MAX_LINKS]:
        room -= len(link_id) + len(url or "")
        bounded[link_id] = url if room >= 0 and "@" not in (url or "") else None
    return bounded
