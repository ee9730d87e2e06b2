"""`check`, `login` and `logout` on a stack: what they take from it, and what they leave."""

import json
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, SSOTokenLoadError, TokenRetrievalError
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret_tokens import SecretTokens
from contact_activity.clock import SystemClock
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.pace import Limits
from contact_activity.domain.tokens import Granted, StoredTokens
from contact_activity.operations.check import check
from contact_activity.operations.check_stack import checked_stack
from contact_activity.operations.findings import Finding
from contact_activity.operations.login import Login
from contact_activity.operations.stack_credential import StackCredential, stack_credential
from contact_activity.operations.stack_login import LoginStack
from contact_activity.run.errors import RunError
from contact_activity.settings import SettingsError, Version
from tests.support.authorisation import CLIENT_ID, Authorisation, AuthorisationServer, served
from tests.support.described_stack import DescribedStack, described
from tests.support.families import Clients, create_table
from tests.support.nobodys_aws import nobodys_aws

CLOCK = SystemClock()
OUTPUTS = {"TableName": "contacts", "SecretArn": "given", "TokensSecretArn": "own"}


class _Stack:
    """The table and the secrets of a stack on moto, which cannot deploy the template, and a provider."""

    def __init__(self, server: AuthorisationServer, parameters: Mapping[str, str]) -> None:
        self.server, self.clients = server, Clients(aws_client)
        self.parameters = {
            "ConstantContactApiVersion": "v3",
            "ConstantContactBaseUrl": server.base_url,
            "ConstantContactTokenUrl": server.token_url,
            **parameters,
        }
        create_table(self.clients.dynamodb, "contacts")
        for name in ("given", "own"):
            self.clients.secrets.create_secret(Name=name)

    def opened(self, **environment: str) -> StackCredential:
        return stack_credential("stack", environment, CLOCK)

    def put(self, **given: str) -> None:
        """What the operator does."""
        self.clients.secrets.put_secret_value(SecretId="given", SecretString=json.dumps(given))

    def given(self) -> object:
        return json.loads(self.clients.secrets.get_secret_value(SecretId="given")["SecretString"])

    def stored(self) -> StoredTokens:
        """What a function reads that starts now."""
        stack = self.opened()
        return SecretTokens(stack.secrets, stack.table, CLOCK, stack.application, replaces=True).read()

    def check(self, **environment: str) -> dict[str, Finding]:
        with checked_stack(self.opened(**environment)) as checked:
            return {finding.topic: finding for finding in check(checked, CLOCK)}


@contextmanager
def provider(rules: Authorisation | None = None) -> Iterator[AuthorisationServer]:
    with served(rules or Authorisation(), lambda: CLOCK.now_ms() / 1_000) as server:
        yield server


@contextmanager
def deployed(server: AuthorisationServer, **parameters: str) -> Iterator[_Stack]:
    with nobodys_aws(), mock_aws():
        stack = _Stack(server, parameters)
        with described(DescribedStack("stack", OUTPUTS, stack.parameters)):
            yield stack


def test_a_stack_s_credential_goes_only_where_the_stack_sends_it() -> None:
    """Whatever the shell is set for: another server could but refuse it, which ended it for the stack."""
    with provider() as server, provider() as other, deployed(server) as stack:
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        found = stack.check(
            CONSTANT_CONTACT_BASE_URL=other.base_url,
            CONSTANT_CONTACT_TOKEN_URL=other.token_url,
            CONSTANT_CONTACT_CLIENT_ID="another",
        )
        assert other.requests == []
        assert len(server.rules.spent) == 1
        assert found["credentials"].level == "ok"


def test_a_check_keeps_the_pace_of_the_stack() -> None:
    with provider() as server, deployed(server, CallsPerSecond="2", CallsPerDay="50") as stack:
        opened = stack.opened(CALLS_PER_SECOND="1000", CALLS_PER_DAY="1000000", QUOTA_SHARE="1")
        assert opened.limiter.limits == Limits(2.0, 45)


def test_a_client_id_of_the_stack_is_not_that_of_the_shell() -> None:
    """Which is for what is logged in here."""
    with provider() as server, deployed(server, ConstantContactClientId=CLIENT_ID) as stack:
        stack.put(refresh_token=server.rules.grant())
        found = stack.check(CONSTANT_CONTACT_CLIENT_ID="another")
        assert found["credentials"].level == "ok"


