"""Read ids and counts from the JSON of an answer, which writes the same value in several ways.

Pure: no clock, no environment, no logging.
"""

import hashlib
import json
import re
from collections.abc import Mapping

from contact_activity.domain.activity import USABLE_ID, BounceCategory
from contact_activity.domain.addresses import cut
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.times import TIME_LIMIT_CHARACTERS
from contact_activity.errors import FatalError

# Above it a float can no longer hold every whole number.
MAX_EXACT_INTEGER = 2**53
# The codes are in the documentation of v2 and v3: B non-existent address, S suspended, D undeliverable,
# F mailbox full, Z blocked, V vacation reply, X other.
_CATEGORY_BY_CODE = {
    "B": BounceCategory.HARD,
    "S": BounceCategory.HARD,
    "D": BounceCategory.SOFT,
    "F": BounceCategory.SOFT,
    "Z": BounceCategory.BLOCKED,
    "V": BounceCategory.AUTO_REPLY,
}


def whole_number(value: object) -> int | None:
    """Return the integer of `3` or `3.0`; None for anything else, a boolean, or a float beyond 2^53."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_INTEGER:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_text(value: object) -> str | None:
    """Return an id as text; `"3"`, `3` and `3.0` are the same id. None for any other value."""
    if isinstance(value, str):
        return value
    number = whole_number(value)
    return None if number is None else str(number)


def usable_id(value: object) -> str | None:
    """Return an id that can be part of a path, or None."""
    text = id_text(value)
    return text if text and USABLE_ID.fullmatch(text) else None


def count_of(value: object) -> int | None:
    """Return a count; `"3"`, `3` and `3.0` are the same. None for anything that is not a count."""
    is_digits = isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value)
    number = int(str(value)) if is_digits else whole_number(value)
    return number if number is not None and 0 <= number <= MAX_EXACT_INTEGER else None


def is_of(row: object, name: str, id_: str) -> bool:
    """Whether the field `name` of a row holds this id, or no id at all."""
    named = row.get(name) if isinstance(row, Mapping) else None
    return named is None or named == "" or id_text(named) == id_


def contact_in_list(row: object, id_name: str, date_name: str) -> ListedContact | None:
    """Return a contact of a list by the names of its id and of its date; None without a usable id."""
    if not isinstance(row, dict):
        return None
    id_, modified = usable_id(row.get(id_name)), row.get(date_name)
    if id_ is None:
        return None
    # The date is only compared with the one listed before, so an unusable one can be left empty.
    if not isinstance(modified, str) or not modified.isascii() or len(modified) > TIME_LIMIT_CHARACTERS:
        modified = ""
    return ListedContact(id_, modified)


def row_digest(row: object) -> str:
    """Return 16 hex digits that identify a row without showing its content. Key order does not matter."""
    try:
        canonical = json.dumps(row, sort_keys=True, default=str)
    except RecursionError:
        canonical = "nested too deep"
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def path_part(id_: str) -> str:
    """The id, which is to be part of a path. Raises `FatalError` if it cannot be."""
    if not USABLE_ID.fullmatch(id_):
        raise FatalError("an id that cannot be part of a path")
    return id_


def text_of(row: Mapping[str, object], name: str) -> str | None:
    """Return a field as text of at most 4 KB, or None."""
    text = whole_text_of(row, name)
    return None if text is None else cut(text)


def whole_text_of(row: Mapping[str, object], name: str) -> str | None:
    """Return a field as text, a number as its digits. None for any other value."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return id_text(value) or str(value)


def cut_id_of(row: Mapping[str, object], name: str) -> str | None:
    """Return a field as an id of at most 4 KB, or None."""
    text = id_text(row.get(name))
    return None if text is None else cut(text)


def bounce_category(code: str | None) -> BounceCategory:
    return _CATEGORY_BY_CODE.get(code or "", BounceCategory.UNKNOWN)
