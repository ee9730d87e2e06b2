"""The SQLite file across versions of this software."""

from pathlib import Path

from contact_activity.domain.contact import ContactOutline, ListedContact
from contact_activity.domain.summary import Summarized, SummaryKind
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database

LATER_COLUMNS = ("summaries", "resync_ms", "last_error", "failed_ms")


def earlier(path: Path) -> Path:
    """Return a file as an earlier version left it, with one contact."""
    database = Database(path)
    SqliteContacts(database).register([ListedContact("4711", "")], 7)
    for column in LATER_COLUMNS:
        database.execute(f"ALTER TABLE contact DROP COLUMN {column}")
    database.execute("DROP TABLE campaign")
    database.close()
    return path


def test_a_file_of_an_earlier_version_is_upgraded(tmp_path: Path) -> None:
    """Missing columns are added and data is kept, however often it is opened."""
    path = earlier(tmp_path / "state.sqlite3")
    for _ in range(2):
        database = Database(path)
        contact = SqliteContacts(database).get("4711")
        assert contact is not None
        assert contact.registered_ms == 7
        assert contact.summarized(SummaryKind.CONTACT) == Summarized(SummaryKind.CONTACT)
        assert SqliteContacts(database).save(contact)
        database.close()


def test_a_file_of_an_earlier_version_is_read_without_a_change(tmp_path: Path) -> None:
    """A read-only process sees all data and leaves the file unchanged."""
    path = earlier(tmp_path / "state.sqlite3")
    before = path.read_bytes()
    database = Database(path, is_read_only=True)
    assert list(SqliteContacts(database).outlines()) == [ContactOutline("4711", 7, 0, None, 0, 0)]
    contact = SqliteContacts(database).get("4711")
    database.close()
    assert contact is not None
    assert (contact.registered_ms, contact.summaries, contact.last_error) == (7, (), None)
    assert path.read_bytes() == before
