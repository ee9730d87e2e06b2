"""The example of a subscriber on the deployed bus; the rules and the replay of events/README.md."""

import copy
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyKeyError
from aws_lambda_powertools.utilities.typing import LambdaContext

from contact_activity.domain.times import iso, parse_time
from contact_activity.example_subscriber.subscriber import Subscriber, subscriber_on
from contact_activity.example_subscriber.timeline import UnusableEventError
from contact_activity.local_cloud.deploy import Stack, deploy, load_template
from contact_activity.local_cloud.emulator import REPOSITORY, Emulator
from tests.support.deployed import eventually

pytestmark = pytest.mark.cloud

EVENTS = REPOSITORY / "events"
SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((EVENTS / "samples").glob("email.*"))}
CLICKED, BOUNCED = SAMPLES["email.clicked.v1"], SAMPLES["email.bounced.v1"]
SNIPPETS = dict(re.findall(r"```yaml\n# ([^\n]+)\n(.*?)```", (EVENTS / "README.md").read_text(), re.DOTALL))
Json = dict[str, Any]


class Invocation(LambdaContext):
    """All that the subscriber asks of its context."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 30_000


def numbered(event: Json, number: int, **detail: Any) -> Json:
    """An event like this one, of another activity: with an id of its own."""
    other = copy.deepcopy(event)
    other["detail"] |= {"id": f"{number:032x}"} | detail
    return other


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("aws")) as started:
        yield started


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Stack:
    parameters = {"DeploySubscriber": "true"}
    template = REPOSITORY / "template.yaml"
    return deploy(emulator, template, stack_name="contact-activity", parameters=parameters)


def publish(emulator: Emulator, stack: Stack, events: list[Json]) -> None:
    client = emulator.client("events")
    for event in events:
        entry = {
            "EventBusName": stack.outputs["EventBusName"],
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
        assert client.put_events(Entries=[entry])["FailedEntryCount"] == 0


def timeline(emulator: Emulator, table: str, contact_id: str) -> list[Json]:
    """A contact's items, in the table's own order."""
    found = emulator.client("dynamodb").query(
        TableName=table,
        KeyConditionExpression="contact_id = :contact",
        ExpressionAttributeValues={":contact": {"S": contact_id}},
    )
    return [{name: value["S"] for name, value in item.items()} for item in found["Items"]]


def received(emulator: Emulator, queue_url: str) -> list[Json]:
    """All bodies that are in a queue now."""
    sqs, bodies = emulator.client("sqs"), list[Json]()
    while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [json.loads(message["Body"]) for message in messages]
    return bodies


# -------------------------------------------------------------------------------- on the deployed bus


def handled(emulator: Emulator) -> int:
    """How often the subscriber was invoked to the end, well or not."""
    pages = emulator.client("logs").get_paginator("filter_log_events")
    group = "/aws/lambda/contact-activity-subscriber"
    found = [event for page in pages.paginate(logGroupName=group) for event in page["events"]]
    return sum(event["message"].count("REPORT RequestId") for event in found)


def test_each_activity_is_kept_once_in_order_of_time(emulator: Emulator, stack: Stack) -> None:
    """Events that come twice, in any order and among malformed ones give one item each, in order of time."""
    start_ms = parse_time("2026-11-23T12:00:00.000Z") or 0
    contact = {"contact": {"id": "9001", "email_address": "ada@example.org"}}
    events = [
        numbered(CLICKED, number, time=iso(start_ms - number), data=CLICKED["detail"]["data"] | contact)
        for number in range(1, 5)
    ]
    malformed = [{**CLICKED, "detail": detail} for detail in ({}, {**CLICKED["detail"], "time": "noon"})]
    publish(emulator, stack, [events[2], malformed[0], *events, malformed[1]])
    eventually(lambda: handled(emulator) >= 7)
    publish(emulator, stack, events[::-1])
    eventually(lambda: handled(emulator) >= 11)

    kept = timeline(emulator, stack.outputs["TimelineTableName"], "9001")
    assert [item["id"] for item in kept] == [event["detail"]["id"] for event in reversed(events)]
    assert [item["time"] for item in kept] == sorted(event["detail"]["time"] for event in events)
    assert "example.org" not in json.dumps(kept)
    dynamodb = emulator.client("dynamodb")
    records = dynamodb.scan(TableName=stack.outputs["DeliveriesTableName"])["Items"]
    everything = dynamodb.scan(TableName=stack.outputs["TimelineTableName"])
    # The role may complete a record, and remove that of an event that failed.
    assert [record["status"]["S"] for record in records] == ["COMPLETED"] * everything["Count"]


def test_each_sample_is_kept_with_what_it_says(emulator: Emulator, stack: Stack) -> None:
    """One event of each kind, over the bus: type, campaign, link and bounce category are in the item."""
    publish(emulator, stack, list(SAMPLES.values()))
    table = stack.outputs["TimelineTableName"]
    contacts = {sample["detail"]["subject"] for sample in SAMPLES.values()}

    def kept() -> dict[str, Json]:
        return {item["id"]: item for contact in contacts for item in timeline(emulator, table, contact)}

    eventually(lambda: set(kept()) == {sample["detail"]["id"] for sample in SAMPLES.values()})
    for sample in SAMPLES.values():
        item, data = kept()[sample["detail"]["id"]], sample["detail"]["data"]
        assert (item["type"], item["campaign_id"]) == (data["activity"]["type"], data["campaign"]["id"])
        assert item.get("link_id") == data.get("link", {}).get("id")
        assert item.get("bounce_category") == data.get("bounce", {}).get("category")


def test_what_cannot_be_handled_is_kept_whole_for_a_person(emulator: Emulator, stack: Stack) -> None:
    """After its tries a malformed event is in the failures queue, with the reason, to be sent again."""
    payload = (EVENTS / "triggers" / "subscriber-malformed.json").read_text()
    emulator.client("lambda").invoke(
        FunctionName=stack.outputs["SubscriberName"], InvocationType="Event", Payload=payload
    )
    failures: list[Json] = []

    def has_failed() -> bool:
        failures.extend(received(emulator, stack.outputs["SubscriberFailuresUrl"]))
        return bool(failures)

    eventually(has_failed)
    assert failures[0]["requestPayload"] == json.loads(payload)
    assert failures[0]["responsePayload"]["errorMessage"] == "an event without a usable detail.time"
    assert failures[0]["requestContext"]["approximateInvokeCount"] >= 1


# ------------------------------------------------------------------------------------- in this process


@pytest.fixture
def subscriber(emulator: Emulator) -> Subscriber:
    """Over empty tables that are as the template says."""
    dynamodb, resources = (
        emulator.client("dynamodb"),
        load_template(REPOSITORY / "template.yaml")["Resources"],
    )
    names = {}
    for resource in ("Timeline", "Deliveries"):
        properties = resources[resource]["Properties"]
        names[resource] = f"{resource}-{time.monotonic_ns()}"
        dynamodb.create_table(
            TableName=names[resource],
            BillingMode=properties["BillingMode"],
            AttributeDefinitions=properties["AttributeDefinitions"],
            KeySchema=properties["KeySchema"],
        )
    return subscriber_on(dynamodb, timeline_table=names["Timeline"], deliveries_table=names["Deliveries"])


def deliveries(emulator: Emulator, subscriber: Subscriber) -> list[Json]:
    items: list[Json] = emulator.client("dynamodb").scan(TableName=subscriber.deliveries.table_name)["Items"]
    return items


def trigger(name: str) -> Json:
    payload: Json = json.loads((EVENTS / "triggers" / name).read_text())
    return payload


def test_a_second_publication_is_not_handled(
    emulator: Emulator, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    """Another envelope around the same `detail.id` changes nothing; the log names it once, by ids."""
    subscriber.run(trigger("subscriber.json"), Invocation())
    subscriber.run(trigger("subscriber-again.json"), Invocation())
    assert len(deliveries(emulator, subscriber)) == 1
    said = [vars(record) for record in caplog.records]
    assert [record["activity_id"] for record in said] == [trigger("subscriber.json")["detail"]["id"]]
    assert "example.org" not in repr(said)


def test_a_record_ends_a_fortnight_after_its_event(emulator: Emulator, subscriber: Subscriber) -> None:
    """DynamoDB removes a record by its `expiration`, in seconds since 1970."""
    before = datetime.now(UTC) + timedelta(days=14)
    subscriber.run(CLICKED, Invocation())
    ((record),) = deliveries(emulator, subscriber)
    expires = datetime.fromtimestamp(int(record["expiration"]["N"]), UTC)
    assert timedelta(seconds=-1) <= expires - before < timedelta(minutes=5)


def test_an_activity_that_comes_after_its_record_has_expired_is_kept_once(
    emulator: Emulator, subscriber: Subscriber
) -> None:
    """The timeline's own key holds for ever."""
    subscriber.run(CLICKED, Invocation())
    ((record),) = deliveries(emulator, subscriber)
    emulator.client("dynamodb").delete_item(
        TableName=subscriber.deliveries.table_name, Key={"id": record["id"]}
    )
    subscriber.run(CLICKED, Invocation())
    assert len(deliveries(emulator, subscriber)) == 1
    table = subscriber.timeline._table
    assert len(timeline(emulator, table, CLICKED["detail"]["subject"])) == 1


