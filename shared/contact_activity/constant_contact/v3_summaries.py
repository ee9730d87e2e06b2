"""Read the summary reports of v3. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from contact_activity.constant_contact.fields import count_of, is_of, row_digest, usable_id
from contact_activity.constant_contact.v3_pages import read_page
from contact_activity.domain.activity import Unreadable
from contact_activity.domain.summary import Snapshot, SummaryCounts, SummaryKind, SummaryReport

# Names of a contact's report, and of a mailing's.
_OF_CONTACT = {
    "sends": "em_sends",
    "opens": "em_opens",
    "clicks": "em_clicks",
    "forwards": "em_forwards",
    "unsubscribes": "em_unsubscribes",
    "bounces": "em_bounces",
}
_OF_MAILING = _OF_CONTACT | {"unsubscribes": "em_optouts"}


@dataclass(frozen=True, slots=True)
class SummariesPage:
    """What a page of a contact's summary says, by mailing. `next`: the cursor of the next one."""

    snapshots: tuple[Snapshot, ...]
    unreadable: tuple[str, ...]
    next: str | None


def read_contact_summaries(body: object, contact_id: str) -> SummariesPage | None:
    """Read a page of a contact's summary. None if the body is not one of this contact.

    A row that cannot be read does not affect the others. None, too, if it has rows and none can be read.
    """
    page = read_page(body, "campaign_activities")
    if page is None or not is_of(body, "contact_id", contact_id):
        return None
    parsed = [_by_mailing(row, contact_id) for row in page.rows]
    snapshots = tuple(part for part in parsed if isinstance(part, Snapshot))
    if parsed and not snapshots:
        return None
    unreadable = tuple(part.digest for part in parsed if isinstance(part, Unreadable))
    return SummariesPage(snapshots, unreadable, page.next)


def contact_report(pages: Sequence[SummariesPage], kind: SummaryKind, contact_id: str) -> SummaryReport:
    """The report of a contact: by mailing, or the sum of all.

    A mailing that comes again counts once: pages shift when a new one is sent.
    """
    by_mailing: dict[str | None, Snapshot] = {}
    for page in pages:
        for of in page.snapshots:
            by_mailing.setdefault(of.campaign_id, of)
    snapshots = tuple(by_mailing.values())
    unreadable = tuple(digest for page in pages for digest in page.unreadable)
    if kind is SummaryKind.CONTACT:
        counted = [dict(of.counts.present) for of in snapshots]
        total = SummaryCounts(**{name: sum(of.get(name, 0) for of in counted) for name in _OF_CONTACT})
        snapshots = (Snapshot(SummaryKind.CONTACT, contact_id, None, total),)
    return SummaryReport(snapshots, unreadable)


def read_mailing_summaries(body: object, mailing_ids: Collection[str]) -> dict[str, SummaryReport] | None:
    """Read the statistics of some mailings, by id. Those that have none are left out.

    None if the body is none of them, or names another mailing. Without a usable count a row is unreadable.
    """
    rows = body.get("results") if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        return None
    named = [(usable_id(row.get("campaign_activity_id")), row) for row in rows]
    if not all(id_ in mailing_ids for id_, _ in named):
        return None
    return {id_: _of_mailing(row, id_) for id_, row in named if id_}


def _of_mailing(row: Mapping[str, object], mailing_id: str) -> SummaryReport:
    counts = _counts(row.get("stats"), _OF_MAILING)
    if counts is None:
        return SummaryReport(unreadable=(row_digest(row),))
    parent_id = usable_id(row.get("campaign_id"))
    return SummaryReport((Snapshot(SummaryKind.CAMPAIGN, None, mailing_id, counts, parent_id),))


def _by_mailing(row: object, contact_id: str) -> Snapshot | Unreadable:
    mailing_id = usable_id(row.get("campaign_activity_id")) if isinstance(row, Mapping) else None
    counts = _counts(row, _OF_CONTACT)
    if mailing_id is None or counts is None:
        return Unreadable("no usable mailing or counts", row_digest(row))
    return Snapshot(SummaryKind.CONTACT_CAMPAIGN, contact_id, mailing_id, counts)


def _counts(row: object, names: Mapping[str, str]) -> SummaryCounts | None:
    if not isinstance(row, Mapping):
        return None
    counts = {name: count_of(row[field]) for name, field in names.items() if row.get(field) is not None}
    return SummaryCounts(**counts) if counts and None not in counts.values() else None
