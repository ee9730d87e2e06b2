"""What the API answers in place of the right reply: refusals, server errors, misleading pages."""

from collections.abc import Mapping
from dataclasses import replace

from contact_activity.simulated.faults import Fault
from contact_activity.simulated.quota import Over
from contact_activity.simulated.replies import Reply, bad_request, error, not_found
from contact_activity.simulated.switches import Switches

INVALID_TOKEN = "http.status.authentication.invalid_token"  # noqa: S105 (an error key)
TOO_MANY_REQUESTS = "http.status.too_many_requests"

_HTML = (
    "<html><head><title>503 Service Unavailable</title></head>"
    "<body><h1>Service Unavailable</h1>We are performing maintenance.</body></html>"
)


def faulty_reply(
    fault: Fault, reply: Reply, path: str, parameters: Mapping[str, str], switches: Switches
) -> Reply:
    """Return the reply with the fault. It is the same reply if the fault concerns only its delivery."""
    refusals = {
        Fault.UNAUTHORIZED: error(401, INVALID_TOKEN, "The access token is not valid."),
        Fault.OVER_QPS: over_quota(Over.SECOND, switches),
        Fault.TOO_MANY: error(429, TOO_MANY_REQUESTS, "Too many requests."),
        Fault.SERVER_ERROR: error(500, switches.server_error_key, "Internal server error."),
        Fault.NEXT_REFUSED_400: bad_request("The next parameter is not valid."),
        Fault.NEXT_REFUSED_404: not_found("page", switches),
    }
    if refusal := refusals.get(fault) or damaged_reply(fault):
        return refusal
    if isinstance(reply.content, dict) and "meta" in reply.content:
        return replace(reply, content=_misleading_page(fault, reply.content, path, parameters))
    return reply


def damaged_reply(fault: Fault) -> Reply | None:
    """Return the reply of a fault that knows no version of the API. None for any other fault."""
    return {
        Fault.BAD_GATEWAY: Reply(502, b""),
        Fault.UNAVAILABLE_HTML: Reply(503, _HTML, "text/html; charset=utf-8"),
        Fault.EMPTY_BODY: Reply(200, b""),
    }.get(fault)


def _misleading_page(
    fault: Fault, page: dict[str, object], path: str, parameters: Mapping[str, str]
) -> dict[str, object]:
    results = page["results"]
    if fault is Fault.REPEATED_ROWS and isinstance(results, list):
        return {**page, "results": results[:2] + results + results[-1:]}
    if fault is Fault.REPEATED_NEXT:
        return {**page, "meta": {"pagination": {"next_link": f"{path}?next={parameters['next']}"}}}
    return page


def over_quota(over: Over, switches: Switches) -> Reply:
    """Return the answer of the gateway to a call above a quota."""
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
