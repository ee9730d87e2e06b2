"""What an answer of the API means: one table, by status and error key."""

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Never

from contact_activity.constant_contact.transport import Reply
from contact_activity.errors import Cause

# A value can be three bytes of an answer and a hundred of memory, of which a function has 256 MB.
ANSWER_VALUES_MAX = 500_000
RETRY_AFTER_MAX_S = 60.0

_QPS_KEY = "mashery.not.authorized.over.qps"
_RATE_KEY = "mashery.not.authorized.over.ratelimit"
# Mashery's own header says the same when the body cannot be read.
_KEY_BY_HEADER = {"ERR_403_DEVELOPER_OVER_QPS": _QPS_KEY, "ERR_403_DEVELOPER_OVER_RATE": _RATE_KEY}
# The status that an error stands for when it comes with a 200.
_STATUS_BY_KEY = (
    (_QPS_KEY, 403),
    (_RATE_KEY, 403),
    ("mashery.not.authorized", 403),
    ("http.status.authentication", 401),
    ("http.status.not_found", 404),
    ("http.status.bad_request", 400),
)


class Verdict(Enum):
    OK = auto()
    RETRY = auto()
    SLOW_DOWN = auto()
    DAY_USED_UP = auto()
    REFUSED = auto()
    NEXT_EXPIRED = auto()
    GONE = auto()
    FATAL = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: no answer came, and `failure` says why. `body` is None unless it was whole, valid JSON.

    `retry_after_s`: how long the API asks to wait, at most 60 s.
    """

    status: int
    body: object = None
    error_key: str = ""
    retry_after_s: float = 0.0
    failure: Cause | None = None

    @property
    def cause(self) -> Cause:
        """Why it is no answer to go on with."""
        if self.failure:
            return self.failure
        return Cause.SERVER_ERROR if self.status >= 500 else Cause.ANSWER_UNUSABLE


def judge(answer: Answer, *, has_cursor: bool) -> Verdict:
    """What an answer means; `has_cursor`: a cursor was sent."""
    match answer.status:
        case 200:
            return Verdict.RETRY if answer.body is None else Verdict.OK
        case 400 | 404 if has_cursor:
            return Verdict.NEXT_EXPIRED
        case 404:
            return Verdict.GONE
        case 401 | 403 | 429 if answer.error_key == _RATE_KEY:
            return Verdict.DAY_USED_UP
        case 401 | 403 if answer.error_key == _QPS_KEY:
            return Verdict.SLOW_DOWN
        case 429:
            return Verdict.SLOW_DOWN
        case 401 | 403:
            return Verdict.REFUSED
        case status if 400 <= status < 500 and status != 408:
            return Verdict.FATAL
    return Verdict.RETRY


def judge_misfit(answer: Answer, *, has_cursor: bool) -> Verdict:
    """What a 200 means whose body is not what was asked for: what its error key says, if it has one."""
    for prefix, status in _STATUS_BY_KEY:
        if answer.error_key.startswith(prefix):
            return judge(replace(answer, status=status), has_cursor=has_cursor)
    return Verdict.RETRY


def read_answer(reply: Reply, now_ms: int) -> Answer:
    body = _json(reply.body)
    key = _error_key(body) or _KEY_BY_HEADER.get(reply.headers.get("x-mashery-error-code", ""), "")
    retry_after_s = _retry_after_s(
        reply.headers.get("retry-after", ""), reply.headers.get("date", ""), now_ms
    )
    return Answer(reply.status, body, key, retry_after_s)


def _json(text: bytes) -> object:
    """The value that is written there, or None if it is no valid JSON of a bearable size."""
    if text.count(b",") > ANSWER_VALUES_MAX:
        return None
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _no_number(text: str) -> Never:
    raise ValueError(text)


def _finite(text: str) -> float:
    """JSON has no infinity, but digits that come to one."""
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _error_key(body: object) -> str:
    """The key of an error body: documented as an array of objects, seen as one object too."""
    first = body[0] if isinstance(body, list) and body else body
    key = first.get("error_key") if isinstance(first, dict) else None
    return key if isinstance(key, str) and re.fullmatch(r"[\w.]{1,80}", key, re.ASCII) else ""


def _retry_after_s(retry_after: str, date: str, now_ms: int) -> float:
    """Seconds of a `Retry-After`, 0 if it cannot be read. The answer's own clock counts, if it shows it."""
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,20}", text, re.ASCII):
        return min(RETRY_AFTER_MAX_S, float(text))
    until_s, sent_s = _http_date_s(text), _http_date_s(date)
    if until_s is None:
        return 0.0
    return min(RETRY_AFTER_MAX_S, max(0.0, until_s - (now_ms / 1_000 if sent_s is None else sent_s)))


def _http_date_s(text: str) -> float | None:
    """A date without a zone is of UTC, as RFC 9110 tells of its older forms."""
    try:
        stamp = parsedate_to_datetime(text)
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
