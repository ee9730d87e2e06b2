"""A subscriber, as a worked example: keeps each activity once, in the timeline of its contact.

Puts itself together, apart from `entrypoints.wiring`: it needs the events, and nothing else of this system.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from contact_activity.aws.clients import aws_client
from contact_activity.entrypoints import telemetry
from contact_activity.example_subscriber.timeline import entry_of
from contact_activity.example_subscriber.timeline_table import DynamoTimeline
from contact_activity.settings import required

# As long as a dead letter waits to be sent again. What comes later still meets the timeline's own key.
REMEMBERED_S = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Subscriber:
    """The subscriber function."""

    timeline: DynamoTimeline
    deliveries: DynamoDBPersistenceLayer
    config: IdempotencyConfig

    def run(self, event: Mapping[str, object], context: LambdaContext) -> None:
        """Handle one event, unless its `detail.id` was handled before. Raises what makes Lambda try again."""
        self.config.register_lambda_context(context)
        keep_once: Callable[..., None] = idempotent_function(
            self.keep,
            data_keyword_argument="event",
            config=self.config,
            persistence_store=self.deliveries,
            key_prefix="timeline",
        )
        keep_once(event=event)

    def keep(self, event: Mapping[str, object]) -> None:
        entry = entry_of(event)
        is_new = self.timeline.add(entry)
        telemetry.logger.info(
            "activity", extra={"contact_id": entry.contact_id, "activity_id": entry.id, "is_new": is_new}
        )


@cache
def subscriber() -> Subscriber:
    """The subscriber of this process. Raises `SettingsError`."""
    return subscriber_on(
        aws_client("dynamodb"),
        timeline_table=required(os.environ, "TIMELINE_TABLE_NAME"),
        deliveries_table=required(os.environ, "DELIVERIES_TABLE_NAME"),
    )


def subscriber_on(dynamodb: Any, *, timeline_table: str, deliveries_table: str) -> Subscriber:
    """Over the given tables."""
    config = IdempotencyConfig(
        event_key_jmespath="detail.id",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=REMEMBERED_S,
        hash_function="sha256",
    )
    deliveries = DynamoDBPersistenceLayer(deliveries_table, boto3_client=dynamodb)
    return Subscriber(DynamoTimeline(dynamodb, timeline_table), deliveries, config)
