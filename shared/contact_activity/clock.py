"""Implement the `Clock` port on the clock of this machine."""

import time


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def sleep(self, wait_s: float) -> None:
        time.sleep(wait_s)
