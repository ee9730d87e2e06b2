"""One round through a stack of its own: deploy, seed the secret, a tick, an event; then all of it goes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.exceptions import ClientError

from contact_activity.aws.clients import aws_client
from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.settings import AnyCredentials, Credentials

TICK_EVERY_S = 20.0
Json = dict[str, Any]
Tell = Callable[[str], object]


class SmokeError(Exception):
    """What did not happen, in one line."""


class Deployer(Protocol):
    """How the template comes to a stack, which differs between AWS and an emulator."""

    def deploy(self, stack_name: str, parameters: Mapping[str, str]) -> None: ...


def smoke(
    deployer: Deployer,
    credentials: AnyCredentials,
    parameters: Mapping[str, str],
    *,
    stack_name: str,
    within_s: float,
    tell: Tell,
) -> Json:
    """The first event that a subscriber receives. Raises `SmokeError`; nothing of the stack is left."""
    try:
        is_there = _status(stack_name)
    except ClientError as error:
        raise SmokeError(str(error)) from None
    if is_there:
        raise SmokeError(f"there is a stack {stack_name} already: give another name, or delete it")
    try:
        tell(f"deploying {stack_name}")
        deployer.deploy(stack_name, parameters)
        outputs = _outputs(stack_name)
        tell("storing the credentials")
        secret = json.dumps(_secret_of(credentials))
        aws_client("secretsmanager").put_secret_value(SecretId=outputs["SecretArn"], SecretString=secret)
        with _subscribed(outputs["EventBusName"], stack_name) as queue_url:
            tell("ticking, and waiting for an event")
            return _first_event(outputs, queue_url, time.monotonic() + within_s)
    except ClientError as error:
        raise SmokeError(str(error)) from None
    finally:
        tell("deleting")
        _delete(stack_name)


def _secret_of(credentials: AnyCredentials) -> dict[str, str]:
    if isinstance(credentials, Credentials):
        return {"api_key": credentials.api_key, "access_token": credentials.access_token}
    fields = {
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "refresh_token": credentials.refresh_token,
        "access_token": credentials.access_token,
    }
    return {name: value for name, value in fields.items() if value}


def _status(stack_name: str) -> str | None:
    """None only if AWS says that there is no such stack: what it cannot tell may be somebody's."""
    try:
        (stack,) = aws_client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    status = str(stack["StackStatus"])
    return None if status == "DELETE_COMPLETE" else status


def _outputs(stack_name: str) -> dict[str, str]:
    (stack,) = aws_client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@contextmanager
def _subscribed(bus_name: str, name: str) -> Iterator[str]:
    """A rule for everything of ours into a queue; both go again, since a bus with a rule stays."""
    sqs, events = aws_client("sqs"), aws_client("events")
    url = sqs.create_queue(QueueName=f"{name}-subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"EventBusName": bus_name}
    try:
        pattern = json.dumps({"source": [EVENT_SOURCE]})
        rule_arn = events.put_rule(Name=name, EventPattern=pattern, **rule)["RuleArn"]
        policy = json.dumps(_let_in(rule_arn, arn))
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}], **rule)
        yield url
    finally:
        events.remove_targets(Rule=name, Ids=["queue"], **rule)
        events.delete_rule(Name=name, **rule)
        sqs.delete_queue(QueueUrl=url)


def _let_in(rule_arn: str, queue_arn: str) -> Json:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _first_event(outputs: Mapping[str, str], queue_url: str, deadline_s: float) -> Json:
    """Ticks until there is one: the schedule's own first tick came before the secret had a value."""
    functions, sqs = aws_client("lambda"), aws_client("sqs")
    tick_s = time.monotonic()
    while time.monotonic() < deadline_s:
        if time.monotonic() >= tick_s:
            # A tick may take longer than a client waits for an answer.
            functions.invoke(FunctionName=outputs["DispatcherName"], InvocationType="Event", Payload=b"{}")
            tick_s = time.monotonic() + TICK_EVERY_S
        for body in _received(sqs, queue_url):
            return body
    failures = [_cause(body) for body in _received(sqs, outputs["DispatchFailuresUrl"])]
    raise SmokeError(f"no event came in time; failed ticks say: {'; '.join(failures) or 'nothing'}")


def _received(sqs: Any, queue_url: str) -> list[Json]:
    # Shorter than the client's own time-out.
    answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def _cause(failure: Json) -> str:
    return str(failure.get("responsePayload", {}).get("errorMessage", "a tick was not started"))


def _delete(stack_name: str) -> None:
    """The stack, and the table that it leaves by design."""
    if not _status(stack_name):
        return
    cloudformation = aws_client("cloudformation")
    resources = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    tables = [one.get("PhysicalResourceId") for one in resources if one["LogicalResourceId"] == "Table"]
    cloudformation.delete_stack(StackName=stack_name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack_name)
    dynamodb = aws_client("dynamodb")
    for table in filter(None, tables):
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.get_waiter("table_exists").wait(TableName=table)
        dynamodb.delete_table(TableName=table)
        dynamodb.get_waiter("table_not_exists").wait(TableName=table)
