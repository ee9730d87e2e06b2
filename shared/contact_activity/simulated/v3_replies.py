"""Error replies of v3, in its two shapes (v3 contract)."""

from collections.abc import Mapping

from contact_activity.simulated.quota import Over
from contact_activity.simulated.replies import Refusal, Reply, error


def single(status: int, key: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error reply whose body is one object: authorisation, rate limits and statistics."""
    return Reply(status, {"error_key": key, "error_message": message}, headers=headers or {})


def invalid(service: str, message: str) -> Refusal:
    """Return the refusal of a bad parameter. `service` is the first part of the key."""
    return Refusal(error(400, f"{service}.validation.error", message))


def unknown(service: str, what: str) -> Refusal:
    """Return the refusal of an unknown id."""
    return Refusal(error(404, f"{service}.not_found", f"The {what} was not found."))


def unauthorized(call: int) -> Reply:
    """Return the refusal of an access token, with the headers of the one that is on record."""
    headers = {
        "WWW-Authenticate": "Bearer realm=api.cc.email",
        "x-amzn-ErrorType": "UnauthorizedException",
        "x-amzn-RequestId": f"{call:08x}-0000-4000-8000-000000000000",
    }
    return single(401, "unauthorized", "Unauthorized", headers)


def access_denied() -> Reply:
    """Return the refusal of a token without the scope, or of a user without the privilege."""
    return single(403, "access_denied", "You do not have the privileges or scopes for this resource.")


def over_limit(over: Over, retry_after_s: int | None) -> Reply:
    """Return the answer to a call above a quota."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if over is Over.DAY:
        return single(429, "quota_exceeded", "The quota of this day is used up.", headers)
    return single(429, "throttled", "Too many requests.", headers)
