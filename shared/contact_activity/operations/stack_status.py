"""The status of a deployed stack, by the AWS settings of whoever asks."""

from collections.abc import Mapping

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from contact_activity.aws.clients import aws_client
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.operations.status import Messages, Status, status_of_store
from contact_activity.run.options import RunError
from contact_activity.settings import read_settings, read_tick_ms

_SETTINGS = {
    "CallsPerSecond": "CALLS_PER_SECOND",
    "CallsPerDay": "CALLS_PER_DAY",
    "QuotaShare": "QUOTA_SHARE",
    "Reports": "REPORTS",
    "ScheduleMinutes": "TICK_MINUTES",
}


def stack_status(stack_name: str) -> Status:
    """Read the whole table once, by the few attributes that are counted. Raises `RunError` for no stack."""
    clock = SystemClock()
    outputs, environment = described(aws_client("cloudformation"), stack_name)
    settings = read_settings(environment)
    return status_of_store(
        stack_name,
        dynamo_store(aws_client("dynamodb"), outputs["TableName"], settings.limits, clock),
        now_ms=clock.now_ms(),
        tick_ms=read_tick_ms(environment),
        calls_each=len(settings.reading.reports),
        messages=_messages(aws_client("sqs"), outputs),
    )


def _messages(sqs: BaseClient, outputs: Mapping[str, str]) -> Messages:
    return Messages(
        waiting=SqsQueue(sqs, outputs["ContactQueueUrl"]).depth(),
        dead_letters=SqsQueue(sqs, outputs["ContactDeadLettersUrl"]).depth(),
        failed_ticks=SqsQueue(sqs, outputs["DispatchFailuresUrl"]).depth(),
    )


def described(cloudformation: BaseClient, stack_name: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The outputs of a stack, and the settings that its parameters give. Raises `RunError` for none."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        region = cloudformation.meta.region_name
        raise RunError(f"there is no stack {stack_name} in {region} of this AWS account") from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
    if "TableName" not in outputs:
        raise RunError(f"the stack {stack_name} is not one of Contact Activity, or not deployed yet")
    given = {item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", ())}
    return outputs, {setting: given[name] for name, setting in _SETTINGS.items() if name in given}
