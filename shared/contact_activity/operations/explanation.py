"""Why the events of a contact are late, as it follows from what is stored. Reads and prints nothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.contact import Contact
from contact_activity.domain.counted import counted, times
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.memory import KEY_BYTES
from contact_activity.domain.pauses import Pause, PauseReason, is_own_budget
from contact_activity.domain.rights import Right
from contact_activity.domain.schedule import is_held, is_queued
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import DAY_MS, midnight_after
from contact_activity.operations.remedies import LOWER_LIMIT, goes_on_with_these
from contact_activity.operations.told_times import when, when_of_several


class CauseKind(StrEnum):
    """Why events are late, the most decisive first.

    But used-up calls come after a contact's own wait that is longer, and a right that only mailings'
    reports take after all that holds up the contact itself.
    """

    FORGOTTEN = "forgotten"
    PAUSED = "paused"
    GONE = "gone"
    MISSING_RIGHT = "missing_right"
    FAILING = "failing"
    PUT_OFF = "put_off"
    TICK_FAILED = "tick_failed"
    QUOTA_USED_UP = "quota_used_up"
    RESYNC = "resync"
    BEING_READ = "being_read"
    WAITING_TURN = "waiting_turn"
    WAITING_REPORT = "waiting_report"
    SUMMARY_OWED = "summary_owed"
    LEFT_OUT = "left_out"
    NOTHING_WRONG = "nothing_wrong"


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, in a sentence. `until_ms`: when it ends, if that is known.

    `remedy`: what somebody can do; "": nothing, it passes. `command`: the arguments of `contact-activity`
    that do it or show more, without those that name the system; "": none does.
    """

    kind: CauseKind
    text: str
    until_ms: int | None = None
    remedy: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored that decides when a contact is read.

    `contact`: None if it was erased, at `erased_ms`. `due_before`: how many contacts have been due for
    longer. `latest_due_ms`: the latest time that any schedule would set it due; None: not known. `types`,
    `summaries` and `start_ms`: what `REPORTS` and `START_DATE` say. `is_folder`: a run reads it, not a stack.
    `lacks_credentials`: a run of whoever asks would read the simulated account instead. `is_running`: a run
    holds the folder.
    """

    system: str
    contact_id: str
    now_ms: int
    contact: Contact | None = None
    erased_ms: int | None = None
    queued_until_ms: int = 0
    due_before: int = 0
    latest_due_ms: int | None = None
    pauses: tuple[Pause, ...] = ()
    calls_used: int = 0
    calls_per_day: int = 10_000
    right: Right | None = None
    tick_failure: TickFailure | None = None
    types: tuple[ActivityType, ...] = tuple(ActivityType)
    summaries: tuple[SummaryKind, ...] = ()
    start_ms: int | None = None
    is_folder: bool = False
    lacks_credentials: bool = False
    is_running: bool = False

    @property
    def is_in_message(self) -> bool:
        # A folder does not say how often its run ticks. Once a day is the longest interval.
        return is_queued(self.queued_until_ms, self.now_ms, DAY_MS)


@dataclass(frozen=True, slots=True)
class Known:
    """How far one type is known. `floor_ms`: what is older is not asked for again; None: all is."""

    report: str
    through_ms: int | None
    floor_ms: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes, the most decisive first; at least one. `known` and `remembered` tell the watermark."""

    facts: Facts
    causes: tuple[Cause, ...]
    known: tuple[Known, ...] = ()
    remembered: int = 0


def explain(facts: Facts) -> Explanation:
    """Return why the events of a contact are late, or that nothing is wrong."""
    contact = facts.contact
    if contact is None:
        return Explanation(facts, (_forgotten(facts),))
    found = [cause for of in _CAUSES for cause in of(facts, contact)]
    if all(cause.kind is CauseKind.LEFT_OUT for cause in found):
        found.append(_nothing_wrong(facts, contact))
    found += _begins_late(facts)
    watermark = contact.watermark
    known = tuple(
        Known(mark.type.report, mark.through_ms, mark.floor_ms)
        for mark in sorted(watermark.marks, key=lambda mark: list(ActivityType).index(mark.type))
    )
    remembered = (len(watermark.remembered) + len(watermark.reported)) // KEY_BYTES
    return Explanation(facts, tuple(found), known, remembered)


