"""The state of a deployed stack for recovery, by the AWS settings of whoever asks."""

from contact_activity.adapters.aws import aws_client, dynamo_store
from contact_activity.adapters.aws_dead_letters import SqsDeadLetters
from contact_activity.adapters.clock import SystemClock
from contact_activity.local.recovery import NO_CALLS, System
from contact_activity.local.stack_status import described


def stack_system(stack_name: str) -> System:
    """Raises `RunError` for no stack."""
    outputs, _ = described(aws_client("cloudformation"), stack_name)
    return System(
        stack_name,
        dynamo_store(aws_client("dynamodb"), outputs["TableName"], NO_CALLS, SystemClock()),
        SqsDeadLetters(aws_client("sqs"), outputs["ContactDeadLettersUrl"]),
    )
