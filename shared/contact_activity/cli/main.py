"""The operator's command line: run, status, and what helps when something went wrong."""

import argparse
import dataclasses
import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from contact_activity.cli.recovery import add_recovery
from contact_activity.domain.pauses import PauseReason
from contact_activity.errors import FatalError, RetryError, StandstillError, to_check
from contact_activity.run.display import RunDisplay, pause_text, print_start, print_summary
from contact_activity.run.engine import run_embedded
from contact_activity.run.options import (
    EVENTS_FILES,
    Account,
    Engine,
    RunError,
    RunOptions,
    Summary,
    UsageError,
)
from contact_activity.settings import SETTINGS, Environment, SettingsError, read_credentials, read_settings

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CREDENTIAL, EXIT_QUOTA = range(5)
_EXIT_BY_PAUSE = {PauseReason.CREDENTIAL: EXIT_CREDENTIAL, PauseReason.QUOTA: EXIT_QUOTA}
SIMULATED_CALLS_PER_SECOND = "60"
STANDARD_ERROR = 2
STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
# By name, since importing boto3 takes as long as an embedded run takes to start.
_MENDS = {
    "NoRegionError": "set AWS_REGION, or AWS_PROFILE to a profile that has one",
    "NoCredentialsError": "sign in to AWS, or set AWS_PROFILE",
}

_EPILOG = f"""\
settings, from the environment:
{chr(10).join(f"  {s.name:31}{s.meaning}{f' ({s.default})' if s.default else ''}" for s in SETTINGS)}

Without credentials the activity comes from a simulated account, and nothing leaves this machine.

exit status:
  0  done
  1  some contact failed after all tries, or anything else; standard error has the cause
  2  bad usage or settings
  3  the API refuses the credential
  4  the day's quota is used up; the rest is kept for later

examples:
  contact-activity run                      one run, state in .local/
  contact-activity run --every 15           keep running
  contact-activity run --events - | jq .detail.data.activity.type
"""

_STATUS_EPILOG = """\
--json prints {"observed_at": ..., "systems": [...]}; later releases only add keys. Of each system:
  name          the stack's, or "account" and "simulated" in a state folder
  contacts      known; due (in a message or not); waiting (in a message); failing; gone; never_synced
  lag_s         median, p95, oldest: seconds that due contacts have been due; null if none is
  since_sync_s  median, p95, oldest: seconds since contacts were last read; null if none was
  quota         used and limit: calls of the UTC day, by this system's own count
  pauses        reason (quota, credential, operator) and until (null: until it is lifted)
  messages      waiting, dead_letters, failed_ticks; null for a state folder
  clock         contacts with times that only a clock that was ahead can have set: due, read, failed
  listing       pages_today: pages of the contact list read on the UTC day; waits: its share is used up
  published     events by day (UTC, today and yesterday) and detail type
  freshness_s   by day: p50 and p95, seconds within which activities were met (no backfill); null if none
  failing_by_cause  contacts by what their last try failed with
  tick_failure  error and at: why and when the last tick failed; null if it did not

A folder may be in use by a run. AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and the like say where a
stack is; to read it takes cloudformation:DescribeStacks, dynamodb:Scan, dynamodb:GetItem and
sqs:GetQueueAttributes.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    is_stdout_closed = sys.stdout is None
    _open_standard_files()
    arguments = _parser().parse_args(argv, argparse.Namespace(is_stdout_closed=is_stdout_closed))
    # State and events hold what people did, and their addresses.
    os.umask(0o077)
    console = Console(stderr=True)
    return _flushed(_status_of(arguments, console))


def _open_standard_files() -> None:
    """Otherwise the next file that is opened takes the place of one that the caller closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_StandardError()), "utf-8", "backslashreplace", line_buffering=True
    )


class _StandardError(io.RawIOBase):
    """What it cannot take is not said: no run ends because nobody listens, or the disk of a log is full."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return STANDARD_ERROR

    def isatty(self) -> bool:
        return os.isatty(STANDARD_ERROR)

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]  # of a `BufferedWriter`
        with suppress(OSError):
            return os.write(STANDARD_ERROR, data)
        return data.nbytes


def _flushed(status: int) -> int:
    """What is printed last may find that its reader has left: nobody misses it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Or Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return _fail(EXIT_FAILED, f"standard output takes no more: {error.strerror}")
    return status


def _status_of(arguments: argparse.Namespace, console: Console) -> int:
    try:
        return int(arguments.command(arguments, os.environ, console))
    except BrokenPipeError:
        return _fail(EXIT_FAILED, "the reader of standard output has left before the end")
    except (SettingsError, UsageError) as error:
        return _fail(EXIT_USAGE, str(error))
    except KeyboardInterrupt:
        if getattr(arguments, "every", None):
            return EXIT_DONE
        return _fail(EXIT_FAILED, "interrupted: nothing is lost, run again to go on")
    except (RunError, StandstillError, RetryError, FatalError) as error:
        return _fail(EXIT_FAILED, f"{error}{to_check(error)}")
    except Exception as error:
        if arguments.debug:
            raise
        mend = _MENDS.get(type(error).__name__, "--debug shows where")
        return _fail(EXIT_FAILED, f"{type(error).__name__}: {error} ({mend})")


def _fail(status: int, cause: str) -> int:
    sys.stderr.write(f"contact-activity: {' '.join(cause.split())}\n")
    return status


