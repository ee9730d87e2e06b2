"""Tokens of the v3 API over real HTTP: threads, processes, `kill -9`, and a client that is refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient, ApiVersion, Call
from contact_activity.constant_contact.http_transport import HttpTransport
from contact_activity.constant_contact.oauth import authorization_server
from contact_activity.constant_contact.one_account import identified_by
from contact_activity.constant_contact.tokens import FixedToken, Tokens
from contact_activity.domain.pace import Limits
from contact_activity.domain.tokens import AccessToken, Granted, StoredTokens
from contact_activity.errors import RetryError, StandstillError, WaitError, WaitReason
from contact_activity.ports import BearerTokens
from contact_activity.run.tokens import bearer_tokens
from contact_activity.settings import Settings, SettingsError, V3Credentials, read_settings
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.authorisation import (
    BUSY,
    CLIENT_ID,
    CUT,
    LOST,
    PATH,
    THROTTLED,
    Authorisation,
    AuthorisationServer,
    served,
)
from tests.support.certificates import Authority
from tests.support.fronts import Front, Proxy, closing_all, free_port

SHARED = Path(__file__).parents[2] / "shared"
CLOCK = SystemClock()
DAY_MS = 86_400_000


def settings_of(server: AuthorisationServer, **more: str) -> Settings:
    return read_settings({"CONSTANT_CONTACT_TOKEN_URL": server.token_url, **more}, is_logged_in=True)


def given(refresh_token: str | None = None, secret: str | None = None) -> V3Credentials:
    return V3Credentials(CLIENT_ID, secret, refresh_token)


def soon_ms(seconds: float = 60) -> int:
    return CLOCK.monotonic_ms() + round(seconds * 1_000)


def token_of(tokens: BearerTokens) -> str:
    return tokens.access_token(deadline_ms=soon_ms())


def reason_of(act: Callable[[], object]) -> WaitReason:
    with pytest.raises(WaitError) as wait:
        act()
    return wait.value.reason


def store_token(folder: Path, refresh_token: str | None, *, left_ms: int, life_ms: int = DAY_MS) -> None:
    """Store a pair whose access token has so much of its life left."""
    store, now_ms = CredentialsFile(folder), CLOCK.now_ms()
    access = AccessToken("access-stored", now_ms + left_ms - life_ms, now_ms + left_ms)
    with store.exclusive(within_s=1):
        store.save(StoredTokens(CLIENT_ID, refresh_token, access))


def test_an_environment_token_is_taken_once_and_a_new_one_at_once(tmp_path: Path) -> None:
    """The next process goes on with what is stored; its file is only the owner's."""
    rules = Authorisation()
    first, second = rules.grant(), rules.grant()
    with served(rules, time.monotonic) as server:
        token = token_of(bearer_tokens(tmp_path, settings_of(server), given(first), CLOCK))
        assert rules.accepts(token)
        assert token_of(bearer_tokens(tmp_path, settings_of(server), given(first), CLOCK)) == token
        other = token_of(bearer_tokens(tmp_path, settings_of(server), given(second), CLOCK))
        assert other != token
        # Back to the first: it was taken before.
        assert token_of(bearer_tokens(tmp_path, settings_of(server), given(first), CLOCK)) == other
    assert rules.spent == [first, second]
    path = tmp_path / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert {item.name for item in tmp_path.iterdir()} == {"credentials.json", "credentials.lock"}
    assert first not in path.read_text(encoding="utf-8")


def test_an_access_token_of_the_environment_leaves_the_store_alone(tmp_path: Path) -> None:
    """It is used as it is, and dead once it is refused."""
    with served(Authorisation(), time.monotonic) as server:
        trial = V3Credentials(access_token="trial")
        tokens = bearer_tokens(tmp_path, settings_of(server), trial, CLOCK)
        assert isinstance(tokens, FixedToken)
        assert token_of(tokens) == "trial"
        assert reason_of(lambda: tokens.refused("trial", deadline_ms=soon_ms())) is WaitReason.CREDENTIAL
        assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_is_said_to_live_for_no_time_is_not_refreshed_at_each_call(tmp_path: Path) -> None:
    """Some servers say so of a token that does not end. Whether it has ended the API says."""
    rules = Authorisation(life_s=0)
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        token = token_of(tokens)
        assert token_of(tokens) == token
        assert len(rules.spent) == 1
        tokens.refused(token, deadline_ms=soon_ms())
        assert token_of(tokens) != token
    assert len(rules.spent) == 2


