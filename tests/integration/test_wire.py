"""What a server can do to an exchange at any byte of it, drawn at random and done over real sockets.

Whatever comes: no row appears under another contact, a call ends within its deadline and its bytes,
and what it raises is documented and tells nothing of the key, the token or the address.
"""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contact_activity.adapters.clock import SystemClock
from contact_activity.adapters.constant_contact import ConstantContact
from contact_activity.adapters.embedded import Database, sqlite_limiter
from contact_activity.adapters.transport import ANSWER_BYTES_MAX
from contact_activity.ports import FatalError, RetryError, TrackingPage, WaitError
from contact_activity.rate_limit import Limits
from contact_activity.settings import Credentials

KEY, TOKEN = "canary-key-77aa", "canary-token-88bb"
FOR_MS = 600
# A loaded machine may wake a thread late.
LATE_MS = 1_500
# Time for what a server says unasked to arrive: between calls, and between connecting and calling.
LIMITS = Limits(10, 100_000)
SOCKET_BUFFERS_BYTES = 8 * 1024 * 1024
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


def failed(_: bytes) -> bytes:
    return b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


FORMS = (plain, chunked, zipped, failed)


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
    """Answers each request by the next act, then truthfully; `greeting` comes before any request."""

    acts: Sequence[Act]
    greeting: bytes = b""
    sent_most: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left = list(self.acts)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if self.greeting:
                connection.sendall(self.greeting)
            while (contact_id := requested(connection)) is not None:
                with self._lock:
                    act = self._left.pop(0) if self._left else Act()
                if not self._perform(act, contact_id, connection):
                    return

    def _perform(self, act: Act, contact_id: str, connection: socket.socket) -> bool:
        """False if the connection is to be closed."""
        for wait_s, data in act.said(contact_id):
            time.sleep(wait_s)
            connection.sendall(data)
        sent = 0
        while act.flood and sent < FLOOD_BYTES:
            connection.sendall(act.flood)
            sent += len(act.flood)
            self.sent_most = max(self.sent_most, sent)
        if act.cut_at is not None and act.is_cut_open:
            time.sleep(FOR_MS / 1_000)
        return act.cut_at is None and not act.flood


def requested(connection: socket.socket) -> str | None:
    """The contact of the next request; None when there is none."""
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(65_536)
        if not received:
            return None
        request += received
    return request.split(b"/contacts/", 1)[-1].split(b"/", 1)[0].decode()


@contextmanager
def client_of(url: str, **options: object) -> Iterator[ConstantContact]:
    clock = SystemClock()
    with closing(Database(":memory:")) as database:
        limiter = sqlite_limiter(database, LIMITS, clock)
        limiter.acquire(deadline_ms=clock.monotonic_ms() + FOR_MS)
        client = ConstantContact(url, lambda: Credentials(KEY, TOKEN), limiter, clock, **options)  # type: ignore[arg-type]
        with closing(client):
            yield client


def ask(client: ConstantContact, contact_id: str, *, for_ms: int = FOR_MS) -> object:
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
FLOODS = st.sampled_from(
    [
        b"HTTP/1.1 103 Wait\r\n\r\n" * 3_000,
        b"HTTP/1.1 200 OK\r\n" + b"x" * 65_536,
        b"X-Header: y\r\n" * 5_000,
        b"\x1f\x8b\x08\x00" + b"\x00" * 65_536,
    ]
)
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


@settings(max_examples=12, deadline=None)
@given(acts=st.lists(ACTS, min_size=1, max_size=4), greeting=st.sampled_from([b"", b"", plain(body_of("9"))]))
@example(acts=[Act(interim=(103,), then_wait_s=0.4), Act(then_wait_s=0.4)], greeting=b"")
@example(acts=[Act(surplus=plain(body_of("9")))], greeting=b"")
@example(acts=[Act(of_another=True)], greeting=b"")
@example(acts=[], greeting=plain(body_of("9")))
@example(acts=[Act(dribble_from=0.0)], greeting=b"")
def test_whatever_a_server_does_no_contact_has_anothers_rows(acts: list[Act], greeting: bytes) -> None:
    """And every call ends in time, within its bytes, as documented."""
    with closing(Server(acts, greeting)) as server, client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        for contact_id in CONTACTS:
            begun_s = time.monotonic()
            result = ask(client, contact_id)
            assert (time.monotonic() - begun_s) * 1_000 < FOR_MS + LATE_MS
            assert campaigns_in(result) <= {f"of-{contact_id}"}
            told = repr(result)
            assert not [secret for secret in (KEY, TOKEN, str(server.port)) if secret in told]
        assert server.sent_most < ANSWER_BYTES_MAX + SOCKET_BUFFERS_BYTES


def test_a_harmless_oddity_costs_no_answer() -> None:
    """Interim answers, also late and several, and what comes after an answer, fail no call."""
    acts = [Act(interim=(102, 103, 199), then_wait_s=0.3), Act(surplus=b"x"), Act(form=chunked)]
    with closing(Server(acts)) as server, client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        for contact_id in CONTACTS:
            assert campaigns_in(ask(client, contact_id)) == {f"of-{contact_id}"}


@pytest.mark.parametrize("named", ["7", 7, 7.0, None, ""])
def test_a_row_may_name_its_contact_in_any_form(named: object) -> None:
    """Ids are compared as they are read, and a row need not have one."""
    answer = plain(body_of("7", named=named))
    server = Server([Act(form=lambda _: answer)])
    with closing(server), client_of(f"http://127.0.0.1:{server.port}/v2") as client:
        assert campaigns_in(ask(client, "7")) == {"of-7"}
