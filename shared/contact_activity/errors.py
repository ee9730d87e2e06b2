"""Defines the errors, and what is kept and shown of one: nothing of a person or a secret."""

import traceback
from enum import StrEnum
from pathlib import Path


class Cause(StrEnum):
    """Why no answer came, as a person may read it; tells nothing of addresses, bodies or secrets."""

    UNKNOWN_HOST = "the host is unknown"
    CONNECTION_REFUSED = "the connection is refused"
    CERTIFICATE_UNTRUSTED = "the certificate is not trusted"
    PROXY_REFUSED = "the proxy opens no way to the host"
    NOT_CONNECTED = "the host cannot be reached"
    TIMED_OUT = "no answer came in time"
    CONNECTION_CLOSED = "the connection was closed"
    ANSWER_UNUSABLE = "the answer cannot be used"
    SERVER_ERROR = "the API answers with server errors"


class RetryError(Exception):
    """It may work later: a server error, a time-out, a bus or a queue that took only a part."""

    def __init__(self, message: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class FatalError(Exception):
    """It will not work for this contact however often it is tried."""


class PartlyAcceptedError(RetryError):
    """The bus took only a part of the events; `accepted` holds the ids of those."""

    def __init__(self, message: str, accepted: frozenset[str]) -> None:
        super().__init__(message)
        self.accepted = accepted


class RefusedError(FatalError):
    """The API refuses this one resource, though it accepts the credential."""


class StandstillError(Exception):
    """The state or the events file cannot be used now: no contact's failure, and none can be worked on.

    One line that says what to do. `is_passing`: it may end by itself.
    """

    def __init__(self, message: str, *, is_passing: bool) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class WaitReason(StrEnum):
    QUOTA = "quota"
    CREDENTIAL = "credential"
    TIME = "time"
    # A run that somebody watches ends: no call gets through before a setting or the network changes.
    UNREACHABLE = "unreachable"


class WaitError(Exception):
    """Nobody's failure: nothing can be done before `until_ms` (None: before something changes)."""

    def __init__(self, reason: WaitReason, until_ms: int | None = None) -> None:
        super().__init__(f"wait: {reason}")
        self.reason = reason
        self.until_ms = until_ms


TEXT_CHARACTERS_MAX = 200


def describe(error: Exception) -> str:
    """One line of at most 200 characters.

    Our own errors hold no personal data. Of any other only its class, its code at AWS and the place
    where it rose are told.
    """
    text = _own_text(error) if isinstance(error, RetryError | FatalError) else _foreign_text(error)
    return " ".join(text.split())[:TEXT_CHARACTERS_MAX]


def kind_of(text: str) -> str:
    """What failures of one kind have in common, whatever their counts: the cause that a text names.

    Returns the text itself if it names none.
    """
    return next((cause.value for cause in Cause if cause.value in text), text)


def to_check(error: Exception) -> str:
    """What to look at when a run ended by this error; "" where the error says it or nothing is known."""
    if isinstance(error, RetryError) and error.cause is Cause.ANSWER_UNUSABLE:
        return (
            ": is it the API that answers there? check CONSTANT_CONTACT_BASE_URL and CONSTANT_CONTACT_PROXY"
        )
    return ""


def _own_text(error: RetryError | FatalError) -> str:
    text = str(error)
    cause = error.cause if isinstance(error, RetryError) else None
    return text if cause is None or cause.value in text else f"{text}: {cause.value}"


def _foreign_text(error: Exception) -> str:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if __package__ in frame.filename]
    where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    answer = getattr(error, "response", None)
    code = f" {answer['Error']['Code']}" if isinstance(answer, dict) and "Error" in answer else ""
    return f"{type(error).__name__}{code}{where}"


class Seldom:
    """Lets a remark of one kind through at most once an interval, so that a log stays readable."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._said_ms: dict[str, int] = {}

    def lets_through(self, kind: str, now_ms: int) -> bool:
        """Whether to make a remark of this kind now; `now_ms` is by the monotonic clock."""
        said_ms = self._said_ms.get(kind)
        if said_ms is not None and now_ms - said_ms < self._every_ms:
            return False
        self._said_ms[kind] = now_ms
        return True
