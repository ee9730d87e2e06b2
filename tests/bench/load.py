"""A backlog: what a tick takes of it, and how it drains within the limits: `make load`.

`--engine embedded`: 100,000 contacts in one process over SQLite; with `--api v3` their history comes through
the mailings' reports. `--engine cloud`: 10,000 contacts through the deployed functions, 50 workers at once.
Exit status 1 if an activity is lost, has two ids, or if the API saw more calls in a second than allowed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from contact_activity.aws.contacts import DynamoContacts
from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.deployed_system import DeployedSystem
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.event_reader import EventReader, subscribe
from contact_activity.local_cloud.tick_loop import CloudTickLoop
from contact_activity.ports import TickPorts
from contact_activity.run.connection_watch import ConnectionWatch
from contact_activity.run.errors import RunError
from contact_activity.run.events_file import opened_events
from contact_activity.run.options import RunOptions
from contact_activity.settings import Credentials, read_settings
from contact_activity.simulated import Kind, Server, SimulatedAccount
from contact_activity.use_cases.tick import run_tick
from tests.bench.measure import python, table
from tests.bench.stage import CALLS_PER_DAY, Quiet, children_of, compared, deployed_for_a_trial
from tests.support.deployed import set_polling
from tests.support.families import EmbeddedFamily
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    CAMPAIGN,
    NOW,
    Operator,
    served,
    truth_of,
    truth_of_v3,
)

WORKERS = 50
TICK_MS = 900_000
BACKLOGS = {"embedded": (1_000, 10_000, 100_000), "cloud": (1_000, 10_000)}
CALLS_PER_SECOND = {"embedded": 400, "cloud": 100}
# The key's pace, by which a tick hands out 2,875 contacts of any backlog that has as many.
TICK_CALLS_PER_SECOND = 4
VISIBILITY_S = 120


def account_of(contacts: int) -> SimulatedAccount:
    """Everybody got a mailing and opened it."""
    account = SimulatedAccount()
    account.add_campaign("News", sent_at=NOW - timedelta(days=2), campaign_id=CAMPAIGN)
    for number in range(contacts):
        contact = account.add_contact(f"c{number}@example.org", at=NOW - timedelta(days=9))
        for kind, hours in ((Kind.SEND, 40), (Kind.OPEN, 20)):
            account.add_row(kind, contact.id, CAMPAIGN, at=NOW - timedelta(hours=hours))
    return account


def backlog_of(contacts: int) -> list[ListedContact]:
    return [ListedContact(str(number), "") for number in range(contacts)]


# --------------------------------------------------------------------------------- what a tick takes


def tick_here(path: Path, base_url: str) -> dict[str, float]:
    """One tick over a state file; run in a process of its own, to see its memory."""
    family, clock = EmbeddedFamily(path), SystemClock()
    store = family.store(Limits(TICK_CALLS_PER_SECOND, CALLS_PER_DAY), clock)
    source = ConstantContactV2(
        ApiClient(base_url, lambda: Credentials(API_KEY, ACCESS_TOKEN), store.limiter, clock)
    )
    started_s = time.monotonic()
    report = run_tick(
        TickPorts(store, source, family.queue, clock),
        tick_ms=TICK_MS,
        deadline_ms=clock.monotonic_ms() + TICK_MS,
    )
    took_s = time.monotonic() - started_s
    return {"enqueued": report.enqueued, "took_s": took_s, "peak_mib": _peak_mib("self")}


def tick_embedded(contacts: int, server: Server) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite3"
        family = EmbeddedFamily(path)
        family.contacts.register(backlog_of(contacts), 0)
        family.close()
        command = python("-m", "tests.bench.load", "--tick", str(path), server.base_url)
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(ended.stdout)
    return measured


def tick_cloud(contacts: int, server: Server) -> dict[str, float]:
    """The deployed dispatcher, warm; no worker takes anything."""
    with tempfile.TemporaryDirectory() as folder, Emulator(Path(folder)) as emulator:
        stack = _deployed(emulator, server, TICK_CALLS_PER_SECOND)
        set_polling(emulator, is_enabled=False)
        _invoke_dispatcher(emulator, stack)
        known = DynamoContacts(emulator.client("dynamodb"), stack.outputs["TableName"])
        known.register(backlog_of(contacts), 0)
        started_s = time.monotonic()
        report = _invoke_dispatcher(emulator, stack)
        took_s = time.monotonic() - started_s
        peak_mib = max(_peak_mib(str(pid)) for pid in children_of(emulator.pid))
    return {"enqueued": report["enqueued"], "took_s": took_s, "peak_mib": peak_mib}


def _invoke_dispatcher(emulator: Emulator, stack: Stack) -> dict[str, Any]:
    functions = emulator.client("lambda")
    answer = functions.invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
    report: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise RunError(str(report))
    return report


def _peak_mib(pid: str) -> float:
    """Of the process since it began; what `getrusage` says counts from whoever started it."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1_024 for line in lines if line.startswith("VmHWM"))


