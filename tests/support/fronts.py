"""Servers between a client and the API: with TLS, as a proxy, or failing on purpose."""

import base64
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BYTES_MAX = 65_536
HEAD_BYTES_MAX = 8_192

Treatment = Callable[[socket.socket], None]
"""What is done to a connection, as it comes, instead of leading it on."""


class Front:
    """Forwards each connection to a port of this machine. The first ones go to `first` instead.

    `met` counts all connections. With `tls` it speaks TLS to the client, and plain HTTP to the target.
    It stops listening after `closes_after` connections, each for one exchange.
    """

    def __init__(
        self,
        target_port: int,
        *first: Treatment,
        tls: ssl.SSLContext | None = None,
        closes_after: int | None = None,
        port: int = 0,
    ) -> None:
        self._target_port, self._first, self._tls = target_port, list(first), tls
        self._closes_after = closes_after
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self.met = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        stop_listening(self._listening)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.met += 1
            if self._closes_after is not None and self.met >= self._closes_after:
                stop_listening(self._listening)
                self._one_exchange(connection)
                return
            treat = self._first.pop(0) if self._first else self._welcome
            threading.Thread(target=_treated, args=(treat, connection), daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        if self._tls is None:
            self._forward(connection)
            return
        with self._tls.wrap_socket(connection, server_side=True) as secured:
            self._forward(secured)

    def _forward(self, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target_port)) as target:
            pump(connection, target)

    def _one_exchange(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self._target_port)) as target:
            target.sendall(head_of(connection).replace(b"keep-alive", b"close"))
            while data := target.recv(BYTES_MAX):
                connection.sendall(data)


class Proxy:
    """A proxy that knows only `CONNECT`. `asked` holds the hosts and ports that clients asked for.

    With `password` it refuses clients that do not give it, for the user `me`.
    """

    def __init__(self, password: str | None = None) -> None:
        self._authorization = None
        if password is not None:
            self._authorization = b"Basic " + base64.b64encode(f"me:{password}".encode())
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.asked: list[str] = []
        serve_each(self._listening, self._forward)

    def close(self) -> None:
        stop_listening(self._listening)

    def _forward(self, connection: socket.socket) -> None:
        head = head_of(connection)
        wanted = re.match(rb"CONNECT ([^ :]+):(\d+) HTTP/1\.[01]\r\n", head)
        if not wanted:
            connection.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        self.asked.append(f"{wanted[1].decode()}:{wanted[2].decode()}")
        if self._authorization and self._authorization not in head:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            target = socket.create_connection((wanted[1].decode(), int(wanted[2])))
        except OSError:
            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(connection, target)


def serve_each(listening: socket.socket, treat: Treatment) -> None:
    """Call `treat` with each connection, in a thread of its own, until the socket is closed."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=_treated, args=(treat, connection), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def _treated(treat: Treatment, connection: socket.socket) -> None:
    """Treat a connection. A client that leaves early is no error."""
    with connection, contextlib.suppress(OSError):
        treat(connection)


def stop_listening(listening: socket.socket) -> None:
    """Close the socket, even while a thread waits for a connection."""
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def head_of(connection: socket.socket) -> bytes:
    """Return the head of a request, up to the empty line."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
        data = connection.recv(BYTES_MAX)
        if not data:
            return head
        head += data
    return head


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both directions until either side ends."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BYTES_MAX):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join()


@contextmanager
def closing_all(*fronts: Front | Proxy) -> Iterator[None]:
    try:
        yield
    finally:
        for front in fronts:
            front.close()


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
