"""Summary reports: what moved since they were published last, and the event of it.

The provider's counts do not agree with its activities row for row: some count recipients, some links,
some times, and all of them lag. So they are published as they are, when they move.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum

from contact_activity.domain.event import Event
from contact_activity.domain.times import iso

# A contact without new activity is asked once in this time all the same: counts can move without a
# row, and a summary can lag behind the rows.
SUMMARY_AGE_MS = 28 * 86_400_000
# The newest campaigns of one contact are kept: more than two a day for a year.
MAX_CAMPAIGNS = 1_000


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
    """The counts of a report. None is a count that this report does not have."""

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
    """The counts of a contact, a campaign, or a contact in a campaign, as just read.

    `parent_id`: the campaign that a mailing is of (v3), if the report tells.
    """

    kind: SummaryKind
    contact_id: str | None
    campaign_id: str | None
    counts: SummaryCounts
    parent_id: str | None = None

    @property
    def key(self) -> str:
        """What tells the snapshots of one report apart."""
        return self.campaign_id or ""


@dataclass(frozen=True, slots=True)
class SummaryReport:
    """A report that was read. `unreadable` holds digests of what could not be."""

    snapshots: tuple[Snapshot, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """The counts that were published last: the `sequence`-th of their `key`."""

    key: str
    sequence: int
    counts: SummaryCounts


@dataclass(frozen=True, slots=True)
class Summarized:
    """What is known of one report. `asked_ms`: when it was last read; None if it is due."""

    kind: SummaryKind
    asked_ms: int | None = None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A snapshot to publish. `changed` names the counts that moved, which is all of them at first."""

    snapshot: Snapshot
    sequence: int
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SummaryDiff:
    """What moved in a report, and what is known once that is published.

    `left_out` counts campaigns beyond the bound, which are neither published nor remembered.
    """

    changes: tuple[Change, ...]
    summarized: Summarized
    left_out: int = 0


def is_due(known: Summarized, *, now_ms: int, found_new: bool) -> bool:
    """Whether to spend a call on it. A time in the future means that the clock was set back."""
    if found_new or known.asked_ms is None:
        return True
    return not 0 <= now_ms - known.asked_ms < SUMMARY_AGE_MS


def compare(known: Summarized, snapshots: Sequence[Snapshot], now_ms: int) -> SummaryDiff:
    """Find what moved since it was published last. Of two rows with one key the first counts."""
    last = {published.key: published for published in known.published}
    found = {snapshot.key: snapshot for snapshot in reversed(snapshots)}
    kept = set(sorted({*last, *found}, key=_age, reverse=True)[:MAX_CAMPAIGNS])
    changes = []
    for key in sorted(kept & set(found), key=_age):
        change = _change(found[key], last.get(key))
        if change:
            changes.append(change)
            last[key] = Published(key, change.sequence, change.snapshot.counts)
    published = tuple(last[key] for key in sorted(kept & set(last), key=_age))
    return SummaryDiff(
        tuple(changes),
        replace(known, asked_ms=now_ms, published=published),
        left_out=len(set(found) - kept),
    )


def part_of(known: Summarized, changes: Sequence[Change]) -> Summarized:
    """What is known if only these changes were published. The report is due again."""
    last = {published.key: published for published in known.published}
    for change in changes:
        key = change.snapshot.key
        last[key] = Published(key, change.sequence, change.snapshot.counts)
    return replace(known, asked_ms=None, published=tuple(last[key] for key in sorted(last, key=_age)))


def derive_summary_id(account: str, change: Change) -> str:
    """The id of a summary event: equal for ever for equal counts at one place in their sequence.

    The first 32 hex digits of SHA-256 over account, what the counts are of, contact, campaign, sequence
    and `name=count` of each count, joined by newlines. A missing part is empty.
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
    """Make the event of a change.

    Two events of one change differ only in `time`, `observedtime`, `correlationid` and `campaignid`.
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
        **({} if snapshot.parent_id is None else {"campaignid": snapshot.parent_id}),
        "data": {**data, "summary": dict(snapshot.counts.present), "changed": list(change.changed)},
    }
    text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    return Event(event_id, snapshot.kind.detail_type, text)


def _change(snapshot: Snapshot, last: Published | None) -> Change | None:
    """The change to publish, or None. A count that left the report has not moved."""
    if last is None:
        return Change(snapshot, 0, tuple(name for name, _ in snapshot.counts.present))
    before = dict(last.counts.present)
    moved = tuple(name for name, value in snapshot.counts.present if before.get(name) != value)
    return Change(snapshot, last.sequence + 1, moved) if moved else None


def _age(key: str) -> tuple[int, str]:
    """Sort campaigns by age: their ids count up."""
    return len(key), key
