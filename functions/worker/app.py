"""Messages of the contact queue: sync each contact, give back only what failed."""

from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from contact_activity import telemetry, wiring

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def handle(worker: wiring.Worker, record: SQSRecord, lambda_context: LambdaContext) -> None:
    worker.run(record, lambda_context.get_remaining_time_in_millis())


@telemetry.logger.inject_lambda_context
@telemetry.metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    record_handler = partial(handle, wiring.worker())
    return process_partial_response(event, record_handler, processor, context)
