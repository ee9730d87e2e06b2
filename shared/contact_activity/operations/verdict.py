"""What a status comes to: one word, why, and what to do next. Reads and prints nothing."""

from dataclasses import dataclass
from enum import StrEnum

from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import iso
from contact_activity.operations.status import Status

# A due contact waits for the next tick or run. Whoever waits longer is late.
LATE_S = 3_600


class Word(StrEnum):
    OK = "OK"
    LATE = "LATE"
    PAUSED = "PAUSED"
    QUOTA = "QUOTA"
    FAILING = "FAILING"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`because`: a sentence. `next`: the command to give, without the system's name; "" if there is none."""

    word: Word
    because: str
    next: str = ""


def verdict_of(status: Status) -> Verdict:
    """Return the verdict on a system.

    What stops everything comes first: a pause that somebody must end, a tick that fails, the day's calls.
    Then what makes all late, and what fails by itself.
    """
    return (
        _paused(status)
        or _tick_failed(status)
        or _used_up(status)
        or _late(status)
        or _failing(status)
        or _fine(status)
    )


def _paused(status: Status) -> Verdict | None:
    by_reason = {pause.reason: pause for pause in status.pauses}
    if pause := by_reason.get(PauseReason.OPERATOR):
        return Verdict(Word.PAUSED, f"somebody paused it {_until(pause)}; nothing is lost", "resume")
    if PauseReason.CREDENTIAL in by_reason:
        return Verdict(Word.PAUSED, "the API refuses the credential; nothing is lost", "check")
    return None


def _until(pause: Pause) -> str:
    return "until it is resumed" if pause.until_ms is None else f"until {iso(pause.until_ms)}"


def _tick_failed(status: Status) -> Verdict | None:
    failure = status.tick_failure
    if failure is None:
        return None
    return Verdict(Word.FAILING, f"the last tick failed at {iso(failure.at_ms)}: {failure.error}", "check")


def _used_up(status: Status) -> Verdict | None:
    used, limit = status.quota.used, status.quota.limit
    if any(pause.reason is PauseReason.QUOTA for pause in status.pauses) or 0 < limit <= used:
        return Verdict(
            Word.QUOTA, f"the day's calls are used up ({used:,} of {limit:,}); goes on at 00:00 UTC"
        )
    return None


def _late(status: Status) -> Verdict | None:
    lag_s = status.lag_s
    if lag_s is None or lag_s.oldest <= LATE_S:
        return None
    late = f"{_several(status.contacts.due, 'contact')} due, the first for {_ago(lag_s.oldest)}"
    return Verdict(Word.LATE, late, "check" if status.messages else "run")


def _failing(status: Status) -> Verdict | None:
    if right := status.missing_right:
        return Verdict(Word.FAILING, f"the credential lacks the {right.kind} {right.name}", "check")
    if failing := status.contacts.failing:
        return Verdict(Word.FAILING, f"{_several(failing, 'contact')} failing", "dead-letters")
    if owing := status.campaign_reports.owing:
        return Verdict(
            Word.FAILING, f"{_several(owing, 'report')} failing that rows wait for", "dead-letters"
        )
    if letters := status.messages and status.messages.dead_letters:
        return Verdict(Word.FAILING, f"{_several(letters, 'dead letter')} kept", "dead-letters")
    return None


def _fine(status: Status) -> Verdict:
    if not status.contacts.known:
        return Verdict(Word.OK, "no contact is known yet", "" if status.messages else "run")
    read = status.since_sync_s
    if read is None:
        return Verdict(Word.OK, "no contact was read yet", "" if status.messages else "run")
    due = status.contacts.due
    waits = f"{_several(due, 'contact')} due" if due else "nothing waits"
    if never := status.contacts.never_synced:
        return Verdict(
            Word.OK, f"{never:,} of {counted(status.contacts.known, 'contact')} not read yet; {waits}"
        )
    return Verdict(Word.OK, f"every contact read within {_ago(read.oldest)}; {waits}")


def _several(number: int, what: str) -> str:
    return counted(number, f"{what} is", f"{what}s are")


def _ago(seconds: int) -> str:
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            # Rounded up, since all lies within it.
            return f"{-(-seconds // unit):,} {name}"
    return f"{seconds} s"
