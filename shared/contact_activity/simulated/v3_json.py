"""Contacts, campaigns, activities and counts as JSON, in the form of v3 (v3 contract)."""

import zlib
from collections.abc import Collection, Iterable, Sequence

from contact_activity.simulated.account import Campaign, Contact, Kind, Row, SimulatedAccount
from contact_activity.simulated.api_json import Json, chosen, shown_ms
from contact_activity.simulated.switches import Side, Switches
from contact_activity.simulated.times import iso
from contact_activity.simulated.v3_ids import Role, activity_of, activity_uuid, campaign_uuid, contact_uuid

TYPES = {
    Kind.SEND: "em_sends",
    Kind.OPEN: "em_opens",
    Kind.CLICK: "em_clicks",
    Kind.FORWARD: "em_forwards",
    Kind.BOUNCE: "em_bounces",
    Kind.UNSUBSCRIBE: "em_optouts",
}
"""The names of the six kinds of activity."""

STATUSES = {
    "ACTIVE": "active",
    "UNCONFIRMED": "pending_confirmation",
    "OPTOUT": "unsubscribed",
    "REMOVED": "deleted",
}
"""The statuses of contacts that v2 calls otherwise. All others are `not_set`."""

_PERMISSIONS = {"active": "implicit", "deleted": "unsubscribed"}
_CAMPAIGN_STATUSES = {"SENT": "Done", "RUNNING": "Executing", "DELETED": "Removed"}
_DEVICES = ("computer", "mobile", "tablet", "other")
_BOUNCES = {
    "B": "nonexistent_address",
    "D": "undeliverable",
    "F": "mailbox_full",
    "S": "suspended",
    "V": "vacation",
    "X": "other",
    "Z": "blocked",
}
_SENDER = "newsletter@example.org"


def stamp(row: Row, switches: Switches, side: Side) -> str:
    """Return the `created_time` of a row: the time that it shows, as exact as its side is."""
    step = switches.v3.step
    if side is Side.CAMPAIGN and switches.v3.campaign_step is not None:
        step = switches.v3.campaign_step
    time_ms = shown_ms(row, switches, side)
    return iso(time_ms - time_ms % step)


def contact_row(row: Row, account: SimulatedAccount, switches: Switches, *, with_name: bool) -> Json:
    """Return a row of a contact's activity details. It has neither address nor anything of its kind."""
    campaign = account.campaign(row.campaign_id)
    name: Json = {"campaign_activity_name": campaign.name} if with_name and campaign else {}
    return {
        "contact_id": contact_uuid(row.contact_id),
        "campaign_activity_id": activity_of(row, account),
        "tracking_activity_type": TYPES[row.kind],
        "created_time": stamp(row, switches, Side.CONTACT),
        **name,
    }


def campaign_row(row: Row, account: SimulatedAccount, switches: Switches) -> Json:
    """Return a row of a campaign activity's report. Names, deletion and some addresses are today's."""
    contact = account.contact(row.contact_id)
    is_todays = contact is not None and row.kind in (Kind.FORWARD, Kind.UNSUBSCRIBE)
    fields: Json = {
        "contact_id": contact_uuid(row.contact_id),
        "campaign_activity_id": activity_of(row, account),
        "tracking_activity_type": TYPES[row.kind],
        "email_address": contact.email_address if contact and is_todays else row.email_address,
        "created_time": stamp(row, switches, Side.CAMPAIGN),
        **_own_fields(row, switches),
    }
    if contact is None:
        return fields
    if row.kind is Kind.BOUNCE:
        fields["current_email_address"] = contact.email_address
    return fields | _names(contact) | _deletion(contact)


