"""List the campaigns that were sent lately, and hand each of them out.

A message that is lost costs one interval: the next listing hands out every campaign again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import ListedCampaign
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.work import MAX_CAMPAIGNS_A_CALL, WorkItem, WorkKind
from contact_activity.errors import FatalError, RetryError, describe
from contact_activity.ports import Campaigns, Source, TickPorts
from contact_activity.use_cases.list_mailings import mailings_of

EVERY_MS = 6 * HOUR_MS
# The list says when a campaign was last changed, not when it was sent, which may be so much later. So a
# campaign is asked for at least as long as promised, and at most so much longer.
CHANGED_BEFORE_SEND_MS = 30 * DAY_MS
AGAIN_AFTER_MS = HOUR_MS
LISTING_TIME_MS = 60_000
# 5,000 campaigns.
MAX_PAGES = 100


def are_due(listed_ms: int | None, now_ms: int) -> bool:
    """Whether to list now. A listing in the future means that the clock was set back."""
    return listed_ms is None or not 0 <= now_ms - listed_ms < EVERY_MS


@dataclass(frozen=True, slots=True)
class HandedOut:
    """How many campaigns were handed out. `failed`: why not all could be; None: all were."""

    campaigns: int = 0
    failed: str | None = None


def hand_out_campaigns(
    ports: TickPorts,
    *,
    lookback_days: int,
    deadline_ms: int,
    correlation_id: str | None = None,
    are_mailings: bool = False,
) -> HandedOut:
    """List the campaigns once an interval, and send messages for them.

    `are_mailings`: not the campaigns have summaries but their mailings, and a call takes ten of them; the
    list tells when they were sent. Nothing is sent before the list is complete, so a listing that fails
    begins again. Raises `WaitError`, `RetryError` or `FatalError`.
    """
    now_ms = ports.clock.now_ms()
    if not are_due(ports.store.campaigns.listed_ms(), now_ms):
        return HandedOut()
    give_up_ms = min(deadline_ms, ports.clock.monotonic_ms() + LISTING_TIME_MS)
    changed_before_ms = 0 if are_mailings else CHANGED_BEFORE_SEND_MS
    since_ms = max(0, now_ms - lookback_days * DAY_MS - changed_before_ms)
    listed = _listed(ports.source, since_ms, give_up_ms)
    if not are_mailings:
        sent = _send(ports, [campaign.id for campaign in listed], now_ms, correlation_id, at_once=1)
        ports.store.campaigns.put_listed(now_ms)
        return HandedOut(sent)
    mailings = mailings_of(ports, listed, deadline_ms=give_up_ms)
    sent = _send(ports, mailings.ids, now_ms, correlation_id, at_once=MAX_CAMPAIGNS_A_CALL)
    give_up_listing(ports.store.campaigns, now_ms, is_refused=not mailings.has_left)
    return HandedOut(sent, describe(mailings.refused) if mailings.refused else None)


def _send(
    ports: TickPorts, ids: Sequence[str], now_ms: int, correlation_id: str | None, *, at_once: int
) -> int:
    """Send messages of so many campaigns each. Return how many campaigns they have."""
    each = list(dict.fromkeys(ids))
    parts = [each[start : start + at_once] for start in range(0, len(each), at_once)]
    items = [
        WorkItem(WorkKind.CAMPAIGN, part[0], now_ms, correlation_id, more=tuple(part[1:])) for part in parts
    ]
    rejected = ports.queue.send(items)
    return len(each) - sum(len(item.ids) for item in rejected)


def give_up_listing(campaigns: Campaigns, now_ms: int, *, is_refused: bool) -> None:
    """Ask for the list again in an hour if it failed, and after an interval if it was refused, or read."""
    campaigns.put_listed(now_ms if is_refused else now_ms - EVERY_MS + AGAIN_AFTER_MS)


def _listed(source: Source, since_ms: int, deadline_ms: int) -> list[ListedCampaign]:
    """The campaigns of every page that changed since, and those without a date."""
    found: list[ListedCampaign] = []
    seen: set[str] = set()
    next_: str | None = None
    for _ in range(MAX_PAGES):
        page = source.campaigns(since_ms=since_ms, next_=next_, deadline_ms=deadline_ms)
        if isinstance(page, Refusal) or page.next in seen:
            raise RetryError("the campaign list's cursor did not hold")
        found += [c for c in page.campaigns if c.modified_ms is None or c.modified_ms >= since_ms]
        if page.next is None:
            return found
        seen.add(next_ := page.next)
    raise FatalError(f"a campaign list of more than {MAX_PAGES} pages")
