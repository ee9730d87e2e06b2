"""Serves a simulated account as the API of Constant Contact over HTTP, on 127.0.0.1."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from contact_activity.simulated.account import SimulatedAccount
from contact_activity.simulated.api import Query
from contact_activity.simulated.delivery import Delivery, deliver
from contact_activity.simulated.faults import Fault, FaultPicker, can_happen
from contact_activity.simulated.gateway import Gateway, StaticToken, V2Gateway
from contact_activity.simulated.http_server import HttpServer, Incoming
from contact_activity.simulated.quota import Over, Quota, most_in_a_second
from contact_activity.simulated.replies import Reply
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.times import to_ms
from contact_activity.simulated.token_switches import APPLICATIONS, Application, TokenSwitches
from contact_activity.simulated.tokens import (
    AUTHORIZE_PATH,
    DEVICE_PATH,
    PATHS,
    TOKEN_PATH,
    AuthorizationServer,
)
from contact_activity.simulated.v3_gateway import V3Gateway

Step = Reply | Fault | Callable[[], object] | None
"""Outcome of a scripted call: a reply, a fault, a function to run before the right answer, or None."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the server received, answered or refused.

    `at_s` is a time of the server's `monotonic` clock. `query` is without `api_key`. `status` is 0 if
    the connection was closed without an answer.
    """

    at_s: float
    at: datetime
    method: str
    path: str
    query: Mapping[str, str]
    status: int
    fault: Fault | None


# Scripts know a path by the id in this place of it.
_ID_PLACES = {"/v2/contacts/": 3, "/v3/reports/contact_reports/": 4, "/v3/reports/email_reports/": 4}


class Server:
    """The server. It runs while the `with` block lasts, in threads of this process.

    It serves v2 under `/v2`, v3 under `/v3` and the authorisation server of v3 under `/oauth2`. Both
    versions show the same account and share the quotas. `access_token` is accepted by both and never
    expires; v3 also accepts what `authorization` issues.

    `calls_per_second` and `calls_per_day` (UTC days of `now`) are the quotas of the key. `now` is the
    time of the API, which decides what is visible. `monotonic` is the clock of the quota per second.
    At the end the first error inside the server is raised, if there was one.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        *,
        api_key: str,
        access_token: str,
        switches: Switches | None = None,
        tokens: TokenSwitches | None = None,
        applications: tuple[Application, ...] = APPLICATIONS,
        calls_per_second: int = 4,
        calls_per_day: int = 10_000,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        port: int = 0,
    ) -> None:
        self._switches = switches or Switches()
        self._token = StaticToken(access_token)
        self._v2 = V2Gateway(account, self._switches, api_key, self._token)
        self._now, self._monotonic = now, monotonic
        self.authorization = AuthorizationServer(
            tokens or TokenSwitches(),
            applications,
            now_ms=lambda: to_ms(self._now()),
            origin=lambda: self.origin,
        )
        self._v3 = V3Gateway(account, self._switches, self._token, self.authorization)
        counts = self._switches.refused_calls_count
        self._quota = Quota(calls_per_second, calls_per_day, counts_refused=counts)
        self._faults = FaultPicker(self._switches.faults, self._switches.seed)
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Step]] = {}
        self._calls: list[Call] = []
        self._token_calls: list[Call] = []
        self._violations: list[str] = []
        self._wanted_port = port
        self._running: HttpServer | None = None

    def __enter__(self) -> Self:
        self._running = HttpServer(self.answer, self._wanted_port, date_ahead_s=self._switches.date_ahead_s)
        self._running.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stop()
        if raised is None and self._http.errors:
            raise self._http.errors[0]

    @property
    def _http(self) -> HttpServer:
        if self._running is None:
            raise RuntimeError("the server runs only inside its with block")
        return self._running

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as `http://127.0.0.1:8080`."""
        return f"http://127.0.0.1:{self._http.port}"

    @property
    def base_url(self) -> str:
        """The base URL of v2, such as `http://127.0.0.1:8080/v2`."""
        return f"{self.origin}/v2"

    @property
    def v3_url(self) -> str:
        """The base URL of v3, such as `http://127.0.0.1:8080/v3`."""
        return f"{self.origin}/v3"

    @property
    def token_url(self) -> str:
        """The URL that gives tokens."""
        return self.origin + TOKEN_PATH

    @property
    def authorize_url(self) -> str:
        """The URL to which the code flow sends the user's browser."""
        return self.origin + AUTHORIZE_PATH

    @property
    def device_url(self) -> str:
        """The URL at which the device flow begins."""
        return self.origin + DEVICE_PATH

    @property
    def calls(self) -> list[Call]:
        """All calls of the API so far, in the order of their arrival."""
        with self._lock:
            return sorted(self._calls, key=lambda call: call.at_s)

    @property
    def token_calls(self) -> list[Call]:
        """All calls of the authorisation server so far. They count for no quota.

        Of what was posted, `query` has the `grant_type` only.
        """
        with self._lock:
            return sorted(self._token_calls, key=lambda call: call.at_s)

    @property
    def violations(self) -> list[str]:
        """Each misuse of the API so far, as a line without personal data."""
        with self._lock:
            return list(self._violations)

    def max_calls_in_any_second(self) -> int:
        """Return the largest number of calls, refused ones too, within less than a second."""
        return most_in_a_second(call.at_s for call in self.calls)

    def revoke_token(self) -> None:
        """Answer 401 to `access_token` from now on. What was issued stays good."""
        self._token.is_good = False

    def restore_token(self) -> None:
        """Accept the access token again."""
        self._token.is_good = True

    def calm(self) -> None:
        """Show no fault and follow no script from now on."""
        with self._lock:
            self._scripts.clear()
            self._faults = FaultPicker({}, 0)

    def script(self, target: str, *steps: Step) -> None:
        """Set the outcomes of the next calls of a target that pass the gateway, one step for each call.

        `target` is a contact's id, for all calls about it, or a path such as `/v2/contacts`. In v3 it may
        also be the id of a campaign activity, for its reports. None gives the right answer. A function
        runs before the right answer is made. Scripted calls show no other fault. After the last step the
        calls are answered as without a script.
        """
        with self._lock:
            self._scripts.setdefault(target, deque()).extend(steps)

    def answer(self, incoming: Incoming) -> Delivery:
        """Answer a request. Callers without a socket may call this too."""
        if incoming.path in PATHS:
            return self._answer_authorization(incoming)
        gateway: Gateway = self._v3 if incoming.path.startswith("/v3/") else self._v2
        at_s, at, over = self._arrive()
        query = Query(incoming.path, incoming.query, to_ms(at), incoming.repeated)
        refusal = gateway.refusal(incoming, over, query.now_ms)
        reply, fault = (refusal, None) if refusal else self._answer(query, gateway)
        delivery = deliver(reply, fault, self._switches.slow_s)
        call = Call(at_s, at, incoming.method, query.path, query.parameters, delivery.status, fault)
        self._record(call, None if refusal else gateway.violation(query))
        return delivery

    def _answer_authorization(self, incoming: Incoming) -> Delivery:
        """Answer a call about tokens. Only a script makes it fail, since a lost answer may end an access."""
        with self._lock:
            at_s, at = self._monotonic(), self._now()
            steps = self._scripts.get(incoming.path)
            step: Step = steps.popleft() if steps else None
        fault = step if isinstance(step, Fault) else None
        if isinstance(step, Reply):
            reply = step
        elif fault is not None:
            reply = self.authorization.faulty(fault, incoming, at_s)
        else:
            if callable(step):
                step()
            reply = self.authorization.answer(incoming, at_s)
        delivery = deliver(reply, fault, self._switches.slow_s)
        shown = {name: text for name, text in (incoming.form or {}).items() if name == "grant_type"}
        call = Call(at_s, at, incoming.method, incoming.path, shown, delivery.status, fault)
        with self._lock:
            self._token_calls.append(call)
            if incoming.method == "POST" and incoming.query:
                self._violations.append("parameters of a token call in its URL")
        return delivery

    def _arrive(self) -> tuple[float, datetime, Over | None]:
        with self._lock:
            at_s, at = self._monotonic(), self._now()
            over = self._quota.take(at_s, at.astimezone(UTC).date())
        return at_s, at, over if self._switches.rate_limits else None

    def _answer(self, query: Query, gateway: Gateway) -> tuple[Reply, Fault | None]:
        with self._lock:
            steps = self._script_of(query.path)
            step: Step = steps.popleft() if steps else self._faults.next_fault(query.path)
        if isinstance(step, Reply):
            return step, None
        if isinstance(step, Fault) and can_happen(step, query.parameters):
            return gateway.faulty(step, query), step
        if callable(step):
            step()
        return gateway.answer(query), None

    def _script_of(self, path: str) -> deque[Step] | None:
        place = next((place for root, place in _ID_PLACES.items() if path.startswith(root)), None)
        id_ = "" if place is None else path.split("/")[place]
        return self._scripts.get(path) or self._scripts.get(id_)

    def _record(self, call: Call, violation: str | None) -> None:
        with self._lock:
            self._calls.append(call)
            if call.status == 200 and call.fault is None:
                self._faults.record_success()
            if violation:
                self._violations.append(violation)
