"""The local cloud: the real template in an AWS emulator, its functions doing the work.

This process only deploys, ticks and watches: it reads the bus as any subscriber would, through a
rule and a queue of its own.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.domain.times import iso
from contact_activity.errors import FatalError, RetryError, WaitError
from contact_activity.local_cloud.deploy import deploy
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.run.events_file import opened_events
from contact_activity.run.file_bus import Sink
from contact_activity.run.options import (
    LISTING_WAITS,
    Account,
    Display,
    RunError,
    RunOptions,
    Standing,
    Summary,
    locked,
)
from contact_activity.run.reach import TRIES_MOST, TRY_FOR_MS, Reach, ReachLimiter, reaching_source
from contact_activity.settings import Settings, SettingsError

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
STACK_NAME = "contact-activity"
SUBSCRIBER = "contact-activity-local-subscriber"
SCHEDULE_LEAST_MIN = 2
RECEIVE_MOST = 10
LOOK_S = 0.2
STALL_MS = 180_000
STALL_SLOTS = 20

_log = logging.getLogger(__name__)


def run_cloud(account: Account, options: RunOptions, display: Display) -> Summary:
    """Deploy, then run the whole path once, or every `options.every_ms` until interrupted.

    Raises `RunError` or `SettingsError`.
    """
    _check_proxy(account.settings)
    with ExitStack() as stack:
        stack.enter_context(locked(options.state_dir))
        sink = stack.enter_context(
            opened_events(options.events, is_copied_to_stdout=options.is_copied_to_stdout)
        )
        display.step("starting the local AWS")
        name = "cloud-simulated" if account.is_simulated else "cloud"
        emulator = stack.enter_context(Emulator(options.state_dir / name))
        display.step("deploying template.yaml")
        deployed = deploy(
            emulator, TEMPLATE, stack_name=STACK_NAME, parameters=_parameters(account.settings, options)
        )
        _put_secret(emulator, deployed.outputs["SecretArn"], account)
        subscriber = subscribe(emulator, deployed.outputs["EventBusName"])
        engine = CloudEngine(emulator, deployed.outputs, account.settings, options, display)
        if not options.every_ms:
            engine.try_to_reach(account)
        return engine.run(EventReader(emulator.client("sqs"), subscriber, sink))


def _check_proxy(settings: Settings) -> None:
    if settings.proxy and "@" in settings.proxy:
        raise SettingsError(
            "CONSTANT_CONTACT_PROXY holds a user name: the functions' environment is no place for a "
            "password, use the embedded engine"
        )


def _parameters(settings: Settings, options: RunOptions) -> dict[str, str]:
    minutes = max(SCHEDULE_LEAST_MIN, options.tick_ms // 60_000)
    return {
        "ConstantContactBaseUrl": settings.base_url,
        "ConstantContactProxy": settings.proxy or "",
        "ConstantContactCaBundle": settings.ca_bundle or "",
        "CallsPerSecond": f"{settings.calls_per_second:g}",
        "CallsPerDay": str(settings.calls_per_day),
        "QuotaShare": f"{settings.quota_share:g}",
        "Account": settings.account,
        "Reports": ",".join(settings.reports),
        "StartDate": "" if settings.start_ms is None else iso(settings.start_ms),
        "OverlapHours": str(settings.overlap_h),
        "RememberedActivities": str(settings.remembered_min),
        "CampaignLookbackDays": str(settings.campaign_lookback_days),
        "EmailAddresses": settings.email_addresses.value,
        "ScheduleMinutes": str(minutes),
        "Local": "true",
    }


def _put_secret(emulator: Emulator, secret_id: str, account: Account) -> None:
    credentials = account.credentials
    value = {"api_key": credentials.api_key, "access_token": credentials.access_token}
    emulator.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=json.dumps(value))


def subscribe(emulator: Emulator, bus_name: str) -> str:
    """A rule for everything of ours, into a queue of this run; returns the queue's URL."""
    sqs, events = emulator.client("sqs"), emulator.client("events")
    url = sqs.create_queue(QueueName=SUBSCRIBER)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    pattern = json.dumps({"source": [EVENT_SOURCE]})
    events.put_rule(Name=SUBSCRIBER, EventBusName=bus_name, EventPattern=pattern)
    target = {"Id": "queue", "Arn": attributes["QueueArn"]}
    events.put_targets(Rule=SUBSCRIBER, EventBusName=bus_name, Targets=[target])
    return str(url)


