"""Serves the AWS emulator on a socket given by the parent process, and ends with it.

Runs in the emulator's own virtual environment, so it imports nothing of this package:
`python emulator_main.py SOCKET_FD CLOSED_CLEANLY_FILE`, with standard input a pipe from the parent.
SIGTERM saves the state and writes the file, but only if every service was saved.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path


class _ErrorCount(logging.Handler):
    """The emulator logs that a service could not be saved, and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.count += 1


def _end_with_parent() -> None:
    """Nobody writes to standard input: it ends when the parent does, even by SIGKILL."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


async def _serve(listening_fd: int) -> None:
    from hypercorn.asyncio import serve  # type: ignore[import-not-found]
    from hypercorn.config import Config  # type: ignore[import-not-found]
    from ministack.app import app  # type: ignore[import-not-found]

    config = Config()
    config.bind = [f"fd://{listening_fd}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    await serve(app, config)


async def _run(listening_fd: int, closed_cleanly: Path) -> None:
    errors = _ErrorCount()
    logging.getLogger("persistence").addHandler(errors)
    await _serve(listening_fd)
    if not errors.count:
        closed_cleanly.touch()
    # Not waiting for functions that still run: their messages are in the saved queue.
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_run(int(sys.argv[1]), Path(sys.argv[2])))
