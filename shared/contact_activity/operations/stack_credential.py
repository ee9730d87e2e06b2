"""Opens a deployed stack's credential, with the AWS settings of the caller."""

from dataclasses import dataclass

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret_tokens import Secrets
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.aws.table import Table
from contact_activity.operations.stack import describe_stack
from contact_activity.ports import Clock, Limiter
from contact_activity.settings import Environment, Settings, V3Credentials, Version, read_settings

NEEDED = (
    "cloudformation:DescribeStacks, secretsmanager:GetSecretValue and PutSecretValue of the stack's secrets, "
    "dynamodb:GetItem and UpdateItem of its table"
)


@dataclass(frozen=True, slots=True)
class StackCredential:
    """A stack, its secrets and its table. `environment`: its settings, unless the caller has others."""

    stack_name: str
    environment: Environment
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
        return V3Credentials(self.environment.get("CONSTANT_CONTACT_CLIENT_ID") or None)

    @property
    def limiter(self) -> Limiter:
        """The limiter of the stack: a call that is made here counts as one of its functions'."""
        return self.store.limiter


def stack_credential(stack_name: str, environment: Environment, clock: Clock) -> StackCredential:
    """Open a stack. Raises `RunError` if there is none of this name."""
    outputs, given = describe_stack(aws_client("cloudformation"), stack_name)
    own = {name: value for name, value in environment.items() if value.strip()}
    # The stack knows its version, whatever the caller reads otherwise.
    own.pop("CONSTANT_CONTACT_API_VERSION", None)
    settings: Environment = {"CONSTANT_CONTACT_API_VERSION": Version.V2.value, **given, **own}
    dynamodb, table = aws_client("dynamodb"), outputs["TableName"]
    return StackCredential(
        stack_name,
        settings,
        Secrets(aws_client("secretsmanager"), outputs["SecretArn"], outputs.get("TokensSecretArn", "")),
        Table(dynamodb, table),
        dynamo_store(dynamodb, table, read_settings(settings).limits, clock),
        clock,
    )
