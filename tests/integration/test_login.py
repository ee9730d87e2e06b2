"""`contact-activity login` and `logout`, as processes, against an authorization server over real HTTP."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.oauth import authorization_server
from contact_activity.domain.account import StoredAccount
from contact_activity.operations.login import code_login
from contact_activity.operations.loopback import Redirect, await_redirect, read_redirect
from contact_activity.run.account_file import AccountFile
from contact_activity.run.errors import RunError
from contact_activity.settings import V3Credentials, read_settings
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.authorisation import BUSY, CLIENT_ID, LOST, Authorisation, AuthorisationServer, served
from tests.support.command_line import SHARED, run_command
from tests.support.fronts import free_port

AGAIN = "contact-activity login --code"
KEY_OF_V2 = {"CONSTANT_CONTACT_API_KEY": "hunter2", "CONSTANT_CONTACT_CLIENT_ID": ""}


def given_to(server: AuthorisationServer) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CONSTANT_CONTACT_TOKEN_URL": server.token_url,
        "CONSTANT_CONTACT_CLIENT_ID": CLIENT_ID,
    }


@contextmanager
def started(
    server: AuthorisationServer, state: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a command of an operator who has no browser."""
    command = [sys.executable, "-m", "contact_activity", *arguments, "--state", str(state)]
    with subprocess.Popen(
        command,
        env=given_to(server) | {"PYTHONPATH": str(SHARED)} | environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process


def run(
    server: AuthorisationServer, state: Path, *arguments: str, **environment: str
) -> tuple[int, str, str]:
    ended = run_command(*arguments, "--state", str(state), environment=given_to(server) | environment)
    return ended.returncode, ended.stdout, ended.stderr


def stored(state: Path) -> dict[str, object]:
    loaded = json.loads((state / "credentials.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_a_device_login_stores_tokens_that_only_the_owner_reads(tmp_path: Path) -> None:
    """It shows address and code, waits as it is told, asks for the scopes, and keeps the pair."""
    rules = Authorisation(device_answers=deque(["authorization_pending", "authorization_pending"]))
    with served(rules, time.monotonic) as server:
        status, out, err = run(server, tmp_path, "login", "--no-browser")
    assert (status, out.count("\n")) == (0, 1)
    assert "https://portal.example.org/activate" in err
    assert "WDJB-MJHT" in err
    assert "waiting until the code is entered; it lives for 10 min" in err
    assert set(rules.scopes) == {"contact_data", "campaign_data", "account_read", "offline_access"}
    assert len(rules.called_s) == 3
    assert all(
        later - before > 0.9 for before, later in zip(rules.called_s, rules.called_s[1:], strict=False)
    )
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    found = stored(tmp_path)
    assert found["client_id"] == CLIENT_ID
    assert str(found["refresh_token"]).startswith("refresh-")
    assert not [token for token in (found["refresh_token"], found["access_token"]) if str(token) in out + err]


def test_a_device_login_slows_down_when_it_is_told_to(tmp_path: Path) -> None:
    """By five seconds, as RFC 8628 says. An answer that is lost or busy is asked for again."""
    rules = Authorisation(device_answers=deque(["slow_down"]), interval_s=0)
    with served(rules, time.monotonic) as server:
        assert run(server, tmp_path, "login", "--no-browser")[0] == 0
    first, second = rules.called_s
    assert second - first > 5.9


def test_a_device_login_draws_nothing_into_a_log(tmp_path: Path) -> None:
    """Also where colours are forced, as CI does."""
    with served(Authorisation(interval_s=0), time.monotonic) as server:
        status, _, err = run(server, tmp_path, "login", "--no-browser", FORCE_COLOR="1")
    assert status == 0
    assert "waiting until the code is entered" in err
    assert "\x1b" not in err


def test_a_token_endpoint_of_another_server_ends_a_device_login_at_once(tmp_path: Path) -> None:
    """Not when the code has expired: the setting is named after the first poll."""
    with served(Authorisation(token_status=405), time.monotonic) as server:
        status, _, err = run(server, tmp_path, "login", "--no-browser")
    assert status == 1
    assert "(status 405): check CONSTANT_CONTACT_TOKEN_URL" in err.splitlines()[-1]
    assert len(server.requests) == 2


def test_a_denial_with_status_200_ends_a_device_login(tmp_path: Path) -> None:
    """What waits for the user in such an answer is waited for."""
    answers = deque(["authorization_pending", "access_denied"])
    rules = Authorisation(device_answers=answers, refuses_with_200=True)
    with served(rules, time.monotonic) as server:
        status, _, err = run(server, tmp_path, "login", "--no-browser")
    assert status == 1
    assert "denied in the browser" in err.splitlines()[-1]
    assert len(rules.called_s) == 2


@pytest.mark.parametrize(
    ("answers", "faults", "life_s", "status", "told"),
    [
        (["access_denied"], [], 600, 1, "denied in the browser"),
        (["expired_token"], [], 600, 1, "has expired"),
        (["authorization_pending"] * 9, [], 2, 1, "has expired"),
        (["unauthorized_client"], [], 600, 2, "CONSTANT_CONTACT_CLIENT_ID"),
        (["server_says_so"], [], 2, 1, "has expired"),
        ([], [BUSY], 600, 0, ""),
        ([], [LOST], 600, 1, "invalid_grant"),
    ],
)
def test_a_device_login_that_comes_to_nothing_says_why(
    tmp_path: Path, answers: list[str], faults: list[str], life_s: int, status: int, told: str
) -> None:
    """In one line that says what to do. Nothing is stored."""
    rules = Authorisation(device_answers=deque(answers), faults=deque(faults), device_life_s=life_s)
    with served(rules, time.monotonic) as server:
        found, _, err = run(server, tmp_path, "login", "--no-browser")
    assert found == status
    last = err.splitlines()[-1]
    assert told in last
    assert status == 0 or f"run `contact-activity login --no-browser --state {tmp_path}` again" in last
    # What the portal says of the application is to be changed there.
    assert ("`contact-activity login --help`" in last) is (status == 2 or told == "invalid_grant")
    assert (tmp_path / "credentials.json").exists() is (status == 0)


def test_a_wrong_client_id_that_was_given_is_not_repeated(tmp_path: Path) -> None:
    """The option is named that gave it, and left open in the command."""
    with served(Authorisation(), time.monotonic) as server:
        status, _, err = run(server, tmp_path, "login", "--no-browser", "--client-id", "wrong-1")
    last = err.splitlines()[-1]
    assert status == 2
    assert last.startswith("contact-activity: --client-id, or ")
    assert f"run `contact-activity login --client-id ID --no-browser --state {tmp_path}`" in last
    assert "wrong-1" not in last


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"CONSTANT_CONTACT_CLIENT_ID": ""},
            ("CONSTANT_CONTACT_CLIENT_ID", "My Applications", "New Application", "login --help"),
        ),
        (KEY_OF_V2, ("CONSTANT_CONTACT_CLIENT_ID", "API key (Client ID)")),
        ({"CONSTANT_CONTACT_API_VERSION": "v2"}, ("CONSTANT_CONTACT_API_VERSION",)),
        ({"CONSTANT_CONTACT_CLIENT_ID": "another"}, ("CONSTANT_CONTACT_CLIENT_ID", "copy it again")),
        ({"CONSTANT_CONTACT_TOKEN_URL": "http://example.org/token"}, ("CONSTANT_CONTACT_TOKEN_URL",)),
    ],
)
def test_wrong_settings_of_a_login_are_named(
    tmp_path: Path, environment: dict[str, str], told: tuple[str, ...]
) -> None:
    """Exit 2 and one line, without any value."""
    with served(Authorisation(), time.monotonic) as server:
        status, out, err = run(server, tmp_path, "login", "--no-browser", **environment)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(name in err for name in told)
    assert "hunter2" not in err
    assert "secret text" not in err


