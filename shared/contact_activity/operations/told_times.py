"""Durations and times, as the commands say them to people.

One rule for a time: its day by name or date, then the clock, in UTC: "today 14:05 UTC", "tomorrow 00:00 UTC",
"2026-11-20 14:05 UTC". Where several stand together, the last or a heading says UTC for all. The lines of a
stream are read later, and come several a minute: they have the date and seconds, "2026-11-20 14:05:09 UTC".
ISO 8601 is for programs: `--json`, arguments, and what is stored.
"""

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
    return f"{when_of_several(time_ms, now_ms)} UTC"


def when_of_several(time_ms: int, now_ms: int) -> str:
    """Return a time as `when` does, for where something else says that it is UTC."""
    day, clock = iso(time_ms)[:10], iso(time_ms)[11:16]
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    return f"{near.get(time_ms // DAY_MS - now_ms // DAY_MS, day)} {clock}"


def stamp(time_ms: int) -> str:
    """Return the time of a line of a stream: "2026-11-20 14:05:09 UTC"."""
    return f"{iso(time_ms)[:10]} {iso(time_ms)[11:19]} UTC"
