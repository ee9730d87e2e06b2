"""`contact-activity tail --stack`: what it shows of a bus, and that nothing of it is left in AWS."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.cli.main import _parser
from contact_activity.cli.told_errors import told
from contact_activity.operations import follow_stack as following
from contact_activity.operations import tap as tapping
from contact_activity.operations.follow_stack import follow_stack
from contact_activity.operations.tap import Bus, Tap, event_pattern, remove_leftovers, stack_bus
from contact_activity.run.errors import RunError
from tests.support.command_line import run_command
from tests.support.described_stack import DescribedStack, described
from tests.support.moto_server import moto_server
from tests.support.nobodys_aws import nobodys_aws

Json = dict[str, Any]
SAMPLES = {
    path.name.removesuffix(".v1.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parents[2] / "events" / "samples").glob("*.json")
}
CLICK, BOUNCE = SAMPLES["email.clicked"], SAMPLES["email.bounced"]
CLICK_ID, BOUNCE_ID = CLICK["detail"]["id"], BOUNCE["detail"]["id"]
STACK, BUS = "stack", "the-bus"
BUS_ARN = f"arn:aws:events:eu-west-1:123456789012:event-bus/{BUS}"
# All that the command asks of AWS, in the order in which it does.
ACTIONS = (
    "cloudformation:DescribeStacks",
    "sqs:ListQueues",
    "events:ListRules",
    "sqs:ListQueueTags",
    "sqs:CreateQueue",
    "events:PutRule",
    "events:PutTargets",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:TagQueue",
    "events:RemoveTargets",
    "events:DeleteRule",
    "sqs:DeleteQueue",
)
# What the operations are called where the action has another name.
OPERATIONS = {"sqs:DeleteMessage": "DeleteMessageBatch"}
WAIT_S = 20
EVERYTHING = event_pattern((), None, None)
Fault = Callable[[], object]


def nothing() -> None:
    """No fault."""


def refusal(code: str, message: str = "", status: int = 400) -> Fault:
    def refuse() -> None:
        metadata: Any = {"HTTPStatusCode": status}
        raise ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Any")

    return refuse


def with_bus(bus: str) -> DescribedStack:
    arn = f"{BUS_ARN.rpartition('/')[0]}/{bus}"
    return DescribedStack(STACK, {"TableName": "none", "EventBusName": bus, "EventBusArn": arn})


class Aws:
    """AWS on moto, with the bus of a stack. `faults`: what happens in place of an operation, or before it."""

    def __init__(self, stack: DescribedStack) -> None:
        self.stack, self.bus, self.faults = stack, stack.outputs["EventBusName"], dict[str, Fault]()
        self.events, self.sqs = aws_client("events"), aws_client("sqs")
        self.events.create_event_bus(Name=self.bus)

    def client(self, service: str) -> Any:
        client = aws_client(service)
        client.meta.events.register("before-call", self._fail)
        return client

    def _fail(self, model: Any, **_: object) -> None:
        self.faults.get(model.name, nothing)()

    def publish(self, *events: Json, source: str = "contact-activity") -> None:
        entries = [
            {
                "EventBusName": self.bus,
                "Source": source,
                "DetailType": event["detail-type"],
                "Detail": json.dumps(event["detail"]),
            }
            for event in events
        ]
        assert self.events.put_events(Entries=entries)["FailedEntryCount"] == 0

    def left(self) -> list[str]:
        """The names of all rules of the bus, and of all queues."""
        rules = self.events.list_rules(EventBusName=self.bus)["Rules"]
        queues = self.sqs.list_queues().get("QueueUrls", [])
        return [rule["Name"] for rule in rules] + [url.rpartition("/")[2] for url in queues]

    def queue_url(self) -> str:
        (url,) = self.sqs.list_queues()["QueueUrls"]
        return str(url)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with nobodys_aws(), mock_aws(), described(with_bus(BUS)) as stack:
        aws = Aws(stack)
        monkeypatch.setattr(tapping, "aws_client", aws.client)
        monkeypatch.setattr(tapping, "WAIT_S", 0)
        monkeypatch.setattr(following, "RENEW_S", 0)
        monkeypatch.setattr(following, "RETRY_S", 0)
        yield aws


def followed(
    *steps: Fault, pattern: Json | None = None, said: list[str] | None = None
) -> tuple[list[str], list[str]]:
    """Do a step after each look at the queue, then end as Ctrl-C does. Return what was shown and told."""
    left, shown = [*steps, nothing], list[str]()
    said = [] if said is None else said

    def show(lines: Sequence[str]) -> None:
        shown.extend(lines)
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    follow_stack(STACK, pattern or EVERYTHING, show=show, tell=said.append)
    return shown, said


def ids(shown: Sequence[str]) -> list[str]:
    return [json.loads(line)["detail"]["id"] for line in shown]


def test_it_shows_what_comes_from_now_on_and_leaves_nothing(aws: Aws) -> None:
    """Of a bus with other events those of the system only."""
    aws.publish(BOUNCE)
    shown, said = followed(lambda: aws.publish(CLICK, source="others"), lambda: aws.publish(CLICK))
    assert ids(shown) == [CLICK_ID]
    assert [line for line in said if BUS not in line] == []
    assert aws.left() == []


def test_only_the_rule_may_send_and_nothing_is_kept_for_long(aws: Aws) -> None:
    """Tags and description say what made it, and when."""
    seen: list[Json] = []

    def look() -> None:
        url = aws.queue_url()
        seen.append(aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])
        seen.append(aws.sqs.list_queue_tags(QueueUrl=url)["Tags"])
        seen.extend(aws.events.list_rules(EventBusName=BUS)["Rules"])

    followed(look)
    attributes, tags, rule = seen
    assert int(attributes["MessageRetentionPeriod"]) <= 300
    allowed, *denied = json.loads(attributes["Policy"])["Statement"]
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": rule["Arn"]}}
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "sqs:SendMessage")
    assert {"ArnNotEquals": {"aws:SourceArn": rule["Arn"]}} in [one["Condition"] for one in denied]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [one["Condition"] for one in denied]
    assert {one["Effect"] for one in denied} == {"Deny"}
    assert {one["Resource"] for one in (allowed, *denied)} == {attributes["QueueArn"]}
    assert (tags["made-by"], tags["stack"]) == ("contact-activity tail", STACK)
    assert tags["made-at"] in rule["Description"]
    assert "contact-activity tail" in rule["Description"]


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["--type", "clicked"], [CLICK_ID]),
        (["--type", "opened,bounced"], [BOUNCE_ID]),
        (["--type", "summarized"], []),
        (["--contact", CLICK["detail"]["subject"]], [CLICK_ID]),
        (["--campaign", BOUNCE["detail"]["data"]["campaign"]["id"]], [BOUNCE_ID]),
        (["--type", "clicked", "--campaign", "1"], []),
        ([], [CLICK_ID, BOUNCE_ID]),
    ],
)
def test_the_rule_chooses(aws: Aws, arguments: list[str], chosen: list[str]) -> None:
    from contact_activity.cli.tail import stack_pattern

    pattern = stack_pattern(_parser().parse_args(["tail", "--stack", STACK, *arguments]))
    shown, _ = followed(lambda: aws.publish(CLICK, BOUNCE), pattern=pattern)
    assert sorted(ids(shown)) == sorted(chosen)


def test_a_summary_of_each_kind_is_chosen(aws: Aws) -> None:
    from contact_activity.cli.tail import stack_pattern

    pattern = stack_pattern(_parser().parse_args(["tail", "--stack", STACK, "--type", "summarized"]))
    summaries = [event for name, event in SAMPLES.items() if name.endswith("summarized")]
    shown, _ = followed(lambda: aws.publish(*SAMPLES.values()), pattern=pattern)
    assert len(shown) == len(summaries) == 3


def test_what_comes_twice_is_shown_once_and_in_order(aws: Aws) -> None:
    """A message of SQS by its envelope's id; a second publication has another, and is shown."""
    early = CLICK | {"id": "1", "detail": CLICK["detail"] | {"observedtime": "2024-01-01T00:00:00.000Z"}}
    late = BOUNCE | {"id": "2", "detail": BOUNCE["detail"] | {"observedtime": "2024-01-02T00:00:00.000Z"}}

    def send(*events: Json) -> Fault:
        return lambda: [
            aws.sqs.send_message(QueueUrl=aws.queue_url(), MessageBody=json.dumps(event)) for event in events
        ]

    shown, _ = followed(send(late, early, late), send(early), send(early | {"id": "3"}))
    assert ids(shown) == [CLICK_ID, BOUNCE_ID, CLICK_ID]


