"""`contact-activity status`, as a process: over state folders, and over a stack on the local AWS."""

import io
import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import DynamoTally
from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.freshness import by_bucket
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.trust import Match, Mode, Trust, TypeTrust
from contact_activity.entrypoints.telemetry import NAMESPACE
from contact_activity.errors import Cause
from contact_activity.local_cloud.deploy import Stack, deploy
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.event_reader import EventReader, subscribe
from contact_activity.local_cloud.template import TEMPLATE, load_template
from contact_activity.run.state_folder import ACCOUNT_DATABASE, SIMULATED_DATABASE, locked
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.reports import SqliteReports
from contact_activity.sqlite.store import SqliteListings, SqlitePauses, SqliteTally, sqlite_limiter
from tests.support.command_line import run_command
from tests.support.emf import emitted
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    CALLS_PER_SECOND,
    Operator,
    account_of,
    served,
    truth_of,
)

LIMIT = 9_000
AGES_H = [1, 2, 3, 40]
NONE_ASKS = {"asking": 0, "owed": 0}
ON_PROBATION = dict.fromkeys(("sends", "opens", "clicks", "forwards", "bounces", "unsubscribes"), "probation")
NO_REPORTS = {
    "mode": "probation",
    "modes": ON_PROBATION,
    "differing": [],
    "watched": 0,
    "due": 0,
    "failing": 0,
    "calls_today": 0,
    "owing": 0,
}


