"""Times as the account keeps them: integers, milliseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime; ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime says no moment; pass an aware one")
    return (at - _EPOCH) // _MS


def iso(time_ms: int) -> str:
    """As the API writes it: `2024-06-12T08:15:40.207Z`."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).strftime(
        "%Y-%m-%dT%H:%M:%S."
    ) + f"{time_ms % 1000:03d}Z"


def parse_iso(text: str) -> int | None:
    """Milliseconds of an ISO 8601 date or date-time, UTC unless it has an offset; None if it is neither."""
    try:
        at = datetime.fromisoformat(text)
        return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
