"""What a status comes to, one change at a time, and which of several comes first."""

from dataclasses import replace

import pytest

from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.operations.status import (
    Ahead,
    ContactCounts,
    ListStatus,
    Messages,
    MissingRight,
    Quota,
    ReportsStatus,
    Spread,
    Status,
)
from contact_activity.operations.verdict import LATE_S, Verdict, Word, verdict_of

COUNTS = ContactCounts(known=250, due=0, waiting=0, failing=0, gone=0, never_synced=0)
FINE = Status(
    name="account",
    contacts=COUNTS,
    lag_s=None,
    since_sync_s=Spread(10, 30, 31),
    quota=Quota(251, 9_000),
    pauses=(),
    messages=None,
    published=(),
    failing_by_cause={},
    tick_failure=None,
    clock=Ahead(0, 0, 0),
    listing=ListStatus(1, waits=False),
    campaign_reports=ReportsStatus("publish", {}, (), watched=0, due=0, failing=0, calls_today=0),
)
BY_OPERATOR = {"pauses": (Pause(PauseReason.OPERATOR, None),)}
BY_CREDENTIAL = {"pauses": (Pause(PauseReason.CREDENTIAL, None),)}
FAILED_TICK = {"tick_failure": TickFailure("unknown host", 0)}
USED_UP = {"quota": Quota(9_000, 9_000)}
LATE = {"lag_s": Spread(1, 1, LATE_S + 1), "contacts": replace(COUNTS, due=1)}
LACKING = {"missing_right": MissingRight("scope", "campaign_data")}
IN_ORDER = [BY_OPERATOR, BY_CREDENTIAL, FAILED_TICK, USED_UP, LATE, LACKING]
WORDS = [Word.PAUSED, Word.PAUSED, Word.FAILING, Word.QUOTA, Word.LATE, Word.FAILING]
NEXT = ["resume", "check", "check", "", "run", "check"]


def test_all_is_well() -> None:
    assert verdict_of(FINE) == Verdict(Word.OK, "every contact read within 31 s; nothing waits")


@pytest.mark.parametrize(("changes", "word", "command"), [*zip(IN_ORDER, WORDS, NEXT, strict=True)])
def test_each_has_its_word_and_what_to_do(changes: dict[str, object], word: Word, command: str) -> None:
    verdict = verdict_of(replace(FINE, **changes))  # type: ignore[arg-type]
    assert (verdict.word, verdict.next) == (word, command)


@pytest.mark.parametrize("n", range(len(IN_ORDER)))
def test_what_stops_everything_comes_first(n: int) -> None:
    """Of all that is wrong at once, the first in the order is told."""
    wrong: dict[str, object] = {}
    for changes in reversed(IN_ORDER[n:]):
        wrong.update(changes)  # type: ignore[call-overload]
    alone = verdict_of(replace(FINE, **IN_ORDER[n]))  # type: ignore[arg-type]
    assert verdict_of(replace(FINE, **wrong)) == alone  # type: ignore[arg-type]


def test_who_waits_for_an_hour_is_not_late() -> None:
    waiting = replace(FINE, lag_s=Spread(1, 1, LATE_S), contacts=replace(COUNTS, due=3))
    assert verdict_of(waiting) == Verdict(Word.OK, "every contact read within 31 s; 3 contacts are due")


def test_a_stack_that_is_late_is_checked() -> None:
    """Nobody runs a stack by hand."""
    late = replace(FINE, **LATE, messages=Messages(0, 0, 0))  # type: ignore[arg-type]
    assert verdict_of(late) == Verdict(Word.LATE, "1 contact is due, the first for 61 min", "check")


def test_a_pause_of_the_quota_needs_nobody() -> None:
    paused = replace(FINE, pauses=(Pause(PauseReason.QUOTA, 86_400_000),))
    because = "the day's calls are used up (251 of 9,000); goes on at 00:00 UTC"
    assert verdict_of(paused) == Verdict(Word.QUOTA, because)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"contacts": replace(COUNTS, failing=1)}, "1 contact is failing"),
        ({"messages": Messages(0, 2, 0)}, "2 dead letters are kept"),
        (
            {"campaign_reports": replace(FINE.campaign_reports, owing=3)},
            "3 reports are failing that rows wait for",
        ),
    ],
)
def test_what_fails_by_itself(changes: dict[str, object], because: str) -> None:
    verdict = verdict_of(replace(FINE, **changes))  # type: ignore[arg-type]
    assert verdict == Verdict(Word.FAILING, because, "dead-letters")


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"contacts": replace(COUNTS, known=0), "since_sync_s": None}, "no contact is known yet"),
        ({"since_sync_s": None}, "no contact was read yet"),
    ],
)
def test_before_the_first_run(changes: dict[str, object], because: str) -> None:
    verdict = verdict_of(replace(FINE, **changes))  # type: ignore[arg-type]
    assert verdict == Verdict(Word.OK, because, "run")


def test_contacts_that_were_not_read_yet_are_counted() -> None:
    verdict = verdict_of(replace(FINE, contacts=replace(COUNTS, never_synced=50)))
    assert verdict.because == "50 of 250 contacts not read yet; nothing waits"


def test_what_all_lies_within_is_rounded_up() -> None:
    verdict = verdict_of(replace(FINE, since_sync_s=Spread(1, 1, 3 * 3_600 - 60)))
    assert verdict.because == "every contact read within 3 h; nothing waits"
