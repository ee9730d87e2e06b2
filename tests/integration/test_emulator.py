"""The local AWS: how it starts and stops, and the real template in it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contact_activity.local_cloud.deploy import Stack, deploy
from contact_activity.local_cloud.emulator import Emulator, EmulatorError
from contact_activity.local_cloud.template import REPOSITORY, load_template
from contact_activity.run.memory_queue import MAX_RECEIVES

STACK_NAME = "contact-activity"
WITHIN_S = 30.0

# Stands in for the functions: tells its environment, and writes each message of the queue as an item.
PROBE = """
import os
import boto3
import contact_activity.domain.schedule, requests

def handler(event, context):
    table = boto3.client("dynamodb")
    for record in event.get("Records", ()):
        table.update_item(TableName=os.environ["TABLE_NAME"], Key={"pk": {"S": record["body"]}})
    if "Records" in event:
        return {"batchItemFailures": []}
    if event.get("fail"):
        raise RuntimeError("asked to fail")
    return sorted(os.environ)
"""
# Holds a lock as long as it lives, and says so.
SLEEPER = """
import fcntl, time

def handler(event, context):
    held = open(event["lock"], "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    held.write("held")
    held.flush()
    time.sleep(600)
"""
PARENT = """
import json, sys, time
from pathlib import Path
from contact_activity.local_cloud.emulator import Emulator
sys.path.append(sys.argv[3])
from test_emulator import run_sleeper
emulator = Emulator(Path(sys.argv[1]))
emulator.start()
run_sleeper(emulator, Path(sys.argv[2]))
print(emulator.endpoint_url, flush=True)
time.sleep(600)
"""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds. Fails if that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def zipped(source: str) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


def run_sleeper(emulator: Emulator, lock: Path) -> None:
    """Start a function that runs for ten minutes, and return once it holds the lock."""
    trust = {
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda"}}]
    }
    role = emulator.client("iam").create_role(RoleName="sleeper", AssumeRolePolicyDocument=json.dumps(trust))
    functions = emulator.client("lambda")
    functions.create_function(
        FunctionName="sleeper",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Timeout=600,
        Code={"ZipFile": zipped(SLEEPER)},
    )
    payload = json.dumps({"lock": str(lock)})
    functions.invoke(FunctionName="sleeper", InvocationType="Event", Payload=payload)
    eventually(lambda: lock.exists() and lock.read_text(encoding="utf-8") == "held")


def is_locked(lock: Path) -> bool:
    """Whether the lock is held. Another process checks, since a holder is never refused its own lock."""
    script = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    ended = subprocess.run([sys.executable, "-c", script, lock], capture_output=True, check=False)
    return ended.returncode != 0


def answers(endpoint_url: str) -> bool:
    host, port = endpoint_url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def queue_names(emulator: Emulator) -> list[str]:
    urls = emulator.client("sqs").list_queues().get("QueueUrls", [])
    return [url.rsplit("/", 1)[1] for url in urls]


# --------------------------------------------------------------------------------------- its life


def test_a_clean_stop_keeps_the_state(tmp_path: Path) -> None:
    """After the next start messages and items are there again, messages in flight too."""
    with Emulator(tmp_path) as emulator:
        assert not emulator.is_restored
        sqs, dynamodb = emulator.client("sqs"), emulator.client("dynamodb")
        url = sqs.create_queue(QueueName="kept", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="hint")
        sqs.receive_message(QueueUrl=url)
        dynamodb.create_table(
            TableName="kept",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        dynamodb.put_item(TableName="kept", Item={"pk": {"S": "4711"}, "mark": {"B": b"\x00\xff"}})
    with Emulator(tmp_path) as emulator:
        assert emulator.is_restored
        sqs, dynamodb = emulator.client("sqs"), emulator.client("dynamodb")
        url = sqs.get_queue_url(QueueName="kept")["QueueUrl"]
        received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
        assert [message["Body"] for message in received] == ["hint"]
        item = dynamodb.get_item(TableName="kept", Key={"pk": {"S": "4711"}})["Item"]
        assert item["mark"] == {"B": b"\x00\xff"}


def test_a_kill_loses_the_state(tmp_path: Path) -> None:
    """After a kill the next start begins without state, although an older state was saved."""
    with Emulator(tmp_path) as emulator:
        emulator.client("sqs").create_queue(QueueName="old")
    crashed = Emulator(tmp_path)
    crashed.start()
    assert queue_names(crashed) == ["old"]
    assert crashed._process
    os.kill(crashed._process.pid, signal.SIGKILL)
    crashed.stop()
    with Emulator(tmp_path) as emulator:
        assert not emulator.is_restored
        assert queue_names(emulator) == []


def test_a_state_that_was_saved_in_part_is_not_used(tmp_path: Path) -> None:
    """The stop was not clean if one service could not be saved."""
    with Emulator(tmp_path) as emulator:
        emulator.client("sqs").create_queue(QueueName="lost")
        (tmp_path / "services" / "sqs.json").mkdir()
    assert not Emulator(tmp_path)._closed_cleanly.exists()


def test_stop_does_not_wait_for_functions(tmp_path: Path) -> None:
    """A function that still runs ends with the emulator, and the state is saved."""
    lock = tmp_path / "lock"
    with Emulator(tmp_path / "aws") as emulator:
        run_sleeper(emulator, lock)
    assert not is_locked(lock)
    assert not answers(emulator.endpoint_url)
    assert emulator._closed_cleanly.exists()


def test_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    """When this process is killed, the emulator and its functions end too."""
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", PARENT, *map(str, (tmp_path / "aws", lock, Path(__file__).parent))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        endpoint_url = parent.stdout.readline().strip()
        assert answers(endpoint_url)
        assert is_locked(lock)
        parent.kill()
    eventually(lambda: not answers(endpoint_url))
    eventually(lambda: not is_locked(lock))


def test_a_start_without_the_virtual_environment_says_what_to_run(tmp_path: Path) -> None:
    """The error names the command that creates it."""
    with pytest.raises(EmulatorError, match="make setup"):
        Emulator(tmp_path, python=tmp_path / "no" / "python").start()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The line names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorError, match=f"port {port} "):
            Emulator(tmp_path, port).start()


def test_a_failed_start_names_the_log(tmp_path: Path) -> None:
    """The error says where the reason is, and no process is left."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    emulator = Emulator(tmp_path / "aws", python=python)
    with pytest.raises(EmulatorError, match=r"emulator\.log"):
        emulator.start()
    assert emulator.log_path.read_text(encoding="utf-8") == "broken\n"


# ------------------------------------------------------------------------------ the real template


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real template and layer, with a probe in place of every function."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "template.yaml", folder)
    (folder / "shared").symlink_to(REPOSITORY / "shared")
    for function in ("dispatcher", "worker", "subscriber"):
        (folder / "functions" / function).mkdir(parents=True)
        (folder / "functions" / function / "app.py").write_text(PROBE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that is started by a user with AWS settings and credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "of-the-user")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_SESSION_TOKEN", "of-the-user")
        patch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
        patch.setenv("CONSTANT_CONTACT_API_KEY", "of-the-user")
        with Emulator(tmp_path_factory.mktemp("aws")) as started:
            yield started


@pytest.fixture(scope="module")
def stack(emulator: Emulator, project: Path) -> Stack:
    return deploy(emulator, project / "template.yaml", stack_name=STACK_NAME, parameters={"Account": "shop"})


def unconditional(part: dict[str, dict[str, Any]]) -> list[str]:
    """What is deployed with every parameter at its default."""
    return [name for name, declared in part.items() if declared.get("Condition") in (None, "HasDashboard")]


@pytest.mark.cloud
def test_every_resource_of_the_template_is_created(emulator: Emulator, stack: Stack) -> None:
    """The local AWS creates the whole template, and the stack has all its outputs."""
    template = load_template(REPOSITORY / "template.yaml")
    described = emulator.client("cloudformation").describe_stack_resources(StackName=STACK_NAME)
    created = {item["LogicalResourceId"]: item["ResourceStatus"] for item in described["StackResources"]}
    layers = [name for name in created if name.startswith("SharedLayer")]
    assert set(unconditional(template["Resources"])) - {"SharedLayer"} <= set(created)
    assert len(layers) == 1
    assert set(created.values()) == {"CREATE_COMPLETE"}
    assert set(stack.outputs) == set(unconditional(template["Outputs"]))
    assert all(stack.outputs.values())


@pytest.mark.cloud
def test_queue_table_and_schedule_are_as_the_template_says(emulator: Emulator, stack: Stack) -> None:
    """Timeouts, redrive, keys, concurrency and the schedule have the values of the template."""
    queue = emulator.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["ContactQueueUrl"], AttributeNames=["All"]
    )["Attributes"]
    assert (queue["VisibilityTimeout"], queue["MessageRetentionPeriod"]) == ("720", "86400")
    assert json.loads(queue["RedrivePolicy"])["maxReceiveCount"] == MAX_RECEIVES
    table = emulator.client("dynamodb").describe_table(TableName=stack.outputs["TableName"])["Table"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["due"]
    (source,) = emulator.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 4}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    scheduler = emulator.client("scheduler")
    (listed,) = scheduler.list_schedules()["Schedules"]
    schedule = scheduler.get_schedule(Name=listed["Name"])
    assert schedule["ScheduleExpression"] == "rate(5 minutes)"
    assert schedule["State"] == "ENABLED"


