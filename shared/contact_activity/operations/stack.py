"""A deployed stack as a system, read with the AWS settings of the caller."""

from collections.abc import Mapping
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from contact_activity.aws.clients import aws_client
from contact_activity.aws.dead_letters import SqsDeadLetters
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.operations.system import NO_CALLS, System
from contact_activity.run.errors import RunError

# Parameters of the template, and the settings that they set.
_SETTINGS = {
    "ConstantContactApiVersion": "CONSTANT_CONTACT_API_VERSION",
    "ConstantContactClientId": "CONSTANT_CONTACT_CLIENT_ID",
    "ConstantContactBaseUrl": "CONSTANT_CONTACT_BASE_URL",
    "ConstantContactTokenUrl": "CONSTANT_CONTACT_TOKEN_URL",
    "CallsPerSecond": "CALLS_PER_SECOND",
    "CallsPerDay": "CALLS_PER_DAY",
    "QuotaShare": "QUOTA_SHARE",
    "Reports": "REPORTS",
    "StartDate": "START_DATE",
    "CampaignReports": "CAMPAIGN_REPORTS",
    "ScheduleMinutes": "TICK_MINUTES",
}
# What the stack decides, and the shell of the caller does not.
STACK_SETTINGS = frozenset(_SETTINGS.values())


def stack_system(stack_name: str) -> System:
    """Return the stack as a system. Raises `RunError` if there is no such stack."""
    outputs, _ = describe_stack(aws_client("cloudformation"), stack_name)
    return System(
        stack_name,
        dynamo_store(aws_client("dynamodb"), outputs["TableName"], NO_CALLS, SystemClock()),
        SqsDeadLetters(aws_client("sqs"), outputs["ContactDeadLettersUrl"]),
    )


def describe_stack(
    cloudformation: BaseClient, stack_name: str
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the outputs of a stack, and the settings that its parameters set.

    Raises `RunError` if there is no such stack.
    """
    stack = found_stack(cloudformation, stack_name)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
    if "TableName" not in outputs:
        raise RunError(f"the stack {stack_name} is not one of Contact Activity, or not deployed yet")
    given = {item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", ())}
    return outputs, {setting: given[name] for name, setting in _SETTINGS.items() if name in given}


def found_stack(cloudformation: BaseClient, stack_name: str) -> Mapping[str, Any]:
    """Return what CloudFormation tells of a stack. Raises `RunError` if there is no such stack."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        region = cloudformation.meta.region_name
        raise RunError(f"there is no stack {stack_name} in {region} of this AWS account") from None
    found: Mapping[str, Any] = stack
    return found
