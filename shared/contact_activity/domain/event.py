"""The event that is published for an activity."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from contact_activity.domain.activity import Activity, derive_id
from contact_activity.domain.addresses import hide_and_cut
from contact_activity.domain.times import iso

EVENT_SOURCE = "contact-activity"


class EmailAddresses(StrEnum):
    """How an event carries the address that the mail went to."""

    PLAIN = "plain"
    HASHED = "hashed"
    OMITTED = "omitted"


@dataclass(frozen=True, slots=True)
class Event:
    """An entry for the bus. `detail` is a CloudEvents 1.0 event in JSON, `id` the id of the activity."""

    id: str
    detail_type: str
    detail: str


def to_event(
    activity: Activity,
    *,
    account: str,
    email_addresses: EmailAddresses,
    observed_ms: int,
    backfill: bool,
    correlation_id: str | None = None,
    parent_id: str | None = None,
) -> Event:
    """Make the event of an activity. Each free text is cut at 4 KB.

    `parent_id`: the campaign that the activity's mailing is of, where it is known. Unless addresses are
    `plain`, the contact's own address becomes `[address]` in all other texts. Two events of one activity
    differ only in `observedtime`, `backfill`, `correlationid` and `campaignid`.
    """
    event_id = derive_id(account, activity)
    detail = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/constant-contact/{account}",
        "type": activity.type.event_type,
        "subject": activity.contact_id,
        "time": iso(activity.occurred_ms),
        "datacontenttype": "application/json",
        "dataschema": activity.type.schema_uri,
        "observedtime": iso(observed_ms),
        "backfill": backfill,
        **_present(correlationid=correlation_id, campaignid=parent_id),
        "data": _data(activity, account, email_addresses),
    }
    return Event(
        id=event_id,
        detail_type=activity.type.detail_type,
        detail=json.dumps(detail, ensure_ascii=False, separators=(",", ":")),
    )


def data_digest(activity: Activity, account: str, email_addresses: EmailAddresses) -> str:
    """32 hex digits that are equal for two rows whose events have the same `data`, byte for byte."""
    data = json.dumps(_data(activity, account, email_addresses), ensure_ascii=False)
    return hashlib.sha256(data.encode()).hexdigest()[:32]


def _data(activity: Activity, account: str, email_addresses: EmailAddresses) -> dict[str, object]:
    def fields(**texts: str | None) -> dict[str, str]:
        hidden = None if email_addresses is EmailAddresses.PLAIN else activity.email_address
        return {name: hide_and_cut(text, hidden) for name, text in texts.items() if text is not None}

    data: dict[str, object] = {
        "account": account,
        "contact": {"id": activity.contact_id, **_address(activity.email_address, email_addresses)},
    }
    if activity.campaign_id is not None:
        data["campaign"] = fields(id=activity.campaign_id)
    data["activity"] = {
        "type": activity.type.past_tense,
        "provider_type": activity.provider_type,
        "occurred_at": iso(activity.occurred_ms),
        **fields(provider_time=activity.provider_time),
    }
    if activity.missing:
        data["missing"] = list(activity.missing)
    if activity.link:
        data["link"] = fields(id=activity.link.id, url=activity.link.url)
    if activity.bounce:
        bounce = activity.bounce
        data["bounce"] = {
            **fields(code=bounce.code),
            "category": bounce.category.value,
            **fields(description=bounce.description, message=bounce.message),
        }
    if activity.unsubscribe:
        data["unsubscribe"] = fields(source=activity.unsubscribe.source, reason=activity.unsubscribe.reason)
    return data


def _address(address: str | None, mode: EmailAddresses) -> dict[str, str]:
    if address is None or mode is EmailAddresses.OMITTED:
        return {}
    if mode is EmailAddresses.HASHED:
        digest = hashlib.sha256(address.strip().lower().encode()).hexdigest()
        return {"email_address_sha256": digest}
    return {"email_address": address}


def _present(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