def _run(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:
    options = _options(arguments)
    started_s = time.monotonic()
    with _interruptible(), _account(environment, options) as account:
        print_start(console, account, options, arguments.engine)
        with RunDisplay(console) as display:
            summary = _engine(arguments.engine)(account, options, display)
    print_summary(console, summary, options, time.monotonic() - started_s)
    return _exit_status(summary)


def _status(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:  # noqa: ARG001
    from contact_activity.operations.status import folder_status, print_status, to_json

    if arguments.stack:
        from contact_activity.operations.stack_status import stack_status

        statuses = [stack_status(arguments.stack)]
    else:
        settings = read_settings(environment)
        calls_each = len(settings.reading.reports)
        statuses = folder_status(Path(arguments.state), settings.limits, calls_each)
    if arguments.json:
        print(json.dumps(to_json(statuses, time.time_ns() // 1_000_000)))  # noqa: T201
        return EXIT_DONE
    for status in statuses:
        print_status(Console(highlight=False, soft_wrap=True), status)
    return EXIT_DONE


def _exit_status(summary: Summary) -> int:
    if summary.to_check:
        return _fail(EXIT_FAILED, summary.to_check)
    if summary.pause:
        return _fail(_EXIT_BY_PAUSE.get(summary.pause.reason, EXIT_FAILED), pause_text(summary.pause))
    if summary.failed:
        return _fail(EXIT_FAILED, f"{len(summary.failed):,} contacts failed after all tries")
    return EXIT_DONE


def _engine(name: str) -> Engine:
    if name == "cloud":
        # boto3 alone takes as long to import as an embedded run takes to start.
        from contact_activity.local_cloud.engine import run_cloud

        return run_cloud
    return run_embedded


@contextmanager
def _account(environment: Environment, options: RunOptions) -> Iterator[Account]:
    """The account that the credentials open; without any, the simulated one while this lasts."""
    credentials = read_credentials(environment)
    if credentials:
        yield Account(read_settings(environment), credentials, is_simulated=False)
        return
    if environment.get("CONSTANT_CONTACT_BASE_URL", "").strip():
        raise SettingsError(
            "CONSTANT_CONTACT_API_KEY is not set, but CONSTANT_CONTACT_BASE_URL is: "
            "set both credentials too, or none of the three for the simulated account"
        )
    from contact_activity.simulated.account_for_run import simulated

    settings = read_settings({"CALLS_PER_SECOND": SIMULATED_CALLS_PER_SECOND} | _set(environment))
    with simulated(options.state_dir / "simulated.json", settings) as (base_url, credentials):
        yield Account(dataclasses.replace(settings, base_url=base_url), credentials, is_simulated=True)


def _set(environment: Environment) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value.strip()}


@contextmanager
def _interruptible() -> Iterator[None]:
    """A service manager's SIGTERM ends a run as cleanly as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _options(arguments: argparse.Namespace) -> RunOptions:
    state_dir = Path(arguments.state)
    if arguments.events in STDOUT_NAMES and arguments.is_stdout_closed:
        raise UsageError(f"--events {arguments.events}, but standard output is closed: give a file")
    is_copied = arguments.events == "-"
    given = None if is_copied else arguments.events
    events = Path(given or state_dir / EVENTS_FILES[arguments.engine])
    every_ms = arguments.every * 60_000 if arguments.every else None
    return RunOptions(state_dir, events, arguments.all, every_ms, is_copied)


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 24 * 60:
        raise argparse.ArgumentTypeError("give whole minutes from 1 to 1440")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="contact-activity",
        description="Constant Contact e-mail activity as events on an EventBridge bus.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_status(commands)
    add_recovery(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[_Parser]") -> None:
    run = commands.add_parser(
        "run",
        help="read what contacts did since the last run and publish it as events",
        description="Read what contacts did since the last run and publish it as events.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "--engine",
        choices=("embedded", "cloud"),
        default="embedded",
        help="embedded: one SQLite file (default); cloud: the real template in a local AWS emulator",
    )
    how_often = run.add_mutually_exclusive_group()
    how_often.add_argument("--once", action="store_true", help="end when nothing is due any more (default)")
    how_often.add_argument(
        "--every", type=_minutes, metavar="MINUTES", help="keep running, with a tick this often"
    )
    run.add_argument("--all", action="store_true", help="treat every known contact as due now")
    run.add_argument("--state", default=".local", metavar="DIR", help="state folder (default .local/)")
    run.add_argument(
        "--events",
        metavar="FILE",
        help="append events here (default STATE/events.jsonl, of the local cloud STATE/cloud-events.jsonl); "
        "- writes them to standard output as well as to the default file",
    )
    run.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    run.set_defaults(command=_run)


def _add_status(commands: "argparse._SubParsersAction[_Parser]") -> None:
    status = commands.add_parser(
        "status",
        help="show what is known, due, behind, paused and used up, and change nothing",
        description="Show what is known, due, behind, paused and used up, and change nothing.",
        epilog=_STATUS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = status.add_mutually_exclusive_group()
    where.add_argument("--stack", metavar="NAME", help="a deployed stack, by the usual AWS settings")
    where.add_argument("--state", default=".local", metavar="DIR", help="a state folder (default .local/)")
    status.add_argument("--json", action="store_true", help="print one JSON document, for scripts")
    status.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    status.set_defaults(command=_status)
