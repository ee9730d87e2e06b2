"""How workers add to the summary of a run."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from contact_activity.cli.run_summary import Hints, pause_text, print_summary
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.domain.times import midnight_after
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind
from contact_activity.errors import RetryError
from contact_activity.run.options import RunOptions
from contact_activity.run.summary import Summary, WorkRecorder, add_what_waits
from contact_activity.settings import AnyCredentials, Credentials, V3Credentials
from tests.support.items import of_contact
from tests.support.rows import NOON_MS
from tests.support.world import World

OPENS = WorkItem(WorkKind.REPORT, "111-opens", NOON_MS)


@pytest.mark.parametrize("outcome", [Outcome.READ, Outcome.SAMPLED])
def test_a_report_that_is_read_after_all_has_not_failed(outcome: Outcome) -> None:
    """Neither after an answer of the API, nor after a message that was given up."""
    summary = Summary()
    recorder = WorkRecorder(summary)
    recorder.record_report(OPENS, Report(Outcome.FAILED, error="the API answered 403"))
    assert summary.failed_reports == {"111-opens": "the API answered 403"}
    recorder.record_failure(OPENS, RetryError("the state cannot be written"))
    assert summary.failed_reports == {"111-opens": "the state cannot be written"}
    assert (summary.finished_reports, summary.failed, summary.finished) == (1, {}, 0)
    recorder.record_report(OPENS, Report(outcome))
    assert (summary.reports, summary.finished_reports, summary.failed_reports) == (1, 1, {})


@pytest.mark.parametrize(
    "outcome", [Outcome.UNFINISHED, Outcome.STALE, Outcome.PAUSED, Outcome.HELD, Outcome.RACE_LOST]
)
def test_a_report_that_goes_on_counts_when_it_ends(outcome: Outcome) -> None:
    """It is neither read yet, nor has it failed."""
    summary = Summary()
    WorkRecorder(summary).record_report(OPENS, Report(outcome))
    assert summary.finished_reports == summary.finished == 0


def test_reports_and_contacts_are_counted_apart() -> None:
    """In the line of the summary too; a run without reports does not speak of them."""
    summary = Summary()
    recorder = WorkRecorder(summary)
    recorder.record_report(of_contact("4711", NOON_MS), Report(Outcome.SYNCED))
    assert "reports" not in told(summary)
    recorder.record_report(OPENS, Report(Outcome.READ))
    assert (summary.synced, summary.finished, summary.finished_reports) == (1, 1, 1)
    assert "0 events from 1 contact in 1.0 s · 1 report read · 0 contacts known" in told(summary)


def test_contacts_that_are_refused_have_failed_if_others_were_read() -> None:
    """Otherwise a right is missing, which is said once. Who is read after all is neither."""
    world = World()
    for number in ("1", "2"):
        world.register(number)
    refused = Report(Outcome.REFUSED, error=f"403: is the privilege {Right.METRICS} missing?")
    for is_read, failed in ((False, 0), (True, 1)):
        summary = Summary()
        recorder = WorkRecorder(summary)
        recorder.record_report(of_contact("1", NOON_MS), refused)
        contact = world.contact("1").failed(
            refused.error or "", now_ms=NOON_MS, tick_ms=1, planned_ms=NOON_MS, progress=None
        )
        assert world.contacts.save(contact)
        if is_read:
            recorder.record_report(of_contact("2", NOON_MS), Report(Outcome.SYNCED))
        assert summary.finished == 1 + is_read
        add_what_waits(summary, world.store)
        assert (len(summary.failed), len(summary.refused)) == (failed, 1 - failed)
        assert summary.missing_right is (None if is_read else Right.METRICS)
        recorder.record_report(of_contact("1", NOON_MS), Report(Outcome.SYNCED))
        assert not summary.failed
        assert not summary.refused


def test_a_pause_is_told_with_its_end() -> None:
    pause = Pause(PauseReason.QUOTA, midnight_after(NOON_MS))
    line = pause_text(pause, V3Credentials(), NOON_MS, used=9, limit=9)
    assert line == (
        "the day's calls are used up (9 of 9, by CALLS_PER_DAY × QUOTA_SHARE of this shell)"
        " until tomorrow 00:00 UTC: run again then, the rest is kept"
    )


def test_what_is_owed_is_told_with_what_brings_it() -> None:
    """A right that is missing before all; a report that fails beside it."""
    scope = Summary(asking=7, owed=7, missing_right=Right.CAMPAIGN_DATA)
    assert "Warning: the scope campaign_data is missing" in told(scope)
    assert "7 activities are owed" in told(scope)
    assert "`contact-activity login --state there`" in told(scope)
    privilege = Summary(refused={"contact 1": "403"}, missing_right=Right.METRICS)
    assert "the privilege ui:campaign:metrics is missing" in told(privilege)
    assert "reports of 1 contact" in told(privilege)
    assert "`contact-activity run --state there --all`" in told(privilege)
    watch = Summary(missing_right=Right.CAMPAIGN_READ)
    assert "the privilege campaign:read is missing, so mailings are not watched" in told(watch)
    failing = Summary(asking=7, owed=2, owing={"111-opens": "400"}, failed_reports={"112-opens": "400"})
    assert "Warning" not in told(failing)
    assert "Campaign report 111-opens was not read: 400; contacts' activity waits for this report." in told(
        failing
    )
    assert "Campaign report 112-opens was not read: 400; its contacts are read all the same." in told(failing)


HINTS = Hints("`contact-activity login --state there`", "contact-activity run --state there")


def told(summary: Summary) -> str:
    written = io.StringIO()
    options = RunOptions(Path("state"), Path("events.jsonl"))
    print_summary(Console(file=written, width=200), summary, options, 1.0, HINTS)
    return written.getvalue()


@pytest.mark.parametrize(
    ("credentials", "named"),
    [
        (Credentials("hunter2", "hunter2"), ["CONSTANT_CONTACT_ACCESS_TOKEN", "CONSTANT_CONTACT_API_KEY"]),
        (V3Credentials("c", None, "hunter2"), ["contact-activity login", "CONSTANT_CONTACT_REFRESH_TOKEN"]),
        (V3Credentials(), ["contact-activity login", "CONSTANT_CONTACT_REFRESH_TOKEN"]),
        (V3Credentials(access_token="hunter2"), ["contact-activity login", "CONSTANT_CONTACT_ACCESS_TOKEN"]),
    ],
)
def test_a_dead_credential_is_told_with_what_renews_it(credentials: AnyCredentials, named: list[str]) -> None:
    """The command and the setting of the version that is read."""
    told = pause_text(Pause(PauseReason.CREDENTIAL, None), credentials, NOON_MS)
    assert all(name in told for name in named)
    assert "hunter2" not in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("right", "steps"),
    [
        (Right.CONTACT_DATA, ["contact-activity login --state there", "privilege contacts:read"]),
        (Right.CONTACTS_READ, ["account owner", "contact-activity login --state there"]),
    ],
)
def test_contacts_that_may_not_be_listed_are_told_with_the_right(right: Right, steps: list[str]) -> None:
    """Once, where the run ends: no summary guesses at something else."""
    pause = Pause(PauseReason.CREDENTIAL, None, right.value)
    line = pause_text(pause, V3Credentials(), NOON_MS, where=" --state there")
    assert line.startswith(f"{right.missing}, so the API does not list the contacts: ")
    assert all(step in line for step in steps)
    shown = told(Summary(contacts=3, missing_right=right, pause=pause))
    assert right.value not in shown
    assert "No contact is due" not in shown


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (Summary(contacts=5, missing_right=Right.METRICS, refused={"contact 1": "403"}), "No contact could"),
        (Summary(contacts=5, missing_right=Right.METRICS), "No contact could be read"),
        (
            Summary(contacts=5, synced=5, asking=9, owed=9, missing_right=Right.CAMPAIGN_DATA),
            "Nothing could be published, since mailings' reports could not be read",
        ),
    ],
)
def test_what_could_not_be_read_is_told_with_the_right(summary: Summary, said: str) -> None:
    """Not that nothing was due, or new."""
    shown = told(summary)
    assert said in shown
    assert "No contact is due" not in shown
    assert "Nothing new" not in shown