def status(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("status", *arguments, environment={"PATH": os.environ["PATH"], **environment})


def systems(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    ended = status(*arguments, "--json", **environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    document = json.loads(ended.stdout)
    assert set(document) == {"observed_at", "systems"}
    found: list[dict[str, Any]] = document["systems"]
    return found


def has_aged(spread: dict[str, int], **hours: int) -> bool:
    """Whether ages are those that were stored, in whole hours."""
    return {name: age_s // 3_600 for name, age_s in spread.items()} == hours


def store_backlog(state_dir: Path) -> None:
    """Store four contacts that have been due for `AGES_H`, one of them in a message, and one that is gone."""
    clock = SystemClock()
    now_ms = clock.now_ms()
    with closing(Database(state_dir / ACCOUNT_DATABASE)) as database:
        contacts = SqliteContacts(database)
        for hours in AGES_H:
            contacts.register([ListedContact(f"due-{hours}", "")], now_ms - hours * HOUR_MS)
        contacts.register([ListedContact("gone", "")], now_ms)
        gone = contacts.get("gone")
        assert gone
        contacts.save(
            replace(gone, times_gone=3, failures=1, due_ms=now_ms + 7 * DAY_MS, synced_ms=now_ms - HOUR_MS)
        )
        SqliteListings(database).put_failure(TickFailure("the host is unknown", DAY_MS))
        list(contacts.claim(clock, tick_ms=HOUR_MS // 2, most=1))
        SqlitePauses(database).pause(Pause(PauseReason.CREDENTIAL, None))
        SqlitePauses(database).pause(Pause(PauseReason.QUOTA, now_ms - 1))
        sqlite_limiter(database, Limits(100, LIMIT), clock).acquire(deadline_ms=now_ms + HOUR_MS)
        ages = by_bucket([*[50] * 9, *[3_000] * 90, 200_000])
        SqliteTally(database).add(now_ms // DAY_MS - 1, {"Email Opened": 1_234}, ages)
        SqliteTally(database).add(now_ms // DAY_MS - 2, {"Email Opened": 9}, by_bucket([7]))


def test_brackets_in_a_text_are_shown_as_they_are(tmp_path: Path) -> None:
    """Whatever somebody calls a folder, and whatever a tick failed with."""
    folder = tmp_path / "a [b] c"
    folder.mkdir()
    store_backlog(folder)
    with closing(Database(folder / ACCOUNT_DATABASE)) as database:
        SqliteListings(database).put_failure(TickFailure("the server [/v3] answered", DAY_MS))
    shown = status("--state", str(folder))
    assert shown.returncode == 0, shown.stderr
    assert f"--state '{folder}'" in shown.stdout
    assert "the server [/v3] answered" in shown.stdout


def test_the_status_of_a_folder_counts_what_is_stored(tmp_path: Path) -> None:
    """Due, waiting, gone and failing contacts, their lag, the calls and the pauses."""
    store_backlog(tmp_path)
    (system,) = systems("--state", str(tmp_path))
    assert has_aged(system.pop("lag_s"), median=2, p95=40, oldest=40)
    assert has_aged(system.pop("since_sync_s"), median=1, p95=1, oldest=1)
    assert list(system.pop("published").values()) == [{}, {"Email Opened": 1_234}]
    assert list(system.pop("freshness_s").values()) == [None, {"p50": 3_600, "p95": 3_600}]
    assert abs(system.pop("cadence")["idle_s"] - 3_600) < 60
    verdict = system.pop("verdict")
    assert (verdict["word"], verdict["next"]) == ("PAUSED", f"contact-activity check --state {tmp_path}")
    assert verdict["because"].startswith("the API refuses the credential; nothing was read since ")
    assert system == {
        "name": "account",
        "contacts": {
            "known": 5,
            "due": 4,
            "waiting": 1,
            "failing": 1,
            "gone": 1,
            "never_synced": 4,
            **NONE_ASKS,
        },
        "quota": {"used": 1, "limit": LIMIT, "until": None, "asked_again": None},
        "pauses": [{"reason": "credential", "until": None}],
        "messages": None,
        "failing_by_cause": {"unknown": 1},
        "tick_failure": {"error": "the host is unknown", "at": "1970-01-02T00:00:00.000Z"},
        "clock": {"due": 0, "read": 0, "failed": 0},
        "listing": {"pages_today": 0, "waits": False},
        "campaign_reports": NO_REPORTS,
        "missing_right": None,
        "login": None,
    }


def store_reports(state_dir: Path, trust: Trust, feed: CampaignFeed | None = None) -> None:
    """Store four reports: one is due, one failed, one is neither, and one is watched no more."""
    now_ms = SystemClock().now_ms()
    with closing(Database(state_dir / ACCOUNT_DATABASE)) as database:
        reports = SqliteReports(database)
        for number, due_ms in enumerate([now_ms - 1, now_ms + HOUR_MS, now_ms + DAY_MS, None]):
            report = CampaignReport(ReportId("111", list(ActivityType)[number]), now_ms, due_ms)
            failed = {"failures": 1, "last_error": "the API failed", "failed_ms": now_ms}
            assert reports.save(replace(report, **failed if number == 1 else {}))  # type: ignore[arg-type]
        reports.put_feed(feed or CampaignFeed().counted(7, now_ms))
        reports.save_trust(trust)


TRUSTED, DISTRUSTED = TypeTrust(Mode.PUBLISH), TypeTrust(Mode.OFF)
SAMPLED = TypeTrust(Mode.PROBATION, sampled_ms=1)
DIFFERED = replace(SAMPLED, found={Match.UNEQUAL: 1})


@pytest.mark.parametrize(
    ("trust", "mode", "differ"),
    [
        ({}, "probation", {}),
        ({ActivityType.OPENED: TRUSTED, ActivityType.SENT: SAMPLED}, "publish", {"opens": "publish"}),
        ({ActivityType.OPENED: TRUSTED, ActivityType.SENT: DIFFERED}, "probation", {"opens": "publish"}),
        (
            {ActivityType.OPENED: TRUSTED, ActivityType.SENT: DIFFERED, ActivityType.CLICKED: DISTRUSTED},
            "off",
            {"opens": "publish", "clicks": "off"},
        ),
    ],
)
def test_the_least_trusted_type_gives_the_mode_of_reports(
    tmp_path: Path, trust: dict[ActivityType, TypeTrust], mode: str, differ: dict[str, str]
) -> None:
    """Of those that were compared. What a type has pending is no comparison yet."""
    store_reports(tmp_path, Trust(trust))
    (system,) = systems("--state", str(tmp_path))
    counts = {"watched": 3, "due": 1, "failing": 1, "calls_today": 7, "owing": 0}
    differing = [type_.report for type_ in ActivityType if type_ in trust and trust[type_].is_doubted]
    expected = {"mode": mode, "modes": ON_PROBATION | differ, "differing": differing, **counts}
    assert system["campaign_reports"] == expected


def test_a_refused_campaign_list_is_told(tmp_path: Path) -> None:
    """Whatever the types are trusted with. Calls of an earlier day are no calls of today."""
    feed = replace(CampaignFeed().counted(7, DAY_MS), refused_ms=DAY_MS)
    store_reports(tmp_path, Trust({ActivityType.OPENED: TRUSTED}), feed)
    (system,) = systems("--state", str(tmp_path))
    reports = system["campaign_reports"]
    assert (reports["mode"], reports["modes"]["opens"], reports["calls_today"]) == ("refused", "publish", 0)
    told = " ".join(status("--state", str(tmp_path)).stdout.split())
    assert "campaign reports refused · 3 watched · 1 due · 1 failing the API does not list" in told


def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """With what to do, and what waits for it. What v2 has instead is not said."""
    feed = replace(CampaignFeed(), refused_ms=DAY_MS, lacks="campaign_data")
    store_reports(tmp_path, Trust(), feed)
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        reports = SqliteReports(database)
        assert reports.save_access(ReportAccess().refused(DAY_MS), ReportAccess())
        contacts = SqliteContacts(database)
        contacts.register([ListedContact("4711", "")], DAY_MS)
        ask = Ask(ReportId("111", ActivityType.OPENED), bytes(14), 1)
        contacts.save(replace(contacts.get_many(["4711"])["4711"], asks=(ask,)))
    (system,) = systems("--state", str(tmp_path))
    assert system["missing_right"] == {"kind": "scope", "name": "campaign_data"}
    assert (system["contacts"]["asking"], system["contacts"]["owed"]) == (1, 1)
    told = " ".join(status("--state", str(tmp_path)).stdout.split())
    assert "1 activity waits for the report of its mailing, 1 until a right is there" in told
    assert "the scope campaign_data is missing: `contact-activity login" in told
    assert "does not list the campaigns" not in told


def test_the_table_names_the_types_that_are_not_trusted(tmp_path: Path) -> None:
    """And what to do for one whose trust is lost. Where all types are alike one line is enough."""
    store_reports(tmp_path, Trust())
    told = " ".join(status("--state", str(tmp_path)).stdout.split())
    assert "campaign reports probation · 3 watched · 1 due · 1 failing published (UTC)" in told
    types = dict.fromkeys(ActivityType, TRUSTED)
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        distrusted = types | {ActivityType.CLICKED: DISTRUSTED, ActivityType.FORWARDED: SAMPLED}
        SqliteReports(database).save_trust(Trust(distrusted, 1))
    told = " ".join(status("--state", str(tmp_path)).stdout.split())
    modes = "off: clicks · probation: forwards · publish: sends, opens, bounces, unsubscribes"
    assert f"campaign reports off · 3 watched · 1 due · 1 failing {modes} clicks differ from" in told
    assert "set CAMPAIGN_REPORTS=off for one run, then auto, once the stamps agree again" in told


def test_contacts_put_off_by_a_wrong_clock_count_as_due(tmp_path: Path) -> None:
    """A contact that is put off for longer than any schedule allows is due, and the status says why."""
    store_backlog(tmp_path)
    now_ms = SystemClock().now_ms()
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        database.execute(
            "UPDATE contact SET due_ms = ?, synced_ms = ?, failed_ms = ?, queued_until_ms = ?",
            (now_ms + 40 * DAY_MS,) * 4,
        )
    (system,) = systems("--state", str(tmp_path))
    assert system["contacts"] | {"due": 5, "waiting": 0} == system["contacts"]
    assert system["lag_s"] is not None
    assert system["since_sync_s"] == {"median": 0, "p95": 0, "oldest": 0}
    assert system["clock"] == {"due": 5, "read": 5, "failed": 5}
    assert "the next tick corrects it" in " ".join(status("--state", str(tmp_path)).stdout.split())


def test_without_json_the_status_is_two_tables(tmp_path: Path) -> None:
    """They are on standard output, with each age in one unit."""
    store_backlog(tmp_path)
    ended = status("--state", str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    for fact in (
        "5 known · 4 due · 1 in a message",
        "4 never read · 1 failing · 1 gone",
        "median 2 h · p95 40 h · oldest 40 h",
        "1 of 9,000",
        "credential",
        "1,234",
        "failed 1970-01-02 00:00 UTC: the host is unknown",
    ):
        assert fact in ended.stdout
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert "fresh, p50 – within 60 min" in lines
    assert "fresh, p95 – within 60 min" in lines


def test_contacts_that_fail_are_counted_by_cause(tmp_path: Path) -> None:
    """Each contact counts once, however often it was tried. The most frequent cause comes first."""
    texts = [f"the API failed {tries} times: {Cause.TIMED_OUT}" for tries in range(3)]
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        contacts = SqliteContacts(database)
        contacts.register([ListedContact(str(number), "") for number in range(5)], 0)
        for number, text in enumerate(["the API answered 405", *texts]):
            contact = contacts.get(str(number))
            assert contact
            contacts.save(replace(contact, failures=1, last_error=text, failed_ms=7))
    (system,) = systems("--state", str(tmp_path))
    assert list(system["failing_by_cause"].items()) == [
        (Cause.TIMED_OUT.value, 3),
        ("the API answered 405", 1),
    ]
    told = status("--state", str(tmp_path)).stdout
    assert f"3 · {Cause.TIMED_OUT}" in told


def test_the_limit_comes_from_the_settings(tmp_path: Path) -> None:
    """The limit of a folder is the share of the day's calls in the environment."""
    store_backlog(tmp_path)
    (system,) = systems("--state", str(tmp_path), CALLS_PER_DAY="500", QUOTA_SHARE="0.5")
    assert system["quota"]["limit"] == 250


def test_a_folder_that_a_run_holds_can_be_read(tmp_path: Path) -> None:
    """The command waits for no lock, changes nothing, and shows what the run has stored so far."""
    store_backlog(tmp_path)
    with locked(tmp_path), closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        before = database.rows("SELECT * FROM contact")
        database.execute("BEGIN IMMEDIATE")
        assert systems("--state", str(tmp_path))[0]["contacts"]["known"] == 5
        database.execute("ROLLBACK")
        assert database.rows("SELECT * FROM contact") == before


def test_a_folder_with_both_systems_shows_both(tmp_path: Path) -> None:
    """Real and simulated activity have a status each. A system without contacts has no ages."""
    store_backlog(tmp_path)
    with closing(Database(tmp_path / SIMULATED_DATABASE)):
        account, simulated = systems("--state", str(tmp_path))
    assert (account["name"], simulated["name"]) == ("account", "simulated")
    assert (simulated["lag_s"], simulated["since_sync_s"]) == (None, None)
    assert set(simulated["contacts"].values()) == {0}


def test_after_a_run_nothing_waits_and_every_event_is_counted(tmp_path: Path) -> None:
    """A finished run leaves no lag, and its counts by type are those of the events file."""
    account = account_of(12)
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
    (system,) = systems("--state", str(operator.state_dir))
    assert (system["contacts"]["known"], system["contacts"]["never_synced"]) == (12, 0)
    counts = [count for day in system["published"].values() for count in day.values()]
    assert sum(counts) == len(operator.events()) == len(truth_of(account))
    correlation_ids = {event["detail"]["correlationid"] for event in operator.events()}
    assert len(correlation_ids) == 1


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_state_is_one_line(tmp_path: Path, name: str) -> None:
    """A folder that is missing or empty ends with status 1 and a line on what to do. None is created."""
    ended = status("--state", str(tmp_path / name))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"contact-activity: --state \S+ holds no state: run .*\n", ended.stderr)
    assert not list(tmp_path.iterdir())


def test_a_folder_and_a_stack_at_once_are_bad_usage() -> None:
    """Only one may be given: exit status 2."""
    ended = status("--state", "x", "--stack", "y")
    assert (ended.returncode, ended.stdout) == (2, "")


@dataclass
class Cloud:
    """A stack on the local AWS after two ticks, and what a subscriber received."""

    emulator: Emulator
    stack: Stack
    events: list[dict[str, Any]]
    calls: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.emulator.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }

    def logged(self, function: str) -> list[str]:
        events = self.emulator.client("logs").filter_log_events(
            logGroupName=f"/aws/lambda/contact-activity-{function}"
        )
        return [event["message"].strip() for event in events["events"]]

    def documents(self, function: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logged(function) if line.startswith("{")]


ACCOUNT = account_of(6)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Emulator(tmp_path_factory.mktemp("cloud")) as emulator, served(ACCOUNT) as server:
        parameters = {"ConstantContactBaseUrl": server.base_url, "CallsPerSecond": str(CALLS_PER_SECOND)}
        stack = deploy(emulator, TEMPLATE, stack_name="contact-activity", parameters=parameters)
        secret = json.dumps({"api_key": API_KEY, "access_token": ACCESS_TOKEN})
        emulator.client("secretsmanager").put_secret_value(
            SecretId=stack.outputs["SecretArn"], SecretString=secret
        )
        sink, sqs = io.BytesIO(), emulator.client("sqs")
        reader = EventReader(sqs, subscribe(emulator, stack.outputs["EventBusName"]), sink)
        lambda_ = emulator.client("lambda")
        lambda_.invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
        queue = SqsQueue(sqs, stack.outputs["ContactQueueUrl"])
        while queue.depth() or reader.received.total() < len(truth_of(ACCOUNT)):
            reader.drain()
            time.sleep(0.1)
        # The emulator stores a call's last lines with the next call, if the machine is busy.
        lambda_.invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
        lambda_.invoke(FunctionName=stack.outputs["WorkerName"], Payload=b'{"Records": []}')
        events = [json.loads(line) for line in sink.getvalue().splitlines()]
        yield Cloud(emulator, stack, events, len(server.calls))


@pytest.mark.cloud
def test_the_status_of_a_stack_counts_what_is_stored(cloud: Cloud) -> None:
    """`--stack` reads what the functions have done, with the usual AWS settings."""
    (system,) = systems("--stack", "contact-activity", **cloud.environment)
    assert system["name"] == "contact-activity"
    nothing = dict.fromkeys(("due", "waiting", "failing", "gone", "never_synced", *NONE_ASKS), 0)
    assert system["contacts"] == {"known": 6} | nothing
    assert (system["lag_s"], system["pauses"]) == (None, [])
    assert set(system["since_sync_s"]) == {"median", "p95", "oldest"}
    assert system["quota"] == {"used": cloud.calls, "limit": LIMIT, "until": None, "asked_again": None}
    # The second tick looked at the campaigns.
    reports = system["campaign_reports"]
    assert (reports["mode"], reports["modes"], reports["failing"]) == ("probation", ON_PROBATION, 0)
    assert reports["watched"] > 0
    assert reports["watched"] % len(ON_PROBATION) == 0
    assert system["messages"] == {"waiting": 0, "dead_letters": 0, "failed_ticks": 0}
    counts: Counter[str] = Counter()
    for day in system["published"].values():
        counts.update(day)
    assert counts == Counter(event["detail-type"] for event in cloud.events)
    assert set(system["freshness_s"]) == set(system["published"])


@pytest.mark.cloud
def test_the_status_of_a_stack_has_its_freshness(cloud: Cloud) -> None:
    """The history that a new stack reads does not count as late. What came since is counted by day."""
    assert all(event["detail"]["backfill"] for event in cloud.events)
    (system,) = systems("--stack", "contact-activity", **cloud.environment)
    assert set(system["freshness_s"].values()) == {None}
    day = SystemClock().now_ms() // DAY_MS
    tally = DynamoTally(cloud.emulator.client("dynamodb"), cloud.stack.outputs["TableName"])
    tally.add(day, {}, by_bucket([*[100] * 9, 3_000]))
    (told,) = systems("--stack", "contact-activity", **cloud.environment)
    assert {"p50": 120, "p95": 3_600} in told["freshness_s"].values()
    assert told["published"] == system["published"]


@pytest.mark.cloud
def test_the_status_of_a_stack_counts_dead_letters(cloud: Cloud) -> None:
    """A message in the dead-letter queue is counted, in the tables too."""
    sqs, url = cloud.emulator.client("sqs"), cloud.stack.outputs["ContactDeadLettersUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    ended = status("--stack", "contact-activity", **cloud.environment)
    sqs.purge_queue(QueueUrl=url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0 waiting · 1 dead letter · 0 failed ticks" in ended.stdout


@pytest.mark.cloud
def test_a_stack_that_is_not_there_is_one_line(cloud: Cloud) -> None:
    """An unknown name ends with status 1, and the line names the region."""
    ended = status("--stack", "nothing", **cloud.environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"contact-activity: there is no stack nothing in {REGION} of this AWS account\n"


def test_a_stack_without_aws_settings_is_one_line() -> None:
    """The line has the words of boto3 for what is missing."""
    ended = status("--stack", "contact-activity")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"contact-activity: .*region.*\n", ended.stderr)


@pytest.mark.cloud
def test_one_id_connects_a_tick_with_its_events(cloud: Cloud) -> None:
    """The request id of the dispatcher is in every log line of both functions and in every event."""
    (tick,) = [line for line in cloud.documents("dispatcher") if line.get("enqueued") == 6]
    lines = [line for line in cloud.documents("worker") if line.get("message") == "contact"]
    assert len(lines) == 6
    assert {line["correlation_id"] for line in [tick, *lines]} == {tick["function_request_id"]}
    assert {event["detail"]["correlationid"] for event in cloud.events} == {tick["function_request_id"]}


@pytest.mark.cloud
def test_the_functions_send_metrics_of_their_stack(cloud: Cloud) -> None:
    """Invocations write the format of CloudWatch, with the dimension that the alarms use."""
    sent = emitted(cloud.logged("dispatcher")) + emitted(cloud.logged("worker"))
    assert {(metric.namespace, metric.dimensions) for metric in sent} == {
        (NAMESPACE, (("service", "contact-activity"),))
    }
    sums: Counter[str] = Counter()
    for metric in sent:
        sums[metric.name] += int(sum(metric.values))
    assert (sums["ContactsEnqueued"], sums["ContactsSynced"]) == (6, 6)
    assert sums["EventsPublished"] == len(cloud.events)
    assert {"LagSeconds", "QuotaUsedPercent", "QuotaLagSeconds", "PausedByCredential"} <= set(sums)
    # The account's history is older than the stack, and no news.
    assert "FreshnessSeconds" not in sums


@pytest.mark.cloud
def test_the_functions_log_no_address_and_no_secret(cloud: Cloud) -> None:
    """No log line of the two functions has an address of a contact or a credential."""
    written = "\n".join(cloud.logged("dispatcher") + cloud.logged("worker"))
    addresses = {event["detail"]["data"]["contact"]["email_address"] for event in cloud.events}
    assert len(addresses) == 6
    assert [text for text in {*addresses, API_KEY, ACCESS_TOKEN} if text in written] == []
    assert "@" not in written


@pytest.mark.cloud
def test_the_stack_has_its_alarms_and_its_dashboard(cloud: Cloud) -> None:
    """CloudFormation creates every alarm. Without a topic no alarm has an action."""
    cloudwatch = cloud.emulator.client("cloudwatch")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    resources = load_template(TEMPLATE)["Resources"].values()
    # Those of one metric: the emulator cannot compute with several.
    wanted = [of for of in resources if of["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in of]
    assert len(alarms) == len(wanted)
    assert [alarm["AlarmActions"] + alarm["OKActions"] for alarm in alarms] == [[]] * len(alarms)
    body = cloudwatch.get_dashboard(DashboardName=cloud.stack.outputs["DashboardName"])["DashboardBody"]
    assert "${" not in body
    assert json.loads(body)["widgets"]
