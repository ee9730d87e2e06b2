"""What the commands on a system share: their options, and how they open the systems."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TypeAlias

from rich.console import Console

from contact_activity.cli.aws_place import add_aws_place
from contact_activity.domain.activity import USABLE_ID
from contact_activity.domain.times import parse_time
from contact_activity.operations.system import System, folder_systems
from contact_activity.run.program import program
from contact_activity.run.state_folder import SIMULATED_V3
from contact_activity.settings import Environment

_EPILOG = """
The command acts on every system whose state is in the folder ("account", "simulated"), or on a stack.
AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and the like say where the stack is; --region and --profile win
over them. Repeating it does no harm.

permissions, beside cloudformation:DescribeStacks:
  pause, resume   dynamodb:GetItem, UpdateItem
  resync          dynamodb:GetItem, UpdateItem; with --all Scan
  forget          dynamodb:GetItem, UpdateItem, DeleteItem; sqs:ReceiveMessage, DeleteMessage,
                  ChangeMessageVisibility
  dead-letters    dynamodb:Scan, Query, BatchGetItem; sqs:ReceiveMessage, ChangeMessageVisibility; with
                  --redrive dynamodb:GetItem, UpdateItem, PutItem and sqs:DeleteMessage
"""

DEFAULT_STATE = ".local"

# argparse has no public name for what `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
Command = Callable[[argparse.Namespace, Environment, Console], int]


def add_system_command(
    commands: Commands, name: str, *, summary: str, description: str, command: Command, epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command that acts on systems: with `--stack` or `--state`, and `--dry-run`."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=_EPILOG + epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.set_defaults(command=command)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add `--stack` or `--state`, and `--debug`."""
    add_place_choice(parser)
    parser.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")


def add_place_choice(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add `--stack` or `--state`, with what says where AWS is. Return the group, for other places."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--stack", type=given_argument, metavar="NAME", help="a deployed stack, with your AWS settings"
    )
    where.add_argument(
        "--state",
        type=given_argument,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="a state folder (default .local/)",
    )
    add_aws_place(parser)
    return where


def pasted_place(arguments: argparse.Namespace) -> str:
    """Return what a command in a hint needs to act on the same place, after a blank; "" for the default."""
    if getattr(arguments, "stack", None):
        given = {"stack": arguments.stack, "region": arguments.region, "profile": arguments.profile}
        return "".join(f" --{name} {quote(value)}" for name, value in given.items() if value)
    if arguments.state == DEFAULT_STATE:
        return ""
    # argparse takes a value that begins like an option only so.
    return f" --state{'=' if arguments.state.startswith('-') else ' '}{quote(arguments.state)}"


def command_line(command: str, place: str, system: str = "") -> str:
    """Return a command that can be pasted; "" if there is none. `place`: see `pasted_place`.

    `system`: which one of a folder it is about.
    """
    if not command:
        return ""
    # A run without credentials reads the simulated account as v2 shows it, and has another state.
    version = "CONSTANT_CONTACT_API_VERSION=v3 " if (command, system) == ("run", SIMULATED_V3) else ""
    return f"{version}{program()} {command}{place}"


def given_argument(text: str) -> str:
    """An empty one is a variable that a script did not set: it must not mean another place."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: give one, or leave it out")
    return text


def time_argument(text: str) -> int:
    """Return the time in ms."""
    time_ms = parse_time(text)
    if time_ms is None:
        raise argparse.ArgumentTypeError("give a date such as 2026-01-31, or a time with its offset")
    return time_ms


def contact_id_argument(text: str) -> str:
    if not USABLE_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("give a contact's id as Constant Contact has it, such as 4711")
    return text


@contextmanager
def opened_systems(arguments: argparse.Namespace) -> Iterator[list[System]]:
    """Open the systems that the arguments name. Raises `RunError` if there are none."""
    if arguments.dry_run:
        print_line("dry run, nothing is changed:")
    if arguments.stack:
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.operations.stack import stack_system

        yield [stack_system(arguments.stack)]
        return
    with folder_systems(Path(arguments.state), is_read_only=arguments.dry_run) as systems:
        yield systems


def print_line(line: str) -> None:
    """Print a line of the result on standard output."""
    print(line)  # noqa: T201


def now_ms() -> int:
    return time.time_ns() // 1_000_000