def _own_fields(row: Row, switches: Switches) -> Json:
    own = dict(row.own)
    match row.kind:
        case Kind.OPEN:
            return {"device_type": device_of(row)}
        case Kind.CLICK:
            link = {"url_id": own["link_id"], "link_url": own["link_uri"]}
            return {**link, "device_type": device_of(row)}
        case Kind.BOUNCE:
            is_unknown = chosen(switches.unknown_bounce_code_share, "code", *row.key)
            return {"bounce_code": "Q" if is_unknown else own["bounce_code"]}
        case Kind.UNSUBSCRIBE:
            reason = own.get("unsubscribe_reason")
            return {"opt_out_reason": reason} if reason else {}
        case _:
            return {}


def device_of(row: Row) -> str:
    """Return the device of an open or a click, always the same for the same activity."""
    return _DEVICES[zlib.crc32(repr(row.key).encode()) % len(_DEVICES)]


def _names(contact: Contact) -> Json:
    names = {"first_name": contact.first_name, "last_name": contact.last_name}
    return {field: name for field, name in names.items() if name}


def _deletion(contact: Contact) -> Json:
    return {"deleted_at": iso(contact.modified_ms)[:10]} if contact.status == "REMOVED" else {}


def status_of(contact: Contact) -> str:
    """Return the status of a contact, as the `status` of the list has it."""
    return STATUSES.get(contact.status, "not_set")


def opted_out_ms(contact: Contact) -> int | None:
    """Return when a contact opted out or was deleted. None if neither."""
    return contact.modified_ms if contact.status in ("OPTOUT", "REMOVED") else None


def updated_ms(contact: Contact, switches: Switches) -> int:
    """Return when the details of a contact were changed last. To opt out is no such change."""
    is_optout = contact.status == "OPTOUT" and not switches.v3.optouts_update
    return contact.created_ms if is_optout else contact.modified_ms


def contact(contact: Contact, switches: Switches) -> Json:
    """Return a contact of the list. It has a part of the real fields."""
    status = status_of(contact)
    opted_ms = opted_out_ms(contact)
    updated = iso(updated_ms(contact, switches))
    out: Json = {} if opted_ms is None else {"opt_out_source": "Contact", "opt_out_date": iso(opted_ms)}
    address: Json = {
        "address": contact.email_address,
        "permission_to_send": _PERMISSIONS.get(status, status),
        "created_at": iso(contact.created_ms),
        "updated_at": updated,
        "opt_in_source": "Account",
        "opt_in_date": iso(contact.created_ms),
        **out,
        "confirm_status": "pending" if status == "pending_confirmation" else "off",
    }
    return {
        "contact_id": contact_uuid(contact.id),
        "email_address": address,
        **_names(contact),
        "update_source": "Account",
        "create_source": "Account",
        "created_at": iso(contact.created_ms),
        "updated_at": updated,
        **_deletion(contact),
    }


def listed_campaign(campaign: Campaign) -> Json:
    """Return a row of the list of campaigns. It does not tell when the campaign was sent."""
    return {
        "campaign_id": campaign_uuid(campaign.id),
        "created_at": iso(campaign.created_ms),
        "current_status": _CAMPAIGN_STATUSES.get(campaign.status, campaign.status.capitalize()),
        "name": campaign.name,
        "type": "NEWSLETTER",
        "type_code": 10,
        "updated_at": iso(campaign.modified_ms),
    }


def campaign(campaign: Campaign, now_ms: int) -> Json:
    """Return a single campaign, with its activities."""
    activities = [
        {"campaign_activity_id": activity_uuid(campaign.id, role), "role": role.value}
        for role in roles(campaign, now_ms)
    ]
    return {"campaign_activities": activities, **listed_campaign(campaign)}


def roles(campaign: Campaign, now_ms: int) -> list[Role]:
    """Return the roles of a campaign's activities at a time."""
    was_resent = any(of <= now_ms for of in campaign.resent_ms)
    return [Role.PRIMARY, Role.PERMALINK, *([Role.RESEND] if was_resent else [])]


