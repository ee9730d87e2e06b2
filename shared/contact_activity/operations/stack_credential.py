"""Opens a deployed stack's credential, with the AWS settings of the caller."""

from dataclasses import dataclass

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret_tokens import Secrets
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.aws.table import Table
from contact_activity.operations.stack import STACK_SETTINGS, describe_stack
from contact_activity.ports import Clock, Limiter
from contact_activity.settings import Environment, Settings, V3Credentials, Version, read_settings

NEEDED = (
    "cloudformation:DescribeStacks, secretsmanager:GetSecretValue and PutSecretValue of the stack's secrets, "
    "dynamodb:GetItem and UpdateItem of its table"
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


def stack_credential(stack_name: str, environment: Environment, clock: Clock) -> StackCredential:
    """Open a stack. Raises `RunError` if there is none of this name."""
    outputs, given = describe_stack(aws_client("cloudformation"), stack_name)
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
