"""Opens what `--events` names: a file that several runs may append to, or a pipe or device."""

import errno
import fcntl
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.sinks import AppendedFile, CopiedToStdout, Sink, Stream
from contact_activity.state.files import is_at, sync_folder

# Another run holds the lock only while it checks the file. `forget` may hold it for longer.
MAX_LOCK_WAIT_S = 5.0
MAX_READER_WAIT_S = 30.0
POLL_S = 0.05
_BLOCK_BYTES = 65_536
# A cut line begins like an event, or with the zeros that a power cut may leave in its place.
_CUT_LINE_BEGINS = (b"{", b"\0")

_log = logging.getLogger(__name__)


@contextmanager
def opened_events(
    path: Path, *, is_copied_to_stdout: bool = False, max_reader_wait_s: float = MAX_READER_WAIT_S
) -> Iterator[Sink]:
    """Give the sink for the lines of events, and close it at the end.

    Several runs may append to one file, but not while `forget` rewrites it. A named pipe is opened
    once it has a reader, which may take `max_reader_wait_s`. Raises `RunError`, also at the end if
    standard output could not be written.
    """
    try:
        file = _opened(path, max_reader_wait_s)
    except OSError as error:
        raise RunError(f"--events {path} cannot be written: {error.strerror}") from None
    try:
        _append_standard_output_to(file)
        sink = _sink_of(file, path)
        if not is_copied_to_stdout:
            yield sink
            return
        copied = CopiedToStdout(sink, sys.stdout.fileno())
        yield copied
        if copied.error:
            raise RunError(f"standard output took no more ({copied.error}): all events are in {path}")
    finally:
        os.close(file)


def _sink_of(file: int, path: Path) -> Sink:
    def opened_anew(current: int) -> int | None:
        return None if is_at(current, path) else _opened_file(path)

    if stat.S_ISREG(os.fstat(file).st_mode):
        return AppendedFile(file, str(path), opened_anew=opened_anew)
    return Stream(file, str(path))


def _append_standard_output_to(file: int) -> None:
    """Set standard output and error to append if they are the same file.

    Otherwise their text would overwrite events.
    """
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), os.fstat(file)):
                fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)


def _opened(path: Path, max_reader_wait_s: float) -> int:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _opened_file(path)
    if stat.S_ISDIR(mode):
        raise UsageError(f"--events {path} is a folder: give a file")
    if stat.S_ISREG(mode):
        return _opened_file(path)
    if stat.S_ISFIFO(mode):
        return _opened_pipe(path, max_reader_wait_s)
    return os.open(path, os.O_WRONLY | os.O_NOCTTY)


def _opened_pipe(path: Path, max_reader_wait_s: float) -> int:
    """Open a named pipe. Warn and wait if it has no reader yet, since it cannot be opened before."""
    until_s = time.monotonic() + max_reader_wait_s
    is_warned = False
    while True:
        try:
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        else:
            os.set_blocking(file, True)
            return file
        if time.monotonic() > until_s:
            raise RunError(f"nobody reads the pipe --events {path}: start its reader, or give a file")
        if not is_warned:
            _log.warning("waiting for a reader of the pipe %s", path)
            is_warned = True
        time.sleep(POLL_S)


def _opened_file(path: Path) -> int:
    """Open a file for reading and appending. It stays locked as shared until it is closed."""
    _make_folder(path.parent)
    until_s = time.monotonic() + MAX_LOCK_WAIT_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if _lock_and_repair(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if time.monotonic() > until_s:
            raise RunError(f"`forget` erases lines of {path}: wait for it to end, then run again")
        time.sleep(POLL_S)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _lock_and_repair(file: int, path: Path) -> bool:
    """Lock the file, and repair its end. Return False if another process has locked or replaced it.

    A cut last line is dropped only if no other run has the file open: it may be writing that line.
    """
    if _lock(file, fcntl.LOCK_EX) and is_at(file, path):
        _cut_last_line(file)
    if not (_lock(file, fcntl.LOCK_SH) and is_at(file, path)):
        return False
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
    if not size:
        sync_folder(path.resolve().parent)
    return True


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cut_last_line(file: int) -> None:
    """Drop a last line that a kill cut. Text that is no line of this program stays."""
    size = end = os.fstat(file).st_size
    newline = -1
    while newline < 0 < end:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        end = start + newline + 1
    if end < size and os.pread(file, 1, end) in _CUT_LINE_BEGINS:
        os.ftruncate(file, end)
