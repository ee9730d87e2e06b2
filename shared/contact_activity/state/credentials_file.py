"""The tokens of the v3 API in the state folder: a file that only its owner can read.

It is written beside, synced and renamed, so that it is old or new, never half. Another file is the lock.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from contact_activity.domain.tokens import StoredTokens
from contact_activity.errors import StandstillError
from contact_activity.state.files import sync_folder, write_private
from contact_activity.state.tokens import tokens_from_json, tokens_to_json

FILE, LOCK_FILE = "credentials.json", "credentials.lock"
_POLL_S = 0.02
_Stamp = tuple[int, int, int]


class CredentialsFile:
    """The `TokenStore` port on a folder. Raises `StandstillError` when its file cannot be used."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir
        self._path = state_dir / FILE
        self._known: tuple[_Stamp, StoredTokens] | None = None

    def read(self) -> StoredTokens:
        """Return what is stored. The file is read only if it is another one than before."""
        try:
            stamp = _stamp(self._path)
            known = self._known
            if known and known[0] == stamp:
                return known[1]
            tokens = tokens_from_json(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return StoredTokens()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise self._unusable("holds no tokens of ours", is_passing=False) from None
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})", is_passing=True) from None
        self._known = (stamp, tokens)
        return tokens

    @contextmanager
    def exclusive(self, *, within_s: float) -> Iterator[bool]:
        until_s = time.monotonic() + within_s
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(f"cannot be locked ({error.strerror})", is_passing=True) from None
        try:
            while not (is_locked := _lock(lock)) and time.monotonic() < until_s:
                time.sleep(_POLL_S)
            # Whoever may refresh reads the file itself, however alike it looks.
            self._known = None
            yield is_locked
        finally:
            os.close(lock)

    def save(self, tokens: StoredTokens) -> None:
        try:
            write_private(self._path, json.dumps(tokens_to_json(tokens)).encode())
        except OSError as error:
            raise self._unusable(f"cannot be written ({error.strerror})", is_passing=True) from None

    def remove(self) -> None:
        """Remove what is stored, but not the digests of what was taken. The caller has the lock."""
        left = self.read().logged_out()
        if left.taken:
            self.save(left)
        else:
            self._path.unlink(missing_ok=True)
            sync_folder(self._folder)

    def _unusable(self, fault: str, *, is_passing: bool) -> StandstillError:
        login = f"`contact-activity login --state {quote(str(self._folder))}`"
        remedy = "" if is_passing else f": delete it and run {login}"
        return StandstillError(f"{self._path} {fault}{remedy}", is_passing=is_passing)


def holds_login(state_dir: Path) -> bool:
    """Whether the folder holds tokens. Raises `StandstillError` if its file cannot be used."""
    return not CredentialsFile(state_dir).read().is_empty


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
