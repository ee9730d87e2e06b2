"""The tokens of a stack, where its secrets, its rights, or what the operator put in are wrong."""

import json
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.secret_tokens import Secrets, SecretTokens
from contact_activity.aws.store import dynamo_store
from contact_activity.aws.table import Table
from contact_activity.constant_contact.oauth import AuthorizationServer, StoredRefresher
from contact_activity.constant_contact.one_account import OneAccount, keep_to_account
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.domain.account import StoredAccount
from contact_activity.domain.tokens import Granted, StoredTokens, token_digest
from contact_activity.entrypoints.sources import Api, Place, api
from contact_activity.errors import RetryError
from contact_activity.settings import SettingsError, V3Credentials, read_settings
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.authorisation import BUSY, CLIENT_ID, Authorisation, InProcess
from tests.support.families import Clients, create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.virtual_clock import SettableClock, SharedClock

NOON_MS = 1_750_000_000_000
HOUR_S = 3_600
# Until every function has read the secret again.
READ_AGAIN_S = 301


class _Refusing:
    """A client of AWS to whom some calls are refused."""

    def __init__(self, client: Any, refused: Set[str]) -> None:
        self._client, self._refused = client, refused
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        if name in self._refused:
            return self._refuse
        return getattr(self._client, name)

    def _refuse(self, **_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "a call")


class _Stack:
    """The two secrets and the table of a stack, and a provider whose refresh tokens are good for one use."""

    def __init__(self, clients: Clients) -> None:
        self.clients, self.clock, self.provider = clients, SharedClock(NOON_MS), Authorisation()
        self.table = Table(clients.dynamodb, create_table(clients.dynamodb, "contacts"))
        for name in ("given", "own"):
            clients.secrets.create_secret(Name=name)

    def put(self, **given: str) -> None:
        """What the operator does."""
        self.clients.secrets.put_secret_value(SecretId="given", SecretString=json.dumps(given))

    def put_new(self) -> None:
        self.put(client_id=CLIENT_ID, refresh_token=self.provider.grant())

    def store(self, refused: Set[str] = frozenset(), *, replaces: bool = False) -> SecretTokens:
        secrets = Secrets(_Refusing(self.clients.secrets, refused), "given", "own")
        table = Table(_Refusing(self.clients.dynamodb, refused), "contacts")
        return SecretTokens(secrets, table, self.clock, V3Credentials(), replaces=replaces)

    def function(
        self, refused: Set[str] = frozenset(), on_exchange: Callable[[int], object] = lambda _: None
    ) -> Tokens:
        """A new process, to which AWS refuses these calls."""
        transport = InProcess(self.provider, on_exchange)
        server = AuthorizationServer(
            "http://127.0.0.1/token", V3Credentials(CLIENT_ID), transport, self.clock
        )
        return Tokens(self.store(refused), server, self.clock, V3Credentials())

    def ask(self, function: Tokens) -> str:
        return function.access_token(deadline_ms=self.clock.monotonic_ms() + 75_000)


@pytest.fixture
def stack() -> Iterator[_Stack]:
    with nobodys_aws(), mock_aws():
        yield _Stack(Clients(aws_client))


def test_who_may_not_store_the_answer_sends_no_refresh_token(stack: _Stack) -> None:
    """Neither of the stack's first tokens nor later ones, such as an operator's `check` with fewer rights."""
    stack.put_new()
    living = stack.ask(stack.function())
    stack.clock.sleep(23 * HOUR_S)
    assert stack.ask(stack.function({"put_secret_value"})) == living
    stack.clock.sleep(2 * HOUR_S)
    with pytest.raises(RetryError, match="AccessDenied"):
        stack.ask(stack.function({"put_secret_value"}))
    assert len(stack.provider.spent) == 1
    assert stack.provider.accepts(stack.ask(stack.function()))
    assert len(stack.provider.spent) == 2


@pytest.mark.parametrize("put", ['{"client_id": "a", "refresh_token": "b"}', "no JSON", '{"serial": 1}'])
def test_what_is_put_into_the_wrong_secret_buries_no_tokens(stack: _Stack, put: str) -> None:
    """The table names the version that counts; the next renewal is the current one again."""
    stack.put_new()
    living = stack.ask(stack.function())
    stack.clients.secrets.put_secret_value(SecretId="own", SecretString=put)
    assert stack.ask(stack.function()) == living
    stack.clock.sleep(23 * HOUR_S)
    renewed = stack.ask(stack.function())
    assert stack.provider.accepts(renewed)
    stack.clock.sleep(READ_AGAIN_S)
    assert stack.ask(stack.function()) == renewed
    assert len(stack.provider.spent) == 2


