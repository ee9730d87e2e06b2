"""What an account shows at a time, as the switches say. Both versions of the API show the same."""

from contact_activity.simulated.account import Campaign, Kind, Row
from contact_activity.simulated.api_json import chosen
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.times import DAY_MS, HOUR_MS


def visible(rows: list[Row], now_ms: int, switches: Switches) -> list[Row]:
    """Leave out what is too old to be shown, and opens after the first if only that is a row."""
    if switches.retention_days is not None:
        oldest_ms = now_ms - switches.retention_days * DAY_MS
        rows = [row for row in rows if row.occurred_ms >= oldest_ms]
    if switches.repeated_opens:
        return rows
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        place = (row.contact_id, row.campaign_id)
        if row.kind is Kind.OPEN and (place not in first or row.occurred_ms <= first[place].occurred_ms):
            first[place] = row
    return [
        row for row in rows if row.kind is not Kind.OPEN or first[(row.contact_id, row.campaign_id)] is row
    ]


def is_listed(campaign: Campaign, now_ms: int, switches: Switches) -> bool:
    """Whether the list of campaigns shows it. Automations are never listed."""
    if campaign.sent_ms is not None and now_ms < campaign.sent_ms + switches.listed_after_s * 1_000:
        return False
    unlisted = chosen(switches.unlisted_campaign_share, "campaign", campaign.id)
    return campaign.listed and not unlisted


def computed_ms(now_ms: int, switches: Switches) -> int:
    """Return when the counts of campaigns were last computed."""
    every_ms = max(round(switches.summary_every_h * HOUR_MS), 1)
    return now_ms - now_ms % every_ms
