"""`contact-activity pause`, `resume`, `forget`, `resync`, `dead-letters`."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from contact_activity.domain.activity import USABLE_ID
from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.schedule import FAILURE_WAIT_MAX_MS, GONE_WAIT_MAX_MS
from contact_activity.domain.times import is_too_late, iso, parse_time
from contact_activity.domain.work import DeadLetter, WorkKind
from contact_activity.operations import recovery
from contact_activity.operations.recovery import Failing, System, folder_systems
from contact_activity.run.options import EVENTS_FILES, RunError, locked

_WHERE = """
It acts on every system whose state is in the folder ("account", "simulated"), or on a stack, by
AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and the like. Repeating it does no harm.
"""
_PAUSE = """\
Nothing is read from Constant Contact, and nothing published, until --until or `contact-activity
resume`. What is under way comes to its end; contacts stay due, and nothing is lost. `run` ends with
status 1 while it is paused, `run --every` waits.

example:
  contact-activity pause --stack contact-activity --until 2026-12-01T06:00+01:00
"""
_RESUME = """\
Ends the operator's pause. A pause for the quota or for the credential stays: it ends by itself.

example:
  contact-activity resume --stack contact-activity
"""
_FORGET = """\
Erases all that is stored of one contact: its watermark, the digests of its activities, its summaries,
its dead letters; in a state folder also its lines in the events file (no run may be under way).

Delete the contact in Constant Contact first: as long as it is listed there it is a new contact here,
and its history is published again. A worker that reads it at this moment publishes to its last page,
and a dead letter that another command looks at is not seen for two minutes: repeat it after that.

Not erased: what subscribers and an archive of the bus keep, the example of a subscriber among them;
ids of contacts in the logs, until they end; backups of the table, for 35 days; events that could not
be delivered; the state of the local cloud, whose folder can be deleted.

example:
  contact-activity forget 4711 --stack contact-activity --dry-run
"""
_RESYNC = """\
Has the activity since a date published again, with the ids and data of the first time, marked
`backfill`: for a subscriber that lost something or that came later. It takes one call a page of 500
activities; contacts are read in the order in which they are due, within the quota. A contact's
progress is in `contact-activity status`: it is due until it is read.

examples:
  contact-activity resync 4711 --since 2026-01-31
  contact-activity resync --all --since 2026-01-31 --stack contact-activity --dry-run
"""
_DEAD_LETTERS = """\
Lists the contacts whose last try failed, and the messages that were given up after five tries
(a stack has them in its dead-letter queue), each with the last error and its time. With --redrive
all of these are due now and their dead letters are deleted. A message is a hint only: none is sent
again, the next tick plans anew.

examples:
  contact-activity dead-letters --stack contact-activity
  contact-activity dead-letters --stack contact-activity --redrive
"""
_PERMISSIONS = """
permissions, beside cloudformation:DescribeStacks:
  pause, resume   dynamodb:GetItem, UpdateItem
  resync          dynamodb:GetItem, UpdateItem; with --all Scan
  forget          dynamodb:GetItem, DeleteItem; sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility
  dead-letters    dynamodb:Scan; sqs:ReceiveMessage, ChangeMessageVisibility; with --redrive
                  dynamodb:GetItem, UpdateItem, PutItem and sqs:DeleteMessage
