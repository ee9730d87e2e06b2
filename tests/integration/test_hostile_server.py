"""The client before a server that means no good: only documented errors, within bounds, and no key told."""

import gzip
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.http_stream import MAX_ANSWER_BYTES
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.verdict import MAX_JSON_VALUES
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.pace import Limits
from contact_activity.errors import FatalError, RetryError
from contact_activity.settings import Credentials
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter

KEY, TOKEN = "canary-key-77aa", "canary-token-88bb"
PAGE = json.dumps({"meta": {"pagination": {}}, "results": []}).encode()
FOR_MS = 500
OK = b"HTTP/1.1 200 OK\r\n"


def whole(body: bytes, head: bytes = OK, *headers: bytes) -> bytes:
    return head + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def gzipped(body: bytes, head: bytes = OK) -> bytes:
    return whole(body, head, b"Content-Encoding: gzip")


def found(location: bytes, *headers: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n" + b"".join(h + b"\r\n" for h in headers)


class Hostile:
    """Sends the same bytes to whoever connects, and counts how many of them were taken."""

    def __init__(self, answer: bytes, more: bytes = b"", times: int = 0) -> None:
        self._answer, self._more, self._times = answer, more, times
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v2"
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        try:
            connection.recv(65_536)
            connection.sendall(self._answer)
            for _ in range(self._times):
                connection.sendall(self._more)
                self.sent += len(self._more)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


@contextmanager
def asked(server: Hostile) -> Iterator[ConstantContactV2]:
    clock = SystemClock()
    with closing(server), closing(Database(":memory:")) as database:
        limiter = sqlite_limiter(database, Limits(1_000, 1_000), clock)
        client = ConstantContactV2(ApiClient(server.url, lambda: Credentials(KEY, TOKEN), limiter, clock))
        yield client
        client.close()


def ask(server: Hostile) -> object:
    """A page or a refusal; of what may be raised, the error itself."""
    with asked(server) as client:
        deadline_ms = SystemClock().monotonic_ms() + FOR_MS
        try:
            return client.tracking("4711", "all", since_ms=None, next_=None, deadline_ms=deadline_ms)
        except (RetryError, FatalError) as error:
            return error


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (whole(PAGE, OK, b"nocolon"), RetryError),
        (whole(PAGE, OK, b"Set-Cookie: \xff\xfe=1"), TrackingPage),
        (found(b"http://[bad") + b"\r\n", RetryError),
        (found(b"/\xff\xfe") + b"\r\n", RetryError),
        (found(b"http://169.254.169.254/latest", b"Content-Length: 0") + b"\r\n", RetryError),
        (whole(gzip.compress(PAGE), OK, b"Content-Encoding: gzip"), TrackingPage),
        (whole(PAGE, OK, b"Content-Encoding: gzip"), RetryError),
        (whole(gzip.compress(PAGE)[:20], OK, b"Content-Encoding: gzip"), RetryError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", RetryError),
        (b"HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n", RetryError),
        (b"HTTP/1.1 abc\r\n\r\n", RetryError),
        (b"\x00\xff" * 40, RetryError),
        (b"", RetryError),
        (whole(b"", b"HTTP/1.1 404 Not Found\r\n"), Refusal),
        (whole(b"\xff\xfe[", b"HTTP/1.1 418 Teapot\r\n"), FatalError),
        (whole(b"[" * 100_000), RetryError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", RetryError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", RetryError),
        (gzipped(gzip.compress(PAGE[:9]) + gzip.compress(PAGE[9:])), TrackingPage),
        (gzipped(gzip.compress(PAGE) + gzip.compress(b"")), TrackingPage),
        (gzipped(gzip.compress(PAGE) + bytes(512)), TrackingPage),
        (gzipped(gzip.compress(PAGE)[:-9]), RetryError),
        (gzipped(b"Not Found", b"HTTP/1.1 404 Not Found\r\n"), Refusal),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\ncut", Refusal),
        (b"HTTP/1.1 405 Not Allowed\r\nTransfer-Encoding: chunked\r\n\r\nzz", FatalError),
        (whole(b'{"results": [' + b"9" * 5_000 + b"]}"), RetryError),
        (whole(b'{"results": [' + b"," * (MAX_JSON_VALUES + 1) + b"]}"), RetryError),
        (whole(b'{"results": [], "meta": {"pagination": {"next_link": "?next=\\ud800"}}}'), RetryError),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else value.__name__,
)
def test_any_answer_has_a_documented_outcome_and_tells_no_key(
    answer: bytes, outcome: type, caplog: pytest.LogCaptureFixture
) -> None:
    """Also with every log at its most talkative; requests alone would log a call's whole address."""
    caplog.set_level(logging.DEBUG)
    result = ask(Hostile(answer))
    assert isinstance(result, outcome), result
    told = caplog.text + repr(result)
    assert (KEY in told, TOKEN in told) == (False, False)


@pytest.mark.parametrize("head", [OK, found(b"/elsewhere")], ids=["of 200", "of a redirect"])
def test_a_body_without_end_is_not_read_to_its_end(head: bytes) -> None:
    """Neither that of an answer nor that of a redirect, which nobody has asked for."""
    chunk = b"x" * 65_536
    server = Hostile(head + b"Content-Length: 100000000000\r\n\r\n", chunk, times=4_096)
    assert isinstance(ask(server), RetryError)
    tries = 6
    assert server.sent < tries * (MAX_ANSWER_BYTES + 8 * 1024 * 1024)


def test_a_redirect_leads_nowhere() -> None:
    """Not even on the same host: no call comes to where it points."""
    elsewhere = Hostile(whole(PAGE), b"x", times=1)
    with closing(elsewhere):
        assert isinstance(ask(Hostile(found(elsewhere.url.encode()) + b"\r\n")), RetryError)
    assert elsewhere.sent == 0
