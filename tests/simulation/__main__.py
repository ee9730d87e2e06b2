"""Runs many histories, or one with its trace: `python -m tests.simulation --help`."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.simulation.history import BrokenPromiseError, History, Outcome


def run_seed(seed: int) -> Outcome | str:
    """What the history came to, or what it broke."""
    try:
        return History(seed).run()
    except BrokenPromiseError as broken:
        return str(broken)


def run_seeds(seeds: Iterable[int]) -> Iterator[Outcome | str]:
    pool = ProcessPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(run_seed, seeds, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def print_table(console: Console, outcomes: list[Outcome], broken: list[str]) -> None:
    total: Counter[str] = sum((outcome.accidents for outcome in outcomes), Counter())
    table = Table("injected", "times", box=None, pad_edge=False)
    for name, times in sorted(total.items(), key=lambda item: -item[1]):
        table.add_row(name.replace("_", " "), f"{times:,}")
    console.print(table)
    activities = sum(outcome.activities for outcome in outcomes)
    repeated = sum(outcome.repeated for outcome in outcomes)
    ticks = max((outcome.peace_ticks for outcome in outcomes), default=0)
    console.print(
        f"{len(outcomes) + len(broken):,} histories · {activities:,} activities · "
        f"{len(broken)} with a broken promise · {repeated:,} published again, with equal ids · "
        f"backlog drained within {ticks} ticks"
    )


def main() -> int:
    """Exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Histories of faults in virtual time, one for each seed.")
    parser.add_argument("--seeds", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--until-broken", action="store_true", help="stop at the first broken promise")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    if arguments.seed is not None:
        console.print(str(History(arguments.seed, print if arguments.trace else lambda _: None).run()))
        return 0
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    results = []
    for result in track(run_seeds(seeds), "simulating", len(seeds), console=Console(stderr=True)):
        results.append(result)
        if arguments.until_broken and isinstance(result, str):
            break
    broken = [result for result in results if isinstance(result, str)]
    print_table(console, [result for result in results if isinstance(result, Outcome)], broken)
    for what in broken[:10]:
        console.print(what)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
