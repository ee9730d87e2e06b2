"""Give an invocation its clock and its deadline."""

from contact_activity.clock import SystemClock

# A call that starts at the deadline may take its whole time-out, and its page must still be published.
RESERVE_MS = 45_000

CLOCK = SystemClock()


def deadline_ms(remaining_ms: int) -> int:
    """Return when to stop working, by the monotonic clock."""
    return CLOCK.monotonic_ms() + remaining_ms - RESERVE_MS
