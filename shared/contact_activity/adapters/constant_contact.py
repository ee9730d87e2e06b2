"""The Constant Contact v2 API over HTTPS: one session, every call paced, every answer judged.

What an answer means is one table (`judge`). Nothing that an exception says here holds a URL, a
body or a credential: the key is in the query of every call.
"""

import json
import logging
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from contact_activity.activity import (
    TIME_LIMIT_CHARACTERS,
    USABLE_ID,
    Unreadable,
    iso,
    parse_row,
    parse_time,
)
from contact_activity.ports import (
    CampaignsPage,
    Clock,
    ContactsPage,
    FatalError,
    Limiter,
    ListedCampaign,
    ListedContact,
    Refusal,
    RetryError,
    TrackingPage,
    WaitError,
    WaitReason,
)
from contact_activity.rate_limit import back_off_s, quota_refused_until
from contact_activity.settings import Credentials
from contact_activity.summary import (
    SummaryKind,
    SummaryReport,
    parse_campaign_summary,
    parse_contact_summary,
    parse_summary_by_campaign,
    usable_id,
)
from contact_activity.watermark import ALL_REPORT

PAGE_ROWS = 500
CAMPAIGNS_PAGE_ROWS = 50
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
# A value can be three bytes of an answer and a hundred of memory, of which a function has 256 MB.
ANSWER_VALUES_MAX = 500_000
BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 16.0
CONFIRM_REFUSAL_S = 1.0

_QPS_KEY = "mashery.not.authorized.over.qps"
_RATE_KEY = "mashery.not.authorized.over.ratelimit"
# What can be stored and sent again; a cursor is opaque beyond that.
_USABLE_NEXT = re.compile(r"[\x20-\x7e]{1,4096}")
# Mashery's own header says the same when the body cannot be read.
_KEY_BY_HEADER = {"ERR_403_DEVELOPER_OVER_QPS": _QPS_KEY, "ERR_403_DEVELOPER_OVER_RATE": _RATE_KEY}


T = TypeVar("T")


class Verdict(Enum):
    OK = auto()
    AGAIN = auto()
    SLOW_DOWN = auto()
    DAY_USED_UP = auto()
    REFUSED = auto()
    NEXT_EXPIRED = auto()
    GONE = auto()
    FATAL = auto()


