"""Make calls to the Constant Contact API, whatever its version.

A call takes a slot, sends the credentials, and is tried again until it has an answer or its deadline
comes. Paths, parameters and rows belong to a version, such as `v2`.

No error text holds a URL, a body or a credential: v2 has the API key in the query of every call.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from requests import PreparedRequest, Request

from contact_activity.constant_contact.http_transport import HttpTransport
from contact_activity.constant_contact.transport import (
    ANSWER_TIMEOUT_S,
    Connection,
    NoAnswerError,
    Reply,
    Transport,
)
from contact_activity.constant_contact.verdict import Answer, Verdict, judge, judge_misfit, read_answer
from contact_activity.domain.answers import Refusal
from contact_activity.domain.counted import counted
from contact_activity.domain.pace import back_off_s
from contact_activity.domain.pauses import quota_refused_until
from contact_activity.domain.retries import Retry
from contact_activity.errors import Cause, FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.ports import BearerTokens, Clock, Limiter, TryWatch
from contact_activity.settings import Credentials

FIRST_BACKOFF_S = 0.25
MAX_BACKOFF_S = 16.0
CONFIRM_REFUSAL_S = 1.0
REFUSALS_BELIEVED = 2
CUT_SHORT_S = 0.05
# Whoever looks what a credential may do does not wait for an API that fails.
MAX_FAILED_LOOKS = 3
# A slot is lost when the server closes the connection just before it. One call loses at most one.
MAX_SLOTS = 2
# A connection is checked this long before its slot: 100 ms and one and a half times what the last one
# took to open, at most 2 s.
MIN_LEAD_MS, MAX_LEAD_MS = 100, 2_000
# A connection that is there sooner was already open.
MIN_CONNECT_MS = 5

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_REFUSALS = {Verdict.NEXT_EXPIRED: Refusal.NEXT_EXPIRED, Verdict.GONE: Refusal.GONE}


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A GET request, and how to read the body of its answer.

    `read` returns None for a body that is not what was asked for. `has_cursor`: the call asks for a
    later page, with a cursor that can expire.
    """

    path: str
    params: Mapping[str, str | list[str]]
    read: Callable[[object], T_co | None]
    has_cursor: bool = False


@dataclass(frozen=True, slots=True)
class Rights:
    """What the neutral call takes in a version with rights: a scope and a privilege.

    `telling_call` takes the same scope and another privilege, so that its answer tells which is missing.
    """

    scope: str
    privilege: str
    telling_call: Call[object]

    def missing(self, told: Verdict) -> str:
        """Return what is missing, by what the telling call came to; "" if that does not tell."""
        if told is Verdict.REFUSED:
            return self.scope
        return self.privilege if told in _LET_THROUGH else ""


# Of what comes before the question whether there is such a thing.
_LET_THROUGH = (Verdict.OK, Verdict.GONE, Verdict.FATAL)


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """What the client needs to know of a version of the API.

    `neutral_call` is a cheap call that every valid credential may make that has its `rights`.
    `credential_params` returns the query parameters that carry credentials; the access token is in a header
    as well.
    """

    neutral_call: Call[object]
    credential_params: Callable[[Credentials], Mapping[str, str]]
    rights: Rights | None = None


@dataclass(frozen=True, slots=True)
class Look(Generic[T_co]):
    """The answer of a call, for who looks what a credential may do. `result` is None unless it is OK."""

    verdict: Verdict
    status: int
    error_key: str
    result: T_co | None

    @property
    def is_refused(self) -> bool:
        return self.verdict is Verdict.REFUSED


