"""Where events are written: a file that other runs may append to as well, or a pipe or device.

A line is on disk when its write returns, before the state that depends on it is stored. The worker
threads share a sync: one serves all lines that were appended before it began.
"""

import errno
import fcntl
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contact_activity.errors import StandstillError
from contact_activity.run.file_bus import Sink
from contact_activity.run.options import RunError, UsageError

# For another run's first look at the file; erasing lines takes longer and is waited for by hand.
LOCK_WAIT_S = 5.0
READER_WAIT_S = 30.0
LOOK_S = 0.05
_BLOCK_BYTES = 65_536
# A line of ours, and what a power cut may leave in place of one.
_CUT_LINE_BEGINS = (b"{", b"\0")

_log = logging.getLogger(__name__)


@contextmanager
def opened_events(
    path: Path, *, is_copied_to_stdout: bool = False, reader_wait_s: float = READER_WAIT_S
) -> Iterator[Sink]:
    """What takes events as lines. Raises `RunError`, also at the end if standard output took no more.

    Runs may share a file; none may have it open while it is written anew. `reader_wait_s`: for whoever
    is to read a named pipe.
    """
    try:
        file = _opened(path, reader_wait_s)
    except OSError as error:
        raise RunError(f"--events {path} cannot be written: {error.strerror}") from None
    try:
        _have_it_appended_to(file)
        sink = _sink_of(file, path)
        if not is_copied_to_stdout:
            yield sink
            return
        copied = Copied(sink, sys.stdout.fileno())
        yield copied
        if copied.error:
            raise RunError(f"standard output took no more ({copied.error}): all events are in {path}")
    finally:
        os.close(file)


def _sink_of(file: int, path: Path) -> Sink:
    def opened_anew(current: int) -> int | None:
        return None if is_at(current, path) else _opened_file(path)

    if _is_regular(file):
        return AppendedFile(file, str(path), opened_anew=opened_anew)
    return Stream(file, str(path))


