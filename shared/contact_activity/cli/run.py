"""`contact-activity run`: reads what contacts did, and publishes it as events."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

from rich.console import Console

from contact_activity.cli.arguments import DEFAULT_STATE, Commands, given_argument, now_ms, pasted_place
from contact_activity.cli.ended_by import end_noted, ended_by
from contact_activity.cli.exit_status import EXIT_CREDENTIAL, EXIT_DONE, EXIT_FAILED, EXIT_QUOTA, fail, warn
from contact_activity.cli.plain_console import plain_console
from contact_activity.cli.progress_bar import ProgressBar
from contact_activity.cli.run_place import print_stack_place, print_where_to_look
from contact_activity.cli.run_summary import Hints, pause_text, print_start, print_summary, print_warnings
from contact_activity.cli.used_account import used_account
from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import PauseReason
from contact_activity.operations.remedies import login
from contact_activity.run.engine import run_embedded
from contact_activity.run.errors import UsageError
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.program import program
from contact_activity.run.progress import Display
from contact_activity.run.state_folder import EVENTS_FILES
from contact_activity.run.summary import Summary
from contact_activity.settings import SETTINGS, Environment, unknown_settings

_EXIT_STATUS_BY_PAUSE = {PauseReason.CREDENTIAL: EXIT_CREDENTIAL, PauseReason.QUOTA: EXIT_QUOTA}
# How often a kept stack is asked for new events.
MOVE_S = 1.0
STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_EPILOG = f"""\
settings, from the environment:
{chr(10).join(f"  {s.name:31}{s.meaning}{f' ({s.default})' if s.default else ''}" for s in SETTINGS)}

Without credentials the activity comes from a simulated account, and nothing leaves this machine.

exit status:
  0  done; of v3 also where a right is missing: standard error names it
  1  a contact failed at all tries, a report failed that activity waits for (v3), or another error;
     standard error has the cause
  2  wrong usage or settings
  3  the API refuses the credential, or to list contacts for want of a right (v3)
  4  the day's quota is used up; the rest is kept for later

examples:
  contact-activity run                      one run, state in .local/
  contact-activity run --every 15           keep running
  contact-activity run --engine cloud --keep   the local cloud, which stays up to look at
  contact-activity run --events - | jq .detail.data.activity.type
"""

Engine = Callable[[Account, RunOptions, Display], Summary]


def add_run(commands: Commands) -> None:
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
    run.add_argument(
        "--keep",
        action="store_true",
        help="cloud: let the local AWS run on until Ctrl-C, and print how to look at the stack",
    )
    how_often = run.add_mutually_exclusive_group()
    how_often.add_argument(
        "--once", action="store_true", help="end when no contact is due any more (default)"
    )
    how_often.add_argument(
        "--every", type=_minutes, metavar="MINUTES", help="keep running, with a tick this often"
    )
    run.add_argument("--all", action="store_true", help="treat every known contact as due now")
    run.add_argument(
        "--state",
        type=given_argument,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="state folder (default .local/)",
    )
    run.add_argument(
        "--events",
        metavar="FILE",
        help="append events to FILE (default STATE/events.jsonl, of the local cloud "
        "STATE/cloud-events.jsonl); - writes them to standard output and to the default file",
    )
    run.add_argument(
        "--quiet", action="store_true", help="show no progress and no summary, only warnings and errors"
    )
    run.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    run.set_defaults(command=_run)


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 24 * 60:
        raise argparse.ArgumentTypeError("give whole minutes from 1 to 1440")
    return int(text)


def _run(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:
    options = _options(arguments)
    for text in unknown_settings(environment):
        warn(text)
    # What is told of progress is dropped; warnings of the run and its errors go another way.
    told = plain_console(file=StringIO()) if arguments.quiet else console
    started_s = time.monotonic()
    with ended_by(signal.SIGTERM), used_account(environment, options.state_dir) as account:
        print_start(told, account, options, arguments.engine)
        # Events on standard output are not to be mixed with lines about them.
        is_elsewhere = arguments.events not in STDOUT_NAMES
        is_mixed = not is_elsewhere and sys.stdout.isatty()
        where = pasted_place(arguments)
        engine = "" if arguments.engine == "embedded" else f" --engine {arguments.engine}"
        hints = Hints(login(account.credentials, where), f"{program()} run{engine}{where}")
        with ProgressBar(told, warnings=console, shows_events=is_elsewhere, draws=not is_mixed) as display:

            def tell(summary: Summary) -> None:
                display.stop()
                if arguments.quiet:
                    print_warnings(console, summary, hints)
                else:
                    print_summary(console, summary, options, time.monotonic() - started_s, hints)

            if arguments.keep:
                options = replace(options, hold=partial(_hold, console, tell))
            summary = _engine(arguments.engine)(account, options, display)
            if not arguments.keep:
                tell(summary)
    if arguments.engine == "cloud" and not arguments.quiet:
        print_where_to_look(console, options)
    return _exit_status(summary, account, where)


def _hold(
    console: Console,
    tell: Callable[[Summary], None],
    summary: Summary,
    endpoint_url: str,
    move_events: Callable[[], None],
) -> None:
    """Print the summary and how to look at the stack, and wait for Ctrl-C, which ends this and no more.

    The stack's own schedule goes on, and what it publishes goes where the run's events went.
    """
    from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION
    from contact_activity.local_cloud.template import STACK_NAME

    # An event whose move is cut off would be moved again.
    with end_noted(signal.SIGINT, signal.SIGTERM) as ended:
        tell(summary)
        print_stack_place(console, endpoint_url, REGION, ACCESS_KEY, STACK_NAME)
        while not ended.wait(MOVE_S):
            move_events()


def _options(arguments: argparse.Namespace) -> RunOptions:
    if arguments.keep and (arguments.engine != "cloud" or arguments.every):
        raise UsageError("--keep is for one run of the local cloud: give --engine cloud and no --every")
    state_dir = Path(arguments.state)
    if arguments.events in STDOUT_NAMES and arguments.is_stdout_closed:
        raise UsageError(f"--events {arguments.events}, but standard output is closed: give a file")
    is_copied = arguments.events == "-"
    given = None if is_copied else arguments.events
    events = Path(given or state_dir / EVENTS_FILES[arguments.engine])
    every_ms = arguments.every * 60_000 if arguments.every else None
    return RunOptions(state_dir, events, arguments.all, every_ms, is_copied)


def _engine(name: str) -> Engine:
    if name == "cloud":
        if not (Path(__file__).parents[3] / "template.yaml").is_file():
            raise UsageError(
                "--engine cloud needs a checkout of the repository: clone it, and run `make cloud` there"
            )
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.local_cloud.engine import run_cloud

        return run_cloud
    return run_embedded


def _exit_status(summary: Summary, account: Account, where: str) -> int:
    if summary.unreachable:
        return fail(EXIT_FAILED, summary.unreachable)
    if summary.pause:
        status = _EXIT_STATUS_BY_PAUSE.get(summary.pause.reason, EXIT_FAILED)
        used, limit = summary.calls_today, account.settings.limits.calls_per_day
        told = pause_text(summary.pause, account.credentials, now_ms(), summary.denied, where, used, limit)
        return fail(status, told)
    if summary.failed:
        return fail(EXIT_FAILED, f"{counted(len(summary.failed), 'contact')} failed after all tries")
    if summary.owing:
        return fail(
            EXIT_FAILED, f"{counted(len(summary.owing), 'campaign report')} failed that activity waits for"
        )
    return EXIT_DONE
