"""Why the activity of a campaign is late, as it follows from what is stored. Reads and prints nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import WATCHED_WEEKLY_MS, CampaignReport
from contact_activity.domain.counted import counted
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.trust import Mode
from contact_activity.operations.explanation import (
    Cause,
    lacks,
    pause_causes,
    quota_used_up,
    raised_budget,
    reads_next,
    tick_failed,
)
from contact_activity.operations.told_times import when

_DAYS_WATCHED = WATCHED_WEEKLY_MS // 86_400_000


class CampaignCauseKind(StrEnum):
    """Why its activity is late, the most decisive first. Those of the system are `CauseKind`'s."""

    PAUSED = "paused"
    MISSING_RIGHT = "missing_right"
    TICK_FAILED = "tick_failed"
    QUOTA_USED_UP = "quota_used_up"
    LIST_REFUSED = "list_refused"
    REPORTS_OFF = "reports_off"
    LEFT_OUT = "left_out"
    NOT_WATCHED = "not_watched"
    NO_LONGER_WATCHED = "no_longer_watched"
    FAILING = "failing"
    BEING_READ = "being_read"
    DUE = "due"
    ON_PROBATION = "on_probation"
    NOTHING_WRONG = "nothing_wrong"


@dataclass(frozen=True, slots=True)
class CampaignCause:
    """One cause, in a sentence. `remedy` and `command`: see `Cause`."""

    kind: CampaignCauseKind
    text: str
    remedy: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """What is stored that decides when a campaign's reports are read.

    `watched`: None if the campaign list never told when it was sent. `refused_ms`: when the API last
    refused that list; None: it does not. `types`: of which reports of campaigns are read at all.
    `is_witnessed`: nothing else publishes (v3). `is_folder`, `lacks_credentials`, `is_running`: see `Facts`.
    """

    system: str
    campaign_id: str
    now_ms: int
    watched: WatchedCampaign | None = None
    reports: tuple[CampaignReport, ...] = ()
    modes: Mapping[ActivityType, Mode] = field(default_factory=dict)
    pauses: tuple[Pause, ...] = ()
    calls_used: int = 0
    calls_per_day: int = 10_000
    right: Right | None = None
    tick_failure: TickFailure | None = None
    refused_ms: int | None = None
    types: tuple[ActivityType, ...] = tuple(ActivityType)
    is_witnessed: bool = False
    is_folder: bool = False
    lacks_credentials: bool = False
    is_running: bool = False

    def mode(self, type_: ActivityType) -> Mode:
        return Mode.PUBLISH if self.is_witnessed else self.modes.get(type_, Mode.PROBATION)

    def of_modes(self, mode: Mode) -> list[str]:
        """The types of its reports that are trusted so far, and watched at all."""
        types = {of.id.type for of in self.reports if of.due_ms is not None}
        return [type_.report for type_ in ActivityType if type_ in types and self.mode(type_) is mode]


def campaign_causes(facts: CampaignFacts) -> tuple[CampaignCause, ...]:
    """Return why its activity is late, the most decisive cause first; that nothing is wrong if nothing is."""
    return tuple(_causes(facts)) or (_nothing_wrong(facts),)


def next_command(facts: CampaignFacts) -> str:
    """Return the command that does something about the first cause that it can help; "" if there is none."""
    return next((cause.command for cause in campaign_causes(facts) if cause.command), "")


def _causes(facts: CampaignFacts) -> Iterator[CampaignCause]:
    for cause in _of_the_system(facts):
        yield CampaignCause(CampaignCauseKind(cause.kind), cause.text, cause.remedy, cause.command)
    if facts.refused_ms is not None:
        refused = when(facts.refused_ms, facts.now_ms)
        text = f"the API refused the campaign list {refused}: new sends are not seen"
        yield CampaignCause(CampaignCauseKind.LIST_REFUSED, text, command="check")
    yield from _not_read(facts)
    yield from _failing(facts)
    yield from _due(facts)
    yield from _not_believed(facts)


def _of_the_system(facts: CampaignFacts) -> Iterator[Cause]:
    yield from pause_causes(facts.pauses, facts.now_ms, raised=raised_budget(facts))
    if facts.right:
        yield lacks(facts.right)
    if facts.tick_failure:
        yield tick_failed(facts.tick_failure, facts.now_ms)
    yield from quota_used_up(facts.pauses, facts.calls_used, facts.calls_per_day, facts.now_ms)


_BY_TURNS = "so that its activity waits for the turn of each contact"


