"""`pause`, `forget`, `resync` and `dead-letters` as processes, on a state folder and on a stack."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import DAY_MS, iso
from contact_activity.domain.trust import SampledRow, Trust, TypeTrust
from contact_activity.domain.watermark import Watermark
from contact_activity.domain.work import WorkItem, WorkKind
from contact_activity.local_cloud.deploy import Stack, deploy
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.template import TEMPLATE
from contact_activity.operations.system import NO_CALLS
from contact_activity.ports import Contacts, PauseBoard, Reports, Store
from contact_activity.run.events_file import opened_events
from contact_activity.run.state_folder import ACCOUNT_DATABASE, locked
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from contact_activity.state.codec import item_to_body
from tests.support.command_line import COMMAND, run_command
from tests.support.items import of_campaign, of_contact
from tests.support.running import NOW, Operator, account_of, served

NOW_MS = int(NOW.timestamp() * 1_000)
LAST_ERROR = "the API failed 21 times, at last with 503: the API answers with server errors"


@dataclass
class Place:
    """A system that the commands act on: its arguments, and access to what it stores."""

    where: list[str]
    environment: dict[str, str]
    store: Store

    @classmethod
    def of_folder(cls, folder: Path, database: Database) -> "Place":
        return cls(["--state", str(folder)], {}, sqlite_store(database, NO_CALLS, SystemClock()))

    @property
    def contacts(self) -> Contacts:
        return self.store.contacts

    @property
    def pauses(self) -> PauseBoard:
        return self.store.pauses

    @property
    def reports(self) -> Reports:
        return self.store.reports

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], **self.environment}
        asked = ["--yes"] if arguments[0] == "forget" else []
        return run_command(*arguments, *self.where, *asked, environment=environment)

    def said(self, *arguments: str) -> str:
        ended = self.ask(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def register(self, *ids: str, **changes: object) -> None:
        self.contacts.register([ListedContact(id_, "") for id_ in ids], NOW_MS)
        for id_ in ids:
            contact = self.contacts.get(id_)
            assert contact
            assert self.contacts.save(replace(contact, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Cloud:
    emulator: Emulator
    stack: Stack

    def place(self) -> Place:
        dynamodb, table = self.emulator.client("dynamodb"), self.stack.outputs["TableName"]
        environment = {
            "AWS_ENDPOINT_URL": self.emulator.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
        }
        store = dynamo_store(dynamodb, table, NO_CALLS, SystemClock())
        return Place(["--stack", "contact-activity"], environment, store)

    def clear(self) -> None:
        """Delete all that is stored."""
        dynamodb, table = self.emulator.client("dynamodb"), self.stack.outputs["TableName"]
        for item in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Emulator(tmp_path_factory.mktemp("cloud")) as emulator:
        parameters = {"ConstantContactBaseUrl": "http://127.0.0.1:9"}
        yield Cloud(
            emulator, deploy(emulator, TEMPLATE, stack_name="contact-activity", parameters=parameters)
        )


@pytest.fixture(params=["folder", pytest.param("stack", marks=pytest.mark.cloud)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A system with nothing stored."""
    if request.param == "stack":
        yield request.getfixturevalue("cloud").place()
        request.getfixturevalue("cloud").clear()
        return
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        yield Place.of_folder(tmp_path, database)


def is_paused(place: Place) -> bool:
    return any(pause.reason is PauseReason.OPERATOR for pause in place.pauses.get().active(NOW_MS))


def test_an_operator_pauses_and_resumes(place: Place) -> None:
    """The pause holds until it is lifted. A dry run changes nothing, and a second pause neither."""
    place.said("pause", "--dry-run")
    assert not is_paused(place)
    assert "until 2999-01-01 00:00 UTC" in place.said("pause", "--until", "2999-01-01")
    assert f"`contact-activity resume {' '.join(place.where)}`" in place.said("pause")
    assert is_paused(place)
    place.said("resume", "--dry-run")
    assert is_paused(place)
    assert "resumed" in place.said("resume")
    assert not is_paused(place)
    assert "was not paused" in place.said("resume")


