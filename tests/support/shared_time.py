"""Virtual time that passes for several threads together: whoever wakes first runs next, and alone."""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence


class SharedTime:
    """The `Clock` port. The same work takes the same course each time."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._numbers = itertools.count()
        self._sleeping: list[tuple[int, int, threading.Event]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._now_ms

    def sleep(self, wait_s: float) -> None:
        turn = self._turn_in(round(wait_s * 1_000))
        self._wake_next()
        turn.wait()

    def run(self, works: Sequence[Callable[[], object]]) -> None:
        """Do all of them at once; the first begins first."""
        threads = [
            threading.Thread(target=self._work, args=(work, self._turn_in(0)), daemon=True) for work in works
        ]
        for thread in threads:
            thread.start()
        self._wake_next()
        for thread in threads:
            thread.join()

    def _work(self, work: Callable[[], object], turn: threading.Event) -> None:
        turn.wait()
        try:
            work()
        finally:
            self._wake_next()

    def _turn_in(self, wait_ms: int) -> threading.Event:
        turn = threading.Event()
        heapq.heappush(self._sleeping, (self._now_ms + wait_ms, next(self._numbers), turn))
        return turn

    def _wake_next(self) -> None:
        if self._sleeping:
            self._now_ms, _, turn = heapq.heappop(self._sleeping)
            turn.set()
