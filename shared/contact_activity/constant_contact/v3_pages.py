"""Read the pages of v3, and the rows of its lists of contacts and campaigns. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from contact_activity.constant_contact.fields import contact_in_list, id_text, is_of, usable_id
from contact_activity.domain.activity import Activity, Unreadable
from contact_activity.domain.answers import TrackingPage
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.times import parse_time

# The activities of a campaign that have reports (v3 documentation of the email reports).
ROLES = ("primary_email", "resend")
# A cursor is opaque. These are the ones that can be stored and sent again.
_USABLE_CURSOR = re.compile(r"[\x21-\x7e]{1,4096}")
_NOT_TO_BE_SENT = {"access_token", "client_id", "client_secret", "refresh_token"}


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the query of the page after this one; None: this is the last."""

    rows: list[object]
    next: str | None


def read_page(body: object, name: str, of: tuple[str, str] | None = None) -> Page | None:
    """Return the rows, which are the field `name`, and the cursor of a page.

    `of`: the field that names whose page it is, and its id. None if the body is not a page, if its cursor
    is unusable, or if a row names another.
    """
    rows = body.get(name) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(rows, list):
        return None
    if of is not None and not all(is_of(row, *of) for row in rows):
        return None
    href = _next_href(body)
    if href is None:
        return None
    if not href:
        return Page(rows, None)
    cursor = cursor_of(href)
    return None if cursor is None else Page(rows, cursor)


def _next_href(body: dict[str, object]) -> str | None:
    """The link of the next page, "" if there is none. None if it is no link.

    The contract allows four forms of the end: no `_links`, an empty one, `next: null` and `href: null`.
    """
    value: object = body
    for name in ("_links", "next", "href"):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
        if value is None or value == "":
            return ""
    return value if isinstance(value, str) else None


def cursor_of(href: str) -> str | None:
    """Return the query of a link without credentials, or None if it has no usable one.

    The rest of the link is ignored: its host must never be followed. Raises nothing.
    """
    try:
        query = urlencode(parameters(urlsplit(href).query), doseq=True)
    except ValueError:
        return None
    return query if _USABLE_CURSOR.fullmatch(query) else None


def parameters(cursor: str) -> dict[str, list[str]]:
    """The parameters to send for a cursor, but for those that carry credentials. A name may have several."""
    given = parse_qs(cursor, keep_blank_values=True, max_num_fields=50)
    return {name: values for name, values in given.items() if name.lower() not in _NOT_TO_BE_SENT}


def tracking_page(
    parsed: Sequence[Activity | Unreadable], next_: str | None, since_ms: int | None
) -> TrackingPage:
    """The rows of a page from `since_ms` on, and where the report goes on.

    Rows come newest first (v3 contract), so the report ends at the first page that lies wholly before. A
    page on which no row has a usable time does not end it.
    """
    activities = [row for row in parsed if not isinstance(row, Unreadable)]
    wanted = [row for row in activities if since_ms is None or row.occurred_ms >= since_ms]
    is_past = bool(activities) and not wanted
    return TrackingPage(
        activities=tuple(wanted),
        unreadable=tuple(row.digest for row in parsed if isinstance(row, Unreadable)),
        next=None if is_past else next_,
    )


def listed_contact(row: object) -> ListedContact | None:
    """Return a contact of the list, or None for a row without a usable id."""
    return contact_in_list(row, "contact_id", "updated_at")


def listed_campaign(row: object) -> ListedCampaign | None:
    """Return a campaign of those that were sent, or None for a row without a usable id."""
    id_ = usable_id(row.get("campaign_id")) if isinstance(row, dict) else None
    if id_ is None or not isinstance(row, dict):
        return None
    sent = row.get("last_sent_date")
    sent_ms = parse_time(sent) if isinstance(sent, str) else None
    return ListedCampaign(id_, sent_ms, sent_ms)


def sent_campaign(body: object, campaign_id: str) -> SentCampaign | None:
    """Read a campaign's own resource. None if the body is not this campaign.

    It tells the campaign's activities, and not when it was sent: the list does (v3 contract).
    """
    if not isinstance(body, dict) or id_text(body.get("campaign_id")) != campaign_id:
        return None
    activities = body.get("campaign_activities")
    rows = [row for row in activities if isinstance(row, dict)] if isinstance(activities, list) else []
    ids = [usable_id(row.get("campaign_activity_id")) for row in rows if row.get("role") in ROLES]
    return SentCampaign(campaign_id, None, {}, mailings=tuple(dict.fromkeys(id_ for id_ in ids if id_)))
