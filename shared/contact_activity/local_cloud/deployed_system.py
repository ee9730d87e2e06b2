"""The deployed stack as this process uses it: its table, its queues and its dispatcher."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.pace import Limits
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.told_tries import ToldTries
from contact_activity.run.errors import RunError


class DeployedSystem:
    """The deployed stack. `outputs` are its Outputs by name."""

    def __init__(self, emulator: Emulator, outputs: Mapping[str, str], limits: Limits) -> None:
        self._outputs = outputs
        self._sqs, self._lambda = emulator.client("sqs"), emulator.client("lambda")
        self.clock = SystemClock()
        self.store = dynamo_store(emulator.client("dynamodb"), outputs["TableName"], limits, self.clock)
        self.queue = SqsQueue(self._sqs, outputs["ContactQueueUrl"])
        self.dead_letters = SqsQueue(self._sqs, outputs["ContactDeadLettersUrl"])
        groups = [self._log_group(name) for name in ("DispatcherName", "WorkerName")]
        self.told_tries = ToldTries(emulator.client("logs"), groups, self.clock)
        self.log_path: Path = emulator.log_path

    def tick(self) -> dict[str, Any]:
        """Invoke the dispatcher, and return its report. Raises `RunError` if it fails."""
        answer = self._lambda.invoke(FunctionName=self._outputs["DispatcherName"], Payload=b"{}")
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise RunError(f"the dispatcher failed: {payload.get('errorMessage', 'no message')}")
        return payload

    def _log_group(self, output: str) -> str:
        function = self._lambda.get_function_configuration(FunctionName=self._outputs[output])
        return str(function["LoggingConfig"]["LogGroup"])

    def drop_messages(self) -> None:
        """Delete the messages of the last run, and release their contacts.

        A message that was in flight when that run stopped would stay hidden until its visibility
        timeout.
        """
        self._sqs.purge_queue(QueueUrl=self._outputs["ContactQueueUrl"])
        self.store.contacts.abandon([contact.id for contact in self.store.contacts.scan()])
