"""Read and send HTTP/1.1 over one socket, within a time limit and a size limit.

The standard library speaks the protocol. This module adds what it leaves open: one deadline and one
count of bytes for everything that is read, answers that come early or twice, and gzip that expands
without end.
"""

import io
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, IncompleteRead

from contact_activity.constant_contact.transport import NoAnswerError
from contact_activity.errors import Cause

MAX_ANSWER_BYTES = 16 * 1024 * 1024
# Each member costs a copy of everything after it.
MAX_GZIP_MEMBERS = 64
CHUNK_BYTES = 65_536
_GZIP = zlib.MAX_WBITS | 16
_GZIP_MAGIC = b"\x1f\x8b"


class ExchangeLimits:
    """How long one exchange may still take, and how many bytes it may still read."""

    def __init__(self, within_s: float) -> None:
        self._until_s = time.monotonic() + within_s
        self._bytes_left = MAX_ANSWER_BYTES

    def left_s(self) -> float:
        """Return the seconds that are left. Raises `TimeoutError` when there are none."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def count(self, bytes_: int) -> None:
        """Count bytes that were read. Raises `NoAnswerError` when they are too many."""
        self._bytes_left -= bytes_
        if self._bytes_left < 0:
            raise NoAnswerError(Cause.ANSWER_UNUSABLE)


class Stream(io.RawIOBase):
    """The bytes of one connection. Each `request` brings the limits that hold until the next one.

    All responses share one buffer, so bytes that one response leaves unread are not lost.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._limits = ExchangeLimits(0)
        self._buffer = _Buffer(self, CHUNK_BYTES)
        self._is_probing = self._has_ended = False

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        limits: ExchangeLimits,
        body: bytes | None = None,
    ) -> HTTPResponse:
        """Send a request and read the head of its final answer. Interim 1xx answers are skipped."""
        self._limits = limits
        request = HTTPConnection("")
        request.sock = self  # it only sends
        request.request(method, target, body, headers=dict(headers))
        while True:
            response = HTTPResponse(self, method=method)  # type: ignore[arg-type]  # it only reads
            response.begin()
            if response.msg.defects or response.msg.get_payload():
                # The headers after a malformed line are lost, perhaps the length of the body with them.
                raise NoAnswerError(Cause.ANSWER_UNUSABLE)
            if response.status >= HTTPStatus.OK:
                return response

    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing is waiting to be read. Does not block."""
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
        self._socket.settimeout(self._limits.left_s())
        count = self._socket.recv_into(buffer)
        self._limits.count(count)
        return count

    def _probe(self, buffer: memoryview) -> int | None:
        self._socket.settimeout(0)
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        self._has_ended = count == 0
        return count

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._limits.left_s())
        self._socket.sendall(data)

    def makefile(self, *_: object) -> io.BufferedReader:
        return self._buffer

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()


class _Buffer(io.BufferedReader):
    """Stays open when a response that reads from it is closed."""

    def close(self) -> None:
        pass


def read_body(response: HTTPResponse) -> bytes:
    """Read a body, still encoded. Raises `IncompleteRead` when it is cut off."""
    if response.length and response.length > MAX_ANSWER_BYTES:
        raise NoAnswerError(Cause.ANSWER_UNUSABLE)
    body = bytearray()
    while chunk := response.read(CHUNK_BYTES):
        body += chunk
    if response.length:
        raise IncompleteRead(b"")
    return bytes(body)


def decode_body(raw: bytes, encoding: str) -> bytes:
    """Undo a content encoding. A gzip may have several members, and padding after the last.

    Raises `NoAnswerError` for a body that is broken, too large, or in an encoding other than gzip.
    """
    if not raw or encoding.strip().lower() in {"", "identity"}:
        return raw
    body, left = bytearray(), raw
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            body += member.decompress(left, MAX_ANSWER_BYTES + 1 - len(body))
        except zlib.error:
            break
        if not member.eof or len(body) > MAX_ANSWER_BYTES:
            break
        left = member.unused_data
        if not left.startswith(_GZIP_MAGIC):
            return bytes(body)
    raise NoAnswerError(Cause.ANSWER_UNUSABLE)
