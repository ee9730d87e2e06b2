"""When a one-time run gives up reaching the API, and how often it says so."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.transport import Connection, NoAnswerError
from contact_activity.errors import Cause, WaitError, WaitReason
from contact_activity.run.reach import TRIES_MOST, TRY_FOR_MS, WARN_EVERY_MS, Reach, ReachTransport
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock

HOPELESS = {
    Cause.UNKNOWN_HOST,
    Cause.CONNECTION_REFUSED,
    Cause.PROXY_REFUSED,
    Cause.CERTIFICATE_UNTRUSTED,
}
STANDS = None
HISTORIES = st.lists(st.sampled_from([*Cause, STANDS, STANDS]), max_size=40)


def live(reach: Reach, clock: VirtualClock, history: list[Cause | None], step_ms: int = 0) -> int:
    """Let it hear of connections that end so, until it is over; how many there were."""
    for connections, end in enumerate(history, start=1):
        clock.sleep(step_ms / 1_000)
        if end is STANDS:
            reach.connected()
        else:
            reach.not_connected(end)
        if reach.is_over:
            return connections
    return len(history)


def ends_at(history: list[Cause | None]) -> int | None:
    """The connection with which three in a row could not be mended by a further one."""
    for end in range(TRIES_MOST, len(history) + 1):
        if all(call in HOPELESS for call in history[end - TRIES_MOST : end]):
            return end
    return None


@given(HISTORIES)
def test_it_is_over_after_three_hopeless_tries_in_a_row_and_not_before(history: list[Cause | None]) -> None:
    """A connection that stands, or fails as a further one may mend, counts them anew."""
    clock = VirtualClock(NOON_MS)
    reach = Reach(clock, lambda _: None, is_one_time=True)
    heard, end = live(reach, clock, history), ends_at(history)
    assert (heard, reach.is_over) == (end or len(history), end is not None)
    assert (reach.to_check() is None) == (end is None)
    if reach.is_over:
        with pytest.raises(WaitError, match=WaitReason.UNREACHABLE):
            reach.go_on()


@given(HISTORIES)
def test_a_run_that_keeps_ticking_is_never_over(history: list[Cause | None]) -> None:
    """It hears of every connection, and goes on."""
    clock = VirtualClock(NOON_MS)
    reach = Reach(clock, lambda _: None, is_one_time=False)
    assert live(reach, clock, history) == len(history)
    assert (reach.is_over, reach.to_check()) == (False, None)
    reach.go_on()


@given(st.integers(1, 20_000))
def test_slow_tries_are_fewer(step_ms: int) -> None:
    """None begins after a few seconds, also where a resolver or a proxy takes its time."""
    clock = VirtualClock(NOON_MS)
    reach = Reach(clock, lambda _: None, is_one_time=True)
    tries = live(reach, clock, [Cause.UNKNOWN_HOST] * TRIES_MOST, step_ms)
    assert reach.is_over
    assert tries == (2 if step_ms > TRY_FOR_MS else TRIES_MOST)


@pytest.mark.parametrize("cause", sorted(HOPELESS))
def test_what_to_check_are_settings(cause: Cause) -> None:
    """One line names the cause and the settings that can be wrong."""
    clock = VirtualClock(NOON_MS)
    reach = Reach(clock, lambda _: None, is_one_time=True)
    live(reach, clock, [cause] * TRIES_MOST)
    told = str(reach.to_check())
    assert cause.value in told
    assert "CONSTANT_CONTACT_BASE_URL" in told
    assert ("CONSTANT_CONTACT_CA_BUNDLE" in told) == (cause is Cause.CERTIFICATE_UNTRUSTED)


class _Nobody:
    """A transport that reaches nobody, and counts who asks."""

    def __init__(self) -> None:
        self.tries = 0
        self._lock = threading.Lock()

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[Connection]:  # noqa: ARG002
        with self._lock:
            self.tries += 1
        raise NoAnswerError(Cause.CONNECTION_REFUSED)
        yield

    def close(self) -> None:
        pass


def test_many_workers_together_try_three_times() -> None:
    """However many begin at once, no more than three connections are tried."""
    nobody, reach = _Nobody(), Reach(SystemClock(), lambda _: None, is_one_time=True)
    transport, together = ReachTransport(nobody, reach), threading.Barrier(8)

    def work(_: int) -> str:
        together.wait()
        try:
            with transport.connected(within_s=1):
                return "connected"
        except (WaitError, NoAnswerError) as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(work, range(8)))
    assert nobody.tries == TRIES_MOST
    assert sorted(ends) == ["NoAnswerError"] * TRIES_MOST + ["WaitError"] * (8 - TRIES_MOST)


@given(st.lists(st.tuples(st.sampled_from(Cause), st.integers(0, 3_000)), max_size=60))
def test_each_cause_is_a_warning_once_in_ten_seconds(calls: list[tuple[Cause, int]]) -> None:
    """At its first failure, and again only after that time; every failure is counted."""
    clock = VirtualClock(NOON_MS)
    said: list[str] = []
    reach = Reach(clock, said.append, is_one_time=False)
    last_ms: dict[Cause, int] = {}
    for cause, wait_ms in calls:
        clock.sleep(wait_ms / 1_000)
        now_ms, before = clock.monotonic_ms(), len(said)
        reach.failed(cause, 0, 1)
        is_due = now_ms - last_ms.get(cause, now_ms - WARN_EVERY_MS) >= WARN_EVERY_MS
        assert (len(said) > before) == is_due
        if is_due:
            last_ms[cause] = now_ms
            assert said[-1].startswith(cause.value)
    assert reach.failed_tries.total() == len(calls)
