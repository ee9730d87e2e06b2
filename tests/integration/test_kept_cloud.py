"""`run --engine cloud --keep`: the stack runs on to be looked at, and Ctrl-C leaves nothing but its state."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.local_cloud.emulator import local_client
from tests.support.command_line import SHARED, run_command
from tests.support.running import Operator, account_of, served


def group_of(parent: int) -> set[int]:
    """The processes that a process started, and those that these did."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {parent}
    while more := {child for child, its in parents.items() if its in found} - found:
        found |= more
    return found - {parent}


def is_alive(process: int) -> bool:
    """Whether it runs. One that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def publish_as_the_stack(place: dict[str, str]) -> None:
    """Put an event on the bus, as the functions of a kept stack do when its schedule ticks."""
    events = local_client("events", place["AWS_ENDPOINT_URL"])
    (bus,) = [bus["Name"] for bus in events.list_event_buses()["EventBuses"] if bus["Name"] != "default"]
    entry = {"Source": EVENT_SOURCE, "DetailType": "Email Opened", "Detail": "{}", "EventBusName": bus}
    assert not events.put_events(Entries=[entry])["FailedEntryCount"]


def wait_for_lines(file: Path, lines: int) -> None:
    until_s = time.monotonic() + 30
    while file.read_text().count("\n") < lines:
        assert time.monotonic() < until_s
        time.sleep(0.1)


@pytest.mark.cloud
def test_a_kept_stack_can_be_looked_at_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    """What it prints shows the stack, and what that publishes by its own schedule is in the events file.

    Ctrl-C ends all processes, and the next run goes on with the state.
    """
    with served(account_of(10)) as server:
        operator = Operator.of(tmp_path, server, "cloud")
        environment = operator.environment | {"PYTHONPATH": str(SHARED)}
        with subprocess.Popen(
            operator.command("--keep"),
            env=environment,
            text=True,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # The tests may run where Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as process:
            assert process.stderr is not None
            lines: list[str] = []
            while not (lines and "list-stack-resources" in lines[-1]):
                line = process.stderr.readline()
                assert line, lines
                lines.append(line)
            place = dict(re.findall(r"(AWS_\w+)=(\S+)", "".join(lines)))
            told = run_command("status", "--stack", "contact-activity", environment=environment | place)
            assert told.returncode == 0, told.stderr
            ran = operator.events_file.read_text().count("\n")
            publish_as_the_stack(place)
            wait_for_lines(operator.events_file, ran + 1)
            children = group_of(process.pid)
            os.kill(process.pid, signal.SIGINT)
            _, rest = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert children
        assert not {child for child in children if is_alive(child)}
        assert "Look at them: contact-activity tail" in rest
        published = operator.events_file.read_text().count("\n")
        assert published == ran + 1
        again = operator.run()
    assert published
    assert (again.returncode, operator.events_file.read_text().count("\n")) == (0, published)


def test_keep_is_for_one_run_of_the_local_cloud(tmp_path: Path) -> None:
    ended = run_command("run", "--keep", "--state", str(tmp_path), environment={"PATH": os.environ["PATH"]})
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "give --engine cloud" in ended.stderr
