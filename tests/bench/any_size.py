"""What one contact of any length, and one account of any size, take: time, memory, calls."""

import json
import tempfile
from pathlib import Path

from tests.bench.measure import Cost, python, run, serving, table


def bench(activities: int, contacts: int) -> None:
    with serving("tests.bench.paging", activities, contacts) as api:
        for title, what in (
            (f"One contact with {activities:,} activities", "contact"),
            (f"An account of {contacts:,} contacts, SQLite", "account"),
        ):
            cost, figures = _run(what, api.base_url)
            rows = [[name, f"{value:,}" if isinstance(value, int) else str(value)] for name, value in figures]
            rows += [["wall s", f"{cost.wall_s:.0f}"], ["CPU s", f"{cost.cpu_s:.0f}"]]
            table(title, ["", ""], [*rows, ["peak MiB", f"{cost.peak_mib:.0f}"]])


def _run(what: str, base_url: str) -> tuple[Cost, list[tuple[str, object]]]:
    with tempfile.NamedTemporaryFile() as said:
        cost = run(python("-m", "tests.bench.large", what, base_url), {}, Path(said.name))
        return cost, list(json.loads(Path(said.name).read_text(encoding="utf-8")).items())