@pytest.mark.parametrize("secret", [None, "s:/?%&"])
def test_secrets_are_in_the_body_or_the_header(tmp_path: Path, secret: str | None) -> None:
    """Never in a URL."""
    rules = Authorisation(client_secret=secret)
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        assert token_of(bearer_tokens(tmp_path, settings_of(server), given(refresh_token, secret), CLOCK))
        ((path, form),) = server.requests
    assert path == f"{PATH}/token"
    assert refresh_token in form
    assert ("client_id" in form) is (secret is None)


def test_of_many_threads_one_refreshes(tmp_path: Path) -> None:
    """The others wait for it, and all have the same token."""
    rules = Authorisation()
    found: list[str] = []
    with served(rules, time.monotonic, answer_after_s=0.3) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        threads = [threading.Thread(target=lambda: found.append(token_of(tokens))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 16
    assert len(set(found)) == len(rules.spent) == 1


def test_while_one_refreshes_the_others_use_what_still_lives(tmp_path: Path) -> None:
    """Nobody waits for a slow answer as long as there is a token."""
    rules = Authorisation()
    store_token(tmp_path, rules.grant(), left_ms=30_000, life_ms=DAY_MS)
    with served(rules, time.monotonic, answer_after_s=1.0) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(), CLOCK)
        thread = threading.Thread(target=lambda: token_of(tokens))
        thread.start()
        time.sleep(0.3)
        begun_s = time.monotonic()
        assert token_of(tokens) == "access-stored"
        assert time.monotonic() - begun_s < 0.3
        thread.join()
        assert rules.accepts(token_of(tokens))


def test_a_token_of_seconds_is_refreshed_once_a_second_at_most(tmp_path: Path) -> None:
    """The endpoint takes no more, over all processes."""
    rules = Authorisation(life_s=1)
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        tokens = [bearer_tokens(tmp_path, settings_of(server), given(refresh_token), CLOCK) for _ in range(2)]
        until_s, turn = time.monotonic() + 3.5, 0
        while time.monotonic() < until_s:
            assert rules.accepts(token_of(tokens[turn % 2]))
            turn += 1
            time.sleep(0.02)
    assert 2 <= len(rules.called_s) <= 4
    assert all(
        after - before > 0.98 for before, after in zip(rules.called_s, rules.called_s[1:], strict=False)
    )
    assert len(set(rules.spent)) == len(rules.spent)


@pytest.mark.parametrize("fault", [LOST, CUT])
def test_a_lost_answer_is_tried_once_more_when_the_token_has_ended(tmp_path: Path, fault: str) -> None:
    """Until then the old token is used, and nothing is asked. After the second the credential is dead."""
    rules, said = Authorisation(faults=deque([fault])), list[str]()
    store_token(tmp_path, rules.grant(), left_ms=2_000, life_ms=40_000)
    with served(rules, time.monotonic) as server:
        for _ in range(3):
            tokens = bearer_tokens(tmp_path, settings_of(server), given(), CLOCK, said.append)
            assert token_of(tokens) == "access-stored"
        assert len(rules.called_s) == 1
        time.sleep(2.1)
        for _ in range(2):
            assert reason_of(lambda: token_of(tokens)) is WaitReason.CREDENTIAL
    assert len(rules.called_s) == 2
    assert len(set(rules.spent)) == 1
    assert said == [
        "the answer of the token endpoint is lost: the connection was closed",
        "the token endpoint refuses: invalid_grant",
    ]


def test_a_refresh_token_that_is_not_rotated_survives_a_lost_answer(tmp_path: Path) -> None:
    """The second try brings the next access token."""
    rules = Authorisation(is_rotating=False, faults=deque([LOST]))
    with served(rules, time.monotonic) as server:
        assert rules.accepts(
            token_of(bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK))
        )
    assert len(rules.called_s) == 2


