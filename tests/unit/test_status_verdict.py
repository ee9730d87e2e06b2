"""What a status comes to, one change at a time, and which of several comes first."""

from dataclasses import replace

import pytest

from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.operations.status import (
    Ahead,
    Cadence,
    ContactCounts,
    ListStatus,
    Messages,
    Quota,
    ReportsStatus,
    Spread,
    Status,
)
from contact_activity.operations.verdict import Verdict, Word, verdict_of

# The tenth day since 1970, 11:20.
AT_MS = 9 * DAY_MS + 11 * HOUR_MS + 20 * 60_000
CADENCE = Cadence(300, 2_400, late_after_s=3_120, idle_s=31, is_idle=False, is_late=False)
COUNTS = ContactCounts(known=250, due=0, waiting=0, failing=0, gone=0, never_synced=0)
FINE = Status(
    name="account",
    at_ms=AT_MS,
    contacts=COUNTS,
    lag_s=None,
    since_sync_s=Spread(10, 30, 31),
    quota=Quota(251, 9_000),
    cadence=CADENCE,
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
FAILED_TICK = {"tick_failure": TickFailure("unknown host", AT_MS - 60_000)}
LACKING = {"missing_right": Right.CAMPAIGN_DATA}
USED_UP = {"quota": Quota(9_000, 9_000, 10 * DAY_MS)}
LATE = {
    "lag_s": Spread(1, 1, 3_660),
    "contacts": replace(COUNTS, due=1),
    "cadence": replace(CADENCE, is_late=True),
}
DEAD = {"messages": Messages(0, 2, 0)}
IN_ORDER = [BY_OPERATOR, BY_CREDENTIAL, FAILED_TICK, LACKING, USED_UP, LATE]
WORDS = [Word.PAUSED, Word.PAUSED, Word.FAILING, Word.FAILING, Word.QUOTA, Word.LATE]
NEXT = ["resume", "check", "check", "check", "check", "run"]


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


def test_who_waits_within_its_turn_is_not_late() -> None:
    waiting = replace(FINE, lag_s=Spread(1, 1, 86_400), contacts=replace(COUNTS, due=3))
    assert verdict_of(waiting) == Verdict(Word.OK, "every contact read within 31 s; 3 contacts are due")


def test_a_stack_that_is_late_is_checked() -> None:
    """Nobody runs a stack by hand."""
    late = replace(FINE, **LATE, messages=Messages(0, 0, 0))  # type: ignore[arg-type]
    because = "1 contact is due, the first for 61 min; each has its turn within 40 min"
    assert verdict_of(late) == Verdict(Word.LATE, because, "check")


@pytest.mark.parametrize(
    ("idle_s", "told"), [(None, "nothing was read yet"), (7_200, "nothing was read for 2 h")]
)
def test_where_nothing_is_read_any_more_that_is_said(idle_s: int | None, told: str) -> None:
    late = replace(FINE, **LATE | {"cadence": replace(CADENCE, idle_s=idle_s, is_idle=True, is_late=True)})  # type: ignore[arg-type]
    assert verdict_of(late).because == f"1 contact is due, the first for 61 min, and {told}"


@pytest.mark.parametrize(
    ("asks_ms", "messages", "asked", "command"),
    [
        (AT_MS + HOUR_MS, None, "asked again today 12:20 UTC", "check"),
        (AT_MS - HOUR_MS, None, "the next run asks again", "run"),
        (AT_MS - HOUR_MS, Messages(0, 0, 0), "the next tick asks again", "check"),
    ],
)
def test_who_only_heard_of_a_used_up_day_says_when_it_asks_again(
    asks_ms: int, messages: Messages | None, asked: str, command: str
) -> None:
    quota = Quota(251, 9_000, 10 * DAY_MS, asks_ms)
    verdict = verdict_of(replace(FINE, quota=quota, messages=messages))
    because = (
        "the API says that the day's calls are used up (251 of 9,000 counted here); "
        f"{asked}, goes on tomorrow 00:00 UTC at the latest"
    )
    assert verdict == Verdict(Word.QUOTA, because, command)


def test_a_day_that_is_used_up_needs_nobody() -> None:
    """The next step shows what decides it, and what else may be set."""
    because = (
        "the day's calls are used up (9,000 of 9,000, by CALLS_PER_DAY × QUOTA_SHARE of this shell); "
        "goes on by itself tomorrow 00:00 UTC"
    )
    assert verdict_of(replace(FINE, **USED_UP)) == Verdict(Word.QUOTA, because, "check")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("messages", "goes_on", "command"),
    [(None, "run with these", "run"), (Messages(0, 0, 0), "tick", "")],
)
def test_a_day_that_is_used_up_by_a_lower_limit_alone_names_the_settings(
    messages: Messages | None, goes_on: str, command: str
) -> None:
    quota = Quota(50, 9_000, 10 * DAY_MS, is_raised=True)
    because = (
        "the calls of a lower CALLS_PER_DAY or QUOTA_SHARE are used up, of these some are left "
        f"(50 of 9,000 used); the next {goes_on} goes on"
    )
    assert verdict_of(replace(FINE, quota=quota, messages=messages)) == Verdict(Word.QUOTA, because, command)


