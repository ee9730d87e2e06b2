"""Look at the campaign list, and watch the reports of what was sent."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import ListedCampaign, SentCampaign, WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import WATCHED_MS, CampaignReport, ReportId
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError
from contact_activity.ports import TickPorts

MAX_PAGES = 100
# Each costs a call. The next tick looks at the rest.
MAX_LOOKED_AT = 60
# Of those that did not tell when they were sent, asked again when the list is read whole.
MAX_ASKED_AGAIN = 10
LOOKING_TIME_MS = 60_000
# One campaign that the API cannot tell about does not use up the time of all.
CAMPAIGN_TIME_MS = 10_000


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
        calls_per_day = ports.store.limiter.limits.calls_per_day
        self._most = min(MAX_LOOKED_AT, feed.looks_left(calls_per_day, self._now_ms))
        self._listed: list[str] = []
        self._rows: dict[str, ListedCampaign] = {}
        self._looked_at: set[str] = set()
        self._failed: set[str] = set()
        self._untold: list[str] = []
        self._failure: RetryError | FatalError | None = None
        self._has_left = False
        self._is_at_end = False

    def run(self) -> CampaignFeed:
        try:
            is_all = self._read_list()
            if self._failure:
                raise self._failure
        except (RetryError, FatalError, WaitError):
            self._keep()
            raise
        seen = self._after()
        whole_ms = self._now_ms if self._is_whole and is_all else seen.whole_ms
        return replace(seen, whole_ms=None if self._has_left else whole_ms, refused_ms=None, lacks="")

    def _read_list(self) -> bool:
        """Look at what is new, page by page. Return whether nothing of the list is left to look at.

        A page that shows nothing else than those before it ends the list: its cursors go round.
        """
        next_: str | None = None
        for _ in range(MAX_PAGES):
            page = self._ports.source.campaigns(since_ms=None, next_=next_, deadline_ms=self._deadline_ms)
            if isinstance(page, Refusal):
                raise RetryError("the campaign list's cursor did not hold")
            shown = [id_ for id_ in dict.fromkeys(of.id for of in page.campaigns) if id_ not in self._listed]
            self._listed += shown
            self._rows |= {of.id: of for of in page.campaigns}
            if self._is_whole:
                self._watch_known(shown)
            if self._look_at_new():
                return self._is_at_end
            next_ = page.next
            if next_ is None or not shown:
                return True
            if not self._is_whole and shown[-1] in self._feed.listed:
                break
        return False

    def _look_at_new(self) -> bool:
        """Look at the campaigns that are new or moved up. Return whether to stop."""
        to_look_at = [id_ for id_ in self._feed.moved(self._listed) if id_ not in self._tried]
        if self._feed.is_first_due(self._now_ms) and self._listed and not self._tried:
            to_look_at = list(dict.fromkeys([self._listed[0], *to_look_at]))
            self._feed = replace(self._feed, first_ms=self._now_ms)
        untold = [id_ for id_ in self._untold[:MAX_ASKED_AGAIN] if id_ not in self._tried]
        for id_ in dict.fromkeys([*to_look_at, *untold]):
            if len(self._tried) >= self._most:
                self._has_left = True
                return True
            campaign = self._try(id_)
            if campaign and self._is_old(campaign):
                self._is_at_end = True
                return True
        return self._is_whole and self._is_known_to_be_old(self._listed[-1:])

    @property
    def _tried(self) -> set[str]:
        return self._looked_at | self._failed

    def _try(self, campaign_id: str) -> WatchedCampaign | None:
        """Look at a campaign. One that fails holds up no other, and is asked for again at the next tick."""
        try:
            campaign = self._watch(campaign_id)
        except RefusedError:
            raise
        except (RetryError, FatalError) as error:
            self._failed.add(campaign_id)
            self._failure = error
            return None
        self._looked_at.add(campaign_id)
        return campaign

    def _keep(self) -> None:
        """Store what was looked at before a failure, so that it is not asked for again."""
        if self._tried:
            self._ports.store.reports.put_feed(self._after())

    def _after(self) -> CampaignFeed:
        return self._feed.seen(self._seen()).counted(0, self._now_ms, looks=len(self._tried))

    def _seen(self) -> list[str]:
        """The part of the list that need not be looked at again. Behind an old campaign all are old."""
        left = set() if self._is_at_end else set(self._feed.moved(self._listed)) - self._looked_at
        return [id_ for id_ in self._listed if id_ not in left and id_ not in self._failed]

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
        deadline_ms = min(self._deadline_ms, self._ports.clock.monotonic_ms() + CAMPAIGN_TIME_MS)
        told = self._ports.source.campaign(campaign_id, deadline_ms=deadline_ms)
        watched = (
            before.told(told).listed(self._rows[campaign_id]) if isinstance(told, SentCampaign) else before
        )
        if watched != before:
            reports.put_watched(watched)
        self._watch_reports(watched)
        return watched

    def _watch_known(self, campaign_ids: Sequence[str]) -> None:
        """Watch also the types that are read since lately, and what was in hand when it was sent again.

        One that was listed before its own resource told when it was sent is asked again.
        """
        for campaign_id in campaign_ids:
            campaign = self._ports.store.reports.watched(campaign_id)
            if campaign and campaign.sent_ms is not None:
                self._watch_reports(campaign)
            elif campaign_id in self._feed.listed:
                self._untold.append(campaign_id)

    def _watch_reports(self, campaign: WatchedCampaign) -> None:
        if campaign.sent_ms is not None and not self._is_old(campaign):
            for id_, type_ in product(campaign.reported_ids, self._types):
                self._watch_report(ReportId(id_, type_), campaign.sent_ms, campaign.parent_id)

    def _watch_report(self, id_: ReportId, sent_ms: int, parent_id: str | None) -> None:
        """A report that is in hand meanwhile is watched anew by the next look at the whole list."""
        reports = self._ports.store.reports
        stored = reports.get(id_) if id_.is_usable else None
        if stored is None and id_.is_usable:
            sent_ms = min(sent_ms, self._now_ms)
            reports.save(CampaignReport(id_, sent_ms, self._now_ms, parent_id=parent_id))
        elif stored and sent_ms > stored.sent_ms:
            reports.save(stored.sent_again(sent_ms, self._now_ms).of_parent(parent_id))
        elif stored and stored.is_put_off(self._now_ms):
            due = replace(stored.set_right(self._now_ms), due_ms=self._now_ms)
            reports.save(due.of_parent(parent_id))
        elif stored and stored.of_parent(parent_id) is not stored:
            reports.save(stored.of_parent(parent_id))