def test_a_busy_endpoint_is_tried_again(tmp_path: Path) -> None:
    """Until the deadline. It spent nothing, so that the next process tries, too."""
    rules = Authorisation(faults=deque([BUSY, BUSY]))
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(refresh_token), CLOCK)
        with pytest.raises(RetryError, match="status 503"):
            tokens.access_token(deadline_ms=soon_ms(26.9))
        assert rules.accepts(
            token_of(bearer_tokens(tmp_path, settings_of(server), given(refresh_token), CLOCK))
        )
    assert rules.spent == [refresh_token]


def test_another_server_at_the_address_of_the_endpoint_is_named_at_once(tmp_path: Path) -> None:
    """One call, and the setting to check: no further try would change it. The refresh token is unspent."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        settings = settings_of(server, CONSTANT_CONTACT_TOKEN_URL=f"{server.url}/nothing/token")
        with pytest.raises(RetryError, match=r"status 404: .* check CONSTANT_CONTACT_TOKEN_URL"):
            token_of(bearer_tokens(tmp_path, settings, given(rules.grant()), CLOCK))
    assert [path for path, _ in server.requests] == ["/nothing/token"]
    assert CredentialsFile(tmp_path).read().unanswered == 0


@pytest.mark.parametrize(("fault", "lines"), [(BUSY, 1), (THROTTLED, 0)])
def test_an_endpoint_that_only_wants_fewer_calls_is_waited_for(
    tmp_path: Path, fault: str, lines: int
) -> None:
    """That is no trouble to tell of; any other failure is told each time."""
    rules, said = Authorisation(faults=deque([fault])), list[str]()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK, said.append)
        assert rules.accepts(token_of(tokens))
    assert (len(rules.called_s), len(said)) == (2, lines)


def test_a_living_token_is_used_while_the_endpoint_is_busy(tmp_path: Path) -> None:
    """And it is not asked for at each call."""
    rules = Authorisation(faults=deque([BUSY] * 9))
    store_token(tmp_path, rules.grant(), left_ms=60_000)
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(), CLOCK)
        assert {token_of(tokens) for _ in range(20)} == {"access-stored"}
    assert len(rules.called_s) == 1


def test_an_endpoint_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    """Nothing was sent, so that the refresh token is good for another use. Three tries say what to check."""
    url = f"http://127.0.0.1:{free_port()}/token"
    nowhere = read_settings({"CONSTANT_CONTACT_TOKEN_URL": url}, is_logged_in=True)
    said, begun_s = list[str](), time.monotonic()
    with pytest.raises(RetryError, match="refused: check CONSTANT_CONTACT_TOKEN_URL"):
        token_of(bearer_tokens(tmp_path, nowhere, given("refresh-1"), CLOCK, said.append))
    assert len(said) == 3
    assert time.monotonic() - begun_s < 10
    assert CredentialsFile(tmp_path).read().unanswered == 0


def test_no_refresh_begins_that_the_deadline_could_cut(tmp_path: Path) -> None:
    """Its answer would be lost. A token that still lives is used."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        assert reason_of(lambda: tokens.access_token(deadline_ms=soon_ms(10))) is WaitReason.TIME
        store_token(tmp_path / "living", rules.grant(), left_ms=60_000)
        living = bearer_tokens(tmp_path / "living", settings_of(server), given(), CLOCK)
        assert living.access_token(deadline_ms=soon_ms(10)) == "access-stored"
    assert rules.called_s == []


