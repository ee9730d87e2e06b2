"""The state folder of a run: the names of its files, and its lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from contact_activity.run.errors import RunError
from contact_activity.run.program import program
from contact_activity.settings import Version

# Two files, so that simulated and real activity never mix.
ACCOUNT_DATABASE = "contact-activity.sqlite3"
SIMULATED_DATABASE = "simulated.sqlite3"
# The same simulated account has other ids in v3.
SIMULATED_V3_DATABASE = "simulated-v3.sqlite3"
# Names of systems.
ACCOUNT, SIMULATED, SIMULATED_V3 = "account", "simulated", "simulated v3"
SIMULATED_ACCOUNT = "simulated.json"
# The default events file of each engine.
EVENTS_FILES = {"embedded": "events.jsonl", "cloud": "cloud-events.jsonl"}
_LOCK_FILE = "lock"
# Whoever looks whether it is taken holds it for less.
LOOK_S = 0.1


def database_name(*, is_simulated: bool, version: Version = Version.V2) -> str:
    if not is_simulated:
        return ACCOUNT_DATABASE
    return SIMULATED_V3_DATABASE if version is Version.V3 else SIMULATED_DATABASE


def databases_in(state_dir: Path) -> dict[str, Path]:
    """Return the databases in the folder by the name of their system. Raises `RunError` if it has none."""
    found = {
        name: state_dir / file
        for name, file in (
            (ACCOUNT, ACCOUNT_DATABASE),
            (SIMULATED, SIMULATED_DATABASE),
            (SIMULATED_V3, SIMULATED_V3_DATABASE),
        )
        if (state_dir / file).is_file()
    }
    if not found:
        raise RunError(
            f"--state {state_dir} holds no state: run `{program()} run --state {quote(str(state_dir))}` first"
        )
    return found


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Lock the state folder, creating it if needed. Raises `RunError` if another process has the lock."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(state_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(
            f"--state {state_dir} cannot be used ({error.strerror}): give a folder that you can write to"
        ) from None
    try:
        _take_lock(file)
        yield
    except BlockingIOError:
        raise RunError(
            f"another run uses {state_dir}, and goes on by itself: wait for it to end, or stop it first"
        ) from None
    finally:
        os.close(file)


def _take_lock(file: int) -> None:
    """Raises `BlockingIOError` if another process has it for longer than `is_locked` takes."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(LOOK_S)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(state_dir: Path) -> bool:
    """Whether a run, or another command that holds the lock, uses the folder now."""
    try:
        file = os.open(state_dir / _LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that two that look do not see each other.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
