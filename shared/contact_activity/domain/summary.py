"""Compares summary reports with what was published last, and makes the event of what moved.

Pure. The provider's counts cannot be reconciled with its activities row for row (some count
recipients, some links, some times, and they lag), so they are published as they are, when they move.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum

from contact_activity.domain.event import Event
from contact_activity.domain.times import iso

# A contact that does nothing new is asked all the same once in this time: counts can move without
# a row, and a summary can lag behind the rows that made it worth asking for.
SUMMARY_AGE_MS = 28 * 86_400_000
# Of one contact; the newest are kept. More than two a day for a year.
CAMPAIGNS_MAX = 1_000


class SummaryKind(Enum):
    """The three summary reports, named by what their counts are of."""

    CONTACT = ("contact", "summary", "Contact Activity Summarized")
    CONTACT_CAMPAIGN = ("contact-campaign", "summary_by_campaign", "Contact Campaign Activity Summarized")
    CAMPAIGN = ("campaign", "campaign_summary", "Campaign Activity Summarized")

    def __init__(self, subject: str, report: str, detail_type: str) -> None:
        self.subject = subject
        self.report = report
        self.detail_type = detail_type

    @property
    def event_type(self) -> str:
        """The CloudEvents `type`, with the version of the contract."""
        return f"contact-activity.{self.subject}.summarized.v1"

    @property
    def schema_uri(self) -> str:
        """The CloudEvents `dataschema`: the `$id` of the schema in `events/schemas/`."""
        return f"urn:contact-activity:{self.subject}.summarized:v1"


@dataclass(frozen=True, slots=True)
class SummaryCounts:
    """The counts of a report; None is a count that this report does not have."""

    sends: int | None = None
    opens: int | None = None
    clicks: int | None = None
    forwards: int | None = None
    unsubscribes: int | None = None
    bounces: int | None = None

    @property
    def present(self) -> tuple[tuple[str, int], ...]:
        """Name and value of each that the report has, in the provider's order."""
        named = ((name, getattr(self, name)) for name in COUNT_NAMES)
        return tuple((name, value) for name, value in named if value is not None)


COUNT_NAMES = tuple(field.name for field in fields(SummaryCounts))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts of a contact, of a campaign, or of a contact in a campaign, as they were just read."""

    kind: SummaryKind
    contact_id: str | None
    campaign_id: str | None
    counts: SummaryCounts

    @property
    def key(self) -> str:
        """What tells the snapshots of one report apart."""
        return self.campaign_id or ""


@dataclass(frozen=True, slots=True)
class SummaryReport:
    """A report, read; `unreadable` holds digests of what could not be."""

    snapshots: tuple[Snapshot, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """The counts published last, as the `sequence`-th of their `key`."""

    key: str
    sequence: int
    counts: SummaryCounts


@dataclass(frozen=True, slots=True)
class Summarized:
    """What is known of one report. `asked_ms`: when it was last read; None makes it due."""

    kind: SummaryKind
    asked_ms: int | None = None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A snapshot to publish; `changed` names the counts that moved, all of them the first time."""

    snapshot: Snapshot
    sequence: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class News:
    """What a report says that was not published, and what is known once it is.

    `left_out`: campaigns beyond the bound, neither published nor remembered.
    """

    changes: tuple[Change, ...]
    summarized: Summarized
    left_out: int = 0


def is_due(known: Summarized, *, now_ms: int, found_new: bool) -> bool:
    """Whether to spend a call; a stamp in the future is a clock that was set back."""
    if found_new or known.asked_ms is None:
        return True
    return not 0 <= now_ms - known.asked_ms < SUMMARY_AGE_MS


def compare(known: Summarized, snapshots: Sequence[Snapshot], now_ms: int) -> News:
    """What moved since it was published last; of two rows with one key the first counts."""
    last = {published.key: published for published in known.published}
    found = {snapshot.key: snapshot for snapshot in reversed(snapshots)}
    kept = set(sorted({*last, *found}, key=_age, reverse=True)[:CAMPAIGNS_MAX])
    changes = []
    for key in sorted(kept & set(found), key=_age):
        change = _change(found[key], last.get(key))
        if change:
            changes.append(change)
            last[key] = Published(key, change.sequence, change.snapshot.counts)
    published = tuple(last[key] for key in sorted(kept & set(last), key=_age))
    return News(
        tuple(changes),
        replace(known, asked_ms=now_ms, published=published),
        left_out=len(set(found) - kept),
    )


def part_of(known: Summarized, changes: Sequence[Change]) -> Summarized:
    """What is known when only these changes were published: the report is due again."""
    last = {published.key: published for published in known.published}
    for change in changes:
        key = change.snapshot.key
        last[key] = Published(key, change.sequence, change.snapshot.counts)
    return replace(known, asked_ms=None, published=tuple(last[key] for key in sorted(last, key=_age)))


def derive_summary_id(account: str, change: Change) -> str:
    """Equal for equal counts at the same place in their sequence, for ever.

    32 hex digits of SHA-256 over account, what the counts are of, contact, campaign, sequence and
    `name=count` of each count, joined by newlines; a part that there is not is empty.
    """
    snapshot = change.snapshot
    key = (
        account,
        f"{snapshot.kind.subject}.summarized",
        snapshot.contact_id or "",
        snapshot.campaign_id or "",
        str(change.sequence),
        *(f"{name}={value}" for name, value in snapshot.counts.present),
    )
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


def summary_event(
    change: Change, *, account: str, observed_ms: int, correlation_id: str | None = None
) -> Event:
    """The event of a change.

    Only its context may differ between two calls: `time`, `observedtime` and `correlationid`.
    """
    snapshot = change.snapshot
    event_id = derive_summary_id(account, change)
    data: dict[str, object] = {"account": account}
    if snapshot.contact_id is not None:
        data["contact"] = {"id": snapshot.contact_id}
    if snapshot.campaign_id is not None:
        data["campaign"] = {"id": snapshot.campaign_id}
    detail = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/constant-contact/{account}",
        "type": snapshot.kind.event_type,
        "subject": snapshot.contact_id or snapshot.campaign_id,
        "time": iso(observed_ms),
        "datacontenttype": "application/json",
        "dataschema": snapshot.kind.schema_uri,
        "observedtime": iso(observed_ms),
        "backfill": False,
        **({} if correlation_id is None else {"correlationid": correlation_id}),
        "data": {**data, "summary": dict(snapshot.counts.present), "changed": list(change.changed)},
    }
    text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    return Event(event_id, snapshot.kind.detail_type, text)


def _change(snapshot: Snapshot, last: Published | None) -> Change | None:
    """A count that is no longer in the report has not moved."""
    if last is None:
        return Change(snapshot, 0, tuple(name for name, _ in snapshot.counts.present))
    before = dict(last.counts.present)
    moved = tuple(name for name, value in snapshot.counts.present if before.get(name) != value)
    return Change(snapshot, last.sequence + 1, moved) if moved else None


def _age(key: str) -> tuple[int, str]:
    """Campaign ids count up."""
    return len(key), key
