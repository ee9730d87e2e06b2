"""Units of time, and ISO 8601 stamps. Times are integers: milliseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Clocks of machines that are kept right differ by less.
CLOCKS_DIFFER_MS = 60_000
TIME_LIMIT_CHARACTERS = 64
WEEK_MS = 7 * DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def is_too_late(time_ms: int | None, latest_ms: int) -> bool:
    """Whether a time is later than `latest_ms` by more than clocks differ: a clock ran ahead."""
    return time_ms is not None and time_ms > latest_ms + CLOCKS_DIFFER_MS


def midnight_after(now_ms: int) -> int:
    """The next 00:00 UTC, when the API begins a new day of calls."""
    return (now_ms // DAY_MS + 1) * DAY_MS


def iso(time_ms: int) -> str:
    """The time as RFC 3339 in UTC with milliseconds and `Z`, as the provider writes it."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_time(text: str) -> int | None:
    """The time of an ISO 8601 stamp, or None if it is not usable.

    A stamp without an offset is UTC, as the v2 documentation says of every date. The v2 API writes
    "never" as a stamp of 1970 or before, which is not usable.
    """
    if len(text) > TIME_LIMIT_CHARACTERS or not text.isascii():
        return None
    try:
        stamp = datetime.fromisoformat(text)
        time_ms = ((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH) // _MS
        _ = _EPOCH + timedelta(milliseconds=time_ms)
    except (ValueError, OverflowError):
        return None
    return time_ms if time_ms > 0 else None
