"""How a tick shares the day's calls between campaigns' reports and contacts.

Reports tell up to 500 rows a call, so what is due of them comes first. A tenth goes to contacts all the
same, and what is left of the day goes evenly to both where it is not enough for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport
from contact_activity.domain.times import DAY_MS, HOUR_MS, midnight_after

YOUNG_MS = 2 * HOUR_MS
REPORTS_PERCENT = 90
YOUNG_PERCENT = 50
# Kept for reports until midnight: more than they took of late.
LEAST_RESERVE_PERCENT = 3
RESERVE_PERCENT_OF_USED = 150
PAGE_ROWS = 500
# A read that is planned as one page may take so many.
USUAL_PAGES = 20
# What a page takes that is published and remembered, at its worst.
PAGE_MS = 4_000
# About how many of its contacts do what is reported, in percent.
_SHARES = {ActivityType.SENT: 100, ActivityType.OPENED: 50}
_OTHER_SHARE = 5


@dataclass(frozen=True, slots=True)
class PlannedReports:
    """What a tick hands out. `pages`: the most that each may read; `calls`: about how many all take.

    `work_ms`: about how long that is.
    """

    reports: tuple[CampaignReport, ...] = ()
    pages: tuple[int, ...] = ()
    calls: int = 0
    work_ms: int = 0


def plan_reports(
    due: Sequence[CampaignReport],
    *,
    contacts: int,
    trusted_ms: dict[ActivityType, int],
    calls_left: int,
    now_ms: int,
    tick_ms: int,
    slot_ms: int,
) -> PlannedReports:
    """Choose reports, those of the newest sends first, then who waits longest.

    `trusted_ms`: since when each type is trusted; of one that is not, a page is read. Young campaigns may
    take half of what the day has left, all together nine tenths of this tick's even part of it. A long read
    goes on from tick to tick, so of those that are no longer young the one that waits longest is always
    read, by what the others leave.
    """
    if calls_left == 0:
        return PlannedReports()
    even = calls_left * REPORTS_PERCENT * tick_ms // (100 * max(tick_ms, midnight_after(now_ms) - now_ms))
    most_young = max(even, calls_left * YOUNG_PERCENT // 100)
    young = [report for report in due if _is_young(report, now_ms)]
    others = sorted((of for of in due if not _is_young(of, now_ms)), key=lambda report: report.due_ms or 0)
    longest = others.pop(0) if others else None
    chosen: list[CampaignReport] = []
    granted: list[int] = []
    calls = pages = 0
    for report in (*young, *others, *([longest] if longest else [])):
        is_young = _is_young(report, now_ms)
        room = (most_young if is_young else even) - calls
        type_ = report.id.type
        is_long = type_ in trusted_ms and report.is_long(trusted_ms[type_])
        cost = 1 + _pages(report.id.type, contacts) if is_long else 1
        if report is longest:
            cost = max(1, min(cost, room))
        elif cost > room and (chosen or not is_young):
            continue
        chosen.append(report)
        granted.append(max(cost, USUAL_PAGES))
        calls += cost
        pages += cost if is_long else 0
    calls = min(calls, calls_left)
    return PlannedReports(tuple(chosen), tuple(granted), calls, calls * slot_ms + pages * (PAGE_MS - slot_ms))


def contacts_most(
    *, contacts: int, calls_left: int, planned: int, report_calls_a_day: int, now_ms: int, tick_ms: int
) -> int | None:
    """How many calls contacts may take in this tick; None: as many as there are.

    There is no bound while the day has enough for all contacts and for what reports will take.
    """
    rest_ms = midnight_after(now_ms) - now_ms
    kept = max(
        calls_left * LEAST_RESERVE_PERCENT // 100,
        report_calls_a_day * RESERVE_PERCENT_OF_USED * rest_ms // (100 * DAY_MS),
    )
    if rest_ms <= tick_ms:
        # No later tick of this day reads reports.
        kept = 0
    free = max(0, calls_left - planned - kept)
    if contacts <= free:
        return None
    even = free * tick_ms // max(tick_ms, rest_ms)
    return max(even, planned * (100 - REPORTS_PERCENT) // REPORTS_PERCENT, 1)


def _is_young(report: CampaignReport, now_ms: int) -> bool:
    return now_ms - report.sent_ms < YOUNG_MS


def _pages(type_: ActivityType, contacts: int) -> int:
    return contacts * _SHARES.get(type_, _OTHER_SHARE) // (100 * PAGE_ROWS)
