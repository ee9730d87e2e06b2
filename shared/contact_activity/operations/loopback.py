"""Wait for the redirect that ends a sign-in: on this machine, or pasted by hand."""

import errno
import hmac
import os
import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer
from typing import TextIO
from urllib.parse import parse_qs, urlsplit

from contact_activity.operations.remedies import AS_HELP_SAYS
from contact_activity.run.errors import RunError

# Part of the redirect address that the application has in the developer portal.
REDIRECT_PORT = 8765
_PATH = "/callback"
# A browser that connects and says nothing must not hold up the one that matters.
_REQUEST_TIMEOUT_S = 5.0
_MAX_LINE = 8_192
_DONE = b"<!doctype html><title>Contact Activity</title><p>You are signed in and can close this window.</p>"
_OTHER = b"<!doctype html><title>Contact Activity</title><p>This is not the sign-in that is waited for.</p>"


@dataclass(frozen=True, slots=True)
class Redirect:
    """What the redirect says: a code, or an error of RFC 6749."""

    code: str = ""
    error: str = ""


def redirect_uri(port: int = REDIRECT_PORT) -> str:
    return f"http://localhost:{port}{_PATH}"


def await_redirect(
    port: int,
    state: str,
    pasted: TextIO | None,
    ready: Callable[[], object],
    *,
    within_s: float,
    again: str,
) -> Redirect:
    """Call `ready`, then wait for a redirect with this `state`. Others are ignored.

    `again`: how to begin once more. Raises `RunError` if none comes in time, or if none can come: the port
    is taken and nothing is pasted.
    """
    until_s = time.monotonic() + within_s
    with ExitStack() as stack:
        servers = _listening(port, state)
        for server in servers:
            stack.callback(server.server_close)
        sources: list[_Server | _Lines] = [*servers, *([_Lines(pasted, state)] if pasted else [])]
        ready()
        while sources:
            readable, _, _ = select.select(sources, [], [], max(0.0, until_s - time.monotonic()))
            if not readable:
                # A browser that is sent nowhere, since the portal knows another address, tells only its user.
                raise RunError(
                    f"nobody signed in in time: if the browser showed an error, see that the application has "
                    f"the Redirect URI {redirect_uri(port)}, {AS_HELP_SAYS}; then {again}"
                )
            for source in readable:
                source.handle_request()
                if source.redirect:
                    return source.redirect
            sources = [source for source in sources if not source.has_ended]
    raise RunError(
        f"port {port} is in use and no address was pasted: free the port, or {again} and paste the address"
    )


def _listening(port: int, state: str) -> list["_Server"]:
    """Return servers of the redirect at both addresses of `localhost`; none if the port is in use at one.

    A browser may try either, and whoever else listens there would get the code.
    """
    servers: list[_Server] = []
    try:
        servers += [_Server(port, state)]
        servers += [_Server6(port, state)]
    except OSError as error:
        # A machine need not have IPv6.
        if not servers or error.errno == errno.EADDRINUSE:
            for server in servers:
                server.server_close()
            return []
    return servers


class _Lines:
    """Lines that somebody pastes, read without waiting."""

    def __init__(self, pasted: TextIO, state: str) -> None:
        self._file, self._state = pasted.fileno(), state
        self._begun = b""
        self.redirect: Redirect | None = None
        self.has_ended = False

    def fileno(self) -> int:
        return self._file

    def handle_request(self) -> None:
        received = os.read(self._file, _MAX_LINE)
        self.has_ended = not received
        *lines, self._begun = (self._begun + received + b"\n" * self.has_ended).split(b"\n")
        for line in lines:
            self.redirect = self.redirect or read_redirect(line.decode(errors="replace"), self._state)


class _Server(HTTPServer):
    """Listens on this machine only, and keeps the redirect that it waits for."""

    has_ended = False
    address = "127.0.0.1"

    def __init__(self, port: int, state: str) -> None:
        self.redirect: Redirect | None = None
        self.state = state
        super().__init__((self.address, port), _Handler)

    def server_bind(self) -> None:
        # Its base class looks up the name of this host, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the trace of a browser that hung up may hold the code."""


class _Server6(_Server):
    address = "::1"
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        redirect = read_redirect(self.path, self.server.state)
        self.server.redirect = redirect or self.server.redirect
        body = _DONE if redirect else _OTHER
        self.send_response(200 if redirect else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited signature
        """Log nothing: the path holds the code."""


def read_redirect(address: str, state: str) -> Redirect | None:
    """Return what an address says, with or without its host. None unless it is that of this sign-in."""
    try:
        parts = urlsplit(address.strip())
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    except ValueError:
        return None
    if parts.path != _PATH or not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
        return None
    error = query.get("error", "")
    if error:
        return Redirect(error=error if re.fullmatch(r"[a-z_]{1,60}", error) else "unknown error")
    code = query.get("code", "")
    return Redirect(code) if re.fullmatch(r"[\x21-\x7e]{1,4096}", code) else None
