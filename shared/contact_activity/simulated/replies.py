"""Replies of the API before they are bytes, and its error replies."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from contact_activity.simulated.switches import Switches


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and its content. Text and bytes are sent as they are, everything else as JSON."""

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
    """Ends the handling of a call with an error reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def error(status: int, key: str, message: str) -> Reply:
    """Return an error reply, whose body is a list of objects."""
    return Reply(status, [{"error_key": key, "error_message": message}])


def bad_request(message: str) -> Reply:
    return error(400, "http.status.bad_request", f"Bad request. {message}")


def not_found(what: str, switches: Switches) -> Reply:
    return error(404, switches.not_found_key, f"The {what} was not found.")


def expired_next(switches: Switches) -> Reply:
    """Return the reply to a `next` that is malformed or expired."""
    if switches.expired_next_status == 404:
        return not_found("page", switches)
    return error(switches.expired_next_status, "http.status.bad_request", "The next parameter is not valid.")