def test_what_is_no_event_is_handed_on(aws: Aws) -> None:
    """To be counted, as in a file."""
    shown, _ = followed(lambda: aws.sqs.send_message(QueueUrl=aws.queue_url(), MessageBody="{\n"))
    assert shown == ["{ "]


def killed_at(aws: Aws, operation: str, monkeypatch: pytest.MonkeyPatch, lease_s: int = -1) -> str:
    """What a tail leaves that was killed before this operation, its lease being over. Return its name."""
    with monkeypatch.context() as patch:
        patch.setattr(tapping, "LEASE_S", lease_s)
        tap = Tap(stack_bus(STACK), EVERYTHING)
        aws.faults[operation] = refusal("Killed")
        with suppress(ClientError):
            tap.create()
            tap.receive()
    del aws.faults[operation]
    return tap.name


@pytest.mark.parametrize("operation", ["PutRule", "PutTargets", "ReceiveMessage"])
def test_the_next_start_removes_what_a_killed_one_left(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Whether it was killed between queue and rule, before the target, or later."""
    name = killed_at(aws, operation, monkeypatch)
    assert set(aws.left()) == {name}
    seen: list[str] = []
    followed(lambda: seen.extend(aws.left()))
    assert len(set(seen)) == 1
    assert name not in seen
    assert aws.left() == []


@pytest.mark.parametrize("operation", ["PutRule", "ReceiveMessage"])
def test_what_another_tail_uses_stays(aws: Aws, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    other = killed_at(aws, operation, monkeypatch, lease_s=120)
    seen: list[str] = []
    followed(lambda: seen.extend(aws.left()))
    assert len(set(seen)) == 2
    assert set(aws.left()) == {other}


def test_two_tails_at_once_both_show_all(aws: Aws) -> None:
    inner: list[str] = []

    def start_another() -> None:
        inner.extend(followed(lambda: aws.publish(CLICK))[0])

    outer, _ = followed(start_another)
    assert ids(outer) == ids(inner) == [CLICK_ID]
    assert aws.left() == []


def test_a_lease_is_renewed_while_it_runs(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what another left is removed meanwhile, when its lease is over."""
    untils: set[str] = set()

    def look() -> None:
        untils.update(
            aws.sqs.list_queue_tags(QueueUrl=url)["Tags"]["in-use-until"]
            for url in aws.sqs.list_queues()["QueueUrls"]
        )
        monkeypatch.setattr(tapping, "LEASE_S", tapping.LEASE_S + 100)

    left: list[str] = []
    followed(look, look, look, lambda: left.append(killed_at(aws, "ReceiveMessage", monkeypatch)))
    assert len(untils) >= 3
    assert left
    assert aws.left() == []


def test_a_rule_without_its_queue_goes_by_its_age(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A young one may be that of a tail whose queue AWS does not list yet."""
    name = killed_at(aws, "ReceiveMessage", monkeypatch, lease_s=120)
    aws.sqs.delete_queue(QueueUrl=aws.queue_url())
    assert remove_leftovers(stack_bus(STACK)) == 0
    assert aws.left() == [name]
    monkeypatch.setattr(tapping, "LEASE_S", -1)
    assert remove_leftovers(stack_bus(STACK)) == 1
    assert aws.left() == []


@pytest.mark.parametrize(
    "name", ["contact-activity-tail-the-bus-mine", "contact-activity-tail-the-bus-2-0123456789ab", "others"]
)
def test_what_is_not_a_tails_of_this_bus_stays(aws: Aws, name: str) -> None:
    """Nor what has such a name and no lease."""
    past = {"in-use-until": "2020-01-01T00:00:00.000Z"}
    made = "made by `contact-activity tail` at 2020-01-01T00:00:00.000Z, "
    pattern = json.dumps(EVERYTHING)
    aws.sqs.create_queue(QueueName=name, tags=past)
    aws.sqs.create_queue(QueueName="contact-activity-tail-the-bus-0123456789ab")
    aws.events.put_rule(Name=name, EventBusName=BUS, EventPattern=pattern, Description=made)
    before = aws.left()
    followed()
    assert aws.left() == before


def test_names_are_what_aws_takes() -> None:
    """Whatever the bus is called."""
    with nobodys_aws():
        name = Tap(Bus(STACK, "team/a.b_" + "x" * 250, "a:b:c:d:e:event-bus/f"), EVERYTHING).name
    assert re.fullmatch(r"contact-activity-tail-[A-Za-z0-9-]{1,24}-[0-9a-f]{12}", name)
    assert len(name) <= 64


@pytest.mark.parametrize("action", ACTIONS)
def test_a_missing_permission_is_one_line_that_names_it(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """And what may be removed is; what may not is told."""
    if action == "sqs:ListQueueTags":
        killed_at(aws, "ReceiveMessage", monkeypatch, lease_s=120)
    text = f"User: me is not authorized to perform: {action} on resource: any"
    operation = OPERATIONS.get(action, action.partition(":")[2])
    aws.faults[operation] = refusal("AccessDeniedException", text, 403)
    before, said = aws.left(), list[str]()
    with pytest.raises(ClientError) as raised:
        followed(lambda: aws.publish(CLICK), nothing, said=said)
    assert f"the caller lacks {action}: " in told(raised.value)
    is_told = any("may be left" in line for line in said)
    assert is_told == (aws.left() != before)
    assert is_told == action.startswith(("events:Remove", "events:Delete", "sqs:DeleteQ"))


def test_each_action_is_documented() -> None:
    """In the help of the command, by its service and its name."""
    text = run_command("tail", "--help").stdout.partition("permissions")[2]
    for action in ACTIONS:
        service, _, name = action.partition(":")
        assert re.search(rf"\b{name}\b", text), action
        assert service in text


def test_credentials_that_expire_meanwhile_are_told_with_what_is_left(aws: Aws) -> None:
    said: list[str] = []
    expired = refusal("ExpiredToken", "The security token included in the request is expired", 403)

    def expire(_: Sequence[str]) -> None:
        operations = ("ReceiveMessage", "DescribeStacks", "RemoveTargets", "DeleteRule", "DeleteQueue")
        aws.faults.update(dict.fromkeys(operations, expired))

    with pytest.raises(ClientError) as raised:
        follow_stack(STACK, EVERYTHING, show=expire, tell=said.append)
    assert "aws sso login" in told(raised.value)
    (name,) = set(aws.left())
    assert name in said[-1]
    assert "the next tail of this stack removes them" in said[-1]


@pytest.mark.parametrize(
    ("status", "text"), [(None, "there is no stack"), ("DELETE_IN_PROGRESS", "is being deleted")]
)
def test_a_stack_that_is_deleted_ends_it(aws: Aws, status: str | None, text: str) -> None:
    """Also while that begins: its bus cannot be deleted while it has a rule."""

    def delete() -> None:
        aws.stack.status = status

    with pytest.raises(RunError, match=text):
        followed(delete, nothing)
    assert aws.left() == []
    with pytest.raises(RunError, match=text):
        followed()


@pytest.mark.parametrize(
    ("code", "text"),
    [("LimitExceededException", "as many rules as AWS allows"), ("ResourceNotFoundException", "is gone")],
)
def test_a_rule_that_cannot_be_made_leaves_nothing(aws: Aws, code: str, text: str) -> None:
    aws.faults["PutRule"] = refusal(code)
    with pytest.raises(RunError, match=text):
        followed()
    assert aws.left() == []


def test_a_rule_or_a_queue_that_somebody_deletes_ends_it(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def delete_rule() -> None:
        (rule,) = aws.events.list_rules(EventBusName=BUS)["Rules"]
        aws.events.remove_targets(Rule=rule["Name"], EventBusName=BUS, Ids=["queue"])
        aws.events.delete_rule(Name=rule["Name"], EventBusName=BUS)

    monkeypatch.setattr(following, "SETTLES_WITHIN_S", 0)
    for delete in (delete_rule, lambda: aws.sqs.delete_queue(QueueUrl=aws.queue_url())):
        with pytest.raises(RunError, match="somebody has deleted"):
            followed(delete, nothing)
        assert aws.left() == []


def test_a_short_outage_is_waited_out_and_told_once(aws: Aws) -> None:
    """Of the network, or of AWS itself."""
    kinds = [refusal("InternalError", status=500), *[out_of_reach] * 3]

    def fail() -> None:
        (kinds.pop() if kinds else nothing)()

    def begin() -> None:
        aws.publish(CLICK)
        aws.faults["ReceiveMessage"] = fail

    shown, said = followed(begin)
    assert ids(shown) == [CLICK_ID]
    assert [line for line in said if "AWS cannot be reached" in line] == said[1:]
    assert kinds == []
    assert aws.left() == []


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("ReceiveMessage", "RequestThrottled"),
        ("DescribeStacks", "Throttling"),
        ("ListRules", "ThrottlingException"),
    ],
)
def test_too_many_calls_of_the_account_are_waited_out(aws: Aws, operation: str, code: str) -> None:
    """Whoever makes them: each service counts those of all, and has a code of its own."""
    refusals = [refusal(code, "Rate exceeded")] * 2

    def refuse() -> None:
        (refusals.pop() if refusals else nothing)()

    def begin() -> None:
        aws.publish(CLICK)
        aws.faults[operation] = refuse

    shown, said = followed(begin)
    assert ids(shown) == [CLICK_ID]
    assert said[1:] == ["AWS refuses calls as too many: trying again"]
    assert aws.left() == []


def out_of_reach() -> None:
    raise EndpointConnectionError(endpoint_url="https://sqs")


def test_an_outage_longer_than_the_lease_ends_it(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tail may have taken it for dead by then."""

    def begin() -> None:
        monkeypatch.setattr(following, "LEASE_S", 0)
        aws.faults["ReceiveMessage"] = out_of_reach

    with pytest.raises(EndpointConnectionError):
        followed(begin)
    assert aws.left() == []


def test_what_falls_behind_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapping, "RETENTION_S", 60)
    with monkeypatch.context() as patch:
        patch.setattr(tapping, "_now_ms", lambda _: 4_000_000_000_000)
        _, said = followed(lambda: aws.publish(CLICK), lambda: aws.publish(CLICK))
    assert sum("some events are left out" in line for line in said) == 1


def test_a_machine_that_slept_is_told_what_is_left_out(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time. Its own clock may have slept, too, so that only that of AWS shows it."""
    now_ms, slept_ms = tapping._now_ms, [0]
    monkeypatch.setattr(tapping, "_now_ms", lambda answer: now_ms(answer) + sum(slept_ms))

    def sleep() -> None:
        slept_ms.append(2 * tapping.RETENTION_S * 1_000)
        aws.publish(CLICK)

    shown, said = followed(nothing, sleep, nothing, nothing, sleep, nothing)
    assert [line for line in said if "stopped" in line and "is left out" in line] == said[1:]
    assert len(said) == 3
    assert ids(shown) == [CLICK_ID] * 2


@contextmanager
def default_interrupt() -> Iterator[None]:
    """Whoever started the tests may have had them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("operation", ["CreateQueue", "PutRule", "PutTargets", "DeleteRule", "DeleteQueue"])
def test_ctrl_c_while_it_is_made_or_removed_leaves_nothing(aws: Aws, operation: str) -> None:
    """It ends as well as ever."""
    interrupted: list[bool] = []

    def interrupt() -> None:
        interrupted.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    aws.faults[operation] = interrupt
    with default_interrupt():
        try:
            followed()
        except KeyboardInterrupt:
            # Left alone, it would end the tests.
            pytest.fail("Ctrl-C did not wait")
    assert interrupted
    assert aws.left() == []


# A shell has what it starts in the background ignore Ctrl-C, and with it the tests that it runs so.
TAIL = """
import signal, sys
from contact_activity.cli.main import main
from contact_activity.operations import tap
tap.WAIT_S = 0
signal.signal(signal.SIGINT, signal.default_int_handler)
# The tests may run under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.exit(main(["tail", "--stack", sys.argv[1], *sys.argv[2:]]))
"""


@pytest.fixture
def served() -> Iterator[Aws]:
    """An AWS behind real HTTP, for a process. Moto keeps a bus for as long as the tests run."""
    with nobodys_aws(), moto_server() as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", url)
        with described(with_bus(f"bus-{uuid.uuid4().hex[:8]}")) as stack:
            yield Aws(stack)


@contextmanager
def tail_process(aws: Aws, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """It listens when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAIL, aws.stack.name, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        assert "listening on the bus" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            with suppress(OSError, AttributeError):
                pipe.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_ends_it_well(served: Aws, number: signal.Signals) -> None:
    with tail_process(served) as process:
        assert process.stdout
        served.publish(CLICK)
        assert process.stdout.readline().split()[3:5] == ["clicked", CLICK["detail"]["subject"]]
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
    assert served.left() == []


def test_a_reader_that_leaves_ends_it_before_the_next_event(served: Aws) -> None:
    with tail_process(served, "--json", "--type", "clicked") as process:
        assert process.stdout
        assert process.stderr
        served.publish(BOUNCE, CLICK)
        assert json.loads(process.stdout.readline())["detail"] == CLICK["detail"]
        process.stdout.close()
        assert process.wait(WAIT_S) == 1
        assert "the reader of standard output has left" in process.stderr.read()
    assert served.left() == []


@pytest.mark.parametrize("option", [["--lines", "5"], ["--no-follow"]])
def test_what_is_of_a_folder_is_refused(option: list[str]) -> None:
    refused = run_command("tail", "--stack", STACK, *option)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert f"{option[0]} belongs to a folder" in refused.stderr