def _not_read(facts: CampaignFacts) -> Iterator[CampaignCause]:
    left_out = [type_.report for type_ in ActivityType if type_ not in facts.types]
    if left_out and not facts.types:
        text = f"CAMPAIGN_REPORTS is off, {_BY_TURNS}"
        yield CampaignCause(CampaignCauseKind.REPORTS_OFF, text, remedy="set CAMPAIGN_REPORTS to auto")
    elif left_out:
        names = ", ".join(left_out)
        text = f"REPORTS leaves out {names}: no such event is published"
        yield CampaignCause(CampaignCauseKind.LEFT_OUT, text)
    sent_ms = facts.watched.sent_ms if facts.watched else None
    if sent_ms is None:
        yield CampaignCause(
            CampaignCauseKind.NOT_WATCHED,
            "not watched: the campaign list does not tell when it was sent (it lists no automated mailing, "
            f"and none of long ago), {_BY_TURNS}" + (", which has its reports read" if facts.reports else ""),
        )
    elif facts.now_ms - sent_ms > WATCHED_WEEKLY_MS:
        yield CampaignCause(
            CampaignCauseKind.NO_LONGER_WATCHED,
            f"no longer watched: it was sent {when(sent_ms, facts.now_ms)}, more than {_DAYS_WATCHED} days "
            f"ago, {_BY_TURNS}",
        )


def _failing(facts: CampaignFacts) -> Iterator[CampaignCause]:
    """A cause for each error, however many reports failed by it."""
    by_error: dict[str, list[CampaignReport]] = {}
    for report in facts.reports:
        if report.last_error is not None:
            by_error.setdefault(report.last_error, []).append(report)
    for error, reports in by_error.items():
        several = len({of.id.campaign_id for of in reports}) > 1
        types = ", ".join(dict.fromkeys(of.id.type.report for of in reports))
        what = f"{counted(len(reports), 'report')} ({types})" if several else types
        failed_ms = max((of.failed_ms for of in reports if of.failed_ms is not None), default=None)
        at = "" if failed_ms is None else f" {when(failed_ms, facts.now_ms)}"
        later = [of.due_ms for of in reports if of.due_ms is not None and of.due_ms > facts.now_ms]
        again = f": read again from {when(min(later), facts.now_ms)} on" if later else ""
        remedy = "have all that failed tried at once, when the cause is mended"
        text = f"reading {what} failed{at} ({error}){again}"
        yield CampaignCause(CampaignCauseKind.FAILING, text, remedy, "dead-letters --redrive")


def _due(facts: CampaignFacts) -> Iterator[CampaignCause]:
    due = [of for of in facts.reports if of.due_ms is not None and of.due_ms <= facts.now_ms]
    held = [of.id.type.report for of in due if of.is_held(facts.now_ms)]
    late = [of.id.type.report for of in due if not of.is_held(facts.now_ms)]
    if held:
        text = f"a worker reads it now: {', '.join(dict.fromkeys(held))}"
        killed = "; if no run is there any more, the next one reads it"
        kind = CampaignCauseKind.BEING_READ
        if facts.is_folder:
            yield CampaignCause(kind, text + killed, *reads_next(facts))
        else:
            yield CampaignCause(kind, text)
    if late:
        text = f"due, and waiting for a tick with calls left: {', '.join(dict.fromkeys(late))}"
        yield CampaignCause(CampaignCauseKind.DUE, text, *reads_next(facts))


def _not_believed(facts: CampaignFacts) -> Iterator[CampaignCause]:
    if off := facts.of_modes(Mode.OFF):
        yield CampaignCause(
            CampaignCauseKind.REPORTS_OFF,
            f"reports of {', '.join(off)} are off, since they differed from contacts' own, {_BY_TURNS}",
            remedy="CAMPAIGN_REPORTS=off for one run or tick, then auto, has them compared anew",
        )
    if on_probation := facts.of_modes(Mode.PROBATION):
        yield CampaignCause(
            CampaignCauseKind.ON_PROBATION,
            f"reports of {', '.join(on_probation)} are on probation until they are seen to equal "
            f"contacts' own, {_BY_TURNS}",
        )


def _nothing_wrong(facts: CampaignFacts) -> CampaignCause:
    reads = [of.due_ms for of in facts.reports if of.due_ms is not None]
    text = "no report of it is due"
    if reads:
        text = f"nothing is wrong: watched, next read {when(min(reads), facts.now_ms)}"
    return CampaignCause(CampaignCauseKind.NOTHING_WRONG, text)
