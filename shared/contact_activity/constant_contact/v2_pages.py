"""Read the pages of v2, and the rows of its lists of contacts and campaigns. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from contact_activity.constant_contact.fields import contact_in_list, id_text, is_of, usable_id
from contact_activity.domain.addresses import cut
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.times import parse_time

# A cursor is opaque. These are the ones that can be stored and sent again.
_USABLE_CURSOR = re.compile(r"[\x20-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the cursor of the page after this one; None: this is the last."""

    rows: list[object]
    next: str | None


def read_page(body: object, of: tuple[str, str] | None = None) -> Page | None:
    """Return the rows and the cursor of a page.

    `of`: the field that names whose page it is, and its id. None if the body is not a page, if its cursor
    is unusable, or if a row names another.
    """
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        return None
    if of is not None and not all(is_of(row, *of) for row in body["results"]):
        return None
    try:
        link = ((body.get("meta") or {}).get("pagination") or {}).get("next_link")
    except AttributeError:
        return None
    if not link:
        return Page(body["results"], None)
    cursor = cursor_of(link)
    return None if cursor is None else Page(body["results"], cursor)


def cursor_of(next_link: object) -> str | None:
    """Return the cursor of a `next_link`, or None if it has no usable one.

    The rest of the link is ignored: its path can be wrong, and its host must never be followed.
    """
    try:
        values = parse_qs(urlsplit(str(next_link)).query).get("next")
    except ValueError:
        return None
    return values[0] if values and _USABLE_CURSOR.fullmatch(values[0]) else None


def listed_contact(row: object) -> ListedContact | None:
    """Return a contact of the list, or None for a row without a usable id."""
    return contact_in_list(row, "id", "modified_date")


def listed_campaign(row: object) -> ListedCampaign | None:
    """Return a campaign of the list, or None for a row without a usable id."""
    id_ = usable_id(row.get("id")) if isinstance(row, dict) else None
    if id_ is None or not isinstance(row, dict):
        return None
    modified = row.get("modified_date")
    return ListedCampaign(id_, parse_time(modified) if isinstance(modified, str) else None)


def sent_campaign(body: object, campaign_id: str) -> SentCampaign | None:
    """Read a campaign's own resource. None if the body is not this campaign.

    `click_through_details` names each link by its `url_uid`, which the clicks of its reports call
    `link_id`. A link that cannot be read is left out. Ids are as those of rows, and any URL can be stored.
    """
    if not isinstance(body, dict) or id_text(body.get("id")) != campaign_id:
        return None
    last_run, details = body.get("last_run_date"), body.get("click_through_details")
    links = [link for link in details if isinstance(link, dict)] if isinstance(details, list) else []
    named = ((id_text(link.get("url_uid")), link.get("url")) for link in links)
    return SentCampaign(
        campaign_id,
        parse_time(last_run) if isinstance(last_run, str) else None,
        {
            cut(id_): url.encode("utf-8", "replace").decode()
            for id_, url in named
            if id_ is not None and isinstance(url, str)
        },
    )