def activity(campaign: Campaign, role: Role) -> Json:
    """Return a single campaign activity. It has a part of the real fields."""
    status = _CAMPAIGN_STATUSES.get(campaign.status, campaign.status)
    return {
        "campaign_activity_id": activity_uuid(campaign.id, role),
        "campaign_id": campaign_uuid(campaign.id),
        "role": role.value,
        "current_status": status.upper(),
        "format_type": 5,
        "from_email": _SENDER,
        "from_name": "Newsletter",
        "reply_to_email": _SENDER,
        "subject": campaign.name,
    }


def activity_summary(activity_id: str, rows: Sequence[Row], start_ms: int) -> Json:
    """Return what a contact did with one campaign activity. It counts times."""
    counts = {f"em_{kind.report}": sum(row.kind is kind for row in rows) for kind in Kind}
    return {"campaign_activity_id": activity_id, "start_on": iso(start_ms), **counts}


def campaign_summary(campaign: Campaign, rows: Collection[Row], last_sent_ms: int) -> Json:
    """Return a row of the summaries of campaigns. It counts contacts."""
    counts = {_PLURALS[kind]: count for kind, count in _unique(rows).items()}
    return {
        "campaign_id": campaign_uuid(campaign.id),
        "campaign_type": "NEWSLETTER",
        "last_sent_date": iso(last_sent_ms),
        "unique_counts": {**counts, "abuse": 0, "not_opened": not_opened(counts)},
    }


def percents(summaries: Iterable[Json]) -> Json:
    """Return the rates of all campaigns of a page, in percent. Clicks are of those who opened."""
    totals: dict[str, int] = {}
    for summary in summaries:
        counts = summary["unique_counts"]
        assert isinstance(counts, dict)  # noqa: S101 (what `campaign_summary` made)
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    sends = totals.get("sends", 0)
    return {
        "click": _percent(totals.get("clicks", 0), totals.get("opens", 0)),
        "open": _percent(totals.get("opens", 0), sends),
        "did_not_open": _percent(totals.get("not_opened", 0), sends),
        "bounce": _percent(totals.get("bounces", 0), sends),
        "unsubscribe": _percent(totals.get("optouts", 0), sends),
    }


def stats(campaign: Campaign, role: Role, rows: Collection[Row], refreshed_ms: int) -> Json:
    """Return the statistics of one campaign activity. Without `_all` they count contacts."""
    counts = {f"em_{_PLURALS[kind]}": count for kind, count in _unique(rows).items()}
    return {
        "campaign_id": campaign_uuid(campaign.id),
        "campaign_activity_id": activity_uuid(campaign.id, role),
        "stats": {
            **counts,
            "em_not_opened": not_opened({name[3:]: count for name, count in counts.items()}),
            "em_abuse": 0,
            **_by_device(rows, Kind.OPEN),
            **_by_device(rows, Kind.CLICK),
            **_by_bounce(rows),
        },
        "last_refresh_time": iso(refreshed_ms),
    }


def not_opened(counts: dict[str, int]) -> int:
    """Return how many did not open: sends less opens and bounces, and never below 0 (v3 contract)."""
    return max(0, counts["sends"] - counts["opens"] - counts["bounces"])


_PLURALS = {kind: name.removeprefix("em_") for kind, name in TYPES.items()}


def _unique(rows: Iterable[Row]) -> dict[Kind, int]:
    contacts: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for row in rows:
        contacts[row.kind].add(row.contact_id)
    return {kind: len(of) for kind, of in contacts.items()}


def _by_device(rows: Iterable[Row], kind: Kind) -> dict[str, int]:
    name = f"{TYPES[kind]}_all"
    devices = [device_of(row) for row in rows if row.kind is kind]
    counts = {f"{name}_{device}": devices.count(device) for device in _DEVICES}
    return {name: len(devices), **counts, f"{name}_none": 0}


def _by_bounce(rows: Iterable[Row]) -> dict[str, int]:
    codes = {(row.contact_id, dict(row.own)["bounce_code"]) for row in rows if row.kind is Kind.BOUNCE}
    return {
        f"em_bounces_{name}": sum(code == letter for _, code in codes) for letter, name in _BOUNCES.items()
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