def test_a_login_without_a_refresh_token_says_until_when_it_works(tmp_path: Path) -> None:
    """And names the way that brings one."""
    with served(Authorisation(has_refresh_token=False), time.monotonic) as server:
        status, out, _ = run(server, tmp_path, "login", "--no-browser")
    assert status == 0
    assert re.search(r"logged in until (?:today|tomorrow) \d\d:\d\d UTC", out)
    assert f"or `contact-activity login --code --no-browser --state {tmp_path}`" in out
    assert "`contact-activity login --help`" in out
    assert stored(tmp_path)["refresh_token"] is None


def test_the_environment_goes_before_a_login_and_the_login_says_so(tmp_path: Path) -> None:
    """A refresh token that was never taken would win at the next run."""
    with served(Authorisation(), time.monotonic) as server:
        given = {"CONSTANT_CONTACT_REFRESH_TOKEN": "hunter2"}
        _, out, _ = run(server, tmp_path, "login", "--no-browser", **given)
    assert "CONSTANT_CONTACT_REFRESH_TOKEN is set" in out
    assert "hunter2" not in out


def test_a_pasted_address_ends_a_code_login(tmp_path: Path) -> None:
    """Addresses of another sign-in, and anything else, are passed over."""
    rules = Authorisation()
    with (
        served(rules, time.monotonic) as server,
        started(server, tmp_path, "login", "--code", "--no-browser") as process,
    ):
        assert process.stderr
        assert process.stdin
        line = process.stderr.readline()
        address = rules.authorize(line.removeprefix("Open ").strip())
        process.stdin.write(f"what?\nhttp://localhost:8765/callback?code=x&state=y\n{address}\n")
        process.stdin.flush()
        assert process.wait(timeout=30) == 0
    assert str(stored(tmp_path)["refresh_token"]).startswith("refresh-")


