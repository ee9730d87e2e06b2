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


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner can read: it is old or new, never half. Raises `OSError`.

    One process at a time may do this.
    """
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write the file names of a folder to disk, if the file system can do that."""
    file = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(file)
    finally:
        os.close(file)
