"""The Constant Contact v2 API over HTTPS: every call paced, every answer judged.

What an answer means is one table (`judge`). Nothing that an exception says here holds a URL, a
body or a credential: the key is in the query of every call.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from requests import PreparedRequest, Request

from contact_activity.constant_contact.rows import is_of, parse_row, usable_id
from contact_activity.constant_contact.summary_rows import (
    parse_campaign_summary,
    parse_contact_summary,
    parse_summary_by_campaign,
)
from contact_activity.constant_contact.transport import (
    ANSWER_TIMEOUT_S,
    Connection,
    HttpTransport,
    NoAnswerError,
    Reply,
    Transport,
)
from contact_activity.constant_contact.verdict import Answer, Verdict, judge, judge_misfit, read_answer
from contact_activity.domain.activity import USABLE_ID, Unreadable
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.campaign import ListedCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import back_off_s
from contact_activity.domain.pauses import quota_refused_until
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.times import TIME_LIMIT_CHARACTERS, iso, parse_time
from contact_activity.domain.watermark import ALL_REPORT
from contact_activity.errors import Cause, FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.ports import Clock, Limiter
from contact_activity.settings import Credentials

PAGE_ROWS = 500
CAMPAIGNS_PAGE_ROWS = 50
BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 16.0
CONFIRM_REFUSAL_S = 1.0
REFUSALS_BELIEVED = 2
CUT_SHORT_S = 0.05
# A slot whose connection is closed at the last moment is lost; not more than one a call.
SLOTS_MOST = 2
# How long before its slot a connection has to stand: as long as the last one took, and a half.
LEAD_LEAST_MS, LEAD_MOST_MS = 100, 2_000
CONNECT_LEAST_MS = 5

# What can be stored and sent again; a cursor is opaque beyond that.
_USABLE_NEXT = re.compile(r"[\x20-\x7e]{1,4096}")

T = TypeVar("T")


_REFUSALS = {Verdict.NEXT_EXPIRED: Refusal.NEXT_EXPIRED, Verdict.GONE: Refusal.GONE}


class ConstantContact:
    """The `Source` port on the v2 API. One instance serves any number of threads.

    `proxy`, `ca_bundle`: see `HttpTransport`; neither is ever read from the environment. `on_failure`
    is told of each try that failed: why, the status if there was an answer, and how many tries that
    makes of this call.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials],
        limiter: Limiter,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        on_failure: Callable[[Cause, int, int], object] = lambda *_: None,
        transport: Transport | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._on_failure = on_failure
        self._accepted_ms = -1
        self._lead_ms = LEAD_LEAST_MS
        self._transport = transport or HttpTransport(
            base_url, connections=connections, proxy=proxy, ca_bundle=ca_bundle
        )

    def close(self) -> None:
        self._transport.close()

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
        page = self._page(path, params, next_, deadline_ms, contact_id)
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
        tries = _Tries(deadline_ms)
        verdict, answer = self._ask_neutral(tries)
        match verdict:
            case Verdict.OK:
                return
            case Verdict.REFUSED:
                raise WaitError(WaitReason.CREDENTIAL)
            case Verdict.DAY_USED_UP:
                raise self._day_used_up()
            case Verdict.SLOW_DOWN:
                self._limiter.slow_down(answer.retry_after_s)
        self._count_failure(tries, answer)
        raise tries.error()

    def _page(
        self,
        path: str,
        params: Mapping[str, str],
        next_: str | None,
        deadline_ms: int,
        contact_id: str | None = None,
    ) -> "_Page | Refusal":
        """One page of a paged resource. With a cursor nothing else is asked: the API refuses both."""
        asked = params if next_ is None else {"next": next_}
        return self._call(path, asked, lambda body: _read_page(body, contact_id), deadline_ms)

    def _call(
        self, path: str, params: Mapping[str, str], read: Callable[[object], T | None], deadline_ms: int
    ) -> T | Refusal:
        """Call until there is an answer to go on with; `read` gives None for a body that is not whole.

        Raises `WaitError`, `FatalError`, or `RetryError` when the deadline would pass first.
        """
        tries = _Tries(deadline_ms)
        while True:
            verdict, answer, result = self._try(path, params, read, tries)
            if result is not None:
                return result
            if verdict in _REFUSALS:
                return _REFUSALS[verdict]
            if verdict is Verdict.REFUSED:
                self._believe_refusal(answer, tries)
            else:
                self._prepare_next(verdict, answer, tries)

    def _try(
        self, path: str, params: Mapping[str, str], read: Callable[[object], T | None], tries: "_Tries"
    ) -> tuple[Verdict, Answer, T | None]:
        """One call. The result is None unless the verdict is to go on."""
        answer = self._ask(path, params, tries)
        verdict = judge(answer, has_next="next" in params)
        if verdict is not Verdict.OK:
            return verdict, answer, None
        result = read(answer.body)
        if result is None:
            return judge_misfit(answer, has_next="next" in params), answer, None
        self._accepted_ms = self._clock.monotonic_ms()
        return verdict, answer, result

    def _ask_neutral(self, tries: "_Tries") -> tuple[Verdict, Answer]:
        """The call that every credential of this API may make."""
        verdict, answer, _ = self._try("/contacts", {"limit": "1"}, _read_page, tries)
        return verdict, answer

    def _believe_refusal(self, answer: Answer, tries: "_Tries") -> None:
        """Return to ask again. Raises `WaitError` for a dead credential, `RefusedError` for a good one.

        Under load the API was seen to answer 401 at random: a good one is refused twice before.
        """
        self._check_credential(tries)
        tries.refusals += 1
        if answer.status == 403 or tries.refusals >= REFUSALS_BELIEVED:
            text = f"the API refuses this resource: {answer.status} {answer.error_key}"
            raise RefusedError(text.rstrip())

    def _check_credential(self, tries: "_Tries") -> None:
        """The neutral call decides, a second later. Raises `WaitError` if it is refused too.

        A call of another worker that was accepted meanwhile says that the refusal was one at random.
        """
        if self._is_too_late(CONFIRM_REFUSAL_S, tries.deadline_ms):
            raise WaitError(WaitReason.TIME)
        refused_ms = self._clock.monotonic_ms()
        self._clock.sleep(CONFIRM_REFUSAL_S)
        while True:
            verdict, answer = self._ask_neutral(tries)
            if verdict is Verdict.OK:
                return
            if verdict is Verdict.REFUSED:
                if self._accepted_ms <= refused_ms:
                    raise WaitError(WaitReason.CREDENTIAL)
                verdict, refused_ms = Verdict.AGAIN, self._clock.monotonic_ms()
            self._prepare_next(verdict, answer, tries)

    def _prepare_next(self, verdict: Verdict, answer: Answer, tries: "_Tries") -> None:
        """Wait as the answer asks for. Raises what ends the call instead."""
        match verdict:
            case Verdict.SLOW_DOWN:
                self._limiter.slow_down(answer.retry_after_s)
            case Verdict.DAY_USED_UP:
                raise self._day_used_up()
            case Verdict.FATAL | Verdict.GONE | Verdict.NEXT_EXPIRED:
                raise FatalError(f"the API answered {answer.status} {answer.error_key}".rstrip())
            case _:
                self._count_failure(tries, answer)
                self._back_off(tries, answer)

    def _count_failure(self, tries: "_Tries", answer: Answer) -> None:
        tries.failures += 1
        tries.last = answer
        self._on_failure(answer.cause, answer.status, tries.failures)

    def _back_off(self, tries: "_Tries", answer: Answer) -> None:
        wait_s = back_off_s(
            tries.failures, first_s=BACKOFF_FIRST_S, most_s=BACKOFF_MOST_S, jitter=self._jitter()
        )
        if answer.status == 503:
            wait_s = max(wait_s, answer.retry_after_s)
        if self._is_too_late(wait_s, tries.deadline_ms):
            raise tries.error()
        self._clock.sleep(wait_s)

    def _acquire(self, tries: "_Tries", prepare: Callable[[], object]) -> None:
        try:
            self._limiter.acquire(deadline_ms=tries.deadline_ms, prepare=prepare, lead_ms=self._lead_ms)
        except WaitError as wait:
            if tries.failures and wait.reason is WaitReason.TIME:
                raise tries.error() from None
            raise

    def _is_too_late(self, wait_s: float, deadline_ms: int) -> bool:
        return self._clock.monotonic_ms() + wait_s * 1_000 >= deadline_ms

    def _day_used_up(self) -> WaitError:
        now_ms = self._clock.now_ms()
        until_ms = quota_refused_until(self._limiter.pace(), self._limiter.limits, now_ms)
        return WaitError(WaitReason.QUOTA, until_ms)

    def _ask(self, path: str, params: Mapping[str, str], tries: "_Tries") -> Answer:
        """Take a slot and make one call. Raises `WaitError` or `RetryError` when no slot is to be had."""
        credentials = self._credentials()
        request = Request(
            "GET",
            self._base_url + path,
            params={**params, "api_key": credentials.api_key},
            headers={"Accept": "application/json", "Authorization": f"Bearer {credentials.access_token}"},
        ).prepare()
        try:
            return read_answer(self._exchange(request, tries), self._clock.now_ms())
        except NoAnswerError as error:
            if not tries.failures and self._is_cut_short(error, tries.deadline_ms):
                raise WaitError(WaitReason.TIME) from None
            return Answer(0, failure=error.cause)

    def _is_cut_short(self, error: NoAnswerError, deadline_ms: int) -> bool:
        """Our own deadline ended the call: that is nobody's failure."""
        return error.cause is Cause.TIMED_OUT and self._is_too_late(CUT_SHORT_S, deadline_ms)

    def _exchange(self, request: PreparedRequest, tries: "_Tries") -> Reply:
        """Nothing slow stands between the slot and the call: the connection is made before.

        First before the slot is asked for, since a call that reaches nobody shall not cost one; then,
        if it was closed in the wait for the slot, once more shortly before that.
        """
        with ExitStack() as stack:
            standing: list[Connection] = []

            def stand() -> None:
                if not (standing and standing[-1].is_quiet()):
                    standing.append(stack.enter_context(self._connected(tries)))

            stand()
            for _ in range(SLOTS_MOST):
                self._acquire(tries, stand)
                if standing[-1].is_quiet():
                    within_s = self._left_s(tries.deadline_ms)
                    return standing[-1].get(request.path_url, request.headers, within_s=within_s)
        raise NoAnswerError(Cause.CONNECTION_CLOSED)

    @contextmanager
    def _connected(self, tries: "_Tries") -> Iterator[Connection]:
        begun_ms = self._clock.monotonic_ms()
        with self._transport.connected(within_s=self._left_s(tries.deadline_ms)) as connection:
            took_ms = self._clock.monotonic_ms() - begun_ms
            # Less is one that stood already.
            if took_ms >= CONNECT_LEAST_MS:
                self._lead_ms = min(LEAD_MOST_MS, LEAD_LEAST_MS + 3 * took_ms // 2)
            yield connection

    def _left_s(self, deadline_ms: int) -> float:
        return min(ANSWER_TIMEOUT_S, (deadline_ms - self._clock.monotonic_ms()) / 1_000)


@dataclass(slots=True)
class _Tries:
    """What a call has come to: how often it failed, and at last by what."""

    deadline_ms: int
    failures: int = 0
    refusals: int = 0
    last: Answer = field(default_factory=lambda: Answer(0))

    def error(self) -> RetryError:
        times = f"the API failed {self.failures} time{'s' * (self.failures != 1)}"
        status = f" ({self.last.status})" if self.last.status else ""
        return RetryError(f"{times}, at last: {self.last.cause}{status}", self.last.cause)


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[object]
    next: str | None


def _read_page(body: object, contact_id: str | None = None) -> _Page | None:
    """Rows and cursor of a page, or None if it is not one, or not of the contact that was asked for."""
    if not isinstance(body, dict) or not isinstance(body.get("results"), list):
        return None
    if contact_id is not None and not all(is_of(row, "contact_id", contact_id) for row in body["results"]):
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
    id_, modified = usable_id(row.get("id")), row.get("modified_date")
    if id_ is None:
        return None
    # It is only compared with what was listed before, so what is no time may as well be nothing.
    if not isinstance(modified, str) or not modified.isascii() or len(modified) > TIME_LIMIT_CHARACTERS:
        modified = ""
    return ListedContact(id_, modified)
