"""How contacts, campaigns, activities and counts look in the API's JSON."""

import uuid
import zlib
from collections.abc import Iterable, Sequence

from contact_activity.simulated.account import Campaign, Contact, Kind, Row
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.times import HOUR_MS, iso

Json = dict[str, object]

# What a row may lack when `missing_fields_share` says so.
_OPTIONAL = frozenset(
    {"email_address", "link_uri", "bounce_description", "bounce_message", "unsubscribe_reason"}
)
_SHIFT_MS = 5 * HOUR_MS
_UNKNOWN_BOUNCE = {"bounce_code": "Q", "bounce_description": "Quarantined"}


def chosen(share: float, *parts: object) -> bool:
    """Whether the thing that `parts` name is among the share; always the same answer for the same thing."""
    if share <= 0:
        return False
    return zlib.crc32("\n".join(map(str, parts)).encode()) / 2**32 < share


def shown_ms(row: Row, switches: Switches) -> int:
    """The time that the row's stamp says."""
    shifted = switches.five_hour_shift and row.kind is not Kind.SEND
    return row.occurred_ms - _SHIFT_MS if shifted else row.occurred_ms


def activity(row: Row, switches: Switches) -> Json:
    """A row of a tracking list."""
    fields: Json = {
        "activity_type": row.kind.activity_type,
        "campaign_id": _id(row.campaign_id, switches),
        "contact_id": _id(row.contact_id, switches),
        "email_address": row.email_address,
        **dict(row.own),
        row.kind.date_field: iso(shown_ms(row, switches)),
    }
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
    """A row of a type that no documentation has."""
    return {
        "activity_type": "EMAIL_SURVEY",
        "campaign_id": _id("1117000000000", switches),
        "contact_id": _id(contact.id, switches),
        "email_address": contact.email_address,
        "survey_date": iso(contact.created_ms),
    }


def contact(contact: Contact, switches: Switches, *, with_uuid: bool) -> Json:
    """A contact as the collection and the single read have it (a subset of the real fields)."""
    opted_out = contact.status == "OPTOUT"
    address: Json = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"address:{contact.id}")),
        "status": contact.status,
        "confirm_status": "NO_CONFIRMATION_REQUIRED",
        "opt_in_source": "ACTION_BY_OWNER",
        "opt_in_date": iso(contact.created_ms),
        "opt_out_source": "ACTION_BY_CONTACT" if opted_out else "",
        # Never opted out prints as 1970, five hours early, in the real captures.
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
    return shown | ({"contact_id": _uuid(contact)} if with_uuid else {})


def _uuid(contact: Contact) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"contact:{contact.id}"))


def listed_campaign(campaign: Campaign, switches: Switches) -> Json:
    """A row of the campaign list."""
    return {
        "id": _id(campaign.id, switches),
        "name": campaign.name,
        "status": campaign.status,
        "modified_date": iso(campaign.modified_ms),
    }


def campaign(campaign: Campaign, clicks: Iterable[Row], switches: Switches) -> Json:
    """A single campaign (a subset of the real fields); `clicks` are counted by link."""
    clicked = [dict(row.own).get("link_id") for row in clicks]
    details = [
        {"url": link.url, "url_uid": link.id, "click_count": clicked.count(link.id)}
        for link in campaign.links
    ]
    sent = {} if campaign.sent_ms is None else {"last_run_date": iso(campaign.sent_ms)}
    return {
        **listed_campaign(campaign, switches),
        "subject": campaign.name,
        "created_date": iso(campaign.created_ms),
        **sent,
        "click_through_details": details,
    }


def contact_summary(contact_id: str, rows: Sequence[Row]) -> Json:
    """The contact summary report counts activities; its `contact_id` is always a string."""
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
    """A bare list; `clicks` counts links, the others count times, and sends are not in it."""
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
    """The campaign summary report counts contacts, not activities."""
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
    """The integers that the property table of the list of all activities has beside a row."""
    return {kind.report: _count(rows, kind) for kind in (Kind.OPEN, Kind.CLICK, Kind.FORWARD, Kind.BOUNCE)}


def _count(rows: Sequence[Row], kind: Kind) -> int:
    return sum(row.kind is kind for row in rows)


def _id(text: str, switches: Switches) -> str | int:
    return int(text) if switches.numeric_ids and text.isdecimal() else text