def _forgotten(facts: Facts) -> Cause:
    at = "" if facts.erased_ms is None else f" {when(facts.erased_ms, facts.now_ms)}"
    return Cause(
        CauseKind.FORGOTTEN,
        f"it was erased by `forget`{at}: it is not read, unless the account changes it later",
    )


def _paused(facts: Facts, contact: Contact) -> Iterator[Cause]:
    held_up = (pause for pause in facts.pauses if not _waits_longer(contact, pause.until_ms))
    yield from pause_causes(held_up, facts.now_ms, raised=raised_budget(facts))


def _paused_for_less(facts: Facts, contact: Contact) -> Iterator[Cause]:
    held_up = (pause for pause in facts.pauses if _waits_longer(contact, pause.until_ms))
    return pause_causes(held_up, facts.now_ms, raised=raised_budget(facts))


def _waits_longer(contact: Contact, until_ms: int | None) -> bool:
    """Whether the contact would not be read then either, for what it is itself."""
    is_by_itself = contact.failures > 0 or contact.times_gone > 0
    return is_by_itself and until_ms is not None and contact.due_ms > until_ms


def pause_causes(
    pauses: Iterable[Pause], now_ms: int, *, raised: tuple[str, str, str] | None = None
) -> Iterator[Cause]:
    """Tell pauses, those first that somebody must end. `raised`: see `raised_budget`."""
    for pause in sorted(pauses, key=lambda pause: list(_PAUSES).index(pause.reason)):
        if raised and is_own_budget(pause, now_ms):
            yield Cause(CauseKind.PAUSED, raised[0], None, *raised[1:])
            continue
        until = "until it is lifted" if pause.until_ms is None else f"until {when(pause.until_ms, now_ms)}"
        why, remedy, command = _PAUSES[pause.reason]
        if right := Right.named(pause.lacks):
            lacking = lacks(right)
            why, remedy, command = right.missing, lacking.remedy, lacking.command
        yield Cause(CauseKind.PAUSED, f"{why}: no call goes out {until}", pause.until_ms, remedy, command)


_PAUSES = {
    PauseReason.OPERATOR: ("an operator paused the system", "lift the pause", "resume"),
    PauseReason.CREDENTIAL: (
        "the API refuses the credential",
        "renew the credential; check says which, and how",
        "check",
    ),
    PauseReason.QUOTA: ("the calls of the day are used up", "", "status"),
}


def _missing_right(facts: Facts, _: Contact) -> Iterator[Cause]:
    if facts.right and facts.right is not Right.CAMPAIGN_READ:
        yield lacks(facts.right)


def _unwatched(facts: Facts, _: Contact) -> Iterator[Cause]:
    if facts.right is Right.CAMPAIGN_READ:
        yield lacks(
            facts.right, "mailings are not watched, and what they tell comes with each contact's turn"
        )


def lacks(right: Right, what_follows: str = "what takes it waits") -> Cause:
    """Tell which right the credential lacks, and how to get it."""
    is_scope = right.kind == "scope"
    return Cause(
        CauseKind.MISSING_RIGHT,
        f"the credential lacks the {right.kind} {right.value}: {what_follows}",
        remedy="log in again and allow it" if is_scope else "ask the account's owner to give it to the user",
        command="login" if is_scope else "check",
    )


def _gone(facts: Facts, contact: Contact) -> Iterator[Cause]:
    if contact.times_gone:
        again, until_ms = _again(facts, contact, "asked")
        yield Cause(
            CauseKind.GONE,
            f"the API does not know it (404, {times(contact.times_gone)}): {again}",
            until_ms,
            ""
            if until_ms is None
            else "see whether Constant Contact has it: a change there has it asked again",
        )


def _failing(facts: Facts, contact: Contact) -> Iterator[Cause]:
    if not contact.failures:
        return
    last = "" if contact.failed_ms is None else f", last {when(contact.failed_ms, facts.now_ms)}"
    again, until_ms = _again(facts, contact, "tried")
    why = contact.last_error or "cause unknown"
    text = f"reading it failed {times(contact.failures)}{last} ({why}): {again}"
    if until_ms is None:
        yield Cause(CauseKind.FAILING, text)
        return
    remedy = "have all that failed tried at once, when the cause is mended"
    yield Cause(CauseKind.FAILING, text, until_ms, remedy, "dead-letters --redrive")