def test_a_wrong_token_of_the_environment_gives_way_to_what_it_replaced(tmp_path: Path) -> None:
    """It is tried once, whoever comes after; and it is said which is used. A good one wins as before."""
    rules, said = Authorisation(), list[str]()
    login = rules.grant()
    store_token(tmp_path, login, left_ms=DAY_MS)
    with served(rules, time.monotonic) as server:
        for refresh_token in ("refresh-wrong", "refresh-wrong", None):
            tokens = bearer_tokens(tmp_path, settings_of(server), given(refresh_token), CLOCK, said.append)
            assert token_of(tokens) == "access-stored"
        good = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK, said.append)
        assert rules.accepts(token_of(good))
        good.accepted(token_of(good))
    assert rules.spent[0] == "refresh-wrong"
    assert len(rules.spent) == 2
    assert said == [
        "the token endpoint refuses: invalid_grant",
        "the refresh token that was given is good for nothing here: what was stored is used",
    ]
    assert login not in (tmp_path / "credentials.json").read_text(encoding="utf-8")


def test_what_a_token_replaced_is_used_after_a_crash(tmp_path: Path) -> None:
    """Wherever the process that took it was killed."""
    rules = Authorisation()
    store_token(tmp_path, rules.grant(), left_ms=DAY_MS)
    store = CredentialsFile(tmp_path)
    taken = store.read().taking("refresh-wrong", CLIENT_ID)
    with served(rules, time.monotonic) as server:
        for left_behind in (taken, taken.sending(CLOCK.now_ms()), taken.sending(1).dead()):
            with store.exclusive(within_s=1):
                store.save(left_behind)
            tokens = bearer_tokens(tmp_path, settings_of(server), given("refresh-wrong"), CLOCK)
            assert token_of(tokens) == "access-stored"
            assert store.read().has_taken("refresh-wrong", CLIENT_ID)


def test_a_refusal_with_status_200_is_one(tmp_path: Path) -> None:
    """The refresh token is not sent twice, and why it is dead is said."""
    rules, denied = Authorisation(refuses_with_200=True), list[str]()
    store_token(tmp_path, "unknown", left_ms=-1)
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(), CLOCK, on_denied=denied.append)
        assert reason_of(lambda: token_of(tokens)) is WaitReason.CREDENTIAL
    assert (rules.spent, denied) == (["unknown"], ["invalid_grant"])


def test_a_wrong_secret_spends_nothing(tmp_path: Path) -> None:
    """The right one works at once."""
    rules = Authorisation(client_secret="right")
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        wrong = bearer_tokens(tmp_path, settings_of(server), given(refresh_token, "wrong"), CLOCK)
        assert reason_of(lambda: token_of(wrong)) is WaitReason.CREDENTIAL
        right = bearer_tokens(tmp_path, settings_of(server), given(refresh_token, "right"), CLOCK)
        assert rules.accepts(token_of(right))


def test_a_login_meets_a_run(tmp_path: Path) -> None:
    """What it stores is used at the next call."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        token_of(tokens)
        store = CredentialsFile(tmp_path)
        with store.exclusive(within_s=1):
            store.save(store.read().logged_in("c-2", Granted("a-2", "r-2", DAY_MS), asked_ms=CLOCK.now_ms()))
        assert token_of(tokens) == "a-2"


def test_the_way_to_the_endpoint_is_the_proxy_and_its_authority_ours(tmp_path: Path) -> None:
    """As for the API."""
    rules, proxy, authority = Authorisation(), Proxy("password"), Authority(tmp_path)
    with served(rules, time.monotonic) as server:
        front = Front(int(server.url.rpartition(":")[2]), tls=authority.server_context())
        settings = read_settings(
            {
                "CONSTANT_CONTACT_TOKEN_URL": f"https://127.0.0.1:{front.port}{PATH}/token",
                "CONSTANT_CONTACT_PROXY": f"http://me:password@127.0.0.1:{proxy.port}",
                "CONSTANT_CONTACT_CA_BUNDLE": str(authority.bundle),
            },
            is_logged_in=True,
        )
        with closing_all(front, proxy):
            assert rules.accepts(token_of(bearer_tokens(tmp_path, settings, given(rules.grant()), CLOCK)))
    assert proxy.asked == [f"127.0.0.1:{front.port}"]


class _FullDisk(CredentialsFile):
    """Has no room for the next save but so many."""

    fails_in = 99

    def save(self, tokens: StoredTokens) -> None:
        self.fails_in -= 1
        if self.fails_in == 0:
            raise StandstillError("no space left", is_passing=True)
        super().save(tokens)


def test_tokens_that_could_not_be_saved_are_saved_before_they_are_used(tmp_path: Path) -> None:
    """Nothing is spent again for that."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        client, store = given(rules.grant()), _FullDisk(tmp_path)
        tokens = Tokens(store, authorization_server(settings_of(server), client, CLOCK), CLOCK, client)
        store.fails_in = 3
        with pytest.raises(StandstillError):
            token_of(tokens)
        token = token_of(tokens)
        assert rules.accepts(token)
    saved = CredentialsFile(tmp_path).read().access
    assert saved
    assert saved.text == token
    assert len(rules.spent) == 1


