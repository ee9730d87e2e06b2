"""Implement the transport over HTTP/1.1, directly or through a proxy.

A connection is opened before the slot of a call and checked once more in it. So a connection that the
server closed, or that received something unasked, costs no call.
"""

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from threading import Lock
from typing import Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from contact_activity.constant_contact.certificates import checked_ca_bundle
from contact_activity.constant_contact.http_stream import ExchangeLimits, Stream, decode_body, read_body
from contact_activity.constant_contact.transport import ANSWER_TIMEOUT_S, FormConnection, NoAnswerError, Reply
from contact_activity.errors import Cause
from contact_activity.settings import Settings

CONNECT_TIMEOUT_S = 5.0
MIN_LISTEN_S, MAX_LISTEN_S = 0.01, 0.25
# Routers and proxies forget an idle connection after minutes, without telling either end.
MAX_IDLE_S = 30.0
_PORTS = {"http": 80, "https": 443}
# `http.client` raises the last two for a malformed chunk size.
_READ_ERRORS = (OSError, HTTPException, ValueError, OverflowError)


class HttpTransport:
    """The `Transport` port to one host, for any number of threads.

    `connections`: at most so many idle ones are kept. `proxy`: the `http://` URL of a proxy, with a
    user name and a password if it needs them. `ca_bundle`: a file of authorities to trust instead of
    the usual ones. Neither is ever read from the environment. `max_idle_s`: a connection that was idle
    for longer is not used again.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections: int,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        self._url = urlsplit(base_url)
        self._proxy = urlsplit(proxy) if proxy else None
        self._ca_bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
        self._tls: ssl.SSLContext | None = None
        self._connections = connections
        self._max_idle_s = max_idle_s
        self._idle: list[_HttpConnection] = []
        self._lock = Lock()

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator[FormConnection]:
        """Return an idle connection, or open a new one."""
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
            if connection is None or (connection.idle_s() <= self._max_idle_s and connection.is_quiet()):
                return connection
            connection.close()

    def _put_back(self, connection: "_HttpConnection") -> None:
        connection.mark_idle()
        is_quiet = connection.is_quiet()
        with self._lock:
            is_kept = is_quiet and len(self._idle) < self._connections
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def _connect(self, within_s: float) -> "_HttpConnection":
        begun_s = time.monotonic()
        try:
            connection = self._open(within_s)
        except (OSError, HTTPException, UnicodeError) as error:
            raise NoAnswerError(_cause_of(error, Cause.NOT_CONNECTED)) from None
        # Wait for anything that the server sends unasked, so that it is not read as an answer.
        took_s = time.monotonic() - begun_s
        time.sleep(min(max(took_s, MIN_LISTEN_S), MAX_LISTEN_S))
        return connection

    def _open(self, within_s: float) -> "_HttpConnection":
        host, port = _host_and_port(self._proxy or self._url)
        endpoints = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        limits = ExchangeLimits(within_s)
        with _closed_on_error(connect_to_any(endpoints, limits)) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy and self._url.scheme == "https":
                self._tunnel(plain, self._proxy, limits)
            return _HttpConnection(self._secured(plain, limits), self._headers, self._target_prefix)

    def _secured(self, plain: socket.socket, limits: ExchangeLimits) -> socket.socket:
        if self._url.scheme != "https":
            return plain
        plain.settimeout(limits.left_s())
        return self._tls_context().wrap_socket(plain, server_hostname=self._url.hostname)

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=self._ca_bundle)
            return self._tls

    def _tunnel(self, plain: socket.socket, proxy: SplitResult, limits: ExchangeLimits) -> None:
        host, port = _host_and_port(self._url)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        stream = Stream(plain)
        response = stream.request("CONNECT", target, {"Host": target, **_proxy_credentials(proxy)}, limits)
        if response.status != 200:
            raise NoAnswerError(Cause.PROXY_REFUSED)
        if not stream.is_quiet():
            raise NoAnswerError(Cause.NOT_CONNECTED)

    @property
    def _headers(self) -> Mapping[str, str]:
        """The headers of every request."""
        headers = {"Host": self._url.netloc.rpartition("@")[2], "Accept-Encoding": "gzip"}
        if self._proxy and self._url.scheme == "http":
            headers |= _proxy_credentials(self._proxy)
        return headers

    @property
    def _target_prefix(self) -> str:
        """A proxy without a tunnel needs the whole URL in the request line."""
        return f"http://{self._url.netloc}" if self._proxy and self._url.scheme == "http" else ""


class _HttpConnection:
    """The `FormConnection` port on a connected socket."""

    def __init__(self, connected: socket.socket, headers: Mapping[str, str], target_prefix: str) -> None:
        self._stream = Stream(connected)
        self._headers = headers
        self._target_prefix = target_prefix
        self._idle_since_s = _both_clocks_s()
        self._is_reusable = True

    def mark_idle(self) -> None:
        self._idle_since_s = _both_clocks_s()

    def idle_s(self) -> float:
        """Return the longer time that either clock shows.

        After a machine slept or a function was frozen, only one of them may show it.
        """
        return max(now_s - s for now_s, s in zip(_both_clocks_s(), self._idle_since_s, strict=True))

    def is_quiet(self) -> bool:
        """Whether it can take a request: it is open and idle, and has received nothing unasked."""
        return self._is_reusable and self._stream.is_quiet()

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        return self._exchange("GET", target, headers, None, within_s)

    def post_form(
        self, target: str, headers: Mapping[str, str], form: Mapping[str, str], *, within_s: float
    ) -> Reply:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._exchange("POST", target, headers, urlencode(form).encode(), within_s)

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, within_s: float
    ) -> Reply:
        self._is_reusable = False
        try:
            limits = ExchangeLimits(min(within_s, ANSWER_TIMEOUT_S))
            response = self._stream.request(
                method, self._target_prefix + target, {**self._headers, **headers}, limits, body
            )
        except _READ_ERRORS as error:
            raise NoAnswerError(_cause_of(error, Cause.CONNECTION_CLOSED)) from None
        received = {name.lower(): value for name, value in response.getheaders()}
        try:
            content = self._read_body(response, received.get("content-encoding", ""))
        except NoAnswerError:
            if _needs_body(response.status, received):
                raise
            content = b""
        return Reply(response.status, received, content)

    def _read_body(self, response: HTTPResponse, encoding: str) -> bytes:
        try:
            raw = read_body(response)
        except _READ_ERRORS as error:
            raise NoAnswerError(_cause_of(error, Cause.CONNECTION_CLOSED)) from None
        self._is_reusable = not response.will_close
        return decode_body(raw, encoding)

    def close(self) -> None:
        self._stream.close()


def _host_and_port(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _PORTS[url.scheme]


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


# What `getaddrinfo` returns.
_Endpoints = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


def connect_to_any(endpoints: _Endpoints, limits: ExchangeLimits) -> socket.socket:
    """Connect to the first endpoint that accepts. Raises the last `OSError` if none does.

    Each endpoint gets an equal share of the time that is left, so one that hangs leaves time for the
    others.
    """
    error: OSError = TimeoutError()
    for tried, (family, kind, protocol, _, endpoint) in enumerate(endpoints):
        try:
            with _closed_on_error(socket.socket(family, kind, protocol)) as plain:
                plain.settimeout(limits.left_s() / (len(endpoints) - tried))
                plain.connect(endpoint)
                return plain
        except OSError as failed:
            # This includes a family that the machine does not support, such as IPv6.
            error = failed
    raise error


@contextmanager
def _closed_on_error(connected: socket.socket) -> Iterator[socket.socket]:
    try:
        yield connected
    except BaseException:
        connected.close()
        raise


def _needs_body(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer cannot be judged without its body.

    The status of an error is enough, except for 401 and 403. These have several meanings, and either the
    body or the header of Mashery says which.
    """
    is_refusal = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return status == HTTPStatus.OK or (is_refusal and "x-mashery-error-code" not in headers)


def _both_clocks_s() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _cause_of(error: Exception, otherwise: Cause) -> Cause:
    """Return the cause for the class of an error. Its text may hold a host name."""
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


def transport_to(url: str, settings: Settings, *, connections: int) -> HttpTransport:
    """Return the way to a URL by these settings. Raises `SettingsError` for an unusable CA bundle."""
    ca_bundle = checked_ca_bundle(settings.ca_bundle)
    return HttpTransport(url, connections=connections, proxy=settings.proxy, ca_bundle=ca_bundle)
