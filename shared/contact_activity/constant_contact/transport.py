"""HTTP/1.1 as the API needs it: a bound on each whole exchange, and connections that owe nothing.

`requests` makes a request, and the standard library speaks the protocol. What both leave open is here:
one deadline and one count of bytes over everything that is read, answers that come early, late or
twice, and a connection that stands before the call's slot comes.
"""

import io
import socket
import ssl
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from threading import Lock
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from contact_activity.errors import Cause

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
# Each costs a copy of what is behind it.
GZIP_MEMBERS_MAX = 64
CHUNK_BYTES = 65_536
LISTEN_LEAST_S, LISTEN_MOST_S = 0.01, 0.25
# What stands between may forget a connection that nothing comes over, after minutes and without a word.
IDLE_MOST_S = 30.0
_PORTS = {"http": 80, "https": 443}
# The last two rise from sizes of chunks that are none.
_BROKEN = (OSError, HTTPException, ValueError, OverflowError)
_GZIP = zlib.MAX_WBITS | 16
_GZIP_MAGIC = b"\x1f\x8b"


class NoAnswerError(Exception):
    """No answer came that can be read; tells nothing but the cause."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `headers` by their names in lower case, `body` decoded."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection(Protocol):
    """A way to the API that stands already."""

    def is_quiet(self) -> bool:
        """Whether it is open and nothing came over it that was not asked for."""

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        """Ask for a path with its query. Raises `NoAnswerError`."""


class Transport(Protocol):
    def connected(self, *, within_s: float) -> AbstractContextManager[Connection]:
        """A connection for one call. Raises `NoAnswerError`."""

    def close(self) -> None: ...


class HttpTransport:
    """The `Transport` port to one host, for any number of threads.

    `proxy`: the `http://` address of one, asked to tunnel. `ca_bundle`: a file with the authorities
    to trust instead of the usual ones. `idle_most_s`: a connection that lay unused for longer is not
    used again.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections: int,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        idle_most_s: float = IDLE_MOST_S,
    ) -> None:
        self._url = urlsplit(base_url)
        self._proxy = urlsplit(proxy) if proxy else None
        self._ca_bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
        self._tls: ssl.SSLContext | None = None
        self._connections = connections
        self._idle_most_s = idle_most_s
        self._idle: list[_HttpConnection] = []
        self._lock = Lock()

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[Connection]:
        """One that was used before, or else a new one."""
        connection = self._take_idle() or self._connect(min(within_s, CONNECT_TIMEOUT_S))
        try:
            yield connection
        finally:
            self._put_back(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take_idle(self) -> "_HttpConnection | None":
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None or (connection.idle_s() <= self._idle_most_s and connection.is_quiet()):
                return connection
            connection.close()

    def _put_back(self, connection: "_HttpConnection") -> None:
        connection.lie_idle()
        with self._lock:
            is_kept = connection.is_reusable and len(self._idle) < self._connections
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def _connect(self, within_s: float) -> "_HttpConnection":
        begun_s = time.monotonic()
        try:
            connection = self._dial(within_s)
        except (OSError, HTTPException, UnicodeError) as error:
            raise NoAnswerError(_cause_of(error, Cause.NOT_CONNECTED)) from None
        # What a server says before it is asked arrives in this time, and not for the answer to a call.
        took_s = time.monotonic() - begun_s
        time.sleep(min(max(took_s, LISTEN_LEAST_S), LISTEN_MOST_S))
        return connection

    def _dial(self, within_s: float) -> "_HttpConnection":
        address = _address(self._proxy or self._url)
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        bounds = _Bounds(within_s)
        with _closed_on_error(_first_to_connect(found, bounds)) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy and self._url.scheme == "https":
                self._tunnel(plain, self._proxy, bounds)
            return _HttpConnection(self._secured(plain, bounds), self._head, self._target_prefix)

    def _secured(self, plain: socket.socket, bounds: "_Bounds") -> socket.socket:
        if self._url.scheme != "https":
            return plain
        plain.settimeout(bounds.left_s())
        return self._tls_context().wrap_socket(plain, server_hostname=self._url.hostname)

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=self._ca_bundle)
            return self._tls

    def _tunnel(self, plain: socket.socket, proxy: SplitResult, bounds: "_Bounds") -> None:
        host, port = _address(self._url)
        to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        stream = _Stream(plain)
        response = stream.ask("CONNECT", to, {"Host": to, **_proxy_credentials(proxy)}, bounds)
        if response.status != 200:
            raise NoAnswerError(Cause.PROXY_REFUSED)
        if not stream.is_quiet():
            raise NoAnswerError(Cause.NOT_CONNECTED)

    @property
    def _head(self) -> Mapping[str, str]:
        head = {"Host": self._url.netloc.rpartition("@")[2], "Accept-Encoding": "gzip"}
        if self._proxy and self._url.scheme == "http":
            head |= _proxy_credentials(self._proxy)
        return head

    @property
    def _target_prefix(self) -> str:
        """A proxy that is not asked to tunnel is told the whole address."""
        return f"http://{self._url.netloc}" if self._proxy and self._url.scheme == "http" else ""


