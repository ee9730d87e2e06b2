"""A run that cannot reach the API: what it says, and when it gives up. Proxies and CA bundles."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contact_activity.errors import Cause
from contact_activity.run.connection_watch import MAX_CONNECTION_TRIES
from contact_activity.run.state_folder import ACCOUNT_DATABASE
from contact_activity.simulated import Server
from contact_activity.sqlite.contacts import SqliteContacts
from contact_activity.sqlite.database import Database
from tests.support.certificates import Authority
from tests.support.command_line import run_command
from tests.support.fronts import Front, Proxy, Treatment, closing_all, free_port
from tests.support.running import ACCESS_TOKEN, API_KEY, Operator, account_of, served, truth_of

ENDS_WITHIN_S = 5.0
# For the process to start on a machine that does other work too.
STARTS_WITHIN_S = 5.0
PASSWORD = "canary-password-3b1d"
URL, PROXY, CA_BUNDLE = "CONSTANT_CONTACT_BASE_URL", "CONSTANT_CONTACT_PROXY", "CONSTANT_CONTACT_CA_BUNDLE"
CONTACTS = 12


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(account_of(CONTACTS)) as server:
        yield server


def port_of(server: Server) -> int:
    return int(re.findall(r":(\d+)", server.base_url)[0])


@pytest.fixture
def operator(tmp_path: Path, server: Server) -> Operator:
    return Operator.of(tmp_path, server)


def status_of(operator: Operator) -> dict[str, Any]:
    asked = ["status", "--json", "--state", str(operator.state_dir)]
    ended = run_command(*asked, environment=operator.environment)
    assert ended.returncode == 0, ended.stderr
    (system,) = json.loads(ended.stdout)["systems"]
    found: dict[str, Any] = system
    return found


def tells_nothing_secret(operator: Operator) -> bool:
    """Whether no output and no file holds a credential, a password or an address."""
    written = b"".join(path.read_bytes() for path in operator.state_dir.rglob("*") if path.is_file())
    said = "".join(operator.said).encode()
    secrets = (API_KEY, ACCESS_TOKEN, PASSWORD)
    return not [secret for secret in secrets if secret.encode() in written + said] and b"@" not in said


def took_s(stderr: str) -> float:
    (found,) = re.findall(r" in ([\d.]+) s", stderr)
    return float(found)


def failed_calls(stderr: str) -> dict[str, int]:
    """Return the failed calls of the summary, by cause."""
    (line,) = re.findall(r"^\d+ calls? failed: (.*)\.$", stderr, re.MULTILINE)
    return {cause: int(count) for cause, count in re.findall(r"([^,]+?) \((\d+)\)", line)}


@contextmanager
def unreachable(how: str, operator: Operator, server: Server, folder: Path) -> Iterator[Cause]:
    """Make the API unreachable. Return the cause that the run must report."""
    nobody = free_port()
    if how == "closed port":
        operator.environment[URL] = f"http://127.0.0.1:{nobody}/v2"
        yield Cause.CONNECTION_REFUSED
    elif how == "closed port of the proxy":
        operator.environment[PROXY] = f"http://me:{PASSWORD}@127.0.0.1:{nobody}"
        operator.environment[URL] = "https://127.0.0.1/v2"
        yield Cause.CONNECTION_REFUSED
    elif how == "unknown host":
        operator.environment[URL] = "https://no-such-host.invalid/v2"
        yield Cause.UNKNOWN_HOST
    elif how == "unknown proxy":
        operator.environment[PROXY] = f"http://me:{PASSWORD}@no-such-host.invalid:3128"
        operator.environment[URL] = "https://127.0.0.1/v2"
        yield Cause.UNKNOWN_HOST
    elif how.endswith("behind the proxy"):
        proxy = Proxy(PASSWORD)
        given = "wrong" if how.startswith("password") else PASSWORD
        host = "no-such-host.invalid" if how.startswith("unknown host") else f"127.0.0.1:{nobody}"
        operator.environment[PROXY] = f"http://me:{given}@127.0.0.1:{proxy.port}"
        operator.environment[URL] = f"https://{host}/v2"
        with closing_all(proxy):
            yield Cause.PROXY_REFUSED
    else:
        front = Front(port_of(server), tls=Authority(folder, "Their Authority").server_context())
        operator.environment[URL] = f"https://127.0.0.1:{front.port}/v2"
        if how == "certificate of another authority":
            operator.environment[CA_BUNDLE] = str(Authority(folder, "Another Authority").bundle)
        with closing_all(front):
            yield Cause.CERTIFICATE_UNTRUSTED


HOPELESS = [
    "closed port",
    "closed port of the proxy",
    "unknown host",
    "unknown proxy",
    "password that is refused behind the proxy",
    "unknown host behind the proxy",
    "closed port behind the proxy",
    "certificate of no known authority",
    "certificate of another authority",
]


@pytest.mark.parametrize("how", HOPELESS)
def test_a_one_time_run_that_cannot_connect_ends_and_says_what_to_check(
    operator: Operator, server: Server, tmp_path: Path, how: str
) -> None:
    """After three tries and within 5 s: exit status 1, and one line with the cause and the settings."""
    with unreachable(how, operator, server, tmp_path) as cause:
        ended = operator.run()
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1
    assert took_s(ended.stderr) < ENDS_WITHIN_S
    assert last.startswith(f"contact-activity: no call reached the API: {cause}: check CONSTANT_CONTACT_")
    assert (CA_BUNDLE in last) == (cause is Cause.CERTIFICATE_UNTRUSTED)
    assert failed_calls(ended.stderr) == {cause.value: MAX_CONNECTION_TRIES}
    assert ended.stderr.count("tried again") == 1
    assert status_of(operator)["tick_failure"]["error"] == cause.value
    assert tells_nothing_secret(operator)


def test_a_credential_that_was_refused_before_is_no_cause_where_nobody_answers(
    operator: Operator, server: Server
) -> None:
    """The one probe of the run meets a closed port: exit status 1, and 3 when the API refuses it again."""
    operator.environment["CONSTANT_CONTACT_ACCESS_TOKEN"] = "old"
    assert operator.run().returncode == 3
    operator.environment[URL] = f"http://127.0.0.1:{free_port()}/v2"
    ended = operator.run()
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert f"the last call failed: {Cause.CONNECTION_REFUSED}: check {URL}" in last
    operator.environment[URL] = server.base_url
    assert operator.run().returncode == 3


def test_a_slow_pace_does_not_delay_the_end(operator: Operator) -> None:
    """A run that cannot connect takes no slot, and uses no call of the day."""
    operator.environment |= {URL: f"http://127.0.0.1:{free_port()}/v2", "CALLS_PER_SECOND": "0.05"}
    ended = operator.run()
    assert took_s(ended.stderr) < ENDS_WITHIN_S
    assert failed_calls(ended.stderr) == {Cause.CONNECTION_REFUSED.value: MAX_CONNECTION_TRIES}
    assert " 0 calls today" in ended.stderr


def test_workers_that_cannot_connect_end_the_run_and_no_contact_fails(
    operator: Operator, server: Server
) -> None:
    """The API vanishes after the listing. The workers make three tries together; every contact stays due."""
    operator.environment["CALLS_PER_SECOND"] = "1"
    front = Front(port_of(server), closes_after=1)
    operator.environment[URL] = f"http://127.0.0.1:{front.port}/v2"
    with closing_all(front):
        ended = operator.run()
    assert (ended.returncode, front.met) == (1, 1)
    assert took_s(ended.stderr) < ENDS_WITHIN_S
    assert failed_calls(ended.stderr) == {Cause.CONNECTION_REFUSED.value: MAX_CONNECTION_TRIES}
    with closing(Database(operator.state_dir / ACCOUNT_DATABASE)) as database:
        outlines = list(SqliteContacts(database).outlines())
    assert [(of.failures, of.synced_ms, of.last_error) for of in outlines] == [(0, None, None)] * CONTACTS
    operator.environment |= {URL: server.base_url, "CALLS_PER_SECOND": "100"}
    assert operator.run().returncode == 0
    published = operator.published()
    assert len(published) == len(set(published)) == len(truth_of(account_of(CONTACTS)))
    assert status_of(operator)["tick_failure"] is None


def silence(connection: socket.socket) -> None:
    """Never answer."""
    connection.recv(65_536)
    connection.settimeout(60)
    while connection.recv(65_536):
        pass


def hang_up(connection: socket.socket) -> None:
    connection.recv(65_536)


def answering(status: str, body: str) -> Treatment:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall((head + body).encode())

    return answer


@pytest.mark.parametrize(
    ("treatment", "cause"),
    [
        (hang_up, Cause.CONNECTION_CLOSED),
        (answering("200 OK", "<html>Welcome to the hotel</html>"), Cause.ANSWER_UNUSABLE),
        (answering("200 OK", "{"), Cause.ANSWER_UNUSABLE),
        (answering("503 Service Unavailable", ""), Cause.SERVER_ERROR),
        (answering("500 Internal Server Error", '[{"error_key": "x"}]'), Cause.SERVER_ERROR),
    ],
    ids=["hangs up", "a portal's page", "a cut page", "503", "500"],
)
def test_failed_calls_that_succeed_later_are_reported(
    operator: Operator, server: Server, treatment: Treatment, cause: Cause
) -> None:
    """The run ends with status 0. Each cause is a warning, and is counted in the summary."""
    front = Front(port_of(server), treatment)
    operator.environment[URL] = f"http://127.0.0.1:{front.port}/v2"
    with closing_all(front):
        ended = operator.run()
    assert ended.returncode == 0, ended.stderr
    assert failed_calls(ended.stderr) == {cause.value: 1}
    assert re.search(rf"{cause}( \(50[03]\))?; it is tried again", ended.stderr)
    assert set(operator.published()) == truth_of(account_of(CONTACTS))
    assert tells_nothing_secret(operator)


def test_a_timeout_is_reported(operator: Operator, server: Server, tmp_path: Path) -> None:
    """A server that accepts a connection and stays silent is a warning, and is counted in the summary."""
    authority = Authority(tmp_path)
    front = Front(port_of(server), silence, tls=authority.server_context())
    operator.environment |= {URL: f"https://127.0.0.1:{front.port}/v2", CA_BUNDLE: str(authority.bundle)}
    with closing_all(front):
        ended = operator.run()
    assert (ended.returncode, failed_calls(ended.stderr)) == (0, {Cause.TIMED_OUT.value: 1})
    assert f"{Cause.TIMED_OUT}; it is tried again" in ended.stderr


@pytest.mark.long
def test_a_run_that_keeps_ticking_waits_for_the_api(operator: Operator, server: Server) -> None:
    """A refused connection is only a warning. Once the API answers, its activity is read."""
    port = free_port()
    operator.environment |= {URL: f"http://127.0.0.1:{port}/v2"}
    with operator.start_every(1) as run:
        time.sleep(STARTS_WITHIN_S + ENDS_WITHIN_S)
        assert run.poll() is None
        front = Front(port_of(server), port=port)
        with closing_all(front):
            truth = truth_of(account_of(CONTACTS))
            while set(operator.published()) != truth:
                time.sleep(0.1)
            run.send_signal(signal.SIGTERM)
            _, err = run.communicate(timeout=30)
    assert run.returncode == 0
    assert 1 <= err.count(f"{Cause.CONNECTION_REFUSED}; it is tried again") <= 3


# --- the way through a company's network ----------------------------------------------------------


@pytest.fixture
def company(tmp_path: Path, server: Server) -> Iterator[tuple[Authority, Front]]:
    """The API behind TLS with a certificate of a private authority."""
    authority = Authority(tmp_path)
    front = Front(port_of(server), tls=authority.server_context())
    with closing_all(front):
        yield authority, front


def test_a_private_authority_is_trusted_when_its_bundle_is_given(
    operator: Operator, company: tuple[Authority, Front]
) -> None:
    """Every activity is published."""
    authority, front = company
    operator.environment |= {URL: f"https://127.0.0.1:{front.port}/v2", CA_BUNDLE: str(authority.bundle)}
    assert operator.run().returncode == 0, operator.said
    assert set(operator.published()) == truth_of(account_of(CONTACTS))


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_every_call_goes_through_the_proxy(
    operator: Operator, company: tuple[Authority, Front], password: str | None
) -> None:
    """The run asks for a tunnel to the API, with the password if one is set. The password is never shown."""
    authority, front = company
    proxy = Proxy(password)
    user = f"me:{password}@" if password else ""
    operator.environment |= {
        URL: f"https://127.0.0.1:{front.port}/v2",
        CA_BUNDLE: str(authority.bundle),
        PROXY: f"http://{user}127.0.0.1:{proxy.port}",
    }
    with closing_all(proxy):
        assert operator.run("--debug").returncode == 0, operator.said
    assert set(operator.published()) == truth_of(account_of(CONTACTS))
    assert set(proxy.asked) == {f"127.0.0.1:{front.port}"}
    assert len(proxy.asked) == front.met
    assert tells_nothing_secret(operator)


OTHERS = [
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
]


def test_other_variables_do_not_change_the_route_of_calls(
    operator: Operator, company: tuple[Authority, Front], tmp_path: Path
) -> None:
    """Proxies and CA bundles of other programs have no effect, nor has NO_PROXY."""
    authority, front = company
    stray = Authority(tmp_path, "Another Authority").bundle
    for name in OTHERS:
        operator.environment[name] = (
            str(stray) if name.isupper() and "PROXY" not in name else (f"http://127.0.0.1:{free_port()}")
        )
    proxy = Proxy()
    operator.environment |= {
        URL: f"https://127.0.0.1:{front.port}/v2",
        CA_BUNDLE: str(authority.bundle),
        PROXY: f"http://127.0.0.1:{proxy.port}",
        "NO_PROXY": "*",
        "no_proxy": "127.0.0.1",
    }
    with closing_all(proxy):
        assert operator.run().returncode == 0, operator.said
    assert set(operator.published()) == truth_of(account_of(CONTACTS))
    assert len(proxy.asked) == front.met


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_bundle_of_another_program_is_not_trusted(
    operator: Operator, company: tuple[Authority, Front], name: str
) -> None:
    """A variable for another program must not decide which servers get the API key."""
    authority, front = company
    operator.environment |= {URL: f"https://127.0.0.1:{front.port}/v2", name: str(authority.bundle)}
    ended = operator.run()
    assert (ended.returncode, Cause.CERTIFICATE_UNTRUSTED in ended.stderr) == (1, True)


@pytest.mark.parametrize("held", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_an_unusable_bundle_ends_the_run_before_any_call(
    operator: Operator, tmp_path: Path, held: bytes | None
) -> None:
    """A file that is missing, empty or no PEM: exit status 2, and one line that names the setting."""
    bundle = tmp_path / "company.pem"
    if held is not None:
        bundle.write_bytes(held)
    operator.environment[CA_BUNDLE] = str(bundle)
    ended = operator.run()
    last = ended.stderr.splitlines()[-1]
    assert (ended.returncode, last.startswith(f"contact-activity: {CA_BUNDLE}=")) == (2, True)
    assert operator.events() == []
