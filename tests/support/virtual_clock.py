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


class SettableClock(VirtualClock):
    """Shows `ahead_ms` more than the time that passes; `real_ms` is the time elsewhere."""

    def __init__(self, start_ms: int, ahead_ms: int = 0) -> None:
        super().__init__(start_ms)
        self.ahead_ms = ahead_ms

    @property
    def real_ms(self) -> int:
        return super().now_ms()

    def now_ms(self) -> int:
        return self.real_ms + self.ahead_ms

    def monotonic_ms(self) -> int:
        return self.real_ms

    def sleep(self, wait_s: float) -> None:
        self.slept_s.append(wait_s)
        self._local.now_ms = self.real_ms + round(wait_s * 1_000)


class SharedClock:
    """The `Clock` port. All threads have one time, of which only one may sleep."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._now_ms

    def sleep(self, wait_s: float) -> None:
        self._now_ms += round(wait_s * 1_000)
