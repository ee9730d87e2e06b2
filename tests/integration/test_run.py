"""`contact-activity run` on the embedded engine, as a process, over real HTTP."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.operations.system import NO_CALLS
from contact_activity.run.engine import run_embedded
from contact_activity.run.memory_queue import MAX_RECEIVES
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.progress import RunProgress
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.settings import read_credentials, read_settings
from contact_activity.simulated import Kind, Reply, Server, SimulatedAccount, Switches, error
from contact_activity.simulated.token_switches import TokenSwitches
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    CALLS_PER_SECOND,
    CAMPAIGN,
    NOW,
    Operator,
    account_of,
    key_of,
    renewed_by,
    served,
    truth_of,
    truth_of_v3,
)


def add_late_activity(account: SimulatedAccount, seed: int = 1) -> None:
    """Add opens and clicks of some contacts that are up to 60 hours old."""
    rng = random.Random(seed)
    for contact in rng.sample(account.contacts(), 12):
        for kind in (Kind.OPEN, Kind.CLICK):
            at = NOW - timedelta(hours=60 * rng.random())
            account.add_row(kind, contact.id, CAMPAIGN, at=at, inserted_at=NOW)


def small_account(contacts: int = 3, rows: int = 2) -> SimulatedAccount:
    account = SimulatedAccount()
    for number in range(contacts):
        contact = account.add_contact(f"c{number}@example.org", at=NOW - timedelta(days=9))
        for hours in range(1, rows + 1):
            account.add_row(Kind.OPEN, contact.id, CAMPAIGN, at=NOW - timedelta(hours=hours))
    return account


def tracking_calls(server: Server) -> list[str]:
    return [call.path for call in server.calls if "/tracking" in call.path]


@pytest.mark.parametrize("page_rows", [500, pytest.param(7, marks=pytest.mark.long)])
def test_a_failing_api_costs_no_activity(tmp_path: Path, page_rows: int) -> None:
    """One call in five fails: every activity is published, late ones too, and nothing twice."""
    account = account_of(30)
    switches = Switches.faulty(0.2, seed=page_rows)
    with served(account, switches=replace(switches, max_page_rows=page_rows, limit_plus_one=True)) as server:
        operator = Operator.of(tmp_path, server)

        assert operator.run().returncode == 0
        assert set(operator.published()) == truth_of(account)
        assert all(len(ids) == 1 for ids in operator.ids_by_key().values())

        published = len(operator.events())
        assert operator.run("--all").returncode == 0
        assert len(operator.events()) == published

        before = truth_of(account)
        add_late_activity(account)
        assert operator.run("--all").returncode == 0
        assert sorted(operator.published()[published:]) == sorted(truth_of(account) - before)
        assert server.violations == []
        assert server.max_calls_in_any_second() <= CALLS_PER_SECOND


def test_nothing_new_costs_one_call_a_contact(tmp_path: Path) -> None:
    """A sweep without news reads each contact once, and the contact list once."""
    account = account_of(20)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, CAMPAIGN_REPORTS="off")
        operator.run()
        before = len(server.calls)
        assert operator.run("--all").returncode == 0
        paths = [call.path for call in server.calls[before:]]

    assert len(paths) == len(account.contacts()) + 1
    assert len(set(paths)) == len(paths)


def test_a_list_of_reports_makes_exactly_those_calls(tmp_path: Path) -> None:
    """`REPORTS=opens,bounces` reads these two reports of each contact, and publishes these two types."""
    account = account_of(10)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, REPORTS="bounces,opens")
        assert operator.run().returncode == 0
        asked = {path.rsplit("/", 1)[-1] for path in tracking_calls(server)}

    assert asked == {"opens", "bounces"}
    assert set(operator.published()) == {
        key for key in truth_of(account) if key[0] in ("EMAIL_OPEN", "EMAIL_BOUNCE")
    }


def test_a_start_date_leaves_out_what_was_before(tmp_path: Path) -> None:
    """Nothing older than `START_DATE` is read or published."""
    account = account_of(10)
    start = (NOW - timedelta(days=20)).strftime("%Y-%m-%d")
    with served(account) as server:
        operator = Operator.of(tmp_path, server, START_DATE=start)
        assert operator.run().returncode == 0
        assert all("created_since" in call.query for call in server.calls if "/tracking" in call.path)

    assert set(operator.published()) == {key for key in truth_of(account) if key[3] >= start}


def test_a_revoked_token_ends_with_status_3_and_a_new_one_continues(tmp_path: Path) -> None:
    """The API refuses two calls, one line explains it, and nothing is lost."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        server.revoke_token()
        refused = operator.run()
        assert refused.returncode == 3
        assert "CONSTANT_CONTACT_ACCESS_TOKEN" in refused.stderr.splitlines()[-1]
        assert len(server.calls) == 2
        server.restore_token()
        assert operator.run().returncode == 0
        assert set(operator.published()) == truth_of(account)


