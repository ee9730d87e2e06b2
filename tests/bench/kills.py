"""Kills one run after the other with `kill -9` on the same state folder: `make kills`.

Prints what was lost and what was published twice, against the truth of the simulated account. Exit
status 1 if anything was lost or an activity has two ids.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from contact_activity.local.simulated import Switches
from tests.integration.running import Operator, account_of, served, truth_of

CONTACTS = 1_500
FAULT_RATE = 0.1
SHORTEST_S, LONGEST_S = 0.3, 1.5


def kill_after(operator: Operator, wait_s: float) -> bool:
    """True if it was killed under way; False if it had come to its end."""
    with operator.start("--all") as process:
        time.sleep(wait_s)
        is_under_way = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return is_under_way


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Kill runs on one state folder, then compare with the truth."
    )
    parser.add_argument("--kills", type=int, default=30, help="how often (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    rng = random.Random(arguments.seed)
    account = account_of(CONTACTS)
    switches = Switches.faulty(FAULT_RATE, seed=arguments.seed, slow_s=0.05)
    with tempfile.TemporaryDirectory() as folder, served(account, switches, 1_000_000) as server:
        operator = Operator.of(Path(folder), server, CALLS_PER_DAY="1000000")
        killed = 0
        for _ in track(range(arguments.kills), "killing", console=console, transient=True):
            killed += kill_after(operator, rng.uniform(SHORTEST_S, LONGEST_S))
        ended = operator.run("--all")
        ids = operator.ids_by_key()
        events = len(operator.events())
    lost = len(truth_of(account) - ids.keys())
    ambiguous = sum(len(of_key) > 1 for of_key in ids.values())
    Console(soft_wrap=True, highlight=False).print(
        f"{killed} kills under way · last run ended with {ended.returncode} · {len(ids):,} activities · "
        f"{lost} lost · {ambiguous} with two ids · {events - len(ids):,} published twice, with equal ids"
    )
    return int(lost > 0 or ambiguous > 0)


if __name__ == "__main__":
    sys.exit(main())
