"""Reads the rows of tracking reports, as the API writes them."""

import hashlib
import json
import re
from collections.abc import Mapping

from contact_activity.domain.activity import (
    USABLE_ID,
    Activity,
    ActivityType,
    Bounce,
    BounceCategory,
    Link,
    Unreadable,
    Unsubscribe,
)
from contact_activity.domain.addresses import cut
from contact_activity.domain.times import parse_time

# Beyond it a float no longer tells a whole number from its neighbours.
EXACT_MAX = 2**53


_BY_PROVIDER_TYPE = {type_.provider_type: type_ for type_ in ActivityType}


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
