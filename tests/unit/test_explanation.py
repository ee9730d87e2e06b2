"""Why a contact is late, by facts alone."""

from dataclasses import replace

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.contact import Contact
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.memory import KEY_BYTES
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.watermark import Mark, Span, Watermark
from contact_activity.operations.explanation import CauseKind, Explanation, Facts, Known, explain

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
        replace(QUIET, pauses=(Pause(PauseReason.QUOTA, NOW_MS + 1),), calls_used=10_000),
        iso(NOW_MS + 1),
    ),
    (CauseKind.MISSING_RIGHT, replace(QUIET, right=Right.METRICS), "ui:campaign:metrics"),
    (CauseKind.GONE, replace(QUIET, contact=replace(READ, times_gone=2)), iso(READ.due_ms)),
    (
        CauseKind.FAILING,
        replace(QUIET, contact=replace(READ, failures=3, last_error="HTTP 500", failed_ms=NOW_MS)),
        "3 times",
    ),
    (CauseKind.TICK_FAILED, replace(QUIET, tick_failure=TickFailure("no host", NOW_MS)), "no host"),
    (CauseKind.QUOTA_USED_UP, replace(QUIET, calls_used=10_000), iso(20_001 * DAY_MS)),
    (CauseKind.RESYNC, replace(QUIET, contact=replace(READ, watermark=RESYNC)), iso(DAY_MS)),
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
    )
    kinds = [cause.kind for cause in explain(facts).causes]
    order = list(CauseKind)
    assert kinds == sorted(kinds, key=order.index)
    assert set(order) - set(kinds) == {
        CauseKind.FORGOTTEN,
        CauseKind.BEING_READ,
        CauseKind.NOTHING_WRONG,
    }


def test_an_erased_contact_is_explained_by_that() -> None:
    erased = Facts("account", "4711", NOW_MS, erased_ms=DAY_MS)
    (cause,) = explain(erased).causes
    assert cause.kind is CauseKind.FORGOTTEN
    assert iso(DAY_MS) in cause.text


def test_nothing_wrong_says_when_it_was_and_will_be_read() -> None:
    (cause,) = explain(QUIET).causes
    assert cause.kind is CauseKind.NOTHING_WRONG
    assert iso(NOW_MS - HOUR_MS) in cause.text
    assert iso(READ.due_ms) in cause.text


def test_settings_that_leave_something_out_do_not_hide_that_nothing_is_wrong() -> None:
    left_out = replace(QUIET, types=(ActivityType.SENT, ActivityType.OPENED), start_ms=DAY_MS)
    reports, start, last = explain(left_out).causes
    assert (reports.kind, start.kind) == (CauseKind.LEFT_OUT, CauseKind.LEFT_OUT)
    assert "clicks" in reports.text
    assert "opens" not in reports.text
    assert iso(DAY_MS) in start.text
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