def test_a_contact_is_forgotten(place: Place) -> None:
    """Nothing of the contact is left, and the others stay. The second time there is nothing to erase."""
    place.register("4711", "4712", synced_ms=NOW_MS)
    place.said("forget", "4711", "--dry-run")
    assert place.contacts.get("4711")
    assert "contact 4711: erased" in place.said("forget", "4711")
    assert [outline.id for outline in place.contacts.outlines()] == ["4712"]
    assert "contact 4711: nothing is stored" in place.said("forget", "4711")


def test_a_forgotten_contact_stays_out_until_it_is_changed(place: Place) -> None:
    """Also one that was not known. A dry run does not keep it out."""
    place.said("forget", "4711", "--dry-run")
    place.register("4711")
    for contact_id in ("4711", "4712"):
        place.said("forget", contact_id)
        listed = [ListedContact(contact_id, iso(NOW_MS - DAY_MS))]
        assert place.contacts.register(listed, NOW_MS, is_full=True) == 0
        assert place.contacts.register([ListedContact(contact_id, iso(NOW_MS + DAY_MS))], NOW_MS) == 1


def sample(place: Place, *contact_ids: str) -> Trust:
    """Hold rows of contacts to be compared, of two types, and have the contacts read soon."""
    rows = {id_: (SampledRow("1" * 32, 1, "2" * 32),) for id_ in contact_ids}
    trust = Trust({type_: TypeTrust(pending=rows) for type_ in (ActivityType.SENT, ActivityType.OPENED)})
    assert place.reports.save_trust(trust)
    place.reports.add_urgent(contact_ids)
    return place.reports.trust()


def test_what_is_held_of_a_contact_to_be_compared_is_forgotten(place: Place) -> None:
    """Of every type, whether or not the contact is known. A dry run erases nothing."""
    held = sample(place, "4711", "4712")
    place.said("forget", "4711", "--dry-run")
    assert place.reports.trust() == held
    place.said("forget", "4711")
    left = place.reports.trust()
    assert [list(of.pending) for of in left.types.values()] == [["4712"]] * 2
    place.said("forget", "4711")
    assert place.reports.trust() == left
    assert place.reports.take_urgent() == ("4712",)


def test_a_resync_is_stored_with_the_contact(place: Place) -> None:
    """The contact is due now. The earliest date counts, and gone contacts are left out."""
    later = NOW_MS + 90 * DAY_MS
    place.register("1", "2", due_ms=later)
    place.register("gone", due_ms=later, times_gone=1)
    assert "2 contacts" in place.said("resync", "--all", "--since", "2026-02-01", "--dry-run")
    assert not [o for o in place.contacts.outlines() if o.due_ms != later]
    place.said("resync", "1", "--since", "2026-01-01")
    assert "2 contacts" in place.said("resync", "--all", "--since", "2026-02-01")
    one, two, gone = (place.contacts.get(id_) for id_ in ("1", "2", "gone"))
    assert one
    assert two
    assert gone
    assert (one.watermark.resync_ms, two.watermark.resync_ms) == (1_767_225_600_000, 1_769_904_000_000)
    assert max(one.due_ms, two.due_ms) < later
    assert (gone.watermark.resync_ms, gone.due_ms) == (None, later)


def test_a_resync_of_an_unknown_contact_is_an_error(place: Place) -> None:
    """A mistyped id is an error in a dry run too."""
    for more in (["--dry-run"], []):
        ended = place.ask("resync", "4711", "--since", "2026-01-01", *more)
        assert (ended.returncode, "contact 4711 is not known here" in ended.stderr) == (1, True)


