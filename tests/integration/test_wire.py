"""What a server can do to an exchange at any byte of it, drawn at random and done over real sockets.

Whatever comes: no row appears under another contact, a call ends within its deadline and its bytes,
and what it raises is documented and tells nothing of the key, the token or the address.
"""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.http_stream import MAX_ANSWER_BYTES
from contact_activity.constant_contact.http_transport import HttpTransport
from contact_activity.constant_contact.transport import NoAnswerError
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.verdict import read_answer
from contact_activity.domain.answers import TrackingPage
from contact_activity.domain.pace import Limits
from contact_activity.errors import Cause, FatalError, RetryError, WaitError
from contact_activity.settings import Credentials
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.certificates import Authority
from tests.support.fronts import pump, serve_each, stop_listening

KEY, TOKEN = "canary-key-77aa", "canary-token-88bb"
FOR_MS = 600
# A loaded machine may wake a thread late.
LATE_MS = 1_500
# Time for what a server says unasked to arrive: between calls, and between connecting and calling.
LIMITS = Limits(10, 100_000)
SOCKET_BUFFERS_BYTES = 12 * 1024 * 1024
FLOOD_BYTES = 64 * 1024 * 1024
CONTACTS = ("1", "2", "3")


def body_of(contact_id: str, *, named: object = None) -> bytes:
    """A page whose only row tells by its campaign whose it is, and by its contact only if `named`."""
    row = {
        "activity_type": "EMAIL_OPEN",
        "campaign_id": f"of-{contact_id}",
        "open_date": "2024-06-12T08:15:40.207Z",
    }
    if named is not None:
        row["contact_id"] = named  # type: ignore[assignment]
    return json.dumps({"meta": {"pagination": {}}, "results": [row]}).encode()


def plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"


def zipped(body: bytes) -> bytes:
    packed = gzip.compress(body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    return head + packed


def zipped_in_parts(body: bytes) -> bytes:
    """Several members of gzip, the last of which is empty."""
    half = len(body) // 2
    packed = b"".join(gzip.compress(part) for part in (body[:half], body[half:], b""))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    return head + packed


def failed(_: bytes) -> bytes:
    return b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


def zipped_nothing(_: bytes) -> bytes:
    """The head of a body that goes on for ever and comes to nothing when it is decoded."""
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08" + bytes(7)


FORMS = (plain, chunked, zipped, zipped_in_parts, failed)
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"


@dataclass(frozen=True)
class Act:
    """What the server makes of one request. `place` is a share of the answer's bytes."""

    form: Callable[[bytes], bytes] = plain
    interim: tuple[int, ...] = ()
    then_wait_s: float = 0.0
    dribble_from: float | None = None
    cut_at: float | None = None
    is_cut_open: bool = False
    surplus: bytes | None = None
    of_another: bool = False
    flood: bytes = b""

    def said(self, contact_id: str) -> list[tuple[float, bytes]]:
        """Waits, and what is sent after each."""
        interim = [(0.0, b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % status) for status in self.interim]
        body = body_of("9", named=9) if self.of_another else body_of(contact_id)
        answer = self.form(body)
        if self.cut_at is not None:
            answer = answer[: int(self.cut_at * len(answer))]
        if self.dribble_from is not None:
            start = int(self.dribble_from * len(answer))
            slow = [(0.1, bytes([byte])) for byte in answer[start:]]
            return [*interim, (self.then_wait_s, answer[:start]), *slow]
        return [*interim, (self.then_wait_s, answer + (self.surplus or b""))]


@dataclass
class Server:
    """Answers each request by the next act, then truthfully; `greeting` comes before any request.

    A connection over which nothing came for `idle_s` is closed.
    """

    acts: Sequence[Act] = ()
    greeting: bytes = b""
    tls: ssl.SSLContext | None = None
    handshake_waits_s: Sequence[float] = ()
    sent_most: int = 0
    idle_s: float | None = None
    arrivals_s: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left, self._waits_s = list(self.acts), list(self.handshake_waits_s)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        serve_each(self._socket, self._talk)

    def close(self) -> None:
        stop_listening(self._socket)

    def _talk(self, connection: socket.socket) -> None:
        with self._secured(connection) as secured:
            self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(self.idle_s)
        if self.greeting:
            connection.sendall(self.greeting)
        while (contact_id := requested(connection)) is not None:
            self.arrivals_s.append(time.monotonic())
            with self._lock:
                act = self._left.pop(0) if self._left else Act()
            if not self._perform(act, contact_id, connection):
                return

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self.tls is None:
            return connection
        with self._lock:
            wait_s = self._waits_s.pop(0) if self._waits_s else 0.0
        time.sleep(wait_s)
        return self.tls.wrap_socket(connection, server_side=True)

    def _perform(self, act: Act, contact_id: str, connection: socket.socket) -> bool:
        """False if the connection is to be closed."""
        for wait_s, data in act.said(contact_id):
            time.sleep(wait_s)
            connection.sendall(data)
        sent, flood = 0, act.flood * 13_000
        while flood and sent < FLOOD_BYTES:
            connection.sendall(flood)
            sent += len(flood)
            self.sent_most = max(self.sent_most, sent)
        if act.cut_at is not None and act.is_cut_open:
            time.sleep(FOR_MS / 1_000)
        return act.cut_at is None and not act.flood


class Proxy:
    """Tunnels to where it is asked to, after `says`; `heads` holds what it was asked with."""

    def __init__(
        self, to_port: int, *, says: bytes = b"HTTP/1.1 200 OK\r\n\r\n", byte_wait_s: float = 0
    ) -> None:
        self._to_port, self._says, self._byte_wait_s = to_port, says, byte_wait_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heads: list[bytes] = []
        serve_each(self._socket, self._tunnel)

    def close(self) -> None:
        stop_listening(self._socket)

    def _tunnel(self, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._to_port)) as there:
            self.heads.append(connection.recv(65_536))
            for byte in self._says:
                connection.sendall(bytes([byte]))
                time.sleep(self._byte_wait_s)
            pump(connection, there)


