"""What a status comes to: one word, why, and what to do next. Reads and prints nothing."""

from dataclasses import dataclass, replace
from enum import StrEnum

from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.operations.remedies import LOWER_LIMIT, goes_on_with_these
from contact_activity.operations.status import Status
from contact_activity.operations.told_times import duration, when


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

    What stops everything comes first: a pause that somebody must end, a tick that fails, a right that is
    missing, the day's calls. Then what makes all late, and what fails by itself.
    """
    verdict = (
        _paused(status)
        or _tick_failed(status)
        or _lacking(status)
        or _used_up(status)
        or _late(status)
        or _failing(status)
        or _fine(status)
    )
    return _beside_run(verdict) if status.is_running and verdict.next == "run" else verdict


def _beside_run(verdict: Verdict) -> Verdict:
    """The verdict while a run holds the folder, which refuses another."""
    goes_on = "and reads what is due from its next tick on"
    if verdict.word is Word.QUOTA:
        goes_on = "stop it before you begin another"
    return replace(verdict, because=f"{verdict.because}; a run is under way, {goes_on}", next="")


def _paused(status: Status) -> Verdict | None:
    by_reason = {pause.reason: pause for pause in status.pauses}
    if pause := by_reason.get(PauseReason.OPERATOR):
        until = _until(pause, status.at_ms)
        return Verdict(Word.PAUSED, f"somebody paused it {until}; {_since(status)}", "resume")
    if pause := by_reason.get(PauseReason.CREDENTIAL):
        right = Right.named(pause.lacks)
        why = f"{right.missing}, so no contact is read" if right else "the API refuses the credential"
        return Verdict(Word.PAUSED, f"{why}; {_since(status)}", "check")
    return None


def _since(status: Status) -> str:
    """Since when nothing is read: when a pause began is not stored."""
    if status.cadence.idle_s is None:
        return "nothing was read yet, nothing is lost"
    read_ms = status.at_ms - status.cadence.idle_s * 1_000
    return f"nothing was read since {when(read_ms, status.at_ms)}, nothing is lost"


def _until(pause: Pause, now_ms: int) -> str:
    return "until it is resumed" if pause.until_ms is None else f"until {when(pause.until_ms, now_ms)}"


def _tick_failed(status: Status) -> Verdict | None:
    failure = status.tick_failure
    if failure is None:
        return None
    at = when(failure.at_ms, status.at_ms)
    return Verdict(Word.FAILING, f"the last tick failed {at}: {failure.error}", "check")


def _lacking(status: Status) -> Verdict | None:
    right = status.missing_right
    if right is None:
        return None
    return Verdict(Word.FAILING, right.missing, "check")


def _used_up(status: Status) -> Verdict | None:
    quota = status.quota
    if quota.ends_ms is None:
        return None
    used, ends = f"{quota.used:,} of {quota.limit:,}", when(quota.ends_ms, status.at_ms)
    if quota.is_raised:
        goes_on = goes_on_with_these(is_folder=not status.messages)
        return Verdict(
            Word.QUOTA, f"{LOWER_LIMIT} ({used} used); {goes_on}", "" if status.messages else "run"
        )
    if quota.asks_ms is None:
        limit = f"{used}, by CALLS_PER_DAY × QUOTA_SHARE{_set_here(status)}"
        return Verdict(
            Word.QUOTA, f"the day's calls are used up ({limit}); goes on by itself {ends}", "check"
        )
    why = f"the API says that the day's calls are used up ({used} counted here)"
    latest = f"goes on {ends} at the latest"
    if quota.asks_ms > status.at_ms:
        asked = f"asked again {when(quota.asks_ms, status.at_ms)}"
        return Verdict(Word.QUOTA, f"{why}; {asked}, {latest}", "check")
    asker, command = ("tick", "check") if status.messages else ("run", "run")
    return Verdict(Word.QUOTA, f"{why}; the next {asker} asks again, {latest}", command)


def _set_here(status: Status) -> str:
    """Whose settings a limit is of: a folder keeps none, and another shell may have others."""
    return "" if status.messages else " of this shell"


def _late(status: Status) -> Verdict | None:
    cadence, lag_s = status.cadence, status.lag_s
    if lag_s is None or not cadence.is_late:
        return None
    late = f"{_are(status.contacts.due, 'contact')} due, the first for {duration(lag_s.oldest)}"
    because = f"{late}, and {_idle(cadence.idle_s)}" if cadence.is_idle else f"{late}; {_sweep(status)}"
    return Verdict(Word.LATE, because, "check" if status.messages else "run")


def _idle(idle_s: int | None) -> str:
    return "nothing was read yet" if idle_s is None else f"nothing was read for {duration(idle_s)}"


def _sweep(status: Status) -> str:
    return f"each has its turn within {duration(status.cadence.sweep_s, is_bound=True)}"


def _failing(status: Status) -> Verdict | None:
    if failing := status.contacts.failing:
        return Verdict(Word.FAILING, f"{_are(failing, 'contact')} failing", "dead-letters")
    if owing := status.campaign_reports.owing:
        return Verdict(Word.FAILING, f"{_are(owing, 'report')} failing that rows wait for", "dead-letters")
    if letters := status.messages and status.messages.dead_letters:
        return Verdict(Word.FAILING, f"{_are(letters, 'dead letter')} kept", "dead-letters")
    return None


def _fine(status: Status) -> Verdict:
    begin = "" if status.messages else "run"
    if not status.contacts.known:
        return Verdict(Word.OK, "no contact is known yet", begin)
    if status.since_sync_s is None:
        due = status.contacts.due
        are_due = f", {_are(due, 'contact')} due" if due else ""
        return Verdict(Word.OK, f"no contact was read yet{are_due}", begin)
    return Verdict(Word.OK, f"{_read(status)}; {_waits(status)}")


def _read(status: Status) -> str:
    counts, since_s = status.contacts, status.since_sync_s
    if counts.never_synced or since_s is None:
        return f"{counts.never_synced:,} of {counted(counts.known, 'contact')} not read yet"
    return f"every contact read within {duration(since_s.oldest, is_bound=True)}"


def _waits(status: Status) -> str:
    """What waits: contacts for their turn, and activities of v3 for the reports of their mailings."""
    counts, waits = status.contacts, []
    if counts.due:
        waits.append(f"{_are(counts.due, 'contact')} due")
    if counts.asking:
        wait = counted(counts.asking, "activity waits", "activities wait")
        owed = f", {counts.owed:,} for more than a day" if counts.owed else ""
        waits.append(f"{wait} for the report of a mailing{owed}")
    return "; ".join(waits) or "nothing waits"


def _are(number: int, what: str) -> str:
    return f"{counted(number, what)} {'is' if number == 1 else 'are'}"
