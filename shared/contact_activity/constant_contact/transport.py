"""Define what the client needs of a transport: connections that answer GET requests."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from contact_activity.errors import Cause

ANSWER_TIMEOUT_S = 20.0


class NoAnswerError(Exception):
    """No readable answer came. Holds the cause and nothing else."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. Header names are in lower case; `body` is decoded."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection(Protocol):
    """An open connection to the API."""

    def is_quiet(self) -> bool:
        """Whether it is still open and has received nothing unasked."""

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        """Request a path with its query. Raises `NoAnswerError`."""


class Transport(Protocol):
    """Opens connections."""

    def connected(self, *, within_s: float) -> AbstractContextManager[Connection]:
        """Return a connection for one call. Raises `NoAnswerError`."""

    def close(self) -> None: ...


class FormConnection(Connection, Protocol):
    """A connection that can send a form."""

    def post_form(
        self, target: str, headers: Mapping[str, str], form: Mapping[str, str], *, within_s: float
    ) -> Reply:
        """Send a form to a path. Raises `NoAnswerError`: then the server may have received it."""


class FormTransport(Protocol):
    """Opens connections that can send a form."""

    def connected(self, *, within_s: float) -> AbstractContextManager[FormConnection]:
        """Return a connection for one call. Raises `NoAnswerError`: then nothing was sent."""
