"""Define the errors, and describe them without personal data or secrets."""

import traceback
from enum import StrEnum
from pathlib import Path


class Cause(StrEnum):
    """Why a call failed, in words for the operator. They name no host, body or secret."""

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
    """It may work later: a server error, a time-out, a bus or a queue that accepted only a part."""

    def __init__(self, message: str, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class FatalError(Exception):
    """It will never work for this contact or campaign, however often it is tried."""


class PartlyAcceptedError(RetryError):
    """The bus accepted only some events. `accepted` holds their ids."""

    def __init__(self, message: str, accepted: frozenset[str]) -> None:
        super().__init__(message)
        self.accepted = accepted


class RefusedError(FatalError):
    """The API accepts the credential, but refuses this resource.

    `is_forbidden`: for want of a right (403), as far as it tells. `lacks`: the right that the resource takes;
    "" if nobody knows.
    """

    def __init__(self, message: str, *, is_forbidden: bool = False, lacks: str = "") -> None:
        super().__init__(message)
        self.is_forbidden = is_forbidden
        self.lacks = lacks


class StandstillError(Exception):
    """The state or the events file cannot be used, so no work is possible. No contact has failed.

    The text is one line that says what to do. `is_passing`: it may end without help.
    """

    def __init__(self, message: str, *, is_passing: bool) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class WaitReason(StrEnum):
    """What has to be waited for."""

    QUOTA = "quota"
    CREDENTIAL = "credential"
    TIME = "time"
    # No call can succeed before a setting or the network changes, so a run that someone watches ends.
    UNREACHABLE = "unreachable"


class WaitError(Exception):
    """Nothing can be done before `until_ms` (None: before something changes). It counts as no failure.

    `lacks`: the right that a credential lacks; "" if it is refused for something else.
    """

    def __init__(self, reason: WaitReason, until_ms: int | None = None, *, lacks: str = "") -> None:
        super().__init__(f"wait: {reason}")
        self.lacks = lacks
        self.reason = reason
        self.until_ms = until_ms


MAX_DESCRIPTION_CHARACTERS = 200


def describe(error: Exception) -> str:
    """Return one line of at most 200 characters.

    The texts of our own errors hold no personal data. Of any other error the line has only the class,
    the AWS code, and the place in our code.
    """
    text = _own_text(error) if isinstance(error, RetryError | FatalError) else _foreign_text(error)
    return " ".join(text.split())[:MAX_DESCRIPTION_CHARACTERS]


def failure_kind(text: str) -> str:
    """Return the cause that the description of a failure names, to count failures by kind.

    Return the text itself if it names no cause.
    """
    return next((cause.value for cause in Cause if cause.value in text), text)


def to_check(error: Exception) -> str:
    """Return a hint on what to check after this error, to append to its text; "" if there is none."""
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


class Throttle:
    """Admits one remark of each kind per interval, so that a log stays readable."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._admitted_ms: dict[str, int] = {}

    def admit(self, kind: str, now_ms: int) -> bool:
        """Return True and start a new interval, if the last one is over. `now_ms`: monotonic clock."""
        admitted_ms = self._admitted_ms.get(kind)
        if admitted_ms is not None and now_ms - admitted_ms < self._every_ms:
            return False
        self._admitted_ms[kind] = now_ms
        return True