# --- processes ------------------------------------------------------------------------------------

# Asks for a token, and is killed before a save, in the middle of it, or after it.
_PROCESS = """
import os, signal, sys
from pathlib import Path
from contact_activity.clock import SystemClock
from contact_activity.constant_contact.tokens import Tokens
from contact_activity.errors import WaitError
from contact_activity.constant_contact import oauth
from contact_activity.state import credentials_file
from contact_activity.settings import read_credentials, read_settings

point, save = sys.argv[2], int(sys.argv[3])
# A shell has what it runs in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Killed(credentials_file.CredentialsFile):
    saves = 0
    def save(self, stored):
        self.saves += 1
        if self.saves == save and point == "inside":
            Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        if self.saves == save and point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().save(stored)
        if self.saves == save and point == "after":
            os.kill(os.getpid(), signal.SIGKILL)

given = read_credentials(os.environ, is_logged_in=True)
clock, folder = SystemClock(), Path(sys.argv[1])
server = oauth.authorization_server(read_settings(os.environ, is_logged_in=True), given, clock)
try:
    asked = Tokens(Killed(folder), server, clock, given)
    print(asked.access_token(deadline_ms=clock.monotonic_ms() + 60_000))
except WaitError as wait:
    print(wait)
"""


def start(
    server: AuthorisationServer, folder: Path, refresh_token: str | None, *kill: str
) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SHARED),
        "CONSTANT_CONTACT_TOKEN_URL": server.token_url,
        "CONSTANT_CONTACT_CLIENT_ID": CLIENT_ID,
        "CONSTANT_CONTACT_REFRESH_TOKEN": refresh_token or "",
    }
    command = [sys.executable, "-c", _PROCESS, str(folder), *(kill or ("never", "0"))]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def ask(server: AuthorisationServer, folder: Path, refresh_token: str | None, *kill: str) -> str | None:
    """Return what a process prints; None if it was killed."""
    with start(server, folder, refresh_token, *kill) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL)
    return out.strip() if process.returncode == 0 else None


# The saves of a first refresh: the token is taken, it is sent, the pair has come.
@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "save", "spent", "works"),
    [
        ("before", 1, 1, True),
        ("inside", 1, 1, True),
        ("after", 1, 1, True),
        ("before", 2, 1, True),
        ("after", 2, 1, True),
        ("before", 3, 2, False),
        ("inside", 3, 2, False),
        ("after", 3, 1, True),
    ],
)
def test_kill_9_at_any_moment_of_a_refresh(
    tmp_path: Path, point: str, save: int, spent: int, works: bool
) -> None:
    """Only what came and was not saved is lost: the same refresh token is tried once more, and no more."""
    rules = Authorisation()
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        assert ask(server, tmp_path, refresh_token, point, str(save)) is None
        found = ask(server, tmp_path, refresh_token)
        assert found
        assert rules.accepts(found) is works
        assert ask(server, tmp_path, refresh_token) == found
    assert rules.spent == [refresh_token] * spent
    assert works or found == "wait: credential"


