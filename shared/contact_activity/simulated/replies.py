"""Answers before they are bytes, and the API's way of saying no."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from contact_activity.simulated.switches import Switches


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and its content: anything that JSON can hold, or text or bytes sent as they are."""

    status: int
    content: object
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        if isinstance(self.content, str):
            return self.content.encode()
        return json.dumps(self.content, separators=(",", ":")).encode()


class Refusal(Exception):  # noqa: N818 (an answer, not a defect)
    """The answer that ends a call early."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def error(status: int, key: str, message: str) -> Reply:
    """The API's error body: a list of objects."""
    return Reply(status, [{"error_key": key, "error_message": message}])


def bad_request(message: str) -> Reply:
    return error(400, "http.status.bad_request", f"Bad request. {message}")


def not_found(what: str, switches: Switches) -> Reply:
    return error(404, switches.not_found_key, f"The {what} was not found.")


def expired_next(switches: Switches) -> Reply:
    """The answer to a `next` that is malformed or past its life."""
    if switches.expired_next_status == 404:
        return not_found("page", switches)
    return error(switches.expired_next_status, "http.status.bad_request", "The next parameter is not valid.")