def test_a_trial_of_a_day_is_checked_and_logged_out() -> None:
    """Nobody knows when such an access token ends. The operator's secret is all that has it."""
    with provider() as server, deployed(server) as stack:
        seed = server.rules.grant()
        stack.put(client_id=CLIENT_ID, refresh_token=seed)
        stack.check()
        trial = stack.stored().access
        assert trial
        stack.put(client_id=CLIENT_ID, access_token=trial.text)
        found = stack.check()
        assert "an access_token in the secret" in found["credentials"].text
        assert found["account"].level == "ok"

        place = LoginStack(stack.opened())
        assert place.remove()
        assert stack.stored().is_empty
        assert stack.given() == {"client_id": CLIENT_ID}
        assert not place.remove()
        assert server.rules.spent == [seed]


def test_a_login_overwrites_no_credential_of_v2() -> None:
    """In a stack that was switched by mistake, and could not use it: that is told before anybody signs in."""
    with provider() as server, deployed(server) as stack:
        stack.put(api_key="key", access_token="token")
        stack.opened().account.keep_to_version(Version.V2)
        with pytest.raises(SettingsError, match="set ConstantContactApiVersion to v2"):
            LoginStack(stack.opened()).check()


class _Failing:
    """A client of AWS whose calls fail in one way."""

    def __init__(self, client: Any, error: Exception, failing: Set[str]) -> None:
        self._client, self._error, self._failing = client, error, failing
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        if name not in self._failing:
            return getattr(self._client, name)
        return self._fail

    def _fail(self, **_: object) -> None:
        raise self._error


def _failing(stack: StackCredential, error: Exception, *calls: str) -> StackCredential:
    client = _Failing(stack.secrets.client, error, {*calls})
    return replace(stack, secrets=replace(stack.secrets, client=client))


def _coded(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "may hold anything"}}, "a call")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_coded("InvalidRequestException"), "restore-secret"),
        (_coded("AccessDeniedException"), "these are needed: .*kms:Decrypt"),
        (_coded("ThrottlingException"), "try again in a minute"),
        # As CloudFormation calls it.
        (_coded("Throttling"), "try again in a minute"),
        (_coded("InvalidSignatureException"), "the clock of this machine"),
        (_coded("UnrecognizedClientException"), "sign in to AWS again"),
        # A session of IAM Identity Center that has ended, in a profile of the newer and of the older kind.
        (TokenRetrievalError(provider="sso", error_msg="may hold anything"), "sign in to AWS again"),
        (SSOTokenLoadError(error_msg="may hold anything"), "sign in to AWS again"),
        (EndpointConnectionError(endpoint_url="https://aws"), "check the network"),
    ],
)
def test_what_aws_refuses_is_told_with_what_to_do(error: Exception, remedy: str) -> None:
    """By every command, in one line that holds nothing of the message of AWS."""
    with provider() as server, deployed(server) as stack:
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        failing = _failing(stack.opened(), error, "get_secret_value")
        commands: tuple[Callable[[], object], ...] = (
            LoginStack(failing).check,
            LoginStack(failing).remove,
            lambda: checked_stack(failing).__enter__(),
        )
        for command in commands:
            with pytest.raises(RunError, match=f"--stack stack cannot be used.*{remedy}") as told:
                command()
            assert "anything" not in str(told.value)
            assert "\n" not in str(told.value)


def test_a_missing_right_to_store_is_told_before_anybody_signs_in() -> None:
    with provider() as server, deployed(server) as stack:
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        place = LoginStack(_failing(stack.opened(), _coded("AccessDeniedException"), "put_secret_value"))
        with pytest.raises(RunError, match="secretsmanager:GetSecretValue and PutSecretValue"):
            place.check()
        LoginStack(stack.opened()).check()
        assert stack.given() == {"client_id": CLIENT_ID, "refresh_token": stack.stored().refresh_token}


def test_a_login_of_another_account_names_the_stack() -> None:
    with provider() as server, deployed(server) as stack:
        opened = stack.opened()
        opened.account.save(StoredAccount("another", "checked"))
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        stack.check()
        access = stack.stored().access
        assert access
        with pytest.raises(SettingsError, match=r"the stack stack holds .* deploy another stack"):
            LoginStack(opened).is_of_known_account(Login(Granted(access.text, None, 1), 0), opened.settings)


def test_a_check_leaves_what_a_refresh_token_of_another_account_replaced() -> None:
    """The functions go back to it when they find out."""
    with provider() as server, deployed(server) as stack:
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        stack.check()
        own = stack.stored().refresh_token
        stack.opened().account.save(StoredAccount("the first", "checked"))
        stack.put(client_id=CLIENT_ID, refresh_token=server.rules.grant())
        assert stack.check()["account"].level == "failing"
        replaced = stack.stored().replaced
        assert replaced
        assert replaced.refresh_token == own
