"""Reads the status of a deployed stack, with the AWS settings of the caller."""

from collections.abc import Mapping

from botocore.client import BaseClient

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.secret_tokens import noted_tokens
from contact_activity.aws.store import dynamo_store
from contact_activity.aws.table import Table
from contact_activity.clock import SystemClock
from contact_activity.operations.read_status import status_of_store
from contact_activity.operations.stack import describe_stack
from contact_activity.operations.status import LoginStatus, Messages, Status
from contact_activity.settings import Version, read_settings, read_tick_ms


def stack_status(stack_name: str) -> Status:
    """Return the status of a stack. Raises `RunError` if there is no such stack.

    Scans the table once, and reads only the attributes that are counted.
    """
    clock = SystemClock()
    outputs, environment = describe_stack(aws_client("cloudformation"), stack_name)
    settings, dynamodb = read_settings(environment), aws_client("dynamodb")
    is_v3 = settings.api_version is Version.V3
    return status_of_store(
        stack_name,
        dynamo_store(dynamodb, outputs["TableName"], settings.limits, clock),
        now_ms=clock.now_ms(),
        tick_ms=read_tick_ms(environment),
        calls_each=settings.reading.calls_each,
        messages=_messages(aws_client("sqs"), outputs),
        login=_login(Table(dynamodb, outputs["TableName"])) if is_v3 else None,
        is_witnessed=settings.reading.is_witnessed,
    )


def _login(table: Table) -> LoginStatus:
    account, noted = DynamoAccount(table).read(), noted_tokens(table)
    account_id = account.account_id if account else None
    if noted is None:
        return LoginStatus(account_id)
    return LoginStatus(
        account=account_id,
        renewed_ms=noted.asked_ms,
        ends_ms=None if noted.is_renewed else noted.expires_ms,
        is_renewed=noted.is_renewed,
        is_dead=noted.is_dead,
    )


def _messages(sqs: BaseClient, outputs: Mapping[str, str]) -> Messages:
    return Messages(
        waiting=SqsQueue(sqs, outputs["ContactQueueUrl"]).depth(),
        dead_letters=SqsQueue(sqs, outputs["ContactDeadLettersUrl"]).depth(),
        failed_ticks=SqsQueue(sqs, outputs["DispatchFailuresUrl"]).depth(),
    )
