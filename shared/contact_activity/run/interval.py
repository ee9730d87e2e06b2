"""How often the run of a state folder ticks, for who looks at the folder meanwhile or later."""

from contact_activity.run.options import RunOptions
from contact_activity.sqlite.database import Database

_NAME = "tick_ms"


def note_interval(database: Database, options: RunOptions) -> None:
    """Store the interval of the ticks; nothing for a run that ends by itself."""
    database.put(_NAME, str(options.every_ms or ""))


def stored_tick_ms(database: Database) -> int | None:
    """Return the interval of the last run; None if it was to end by itself, or of an earlier version."""
    stored = database.get(_NAME) or ""
    return int(stored) if stored.isdecimal() else None
