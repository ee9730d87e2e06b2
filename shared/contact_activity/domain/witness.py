"""What a contact's row tells in v3: that something happened, and neither which link nor which code.

A mailing's report has the whole rows, and publishes them. A contact's row only vouches: it has a key that
the report's row has too, so a key that the memory does not hold asks for the report. A click of a contact
does not name its link, so clicks are numbered: the n-th of one contact, mailing and stamp.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.memory import DIGEST_BYTES, TIME_BYTES, activity_key


@dataclass(frozen=True, slots=True)
class NumberedClick:
    """`row` tells equal rows of a report; `number` counts those of one contact, mailing and stamp.

    `row` and `group` are hex digits.
    """

    row: str
    group: str
    number: int


@dataclass(frozen=True, slots=True)
class Edge:
    """The clicks of the last stamp of a page: the next one may begin with some of them, or go on with more.

    `stamp_ms`: None before the first page.
    """

    stamp_ms: int | None = None
    clicks: tuple[NumberedClick, ...] = ()


NO_EDGE = Edge()
# What only a report tells of each type.
_MISSING = {
    ActivityType.SENT: ("email_address",),
    ActivityType.OPENED: ("email_address",),
    ActivityType.CLICKED: ("email_address", "link"),
    ActivityType.FORWARDED: (),
    ActivityType.BOUNCED: ("bounce", "email_address"),
    ActivityType.UNSUBSCRIBED: ("unsubscribe",),
}


def witness_key(account: str, activity: Activity, number: int) -> bytes:
    """The key by which a contact's row vouches: its id's for all types but clicks, which have a number."""
    if activity.type is not ActivityType.CLICKED:
        return activity_key(account, activity)
    return _click_key("witness", account, activity, number)


def marker_key(account: str, click: Activity, number: int) -> bytes:
    """Says that a click was published without its link: a report that shows it later has nothing new."""
    return _click_key("alone", account, click, number)


def spent_key(account: str, click: Activity, number: int) -> bytes:
    """Says that a report showed one of those later."""
    return _click_key("shown", account, click, number)


def alone(activity: Activity) -> Activity:
    """A contact's row as it is published where no report shows it."""
    return replace(activity, missing=_MISSING[activity.type])


def numbered(page: Sequence[Activity], edge: Edge, *, is_report: bool) -> tuple[list[int], Edge]:
    """The number of each row of a page (1 for all but clicks), and the edge at its end.

    Rows come newest first, and those that come in meanwhile shift the pages. A page that begins above the
    edge shows all of it again. Equal rows that end the page before and begin this one may be the same rows
    or others: a report counts them once, since what vouches too little is only asked for again, and a
    contact's rows all count, since what asks too much is only asked for in vain.
    """
    clicks = [row for row in page if row.type is ActivityType.CLICKED]
    goes_on = bool(page) and page[0].occurred_ms == edge.stamp_ms
    known = edge.clicks if goes_on else ()
    repeated = _repeated(known, [_row(click) for click in clicks]) if is_report else 0
    counts = {(edge.stamp_ms, of.group): of.number for of in known}
    found: list[NumberedClick] = []
    for at, click in enumerate(clicks):
        if at < repeated:
            found.append(known[len(known) - repeated + at])
            continue
        group = _digest(_group(click))
        counts[click.occurred_ms, group] = counts.get((click.occurred_ms, group), 0) + 1
        found.append(NumberedClick(_row(click), group, counts[click.occurred_ms, group]))
    by_click = iter(found)
    numbers = [next(by_click).number if row.type is ActivityType.CLICKED else 1 for row in page]
    return numbers, _edge_after(page, clicks, found, edge if goes_on else NO_EDGE, repeated)


def _edge_after(
    page: Sequence[Activity],
    clicks: Sequence[Activity],
    found: Sequence[NumberedClick],
    before: Edge,
    repeated: int,
) -> Edge:
    if not page:
        return before
    last_ms = page[-1].occurred_ms
    own = [of for at, of in enumerate(found) if at >= repeated and clicks[at].occurred_ms == last_ms]
    return Edge(last_ms, (*(before.clicks if before.stamp_ms == last_ms else ()), *own))


def _repeated(known: Sequence[NumberedClick], rows: Sequence[str]) -> int:
    """How many rows end the page before and begin this one: the most that fit."""
    ends = [of.row for of in known]
    for size in range(min(len(ends), len(rows)), 0, -1):
        if ends[-size:] == list(rows[:size]):
            return size
    return 0


def _click_key(what: str, account: str, click: Activity, number: int) -> bytes:
    parts = (what, account, *_group(click), str(click.occurred_ms), str(number))
    return click.occurred_ms.to_bytes(TIME_BYTES) + bytes.fromhex(_digest(parts))


def _group(click: Activity) -> tuple[str, ...]:
    return (click.contact_id, click.campaign_id or "")


def _row(click: Activity) -> str:
    link = click.link
    return _digest((*_group(click), str(click.occurred_ms), (link.id or "") if link else ""))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[: 2 * DIGEST_BYTES]