def test_a_single_401_is_tried_again(tmp_path: Path) -> None:
    """A 401 between accepted calls is tried again, since the API answers so at random under load."""
    account = small_account()
    contact = account.contacts()[0]
    with served(account) as server:
        server.script(contact.id, error(401, "http.status.authentication.invalid_token", "no"))
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
        assert set(operator.published()) == truth_of(account)


def test_a_used_up_budget_of_the_day_ends_with_status_4(tmp_path: Path) -> None:
    """The share of the day's calls is never exceeded. With a larger share the next run continues."""
    account = small_account(contacts=10)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, CALLS_PER_DAY="10", QUOTA_SHARE="0.5")
        assert operator.run().returncode == 4
        assert len(server.calls) == 5
        assert operator.run().returncode == 4
        assert len(server.calls) == 5
        assert len({key[2] for key in operator.published()}) == 4
        operator.environment["CALLS_PER_DAY"] = "1000"
        assert operator.run().returncode == 0
        assert set(operator.published()) == truth_of(account)


def test_a_day_that_others_used_up_ends_with_status_4(tmp_path: Path) -> None:
    """One call is enough: the run believes the API that the day is used up."""
    account = small_account(contacts=10)
    with served(account, calls_per_day=4) as server:
        operator = Operator.of(tmp_path, server)
        paused = operator.run()
        assert paused.returncode == 4
        assert "are used up (as the API says; " in paused.stderr.splitlines()[-1]
        refused = [call for call in server.calls if call.status == 403]
        assert 1 <= len(refused) <= 8


def test_a_contact_that_always_fails_does_not_harm_the_others(tmp_path: Path) -> None:
    """A fatal answer for one contact: five tries, status 1, every other contact published."""
    account = small_account(contacts=5)
    poison = account.contacts()[2].id
    with served(account) as server:
        server.script(poison, *[error(400, "http.status.bad_request", "no")] * 9)
        operator = Operator.of(tmp_path, server)
        failed = operator.run()
        calls = [path for path in tracking_calls(server) if f"/{poison}/" in path]

    assert failed.returncode == 1
    assert poison in failed.stderr
    assert len(calls) == MAX_RECEIVES
    assert set(operator.published()) == {key for key in truth_of(account) if key[2] != poison}


def test_a_contact_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """A contact that gets a 404 is counted as gone, and the run ends with status 0."""
    account = small_account()
    with served(account) as server:
        gone = account.contacts()[0].id
        server.script(gone, error(404, "http.status.not_found", "no"))
        operator = Operator.of(tmp_path, server)
        done = operator.run()
    assert done.returncode == 0
    assert "1 contact no longer exists" in done.stderr
    assert {key[2] for key in operator.published()} == {c.id for c in account.contacts()} - {gone}


