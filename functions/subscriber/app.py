"""Events of the bus, the example of a subscriber: keep each activity once, in the timeline of its contact."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from contact_activity import subscriber, telemetry


@telemetry.logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    subscriber.subscriber().run(event, context)
