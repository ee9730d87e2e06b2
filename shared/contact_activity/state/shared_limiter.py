"""Implement the `Limiter` port over any store of one `Pace`."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from contact_activity.domain.pace import (
    LATE_FOR_SLOT_MS,
    Limits,
    Pace,
    PaceChange,
    SetRight,
    SlowDown,
    Take,
    changed,
    set_right,
    take_slot,
)
from contact_activity.domain.times import midnight_after
from contact_activity.errors import WaitError, WaitReason
from contact_activity.ports import Clock

MAX_STORE_MS = 2_000
R = TypeVar("R")


class PaceStore(Protocol):
    """Stores the pace that all workers share."""

    def load(self) -> Pace: ...

    def change(self, change: PaceChange) -> Pace:
        """Apply a change, exactly once and atomically. Return the pace that it was applied to."""

    def tidy(self) -> None:
        """Do the work that the store put off. The caller holds no slot that could pass meanwhile."""


class SharedLimiter:
    """Grants the slots of one API key to all workers that share the store.

    It remembers the last pace it saw, so that a slot that cannot be granted costs no write. It asks for
    a slot that is as far ahead as the last answer of the store took. A slot that passes before the store
    answers would waste a call of the day.
    """

    def __init__(self, limits: Limits, store: PaceStore, clock: Clock) -> None:
        self.limits = limits
        self._store = store
        self._clock = clock
        self._seen: Pace | None = None
        self._store_ms = 0

    def acquire(
        self, *, deadline_ms: int, prepare: Callable[[], object] = lambda: None, lead_ms: int = 0
    ) -> None:
        """Wait for the next slot. If the slot is missed, take another one."""
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
        change = SlowDown(self._clock.now_ms(), round(wait_s * 1_000))
        self._seen = changed(self._store.change(change), change)

    def set_right(self) -> None:
        now_ms = self._clock.now_ms()
        stored = self._store.load()
        if set_right(stored, now_ms) != stored:
            self._store.change(SetRight(now_ms))

    def pace(self) -> Pace:
        return self._store.load()

    def _take(self, deadline_ms: int) -> int:
        """Take a slot, and return its time by the monotonic clock. Raises `WaitError` if none is granted."""
        seen = self._seen or self._timed(self._store.load)
        self._store.tidy()
        now_ms, begun_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        from_ms = now_ms + self._store_ms
        take = Take(self.limits, from_ms, deadline_ms - begun_ms - self._store_ms)
        if not _is_granted(seen, take):
            # The remembered pace may be out of date, so only the stored one can refuse the slot.
            _granted_slot_ms(self._store.load(), take)
        found = self._timed(lambda: self._store.change(take))
        self._seen = changed(found, take)
        return begun_ms + _granted_slot_ms(found, take) - now_ms

    def _timed(self, ask: Callable[[], R]) -> R:
        """Call the store, and remember how long it took."""
        asked_ms = self._clock.monotonic_ms()
        answer = ask()
        self._store_ms = min(MAX_STORE_MS, self._clock.monotonic_ms() - asked_ms)
        return answer


def _is_granted(pace: Pace, take: Take) -> bool:
    return changed(pace, take) != pace


def _granted_slot_ms(pace: Pace, take: Take) -> int:
    """Return the time of the slot. Raises `WaitError` if it cannot be granted."""
    slot = take_slot(pace, take.limits, take.from_ms)
    if slot is None:
        raise WaitError(WaitReason.QUOTA, midnight_after(take.from_ms))
    if slot.at_ms > take.from_ms + take.within_ms:
        raise WaitError(WaitReason.TIME)
    return slot.at_ms
