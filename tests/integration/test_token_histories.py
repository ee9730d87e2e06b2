"""Histories of refreshes: lost answers, crashes, two processes, new tokens, clocks that are set."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contact_activity.constant_contact.oauth import AuthorizationServer
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.domain.tokens import StoredTokens
from contact_activity.errors import RetryError, WaitError, WaitReason
from contact_activity.settings import V3Credentials
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.authorisation import BUSY, CLIENT_ID, CLOSED, CUT, LOST, Authorisation, InProcess
from tests.support.virtual_clock import SharedClock

HOUR_MS = 3_600_000
NOON_MS = 1_750_000_000_000
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of its own in it
PROCESSES = st.sampled_from([0, 1])


class _Clock(SharedClock):
    """A clock that somebody may set."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class _CrashError(Exception):
    """The process is gone."""


class _Store(CredentialsFile):
    """Dies before one of its next saves, as a process does; counts what was sent without an answer saved."""

    dies_in: int | None = None

    def save(self, tokens: StoredTokens) -> None:
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                raise _CrashError
        super().save(tokens)


class TokenHistory(RuleBasedStateMachine):
    """Two processes on one folder, and a provider whose refresh tokens are good for one use."""

    def __init__(self) -> None:
        super().__init__()
        # In memory, where there is such a place: nothing here cuts the power.
        self.folder = TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
        self.clock = _Clock(NOON_MS)
        self.provider = Authorisation()
        # Refresh tokens whose answer may be lost, and whether the credential may be dead for that.
        self.excused: set[str] = set()
        self.wrong = 0
        self.may_be_dead = False
        self.has_trouble = False

    @initialize(life_s=st.sampled_from([5, 600, 86_400]), is_rotating=st.booleans())
    def begin(self, life_s: int, is_rotating: bool) -> None:
        self.provider.life_s, self.provider.is_rotating = life_s, is_rotating
        self.given = self.provider.grant()
        self.processes = [self._process(), self._process()]

    def teardown(self) -> None:
        self.folder.cleanup()

    def _process(self, refresh_token: str | None = None) -> tuple[_Store, Tokens]:
        store = _Store(Path(self.folder.name))
        given = V3Credentials(CLIENT_ID, None, refresh_token or self.given)
        transport = InProcess(self.provider, lambda ms: self.clock.sleep(ms / 1_000))
        server = AuthorizationServer("http://127.0.0.1/token", given, transport, self.clock)
        return store, Tokens(store, server, self.clock, given)

    def _stored(self) -> StoredTokens:
        return CredentialsFile(Path(self.folder.name)).read()

    def _ask(self, number: int, refused: str | None = None) -> str | None:
        """Ask a process for its token, which may crash on that. None: it has none to give."""
        before, answers_lost = self._stored().refresh_token or self.given, self._lost_ahead()
        _, tokens = self.processes[number]
        sent = len(self.provider.spent)
        deadline_ms = self.clock.monotonic_ms() + 120_000
        try:
            if refused:
                tokens.refused(refused, deadline_ms=deadline_ms)
            token = tokens.access_token(deadline_ms=deadline_ms)
        except _CrashError:
            self._excuse(before, sent)
            self.processes[number] = self._process()
            return None
        except WaitError as wait:
            why: WaitReason | None = wait.reason
            token = None
        except RetryError:
            why, token = None, None
        else:
            why = None
        if answers_lost != self._lost_ahead():
            self._excuse(before, sent)
        if token is None:
            assert why is WaitReason.CREDENTIAL if self.may_be_dead and why else self.has_trouble
            return None
        saved = self._stored().access
        assert saved
        assert token == saved.text, "a token was used before it was saved"
        return token

    def _accept(self, number: int, token: str) -> None:
        try:
            self.processes[number][1].accepted(token)
        except _CrashError:
            self.processes[number] = self._process()

    def _lost_ahead(self) -> int:
        return sum(fault in (LOST, CUT, CLOSED) for fault in self.provider.faults)

    def _excuse(self, before: str, sent: int) -> None:
        self.excused |= {before, *self.provider.spent[sent:]}
        self.may_be_dead = True

    @rule(number=PROCESSES)
    def ask(self, number: int) -> None:
        token = self._ask(number)
        if token and not self.may_be_dead and token not in self.provider.refused_access:
            assert self.provider.accepts(token), "what was saved cannot be used"
        if token and self.provider.accepts(token):
            self._accept(number, token)

    @rule(number=PROCESSES)
    def be_refused(self, number: int) -> None:
        """The API takes back the token, and the process finds out."""
        saved = self._stored().access
        if not saved or self._stored().is_unproven:
            return
        self.provider.refused_access.add(saved.text)
        token = self._ask(number, refused=saved.text)
        assert token != saved.text
        if token and not self.may_be_dead:
            assert self.provider.accepts(token)
            self._accept(number, token)

    @rule(faults=st.lists(st.sampled_from([LOST, BUSY, CUT, CLOSED]), min_size=1, max_size=3))
    def trouble(self, faults: list[str]) -> None:
        self.provider.faults.extend(faults)
        self.has_trouble = True

    @rule()
    def no_more_trouble(self) -> None:
        self.provider.faults.clear()

    @rule(number=PROCESSES, saves=st.integers(0, 3))
    def die_soon(self, number: int, saves: int) -> None:
        self.processes[number][0].dies_in = saves

    @rule(number=PROCESSES)
    def replace_token(self, number: int) -> None:
        """A new one wins at once. The other process goes on with the one that it was given."""
        self.given = self.provider.grant()
        self.provider.faults.clear()
        self.processes[number] = self._process()
        token = self._ask(number)
        assert token
        assert self.provider.accepts(token)
        self.may_be_dead = False

    @rule(number=PROCESSES)
    def give_a_wrong_token(self, number: int) -> None:
        """It is tried once, and what it replaced goes on."""
        if self._stored().is_empty:
            return
        self.wrong += 1
        self.provider.faults.clear()
        self.processes[number] = self._process(f"wrong-{self.wrong}")
        token = self._ask(number)
        if not self.may_be_dead:
            assert token
            assert self.provider.accepts(token) or token in self.provider.refused_access
        assert self.provider.spent.count(f"wrong-{self.wrong}") == 1

    @rule(wait_ms=st.sampled_from([1_000, 60_000, HOUR_MS, 22 * HOUR_MS, 30 * HOUR_MS]))
    def wait(self, wait_ms: int) -> None:
        self.clock.sleep(wait_ms / 1_000)

    @rule(ahead_ms=st.sampled_from([0, -HOUR_MS, HOUR_MS, -400 * 24 * HOUR_MS, 400 * 24 * HOUR_MS]))
    def set_clock(self, ahead_ms: int) -> None:
        self.clock.ahead_ms = ahead_ms

    @invariant()
    def no_refresh_token_is_spent_twice_without_an_excuse(self) -> None:
        if not self.provider.is_rotating:
            return
        for token, times in Counter(self.provider.spent).items():
            assert times <= (2 if token in self.excused else 1), token


_SETTINGS = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestTokenHistories: Any = TokenHistory.TestCase
TestTokenHistories.settings = _SETTINGS
_MANY = {"settings": settings(_SETTINGS, max_examples=300), "pytestmark": pytest.mark.long}
TestManyTokenHistories: Any = type("TestManyTokenHistories", (TokenHistory.TestCase,), _MANY)
