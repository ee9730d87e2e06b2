"""Contacts, campaigns, activities and counts as JSON, in the form of the API."""

import uuid
import zlib
from collections.abc import Iterable, Sequence

from contact_activity.simulated.account import Campaign, Contact, Kind, Row
from contact_activity.simulated.switches import Side, Switches
from contact_activity.simulated.times import HOUR_MS, iso
from contact_activity.simulated.v3_ids import contact_uuid

Json = dict[str, object]

# The fields that `missing_fields_share` leaves out.
_OPTIONAL = frozenset(
    {"email_address", "link_uri", "bounce_description", "bounce_message", "unsubscribe_reason"}
)
_SHIFT_MS = 5 * HOUR_MS
_UNKNOWN_BOUNCE = {"bounce_code": "Q", "bounce_description": "Quarantined"}


def chosen(share: float, *parts: object) -> bool:
    """Whether the thing that `parts` name belongs to a share of all. Equal parts give equal answers."""
    if share <= 0:
        return False
    return zlib.crc32("\n".join(map(str, parts)).encode()) / 2**32 < share


def shown_ms(row: Row, switches: Switches, side: Side = Side.CONTACT) -> int:
    """Return the time that a row shows."""
    shift = switches.shift
    if shift is None or shift.side not in (None, side) or row.kind.report not in shift.reports:
        return row.occurred_ms
    return row.occurred_ms + (shift.hours * HOUR_MS if row.occurred_ms >= shift.from_ms else 0)


def activity(row: Row, switches: Switches, side: Side = Side.CONTACT) -> Json:
    """Return a row of a tracking list of a contact or a campaign."""
    fields: Json = {
        "activity_type": row.kind.activity_type,
        "campaign_id": _id(row.campaign_id, switches),
        "contact_id": _id(row.contact_id, switches),
        "email_address": row.email_address,
        **dict(row.own),
        row.kind.date_field: iso(shown_ms(row, switches, side)),
    }
    if side is Side.CAMPAIGN and not switches.campaign_clicks_have_urls:
        fields.pop("link_uri", None)
    if "link_id" in fields:
        fields["link_id"] = _id(str(fields["link_id"]), switches)
    return _with_oddities(row, fields, switches)


def _with_oddities(row: Row, fields: Json, switches: Switches) -> Json:
    if row.kind is Kind.BOUNCE and chosen(switches.unknown_bounce_code_share, "code", *row.key):
        fields |= _UNKNOWN_BOUNCE
    if chosen(switches.missing_fields_share, "missing", *row.key):
        fields = {name: value for name, value in fields.items() if name not in _OPTIONAL}
    return fields


def unknown_activity(contact: Contact, switches: Switches) -> Json:
    """Return a row of an undocumented type."""
    return {
        "activity_type": "EMAIL_SURVEY",
        "campaign_id": _id("1117000000000", switches),
        "contact_id": _id(contact.id, switches),
        "email_address": contact.email_address,
        "survey_date": iso(contact.created_ms),
    }


def contact(contact: Contact, switches: Switches, *, with_uuid: bool) -> Json:
    """Return a contact, in a list or alone. It has a part of the real fields."""
    opted_out = contact.status == "OPTOUT"
    address: Json = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"address:{contact.id}")),
        "status": contact.status,
        "confirm_status": "NO_CONFIRMATION_REQUIRED",
        "opt_in_source": "ACTION_BY_OWNER",
        "opt_in_date": iso(contact.created_ms),
        "opt_out_source": "ACTION_BY_CONTACT" if opted_out else "",
        # In recorded answers a contact that never opted out has this date: 1970, five hours early.
        "opt_out_date": iso(contact.modified_ms if opted_out else -_SHIFT_MS),
        "email_address": contact.email_address,
    }
    shown: Json = {
        "id": _id(contact.id, switches),
        "status": contact.status,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "email_addresses": [address],
        "lists": [] if contact.status == "REMOVED" else [{"id": "1", "status": "ACTIVE"}],
        "created_date": iso(contact.created_ms),
        "modified_date": iso(contact.modified_ms),
    }
    return shown | ({"contact_id": contact_uuid(contact.id)} if with_uuid else {})