def test_what_failed_is_listed_and_tried_again(place: Place) -> None:
    """Failing contacts are due now and no longer failing. The others stay as they are."""
    later = NOW_MS + 90 * DAY_MS
    place.register("failing", due_ms=later, failures=3, last_error=LAST_ERROR, failed_ms=NOW_MS)
    place.register("fine", due_ms=later)
    for arguments in (["dead-letters"], ["dead-letters", "--redrive", "--dry-run"]):
        said = place.said(*arguments)
        assert "1 contact failing, 0 dead letters" in said
        (line,) = [line for line in said.splitlines() if "3 failed" in line]
        assert line.split(maxsplit=6)[1] == "failing"
        assert iso(NOW_MS)[11:16] in line
        assert line.rstrip().endswith(LAST_ERROR)
    assert "1 contact due now" in place.said("dead-letters", "--redrive")
    failing, fine = place.contacts.get("failing"), place.contacts.get("fine")
    assert failing
    assert fine
    assert (failing.failures, failing.due_ms < later, fine.due_ms) == (0, True, later)
    assert "0 contacts due now" in place.said("dead-letters", "--redrive")


def watch(place: Place, *campaign_ids: str, **changes: Any) -> None:
    for campaign_id in campaign_ids:
        report = CampaignReport(ReportId(campaign_id, ActivityType.OPENED), NOW_MS, NOW_MS + DAY_MS)
        assert place.reports.save(replace(report, **changes))


FAILED = {"failures": 3, "refusals": 2, "last_error": "the API failed 9 times", "failed_ms": NOW_MS}


def test_reports_that_failed_are_listed_and_tried_again(place: Place) -> None:
    """In a line each, and as JSON. Redriven, they are due now and have not failed; others stay."""
    watch(place, "111", **FAILED)
    watch(place, "222")
    for arguments in (["dead-letters"], ["dead-letters", "--redrive", "--dry-run"]):
        lines = place.said(*arguments).splitlines()
        assert lines[-1] == "report 111-opens: the API failed 9 times"
    for arguments in (["--json"], ["--json", "--dry-run"]):
        (system,) = json.loads(place.said("dead-letters", *arguments))["systems"]
        assert (system["contacts"], system["letters"]) == ([], [])
        assert system["reports"] == [
            {
                "id": "111-opens",
                "failures": 3,
                "due": iso(NOW_MS + DAY_MS),
                "failed_at": iso(NOW_MS),
                "error": "the API failed 9 times",
            }
        ]
    assert "1 campaign report due now" in place.said("dead-letters", "--redrive")
    failing, fine = (place.reports.get(ReportId(id_, ActivityType.OPENED)) for id_ in ("111", "222"))
    assert failing
    assert fine
    assert failing == replace(fine, id=failing.id, version=2, due_ms=failing.due_ms)
    assert (failing.due_ms or 0) < NOW_MS + DAY_MS == fine.due_ms
    assert "report" not in place.said("dead-letters")


def test_a_report_that_is_not_watched_stays_so() -> None:
    """And one that is due since long stays due since then."""
    report = CampaignReport(ReportId("111", ActivityType.OPENED), 0, None, failures=1)
    assert report.retried(NOW_MS) == replace(report, failures=0)
    assert replace(report, due_ms=5).retried(NOW_MS).due_ms == 5


@pytest.mark.cloud
def test_dead_letters_of_reports_are_redriven_and_deleted(cloud: Cloud) -> None:
    """The report of a letter is due now, whether or not it failed by its own word. An unknown one is none."""
    place, sqs = cloud.place(), cloud.emulator.client("sqs")
    url = cloud.stack.outputs["ContactDeadLettersUrl"]
    watch(place, "111", **FAILED)
    watch(place, "222")
    items = [WorkItem(WorkKind.REPORT, f"{id_}-opens", NOW_MS) for id_ in ("111", "222", "333")]
    for item in items:
        sqs.send_message(QueueUrl=url, MessageBody=item_to_body(item))
    place.store.campaigns.put_listed(NOW_MS)
    (system,) = json.loads(place.said("dead-letters", "--json"))["systems"]
    assert sorted(letter["item"] for letter in system["letters"]) == sorted(map(str, items))
    said = place.said("dead-letters", "--redrive")
    assert "0 contacts due now, 3 letters deleted" in said
    assert "2 campaign reports due now" in said
    due = {str(report.id): (report.due_ms or 0) < NOW_MS + DAY_MS for report in place.reports.outlines()}
    assert due == {"111-opens": True, "222-opens": True}
    # Nothing is listed anew for them.
    assert place.store.campaigns.listed_ms() == NOW_MS
    cloud.clear()


