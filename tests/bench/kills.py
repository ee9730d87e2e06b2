"""Kills what does the work with `kill -9`, again and again on the same state: `make kills`.

`--engine embedded` kills whole runs; `--engine cloud` kills single processes of the deployed functions.
`--api v3` has runs that renew their tokens meanwhile. Prints what was lost and what was published twice,
against the truth of the simulated account. Exit status 1 if anything was lost or an activity has two ids.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from contact_activity.local_cloud.deployed_system import DeployedSystem
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.event_reader import EventReader, subscribe
from contact_activity.local_cloud.tick_loop import CloudTickLoop
from contact_activity.run.connection_watch import ConnectionWatch
from contact_activity.run.errors import RunError
from contact_activity.run.events_file import opened_events
from contact_activity.run.options import RunOptions
from contact_activity.settings import read_settings
from contact_activity.simulated import Kind, Server, SimulatedAccount, Switches
from contact_activity.simulated.token_switches import TokenSwitches
from tests.bench.stage import CALLS_PER_DAY, Quiet, children_of, compared, deployed_for_a_trial
from tests.support.running import (
    CALLS_PER_SECOND,
    CAMPAIGN,
    NOW,
    Operator,
    account_of,
    renewed_by,
    served,
    truth_of,
    truth_of_v3,
)

FAULT_RATE = 0.1
# Otherwise what a killed worker held is hidden for the template's 12 minutes.
VISIBILITY_S = 10
# Renewed in every few runs.
TOKENS = TokenSwitches(expires_in_s=3, rate_limits=False)
DEAD_CREDENTIAL = 3
# A process that is killed between two invocations fails none, and is not counted.
_DIED = "errorMessage=Worker process died"


@dataclass(frozen=True)
class Trial:
    """What is killed, how often, and by whom the kills are told."""

    operator: Operator
    server: Server
    account: SimulatedAccount
    kills: int
    rng: random.Random
    told: Callable[[int], None]
    lost_logins: list[int] = field(default_factory=list)

    def activity_goes_on(self) -> None:
        """Late rows, so that there is something to lose at every kill."""
        for contact in self.rng.sample(self.account.contacts(), 20):
            at = NOW - timedelta(hours=self.rng.randrange(72))
            link_id = str(self.rng.getrandbits(40))
            self.account.add_row(Kind.CLICK, contact.id, CAMPAIGN, at=at, inserted_at=NOW, link_id=link_id)

    def wait_for_calls(self, more: int) -> None:
        """A kill in every cold start would let no sweep begin."""
        wanted = len(self.server.calls) + more
        while len(self.server.calls) < wanted:
            time.sleep(0.01)

    def log_in_again(self, status: int | None) -> bool:
        """As an operator does whose run ended because its credential is dead. Return whether that was so.

        Whoever is killed between sending a refresh token and storing the next one has spent it for nothing.
        """
        if status != DEAD_CREDENTIAL:
            return False
        self.lost_logins.append(status)
        self.operator.environment |= renewed_by(self.server)
        return True


def kill_runs(trial: Trial) -> None:
    """Each run is killed at any moment of its first 1.5 s; the last one may end."""
    done = 0
    while done < trial.kills:
        trial.activity_goes_on()
        with trial.operator.start("--all") as process:
            time.sleep(trial.rng.uniform(0.3, 1.5))
            done += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        trial.log_in_again(process.returncode)
        trial.told(done)
    ended = trial.operator.run("--all")
    if trial.log_in_again(ended.returncode):
        ended = trial.operator.run("--all")
    if ended.returncode:
        raise RunError(ended.stderr)


def kill_functions(trial: Trial) -> None:
    """A process of any function, in the middle of sweep after sweep; the last sweep may end."""
    operator = trial.operator
    with Emulator(operator.folder / "cloud") as emulator, opened_events(operator.events_file) as sink:
        stack = deployed_for_a_trial(
            emulator, trial.server, calls_per_second=CALLS_PER_SECOND, visibility_s=VISIBILITY_S
        )
        url = subscribe(emulator, stack.outputs["EventBusName"])
        options = RunOptions(operator.folder, operator.events_file, treat_all_as_due=True)
        settings = read_settings(operator.environment)

        def sweep() -> None:
            system = DeployedSystem(emulator, stack.outputs, settings.limits)
            reader = EventReader(emulator.client("sqs"), url, sink)
            watch = ConnectionWatch(system.clock, lambda _: None, is_one_time=True)
            CloudTickLoop(system, reader, options, Quiet(), watch).run_once()

        with _Sweeps(sweep) as sweeps:
            done = 0
            while done < trial.kills:
                trial.wait_for_calls(trial.rng.randrange(1, 60))
                trial.activity_goes_on()
                _kill_a_child(emulator, trial.rng)
                done = sweeps.failed + emulator.log_path.read_text(encoding="utf-8").count(_DIED)
                trial.told(done)
        sweep()


class _Sweeps:
    """Sweeps in a thread until it is left; `failed`: how often it was the dispatcher that was killed."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failed = 0

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._sweep()
            except RunError:
                self.failed += 1

    def __enter__(self) -> "_Sweeps":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def _kill_a_child(emulator: Emulator, rng: random.Random) -> None:
    """The emulator runs each function in processes of its own."""
    functions = children_of(emulator.pid)
    if functions:
        with suppress(ProcessLookupError):
            os.kill(rng.choice(functions), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill what does the work, then compare with the truth.")
    parser.add_argument("--engine", choices=["embedded", "cloud"], default="embedded")
    parser.add_argument("--api", choices=["v2", "v3"], default="v2", help="v3: on the embedded engine")
    parser.add_argument("--kills", type=int, default=30, help="how often (default 30)")
    parser.add_argument("--contacts", type=int, help="in the account (default 1500, cloud 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    arguments = parser.parse_args()
    is_cloud, is_v3 = arguments.engine == "cloud", arguments.api == "v3"
    if is_cloud and is_v3:
        parser.error("--api v3 is for --engine embedded")
    account = account_of(arguments.contacts or (400 if is_cloud else 1_500))
    switches = Switches.faulty(FAULT_RATE, seed=arguments.seed, slow_s=0.05)
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(account, switches, CALLS_PER_DAY, tokens=TOKENS) as server,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("killing", total=arguments.kills)
        settings = {"CALLS_PER_DAY": str(CALLS_PER_DAY)}
        operator = (
            Operator.of_v3(Path(folder), server, is_renewing=True, **settings)
            if is_v3
            else Operator.of(Path(folder), server, **settings)
        )
        rng = random.Random(arguments.seed)
        trial = Trial(
            operator,
            server,
            account,
            arguments.kills,
            rng,
            told=lambda done: progress.update(task, completed=done),
        )
        (kill_functions if is_cloud else kill_runs)(trial)
        said, is_broken = compared(operator, (truth_of_v3 if is_v3 else truth_of)(account))
        if is_v3:
            said += f" · {len(server.token_calls)} refreshes · {len(trial.lost_logins)} logins lost"
    took_s = time.monotonic() - started_s
    Console(soft_wrap=True, highlight=False).print(
        f"{arguments.engine} {arguments.api}: {arguments.kills} kills under way · {said} · {took_s:.0f} s"
    )
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main())
