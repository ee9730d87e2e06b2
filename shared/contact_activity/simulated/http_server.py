"""An HTTP/1.1 server with keep-alive for a function that answers requests. Can be stopped completely."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from contact_activity.simulated.delivery import Delivery

_MAX_STOP_S = 10.0
_MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Incoming:
    """The parts of a request that the simulated API uses. `query` is without `api_key`.

    `repeated` holds all values of parameters that came more than once. `form` holds the fields of a
    form that was posted; None if the body is no form.
    """

    method: str
    path: str
    query: Mapping[str, str]
    api_key: str | None
    authorization: str | None
    accept: str | None
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form: Mapping[str, str] | None = None


class HttpServer(ThreadingMixIn, TCPServer):
    """Listens on 127.0.0.1 in a thread of its own, with a thread for each connection.

    `date_ahead_s`: by how much the `Date` of its answers is ahead of this machine's clock.

    Does not derive from `http.server.HTTPServer`, which looks up the name of this host when it starts.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, answer: Callable[[Incoming], Delivery], port: int, *, date_ahead_s: float = 0.0
    ) -> None:
        self.answer = answer
        self.date_ahead_s = date_ahead_s
        self.stopping = threading.Event()
        self.errors: list[Exception] = []
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, idle ones too, and wait for the threads to end."""
        self.stopping.set()
        self.shutdown()
        self._thread.join(_MAX_STOP_S)
        with self._changed:
            for connection in self._connections:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._connections, timeout=_MAX_STOP_S)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (inherited)
        """Keep an error of the server in `errors`. A caller that hangs up is no error."""
        failure = sys.exception()
        if isinstance(failure, Exception) and not isinstance(failure, OSError):
            self.errors.append(failure)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def do_GET(self) -> None:
        self._send(self.server.answer(self._incoming()))

    def do_other(self) -> None:
        """Answer another method. The body is read, or the answer might be lost."""
        sent = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(sent), _MAX_BODY_BYTES) if sent.isdecimal() else 0)
        self.close_connection = True
        self._send(self.server.answer(replace(self._incoming(), form=self._form_of(body))))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_other  # noqa: N815 (names that the base class looks up)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` of an answer, which may be off on purpose."""
        now_s = time.time() if timestamp is None else timestamp
        return super().date_time_string(now_s + self.server.date_ahead_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the inherited signature)
        """Log nothing, since the server records its calls."""

    def _incoming(self) -> Incoming:
        target = urlsplit(self.path)
        pairs = parse_qsl(target.query, keep_blank_values=True)
        query = dict(pairs)
        api_key = query.pop("api_key", None)
        headers = self.headers
        return Incoming(
            self.command,
            target.path,
            query,
            api_key,
            headers.get("Authorization"),
            headers.get("Accept"),
            _repeated(pairs),
        )

    def _form_of(self, body: bytes) -> dict[str, str] | None:
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            return None
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))

    def _send(self, delivery: Delivery) -> None:
        if delivery.status == 0:
            self.close_connection = True
            return
        self.send_response(delivery.status)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.close_connection = self.close_connection or delivery.is_cut
        self.send_header("Content-Type", delivery.content_type)
        self.send_header("Content-Length", str(delivery.length))
        for name, value in delivery.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send_body(delivery)

    def _send_body(self, delivery: Delivery) -> None:
        half = len(delivery.sent) // 2 if delivery.pause_s else 0
        if half:
            self.wfile.write(delivery.sent[:half])
            self.wfile.flush()
            self.server.stopping.wait(delivery.pause_s)
        self.wfile.write(delivery.sent[half:])
        self.wfile.flush()


def _repeated(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: tuple(given) for name, given in values.items() if len(given) > 1}


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
