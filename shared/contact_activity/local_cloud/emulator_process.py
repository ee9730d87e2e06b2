"""The process of the emulator: serves AWS on a socket of the parent process, and ends with the parent.

Runs in a virtual environment of its own, so it imports nothing from this package:
`python emulator_process.py SOCKET_FD CLOSED_CLEANLY_FILE`, with a pipe from the parent as standard input.
On SIGTERM it saves the state. It creates the file if every service was saved.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path


class _ErrorCount(logging.Handler):
    """Counts log records of errors: the emulator only logs that it could not save a service."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.count += 1


def _end_with_parent() -> None:
    """Kill this process group when standard input ends, which it does even if the parent is killed."""
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
    # Functions may still run. Nobody waits for them, since their messages are in the saved queue.
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_run(int(sys.argv[1]), Path(sys.argv[2])))