def ticks(engine: str) -> None:
    rows = []
    with served(SimulatedAccount(), None, CALLS_PER_DAY, TICK_CALLS_PER_SECOND) as server:
        for contacts in BACKLOGS[engine]:
            measured = (tick_embedded if engine == "embedded" else tick_cloud)(contacts, server)
            each_ms = 1_000 * measured["took_s"] / measured["enqueued"]
            rows.append(
                (
                    f"{contacts:,}",
                    f"{measured['enqueued']:,}",
                    f"{measured['took_s']:.2f} s",
                    f"{each_ms:.2f} ms",
                    f"{measured['peak_mib']:.0f} MiB",
                )
            )
    table(f"One tick, {engine}", ["backlog", "handed out", "tick", "each", "peak memory"], rows)


# ----------------------------------------------------------------------------------- how it drains


def drain_embedded(operator: Operator) -> None:
    with operator.start("--all") as process:
        _, said = process.communicate()
    if process.returncode:
        raise RunError(said)


def drain_cloud(operator: Operator, server: Server) -> None:
    with Emulator(operator.folder / "cloud") as emulator, opened_events(operator.events_file) as sink:
        stack = _deployed(emulator, server, CALLS_PER_SECOND["cloud"])
        set_polling(emulator, is_enabled=True, workers=WORKERS)
        url = subscribe(emulator, stack.outputs["EventBusName"])
        options = RunOptions(operator.folder, operator.events_file, treat_all_as_due=True)
        settings = read_settings(operator.environment)
        system = DeployedSystem(emulator, stack.outputs, settings.limits)
        reader = EventReader(emulator.client("sqs"), url, sink)
        watch = ConnectionWatch(system.clock, lambda _: None, is_one_time=True)
        CloudTickLoop(system, reader, options, Quiet(), watch).run_once()


def _deployed(emulator: Emulator, server: Server, calls_per_second: int) -> Stack:
    return deployed_for_a_trial(
        emulator, server, calls_per_second=calls_per_second, visibility_s=VISIBILITY_S
    )


@contextmanager
def _shown(server: Server, calls: int) -> Iterator[None]:
    """Progress by the calls that the API has seen."""
    is_over = threading.Event()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("draining", total=calls)

        def look() -> None:
            while not is_over.wait(1):
                progress.update(task, completed=len(server.calls))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            is_over.set()
            looking.join()


def drain(engine: str, contacts: int, *, is_v3: bool) -> bool:
    """True if a promise is broken."""
    account, calls_per_second = account_of(contacts), CALLS_PER_SECOND[engine]
    with (
        tempfile.TemporaryDirectory() as folder,
        served(account, None, CALLS_PER_DAY, calls_per_second) as server,
    ):
        limits = {"CALLS_PER_SECOND": str(calls_per_second), "CALLS_PER_DAY": str(CALLS_PER_DAY)}
        operator = Operator.of_v3(Path(folder), server) if is_v3 else Operator.of(Path(folder), server)
        operator.environment |= limits
        started_s = time.monotonic()
        with _shown(server, contacts):
            if engine == "embedded":
                drain_embedded(operator)
            else:
                drain_cloud(operator, server)
        took_s = time.monotonic() - started_s
        said, is_broken = compared(operator, (truth_of_v3 if is_v3 else truth_of)(account))
        most = server.max_calls_in_any_second()
        calls = len(server.calls)
    print(
        f"{engine} {'v3' if is_v3 else 'v2'}: {contacts:,} contacts drained in {took_s:.0f} s · {said} · "
        f"{calls:,} calls, at most {most} in a second of {calls_per_second} allowed"
    )
    return is_broken or most > calls_per_second


def main() -> int:
    parser = argparse.ArgumentParser(description="Drain a backlog, and count.")
    parser.add_argument("--engine", choices=["embedded", "cloud"], default="embedded")
    parser.add_argument("--api", choices=["v2", "v3"], default="v2", help="v3: on the embedded engine")
    parser.add_argument("--contacts", type=int, help="of the backlog (default 100000, cloud 10000)")
    parser.add_argument("--tick", nargs=2, metavar=("STATE", "URL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tick:
        print(json.dumps(tick_here(Path(arguments.tick[0]), arguments.tick[1])))
        return 0
    is_v3 = arguments.api == "v3"
    if is_v3 and arguments.engine == "cloud":
        parser.error("--api v3 is for --engine embedded")
    if not is_v3:
        ticks(arguments.engine)
    contacts = arguments.contacts or max(BACKLOGS[arguments.engine])
    return int(drain(arguments.engine, contacts, is_v3=is_v3))


if __name__ == "__main__":
    sys.exit(main())
