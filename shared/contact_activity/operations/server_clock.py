"""Compares this machine's clock with the `Date` of each answer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from contact_activity.constant_contact.transport import Connection, Reply, Transport
from contact_activity.constant_contact.verdict import http_date_s
from contact_activity.ports import Clock

# A `Date` has whole seconds: on average it is older by half of one.
_HALF_A_SECOND_MS = 500


class DatedTransport:
    """The `Transport` port over another one. `ahead_ms`: by how much this machine's clock is ahead.

    It is negative if the clock is behind, and None until an answer had a date.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport, self._clock = transport, clock
        self.ahead_ms: int | None = None

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[Connection]:
        with self._transport.connected(within_s=within_s) as connection:
            yield _DatedConnection(connection, self._clock, self._compare)

    def close(self) -> None:
        self._transport.close()

    def _compare(self, date: str, now_ms: int) -> None:
        date_s = http_date_s(date)
        if date_s is not None:
            self.ahead_ms = now_ms - round(date_s * 1_000) - _HALF_A_SECOND_MS


class _DatedConnection:
    """The `Connection` port. Calls `on_date` with the date of each answer, and our time meanwhile."""

    def __init__(self, connection: Connection, clock: Clock, on_date: Callable[[str, int], object]) -> None:
        self._connection, self._clock, self._on_date = connection, clock, on_date

    def is_quiet(self) -> bool:
        return self._connection.is_quiet()

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        asked_ms = self._clock.now_ms()
        reply = self._connection.get(target, headers, within_s=within_s)
        self._on_date(reply.headers.get("date", ""), (asked_ms + self._clock.now_ms()) // 2)
        return reply
