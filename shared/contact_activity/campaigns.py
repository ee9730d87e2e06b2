"""Campaign summaries: list the campaigns that were sent lately, then ask for each one's report.

The dispatcher lists and hands out; a worker asks and publishes. A message that is lost costs one
interval, since the next listing hands out every campaign again.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

from contact_activity.ports import (
    Bus,
    Campaign,
    CampaignMessage,
    Campaigns,
    Clock,
    FatalError,
    ListedCampaign,
    PartlyAcceptedError,
    PauseBoard,
    Queue,
    Refusal,
    RefusedError,
    RetryError,
    Source,
    Tally,
    WaitError,
    WaitReason,
)
from contact_activity.rate_limit import CLOCKS_DIFFER_MS, DAY_MS, HOUR_MS
from contact_activity.summaries import publish_news
from contact_activity.sync import pause_for

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


class CampaignOutcome(StrEnum):
    """How a campaign's message ended that is not to be delivered again."""

    SUMMARIZED = "summarized"
    UNFINISHED = "unfinished"
    GONE = "gone"
    PAUSED = "paused"
    REFUSED = "refused"
    STALE = "stale"
    RACE_LOST = "race_lost"


@dataclass(slots=True)
class CampaignReport:
    """What one campaign's message came to.

    `by_type` counts what was published by detail type; `unreadable` holds digests, safe to log.
    """

    outcome: CampaignOutcome = CampaignOutcome.SUMMARIZED
    by_type: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    @property
    def published(self) -> int:
        return self.by_type.total()


@dataclass(frozen=True, slots=True)
class ListPorts:
    """What the dispatcher needs to hand out campaigns."""

    campaigns: Campaigns
    source: Source
    queue: Queue
    clock: Clock


@dataclass(frozen=True, slots=True)
class CampaignPorts:
    """What a worker needs to ask for a campaign's summary."""

    campaigns: Campaigns
    source: Source
    bus: Bus
    queue: Queue
    pauses: PauseBoard
    clock: Clock
    tally: Tally


def are_due(listed_ms: int | None, now_ms: int) -> bool:
    """Whether to list; a listing in the future is a clock that was set back."""
    return listed_ms is None or not 0 <= now_ms - listed_ms < EVERY_MS


def hand_out_campaigns(
    ports: ListPorts, *, lookback_days: int, deadline_ms: int, correlation_id: str | None = None
) -> int:
    """List the campaigns once an interval and send a message for each; returns how many were sent.

    Nothing is sent before the list is whole, so a listing that fails is begun again. Raises
    `WaitError`, `RetryError` or `FatalError`.
    """
    now_ms = ports.clock.now_ms()
    if not are_due(ports.campaigns.listed_ms(), now_ms):
        return 0
    give_up_ms = min(deadline_ms, ports.clock.monotonic_ms() + LISTING_TIME_MS)
    since_ms = max(0, now_ms - lookback_days * DAY_MS - CHANGED_BEFORE_SEND_MS)
    ids = [campaign.id for campaign in _listed(ports.source, since_ms, give_up_ms)]
    messages = [CampaignMessage(id_, now_ms, correlation_id) for id_ in dict.fromkeys(ids)]
    rejected = ports.queue.send(messages)
    ports.campaigns.put_listed(now_ms)
    return len(messages) - len(rejected)


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


def summarize(
    message: CampaignMessage, ports: CampaignPorts, *, account: str, deadline_ms: int
) -> CampaignReport:
    """Publish what moved in the summary of a message's campaign.

    Raises `RetryError` or `FatalError` when the campaign itself failed.
    """
    now_ms = ports.clock.now_ms()
    if ports.pauses.get().active(now_ms):
        return CampaignReport(CampaignOutcome.PAUSED)
    campaign = ports.campaigns.get(message.campaign_id)
    if _is_stale(message, campaign.summarized.asked_ms, now_ms):
        return CampaignReport(CampaignOutcome.STALE)
    claimed = _claimed(campaign, ports.campaigns, now_ms)
    if claimed is None:
        return CampaignReport(CampaignOutcome.RACE_LOST)
    try:
        return _ask(claimed, message, ports, account, deadline_ms)
    except WaitError as wait:
        _give_back(claimed, campaign, ports.campaigns)
        return CampaignReport(_wait(wait, message, ports))
    except RefusedError:
        # A key that may read contacts need not be allowed to read campaigns: that pauses nothing.
        _give_back(claimed, campaign, ports.campaigns)
        return CampaignReport(CampaignOutcome.REFUSED)
    except (RetryError, FatalError):
        _give_back(claimed, campaign, ports.campaigns)
        raise


def _is_stale(message: CampaignMessage, asked_ms: int | None, now_ms: int) -> bool:
    """Asked for since it was planned, or under another worker's hands."""
    if asked_ms is None:
        return False
    if asked_ms > now_ms:
        # Later than a worker can last it was set by a clock that ran ahead.
        return asked_ms <= now_ms + HELD_MS
    return message.planned_ms <= asked_ms


def _claimed(campaign: Campaign, campaigns: Campaigns, now_ms: int) -> Campaign | None:
    """Counts as asked for until this worker must be done, so that nobody else publishes the same.

    None if another worker was faster. Who dies before it publishes leaves it to the next listing.
    """
    claimed = replace(campaign, summarized=replace(campaign.summarized, asked_ms=now_ms + HELD_MS))
    return replace(claimed, version=campaign.version + 1) if campaigns.save(claimed) else None


def _give_back(claimed: Campaign, before: Campaign, campaigns: Campaigns) -> None:
    campaigns.save(replace(claimed, summarized=before.summarized))


def _ask(
    campaign: Campaign, message: CampaignMessage, ports: CampaignPorts, account: str, deadline_ms: int
) -> CampaignReport:
    answer = ports.source.campaign_summary(campaign.id, deadline_ms=deadline_ms)
    done = publish_news(
        campaign.summarized,
        answer,
        account=account,
        bus=ports.bus,
        now_ms=ports.clock.now_ms(),
        deadline_ms=deadline_ms,
        correlation_id=message.correlation_id,
    )
    report = CampaignReport(by_type=done.by_type, unreadable=list(done.unreadable))
    if report.by_type:
        ports.tally.add(ports.clock.now_ms() // DAY_MS, report.by_type)
    if isinstance(answer, Refusal):
        report.outcome = CampaignOutcome.GONE
    if done.is_owed:
        raise PartlyAcceptedError("the bus did not accept the summary", frozenset())
    if not ports.campaigns.save(replace(campaign, summarized=done.summarized)):
        report.outcome = CampaignOutcome.RACE_LOST
    return report


def _wait(wait: WaitError, message: CampaignMessage, ports: CampaignPorts) -> CampaignOutcome:
    if wait.reason is not WaitReason.TIME:
        pause_for(wait, ports.pauses)
        return CampaignOutcome.PAUSED
    # One of a time to come was planned by a clock that ran ahead, and would go round until then.
    if -CLOCKS_DIFFER_MS <= ports.clock.now_ms() - message.planned_ms < EVERY_MS:
        ports.queue.send([message])
    return CampaignOutcome.UNFINISHED
