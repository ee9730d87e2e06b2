"""Lists of v3: where a page begins, how it links to the next one, and how the last one ends."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from contact_activity.simulated.account import Row
from contact_activity.simulated.api import Query
from contact_activity.simulated.api_json import Json, shown_ms
from contact_activity.simulated.paging import (
    Page,
    Stamped,
    Start,
    decode,
    encode,
    limit_of,
    start_of_token,
    tracking_page,
)
from contact_activity.simulated.replies import Refusal, Reply, error
from contact_activity.simulated.switches import Order, Side, Switches
from contact_activity.simulated.v3_replies import invalid
from contact_activity.simulated.v3_switches import PageEnd

# What a cursor holds beside the parameters of the first page.
_OF_CURSOR = {"cursor", "limit", "next", "startAt", "at"}
_ENDS: dict[PageEnd, Json] = {
    PageEnd.NO_LINKS: {},
    PageEnd.EMPTY_LINKS: {"_links": {}},
    PageEnd.NEXT_NULL: {"_links": {"next": None}},
    PageEnd.HREF_NULL: {"_links": {"next": {"href": None}}},
}


def v3_start(query: Query, service: str, switches: Switches, *, default_limit: int, max_limit: int) -> Start:
    """Read the parameters of a list. What stands beside a cursor is not looked at.

    Raises `Refusal` for a bad limit or cursor, with a key that begins with `service`.
    """
    token = query.parameters.get("cursor")
    if token is not None:
        start = start_of_token(decode(token), query.now_ms, switches)
        if start is None:
            status = switches.expired_next_status
            raise Refusal(error(status, f"{service}.validation.error", "cursor is not valid"))
        return start
    limit = limit_of(query.parameters.get("limit"), default_limit, max_limit, switches)
    if limit is None:
        raise invalid(service, f"limit must be from 1 to {max_limit}")
    asked = {name: ",".join(query.values(name)) for name in query.parameters}
    return Start(min(limit, switches.max_page_rows), None, None, asked)


class RowsInOrder:
    """A list's rows, newest first. The stamps that they show may be less exact than their order.

    Equal rows are numbered, so that a cursor stands behind one row. Rows that came in since the list was
    asked for are put in their places: a long report has many pages. One thread at a time may use it.
    """

    def __init__(self, switches: Switches, side: Side, holds: Callable[[Row], bool] = lambda _: True) -> None:
        """`holds`: whether the list has a row. It must stay so."""
        self._switches, self._side, self._holds = switches, side, holds
        self._begin()

    def _begin(self) -> None:
        # The rows are kept, so that no other can have their ids.
        self._rows: Sequence[Row] = ()
        self._ids: set[int] = set()
        self._equal: Counter[str] = Counter()
        self._items: list[Stamped[Row]] = []

    def of(self, rows: Sequence[Row]) -> Sequence[Stamped[Row]]:
        """Return those of the rows that the list has, in order."""
        new = [row for row in rows if id(row) not in self._ids]
        if len(rows) != len(self._ids) + len(new):
            self._begin()
            new = list(rows)
        self._rows = rows
        self._ids.update(map(id, new))
        if items := [self._item(row) for row in new if self._holds(row)]:
            self._items = sorted([*self._items, *items], key=lambda item: item[0], reverse=True)
        return self._items

    def _item(self, row: Row) -> Stamped[Row]:
        name = f"{row.occurred_ms} {row.contact_id} {row.campaign_id} {row.kind.report} {row.own}"
        self._equal[name] += 1
        tie = zlib.crc32(f"{self._equal[name]} {name}".encode())
        return shown_ms(row, self._switches, self._side) << 32 | tie, row


def v3_tracking_page(items: Sequence[Stamped[Row]], start: Start, switches: Switches) -> Page[Stamped[Row]]:
    """Return a page of rows in order. Those of one time may be on two pages."""
    return tracking_page(items, start, switches, Order.NEWEST_FIRST)


def v3_list_reply(
    query: Query,
    start: Start,
    following: Mapping[str, int] | None,
    content: Json,
    switches: Switches,
    *,
    needs_links: bool = False,
    has_limit: bool = True,
) -> Reply:
    """Return the reply of a page. Its link is relative, and the cursor holds all that was asked for.

    `has_limit` False: the list takes none.
    """
    asked = {name: text for name, text in start.asked.items() if name not in _OF_CURSOR}
    if following is None:
        return Reply(200, content | _end(query.path, asked, switches, needs_links=needs_links))
    issued = {"at": query.now_ms} if switches.next_lifetime_s is not None else {}
    kept = ({"limit": start.limit} if has_limit else {}) | asked
    beside = kept if switches.v3.links_keep_parameters else {}
    cursor = encode({**asked, **following, **issued})
    href = f"{query.path}?{urlencode({**beside, 'cursor': cursor})}"
    return Reply(200, {**content, "_links": {"next": {"href": href}}})


def _end(path: str, asked: Mapping[str, str], switches: Switches, *, needs_links: bool) -> Json:
    number = zlib.crc32(f"{path}?{urlencode(asked)}".encode())
    end = switches.v3.page_end or list(PageEnd)[number % len(PageEnd)]
    return _ENDS[PageEnd.EMPTY_LINKS if needs_links and end is PageEnd.NO_LINKS else end]
