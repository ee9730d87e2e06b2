"""Runs `contact-activity` without the quarter of a second of CPU in which Python starts and imports it.

A process that has imported it forks for each command. The fork has the environment, the folder and the files
that a process from a shell would have, and ends as that does. A test of how a process starts, or that signals
it while it works, starts `COMMAND`.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

COMMAND = Path(sys.executable).with_name("contact-activity")
# Each command that takes --stack, with what it needs beside it.
STACK_COMMANDS: dict[str, list[str]] = {
    "status": [],
    "explain": ["4711"],
    "check": [],
    "login": ["--client-id", "an-id"],
    "logout": [],
    "pause": [],
    "resume": [],
    "forget": ["4711", "--yes"],
    "resync": ["4711", "--since", "2026-01-31"],
    "dead-letters": [],
    "tail": [],
}
SHARED = Path(__file__).parents[2] / "shared"
_MOST_BYTES = 1 << 16


def run_command(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Return how the command ended and what it said. `TimeoutExpired` if it did not end, which kills it.

    Without an environment it has that of the tests, without a folder theirs.
    """
    forker = _idle.pop() if _idle else _Forker()
    called = [str(COMMAND), *arguments]
    with TemporaryFile() as out, TemporaryFile() as err:
        call = [called, dict(os.environ if environment is None else environment), str(folder or Path.cwd())]
        status = forker.run(json.dumps(call), [out, err], within_s)
        if status is None:
            raise subprocess.TimeoutExpired(called, within_s, _text(out), _text(err))
        _idle.append(forker)
        return subprocess.CompletedProcess(called, status, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class _Forker:
    """A process that runs one command at a time."""

    def __init__(self) -> None:
        self._calls, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SHARED)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A group that is killed whole, and that no Ctrl+C reaches.
                start_new_session=True,
            )

    def run(self, call: str, files: list[IO[bytes]], within_s: float) -> int | None:
        """Return the status of the command, or `None` if it did not end."""
        self._calls.settimeout(within_s)
        socket.send_fds(self._calls, [call.encode() + b"\n"], [file.fileno() for file in files])
        try:
            status = self._calls.recv(_MOST_BYTES)
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.close()
            return None
        assert status, "the forker has ended"
        return int(status)

    def close(self) -> None:
        self._calls.close()
        self._process.wait()


_idle: list[_Forker] = []


@atexit.register
def _close() -> None:
    while _idle:
        _idle.pop().close()


def _become_a_command(calls: socket.socket) -> None:
    """Fork for each call, and return in the fork."""
    while True:
        call, files, _, _ = socket.recv_fds(calls, _MOST_BYTES, 2)
        if not call:
            sys.exit()
        while not call.endswith(b"\n"):
            call += calls.recv(_MOST_BYTES)
        child = os.fork()
        if not child:
            break
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        # The caller may have given up.
        with suppress(BrokenPipeError):
            calls.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    calls.close()
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    arguments, environment, folder = json.loads(call)
    sys.argv[:] = arguments
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)


if __name__ == "__main__":
    from contact_activity.cli.main import main

    # What is there by now is in use for good, so that no fork looks at it, and copies it, to collect it.
    gc.freeze()
    _become_a_command(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(main())
