"""Keep campaigns' reports in SQLite, one row each; what all of them share is in the `state` table."""

import json
from collections.abc import Collection, Iterator
from dataclasses import replace

from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.trust import Trust
from contact_activity.sqlite.database import Database, whole, whole_or_none
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
from contact_activity.state.reports import MAX_DUE, due_now, with_room

_SELECT = "SELECT id, version, due_ms, report FROM campaign_report"


class SqliteReports:
    """The `Reports` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def feed(self) -> CampaignFeed:
        stored = self._database.get("feed")
        return feed_from_json(stored) if stored else CampaignFeed()

    def put_feed(self, feed: CampaignFeed) -> None:
        self._database.put("feed", feed_to_json(feed))

    def watched(self, campaign_id: str) -> WatchedCampaign | None:
        rows = self._database.rows("SELECT campaign FROM watched_campaign WHERE id = ?", (campaign_id,))
        return watched_from_json(campaign_id, str(rows[0][0])) if rows else None

    def put_watched(self, campaign: WatchedCampaign) -> None:
        stored = (campaign.id, watched_to_json(campaign))
        self._database.execute("INSERT OR REPLACE INTO watched_campaign VALUES (?, ?)", stored)

    def due(self, now_ms: int) -> list[CampaignReport]:
        found = self._read("WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", now_ms, MAX_DUE)
        return due_now(found, now_ms)

    def make_due(self, now_ms: int, *, after_ms: int | None = None) -> None:
        after_ms = now_ms if after_ms is None else after_ms
        self._database.execute("UPDATE campaign_report SET due_ms = ? WHERE due_ms > ?", (now_ms, after_ms))

    def get(self, id_: ReportId) -> CampaignReport | None:
        return next(self._read("WHERE id = ?", str(id_)), None)

    def save(self, report: CampaignReport) -> bool:
        id_, stored = str(report.id), report_to_json(report)
        if report.version == 0:
            sql = "INSERT OR IGNORE INTO campaign_report VALUES (?, 1, ?, ?)"
            return bool(self._database.execute(sql, (id_, report.due_ms, stored)))
        changed = self._database.execute(
            "UPDATE campaign_report SET version = version + 1, due_ms = ?, report = ?"
            " WHERE id = ? AND version = ?",
            (report.due_ms, stored, id_, report.version),
        )
        return bool(changed)

    def outlines(self) -> Iterator[CampaignReport]:
        return self._read("WHERE due_ms IS NOT NULL")

    def release_all(self) -> None:
        """Release every report. Only for a process that has locked the folder and has an empty queue."""
        for report in self._read("WHERE report LIKE '%held_until_ms%'"):
            self.save(replace(report, held_until_ms=None))

    def _read(self, which: str, *parameters: object) -> Iterator[CampaignReport]:
        """Leaves out a report of a type that this version does not know."""
        for text, version, due_ms, report in self._database.rows(f"{_SELECT} {which}", parameters):
            id_ = ReportId.parse(str(text))
            if id_:
                yield report_from_json(id_, whole(version), whole_or_none(due_ms), str(report))

    def trust(self) -> Trust:
        return _trust(self._database.get("trust"))

    def save_trust(self, trust: Trust) -> bool:
        seen = self._database.get("trust")
        if _trust(seen).version != trust.version:
            return False
        stored = {"version": trust.version + 1, **json.loads(trust_to_json(trust))}
        return self._database.swap("trust", seen, json.dumps(stored))

    def shifts(self) -> Shifts | None:
        stored = self._database.get("shifts")
        return shifts_from_json(stored) if stored else None

    def save_shifts(self, shifts: Shifts, seen: Shifts | None) -> bool:
        stored = None if seen is None else shifts_to_json(seen)
        return self._database.swap("shifts", stored, shifts_to_json(shifts))

    def access(self) -> ReportAccess:
        return _access(self._database.get("access"))

    def save_access(self, access: ReportAccess, seen: ReportAccess) -> bool:
        stored = self._database.get("access")
        return _access(stored) == seen and self._database.swap("access", stored, access_to_json(access))

    def take_urgent(self) -> tuple[str, ...]:
        is_taken, taken = False, None
        while not is_taken:
            taken = self._database.get("urgent")
            is_taken = taken is None or self._database.swap("urgent", taken, "[]")
        return _urgent(taken)

    def add_urgent(self, contact_ids: Collection[str]) -> None:
        is_stored = False
        while not is_stored:
            stored = self._database.get("urgent")
            known = _urgent(stored)
            urgent = json.dumps([*known, *with_room(contact_ids, known)])
            is_stored = self._database.swap("urgent", stored, urgent)

    def drop_urgent(self, contact_id: str) -> None:
        is_stored = False
        while not is_stored:
            stored = self._database.get("urgent")
            known = _urgent(stored)
            left = json.dumps([id_ for id_ in known if id_ != contact_id])
            is_stored = contact_id not in known or self._database.swap("urgent", stored, left)


def _trust(stored: str | None) -> Trust:
    types = json.loads(stored or '{"version": 0}')
    version = types.pop("version")
    return trust_from_json(json.dumps(types), version)


def _access(stored: str | None) -> ReportAccess:
    return access_from_json(stored) if stored else ReportAccess()


def _urgent(stored: str | None) -> tuple[str, ...]:
    return tuple(json.loads(stored or "[]"))
