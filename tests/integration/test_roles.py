"""Every permission of each function is needed: without any one of them its work is seen to fail.

The real functions run in the local AWS under their deployed roles; one action at a time is taken out
of a role's policy, as it stands in the template.
"""

import copy
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from contact_activity.aws.contacts import DynamoContacts
from contact_activity.aws.reports import DynamoReports
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.shifts import Window
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.event_reader import subscribe
from contact_activity.local_cloud.template import REPOSITORY
from contact_activity.simulated import Kind, Server, SimulatedAccount, Switches
from contact_activity.state.codec import item_to_body
from tests.support.deployed import deployed as deployed_stack
from tests.support.deployed import record, set_polling
from tests.support.families import whole_template
from tests.support.items import of_contact, of_report
from tests.support.running import CAMPAIGN, NOW, served

pytestmark = pytest.mark.cloud

Json = dict[str, Any]
NOW_MS = int(NOW.timestamp() * 1_000)
REPORT = ReportId(CAMPAIGN, ActivityType.FORWARDED)
LONG_AGO_MS = NOW_MS - 30 * DAY_MS
QUICK, LONG = "4711", "4712"
# What AWS itself does in a function's name, so that no function fails for it; the emulator asks no
# permission for it.
BY_AWS = {"Take", "Failures", "Logs", "Traces", "Key"}
# The emulator takes a batch for an action of its own, which AWS does not know: both go at once.
TOGETHER = {"sqs:SendMessage": {"sqs:SendMessage", "sqs:SendMessageBatch"}}
# Little enough for a walk of many pages to go on in a next message; the reserve is 45 s.
WORKER_TIMEOUT_S = 47


def statements(function: str) -> list[Json]:
    role = whole_template()["Resources"][f"{function}Role"]["Properties"]
    found: list[Json] = role["Policies"][0]["PolicyDocument"]["Statement"]
    return [statement for statement in found if statement.get("Sid", "Key") not in BY_AWS]


def actions(statement: Json) -> list[str]:
    named = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    return [action for action in named if isinstance(action, str)]


PERMISSIONS = [
    (function, statement["Sid"], action)
    for function in ("Dispatcher", "Worker", "Subscriber")
    for statement in statements(function)
    for action in actions(statement)
]


@dataclass
class Deployed:
    """The stack, and its functions one invocation at a time."""

    emulator: Emulator
    stack: Stack
    server: Server
    reader_url: str

    def __post_init__(self) -> None:
        self.sqs, self.iam = self.emulator.client("sqs"), self.emulator.client("iam")
        self.functions = self.emulator.client("lambda")
        self.dynamodb, self.table = self.emulator.client("dynamodb"), self.stack.outputs["TableName"]
        self.contacts = DynamoContacts(self.dynamodb, self.table)
        self.queue_url = self.stack.outputs["ContactQueueUrl"]

    def role_of(self, function: str) -> str:
        found = self.functions.get_function(FunctionName=self.stack.outputs[f"{function}Name"])
        return str(found["Configuration"]["Role"]).rsplit("/", 1)[-1]

    def grant(self, function: str, policy: Json) -> None:
        name, role = function.lower(), self.role_of(function)
        self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

    def policy_of(self, function: str) -> Json:
        found = self.iam.get_role_policy(RoleName=self.role_of(function), PolicyName=function.lower())
        document = found["PolicyDocument"]
        return dict(document if isinstance(document, dict) else json.loads(document))

    def invoke(self, function: str, payload: Json) -> tuple[Json | None, bool]:
        """By a new process, which knows no secret yet: its answer, and whether it failed."""
        name = self.stack.outputs[f"{function}Name"]
        environment = self.functions.get_function(FunctionName=name)["Configuration"]["Environment"]
        environment["Variables"]["IS_NEW"] = uuid.uuid4().hex
        self.functions.update_function_configuration(FunctionName=name, Environment=environment)
        answer = self.functions.invoke(FunctionName=name, Payload=json.dumps(payload))
        return json.loads(answer["Payload"].read()), "FunctionError" in answer

    def received(self, url: str, wait_s: int = 0) -> list[Json]:
        found: list[Json] = []
        while batch := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s, VisibilityTimeout=600
        ).get("Messages"):
            found += batch
        return found

    def start_anew(self) -> None:
        for table, key in ((self.table, "pk"), (self.stack.outputs["DeliveriesTableName"], "id")):
            for item in self.dynamodb.scan(TableName=table)["Items"]:
                self.dynamodb.delete_item(TableName=table, Key={key: item[key]})
        for url in (self.queue_url, self.reader_url):
            self.sqs.purge_queue(QueueUrl=url)


def dispatcher_works(deployed: Deployed) -> bool:
    """It lists both contacts, one of them erased long ago, hands them out, and knows how many are out."""
    deployed.contacts.erase(QUICK, LONG_AGO_MS)
    answer, is_failed = deployed.invoke("Dispatcher", {})
    handed_out = {
        json.loads(message["Body"])["contact_id"] for message in deployed.received(deployed.queue_url)
    }
    return not is_failed and bool(answer) and handed_out == {QUICK, LONG}