@dataclass(slots=True)
class EventReader:
    """Moves events from the subscriber's queue to the sink; each is on disk before it is deleted."""

    sqs: Any
    queue_url: str
    sink: Sink
    received: Counter[str] = field(default_factory=Counter)

    def drain(self) -> None:
        """Until the queue gives nothing more."""
        while messages := self._receive():
            envelopes = [json.loads(message["Body"]) for message in messages]
            lines = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in envelopes]
            self.sink.write("".join(f"{line}\n" for line in lines).encode())
            self.received.update(envelope["detail-type"] for envelope in envelopes)
            self.sqs.delete_message_batch(
                QueueUrl=self.queue_url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(messages)
                ],
            )

    def _receive(self) -> list[dict[str, str]]:
        answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=RECEIVE_MOST)
        return list(answer.get("Messages", []))


class _StallWatch:
    """Ends a run that nothing moves any more, rather than wait for ever."""

    def __init__(self, log_path: Path, slot_ms: int) -> None:
        self._log_path = log_path
        self._patience_ms = max(STALL_MS, STALL_SLOTS * slot_ms)
        self._seen: tuple[int, int] | None = None
        self._seen_ms = 0

    def look(self, standing: tuple[int, int], now_ms: int) -> None:
        if standing != self._seen:
            self._seen, self._seen_ms = standing, now_ms
        elif now_ms - self._seen_ms > self._patience_ms:
            raise RunError(f"the local AWS makes no headway, see {self._log_path}; run again to go on")


