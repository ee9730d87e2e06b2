"""The dead-letter queue of the contact queue, for the operator."""

from collections.abc import Iterator, Sequence

from botocore.client import BaseClient

from contact_activity.aws.queue import BATCH_ENTRIES
from contact_activity.domain.work import DeadLetter, WorkItem
from contact_activity.state.codec import item_from_body

# Long enough to see tens of thousands, short enough that a command which is killed hides none for long.
HIDDEN_S = 120
# In a queue that takes longer, those seen first come again, in any order, before the last is seen.
KNOWN_IN_A_ROW_MAX = 50


class SqsDeadLetters:
    """The `DeadLetters` port."""

    def __init__(self, client: BaseClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def take(self) -> Iterator[Sequence[DeadLetter]]:
        seen: set[str] = set()
        known_in_a_row = 0
        # A receive that waits asks every server of the queue: an empty one is the end.
        while known_in_a_row < KNOWN_IN_A_ROW_MAX and (received := self._receive()):
            letters = [letter for letter in received if letter.id not in seen]
            seen.update(letter.id for letter in letters)
            known_in_a_row = 0 if letters else known_in_a_row + 1
            if letters:
                yield letters

    def _receive(self) -> list[DeadLetter]:
        response = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH_ENTRIES,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=1,
            AttributeNames=["SentTimestamp"],
        )
        return [
            DeadLetter(
                item=_item(received["Body"]),
                id=received["MessageId"],
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
        for start in range(0, len(letters), BATCH_ENTRIES):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + BATCH_ENTRIES])
            ]
            # What fails is in no hands any more, or in those of somebody else.
            self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)


def _item(body: str) -> WorkItem | None:
    try:
        return item_from_body(body)
    except ValueError:
        return None
