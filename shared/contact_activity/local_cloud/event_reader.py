"""Reads the events of the deployed bus, as a subscriber does: through a rule and a queue of its own."""

import json
from collections import Counter
from typing import Any

from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.run.sinks import Sink

# The name of both the rule and the queue.
SUBSCRIBER = "contact-activity-local-subscriber"
MAX_MESSAGES = 10


def subscribe(emulator: Emulator, bus_name: str) -> str:
    """Have every event of the bus sent to a queue. Return the URL of the queue."""
    sqs, events = emulator.client("sqs"), emulator.client("events")
    url = sqs.create_queue(QueueName=SUBSCRIBER)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    pattern = json.dumps({"source": [EVENT_SOURCE]})
    events.put_rule(Name=SUBSCRIBER, EventBusName=bus_name, EventPattern=pattern)
    target = {"Id": "queue", "Arn": attributes["QueueArn"]}
    events.put_targets(Rule=SUBSCRIBER, EventBusName=bus_name, Targets=[target])
    return str(url)


class EventReader:
    """Moves events from the queue to a sink. `received` counts them by detail type."""

    def __init__(self, sqs: Any, queue_url: str, sink: Sink) -> None:
        self._sqs, self._queue_url, self._sink = sqs, queue_url, sink
        self.received: Counter[str] = Counter()

    def drain(self) -> None:
        """Move events until the queue is empty. Each is on disk before its message is deleted."""
        while messages := self._receive():
            envelopes = [json.loads(message["Body"]) for message in messages]
            lines = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in envelopes]
            self._sink.write("".join(f"{line}\n" for line in lines).encode())
            self.received.update(envelope["detail-type"] for envelope in envelopes)
            self._delete(messages)

    def _receive(self) -> list[dict[str, str]]:
        answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=MAX_MESSAGES)
        return list(answer.get("Messages", []))

    def _delete(self, messages: list[dict[str, str]]) -> None:
        self._sqs.delete_message_batch(
            QueueUrl=self._queue_url,
            Entries=[
                {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                for n, message in enumerate(messages)
            ],
        )
