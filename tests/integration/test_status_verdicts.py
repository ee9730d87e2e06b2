"""What `contact-activity status` says of a system: brought about by runs on a folder, and on a stack."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret_tokens import Secrets, SecretTokens
from contact_activity.aws.store import dynamo_store
from contact_activity.aws.table import Table
from contact_activity.cli.status import to_json
from contact_activity.clock import SystemClock
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.schedule import VISIBILITY_MS
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.tokens import Granted, StoredTokens
from contact_activity.operations import stack_status as opening
from contact_activity.operations.read_status import status_of_store
from contact_activity.operations.status import Status
from contact_activity.operations.verdict import Word, verdict_of
from contact_activity.ports import Store
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.settings import V3Credentials
from contact_activity.simulated import Server, error
from contact_activity.simulated.token_switches import TokenSwitches
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import SHARED, run_command
from tests.support.described_stack import DescribedStack, described
from tests.support.families import Clients, create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.running import (
    ACCESS_TOKEN,
    CLIENT_ID,
    CLIENT_SECRET,
    Operator,
    account_of,
    served,
    truth_of,
)

MINUTE_MS = 60_000
# Noon, so that an hour before and after are of the same day.
NOON_MS = 20_000 * DAY_MS + 12 * HOUR_MS
LIMITS = Limits(4, 9_000)
REFUSED = error(406, "http.status.not_acceptable", "")


def told(operator: Operator) -> dict[str, Any]:
    ended = run_command(
        "status", "--state", str(operator.state_dir), "--json", environment=operator.environment
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    (system,) = json.loads(ended.stdout)["systems"]
    found: dict[str, Any] = system
    return found


def word(operator: Operator) -> tuple[str, str, str]:
    verdict = told(operator)["verdict"]
    command = verdict["next"].removeprefix("contact-activity ").partition(" ")[0]
    return verdict["word"], verdict["because"], command


@pytest.fixture
def server() -> Iterator[Server]:
    with served(account_of(12)) as running:
        yield running


@pytest.fixture
def operator(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator.of(tmp_path_factory.mktemp("folder"), server)


def age(operator: Operator, hours: float) -> None:
    """Let time pass for the contacts of a folder."""
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE)) as database:
        passed_ms = int(hours * HOUR_MS)
        database.execute(
            "UPDATE contact SET due_ms = due_ms - ?, synced_ms = synced_ms - ?", (passed_ms,) * 2
        )


def test_a_folder_that_is_read_daily_is_not_late(operator: Operator) -> None:
    """A run that ends by itself is to be begun again within a day."""
    assert operator.run().returncode == 0
    verdict, because, command = word(operator)
    assert (verdict, because.rpartition("; ")[2], command) == ("OK", "nothing waits", "")
    assert because.startswith("every contact read within ")
    age(operator, 23.9)
    verdict, because, _ = word(operator)
    assert (verdict, because) == ("OK", "every contact read within 24 h; 12 contacts are due")
    age(operator, 1)
    verdict, because, command = word(operator)
    assert (verdict, command) == ("LATE", "run")
    assert because.startswith("12 contacts are due, the first for 24 h")
    assert operator.run().returncode == 0
    assert word(operator)[0] == "OK"


def test_a_folder_whose_run_has_stopped_is_late_after_its_own_tick(operator: Operator) -> None:
    operator.environment["PYTHONPATH"] = str(SHARED)
    with operator.start_every(1) as run:
        until_s = time.monotonic() + 60
        while set(operator.published()) != truth_of(account_of(12)):
            assert time.monotonic() < until_s
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
    assert told(operator)["cadence"]["tick_s"] == 60
    age(operator, 0.5)
    assert word(operator)[0] == "LATE"


def test_a_folder_that_somebody_paused(operator: Operator) -> None:
    assert operator.run().returncode == 0
    paused = run_command("pause", "--state", str(operator.state_dir), environment=operator.environment)
    assert paused.returncode == 0
    verdict, because, command = word(operator)
    assert (verdict, command) == ("PAUSED", "resume")
    assert because.startswith("somebody paused it until it is resumed; nothing was read since ")


def test_a_folder_whose_credential_is_refused(operator: Operator, server: Server) -> None:
    server.revoke_token()
    assert operator.run().returncode == 3
    because = "the API refuses the credential; nothing was read yet, nothing is lost"
    assert word(operator) == ("PAUSED", because, "check")


def test_a_folder_whose_calls_are_used_up(operator: Operator) -> None:
    operator.environment |= {"CALLS_PER_DAY": "8", "QUOTA_SHARE": "1"}
    ended = operator.run()
    assert ended.returncode == 4
    assert "used up (8 of 8, by CALLS_PER_DAY × QUOTA_SHARE of this shell) until" in ended.stderr
    system = told(operator)
    assert (system["verdict"]["word"], system["verdict"]["next"][:23]) == ("QUOTA", "contact-activity check ")
    assert "(8 of 8, by CALLS_PER_DAY" in system["verdict"]["because"]
    assert (system["quota"]["until"][11:19], system["quota"]["asked_again"]) == ("00:00:00", None)


def test_a_shell_with_a_higher_limit_has_calls_left(operator: Operator) -> None:
    """`run`, `status` and `check` agree: a run with its settings goes on at once."""
    operator.environment |= {"CALLS_PER_DAY": "8", "QUOTA_SHARE": "1"}
    assert operator.run().returncode == 4
    operator.environment["CALLS_PER_DAY"] = "10000"
    verdict = told(operator)["verdict"]
    assert (verdict["word"], verdict["next"][:20]) == ("QUOTA", "contact-activity run")
    assert "a lower CALLS_PER_DAY or QUOTA_SHARE" in verdict["because"]
    asked = ["check", "--state", str(operator.state_dir)]
    checked = run_command(*asked, environment=operator.environment)
    assert checked.returncode == 0
    assert "of a lower CALLS_PER_DAY or QUOTA_SHARE" in checked.stdout
    assert "with these settings it goes on at once" in checked.stdout
    assert operator.run().returncode == 0


def test_a_folder_whose_calls_somebody_else_used_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Our own count has calls left, so that the API is asked again in an hour."""
    with served(account_of(12), calls_per_day=4) as server:
        operator = Operator.of(tmp_path_factory.mktemp("folder"), server)
        assert operator.run().returncode == 4
        system = told(operator)
    verdict, quota = system["verdict"], system["quota"]
    assert (verdict["word"], verdict["next"][:22]) == ("QUOTA", "contact-activity check")
    assert verdict["because"].startswith("the API says that the day's calls are used up (")
    assert f"{quota['asked_again'][11:16]} UTC" in verdict["because"]
    assert quota["until"] >= quota["asked_again"] > iso(SystemClock().now_ms() + 50 * MINUTE_MS)


