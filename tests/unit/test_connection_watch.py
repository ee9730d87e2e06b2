"""When a one-time run gives up reaching the API, and how often it says so."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.transport import Connection, NoAnswerError
from contact_activity.domain.retries import Retry, TryTally
from contact_activity.errors import Cause, WaitError, WaitReason
from contact_activity.run.connection_watch import (
    MAX_CONNECTION_TRIES,
    MAX_TRYING_MS,
    TOLD_SHOWN_MS,
    WARNING_INTERVAL_MS,
    ConnectionWatch,
    WatchedTransport,
)
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock

HOPELESS = {
    Cause.UNKNOWN_HOST,
    Cause.CONNECTION_REFUSED,
    Cause.PROXY_REFUSED,
    Cause.CERTIFICATE_UNTRUSTED,
}
SUCCEEDED = None
HISTORIES = st.lists(st.sampled_from([*Cause, SUCCEEDED, SUCCEEDED]), max_size=40)


def live(watch: ConnectionWatch, clock: VirtualClock, history: list[Cause | None], step_ms: int = 0) -> int:
    """Record connections with these ends until the run gives up. Return how many there were."""
    for connections, end in enumerate(history, start=1):
        clock.sleep(step_ms / 1_000)
        if end is SUCCEEDED:
            watch.record_connection()
        else:
            watch.record_failed_connection(end)
        if watch.has_given_up:
            return connections
    return len(history)


def ends_at(history: list[Cause | None]) -> int | None:
    """Return the number of the third hopeless connection in a row. None if there is none."""
    for end in range(MAX_CONNECTION_TRIES, len(history) + 1):
        if all(call in HOPELESS for call in history[end - MAX_CONNECTION_TRIES : end]):
            return end
    return None


@given(HISTORIES)
def test_a_run_gives_up_after_three_hopeless_tries_in_a_row_and_not_before(
    history: list[Cause | None],
) -> None:
    """A connection that succeeds, or whose failure may pass, starts the count again."""
    clock = VirtualClock(NOON_MS)
    watch = ConnectionWatch(clock, lambda _: None, is_one_time=True)
    heard, end = live(watch, clock, history), ends_at(history)
    assert (heard, watch.has_given_up) == (end or len(history), end is not None)
    assert (watch.what_to_check() is None) == (end is None)
    if watch.has_given_up:
        with pytest.raises(WaitError, match=WaitReason.UNREACHABLE):
            watch.raise_if_given_up()


@given(HISTORIES)
def test_a_run_that_keeps_ticking_never_gives_up(history: list[Cause | None]) -> None:
    """It records every connection, and goes on."""
    clock = VirtualClock(NOON_MS)
    watch = ConnectionWatch(clock, lambda _: None, is_one_time=False)
    assert live(watch, clock, history) == len(history)
    assert (watch.has_given_up, watch.what_to_check()) == (False, None)
    watch.raise_if_given_up()


@given(st.integers(1, 20_000))
def test_slow_connections_get_fewer_tries(step_ms: int) -> None:
    """No try begins after a few seconds, even if a resolver or a proxy is slow."""
    clock = VirtualClock(NOON_MS)
    watch = ConnectionWatch(clock, lambda _: None, is_one_time=True)
    tries = live(watch, clock, [Cause.UNKNOWN_HOST] * MAX_CONNECTION_TRIES, step_ms)
    assert watch.has_given_up
    assert tries == (2 if step_ms > MAX_TRYING_MS else MAX_CONNECTION_TRIES)


@pytest.mark.parametrize("cause", sorted(HOPELESS))
def test_a_run_that_gave_up_names_the_settings_to_check(cause: Cause) -> None:
    """One line has the cause and the settings that may be wrong."""
    clock = VirtualClock(NOON_MS)
    watch = ConnectionWatch(clock, lambda _: None, is_one_time=True)
    live(watch, clock, [cause] * MAX_CONNECTION_TRIES)
    told = str(watch.what_to_check())
    assert cause.value in told
    assert "CONSTANT_CONTACT_BASE_URL" in told
    assert ("CONSTANT_CONTACT_CA_BUNDLE" in told) == (cause is Cause.CERTIFICATE_UNTRUSTED)


class _RefusingTransport:
    """A transport whose connections are refused, and counted."""

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
    """However many start at once, they make at most three connections."""
    refusing, watch = _RefusingTransport(), ConnectionWatch(SystemClock(), lambda _: None, is_one_time=True)
    transport, together = WatchedTransport(refusing, watch), threading.Barrier(8)

    def work(_: int) -> str:
        together.wait()
        try:
            with transport.connected(within_s=1):
                return "connected"
        except (WaitError, NoAnswerError) as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(work, range(8)))
    assert refusing.tries == MAX_CONNECTION_TRIES
    assert sorted(ends) == ["NoAnswerError"] * MAX_CONNECTION_TRIES + ["WaitError"] * (
        8 - MAX_CONNECTION_TRIES
    )


@given(st.lists(st.tuples(st.sampled_from(Cause), st.integers(0, 18_000)), max_size=60))
def test_each_cause_is_warned_of_once_a_minute(calls: list[tuple[Cause, int]]) -> None:
    """The first failure is a warning, the next one only after that time. Every failure is counted."""
    clock = VirtualClock(NOON_MS)
    said: list[str] = []
    watch = ConnectionWatch(clock, said.append, is_one_time=False)
    last_ms: dict[Cause, int] = {}
    for cause, wait_ms in calls:
        clock.sleep(wait_ms / 1_000)
        now_ms, before = clock.monotonic_ms(), len(said)
        watch.record_failed_call(cause, 0, 1)
        is_due = now_ms - last_ms.get(cause, now_ms - WARNING_INTERVAL_MS) >= WARNING_INTERVAL_MS
        assert (len(said) > before) == is_due
        if is_due:
            last_ms[cause] = now_ms
            assert said[-1].startswith(cause.value)
    assert watch.failed_calls.total() == len(calls)


def test_a_retry_is_shown_as_long_as_it_waits() -> None:
    """What was answered and when it goes on; not after that."""
    clock = VirtualClock(NOON_MS)
    watch = ConnectionWatch(clock, lambda _: None, is_one_time=True)
    assert watch.trouble() == ""
    watch.record_retry(Retry(503, Cause.SERVER_ERROR.value, wait_s=4))
    assert watch.trouble() == "api answered 503, next try in 4 s"
    clock.sleep(3.9)
    assert watch.trouble() == "api answered 503, next try in 4 s"
    clock.sleep(0.2)
    assert watch.trouble() == ""
    watch.record_retry(Retry(0, Cause.TIMED_OUT.value, wait_s=2))
    assert watch.trouble() == "no answer came in time, next try in 2 s"
    watch.record_retry(Retry(429, Cause.ANSWER_UNUSABLE.value, wait_s=0, is_rate_limited=True))
    assert watch.trouble() == "rate limited by the API"
    assert watch.retries == {"503": 1, Cause.TIMED_OUT.value: 1, "429": 1}


def test_a_rate_limit_is_warned_of_once_a_minute() -> None:
    clock, said = VirtualClock(NOON_MS), list[str]()
    watch = ConnectionWatch(clock, said.append, is_one_time=True)
    for _ in range(100):
        watch.record_retry(Retry(429, Cause.ANSWER_UNUSABLE.value, wait_s=0, is_rate_limited=True))
        clock.sleep(1)
    assert said == ["rate limited by the API (429); it is tried again"] * 2


def test_another_process_tells_whether_a_refused_credential_could_be_tried() -> None:
    """It could not if each try of its work failed. Where no try was told, nothing changes."""
    watch = ConnectionWatch(VirtualClock(NOON_MS), lambda _: None, is_one_time=True)
    failures = Counter({(Cause.CONNECTION_REFUSED.value, 0): 2})
    for told, is_known in (
        (TryTally(), True),
        (TryTally(2, failures=failures), False),
        (TryTally(), False),
        (TryTally(3, failures=failures), True),
    ):
        watch.record_told(told)
        assert (watch.why_not_probed() is None) == is_known


def test_what_another_process_tells_is_counted_and_shown_as_past() -> None:
    """By the same kinds and with the same warnings; but for when it goes on, which is over by then."""
    clock, said = VirtualClock(NOON_MS), list[str]()
    watch = ConnectionWatch(clock, said.append, is_one_time=True)
    watch.record_try()
    failures = Counter({(Cause.SERVER_ERROR.value, 503): 3})
    watch.record_told(TryTally(9, Counter({Retry(503, Cause.SERVER_ERROR.value, 0): 2}), failures))
    assert watch.trouble() == "api answered 503"
    limited = Retry(429, Cause.ANSWER_UNUSABLE.value, 0, is_rate_limited=True)
    watch.record_told(TryTally(7, Counter({limited: 4})))
    watch.record_told(TryTally(1))
    assert watch.trouble() == "rate limited by the API"
    clock.sleep(TOLD_SHOWN_MS / 1_000)
    assert watch.trouble() == ""
    assert (watch.tries, watch.retries) == (18, {"503": 2, "429": 4})
    assert watch.failed_calls == {Cause.SERVER_ERROR.value: 3}
    assert said == [
        "the API answers with server errors (503); it is tried again",
        "rate limited by the API (429); it is tried again",
    ]
