"""The last events of a contact, or of a campaign, in an events file."""

import json
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from contact_activity.domain.times import parse_time

MOST = 5
# The end of the file, in which the last events are looked for: 100,000 events have room there.
SEARCHED_BYTES = 64 << 20
# EventBridge takes 256 KiB. A longer line than this is no event, and may be the zeros that a power cut left.
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """What an event says of an activity, without any address. Its times are in ISO 8601."""

    detail_type: str
    occurred_at: str
    observed_at: str


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """The last events, in the order of the file. `broken`: lines that name it and are no event.

    `is_whole`: False if only the end of the file was looked at, and fewer were found than are shown.
    """

    events: tuple[RecentEvent, ...] = ()
    broken: int = 0
    is_whole: bool = True


def recent_events(path: Path, contact_id: str) -> RecentEvents | None:
    """Return the last events of a contact, from the end of the file; None if there is no such file.

    Raises `OSError` if it cannot be read.
    """
    return _recent(path, contact_id, lambda detail: detail["subject"])


def last_event_of_campaign(path: Path, campaign_id: str) -> RecentEvent | None:
    """Return the last event of a campaign, or of a mailing, at the end of the file; None if there is none.

    Raises `OSError` if it cannot be read.
    """
    found = _recent(path, campaign_id, lambda detail: detail["data"]["campaign"]["id"])
    return found.events[-1] if found and found.events else None


def _recent(path: Path, id_: str, named: Callable[[Any], object]) -> RecentEvents | None:
    """Return the last events whose detail has the id where `named` finds it."""
    last, broken = deque[RecentEvent](maxlen=MOST), 0
    try:
        # Otherwise a pipe that nobody writes would hold the caller up for ever.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return None
        for line in _lines_at_end(opened, found.st_size):
            if id_.encode() not in line:
                continue
            try:
                event, is_of_it = _parse(line, lambda detail: named(detail) == id_)
            except (ValueError, LookupError, TypeError, RecursionError):
                broken += 1
                continue
            if is_of_it:
                last.append(event)
    is_whole = found.st_size <= SEARCHED_BYTES or len(last) == MOST
    return RecentEvents(tuple(last), broken, is_whole)


def _lines_at_end(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Each line of the last bytes of a file that begins there and has an event's length."""
    start = max(0, size - SEARCHED_BYTES)
    file.seek(max(0, start - 1))
    is_cut = start > 0
    while line := file.readline(MAX_LINE_BYTES):
        is_ended = line.endswith(b"\n")
        if not is_cut and (is_ended or len(line) < MAX_LINE_BYTES):
            yield line
        is_cut = not is_ended


def _parse(line: bytes, is_of_it: Callable[[Any], bool]) -> tuple[RecentEvent, bool]:
    envelope = json.loads(line)
    detail = envelope["detail"]
    texts = (envelope["detail-type"], detail["time"], detail["observedtime"])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    if None in map(parse_time, texts[1:]):
        raise ValueError(texts)
    return RecentEvent(*texts), is_of_it(detail)
