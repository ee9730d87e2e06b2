"""A temporary subscriber of a stack's bus: a rule, and a queue to which only this rule may send.

Both bear one name with a random part, and the queue a lease in a tag, which its tail renews. So what a killed
tail left is told from what a living one uses, by AWS's clock alone, whatever the clocks of its callers show.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from contact_activity.aws.clients import aws_client
from contact_activity.aws.errors import error_code
from contact_activity.constant_contact.verdict import http_date_s
from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.domain.times import iso, parse_time
from contact_activity.operations.stack import describe_stack, found_stack
from contact_activity.run.errors import RunError

LEASE_S = 120
RETENTION_S = 300
# Shorter than the client's own time-out.
WAIT_S = 3
MAX_MESSAGES = 10
_PREFIX = "contact-activity-tail-"
# A rule's name has 64 characters at most.
_MAX_BUS_CHARACTERS = 24
_MADE_BY = "contact-activity tail"
_UNTIL_TAG = "in-use-until"
_TARGET_ID = "queue"
_GONE = frozenset(
    {"ResourceNotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}
)
# A rule has no lease of its own, so its description tells when it was made.
_DESCRIBED = re.compile(r"made by `contact-activity tail` at (\S+), ")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bus:
    """The bus of a stack, and the clients that reach it."""

    stack_name: str
    name: str
    arn: str
    events: BaseClient = field(default_factory=lambda: aws_client("events"))
    sqs: BaseClient = field(default_factory=lambda: aws_client("sqs"))
    cloudformation: BaseClient = field(default_factory=lambda: aws_client("cloudformation"))

    @property
    def prefix(self) -> str:
        """With what the names of its taps begin."""
        return f"{_PREFIX}{re.sub('[^A-Za-z0-9-]', '-', self.name)[:_MAX_BUS_CHARACTERS]}-"

    def check_stack(self) -> None:
        """Raise `RunError` if the stack is gone, or about to be: a bus that has a rule cannot be deleted."""
        status = str(found_stack(self.cloudformation, self.stack_name)["StackStatus"])
        if status.startswith("DELETE_"):
            raise RunError(f"the stack {self.stack_name} is being deleted")


def stack_bus(stack_name: str) -> Bus:
    """Return the bus of a stack. Raises `RunError` if there is no such stack, or it is being deleted."""
    outputs, _ = describe_stack(aws_client("cloudformation"), stack_name)
    bus = Bus(stack_name, outputs["EventBusName"], outputs["EventBusArn"])
    bus.check_stack()
    return bus


def event_pattern(detail_types: Collection[str], contact: str | None, campaign: str | None) -> Json:
    """Return the pattern of a rule for these events only; without any of the three, for all of the system."""
    asked = {name: {"id": [id_]} for name, id_ in (("contact", contact), ("campaign", campaign)) if id_}
    pattern: Json = {"source": [EVENT_SOURCE]}
    if detail_types:
        pattern["detail-type"] = sorted(detail_types)
    if asked:
        pattern["detail"] = {"data": asked}
    return pattern


@dataclass(frozen=True, slots=True)
class Received:
    """Messages as they came, and whether others were dropped before they could be received.

    `is_late`: one of them was all but dropped, so that others were. `is_after_gap`: nobody asked for as
    long as the queue keeps one.
    """

    bodies: list[str]
    receipt_handles: list[str]
    is_late: bool
    is_after_gap: bool


class Tap:
    """A rule and a queue of one tail. Nothing exists of them before `create` and after `remove`.

    Its methods raise `RunError` where AWS says what to do about it, else botocore's errors.
    """

    def __init__(self, bus: Bus, pattern: Mapping[str, object]) -> None:
        self._bus, self._pattern = bus, pattern
        self.name = f"{bus.prefix}{uuid.uuid4().hex[:12]}"
        self._queue_url = ""
        self._asked_ms = 0

    def create(self) -> None:
        """Create the queue first: what its lease is to protect must not be there without it."""
        now_ms = _now_ms(self._bus.sqs.list_queues(QueueNamePrefix=self.name))
        self._queue_url = self._bus.sqs.create_queue(
            QueueName=self.name, Attributes=self._attributes(), tags=self._tags(now_ms)
        )["QueueUrl"]
        self._asked_ms = now_ms
        try:
            self._bus.events.put_rule(
                **self._rule(),
                EventPattern=json.dumps(self._pattern),
                Description=f"made by `{_MADE_BY}` at {iso(now_ms)}, which removes it when it ends",
            )
        except ClientError as error:
            raise _refused(error, self._bus) from error
        target = {"Id": _TARGET_ID, "Arn": self._queue_arn}
        put = self._bus.events.put_targets(**_named(self._bus, self.name), Targets=[target])
        if put["FailedEntryCount"]:
            raise RunError(f"the bus {self._bus.name} takes no queue as a target of the rule {self.name}")

    def receive(self) -> Received:
        """Return what is there, and wait a little for it. What is not deleted comes again after 30 s."""
        answer = self._bus.sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=MAX_MESSAGES,
            WaitTimeSeconds=WAIT_S,
            AttributeNames=["SentTimestamp"],
        )
        messages, now_ms = answer.get("Messages", []), _now_ms(answer)
        oldest_ms = min((int(message["Attributes"]["SentTimestamp"]) for message in messages), default=now_ms)
        # By AWS's clock: that of this machine may stand still while it sleeps.
        gap_ms, self._asked_ms = now_ms - self._asked_ms, now_ms
        return Received(
            [message["Body"] for message in messages],
            [message["ReceiptHandle"] for message in messages],
            is_late=now_ms - oldest_ms > 0.8 * RETENTION_S * 1_000,
            is_after_gap=gap_ms > RETENTION_S * 1_000,
        )

    def delete(self, receipt_handles: list[str]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(receipt_handles)]
        if entries:
            self._bus.sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)

    def renew(self) -> None:
        """Renew the lease. Raises `RunError` if the stack, the rule or the queue is gone."""
        self._bus.check_stack()
        listed = self._bus.events.list_rules(EventBusName=self._bus.name, NamePrefix=self.name)
        if not listed["Rules"]:
            raise RunError(f"somebody has deleted the rule {self.name}: run tail again")
        self._bus.sqs.tag_queue(QueueUrl=self._queue_url, Tags=self._until(_now_ms(listed)))

    def remove(self) -> None:
        """Remove whatever of it is there. Tries all, then raises the first error of botocore."""
        _remove(self._bus, self.name, self._queue_url)

    def _rule(self) -> dict[str, str]:
        return {"Name": self.name, "EventBusName": self._bus.name}

    @property
    def _queue_arn(self) -> str:
        _, partition, _, region, account, _ = self._bus.arn.split(":", 5)
        return f"arn:{partition}:sqs:{region}:{account}:{self.name}"

    @property
    def _rule_arn(self) -> str:
        return f"{self._bus.arn.partition(':event-bus/')[0]}:rule/{self._bus.name}/{self.name}"

    def _attributes(self) -> dict[str, str]:
        return {
            "MessageRetentionPeriod": str(RETENTION_S),
            "SqsManagedSseEnabled": "true",
            "Policy": json.dumps({"Version": "2012-10-17", "Statement": self._statements()}),
        }

    def _statements(self) -> list[Json]:
        on_queue, everybody = {"Resource": self._queue_arn}, {"Effect": "Deny", "Principal": "*"}
        rule = {"aws:SourceArn": self._rule_arn}
        lets_in: Json = {
            "Sid": "ItsRuleMaySend",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Condition": {"ArnEquals": rule},
        }
        keeps_out = everybody | {"Action": "sqs:SendMessage", "Condition": {"ArnNotEquals": rule}}
        over_tls = everybody | {"Action": "sqs:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        statements = [lets_in, keeps_out | {"Sid": "NobodyElse"}]
        # An emulator has no TLS.
        if self._bus.sqs.meta.endpoint_url.startswith("https:"):
            statements.append(over_tls | {"Sid": "OverTls"})
        return [statement | on_queue for statement in statements]

    def _tags(self, now_ms: int) -> dict[str, str]:
        made = {"made-by": _MADE_BY, "made-at": iso(now_ms), "stack": self._bus.stack_name}
        return {"product": "contact-activity", **made, **self._until(now_ms)}

    def _until(self, now_ms: int) -> dict[str, str]:
        return {_UNTIL_TAG: iso(now_ms + LEASE_S * 1_000)}


def remove_leftovers(bus: Bus) -> int:
    """Remove the rules and queues of tails whose lease has run out. Return of how many tails."""
    listed = bus.sqs.list_queues(QueueNamePrefix=bus.prefix)
    now_ms = _now_ms(listed)
    queues = {url.rpartition("/")[2]: url for url in listed.get("QueueUrls", [])}
    pages = bus.events.get_paginator("list_rules").paginate(EventBusName=bus.name, NamePrefix=bus.prefix)
    rules = {rule["Name"]: rule.get("Description", "") for page in pages for rule in page["Rules"]}
    is_tap = re.compile(re.escape(bus.prefix) + "[0-9a-f]{12}").fullmatch
    removed = 0
    for name in filter(is_tap, sorted({*queues, *rules})):
        until_ms = _leased_until_ms(bus, queues[name]) if name in queues else _described_until_ms(rules[name])
        # What has no lease is not a tail's.
        if until_ms is not None and until_ms < now_ms:
            _remove(bus, name, queues.get(name, ""))
            removed += 1
    return removed


def _leased_until_ms(bus: Bus, queue_url: str) -> int | None:
    try:
        tags = bus.sqs.list_queue_tags(QueueUrl=queue_url).get("Tags", {})
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return parse_time(tags.get(_UNTIL_TAG, ""))


def _described_until_ms(description: str) -> int | None:
    described = _DESCRIBED.match(description)
    made_ms = parse_time(described[1]) if described else None
    return None if made_ms is None else made_ms + LEASE_S * 1_000


def _remove(bus: Bus, name: str, queue_url: str) -> None:
    """Remove the queue last: its lease tells others that the rule is in use."""
    errors = [
        _error_of(lambda: bus.events.remove_targets(**_named(bus, name), Ids=[_TARGET_ID])),
        _error_of(lambda: bus.events.delete_rule(Name=name, EventBusName=bus.name)),
    ]
    if queue_url:
        errors.append(_error_of(lambda: bus.sqs.delete_queue(QueueUrl=queue_url)))
    for error in filter(None, errors):
        raise error


def _error_of(remove: Callable[[], object]) -> ClientError | None:
    """What AWS says against it; what is gone already is removed."""
    try:
        remove()
    except ClientError as error:
        return None if is_gone(error) else error
    return None


def is_gone(error: ClientError) -> bool:
    """Whether AWS says that there is no such rule, bus or queue."""
    return error_code(error) in _GONE


def _refused(error: ClientError, bus: Bus) -> Exception:
    """What to raise where AWS makes no rule."""
    if error_code(error) == "LimitExceededException":
        return RunError(
            f"the bus {bus.name} has as many rules as AWS allows: delete one, or have the quota raised"
        )
    return RunError(f"the bus {bus.name} is gone: deploy the stack again") if is_gone(error) else error


def _named(bus: Bus, name: str) -> dict[str, str]:
    return {"Rule": name, "EventBusName": bus.name}


def _now_ms(answer: Mapping[str, Any]) -> int:
    """The time by the clock of who answered."""
    date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
    date_s = http_date_s(date)
    return round(date_s * 1_000) if date_s is not None else time.time_ns() // 1_000_000
