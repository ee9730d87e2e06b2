"""`contact-activity explain`, as a process over state folders, and over a stack."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign import Campaign, WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.memory import KEY_BYTES
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.ports import Store
from contact_activity.run.state_folder import ACCOUNT_DATABASE, SIMULATED_DATABASE
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import run_command

LIMITS = Limits(100, 10_000)
NOW_MS = SystemClock().now_ms()
ASK = Ask(ReportId("9", ActivityType.OPENED), bytes(KEY_BYTES), NOW_MS)


def explained(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("explain", *arguments, environment={"PATH": os.environ["PATH"], **environment})


def document_of(folder: Path, **environment: str) -> dict[str, Any]:
    ended = explained("4711", "--state", str(folder), "--json", **environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def kinds_of(folder: Path, **environment: str) -> list[str]:
    (system,) = document_of(folder, **environment)["systems"]
    return [cause["kind"] for cause in system["causes"]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of a folder, which knows contact 4711: it was read an hour ago, and is due in one."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        store = sqlite_store(database, LIMITS, SystemClock())
        store.contacts.register([ListedContact("4711", "")], NOW_MS)
        change(store, due_ms=NOW_MS + HOUR_MS, synced_ms=NOW_MS - HOUR_MS)
        yield store


def known(store: Store) -> Contact:
    contact = store.contacts.get("4711")
    assert contact
    return contact


def change(store: Store, **changes: Any) -> None:
    assert store.contacts.save(replace(known(store), **changes))


@pytest.mark.usefixtures("store")
def test_nothing_is_wrong_with_a_contact_that_was_read(tmp_path: Path) -> None:
    assert kinds_of(tmp_path) == ["nothing_wrong"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gone", {"times_gone": 1}),
        ("failing", {"failures": 2, "last_error": "HTTP 500", "failed_ms": NOW_MS}),
        ("waiting_turn", {"due_ms": NOW_MS - HOUR_MS}),
        ("waiting_report", {"asks": (ASK,)}),
    ],
)
def test_what_is_stored_of_a_contact_explains_it(
    store: Store, tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    change(store, **changes)
    assert kinds_of(tmp_path) == [kind]


def test_a_contact_in_hand_is_being_read(store: Store, tmp_path: Path) -> None:
    change(store, held_until_ms=SystemClock().now_ms() + 600_000)
    assert kinds_of(tmp_path) == ["being_read"]


def test_a_resync_explains_it(store: Store, tmp_path: Path) -> None:
    assert store.contacts.save(known(store).resynced(NOW_MS - HOUR_MS, NOW_MS))
    assert kinds_of(tmp_path) == ["resync", "waiting_turn"]


def test_a_claimed_contact_is_handed_out(store: Store, tmp_path: Path) -> None:
    change(store, due_ms=NOW_MS - HOUR_MS)
    assert list(store.contacts.claim(SystemClock(), tick_ms=HOUR_MS, most=1)) == [["4711"]]
    assert kinds_of(tmp_path) == ["being_read"]


def test_those_that_are_due_before_it_are_counted(store: Store, tmp_path: Path) -> None:
    change(store, due_ms=NOW_MS - HOUR_MS)
    store.contacts.register([ListedContact("1", ""), ListedContact("2", "")], NOW_MS - 2 * HOUR_MS)
    store.contacts.register([ListedContact("3", "")], NOW_MS)
    (system,) = document_of(tmp_path)["systems"]
    assert system["due_before"] == 2


@pytest.mark.parametrize("reason", list(PauseReason))
def test_a_pause_explains_it(store: Store, tmp_path: Path, reason: PauseReason) -> None:
    until_ms = SystemClock().now_ms() + 600_000 if reason is PauseReason.QUOTA else None
    store.pauses.pause(Pause(reason, until_ms))
    assert kinds_of(tmp_path) == ["paused"]


def test_a_missing_right_a_failed_tick_and_a_used_up_quota_explain_it(store: Store, tmp_path: Path) -> None:
    store.reports.save_access(ReportAccess(refusals=1, refused_ms=NOW_MS), ReportAccess())
    store.listings.put_failure(TickFailure("the host is unknown", NOW_MS))
    store.limiter.acquire(deadline_ms=SystemClock().now_ms() + HOUR_MS)
    found = kinds_of(tmp_path, CALLS_PER_DAY="1")
    assert found == ["missing_right", "tick_failed", "quota_used_up"]


@pytest.mark.usefixtures("store")
def test_settings_that_leave_out_types_are_told(tmp_path: Path) -> None:
    assert kinds_of(tmp_path, REPORTS="sends", START_DATE="2026-01-01") == [
        "left_out",
        "nothing_wrong",
        "left_out",
    ]


def test_an_erased_contact_is_told_from_an_unknown_one(store: Store, tmp_path: Path) -> None:
    store.contacts.erase("4711", NOW_MS)
    assert kinds_of(tmp_path) == ["forgotten"]
    unknown = explained("4712", "--state", str(tmp_path))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    (line,) = unknown.stderr.splitlines()
    assert "no contact 4712" in line
    assert str(tmp_path) in line


@pytest.mark.usefixtures("store")
def test_all_systems_of_the_folder_are_searched(tmp_path: Path) -> None:
    with closing(Database(tmp_path / SIMULATED_DATABASE)) as database:
        simulated = sqlite_store(database, LIMITS, SystemClock())
        simulated.contacts.register([ListedContact("4711", ""), ListedContact("5", "")], NOW_MS)
    assert [system["name"] for system in document_of(tmp_path)["systems"]] == ["account", "simulated"]
    assert "contact 5 in simulated" in explained("5", "--state", str(tmp_path)).stdout


def test_a_folder_without_state_names_the_command_that_makes_one(tmp_path: Path) -> None:
    ended = explained("4711", "--state", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "contact-activity run" in line


def test_the_cause_comes_first_and_the_next_step_can_be_pasted(store: Store, tmp_path: Path) -> None:
    store.pauses.pause(Pause(PauseReason.OPERATOR, None))
    first, *_, last, why = explained("4711", "--state", str(tmp_path)).stdout.splitlines()
    assert first.startswith("contact 4711 in account: an operator paused the system")
    assert why == "        (lift the pause)"
    pasted = shlex.split(last.removeprefix("  next: "))
    assert pasted[0] == "contact-activity"
    assert run_command(*pasted[1:]).returncode == 0
    assert kinds_of(tmp_path) == ["nothing_wrong"]


def test_a_due_time_that_no_schedule_sets_is_told(store: Store, tmp_path: Path) -> None:
    change(store, due_ms=NOW_MS + 400 * DAY_MS)
    assert kinds_of(tmp_path) == ["put_off"]
    change(store, due_ms=NOW_MS + 28 * DAY_MS, times_gone=5)
    assert kinds_of(tmp_path) == ["gone"]


def test_a_next_step_that_is_no_command_is_told_in_words(store: Store, tmp_path: Path) -> None:
    change(store, due_ms=NOW_MS + 28 * DAY_MS, times_gone=5)
    assert "next: see whether Constant Contact has it" in explained("4711", "--state", str(tmp_path)).stdout


@pytest.mark.usefixtures("store")
def test_a_start_date_is_not_what_is_wrong(tmp_path: Path) -> None:
    first, *_, last = explained("4711", "--state", str(tmp_path), START_DATE="2020-01-01").stdout.splitlines()
    assert "nothing is wrong" in first
    assert last == f"  next: contact-activity status --state {tmp_path}"


@pytest.mark.parametrize(("due_in_ms", "command"), [(-HOUR_MS, "run"), (HOUR_MS, "status")])
def test_in_a_folder_a_run_reads_what_waits_its_turn(
    store: Store, tmp_path: Path, due_in_ms: int, command: str
) -> None:
    change(store, due_ms=NOW_MS + due_in_ms)
    credentials = {"CONSTANT_CONTACT_API_KEY": "a-key", "CONSTANT_CONTACT_ACCESS_TOKEN": "a-token"}
    *_, last = explained("4711", "--state", str(tmp_path), **credentials).stdout.splitlines()
    assert last == f"  next: contact-activity {command} --state {tmp_path}"


def test_a_contact_that_waits_for_a_report_leads_to_why_that_is_late(store: Store, tmp_path: Path) -> None:
    """The one that it has waited for longest."""
    newer = Ask(ReportId("8", ActivityType.OPENED), bytes(KEY_BYTES), NOW_MS + 1)
    change(store, asks=(newer, ASK))
    store.reports.save(CampaignReport(ASK.report, NOW_MS, NOW_MS, last_error="HTTP 500", failures=1))
    *_, last, _ = explained("4711", "--state", str(tmp_path)).stdout.splitlines()
    pasted = shlex.split(last.removeprefix("  next: "))
    assert pasted[:4] == ["contact-activity", "explain", "--campaign", "9"]
    assert "HTTP 500" in explained(*pasted[2:]).stdout


@pytest.mark.parametrize("name", ["account.json", "credentials.json"])
def test_files_that_only_a_run_needs_hold_up_no_explanation(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("broken")
    store.reports.put_watched(WatchedCampaign("9", NOW_MS))
    assert kinds_of(tmp_path) == ["nothing_wrong"]
    assert explained("--campaign", "9", "--state", str(tmp_path)).returncode == 0


def test_a_run_without_credentials_is_no_next_step_for_an_account(store: Store, tmp_path: Path) -> None:
    """It would read the simulated account."""
    change(store, due_ms=NOW_MS - HOUR_MS)
    *_, last, why = explained("4711", "--state", str(tmp_path)).stdout.splitlines()
    assert last == f"  next: contact-activity run --state {tmp_path}"
    assert why.startswith("        (with the account's credentials")
    store.reports.put_watched(WatchedCampaign("9", NOW_MS))
    store.reports.save(CampaignReport(ReportId("9", ActivityType.OPENED), NOW_MS, NOW_MS))
    assert "(with the account's credentials" in explained("--campaign", "9", "--state", str(tmp_path)).stdout


@pytest.mark.usefixtures("store")
def test_its_last_events_are_shown_and_broken_lines_counted(tmp_path: Path) -> None:
    def line(number: int, contact_id: str) -> str:
        detail = {"subject": contact_id, "time": f"2026-01-0{number}", "observedtime": "2026-02-01"}
        return json.dumps({"detail-type": "Email Opened", "detail": detail})

    lines = [
        *(line(number, "4711") for number in range(1, 8)),
        line(8, "47110"),
        '{"detail": "4711',
        "[4711]",
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    events = document_of(tmp_path)["events"]
    assert [event["occurred_at"] for event in events["events"]] == [f"2026-01-0{n}" for n in range(3, 8)]
    assert events["broken"] == 2
    shown = explained("4711", "--state", str(tmp_path)).stdout
    assert shown.count("  event: ") == 5
    assert "skipped 2 broken lines" in shown


def test_explaining_changes_nothing(store: Store, tmp_path: Path) -> None:
    before = known(store)
    document_of(tmp_path)
    assert known(store) == before
    assert store.limiter.pace().used == 0


def test_a_campaign_is_explained_by_its_reports(store: Store, tmp_path: Path) -> None:
    report = CampaignReport(ReportId("9", ActivityType.OPENED), NOW_MS, NOW_MS + HOUR_MS, rows=7)
    store.reports.put_watched(WatchedCampaign("9", NOW_MS))
    store.reports.save(report)
    trusted = Trust(dict.fromkeys(ActivityType, TypeTrust(Mode.PUBLISH)))
    assert store.reports.save_trust(trusted)
    place = ["--campaign", "9", "--state", str(tmp_path)]
    first, line, _ = explained(*place).stdout.splitlines()
    assert first.startswith("campaign 9 in account: nothing is wrong")
    assert line.startswith("  9-opens: publish, never read")
    kept = store.reports.get(report.id)
    assert kept
    store.reports.save(replace(kept, last_error="HTTP 500", failures=1, due_ms=NOW_MS))
    (system,) = json.loads(explained(*place, "--json").stdout)["systems"]
    failing, due = system["causes"]
    assert "reading opens failed (HTTP 500)" in failing["text"]
    assert due["text"].startswith("due")
    assert system["reports"]["9-opens"]["failures"] == 1


def test_a_campaign_of_many_mailings_has_one_screen(store: Store, tmp_path: Path) -> None:
    """And what fails comes first; --json has all."""
    mailings = tuple(f"m-{number}" for number in range(60))
    store.reports.put_watched(WatchedCampaign("9", NOW_MS, mailings=mailings))
    for id_ in [ReportId(mailing, type_) for mailing in mailings for type_ in ActivityType]:
        store.reports.save(CampaignReport(id_, NOW_MS, NOW_MS + HOUR_MS))
    failed = CampaignReport(ReportId("m-59", ActivityType.OPENED), NOW_MS, NOW_MS + DAY_MS, version=1)
    assert store.reports.save(replace(failed, last_error="HTTP 500", failures=1))
    place = ["--campaign", "9", "--state", str(tmp_path)]
    lines = explained(*place).stdout.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) < 200 + len(str(tmp_path))
    assert next(line for line in lines if "never read" in line).startswith("  m-59-opens")
    (system,) = json.loads(explained(*place, "--json").stdout)["systems"]
    assert (len(system["reports"]), len(system["mailings"])) == (360, 60)
    assert system["next"] == f"contact-activity dead-letters --redrive --state {tmp_path}"


@pytest.mark.parametrize(
    ("sent_ms", "word"),
    [(None, "automated"), (NOW_MS - 91 * DAY_MS, "more than 90 days ago")],
    ids=["automated", "old"],
)
def test_a_campaign_that_is_not_watched_says_why(
    store: Store, tmp_path: Path, sent_ms: int | None, word: str
) -> None:
    store.reports.put_watched(WatchedCampaign("9", sent_ms))
    assert word in explained("--campaign", "9", "--state", str(tmp_path)).stdout


@pytest.mark.usefixtures("store")
def test_an_unknown_campaign_is_one_line(tmp_path: Path) -> None:
    unknown = explained("--campaign", "8", "--state", str(tmp_path))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    (line,) = unknown.stderr.splitlines()
    assert "nothing is stored of campaign 8" in line
    assert "the account may have it: only what was sent at most 30 days before the first run" in line
    assert "when each contact has its turn" in line
    assert "events.jsonl" not in line


@pytest.mark.usefixtures("store")
def test_an_unknown_campaign_is_told_by_the_events_that_name_it(tmp_path: Path) -> None:
    """It was sent long before the first run, so that contacts' own reports brought what there is."""
    opened = Path("shared/contact_activity/cli/samples/email.opened.v1.json").read_text()
    named = json.loads(opened)["detail"]["data"]["campaign"]["id"]
    (tmp_path / "events.jsonl").write_text(json.dumps(json.loads(opened)) + "\n")
    unknown = explained("--campaign", named, "--state", str(tmp_path))
    assert unknown.returncode == 1
    assert "events.jsonl has events of it, the last seen 20" in unknown.stderr
    assert "events.jsonl" not in explained("--campaign", "4711", "--state", str(tmp_path)).stderr


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "summarized"])
def test_a_campaign_that_is_named_elsewhere_is_not_watched(
    store: Store, tmp_path: Path, *, is_listed: bool
) -> None:
    if is_listed:
        store.reports.put_feed(CampaignFeed(listed=("8",)))
    else:
        assert store.campaigns.save(Campaign("8"))
    told = explained("--campaign", "8", "--state", str(tmp_path))
    assert told.returncode == 0
    assert told.stdout.startswith("campaign 8 in account: not watched")


@pytest.mark.parametrize("arguments", [[], ["4711", "--campaign", "9"], ["a b"], ["--campaign", "x" * 60]])
def test_wrong_arguments_are_one_line(arguments: list[str]) -> None:
    ended = explained(*arguments)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
