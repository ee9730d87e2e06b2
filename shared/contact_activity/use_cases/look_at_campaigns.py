"""Look at the campaign list, and watch the reports of what was sent."""

from dataclasses import replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import SentCampaign, WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import WATCHED_MS, CampaignReport, ReportId
from contact_activity.errors import RetryError
from contact_activity.ports import TickPorts

MAX_PAGES = 100
# Each costs a call. The next tick looks at the rest.
MAX_LOOKED_AT = 60
LOOKING_TIME_MS = 60_000


def look_at_campaigns(
    ports: TickPorts, feed: CampaignFeed, types: tuple[ActivityType, ...], deadline_ms: int
) -> CampaignFeed:
    """Read the list as far as it is new, once a day to the end of the watch. Return what is known then.

    Raises `WaitError`, `RetryError` or `FatalError`; what was watched until then stays watched.
    """
    until_ms = min(deadline_ms, ports.clock.monotonic_ms() + LOOKING_TIME_MS)
    return _Look(ports, feed, types, until_ms).run()


class _Look:
    """One look at the list."""

    def __init__(
        self, ports: TickPorts, feed: CampaignFeed, types: tuple[ActivityType, ...], deadline_ms: int
    ) -> None:
        self._ports = ports
        self._feed = feed
        self._types = types
        self._deadline_ms = deadline_ms
        self._now_ms = ports.clock.now_ms()
        self._is_whole = feed.is_to_be_read_whole(self._now_ms)
        self._listed: list[str] = []
        self._looked_at: set[str] = set()
        self._is_at_end = False

    def run(self) -> CampaignFeed:
        next_: str | None = None
        for _ in range(MAX_PAGES):
            page = self._ports.source.campaigns(since_ms=None, next_=next_, deadline_ms=self._deadline_ms)
            if isinstance(page, Refusal):
                raise RetryError("the campaign list's cursor did not hold")
            self._listed += [of.id for of in page.campaigns if of.id not in self._listed]
            is_enough = self._look_at_new() or page.next is None or page.next == next_
            next_ = page.next
            if is_enough or not (self._is_whole or self._listed[-1] not in self._feed.listed):
                break
        is_all = self._is_at_end or next_ is None
        seen = self._feed.seen(self._seen())
        return replace(
            seen,
            whole_ms=self._now_ms if self._is_whole and is_all else seen.whole_ms,
            refused_ms=None,
        )

    def _look_at_new(self) -> bool:
        """Look at the campaigns that are new or moved up. Return whether to stop."""
        to_look_at = [id_ for id_ in self._feed.moved(self._listed) if id_ not in self._looked_at]
        if self._feed.is_first_due(self._now_ms) and self._listed and not self._looked_at:
            to_look_at = list(dict.fromkeys([self._listed[0], *to_look_at]))
            self._feed = replace(self._feed, first_ms=self._now_ms)
        for id_ in to_look_at:
            if len(self._looked_at) >= MAX_LOOKED_AT:
                return True
            self._looked_at.add(id_)
            if self._is_old(self._watch(id_)):
                self._is_at_end = True
                return True
        return self._is_whole and self._is_known_to_be_old(self._listed[-1:])

    def _seen(self) -> list[str]:
        """The part of the list that need not be looked at again. Behind an old campaign all are old."""
        left = set() if self._is_at_end else set(self._feed.moved(self._listed)) - self._looked_at
        return [id_ for id_ in self._listed if id_ not in left]

    def _is_known_to_be_old(self, last: list[str]) -> bool:
        watched = self._ports.store.reports.watched(last[0]) if last else None
        self._is_at_end = watched is not None and self._is_old(watched)
        return self._is_at_end

    def _is_old(self, campaign: WatchedCampaign) -> bool:
        return campaign.sent_ms is not None and self._now_ms - campaign.sent_ms >= WATCHED_MS

    def _watch(self, campaign_id: str) -> WatchedCampaign:
        """Ask when a campaign was sent last, and have its reports read if that is not long ago."""
        reports = self._ports.store.reports
        before = reports.watched(campaign_id) or WatchedCampaign(campaign_id, None)
        told = self._ports.source.campaign(campaign_id, deadline_ms=self._deadline_ms)
        watched = before.told(told) if isinstance(told, SentCampaign) else before
        if watched != before:
            reports.put_watched(watched)
        if watched.sent_ms is not None and not self._is_old(watched):
            for type_ in self._types:
                self._watch_report(ReportId(campaign_id, type_), watched.sent_ms)
        return watched

    def _watch_report(self, id_: ReportId, sent_ms: int) -> None:
        """A report that is in hand meanwhile is watched anew by the next look at the whole list."""
        reports = self._ports.store.reports
        stored = reports.get(id_) if id_.is_usable else None
        if stored is None and id_.is_usable:
            reports.save(CampaignReport(id_, min(sent_ms, self._now_ms), self._now_ms))
        elif stored and sent_ms > stored.sent_ms:
            reports.save(stored.sent_again(sent_ms, self._now_ms))