def test_a_login_mends_a_secret_that_holds_no_tokens(stack: _Stack) -> None:
    """Where the table names no version either: the error says what helps, and where."""
    stack.put(client_id=CLIENT_ID)
    stack.clients.secrets.put_secret_value(SecretId="own", SecretString="no JSON")
    with pytest.raises(
        SettingsError, match=r"own holds no tokens of ours: run .*login .* in the secret given"
    ):
        stack.ask(stack.function())
    store, granted = stack.store(replaces=True), Granted("access", stack.provider.grant(), HOUR_S * 1_000)
    with store.exclusive(within_s=1):
        store.save(store.read().logged_in(CLIENT_ID, granted, asked_ms=stack.clock.now_ms()))
    assert stack.ask(stack.function()) == "access"


def test_a_new_refresh_token_mends_it_too(stack: _Stack) -> None:
    stack.clients.secrets.put_secret_value(SecretId="own", SecretString="no JSON")
    stack.put_new()
    assert stack.provider.accepts(stack.ask(stack.function()))


def test_a_copy_of_the_stack_s_own_refresh_token_is_never_sent_again(stack: _Stack) -> None:
    """The provider takes that for theft, and ends what came of it."""
    stack.put_new()
    stack.ask(stack.function())
    stack.put(client_id=CLIENT_ID, refresh_token=stack.store().read().refresh_token or "")
    for _ in range(3):
        stack.clock.sleep(22 * HOUR_S)
        assert stack.provider.accepts(stack.ask(stack.function()))
    assert len(set(stack.provider.spent)) == len(stack.provider.spent) == 4


def test_a_refresh_token_is_tried_again_for_the_right_application(stack: _Stack) -> None:
    """With the wrong one it was refused, and given up for what it replaced."""
    stack.put_new()
    before = stack.ask(stack.function())
    new = stack.provider.grant()
    stack.put(client_id="another", refresh_token=new)
    stack.provider.owns_tokens = True
    assert stack.ask(stack.function()) == before
    stack.put(client_id=CLIENT_ID, refresh_token=new)
    after = stack.ask(stack.function())
    assert after != before
    assert stack.provider.accepts(after)


@pytest.mark.parametrize("refused", ["get_secret_value", "put_secret_value", "update_item"])
def test_a_living_token_is_used_while_aws_fails(stack: _Stack, refused: str) -> None:
    """A renewal that is due has hours for it. It is tried again after a while, not at every call."""
    stack.put_new()
    calls = set[str]()
    function = stack.function(calls)
    living = stack.ask(function)
    stack.clock.sleep(21 * HOUR_S)
    assert stack.ask(function) == living
    calls.add(refused)
    stack.clock.sleep(45 * 60)
    assert [stack.ask(function) for _ in range(3)] == [living] * 3
    assert len(stack.provider.spent) == 1
    calls.clear()
    stack.clock.sleep(31)
    assert stack.ask(function) != living


def _api(stack: _Stack, version: str) -> Api:
    """What a function builds at its start."""
    settings = read_settings({"CONSTANT_CONTACT_API_VERSION": version})
    place = Place(Secrets(stack.clients.secrets, "given", "own"), stack.table)
    limiter = dynamo_store(stack.clients.dynamodb, "contacts", settings.limits, stack.clock).limiter
    return api(settings, place, limiter)


def test_a_stack_keeps_to_the_version_that_it_has_read(stack: _Stack) -> None:
    """From the first credential on, also if an earlier template noted none. Then the other one is refused."""
    stack.put(api_key="key", access_token="token")
    _api(stack, "v2").read_credentials()
    with pytest.raises(SettingsError, match="set ConstantContactApiVersion to v2"):
        _api(stack, "v3").read_credentials()
    stack.table.delete("account")
    stack.table.put("listing", "listing", "{}")
    with pytest.raises(SettingsError, match="set ConstantContactApiVersion to v2"):
        _api(stack, "v3").read_credentials()


def test_a_stack_that_was_deployed_with_the_wrong_version_may_have_the_other(stack: _Stack) -> None:
    """Without a credential it has read nothing, however often it ticked."""
    with pytest.raises(SettingsError, match="has no value"):
        _api(stack, "v2").read_credentials()
    stack.put_new()
    _api(stack, "v3").read_credentials()
    with pytest.raises(SettingsError, match="set ConstantContactApiVersion to v3"):
        _api(stack, "v2").read_credentials()


