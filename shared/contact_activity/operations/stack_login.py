"""A deployed stack as the place of a login, with the AWS settings of the caller."""

import json

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.errors import as_retry_error
from contact_activity.aws.pace import dynamo_limiter
from contact_activity.aws.secret_tokens import LEASE_MS, Secrets, SecretTokens
from contact_activity.aws.table import Table
from contact_activity.domain.tokens import token_digest
from contact_activity.errors import RetryError
from contact_activity.operations.login import Login
from contact_activity.operations.login_place import exclusive, is_of
from contact_activity.operations.stack import describe_stack
from contact_activity.ports import Clock
from contact_activity.run.errors import RunError
from contact_activity.settings import (
    Environment,
    Settings,
    SettingsError,
    V3Credentials,
    Version,
    read_settings,
)

# A function that was killed holds the lease until it ends. Nobody signs in twice for that.
MAX_WAIT_S = LEASE_MS / 1_000 + 60
_PERMISSIONS = (
    "secretsmanager:GetSecretValue and PutSecretValue of its two secrets, and dynamodb:GetItem and UpdateItem"
)


class LoginStack:
    """A stack that reads v3. Raises `RunError` if there is no such stack, `SettingsError` if it reads v2."""

    def __init__(self, stack_name: str, environment: Environment, clock: Clock) -> None:
        self.name = f"--stack {stack_name}"
        self._stack_name, self._clock = stack_name, clock
        outputs, given = describe_stack(aws_client("cloudformation"), stack_name)
        if "TokensSecretArn" not in outputs:
            raise SettingsError(
                f"the stack {stack_name} reads v2, and a login is for v3: deploy another stack with "
                "ConstantContactApiVersion=v3"
            )
        own = {name: value for name, value in environment.items() if value.strip()}
        # The stack's addresses, unless the caller says others.
        self.environment: Environment = {**given, **own, "CONSTANT_CONTACT_API_VERSION": Version.V3.value}
        self._dynamodb, self._table_name = aws_client("dynamodb"), outputs["TableName"]
        self._secrets = Secrets(
            aws_client("secretsmanager"), outputs["SecretArn"], outputs["TokensSecretArn"]
        )
        self._table = Table(self._dynamodb, self._table_name)
        self._store = SecretTokens(self._secrets, self._table, clock, V3Credentials(), replaces=True)

    def check(self) -> None:
        try:
            self._store.read()
        except RetryError as error:
            raise RunError(
                f"the stack {self._stack_name} cannot be used ({error}): {_PERMISSIONS} are needed"
            ) from None

    def is_of_known_account(self, login: Login, settings: Settings) -> bool:
        limits = read_settings(self.environment).limits
        limiter = dynamo_limiter(self._dynamodb, self._table_name, limits, self._clock)
        token = login.granted.access_token
        return is_of(DynamoAccount(self._table), token, settings, limiter, self._clock)

    def save(self, login: Login, client: V3Credentials) -> None:
        """Store the tokens, then the application. Whatever refresh token is in the secret counts as taken."""
        if login.granted.refresh_token is None:
            raise RunError(
                "Constant Contact gave no refresh token, and a stack needs one: log in again with --code"
            )
        with exclusive(self._store, MAX_WAIT_S):
            stored, given = self._store.read(), self._store.given()
            if given.refresh_token:
                stored = stored.having_taken(frozenset({token_digest(given.refresh_token)}))
            stored = stored.logged_in(client.client_id or "", login.granted, asked_ms=login.asked_ms)
            self._store.save(stored)
            self._put_application(client)

    def remove(self) -> bool:
        if self._store.read().is_empty:
            return False
        with exclusive(self._store, MAX_WAIT_S):
            stored, given = self._store.read(), self._store.given()
            if given.refresh_token:
                stored = stored.having_taken(frozenset({token_digest(given.refresh_token)}))
            self._store.save(stored.logged_out())
        return True

    def _put_application(self, client: V3Credentials) -> None:
        value = {"client_id": client.client_id, "client_secret": client.client_secret}
        text = json.dumps({name: text for name, text in value.items() if text})
        with as_retry_error("Secrets Manager"):
            self._secrets.client.put_secret_value(SecretId=self._secrets.given, SecretString=text)
