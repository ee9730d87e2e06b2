"""Histories of refreshes on AWS: two functions, crashes at any call, lost answers, secrets that lag."""

import json
import random
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.secret_tokens import LEASE_MS, Secrets, SecretTokens
from contact_activity.aws.table import Table
from contact_activity.constant_contact.oauth import AuthorizationServer
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.domain.tokens import MAX_UNANSWERED, StoredTokens
from contact_activity.errors import RetryError, WaitError, WaitReason
from contact_activity.settings import V3Credentials
from tests.support.authorisation import BUSY, CLIENT_ID, CLOSED, CUT, LOST, Authorisation, InProcess
from tests.support.families import Clients, create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.virtual_clock import SharedClock

HOUR_S = 3_600
NOON_MS = 1_750_000_000_000
TABLE = "contacts"
# What becomes of a call to AWS: not done, or done and its answer lost.
REFUSED, UNHEARD = "refused", "unheard"
# Until every function has read the secret again.
READ_AGAIN_S = 301
# How long a secret may show an older version.
LAG_MS = 60_000
STEPS = 25


class _CrashError(Exception):
    """The process is gone: nothing of it runs any more."""


class _Wire:
    """The calls of one process to one service of AWS."""

    def __init__(self, client: Any, process: "_Process") -> None:
        self._client, self._process = client, process
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, name)

    def _call(self, name: str, **request: Any) -> Any:
        process = self._process
        process.may_crash()
        fault = process.faults.popleft() if process.faults else None
        if fault == REFUSED:
            raise _failure(name)
        if (
            name == "get_secret_value"
            and "VersionId" not in request
            and process.sees_old(request["SecretId"])
        ):
            request["VersionStage"] = "AWSPREVIOUS"
        try:
            answer = getattr(self._client, name)(**request)
        except self._client.exceptions.ClientError:
            request.pop("VersionStage", None)
            answer = getattr(self._client, name)(**request)
        if name == "put_secret_value":
            process.history.put_ms[request["SecretId"]] = process.history.clock.now_ms()
        if fault == UNHEARD:
            raise _failure(name)
        process.may_crash()
        return answer


def _failure(name: str) -> ClientError:
    return ClientError({"Error": {"Code": "InternalServiceError"}}, name)


class _Process:
    """A function: its token store, and its client of the token endpoint."""

    def __init__(self, history: "History") -> None:
        self.history = history
        self.dies_in: int | None = None
        self.faults: deque[str] = deque()
        self.is_behind = False
        clock = history.clock
        secrets = Secrets(_Wire(history.clients.secrets, self), history.given, history.own)
        table = Table(_Wire(history.clients.dynamodb, self), history.table)
        store = SecretTokens(secrets, table, clock, V3Credentials())
        transport = InProcess(history.provider, lambda ms: clock.sleep(ms / 1_000))
        server = AuthorizationServer("http://127.0.0.1/token", V3Credentials(CLIENT_ID), transport, clock)
        self.tokens = Tokens(store, server, clock, V3Credentials())

    def sees_old(self, secret_id: str) -> bool:
        put_ms = self.history.put_ms.get(secret_id, 0)
        return self.is_behind and self.history.clock.now_ms() - put_ms < LAG_MS

    def may_crash(self) -> None:
        if self.dies_in is None:
            return
        self.dies_in -= 1
        if self.dies_in < 0:
            raise _CrashError