@pytest.mark.cloud
@pytest.mark.parametrize(
    ("parameter", "text"), [("ScheduleMinutes", "2.5"), ("ArchiveDays", "00"), ("SubscriberAccounts", "me")]
)
def test_a_parameter_that_fails_later_is_refused_before_anything_is_created(
    emulator: Emulator, parameter: str, text: str
) -> None:
    """The error says which values the parameter takes, and there is no stack."""
    with pytest.raises(EmulatorError, match=parameter):
        deploy(emulator, REPOSITORY / "template.yaml", stack_name="refused", parameters={parameter: text})
    with pytest.raises(ClientError):
        emulator.client("cloudformation").describe_stacks(StackName="refused")


@pytest.mark.cloud
def test_functions_see_the_settings_and_nothing_of_the_user(emulator: Emulator, stack: Stack) -> None:
    """The environment of a function is that of the template, without the user's credentials."""
    answer = emulator.client("lambda").invoke(FunctionName=stack.outputs["WorkerName"], Payload=b"{}")
    environment = json.loads(answer["Payload"].read())
    assert {"ACCOUNT", "EVENT_BUS_NAME", "SECRET_ID", "TICK_MINUTES"} <= set(environment)
    assert not {"AWS_PROFILE", "CONSTANT_CONTACT_API_KEY"} & set(environment)
    configured = emulator.client("lambda").get_function(FunctionName=stack.outputs["WorkerName"])
    assert configured["Configuration"]["Environment"]["Variables"]["ACCOUNT"] == "shop"


