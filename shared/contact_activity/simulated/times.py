"""Times of the simulated account: milliseconds since 1970 in UTC, as integers."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def to_ms(at: datetime) -> int:
    """Return the milliseconds of an aware datetime. Raises `ValueError` for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no time zone: pass an aware one")
    return (at - _EPOCH) // _MS


def iso(time_ms: int) -> str:
    """Return a time as the API writes it: `2024-06-12T08:15:40.207Z`."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).strftime(
        "%Y-%m-%dT%H:%M:%S."
    ) + f"{time_ms % 1000:03d}Z"


def parse_iso(text: str) -> int | None:
    """Return the ms of an ISO 8601 date or time, in UTC unless it has an offset. None for other text."""
    try:
        at = datetime.fromisoformat(text)
        return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
