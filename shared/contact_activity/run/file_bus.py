"""Writes events to a file, in the envelope in which EventBridge delivers them."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from contact_activity.domain.event import EVENT_SOURCE, Event
from contact_activity.domain.times import iso
from contact_activity.ports import Clock


class Sink(Protocol):
    """Takes lines, from any thread."""

    def write(self, lines: bytes, /) -> int:
        """Return how many bytes once all of them are where they will not be lost."""


class FileBus:
    """The `Bus` port: each event as a subscriber receives it from EventBridge, one JSON object a line.

    `published` counts the events by `detail-type`.
    """

    def __init__(self, sink: Sink, clock: Clock, new_id: Callable[[], str]) -> None:
        self._sink = sink
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self.published: Counter[str] = Counter()

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  a file is never busy
        """Return when the sink has the events; raises what it raises."""
        time = iso(self._clock.now_ms())[:-5] + "Z"
        self._sink.write(b"".join(self._envelope(event, time) for event in events))
        with self._lock:
            self.published.update(event.detail_type for event in events)

    def _envelope(self, event: Event, time: str) -> bytes:
        envelope = {
            "version": "0",
            "id": self._new_id(),
            "detail-type": event.detail_type,
            "source": EVENT_SOURCE,
            "account": "000000000000",
            "time": time,
            "region": "local",
            "resources": [],
        }
        head = json.dumps(envelope, separators=(",", ":"))
        return f'{head[:-1]},"detail":{event.detail}}}\n'.encode()