@pytest.mark.cloud
def test_failed_tick_is_kept_once(emulator: Emulator, stack: Stack) -> None:
    """An asynchronous tick that fails is not repeated. It is in the queue of failures."""
    sqs, url = emulator.client("sqs"), stack.outputs["DispatchFailuresUrl"]
    emulator.client("lambda").invoke(
        FunctionName=stack.outputs["DispatcherName"],
        InvocationType="Event",
        Payload=json.dumps({"fail": True}),
    )
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert json.loads(message["Body"])["responsePayload"]["errorMessage"] == "asked to fail"
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)


@pytest.mark.cloud
def test_a_second_deployment_changes_nothing(emulator: Emulator, stack: Stack, project: Path) -> None:
    """It takes the layer from the cache, and the stack stays as it is."""
    (cached,) = (project / ".build").iterdir()
    built = cached.stat().st_mtime_ns
    before = emulator.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    again = deploy(emulator, project / "template.yaml", stack_name=STACK_NAME, parameters={"Account": "shop"})
    assert again == stack
    assert emulator.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"] == before
    assert [path.stat().st_mtime_ns for path in (project / ".build").iterdir()] == [built]


@pytest.mark.cloud
def test_stack_goes_on_after_a_stop(tmp_path: Path, project: Path) -> None:
    """A restored stack can be deployed with another parameter, and handles the messages that waited."""
    with Emulator(tmp_path) as emulator:
        stack = deploy(emulator, project / "template.yaml", stack_name=STACK_NAME, parameters={})
        table = stack.outputs["TableName"]
        emulator.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": "kept"}})
    with Emulator(tmp_path) as emulator:
        parameters = {"CallsPerDay": "500"}
        again = deploy(emulator, project / "template.yaml", stack_name=STACK_NAME, parameters=parameters)
        assert again.outputs["TableName"] == table
        url = again.outputs["ContactQueueUrl"]
        emulator.client("sqs").send_message(QueueUrl=url, MessageBody="worked-off")
        dynamodb = emulator.client("dynamodb")
        eventually(lambda: dynamodb.scan(TableName=table)["Count"] == 2)
        function = emulator.client("lambda").get_function(FunctionName=again.outputs["WorkerName"])
        assert function["Configuration"]["Environment"]["Variables"]["CALLS_PER_DAY"] == "500"


@pytest.mark.cloud
def test_stack_that_is_refused_says_why(emulator: Emulator, tmp_path: Path) -> None:
    """The error names what the local AWS does not know. A corrected stack can be deployed."""
    path = tmp_path / "template.yaml"
    path.write_text("Resources: {Odd: {Type: 'AWS::Odd::Thing'}}", encoding="utf-8")
    with pytest.raises(EmulatorError, match="AWS::Odd::Thing"):
        deploy(emulator, path, stack_name="odd", parameters={})
    path.write_text("Resources: {Even: {Type: 'AWS::SQS::Queue'}}", encoding="utf-8")
    assert deploy(emulator, path, stack_name="odd", parameters={}) == Stack({})


@pytest.mark.cloud
def test_function_without_a_handler_is_not_deployed(
    emulator: Emulator, project: Path, tmp_path: Path
) -> None:
    """A missing handler ends the deployment before anything is changed."""
    shutil.copy(project / "template.yaml", tmp_path)
    (tmp_path / "shared").symlink_to(REPOSITORY / "shared")
    (tmp_path / ".build").symlink_to(project / ".build")
    with pytest.raises(EmulatorError, match=r"app\.py is missing"):
        deploy(emulator, tmp_path / "template.yaml", stack_name="empty", parameters={})
