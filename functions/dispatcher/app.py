"""A tick of the schedule: keep the registry of contacts, hand out those that are due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from contact_activity import telemetry, wiring


@telemetry.logger.inject_lambda_context
@telemetry.metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, object]:  # noqa: ARG001
    return wiring.dispatcher().run(context.get_remaining_time_in_millis(), context.aws_request_id)