class _HttpConnection:
    """The `Connection` port on a socket that is connected."""

    def __init__(self, connected: socket.socket, head: Mapping[str, str], prefix: str) -> None:
        self._stream = _Stream(connected)
        self._head = head
        self._prefix = prefix
        self._idle_since_s = _both_clocks_s()
        self.is_reusable = True

    def lie_idle(self) -> None:
        self._idle_since_s = _both_clocks_s()

    def idle_s(self) -> float:
        """A machine that slept, or a function that was frozen, may know it by one of its clocks only."""
        return max(now_s - s for now_s, s in zip(_both_clocks_s(), self._idle_since_s, strict=True))

    def is_quiet(self) -> bool:
        self.is_reusable = self.is_reusable and self._stream.is_quiet()
        return self.is_reusable

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        self.is_reusable = False
        try:
            bounds = _Bounds(min(within_s, ANSWER_TIMEOUT_S))
            response = self._stream.ask("GET", self._prefix + target, {**self._head, **headers}, bounds)
        except _BROKEN as error:
            raise NoAnswerError(_cause_of(error, Cause.CONNECTION_CLOSED)) from None
        received = {name.lower(): value for name, value in response.getheaders()}
        try:
            body = self._read_body(response, received.get("content-encoding", ""))
        except NoAnswerError:
            if _is_told_by_body(response.status, received):
                raise
            body = b""
        return Reply(response.status, received, body)

    def _read_body(self, response: HTTPResponse, encoding: str) -> bytes:
        try:
            raw = _body(response)
        except _BROKEN as error:
            raise NoAnswerError(_cause_of(error, Cause.CONNECTION_CLOSED)) from None
        self.is_reusable = not response.will_close and self._stream.is_quiet()
        return _decoded(raw, encoding)

    def close(self) -> None:
        self._stream.close()


class _Bounds:
    """How long, and how many bytes more, may be read."""

    def __init__(self, within_s: float) -> None:
        self._until_s = time.monotonic() + within_s
        self._bytes_left = ANSWER_BYTES_MAX

    def left_s(self) -> float:
        """Raises `TimeoutError` when there is nothing left."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def count(self, bytes_: int) -> None:
        self._bytes_left -= bytes_
        if self._bytes_left < 0:
            raise NoAnswerError(Cause.ANSWER_UNUSABLE)


class _Stream(io.RawIOBase):
    """What one connection reads and sends, within the bounds of the exchange that it is at.

    The responses share one buffer, so that what one of them did not read is not lost with it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._bounds = _Bounds(0)
        self._buffer = _Buffer(self, CHUNK_BYTES)
        self._is_probing = self._has_ended = False

    def ask(self, method: str, target: str, headers: Mapping[str, str], bounds: _Bounds) -> HTTPResponse:
        """Send a request and read the head of its final answer: any 1xx before that is passed over."""
        self._bounds = bounds
        request = HTTPConnection("")
        request.sock = self  # it only sends
        request.request(method, target, headers=dict(headers))
        while True:
            response = HTTPResponse(self, method=method)  # type: ignore[arg-type]  # it only reads
            response.begin()
            if response.msg.defects or response.msg.get_payload():
                # The headers behind a broken line are lost, the length of the body among them.
                raise NoAnswerError(Cause.ANSWER_UNUSABLE)
            if response.status >= HTTPStatus.OK:
                return response

    def is_quiet(self) -> bool:
        """Reads without waiting: there must be nothing, not even the end."""
        self._is_probing, self._has_ended = True, False
        try:
            return not self._buffer.peek(1) and not self._has_ended
        except OSError:
            return False
        finally:
            self._is_probing = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if self._is_probing:
            return self._probe(buffer)
        self._socket.settimeout(self._bounds.left_s())
        taken = self._socket.recv_into(buffer)
        self._bounds.count(taken)
        return taken

    def _probe(self, buffer: memoryview) -> int | None:
        self._socket.settimeout(0)
        try:
            taken = self._socket.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        self._has_ended = taken == 0
        return taken

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._bounds.left_s())
        self._socket.sendall(data)

    def makefile(self, *_: object) -> io.BufferedReader:
        return self._buffer

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()


