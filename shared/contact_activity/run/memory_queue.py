"""Queues messages in memory."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contact_activity.domain.work import WorkItem


@dataclass(frozen=True, slots=True)
class Delivery:
    """An item handed to a worker, for the `receives`-th time."""

    item: WorkItem
    receives: int = 1


class MemoryQueue:
    """The `Queue` port; a worker takes with `receive` and ends each delivery with `done` or `again`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Delivery] = deque()
        self._in_flight = 0

    def send(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        with self._changed:
            self._waiting.extend(Delivery(item) for item in items)
            self._changed.notify_all()
        return []

    def depth(self) -> int:
        with self._changed:
            return len(self._waiting) + self._in_flight

    def receive(self, *, wait_s: float) -> Delivery | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, wait_s):
                return None
            self._in_flight += 1
            return self._waiting.popleft()

    def done(self) -> None:
        with self._changed:
            self._in_flight -= 1

    def again(self, delivery: Delivery) -> None:
        """Deliver once more, behind all that waits."""
        with self._changed:
            self._in_flight -= 1
            self._waiting.append(replace(delivery, receives=delivery.receives + 1))
            self._changed.notify()