@pytest.mark.parametrize(
    ("until_ms", "until"),
    [(None, "until it is resumed"), (AT_MS + DAY_MS, "until tomorrow 11:20 UTC")],
)
def test_a_pause_says_until_when(until_ms: int | None, until: str) -> None:
    verdict = verdict_of(replace(FINE, pauses=(Pause(PauseReason.OPERATOR, until_ms),)))
    assert (
        verdict.because
        == f"somebody paused it {until}; nothing was read since today 11:19 UTC, nothing is lost"
    )


@pytest.mark.parametrize(
    ("idle_s", "since"),
    [
        (12 * 3_600, "nothing was read since yesterday 23:20 UTC"),
        (86_400 * 3, "nothing was read since 1970-01-07 11:20 UTC"),
        (None, "nothing was read yet"),
    ],
)
def test_a_pause_says_since_when_nothing_is_read(idle_s: int | None, since: str) -> None:
    paused = replace(FINE, **BY_CREDENTIAL, cadence=replace(CADENCE, idle_s=idle_s))  # type: ignore[arg-type]
    assert verdict_of(paused).because == f"the API refuses the credential; {since}, nothing is lost"


def test_a_failed_tick_says_when() -> None:
    told = verdict_of(replace(FINE, **FAILED_TICK)).because  # type: ignore[arg-type]
    assert told == "the last tick failed today 11:19 UTC: unknown host"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"asking": 1}, "1 activity waits for the report of a mailing"),
        ({"asking": 3, "owed": 2}, "3 activities wait for the report of a mailing, 2 for more than a day"),
        ({"asking": 2, "due": 1}, "1 contact is due; 2 activities wait for the report of a mailing"),
    ],
)
def test_activity_that_waits_for_a_report_is_told(changes: dict[str, int], told: str) -> None:
    verdict = verdict_of(replace(FINE, contacts=replace(COUNTS, **changes)))
    assert verdict == Verdict(Word.OK, f"every contact read within 31 s; {told}")


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
        (
            {"contacts": replace(COUNTS, due=250), "since_sync_s": None},
            "no contact was read yet, 250 contacts are due",
        ),
    ],
)
def test_before_the_first_run(changes: dict[str, object], because: str) -> None:
    """A run that holds the folder refuses another, so that nobody is told to begin one."""
    status = replace(FINE, **changes)  # type: ignore[arg-type]
    assert verdict_of(status) == Verdict(Word.OK, because, "run")
    because += "; a run is under way, and reads what is due from its next tick on"
    assert verdict_of(replace(status, is_running=True)) == Verdict(Word.OK, because)


def test_contacts_that_were_not_read_yet_are_counted() -> None:
    verdict = verdict_of(replace(FINE, contacts=replace(COUNTS, never_synced=50)))
    assert verdict.because == "50 of 250 contacts not read yet; nothing waits"


def test_what_all_lies_within_is_rounded_up() -> None:
    verdict = verdict_of(replace(FINE, since_sync_s=Spread(1, 1, 3 * 3_600 - 60)))
    assert verdict.because == "every contact read within 3 h; nothing waits"
