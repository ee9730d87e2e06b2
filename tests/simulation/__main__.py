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

from tests.simulation.history import History, Outcome
from tests.simulation.world import BrokenPromiseError


def run_seed(seed: int) -> Outcome:
    """What the history came to, and what it broke."""
    history = History(seed)
    try:
        return history.run()
    except BrokenPromiseError as broken:
        return history.outcome(broken=str(broken))
    except Exception as error:  # noqa: BLE001  whatever it is, it is told with its seed
        return history.outcome(broken=f"seed {seed}: {type(error).__name__}: {error}")


def run_seeds(seeds: Iterable[int]) -> Iterator[Outcome]:
    pool = ProcessPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(run_seed, seeds, chunksize=4)
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
        if arguments.until_broken and result.broken:
            break
    broken = [result.broken for result in results if result.broken]
    print_table(console, results)
    for what in broken[:10]:
        console.print(what)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
