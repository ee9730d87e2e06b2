"""Where lines of events go: a file, a pipe or device, and standard output as well.

A line of a file is on disk when its write returns, so before the state that depends on it is stored.
The worker threads share a sync: one sync serves all lines that were appended before it began.
"""

import errno
import logging
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from contact_activity.errors import StandstillError

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes lines. Every method may be called from any thread."""

    def write(self, lines: bytes, /) -> int:
        """Return the number of bytes, once none of them can be lost."""


class AppendedFile:
    """A regular file that is open for reading and appending.

    `opened_anew` is called with the file before each append. It returns None, or another file to go on
    with when the old one was moved away, such as by `logrotate`.
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
        """Append the lines, and return when they are on disk.

        Raises `StandstillError` if the file cannot be written, and at every later write: the file may
        end with a part of a line.
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
        """Append all lines. Return the number of appends so far, this one included."""
        with self._appending, self._broken_by_an_error():
            new_file = self._opened_anew(self._file)
            if new_file is not None:
                self._go_on_with(new_file)
            self._append(lines)
            self._appended += 1
            return self._appended

    def _go_on_with(self, new_file: int) -> None:
        """Replace the file. Sync the old one first, for the threads that wait for that."""
        with self._syncing:
            self._sync(self._file)
            self._synced = self._appended
            os.dup2(new_file, self._file)
            os.close(new_file)

    def _append(self, lines: bytes) -> None:
        """Append in one write, since another run may append between two writes.

        A line of which only a part was written is written again as a whole, on a line of its own. So
        is the first line if it follows a part of another run's line.
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
        """Refuse to go on after an error: the system reports lost lines to one sync only."""
        if self._is_broken:
            raise OSError(errno.EIO, "an earlier write failed")
        try:
            yield
        except OSError:
            self._is_broken = True
            raise


class Stream:
    """A pipe, a terminal or another device. It cannot be locked, cut or synced."""

    def __init__(self, file: int, name: str) -> None:
        self._file = file
        self._name = name
        self._writing = threading.Lock()

    def write(self, lines: bytes, /) -> int:
        """Return when everything is written. Raises `StandstillError` if the reader has left."""
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


class CopiedToStdout:
    """Writes to another sink, and a copy to standard output as long as that takes it.

    `error` says why standard output takes no more. It stays "" if only its reader left, as `| head`
    does.
    """

    def __init__(self, sink: Sink, stdout: int) -> None:
        self._sink = sink
        self._stdout = stdout
        self._writing = threading.Lock()
        self._is_open = True
        self.error = ""

    def write(self, lines: bytes, /) -> int:
        """Return when the other sink has the lines."""
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


class ShownSink:
    """Writes to another sink, and then shows the lines."""

    def __init__(self, sink: Sink, show: Callable[[bytes], None]) -> None:
        self._sink, self._show = sink, show

    def write(self, lines: bytes, /) -> int:
        """Return when the other sink has the lines, and they are shown."""
        self._sink.write(lines)
        self._show(lines)
        return len(lines)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:
            # Another process that has the same pipe may have made it non-blocking.
            select.select([], [file], [])
