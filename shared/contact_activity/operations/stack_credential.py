"""Opens a deployed stack's credential, with the AWS settings of the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.errors import as_retry_error, error_code
from contact_activity.aws.secret_tokens import Secrets
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.aws.table import Table
from contact_activity.errors import RetryError
from contact_activity.operations.aws_remedies import aws_remedy, missing_action
from contact_activity.operations.stack import STACK_SETTINGS, describe_stack
from contact_activity.ports import Clock, Limiter
from contact_activity.run.errors import RunError
from contact_activity.settings import Environment, Settings, V3Credentials, Version, read_settings

NEEDED = (
    "cloudformation:DescribeStacks, secretsmanager:GetSecretValue and PutSecretValue of the stack's secrets, "
    "dynamodb:GetItem and UpdateItem of its table; with KmsKeyArn, its kms:Decrypt and GenerateDataKey"
)
_CLIENT_ID = "CONSTANT_CONTACT_CLIENT_ID"


@dataclass(frozen=True, slots=True)
class StackCredential:
    """A stack, its secrets and its table.

    `environment`: its settings, with the caller's way out and client id; `client_id`: the one of its own.
    """

    stack_name: str
    environment: Environment
    client_id: str | None
    secrets: Secrets
    table: Table
    store: DynamoStore
    clock: Clock

    @property
    def settings(self) -> Settings:
        return read_settings(self.environment)

    @property
    def version(self) -> Version:
        return self.settings.api_version

    @property
    def account(self) -> DynamoAccount:
        return DynamoAccount(self.table)

    @property
    def application(self) -> V3Credentials:
        """The application that the stack's parameters name."""
        return V3Credentials(self.client_id)

    @property
    def limiter(self) -> Limiter:
        """The limiter of the stack: a call that is made here counts as one of its functions'."""
        return self.store.limiter


@contextmanager
def explained(stack_name: str) -> Iterator[None]:
    """Raise `RunError`, with what to do, where AWS fails."""
    try:
        yield
    except RetryError as error:
        failed = error.__cause__
        if not isinstance(failed, ClientError | BotoCoreError):
            raise
        # Whatever else it is may be a missing right.
        remedy = aws_remedy(error_code(failed)) or f"{_missing(failed)}these are needed: {NEEDED}"
        raise RunError(f"--stack {stack_name} cannot be used ({error}); {remedy}") from None


def _missing(error: ClientError | BotoCoreError) -> str:
    """Return the permission that AWS names as missing, and nothing else of its message."""
    message = str(error.response.get("Error", {}).get("Message")) if isinstance(error, ClientError) else ""
    action = missing_action(message)
    return f"the caller lacks {action}; " if action else ""


def stack_credential(stack_name: str, environment: Environment, clock: Clock) -> StackCredential:
    """Open a stack. Raises `RunError` if there is none of this name, or if AWS fails."""
    cloudformation = aws_client("cloudformation")
    with explained(stack_name), as_retry_error("CloudFormation"):
        outputs, given = describe_stack(cloudformation, stack_name)
    # The stack's credential and its pace are no matter of the caller's shell.
    own = {name: value for name, value in environment.items() if name not in STACK_SETTINGS}
    settings: dict[str, str] = {"CONSTANT_CONTACT_API_VERSION": Version.V2.value, **own, **given}
    if client_id := environment.get(_CLIENT_ID, "").strip():
        # A login may be one of another application.
        settings[_CLIENT_ID] = client_id
    dynamodb, table = aws_client("dynamodb"), outputs["TableName"]
    return StackCredential(
        stack_name,
        settings,
        given.get(_CLIENT_ID) or None,
        Secrets(aws_client("secretsmanager"), outputs["SecretArn"], outputs.get("TokensSecretArn", "")),
        Table(dynamodb, table),
        dynamo_store(dynamodb, table, read_settings(settings).limits, clock),
        clock,
    )
