"""The `Limiter` port over any store of one `Pace` with a compare-and-set."""

import threading
from collections.abc import Callable

from contact_activity.ports import Clock, WaitError, WaitReason
from contact_activity.rate_limit import (
    LATE_FOR_SLOT_MS,
    Limits,
    Pace,
    midnight_after,
    set_right,
    slow_down,
    take_slot,
)

STORE_MAX_MS = 2_000
Swap = Callable[[Pace, Pace], Pace | None]
"""`swap(seen, wanted)`: store `wanted` if `seen` is what is stored; else the pace that is."""


class SharedLimiter:
    """Hands out the slots of one API key to whoever shares the store.

    Remembers the last pace it saw, so that an uncontended call costs one conditional write; the
    threads of a process take turns, so that only other processes contend. How long the store took
    last is how far ahead it takes the next slot: one that is over when the store has answered would
    be a call of the day for nothing.
    """

    def __init__(self, limits: Limits, load: Callable[[], Pace], swap: Swap, clock: Clock) -> None:
        self.limits = limits
        self._load = load
        self._swap = swap
        self._clock = clock
        self._seen: Pace | None = None
        self._store_ms = 0
        self._turn = threading.Lock()

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        """Wait for the next slot; a worker that comes too late for its slot takes another."""
        while True:
            due_ms = self._take(deadline_ms)
            self._sleep_until(due_ms - lead_ms)
            prepare()
            self._sleep_until(due_ms)
            if self._clock.monotonic_ms() <= due_ms + LATE_FOR_SLOT_MS:
                return

    def _sleep_until(self, due_ms: int) -> None:
        wait_ms = due_ms - self._clock.monotonic_ms()
        if wait_ms > 0:
            self._clock.sleep(wait_ms / 1_000)

    def slow_down(self, wait_s: float = 0) -> None:
        wait_ms = round(wait_s * 1_000)
        self._change(lambda pace: slow_down(pace, self._clock.now_ms(), wait_ms))

    def set_right(self) -> None:
        """Who loses a race here leaves it to the next."""
        stored = self._load()
        wanted = set_right(stored, self._clock.now_ms())
        if wanted != stored:
            self._swap(stored, wanted)

    def pace(self) -> Pace:
        return self._load()

    def _take(self, deadline_ms: int) -> int:
        """When the slot is, by the monotonic clock."""
        due_ms = 0

        def grant(pace: Pace) -> Pace:
            nonlocal due_ms
            now_ms, begun_ms = self._clock.now_ms(), self._clock.monotonic_ms()
            slot = take_slot(pace, self.limits, now_ms + self._store_ms)
            if slot is None:
                raise WaitError(WaitReason.QUOTA, midnight_after(now_ms))
            due_ms = begun_ms + slot.at_ms - now_ms
            if due_ms > deadline_ms:
                raise WaitError(WaitReason.TIME)
            return slot.pace

        self._change(grant)
        return due_ms

    def _change(self, change: Callable[[Pace], Pace]) -> None:
        with self._turn:
            seen = self._seen or self._load()
            while True:
                wanted = change(seen)
                asked_ms = self._clock.monotonic_ms()
                stored = self._swap(seen, wanted)
                self._store_ms = min(STORE_MAX_MS, self._clock.monotonic_ms() - asked_ms)
                if stored is None:
                    self._seen = wanted
                    return
                seen = stored
