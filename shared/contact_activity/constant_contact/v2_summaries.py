"""Read the summary reports of v2. Pure."""

from collections.abc import Mapping

from contact_activity.constant_contact.fields import count_of, is_of, row_digest, usable_id
from contact_activity.domain.activity import Unreadable
from contact_activity.domain.summary import COUNT_NAMES, Snapshot, SummaryCounts, SummaryKind, SummaryReport


def parse_contact_summary(body: object, contact_id: str) -> SummaryReport | None:
    """Read the summary of one contact. None if the body is not the report of this contact."""
    return _single(body, _parse(body, SummaryKind.CONTACT, contact_id, None))


def parse_summary_by_campaign(body: object, contact_id: str) -> SummaryReport | None:
    """Read the summary of one contact by campaign, which is a bare array.

    A row that cannot be read does not affect the others. None if the body is not an array, has rows
    but none that can be read, or names another contact.
    """
    if not isinstance(body, list) or not all(is_of(row, "contact_id", contact_id) for row in body):
        return None
    kind = SummaryKind.CONTACT_CAMPAIGN
    parsed = [_parse(row, kind, contact_id, _campaign_id(row)) for row in body]
    report = SummaryReport(
        snapshots=tuple(part for part in parsed if isinstance(part, Snapshot)),
        unreadable=tuple(part.digest for part in parsed if isinstance(part, Unreadable)),
    )
    return report if report.snapshots or not body else None


def parse_campaign_summary(body: object, campaign_id: str) -> SummaryReport | None:
    """Read the summary of one campaign. None if the body is not the report of this campaign."""
    return _single(body, _parse(body, SummaryKind.CAMPAIGN, None, campaign_id))


def _single(body: object, parsed: Snapshot | Unreadable) -> SummaryReport | None:
    """Return a report of one snapshot.

    None for a body without counts: the API sends zeros, so a report without counts is broken.
    """
    if isinstance(parsed, Unreadable):
        return None
    if parsed.contact_id is not None and not is_of(body, "contact_id", parsed.contact_id):
        return None
    if parsed.campaign_id is not None and not is_of(body, "campaign_id", parsed.campaign_id):
        return None
    return SummaryReport((parsed,))


def _parse(
    row: object, kind: SummaryKind, contact_id: str | None, campaign_id: str | None
) -> Snapshot | Unreadable:
    if not isinstance(row, Mapping):
        return Unreadable("not an object", row_digest(row))
    if kind is not SummaryKind.CONTACT and not campaign_id:
        return Unreadable("no usable campaign id", row_digest(row))
    counts = {name: count_of(row[name]) for name in COUNT_NAMES if row.get(name) is not None}
    if not counts or None in counts.values():
        return Unreadable("no usable counts", row_digest(row))
    return Snapshot(kind, contact_id, campaign_id, SummaryCounts(**counts))


def _campaign_id(row: object) -> str | None:
    return usable_id(row.get("campaign_id")) if isinstance(row, Mapping) else None
