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


class Server:
    """The server. It runs while the `with` block lasts, in threads of this process.

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
        counts = self._switches.refused_calls_count
        self._quota = Quota(calls_per_second, calls_per_day, counts_refused=counts)
        self._faults = FaultPicker(self._switches.faults, self._switches.seed)
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Step]] = {}
        self._calls: list[Call] = []
        self._violations: list[str] = []
        self._wanted_port = port
        self._running: HttpServer | None = None

    def __enter__(self) -> Self:
        self._running = HttpServer(self.answer, self._wanted_port)
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
    def base_url(self) -> str:
        """The base URL, such as `http://127.0.0.1:8080/v2`."""
        return f"http://127.0.0.1:{self._http.port}/v2"

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in the order of their arrival."""
        with self._lock:
            return sorted(self._calls, key=lambda call: call.at_s)

    @property
    def violations(self) -> list[str]:
        """Each misuse of the API so far, as a line without personal data."""
        with self._lock:
            return list(self._violations)

    def max_calls_in_any_second(self) -> int:
        """Return the largest number of calls, refused ones too, within less than a second."""
        return most_in_a_second(call.at_s for call in self.calls)

    def revoke_token(self) -> None:
        """Answer 401 to the access token from now on."""
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

        `target` is a contact's id, for all calls about it, or a path such as `/v2/contacts`. None gives
        the right answer. A function runs before the right answer is made. Scripted calls show no other
        fault. After the last step the calls are answered as without a script.
        """
        with self._lock:
            self._scripts.setdefault(target, deque()).extend(steps)

    def answer(self, incoming: Incoming) -> Delivery:
        """Answer a request. Callers without a socket may call this too."""
        at_s, at, over = self._arrive()
        query = Query(incoming.path, incoming.query, to_ms(at), incoming.repeated)
        refusal = self._v2.refusal(incoming, over, query.now_ms)
        reply, fault = (refusal, None) if refusal else self._answer(query, self._v2)
        delivery = deliver(reply, fault, self._switches.slow_s)
        call = Call(at_s, at, incoming.method, query.path, query.parameters, delivery.status, fault)
        self._record(call, None if refusal else self._v2.violation(query))
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
        contact_id = path.split("/")[3] if path.startswith("/v2/contacts/") else ""
        return self._scripts.get(path) or self._scripts.get(contact_id)

    def _record(self, call: Call, violation: str | None) -> None:
        with self._lock:
            self._calls.append(call)
            if call.status == 200 and call.fault is None:
                self._faults.record_success()
            if violation:
                self._violations.append(violation)