def worker_works(deployed: Deployed) -> bool:
    """A report is read, one contact is synced, a long one goes on in a next message.

    What is no message comes back at once.
    """
    deployed.contacts.register([ListedContact(QUICK, ""), ListedContact(LONG, "")], NOW_MS)
    reports = DynamoReports(deployed.dynamodb, deployed.table, threads=1)
    reports.save(CampaignReport(REPORT, NOW_MS, NOW_MS))
    reports.save_trust(Trust({REPORT.type: TypeTrust(Mode.PUBLISH, NOW_MS)}))
    items = [of_report(str(REPORT), NOW_MS), *(of_contact(id_, NOW_MS) for id_ in (QUICK, LONG))]
    shift = Window(NOW_MS, NOW_MS + DAY_MS)
    bodies = ["{}", *(item_to_body(replace(item, window=shift)) for item in items)]
    for body in bodies:
        deployed.sqs.send_message(QueueUrl=deployed.queue_url, MessageBody=body)
    taken = deployed.received(deployed.queue_url)
    answer, is_failed = deployed.invoke(
        "Worker", {"Records": [record(m["MessageId"], m["ReceiptHandle"], m["Body"]) for m in taken]}
    )
    back = sorted(message["Body"] for message in deployed.received(deployed.queue_url))
    report = reports.get(REPORT)
    quick, long = deployed.contacts.get(QUICK), deployed.contacts.get(LONG)
    published = {json.loads(m["Body"])["detail"]["subject"] for m in deployed.received(deployed.reader_url)}
    no_message = [message["MessageId"] for message in taken if message["Body"] == "{}"]
    return (
        not is_failed
        and answer == {"batchItemFailures": [{"itemIdentifier": id_} for id_ in no_message]}
        and back == sorted([bodies[0], bodies[-1]])
        and bool(report and report.read_ms)
        and bool(quick and quick.synced_ms)
        and bool(long and long.progress)
        and published == {QUICK, LONG}
    )


def subscriber_works(deployed: Deployed) -> bool:
    """An event is kept, the same again is not, and one that cannot be handled leaves no delivery."""
    event = json.loads((REPOSITORY / "events" / "triggers" / "subscriber.json").read_text(encoding="utf-8"))
    event["detail"]["id"] = uuid.uuid4().hex
    strange = copy.deepcopy(event)
    strange["detail"]["id"] = uuid.uuid4().hex
    del strange["detail"]["data"]
    failed = [deployed.invoke("Subscriber", given)[1] for given in (event, event, strange)]
    deliveries = deployed.dynamodb.scan(TableName=deployed.stack.outputs["DeliveriesTableName"])["Items"]
    return failed == [False, False, True] and [item["status"]["S"] for item in deliveries] == ["COMPLETED"]


WORKS: dict[str, Callable[[Deployed], bool]] = {
    "Dispatcher": dispatcher_works,
    "Worker": worker_works,
    "Subscriber": subscriber_works,
}


def small_account() -> SimulatedAccount:
    account = SimulatedAccount()
    for contact_id, rows in ((QUICK, 3), (LONG, 200)):
        account.add_contact(f"c{contact_id}@example.org", at=NOW - timedelta(days=9), contact_id=contact_id)
        for hours in range(rows):
            account.add_row(Kind.OPEN, contact_id, CAMPAIGN, at=NOW - timedelta(hours=hours))
    account.add_campaign("news", sent_at=NOW - timedelta(days=9), campaign_id=CAMPAIGN)
    account.add_row(Kind.FORWARD, QUICK, CAMPAIGN, at=NOW - timedelta(hours=1))
    return account


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Nothing runs by itself: neither queue nor rule leads to a function, the first tick is far off."""
    with (
        served(small_account(), Switches(max_page_rows=4)) as server,
        Emulator(tmp_path_factory.mktemp("aws")) as emulator,
    ):
        stack = deployed_stack(emulator, server.base_url, CallsPerSecond="10", DeploySubscriber="true")
        functions = emulator.client("lambda")
        set_polling(emulator, is_enabled=False)
        functions.update_function_configuration(
            FunctionName=stack.outputs["WorkerName"], Timeout=WORKER_TIMEOUT_S
        )
        events, bus = emulator.client("events"), stack.outputs["EventBusName"]
        for rule in events.list_rules(EventBusName=bus)["Rules"]:
            events.disable_rule(Name=rule["Name"], EventBusName=bus)
        reader_url = subscribe(emulator, bus)
        yield Deployed(emulator, stack, server, reader_url)


@pytest.mark.parametrize("function", WORKS)
def test_each_function_works_with_its_role(deployed: Deployed, function: str) -> None:
    """With all that the template grants."""
    deployed.start_anew()
    assert WORKS[function](deployed)


@pytest.mark.parametrize(("function", "sid", "action"), PERMISSIONS)
def test_no_permission_can_be_done_without(deployed: Deployed, function: str, sid: str, action: str) -> None:
    """Without it, what the function is there for is not done."""
    whole = deployed.policy_of(function)
    less = copy.deepcopy(whole)
    for statement in less["Statement"]:
        if statement["Sid"] == sid:
            statement["Action"] = [a for a in actions(statement) if a not in TOGETHER.get(action, {action})]
    less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
    deployed.start_anew()
    deployed.grant(function, less)
    try:
        assert not WORKS[function](deployed)
    finally:
        deployed.grant(function, whole)


@pytest.mark.parametrize("function", WORKS)
def test_each_function_works_again_with_its_whole_role(deployed: Deployed, function: str) -> None:
    """So it was the permission that made the difference, and nothing that broke on the way."""
    deployed.start_anew()
    assert WORKS[function](deployed)