@pytest.mark.cloud
def test_dead_letters_of_a_stack_are_redriven_and_deleted(cloud: Cloud) -> None:
    """A list leaves all letters in the queue. A redrive makes contacts due and leaves foreign messages."""
    place, sqs = cloud.place(), cloud.emulator.client("sqs")
    url = cloud.stack.outputs["ContactDeadLettersUrl"]
    later = NOW_MS + 90 * DAY_MS
    ids = [f"dead-{number}" for number in range(12)]
    place.register(*ids, due_ms=later, last_error=LAST_ERROR, failed_ms=NOW_MS)
    messages = [of_contact(id_, NOW_MS) for id_ in [*ids, "unknown"]]
    for body in [*map(item_to_body, messages), item_to_body(of_campaign("77", NOW_MS)), "{}"]:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    for _ in range(2):
        said = place.said("dead-letters")
        assert "0 contacts failing, 15 dead letters" in said
        assert len(re.findall(rf"{iso(NOW_MS)[11:16]} +{LAST_ERROR}", said)) == len(ids)
    assert "1 dead letter deleted" in place.said("forget", "dead-11")
    said = place.said("dead-letters", "--redrive")
    assert "11 contacts due now, 13 letters deleted" in said
    assert "1 letter is no message of ours and stays" in said
    assert all(outline.due_ms < later for outline in place.contacts.outlines())
    assert "0 contacts failing, 1 dead letter" in place.said("dead-letters")
    sqs.purge_queue(QueueUrl=url)
    cloud.clear()


def test_a_run_publishes_a_resync_and_events_can_be_forgotten(tmp_path: Path) -> None:
    """The same ids are published again, as backfill. After `forget` no line names the contact."""
    with served(account_of(6)) as server:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
        first = operator.events()
        place = folder_place(operator)
        said = place.said("resync", "--all", "--since", "2000-01-01")
        assert said.splitlines()[-1] == "the next run, or tick of a run, publishes them"
        assert operator.run().returncode == 0
    again = operator.events()[len(first) :]
    assert sorted(e["detail"]["id"] for e in again) == sorted(e["detail"]["id"] for e in first)
    assert all(event["detail"]["backfill"] for event in again)
    contact_id = first[0]["detail"]["subject"]
    own = sum(event["detail"]["subject"] == contact_id for event in operator.events())
    forget = ["forget", contact_id, "--events", str(operator.events_file)]
    assert f"{own} events would be erased" in place.said(*forget, "--dry-run")
    assert len(operator.events()) == 2 * len(first)
    assert f"{own} events erased" in place.said(*forget)
    assert {event["detail"]["subject"] for event in operator.events()}.isdisjoint({contact_id})
    assert len(operator.events()) == 2 * len(first) - own


def at(folder: Path) -> Place:
    """Return the state folder as a place for the commands, without opening its database."""
    return Place.of_folder(folder, Database(":memory:"))


EVENT_OF_4711 = b'{"detail":{"data":{"contact":{"id":"4711","email_address":"ada@example.org"}}}}\n'
EVENT_OF_4712 = EVENT_OF_4711.replace(b"4711", b"4712")


