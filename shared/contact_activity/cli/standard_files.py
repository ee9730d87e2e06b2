"""Standard input, output and error, so that no command ends because one of them is closed or full."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from contact_activity.cli.exit_status import EXIT_FAILED, fail

_STANDARD_ERROR = 2


def open_standard_files() -> None:
    """Open standard files that the caller closed. Make standard error drop what it cannot write.

    Otherwise the next file that is opened would get the number of a closed one, and its content.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    # A character that the terminal's encoding lacks is no reason to say nothing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_StandardError()), "utf-8", "backslashreplace", line_buffering=True
    )


def flush_stdout(status: int) -> int:
    """Flush standard output, and return the exit status: `status`, or another if the flush failed.

    If only the reader has left, `status` stays.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise Python would flush again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return fail(EXIT_FAILED, f"standard output takes no more: {error.strerror}")
    return status


def drawn_on(file: TextIO) -> bool | None:
    """Return what Rich's `force_interactive` is to be for a file: False, or None if it may find out.

    FORCE_COLOR, which CI sets, makes Rich take any file for a terminal. It asks for colours, not for a bar in
    a log.
    """
    return None if file.isatty() else False


class _StandardError(io.RawIOBase):
    """Standard error that drops what it cannot write: its reader may have left, or its disk be full."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STANDARD_ERROR

    def isatty(self) -> bool:
        return os.isatty(_STANDARD_ERROR)

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]  # of a `BufferedWriter`
        with suppress(OSError):
            return os.write(_STANDARD_ERROR, data)
        return data.nbytes
