"""Ask for campaigns' summaries, and publish what moved."""

from collections.abc import Sequence
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
    """Ask for the summaries of an item's campaigns and publish what moved.

    Raises `RetryError` or `FatalError` when a campaign itself failed; those before it are done.
    """
    now_ms = ports.clock.now_ms()
    if ports.store.pauses.get().active(now_ms):
        return Report(Outcome.PAUSED)
    stored = [ports.store.campaigns.get(id_) for id_ in dict.fromkeys(item.ids)]
    due = [of for of in stored if not _is_stale(item, of.summarized.asked_ms, now_ms)]
    if not due:
        return Report(Outcome.STALE)
    claimed = [(claim, of) for of in due if (claim := _claimed(of, ports.store.campaigns, now_ms))]
    if not claimed:
        return Report(Outcome.RACE_LOST)
    try:
        return _ask([claim for claim, _ in claimed], item, ports, policy.reading.account, deadline_ms)
    except WaitError as wait:
        _give_back(claimed, ports.store.campaigns)
        return Report(_wait(wait, item, ports))
    except RefusedError:
        # A key may be allowed to read contacts and not campaigns. That is no reason to pause.
        _give_back(claimed, ports.store.campaigns)
        return Report(Outcome.REFUSED)
    except (RetryError, FatalError):
        _give_back(claimed, ports.store.campaigns)
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


def _give_back(claimed: Sequence[tuple[Campaign, Campaign]], campaigns: Campaigns) -> None:
    """Store each as it was before it was claimed, but for those that are done: their version moved on."""
    for claim, before in claimed:
        campaigns.save(replace(claim, summarized=before.summarized))


def _ask(
    claims: Sequence[Campaign], item: WorkItem, ports: WorkPorts, account: str, deadline_ms: int
) -> Report:
    answers = ports.source.campaign_summaries([of.id for of in claims], deadline_ms=deadline_ms)
    report = Report(Outcome.SUMMARIZED)
    if all(isinstance(answers[of.id], Refusal) for of in claims):
        report.outcome = Outcome.GONE
    for campaign in claims:
        done = publish_changes(
            campaign.summarized,
            answers[campaign.id],
            account=account,
            bus=ports.bus,
            now_ms=ports.clock.now_ms(),
            deadline_ms=deadline_ms,
            correlation_id=item.correlation_id,
        )
        report.by_type.update(done.by_type)
        report.unreadable.extend(done.unreadable)
        if done.by_type:
            ports.store.tally.add(ports.clock.now_ms() // DAY_MS, done.by_type)
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
