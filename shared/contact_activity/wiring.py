"""Puts the functions together: settings, clients and use cases, built at the first invocation, once.

The environment is read here and nowhere else.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from contact_activity import telemetry
from contact_activity.adapters.aws import (
    EventBridgeBus,
    SqsQueue,
    aws_client,
    dynamo_store,
    secret_credentials,
)
from contact_activity.adapters.certificates import checked_ca_bundle
from contact_activity.adapters.clock import SystemClock
from contact_activity.adapters.codec import item_from_body
from contact_activity.adapters.constant_contact import ConstantContact
from contact_activity.dispatch import DispatchReport, dispatch
from contact_activity.failures import Seldom
from contact_activity.ports import (
    Cause,
    RetryError,
    Source,
    Store,
    TickPorts,
    WaitError,
    WaitReason,
    WorkPorts,
)
from contact_activity.settings import Credentials, SettingsError, read_settings, read_tick_ms, required
from contact_activity.work import WorkPolicy
from contact_activity.working import work_on

# A call may take its whole time-out when its deadline is near, and what it read is still to be published.
RESERVE_MS = 45_000
RETRY_AFTER_S = 30

_CLOCK = SystemClock()
_SELDOM = Seldom(every_ms=10_000)


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The dispatcher function."""

    ports: TickPorts
    tick_ms: int
    calls_each: int
    campaign_lookback_days: int | None
    credentials: Callable[[], Credentials]

    def run(self, remaining_ms: int, correlation_id: str) -> dict[str, object]:
        """One tick; returns what the invocation answers. Also a tick that raises is measured."""
        telemetry.correlate(correlation_id)
        try:
            self.credentials()
        except Exception:
            telemetry.tell_no_credentials()
            raise
        report = DispatchReport()
        try:
            dispatch(
                self.ports,
                tick_ms=self.tick_ms,
                deadline_ms=_deadline_ms(remaining_ms),
                calls_each=self.calls_each,
                campaign_lookback_days=self.campaign_lookback_days,
                correlation_id=correlation_id,
                report=report,
            )
        finally:
            told = telemetry.tell_tick(report)
        return told


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
            report = work_on(item, self.ports, self.policy, deadline_ms=_deadline_ms(remaining_ms))
        except Exception as error:
            # Any error: the batch processor would swallow it without a word.
            telemetry.tell_failure(item, error)
            self.queue.retry_in(record.receipt_handle, RETRY_AFTER_S)
            raise
        telemetry.tell_work(item, report)


@cache
def dispatcher() -> Dispatcher:
    """The dispatcher of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    ports = TickPorts(shared.store, shared.source, shared.queue, _CLOCK)
    calls_each = len(settings.reading.reports)
    tick_ms = read_tick_ms(os.environ)
    return Dispatcher(ports, tick_ms, calls_each, settings.lookback_days, shared.credentials)


@cache
def worker() -> Worker:
    """The worker of this process. Raises `SettingsError`."""
    shared, settings = _shared(), read_settings(os.environ)
    bus = EventBridgeBus(aws_client("events"), required(os.environ, "EVENT_BUS_NAME"), _CLOCK)
    ports = WorkPorts(shared.store, shared.source, shared.queue, bus, _CLOCK)
    policy = WorkPolicy(
        settings.reading, settings.email_addresses, read_tick_ms(os.environ), settings.contact_summaries
    )
    return Worker(ports, policy, shared.queue)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What both functions use."""

    credentials: Callable[[], Credentials]
    store: Store
    queue: SqsQueue
    source: Source


def _shared() -> _Shared:
    settings = read_settings(os.environ)
    table, dynamodb = required(os.environ, "TABLE_NAME"), aws_client("dynamodb")
    credentials = secret_credentials(aws_client("secretsmanager"), required(os.environ, "SECRET_ID"), _CLOCK)
    store = dynamo_store(dynamodb, table, settings.limits, _CLOCK)
    return _Shared(
        credentials=credentials,
        store=store,
        queue=SqsQueue(aws_client("sqs"), required(os.environ, "QUEUE_URL")),
        source=ConstantContact(
            settings.base_url,
            waiting_for(credentials),
            store.limiter,
            _CLOCK,
            proxy=settings.proxy,
            ca_bundle=checked_ca_bundle(settings.ca_bundle),
            on_failure=_tell_failed_try,
        ),
    )


def waiting_for(credentials: Callable[[], Credentials]) -> Callable[[], Credentials]:
    """For calls: a secret that cannot be read is waited for as a dead credential is, at nobody's expense.

    Messages would otherwise use their receives up and be dead letters within the hour.
    """

    def read() -> Credentials:
        try:
            return credentials()
        except (SettingsError, RetryError) as error:
            telemetry.tell_unreadable_secret(error)
            raise WaitError(WaitReason.CREDENTIAL) from None

    return read


def _tell_failed_try(cause: Cause, status: int, tries: int) -> None:
    if _SELDOM.lets_through(cause, _CLOCK.monotonic_ms()):
        telemetry.tell_failed_try(cause, status, tries)


def _deadline_ms(remaining_ms: int) -> int:
    return _CLOCK.monotonic_ms() + remaining_ms - RESERVE_MS
