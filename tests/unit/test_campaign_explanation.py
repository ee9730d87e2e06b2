"""Why a campaign's reports are late, by facts alone."""

from dataclasses import replace

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.trust import Mode
from contact_activity.operations.campaign_explanation import CampaignFacts, campaign_causes, next_command
from contact_activity.operations.told_times import when

NOW_MS = 20_000 * DAY_MS
REPORT = CampaignReport(ReportId("9", ActivityType.OPENED), NOW_MS, NOW_MS + HOUR_MS)
TRUSTED = dict.fromkeys(ActivityType, Mode.PUBLISH)
QUIET = CampaignFacts("account", "9", NOW_MS, WatchedCampaign("9", NOW_MS), (REPORT,), TRUSTED)
HELD = replace(REPORT, due_ms=NOW_MS, held_until_ms=NOW_MS + 1)
FAILED = replace(REPORT, last_error="HTTP 500", failed_ms=NOW_MS - 1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (QUIET, ("nothing is wrong", when(NOW_MS + HOUR_MS, NOW_MS))),
        (replace(QUIET, reports=()), ("no report of it is due",)),
        (replace(QUIET, pauses=(Pause(PauseReason.OPERATOR, None),)), ("an operator paused", "lifted")),
        (replace(QUIET, right=Right.CAMPAIGN_DATA), ("scope campaign_data",)),
        (replace(QUIET, refused_ms=NOW_MS), ("refused the campaign list", when(NOW_MS, NOW_MS))),
        (replace(QUIET, watched=None), ("not watched", "automated mailing")),
        (replace(QUIET, watched=WatchedCampaign("9", NOW_MS - 91 * DAY_MS)), ("more than 90 days ago",)),
        (
            replace(QUIET, reports=(FAILED,)),
            ("reading opens failed", "HTTP 500", when(NOW_MS + HOUR_MS, NOW_MS)),
        ),
        (replace(QUIET, reports=(replace(REPORT, due_ms=NOW_MS),)), ("due, and waiting", "opens")),
        (replace(QUIET, reports=(HELD,)), ("a worker reads it now", "opens")),
        (replace(QUIET, tick_failure=TickFailure("no host", NOW_MS)), ("the last tick failed", "no host")),
        (replace(QUIET, calls_used=10_000), ("10,000 of 10,000 calls", when(NOW_MS + DAY_MS, NOW_MS))),
        (replace(QUIET, modes=dict.fromkeys(ActivityType, Mode.OFF)), ("opens are off", "turn of each")),
        (replace(QUIET, modes={}), ("opens are on probation", "turn of each")),
        (replace(QUIET, types=()), ("CAMPAIGN_REPORTS is off",)),
        (replace(QUIET, types=(ActivityType.OPENED,)), ("REPORTS leaves out sends, clicks",)),
    ],
)
def test_each_cause_is_told_alone(facts: CampaignFacts, words: tuple[str, ...]) -> None:
    (cause,) = campaign_causes(facts)
    for word in words:
        assert word in cause.text


def test_in_v3_a_report_is_on_no_probation() -> None:
    """Since nothing else publishes."""
    (cause,) = campaign_causes(replace(QUIET, modes={}, is_witnessed=True))
    assert "nothing is wrong" in cause.text


def test_what_fails_in_the_same_way_is_one_cause() -> None:
    ids = [ReportId(str(number), type_) for number in range(60) for type_ in ActivityType]
    (cause,) = campaign_causes(replace(QUIET, reports=tuple(replace(FAILED, id=id_) for id_ in ids)))
    assert "360 reports" in cause.text


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        (
            replace(QUIET, pauses=(Pause(PauseReason.QUOTA, NOW_MS), Pause(PauseReason.OPERATOR, None))),
            "resume",
        ),
        (replace(QUIET, right=Right.CAMPAIGN_DATA), "login"),
        (replace(QUIET, refused_ms=NOW_MS), "check"),
        (replace(QUIET, reports=(FAILED,)), "dead-letters --redrive"),
        (replace(QUIET, reports=(replace(REPORT, due_ms=NOW_MS),)), "status"),
        (replace(QUIET, reports=(replace(REPORT, due_ms=NOW_MS),), is_folder=True), "run"),
        (replace(QUIET, reports=(HELD,), is_folder=True), "run"),
        (QUIET, ""),
    ],
)
def test_the_next_step_is_about_the_first_cause(facts: CampaignFacts, command: str) -> None:
    assert next_command(facts) == command
