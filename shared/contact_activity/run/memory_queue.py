"""A queue of messages in memory, in place of SQS."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contact_activity.domain.work import WorkItem

# A delivery that fails for the fifth time is given up, as in the template.
MAX_RECEIVES = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """An item that a worker received. `receives` counts the times, this one included."""

    item: WorkItem
    receives: int = 1

    @property
    def is_last(self) -> bool:
        """Whether the item is given up when this delivery fails."""
        return self.receives >= MAX_RECEIVES


class MemoryQueue:
    """The `Queue` port. Whoever calls `receive` must call `complete` or `retry` for the delivery."""

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
        """Return the next delivery. Returns None if none came within `wait_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, wait_s):
                return None
            self._in_flight += 1
            return self._waiting.popleft()

    def complete(self) -> None:
        """End a delivery for good."""
        with self._changed:
            self._in_flight -= 1

    def retry(self, delivery: Delivery) -> None:
        """Queue the item of a delivery again, behind everything that waits."""
        with self._changed:
            self._in_flight -= 1
            self._waiting.append(replace(delivery, receives=delivery.receives + 1))
            self._changed.notify()