def test_a_folder_whose_tick_failed(operator: Operator, server: Server) -> None:
    server.script("/v2/contacts", *[REFUSED] * 20)
    assert operator.run().returncode == 1
    verdict, because, command = word(operator)
    assert (verdict, command) == ("FAILING", "check")
    assert because.startswith("the last tick failed ")
    assert " UTC: " in because


def test_a_folder_with_a_contact_that_fails(operator: Operator, server: Server) -> None:
    server.script(account_of(12).contacts()[0].id, *[REFUSED] * 20)
    assert operator.run().returncode == 1
    assert word(operator) == ("FAILING", "1 contact is failing", "dead-letters")


def test_a_folder_whose_token_lacks_a_scope(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(account_of(5)) as server:
        poor = server.authorization.issue(scopes=frozenset({"contact_data", "account_read"})).access_token
        operator = Operator.of_v3(
            tmp_path_factory.mktemp("folder"), server, CONSTANT_CONTACT_ACCESS_TOKEN=poor
        )
        assert operator.run().returncode == 0
        assert word(operator) == ("FAILING", "the scope campaign_data is missing", "check")
        system = told(operator)
    assert set(system["campaign_reports"]["modes"].values()) == {"publish"}
    assert system["login"]["renewed_at"] is None


@pytest.mark.parametrize("is_renewing", [True, False])
def test_a_folder_s_login_is_shown_without_a_secret(
    tmp_path_factory: pytest.TempPathFactory, *, is_renewing: bool
) -> None:
    """Whose it is, when its access token is from, and who renews it."""
    with served(account_of(3), tokens=TokenSwitches(rate_limits=False)) as server:
        operator = Operator.of_v3(tmp_path_factory.mktemp("folder"), server, is_renewing=is_renewing)
        assert operator.run().returncode == 0
        login = told(operator)["login"]
        shown = run_command("status", "--state", str(operator.state_dir), environment=operator.environment)
        secrets = [CLIENT_SECRET, ACCESS_TOKEN, *server.authorization.issued]
    assert (login["is_renewed"], login["is_dead"], login["fault"]) == (is_renewing, False, "")
    assert (login["renewed_at"] is not None, login["ends_at"]) == (is_renewing, None)
    if is_renewing:
        assert login["account"]
        assert f"account {login['account']} · access token of " in shown.stdout
        assert "renewed by itself" in shown.stdout
    assert [secret for secret in secrets if secret in shown.stdout + json.dumps(login)] == []


def test_a_login_that_cannot_be_read_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The rest is shown all the same."""
    with served(account_of(3), tokens=TokenSwitches(rate_limits=False)) as server:
        operator = Operator.of_v3(tmp_path_factory.mktemp("folder"), server, is_renewing=True)
        assert operator.run().returncode == 0
    (operator.state_dir / "credentials.json").write_text("{")
    system = told(operator)
    assert "holds no tokens of ours" in system["login"]["fault"]
    assert system["contacts"]["known"] == 3


@pytest.fixture(params=["folder", "stack"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The store of a folder, and of a stack, which moto has."""
    if request.param == "folder":
        with closing(Database(":memory:")) as database:
            yield sqlite_store(database, LIMITS, SystemClock())
        return
    with nobodys_aws(), mock_aws():
        create_table(Clients(aws_client).dynamodb, "contacts")
        yield dynamo_store(aws_client("dynamodb"), "contacts", LIMITS, SystemClock())


def keep(store: Store, contact_id: str, *, due_ms: int, read_ms: int | None) -> None:
    store.contacts.register([ListedContact(contact_id, "")], NOON_MS - 30 * DAY_MS)
    contact = store.contacts.get(contact_id)
    assert contact
    assert store.contacts.save(replace(contact, due_ms=due_ms, synced_ms=read_ms))


def listed(store: Store, contacts: int) -> None:
    store.listings.put(Listing(full_ms=NOON_MS - DAY_MS, contacts=contacts))


def status_at(store: Store, now_ms: int, tick_ms: int = 5 * MINUTE_MS) -> Status:
    return status_of_store("account", store, now_ms=now_ms, tick_ms=tick_ms, calls_each=1)


# In an account of so many contacts each has its turn once a day, or every 11 days and 3 hours.
DAILY, LARGE = 9_000, 100_000


@pytest.mark.parametrize(
    ("contacts", "due_h", "is_late"),
    [
        (DAILY, 23, False),
        (DAILY, 25, True),
        (LARGE, 24, False),
        (LARGE, 11 * 24, False),
        (LARGE, 12 * 24, True),
        (10, 1, True),
    ],
)
def test_a_contact_is_late_after_its_turn(store: Store, contacts: int, due_h: int, is_late: bool) -> None:
    """While others are read. However large the account is, who waits for longer than a turn shows."""
    listed(store, contacts)
    keep(store, "1", due_ms=NOON_MS - due_h * HOUR_MS, read_ms=NOON_MS - 28 * DAY_MS)
    keep(store, "2", due_ms=NOON_MS + DAY_MS, read_ms=NOON_MS - MINUTE_MS)
    status = status_at(store, NOON_MS)
    assert status.cadence.is_late is is_late
    assert (verdict_of(status).word is Word.LATE) is is_late


@pytest.mark.parametrize("contacts", [10, LARGE])
@pytest.mark.parametrize("tick_ms", [5 * MINUTE_MS, 6 * HOUR_MS, DAY_MS])
def test_where_nothing_is_read_any_more_one_tick_shows_it(store: Store, contacts: int, tick_ms: int) -> None:
    """And a schedule that ticks rarely is not late between two ticks."""
    listed(store, contacts)
    keep(store, "1", due_ms=NOON_MS, read_ms=NOON_MS)
    soon_ms = tick_ms + VISIBILITY_MS
    words = [
        verdict_of(status_at(store, NOON_MS + after_ms, tick_ms)).word for after_ms in (soon_ms, soon_ms + 1)
    ]
    assert words == [Word.OK, Word.LATE]


def test_while_all_are_listed_for_the_first_time_nobody_is_late(store: Store) -> None:
    """A large account is listed over several ticks, and in v3 nothing is read until then."""
    store.listings.put(Listing(started_ms=NOON_MS - HOUR_MS, contacts=LARGE))
    keep(store, "1", due_ms=NOON_MS - HOUR_MS, read_ms=None)
    assert verdict_of(status_at(store, NOON_MS)).word is Word.OK


def test_who_waited_for_the_quota_is_not_late_at_midnight(store: Store) -> None:
    midnight_ms = NOON_MS + 12 * HOUR_MS
    listed(store, 10)
    keep(store, "1", due_ms=NOON_MS, read_ms=NOON_MS)
    store.pauses.pause(Pause(PauseReason.QUOTA, midnight_ms))
    assert verdict_of(status_at(store, midnight_ms - 1)).word is Word.QUOTA
    assert verdict_of(status_at(store, midnight_ms + MINUTE_MS)).word is Word.OK
    assert verdict_of(status_at(store, midnight_ms + HOUR_MS)).word is Word.LATE


def test_the_api_s_word_on_the_quota_lasts_until_it_is_heard_again(store: Store) -> None:
    """The pause ends after an hour. If nobody has asked since, nothing else is known until midnight."""
    said_ms, midnight_ms = NOON_MS, NOON_MS + 12 * HOUR_MS
    keep(store, "1", due_ms=said_ms, read_ms=said_ms - MINUTE_MS)
    listed(store, 10)
    store.pauses.pause(Pause(PauseReason.QUOTA, said_ms + HOUR_MS))
    for now_ms in (said_ms + MINUTE_MS, said_ms + 3 * HOUR_MS, midnight_ms - 1):
        status = status_at(store, now_ms, DAY_MS)
        assert (status.quota.ends_ms, status.quota.asks_ms) == (midnight_ms, said_ms + HOUR_MS)
        assert verdict_of(status).word is Word.QUOTA
    assert status_at(store, midnight_ms, DAY_MS).quota.ends_ms is None
    store.listings.put(Listing(full_ms=NOON_MS, mark_ms=said_ms + HOUR_MS, contacts=10))
    assert status_at(store, said_ms + 3 * HOUR_MS, DAY_MS).quota.ends_ms is None


OF_V3_EVERY_6_HOURS = {"ConstantContactApiVersion": "v3", "ScheduleMinutes": "360"}


@pytest.fixture
def stack() -> Iterator[Store]:
    with nobodys_aws(), mock_aws():
        clients = Clients(aws_client)
        create_table(clients.dynamodb, "contacts")
        for name in ("given", "own"):
            clients.secrets.create_secret(Name=name)
        queues = ("ContactQueueUrl", "ContactDeadLettersUrl", "DispatchFailuresUrl")
        sqs = aws_client("sqs")
        urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in queues}
        store = dynamo_store(clients.dynamodb, "contacts", LIMITS, SystemClock())
        now_ms = SystemClock().now_ms()
        store.listings.put(Listing(full_ms=now_ms - DAY_MS, mark_ms=now_ms - 2 * HOUR_MS, contacts=1))
        read(store, 5)
        with described(DescribedStack("stack", {"TableName": "contacts", **urls}, OF_V3_EVERY_6_HOURS)):
            yield store