class ApiClient:
    """A client of the API, for any number of threads.

    `credentials`: the key and the token of v2, or the tokens of v3, which are then all that is sent.
    `proxy`, `ca_bundle`: see `HttpTransport`. `on_failure` is called after each failed try with its
    cause, the status (0: no answer came) and the number of failures of this call so far. `watch` is told of
    each try.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials] | BearerTokens,
        limiter: Limiter,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        on_failure: Callable[[Cause, int, int], object] = lambda *_: None,
        transport: Transport | None = None,
        watch: TryWatch | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials if callable(credentials) else None
        self._tokens = None if callable(credentials) else credentials
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._on_failure = on_failure
        self._watch = watch
        self._accepted_ms = -1
        self._lead_ms = MIN_LEAD_MS
        self._transport = transport or HttpTransport(
            base_url, connections=connections, proxy=proxy, ca_bundle=ca_bundle
        )

    def close(self) -> None:
        self._transport.close()

    def call(self, call: Call[T], version: ApiVersion, *, deadline_ms: int) -> T | Refusal:
        """Try a call until its answer can be used.

        Raises `RetryError` when the last failure leaves no time for another try, `WaitError` when calls
        have to wait for a slot, for the next day or for a new credential, and `FatalError` when no try can
        succeed.
        """
        tries = _Tries(deadline_ms, version)
        while True:
            verdict, answer, result = self._try(call, tries)
            if result is not None:
                return result
            if verdict in _REFUSALS:
                return _REFUSALS[verdict]
            if verdict is Verdict.REFUSED:
                self._check_refusal(answer, tries)
                self._note_retry(answer)
            else:
                self._prepare_next(verdict, answer, tries)

    def look(self, call: Call[T], version: ApiVersion, *, deadline_ms: int) -> Look[T]:
        """Make a call, and return its answer whatever it is. It is tried again where that may help.

        As in `call` a refused token is renewed only if the neutral call is refused. Raises `RetryError`
        after some failures, or one that took all its time, and `WaitError` for a slot, for the next day, or
        for a new credential.
        """
        tries = _Tries(deadline_ms, version)
        while True:
            verdict, answer, result = self._try(call, tries)
            if verdict in (Verdict.RETRY, Verdict.SLOW_DOWN, Verdict.DAY_USED_UP):
                self._prepare_next(verdict, answer, tries)
                if tries.failures >= MAX_FAILED_LOOKS or answer.failure is Cause.TIMED_OUT:
                    raise tries.error()
            elif verdict is not Verdict.REFUSED or not self._may_be_accepted(call, answer, tries):
                return Look(verdict, answer.status, answer.error_key, result)

    def probe(self, version: ApiVersion, *, deadline_ms: int) -> None:
        """Make the neutral call once, to learn whether the API accepts calls.

        Raises `WaitError` when it does not, with the right that is missing if that is why, and `RetryError`
        when the call fails.
        """
        tries = _Tries(deadline_ms, version)
        verdict, answer = self._make_neutral_call(tries)
        if verdict is Verdict.REFUSED and self._renew_token(answer, tries):
            verdict, answer = self._make_neutral_call(tries)
        match verdict:
            case Verdict.OK:
                return
            case Verdict.REFUSED:
                raise self._credential_wait(answer, tries)
            case Verdict.DAY_USED_UP:
                raise self._quota_wait()
            case Verdict.SLOW_DOWN:
                self._limiter.slow_down(answer.retry_after_s)
        self._count_failure(tries, answer)
        raise tries.error()

    def _try(self, call: Call[T], tries: "_Tries") -> tuple[Verdict, Answer, T | None]:
        """Make a call once. The result is None unless the verdict is OK."""
        answer = self._ask(call, tries)
        verdict = judge(answer, has_cursor=call.has_cursor)
        if verdict is not Verdict.OK:
            return verdict, answer, None
        result = call.read(answer.body)
        if result is None:
            return judge_misfit(answer, has_cursor=call.has_cursor), answer, None
        self._accepted_ms = self._clock.monotonic_ms()
        if self._tokens:
            self._tokens.accepted(tries.token)
        return verdict, answer, result

    def _make_neutral_call(self, tries: "_Tries") -> tuple[Verdict, Answer]:
        verdict, answer, _ = self._try(tries.version.neutral_call, tries)
        return verdict, answer

    def _check_refusal(self, answer: Answer, tries: "_Tries") -> None:
        """Return if the call may be tried again.

        Raises `WaitError` if the API refuses the credential, and `RefusedError` if it refuses only this
        resource. Under load the API was seen to answer 401 at random, so a resource has to be refused
        twice with 401.
        """
        if self._has_another_token(answer, tries) or not self._is_credential_accepted(tries):
            return
        tries.refusals += 1
        if answer.status == 403 or tries.refusals >= REFUSALS_BELIEVED:
            text = f"the API refuses this resource: {answer.status} {answer.error_key}"
            raise RefusedError(text.rstrip(), is_forbidden=answer.status == 403)

    def _has_another_token(self, answer: Answer, tries: "_Tries") -> bool:
        """Whether a token that was refused was due, or is replaced already."""
        if not self._tokens or answer.status != 401:
            return False
        return self._tokens.access_token(deadline_ms=tries.deadline_ms) != tries.token

    def _renew_token(self, answer: Answer, tries: "_Tries") -> bool:
        """Renew a token that the neutral call refused. False if there is nothing to renew.

        Raises `WaitError` if the credential is dead. A 403 is no matter of the token.
        """
        if not self._tokens or answer.status != 401:
            return False
        self._tokens.refused(tries.token, deadline_ms=tries.deadline_ms)
        return True

    def _may_be_accepted(self, call: Call[T], answer: Answer, tries: "_Tries") -> bool:
        """Whether a refused call may be accepted at its next try: a 401 may be random, or the token old.

        Raises `WaitError` if the credential is dead.
        """
        if answer.status != 401:
            return False
        if self._has_another_token(answer, tries):
            return True
        tries.refusals += 1
        if tries.refusals % REFUSALS_BELIEVED:
            self._clock.sleep(CONFIRM_REFUSAL_S)
            return True
        return call is tries.version.neutral_call and self._renew_token(answer, tries)

    def _is_credential_accepted(self, tries: "_Tries") -> bool:
        """Wait a second, then make the neutral call. False if that was refused too, and the token renewed.

        Raises `WaitError` if it was refused and there is no other token. If another worker's call was
        accepted in the meantime, the refusal was a random one, and the neutral call is made again.
        """
        if self._is_too_late(CONFIRM_REFUSAL_S, tries.deadline_ms):
            raise WaitError(WaitReason.TIME)
        refused_ms = self._clock.monotonic_ms()
        self._clock.sleep(CONFIRM_REFUSAL_S)
        while True:
            verdict, answer = self._make_neutral_call(tries)
            if verdict is Verdict.OK:
                return True
            if verdict is Verdict.REFUSED:
                if self._accepted_ms <= refused_ms:
                    if self._renew_token(answer, tries):
                        return False
                    raise self._credential_wait(answer, tries)
                verdict, refused_ms = Verdict.RETRY, self._clock.monotonic_ms()
            self._prepare_next(verdict, answer, tries)

    def _credential_wait(self, answer: Answer, tries: "_Tries") -> WaitError:
        """The wait for another credential, or for the right that this one lacks."""
        rights, lacks = tries.version.rights, ""
        if rights and answer.status == 403:
            # Without a slot or an answer it stays unsaid, and the next probe asks again.
            with suppress(WaitError, RetryError):
                told, said, _ = self._try(rights.telling_call, tries)
                lacks = rights.missing(told)
                if told is Verdict.SLOW_DOWN:
                    self._limiter.slow_down(said.retry_after_s)
        return WaitError(WaitReason.CREDENTIAL, lacks=lacks)

    def _prepare_next(self, verdict: Verdict, answer: Answer, tries: "_Tries") -> None:
        """Wait as long as the answer asks for. Raises if the call must not be tried again."""
        match verdict:
            case Verdict.SLOW_DOWN:
                self._limiter.slow_down(answer.retry_after_s)
                self._note_retry(answer, answer.retry_after_s, is_rate_limited=True)
            case Verdict.DAY_USED_UP:
                raise self._quota_wait()
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
            tries.failures, first_s=FIRST_BACKOFF_S, most_s=MAX_BACKOFF_S, jitter=self._jitter()
        )
        if answer.status == 503:
            wait_s = max(wait_s, answer.retry_after_s)
        if self._is_too_late(wait_s, tries.deadline_ms):
            raise tries.error()
        self._note_retry(answer, wait_s)
        self._clock.sleep(wait_s)

    def _note_retry(self, answer: Answer, wait_s: float = 0, *, is_rate_limited: bool = False) -> None:
        if self._watch:
            self._watch.record_retry(Retry(answer.status, answer.cause.value, wait_s, is_rate_limited))

    def _acquire(self, tries: "_Tries", prepare: Callable[[], object]) -> None:
        try:
            self._limiter.acquire(deadline_ms=tries.deadline_ms, prepare=prepare, lead_ms=self._lead_ms)
        except WaitError as wait:
            if tries.failures and wait.reason is WaitReason.TIME:
                raise tries.error() from None
            raise

    def _is_too_late(self, wait_s: float, deadline_ms: int) -> bool:
        return self._clock.monotonic_ms() + wait_s * 1_000 >= deadline_ms

    def _quota_wait(self) -> WaitError:
        now_ms = self._clock.now_ms()
        until_ms = quota_refused_until(self._limiter.pace(), self._limiter.limits, now_ms)
        return WaitError(WaitReason.QUOTA, until_ms)

    def _ask(self, call: Call[T], tries: "_Tries") -> Answer:
        """Take a slot and make one call.

        Raises `WaitError`, or `RetryError` after a failure, when there is no slot before the deadline.
        """
        params = self._take_credentials(tries)
        request = Request(
            "GET",
            self._base_url + call.path,
            params={**call.params, **params},
            headers={"Accept": "application/json", "Authorization": f"Bearer {tries.token}"},
        ).prepare()
        try:
            reply = self._exchange(request, tries)
        except NoAnswerError as error:
            self._note_try()
            if not tries.failures and self._is_cut_short(error, tries.deadline_ms):
                raise WaitError(WaitReason.TIME) from None
            return Answer(0, failure=error.cause)
        self._note_try()
        return read_answer(reply, self._clock.now_ms())

    def _note_try(self) -> None:
        if self._watch:
            self._watch.record_try()

    def _take_credentials(self, tries: "_Tries") -> Mapping[str, str]:
        """Set the token of this try. Return the parameters that carry credentials."""
        if self._tokens:
            tries.token = self._tokens.access_token(deadline_ms=tries.deadline_ms)
        if not self._credentials:
            return {}
        credentials = self._credentials()
        tries.token = credentials.access_token
        return tries.version.credential_params(credentials)

    def _is_cut_short(self, error: NoAnswerError, deadline_ms: int) -> bool:
        """Whether our own deadline ended the call, which is not a failure of the API."""
        return error.cause is Cause.TIMED_OUT and self._is_too_late(CUT_SHORT_S, deadline_ms)

    def _exchange(self, request: PreparedRequest, tries: "_Tries") -> Reply:
        """Send a request in its slot, over a connection that is already open then.

        A connection is opened before a slot is taken, so that an unreachable host costs no slot. If the
        server closes it during the wait, it is opened again shortly before the slot.
        """
        with ExitStack() as stack:
            opened: list[Connection] = []

            def connect() -> None:
                if not (opened and opened[-1].is_quiet()):
                    opened.append(stack.enter_context(self._connected(tries)))

            connect()
            for _ in range(MAX_SLOTS):
                self._acquire(tries, connect)
                if opened[-1].is_quiet():
                    within_s = self._left_s(tries.deadline_ms)
                    return opened[-1].get(request.path_url, request.headers, within_s=within_s)
        raise NoAnswerError(Cause.CONNECTION_CLOSED)

    @contextmanager
    def _connected(self, tries: "_Tries") -> Iterator[Connection]:
        begun_ms = self._clock.monotonic_ms()
        with self._transport.connected(within_s=self._left_s(tries.deadline_ms)) as connection:
            took_ms = self._clock.monotonic_ms() - begun_ms
            if took_ms >= MIN_CONNECT_MS:
                self._lead_ms = min(MAX_LEAD_MS, MIN_LEAD_MS + 3 * took_ms // 2)
            yield connection

    def _left_s(self, deadline_ms: int) -> float:
        return min(ANSWER_TIMEOUT_S, (deadline_ms - self._clock.monotonic_ms()) / 1_000)


@dataclass(slots=True)
class _Tries:
    """The tries of one call: how many failed, how many were refused, the last token and failure."""

    deadline_ms: int
    version: ApiVersion
    failures: int = 0
    refusals: int = 0
    token: str = field(default="", repr=False)
    last: Answer = field(default_factory=lambda: Answer(0))

    def error(self) -> RetryError:
        failed = f"the API failed {counted(self.failures, 'time')}"
        status = f" ({self.last.status})" if self.last.status else ""
        return RetryError(f"{failed}, at last: {self.last.cause}{status}", self.last.cause)
