"""The embedded engine's file, across versions of this software."""

from pathlib import Path

from contact_activity.adapters.embedded import Database, SqliteContacts
from contact_activity.ports import ListedContact
from contact_activity.summary import Summarized, SummaryKind


def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """What it lacks is added, what it holds is kept, however often it is opened."""
    path = tmp_path / "state.sqlite3"
    database = Database(path)
    SqliteContacts(database).register([ListedContact("4711", "")], 7)
    database.execute("ALTER TABLE contact DROP COLUMN summaries")
    database.execute("DROP TABLE campaign")
    database.close()
    for _ in range(2):
        database = Database(path)
        contact = SqliteContacts(database).get("4711")
        assert contact is not None
        assert contact.registered_ms == 7
        assert contact.summarized(SummaryKind.CONTACT) == Summarized(SummaryKind.CONTACT)
        assert SqliteContacts(database).save(contact)
        database.close()
