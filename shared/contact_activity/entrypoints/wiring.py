"""Build the functions from settings, clients and use cases, once, at the first invocation.

Of the two functions, only this module reads the environment.
"""

import os
from dataclasses import dataclass
from functools import cache

from contact_activity.aws.bus import EventBridgeBus
from contact_activity.aws.clients import aws_client
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.secret_tokens import Secrets
from contact_activity.aws.store import dynamo_store
from contact_activity.aws.table import Table
from contact_activity.domain.work import WorkPolicy
from contact_activity.entrypoints.dispatcher import Dispatcher
from contact_activity.entrypoints.invocation import CLOCK
from contact_activity.entrypoints.sources import Api, Place, api
from contact_activity.entrypoints.worker import Worker
from contact_activity.ports import Store, TickPorts, WorkPorts
from contact_activity.settings import read_settings, read_tick_ms, required


@cache
def dispatcher() -> Dispatcher:
    """Return the dispatcher of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    return Dispatcher(
        TickPorts(shared.store, shared.api.source, shared.queue, CLOCK),
        read_tick_ms(os.environ),
        settings.reading,
        settings.lookback_days,
        shared.api.read_credentials,
        settings.campaign_reports,
        has_watch=settings.has_campaign_reports,
    )


@cache
def worker() -> Worker:
    """Return the worker of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    bus = EventBridgeBus(aws_client("events"), required(os.environ, "EVENT_BUS_NAME"), CLOCK)
    ports = WorkPorts(shared.store, shared.api.source, shared.queue, bus, CLOCK)
    policy = WorkPolicy(
        settings.reading,
        settings.email_addresses,
        read_tick_ms(os.environ),
        settings.contact_summaries,
        has_shifts=True,
    )
    return Worker(ports, policy, shared.queue)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What both functions need."""

    store: Store
    queue: SqsQueue
    api: Api


def _shared() -> _Shared:
    settings = read_settings(os.environ)
    table, dynamodb = required(os.environ, "TABLE_NAME"), aws_client("dynamodb")
    store = dynamo_store(dynamodb, table, settings.limits, CLOCK)
    secrets = Secrets(
        aws_client("secretsmanager"), required(os.environ, "SECRET_ID"), _optional("TOKENS_SECRET_ID") or ""
    )
    place = Place(
        secrets,
        Table(dynamodb, table),
        client_id=_optional("CONSTANT_CONTACT_CLIENT_ID"),
        local_folder=_optional("LOCAL_CREDENTIALS_FOLDER"),
    )
    return _Shared(
        store=store,
        queue=SqsQueue(aws_client("sqs"), required(os.environ, "QUEUE_URL")),
        api=api(settings, place, store.limiter),
    )


def _optional(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None
