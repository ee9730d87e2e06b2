"""Build the functions from settings, clients and use cases, once, at the first invocation.

Of the two functions, only this module reads the environment.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from contact_activity.aws.bus import EventBridgeBus
from contact_activity.aws.clients import aws_client
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.store import dynamo_store
from contact_activity.constant_contact.certificates import checked_ca_bundle
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.work import WorkPolicy
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.dispatcher import Dispatcher
from contact_activity.entrypoints.invocation import CLOCK
from contact_activity.entrypoints.worker import Worker
from contact_activity.errors import Cause, RetryError, Throttle, WaitError, WaitReason
from contact_activity.ports import Source, Store, TickPorts, WorkPorts
from contact_activity.settings import Credentials, SettingsError, read_settings, read_tick_ms, required

_THROTTLE = Throttle(every_ms=10_000)


@cache
def dispatcher() -> Dispatcher:
    """Return the dispatcher of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    ports = TickPorts(shared.store, shared.source, shared.queue, CLOCK)
    calls_each = settings.reading.calls_each
    tick_ms = read_tick_ms(os.environ)
    return Dispatcher(
        ports,
        tick_ms,
        calls_each,
        settings.lookback_days,
        shared.credentials,
        settings.campaign_reports,
    )


@cache
def worker() -> Worker:
    """Return the worker of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    bus = EventBridgeBus(aws_client("events"), required(os.environ, "EVENT_BUS_NAME"), CLOCK)
    ports = WorkPorts(shared.store, shared.source, shared.queue, bus, CLOCK)
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

    credentials: Callable[[], Credentials]
    store: Store
    queue: SqsQueue
    source: Source


def _shared() -> _Shared:
    settings = read_settings(os.environ)
    table, dynamodb = required(os.environ, "TABLE_NAME"), aws_client("dynamodb")
    credentials = secret_credentials(aws_client("secretsmanager"), required(os.environ, "SECRET_ID"), CLOCK)
    store = dynamo_store(dynamodb, table, settings.limits, CLOCK)
    client = ApiClient(
        settings.base_url,
        _errors_as_waits(credentials),
        store.limiter,
        CLOCK,
        proxy=settings.proxy,
        ca_bundle=checked_ca_bundle(settings.ca_bundle),
        on_failure=_log_failed_try,
    )
    return _Shared(
        credentials=credentials,
        store=store,
        queue=SqsQueue(aws_client("sqs"), required(os.environ, "QUEUE_URL")),
        source=ConstantContactV2(client),
    )


def _errors_as_waits(credentials: Callable[[], Credentials]) -> Callable[[], Credentials]:
    """Treat a secret that cannot be read like a refused credential: raise `WaitError`.

    As failures, messages would use up their receives and be dead letters within the hour.
    """

    def read() -> Credentials:
        try:
            return credentials()
        except (SettingsError, RetryError) as error:
            telemetry.log_unreadable_secret(error)
            raise WaitError(WaitReason.CREDENTIAL) from None

    return read


def _log_failed_try(cause: Cause, status: int, tries: int) -> None:
    if _THROTTLE.admit(cause, CLOCK.monotonic_ms()):
        telemetry.log_failed_try(cause, status, tries)
