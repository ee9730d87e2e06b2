"""The `Limiter` port over any store of one `Pace` with a compare-and-set."""

import threading
from collections.abc import Callable

from contact_activity.ports import Clock, WaitError, WaitReason
from contact_activity.rate_limit import (
    LATE_FOR_SLOT_MS,
    Limits,
    Pace,
    midnight_after,
    slow_down,
    take_slot,
)

Swap = Callable[[Pace, Pace], Pace | None]
"""`swap(seen, wanted)`: store `wanted` if `seen` is what is stored; else the pace that is."""


class SharedLimiter:
    """Hands out the slots of one API key to whoever shares the store.

    Remembers the last pace it saw, so that an uncontended call costs one conditional write; the
    threads of a process take turns, so that only other processes contend.
    """

    def __init__(self, limits: Limits, load: Callable[[], Pace], swap: Swap, clock: Clock) -> None:
        self.limits = limits
        self._load = load
        self._swap = swap
        self._clock = clock
        self._seen: Pace | None = None
        self._turn = threading.Lock()

    def acquire(self, *, deadline_ms: int) -> None:
        """Wait for the next slot; a worker that comes too late for its slot takes another."""
        while True:
            at_ms = self._take(deadline_ms)
            wait_ms = at_ms - self._clock.now_ms()
            if wait_ms > 0:
                self._clock.sleep(wait_ms / 1_000)
            if self._clock.now_ms() <= at_ms + LATE_FOR_SLOT_MS:
                return

    def slow_down(self) -> None:
        self._change(lambda pace: slow_down(pace, self._clock.now_ms()))

    def pace(self) -> Pace:
        return self._load()

    def _take(self, deadline_ms: int) -> int:
        at_ms = 0

        def grant(pace: Pace) -> Pace:
            nonlocal at_ms
            now_ms = self._clock.now_ms()
            slot = take_slot(pace, self.limits, now_ms)
            if slot is None:
                raise WaitError(WaitReason.QUOTA, midnight_after(now_ms))
            if slot.at_ms > deadline_ms:
                raise WaitError(WaitReason.TIME)
            at_ms = slot.at_ms
            return slot.pace

        self._change(grant)
        return at_ms

    def _change(self, change: Callable[[Pace], Pace]) -> None:
        with self._turn:
            seen = self._seen or self._load()
            while True:
                wanted = change(seen)
                stored = self._swap(seen, wanted)
                if stored is None:
                    self._seen = wanted
                    return
                seen = stored
