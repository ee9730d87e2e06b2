"""Durations and times, as a status or an event says them to people. Times are in UTC."""

from contact_activity.domain.times import DAY_MS, iso

_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60))


def duration(seconds: int, *, is_bound: bool = False) -> str:
    """Return a duration in its largest unit of which it has two. `is_bound`: rounded up, not down."""
    for name, unit_s in _UNITS:
        if seconds >= 2 * unit_s:
            return f"{-(-seconds // unit_s) if is_bound else seconds // unit_s:,} {name}"
    return f"{max(0, seconds)} s"


def when(time_ms: int, now_ms: int) -> str:
    """Return a time by its day as seen from now: "today 11:19 UTC", and a date beyond a day from today."""
    day, clock = iso(time_ms)[:10], iso(time_ms)[11:16]
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    return f"{near.get(time_ms // DAY_MS - now_ms // DAY_MS, day)} {clock} UTC"
