"""The templates of events/patterns/ on the local AWS, those whose targets it delivers to."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.template import REPOSITORY, load_template
from tests.support.deployed import eventually

pytestmark = pytest.mark.cloud

EVENTS = REPOSITORY / "events"
SAMPLES = [json.loads(path.read_text()) for path in sorted((EVENTS / "samples").iterdir())]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("aws")) as started:
        started.client("events").create_event_bus(Name="activity")
        yield started


def deployed(emulator: Emulator, name: str) -> dict[str, str]:
    """Deploy a template beside the bus. Return its outputs."""
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(load_template(EVENTS / "patterns" / f"{name}.yaml")),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": "EventBusName", "ParameterValue": "activity"}],
    )

    def stack() -> Json:
        found: Json = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        return found

    eventually(lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"))
    assert stack()["StackStatus"] == "CREATE_COMPLETE", cloudformation.describe_stack_events(StackName=name)
    return {output["OutputKey"]: output["OutputValue"] for output in stack()["Outputs"]}


def publish(emulator: Emulator, events: list[Json]) -> None:
    for event in events:
        entry = {
            "EventBusName": "activity",
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
        assert emulator.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def sample(type_: str) -> Json:
    (found,) = (event for event in SAMPLES if event["detail"]["type"] == f"contact-activity.{type_}.v1")
    return copy.deepcopy(found)


def test_hard_bounces_are_in_the_queue(emulator: Emulator) -> None:
    """Of all samples and a soft bounce, the queue has the hard bounce only; nothing is undelivered."""
    outputs, sqs = deployed(emulator, "hard-bounces-to-queue"), emulator.client("sqs")
    soft, last = sample("email.bounced"), sample("email.bounced")
    soft["detail"]["data"]["bounce"] |= {"code": "F", "category": "soft"}
    last["detail"]["id"] = "f" * 32
    publish(emulator, [*SAMPLES, soft, last])
    ids: list[str] = []

    def last_is_here() -> bool:
        messages = sqs.receive_message(QueueUrl=outputs["HardBouncesUrl"], MaxNumberOfMessages=10)
        ids.extend(json.loads(message["Body"])["detail"]["id"] for message in messages.get("Messages", []))
        return last["detail"]["id"] in ids

    eventually(last_is_here)
    assert sorted(ids) == sorted([sample("email.bounced")["detail"]["id"], last["detail"]["id"]])
    assert "Messages" not in sqs.receive_message(QueueUrl=outputs["FailuresUrl"])


def test_each_click_of_the_campaign_is_handled_once(emulator: Emulator) -> None:
    """The function keeps a click that came twice once, and sees none of another campaign."""
    outputs = deployed(emulator, "clicks-of-a-campaign-to-function")
    elsewhere, last = sample("email.clicked"), sample("email.clicked")
    elsewhere["detail"] |= {"id": "e" * 32}
    elsewhere["detail"]["data"]["campaign"]["id"] = "1117643206591"
    last["detail"]["id"] = "f" * 32
    publish(emulator, [*SAMPLES, sample("email.clicked"), elsewhere, last])

    def kept() -> list[Json]:
        items: list[Json] = emulator.client("dynamodb").scan(TableName=outputs["ClicksTableName"])["Items"]
        return items

    def invocations() -> int:
        logs, group = emulator.client("logs"), f"/aws/lambda/{outputs['FunctionName']}"
        events = logs.filter_log_events(logGroupName=group)["events"]
        return sum("REPORT RequestId" in event["message"] for event in events)

    eventually(lambda: invocations() >= 3)
    click = sample("email.clicked")["detail"]
    assert {item["id"]["S"] for item in kept()} == {click["id"], last["detail"]["id"]}
    assert {item["url"]["S"] for item in kept()} == {click["data"]["link"]["url"]}
    assert invocations() == 3
    assert "example.org" in click["data"]["contact"]["email_address"]
    assert click["data"]["contact"]["email_address"] not in json.dumps(kept())
    assert "Messages" not in emulator.client("sqs").receive_message(QueueUrl=outputs["FailuresUrl"])