def _again(facts: Facts, contact: Contact, what: str) -> tuple[str, int | None]:
    """Say when a contact is read again, and return the time; None if that is past."""
    if contact.due_ms <= facts.now_ms:
        return f"it has been due again since {when(contact.due_ms, facts.now_ms)}", None
    return f"it is {what} again {when(contact.due_ms, facts.now_ms)}", contact.due_ms


def _put_off(facts: Facts, contact: Contact) -> Iterator[Cause]:
    if facts.latest_due_ms is not None and contact.due_ms > facts.latest_due_ms:
        yield Cause(
            CauseKind.PUT_OFF,
            f"it is due {when(contact.due_ms, facts.now_ms)}, later than any schedule says, as a clock that "
            "was ahead sets it, or a smaller CALLS_PER_DAY: the next tick corrects that",
            None,
            *reads_next(facts),
        )


def _tick_failed(facts: Facts, _: Contact) -> Iterator[Cause]:
    if facts.tick_failure:
        yield tick_failed(facts.tick_failure, facts.now_ms)


def tick_failed(failure: TickFailure, now_ms: int) -> Cause:
    """Tell why and when the last tick failed."""
    failed = f"the last tick failed {when(failure.at_ms, now_ms)} ({failure.error})"
    text = f"{failed}: contacts may wait for the next"
    return Cause(CauseKind.TICK_FAILED, text, remedy="see what fails", command="check")


def _quota_used_up(facts: Facts, _: Contact) -> Iterator[Cause]:
    yield from quota_used_up(facts.pauses, facts.calls_used, facts.calls_per_day, facts.now_ms)


def quota_used_up(pauses: Iterable[Pause], used: int, limit: int, now_ms: int) -> Iterator[Cause]:
    """Tell that the day's calls are used up, unless a pause says so."""
    is_said = any(pause.reason is PauseReason.QUOTA for pause in pauses)
    if is_said or used < limit:
        return
    until_ms = midnight_after(now_ms)
    yield Cause(
        CauseKind.QUOTA_USED_UP,
        f"{used:,} of {counted(limit, 'call')} of the day are used: it goes on {when(until_ms, now_ms)}",
        until_ms,
        command="status",
    )


def _resync(facts: Facts, contact: Contact) -> Iterator[Cause]:
    watermark = contact.watermark
    if watermark.resync_ms is not None:
        since, asked_ms = when(watermark.resync_ms, facts.now_ms), watermark.resync_asked_ms
        asked = "" if asked_ms is None else f" (asked for {when(asked_ms, facts.now_ms)})"
        text = f"a resync{asked}: its next read publishes again all from {since} on"
        yield Cause(CauseKind.RESYNC, text)


def _being_read(facts: Facts, contact: Contact) -> Iterator[Cause]:
    part = "" if contact.progress is None else ", and a part of it is read"
    if is_held(contact.held_until_ms, facts.now_ms):
        text, until_ms = f"a worker reads it now{part}", contact.held_until_ms
    elif facts.is_in_message:
        text, until_ms = f"it is handed out to a worker{part}", facts.queued_until_ms
    else:
        return
    if facts.is_folder:
        # The folder does not say whether its run was killed.
        text = f"{text}; if no run is there any more, the next one reads it"
        yield Cause(CauseKind.BEING_READ, text, None, *reads_next(facts))
        return
    lost = "" if until_ms is None else f": if that gets lost, it waits until {when(until_ms, facts.now_ms)}"
    yield Cause(CauseKind.BEING_READ, text + lost, until_ms)


def _waiting_turn(facts: Facts, contact: Contact) -> Iterator[Cause]:
    is_out = facts.is_in_message or is_held(contact.held_until_ms, facts.now_ms)
    if contact.due_ms > facts.now_ms or is_out:
        return
    others = "no other contact is"
    if facts.due_before:
        others = counted(facts.due_before, "contact is", "contacts are")
    never = "" if contact.synced_ms is not None else "never read by its own reports yet, and "
    yield Cause(
        CauseKind.WAITING_TURN,
        f"it is {never}due since {when(contact.due_ms, facts.now_ms)}, and waits its turn: {others} due "
        "before it",
        None,
        *reads_next(facts),
    )