@pytest.mark.parametrize("secret", [None, "s:/?%"])
def test_the_browser_comes_back_to_this_machine(secret: str | None) -> None:
    """With PKCE, and with the secret of the application if it has one. A wrong state gets nothing."""
    rules = Authorisation(client_secret=secret)
    port = free_port()

    def sign_in(url: str) -> None:
        address = rules.authorize(url)
        wrong = address.rpartition("state=")[0] + "state=guessed"
        visits.append(subprocess.Popen([sys.executable, "-c", _VISIT, wrong, address], text=True, stdout=-1))

    visits: list[subprocess.Popen[str]] = []
    with served(rules, time.monotonic) as server:
        settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": server.token_url}, is_logged_in=True)
        authorization = authorization_server(settings, V3Credentials(CLIENT_ID, secret), SystemClock())
        login = code_login(authorization, SystemClock(), sign_in, None, port, command=AGAIN)
    assert login.granted.refresh_token
    assert login.granted.life_ms == 86_400_000
    out, _ = visits[0].communicate(timeout=10)
    assert out.split() == ["404", "200"]


def _hosts() -> list[str]:
    """The addresses of `localhost` that this machine has."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", _hosts())
def test_a_browser_may_take_localhost_for_either_address(host: str) -> None:
    """As it, or the machine, prefers. Where another program listens at one, nobody is sent there."""
    port = free_port()
    visits: list[socket.socket] = []

    def visit() -> None:
        visits.append(socket.create_connection((host, port), timeout=10))
        visits[0].sendall(b"GET /callback?code=c-1&state=s HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert await_redirect(port, "s", None, visit, within_s=10, again="") == Redirect("c-1")
    visits[0].close()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    other = free_port()
    with (
        socket.create_server((host, other), family=family),
        pytest.raises(RunError, match=f"port {other} is in use"),
    ):
        await_redirect(other, "s", None, lambda: None, within_s=10, again="")


_VISIT = """
import sys, urllib.error, urllib.request
for address in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(address).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_a_code_login_that_is_denied_or_has_no_way_back_says_so() -> None:
    """The error of the redirect decides, and only of a redirect of this sign-in."""
    assert read_redirect("/callback?code=c-1&state=s", "s") == Redirect("c-1")
    assert read_redirect(" https://localhost/callback?error=access_denied&state=s\n", "s") == Redirect(
        error="access_denied"
    )
    assert read_redirect("/callback?error=<script>&state=s", "s") == Redirect(error="unknown error")
    for other in ("/callback?code=c", "/callback?code=c&state=t", "/?code=c&state=s", "http://[x", ""):
        assert read_redirect(other, "s") is None
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": server.token_url}, is_logged_in=True)
        authorization = authorization_server(settings, V3Credentials(CLIENT_ID), SystemClock())
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(RunError, match=f"in use.*run `{AGAIN}` again"):
            code_login(authorization, SystemClock(), lambda _: None, None, port, command=AGAIN)


def test_a_browser_that_is_sent_nowhere_is_a_matter_of_the_portal() -> None:
    """An application with another redirect address ends in the browser, and nothing comes here."""
    port = free_port()
    with pytest.raises(RunError, match="nobody signed in") as raised:
        await_redirect(port, "s", None, lambda: None, within_s=0.1, again=f"run `{AGAIN}` again")
    assert f"Redirect URI http://localhost:{port}/callback, as `contact-activity login --help` says" in str(
        raised.value
    )
    assert str(raised.value).endswith(f"run `{AGAIN}` again")


