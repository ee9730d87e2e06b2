"""`explain --stack`: each cause, on a deployed stack whose functions or whose operator brought it about."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.pace import Limits
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.template import STACK_NAME
from contact_activity.ports import Store
from contact_activity.simulated import Kind, Server, SimulatedAccount, error
from tests.support.command_line import run_command
from tests.support.deployed import SECRET, aws_settings, deployed, eventually, set_polling, tick
from tests.support.running import served

WELL, GONE, FAILING, FORGOTTEN, NOBODY = "4711", "4712", "4713", "4714", "4799"
CAMPAIGN = "1117000000001"
ADDRESS = "ada@example.org"
GONE_ANSWER = error(404, "http.status.not_found", "x")
REFUSED = error(406, "http.status.not_acceptable", "x")


@dataclass
class Place:
    """A stack of four contacts that has not ticked, and an operator's shell."""

    emulator: Emulator
    server: Server
    stack: Stack

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin", **aws_settings(self.emulator)}
        return run_command(*arguments, "--stack", STACK_NAME, environment=environment)

    def does(self, *arguments: str) -> None:
        ended = self.command(*arguments)
        assert ended.returncode == 0, ended.stderr

    def causes(self, *asked: str) -> list[str]:
        """Return the causes of what is asked for, the first of which is in the first line."""
        ended = self.command("explain", *asked)
        assert ended.returncode == 0, ended.stderr
        first, *more = ended.stdout.splitlines()
        what, _, text = first.partition(f" in {STACK_NAME}: ")
        assert what.split()[-1] in (*asked, WELL)
        return [text, *(line.removeprefix("  also: ") for line in more if line.startswith("  also: "))]

    def updated(self, **parameters: str) -> None:
        self.stack = deployed(self.emulator, self.server.base_url, SECRET, **parameters)

    @property
    def store(self) -> Store:
        client = self.emulator.client("dynamodb")
        return dynamo_store(client, self.stack.outputs["TableName"], Limits(100, 10_000), SystemClock())

    def failed_tick(self) -> str:
        """Have a tick of the schedule fail. Return what is kept of it: it is not tried again."""
        before = self._listed()
        self.server.script("/v2/contacts", REFUSED)
        functions, sqs = self.emulator.client("lambda"), self.emulator.client("sqs")
        name = self.stack.outputs["DispatcherName"]
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        url = self.stack.outputs["DispatchFailuresUrl"]
        (kept,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
        assert self._listed() == before + 1
        return str(kept["Body"])

    def _listed(self) -> int:
        return sum(call.path == "/v2/contacts" for call in self.server.calls)

    def has_read_all(self) -> bool:
        """Whether each contact was asked for, with whatever end."""
        outlines = list(self.store.contacts.outlines())
        return len(outlines) == 4 and all(of.synced_ms or of.failures or of.times_gone for of in outlines)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    now = datetime.now(UTC)
    account = SimulatedAccount()
    account.add_campaign("news", sent_at=now - timedelta(days=2), campaign_id=CAMPAIGN)
    for contact_id in (WELL, GONE, FAILING, FORGOTTEN):
        address = ADDRESS if contact_id == WELL else f"{contact_id}@example.org"
        account.add_contact(address, at=now - timedelta(days=9), contact_id=contact_id)
        account.add_row(Kind.OPEN, contact_id, CAMPAIGN, at=now - timedelta(days=1))
    with Emulator(tmp_path / "cloud") as emulator, served(account, now=lambda: datetime.now(UTC)) as server:
        yield Place(emulator, server, deployed(emulator, server.base_url))


@pytest.mark.cloud
def test_the_first_line_of_a_stack_is_what_its_functions_and_its_operator_did(place: Place) -> None:
    """One cause after the other comes about, and goes; a contact by its address, and one that nobody has."""
    server = place.server
    server.script(GONE, *[GONE_ANSWER] * 20)
    server.script(FAILING, *[REFUSED] * 20)
    set_polling(place.emulator, is_enabled=False)
    assert tick(place.emulator, place.stack)["new_contacts"] == 4
    assert place.causes(WELL)[0].startswith("it is handed out to a worker")
    set_polling(place.emulator, is_enabled=True)
    eventually(place.has_read_all)

    asked = len(server.calls)
    assert place.causes("--email", ADDRESS.upper())[0].startswith("nothing is wrong")
    assert [call.query["email"] for call in server.calls[asked:]] == [ADDRESS.upper(), ADDRESS]
    assert place.causes(GONE)[0].startswith("the API does not know it (404, ")
    assert place.causes(FAILING)[0].startswith("reading it failed ")
    place.does("forget", FORGOTTEN, "--yes")
    assert place.causes(FORGOTTEN)[0].startswith("it was erased by `forget`")
    for unknown in ([NOBODY], ["--campaign", NOBODY]):
        ended = place.command("explain", *unknown)
        assert (ended.returncode, f"{NOBODY} in the stack {STACK_NAME}" in ended.stderr) == (1, True)

    place.does("pause")
    assert place.causes(WELL)[0].startswith("an operator paused the system")
    paused = place.command("explain", "--email", ADDRESS)
    assert (paused.returncode, f"resume --stack {STACK_NAME}" in paused.stderr) == (1, True)
    place.does("resume")

    assert "406" in place.failed_tick()
    assert place.causes(WELL)[0].startswith("the last tick failed ")

    server.revoke_token()
    assert tick(place.emulator, place.stack)["paused_by"] == "credential"
    for asked_for in ([WELL], ["--campaign", CAMPAIGN]):
        assert place.causes(*asked_for)[0].startswith("the API refuses the credential")
    server.restore_token()
    # The probe of a tick ends the pause.
    assert tick(place.emulator, place.stack)["paused_by"] is None
    assert place.causes("--campaign", CAMPAIGN)[-1].startswith("reports of ")

    place.does("pause")
    place.does("resync", WELL, "--since", "2026-01-31")
    place.does("resume")
    resync, turn, *_ = place.causes(WELL)
    assert resync.startswith("a resync (asked for today ")
    assert "waits its turn" in turn

    place.updated(Reports="sends,opens", StartDate="2026-01-01", CampaignReports="off", CallsPerDay="1")
    used_up, *others, begins = place.causes(WELL)
    assert "of 1 call of the day are used" in used_up
    assert [text for text in others if text.startswith("REPORTS leaves out clicks")]
    assert begins.startswith("START_DATE leaves out all that happened before 2026-01-01")
    assert place.causes("--campaign", CAMPAIGN)[1].startswith("CAMPAIGN_REPORTS is off")