@pytest.mark.parametrize(("point", "save"), [("before", 2), ("inside", 2)])
def test_kill_9_before_the_pair_is_saved_leaves_the_living_token(
    tmp_path: Path, point: str, save: int
) -> None:
    """No refresh token is spent again as long as it lives."""
    rules = Authorisation()
    store_token(tmp_path, rules.grant(), left_ms=60_000)
    with served(rules, time.monotonic) as server:
        assert ask(server, tmp_path, None, point, str(save)) is None
        for _ in range(2):
            assert ask(server, tmp_path, None) == "access-stored"
    assert len(rules.spent) == 1


def test_a_process_that_is_interrupted_saves_what_is_on_its_way(tmp_path: Path) -> None:
    """Ctrl-C, and SIGTERM which a run takes for it, lose no answer."""
    rules = Authorisation()
    refresh_token = rules.grant()
    with served(rules, time.monotonic, answer_after_s=4.0) as server:
        with start(server, tmp_path, refresh_token) as process:
            while not rules.spent:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert process.returncode != 0
        found = ask(server, tmp_path, refresh_token)
    assert found
    assert rules.accepts(found)
    assert rules.spent == [refresh_token]


def test_processes_that_start_at_once_spend_one_token(tmp_path: Path) -> None:
    """The lock lasts from reading to saving."""
    rules = Authorisation()
    refresh_token = rules.grant()
    with served(rules, time.monotonic, answer_after_s=0.5) as server:
        processes = [start(server, tmp_path, refresh_token) for _ in range(4)]
        found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(found) == 1
    assert rules.accepts(found.pop())
    assert rules.spent == [refresh_token]


# --- the client -----------------------------------------------------------------------------------

VERSION = ApiVersion(Call("/contacts", {"limit": "1"}, lambda body: body), lambda _: {})


@contextmanager
def client_of(server: AuthorisationServer, tokens: BearerTokens) -> Iterator[ApiClient]:
    with closing(Database(":memory:")) as database:
        limiter = sqlite_limiter(database, Limits(100, 1_000), CLOCK)
        with closing(ApiClient(server.base_url, tokens, limiter, CLOCK)) as client:
            yield client


def call(client: ApiClient) -> object:
    return client.call(VERSION.neutral_call, VERSION, deadline_ms=soon_ms())


def test_a_client_sends_the_bearer_and_nothing_else(tmp_path: Path) -> None:
    """No credential is in the URL."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        with client_of(server, tokens) as client:
            assert call(client) == {"contacts": []}
            client.probe(VERSION, deadline_ms=soon_ms())
        assert [path for path, _ in server.requests[1:]] == ["/v3/contacts?limit=1"] * 2


def test_a_token_that_both_calls_refuse_is_renewed_at_once(tmp_path: Path) -> None:
    """However recent the last refresh. What it brings is accepted, and may be renewed again."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        with client_of(server, tokens) as client:
            for _ in range(2):
                rules.refused_access.add(token_of(tokens))
                assert call(client) == {"contacts": []}
            rules.refused_access.add(token_of(tokens))
            client.probe(VERSION, deadline_ms=soon_ms())
    assert len(rules.spent) == 4
    assert not CredentialsFile(tmp_path).read().is_unproven


def test_a_new_token_that_both_calls_refuse_is_a_dead_credential(tmp_path: Path) -> None:
    """One refresh, then nothing more, also in the next process. A new token of the environment works."""
    rules = Authorisation()
    first, second = rules.grant(), rules.grant()
    rules.accepts_any = False
    with served(rules, time.monotonic) as server:
        for _ in range(2):
            tokens = bearer_tokens(tmp_path, settings_of(server), given(first), CLOCK)
            with client_of(server, tokens) as client:
                assert reason_of(lambda client=client: call(client)) is WaitReason.CREDENTIAL  # type: ignore[misc]
                assert reason_of(lambda client=client: client.probe(VERSION, deadline_ms=soon_ms()))  # type: ignore[misc]
        assert len(rules.spent) == 2
        rules.accepts_any = True
        tokens = bearer_tokens(tmp_path, settings_of(server), given(second), CLOCK)
        with client_of(server, tokens) as client:
            client.probe(VERSION, deadline_ms=soon_ms())
    assert len(rules.spent) == 3


