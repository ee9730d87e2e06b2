"""The bytes of a reply as they are sent, whole or damaged by a fault."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from contact_activity.simulated.faults import Fault
from contact_activity.simulated.replies import Reply


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is sent: the bytes `sent`, after a header that announces `length` bytes.

    After half of the bytes comes a pause of `pause_s`. With `status` 0 the connection is closed and
    nothing is sent.
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


def deliver(reply: Reply, fault: Fault | None, slow_s: float) -> Delivery:
    """Return what is sent of a reply, with a fault or None."""
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