@pytest.mark.parametrize("is_v3", [False, pytest.param(True, marks=pytest.mark.long)], ids=["v2", "v3"])
def test_a_run_continues_after_a_kill(tmp_path: Path, *, is_v3: bool) -> None:
    """After `kill -9` at any moment the next run with the same folder publishes what was missing.

    In v3 while tokens are renewed: a kill between spending one and storing the next costs the login.
    """
    account = account_of(60)
    rng = random.Random(3)
    with served(account, tokens=TokenSwitches(expires_in_s=2, rate_limits=False)) as server:
        of = partial(Operator.of_v3, is_renewing=True) if is_v3 else Operator.of
        operator = of(tmp_path, server)
        for _ in range(6):
            with operator.start() as process:
                time.sleep(0.3 + rng.random() * 0.6)
                process.send_signal(signal.SIGKILL)
                process.communicate()
        ended = operator.run()
        if is_v3 and ended.returncode == 3:
            operator.environment |= renewed_by(server)
            ended = operator.run()
        assert ended.returncode == 0, ended.stderr
    assert set(operator.published()) == (truth_of_v3 if is_v3 else truth_of)(account)
    assert all(len(ids) == 1 for ids in operator.ids_by_key().values())


def test_a_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    """After a kill the next run leaves only whole lines in the events file."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        operator.events_file.write_text('{"detail": "whole"}\n{"detail": "cu')
        assert operator.run().returncode == 0
        first, *rest = operator.events()
    assert first == {"detail": "whole"}
    assert {key_of(event) for event in rest} == truth_of(account)


def test_standard_output_holds_events_and_nothing_else(tmp_path: Path) -> None:
    """`--events -` gives one JSON envelope a line; progress and summary are on standard error."""
    account = small_account()
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        done = operator.run("--events", "-")
    envelopes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {key_of(envelope) for envelope in envelopes} == truth_of(account)
    assert {(envelope["account"], envelope["region"]) for envelope in envelopes} == {
        ("000000000000", "local")
    }


def test_one_run_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    """A second run on the same state folder ends with status 1 and one line."""
    account = account_of(60)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, CALLS_PER_SECOND="10")
        with operator.start() as first:
            while not (operator.state_dir / "contact-activity.sqlite3").exists():
                time.sleep(0.05)
            second = operator.run()
            first.send_signal(signal.SIGTERM)
            first.communicate()
    assert second.returncode == 1
    assert "another run uses" in second.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONSTANT_CONTACT_ACCESS_TOKEN", ""),
        ("CONSTANT_CONTACT_CLIENT_ID", "of-v3"),
        ("CONSTANT_CONTACT_TOKEN_URL", "http://authz.example.org/token"),
        ("CONSTANT_CONTACT_BASE_URL", "http://api.example.org/v2"),
        ("CONSTANT_CONTACT_API_VERSION", "v3"),
        ("CALLS_PER_SECOND", "fast"),
        ("CALLS_PER_DAY", "0"),
        ("QUOTA_SHARE", "1.5"),
        ("ACCOUNT", "a b"),
        ("REPORTS", "opens,likes"),
        ("START_DATE", "last week"),
        ("OVERLAP_HOURS", "-1"),
        ("REMEMBERED_ACTIVITIES", "5001"),
        ("CAMPAIGN_LOOKBACK_DAYS", "x"),
        ("EMAIL_ADDRESSES", "public"),
    ],
)
def test_a_bad_setting_ends_with_status_2_and_one_line(tmp_path: Path, name: str, value: str) -> None:
    """The line names the setting; no call is made."""
    with served(small_account()) as server:
        failed = Operator.of(tmp_path, server, **{name: value}).run()
        assert server.calls == []
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1
    assert name in failed.stderr


@pytest.mark.parametrize("arguments", [["--every", "0"], ["--engine", "cluster"], ["--never"]])
def test_bad_usage_ends_with_status_2_and_one_line(tmp_path: Path, arguments: list[str]) -> None:
    """Usage errors are one line too."""
    with served(small_account()) as server:
        failed = Operator.of(tmp_path, server).run(*arguments)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1


def test_neither_credential_is_shown_or_stored(tmp_path: Path) -> None:
    """Faults, refusals and failures leave them in no output, log, event or state file."""
    account = small_account(contacts=6)
    contact = account.contacts()[0].id
    with served(account, switches=Switches.faulty(0.3)) as server:
        server.script(contact, *[error(400, "http.status.bad_request", "no")] * 9)
        operator = Operator.of(tmp_path, server)
        operator.run("--debug")
        server.revoke_token()
        operator.run("--all", "--debug")
        operator.environment["CONSTANT_CONTACT_BASE_URL"] = "http://127.0.0.1:9/v2"
        operator.environment["CALLS_PER_SECOND"] = "wrong"
        operator.run("--debug")
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (API_KEY, ACCESS_TOKEN):
        assert secret.encode() not in written
        assert all(secret not in said for said in operator.said)


def test_rows_that_are_no_activity_are_logged_once(tmp_path: Path) -> None:
    """A row of an unknown type and one without a time are logged once, by digest. Others are published."""
    account = small_account(contacts=1)
    contact = account.contacts()[0].id
    rows = [
        {"activity_type": "EMAIL_READ_ALOUD", "campaign_id": "1", "contact_id": contact},
        {"activity_type": "EMAIL_OPEN", "campaign_id": "1", "contact_id": contact, "open_date": ""},
        {"activity_type": "EMAIL_OPEN", "campaign_id": 1, "open_date": "2026-01-02T03:04:05.678Z"},
    ]
    page = Reply(200, {"meta": {"pagination": {}}, "results": rows})
    with served(account) as server:
        server.script(contact, page, page)
        operator = Operator.of(tmp_path, server)
        first, second = operator.run(), operator.run("--all")
    assert len(operator.events()) == 1
    assert first.stderr.count("digest") >= 2
    assert "2 rows were no activity" in first.stderr
    assert "no activity" not in second.stderr.replace("no contact did anything", "")
    assert second.returncode == 0


def test_a_run_says_when_no_contact_is_due(tmp_path: Path) -> None:
    """It read no contact, so it cannot say that there is no news."""
    account = account_of(3)
    with served(account) as server:
        operator = Operator.of(tmp_path, server, CAMPAIGN_REPORTS="off")
        operator.run()
        nobody, everybody = operator.run(), operator.run("--all")
    assert "No contact is due yet" in nobody.stderr
    assert "Nothing new" in everybody.stderr


def reports_asked(server: Server) -> list[str]:
    """Which reports of campaigns were read, in this order."""
    paths = [call.path.split("/") for call in server.calls]
    return [
        f"{path[4]}-{path[6]}" for path in paths if path[3:4] == ["campaigns"] and path[5:6] == ["tracking"]
    ]


@contextmanager
def opened(operator: Operator) -> Iterator[SqliteStore]:
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE)) as database:
        yield sqlite_store(database, NO_CALLS, SystemClock())


def trusting(operator: Operator) -> None:
    """Let the reports of all types publish from now on."""
    with opened(operator) as store:
        now_ms = SystemClock().now_ms()
        types = dict.fromkeys(ActivityType, TypeTrust(Mode.PUBLISH, now_ms, sampled_ms=now_ms))
        assert store.reports.save_trust(Trust(types, store.reports.trust().version))


def sent_lately(contacts: int = 3) -> SimulatedAccount:
    """Return an account with a campaign that is watched, and that its contacts opened."""
    account = small_account(contacts)
    account.add_campaign("news", sent_at=NOW - timedelta(hours=5), campaign_id=CAMPAIGN)
    return account


ALL_REPORTS = sorted(f"{CAMPAIGN}-{type_.report}" for type_ in ActivityType)


def test_reports_are_read_from_the_second_run_on(tmp_path: Path) -> None:
    """Before the contacts, once the list of contacts is known. They are counted apart, in the end too."""
    account = sent_lately()
    with served(account) as server:
        operator = Operator.of(tmp_path, server)
        first = operator.run()
        assert reports_asked(server) == []
        trusting(operator)
        late = account.contacts()[0].id
        account.add_row(Kind.OPEN, late, CAMPAIGN, at=NOW - timedelta(minutes=3), inserted_at=NOW)
        before = len(server.calls)
        second = operator.run("--all")
        paths = [call.path for call in server.calls[before:]]
    assert sorted(reports_asked(server)) == ALL_REPORTS
    assert (first.returncode, second.returncode) == (0, 0)
    assert "reports read" not in first.stderr
    assert " · 6 reports read · " in second.stderr
    assert "1 event from 3 contacts" in second.stderr
    assert set(operator.published()) == truth_of(account)
    kinds = ["report" if "/campaigns/" in path else "contact" for path in paths if "/tracking" in path]
    assert kinds == ["report"] * 6 + ["contact"] * 3


def test_watched_reports_are_read_when_they_are_due_or_with_all(tmp_path: Path) -> None:
    """As contacts are: here in the second and in the last of four runs."""
    asked = []
    with served(sent_lately()) as server:
        operator = Operator.of(tmp_path, server)
        operator.run()
        trusting(operator)
        for arguments in ([], [], ["--all"]):
            operator.run(*arguments)
            asked.append(len(reports_asked(server)))
    assert asked == [6, 6, 12]


def test_a_report_that_fails_is_a_warning(tmp_path: Path) -> None:
    """A line for each, and status 0: the contacts' own reports bring what is in it."""
    account = sent_lately()
    switches = Switches()
    with served(account, switches=switches) as server:
        operator = Operator.of(tmp_path, server)
        operator.run()
        trusting(operator)
        refusal = error(403, "http.status.forbidden", "no")
        server.script(f"/v2/emailmarketing/campaigns/{CAMPAIGN}/tracking/opens", *[refusal] * 9)
        account.add_row(
            Kind.OPEN, account.contacts()[0].id, CAMPAIGN, at=NOW - timedelta(minutes=3), inserted_at=NOW
        )
        ended = operator.run("--all")
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Campaign report")]
    assert line.startswith(f"Campaign report {CAMPAIGN}-opens was not read: ")
    assert line.endswith("; its contacts are read all the same.")
    assert " · 5 reports read · " in ended.stderr
    assert "contacts failed" not in ended.stderr
    assert set(operator.published()) == truth_of(account)


