"""Run the worker function."""

from dataclasses import dataclass

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from contact_activity.aws.queue import SqsQueue
from contact_activity.domain.work import WorkPolicy
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.invocation import deadline_ms
from contact_activity.ports import WorkPorts
from contact_activity.state.codec import item_from_body
from contact_activity.use_cases.work_on import work_on

RETRY_AFTER_S = 30


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker with everything it needs."""

    ports: WorkPorts
    policy: WorkPolicy
    queue: SqsQueue

    def run(self, record: SQSRecord, remaining_ms: int) -> None:
        """Handle one message. If it fails, raise the error and make the message visible again soon."""
        telemetry.correlate(None)
        try:
            item = item_from_body(record.body)
        except ValueError:
            telemetry.log_malformed_message(record.message_id)
            self.queue.retry_in(record.receipt_handle, 0)
            raise
        telemetry.correlate(item.correlation_id)
        try:
            report = work_on(item, self.ports, self.policy, deadline_ms=deadline_ms(remaining_ms))
        except Exception as error:
            # The batch processor does not log errors, so log every one here.
            telemetry.record_failure(item, error)
            self.queue.retry_in(record.receipt_handle, RETRY_AFTER_S)
            raise
        telemetry.record_work(item, report)
