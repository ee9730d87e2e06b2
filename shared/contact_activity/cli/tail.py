"""`contact-activity tail`: shows events as a run writes them, or as a stack publishes them."""

import argparse
import json
import select
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from contact_activity.cli.arguments import (
    Commands,
    add_place_choice,
    contact_id_argument,
    pasted_place,
    print_line,
)
from contact_activity.cli.ended_by import ended_by
from contact_activity.cli.event_line import SUMMARIZED, event_line, what_happened
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.cli.narrow import print_broken
from contact_activity.domain.activity import USABLE_ID, ActivityType
from contact_activity.domain.counted import counted
from contact_activity.domain.summary import SummaryKind
from contact_activity.operations.recent_events import MAX_LINE_BYTES
from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.program import program
from contact_activity.run.state_folder import EVENTS_FILES
from contact_activity.settings import Environment

LOOK_S = 0.2
# The events' own types, by what a line says of them.
_TYPES = {type_.past_tense: {type_.detail_type} for type_ in ActivityType} | {
    SUMMARIZED: {kind.detail_type for kind in SummaryKind}
}
DEFAULT_LINES = 10
MOST_LINES = 1_000_000
_EPILOG = """\
examples:
  contact-activity tail                          the last ten events, then each as it is written
  contact-activity tail --type clicked,bounced   of these types only
  contact-activity tail --contact 4711 --json    whole events, one JSON object a line
  contact-activity tail --no-follow --lines 100  the last hundred, and end
  contact-activity tail --stack contact-activity each from now on, as the bus of a stack gives it

A line has the time when the event was met, the type, the contact, what it is about, and how long after it
happened it was met. A line of the file that is no event, or longer than one can be, is skipped, and counted
at the end.

With --stack a rule is made on the stack's bus, which chooses what is asked for, and a queue to which only
this rule may send. Both are removed at the end, also by SIGTERM and SIGHUP; what `kill -9` leaves is removed
by the next tail of the stack, once nothing was heard of it for 2 minutes. Any number may run at once. A bus
that has a rule cannot be deleted: end each tail before you remove the stack. Lines come nearly in order, and
an event that is published twice comes twice.

permissions, beside cloudformation:DescribeStacks, for names that begin with contact-activity-tail-:
  events  ListRules (of the bus), PutRule, PutTargets, RemoveTargets, DeleteRule
  sqs     ListQueues (of the account), CreateQueue, TagQueue, ListQueueTags, ReceiveMessage, DeleteMessage,
          DeleteQueue
"""