def test_a_failed_event_can_be_sent_again(emulator: Emulator, subscriber: Subscriber) -> None:
    """What could not be handled leaves no record, so that it is handled when it comes mended."""
    broken = copy.deepcopy(CLICKED)
    broken["detail"]["time"] = "noon"
    with pytest.raises(UnusableEventError):
        subscriber.run(broken, Invocation())
    assert deliveries(emulator, subscriber) == []
    subscriber.run(CLICKED, Invocation())
    assert len(timeline(emulator, subscriber.timeline._table, CLICKED["detail"]["subject"])) == 1


def test_an_event_without_an_id_is_refused(emulator: Emulator, subscriber: Subscriber) -> None:
    """It is not taken for the same as any other without one."""
    events: list[Json] = [{"detail": {}}, {"detail": "{}"}, {}]
    for event in events:
        with pytest.raises(IdempotencyKeyError):
            subscriber.run(event, Invocation())
    assert deliveries(emulator, subscriber) == []


# ------------------------------------------------------------------------------- what the README says


def subscribed(emulator: Emulator, stack: Stack, snippet: str, tmp_path: Path) -> str:
    """Deploys the README's stack with the pattern of one of its snippets; returns the queue's URL."""
    name = re.sub(r"\W+", "-", snippet).lower()
    for part in ("Everything", snippet):
        (tmp_path / part).write_text(SNIPPETS[part], encoding="utf-8")
    template = load_template(tmp_path / "Everything")
    chosen = load_template(tmp_path / snippet)
    template["Resources"]["EveryActivity"]["Properties"] |= {
        "EventPattern": chosen.get("EventPattern")
        or chosen["Resources"]["EveryActivity"]["Properties"]["EventPattern"]
    }
    cloudformation = emulator.client("cloudformation")
    bus = {"ParameterKey": "EventBusName", "ParameterValue": stack.outputs["EventBusName"]}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), Parameters=[bus])
    eventually(lambda: status(cloudformation, name) == "CREATE_COMPLETE")
    found = cloudformation.describe_stack_resource(StackName=name, LogicalResourceId="Activities")
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def status(cloudformation: Any, name: str) -> str:
    return str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])


