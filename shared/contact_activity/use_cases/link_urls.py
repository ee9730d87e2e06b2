"""The URL of a link that a row names by its id alone, decided once for each campaign and link.

So a click has the same URL, or none, from whichever side it is published.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from contact_activity.domain.activity import Activity, Link
from contact_activity.domain.campaign import MAX_LINKS, WatchedCampaign
from contact_activity.ports import Reports


def lacks_url(row: Activity) -> bool:
    return row.link is not None and row.link.id is not None and row.link.url is None


def with_urls(rows: Sequence[Activity], campaign: WatchedCampaign) -> list[Activity]:
    """The rows of a campaign with the URLs that are decided."""
    return [
        replace(row, link=Link(row.link.id, campaign.urls.get(row.link.id or "")))
        if row.link and lacks_url(row)
        else row
        for row in rows
    ]


def decided(campaign: WatchedCampaign, link_ids: Iterable[str], reports: Reports) -> WatchedCampaign:
    """The campaign with a decision for each of these links: none, where nothing is told of it."""
    undecided = dict.fromkeys(id_ for id_ in link_ids if id_ not in campaign.urls)
    if not undecided:
        return campaign
    known = replace(campaign, urls={**campaign.urls, **undecided})
    # A campaign of so many links has no room for more: none of those is ever told.
    if len(campaign.urls) < MAX_LINKS:
        reports.put_watched(known)
    return known


def with_decided_urls(rows: Sequence[Activity], reports: Reports) -> Sequence[Activity]:
    """The rows of a contact, whose clicks usually have their URL themselves. Costs nothing then."""
    lacking = {row.campaign_id for row in rows if lacks_url(row) and row.campaign_id}
    for campaign_id in lacking:
        campaign = reports.watched(campaign_id) or WatchedCampaign(campaign_id, None)
        of_campaign = [row for row in rows if row.campaign_id == campaign_id]
        link_ids = [row.link.id for row in of_campaign if row.link and row.link.id and lacks_url(row)]
        campaign = decided(campaign, link_ids, reports)
        rows = [with_urls([row], campaign)[0] if row.campaign_id == campaign_id else row for row in rows]
    return rows
