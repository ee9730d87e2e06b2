"""What a contact did with a mailing: from a provider's row to the event that is published.

Pure: no clock, no environment, no logging. Times are integers, milliseconds since 1970 in UTC.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum

from contact_activity.addresses import cut, hide_and_cut

EVENT_SOURCE = "contact-activity"
TIME_LIMIT_CHARACTERS = 64

# What may be a part of a path, a key or a log line.
USABLE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Beyond it a float no longer tells a whole number from its neighbours.
EXACT_MAX = 2**53

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class ActivityType(Enum):
    """The six activities that Constant Contact v2 tracks for a contact."""

    SENT = ("sent", "EMAIL_SEND", "sends", "send_date", "Email Sent")
    OPENED = ("opened", "EMAIL_OPEN", "opens", "open_date", "Email Opened")
    CLICKED = ("clicked", "EMAIL_CLICK", "clicks", "click_date", "Email Link Clicked")
    FORWARDED = ("forwarded", "EMAIL_FORWARD", "forwards", "forward_date", "Email Forwarded")
    BOUNCED = ("bounced", "EMAIL_BOUNCE", "bounces", "bounce_date", "Email Bounced")
    UNSUBSCRIBED = (
        "unsubscribed",
        "EMAIL_UNSUBSCRIBE",
        "unsubscribes",
        "unsubscribe_date",
        "Email Unsubscribed",
    )

    def __init__(
        self, past_tense: str, provider_type: str, report: str, time_field: str, detail_type: str
    ) -> None:
        self.past_tense = past_tense
        self.provider_type = provider_type
        self.report = report
        self.time_field = time_field
        self.detail_type = detail_type

    @property
    def event_type(self) -> str:
        """The CloudEvents `type`, with the version of the contract."""
        return f"contact-activity.email.{self.past_tense}.v1"

    @property
    def schema_uri(self) -> str:
        """The CloudEvents `dataschema`: the `$id` of the schema in `events/schemas/`."""
        return f"urn:contact-activity:email.{self.past_tense}:v1"


_BY_PROVIDER_TYPE = {type_.provider_type: type_ for type_ in ActivityType}


class EmailAddresses(StrEnum):
    """How an event carries the address that the mail went to."""

    PLAIN = "plain"
    HASHED = "hashed"
    OMITTED = "omitted"


class BounceCategory(StrEnum):
    HARD = "hard"
    SOFT = "soft"
    BLOCKED = "blocked"
    AUTO_REPLY = "auto_reply"
    UNKNOWN = "unknown"


# The letters of the v2 and v3 documentation: B non-existent, S suspended, D undeliverable,
# F mailbox full, Z blocked, V vacation reply; X is the provider's own "other".
_CATEGORY_BY_CODE = {
    "B": BounceCategory.HARD,
    "S": BounceCategory.HARD,
    "D": BounceCategory.SOFT,
    "F": BounceCategory.SOFT,
    "Z": BounceCategory.BLOCKED,
    "V": BounceCategory.AUTO_REPLY,
}


@dataclass(frozen=True, slots=True)
class Link:
    id: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Bounce:
    code: str | None
    category: BounceCategory
    description: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    source: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity of one contact. `None` is a field that the provider left out; "" is kept.

    Free text is whole, in the length of the provider: an address in it is hidden before it is cut.
    """

    type: ActivityType
    contact_id: str
    campaign_id: str | None
    occurred_ms: int
    provider_time: str
    email_address: str | None = None
    link: Link | None = None
    bounce: Bounce | None = None
    unsubscribe: Unsubscribe | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be an activity: why, and a digest that tells it from others.

    The digest (16 hex digits) is all that may be logged: the row holds personal data.
    """

    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """An entry for the bus: `detail` is a CloudEvents 1.0 JSON event, `id` its derived id."""

    id: str
    detail_type: str
    detail: str


def iso(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`, as the provider writes it."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_time(text: str) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 stamp, or None if it is no usable time.

    Without an offset the stamp is UTC, which the v2 documentation promises of every date.
    A stamp at or before 1970 is how the v2 API prints "never".
    """
    if len(text) > TIME_LIMIT_CHARACTERS or not text.isascii():
        return None
    try:
        stamp = datetime.fromisoformat(text)
        time_ms = ((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH) // _MS
        _ = _EPOCH + timedelta(milliseconds=time_ms)
    except (ValueError, OverflowError):
        return None
    return time_ms if time_ms > 0 else None


def whole_number(value: object) -> int | None:
    """The integer that JSON wrote as `3` or `3.0`, or None: a boolean is none, nor a float beyond 2^53."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_MAX:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_text(value: object) -> str | None:
    """An id as text, `"3"`, `3` and `3.0` alike; None for what is neither text nor a whole number."""
    if isinstance(value, str):
        return value
    number = whole_number(value)
    return None if number is None else str(number)


def usable_id(value: object) -> str | None:
    """An id that can be part of a path, or None."""
    text = id_text(value)
    return text if text and USABLE_ID.fullmatch(text) else None


def count_of(value: object) -> int | None:
    """A count, `"3"`, `3` and `3.0` alike; None for what is none."""
    is_digits = isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value)
    number = int(str(value)) if is_digits else whole_number(value)
    return number if number is not None and 0 <= number <= EXACT_MAX else None


def is_of(row: object, name: str, id_: str) -> bool:
    """Whether a row's field names this id, or names none."""
    named = row.get(name) if isinstance(row, Mapping) else None
    return named is None or named == "" or id_text(named) == id_


def parse_row(row: object, contact_id: str) -> Activity | Unreadable:
    """The activity of one row of a v2 tracking report, asked for as `contact_id`.

    Tolerates what official material shows: ids as numbers or strings, fields left out or null,
    unknown extra fields. An unknown `activity_type` or no usable time makes it `Unreadable`.
    """
    if not isinstance(row, Mapping):
        return Unreadable("not an object", row_digest(row))
    type_ = _BY_PROVIDER_TYPE.get(str(row.get("activity_type")))
    if type_ is None:
        return Unreadable("unknown activity type", row_digest(row))
    provider_time = row.get(type_.time_field)
    occurred_ms = parse_time(provider_time) if isinstance(provider_time, str) else None
    if occurred_ms is None:
        return Unreadable("no usable time", row_digest(row))
    return Activity(
        type=type_,
        contact_id=contact_id,
        campaign_id=_id(row, "campaign_id"),
        occurred_ms=occurred_ms,
        provider_time=str(provider_time),
        email_address=_text(row, "email_address"),
        link=_link(row) if type_ is ActivityType.CLICKED else None,
        bounce=_bounce(row) if type_ is ActivityType.BOUNCED else None,
        unsubscribe=_unsubscribe(row) if type_ is ActivityType.UNSUBSCRIBED else None,
    )


def row_digest(row: object) -> str:
    """The same for the same row whatever the order of its keys; tells nothing of its content."""
    try:
        canonical = json.dumps(row, sort_keys=True, default=str)
    except RecursionError:
        canonical = "nested too deep"
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def derive_id(account: str, activity: Activity) -> str:
    """The id of an activity, since the API gives none: equal for equal activities, for ever.

    32 hex digits of SHA-256 over account, provider type, campaign, contact, milliseconds and
    link, joined by newlines; a part that the provider left out is empty.
    """
    link_id = activity.link.id if activity.link else None
    key = (
        account,
        activity.type.provider_type,
        activity.campaign_id or "",
        activity.contact_id,
        str(activity.occurred_ms),
        link_id or "",
    )
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


def to_event(
    activity: Activity,
    *,
    account: str,
    email_addresses: EmailAddresses,
    observed_ms: int,
    backfill: bool,
    correlation_id: str | None = None,
) -> Event:
    """The event of an activity, its free text cut at 4 KB.

    Unless addresses are `plain`, the row's own is `[address]` wherever else the row has it. Only the
    context may differ between two calls: `observedtime`, `backfill` and `correlationid`.
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
        **_present(correlationid=correlation_id),
        "data": _data(activity, account, email_addresses),
    }
    return Event(
        id=event_id,
        detail_type=activity.type.detail_type,
        detail=json.dumps(detail, ensure_ascii=False, separators=(",", ":")),
    )


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
        "provider_type": activity.type.provider_type,
        "occurred_at": iso(activity.occurred_ms),
        **fields(provider_time=activity.provider_time),
    }
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


def _link(row: Mapping[str, object]) -> Link | None:
    link = Link(id=_id(row, "link_id"), url=_whole_text(row, "link_uri"))
    return None if link == Link(None, None) else link


def _bounce(row: Mapping[str, object]) -> Bounce:
    code = _whole_text(row, "bounce_code")
    return Bounce(
        code=code,
        category=_CATEGORY_BY_CODE.get(code or "", BounceCategory.UNKNOWN),
        description=_whole_text(row, "bounce_description"),
        message=_whole_text(row, "bounce_message"),
    )


def _unsubscribe(row: Mapping[str, object]) -> Unsubscribe | None:
    unsubscribe = Unsubscribe(
        source=_whole_text(row, "unsubscribe_source"), reason=_whole_text(row, "unsubscribe_reason")
    )
    return None if unsubscribe == Unsubscribe(None, None) else unsubscribe


def _text(row: Mapping[str, object], name: str) -> str | None:
    """A field as text of at most 4 KB."""
    text = _whole_text(row, name)
    return None if text is None else cut(text)


def _whole_text(row: Mapping[str, object], name: str) -> str | None:
    """A field as text; numbers become digits."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return id_text(value) or str(value)


def _id(row: Mapping[str, object], name: str) -> str | None:
    text = id_text(row.get(name))
    return None if text is None else cut(text)
