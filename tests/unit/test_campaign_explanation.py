"""Why a campaign's reports are late, by facts alone."""

from dataclasses import replace

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.operations.campaign_explanation import CampaignFacts, campaign_causes

NOW_MS = 20_000 * DAY_MS
REPORT = CampaignReport(ReportId("9", ActivityType.OPENED), NOW_MS, NOW_MS + HOUR_MS)
QUIET = CampaignFacts("account", "9", NOW_MS, WatchedCampaign("9", NOW_MS), (REPORT,))
FAILED = replace(REPORT, last_error="HTTP 500", failed_ms=NOW_MS - 1)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (QUIET, ("nothing is wrong", iso(NOW_MS + HOUR_MS))),
        (replace(QUIET, reports=()), ("no report of it is due",)),
        (replace(QUIET, pauses=(Pause(PauseReason.OPERATOR, None),)), ("paused (operator)", "lifted")),
        (replace(QUIET, right=Right.CAMPAIGN_DATA), ("scope campaign_data",)),
        (replace(QUIET, refused_ms=NOW_MS), ("refused the campaign list", iso(NOW_MS))),
        (replace(QUIET, watched=None), ("not watched", "automated mailing")),
        (replace(QUIET, watched=WatchedCampaign("9", NOW_MS - 91 * DAY_MS)), ("more than 90 days ago",)),
        (replace(QUIET, reports=(FAILED,)), ("reading opens failed", "HTTP 500", iso(NOW_MS + HOUR_MS))),
        (replace(QUIET, reports=(replace(REPORT, due_ms=NOW_MS),)), ("due, and waiting", "opens")),
    ],
)
def test_each_cause_is_told_alone(facts: CampaignFacts, words: tuple[str, ...]) -> None:
    (cause,) = campaign_causes(facts)
    for word in words:
        assert word in cause
