"""A clock that was ahead and is set right: no time that it stored of reports holds up a row (v3)."""

from collections import Counter
from pathlib import Path

import pytest

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.times import DAY_MS
from contact_activity.sqlite.database import Database
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.stored import Json, SqliteStored
from tests.unit.test_asking import MINUTE_MS, Account, hidden, shown

OF_REPORTS = ("campaign_report.", "watched_campaign.", "feed", "trust", "report_access")
MAILINGS = ("m-listed", "m-auto", "m-gone", "m-hidden")
AHEAD_MS = {"days": 3 * DAY_MS, "months": 100 * DAY_MS, "a year": 400 * DAY_MS}


def lived(path: Path) -> Account:
    """Three days in which rows were published from reports, and for themselves, and asked in vain."""
    rows = [shown(mailing, NOON_MS - n * HOUR_MS) for mailing in MAILINGS for n in (1, 30)]
    rows = [
        hidden(row) if row.activity.campaign_id == "m-hidden" and n % 2 else row for n, row in enumerate(rows)
    ]
    account = Account(rows, database=Database(path))
    source = account.world.source
    source.sent = [ListedCampaign("c-listed", NOON_MS - DAY_MS, NOON_MS - DAY_MS)]
    source.resources["c-listed"] = SentCampaign("c-listed", None, {}, ("m-listed",))
    account.faults["m-gone-opens"] = Refusal.GONE
    account.hours(72)
    return account


def times_of_reports(path: Path) -> set[str]:
    found = set()

    def note(_: str, name: str, value: Json) -> Json:
        if name.startswith(OF_REPORTS) and isinstance(value, int) and value > NOON_MS - 100 * DAY_MS:
            found.add(name)
        return value

    SqliteStored(path).change(note)
    return found


def put_off(path: Path, names: set[str], by_ms: int) -> None:
    def later(_: str, name: str, value: Json) -> Json:
        return value + by_ms if name in names and isinstance(value, int) else value

    SqliteStored(path).change(later)


@pytest.mark.parametrize("ahead", AHEAD_MS)
def test_rows_are_published_though_all_times_of_reports_lie_ahead(ahead: str, tmp_path: Path) -> None:
    """As a clock leaves them that was ahead for long."""
    account = lived(tmp_path / "state.db")
    names = times_of_reports(tmp_path / "state.db")
    assert {"campaign_report.due_ms", "campaign_report.report.asked.due_ms", "feed.whole_ms"} <= names
    put_off(tmp_path / "state.db", names, AHEAD_MS[ahead])
    goes_on(account)


@pytest.mark.long
def test_rows_are_published_whichever_time_of_reports_lies_ahead(tmp_path: Path) -> None:
    lived(tmp_path / "all.db")
    for name in times_of_reports(tmp_path / "all.db"):
        path = tmp_path / f"{name}.db"
        account = lived(path)
        put_off(path, {name}, AHEAD_MS["a year"])
        goes_on(account)


def goes_on(account: Account) -> None:
    """What comes in now is published within two days, and once."""
    now_ms, before = account.world.clock.now_ms(), len(account.world.ids)
    account.rows += [shown(mailing, now_ms - MINUTE_MS) for mailing in MAILINGS]
    account.hours(48)
    assert len(account.world.ids) == before + len(MAILINGS)
    assert set(Counter(account.world.ids).values()) == {1}