def read(store: Store, hours_ago: float) -> None:
    """Have the stack's only contact read, and due at once."""
    now_ms = SystemClock().now_ms()
    store.contacts.register([ListedContact("1", "")], now_ms)
    contact, read_ms = store.contacts.get("1"), now_ms - int(hours_ago * HOUR_MS)
    assert contact
    assert store.contacts.save(replace(contact, due_ms=read_ms, synced_ms=read_ms))


def pause(reason: PauseReason) -> Callable[[Store], object]:
    return lambda store: store.pauses.pause(Pause(reason, None))


def fail(store: Store) -> None:
    contact = store.contacts.get("1")
    assert contact
    store.contacts.save(replace(contact, failures=1, last_error="HTTP 500", due_ms=contact.due_ms + DAY_MS))


@pytest.mark.parametrize(
    ("change", "expected", "command"),
    [
        (lambda _: None, Word.OK, ""),
        (lambda store: read(store, 7), Word.LATE, "check"),
        (pause(PauseReason.OPERATOR), Word.PAUSED, "resume"),
        (pause(PauseReason.CREDENTIAL), Word.PAUSED, "check"),
        (
            lambda store: store.pauses.pause(Pause(PauseReason.QUOTA, SystemClock().now_ms() + HOUR_MS // 2)),
            Word.QUOTA,
            "check",
        ),
        (
            lambda store: store.listings.put_failure(TickFailure("x", SystemClock().now_ms())),
            Word.FAILING,
            "check",
        ),
        (
            lambda store: store.reports.save_access(
                ReportAccess().refused(SystemClock().now_ms()), ReportAccess()
            ),
            Word.FAILING,
            "check",
        ),
        (fail, Word.FAILING, "dead-letters"),
    ],
)
def test_a_stack_has_each_verdict(
    stack: Store, change: Callable[[Store], object], expected: Word, command: str
) -> None:
    """Read from its table, by its own schedule: one that ticks every 6 hours is not late after 5."""
    change(stack)
    verdict = verdict_of(opening.stack_status("stack"))
    assert (verdict.word, verdict.next) == (expected, command)


def test_a_stack_s_login_is_shown_from_the_table_alone(stack: Store) -> None:
    """No secret is read for it: its caller may not be allowed to."""
    assert stack
    table, clock = Table(aws_client("dynamodb"), "contacts"), SystemClock()
    (before,) = login_of(opening.stack_status("stack"))
    assert before == {
        "account": None,
        "renewed_at": None,
        "ends_at": None,
        "is_renewed": False,
        "is_dead": False,
        "fault": "",
    }
    secrets = Secrets(aws_client("secretsmanager"), "given", "own")
    tokens = SecretTokens(secrets, table, clock, V3Credentials(CLIENT_ID), replaces=True)
    for refresh_token in ("refresh-canary", None):
        logged_in = StoredTokens().logged_in(
            CLIENT_ID, Granted("access-canary", refresh_token, DAY_MS), asked_ms=NOON_MS
        )
        with tokens.exclusive(within_s=1) as is_ours:
            assert is_ours
            tokens.save(logged_in)
        DynamoAccount(table).save(StoredAccount("a-1", "digest"))
        (login,) = login_of(opening.stack_status("stack"))
        assert (login["account"], login["renewed_at"]) == ("a-1", iso(NOON_MS))
        assert login["is_renewed"] is (refresh_token is not None)
        assert login["ends_at"] == (None if refresh_token else iso(NOON_MS + DAY_MS))
        assert "canary" not in json.dumps(login)


def test_a_login_that_an_earlier_version_noted_tells_no_times(stack: Store) -> None:
    """Until the tokens are renewed. It stored none without a refresh token."""
    assert stack
    noted = "SET newest = :newest, is_dead = :is_dead"
    assert Table(aws_client("dynamodb"), "contacts").update("tokens", noted, newest="v1", is_dead=1)
    (login,) = login_of(opening.stack_status("stack"))
    assert (login["renewed_at"], login["ends_at"]) == (None, None)
    assert (login["is_renewed"], login["is_dead"]) == (True, True)


def login_of(status: Status) -> list[dict[str, Any]]:
    document: Any = to_json([status], status.at_ms)
    return [system["login"] for system in document["systems"]]