def test_erasing_events_keeps_the_link_and_the_mode_of_the_file(tmp_path: Path) -> None:
    """Also with a last line that a kill cut, and with the remains of an erasure that was killed."""
    Database(tmp_path / ACCOUNT_DATABASE).close()
    kept, link = tmp_path / "kept.jsonl", tmp_path / "events.jsonl"
    kept.write_bytes(EVENT_OF_4711 + EVENT_OF_4712 + EVENT_OF_4711[:-10])
    kept.chmod(0o640)
    (tmp_path / "kept.jsonl.forgetting").write_bytes(EVENT_OF_4711)
    link.symlink_to(kept)
    place = at(tmp_path)
    assert "1 event would be erased" in place.said("forget", "4711", "--dry-run")
    assert kept.read_bytes().startswith(EVENT_OF_4711)
    assert "1 event erased" in place.said("forget", "4711")
    assert (kept.read_bytes(), link.is_symlink()) == (EVENT_OF_4712, True)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.glob("kept*")) == ["kept.jsonl"]


def test_an_unreadable_line_is_erased_only_if_it_names_the_contact(tmp_path: Path) -> None:
    """It is no event to any reader, but it may contain an address of the person."""
    Database(tmp_path / ACCOUNT_DATABASE).close()
    glued = EVENT_OF_4711[:40] + EVENT_OF_4712
    others = [
        b"\n",
        b"\0\0\n",
        b"no JSON of 47111 and a-4711\n",
        EVENT_OF_4712[:-20] + b"\n",
        EVENT_OF_4712,
        b"[]\n",
    ]
    of_4711 = [EVENT_OF_4711, EVENT_OF_4711[:-20] + b"\n", EVENT_OF_4711[:60] + EVENT_OF_4712, glued]
    for name in ("events.jsonl", "cloud-events.jsonl"):
        (tmp_path / name).write_bytes(b"".join([*others, *of_4711, *others]))
    said = at(tmp_path).said("forget", "4711")
    for name in ("events.jsonl", "cloud-events.jsonl"):
        assert f"{name}: 1 event erased" in said
        left = (tmp_path / name).read_bytes()
        assert b'"4711"' not in left
        assert [line for line in left.splitlines(keepends=True) if line in others] == others * 2


def test_no_line_is_erased_while_a_run_of_another_folder_appends(tmp_path: Path) -> None:
    """What that run wrote to the replaced file would be lost."""
    Database(tmp_path / ACCOUNT_DATABASE).close()
    place = at(tmp_path)
    with opened_events(tmp_path / "events.jsonl") as sink:
        sink.write(EVENT_OF_4711)
        ended = place.ask("forget", "4711")
    assert (ended.returncode, "wait for it to end" in ended.stderr) == (1, True)
    assert (tmp_path / "events.jsonl").read_bytes() == EVENT_OF_4711


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It changes no file and creates none, except the two empty ones that SQLite needs to read."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        stored = Place.of_folder(tmp_path, database)
        stored.contacts.register([ListedContact("4711", "")], NOW_MS)
        sample(stored, "4711")
    (tmp_path / "events.jsonl").write_bytes(EVENT_OF_4711)

    def written() -> dict[str, bytes]:
        files = [path for path in tmp_path.iterdir() if not path.name.endswith(("-wal", "-shm"))]
        return {path.name: path.read_bytes() for path in files}

    before = written()
    place = at(tmp_path)
    for command in (["pause"], ["resume"], ["forget", "4711"], ["dead-letters", "--redrive"]):
        place.said(*command, "--dry-run")
    place.said("resync", "--all", "--since", "2026-01-01", "--dry-run")
    assert written() == before


def test_nothing_of_a_forgotten_contact_is_in_any_byte_of_the_folder(tmp_path: Path) -> None:
    """Free pages of the database and its log hold nothing of it either, even after many writes."""
    remembered = bytes(range(200)) * 10
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        place = Place.of_folder(tmp_path, database)
        place.register("canary-4711", "4712")
        sample(place, *(f"other-{number}" for number in range(50)), "canary-4711")
        for size in (2_000, 1_000, 500):
            contact = place.contacts.get("canary-4711")
            assert contact
            assert place.contacts.save(replace(contact, watermark=Watermark(remembered=remembered[:size])))
    place.said("forget", "canary-4711")
    for path in tmp_path.iterdir():
        assert b"canary-4711" not in path.read_bytes(), path.name
        assert remembered[100:200] not in path.read_bytes(), path.name


