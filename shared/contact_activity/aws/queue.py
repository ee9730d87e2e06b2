"""Send messages to the contact queue on SQS."""

import random
import time
from collections.abc import Callable, Sequence
from math import ceil

from botocore.client import BaseClient

from contact_activity.aws.errors import as_retry_error
from contact_activity.domain.work import WorkItem
from contact_activity.state.codec import item_to_body

MAX_BATCH_ENTRIES = 10
MAX_SEND_TRIES = 4
# The limit of SQS.
MAX_DELAY_S = 900
FIRST_BACKOFF_S = 0.2
_DEPTHS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class SqsQueue:
    """The `Queue` port. Raises `RetryError` when a call to SQS fails."""

    def __init__(
        self,
        client: BaseClient,
        queue_url: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._sleep = sleep
        self._jitter = jitter
        self._now_ms = now_ms

    def send(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        rejected: list[WorkItem] = []
        left = list(items)
        for tries in range(MAX_SEND_TRIES):
            if not left:
                break
            if tries:
                self._sleep(FIRST_BACKOFF_S * 2.0 ** (tries - 1) * (0.5 + self._jitter() / 2))
            failed = [
                failure
                for start in range(0, len(left), MAX_BATCH_ENTRIES)
                for failure in self._send_batch(left[start : start + MAX_BATCH_ENTRIES])
            ]
            rejected += [item for item, is_final in failed if is_final]
            left = [item for item, is_final in failed if not is_final]
        return rejected + left

    def _send_batch(self, batch: Sequence[WorkItem]) -> list[tuple[WorkItem, bool]]:
        """Send one batch. Return each message that was not accepted, and whether it never will be."""
        now_ms = self._now_ms()
        entries = [
            {
                "Id": str(number),
                "MessageBody": item_to_body(item),
                "DelaySeconds": _delay_s(item, now_ms),
            }
            for number, item in enumerate(batch)
        ]
        with as_retry_error("the queue"):
            response = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return [
            (batch[int(failure["Id"])], bool(failure["SenderFault"]))
            for failure in response.get("Failed", ())
        ]

    def depth(self) -> int:
        with as_retry_error("the queue"):
            response = self._client.get_queue_attributes(
                QueueUrl=self._queue_url, AttributeNames=list(_DEPTHS)
            )
        return sum(int(response["Attributes"].get(name, 0)) for name in _DEPTHS)

    def retry_in(self, receipt_handle: str, wait_s: int) -> None:
        """Deliver a message in flight again after `wait_s` instead of its visibility time-out."""
        self._client.change_message_visibility(
            QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=wait_s
        )


def _delay_s(item: WorkItem, now_ms: int) -> int:
    """How long a message stays hidden, so that it comes when its shift begins."""
    wait_ms = item.window.wait_ms(now_ms) if item.window else 0
    return min(MAX_DELAY_S, ceil(wait_ms / 1_000))
