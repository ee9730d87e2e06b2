"""Shows the events of a stack's bus as they are published, through a tap that is removed at the end."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from contact_activity.aws.errors import error_code
from contact_activity.operations.aws_remedies import THROTTLED
from contact_activity.operations.tap import (
    LEASE_S,
    RETENTION_S,
    Bus,
    Tap,
    is_gone,
    remove_leftovers,
    stack_bus,
)
from contact_activity.run.errors import RunError

RENEW_S = 30
RETRY_S = 1.0
# A new queue may be unknown to some servers of AWS for a moment.
SETTLES_WITHIN_S = 10
# More than a queue holds in the time in which SQS may deliver a message again.
MAX_SEEN = 100_000
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Show = Callable[[Sequence[str]], None]
Tell = Callable[[str], None]


def follow_stack(stack_name: str, pattern: Mapping[str, object], *, show: Show, tell: Tell) -> None:
    """Call `show` with new events, a JSON line each, until `KeyboardInterrupt`, which ends it well.

    `tell` gets lines for people. What is made in AWS is removed at the end, whatever ends it; what a killed
    tail left is removed on the way. Raises `RunError`, or botocore's errors.
    """
    bus = stack_bus(stack_name)
    remove_leftovers(bus)
    tap = Tap(bus, pattern)
    try:
        with suppress(KeyboardInterrupt):
            with _signals_held() as held:
                tap.create()
            if not held:
                tell(f"listening on the bus {bus.name}: Ctrl-C ends. AWS may take a minute to send events.")
                _Follower(bus, tap, show, tell).follow()
    except BaseException:
        # That error is the cause of whatever goes wrong now.
        with suppress(ClientError, BotoCoreError):
            _remove(tap, tell)
        raise
    _remove(tap, tell)


def _remove(tap: Tap, tell: Tell) -> None:
    try:
        with _signals_held():
            tap.remove()
    except (ClientError, BotoCoreError):
        tell(
            f"the rule and the queue {tap.name} may be left: the next tail of this stack removes them, "
            f"{LEASE_S // 60} minutes from now or later"
        )
        raise


@contextmanager
def _signals_held() -> Iterator[list[int]]:
    """Have Ctrl-C and the like wait, so that nobody loses track of what is made. Gives those that came."""
    held: list[int] = []
    ending = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in ending}
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Follower:
    def __init__(self, bus: Bus, tap: Tap, show: Show, tell: Tell) -> None:
        self._bus, self._tap, self._show, self._tell = bus, tap, show, tell
        self._seen: dict[str, None] = {}
        self._started_s = self._answered_s = time.monotonic()
        self._renew_s = self._started_s + RENEW_S
        self._is_cut_off = self._is_behind = False

    def follow(self) -> None:
        """Go on until something is raised. AWS may be out of reach for as long as the lease lasts."""
        while True:
            try:
                self._renew_when_due()
                received = self._tap.receive()
            except (ClientError, NoConnectionError, HTTPClientError) as error:
                self._wait_or_raise(error)
                continue
            self._answered_s, self._is_cut_off = time.monotonic(), False
            if received.is_after_gap:
                self._tell(
                    "this tail or its machine was stopped: what was published meanwhile is left out, "
                    f"but for the last {RETENTION_S // 60} minutes"
                )
            elif received.is_late and not self._is_behind:
                self._is_behind = True
                self._tell(
                    "more is published than is shown, some events are left out: choose fewer, as by --type"
                )
            self._show(self._new_lines(received.bodies))
            self._tap.delete(received.receipt_handles)

    def _renew_when_due(self) -> None:
        if time.monotonic() >= self._renew_s:
            self._tap.renew()
            remove_leftovers(self._bus)
            self._renew_s = time.monotonic() + RENEW_S

    def _wait_or_raise(self, error: Exception) -> None:
        now_s = time.monotonic()
        if isinstance(error, ClientError) and is_gone(error):
            if now_s - self._started_s > SETTLES_WITHIN_S:
                self._bus.check_stack()
                raise RunError(
                    f"somebody has deleted the rule or the queue {self._tap.name}, perhaps another tail, "
                    f"after this one was cut off for {LEASE_S // 60} minutes: run tail again"
                ) from error
        elif not _is_passing(error) or now_s - self._answered_s > LEASE_S:
            raise error
        elif not self._is_cut_off:
            self._is_cut_off = True
            what = "refuses calls as too many" if _is_throttled(error) else "cannot be reached"
            self._tell(f"AWS {what}: trying again")
        time.sleep(RETRY_S)

    def _new_lines(self, bodies: Sequence[str]) -> list[str]:
        """The events that came for the first time, by when they were met. SQS keeps no order."""
        new = []
        for body in bodies:
            met, event_id, line = _read(body)
            if event_id is None or event_id not in self._seen:
                new.append((met, line))
            if event_id is not None:
                self._seen[event_id] = None
        while len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        return [line for _, line in sorted(new, key=lambda one: one[0])]


def _is_passing(error: Exception) -> bool:
    """Whether it is worth another try, after those of the client itself."""
    if not isinstance(error, ClientError) or _is_throttled(error):
        return True
    return bool(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500)


def _is_throttled(error: Exception) -> bool:
    return isinstance(error, ClientError) and error_code(error) in THROTTLED


def _read(body: str) -> tuple[str, str | None, str]:
    """When an event was met, its id, and itself in one line; of what is none neither time nor id."""
    try:
        envelope: Any = json.loads(body)
        line = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        return str(envelope["detail"]["observedtime"]), str(envelope["id"]), line
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", None, body.replace("\n", " ")