def test_a_pause_that_has_ended_by_itself_is_not_resumed(place: Place) -> None:
    """The command says that there was no pause."""
    place.pauses.pause(Pause(PauseReason.OPERATOR, NOW_MS - 1))
    assert "was not paused" in place.said("resume")


def test_only_the_owner_can_read_the_files_of_a_run(tmp_path: Path) -> None:
    """They hold personal data."""
    with served(account_of(2)) as server:
        operator = Operator.of(tmp_path, server)
        assert operator.run().returncode == 0
    written = [operator.state_dir, operator.events_file, *operator.state_dir.iterdir()]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in written} == {
        path.name: 0 for path in written
    }


def folder_place(operator: Operator) -> Place:
    return Place.of_folder(operator.state_dir, Database(operator.state_dir / ACCOUNT_DATABASE))


def test_a_paused_run_says_what_ends_the_pause(tmp_path: Path) -> None:
    """The run makes no call, loses nothing, and ends with status 1."""
    with served(account_of(2)) as server:
        operator = Operator.of(tmp_path, server)
        operator.run()
        calls = len(server.calls)
        folder_place(operator).said("pause")
        ended = operator.run("--all")
        assert ended.returncode == 1
        assert f"`contact-activity resume --state {operator.folder / 'state'}` ends it" in ended.stderr
        assert len(server.calls) == calls


def test_nothing_is_forgotten_while_a_run_writes(tmp_path: Path) -> None:
    """One line says what to wait for. A dry run says that it would be refused."""
    Database(tmp_path / ACCOUNT_DATABASE).close()
    with locked(tmp_path):
        dry = run_command("forget", "4711", "--dry-run", "--state", str(tmp_path))
        ended = run_command("forget", "4711", "--yes", "--state", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("contact-activity: another run uses")
    assert (dry.returncode, "stop the run first" in dry.stderr) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "status", "cause"),
    [
        (["forget", "../4711"], 2, "give a contact's id"),
        (["resync", "--since", "2026-01-01"], 2, "CONTACT_ID --email --all is required"),
        (["resync", "4711", "--since", "yesterday"], 2, "give a date"),
        (["pause", "--until", "2020-01-01"], 1, "is past"),
        (["resume"], 1, "holds no state"),
        (["forget", "4711", "--events", "none.jsonl"], 1, "is no file"),
        (["forget", "4711"], 2, "add --yes"),
        (["resync", "4711", "--since", "2999-01-01"], 1, "in the future"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, arguments: list[str], status: int, cause: str) -> None:
    """The line says what to give instead. Nothing is created."""
    ended = run_command(*arguments, "--state", str(tmp_path / "none"))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (status, "", 1)
    assert cause in ended.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("typed", "is_erased"), [("y", True), ("n", False), ("", False)])
def test_forget_asks_on_a_terminal_before_it_erases(tmp_path: Path, typed: str, *, is_erased: bool) -> None:
    """Whatever is no yes erases nothing."""
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        database.execute(
            "INSERT INTO contact (id, modified_date, registered_ms, due_ms) VALUES ('4711','',0,0)"
        )
    ours, theirs = os.openpty()
    os.write(ours, f"{typed}\n".encode())
    command = [str(COMMAND), "forget", "4711", "--state", str(tmp_path)]
    ended = subprocess.run(
        command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, check=True, text=True
    )
    asked = os.read(ours, 4_096).decode()
    for end in (ours, theirs):
        os.close(end)
    assert "of contact 4711, for good? [y/N]" in asked
    assert ("contact 4711: erased" in ended.stdout) is is_erased
    with closing(Database(tmp_path / ACCOUNT_DATABASE)) as database:
        assert database.rows("SELECT count(*) FROM contact")[0][0] == (not is_erased)
