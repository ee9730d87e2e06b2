"""The client before a server that means no good: only documented errors, within bounds, and no key told."""

import base64
import gzip
import json
import logging
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from contact_activity.constant_contact.http_stream import MAX_ANSWER_BYTES
from contact_activity.constant_contact.verdict import MAX_JSON_VALUES
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.tokens import AccessToken, StoredTokens
from contact_activity.errors import FatalError, RetryError, WaitError
from contact_activity.ports import BearerTokens, Clock
from contact_activity.run.tokens import bearer_tokens
from contact_activity.settings import V3Credentials, read_settings
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.clients import V2, V3, VERSIONS, HastyClock, Version

KEY, TOKEN = "canary-key-77aa", "canary-token-88bb"
CLIENT_SECRET, REFRESH_TOKEN = "canary-secret-99cc", "canary-refresh-aadd"
NEW_TOKEN, NEW_REFRESH_TOKEN = "canary-token-2ee", "canary-refresh-2ff"
BASIC = base64.b64encode(f"canary-client:{CLIENT_SECRET}".encode()).decode()
SECRETS = (KEY, TOKEN, CLIENT_SECRET, REFRESH_TOKEN, NEW_TOKEN, NEW_REFRESH_TOKEN, BASIC)
TOKEN_PATH = "/oauth2/default/v1/token"
FOR_MS = 500
OK = b"HTTP/1.1 200 OK\r\n"


def page(rows: str = "[]", query: str = "") -> bytes:
    """A page of each version's report, of which a client reads its own."""
    v2 = f'"results": {rows}, "meta": {{"pagination": {{"next_link": "{query}"}}}}'
    return f'{{{v2}, "tracking_activities": {rows}, "_links": {{"next": {{"href": "{query}"}}}}}}'.encode()


PAGE = page()


def whole(body: bytes, head: bytes = OK, *headers: bytes) -> bytes:
    return head + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def gzipped(body: bytes, head: bytes = OK) -> bytes:
    return whole(body, head, b"Content-Encoding: gzip")