"""
SHOWN_MOST = 50
# Wider than a terminal, which wraps a line itself: what is cut cannot be read at all.
TABLE_CHARACTERS = 500


P = TypeVar("P", bound=argparse.ArgumentParser)
Command = Callable[[argparse.Namespace, Mapping[str, str], Console], int]


def add_recovery(commands: "argparse._SubParsersAction[P]") -> None:
    pause = _command(commands, "pause", "stop reading until it is resumed", _PAUSE, _pause)
    pause.add_argument("--until", type=_time, metavar="TIME", help="resume by itself then")
    _command(commands, "resume", "end the operator's pause", _RESUME, _resume)
    forget = _command(commands, "forget", "erase what is stored of a contact", _FORGET, _forget)
    forget.add_argument("contact_id", type=_contact_id, metavar="CONTACT_ID")
    forget.add_argument(
        "--events",
        metavar="FILE",
        help="the events file (default STATE/events.jsonl, STATE/cloud-events.jsonl)",
    )
    resync = _command(commands, "resync", "publish activity since a date again", _RESYNC, _resync)
    which = resync.add_mutually_exclusive_group(required=True)
    which.add_argument("contact_id", nargs="?", type=_contact_id, metavar="CONTACT_ID")
    which.add_argument("--all", action="store_true", help="every contact that is not gone")
    resync.add_argument("--since", type=_time, required=True, metavar="DATE", help="such as 2026-01-31")
    letters = _command(
        commands, "dead-letters", "list what failed, and try it again", _DEAD_LETTERS, _letters
    )
    letters.add_argument("--redrive", action="store_true", help="have all of it tried again now")


def _command(
    commands: "argparse._SubParsersAction[P]",
    name: str,
    summary: str,
    text: str,
    run: Command,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=_WHERE + _PERMISSIONS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--stack", metavar="NAME", help="a deployed stack")
    where.add_argument("--state", default=".local", metavar="DIR", help="a state folder (default .local/)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    parser.set_defaults(command=run)
    return parser


def _time(text: str) -> int:
    time_ms = parse_time(text)
    if time_ms is None:
        raise argparse.ArgumentTypeError("give a date such as 2026-01-31, or a time with its offset")
    return time_ms


def _contact_id(text: str) -> str:
    if not USABLE_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("give a contact's id as Constant Contact has it, such as 4711")
    return text


@contextmanager
def _systems(arguments: argparse.Namespace) -> Iterator[list[System]]:
    if arguments.dry_run:
        _say("dry run, nothing is changed:")
    if arguments.stack:
        from contact_activity.operations.stack_recovery import stack_system

        yield [stack_system(arguments.stack)]
        return
    with folder_systems(Path(arguments.state), is_read_only=arguments.dry_run) as systems:
        yield systems


def _say(line: str) -> None:
    print(line)  # noqa: T201


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _pause(arguments: argparse.Namespace, _: Mapping[str, str], __: Console) -> int:
    until_ms: int | None = arguments.until
    if until_ms is not None and until_ms <= _now_ms():
        raise RunError(f"--until {iso(until_ms)} is past: give a time to come")
    with _systems(arguments) as systems:
        for system in systems:
            recovery.pause(system, until_ms, is_dry_run=arguments.dry_run)
            end = "`contact-activity resume`" if until_ms is None else iso(until_ms)
            _say(f"{system.name}: paused until {end}")
    return 0


def _resume(arguments: argparse.Namespace, _: Mapping[str, str], __: Console) -> int:
    with _systems(arguments) as systems:
        for system in systems:
            was_paused = recovery.resume(system, _now_ms(), is_dry_run=arguments.dry_run)
            _say(f"{system.name}: " + ("resumed" if was_paused else "was not paused by the operator"))
    return 0


def _forget(arguments: argparse.Namespace, _: Mapping[str, str], __: Console) -> int:
    state_dir, contact_id, is_dry_run = Path(arguments.state), arguments.contact_id, arguments.dry_run
    if arguments.stack and arguments.events:
        raise RunError("--events belongs to a state folder: a stack's events are with its subscribers")
    if arguments.events and not Path(arguments.events).is_file():
        raise RunError(f"--events {arguments.events} is no file: give the one that the runs wrote")
    is_in_folder = not arguments.stack and state_dir.is_dir()
    is_locked = is_in_folder and not is_dry_run
    with locked(state_dir) if is_locked else nullcontext(), _systems(arguments) as systems:
        for system in systems:
            done = recovery.forget(system, contact_id, is_dry_run=is_dry_run)
            stored = "erased" if done.is_known else "nothing is stored"
            letters = f", {done.dead_letters} dead letters deleted" if done.dead_letters else ""
            _say(f"{system.name}: contact {contact_id}: {stored}{letters}")
        if is_in_folder:
            _forget_events(arguments, state_dir)
    _say("a contact that Constant Contact still lists comes back; subscribers keep what they have")
    return 0


def _forget_events(arguments: argparse.Namespace, state_dir: Path) -> None:
    """In the file given, or in those that the runs of both engines write by default."""
    defaults = [state_dir / name for name in EVENTS_FILES.values()]
    files = [Path(arguments.events)] if arguments.events else [path for path in defaults if path.is_file()]
    for file in files:
        lines = recovery.forget_events(file, arguments.contact_id, is_dry_run=arguments.dry_run)
        _say(f"{file}: {lines:,} events erased")
    if not files:
        _say(f"{defaults[0]} is not there: if the runs wrote another file, give it with --events")


def _resync(arguments: argparse.Namespace, _: Mapping[str, str], console: Console) -> int:
    since_ms: int = arguments.since
    if since_ms > _now_ms():
        raise RunError(f"--since {iso(since_ms)} is to come: give a time that is past")
    reached = 0
    with _systems(arguments) as systems:
        for system in systems:
            wanted = recovery.known_ids(system) if arguments.all else [arguments.contact_id]
            count = _reachable(system, wanted) if arguments.dry_run else 0
            if not arguments.dry_run:
                asked = recovery.request_resync(system, wanted, since_ms, _now_ms())
                count = sum(track(asked, system.name, len(wanted), console=console, transient=True))
            _say(
                f"{system.name}: {count:,} contacts to be published again since {iso(since_ms)}; "
                f"at least {count:,} calls"
            )
            reached += count
    if arguments.contact_id and not reached:
        raise RunError(f"contact {arguments.contact_id} is not known here, or gone from Constant Contact")
    return 0


def _reachable(system: System, contact_ids: list[str]) -> int:
    contacts = [system.store.contacts.get(contact_id) for contact_id in contact_ids]
    return sum(contact is not None and not contact.times_gone for contact in contacts)


def _letters(arguments: argparse.Namespace, _: Mapping[str, str], __: Console) -> int:
    with _systems(arguments) as systems:
        for system in systems:
            if arguments.redrive and not arguments.dry_run:
                done = recovery.redrive(system, _now_ms())
                _say(f"{system.name}: {done.contacts:,} contacts due now, {done.letters:,} letters deleted")
                if done.unreadable:
                    _say(f"{system.name}: {done.unreadable:,} letters are no message of ours and stay")
            else:
                _print_failing(system.name, recovery.failing(system))
    return 0


def _print_failing(name: str, found: Failing) -> None:
    _say(f"{name}: {len(found.contacts):,} contacts failing, {len(found.letters):,} dead letters")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("what", "id", "", "when", "last failed", "because"):
        table.add_column(heading, no_wrap=True)
    for contact in found.contacts[:SHOWN_MOST]:
        tries = f"{contact.failures} failed"
        table.add_row("contact", contact.id, tries, _again(contact), *_last_failure(contact))
    letters = zip(found.letters, found.letter_contacts, strict=True)
    for letter, of_letter in islice(letters, SHOWN_MOST):
        since = f"since {iso(letter.sent_ms)}"
        table.add_row(*_letter_row(letter), "given up", since, *_last_failure(of_letter))
    if table.row_count:
        Console(highlight=False, soft_wrap=True, width=TABLE_CHARACTERS).print(table)


def _last_failure(contact: ContactOutline | None) -> tuple[str, str]:
    if contact is None or contact.failed_ms is None:
        return "", ""
    return iso(contact.failed_ms), contact.last_error or ""


def _again(contact: ContactOutline) -> str:
    longest_ms = GONE_WAIT_MAX_MS if contact.times_gone else FAILURE_WAIT_MAX_MS
    if is_too_late(contact.due_ms, _now_ms() + longest_ms):
        return "again at the next tick: the clock was ahead"
    return f"again {iso(contact.due_ms)}"


def _letter_row(letter: DeadLetter) -> tuple[str, str]:
    if letter.item is None:
        return "dead letter", "no message of ours"
    if letter.item.kind is WorkKind.CONTACT:
        return "dead letter", letter.item.id
    return "dead letter", str(letter.item)