class Meddling:
    """A display that makes everything due once, when the contacts of the first tick are read."""

    def __init__(self, operator: Operator) -> None:
        self.steps: list[str] = []
        self.shown: set[tuple[str, str]] = set()
        self._operator = operator
        self._is_done = False

    def step(self, text: str) -> None:
        self.steps.append(text)

    def show(self, progress: RunProgress) -> None:
        self.shown.add((self.steps[-1], progress.counted))
        if not self._is_done and progress.counted == "contacts" and progress.done == progress.planned == 3:
            self._is_done = True
            with opened(self._operator) as store:
                store.contacts.make_due(0)
                store.reports.make_due(0)

    def published(self, lines: bytes) -> None: ...

    def tick_is_over(self) -> None: ...


def test_only_the_first_tick_of_a_run_reads_reports(tmp_path: Path) -> None:
    """Another tick reads the contacts that are due meanwhile, and leaves reports to the next run."""
    with served(sent_lately()) as server:
        operator = Operator.of(tmp_path, server)
        operator.run()
        trusting(operator)
        credentials = read_credentials(operator.environment)
        assert credentials
        account = Account(read_settings(operator.environment), credentials, is_simulated=False)
        options = RunOptions(operator.state_dir, operator.events_file, treat_all_as_due=True)
        display = Meddling(operator)
        summary = run_embedded(account, options, display)
        with opened(operator) as store:
            assert len(store.reports.due(SystemClock().now_ms())) == 6
        only_reports = Meddling(operator)
        # So slow that the list is most often there before them.
        slow = replace(account, settings=replace(account.settings, calls_per_second=10))
        run_embedded(slow, replace(options, treat_all_as_due=False), only_reports)
    # No contact was due in that one. Label and count are of the same.
    assert only_reports.shown <= {("reading campaign reports", "reports"), ("reading activity", "contacts")}
    assert sorted(reports_asked(server)) == sorted(ALL_REPORTS * 2)
    assert (summary.reports, summary.synced, summary.failed_reports) == (6, 6, {})
    # Reports may be read before the list of contacts is: then nobody waits for them.
    steps = [step for step in display.steps if step != "reading campaign reports"]
    assert steps == ["listing contacts", "reading activity"] * 2
