"""Tells an invocation its clock, and until when it may work."""

from contact_activity.clock import SystemClock

# A call may take its whole time-out when its deadline is near, and what it read is still to be published.
RESERVE_MS = 45_000

CLOCK = SystemClock()


def deadline_ms(remaining_ms: int) -> int:
    return CLOCK.monotonic_ms() + remaining_ms - RESERVE_MS