def listed_campaign(campaign: Campaign, switches: Switches) -> Json:
    """Return a row of the campaign list."""
    return {
        "id": _id(campaign.id, switches),
        "name": campaign.name,
        "status": campaign.status,
        "modified_date": iso(campaign.modified_ms),
    }


def campaign(campaign: Campaign, clicks: Iterable[Row], switches: Switches, now_ms: int) -> Json:
    """Return a single campaign, with its clicks counted by link. It has a part of the real fields."""
    clicked = [dict(row.own).get("link_id") for row in clicks]
    details = [
        {"url": link.url, "url_uid": _id(link.id, switches), "click_count": clicked.count(link.id)}
        for link in campaign.links
        if not chosen(switches.missing_link_share, "link", campaign.id, link.id)
    ]
    last_run_ms = campaign.last_run_ms(now_ms)
    sent = {} if last_run_ms is None else {"last_run_date": iso(last_run_ms)}
    return {
        **listed_campaign(campaign, switches),
        "subject": campaign.name,
        "created_date": iso(campaign.created_ms),
        **sent,
        "click_through_details": details,
    }


def contact_summary(contact_id: str, rows: Sequence[Row]) -> Json:
    """Return the summary of a contact. It counts activities, and its `contact_id` is always a string."""
    return {
        "sends": _count(rows, Kind.SEND),
        "opens": _count(rows, Kind.OPEN),
        "clicks": _count(rows, Kind.CLICK),
        "forwards": _count(rows, Kind.FORWARD),
        "unsubscribes": _count(rows, Kind.UNSUBSCRIBE),
        "bounces": _count(rows, Kind.BOUNCE),
        "contact_id": contact_id,
    }


def summary_by_campaign(rows: Sequence[Row], switches: Switches) -> list[Json]:
    """Return the summary by campaign, a bare list. `clicks` counts links, the others count activities."""
    by_campaign: dict[str, list[Row]] = {}
    for row in rows:
        by_campaign.setdefault(row.campaign_id, []).append(row)
    return [
        {
            "campaign_id": _id(campaign_id, switches),
            "contact_id": _id(own[0].contact_id, switches),
            "opens": _count(own, Kind.OPEN),
            "clicks": len({row.key[-1] for row in own if row.kind is Kind.CLICK}),
            "forwards": _count(own, Kind.FORWARD),
            "bounces": _count(own, Kind.BOUNCE),
        }
        for campaign_id, own in by_campaign.items()
    ]


def campaign_summary(campaign: Campaign, rows: Iterable[Row], switches: Switches) -> Json:
    """Return the summary of a campaign. It counts contacts, not activities."""
    contacts: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for row in rows:
        contacts[row.kind].add(row.contact_id)
    counts: Json = {
        kind.report: len(contacts[kind])
        for kind in (Kind.SEND, Kind.OPEN, Kind.CLICK, Kind.FORWARD, Kind.UNSUBSCRIBE, Kind.BOUNCE)
    }
    extra = {"campaign_id": int(campaign.id), "spam_count": 0} if switches.extra_summary_fields else {}
    return counts | extra


def counters(rows: Sequence[Row]) -> Json:
    """Return the counts that rows of the list of all activities may also have."""
    return {kind.report: _count(rows, kind) for kind in (Kind.OPEN, Kind.CLICK, Kind.FORWARD, Kind.BOUNCE)}


def _count(rows: Sequence[Row], kind: Kind) -> int:
    return sum(row.kind is kind for row in rows)


def _id(text: str, switches: Switches) -> str | int:
    return int(text) if switches.numeric_ids and text.isdecimal() else text
