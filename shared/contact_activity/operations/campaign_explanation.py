"""Why the reports of a campaign are late, as it follows from what is stored. Reads and prints nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import WATCHED_WEEKLY_MS, CampaignReport
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.times import iso
from contact_activity.domain.trust import Mode

_DAYS_WATCHED = WATCHED_WEEKLY_MS // 86_400_000


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """What is stored that decides when a campaign's reports are read.

    `watched`: None if the campaign list never told when it was sent. `refused_ms`: when the API last
    refused that list; None: it does not.
    """

    system: str
    campaign_id: str
    now_ms: int
    watched: WatchedCampaign | None = None
    reports: tuple[CampaignReport, ...] = ()
    modes: Mapping[ActivityType, Mode] = field(default_factory=dict)
    pauses: tuple[Pause, ...] = ()
    right: Right | None = None
    refused_ms: int | None = None

    def mode(self, type_: ActivityType) -> Mode:
        return self.modes.get(type_, Mode.PROBATION)


def campaign_causes(facts: CampaignFacts) -> tuple[str, ...]:
    """Return why the reports are late, the most decisive first; that nothing is wrong if nothing is."""
    return tuple(_causes(facts)) or (_nothing_wrong(facts),)


def _causes(facts: CampaignFacts) -> Iterator[str]:
    for pause in facts.pauses:
        until = "until it is lifted" if pause.until_ms is None else f"until {iso(pause.until_ms)}"
        yield f"the system is paused ({pause.reason.value}): no call goes out {until}"
    if facts.right:
        yield f"the credential lacks the {facts.right.kind} {facts.right.value}: what takes it waits"
    if facts.refused_ms is not None:
        yield f"the API refused the campaign list at {iso(facts.refused_ms)}: new sends are not seen"
    sent_ms = facts.watched.sent_ms if facts.watched else None
    if sent_ms is None:
        yield (
            "not watched: the campaign list does not tell when it was sent (an automated mailing is not "
            "listed), so that its activity waits for the turn of each contact"
        )
    elif facts.now_ms - sent_ms > WATCHED_WEEKLY_MS:
        yield (
            f"no longer watched: it was sent at {iso(sent_ms)}, more than {_DAYS_WATCHED} days ago, so that "
            "its activity waits for the turn of each contact"
        )
    for report in facts.reports:
        if report.last_error is not None:
            at = "" if report.failed_ms is None else f" at {iso(report.failed_ms)}"
            again = "" if report.due_ms is None else f": it is read again at {iso(report.due_ms)}"
            yield f"reading {report.id.type.report} failed{at} ({report.last_error}){again}"
    late = [of.id.type.report for of in facts.reports if of.due_ms is not None and of.due_ms <= facts.now_ms]
    if late:
        yield f"due, and waiting for a tick with calls left: {', '.join(dict.fromkeys(late))}"


def _nothing_wrong(facts: CampaignFacts) -> str:
    reads = [of.due_ms for of in facts.reports if of.due_ms is not None]
    return f"nothing is wrong: watched, next read at {iso(min(reads))}" if reads else "no report of it is due"