def requested(connection: socket.socket) -> str | None:
    """The contact of the next request; None when there is none."""
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(65_536)
        if not received:
            return None
        request += received
    return request.split(b"/contacts/", 1)[-1].split(b"/", 1)[0].decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def client_of(
    url: str,
    limits: Limits = LIMITS,
    credentials: Callable[[], Credentials] = lambda: Credentials(KEY, TOKEN),
    **options: Any,
) -> Iterator[ConstantContactV2]:
    clock = SystemClock()
    with closing(Database(":memory:")) as database:
        limiter = sqlite_limiter(database, limits, clock)
        limiter.acquire(deadline_ms=clock.monotonic_ms() + FOR_MS)
        client = ConstantContactV2(ApiClient(url, credentials, limiter, clock, **options))
        with closing(client):
            yield client


def ask(client: ConstantContactV2, contact_id: str, *, for_ms: int = FOR_MS) -> object:
    """A page or a refusal; of what may be raised, the error itself."""
    deadline_ms = SystemClock().monotonic_ms() + for_ms
    try:
        return client.tracking(contact_id, "all", since_ms=None, next_=None, deadline_ms=deadline_ms)
    except (RetryError, FatalError, WaitError) as error:
        return error


def campaigns_in(page: object) -> set[str | None]:
    return {of.campaign_id for of in page.activities} if isinstance(page, TrackingPage) else set()


PLACES = st.floats(0, 1)
SURPLUS = st.sampled_from([plain(body_of("9")), b"\r\n", b"x", b"HTTP/1.1 200 OK\r\n"])
# Each floods another part of an answer.
FLOODS = st.sampled_from([b"HTTP/1.1 103 Wait\r\n\r\n", b"x", b"X-Header: y\r\n", b"\x00"])
ACTS = st.one_of(
    st.builds(
        Act,
        form=st.sampled_from(FORMS),
        interim=st.lists(st.sampled_from([100, 101, 102, 103, 150, 199]), max_size=3).map(tuple),
        then_wait_s=st.sampled_from([0, 0.02, 0.4]),
    ),
    st.builds(Act, form=st.sampled_from(FORMS), dribble_from=PLACES),
    st.builds(Act, form=st.sampled_from(FORMS), cut_at=PLACES, is_cut_open=st.booleans()),
    st.builds(Act, form=st.sampled_from(FORMS), surplus=SURPLUS),
    st.builds(Act, of_another=st.just(True)),
    st.builds(Act, cut_at=PLACES, flood=FLOODS),
)


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(acts=st.lists(ACTS, min_size=1, max_size=4))
@example(acts=[Act(interim=(103,), then_wait_s=0.4), Act(then_wait_s=0.4)])
@example(acts=[Act(surplus=plain(body_of("9")))])
@example(acts=[Act(of_another=True)])
@example(acts=[Act(dribble_from=0.0)])
@example(acts=[Act(form=zipped_nothing, flood=EMPTY_BLOCK)])
def test_whatever_a_server_does_no_contact_has_anothers_rows(acts: list[Act]) -> None:
    """And every call ends in time, within its bytes, as documented.

    But for what comes unasked, and after the request: nothing tells that from its answer.
    """
    with closing(Server(acts)) as server, client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        for contact_id in CONTACTS:
            begun_s = time.monotonic()
            result = ask(client, contact_id)
            assert (time.monotonic() - begun_s) * 1_000 < FOR_MS + LATE_MS
            assert campaigns_in(result) <= {f"of-{contact_id}"}
            told = repr(result)
            assert not [secret for secret in (KEY, TOKEN, str(server.port)) if secret in told]
        assert server.sent_most < MAX_ANSWER_BYTES + SOCKET_BUFFERS_BYTES


