"""A simulated account served as Constant Contact's v2 API over HTTP, on this machine only."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from contact_activity.simulated.account import SimulatedAccount
from contact_activity.simulated.api import Api, Query
from contact_activity.simulated.faults import (
    INVALID_TOKEN,
    Chance,
    Delivery,
    concerns,
    deliver,
    over_quota,
    spoil,
)
from contact_activity.simulated.quota import Over, Quota, most_in_a_second
from contact_activity.simulated.replies import Reply, error
from contact_activity.simulated.switches import Fault, Switches
from contact_activity.simulated.times import to_ms
from contact_activity.simulated.transport import HttpServer, Incoming

Step = Reply | Fault | Callable[[], object] | None
"""What a scripted call meets: an answer, a fault, something to do before the true answer, nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the server received; refused ones are calls too.

    `at_s` is of the server's `monotonic` clock; `query` is without `api_key`; `status` is 0 if the
    connection was closed without an answer.
    """

    at_s: float
    at: datetime
    method: str
    path: str
    query: Mapping[str, str]
    status: int
    fault: Fault | None


class Server:
    """Serves while its `with` block lasts, in threads of this process.

    `calls_per_second` and `calls_per_day` (UTC days of `now`) are the key's quotas. `now` is the
    API's time: it decides what is visible. `monotonic` is the clock of the per-second quota.
    Leaving the block raises what went wrong inside the server itself, if anything did.
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
        self._api = Api(account, self._switches)
        self._api_key, self._access_token = api_key, access_token
        self._now, self._monotonic = now, monotonic
        counts = self._switches.refused_calls_count
        self._quota = Quota(calls_per_second, calls_per_day, refused_count=counts)
        self._chance = Chance(self._switches)
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Step]] = {}
        self._calls: list[Call] = []
        self._violations: list[str] = []
        self._is_token_good = True
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
        """`http://127.0.0.1:PORT/v2`."""
        return f"http://127.0.0.1:{self._http.port}/v2"

    @property
    def calls(self) -> list[Call]:
        """Every call answered so far, in the order of arrival."""
        with self._lock:
            return sorted(self._calls, key=lambda call: call.at_s)

    @property
    def violations(self) -> list[str]:
        """What callers did that no documented client may do, a line each."""
        with self._lock:
            return list(self._violations)

    def max_calls_in_any_second(self) -> int:
        """The most calls, refused ones too, that arrived within less than a second of each other."""
        return most_in_a_second(call.at_s for call in self.calls)

    def revoke_token(self) -> None:
        """From now on the access token is answered 401."""
        self._is_token_good = False

    def restore_token(self) -> None:
        """From now on the access token is good again."""
        self._is_token_good = True

    def calm(self) -> None:
        """From now on no fault is drawn and no script followed."""
        with self._lock:
            self._scripts.clear()
            self._chance = Chance(replace(self._switches, faults={}))

    def script(self, target: str, *steps: Step) -> None:
        """What the next calls of a target meet once they pass the gateway, one step a call.

        `target` is a contact's id, for every call about it, or a path such as `/v2/contacts`.
        `None` is the true answer. A callable runs before the true answer is made. Scripted calls
        meet no other fault; with the script used up all is as without.
        """
        with self._lock:
            self._scripts.setdefault(target, deque()).extend(steps)

    def answer(self, incoming: Incoming) -> Delivery:
        """What a request is answered, for a caller that brings no socket."""
        at_s, at, over = self._arrive()
        query = Query(incoming.path, incoming.query, to_ms(at))
        refusal = self._refusal(incoming, over)
        reply, fault = (refusal, None) if refusal else self._answer(query)
        delivery = deliver(reply, fault, self._switches.slow_s)
        call = Call(at_s, at, incoming.method, query.path, query.parameters, delivery.status, fault)
        self._record(call, None if refusal else self._api.violation(query))
        return delivery

    def _arrive(self) -> tuple[float, datetime, Over | None]:
        with self._lock:
            at_s, at = self._monotonic(), self._now()
            over = self._quota.take(at_s, at.astimezone(UTC).date())
        return at_s, at, over if self._switches.rate_limits else None

    def _refusal(self, incoming: Incoming, over: Over | None) -> Reply | None:
        """What is answered before the API sees the call."""
        if incoming.api_key != self._api_key:
            return error(403, "mashery.not.authorized.inactive", "The API key is not active.")
        if over is not None:
            return over_quota(over, self._switches)
        if not self._is_token_good or incoming.authorization != f"Bearer {self._access_token}":
            return error(401, INVALID_TOKEN, "The access token is not valid.")
        if not _accepts_json(incoming.accept, anything=self._switches.accept_anything):
            return error(406, self._switches.not_acceptable_key, "Only application/json can be given.")
        if incoming.method != "GET":
            return error(405, "http.status.method_not_allowed", "This account can only be read.")
        return None

    def _answer(self, query: Query) -> tuple[Reply, Fault | None]:
        with self._lock:
            steps = self._script_of(query.path)
            step: Step = steps.popleft() if steps else self._chance.draw(query.path)
        if isinstance(step, Reply):
            return step, None
        if isinstance(step, Fault) and concerns(step, query.parameters):
            reply = self._api.answer(query)
            return spoil(step, reply, query.path, query.parameters, self._switches), step
        if callable(step):
            step()
        return self._api.answer(query), None

    def _script_of(self, path: str) -> deque[Step] | None:
        contact_id = path.split("/")[3] if path.startswith("/v2/contacts/") else ""
        return self._scripts.get(path) or self._scripts.get(contact_id)

    def _record(self, call: Call, violation: str | None) -> None:
        with self._lock:
            self._calls.append(call)
            if call.status == 200 and call.fault is None:
                self._chance.accepted()
            if violation:
                self._violations.append(violation)


def _accepts_json(accept: str | None, *, anything: bool) -> bool:
    ranges = {part.split(";")[0].strip().lower() for part in (accept or "*/*").split(",")}
    return "application/json" in ranges or (anything and "*/*" in ranges)
