"""`contact-activity resync`: has activity published again."""

import argparse

from rich.console import Console
from rich.progress import track

from contact_activity.cli.arguments import (
    Commands,
    add_system_command,
    now_ms,
    opened_systems,
    print_line,
    time_argument,
)
from contact_activity.cli.contact_choice import EMAIL_EPILOG, add_contact_choice, chosen_contact
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.domain.counted import counted
from contact_activity.domain.times import iso
from contact_activity.operations.resync import request_resync, resyncable_ids
from contact_activity.operations.system import System
from contact_activity.operations.told_times import when
from contact_activity.run.errors import RunError
from contact_activity.settings import Environment

_RESYNC = """\
Has the activity since a date published again, with the ids and data of the first time, marked
`backfill`: for a subscriber that lost something or that came later. It takes one call for a page of 500
activities. Contacts are read in the order in which they are due, within the quota. `contact-activity
status` shows the progress: a contact is due until it is read.

examples:
  contact-activity resync 4711 --since 2026-01-31
  contact-activity resync --all --since 2026-01-31 --stack contact-activity --dry-run
"""


def add_resync(commands: Commands) -> None:
    parser = add_system_command(
        commands,
        "resync",
        summary="publish activity since a date again",
        description=_RESYNC,
        command=_resync,
        epilog=EMAIL_EPILOG,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    add_contact_choice(which, "CONTACT_ID")
    which.add_argument("--all", action="store_true", help="every contact that is not gone")
    parser.add_argument(
        "--since", type=time_argument, required=True, metavar="DATE", help="such as 2026-01-31"
    )


def _resync(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:
    since_ms: int = arguments.since
    if since_ms > now_ms():
        raise RunError(f"--since {when(since_ms, now_ms())} is in the future: give a time that is past")
    if not arguments.all:
        given_id = arguments.contact_id
        arguments.contact_id = chosen_contact(arguments, environment, f"resync --since {iso(since_ms)}")
        if not given_id:
            print_line(f"the address given is that of contact {arguments.contact_id}")
    with opened_systems(arguments) as systems:
        counts = [_resync_in(system, arguments, console) for system in systems]
    if arguments.contact_id and not sum(counts):
        raise RunError(f"contact {arguments.contact_id} is not known here, or gone from Constant Contact")
    if sum(counts) and not arguments.dry_run:
        print_line(f"the next {'tick' if arguments.stack else 'run, or tick of a run,'} publishes them")
    return EXIT_DONE


def _resync_in(system: System, arguments: argparse.Namespace, console: Console) -> int:
    """Request the resync in one system. Return the number of contacts."""
    contact_ids = resyncable_ids(system) if arguments.all else [arguments.contact_id]
    if arguments.dry_run:
        count = _count_resyncable(system, contact_ids)
    else:
        requested = request_resync(system, contact_ids, arguments.since, now_ms())
        count = sum(track(requested, system.name, len(contact_ids), console=console, transient=True))
    contacts, since = counted(count, "contact"), when(arguments.since, now_ms())
    print_line(
        f"{system.name}: {contacts} to be published again since {since}; at least {counted(count, 'call')}"
    )
    return count


def _count_resyncable(system: System, contact_ids: list[str]) -> int:
    contacts = [system.store.contacts.get(contact_id) for contact_id in contact_ids]
    return sum(contact is not None and not contact.times_gone for contact in contacts)
