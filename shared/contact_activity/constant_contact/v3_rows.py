"""Read the rows of v3's tracking reports. Pure.

A contact's row has no link, bounce code, reason or address; the row of its mailing's report is whole.
"""

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

# A row's `tracking_activity_type`.
PROVIDER_TYPES = {
    ActivityType.SENT: "em_sends",
    ActivityType.OPENED: "em_opens",
    ActivityType.CLICKED: "em_clicks",
    ActivityType.FORWARDED: "em_forwards",
    ActivityType.BOUNCED: "em_bounces",
    ActivityType.UNSUBSCRIBED: "em_optouts",
}
_TYPES = {provider_type: type_ for type_, provider_type in PROVIDER_TYPES.items()}
# Of the other two the contract only says "the contact's", which may be today's.
_WITH_ADDRESS = (ActivityType.SENT, ActivityType.OPENED, ActivityType.CLICKED, ActivityType.BOUNCED)


def parse_row(row: object, contact_id: str) -> Activity | Unreadable:
    """Read one row of the report of `contact_id`: what v3's contract has, and nothing beyond it.

    A row of an unknown type, without a usable time or without a usable mailing is `Unreadable`.
    """
    if not isinstance(row, Mapping):
        return Unreadable("not an object", row_digest(row))
    type_ = _TYPES.get(str(row.get("tracking_activity_type")))
    if type_ is None:
        return Unreadable("unknown activity type", row_digest(row))
    provider_time = row.get("created_time")
    occurred_ms = parse_time(provider_time) if isinstance(provider_time, str) else None
    if occurred_ms is None:
        return Unreadable("no usable time", row_digest(row))
    mailing_id = usable_id(row.get("campaign_activity_id"))
    if mailing_id is None:
        return Unreadable("no usable campaign activity", row_digest(row))
    return Activity(
        type=type_,
        contact_id=contact_id,
        campaign_id=mailing_id,
        occurred_ms=occurred_ms,
        provider_time=str(provider_time),
        provider_type=PROVIDER_TYPES[type_],
    )


def parse_campaign_row(row: object, mailing_id: str, type_: ActivityType) -> Activity | Unreadable:
    """Read one row of a mailing's report of a type.

    A row of another type, or without a contact, is `Unreadable`. Names, the date of a deletion and the
    address of today describe the contact now, so they are left out.
    """
    contact_id = usable_id(row.get("contact_id")) if isinstance(row, Mapping) else None
    if contact_id is None or not isinstance(row, Mapping):
        return Unreadable("no usable contact", row_digest(row))
    activity = parse_row({**row, "campaign_activity_id": mailing_id}, contact_id)
    if isinstance(activity, Unreadable):
        return Unreadable(activity.reason, row_digest(row))
    if activity.type is not type_:
        return Unreadable("not of the report's type", row_digest(row))
    return replace(
        activity,
        email_address=text_of(row, "email_address") if type_ in _WITH_ADDRESS else None,
        link=_link(row) if type_ is ActivityType.CLICKED else None,
        bounce=_bounce(row) if type_ is ActivityType.BOUNCED else None,
        unsubscribe=_unsubscribe(row) if type_ is ActivityType.UNSUBSCRIBED else None,
    )


def _link(row: Mapping[str, object]) -> Link | None:
    """`url_id` is a string in rows (v3 contract)."""
    link = Link(id=cut_id_of(row, "url_id"), url=whole_text_of(row, "link_url"))
    return None if link == Link(None, None) else link


def _bounce(row: Mapping[str, object]) -> Bounce:
    code = whole_text_of(row, "bounce_code")
    return Bounce(code, bounce_category(code), description=None, message=None)


def _unsubscribe(row: Mapping[str, object]) -> Unsubscribe | None:
    reason = whole_text_of(row, "opt_out_reason")
    return None if reason is None else Unsubscribe(source=None, reason=reason)