def test_a_401_of_one_resource_refreshes_nothing(tmp_path: Path) -> None:
    """The neutral call is accepted, so that the token is well."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(rules.grant()), CLOCK)
        with client_of(server, tokens) as client:
            refused = Call("/refused", {}, lambda body: body)
            with pytest.raises(Exception, match="refuses this resource: 401"):
                client.call(refused, VERSION, deadline_ms=soon_ms())
    assert len(rules.spent) == 1


@contextmanager
def client_of_one_account(
    server: AuthorisationServer, folder: Path, credentials: V3Credentials, said: list[str] | None = None
) -> Iterator[ApiClient]:
    """A client whose tokens are of the account that the folder is of."""
    transport = HttpTransport(server.base_url, connections=1)
    with closing(Database(":memory:")) as database, closing(transport):
        limiter = sqlite_limiter(database, Limits(100, 1_000), CLOCK)
        identify = identified_by(server.base_url, limiter, CLOCK, transport, VERSION)
        tell = (said if said is not None else []).append
        tokens = bearer_tokens(folder, settings_of(server), credentials, CLOCK, tell, identify)
        with closing(ApiClient(server.base_url, tokens, limiter, CLOCK)) as client:
            yield client


def test_a_folder_stays_with_its_account(tmp_path: Path) -> None:
    """A token of another account makes no call but the one that says so. One call for each new token."""
    rules = Authorisation()
    first, second = rules.grant(), rules.grant()
    with served(rules, time.monotonic) as server:
        for _ in range(2):
            with client_of_one_account(server, tmp_path, given(first)) as client:
                assert call(client) == call(client) == {"contacts": []}
        asked = [path for path, _ in server.requests]
        assert asked.count("/v3/account/summary") == 1
        rules.account_id = "another"
        elsewhere = bearer_tokens(tmp_path / "elsewhere", settings_of(server), given(rules.grant()), CLOCK)
        trial = V3Credentials(access_token=token_of(elsewhere))
        del server.requests[:]
        for credentials in (given(second), trial):
            with (
                client_of_one_account(server, tmp_path, credentials) as client,
                pytest.raises(SettingsError, match="--state"),
            ):
                call(client)
        assert [path for path, _ in server.requests if path != f"{PATH}/token"] == ["/v3/account/summary"] * 2


def test_a_token_that_may_not_ask_for_its_account_is_used(tmp_path: Path) -> None:
    """With a warning."""
    rules, said = Authorisation(account_id=None), list[str]()
    with (
        served(rules, time.monotonic) as server,
        client_of_one_account(server, tmp_path, given(rules.grant()), said) as client,
    ):
        assert call(client) == {"contacts": []}
    assert ["account_read" in line for line in said] == [True]


def test_a_refused_token_is_renewed_before_its_account_is_known(tmp_path: Path) -> None:
    """The call that asks whose it is may be the first to be refused."""
    rules = Authorisation()
    store_token(tmp_path, rules.grant(), left_ms=DAY_MS)
    with (
        served(rules, time.monotonic) as server,
        client_of_one_account(server, tmp_path, given()) as client,
    ):
        assert call(client) == {"contacts": []}
    assert len(rules.spent) == 1


def test_nothing_that_is_said_holds_a_token(tmp_path: Path) -> None:
    """Neither lines for the operator nor the file's name, nor the text of the objects."""
    rules, said = Authorisation(faults=deque([BUSY, LOST, LOST])), list[str]()
    refresh_token = rules.grant()
    with served(rules, time.monotonic) as server:
        tokens = bearer_tokens(tmp_path, settings_of(server), given(refresh_token), CLOCK, said.append)
        assert reason_of(lambda: token_of(tokens)) is WaitReason.CREDENTIAL
    assert len(said) == 3
    shown = json.dumps(said) + repr(tokens) + repr(CredentialsFile(tmp_path).read())
    assert "refresh-" not in shown
    assert "access-" not in shown
