"""Which mailings listed campaigns have, where those have the reports (v3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import ListedCampaign, WatchedCampaign
from contact_activity.errors import FatalError, RefusedError, RetryError
from contact_activity.ports import TickPorts

# Each costs a call, once. The next listing asks for the rest.
MAX_ASKED = 60
CAMPAIGN_TIME_MS = 10_000


@dataclass(slots=True)
class Mailings:
    """The ids of mailings, last sent first. `has_left`: some campaigns did not tell theirs yet.

    `refused`: why the API tells none; None: it does.
    """

    ids: list[str] = field(default_factory=list)
    has_left: bool = False
    refused: RefusedError | None = None


def mailings_of(ports: TickPorts, listed: Sequence[ListedCampaign], *, deadline_ms: int) -> Mailings:
    """Return the mailings of campaigns. One that was not told since it was sent last is asked for.

    Raises `WaitError`; what was told until then is stored.
    """
    found, asked = Mailings(), 0
    for campaign in listed:
        known = ports.store.reports.watched(campaign.id) or WatchedCampaign(campaign.id, None)
        if not _is_told(known, campaign):
            is_asked = asked < MAX_ASKED and not found.refused
            asked += is_asked
            known = _ask(ports, known, campaign, found, deadline_ms) if is_asked else known
            found.has_left |= not is_asked and not found.refused
        found.ids += known.mailings
    return found


def _is_told(known: WatchedCampaign, listed: ListedCampaign) -> bool:
    """Whether its mailings are known. One that was sent again has another."""
    return bool(known.mailings) and listed.sent_ms in (None, known.sent_ms)


def _ask(
    ports: TickPorts, known: WatchedCampaign, listed: ListedCampaign, found: Mailings, deadline_ms: int
) -> WatchedCampaign:
    give_up_ms = min(deadline_ms, ports.clock.monotonic_ms() + CAMPAIGN_TIME_MS)
    try:
        told = ports.source.campaign(known.id, deadline_ms=give_up_ms)
    except RefusedError as error:
        found.refused = error
        return known
    except (RetryError, FatalError):
        found.has_left = True
        return known
    if isinstance(told, Refusal):
        return known
    watched = known.told(told).listed(listed)
    ports.store.reports.put_watched(watched)
    return watched
