"""Where a run writes its events: shared files, pipes, devices, standard output."""

import errno
import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.errors import StandstillError
from contact_activity.run.errors import RunError
from contact_activity.run.events_file import opened_events
from contact_activity.run.sinks import AppendedFile
from tests.support.command_line import COMMAND, run_command
from tests.support.running import (
    ActivityKey,
    Operator,
    account_of,
    key_of,
    served,
    truth_of,
)

ACCOUNT = account_of(40)
TRUTH = truth_of(ACCOUNT)


def events_in(text: str) -> list[dict[str, Any]]:
    """Return the events of the lines that can be parsed, as every reader has to."""
    events = []
    for line in text.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def keys_in(text: str, account: str = "default") -> list[ActivityKey]:
    return [key_of(event) for event in events_in(text) if event["detail"]["data"]["account"] == account]


def command_of(operator: Operator, events: str) -> list[str]:
    return [str(COMMAND), "run", "--state", str(operator.state_dir), "--events", events]


def ran_into(operator: Operator, events: str) -> "subprocess.CompletedProcess[str]":
    """Run with standard files that take all."""
    _, *arguments = command_of(operator, events)
    return run_command(*arguments, environment=operator.environment, folder=operator.folder)


def ran(
    operator: Operator, events: str, *, closing: str = "", stdout: int = subprocess.PIPE
) -> "subprocess.CompletedProcess[str]":
    """Run from a shell that closes standard files first, as `closing` says, such as `>&-`."""
    shell = ["bash", "-c", f'exec "$@" {closing}', "run", *command_of(operator, events)]
    return subprocess.run(
        shell,
        env=operator.environment,
        cwd=operator.folder,
        text=True,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )


def cause_of(ended: "subprocess.CompletedProcess[str]") -> str:
    """Return the line that says why a run ended. It must have no trace."""
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("contact-activity:")]
    return line


# --- a file of several runs -----------------------------------------------------------------------


@pytest.mark.long
def test_runs_that_share_a_file_keep_all_lines(tmp_path: Path) -> None:
    """The events of every run are in the file, however many runs start meanwhile."""
    with served(account_of(120)) as server, ExitStack() as started:
        truth = truth_of(account_of(120))
        operators = []
        for number in range(5):
            operator = Operator.of(tmp_path, server, ACCOUNT=f"a{number}")
            operators.append(replace(operator, folder=tmp_path / str(number)))
            operators[-1].folder.mkdir()
        shared = tmp_path / "events.jsonl"
        runs = []
        for operator in operators:
            runs.append(started.enter_context(operator.start("--events", str(shared))))
            time.sleep(0.7)
        for run in runs:
            _, said = run.communicate(timeout=100)
            assert run.returncode == 0, said
    text = shared.read_text(encoding="utf-8")
    for number in range(5):
        assert set(keys_in(text, f"a{number}")) == truth


def test_a_line_that_another_run_is_writing_stays(tmp_path: Path) -> None:
    """The line is not complete yet. The new lines begin after it, on lines of their own."""
    shared = tmp_path / "events.jsonl"
    with served(ACCOUNT) as server, opened_events(shared) as other:
        other.write(b'{"is":"whole"}\n')
        with shared.open("ab", buffering=0) as half_way:
            half_way.write(b'{"is":"being wri')
        operator = Operator.of(tmp_path, server)
        assert ran_into(operator, str(shared)).returncode == 0
    first, second, *rest = shared.read_text(encoding="utf-8").splitlines()
    assert (first, second) == ('{"is":"whole"}', '{"is":"being wri')
    assert set(keys_in("\n".join(rest))) == TRUTH


