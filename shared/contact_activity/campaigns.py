"""Campaign summaries: list the campaigns that were sent lately, then ask for each one's report.

The dispatcher lists and hands out; a worker asks and publishes. A message that is lost costs one
interval, since the next listing hands out every campaign again.
"""

from dataclasses import replace

from contact_activity.pausing import pause_for
from contact_activity.ports import (
    Campaign,
    Campaigns,
    FatalError,
    ListedCampaign,
    PartlyAcceptedError,
    Refusal,
    RefusedError,
    RetryError,
    Source,
    TickPorts,
    WaitError,
    WaitReason,
    WorkPorts,
)
from contact_activity.rate_limit import CLOCKS_DIFFER_MS, DAY_MS, HOUR_MS
from contact_activity.summaries import publish_news
from contact_activity.work import Outcome, Report, WorkItem, WorkKind, WorkPolicy

EVERY_MS = 6 * HOUR_MS
# The list does not say when a campaign was sent, only when it was last changed, which may be this
# long before its send. So a campaign is asked for at least as long as promised, at most this longer.
CHANGED_BEFORE_SEND_MS = 30 * DAY_MS
AGAIN_AFTER_MS = HOUR_MS
# Longer than a worker has for one campaign.
HELD_MS = 180_000
LISTING_TIME_MS = 60_000
# 5,000 campaigns, of two months.
PAGES_MAX = 100


def are_due(listed_ms: int | None, now_ms: int) -> bool:
    """Whether to list; a listing in the future is a clock that was set back."""
    return listed_ms is None or not 0 <= now_ms - listed_ms < EVERY_MS


def hand_out_campaigns(
    ports: TickPorts, *, lookback_days: int, deadline_ms: int, correlation_id: str | None = None
) -> int:
    """List the campaigns once an interval and send a message for each; returns how many were sent.

    Nothing is sent before the list is whole, so a listing that fails is begun again. Raises
    `WaitError`, `RetryError` or `FatalError`.
    """
    now_ms = ports.clock.now_ms()
    if not are_due(ports.store.campaigns.listed_ms(), now_ms):
        return 0
    give_up_ms = min(deadline_ms, ports.clock.monotonic_ms() + LISTING_TIME_MS)
    since_ms = max(0, now_ms - lookback_days * DAY_MS - CHANGED_BEFORE_SEND_MS)
    ids = [campaign.id for campaign in _listed(ports.source, since_ms, give_up_ms)]
    items = [WorkItem(WorkKind.CAMPAIGN, id_, now_ms, correlation_id) for id_ in dict.fromkeys(ids)]
    rejected = ports.queue.send(items)
    ports.store.campaigns.put_listed(now_ms)
    return len(items) - len(rejected)


def give_up_listing(campaigns: Campaigns, now_ms: int, *, is_refused: bool) -> None:
    """A list that failed is asked for again in an hour, one that is refused in an interval."""
    campaigns.put_listed(now_ms if is_refused else now_ms - EVERY_MS + AGAIN_AFTER_MS)


def _listed(source: Source, since_ms: int, deadline_ms: int) -> list[ListedCampaign]:
    """Those of every page, and those without a date."""
    found: list[ListedCampaign] = []
    seen: set[str] = set()
    next_: str | None = None
    for _ in range(PAGES_MAX):
        page = source.campaigns(since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)
        if isinstance(page, Refusal) or page.next in seen:
            raise RetryError("the campaign list's cursor did not hold")
        found += [c for c in page.campaigns if c.modified_ms is None or c.modified_ms >= since_ms]
        if page.next is None:
            return found
        seen.add(next_ := page.next)
    raise FatalError(f"a campaign list of more than {PAGES_MAX} pages")


def summarize(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Publish what moved in the summary of an item's campaign.

    Raises `RetryError` or `FatalError` when the campaign itself failed.
    """
    now_ms = ports.clock.now_ms()
    if ports.store.pauses.get().active(now_ms):
        return Report(Outcome.PAUSED)
    campaign = ports.store.campaigns.get(item.id)
    if _is_stale(item, campaign.summarized.asked_ms, now_ms):
        return Report(Outcome.STALE)
    claimed = _claimed(campaign, ports.store.campaigns, now_ms)
    if claimed is None:
        return Report(Outcome.RACE_LOST)
    try:
        return _ask(claimed, item, ports, policy.reading.account, deadline_ms)
    except WaitError as wait:
        _give_back(claimed, campaign, ports.store.campaigns)
        return Report(_wait(wait, item, ports))
    except RefusedError:
        # A key that may read contacts need not be allowed to read campaigns: that pauses nothing.
        _give_back(claimed, campaign, ports.store.campaigns)
        return Report(Outcome.REFUSED)
    except (RetryError, FatalError):
        _give_back(claimed, campaign, ports.store.campaigns)
        raise


def _is_stale(item: WorkItem, asked_ms: int | None, now_ms: int) -> bool:
    """Asked for since it was planned, or under another worker's hands."""
    if asked_ms is None:
        return False
    if asked_ms > now_ms:
        # Later than a worker can last, though clocks differ: a clock that ran ahead wrote it.
        return asked_ms <= now_ms + HELD_MS + CLOCKS_DIFFER_MS
    return item.planned_ms <= asked_ms


def _claimed(campaign: Campaign, campaigns: Campaigns, now_ms: int) -> Campaign | None:
    """Counts as asked for until this worker must be done, so that nobody else publishes the same.

    None if another worker was faster. Who dies before it publishes leaves it to the next listing.
    """
    claimed = replace(campaign, summarized=replace(campaign.summarized, asked_ms=now_ms + HELD_MS))
    return replace(claimed, version=campaign.version + 1) if campaigns.save(claimed) else None


def _give_back(claimed: Campaign, before: Campaign, campaigns: Campaigns) -> None:
    campaigns.save(replace(claimed, summarized=before.summarized))


def _ask(campaign: Campaign, item: WorkItem, ports: WorkPorts, account: str, deadline_ms: int) -> Report:
    answer = ports.source.campaign_summary(campaign.id, deadline_ms=deadline_ms)
    done = publish_news(
        campaign.summarized,
        answer,
        account=account,
        bus=ports.bus,
        now_ms=ports.clock.now_ms(),
        deadline_ms=deadline_ms,
        correlation_id=item.correlation_id,
    )
    report = Report(Outcome.SUMMARIZED, by_type=done.by_type, unreadable=list(done.unreadable))
    if report.by_type:
        ports.store.tally.add(ports.clock.now_ms() // DAY_MS, report.by_type)
    if isinstance(answer, Refusal):
        report.outcome = Outcome.GONE
    if done.is_owed:
        raise PartlyAcceptedError("the bus did not accept the summary", frozenset())
    if not ports.store.campaigns.save(replace(campaign, summarized=done.summarized)):
        report.outcome = Outcome.RACE_LOST
    return report


def _wait(wait: WaitError, item: WorkItem, ports: WorkPorts) -> Outcome:
    if wait.reason is not WaitReason.TIME:
        pause_for(wait, ports.store.pauses)
        return Outcome.PAUSED
    # One of a time to come was planned by a clock that ran ahead, and would go round until then.
    if -CLOCKS_DIFFER_MS <= ports.clock.now_ms() - item.planned_ms < EVERY_MS:
        ports.queue.send([item])
    return Outcome.UNFINISHED