class CloudEngine:
    """Ticks the deployed dispatcher and watches the deployed table and queues."""

    def __init__(
        self,
        emulator: Emulator,
        outputs: Mapping[str, str],
        settings: Settings,
        options: RunOptions,
        display: Display,
    ) -> None:
        self._clock = SystemClock()
        self._emulator, self._outputs = emulator, outputs
        self._options, self._display = options, display
        dynamodb, table = emulator.client("dynamodb"), outputs["TableName"]
        self._store = dynamo_store(dynamodb, table, settings.limits, self._clock)
        self._sqs = emulator.client("sqs")
        self._queue = SqsQueue(self._sqs, outputs["ContactQueueUrl"])
        self._dead_letters = SqsQueue(self._sqs, outputs["ContactDeadLettersUrl"])
        self._summary = Summary()
        self._enqueued = 0

    def try_to_reach(self, account: Account) -> None:
        """Return once the API answers a call, whatever it says; without a call while all is paused.

        Raises `RunError` with what to check if no call gets through: the functions would try for minutes.
        """
        if self._is_paused():
            return
        reach = Reach(self._clock, _log.warning, is_one_time=True)
        source = reaching_source(account, ReachLimiter(self._store.limiter, reach), reach, connections=1)
        for _ in range(TRIES_MOST):
            try:
                source.probe(deadline_ms=self._clock.monotonic_ms() + TRY_FOR_MS)
            except RetryError:
                continue
            except (WaitError, FatalError):
                pass
            break
        if reach.is_over:
            raise RunError(str(reach.to_check()))

    def run(self, reader: EventReader) -> Summary:
        """Tick once, or every `options.every_ms` until interrupted."""
        self._summary.events = reader.received
        started_ms = self._clock.now_ms()
        self._forget_messages()
        if self._options.treat_all_as_due:
            self._store.contacts.make_due(started_ms)
            self._store.campaigns.put_listed(None)
        dead_before = self._dead_letters.depth()
        if self._options.every_ms:
            while True:
                self._tick_and_wait(reader, self._options.every_ms)
        report = self._tick(reader)
        while not self._is_paused() and (
            not (report["listing_is_complete"] or report["listing_waits"]) or self._count_due()
        ):
            report = self._tick(reader)
        self._sum_up(started_ms, self._dead_letters.depth() - dead_before)
        return self._summary

    def _forget_messages(self) -> None:
        """What was in flight when the last run stopped would stay hidden for its visibility time-out."""
        self._sqs.purge_queue(QueueUrl=self._outputs["ContactQueueUrl"])
        self._store.contacts.abandon([contact.id for contact in self._store.contacts.scan()])

    def _tick_and_wait(self, reader: EventReader, every_ms: int) -> None:
        started_ms = self._clock.monotonic_ms()
        try:
            self._tick(reader)
        except RunError as error:
            _log.warning("%s", error)
        while self._clock.monotonic_ms() < started_ms + every_ms:
            self._show(wait="the next tick")
            reader.drain()
            self._clock.sleep(LOOK_S)

    def _tick(self, reader: EventReader) -> dict[str, Any]:
        self._display.step("listing contacts")
        report = self._invoke_dispatcher()
        if report["listing_waits"]:
            _log.warning(LISTING_WAITS)
        self._enqueued += int(report["enqueued"])
        self._display.step("reading activity")
        watch = _StallWatch(self._emulator.log_path, self._store.limiter.limits.slot_ms)
        while depth := self._queue.depth():
            self._show()
            reader.drain()
            watch.look((depth, self._calls_today()), self._clock.monotonic_ms())
            self._clock.sleep(LOOK_S)
        reader.drain()
        self._show()
        return report

    def _invoke_dispatcher(self) -> dict[str, Any]:
        answer = self._emulator.client("lambda").invoke(
            FunctionName=self._outputs["DispatcherName"], Payload=b"{}"
        )
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise RunError(f"the dispatcher failed: {payload.get('errorMessage', 'no message')}")
        return payload

    def _is_paused(self) -> bool:
        active = self._store.pauses.get().active(self._clock.now_ms())
        self._summary.pause = active[0] if active else None
        return bool(active)

    def _count_due(self) -> int:
        """Due, whether or not it is in a message."""
        return sum(contact.due_ms <= self._clock.now_ms() for contact in self._store.contacts.scan())

    def _show(self, wait: str = "") -> None:
        left = self._queue.depth()
        paused = self._is_paused() and self._summary.pause
        self._display.show(
            Standing(
                done=max(0, self._enqueued - left),
                planned=self._enqueued,
                events=self._summary.published,
                calls=self._calls_today(),
                left_s=left * self._store.limiter.limits.slot_ms / 1_000,
                wait=f"pause: {paused.reason}" if paused else wait,
            )
        )

    def _calls_today(self) -> int:
        return self._store.limiter.pace().used_on(self._clock.now_ms())

    def _sum_up(self, started_ms: int, dead: int) -> None:
        contacts = list(self._store.contacts.scan())
        # A later time than now was set by a clock that ran ahead, before this run.
        now_ms = self._clock.now_ms()
        touched = [contact for contact in contacts if started_ms <= (contact.synced_ms or 0) <= now_ms]
        self._summary.contacts = len(contacts)
        self._summary.gone = sum(contact.times_gone > 0 for contact in touched)
        self._summary.synced = len(touched) - self._summary.gone
        failing = [contact for contact in contacts if contact.failures]
        in_queue = "its message is in the dead-letter queue"
        self._summary.failed = {f"contact {of.id}": of.last_error or in_queue for of in failing[:dead]}
        self._summary.calls_today = self._calls_today()
