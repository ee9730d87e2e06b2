"""Runs many histories, or one with its trace: `python -m tests.simulation --help`."""

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, product
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.simulation.history import History, Outcome
from tests.simulation.history_v3 import HistoryV3
from tests.simulation.mutations import MUTATIONS, run_mutated
from tests.simulation.world import BrokenPromiseError

HISTORIES: dict[str, type[History]] = {"v2": History, "v3": HistoryV3}


def run_seed(seed: int, api: str = "v2") -> Outcome:
    """What the history of a version of the API came to, and what it broke."""
    history = HISTORIES[api](seed)
    try:
        return history.run()
    except BrokenPromiseError as broken:
        return history.outcome(broken=str(broken))
    except Exception as error:  # noqa: BLE001  whatever it is, it is told with its seed
        title = history.api.title(seed)
        return history.outcome(broken=f"{title}: {type(error).__name__}: {error}")


def _run(seed_of_api: tuple[int, str]) -> Outcome:
    return run_seed(*seed_of_api)


def run_seeds(seeds: Iterable[int], apis: Iterable[str] = ("v2",)) -> Iterator[Outcome]:
    """Each seed under each of the versions in turn."""
    pool = ProcessPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(_run, product(seeds, apis), chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def print_table(console: Console, outcomes: list[Outcome]) -> None:
    times: Counter[str] = sum((outcome.accidents for outcome in outcomes), Counter())
    histories = Counter(name for outcome in outcomes for name in outcome.accidents)
    broken = Counter(name for outcome in outcomes if outcome.broken for name in outcome.accidents)
    table = Table(box=None, pad_edge=False)
    table.add_column("injected")
    for heading in ("times", "in histories", "of these broken"):
        table.add_column(heading, justify="right")
    for name, count in times.most_common():
        table.add_row(name.replace("_", " "), f"{count:,}", f"{histories[name]:,}", f"{broken[name]:,}")
    console.print(table)
    activities = sum(outcome.activities for outcome in outcomes)
    repeated = sum(outcome.repeated for outcome in outcomes)
    ticks = max((outcome.peace_ticks for outcome in outcomes), default=0)
    console.print(
        f"{len(outcomes):,} histories · {activities:,} activities · "
        f"{sum(outcome.broken is not None for outcome in outcomes)} with a broken promise · "
        f"{repeated:,} published again, with equal ids · backlog drained within {ticks} ticks"
    )


def print_teeth(console: Console, seeds: int, part: str) -> bool:
    """Whether a mistake whose name has `part` shows in none of the histories; print which show it first."""
    shown = []
    for mutation in (mutation for mutation in MUTATIONS if part in mutation.name):
        with tempfile.TemporaryDirectory() as folder:
            ran = run_mutated(mutation, Path(folder), "--seeds", str(seeds), "--until-broken", "3")
        shown.append(re.findall(r"^seed (\d+)(?: of v3)?:", ran.stdout, re.MULTILINE))
        console.print(f"{mutation.name}: {', '.join(shown[-1]) or 'none'}")
    return not all(shown)


def main() -> int:
    """Exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Histories of faults in virtual time, one for each seed.")
    parser.add_argument("--seeds", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument(
        "--api", choices=HISTORIES, help="only histories of this version; each seed is one of both otherwise"
    )
    parser.add_argument(
        "--until-broken", type=int, nargs="?", const=1, help="stop at so many (1) broken promises"
    )
    parser.add_argument("--before", type=int, nargs="*", default=[], help="seeds to try before the others")
    parser.add_argument(
        "--teeth", action="store_true", help="print the first seeds that show each known mistake"
    )
    parser.add_argument("--mistake", default="", help="with --teeth: only those with this in their name")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    apis = [arguments.api] if arguments.api else [*HISTORIES]
    if arguments.seed is not None:
        trace = print if arguments.trace else lambda _: None
        for api in apis:
            console.print(str(HISTORIES[api](arguments.seed, trace).run()))
        return 0
    if arguments.teeth:
        return print_teeth(console, arguments.seeds, arguments.mistake)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    histories = chain(map(_run, product(arguments.before, apis)), run_seeds(seeds, apis))
    results = []
    total = len(seeds) * len(apis)
    for result in track(histories, "simulating", total, console=Console(stderr=True)):
        results.append(result)
        if sum(result.broken is not None for result in results) == arguments.until_broken:
            break
    broken = [result.broken for result in results if result.broken]
    print_table(console, results)
    for what in broken[:10]:
        console.print(what)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
