"""The state of a deployed stack for recovery, by the AWS settings of whoever asks."""

from contact_activity.aws.clients import aws_client
from contact_activity.aws.dead_letters import SqsDeadLetters
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.operations.recovery import NO_CALLS, System
from contact_activity.operations.stack_status import described


def stack_system(stack_name: str) -> System:
    """Raises `RunError` for no stack."""
    outputs, _ = described(aws_client("cloudformation"), stack_name)
    return System(
        stack_name,
        dynamo_store(aws_client("dynamodb"), outputs["TableName"], NO_CALLS, SystemClock()),
        SqsDeadLetters(aws_client("sqs"), outputs["ContactDeadLettersUrl"]),
    )
