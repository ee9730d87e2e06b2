"""`contact-activity tail`: shows events as a run writes them. Changes nothing."""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from contact_activity.cli.arguments import (
    DEFAULT_STATE,
    Commands,
    contact_id_argument,
    given_argument,
    print_line,
)
from contact_activity.cli.event_line import SUMMARIZED, event_line, what_happened
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.counted import counted
from contact_activity.run.errors import RunError
from contact_activity.run.state_folder import EVENTS_FILES
from contact_activity.settings import Environment

LOOK_S = 0.2
_TYPES = [*(type_.past_tense for type_ in ActivityType), SUMMARIZED]
MOST_LINES = 1_000_000
_EPILOG = """\
examples:
  contact-activity tail                          the last ten events, then each as it is written
  contact-activity tail --type clicked,bounced   of these types only
  contact-activity tail --contact 4711 --json    whole events, one JSON object a line
  contact-activity tail --no-follow --lines 100  the last hundred, and end

A line has the time when the event was met (UTC), the type, the contact, what it is about, and how long after
it happened it was met. A line of the file that is no event is skipped, and counted at the end.
"""


def add_tail(commands: Commands) -> None:
    tail = commands.add_parser(
        "tail",
        help="show events as a run writes them, a line each",
        description="Show events as a run writes them into a state folder, a line each.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = tail.add_mutually_exclusive_group()
    where.add_argument(
        "--state",
        type=given_argument,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="a state folder (default .local/)",
    )
    where.add_argument("--events", metavar="FILE", help="an events file, in place of the folder's")
    tail.add_argument(
        "--type",
        type=_types,
        action="append",
        metavar="TYPES",
        help=f"some of {', '.join(_TYPES)}; may be repeated",
    )
    tail.add_argument("--contact", type=contact_id_argument, metavar="ID", help="of this contact only")
    tail.add_argument("--campaign", metavar="ID", help="of this campaign, or mailing (v3), only")
    tail.add_argument("--lines", type=_lines, default=10, metavar="N", help="begin with the last N (10)")
    tail.add_argument("--no-follow", action="store_true", help="end after these")
    tail.add_argument("--json", action="store_true", help="print whole events, for scripts")
    tail.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    tail.set_defaults(command=_tail)


def _types(text: str) -> frozenset[str]:
    types = frozenset(text.split(","))
    if wrong := types - frozenset(_TYPES):
        raise argparse.ArgumentTypeError(f"there is no type {min(wrong)}: give some of {','.join(_TYPES)}")
    return types


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

    def _is_wanted(self, detail: Mapping[str, Any]) -> bool:
        asked, data = self._arguments, detail["data"]
        return (
            (asked.type is None or what_happened(data) in frozenset().union(*asked.type))
            and asked.contact in (None, data.get("contact", {}).get("id"))
            and asked.campaign in (None, data.get("campaign", {}).get("id"))
        )


def _tail(arguments: argparse.Namespace, _: Environment, console: Console) -> int:
    path, shown = _events_file(arguments), _Shown(arguments)
    if not path.exists():
        makes = "`contact-activity run` makes it"
        if arguments.no_follow:
            raise RunError(f"there is no events file {path}: {makes}")
        console.print(f"there is no {path} yet, {makes}: waiting", soft_wrap=True, highlight=False)
    with suppress(KeyboardInterrupt):
        _show(path, shown, arguments)
    if shown.broken:
        console.print(
            f"skipped {counted(shown.broken, 'line')} of {path}: no event",
            soft_wrap=True,
            highlight=False,
        )
    return EXIT_DONE


def _events_file(arguments: argparse.Namespace) -> Path:
    """The one that is given, or the folder's that was written last."""
    if arguments.events:
        return Path(arguments.events)
    files = [Path(arguments.state) / name for name in EVENTS_FILES.values()]
    there = [path for path in files if path.exists()]
    return max(there, key=lambda path: path.stat().st_mtime) if there else files[0]


def _show(path: Path, shown: _Shown, arguments: argparse.Namespace) -> None:
    last: deque[str] = deque(maxlen=arguments.lines)
    read = _Read(path, 0, 0)
    if path.exists():
        read = _read_new(read, shown, last.append)
    for text in last:
        print_line(text)
    sys.stdout.flush()
    while not arguments.no_follow:
        if not read.path.exists():
            # Whichever file a run makes is followed.
            read = _Read(_events_file(arguments), 0, 0)
        read = _read_new(read, shown, print_line)
        sys.stdout.flush()
        time.sleep(LOOK_S)


@dataclass(frozen=True, slots=True)
class _Read:
    """How far a file was read. `file_id`: which file stood under the path."""

    path: Path
    file_id: int
    position: int


def _read_new(read: _Read, shown: _Shown, take: Callable[[str], None]) -> _Read:
    """Take what was written since. A file that is another one, or shorter, is read from its beginning."""
    try:
        found = read.path.stat()
    except FileNotFoundError:
        return _Read(read.path, 0, 0)
    is_same = found.st_ino == read.file_id and found.st_size >= read.position
    position = read.position if is_same else 0
    for line, end in _whole_lines(read.path, position):
        position = end
        if (text := shown.text(line)) is not None:
            take(text)
    return _Read(read.path, found.st_ino, position)


def _whole_lines(path: Path, position: int) -> Iterator[tuple[bytes, int]]:
    """Each line that is ended, and where it ends."""
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                return
            position += len(line)
            yield line, position
