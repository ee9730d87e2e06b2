"""A system that the commands work on, and the systems in a state folder."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.domain.pace import Limits
from contact_activity.ports import DeadLetters, Store
from contact_activity.run.state_folder import databases_in
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store

# The commands make no call to the API.
NO_CALLS = Limits(calls_per_second=1, calls_per_day=0)


@dataclass(frozen=True, slots=True)
class System:
    """The state of one account. `dead_letters` is None in a state folder: a run keeps its queue in memory."""

    name: str
    store: Store
    dead_letters: DeadLetters | None = None


@contextmanager
def folder_systems(
    state_dir: Path, *, is_read_only: bool, limits: Limits = NO_CALLS
) -> Iterator[list[System]]:
    """Open the systems in a folder, which a run may use. Raises `RunError` if there are none."""
    with ExitStack() as opened:
        databases = {
            name: opened.enter_context(closing(Database(path, is_read_only=is_read_only)))
            for name, path in databases_in(state_dir).items()
        }
        yield [
            System(name, sqlite_store(database, limits, SystemClock()))
            for name, database in databases.items()
        ]