class _Place(Protocol):
    @property
    def is_folder(self) -> bool: ...
    @property
    def lacks_credentials(self) -> bool: ...
    @property
    def is_running(self) -> bool: ...


class _Budget(_Place, Protocol):
    @property
    def calls_used(self) -> int: ...
    @property
    def calls_per_day(self) -> int: ...


def raised_budget(facts: "_Budget") -> tuple[str, str, str] | None:
    """Return what is said of a day used up by a lower limit, remedy and command. None if no call is left."""
    if facts.calls_used >= facts.calls_per_day:
        return None
    return f"{LOWER_LIMIT}: {goes_on_with_these(is_folder=facts.is_folder)}", *reads_next(facts)


def reads_next(facts: _Place) -> tuple[str, str]:
    """Return remedy and command by which what is due is read where no stack ticks, or else seen."""
    if not facts.is_folder:
        return "", "status"
    if facts.is_running:
        return "wait for the run that is under way, or stop it before you begin another", ""
    return _SET_CREDENTIALS if facts.lacks_credentials else "", "run"


_SET_CREDENTIALS = "with the account's credentials: none are set here, so a run reads the simulated account"


def _waiting_report(_: Facts, contact: Contact) -> Iterator[Cause]:
    asks = contact.asks
    if not asks:
        return
    owed = sum(ask.is_owed for ask in asks)
    late = f", {owed:,} of them for longer than a report takes" if owed else ""
    waiting = counted(
        len(asks),
        "of its activities waits for the report of its mailing",
        "of its activities wait for the reports of their mailings",
    )
    # The others of an answer say no more than these.
    reports = sorted({str(ask.report) for ask in asks})[:3]
    longest = min(asks, key=lambda ask: (not ask.is_owed, ask.met_ms))
    yield Cause(
        CauseKind.WAITING_REPORT,
        f"{waiting}{late}: {', '.join(reports)}",
        remedy="why the one that it waits for longest is late",
        command=f"explain --campaign {longest.report.campaign_id}",
    )


def _summary_owed(facts: Facts, contact: Contact) -> Iterator[Cause]:
    owed = [kind.report for kind in facts.summaries if contact.summarized(kind).asked_ms is None]
    if owed and contact.synced_ms is not None:
        text = f"it was read, but not its {', '.join(owed)}: that is asked for with its next read"
        later = f", {when(contact.due_ms, facts.now_ms)}" if contact.due_ms > facts.now_ms else ""
        yield Cause(CauseKind.SUMMARY_OWED, text + later)


def _left_out(facts: Facts, _: Contact) -> Iterator[Cause]:
    left_out = [type_.report for type_ in ActivityType if type_ not in facts.types]
    if left_out:
        text = f"REPORTS leaves out {', '.join(left_out)}: no such event is published"
        yield Cause(CauseKind.LEFT_OUT, text, remedy=f"add {', '.join(left_out)} to REPORTS")


def _begins_late(facts: Facts) -> Iterator[Cause]:
    """Last of all, since it concerns nothing that happens now."""
    if facts.start_ms:
        text = f"START_DATE leaves out all that happened before {when(facts.start_ms, facts.now_ms)}"
        yield Cause(CauseKind.LEFT_OUT, text, remedy="set START_DATE earlier")


_CAUSES: tuple[Callable[[Facts, Contact], Iterator[Cause]], ...] = (
    _paused,
    _gone,
    _missing_right,
    _failing,
    _paused_for_less,
    _put_off,
    _tick_failed,
    _quota_used_up,
    _resync,
    _being_read,
    _waiting_turn,
    _waiting_report,
    _unwatched,
    _summary_owed,
    _left_out,
)


def _nothing_wrong(facts: Facts, contact: Contact) -> Cause:
    read = "it was never read"
    if contact.synced_ms is not None:
        read = f"it was last read {when_of_several(contact.synced_ms, facts.now_ms)}"
    text = f"nothing is wrong: {read}, and is due {when(contact.due_ms, facts.now_ms)}"
    return Cause(CauseKind.NOTHING_WRONG, text, contact.due_ms)
