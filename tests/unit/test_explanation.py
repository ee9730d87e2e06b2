"""Why a contact is late, by facts alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.contact import Contact
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.memory import KEY_BYTES
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.summary import Summarized, SummaryKind
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.watermark import Mark, Span, Watermark
from contact_activity.operations.explanation import (
    CauseKind,
    Explanation,
    Facts,
    Known,
    explain,
    pause_causes,
)
from contact_activity.operations.told_times import when, when_of_several

NOW_MS = 20_000 * DAY_MS + HOUR_MS
READ = Contact("4711", registered_ms=0, due_ms=NOW_MS + HOUR_MS, synced_ms=NOW_MS - HOUR_MS)
QUIET = Facts("account", "4711", NOW_MS, READ)
ASK = Ask(ReportId("9", ActivityType.OPENED), bytes(KEY_BYTES), NOW_MS)
RESYNC = Watermark(resync_ms=DAY_MS, resync_asked_ms=NOW_MS)

# By the one cause that the facts have, and a word that must be in its text.
ONE_CAUSE = [
    (CauseKind.PAUSED, replace(QUIET, pauses=(Pause(PauseReason.OPERATOR, None),)), "lifted"),
    (CauseKind.PAUSED, replace(QUIET, pauses=(Pause(PauseReason.CREDENTIAL, None),)), "credential"),
    (
        CauseKind.PAUSED,
        replace(QUIET, pauses=(Pause(PauseReason.CREDENTIAL, None, Right.CONTACTS_READ),)),
        "the privilege contacts:read is missing",
    ),
    (
        CauseKind.PAUSED,
        replace(QUIET, pauses=(Pause(PauseReason.QUOTA, NOW_MS + 1),), calls_used=10_000),
        when(NOW_MS + 1, NOW_MS),
    ),
    (CauseKind.MISSING_RIGHT, replace(QUIET, right=Right.METRICS), "ui:campaign:metrics"),
    (CauseKind.MISSING_RIGHT, replace(QUIET, right=Right.CAMPAIGN_READ), "mailings are not watched"),
    (CauseKind.PUT_OFF, replace(QUIET, latest_due_ms=READ.due_ms - 1), "a clock that was ahead"),
    (CauseKind.SUMMARY_OWED, replace(QUIET, summaries=(SummaryKind.CONTACT,)), "not its summary"),
    (CauseKind.GONE, replace(QUIET, contact=replace(READ, times_gone=2)), when(READ.due_ms, NOW_MS)),
    (
        CauseKind.FAILING,
        replace(QUIET, contact=replace(READ, failures=3, last_error="HTTP 500", failed_ms=NOW_MS)),
        "3 times",
    ),
    (CauseKind.TICK_FAILED, replace(QUIET, tick_failure=TickFailure("no host", NOW_MS)), "no host"),
    (CauseKind.QUOTA_USED_UP, replace(QUIET, calls_used=10_000), when(20_001 * DAY_MS, NOW_MS)),
    (CauseKind.RESYNC, replace(QUIET, contact=replace(READ, watermark=RESYNC)), when(DAY_MS, NOW_MS)),
    (CauseKind.BEING_READ, replace(QUIET, contact=replace(READ, held_until_ms=NOW_MS + 1)), "now"),
    (
        CauseKind.BEING_READ,
        replace(QUIET, contact=replace(READ, due_ms=NOW_MS), queued_until_ms=NOW_MS + 1),
        "handed out",
    ),
    (
        CauseKind.WAITING_TURN,
        replace(QUIET, contact=replace(READ, due_ms=NOW_MS), due_before=1_234),
        "1,234 contacts are due before it",
    ),
    (CauseKind.WAITING_REPORT, replace(QUIET, contact=replace(READ, asks=(ASK,))), "9-opens"),
]


@pytest.mark.parametrize(("kind", "facts", "word"), ONE_CAUSE)
def test_each_cause_is_told_alone(kind: CauseKind, facts: Facts, word: str) -> None:
    (cause,) = explain(facts).causes
    assert cause.kind is kind
    assert word in cause.text


def test_causes_come_the_most_decisive_first() -> None:
    """Whatever the facts are, in the order of `CauseKind`."""
    contact = replace(READ, times_gone=1, failures=1, due_ms=NOW_MS, asks=(ASK,), watermark=RESYNC)
    facts = replace(
        QUIET,
        contact=contact,
        pauses=(Pause(PauseReason.OPERATOR, None),),
        right=Right.METRICS,
        tick_failure=TickFailure("no host", NOW_MS),
        calls_used=10_000,
        types=(ActivityType.SENT,),
        start_ms=1,
        latest_due_ms=NOW_MS - 1,
        summaries=(SummaryKind.CONTACT,),
    )
    kinds = [cause.kind for cause in explain(facts).causes]
    order = list(CauseKind)
    assert kinds == sorted(kinds, key=order.index)
    assert set(order) - set(kinds) == {
        CauseKind.FORGOTTEN,
        CauseKind.BEING_READ,
        CauseKind.NOTHING_WRONG,
    }


QUOTA_PAUSE = Pause(PauseReason.QUOTA, NOW_MS + HOUR_MS)
NEXT_WEEK = NOW_MS + 7 * DAY_MS


def kinds_of(facts: Facts) -> list[CauseKind]:
    return [cause.kind for cause in explain(facts).causes]


@pytest.mark.parametrize("reasons", [list(PauseReason), list(PauseReason)[::-1]])
def test_a_pause_that_somebody_must_end_comes_first(reasons: list[PauseReason]) -> None:
    """In whichever order they began."""
    pauses = tuple(Pause(of, QUOTA_PAUSE.until_ms if of is PauseReason.QUOTA else None) for of in reasons)
    commands = [cause.command for cause in explain(replace(QUIET, pauses=pauses)).causes]
    assert commands == ["resume", "check", "status"]


@pytest.mark.parametrize(
    ("used", "is_folder", "told", "command"),
    [
        (90, True, "the next run with these goes on", "run"),
        (90, False, "the next tick goes on", "status"),
        (10_000, True, "until tomorrow 00:00 UTC", "status"),
    ],
)
def test_a_day_used_up_by_a_lower_limit_holds_nothing_up(
    used: int, told: str, command: str, *, is_folder: bool
) -> None:
    """As `status` says. The pause of the API ends when that says so."""
    own = Pause(PauseReason.QUOTA, 20_001 * DAY_MS)
    facts = replace(QUIET, pauses=(own,), calls_used=used, is_folder=is_folder)
    cause = explain(facts).causes[0]
    assert cause.text.endswith(told)
    assert cause.command == command
    assert "no call goes out until" in explain(replace(facts, pauses=(QUOTA_PAUSE,))).causes[0].text


@pytest.mark.parametrize("own", [{"times_gone": 4}, {"failures": 9}], ids=["gone", "failing"])
def test_of_two_waits_the_longer_one_is_the_cause(own: dict[str, Any]) -> None:
    """Calls come back at midnight, a contact that is gone is asked next week, or in minutes."""
    long, short = replace(READ, **own, due_ms=NEXT_WEEK), replace(READ, **own, due_ms=NOW_MS + 1)
    paused = replace(QUIET, pauses=(QUOTA_PAUSE,))
    first, second = kinds_of(replace(paused, contact=long))
    assert second is CauseKind.PAUSED
    assert kinds_of(replace(paused, contact=short)) == [second, first]


def test_an_operator_s_pause_outlasts_a_contact_s_own_wait() -> None:
    gone = replace(READ, times_gone=4, due_ms=NEXT_WEEK)
    facts = replace(QUIET, contact=gone, pauses=(Pause(PauseReason.OPERATOR, None),))
    assert kinds_of(facts) == [CauseKind.PAUSED, CauseKind.GONE]


@pytest.mark.parametrize("right", [Right.METRICS, Right.CAMPAIGN_READ])
def test_a_gone_contact_waits_for_no_right(right: Right) -> None:
    gone = replace(QUIET, contact=replace(READ, times_gone=4, due_ms=NEXT_WEEK), right=right)
    assert kinds_of(gone) == [CauseKind.GONE, CauseKind.MISSING_RIGHT]


def test_a_right_of_mailings_holds_up_no_contact_that_fails() -> None:
    facts = replace(QUIET, contact=replace(READ, failures=2), right=Right.CAMPAIGN_READ)
    assert kinds_of(facts) == [CauseKind.FAILING, CauseKind.MISSING_RIGHT]
    assert kinds_of(replace(facts, right=Right.METRICS)) == [CauseKind.MISSING_RIGHT, CauseKind.FAILING]


@pytest.mark.parametrize("own", [{"times_gone": 4}, {"failures": 9}], ids=["gone", "failing"])
def test_a_wait_that_is_over_is_not_told_as_one_to_come(own: dict[str, Any]) -> None:
    """Then what reads it is the next step."""
    over = replace(QUIET, contact=replace(READ, **own, due_ms=NOW_MS - HOUR_MS), is_folder=True)
    first, turn = explain(over).causes
    assert "due again since" in first.text
    assert (first.until_ms, first.command, first.remedy) == (None, "", "")
    assert (turn.kind, turn.command) == (CauseKind.WAITING_TURN, "run")


@pytest.mark.parametrize(
    "in_hand",
    [
        replace(QUIET, contact=replace(READ, held_until_ms=NOW_MS + 1)),
        replace(QUIET, contact=replace(READ, due_ms=NOW_MS), queued_until_ms=NOW_MS + 1),
    ],
    ids=["held", "handed out"],
)
def test_what_a_killed_run_had_in_hand_is_read_by_the_next(in_hand: Facts) -> None:
    """Nothing in a folder tells whether its run is there, so that no end of the wait is known."""
    (in_folder,) = explain(replace(in_hand, is_folder=True)).causes
    assert (in_folder.until_ms, in_folder.command) == (None, "run")
    assert "if no run is there any more" in in_folder.text
    (in_stack,) = explain(in_hand).causes
    assert in_stack.until_ms is not None


def test_a_summary_is_owed_only_by_a_contact_that_was_read() -> None:
    wanted = replace(QUIET, summaries=(SummaryKind.CONTACT,))
    asked = replace(READ, summaries=(Summarized(SummaryKind.CONTACT, NOW_MS),))
    assert kinds_of(replace(wanted, contact=asked)) == [CauseKind.NOTHING_WRONG]
    assert kinds_of(replace(wanted, contact=replace(READ, synced_ms=None))) == [CauseKind.NOTHING_WRONG]


def test_an_erased_contact_is_explained_by_that() -> None:
    erased = Facts("account", "4711", NOW_MS, erased_ms=DAY_MS)
    (cause,) = explain(erased).causes
    assert cause.kind is CauseKind.FORGOTTEN
    assert when(DAY_MS, NOW_MS) in cause.text


def test_nothing_wrong_says_when_it_was_and_will_be_read() -> None:
    (cause,) = explain(QUIET).causes
    assert cause.kind is CauseKind.NOTHING_WRONG
    assert when_of_several(NOW_MS - HOUR_MS, NOW_MS) in cause.text
    assert when(READ.due_ms, NOW_MS) in cause.text


def test_settings_that_leave_something_out_do_not_hide_that_nothing_is_wrong() -> None:
    left_out = replace(QUIET, types=(ActivityType.SENT, ActivityType.OPENED), start_ms=DAY_MS)
    reports, last, start = explain(left_out).causes
    assert (reports.kind, start.kind) == (CauseKind.LEFT_OUT, CauseKind.LEFT_OUT)
    assert "clicks" in reports.text
    assert "opens" not in reports.text
    assert when(DAY_MS, NOW_MS) in start.text
    assert last.kind is CauseKind.NOTHING_WRONG


def test_the_watermark_is_told_by_type() -> None:
    marks = (Mark(ActivityType.OPENED, 7, (Span(0, 5),)), Mark(ActivityType.SENT, 9))
    watermark = Watermark(marks, remembered=bytes(3 * KEY_BYTES), reported=bytes(KEY_BYTES))
    explained = explain(replace(QUIET, contact=replace(READ, watermark=watermark)))
    assert explained == Explanation(
        explained.facts,
        explained.causes,
        known=(Known("sends", 9, None), Known("opens", 7, 5)),
        remembered=4,
    )


def test_the_page_for_operators_says_what_to_do_about_each_cause() -> None:
    page = (Path(__file__).parents[2] / "functions" / "README.md").read_text(encoding="utf-8")
    kinds = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {kind.value for kind in CauseKind} <= {name.strip(" `") for of in kinds for name in of.split(",")}


def test_nobody_renews_a_credential_for_want_of_a_right() -> None:
    """A pause for a right leads to what brings that: a login for a scope, the owner for a privilege."""
    for right, command in ((Right.CONTACT_DATA, "login"), (Right.CONTACTS_READ, "check")):
        (cause,) = pause_causes([Pause(PauseReason.CREDENTIAL, None, right)], NOW_MS)
        assert (cause.command, "renew" in cause.remedy) == (command, False)
