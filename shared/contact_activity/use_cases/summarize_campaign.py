"""Ask for one campaign's summary, and publish what moved."""

from dataclasses import replace

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import Campaign
from contact_activity.domain.times import CLOCKS_DIFFER_MS, DAY_MS, is_too_late
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.errors import (
    FatalError,
    PartlyAcceptedError,
    RefusedError,
    RetryError,
    WaitError,
    WaitReason,
)
from contact_activity.ports import Campaigns, WorkPorts
from contact_activity.use_cases.list_campaigns import EVERY_MS
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.publish import publish_changes

# Longer than a worker has for one campaign.
HELD_MS = 180_000


def summarize(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Ask for the summary of an item's campaign and publish what moved.

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
        # A key may be allowed to read contacts and not campaigns. That is no reason to pause.
        _give_back(claimed, campaign, ports.store.campaigns)
        return Report(Outcome.REFUSED)
    except (RetryError, FatalError):
        _give_back(claimed, campaign, ports.store.campaigns)
        raise


def _is_stale(item: WorkItem, asked_ms: int | None, now_ms: int) -> bool:
    """Whether it was asked for since it was planned, or another worker has it in hand."""
    if asked_ms is None:
        return False
    if asked_ms > now_ms:
        # Later than a worker can last, even if clocks differ: a clock that ran ahead wrote it.
        return not is_too_late(asked_ms, now_ms + HELD_MS)
    return item.planned_ms <= asked_ms


def _claimed(campaign: Campaign, campaigns: Campaigns, now_ms: int) -> Campaign | None:
    """Mark it as asked for until this worker must be done, so that nobody else publishes the same.

    None if another worker was faster. Who dies before it publishes leaves it to the next listing.
    """
    claimed = replace(campaign, summarized=replace(campaign.summarized, asked_ms=now_ms + HELD_MS))
    return replace(claimed, version=campaign.version + 1) if campaigns.save(claimed) else None


def _give_back(claimed: Campaign, before: Campaign, campaigns: Campaigns) -> None:
    campaigns.save(replace(claimed, summarized=before.summarized))


def _ask(campaign: Campaign, item: WorkItem, ports: WorkPorts, account: str, deadline_ms: int) -> Report:
    answer = ports.source.campaign_summary(campaign.id, deadline_ms=deadline_ms)
    done = publish_changes(
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
    # A clock that ran ahead planned an item of the future: sent again, it would go round until then.
    if -CLOCKS_DIFFER_MS <= ports.clock.now_ms() - item.planned_ms < EVERY_MS:
        ports.queue.send([item])
    return Outcome.UNFINISHED
