"""Judge the answers of the API, by status and error key."""

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

# A JSON value can take 3 bytes on the wire and 100 in memory; the function has 256 MB.
MAX_JSON_VALUES = 500_000
MAX_RETRY_AFTER_S = 60.0

_QPS_KEY = "mashery.not.authorized.over.qps"
_RATE_KEY = "mashery.not.authorized.over.ratelimit"
# v2's key, and v3's.
_DAY_KEYS = (_RATE_KEY, "quota_exceeded")
# Mashery, the gateway of the API, sends these codes in a header. They serve when the body has no key.
_KEY_BY_HEADER = {"ERR_403_DEVELOPER_OVER_QPS": _QPS_KEY, "ERR_403_DEVELOPER_OVER_RATE": _RATE_KEY}
# What status an error means that arrives with status 200, by its key. In v3 some begin with the name of a
# service, such as `contacts.api`.
_STATUS_BY_KEY = (
    (r"mashery\.not\.authorized", 403),
    (r"http\.status\.authentication", 401),
    (r"http\.status\.bad_request", 400),
    (r"(throttled|quota_exceeded)$", 429),
    (r"unauthorized$", 401),
    (r"access_denied$", 403),
    (r"(\w+\.)+not_found\b", 404),
    (r"(\w+\.)+validation\.error$", 400),
)


class Verdict(Enum):
    """What to do after an answer."""

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
    """An answer whose body was read. `status` is 0 if none came; `failure` says why.

    `body` is None unless it is complete, valid JSON. `retry_after_s`: how long the API asks to wait, at
    most 60 s; 0 if it does not ask.
    """

    status: int
    body: object = None
    error_key: str = ""
    retry_after_s: float = 0.0
    failure: Cause | None = None

    @property
    def cause(self) -> Cause:
        """Why this answer cannot be used."""
        if self.failure:
            return self.failure
        return Cause.SERVER_ERROR if self.status >= 500 else Cause.ANSWER_UNUSABLE


def judge(answer: Answer, *, has_cursor: bool) -> Verdict:
    """Return what an answer means. `has_cursor`: the call sent a cursor, which can have expired."""
    match answer.status:
        case status if 200 <= status < 300:
            # v3 answers some lists with 202 or 209.
            return Verdict.RETRY if answer.body is None else Verdict.OK
        case 400 | 404 if has_cursor:
            return Verdict.NEXT_EXPIRED
        case 404:
            return Verdict.GONE
        case 401 | 403 | 429 if answer.error_key in _DAY_KEYS:
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
    """Return what a 200 means if its body is not the report that was asked for.

    An error key in the body counts like the status that it stands for. Without a known key: RETRY.
    """
    for beginning, status in _STATUS_BY_KEY:
        if re.match(beginning, answer.error_key):
            return judge(replace(answer, status=status), has_cursor=has_cursor)
    return Verdict.RETRY


def read_answer(reply: Reply, now_ms: int) -> Answer:
    """Read the body, the error key and the waiting time of a reply."""
    body = _json(reply.body)
    key = _error_key(body) or _KEY_BY_HEADER.get(reply.headers.get("x-mashery-error-code", ""), "")
    retry_after_s = _retry_after_s(
        reply.headers.get("retry-after", ""), reply.headers.get("date", ""), now_ms
    )
    return Answer(reply.status, body, key, retry_after_s)


def _json(text: bytes) -> object:
    """Return the JSON value, or None if it is not valid or has too many values for the memory."""
    if text.count(b",") > MAX_JSON_VALUES:
        return None
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _refuse(text: str) -> Never:
    raise ValueError(text)


def _finite(text: str) -> float:
    """Digits such as `1e999` are valid JSON, but become infinity in Python."""
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _error_key(body: object) -> str:
    """Return the key of an error body, or "".

    The v2 documentation has an array of objects; the API was seen to send a single object too.
    """
    first = body[0] if isinstance(body, list) and body else body
    key = first.get("error_key") if isinstance(first, dict) else None
    return key if isinstance(key, str) and re.fullmatch(r"[\w.]{1,80}", key, re.ASCII) else ""


def _retry_after_s(retry_after: str, date: str, now_ms: int) -> float:
    """Return the seconds of a `Retry-After`, 0 if it cannot be read.

    A date in it is compared with the `Date` of the answer, so that our own clock does not matter.
    """
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,20}", text, re.ASCII):
        return min(MAX_RETRY_AFTER_S, float(text))
    until_s, sent_s = http_date_s(text), http_date_s(date)
    if until_s is None:
        return 0.0
    return min(MAX_RETRY_AFTER_S, max(0.0, until_s - (now_ms / 1_000 if sent_s is None else sent_s)))


def http_date_s(text: str) -> float | None:
    """Return the seconds since 1970 of a date in a header, or None.

    A date without a zone is in UTC, as RFC 9110 says.
    """
    try:
        stamp = parsedate_to_datetime(text)
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
