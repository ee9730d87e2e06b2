"""Runs programs and says what they cost; prints what came of it."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
API_KEY, ACCESS_TOKEN = "bench-key", "bench-token"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took from its start to its end; the peak is at least that of this process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run(command: Sequence[str], environment: Mapping[str, str], output: Path = Path(os.devnull)) -> Cost:
    """Run a program to its end; its standard output goes to a file. Raises if it fails."""
    started_s = time.monotonic()
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**_base(), **environment}, stdout=sink, stderr=subprocess.PIPE
        )
        assert process.stderr
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return Cost(time.monotonic() - started_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1_024)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


class Api:
    """An API, served by another process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.base_url = self._line()

    @property
    def environment(self) -> dict[str, str]:
        """Points the command line at it."""
        return {
            "CONSTANT_CONTACT_BASE_URL": self.base_url,
            "CONSTANT_CONTACT_API_KEY": API_KEY,
            "CONSTANT_CONTACT_ACCESS_TOKEN": ACCESS_TOKEN,
            "CALLS_PER_SECOND": "1000",
            "CALLS_PER_DAY": "100000000",
        }

    def calls(self) -> int:
        """How many it has answered."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@contextmanager
def serving(module: str, *arguments: int) -> Iterator[Api]:
    """A server of this folder, as a process that ends with this one."""
    command = python("-m", module, *map(str, arguments))
    with subprocess.Popen(
        command, cwd=ROOT, env=_base(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Api(process)
        finally:
            process.communicate()


def served(contacts: int, activities: int) -> AbstractContextManager[Api]:
    """The simulated account, with so many contacts and so many activities of each."""
    return serving("tests.bench.serve", contacts, activities)


def _base() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}"}


def spread(costs: Sequence[Cost], of: Callable[[Cost], float], scale: float, digits: int = 2) -> str:
    """Median, and from the least to the most."""
    values = [of(cost) * scale for cost in costs]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def ratio(costs: Sequence[Cost], base: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """Of the medians."""
    return statistics.median(map(of, costs)) / statistics.median(map(of, base))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    print(f"\n{title}")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells))
