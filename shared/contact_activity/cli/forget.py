"""`contact-activity forget`: erases what is stored of a contact."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from contact_activity.cli.arguments import (
    Commands,
    add_system_command,
    now_ms,
    opened_systems,
    pasted_place,
    print_line,
)
from contact_activity.cli.contact_choice import EMAIL_EPILOG, add_contact_choice, chosen_contact
from contact_activity.cli.exit_status import EXIT_DONE, warn
from contact_activity.domain.counted import counted
from contact_activity.operations.forget import forget, forget_events
from contact_activity.operations.system import System
from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.state_folder import EVENTS_FILES, is_locked, locked
from contact_activity.settings import Environment

_FORGET = """\
Erases all that is stored of one contact: its watermark, the digests of its activities, its summaries,
its dead letters, what is held of it to compare campaigns' reports. In a state folder it also erases its
lines in the events file; no run may use the folder meanwhile. A digest of its id stays: by it the contact
is left out, whatever lists or names it, until Constant Contact lists it as changed after this command.

Delete the contact in Constant Contact first: an edit that comes later, a deletion too, is such a change.
Note its id before: API v2 does not find an address that was deleted, as --email asks for it.
It is a new contact here then, and its history is published again. A worker that reads the contact at this
moment publishes the rest of its pages, and a dead letter that another command has taken stays hidden for
two minutes: repeat the command after that.

On a terminal it asks first. Elsewhere it needs --yes.

Not erased: what subscribers and an archive of the bus keep, the example of a subscriber among them;
ids of contacts in the logs, until these expire; backups of the table, for 35 days; events that could
not be delivered; the state of the local cloud, whose folder can be deleted.

example:
  contact-activity forget 4711 --stack contact-activity --dry-run
  contact-activity forget 4711 --stack contact-activity --yes
"""


def add_forget(commands: Commands) -> None:
    parser = add_system_command(
        commands,
        "forget",
        summary="erase what is stored of a contact",
        description=_FORGET,
        command=_forget,
        epilog=EMAIL_EPILOG,
    )
    add_contact_choice(parser.add_mutually_exclusive_group(required=True), "CONTACT_ID")
    parser.add_argument(
        "--events",
        metavar="FILE",
        help="the events file (default STATE/events.jsonl, STATE/cloud-events.jsonl)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")


def _forget(arguments: argparse.Namespace, environment: Environment, __: Console) -> int:
    state_dir = Path(arguments.state)
    _check_events(arguments)
    _check_is_wanted(arguments)
    arguments.contact_id = chosen_contact(arguments, environment, "forget")
    if not _is_wanted(arguments):
        print_line("nothing is erased")
        return EXIT_DONE
    is_in_folder = not arguments.stack and state_dir.is_dir()
    is_real = is_in_folder and not arguments.dry_run
    if arguments.dry_run and is_in_folder and is_locked(state_dir):
        warn("a run uses this folder, so that without --dry-run nothing is erased: stop the run first")
    with locked(state_dir) if is_real else nullcontext(), opened_systems(arguments) as systems:
        for system in systems:
            _forget_in(system, arguments)
        if is_in_folder:
            _forget_events(arguments, state_dir)
    if arguments.dry_run:
        return EXIT_DONE
    print_line(
        "it comes back only if it is changed in Constant Contact from now on; subscribers keep what they have"
    )
    return EXIT_DONE


def _check_is_wanted(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` if nobody said yes, and nobody sits there to say it."""
    if arguments.yes or arguments.dry_run:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "forget erases for good, and nobody can be asked here: add --yes, or --dry-run to look"
        )


def _is_wanted(arguments: argparse.Namespace) -> bool:
    """Whether to go on: asks who sits there."""
    if arguments.yes or arguments.dry_run:
        return True
    place = pasted_place(arguments).strip() or f"--state {arguments.state}"
    sys.stderr.write(f"Erase all that {place} holds of contact {arguments.contact_id}, for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _check_events(arguments: argparse.Namespace) -> None:
    if arguments.stack and arguments.events:
        raise RunError("--events belongs to a state folder: a stack's events are with its subscribers")
    if arguments.events and not Path(arguments.events).is_file():
        raise RunError(f"--events {arguments.events} is no file: give the one that the runs wrote")


def _forget_in(system: System, arguments: argparse.Namespace) -> None:
    contact_id = arguments.contact_id
    forgotten = forget(system, contact_id, now_ms(), is_dry_run=arguments.dry_run)
    would = "would be " if arguments.dry_run else ""
    stored = f"{would}erased" if forgotten.is_known else "nothing is stored"
    letters = (
        f", {counted(forgotten.dead_letters, 'dead letter')} {would}deleted" if forgotten.dead_letters else ""
    )
    print_line(f"{system.name}: contact {contact_id}: {stored}{letters}")


def _forget_events(arguments: argparse.Namespace, state_dir: Path) -> None:
    """Erase events from the file of the arguments, or from the default files of both engines."""
    defaults = [state_dir / name for name in EVENTS_FILES.values()]
    files = [Path(arguments.events)] if arguments.events else [path for path in defaults if path.is_file()]
    for file in files:
        lines = forget_events(file, arguments.contact_id, is_dry_run=arguments.dry_run)
        would = "would be " if arguments.dry_run else ""
        print_line(f"{file}: {counted(lines, 'event')} {would}erased")
    if not files:
        print_line(f"{defaults[0]} does not exist: if the runs wrote another file, give it with --events")