def test_no_line_counts_as_written_after_one_that_the_disk_lost(tmp_path: Path) -> None:
    """The system reports lost lines once: the next sync of the same descriptor succeeds."""
    begun, syncs = threading.Event(), []

    def lost_once(_: int) -> None:
        syncs.append(1)
        if len(syncs) == 1:
            begun.wait()
            raise OSError(errno.EIO, "the disk is broken")

    descriptor = os.open(tmp_path / "events.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    file = AppendedFile(descriptor, "events.jsonl", lost_once)
    told: list[bytes] = []

    def write(line: bytes) -> None:
        with suppress(StandstillError):
            file.write(line)
            told.append(line)

    writers = [threading.Thread(target=write, args=(b"{}\n",)) for _ in range(8)]
    for writer in writers:
        writer.start()
    time.sleep(0.2)
    begun.set()
    for writer in writers:
        writer.join()
    os.close(descriptor)
    assert not told


def limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_line_cut_by_a_full_disk_damages_no_line_of_another_run(tmp_path: Path) -> None:
    """The run on the full disk ends with one line and continues later. The other run loses nothing."""
    shared = tmp_path / "events.jsonl"
    with served(account_of(120)) as server, ExitStack() as running:
        truth = truth_of(account_of(120))
        one = Operator.of(tmp_path / "one", server, ACCOUNT="one")
        other = Operator.of(tmp_path / "other", server, ACCOUNT="other")
        for operator in (one, other):
            operator.folder.mkdir()
        # Larger than the database becomes.
        with shared.open("wb") as file:
            file.truncate(30_000_000)
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        beside = running.enter_context(other.start("--events", str(shared)))
        while shared.stat().st_size < 30_002_000:
            time.sleep(0.01)
        full = subprocess.run(
            command_of(one, str(shared)),
            env=one.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
            preexec_fn=lambda: limited(shared.stat().st_size + 3_000),
        )
        _, said = beside.communicate(timeout=100)
        assert (full.returncode, beside.returncode) == (1, 0), said
        assert "takes no more" in cause_of(full)
        assert ran_into(one, str(shared)).returncode == 0
    text = shared.read_bytes().lstrip(b"\0").decode()
    assert set(keys_in(text, "other")) == truth
    assert set(keys_in(text, "one")) == truth


APPENDS = """
import resource, sys
from pathlib import Path
from contact_activity.run.events_file import opened_events
from contact_activity.run.sinks import AppendedFile
from contact_activity.errors import StandstillError

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

for size in sys.argv[2:]:
    path = Path(sys.argv[1], size)
    with opened_events(path) as one, opened_events(path) as other:
        one.write(b'{"of":"one","n":1}\\n')
        limit(int(size))
        try:
            one.write(b'{"of":"one","n":2}\\n{"of":"one","n":3}\\n')
        except StandstillError:
            pass
        limit(resource.RLIM_INFINITY)
        other.write(b'{"of":"other","n":1}\\n{"of":"other","n":2}\\n')
        other.write(b'{"of":"other","n":3}\\n')
"""


def test_a_line_after_a_cut_line_is_written_again(tmp_path: Path) -> None:
    """Wherever it was cut: a run whose first line follows a cut line writes that line again."""
    limits = [str(limit) for limit in range(18, 58, 3)]
    subprocess.run([sys.executable, "-c", APPENDS, str(tmp_path), *limits], check=True, timeout=60)
    for limit in limits:
        found = [(event["of"], event["n"]) for event in events_in((tmp_path / limit).read_text("utf-8"))]
        assert {("one", 1), ("other", 1), ("other", 2), ("other", 3)} <= set(found), limit
        assert len(found) == len(set(found)), limit


@pytest.mark.parametrize("is_kept", [True, False], ids=["renamed", "removed"])
def test_a_file_that_was_moved_away_is_created_again(tmp_path: Path, is_kept: bool) -> None:
    """As `logrotate` does: the next lines are in a new file of the same name, and synced too."""
    path, synced = tmp_path / "events.jsonl", list[str]()
    with opened_events(path) as sink:
        sink.write(b'{"n": 1}\n')
        path.rename(tmp_path / "events.jsonl.1") if is_kept else path.unlink()
        sink.write(b'{"n": 2}\n')
        sink.write(b'{"n": 3}\n')
        synced += path.read_text(encoding="utf-8").splitlines()
    assert synced == ['{"n": 2}', '{"n": 3}']
    if is_kept:
        assert (tmp_path / "events.jsonl.1").read_text(encoding="utf-8") == '{"n": 1}\n'


def test_the_last_line_of_a_foreign_file_stays(tmp_path: Path) -> None:
    """Only a line that begins like an event counts as a line that a kill cut."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"first\nno newline")
    with opened_events(path) as sink:
        sink.write(b"{}\n")
    assert path.read_bytes() == b"first\nno newline\n{}\n"


def test_runs_that_start_together_wait_for_each_other(tmp_path: Path) -> None:
    """They check the end of the file one after the other, and none fails."""
    path, refused = tmp_path / "events.jsonl", []

    def begin() -> None:
        for _ in range(50):
            try:
                with opened_events(path) as sink:
                    sink.write(b"{}\n")
            except RunError as error:
                refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    assert path.read_bytes() == b"{}\n" * 200


# --- pipes, devices and standard output -----------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "closing"),
    [
        ("/dev/stdout", ""),
        ("/dev/fd/1", ""),
        ("/dev/fd/7", "7>&1 >/dev/null"),
        ("/dev/stdout", "| cat"),
        ("-", ""),
        ("-", "| cat"),
        ("/dev/stderr", "2>&1"),
    ],
)
def test_events_go_wherever_they_can_be_written(tmp_path: Path, events: str, closing: str) -> None:
    """A pipe takes all events, by any of its names."""
    with served(ACCOUNT) as server:
        ended = ran(Operator.of(tmp_path, server), events, closing=closing)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)
    assert sorted(keys_in(ended.stdout)) == sorted(TRUTH)


def test_a_process_substitution_takes_events(tmp_path: Path) -> None:
    """As in `--events >(...)`. The state is in the state folder."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        command = " ".join(command_of(operator, ">(cat > took.jsonl)"))
        ended = subprocess.run(
            ["bash", "-c", f"{command}; code=$?; wait $!; sleep 0.2; exit $code"],
            env=operator.environment,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    assert sorted(keys_in((tmp_path / "took.jsonl").read_text(encoding="utf-8"))) == sorted(TRUTH)


def test_the_null_device_takes_all_events(tmp_path: Path) -> None:
    """The next run has nothing to publish."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server, CAMPAIGN_REPORTS="off")
        assert ran_into(operator, "/dev/null").returncode == 0
        assert "No contact is due yet" in ran_into(operator, "/dev/null").stderr


def test_a_run_waits_for_the_reader_of_a_named_pipe(tmp_path: Path) -> None:
    """It says so, and the reader then gets everything."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        with operator.start("--events", str(pipe)) as run:
            assert run.stderr
            while "waiting for a reader" not in run.stderr.readline():
                pass
            took = pipe.read_text(encoding="utf-8")
            run.communicate(timeout=60)
    assert run.returncode == 0
    assert sorted(keys_in(took)) == sorted(TRUTH)


def test_a_named_pipe_without_a_reader_is_one_line(tmp_path: Path) -> None:
    """The run does not wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(RunError, match="nobody reads the pipe"),
        opened_events(tmp_path / "pipe", max_reader_wait_s=0.1),
    ):
        pass


def test_a_named_pipe_whose_reader_leaves_loses_nothing(tmp_path: Path) -> None:
    """The run ends with one line. The next run publishes what was not taken."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with served(account_of(120)) as server:
        operator = Operator.of(tmp_path, server)
        with operator.start("--events", str(pipe)) as run, pipe.open(encoding="utf-8") as reader:
            took = [reader.readline() for _ in range(3)]
            reader.close()
            _, said = run.communicate(timeout=60)
        assert run.returncode == 1
        assert "takes no more (Broken pipe)" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert len(events_in("".join(took))) == 3
        assert ran_into(operator, str(tmp_path / "rest.jsonl")).returncode == 0


@pytest.mark.parametrize(
    ("events", "closing", "status", "cause"),
    [
        (".", "", 2, "--events . is a folder: give a file"),
        ("-", ">&-", 2, "--events -, but standard output is closed: give a file"),
        ("/dev/stdout", ">&-", 2, "--events /dev/stdout, but standard output is closed"),
        ("/dev/fd/9", "", 1, "--events /dev/fd/9 cannot be written: No such file or directory"),
        ("/dev/full", "", 1, "--events /dev/full takes no more (No space left on device)"),
        ("-", ">/dev/full", 1, "standard output took no more (No space left on device)"),
        ("/dev/null/x", "", 1, "--events /dev/null/x cannot be written: Not a directory"),
    ],
)
def test_what_cannot_take_events_is_one_line(
    tmp_path: Path, events: str, closing: str, status: int, cause: str
) -> None:
    """The line says what is wrong. The next run publishes what was not taken."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        ended = ran(operator, events, closing=closing)
        assert (ended.returncode, cause in cause_of(ended)) == (status, True), ended.stderr
        default = operator.state_dir / "events.jsonl"
        assert ran_into(operator, str(default)).returncode == 0
    assert sorted(keys_in(default.read_text(encoding="utf-8"))) == sorted(TRUTH)


@pytest.mark.parametrize("closing", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_files_may_be_closed(tmp_path: Path, closing: str) -> None:
    """No file of the run gets their numbers: the events file holds events and nothing else."""
    path = tmp_path / "events.jsonl"
    with served(ACCOUNT) as server:
        ended = ran(Operator.of(tmp_path, server), str(path), closing=closing)
    assert ended.returncode == 0
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sorted(key_of(json.loads(line)) for line in lines) == sorted(TRUTH)


@pytest.mark.parametrize("events", ["-", "events.jsonl"])
@pytest.mark.parametrize(
    "closing", ["2>/dev/full", "2>&1 | true", "2>&1 | head -n 1", "2> >(true)", "2</dev/null"]
)
def test_a_run_goes_on_if_standard_error_cannot_be_written(tmp_path: Path, events: str, closing: str) -> None:
    """Its reader has left, its disk is full, or it is read-only: all events are published."""
    shell = f'"$@" {closing.replace("|", "; echo $? >status; } |", 1)}'
    shell = f"{{ {shell}" if "|" in closing else f"{shell}; echo $? >status"
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        command = ["bash", "-c", shell, "run", *command_of(operator, events)]
        subprocess.run(
            command, env=operator.environment, cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
    assert (tmp_path / "status").read_text(encoding="utf-8") == "0\n"
    path = operator.state_dir / "events.jsonl" if events == "-" else tmp_path / events
    assert sorted(keys_in(path.read_text(encoding="utf-8"))) == sorted(TRUTH)


@pytest.mark.parametrize("events", ["/dev/stdout", "/dev/stderr", "all.txt"])
def test_messages_do_not_overwrite_events(tmp_path: Path, events: str) -> None:
    """Also if the shell opened the events file as standard output or error."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        assert ran(operator, events, closing=">all.txt 2>&1").returncode == 0
    assert sorted(keys_in((tmp_path / "all.txt").read_text(encoding="utf-8"))) == sorted(TRUTH)


def test_the_copy_on_standard_output_may_end(tmp_path: Path) -> None:
    """When its reader leaves, as `head` does, the run goes on with the default file and ends with 0."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        with subprocess.Popen(
            command_of(operator, "-"),
            env=operator.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as run:
            assert run.stdout
            assert run.stderr
            first = run.stdout.readline()
            run.stdout.close()
            said = run.stderr.read()
            assert run.wait(timeout=60) == 0
    assert len(events_in(first)) == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    kept = (operator.state_dir / "events.jsonl").read_text(encoding="utf-8")
    assert sorted(keys_in(kept)) == sorted(TRUTH)


def test_the_reader_of_standard_error_may_leave(tmp_path: Path) -> None:
    """As in `2>&1 | head -1`: the run goes on in silence."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        shell = ["bash", "-o", "pipefail", "-c", '"$@" 2>&1 | head -1', "run", *command_of(operator, "-")]
        ended = subprocess.run(
            shell, env=operator.environment, text=True, capture_output=True, check=False, timeout=60
        )
    assert ended.returncode == 0, ended.stderr
    kept = (operator.state_dir / "events.jsonl").read_text(encoding="utf-8")
    assert sorted(keys_in(kept)) == sorted(TRUTH)


@pytest.mark.parametrize("closing", ["| true", "| head -c 1", ">&-", ">/dev/full"])
def test_status_shows_no_trace_when_its_reader_leaves(tmp_path: Path, closing: str) -> None:
    """It ends with at most one line."""
    with served(ACCOUNT) as server:
        operator = Operator.of(tmp_path, server)
        assert ran_into(operator, "/dev/null").returncode == 0
    shell = [
        "bash",
        "-c",
        f'"$@" {closing}',
        "status",
        str(COMMAND),
        "status",
        "--state",
        str(operator.state_dir),
    ]
    ended = subprocess.run(shell, text=True, capture_output=True, check=False, timeout=60)
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == (1 if "full" in closing else 0)
