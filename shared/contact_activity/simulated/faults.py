"""How a good answer goes wrong: what the API says instead, and what becomes of the bytes on the way."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from contact_activity.simulated.quota import Over
from contact_activity.simulated.replies import Reply, bad_request, error, not_found
from contact_activity.simulated.switches import Fault, Switches

INVALID_TOKEN = "http.status.authentication.invalid_token"  # noqa: S105 (an error key)
TOO_MANY_REQUESTS = "http.status.too_many_requests"

_HTML = (
    "<html><head><title>503 Service Unavailable</title></head>"
    "<body><h1>Service Unavailable</h1>We are performing maintenance.</body></html>"
)
_ON_NEXT = {Fault.REPEATED_NEXT, Fault.NEXT_REFUSED_400, Fault.NEXT_REFUSED_404}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes over the wire: `sent` of a body that is declared to be `length` bytes long.

    After half of it comes a pause of `pause_s`. `status` 0 closes the connection without a word.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    sent: bytes
    length: int
    pause_s: float = 0.0

    @property
    def is_cut(self) -> bool:
        return self.length > len(self.sent)


class Chance:
    """Draws faults: the n-th call of a path meets the same one in every run. Not thread-safe."""

    def __init__(self, switches: Switches) -> None:
        self._faults = switches.faults
        self._seed = switches.seed
        self._calls: Counter[str] = Counter()
        self._may_refuse_token = True

    def draw(self, path: str) -> Fault | None:
        if not self._faults:
            return None
        self._calls[path] += 1
        fault = self._pick(random.Random(f"{self._seed}:{path}:{self._calls[path]}").random())
        if fault is Fault.UNAUTHORIZED:
            if not self._may_refuse_token:
                return None
            self._may_refuse_token = False
        return fault

    def accepted(self) -> None:
        """A call was answered 200, so another 401 would no longer be the second in a row."""
        self._may_refuse_token = True

    def _pick(self, draw: float) -> Fault | None:
        for fault, probability in self._faults.items():
            draw -= probability
            if draw < 0:
                return fault
        return None


def concerns(fault: Fault, parameters: Mapping[str, str]) -> bool:
    """Whether the fault can happen to a call with these parameters."""
    return "next" in parameters or fault not in _ON_NEXT


def spoil(fault: Fault, reply: Reply, path: str, parameters: Mapping[str, str], switches: Switches) -> Reply:
    """The reply that the API gives instead; the same if only its delivery fails."""
    refusals = {
        Fault.UNAUTHORIZED: error(401, INVALID_TOKEN, "The access token is not valid."),
        Fault.OVER_QPS: over_quota(Over.SECOND, switches),
        Fault.TOO_MANY: error(429, TOO_MANY_REQUESTS, "Too many requests."),
        Fault.SERVER_ERROR: error(500, switches.server_error_key, "Internal server error."),
        Fault.BAD_GATEWAY: Reply(502, b""),
        Fault.UNAVAILABLE_HTML: Reply(503, _HTML, "text/html; charset=utf-8"),
        Fault.EMPTY_BODY: Reply(200, b""),
        Fault.NEXT_REFUSED_400: bad_request("The next parameter is not valid."),
        Fault.NEXT_REFUSED_404: not_found("page", switches),
    }
    if fault in refusals:
        return refusals[fault]
    if isinstance(reply.content, dict) and "meta" in reply.content:
        return replace(reply, content=_misled(fault, reply.content, path, parameters))
    return reply


def _misled(
    fault: Fault, page: dict[str, object], path: str, parameters: Mapping[str, str]
) -> dict[str, object]:
    results = page["results"]
    if fault is Fault.REPEATED_ROWS and isinstance(results, list):
        return {**page, "results": results[:2] + results + results[-1:]}
    if fault is Fault.REPEATED_NEXT:
        return {**page, "meta": {"pagination": {"next_link": f"{path}?next={parameters['next']}"}}}
    return page


def over_quota(over: Over, switches: Switches) -> Reply:
    """The gateway's answer to a call above a quota."""
    name, code = {
        Over.SECOND: ("queries-per-second quota", "ERR_403_DEVELOPER_OVER_QPS"),
        Over.DAY: ("rate limit quota", "ERR_403_DEVELOPER_OVER_RATE"),
    }[over]
    headers = {}
    if switches.gateway_headers:
        headers = {"X-Mashery-Error-Code": code, "X-Error-Detail-Header": "Account Over Limit"}
    if switches.retry_after_s is not None:
        headers["Retry-After"] = str(switches.retry_after_s)
    message = f"The Mashery account associated with this request is over its {name}."
    if over is Over.SECOND and switches.over_qps_as_401:
        return replace(error(401, INVALID_TOKEN, "The access token is not valid."), headers=headers)
    return replace(error(403, over.value, message), headers=headers)


def deliver(reply: Reply, fault: Fault | None, slow_s: float) -> Delivery:
    """The bytes of a reply, as far as the fault lets them through."""
    body = reply.body()
    whole = Delivery(reply.status, reply.content_type, reply.headers, body, len(body))
    half = body[: len(body) // 2]
    match fault:
        case Fault.TRUNCATED_JSON:
            return replace(whole, sent=half, length=len(half))
        case Fault.CUT_CONNECTION:
            return replace(whole, sent=half)
        case Fault.CLOSED_CONNECTION:
            return replace(whole, status=0, sent=b"", length=0)
        case Fault.SLOW_BODY:
            return replace(whole, pause_s=slow_s)
        case _:
            return whole