def test_a_harmless_oddity_costs_no_answer() -> None:
    """Interim answers, also late and several, and what comes after an answer, fail no call."""
    acts = [
        Act(interim=(102, 103, 199), then_wait_s=0.3),
        Act(surplus=b"x"),
        Act(form=chunked),
        Act(form=zipped_in_parts),
    ]
    with closing(Server(acts)) as server, client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        for contact_id in CONTACTS:
            assert campaigns_in(ask(client, contact_id, for_ms=5_000)) == {f"of-{contact_id}"}


# What may stand where a chunk's size, a length, a status or a number of seconds belongs.
WORDS = st.sampled_from(
    [
        b"-1",
        b"-5",
        b"-" + b"9" * 30,
        b"9" * 30,
        b"9" * 5_000,
        b"0x",
        b"_",
        b"+",
        b"\x00",
        b"\xff",
        b"\r\n",
        b": ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from([form for form in FORMS if form is not failed]),
    place=PLACES,
    taken=st.integers(0, 4),
    put=WORDS | st.binary(max_size=8),
)
@example(form=chunked, place=47.5 / len(chunked(body_of("7"))), taken=2, put=b"-5")
def test_whatever_bytes_an_answer_is_made_of_it_is_one_or_none(
    form: Callable[[bytes], bytes], place: float, taken: int, put: bytes
) -> None:
    """No other error comes out of a call than the one that says that no answer came."""
    answer = form(body_of("7"))
    start = int(place * len(answer))
    server = Server([Act(form=lambda _: answer[:start] + put + answer[start + taken :], cut_at=1.0)])
    transport = HttpTransport(f"http://127.0.0.1:{server.port}", connections=1)
    with (
        closing(server),
        closing(transport),
        transport.connected(within_s=1) as connection,
        suppress(NoAnswerError),
    ):
        read_answer(connection.get("/v2/contacts/7/tracking", {}, within_s=1), 0)


@pytest.mark.parametrize("named", ["7", 7, 7.0, None, ""])
def test_a_row_may_name_its_contact_in_any_form(named: object) -> None:
    """Ids are compared as they are read, and a row need not have one."""
    answer = plain(body_of("7", named=named))
    server = Server([Act(form=lambda _: answer)])
    with closing(server), client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        assert campaigns_in(ask(client, "7", for_ms=5_000)) == {"of-7"}


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden"])
@pytest.mark.parametrize("gone", [0.1, 1])
def test_a_refusal_without_its_body_is_none(status: bytes, gone: float) -> None:
    """The body would say whether it means the credential, the pace or the day, so it is asked again."""
    prose = b"<h1>No</h1>" * 20
    cut = prose[: len(prose) - int(gone * len(prose))]
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(prose) + cut
    server = Server([Act(form=lambda _: answer, cut_at=1.0)])
    with closing(server), client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        assert campaigns_in(ask(client, "7", for_ms=5_000)) == {"of-7"}
        assert len(server.arrivals_s) == 2


# --- connections that lie idle --------------------------------------------------------------------


class Forgetful(Server):
    """What comes over a connection that lay idle for longer is swallowed, as by a firewall."""

    forgets_s = 0.2

    def _perform(self, act: Act, contact_id: str, connection: socket.socket) -> bool:
        is_kept = super()._perform(act, contact_id, connection)
        connection.settimeout(self.forgets_s)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            connection.settimeout(None)
            while connection.recv(65_536):
                pass
            return False
        connection.settimeout(None)
        return is_kept


def test_a_connection_that_lay_idle_for_long_is_not_used_again() -> None:
    """Whoever stands between may have forgotten it without a word, and a call would be for nothing."""
    with closing(Forgetful()) as server:
        url = f"http://127.0.0.1:{server.port}/v2"
        transport = HttpTransport(url, connections=8, max_idle_s=Forgetful.forgets_s / 4)
        with client_of(url, transport=transport) as client:
            for contact_id in CONTACTS:
                assert campaigns_in(ask(client, contact_id)) == {f"of-{contact_id}"}
                time.sleep(2 * Forgetful.forgets_s)
        assert len(server.arrivals_s) == len(CONTACTS)


def test_a_connection_that_is_in_use_is_used_again() -> None:
    met: list[object] = []

    class Counting(Server):
        def _talk(self, connection: socket.socket) -> None:
            met.append(connection)
            super()._talk(connection)

    with closing(Counting()) as server, client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        for contact_id in CONTACTS:
            assert campaigns_in(ask(client, contact_id)) == {f"of-{contact_id}"}
    assert len(met) == 1


# --- where and when calls arrive ------------------------------------------------------------------

SLOW_S = (0.9, 0.6, 0.3)
CALLS = 12


class SlowSecret:
    """Takes so long for the first readers, and no time for the others."""

    def __init__(self) -> None:
        self._waits_s, self._lock = list(SLOW_S), threading.Lock()

    def __call__(self) -> Credentials:
        with self._lock:
            wait_s = self._waits_s.pop(0) if self._waits_s else 0.0
        time.sleep(wait_s)
        return Credentials(KEY, TOKEN)


def call_at_once(client: ConstantContactV2) -> None:
    """As many calls as there are workers, each of a contact of its own."""
    workers = [
        threading.Thread(target=ask, args=(client, str(n)), kwargs={"for_ms": 20_000}) for n in range(CALLS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def most_in_any_second(arrivals_s: Sequence[float]) -> int:
    return max(sum(begun_s <= at_s < begun_s + 1 for at_s in arrivals_s) for begun_s in arrivals_s)


def test_a_slow_secret_bunches_no_calls() -> None:
    """Whatever a worker waits for, it waits before it takes a slot."""
    server = Server()
    url = f"http://127.0.0.1:{server.port}/v2"
    with closing(server), client_of(url, Limits(4, 1_000), SlowSecret()) as client:
        call_at_once(client)
    assert len(server.arrivals_s) == CALLS
    assert most_in_any_second(server.arrivals_s) <= 4


def test_a_slow_connection_bunches_no_calls(authority: Authority) -> None:
    """It stands before its call takes a slot, TLS and all."""
    server = Server(tls=authority.server_context(), handshake_waits_s=SLOW_S)
    url = f"https://127.0.0.1:{server.port}/v2"
    with closing(server), client_of(url, Limits(4, 1_000), ca_bundle=str(authority.bundle)) as client:
        call_at_once(client)
    assert len(server.arrivals_s) == CALLS
    assert most_in_any_second(server.arrivals_s) <= 4


@pytest.mark.parametrize("calls_per_second", [4, 8])
def test_connections_that_are_closed_in_the_wait_for_a_slot_waste_none(calls_per_second: int) -> None:
    """A server may close them sooner than a turn of all workers takes: they are made anew before the slot."""
    server = Server(idle_s=0.4)
    url = f"http://127.0.0.1:{server.port}/v2"
    with closing(server), closing(Database(":memory:")) as database:
        limiter = sqlite_limiter(database, Limits(calls_per_second, 1_000), SystemClock())
        client = ConstantContactV2(ApiClient(url, lambda: Credentials(KEY, TOKEN), limiter, SystemClock()))
        call_at_once(client)
        client.close()
        assert len(server.arrivals_s) == CALLS
        assert limiter.pace().used <= CALLS + 1


# --- TLS, proxies and causes ----------------------------------------------------------------------


def test_a_proxy_is_asked_for_a_tunnel_with_its_credentials(authority: Authority) -> None:
    """What goes through it is the same TLS; the key is in nothing that it reads."""
    server = Server(tls=authority.server_context())
    with closing(server), closing(Proxy(server.port)) as proxy:
        options: dict[str, Any] = {
            "ca_bundle": str(authority.bundle),
            "proxy": f"http://user:p%40ss@127.0.0.1:{proxy.port}",
        }
        with client_of(f"https://127.0.0.1:{server.port}/v2", **options) as client:
            assert campaigns_in(ask(client, "7", for_ms=5_000)) == {"of-7"}
            assert campaigns_in(ask(client, "8")) == {"of-8"}
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head
    assert KEY.encode() not in head


@pytest.mark.long
@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nand more than that",
        b"220 mail.example.org\r\n\r\n",
    ],
)
def test_a_proxy_that_does_not_tunnel_is_no_way(says: bytes, authority: Authority) -> None:
    """Nothing of the call is told to it."""
    server = Server(tls=authority.server_context())
    with closing(server), closing(Proxy(server.port, says=says)) as proxy:
        way: dict[str, Any] = {"ca_bundle": str(authority.bundle), "proxy": f"http://127.0.0.1:{proxy.port}"}
        cause = cause_of(f"https://127.0.0.1:{server.port}/v2", **way)
    assert cause in {Cause.PROXY_REFUSED, Cause.NOT_CONNECTED, Cause.ANSWER_UNUSABLE}
    assert not server.arrivals_s


def test_a_proxy_has_no_longer_than_a_connection_takes(authority: Authority) -> None:
    """Not even when it says its answer a byte at a time."""
    server = Server(tls=authority.server_context())
    with closing(server), closing(Proxy(server.port, byte_wait_s=1)) as proxy:
        begun_s = time.monotonic()
        way: dict[str, Any] = {"ca_bundle": str(authority.bundle), "proxy": f"http://127.0.0.1:{proxy.port}"}
        cause = cause_of(f"https://127.0.0.1:{server.port}/v2", for_ms=5_600, **way)
    assert cause is Cause.TIMED_OUT
    assert time.monotonic() - begun_s < 6 + LATE_MS / 1_000


def cause_of(url: str, *, for_ms: int = FOR_MS, **options: Any) -> Cause | None:
    """Why its tries failed: all for one cause, but that the last may have run out of time."""
    causes: list[Cause] = []

    def note(cause: Cause, status: int, tries: int) -> None:
        causes.append(cause)
        assert (status, tries) == (0, len(causes))

    with client_of(url, on_failure=note, **options) as client:
        error = ask(client, "7", for_ms=for_ms)
    assert isinstance(error, RetryError)
    assert str(error).endswith(f"at last: {error.cause}")
    assert set(causes[:-1]) <= {causes[0]}
    assert error.cause in (causes[0], Cause.TIMED_OUT)
    return causes[0]


def test_each_failure_has_its_cause(authority: Authority) -> None:
    """By the class of what went wrong, and told at each try."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed_port = free.getsockname()[1]
    tls, other = Server(tls=authority.server_context()), Server(greeting=b"220 mail.example.org\r\n" * 9)
    cut = Server([Act(cut_at=0.5)] * 20)
    with closing(tls), closing(other), closing(cut):
        for url, expected in (
            ("https://no-such-host.invalid/v2", Cause.UNKNOWN_HOST),
            (f"http://127.0.0.1:{closed_port}/v2", Cause.CONNECTION_REFUSED),
            (f"https://127.0.0.1:{tls.port}/v2", Cause.CERTIFICATE_UNTRUSTED),
            (f"https://127.0.0.1:{other.port}/v2", Cause.NOT_CONNECTED),
            (f"http://127.0.0.1:{cut.port}/v2", Cause.CONNECTION_CLOSED),
        ):
            assert cause_of(url) is expected


def test_variables_of_the_environment_change_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a proxy nor an authority comes from there: whoever sets them would read every call."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.bundle))
    with closing(Server(tls=authority.server_context())) as server:
        url = f"https://127.0.0.1:{server.port}/v2"
        assert cause_of(url) is Cause.CERTIFICATE_UNTRUSTED
        with client_of(url, ca_bundle=str(authority.bundle)) as client:
            assert campaigns_in(ask(client, "7", for_ms=5_000)) == {"of-7"}