def test_the_rules_of_the_readme_deliver_what_they_say(
    emulator: Emulator, stack: Stack, tmp_path: Path
) -> None:
    """Of the samples, and of a click and a bounce of another kind, each rule gets its own and no other."""
    elsewhere, soft = numbered(CLICKED, 0xC1), numbered(BOUNCED, 0xB1)
    elsewhere["detail"]["data"]["campaign"]["id"] = "1117643206591"
    soft["detail"]["data"]["bounce"] |= {"code": "F", "category": "soft"}
    events = [*SAMPLES.values(), elsewhere, soft]
    urls = {
        name: subscribed(emulator, stack, name, tmp_path)
        for name in ("Clicks of one campaign", "Hard bounces", "Everything")
    }
    publish(emulator, stack, events)

    everything: list[Json] = []

    def is_all_here() -> bool:
        everything.extend(received(emulator, urls["Everything"]))
        return len(everything) >= len(events)

    eventually(is_all_here)
    assert [event["detail"] for event in received(emulator, urls["Clicks of one campaign"])] == [
        CLICKED["detail"]
    ]
    assert [event["detail"] for event in received(emulator, urls["Hard bounces"])] == [BOUNCED["detail"]]
    ids = sorted(event["detail"]["id"] for event in events)
    assert sorted(event["detail"]["id"] for event in everything) == ids


def test_a_replay_brings_the_same_details_and_changes_no_timeline(
    emulator: Emulator, stack: Stack, subscriber: Subscriber, tmp_path: Path
) -> None:
    """What an archive sends again has the same `detail`, a `replay-name`, and is known by its id."""
    events, sqs = emulator.client("events"), emulator.client("sqs")
    began = datetime.now(UTC) - timedelta(minutes=1)
    bus = stack.outputs["EventBusArn"]
    # As the README's stack has it, which the local AWS lacks a resource type for.
    (tmp_path / "archive.yaml").write_text(SNIPPETS["An archive"], encoding="utf-8")
    asked = load_template(tmp_path / "archive.yaml")["Resources"]["Archive"]["Properties"]
    pattern = json.dumps(asked["EventPattern"])
    archive = events.create_archive(ArchiveName="activity", EventSourceArn=bus, EventPattern=pattern)
    url = sqs.create_queue(QueueName="replayed")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    name = stack.outputs["EventBusName"]
    events.put_rule(Name="replayed", EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule="replayed", EventBusName=name, Targets=[{"Id": "queue", "Arn": arn}])
    publish(emulator, stack, [CLICKED, BOUNCED])
    arrived: list[Json] = []

    def have_arrived(count: int) -> bool:
        arrived.extend(received(emulator, url))
        return len(arrived) >= count

    eventually(lambda: have_arrived(2))
    events.start_replay(
        ReplayName="again",
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=began,
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": bus},
    )
    eventually(lambda: have_arrived(4))

    first, again = arrived[:2], arrived[2:]
    assert [event.get("replay-name") for event in arrived] == [None, None, "again", "again"]
    by_id = sorted(first, key=lambda event: str(event["detail"]["id"]))
    assert [event["detail"] for event in by_id] == [
        event["detail"] for event in sorted(again, key=lambda event: str(event["detail"]["id"]))
    ]
    for event in arrived:
        subscriber.run(event, Invocation())
    assert len(deliveries(emulator, subscriber)) == 2
