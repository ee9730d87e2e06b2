"""Read and delete the messages of the dead-letter queue, for the operator."""

from collections.abc import Iterator, Sequence

from botocore.client import BaseClient

from contact_activity.aws.queue import MAX_BATCH_ENTRIES
from contact_activity.domain.work import DeadLetter, WorkItem
from contact_activity.state.codec import item_from_body

# Long enough to read tens of thousands. If the command is killed, the letters reappear after this time.
HIDDEN_S = 120
# If reading takes longer than that, the first letters reappear before the last one was read. After this
# many receives with nothing new, everything was read.
MAX_SEEN_IN_A_ROW = 50


class SqsDeadLetters:
    """The `DeadLetters` port."""

    def __init__(self, client: BaseClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def take(self) -> Iterator[Sequence[DeadLetter]]:
        seen: set[str] = set()
        seen_in_a_row = 0
        # A receive with a waiting time asks all servers of the queue, so an empty one means the end.
        while seen_in_a_row < MAX_SEEN_IN_A_ROW and (received := self._receive()):
            letters = [letter for letter in received if letter.id not in seen]
            seen.update(letter.id for letter in letters)
            seen_in_a_row = 0 if letters else seen_in_a_row + 1
            if letters:
                yield letters

    def _receive(self) -> list[DeadLetter]:
        response = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=MAX_BATCH_ENTRIES,
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
        for start in range(0, len(letters), MAX_BATCH_ENTRIES):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(letters[start : start + MAX_BATCH_ENTRIES])
            ]
            # A letter that fails here is visible again already, or another command has it.
            self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)


def _item(body: str) -> WorkItem | None:
    try:
        return item_from_body(body)
    except ValueError:
        return None
