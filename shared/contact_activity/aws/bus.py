"""Publish events on EventBridge, in full batches. Entries that were not accepted are sent again."""

import random
from collections.abc import Callable, Sequence

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.aws.errors import error_code
from contact_activity.domain.counted import counted
from contact_activity.domain.event import EVENT_SOURCE, Event
from contact_activity.domain.pace import back_off_s
from contact_activity.errors import FatalError, PartlyAcceptedError
from contact_activity.ports import Clock

MAX_BATCH_ENTRIES = 10
MAX_BATCH_BYTES = 256_000
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
# The EventBridge documentation says that an entry with one of these errors never succeeds.
_REFUSALS = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "InvalidArgument",
        "MalformedDetail",
        "NotAuthorizedForDetailTypeException",
        "NotAuthorizedForSourceException",
        "RedactionFailure",
    }
)


def entry_bytes(event: Event) -> int:
    """Return the size of an entry as AWS counts it: source, detail type and detail in UTF-8."""
    return sum(len(part.encode()) for part in (EVENT_SOURCE, event.detail_type, event.detail))


def batches(events: Sequence[Event]) -> list[list[Event]]:
    """Divide events, in order, into batches that fit into one call.

    Raises `FatalError` for an event that is too large for a call of its own.
    """
    divided: list[list[Event]] = []
    room_bytes = 0
    for event in events:
        size_bytes = entry_bytes(event)
        if size_bytes > MAX_BATCH_BYTES:
            raise FatalError(f"an event of {size_bytes} bytes, more than the bus accepts")
        if not divided or len(divided[-1]) == MAX_BATCH_ENTRIES or size_bytes > room_bytes:
            divided.append([])
            room_bytes = MAX_BATCH_BYTES
        divided[-1].append(event)
        room_bytes -= size_bytes
    return divided


class EventBridgeBus:
    """The `Bus` port.

    `publish` raises `FatalError`, before it sends anything, if an event is too large.
    """

    def __init__(
        self,
        client: BaseClient,
        bus_name: str,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._bus_name = bus_name
        self._clock = clock
        self._jitter = jitter

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        accepted: set[str] = set()
        for batch in batches(events):
            try:
                self._publish_batch(batch, accepted, deadline_ms)
            except (ClientError, BotoCoreError) as error:
                text = f"a call to the bus failed: {error_code(error)}"
                raise PartlyAcceptedError(text, frozenset(accepted)) from error

    def _publish_batch(self, batch: list[Event], accepted: set[str], deadline_ms: int) -> None:
        left, tries = batch, 0
        while left:
            if tries:
                self._back_off(tries, left, accepted, deadline_ms)
            if self._clock.monotonic_ms() >= deadline_ms:
                raise PartlyAcceptedError(
                    f"no time was left for {counted(len(left), 'event')}", frozenset(accepted)
                )
            left = self._put(left, accepted)
            tries += 1

    def _put(self, events: Sequence[Event], accepted: set[str]) -> list[Event]:
        """Send one batch, and return the events that were not accepted."""
        response = self._client.put_events(Entries=[self._entry(event) for event in events])
        answered = list(zip(events, response["Entries"], strict=True))
        accepted |= {event.id for event, result in answered if result.get("EventId")}
        refusals = _REFUSALS.intersection(result.get("ErrorCode", "") for _, result in answered)
        if refusals:
            text = f"the bus refuses an event: {', '.join(sorted(refusals))}"
            raise PartlyAcceptedError(text, frozenset(accepted))
        return [event for event, result in answered if not result.get("EventId")]

    def _entry(self, event: Event) -> dict[str, str]:
        return {
            "EventBusName": self._bus_name,
            "Source": EVENT_SOURCE,
            "DetailType": event.detail_type,
            "Detail": event.detail,
        }

    def _back_off(self, tries: int, left: Sequence[Event], accepted: set[str], deadline_ms: int) -> None:
        wait_s = back_off_s(tries, first_s=FIRST_BACKOFF_S, most_s=MAX_BACKOFF_S, jitter=self._jitter())
        if self._clock.monotonic_ms() + wait_s * 1_000 >= deadline_ms:
            text = f"the bus did not accept {counted(len(left), 'event')} in {counted(tries, 'try', 'tries')}"
            raise PartlyAcceptedError(text, frozenset(accepted))
        self._clock.sleep(wait_s)
