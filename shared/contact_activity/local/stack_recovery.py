"""The state of a deployed stack for recovery, by the AWS settings of whoever asks."""

from contact_activity.adapters.aws import DynamoCampaigns, DynamoContacts, DynamoPauses, aws_client
from contact_activity.adapters.aws_dead_letters import SqsDeadLetters
from contact_activity.local.recovery import System
from contact_activity.local.stack_status import described


def stack_system(stack_name: str) -> System:
    """Raises `RunError` for no stack."""
    outputs, _ = described(aws_client("cloudformation"), stack_name)
    dynamodb, table = aws_client("dynamodb"), outputs["TableName"]
    return System(
        stack_name,
        DynamoContacts(dynamodb, table),
        DynamoCampaigns(dynamodb, table),
        DynamoPauses(dynamodb, table),
        SqsDeadLetters(aws_client("sqs"), outputs["ContactDeadLettersUrl"]),
    )