class _Buffer(io.BufferedReader):
    """Outlives the responses that read from it, each of which would close it."""

    def close(self) -> None:
        pass


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _PORTS[url.scheme]


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


_Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


def _first_to_connect(found: _Found, bounds: _Bounds) -> socket.socket:
    """Each address has its part of the time that is left, so that none takes the others' away."""
    error: OSError = TimeoutError()
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        try:
            with _closed_on_error(socket.socket(family, kind, protocol)) as plain:
                plain.settimeout(bounds.left_s() / (len(found) - tried))
                plain.connect(address)
                return plain
        except OSError as failed:
            # A family that this machine does not know is one such.
            error = failed
    raise error


@contextmanager
def _closed_on_error(connected: socket.socket) -> Iterator[socket.socket]:
    try:
        yield connected
    except BaseException:
        connected.close()
        raise


def _body(response: HTTPResponse) -> bytes:
    """The body as it is sent. Raises `IncompleteRead` when it is cut."""
    if response.length and response.length > ANSWER_BYTES_MAX:
        raise NoAnswerError(Cause.ANSWER_UNUSABLE)
    body = bytearray()
    while chunk := response.read(CHUNK_BYTES):
        body += chunk
    if response.length:
        raise IncompleteRead(b"")
    return bytes(body)


def _decoded(raw: bytes, encoding: str) -> bytes:
    """A gzip may have several members, and padding behind them."""
    if not raw or encoding.strip().lower() in {"", "identity"}:
        return raw
    body, left = bytearray(), raw
    for _ in range(GZIP_MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP)
        try:
            body += member.decompress(left, ANSWER_BYTES_MAX + 1 - len(body))
        except zlib.error:
            break
        if not member.eof or len(body) > ANSWER_BYTES_MAX:
            break
        left = member.unused_data
        if not left.startswith(_GZIP_MAGIC):
            return bytes(body)
    raise NoAnswerError(Cause.ANSWER_UNUSABLE)


def _is_told_by_body(status: int, headers: Mapping[str, str]) -> bool:
    """Of an error the head says enough, but of a refusal, which has many meanings, only by its code."""
    is_refusal = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return status == HTTPStatus.OK or (is_refusal and "x-mashery-error-code" not in headers)


def _both_clocks_s() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _cause_of(error: Exception, otherwise: Cause) -> Cause:
    """By the class of an error, since its text may hold an address."""
    for kinds, cause in _CAUSES:
        if isinstance(error, kinds):
            return cause
    return otherwise


_CAUSES: tuple[tuple[tuple[type[Exception], ...], Cause], ...] = (
    ((socket.gaierror, UnicodeError), Cause.UNKNOWN_HOST),
    ((ConnectionRefusedError,), Cause.CONNECTION_REFUSED),
    ((ssl.SSLCertVerificationError,), Cause.CERTIFICATE_UNTRUSTED),
    ((TimeoutError,), Cause.TIMED_OUT),
    ((ConnectionError, IncompleteRead), Cause.CONNECTION_CLOSED),
    ((HTTPException, ValueError, OverflowError), Cause.ANSWER_UNUSABLE),
)
