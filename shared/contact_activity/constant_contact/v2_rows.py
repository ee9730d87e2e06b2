"""Read the rows of v2's tracking reports. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from contact_activity.constant_contact.fields import (
    bounce_category,
    cut_id_of,
    row_digest,
    text_of,
    usable_id,
    whole_text_of,
)
from contact_activity.domain.activity import (
    Activity,
    ActivityType,
    Bounce,
    Link,
    Unreadable,
    Unsubscribe,
)
from contact_activity.domain.times import parse_time

# A row's `activity_type`.
PROVIDER_TYPES = {
    ActivityType.SENT: "EMAIL_SEND",
    ActivityType.OPENED: "EMAIL_OPEN",
    ActivityType.CLICKED: "EMAIL_CLICK",
    ActivityType.FORWARDED: "EMAIL_FORWARD",
    ActivityType.BOUNCED: "EMAIL_BOUNCE",
    ActivityType.UNSUBSCRIBED: "EMAIL_UNSUBSCRIBE",
}
# The field that holds the time of the activity.
TIME_FIELDS = {
    ActivityType.SENT: "send_date",
    ActivityType.OPENED: "open_date",
    ActivityType.CLICKED: "click_date",
    ActivityType.FORWARDED: "forward_date",
    ActivityType.BOUNCED: "bounce_date",
    ActivityType.UNSUBSCRIBED: "unsubscribe_date",
}
_TYPES = {provider_type: type_ for type_, provider_type in PROVIDER_TYPES.items()}


def parse_campaign_row(row: object, campaign_id: str, type_: ActivityType) -> Activity | Unreadable:
    """Read one row of a campaign's report of a type: what the report of the row's contact shows of it.

    A row of another type, or without a contact, is `Unreadable`. A click has no URL here (official SDK
    fixtures).
    """
    contact_id = usable_id(row.get("contact_id")) if isinstance(row, Mapping) else None
    if contact_id is None:
        return Unreadable("no usable contact", row_digest(row))
    activity = parse_row(row, contact_id)
    if isinstance(activity, Unreadable):
        return activity
    if activity.type is not type_:
        return Unreadable("not of the report's type", row_digest(row))
    return replace(activity, campaign_id=campaign_id)


def parse_row(row: object, contact_id: str) -> Activity | Unreadable:
    """Read one row of the tracking report of `contact_id`.

    Accept everything that the v2 documentation and its samples show: ids as numbers or strings, fields
    that are missing or null, unknown extra fields. A row with an unknown `activity_type` or without a
    usable time is `Unreadable`.
    """
    if not isinstance(row, Mapping):
        return Unreadable("not an object", row_digest(row))
    type_ = _TYPES.get(str(row.get("activity_type")))
    if type_ is None:
        return Unreadable("unknown activity type", row_digest(row))
    provider_time = row.get(TIME_FIELDS[type_])
    occurred_ms = parse_time(provider_time) if isinstance(provider_time, str) else None
    if occurred_ms is None:
        return Unreadable("no usable time", row_digest(row))
    return Activity(
        type=type_,
        contact_id=contact_id,
        campaign_id=cut_id_of(row, "campaign_id"),
        occurred_ms=occurred_ms,
        provider_time=str(provider_time),
        provider_type=PROVIDER_TYPES[type_],
        email_address=text_of(row, "email_address"),
        link=_link(row) if type_ is ActivityType.CLICKED else None,
        bounce=_bounce(row) if type_ is ActivityType.BOUNCED else None,
        unsubscribe=_unsubscribe(row) if type_ is ActivityType.UNSUBSCRIBED else None,
    )


def _link(row: Mapping[str, object]) -> Link | None:
    link = Link(id=cut_id_of(row, "link_id"), url=whole_text_of(row, "link_uri"))
    return None if link == Link(None, None) else link


def _bounce(row: Mapping[str, object]) -> Bounce:
    code = whole_text_of(row, "bounce_code")
    return Bounce(
        code=code,
        category=bounce_category(code),
        description=whole_text_of(row, "bounce_description"),
        message=whole_text_of(row, "bounce_message"),
    )


def _unsubscribe(row: Mapping[str, object]) -> Unsubscribe | None:
    unsubscribe = Unsubscribe(
        source=whole_text_of(row, "unsubscribe_source"), reason=whole_text_of(row, "unsubscribe_reason")
    )
    return None if unsubscribe == Unsubscribe(None, None) else unsubscribe