def test_a_refresh_token_counts_as_unsent_where_its_application_cannot_be_read(
    stack: _Stack, tmp_path: Path
) -> None:
    """On the local cloud the tokens are in the folder, and the application in an emulator that may stop."""
    file, calls = CredentialsFile(tmp_path), {"get_secret_value"}
    with file.exclusive(within_s=1):
        file.save(StoredTokens(CLIENT_ID, stack.provider.grant()))
    settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": "http://127.0.0.1:9/token"})
    refresher = StoredRefresher(settings, stack.store(calls, replaces=True), stack.clock)
    tokens = Tokens(file, refresher, stack.clock, V3Credentials())
    for _ in range(3):
        with pytest.raises(RetryError, match="Secrets Manager"):
            tokens.access_token(deadline_ms=stack.clock.monotonic_ms() + 28_000)
    assert file.read().unanswered == 0


def test_an_answer_that_could_not_be_stored_is_kept_while_others_try_in_vain(stack: _Stack) -> None:
    """It is stored as soon as that is possible. Nobody else has it."""
    stack.put_new()
    stack.ask(stack.function())
    stack.clock.sleep(25 * HOUR_S)
    refused = set[str]()
    function = stack.function(refused, lambda _: refused.add("put_secret_value"))
    with pytest.raises(RetryError, match="Secrets Manager"):
        stack.ask(function)
    stack.provider.faults.extend([BUSY] * 9)
    with pytest.raises(RetryError, match="token endpoint"):
        stack.ask(stack.function())
    stack.provider.faults.clear()
    refused.clear()
    assert stack.provider.accepts(stack.ask(function))
    assert len(set(stack.provider.spent)) == len(stack.provider.spent) == 2


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_function_that_was_frozen_reads_a_new_credential(stack: _Stack, version: str) -> None:
    """Lambda freezes it between two invocations, and its monotonic clock may stand still meanwhile."""
    clock = SettableClock(NOON_MS)
    secrets = Secrets(stack.clients.secrets, "given", "own")
    read: Callable[[], object] = SecretTokens(secrets, stack.table, clock, V3Credentials()).read
    if version == "v2":
        read = secret_credentials(stack.clients.secrets, "given", clock)
    given = {"v2": {"api_key": "key"}, "v3": {"client_id": CLIENT_ID}}[version]
    stack.put(**given, access_token="old")
    old = read()
    stack.put(**given, access_token="new")
    assert read() == old
    clock.ahead_ms = READ_AGAIN_S * 1_000
    assert read() != old


class _Racing(DynamoAccount):
    """What a process sees that looked before another one stored its account."""

    has_looked = False

    def read(self) -> StoredAccount | None:
        found = super().read() if self.has_looked else None
        self.has_looked = True
        return found


def test_of_two_accounts_at_once_the_first_is_that_of_the_stack(stack: _Stack) -> None:
    keep_to_account(DynamoAccount(stack.table), "first", "token-1")
    with pytest.raises(SettingsError, match="another Constant Contact account"):
        keep_to_account(_Racing(stack.table), "second", "token-2")
    assert DynamoAccount(stack.table).read() == StoredAccount("first", token_digest("token-1"))
    keep_to_account(_Racing(stack.table), "first", "token-3")


def test_a_refresh_token_of_another_account_leaves_the_stack_its_own(stack: _Stack) -> None:
    """That it is of another one is told, and then the stack goes on with what it had."""
    whose = dict[str, str]()

    def of_one_account() -> OneAccount:
        def identify(token: str, _: int) -> str:
            return whose.get(stack.provider._access[token], "first")

        return OneAccount(stack.function(), DynamoAccount(stack.table), identify)

    def ask(tokens: OneAccount) -> str:
        return tokens.access_token(deadline_ms=stack.clock.monotonic_ms() + 75_000)

    stack.put_new()
    own = ask(of_one_account())
    other = stack.provider.grant()
    whose[stack.provider._family_of[other]] = "second"
    stack.put(client_id=CLIENT_ID, refresh_token=other)
    with pytest.raises(SettingsError, match="another Constant Contact account"):
        ask(of_one_account())
    assert ask(of_one_account()) == own
    stack.put_new()
    assert ask(of_one_account()) != own
    assert stack.store().read().replaced is None


def test_a_refresh_token_whose_access_token_is_refused_leaves_the_stack_its_own(stack: _Stack) -> None:
    stack.put_new()
    own = stack.ask(stack.function())
    stack.put_new()
    function = stack.function()
    new = stack.ask(function)
    assert new != own
    function.refused(new, deadline_ms=stack.clock.monotonic_ms() + 75_000)
    assert stack.ask(function) == own