class History:
    """Two functions on one stack, and a provider whose refresh tokens are good for one use. One seed each."""

    def __init__(self, clients: Clients, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clients, self.table = clients, f"{TABLE}-{seed}"
        create_table(clients.dynamodb, self.table)
        self.given, self.own = f"given-{seed}", f"own-{seed}"
        for name in (self.given, self.own):
            clients.secrets.create_secret(Name=name)
        self.clock = SharedClock(NOON_MS)
        self.put_ms: dict[str, int] = {}
        self.provider = Authorisation()
        self.provider.life_s = self.rng.choice([600, 7_200, 86_400, 86_400])
        self.provider.is_rotating = self.rng.random() < 0.8
        # Whether the one window was met: a refresh token was sent, and what came of it is not stored.
        self.may_be_dead = False
        self.excused: set[str] = set()
        self.leased_until_ms = 0
        self.seed = self.provider.grant()
        self._put_seed()
        self.processes = [self._process(), self._process()]

    def run(self) -> None:
        rules = (
            *[self.ask] * 6,
            *(self.be_refused, self.endpoint_fails, self.aws_fails, self.no_more_trouble, self.die_soon),
            *(self.secret_lags, self.another_seed, self.bad_seed, self.same_seed, self.settle, self.die_soon),
            *[self.wait] * 4,
        )
        for _ in range(STEPS):
            self.rng.choice(rules)()
            self._see_what_was_spent()
        self.settle()
        self._see_what_was_spent()

    def _process(self) -> "_Process":
        return _Process(self)

    def _any(self) -> int:
        return self.rng.randrange(2)

    def _put_seed(self) -> None:
        value = {"client_id": CLIENT_ID, "refresh_token": self.seed}
        self.clients.secrets.put_secret_value(SecretId=self.given, SecretString=json.dumps(value))

    def _stored(self) -> StoredTokens:
        secrets = Secrets(self.clients.secrets, self.given, self.own)
        table = Table(self.clients.dynamodb, self.table)
        return SecretTokens(secrets, table, self.clock, V3Credentials()).read()

    def _ask(self, number: int, refused: str | None = None) -> str | None:
        """Ask a process for its token, which may crash on that. None: it has none to give."""
        process, sent = self.processes[number], len(self.provider.spent)
        aws_faults, answers_lost = len(process.faults), self._lost_ahead()
        has_trouble = bool(process.faults or process.dies_in is not None or self.provider.faults)
        deadline_ms = self.clock.monotonic_ms() + 75_000
        token, why = None, None
        try:
            if refused:
                process.tokens.refused(refused, deadline_ms=deadline_ms)
            token = process.tokens.access_token(deadline_ms=deadline_ms)
        except _CrashError:
            self.processes[number] = self._process()
        except WaitError as wait:
            why = wait.reason
        except RetryError:
            assert has_trouble or self._has_renewed_often()
        if self.processes[number] is not process or len(process.faults) < aws_faults:
            # Nobody may have given the lease back.
            self.leased_until_ms = self.clock.now_ms() + LEASE_MS
        self._see_window(sent)
        if answers_lost != self._lost_ahead():
            # What was replaced may have come back since, so that the stored token tells nothing of it.
            self.excused |= set(self.provider.spent[sent:])
        assert why is not WaitReason.CREDENTIAL or self.may_be_dead
        assert (
            why is not WaitReason.TIME or has_trouble or self.clock.now_ms() < self.leased_until_ms + LEASE_MS
        )
        return token

    def _see_window(self, sent: int) -> None:
        """Excuse what was sent if what came of it is not stored."""
        spent, stored = self.provider.spent[sent:], self._stored()
        if spent and stored.refresh_token in self.provider._used:
            self.excused |= set(spent)
            self.may_be_dead = self.may_be_dead or self.provider.is_rotating
        if stored.unanswered == MAX_UNANSWERED:
            self.may_be_dead = True

    def _lost_ahead(self) -> int:
        return sum(fault in (LOST, CUT, CLOSED) for fault in self.provider.faults)

    def _has_renewed_often(self) -> bool:
        return self.provider.life_s < HOUR_S

    def _check(self, number: int, token: str | None) -> None:
        if token and not self.may_be_dead and token not in self.provider.refused_access:
            assert self.provider.accepts(token)
        if token and self.provider.accepts(token):
            self.processes[number].tokens.accepted(token)

    def ask(self) -> None:
        number = self._any()
        try:
            self._check(number, self._ask(number))
        except _CrashError:
            self.processes[number] = self._process()
            self.leased_until_ms = self.clock.now_ms() + LEASE_MS
        except RetryError:
            # It cannot be noted that the token was accepted: the next call does.
            return

    def be_refused(self) -> None:
        """The API takes back the token, and the process finds out."""
        saved = self._stored()
        if not saved.access or saved.is_unproven:
            return
        self.provider.refused_access.add(saved.access.text)
        token = self._ask(self._any(), refused=saved.access.text)
        assert token != saved.access.text

    def endpoint_fails(self) -> None:
        self.provider.faults.extend(self.rng.choices([LOST, BUSY, CUT, CLOSED], k=self.rng.randint(1, 3)))

    def aws_fails(self) -> None:
        faults = self.rng.choices([REFUSED, UNHEARD, ""], k=self.rng.randint(1, 8))
        self.processes[self._any()].faults.extend(faults)

    def no_more_trouble(self) -> None:
        self.provider.faults.clear()
        for process in self.processes:
            process.faults.clear()

    def die_soon(self) -> None:
        self.processes[self._any()].dies_in = self.rng.randint(0, 24)

    def secret_lags(self) -> None:
        self.processes[self._any()].is_behind = self.rng.random() < 0.5

    def another_seed(self) -> None:
        """The operator's new one wins, whatever was stored."""
        self.seed = self.provider.grant()
        self._put_seed()
        self._calm_down()
        self.may_be_dead = False
        token = self._ask(self._any())
        assert token
        assert self.provider.accepts(token)

    def bad_seed(self) -> None:
        """One that is good for nothing changes nothing."""
        if not self._stored().access:
            return
        good, self.seed = self.seed, f"nonsense-{self._any()}-{self.clock.now_ms()}"
        self._put_seed()
        self.seed = good
        self.settle()

    def same_seed(self) -> None:
        """What deploys secrets puts the old one in once more."""
        self._put_seed()

    def wait(self) -> None:
        self.clock.sleep(self.rng.choice([1, 60, 600, 3_600, 22 * 3_600, 30 * 3_600]))

    def settle(self) -> None:
        """Without trouble and leases of the dead there is a good token, but after the one window."""
        number = self._any()
        self._calm_down()
        token = self._ask(number)
        assert token or self.may_be_dead or self._has_renewed_often()
        self._check(number, token)

    def _calm_down(self) -> None:
        self.no_more_trouble()
        for process in self.processes:
            process.dies_in, process.is_behind = None, False
        self.clock.sleep(max(READ_AGAIN_S, LEASE_MS / 1_000 + 1))

    def _see_what_was_spent(self) -> None:
        """No refresh token is spent twice without an excuse."""
        if not self.provider.is_rotating:
            return
        for token, times in Counter(self.provider.spent).items():
            assert times <= (2 if token in self.excused else 1), token


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with nobodys_aws(), mock_aws():
        yield Clients(aws_client)


@pytest.mark.parametrize("seed", [*range(12), 49])
def test_no_history_loses_a_credential_but_in_the_one_window(clients: Clients, seed: int) -> None:
    """And none spends a refresh token twice, nor lets an old one bury what the operator put in."""
    History(clients, seed).run()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_060))
def test_no_more_history_does(clients: Clients, seed: int) -> None:
    """As above."""
    History(clients, seed).run()
