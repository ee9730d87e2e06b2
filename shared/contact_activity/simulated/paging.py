"""Cuts lists into pages. A `next` token is base64url of a query string, as the real ones are."""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from contact_activity.simulated.replies import Refusal, Reply, bad_request, expired_next
from contact_activity.simulated.switches import BadValue, Cursor, Order, Switches, Tie
from contact_activity.simulated.times import parse_iso

T = TypeVar("T")
Stamped = tuple[int, T]
"""A time in ms, and an item."""

_POSITIONS = ("next", "startAt", "pageNum")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins. `position` is that of the token; None for a first page.

    `asked` holds the parameters of the first page, as far as the tokens keep them.
    """

    limit: int
    position: int | None
    since_ms: int | None
    asked: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `following` is the position of the next page; None on the last page."""

    items: Sequence[T]
    following: Mapping[str, int] | None


def encode(fields: Mapping[str, int | str]) -> str:
    """Return the token of a `next_link`."""
    return base64.urlsafe_b64encode(urlencode(fields).encode()).decode().rstrip("=")


def decode(token: str) -> dict[str, str]:
    """Return the fields of a token. Empty if it is not a valid one."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        return dict(parse_qsl(base64.urlsafe_b64decode(padded).decode("ascii"), strict_parsing=True))
    except (ValueError, binascii.Error):
        return {}


def start_of(
    parameters: Mapping[str, str], now_ms: int, switches: Switches, *, default_limit: int, max_limit: int
) -> Start:
    """Read the parameters of a list. Raises `Refusal` for bad ones."""
    token = parameters.get("next")
    if token is not None:
        if len(parameters) > 1:
            raise Refusal(bad_request("next can only be used alone."))
        start = start_of_token(decode(token), now_ms, switches)
        if start is None:
            raise Refusal(expired_next(switches))
        return start
    limit = limit_of(parameters.get("limit"), default_limit, max_limit, switches)
    if limit is None:
        raise Refusal(bad_request(f"limit must be from 1 to {max_limit}."))
    since = next((name for name in ("created_since", "modified_since") if name in parameters), None)
    since_ms = _since(parameters[since], since, switches) if since else None
    return Start(min(limit, switches.max_page_rows), None, since_ms, parameters)


def start_of_token(asked: Mapping[str, str], now_ms: int, switches: Switches) -> Start | None:
    """Return where the page of a decoded token begins. None if the token is malformed or expired."""
    position = next((asked[name] for name in _POSITIONS if name in asked), "")
    limit = asked.get("limit", asked.get("pageSize", ""))
    since, issued = asked.get("since", "0"), asked.get("at", "0")
    if not all(text.isdecimal() for text in (position, limit, since, issued)) or int(limit) < 1:
        return None
    lifetime_s = switches.next_lifetime_s
    if lifetime_s is not None and now_ms - int(issued) > lifetime_s * 1000:
        return None
    return Start(int(limit), int(position), int(since) if "since" in asked else None, asked)


def limit_of(text: str | None, default: int, max_limit: int, switches: Switches) -> int | None:
    """Return the `limit` of a list. None for a bad one that is refused."""
    if text is None:
        return default
    if text.isdecimal() and 1 <= int(text) <= max_limit:
        return int(text)
    return default if switches.bad_limit is BadValue.IGNORED else None


def _since(text: str, name: str, switches: Switches) -> int | None:
    since_ms = parse_iso(text)
    if since_ms is None and switches.bad_created_since is BadValue.REFUSED:
        raise Refusal(bad_request(f"{name} must be an ISO-8601 date."))
    return None if since_ms is None else max(since_ms, 0)


def list_reply(
    path: str,
    following: Mapping[str, int] | None,
    results: Sequence[object],
    kept: Mapping[str, int | str],
) -> Reply:
    """Return the reply of a page. `kept` goes into the token beside the position. The link is relative."""
    if following is None:
        return Reply(200, {"meta": {"pagination": {}}, "results": results})
    link = f"{path}?next={encode({**following, **kept})}"
    return Reply(200, {"meta": {"pagination": {"next_link": link}}, "results": results})


def offset_page(items: Sequence[T], start: Start, extra: int = 0) -> Page[T]:
    """Return a page of `limit + extra` items by a `startAt` that counts from 1."""
    first = (start.position or 1) - 1
    end = first + start.limit + extra
    return Page(items[first:end], {"startAt": end + 1, "limit": start.limit} if end < len(items) else None)


def numbered_page(items: Sequence[T], start: Start) -> Page[T]:
    """Return a page by a `pageNum` that counts from 1."""
    number = start.position or 1
    end = number * start.limit
    following = {"pageNum": number + 1, "pageSize": start.limit} if end < len(items) else None
    return Page(items[end - start.limit : end], following)


def tracking_page(
    items: Sequence[Stamped[T]], start: Start, switches: Switches, order: Order
) -> Page[Stamped[T]]:
    """Return a page of a tracking list, whose items are in this order."""
    if switches.cursor is Cursor.OFFSET:
        return offset_page(items, start, extra=switches.limit_plus_one)
    rest = _rest(items, start.position, switches, order)
    end = min(start.limit + switches.limit_plus_one, len(rest))
    if switches.tie is Tie.STRETCHED:
        while 0 < end < len(rest) and rest[end][0] == rest[end - 1][0]:
            end += 1
    following = {"limit": start.limit, "next": rest[end - 1][0]} if end < len(rest) else None
    return Page(rest[:end], following)


def _rest(
    items: Sequence[Stamped[T]], cursor_ms: int | None, switches: Switches, order: Order
) -> Sequence[Stamped[T]]:
    if cursor_ms is None:
        return items
    sign = -1 if order is Order.NEWEST_FIRST else 1
    place = bisect_left if switches.tie is Tie.REPEATED else bisect_right
    return items[place(items, sign * cursor_ms, key=lambda item: sign * item[0]) :]
