"""The SQLite file across versions of this software."""

from dataclasses import replace
from pathlib import Path

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ContactOutline, ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import Summarized, SummaryKind
from contact_activity.domain.watermark import Watermark
from contact_activity.errors import StandstillError
from contact_activity.sqlite.contacts import CLAIMS_AT_ONCE, SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.reports import SqliteReports
from contact_activity.sqlite.store import sqlite_store
from tests.support.rows import HOUR_MS, NOON_MS
from tests.support.virtual_clock import VirtualClock

LATER_COLUMNS = ("summaries", "resync_ms", "last_error", "failed_ms", "reported", "resync_asked_ms")
LATER_TABLES = ("campaign", "campaign_report", "watched_campaign")
REPORT = CampaignReport(ReportId("7", ActivityType.SENT), NOON_MS, NOON_MS)


def earlier(path: Path) -> Path:
    """Return a file as an earlier version left it, with one contact."""
    database = Database(path)
    SqliteContacts(database).register([ListedContact("4711", "")], 7)
    for column in LATER_COLUMNS:
        database.execute(f"ALTER TABLE contact DROP COLUMN {column}")
    for table in LATER_TABLES:
        database.execute(f"DROP TABLE {table}")
    database.close()
    return path


def test_a_file_of_an_earlier_version_is_upgraded(tmp_path: Path) -> None:
    """Missing columns are added and data is kept, however often it is opened."""
    path = earlier(tmp_path / "state.sqlite3")
    for version in range(2):
        database = Database(path)
        contact = SqliteContacts(database).get("4711")
        assert contact is not None
        assert contact.registered_ms == 7
        assert contact.summarized(SummaryKind.CONTACT) == Summarized(SummaryKind.CONTACT)
        assert contact.watermark == Watermark()
        assert SqliteContacts(database).save(contact)
        reports = SqliteReports(database)
        assert reports.save(replace(REPORT, version=version))
        database.close()


def test_a_file_of_an_earlier_version_is_read_without_a_change(tmp_path: Path) -> None:
    """A read-only process sees all data and leaves the file unchanged."""
    path = earlier(tmp_path / "state.sqlite3")
    before = path.read_bytes()
    database = Database(path, is_read_only=True)
    assert list(SqliteContacts(database).outlines()) == [ContactOutline("4711", 7, 0, None, 0, 0)]
    contact = SqliteContacts(database).get("4711")
    assert list(SqliteReports(database).outlines()) == []
    database.close()
    assert contact is not None
    assert (contact.registered_ms, contact.summaries, contact.last_error) == (7, (), None)
    assert path.read_bytes() == before


@pytest.mark.parametrize("moves_s", [-120, 3_600])
def test_a_tick_hands_nobody_out_twice_though_its_clock_moves(moves_s: int) -> None:
    """The clock is set back, or the machine sleeps, between two parts of one claim."""
    clock, contacts = VirtualClock(NOON_MS), SqliteContacts(Database(":memory:"))
    contacts.register(
        [ListedContact(str(number), "") for number in range(2 * CLAIMS_AT_ONCE + 2)], NOON_MS - HOUR_MS
    )
    claimed: list[str] = []
    for ids in contacts.claim(clock, tick_ms=900_000, most=9 * CLAIMS_AT_ONCE):
        claimed += ids
        clock.sleep(moves_s)
    assert len(claimed) == len(set(claimed))
    assert len(claimed) >= CLAIMS_AT_ONCE


def test_known_contacts_and_those_that_are_due_are_counted() -> None:
    """For the summary of a run, and for its end."""
    contacts = SqliteContacts(Database(":memory:"))
    assert (contacts.count(), contacts.count_due(NOON_MS)) == (0, 0)
    contacts.register([ListedContact("1", ""), ListedContact("2", "")], NOON_MS)
    contacts.register([ListedContact("3", "")], NOON_MS + 1)
    assert (contacts.count(), contacts.count_due(NOON_MS)) == (3, 2)


def test_a_file_that_is_no_database_ends_a_run_and_one_in_a_missing_folder_too(tmp_path: Path) -> None:
    """One line says what to do; neither ends by itself."""
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 99)
    for path, what in ((tmp_path / "text", "is no database"), (tmp_path / "none" / "x", "cannot be opened")):
        with pytest.raises(StandstillError, match=what) as raised:
            Database(path)
        assert not raised.value.is_passing


def test_a_process_that_begins_frees_what_the_last_one_held() -> None:
    """Claims, holds, also of reports, and the lease: the folder is locked, so nobody else is alive."""
    database, clock = Database(":memory:"), VirtualClock(NOON_MS)
    store = sqlite_store(database, Limits(4, 9_000), clock)
    store.contacts.register([ListedContact("1", "")], NOON_MS)
    assert list(store.contacts.claim(clock, tick_ms=900_000, most=1)) == [["1"]]
    assert store.lease.take(now_ms=NOON_MS, until_ms=NOON_MS + 300_000)
    later = sqlite_store(database, Limits(4, 9_000), clock)
    assert not later.lease.take(now_ms=NOON_MS, until_ms=NOON_MS + 300_000)
    held = replace(REPORT, held_until_ms=NOON_MS + 300_000)
    free = replace(REPORT, id=ReportId("8", ActivityType.SENT), due_ms=None, rows=5)
    assert store.reports.save(held)
    assert store.reports.save(free)
    later.free_all()
    assert later.reports.get(held.id) == replace(held, version=2, held_until_ms=None)
    assert later.reports.get(free.id) == replace(free, version=1)
    assert list(later.contacts.claim(clock, tick_ms=900_000, most=1)) == [["1"]]
    assert store.lease.take(now_ms=NOON_MS, until_ms=NOON_MS + 300_000)
