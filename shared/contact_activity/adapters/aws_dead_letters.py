"""The dead-letter queue of the contact queue, for the operator."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from botocore.client import BaseClient

from contact_activity.adapters.aws_queue import BATCH_ENTRIES
from contact_activity.adapters.codec import message_from_body
from contact_activity.ports import AnyMessage, DeadLetter

# Long enough to act on a batch, short enough that a command which is killed hides nothing for long.
HIDDEN_S = 60


class SqsDeadLetters:
    """The `DeadLetters` port."""

    def __init__(self, client: BaseClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def take(self) -> Iterator[Sequence[DeadLetter]]:
        seen: set[str] = set()
        # A receive that waits asks every server of the queue: an empty one is the end.
        while letters := [letter for letter in self._receive() if letter.id not in seen]:
            seen.update(letter.id for letter in letters)
            yield letters

    def _receive(self) -> list[DeadLetter]:
        response = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH_ENTRIES,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=1,
            AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        return [
            DeadLetter(
                message=_message(received["Body"]),
                id=received["MessageId"],
                receives=int(received["Attributes"]["ApproximateReceiveCount"]),
                sent_ms=int(received["Attributes"]["SentTimestamp"]),
                receipt_handle=received["ReceiptHandle"],
            )
            for received in response.get("Messages", ())
        ]

    def delete(self, letters: Sequence[DeadLetter]) -> int:
        entries = [
            {"Id": str(number), "ReceiptHandle": letter.receipt_handle}
            for number, letter in enumerate(letters)
        ]
        response = self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return len(entries) - len(response.get("Failed", ()))

    def give_back(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            with suppress(self._client.exceptions.MessageNotInflight):
                self._client.change_message_visibility(
                    QueueUrl=self._queue_url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
                )


def _message(body: str) -> AnyMessage | None:
    try:
        return message_from_body(body)
    except ValueError:
        return None