class AppendedFile:
    """A regular file, opened for reading and appending.

    `opened_anew` is given the file before each append, and gives another to go on with when that has
    been moved away, such as by `logrotate`; None: go on.
    """

    def __init__(
        self,
        file: int,
        name: str,
        sync: Callable[[int], None] = os.fdatasync,
        opened_anew: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self._file = file
        self._name = name
        self._sync = sync
        self._opened_anew = opened_anew
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._is_broken = False
        self._appended = self._synced = 0

    def write(self, lines: bytes, /) -> int:
        """Return when the lines are on disk.

        Raises `StandstillError` when the file takes no more, and from then on: a line may be cut.
        """
        try:
            self._sync_up_to(self._append_whole(lines))
        except OSError as error:
            raise StandstillError(
                f"the events file {self._name} takes no more ({error.strerror}): "
                "nothing is lost, make room and run again to go on",
                is_passing=False,
            ) from error
        return len(lines)

    def _append_whole(self, lines: bytes) -> int:
        """Returns how many appends there were, this one included."""
        with self._appending, self._broken_by_an_error():
            anew = self._opened_anew(self._file)
            if anew is not None:
                self._go_on_with(anew)
            self._append(lines)
            self._appended += 1
            return self._appended

    def _go_on_with(self, anew: int) -> None:
        """What waits for a sync of the old one gets it first."""
        with self._syncing:
            self._sync(self._file)
            self._synced = self._appended
            os.dup2(anew, self._file)
            os.close(anew)

    def _append(self, lines: bytes) -> None:
        """One write, since the lines of another run may come between two.

        A line that was cut, or that follows another run's cut line, is written again on its own.
        """
        written = os.write(self._file, lines)
        end = lines.rfind(b"\n", 0, written) + 1
        left = lines[end:]
        if end and not lines.startswith(b"\n") and self._follows_a_cut_line(written):
            left = lines[: lines.index(b"\n") + 1] + left
        if left:
            self._append(b"\n" + left if end < written else left)

    def _follows_a_cut_line(self, written: int) -> bool:
        start = os.lseek(self._file, 0, os.SEEK_CUR) - written
        return start > 0 and os.pread(self._file, 1, start - 1) != b"\n"

    def _sync_up_to(self, append: int) -> None:
        with self._syncing:
            if self._synced < append:
                with self._broken_by_an_error():
                    appended = self._appended
                    self._sync(self._file)
                    self._synced = appended

    @contextmanager
    def _broken_by_an_error(self) -> Iterator[None]:
        """Nothing is tried after an error: a disk tells only one sync of the lines that it lost."""
        if self._is_broken:
            raise OSError(errno.EIO, "an earlier write failed")
        try:
            yield
        except OSError:
            self._is_broken = True
            raise


class Stream:
    """A pipe, a terminal or another device: nothing of it can be locked, cut or synced."""

    def __init__(self, file: int, name: str) -> None:
        self._file = file
        self._name = name
        self._writing = threading.Lock()

    def write(self, lines: bytes, /) -> int:
        """Return when all is handed over. Raises `StandstillError` when the reader has left."""
        try:
            with self._writing:
                _write_all(self._file, lines)
        except OSError as error:
            raise StandstillError(
                f"--events {self._name} takes no more ({error.strerror}): "
                "what it did not take is published by the next run",
                is_passing=False,
            ) from error
        return len(lines)


class Copied:
    """A sink whose lines standard output gets too, for as long as it takes them.

    `error` says why it takes no more, unless its reader has left: that is how `| head` ends.
    """

    def __init__(self, sink: Sink, stdout: int) -> None:
        self._sink = sink
        self._stdout = stdout
        self._writing = threading.Lock()
        self._is_open = True
        self.error = ""

    def write(self, lines: bytes, /) -> int:
        """Return when the sink has the lines."""
        self._sink.write(lines)
        with self._writing:
            if self._is_open:
                self._copy(lines)
        return len(lines)

    def _copy(self, lines: bytes) -> None:
        try:
            _write_all(self._stdout, lines)
        except OSError as error:
            self._is_open = False
            if not isinstance(error, BrokenPipeError):
                self.error = error.strerror or str(error)
                _log.warning("standard output takes no more (%s): the run goes on", self.error)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:
            # Whoever shares the pipe may have set it so.
            select.select([], [file], [])


def _opened(path: Path, reader_wait_s: float) -> int:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _opened_file(path)
    if stat.S_ISDIR(mode):
        raise UsageError(f"--events {path} is a folder: give a file")
    if stat.S_ISREG(mode):
        return _opened_file(path)
    if stat.S_ISFIFO(mode):
        return _opened_pipe(path, reader_wait_s)
    return os.open(path, os.O_WRONLY | os.O_NOCTTY)


def _is_regular(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)


def _have_it_appended_to(file: int) -> None:
    """Where standard output or error is the same file, what is said would else lie over events."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), os.fstat(file)):
                fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)


def _opened_pipe(path: Path, reader_wait_s: float) -> int:
    """Without a reader there is no opening it: that is said, and waited for a while."""
    until_s = time.monotonic() + reader_wait_s
    is_said = False
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
        if not is_said:
            _log.warning("waiting for a reader of the pipe %s", path)
            is_said = True
        time.sleep(LOOK_S)


def _opened_file(path: Path) -> int:
    """Open for reading and appending, under a shared lock until it is closed."""
    _make_folder(path.parent)
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if _is_ready(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if time.monotonic() > until_s:
            raise RunError(f"lines of {path} are being erased: wait for that to end")
        time.sleep(LOOK_S)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _is_ready(file: int, path: Path) -> bool:
    """Whether the file is locked, whole, and still the one of that name.

    Only who has it alone cuts: another run's last line may be one that it is writing.
    """
    if _is_locked(file, fcntl.LOCK_EX) and is_at(file, path):
        _cut_last_line(file)
    if not (_is_locked(file, fcntl.LOCK_SH) and is_at(file, path)):
        return False
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
    if not size:
        sync_folder(path.resolve().parent)
    return True


def _is_locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name: it may have been written anew."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _cut_last_line(file: int) -> None:
    """Drop a last line that a kill cut. What is no line of ours is left alone."""
    size = end = os.fstat(file).st_size
    newline = -1
    while newline < 0 < end:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        end = start + newline + 1
    if end < size and os.pread(file, 1, end) in _CUT_LINE_BEGINS:
        os.ftruncate(file, end)


def sync_folder(folder: Path) -> None:
    """Have the names in it on disk, where the file system knows how."""
    file = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(file)
    finally:
        os.close(file)