def test_a_login_that_is_hinted_at_needs_no_client_id_again(tmp_path: Path) -> None:
    """The folder knows the application of its last login; the environment comes first."""
    nothing = {"CONSTANT_CONTACT_CLIENT_ID": ""}
    with served(Authorisation(), time.monotonic) as server:
        for client_id in (["--client-id", CLIENT_ID], []):
            status, _, err = run(server, tmp_path, "login", "--no-browser", *client_id, **nothing)
            assert status == 0, err
        given = {"CONSTANT_CONTACT_CLIENT_ID": "another"}
        assert run(server, tmp_path, "login", "--no-browser", **given)[0] == 2
    assert stored(tmp_path)["client_id"] == CLIENT_ID


def test_a_code_that_is_not_of_this_sign_in_brings_nothing() -> None:
    """The server checks the verifier of PKCE."""
    rules = Authorisation()
    with served(rules, time.monotonic) as server:
        settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": server.token_url}, is_logged_in=True)
        authorization = authorization_server(settings, V3Credentials(CLIENT_ID), SystemClock())
        url = authorization.authorize_url(state="s", verifier="v" * 43, redirect_uri="http://localhost/c")
        code = rules.authorize(url).partition("code=")[2].partition("&")[0]
        answer = authorization.exchange(code, verifier="w" * 43, redirect_uri="http://localhost/c")
    assert str(answer) == "Denied(error='invalid_grant')"


@pytest.mark.parametrize(
    ("account_id", "status", "told"),
    [
        ("p07e1l8cdif9dl", 0, "logged in"),
        ("another", 2, "another Constant Contact account"),
        (None, 0, "is not known yet"),
    ],
)
def test_a_login_is_of_the_account_of_the_folder(
    tmp_path: Path, account_id: str | None, status: int, told: str
) -> None:
    """Another one is refused, and nothing of it is stored."""
    AccountFile(tmp_path).save(StoredAccount("p07e1l8cdif9dl", ""))
    with served(Authorisation(account_id=account_id), time.monotonic) as server:
        where = {"CONSTANT_CONTACT_BASE_URL": server.base_url}
        found, out, err = run(server, tmp_path, "login", "--no-browser", **where)
    assert found == status
    assert told in out + err
    assert CredentialsFile(tmp_path).read().is_empty is (status != 0)


def test_a_logout_keeps_only_what_was_taken(tmp_path: Path) -> None:
    """A refresh token of the environment is spent: it must not be taken again."""
    store = CredentialsFile(tmp_path)
    with served(Authorisation(), time.monotonic) as server:
        assert run(server, tmp_path / "none", "logout")[0] == 0
        assert not (tmp_path / "none").exists()
        run(server, tmp_path, "login", "--no-browser")
        assert run(server, tmp_path, "logout")[:2] == (
            0,
            f"logged out: --state {tmp_path} holds no tokens any more\n",
        )
        assert not (tmp_path / "credentials.json").exists()
        with store.exclusive(within_s=1):
            store.save(store.read().taking("refresh-0", CLIENT_ID))
        assert run(server, tmp_path, "logout")[0] == 0
        assert "nothing to remove" in run(server, tmp_path, "logout")[1]
    assert store.read().is_empty
    assert store.read().has_taken("refresh-0", CLIENT_ID)


def test_a_run_of_a_wrong_application_names_its_settings(tmp_path: Path) -> None:
    """Not the refresh token, which is good, and is not spent."""
    rules = Authorisation()
    given = {
        "CONSTANT_CONTACT_CLIENT_ID": "another",
        "CONSTANT_CONTACT_REFRESH_TOKEN": rules.grant(),
    }
    with served(rules, time.monotonic) as server:
        given["CONSTANT_CONTACT_BASE_URL"] = server.base_url
        status, _, err = run(server, tmp_path, "run", **given)
    assert status == 3
    last = err.splitlines()[-1]
    assert "CONSTANT_CONTACT_CLIENT_ID, or CONSTANT_CONTACT_CLIENT_SECRET" in last
    assert "CONSTANT_CONTACT_REFRESH_TOKEN" not in last
    assert rules.spent == []


def test_a_file_that_holds_no_tokens_is_named(tmp_path: Path) -> None:
    """One line that says what to do, before anybody signs in."""
    (tmp_path / "credentials.json").write_text('{"form": 1, "refresh_token": "hunter2"', encoding="utf-8")
    with served(Authorisation(), time.monotonic) as server:
        for command in (["login", "--no-browser"], ["logout"], ["run"]):
            status, _, err = run(server, tmp_path, *command, CONSTANT_CONTACT_CLIENT_ID=CLIENT_ID)
            assert (status, err.count("\n")) == (1, 1)
            assert "credentials.json holds no tokens of ours: delete it" in err
            assert f"`contact-activity login --state {tmp_path}`" in err
            assert "hunter2" not in err
        assert server.requests == []