_REFUSALS = {Verdict.NEXT_EXPIRED: Refusal.NEXT_EXPIRED, Verdict.GONE: Refusal.GONE}


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: no answer came. `body` is None unless it was whole, valid JSON."""

    status: int
    body: object = None
    error_key: str = ""


def judge(answer: Answer, *, has_next: bool) -> Verdict:
    """What an answer means; `has_next`: a cursor was sent."""
    match answer.status:
        case 200:
            return Verdict.AGAIN if answer.body is None else Verdict.OK
        case 400 | 404 if has_next:
            return Verdict.NEXT_EXPIRED
        case 404:
            return Verdict.GONE
        case 429:
            return Verdict.SLOW_DOWN
        case 403 if answer.error_key == _QPS_KEY:
            return Verdict.SLOW_DOWN
        case 403 if answer.error_key == _RATE_KEY:
            return Verdict.DAY_USED_UP
        case 401 | 403:
            return Verdict.REFUSED
        case status if 400 <= status < 500 and status != 408:
            return Verdict.FATAL
    return Verdict.AGAIN


class ConstantContact:
    """The `Source` port on the v2 API. One instance serves any number of threads."""

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials],
        limiter: Limiter,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        connections: int = 8,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._session = _session(connections)
        self._refused_ms: int | None = None
        self._lock = threading.Lock()

    def contacts(
        self, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> ContactsPage | Refusal:
        params = {"limit": str(PAGE_ROWS)}
        if since_ms is not None:
            params["modified_since"] = iso(since_ms)
        page = self._page("/contacts", params, next_, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know /contacts: check CONSTANT_CONTACT_BASE_URL")
        if isinstance(page, Refusal):
            return page
        listed = [_listed_contact(row) for row in page.rows]
        known = tuple(contact for contact in listed if contact)
        return ContactsPage(known, len(listed) - len(known), page.next)

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        path = f"/contacts/{_path_part(contact_id)}/tracking" + ("" if report == ALL_REPORT else f"/{report}")
        params = {"limit": str(PAGE_ROWS)}
        # The contact's bounces are the one report without this filter; they are filtered here.
        if since_ms is not None and report != "bounces":
            params["created_since"] = iso(since_ms)
        page = self._page(path, params, next_, deadline_ms)
        if isinstance(page, Refusal):
            return page
        parsed = [parse_row(row, contact_id) for row in page.rows]
        return TrackingPage(
            activities=tuple(row for row in parsed if not isinstance(row, Unreadable)),
            unreadable=tuple(row.digest for row in parsed if isinstance(row, Unreadable)),
            next=page.next,
        )

    def contact_summary(
        self, contact_id: str, kind: SummaryKind, *, deadline_ms: int
    ) -> SummaryReport | Refusal:
        path, parse = _CONTACT_SUMMARIES[kind]
        path = f"/contacts/{_path_part(contact_id)}/tracking/reports/{path}"
        return self._call(path, {}, lambda body: parse(body, contact_id), deadline_ms)

    def campaign_summary(self, campaign_id: str, *, deadline_ms: int) -> SummaryReport | Refusal:
        path = f"/emailmarketing/campaigns/{_path_part(campaign_id)}/tracking/reports/summary"
        params = {"updateSummary": "true"}
        return self._call(path, params, lambda body: parse_campaign_summary(body, campaign_id), deadline_ms)

    def campaigns(self, *, since_ms: int, next_: str | None, deadline_ms: int) -> CampaignsPage | Refusal:
        params = {"status": "SENT", "limit": str(CAMPAIGNS_PAGE_ROWS), "modified_since": iso(since_ms)}
        page = self._page("/emailmarketing/campaigns", params, next_, deadline_ms)
        if page is Refusal.GONE:
            raise FatalError("the API does not know /emailmarketing/campaigns")
        if isinstance(page, Refusal):
            return page
        listed = [_listed_campaign(row) for row in page.rows]
        return CampaignsPage(tuple(campaign for campaign in listed if campaign), page.next)

    def probe(self, *, deadline_ms: int) -> None:
        self._limiter.acquire(deadline_ms=deadline_ms)
        verdict = judge(self._ask("/contacts", {"limit": "1"}), has_next=False)
        if verdict is Verdict.REFUSED:
            raise WaitError(WaitReason.CREDENTIAL)
        if verdict is Verdict.DAY_USED_UP:
            raise self._day_used_up()
        if verdict is not Verdict.OK:
            raise RetryError("the probe was not answered")
        self._refused_ms = None

    def _page(
        self, path: str, params: Mapping[str, str], next_: str | None, deadline_ms: int
    ) -> "_Page | Refusal":
        """One page of a paged resource. With a cursor nothing else is asked: the API refuses both."""
        asked = params if next_ is None else {"next": next_}
        return self._call(path, asked, _read_page, deadline_ms)

    def _call(
        self, path: str, params: Mapping[str, str], read: Callable[[object], T | None], deadline_ms: int
    ) -> T | Refusal:
        """Call until there is an answer to go on with; `read` gives None for a body that is not whole.

        Raises `WaitError`, `FatalError`, or `RetryError` when the deadline would pass first.
        """
        failures = 0
        while True:
            self._acquire(failures, deadline_ms)
            answer = self._ask(path, params)
            verdict = judge(answer, has_next="next" in params)
            result = read(answer.body) if verdict is Verdict.OK else _REFUSALS.get(verdict)
            if result is not None:
                self._refused_ms = None
                return result
            match verdict:
                case Verdict.SLOW_DOWN:
                    self._limiter.slow_down()
                case Verdict.DAY_USED_UP:
                    raise self._day_used_up()
                case Verdict.REFUSED:
                    self._confirm_refusal(deadline_ms)
                case Verdict.FATAL:
                    raise FatalError(f"the API answered {answer.status} {answer.error_key}".rstrip())
                case _:
                    failures += 1
                    self._back_off(failures, answer.status, deadline_ms)

    def _acquire(self, failures: int, deadline_ms: int) -> None:
        try:
            self._limiter.acquire(deadline_ms=deadline_ms)
        except WaitError as wait:
            if failures and wait.reason is WaitReason.TIME:
                raise RetryError(f"the API failed {failures} times") from None
            raise

    def _back_off(self, failures: int, status: int, deadline_ms: int) -> None:
        wait_s = back_off_s(failures, first_s=BACKOFF_FIRST_S, most_s=BACKOFF_MOST_S, jitter=self._jitter())
        if self._is_too_late(wait_s, deadline_ms):
            raise RetryError(f"the API failed {failures} times, at last with {status}")
        self._clock.sleep(wait_s)

    def _confirm_refusal(self, deadline_ms: int) -> None:
        """Believe a refusal when it comes twice, a second apart, with no accepted call between.

        Under load the API was seen to answer 401 at random.
        """
        now_ms = self._clock.now_ms()
        with self._lock:
            if self._refused_ms is None:
                self._refused_ms = now_ms
            elif now_ms - self._refused_ms >= CONFIRM_REFUSAL_S * 1_000:
                raise WaitError(WaitReason.CREDENTIAL)
        if self._is_too_late(CONFIRM_REFUSAL_S, deadline_ms):
            raise WaitError(WaitReason.TIME)
        self._clock.sleep(CONFIRM_REFUSAL_S)

    def _is_too_late(self, wait_s: float, deadline_ms: int) -> bool:
        return self._clock.monotonic_ms() + wait_s * 1_000 >= deadline_ms

    def _day_used_up(self) -> WaitError:
        now_ms = self._clock.now_ms()
        until_ms = quota_refused_until(self._limiter.pace(), self._limiter.limits, now_ms)
        return WaitError(WaitReason.QUOTA, until_ms)

    def _ask(self, path: str, params: Mapping[str, str]) -> Answer:
        credentials = self._credentials()
        try:
            # Prepared here: merging with the session's own settings would take longer than the rest.
            request = requests.Request(
                "GET",
                self._base_url + path,
                params={**params, "api_key": credentials.api_key},
                headers={**self._session.headers, "Authorization": f"Bearer {credentials.access_token}"},
            ).prepare()
            with self._session.send(
                request,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            ) as response:
                return _answer(response, self._read_body(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            return Answer(0)

    def _read_body(self, response: requests.Response) -> bytes:
        """The whole body, within a size and a time that `requests` alone does not bound."""
        give_up_ms = self._clock.monotonic_ms() + ANSWER_TIMEOUT_S * 1_000
        body = bytearray()
        while chunk := response.raw.read1(65_536, decode_content=True):
            body += chunk
            if len(body) > ANSWER_BYTES_MAX or self._clock.monotonic_ms() > give_up_ms:
                raise urllib3.exceptions.HTTPError("an answer without end")
        if body.count(b",") > ANSWER_VALUES_MAX:
            raise urllib3.exceptions.HTTPError("an answer of too many values")
        return bytes(body)


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[object]
    next: str | None


class _Session(requests.Session):
    """Follows no redirect, and so has no use for where one leads.

    With `allow_redirects=False` alone, `requests` would still read a redirect's whole body, without
    the bounds that an answer has here, and raise what its address makes it raise.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def _session(connections: int) -> requests.Session:
    # Below that it tells of calls and odd answers with the whole address, which holds the key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    session = _Session()
    session.trust_env = False
    session.headers["Accept"] = "application/json"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _answer(response: requests.Response, body: bytes) -> Answer:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    key = _error_key(parsed) or _KEY_BY_HEADER.get(response.headers.get("X-Mashery-Error-Code", ""), "")
    return Answer(response.status_code, parsed, key)


