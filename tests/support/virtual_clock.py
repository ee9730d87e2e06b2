"""A clock for tests: time passes only for who sleeps."""

import threading


class VirtualClock:
    """The `Clock` port. Every thread has a time of its own, which starts at `start_ms`."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._local = threading.local()
        self.slept_s: list[float] = []

    def now_ms(self) -> int:
        return int(getattr(self._local, "now_ms", self._start_ms))

    def monotonic_ms(self) -> int:
        return self.now_ms()

    def sleep(self, wait_s: float) -> None:
        self.slept_s.append(wait_s)
        self._local.now_ms = self.now_ms() + round(wait_s * 1_000)