def found(location: bytes, *headers: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n" + b"".join(h + b"\r\n" for h in headers)


class Hostile:
    """Sends the same bytes to whoever connects, and counts how many of them were taken.

    `asked` holds the first line of each request.
    """

    def __init__(self, answer: bytes, more: bytes = b"", times: int = 0) -> None:
        self._answer, self._more, self._times = answer, more, times
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.token_url = self.origin + TOKEN_PATH
        self.sent = 0
        self.asked: list[bytes] = []
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
            self.asked.append(connection.recv(65_536).partition(b"\r\n")[0])
            connection.sendall(self._answer)
            for _ in range(self._times):
                connection.sendall(self._more)
                self.sent += len(self._more)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


def tokens_in(folder: Path, token_url: str, clock: Clock, *, is_ended: bool) -> BearerTokens:
    """The tokens of a folder with a stored pair, put together as for a run."""
    store, now_ms = CredentialsFile(folder), clock.now_ms()
    access = AccessToken(TOKEN, now_ms - DAY_MS, now_ms + (-1 if is_ended else DAY_MS))
    with store.exclusive(within_s=1):
        store.save(StoredTokens("canary-client", REFRESH_TOKEN, access))
    settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": token_url}, is_logged_in=True)
    given = V3Credentials("canary-client", CLIENT_SECRET)
    return bearer_tokens(folder, settings, given, clock, logging.getLogger("canary").warning)


def ask(
    server: Hostile, version: Version, folder: Path, *, is_ended: bool = False, for_ms: int = FOR_MS
) -> object:
    """A page or a refusal; of what may be raised, the error itself. The server gives tokens, too."""
    clock = HastyClock()
    tokens = tokens_in(folder, server.token_url, clock, is_ended=is_ended) if version is V3 else None
    url = f"{server.origin}/{version.name}"
    with closing(server), version.source(url, clock, key=KEY, token=TOKEN, tokens=tokens) as source:
        deadline_ms = clock.monotonic_ms() + for_ms
        try:
            return source.tracking("4711", "all", since_ms=None, next_=None, deadline_ms=deadline_ms)
        except (RetryError, FatalError, WaitError) as error:
            return error


def urls_told(server: Hostile, version: Version) -> list[str]:
    """The secrets in the URLs that were asked for, but for v2's key, whose place is there."""
    asked = b"\n".join(server.asked).decode("latin-1")
    assert asked
    return [secret for secret in SECRETS if secret in asked and (version, secret) != (V2, KEY)]


ANSWERS: list[tuple[bytes, type]] = [
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
    (whole(page("[" + "9" * 5_000 + "]")), RetryError),
    (whole(page("[" + "," * (MAX_JSON_VALUES + 1) + "]")), RetryError),
    (whole(page(query="?next=\\ud800")), RetryError),
]
BOTH = pytest.mark.parametrize("version", VERSIONS, ids=str)


def named(value: object) -> str:
    return repr(value[:60]) if isinstance(value, bytes) else getattr(value, "__name__", str(value))


@BOTH
@pytest.mark.parametrize(("answer", "outcome"), ANSWERS, ids=named)
def test_any_answer_has_a_documented_outcome_and_tells_no_key(
    answer: bytes, outcome: type, version: Version, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Also with every log at its most talkative; requests alone would log a call's whole address."""
    caplog.set_level(logging.DEBUG)
    server = Hostile(answer)
    result = ask(server, version, tmp_path)
    assert isinstance(result, outcome), result
    told = caplog.text + repr(result)
    assert [secret for secret in SECRETS if secret in told] == []
    assert urls_told(server, version) == []


def granted(**fields: object) -> bytes:
    tokens = {"access_token": NEW_TOKEN, "refresh_token": NEW_REFRESH_TOKEN, "token_type": "Bearer"}
    return whole(json.dumps({**tokens, "expires_in": 3_600, **fields}).encode())


GRANTS = [
    granted(),
    granted(expires_in=-1),
    granted(expires_in="9" * 5_000),
    granted(refresh_token=7),
    granted(access_token="line\r\nbreak: x"),
    granted(access_token=NEW_TOKEN * 9_000),
    granted(access_token="\ud800"),
    granted(error="invalid_grant", error_description=REFRESH_TOKEN),
    whole(b'{"error": []}', b"HTTP/1.1 400 Bad Request\r\n"),
    whole(
        json.dumps({"error": REFRESH_TOKEN, "error_description": CLIENT_SECRET}).encode(),
        b"HTTP/1.1 400 Bad Request\r\n",
    ),
]


@pytest.mark.parametrize("answer", [*[answer for answer, _ in ANSWERS], *GRANTS], ids=named)
def test_whatever_gives_tokens_none_is_told(
    answer: bytes, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Neither an old one nor a new one, which are in one file; and the call ends as documented."""
    caplog.set_level(logging.DEBUG)
    server = Hostile(answer)
    result = ask(server, V3, tmp_path, is_ended=True, for_ms=120_000)
    assert isinstance(result, RetryError | WaitError | FatalError), result
    told = caplog.text + repr(result)
    assert [secret for secret in SECRETS if secret in told] == []
    assert urls_told(server, V3) == []
    kept = {
        path.name for path in tmp_path.iterdir() if any(of.encode() in path.read_bytes() for of in SECRETS)
    }
    assert kept == {"credentials.json"}
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


@BOTH
@pytest.mark.parametrize("head", [OK, found(b"/elsewhere")], ids=["of 200", "of a redirect"])
def test_a_body_without_end_is_not_read_to_its_end(head: bytes, version: Version, tmp_path: Path) -> None:
    """Neither that of an answer nor that of a redirect, which nobody has asked for."""
    chunk = b"x" * 65_536
    server = Hostile(head + b"Content-Length: 100000000000\r\n\r\n", chunk, times=4_096)
    assert isinstance(ask(server, version, tmp_path), RetryError)
    tries = 6
    assert server.sent < tries * (MAX_ANSWER_BYTES + 8 * 1024 * 1024)


@BOTH
def test_a_redirect_leads_nowhere(version: Version, tmp_path: Path) -> None:
    """Not even on the same host: no call comes to where it points."""
    elsewhere = Hostile(whole(PAGE), b"x", times=1)
    with closing(elsewhere):
        hostile = Hostile(found(elsewhere.origin.encode() + b"/v2") + b"\r\n")
        assert isinstance(ask(hostile, version, tmp_path), RetryError)
    assert elsewhere.sent == 0
