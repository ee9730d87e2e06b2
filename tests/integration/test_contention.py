"""Workers that contend for slots in DynamoDB, in virtual time: what a call costs, and how many there are."""

from itertools import pairwise

import pytest

from contact_activity.aws.pace import FOLD_EVERY
from contact_activity.domain.pace import Limits
from tests.support.contention import CALLS_EACH, LIMITS, WORKERS, Contention, change_over, contend

LATENCIES_MS = (50, 300, 1_000)
CALLS = WORKERS * CALLS_EACH


def assert_within_limits(seen: Contention, limits: Limits) -> None:
    assert seen.most_in_a_second <= limits.calls_per_second
    assert seen.counted == seen.calls


@pytest.mark.long
@pytest.mark.parametrize("work_ms", [0, 1_000])
@pytest.mark.parametrize("latency_ms", LATENCIES_MS)
def test_a_call_costs_a_write_and_a_sixteenth(latency_ms: int, work_ms: int) -> None:
    """Whether slots are waited for or not, and however slow the store is; each slot is a call."""
    seen = contend(latency_ms, work_ms=work_ms)
    assert_within_limits(seen, LIMITS)
    assert seen.calls == CALLS
    assert seen.operations == {"GetItem": WORKERS, "UpdateItem": CALLS + CALLS // FOLD_EVERY}


@pytest.mark.parametrize("latency_ms", [pytest.param(50, marks=pytest.mark.long), 300])
def test_no_slot_is_left_out_while_workers_wait(latency_ms: int) -> None:
    """The store's answer takes up to a slot's length: four workers still use every slot there is."""
    called_ms = sorted(contend(latency_ms, work_ms=0).called_ms)
    gaps_ms = {later - earlier for earlier, later in pairwise(called_ms)}
    assert gaps_ms == {LIMITS.slot_ms}


def test_workers_do_not_wait_for_each_others_answers() -> None:
    """Each answer takes a second, and four workers still make three calls in one."""
    assert contend(1_000, work_ms=0).calls_a_second > 3


def test_workers_that_contend_use_up_the_day_and_no_more() -> None:
    """The day's calls are granted to the last, whoever asks for them meanwhile."""
    limits = Limits(calls_per_second=4, calls_per_day=37)
    seen = contend(300, limits=limits)
    assert_within_limits(seen, limits)
    assert seen.calls == limits.calls_per_day


@pytest.mark.long
@pytest.mark.parametrize("latency_ms", [20, 300])
def test_functions_of_two_versions_stay_within_the_limit(latency_ms: int) -> None:
    """For minutes after an update: no slot is taken twice, and no call is left uncounted."""
    seen = change_over(latency_ms, new=2, old=2)
    assert seen.calls == 4 * CALLS_EACH
    assert seen.most_in_a_second <= LIMITS.calls_per_second
    # A slot that another might have too is given up, and counts.
    assert seen.counted >= 5 + seen.calls
