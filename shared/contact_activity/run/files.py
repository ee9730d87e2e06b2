"""Small helpers for files that must survive a crash."""

import os
from contextlib import suppress
from pathlib import Path


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at this path. It may have been moved or replaced."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Write the file names of a folder to disk, if the file system can do that."""
    file = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(file)
    finally:
        os.close(file)