def _error_key(body: object) -> str:
    """The key of an error body: documented as an array of objects, seen as one object too."""
    first = body[0] if isinstance(body, list) and body else body
    key = first.get("error_key") if isinstance(first, dict) else None
    return key if isinstance(key, str) and re.fullmatch(r"[\w.]{1,80}", key) else ""


def _read_page(body: object) -> _Page | None:
    """Rows and cursor of a page, or None if it is not one."""
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        return None
    try:
        link = ((body.get("meta") or {}).get("pagination") or {}).get("next_link")
    except AttributeError:
        return None
    if not link:
        return _Page(body["results"], None)
    next_ = _next_token(link)
    return None if next_ is None else _Page(body["results"], next_)


def _next_token(link: object) -> str | None:
    """Only the token of a `next_link` counts: its path can be wrong, its host must never be followed."""
    try:
        values = parse_qs(urlsplit(str(link)).query).get("next")
    except ValueError:
        return None
    return values[0] if values and _USABLE_NEXT.fullmatch(values[0]) else None


_CONTACT_SUMMARIES = {
    SummaryKind.CONTACT: ("summary", parse_contact_summary),
    SummaryKind.CONTACT_CAMPAIGN: ("summaryByCampaign", parse_summary_by_campaign),
}


def _path_part(id_: str) -> str:
    if not USABLE_ID.fullmatch(id_):
        raise FatalError("an id that cannot be part of a path")
    return id_


def _listed_campaign(row: object) -> ListedCampaign | None:
    id_ = usable_id(row.get("id")) if isinstance(row, dict) else None
    if id_ is None or not isinstance(row, dict):
        return None
    modified = row.get("modified_date")
    return ListedCampaign(id_, parse_time(modified) if isinstance(modified, str) else None)


def _listed_contact(row: object) -> ListedContact | None:
    if not isinstance(row, dict):
        return None
    id_, modified = row.get("id"), row.get("modified_date")
    id_text = str(id_) if isinstance(id_, str | int) and not isinstance(id_, bool) else ""
    if not USABLE_ID.fullmatch(id_text):
        return None
    # It is only compared with what was listed before, so what is no time may as well be nothing.
    if not isinstance(modified, str) or not modified.isascii() or len(modified) > TIME_LIMIT_CHARACTERS:
        modified = ""
    return ListedContact(id_text, modified)
