"""What a contact costs: the embedded engine against the bare loop, and memory by size."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.measure import ACCESS_TOKEN, API_KEY, Api, Cost, python, ratio, run, served, spread, table

CONTACTS = 2_000
MANY_CONTACTS = 20_000
ACTIVITIES = 10
CLI = (str(Path(sys.executable).with_name("contact-activity")), "run", "--all", "--state")


@dataclass
class Case:
    """One comparison; `mark` is where the loop's high-water marks begin."""

    name: str
    mark: str
    ours: list[Cost] = field(default_factory=list)
    loop: list[Cost] = field(default_factory=list)
    calls: int = 0

    def measure(self, api: Api, state: Path) -> None:
        """One round of both, one right after the other."""
        before = api.calls()
        self.ours.append(run([*CLI, str(state)], api.environment))
        self.calls = api.calls() - before
        self.loop.append(run_loop(api, self.mark))


def run_loop(api: Api, mark: str) -> Cost:
    arguments = [api.base_url, API_KEY, ACCESS_TOKEN, str(CONTACTS), mark]
    with tempfile.NamedTemporaryFile() as lines:
        return run(python("tests/bench/bare_loop.py", *arguments), {}, Path(lines.name))


def bench(rounds: int) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    fresh = Case(f"{ACTIVITIES} new activities each", "")
    known = Case(f"nothing new, {ACTIVITIES} known each", now)
    quiet = Case("nothing new, no activity at all", "")
    with served(CONTACTS, ACTIVITIES) as api:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                fresh.measure(api, Path(folder))
                known.measure(api, Path(folder))
    with served(CONTACTS, 0) as api, tempfile.TemporaryDirectory() as folder:
        run([*CLI, folder], api.environment)
        for _ in range(rounds):
            quiet.measure(api, Path(folder))
    _print([fresh, known, quiet])
    _memory()


def _print(cases: Sequence[Case]) -> None:
    rows = []
    for case in cases:
        for name, costs in (("embedded", case.ours), ("loop", case.loop)):
            rows.append(
                [
                    f"{case.name}: {name}",
                    spread(costs, lambda cost: cost.cpu_s, 1_000 / CONTACTS),
                    spread(costs, lambda cost: cost.wall_s, 1_000 / CONTACTS),
                    spread(costs, lambda cost: cost.peak_mib, 1, 0),
                    f"{case.calls if name == 'embedded' else CONTACTS:,}",
                    f"{ratio(case.ours, case.loop, lambda cost: cost.cpu_s):.2f}"
                    if name == "embedded"
                    else "",
                ]
            )
    head = [
        "2,000 contacts",
        "CPU ms a contact",
        "wall ms a contact",
        "peak MiB",
        "calls",
        "CPU, times the loop's",
    ]
    table("A contact, process start and listing included; median (least-most)", head, rows)


def _memory() -> None:
    peaks = []
    for contacts in (CONTACTS, MANY_CONTACTS):
        with served(contacts, 0) as api, tempfile.TemporaryDirectory() as folder:
            peaks.append(run([*CLI, folder], api.environment))
    rows = [
        [f"{contacts:,} contacts", f"{cost.peak_mib:.0f}", f"{cost.cpu_s * 1_000 / contacts:.2f}"]
        for contacts, cost in zip((CONTACTS, MANY_CONTACTS), peaks, strict=True)
    ]
    table("Memory by size, embedded engine, first run", ["", "peak MiB", "CPU ms a contact"], rows)