def add_tail(commands: Commands) -> None:
    tail = commands.add_parser(
        "tail",
        help="show events as a run writes them or a stack publishes them, a line each",
        description="Show events as a run writes them into a state folder or a stack publishes them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = add_place_choice(tail)
    where.add_argument("--events", metavar="FILE", help="an events file, in place of the folder's")
    tail.add_argument(
        "--type",
        type=_types,
        action="append",
        metavar="TYPES",
        help=f"some of {', '.join(_TYPES)}; may be repeated",
    )
    tail.add_argument("--contact", type=contact_id_argument, metavar="ID", help="of this contact only")
    tail.add_argument(
        "--campaign", type=_campaign_id, metavar="ID", help="of this campaign, or mailing (v3), only"
    )
    tail.add_argument("--lines", type=_lines, metavar="N", help="begin with the last N (10)")
    tail.add_argument("--no-follow", action="store_true", help="end after these")
    tail.add_argument("--json", action="store_true", help="print whole events, for scripts")
    tail.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    tail.set_defaults(command=_tail)


def _types(text: str) -> frozenset[str]:
    types = frozenset(text.split(","))
    if wrong := types - frozenset(_TYPES):
        raise argparse.ArgumentTypeError(f"there is no type {min(wrong)}: give some of {','.join(_TYPES)}")
    return types


def _campaign_id(text: str) -> str:
    if not USABLE_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("give a campaign's id as Constant Contact has it")
    return text


def _lines(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > MOST_LINES:
        raise argparse.ArgumentTypeError(f"give a number from 0 to {MOST_LINES:,}")
    return int(text)


class _Shown:
    """Prints the events that were asked for, and counts the lines that are none."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.broken = 0

    def text(self, line: bytes) -> str | None:
        """Return what to print of a line of the file. None if it is not asked for, or broken."""
        try:
            whole = line.decode()
            envelope = json.loads(whole)
            text = event_line(envelope)
            is_wanted = self._is_wanted(envelope["detail"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.broken += 1
            return None
        if not is_wanted:
            return None
        return whole.rstrip("\n") if self._arguments.json else text

    def print(self, text: str) -> None:
        """Print what `text` returned."""
        # A program reads whole lines.
        (print_line if self._arguments.json else print_broken)(text)

    def _is_wanted(self, detail: Mapping[str, Any]) -> bool:
        asked, data = self._arguments, detail["data"]
        return (
            (asked.type is None or what_happened(data) in frozenset().union(*asked.type))
            and asked.contact in (None, data.get("contact", {}).get("id"))
            and asked.campaign in (None, data.get("campaign", {}).get("id"))
        )


def _tail(arguments: argparse.Namespace, _: Environment, console: Console) -> int:
    if arguments.stack:
        return _tail_stack(arguments, console)
    path, shown = _events_file(arguments), _Shown(arguments)
    if not path.exists():
        given = f" --events {quote(arguments.events)}" if arguments.events else pasted_place(arguments)
        makes = f"`{program()} run{given}` makes it"
        if arguments.no_follow:
            raise RunError(f"there is no events file {path}: {makes}")
        console.print(f"there is no {path} yet, {makes}: waiting", soft_wrap=True, highlight=False)
    with suppress(KeyboardInterrupt):
        _show(path, shown, arguments)
    if shown.broken:
        _tell(console, f"skipped {counted(shown.broken, 'line')} of {path}: no event")
    return EXIT_DONE


def _tell(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _tail_stack(arguments: argparse.Namespace, console: Console) -> int:
    given = {"--lines": arguments.lines is not None, "--no-follow": arguments.no_follow}
    for option in (option for option, is_given in given.items() if is_given):
        raise UsageError(f"{option} belongs to a folder: a bus keeps no events, they are shown from now on")
    # Imported only here, since boto3 takes as long as an embedded run takes to start.
    from contact_activity.operations.follow_stack import follow_stack

    shown = _Shown(arguments)

    def show(lines: Sequence[str]) -> None:
        for line in lines:
            if (text := shown.text(line.encode(errors="surrogatepass"))) is not None:
                shown.print(text)
        sys.stdout.flush()
        if _has_reader_left():
            raise BrokenPipeError

    with ended_by(signal.SIGTERM, signal.SIGHUP):
        follow_stack(
            arguments.stack, stack_pattern(arguments), show=show, tell=lambda text: _tell(console, text)
        )
    if shown.broken:
        _tell(console, f"skipped {counted(shown.broken, 'message')}: no event")
    return EXIT_DONE


def stack_pattern(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the pattern of a rule for what the arguments choose."""
    from contact_activity.operations.tap import event_pattern

    types = frozenset().union(*(_TYPES[name] for name in frozenset().union(*arguments.type or ())))
    return event_pattern(types, arguments.contact, arguments.campaign)


def _has_reader_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more. Without events no write would tell."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(happened & select.POLLERR for _, happened in poll.poll(0))


def _events_file(arguments: argparse.Namespace) -> Path:
    """The one that is given, or the folder's that was written last."""
    if arguments.events:
        return Path(arguments.events)
    files = [Path(arguments.state) / name for name in EVENTS_FILES.values()]
    there = [path for path in files if path.exists()]
    return max(there, key=lambda path: path.stat().st_mtime) if there else files[0]


def _show(path: Path, shown: _Shown, arguments: argparse.Namespace) -> None:
    most = DEFAULT_LINES if arguments.lines is None else arguments.lines
    last: deque[str] = deque(maxlen=most)
    read = _Read(path, 0, 0)
    if path.exists():
        read = _read_new(read, shown, last.append)
    for text in last:
        shown.print(text)
    sys.stdout.flush()
    while not arguments.no_follow:
        if not read.path.exists():
            # Whichever file a run makes is followed.
            read = _Read(_events_file(arguments), 0, 0)
        read = _read_new(read, shown, shown.print)
        sys.stdout.flush()
        time.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class _Read:
    """How far a file was read. `file_id`: which file stood under the path.

    `is_in_skipped`: what follows belongs to a line that is too long, and was counted.
    """

    path: Path
    file_id: int
    position: int
    is_in_skipped: bool = False


def _read_new(read: _Read, shown: _Shown, take: Callable[[str], None]) -> _Read:
    """Take what was written since. A file that is another one, or shorter, is read from its beginning."""
    try:
        found = read.path.stat()
    except FileNotFoundError:
        return _Read(read.path, 0, 0)
    if stat.S_ISFIFO(found.st_mode):
        # To open one that nobody writes would take for ever.
        raise RunError(
            f"{read.path} is a pipe, and no file: write what comes out of it to a file, and give that"
        )
    is_same = found.st_ino == read.file_id and found.st_size >= read.position
    if not is_same:
        read = _Read(read.path, found.st_ino, 0)
    for line, now_read in _whole_lines(read):
        read = now_read
        if line is not None and (text := shown.text(line)) is not None:
            take(text)
    return read


def _whole_lines(read: _Read) -> Iterator[tuple[bytes | None, _Read]]:
    """Each line that is ended, and how far that is. An empty one stands for one that is too long.

    None: more of such a line. No more than `MAX_LINE_BYTES` of a line is in memory.
    """
    with read.path.open("rb") as file:
        file.seek(read.position)
        while part := file.readline(MAX_LINE_BYTES):
            is_ended, was_skipped = part.endswith(b"\n"), read.is_in_skipped
            if not (is_ended or was_skipped or len(part) == MAX_LINE_BYTES):
                # The rest is not written yet.
                return
            read = replace(read, position=read.position + len(part), is_in_skipped=not is_ended)
            yield None if was_skipped else part if is_ended else b"", read
