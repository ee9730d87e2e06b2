"""The last events of a contact in an events file."""

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

MOST = 5


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """What an event says of an activity, without any address."""

    detail_type: str
    occurred_at: str
    observed_at: str


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """The last events, in the order of the file. `broken`: lines that name the contact and are no event."""

    events: tuple[RecentEvent, ...] = ()
    broken: int = 0


def recent_events(path: Path, contact_id: str) -> RecentEvents | None:
    """Return the last events of a contact; None if the file cannot be read. Reads all of it, by line."""
    last, broken = deque[RecentEvent](maxlen=MOST), 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                if contact_id.encode() not in line:
                    continue
                try:
                    event, subject = _parse(line)
                except (ValueError, LookupError, TypeError, RecursionError):
                    broken += 1
                    continue
                if subject == contact_id:
                    last.append(event)
    except OSError:
        return None
    return RecentEvents(tuple(last), broken)


def _parse(line: bytes) -> tuple[RecentEvent, object]:
    envelope = json.loads(line)
    detail = envelope["detail"]
    texts = (envelope["detail-type"], detail["time"], detail["observedtime"])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return RecentEvent(*texts), detail["subject"]
