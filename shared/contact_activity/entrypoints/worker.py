"""Runs the worker function."""

from dataclasses import dataclass

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from contact_activity.aws.queue import SqsQueue
from contact_activity.domain.work import WorkPolicy
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.invocation import deadline_ms
from contact_activity.ports import WorkPorts
from contact_activity.state.codec import item_from_body
from contact_activity.use_cases.working import work_on

RETRY_AFTER_S = 30


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker function."""

    ports: WorkPorts
    policy: WorkPolicy
    queue: SqsQueue

    def run(self, record: SQSRecord, remaining_ms: int) -> None:
        """Handle one message. Raises what makes it come back: sooner than its visibility, if known."""
        telemetry.correlate(None)
        try:
            item = item_from_body(record.body)
        except ValueError:
            telemetry.tell_no_message(record.message_id)
            self.queue.retry_in(record.receipt_handle, 0)
            raise
        telemetry.correlate(item.correlation_id)
        try:
            report = work_on(item, self.ports, self.policy, deadline_ms=deadline_ms(remaining_ms))
        except Exception as error:
            # Any error: the batch processor would swallow it without a word.
            telemetry.tell_failure(item, error)
            self.queue.retry_in(record.receipt_handle, RETRY_AFTER_S)
            raise
        telemetry.tell_work(item, report)
