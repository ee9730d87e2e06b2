"""What both engines share: the options of a run, what it came to, and the state folder."""

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from contact_activity.domain.pauses import Pause
from contact_activity.settings import Credentials, Settings

TICK_MS = 15 * 60_000
# In the state folder; simulated and real activity never mix.
ACCOUNT_DATABASE = "contact-activity.sqlite3"
SIMULATED_DATABASE = "simulated.sqlite3"
RECEIVES_MAX = 5
LISTING_WAITS = "the contact list has taken its share of the day's calls, and goes on at 00:00 UTC"
# In the state folder too, unless `--events` says otherwise; by engine.
EVENTS_FILES = {"embedded": "events.jsonl", "cloud": "cloud-events.jsonl"}


class RunError(Exception):
    """The run cannot go on: one line that says why and how to mend it."""


class UsageError(RunError):
    """What was asked for cannot be done, whatever happens meanwhile."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`every_ms` None: one run. With `is_copied_to_stdout` events go there as well."""

    state_dir: Path
    events: Path
    treat_all_as_due: bool = False
    every_ms: int | None = None
    is_copied_to_stdout: bool = False

    @property
    def tick_ms(self) -> int:
        return self.every_ms or TICK_MS


@dataclass(frozen=True, slots=True)
class Account:
    """Where the activity comes from."""

    settings: Settings
    credentials: Credentials
    is_simulated: bool


@dataclass(slots=True)
class Summary:
    """What a run came to. `failed` names contacts and campaigns with the cause of the last try.

    `failed_tries` counts calls that failed, by cause, also those that a later try mended. `to_check`:
    why the run gave up reaching the API, in one line; None if it did not.
    """

    contacts: int = 0
    synced: int = 0
    gone: int = 0
    newly_gone: int = 0
    unreadable_rows: int = 0
    unreadable_contacts: int = 0
    collapsed: int = 0
    full_memories: int = 0
    restarts: int = 0
    owed_summaries: int = 0
    calls_today: int = 0
    events: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    failed_tries: Counter[str] = field(default_factory=Counter)
    to_check: str | None = None
    pause: Pause | None = None

    @property
    def published(self) -> int:
        return self.events.total()


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is; `wait` says what it waits for, if anything."""

    done: int
    planned: int
    events: int
    calls: int
    left_s: float | None
    wait: str = ""


class Display(Protocol):
    """Shows how far a run is, as often as it likes."""

    def step(self, text: str) -> None: ...
    def show(self, standing: Standing) -> None: ...


Engine = Callable[[Account, RunOptions, Display], Summary]


def databases_in(state_dir: Path) -> dict[str, Path]:
    """The systems whose state is in the folder, by name. Raises `RunError` for none."""
    found = {
        name: state_dir / file
        for name, file in (("account", ACCOUNT_DATABASE), ("simulated", SIMULATED_DATABASE))
        if (state_dir / file).is_file()
    }
    if not found:
        raise RunError(f"--state {state_dir} holds no state: run `contact-activity run` first")
    return found


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state folder. Raises `RunError` if another process does."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(f"--state {state_dir} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunError(f"another run uses {state_dir}: wait for it to end, or give another --state") from None
    finally:
        os.close(file)
