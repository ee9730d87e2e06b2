"""Keep campaigns' reports in the table: one item for each report and for each watched campaign."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from botocore.client import BaseClient

from contact_activity.aws.several import each
from contact_activity.aws.table import Item, Table, Value
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.trust import Trust
from contact_activity.state.codec import (
    access_from_json,
    access_to_json,
    feed_from_json,
    feed_to_json,
    report_from_json,
    report_to_json,
    shifts_from_json,
    shifts_to_json,
    trust_from_json,
    trust_to_json,
    watched_from_json,
    watched_to_json,
)
from contact_activity.state.reports import MAX_DUE, MAX_URGENT, due_now, with_room

REPORT = "report#"
_WATCHED = "watch#"
_ACCESS = "access"
# Of the due index. Those of contacts count from 0, and their number may grow.
REPORTS_SHARD = -1


class DynamoReports:
    """The `Reports` port. `threads`: how many calls run at once when many reports change."""

    def __init__(self, client: BaseClient, table_name: str, threads: int) -> None:
        self._table = Table(client, table_name)
        self._threads = threads

    def feed(self) -> CampaignFeed:
        return feed_from_json(self._table.get("feed").text("feed", feed_to_json(CampaignFeed())))

    def put_feed(self, feed: CampaignFeed) -> None:
        self._table.put("feed", "feed", feed_to_json(feed))

    def watched(self, campaign_id: str) -> WatchedCampaign | None:
        stored = self._table.get(_WATCHED + campaign_id).text_or_none("campaign")
        return None if stored is None else watched_from_json(campaign_id, stored)

    def put_watched(self, campaign: WatchedCampaign) -> None:
        # Not a put, which the worker may not do.
        stored = watched_to_json(campaign)
        self._table.update(_WATCHED + campaign.id, "SET campaign = :campaign", campaign=stored)

    def due(self, now_ms: int) -> list[CampaignReport]:
        """Costs a query, and a read of those that it finds."""
        seen = [id_ for _, id_ in islice(self._table.due(REPORTS_SHARD, now_ms), MAX_DUE)]
        return due_now(self._get_many(seen), now_ms)

    def make_due(self, now_ms: int, *, after_ms: int | None = None) -> None:
        after_ms = now_ms if after_ms is None else after_ms
        late = list(self._table.due_after(REPORTS_SHARD, after_ms))
        each(lambda id_: self._make_due(id_, now_ms), late, self._threads)

    def _make_due(self, id_: str, now_ms: int) -> bool:
        return self._table.update(REPORT + id_, "SET due_at = :now", "due_at > :now", now=now_ms)

    def get(self, id_: ReportId) -> CampaignReport | None:
        return _report(self._table.get(f"{REPORT}{id_}"))

    def save(self, report: CampaignReport) -> bool:
        is_watched = report.due_ms is not None
        values: dict[str, Value] = {
            "report": report_to_json(report),
            "due_at": report.due_ms,
            "due_shard": REPORTS_SHARD if is_watched else None,
        }
        pk, is_new = f"{REPORT}{report.id}", report.version == 0
        return self._table.save(pk, report.version, values, is_new=is_new)

    def outlines(self) -> Iterator[CampaignReport]:
        return (report for report in self._get_many(self._watched_ids()) if report.due_ms is not None)

    def _watched_ids(self) -> list[str]:
        """Of the reports in the index. Eventually consistent."""
        return [id_ for _, id_ in self._table.due(REPORTS_SHARD, None)]

    def _get_many(self, ids: Sequence[str]) -> Iterator[CampaignReport]:
        pks = [REPORT + id_ for id_ in ids]
        items = self._table.get_many(pks, is_consistent=True)
        return (report for pk in dict.fromkeys(pks) if (report := _report(items.get(pk, Item({})))))

    def trust(self) -> Trust:
        item = self._table.get("trust")
        return trust_from_json(item.text("trust", "{}"), item.whole("version"))

    def save_trust(self, trust: Trust) -> bool:
        values = {"trust": trust_to_json(trust)}
        return self._table.save("trust", trust.version, values, is_new=trust.version == 0)

    def shifts(self) -> Shifts | None:
        stored = self._table.get("shifts").text_or_none("shifts")
        return None if stored is None else shifts_from_json(stored)

    def save_shifts(self, shifts: Shifts, seen: Shifts | None) -> bool:
        change, stored = "SET shifts = :shifts", shifts_to_json(shifts)
        if seen is None:
            return self._table.update("shifts", change, "attribute_not_exists(pk)", shifts=stored)
        is_as_seen = "shifts = :seen"
        return self._table.update("shifts", change, is_as_seen, shifts=stored, seen=shifts_to_json(seen))

    def access(self) -> ReportAccess:
        return _access(self._access())

    def save_access(self, access: ReportAccess, seen: ReportAccess) -> bool:
        stored, change = self._access(), "SET report_access = :access"
        if _access(stored) != seen:
            return False
        if stored is None:
            is_new = "attribute_not_exists(pk)"
            return self._table.update(_ACCESS, change, is_new, access=access_to_json(access))
        is_as_seen = "report_access = :stored"
        return self._table.update(_ACCESS, change, is_as_seen, access=access_to_json(access), stored=stored)

    def _access(self) -> str | None:
        return self._table.get(_ACCESS).text_or_none("report_access")

    def take_urgent(self) -> tuple[str, ...]:
        taken = self._urgent()
        if taken:
            # Only what was read, so that what a worker adds meanwhile stays.
            self._table.update("urgent", "DELETE contacts :taken", taken=taken)
        return tuple(sorted(taken))

    def add_urgent(self, contact_ids: Collection[str]) -> None:
        """Costs a read and a write; a try more if others fill the rest of the room meanwhile."""
        is_done = False
        while not is_done:
            added = frozenset(with_room(contact_ids, self._urgent()))
            is_done = not added or self._add_urgent(added)

    def _add_urgent(self, contact_ids: frozenset[str]) -> bool:
        """Return False, and add none, if there is no room for all of them."""
        return self._table.update(
            "urgent",
            "ADD contacts :added",
            "attribute_not_exists(contacts) OR size(contacts) <= :others",
            added=contact_ids,
            others=MAX_URGENT - len(contact_ids),
        )

    def drop_urgent(self, contact_id: str) -> None:
        is_there = "contains(contacts, :contact)"
        dropped = frozenset([contact_id])
        self._table.update(
            "urgent", "DELETE contacts :dropped", is_there, contact=contact_id, dropped=dropped
        )

    def _urgent(self) -> frozenset[str]:
        return self._table.get("urgent").text_set("contacts")


def _access(stored: str | None) -> ReportAccess:
    return ReportAccess() if stored is None else access_from_json(stored)


def _report(item: Item) -> CampaignReport | None:
    """None for an item that is not stored, and for a report of a type that this version does not know."""
    id_ = ReportId.parse(item.text("pk").removeprefix(REPORT))
    if id_ is None:
        return None
    return report_from_json(id_, item.whole("version"), item.whole_or_none("due_at"), item.text("report"))
