"""The AWS adapters in what the local AWS does not show: partial failures, limits, refusals."""

import json
import string
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from contact_activity.aws import bus as aws_bus
from contact_activity.aws import queue as aws_queue
from contact_activity.aws.bus import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, EventBridgeBus, batches, entry_bytes
from contact_activity.aws.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, RETRIES, aws_client
from contact_activity.aws.contacts import DynamoContacts, due_shard
from contact_activity.aws.dead_letters import SqsDeadLetters
from contact_activity.aws.pace import ALWAYS_FOLD_FROM, CHANGEOVER_MS, FOLD_EVERY, DynamoPace, dynamo_limiter
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.store import DynamoListings, DynamoPauses, DynamoTally
from contact_activity.aws.table import PAGE_ROWS, Item
from contact_activity.constant_contact.v2_rows import PROVIDER_TYPES
from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import EVENT_SOURCE, EmailAddresses, Event, to_event
from contact_activity.domain.listing import Listing
from contact_activity.domain.memory import MAX_REMEMBERED, MAX_UNREADABLE
from contact_activity.domain.pace import Limits, Pace, Take, take_slot
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.watermark import Progress, Watermark
from contact_activity.domain.work import DeadLetter, WorkItem
from contact_activity.errors import FatalError, PartlyAcceptedError, RetryError, WaitError
from contact_activity.settings import Credentials, SettingsError
from contact_activity.state.codec import item_from_body, item_to_body, pace_change_to_json
from contact_activity.state.forgotten import id_digest
from tests.support.contention import take_as_before
from tests.support.families import Clients, create_bus, create_table
from tests.support.items import of_contact
from tests.support.nobodys_aws import nobodys_aws
from tests.support.scripted_aws import Answer, Json, ScriptedAws, error, scripted_aws
from tests.support.scripted_aws import given as answered
from tests.support.usages import item_bytes
from tests.support.virtual_clock import VirtualClock

NOW_MS = 1_795_435_200_000
LATER_MS = NOW_MS + 60_000
TICK_MS = 15 * 60_000
QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/contacts"
SECRET = "contact-activity/credentials"
TABLE = "contacts"
REPEATABLE = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture(autouse=True, scope="module")
def _nobodys_aws() -> Iterator[None]:
    with nobodys_aws():
        yield


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    """A scripted AWS. The adapters find it by `AWS_ENDPOINT_URL` alone."""
    with scripted_aws() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
        yield aws


@pytest.fixture
def moto() -> Iterator[Clients]:
    """AWS in this process. It checks requests more strictly than the local AWS."""
    with mock_aws():
        yield Clients(aws_client)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW_MS)


def event(name: str, size: int = 0) -> Event:
    return Event(name, "Email Opened", json.dumps({"id": name, "pad": "x" * size}))


def event_of_bytes(size_bytes: int) -> Event:
    return event("large", size_bytes - entry_bytes(event("large")))


# ------------------------------------------------------------------------------------------------ bus


class TestBatches:
    details = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    repeats = st.sampled_from([0, 1, 500, 2_000])
    events = st.lists(
        st.builds(
            lambda detail, times: Event("id", "Email Opened", json.dumps(detail * times, ensure_ascii=False)),
            details,
            repeats,
        ),
        max_size=45,
    )

    @REPEATABLE
    @given(events=events)
    def test_every_batch_is_within_the_limits_of_aws(self, events: list[Event]) -> None:
        """The batches hold all events in order. None is empty or above 10 entries or 256,000 bytes."""
        parted = batches(events)
        assert [event for batch in parted for event in batch] == events
        for batch in parted:
            assert 1 <= len(batch) <= 10
            entries = [f"{EVENT_SOURCE}{event.detail_type}{event.detail}" for event in batch]
            assert sum(len(entry.encode("utf-8")) for entry in entries) <= 256_000

    @REPEATABLE
    @given(events=events)
    def test_no_batch_is_smaller_than_it_must_be(self, events: list[Event]) -> None:
        """The first event of a batch does not fit into the batch before it."""
        parted = batches(events)
        for batch, following in pairwise(parted):
            is_full = len(batch) == MAX_BATCH_ENTRIES
            assert is_full or sum(map(entry_bytes, [*batch, following[0]])) > MAX_BATCH_BYTES

    def test_bytes_are_counted_in_utf_8(self) -> None:
        """Two events can fit by characters and not by bytes."""
        umlauts = Event("id", "Email Bounced", "ä" * 65_000)
        assert entry_bytes(umlauts) == len("contact-activity") + len("Email Bounced") + 130_000
        assert batches([umlauts, umlauts]) == [[umlauts], [umlauts]]

    def test_an_event_at_the_limit_is_sent(self) -> None:
        """An event of 256,000 bytes is sent, in a batch of its own."""
        largest = event_of_bytes(256_000)
        assert batches([event("a"), largest, event("b")]) == [[event("a")], [largest], [event("b")]]

    def test_an_event_over_the_limit_is_fatal_before_anything_is_sent(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """An event of 256,001 bytes can never be published. The error does not show its content."""
        bus = EventBridgeBus(aws_client("events"), "bus", clock)
        with pytest.raises(FatalError, match="256001 bytes") as raised:
            bus.publish([event("a"), event_of_bytes(256_001)], deadline_ms=LATER_MS)
        assert "xxx" not in str(raised.value)
        assert wire.requests == []


def put_events(*failing: str, code: str = "ThrottlingException") -> Answer:
    """Accept all entries except those with one of these ids in the detail."""

    def answer(parameters: Json) -> tuple[int, Json]:
        failed = [json.loads(entry["Detail"])["id"] in failing for entry in parameters["Entries"]]
        results = [
            {"ErrorCode": code, "ErrorMessage": "no"} if is_failed else {"EventId": f"event-{n}"}
            for n, is_failed in enumerate(failed)
        ]
        return 200, {"FailedEntryCount": sum(failed), "Entries": results}

    return answer


def put_ids(wire: ScriptedAws) -> list[list[str]]:
    return [
        [json.loads(entry["Detail"])["id"] for entry in call["Entries"]] for call in wire.asked("PutEvents")
    ]


class TestBus:
    @pytest.fixture
    def bus(self, wire: ScriptedAws, clock: VirtualClock) -> EventBridgeBus:
        wire.script("PutEvents", put_events())
        return EventBridgeBus(aws_client("events"), "the-bus", clock, jitter=lambda: 1.0)

    def test_an_entry_follows_the_contract(self, wire: ScriptedAws, bus: EventBridgeBus) -> None:
        """An entry has bus, source, detail type and detail. It has no time, so EventBridge sets its own."""
        bus.publish([event("a")], deadline_ms=LATER_MS)
        assert wire.asked("PutEvents") == [
            {
                "Entries": [
                    {
                        "EventBusName": "the-bus",
                        "Source": "contact-activity",
                        "DetailType": "Email Opened",
                        "Detail": event("a").detail,
                    }
                ]
            }
        ]

    def test_only_failed_entries_are_sent_again(
        self, wire: ScriptedAws, bus: EventBridgeBus, clock: VirtualClock
    ) -> None:
        """After a partly accepted batch only the rest is sent again, in order, with back-off."""
        wire.script(
            "PutEvents", put_events("b", "d", "e"), put_events("d", code="InternalFailure"), put_events()
        )
        bus.publish([event(name) for name in "abcdef"], deadline_ms=LATER_MS)
        assert put_ids(wire) == [list("abcdef"), list("bde"), ["d"]]
        assert clock.slept_s == [0.1, 0.2]

    def test_a_batch_is_accepted_before_the_next_is_sent(
        self, wire: ScriptedAws, bus: EventBridgeBus
    ) -> None:
        """Events are published in order: later batches do not overtake a failed entry."""
        wire.script("PutEvents", put_events("c"), put_events())
        bus.publish([event(name) for name in "abcdefghijkl"], deadline_ms=LATER_MS)
        assert put_ids(wire) == [list("abcdefghij"), ["c"], ["k", "l"]]

    def test_it_gives_up_rather_than_sleep_past_the_deadline(
        self, wire: ScriptedAws, bus: EventBridgeBus, clock: VirtualClock
    ) -> None:
        """An entry that is never accepted becomes a `RetryError` before the deadline, without content."""
        wire.script("PutEvents", put_events("b"))
        deadline_ms = NOW_MS + 10_000
        with pytest.raises(PartlyAcceptedError) as raised:
            bus.publish([event("a"), event("b")], deadline_ms=deadline_ms)
        assert raised.value.accepted == {"a"}
        assert str(raised.value) == "the bus did not accept 1 event in 7 tries"
        assert clock.slept_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
        assert clock.now_ms() < deadline_ms

    def test_no_publication_begins_after_the_deadline(self, wire: ScriptedAws) -> None:
        """By then somebody else may publish. What was accepted before is told."""

        class PassingClock(VirtualClock):
            def monotonic_ms(self) -> int:
                self.sleep(6)
                return self.now_ms()

        wire.script("PutEvents", put_events())
        bus = EventBridgeBus(aws_client("events"), "bus", PassingClock(NOW_MS))
        with pytest.raises(PartlyAcceptedError) as raised:
            bus.publish([event(name) for name in "abcdefghijkl"], deadline_ms=NOW_MS + 9_000)
        assert raised.value.accepted == set("abcdefghij")
        assert put_ids(wire) == [list("abcdefghij")]

    def test_waits_are_jittered(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """Workers that failed together try again at different times, spread over half the wait."""
        wire.script("PutEvents", put_events("a"), put_events("a"), put_events())
        jitter = iter([0.0, 0.5])
        bus = EventBridgeBus(aws_client("events"), "bus", clock, jitter=lambda: next(jitter))
        bus.publish([event("a")], deadline_ms=LATER_MS)
        assert clock.slept_s == pytest.approx([0.05, 0.15])

    @pytest.mark.parametrize("code", sorted(aws_bus._REFUSALS))
    def test_a_final_error_of_an_entry_is_raised_at_once(
        self, wire: ScriptedAws, bus: EventBridgeBus, code: str
    ) -> None:
        """Error codes that are documented as final are not retried. The error holds what was accepted."""
        wire.script("PutEvents", put_events("b", code=code))
        with pytest.raises(PartlyAcceptedError, match=code) as raised:
            bus.publish([event("a"), event("b")], deadline_ms=LATER_MS)
        assert raised.value.accepted == {"a"}
        assert len(put_ids(wire)) == 1

    @pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalFailure", 500)])
    def test_a_failed_call_is_repeated_whole(
        self, wire: ScriptedAws, bus: EventBridgeBus, code: str, status: int
    ) -> None:
        """If the call itself was throttled or failed, all entries are sent again."""
        wire.script("PutEvents", error(code, status), put_events())
        bus.publish([event("a"), event("b")], deadline_ms=LATER_MS)
        assert put_ids(wire) == [["a", "b"], ["a", "b"]]

    def test_a_refused_call_is_an_error_of_ours(self, wire: ScriptedAws, bus: EventBridgeBus) -> None:
        """The error names the code of AWS, and holds what was accepted before."""
        wire.script("PutEvents", put_events(), error("AccessDeniedException"))
        with pytest.raises(PartlyAcceptedError, match="AccessDeniedException") as raised:
            bus.publish([event(name) for name in "abcdefghijkl"], deadline_ms=LATER_MS)
        assert raised.value.accepted == set("abcdefghij")
        assert len(put_ids(wire)) == 2

    def test_aws_accepts_events_of_every_type(self, moto: Clients, clock: VirtualClock) -> None:
        """They pass the checks of AWS, and arrive."""
        events_url = create_bus(moto, "bus")
        events = [
            to_event(
                Activity(
                    type_, "4711", "111", NOW_MS, "2026-11-23", PROVIDER_TYPES[type_], "grüße@example.org"
                ),
                account="default",
                email_addresses=EmailAddresses.PLAIN,
                observed_ms=NOW_MS,
                backfill=False,
            )
            for type_ in ActivityType
        ]
        EventBridgeBus(moto.events, "bus", clock).publish(events, deadline_ms=LATER_MS)
        answer = moto.sqs.receive_message(QueueUrl=events_url, MaxNumberOfMessages=10)
        received = [json.loads(message["Body"]) for message in answer["Messages"]]
        assert {(r["detail-type"], json.dumps(r["detail"], sort_keys=True)) for r in received} == {
            (e.detail_type, json.dumps(json.loads(e.detail), sort_keys=True)) for e in events
        }

    def test_a_detail_that_is_not_json_is_an_error_at_once(self, moto: Clients, clock: VirtualClock) -> None:
        """AWS refuses it, so it is not retried. The error does not show it."""
        create_bus(moto, "bus")
        bus = EventBridgeBus(moto.events, "bus", clock)
        with pytest.raises(PartlyAcceptedError, match="MalformedDetail") as raised:
            bus.publish([Event("a", "Email Opened", '{"ada@example.org')], deadline_ms=LATER_MS)
        assert "ada" not in str(raised.value)
        assert clock.slept_s == []


def received(*ids: str) -> Answer:
    """An answer of SQS that holds these dead letters."""
    attributes = {"SentTimestamp": str(NOW_MS)}
    letters = [
        {"MessageId": id_, "ReceiptHandle": f"handle-{id_}", "Body": "{}", "Attributes": attributes}
        for id_ in ids
    ]
    return answered({"Messages": letters} if letters else {})


class TestDeadLetters:
    @pytest.fixture
    def letters(self, wire: ScriptedAws) -> SqsDeadLetters:
        assert wire.endpoint_url
        return SqsDeadLetters(aws_client("sqs"), QUEUE_URL)

    def test_a_letter_that_comes_again_does_not_end_the_reading(
        self, wire: ScriptedAws, letters: SqsDeadLetters
    ) -> None:
        """In a long queue the first letters reappear before the last one was read."""
        wire.script("ReceiveMessage", received("a", "b"), received("a"), received("b", "c"), received())
        assert [letter.id for batch in letters.take() for letter in batch] == ["a", "b", "c"]

    def test_a_queue_that_only_repeats_is_left(self, wire: ScriptedAws, letters: SqsDeadLetters) -> None:
        """The reading ends when many receives bring nothing new."""
        wire.script("ReceiveMessage", received("a"))
        assert [letter.id for batch in letters.take() for letter in batch] == ["a"]

    def test_a_letter_that_another_command_has_is_no_failure(
        self, wire: ScriptedAws, letters: SqsDeadLetters
    ) -> None:
        """AWS refuses to make it visible, letter by letter; `give_back` goes on."""
        failed = [{"Id": "0", "Code": "InvalidParameterValue", "SenderFault": True}]
        wire.script("ChangeMessageVisibilityBatch", answered({"Failed": failed, "Successful": []}))
        letters.give_back([DeadLetter(None, str(n), NOW_MS, f"handle-{n}") for n in range(11)])
        handles = [len(call["Entries"]) for call in wire.asked("ChangeMessageVisibilityBatch")]
        assert handles == [10, 1]


# ---------------------------------------------------------------------------------------------- queue


def send_batch(*failing: str, is_final: bool = False) -> Answer:
    """Accept all messages except those of these contacts."""

    def answer(parameters: Json) -> tuple[int, Json]:
        successful, failed = [], []
        for entry in parameters["Entries"]:
            if json.loads(entry["MessageBody"])["contact_id"] in failing:
                failed.append({"Id": entry["Id"], "Code": "Scripted", "SenderFault": is_final})
            else:
                successful.append({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "0" * 32})
        return 200, {"Successful": successful} | ({"Failed": failed} if failed else {})

    return answer


def sent_ids(wire: ScriptedAws) -> list[list[str]]:
    return [
        [json.loads(entry["MessageBody"])["contact_id"] for entry in call["Entries"]]
        for call in wire.asked("SendMessageBatch")
    ]


def messages(ids: str) -> list[WorkItem]:
    return [of_contact(contact_id, NOW_MS) for contact_id in ids]


class TestQueue:
    @pytest.fixture
    def queue(self, wire: ScriptedAws, clock: VirtualClock) -> SqsQueue:
        wire.script("SendMessageBatch", send_batch())
        return SqsQueue(aws_client("sqs"), QUEUE_URL, sleep=clock.sleep, jitter=lambda: 1.0)

    def test_messages_are_sent_ten_at_a_time(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """A call holds at most ten messages with different ids. The body follows the contract."""
        assert queue.send(messages("abcdefghijklmnopqrstuvw")) == []
        assert sent_ids(wire) == [list("abcdefghij"), list("klmnopqrst"), list("uvw")]
        entries = wire.asked("SendMessageBatch")[0]["Entries"]
        assert len({entry["Id"] for entry in entries}) == 10
        assert entries[0]["MessageBody"] == '{"contact_id": "a", "planned_at": "2026-11-23T12:00:00.000Z"}'

    def test_only_failed_messages_are_sent_again(
        self, wire: ScriptedAws, queue: SqsQueue, clock: VirtualClock
    ) -> None:
        """Failed messages of several batches are sent again together, with back-off."""
        wire.script("SendMessageBatch", send_batch("b", "d"), send_batch("k"), send_batch("d"), send_batch())
        assert queue.send(messages("abcdefghijkl")) == []
        assert sent_ids(wire) == [list("abcdefghij"), ["k", "l"], ["b", "d", "k"], ["d"]]
        assert clock.slept_s == [0.2, 0.4]

    def test_messages_that_are_never_accepted_are_returned(
        self, wire: ScriptedAws, queue: SqsQueue, clock: VirtualClock
    ) -> None:
        """After a few tries, those messages and no others."""
        wire.script("SendMessageBatch", send_batch("b", "c"))
        assert queue.send(messages("abcd")) == messages("bc")
        assert sent_ids(wire) == [list("abcd")] + [["b", "c"]] * (aws_queue.MAX_SEND_TRIES - 1)
        assert len(clock.slept_s) == aws_queue.MAX_SEND_TRIES - 1

    def test_a_message_with_a_final_error_is_not_sent_again(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """A message that AWS will never accept is returned at once."""
        wire.script("SendMessageBatch", send_batch("a", is_final=True))
        assert queue.send(messages("ab")) == messages("a")
        assert sent_ids(wire) == [["a", "b"]]

    def test_a_throttled_call_is_repeated(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """If the call itself was throttled, all messages are sent again."""
        wire.script("SendMessageBatch", error("ThrottlingException"), send_batch())
        assert queue.send(messages("ab")) == []
        assert sent_ids(wire) == [["a", "b"], ["a", "b"]]

    def test_the_depth_counts_waiting_flying_and_delayed_messages(
        self, wire: ScriptedAws, queue: SqsQueue
    ) -> None:
        """It is the sum of the three counts of SQS."""
        counts = {
            "ApproximateNumberOfMessages": "4",
            "ApproximateNumberOfMessagesNotVisible": "20",
            "ApproximateNumberOfMessagesDelayed": "100",
        }
        wire.script("GetQueueAttributes", answered({"Attributes": counts}))
        assert queue.depth() == 124
        assert set(wire.asked("GetQueueAttributes")[0]["AttributeNames"]) == set(counts)

    def test_a_message_can_come_back_sooner(self, moto: Clients) -> None:
        """A message in flight is delivered again after the given wait."""
        queue_url = moto.sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "720"})["QueueUrl"]
        queue = SqsQueue(moto.sqs, queue_url)
        queue.send([of_contact("4711", NOW_MS)])
        received = moto.sqs.receive_message(QueueUrl=queue_url)["Messages"]
        assert "Messages" not in moto.sqs.receive_message(QueueUrl=queue_url)
        queue.retry_in(received[0]["ReceiptHandle"], 0)
        again = moto.sqs.receive_message(QueueUrl=queue_url)["Messages"]
        assert [message["Body"] for message in again] == [received[0]["Body"]]


class TestMessageBody:
    ids = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=64)

    @REPEATABLE
    @given(
        contact_id=ids,
        planned_ms=st.integers(min_value=1, max_value=253_402_300_799_999),
        correlation_id=st.none() | ids,
    )
    def test_a_body_reads_as_the_message_it_was_written_from(
        self, contact_id: str, planned_ms: int, correlation_id: str | None
    ) -> None:
        """A written body reads as the same message, to the millisecond."""
        message = of_contact(contact_id, planned_ms, correlation_id)
        assert item_from_body(item_to_body(message)) == message

    def test_unknown_keys_are_ignored(self) -> None:
        """A later version may add keys, and functions are not all updated at the same moment."""
        body = '{"contact_id": "4711", "planned_at": "2026-11-23T12:00:00Z", "more": [1]}'
        assert item_from_body(body) == of_contact("4711", NOW_MS)

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "ada@example.org",
            '{"contact_id": "ada", "planned_at": "2026-11-23T12:00:00.000Z',
            '["ada", "2026-11-23T12:00:00.000Z"]',
            '"ada"',
            "[" * 100_000,
            '{"planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "ada"}',
            '{"contact_id": 4711, "planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "", "planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "ada@example.org", "planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "ada/../lovelace", "planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "ada\\n", "planned_at": "2026-11-23T12:00:00.000Z"}',
            '{"contact_id": "%s", "planned_at": "2026-11-23T12:00:00.000Z"}' % ("ada" * 22),
            '{"contact_id": "ada", "planned_at": 1795435200000}',
            '{"contact_id": "ada", "planned_at": "yesterday"}',
            '{"contact_id": "ada", "planned_at": "1970-01-01T00:00:00.000Z"}',
            '{"contact_id": "ada", "planned_at": null}',
            '{"contact_id": "1", "planned_at": "2026-11-23T12:00:00Z", "correlation_id": "ada "}',
            '{"contact_id": "1", "planned_at": "2026-11-23T12:00:00Z", "correlation_id": ["ada"]}',
            '{"contact_id": "1", "planned_at": "2026-11-23T12:00:00Z", "correlation_id": "%s"}'
            % ("ada" * 22),
        ],
        ids=range(21),
    )
    def test_any_other_body_is_refused_without_showing_it(self, body: str) -> None:
        """Neither the error nor its cause shows the body."""
        with pytest.raises(ValueError, match="a message body") as raised:
            item_from_body(body)
        assert "ada" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None

    @REPEATABLE
    @given(body=st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
    def test_any_text_is_a_message_or_refused(self, body: str) -> None:
        """No body raises anything but the one error that the worker handles."""
        with pytest.raises(ValueError, match="a message body"):
            item_from_body(body)


# --------------------------------------------------------------------------------------------- secret


class TestSecret:
    GOOD = json.dumps({"api_key": "the-key", "access_token": "the-token"})

    def test_both_credentials_are_read_by_name(self, moto: Clients, clock: VirtualClock) -> None:
        """The secret is a JSON object with both. White space around a value is ignored."""
        moto.secrets.create_secret(
            Name=SECRET, SecretString='{"api_key": " the-key", "access_token": "the-token\\n"}'
        )
        assert secret_credentials(moto.secrets, SECRET, clock)() == Credentials("the-key", "the-token")

    def test_a_new_value_takes_effect_after_the_maximum_age(self, moto: Clients, clock: VirtualClock) -> None:
        """Until then the old value is used without a call."""
        moto.secrets.create_secret(Name=SECRET, SecretString=self.GOOD)
        read = secret_credentials(moto.secrets, SECRET, clock, max_age_s=300)
        before = read()
        moto.secrets.put_secret_value(SecretId=SECRET, SecretString=self.GOOD.replace("the-", "new-"))
        clock.sleep(299.999)
        assert read() == before
        clock.sleep(0.001)
        assert read() == Credentials("new-key", "new-token")

    def test_a_short_failure_of_aws_stops_nothing(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """The last value is used for an hour. A new value that is unusable is an error at once."""
        good = answered({"SecretString": self.GOOD})
        wire.script("GetSecretValue", good, *[error("AccessDeniedException")] * 3, good)
        read = secret_credentials(aws_client("secretsmanager"), SECRET, clock)
        known = read()
        for wait_s in (300, 15, 3_600):
            assert read() == known
            clock.sleep(wait_s)
        with pytest.raises(RetryError, match="AccessDenied"):
            read()
        assert read() == known
        wire.script("GetSecretValue", answered({"SecretString": "hunter2"}))
        clock.sleep(300)
        with pytest.raises(SettingsError):
            read()

    def test_threads_share_one_call(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """However many threads ask at once, Secrets Manager is called once."""
        wire.script("GetSecretValue", answered({"SecretString": self.GOOD}))
        read = secret_credentials(aws_client("secretsmanager"), SECRET, clock)
        with ThreadPoolExecutor(16) as pool:
            found = set(pool.map(lambda _: read(), range(64)))
        assert found == {Credentials("the-key", "the-token")}
        assert wire.asked("GetSecretValue") == [{"SecretId": SECRET}]

    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            ("", "is not JSON"),
            ("hunter2", "is not JSON"),
            ('["hunter2"]', "is not a JSON object"),
            ('{"api_key": "hunter2"}', "has no access_token"),
            ('{"api_key": "", "access_token": "hunter2"}', "has no api_key"),
            ('{"api_key": 7, "access_token": "hunter2"}', "has no api_key"),
            ('{"api_key": "x", "access_token": "hunter2 hunter2"}', "character that no credential has"),
        ],
    )
    def test_an_unusable_value_is_an_error_that_does_not_show_it(
        self, wire: ScriptedAws, clock: VirtualClock, value: str, fault: str
    ) -> None:
        """One line names the secret and what is wrong with it."""
        wire.script("GetSecretValue", answered({"SecretString": value}))
        with pytest.raises(SettingsError, match=fault) as raised:
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()
        assert SECRET in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "hunter2" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None

    def test_a_secret_without_a_value_says_how_to_store_one(self, moto: Clients, clock: VirtualClock) -> None:
        """After the first deployment the secret exists without a value, and the error says what to store."""
        moto.secrets.create_secret(Name=SECRET)
        with pytest.raises(SettingsError, match=r'has no value: store \{"api_key"'):
            secret_credentials(moto.secrets, SECRET, clock)()

    def test_a_binary_secret_is_not_json(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """A secret that was stored as bytes has no text."""
        wire.script("GetSecretValue", answered({"SecretBinary": "aHVudGVyMg=="}))
        with pytest.raises(SettingsError, match="is not JSON"):
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()

    def test_a_failed_call_for_the_secret_is_named_by_its_code(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """A missing permission, a disabled key or an outage may pass, so it is a `RetryError`."""
        wire.script("GetSecretValue", error("AccessDeniedException"))
        with pytest.raises(RetryError, match="a call to Secrets Manager failed: AccessDeniedException"):
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()

    def test_a_corrected_value_is_read_at_once(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """An unusable value is never cached."""
        wire.script("GetSecretValue", answered({"SecretString": "{}"}), answered({"SecretString": self.GOOD}))
        read = secret_credentials(aws_client("secretsmanager"), SECRET, clock)
        with pytest.raises(SettingsError):
            read()
        assert read() == Credentials("the-key", "the-token")


# ---------------------------------------------------------------------------------------------- table


def claimed(contacts: DynamoContacts, now_ms: int = NOW_MS, *, most: int) -> list[str]:
    claims = contacts.claim(VirtualClock(now_ms), tick_ms=TICK_MS, most=most)
    return [id_ for ids in claims for id_ in ids]


class TestTable:
    """These tests use one thread, because moto loses updates of several."""

    @pytest.fixture
    def dynamodb(self, moto: Clients) -> Any:
        create_table(moto.dynamodb, TABLE)
        return moto.dynamodb

    @pytest.fixture
    def contacts(self, dynamodb: Any) -> DynamoContacts:
        return DynamoContacts(dynamodb, TABLE, threads=1)

    def test_claims_read_past_contacts_in_messages(self, contacts: DynamoContacts) -> None:
        """Due contacts are found after more queued ones than fit on a page of the index."""
        crowd = [id_ for id_ in map(str, range(5_000)) if due_shard(id_) == 3][: PAGE_ROWS + 20]
        contacts.register([ListedContact(id_, "") for id_ in crowd[:-3]], NOW_MS)
        contacts.register([ListedContact(id_, "") for id_ in crowd[-3:]], NOW_MS + 1)
        assert len(claimed(contacts, NOW_MS + 1, most=PAGE_ROWS + 17)) == PAGE_ROWS + 17
        assert sorted(claimed(contacts, NOW_MS + 1, most=10)) == sorted(crowd[-3:])

    def test_contacts_are_spread_over_all_shards(self) -> None:
        """Each shard gets its share, and a contact is always in the same shard."""
        counts = [0] * 8
        for number in range(8_000):
            counts[due_shard(str(1_000_000 + number))] += 1
        assert min(counts) > 800
        assert due_shard("4711") == 7

    def test_a_contact_has_exactly_these_attributes(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """An operator finds no e-mail address in the item of a contact."""
        contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS)
        read = contacts.get("4711")
        assert read is not None
        progress = Progress(NOW_MS, "f", "all", "n", bytes(14), bytes(8), (), None, 0)
        assert claimed(contacts, most=1) == ["4711"]
        stored = replace(read, synced_ms=NOW_MS, progress=progress, held_until_ms=LATER_MS)
        contacts.save(stored, queued_until_ms=LATER_MS)
        item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "contact#4711"}})["Item"]
        assert {name: next(iter(value)) for name, value in item.items()} == {
            "pk": "S",
            "modified_date": "S",
            "marks": "S",
            "progress": "S",
            "registered_at": "N",
            "due_at": "N",
            "due_shard": "N",
            "queued_until": "N",
            "held_until": "N",
            "synced_at": "N",
            "version": "N",
            "failures": "N",
            "times_gone": "N",
            "remembered": "B",
            "unreadable": "B",
            "summaries": "S",
        }

    def test_the_largest_contact_leaves_room_in_its_item(
        self, contacts: DynamoContacts, dynamodb: Any
    ) -> None:
        """With memory and progress at their maximum it stays well below the 400 KB of DynamoDB."""
        contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS)
        read = contacts.get("4711")
        assert read is not None
        memory = Watermark((), bytes(14) * MAX_REMEMBERED, bytes(8) * MAX_UNREADABLE)
        progress = Progress(
            NOW_MS, "f" * 100, "all", "n" * 2_000, memory.remembered * 2, memory.unreadable, (), NOW_MS, 9
        )
        assert contacts.save(replace(read, watermark=memory, progress=progress))
        item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "contact#4711"}})["Item"]
        size_bytes = sum(len(name) + len(value) for name, typed in item.items() for value in typed.values())
        assert 250_000 < size_bytes < 300_000

    def test_an_unknown_contact_leaves_no_item(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """Releasing or saving a contact that does not exist writes nothing."""
        contacts.release(["4711"])
        contacts.save(Contact("4711", registered_ms=NOW_MS, due_ms=NOW_MS))
        assert dynamodb.scan(TableName=TABLE)["Count"] == 0

    def test_only_contacts_are_in_the_index(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """Other items, such as the pauses, are never claimed."""
        DynamoPauses(dynamodb, TABLE).pause(Pause(PauseReason.QUOTA, NOW_MS))
        limiter = dynamo_limiter(dynamodb, TABLE, Limits(4, 9_000), VirtualClock(NOW_MS))
        limiter.acquire(deadline_ms=LATER_MS)
        contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS)
        assert claimed(contacts, LATER_MS, most=10) == ["4711"]
        assert dynamodb.scan(TableName=TABLE, IndexName="due")["Count"] == 1


def stored_pace(used: int, next_slot_ms: int) -> Json:
    return {
        "pk": {"S": "pace"},
        "pace_day": {"N": str(NOW_MS // DAY_MS)},
        "used": {"N": str(used)},
        "next_slot_at": {"N": str(next_slot_ms)},
        "folds": {"N": "7"},
    }


class TestLimiterOnTheWire:
    LIMITS = Limits(calls_per_second=4, calls_per_day=9_000)
    LOST = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"

    def test_a_call_costs_one_write(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """The pace is read once. After that each slot is one unconditional write."""
        wire.script("GetItem", answered({"Item": stored_pace(5, NOW_MS)}))
        wire.script("UpdateItem", answered({}))
        limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock)
        for _ in range(3):
            limiter.acquire(deadline_ms=LATER_MS)
        assert [operation for operation, _ in wire.requests] == ["GetItem"] + ["UpdateItem"] * 3
        assert wire.asked("GetItem")[0]["ConsistentRead"] is True
        assert not any("ConditionExpression" in asked for asked in wire.asked("UpdateItem"))

    def test_a_slot_comes_after_those_of_earlier_changes(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """The answer to the write shows the slots that others took, so no read is needed."""
        theirs_ms = NOW_MS + 5_000
        theirs = pace_change_to_json(Take(self.LIMITS, NOW_MS, 60_000))
        wire.script("GetItem", answered({"Item": stored_pace(5, NOW_MS)}))

        def appended(asked: Json) -> tuple[int, Json]:
            own = asked["ExpressionAttributeValues"][":more"]["L"]
            changes = {"changes": {"L": [{"S": theirs}, {"S": theirs}, *own]}}
            return 200, {"Attributes": stored_pace(8, theirs_ms) | changes}

        wire.script("UpdateItem", appended)
        limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock)
        limiter.acquire(deadline_ms=LATER_MS)
        assert clock.now_ms() == theirs_ms + 2 * self.LIMITS.slot_ms
        assert [operation for operation, _ in wire.requests] == ["GetItem", "UpdateItem"]

    def test_a_used_up_day_writes_nothing(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """When no call is left, `acquire` raises without a write."""
        wire.script("GetItem", answered({"Item": stored_pace(9_000, NOW_MS)}))
        limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock)
        with pytest.raises(WaitError):
            limiter.acquire(deadline_ms=LATER_MS)
        assert wire.asked("UpdateItem") == []

    def test_a_throttled_write_is_repeated(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """botocore repeats it with back-off."""
        wire.script("GetItem", answered({}))
        wire.script("UpdateItem", error("ProvisionedThroughputExceededException"), answered({}))
        dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock).acquire(deadline_ms=LATER_MS)
        assert len(wire.asked("UpdateItem")) == 2


def as_listed(contact_id: str, modified: str = "2026-11-01", times_gone: int = 0) -> dict[str, object]:
    """The attributes of a stored contact that a listing reads."""
    return {
        "pk": {"S": f"contact#{contact_id}"},
        "registered_at": {"N": "1"},
        "modified_date": {"S": modified},
        "times_gone": {"N": str(times_gone)},
    }


def batch(*items: dict[str, object], left: Sequence[str] = ()) -> Answer:
    keys = [{"pk": {"S": f"contact#{contact_id}"}} for contact_id in left]
    unprocessed = {TABLE: {"Keys": keys}} if keys else {}
    return answered({"Responses": {TABLE: list(items)}, "UnprocessedKeys": unprocessed})


class TestListingOnTheWire:
    def test_an_unchanged_page_costs_five_reads_and_no_write(self, wire: ScriptedAws) -> None:
        """500 contacts are read in batches of 100, at half the price of a consistent read."""
        ids = [str(number) for number in range(500)]
        wire.script("BatchGetItem", batch(*map(as_listed, ids)))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact(id_, "2026-11-01") for id_ in ids], NOW_MS) == 0
        asked = [request["RequestItems"][TABLE] for request in wire.asked("BatchGetItem")]
        assert [len(batch["Keys"]) for batch in asked] == [100] * 5
        assert not any(batch.get("ConsistentRead") for batch in asked)
        assert {operation for operation, _ in wire.requests} == {"BatchGetItem"}

    def test_only_new_and_changed_contacts_are_written(self, wire: ScriptedAws) -> None:
        """An unchanged contact costs no write."""
        wire.script("BatchGetItem", batch(as_listed("changed", "2026-10-31"), as_listed("same")), batch())
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        listed = [ListedContact(id_, "2026-11-01") for id_ in ("new", "changed", "same")]
        assert contacts.register(listed, NOW_MS) == 1
        written = [request["Key"]["pk"]["S"] for request in wire.asked("UpdateItem")]
        assert written == ["contact#new", "contact#changed"]

    def test_only_who_is_not_known_is_looked_up_as_erased(self, wire: ScriptedAws) -> None:
        """By a digest of the id, and consistently: who is not there any more is known as erased already."""
        pk = f"forgotten#{id_digest('new')}"
        erased: dict[str, object] = {"pk": {"S": pk}, "forgotten_ms": {"N": str(NOW_MS)}}
        wire.script("BatchGetItem", batch(as_listed("same")), batch(erased))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        listed = [ListedContact(id_, "2026-11-01") for id_ in ("new", "same")]
        assert contacts.register(listed, NOW_MS) == 0
        asked = [request["RequestItems"][TABLE] for request in wire.asked("BatchGetItem")]
        assert [key["pk"]["S"] for key in asked[1]["Keys"]] == [pk]
        assert asked[1]["ConsistentRead"]
        assert not wire.asked("UpdateItem")

    def test_a_digest_is_stored_before_the_contact_is_deleted(self, wire: ScriptedAws) -> None:
        """A crash in between leaves a contact that shows that it is to be erased again."""
        wire.script("UpdateItem", answered({}))
        wire.script("DeleteItem", error("AccessDeniedException"))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        with pytest.raises(RetryError):
            contacts.erase("4711", NOW_MS)
        assert [operation for operation, _ in wire.requests] == ["UpdateItem", "DeleteItem"]
        assert wire.asked("UpdateItem")[0]["Key"]["pk"]["S"] == f"forgotten#{id_digest('4711')}"

    def test_keys_that_a_batch_left_out_are_read_one_by_one(self, wire: ScriptedAws) -> None:
        """DynamoDB may answer only a part of a batch."""
        wire.script("BatchGetItem", batch(as_listed("1"), left=["2", "3"]), batch())
        wire.script("GetItem", answered({"Item": as_listed("2")}), answered({}))
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact(id_, "2026-11-01") for id_ in "123"], NOW_MS) == 1
        assert [request["Key"]["pk"]["S"] for request in wire.asked("UpdateItem")] == ["contact#3"]

    def test_contacts_are_read_whole_and_consistently_at_once(self, wire: ScriptedAws) -> None:
        """By batches of a hundred keys, each once; what a batch left out is read by itself."""
        ids = [str(number) for number in range(150)]
        wire.script("BatchGetItem", batch(*map(as_listed, ids[:99]), left=["99"]), batch(left=["100"]))
        wire.script("GetItem", answered({"Item": as_listed("99")}), answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert list(contacts.get_many([*ids, "7"])) == ids[:100]
        asked = [request["RequestItems"][TABLE] for request in wire.asked("BatchGetItem")]
        assert [len(batch["Keys"]) for batch in asked] == [100, 50]
        assert all(batch["ConsistentRead"] and "ProjectionExpression" not in batch for batch in asked)
        assert all(request["ConsistentRead"] for request in wire.asked("GetItem"))

    def test_a_contact_that_another_dispatcher_registered_is_not_new(self, wire: ScriptedAws) -> None:
        """The read may be out of date; the condition of the write decides."""
        wire.script("BatchGetItem", batch())
        wire.script("UpdateItem", error(TestLimiterOnTheWire.LOST))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS) == 0

    def test_a_gone_contact_that_changed_is_stored_in_one_write(self, wire: ScriptedAws) -> None:
        """Date and due time are stored together, so a crash cannot lose one of them."""
        wire.script("BatchGetItem", batch(as_listed("4711", times_gone=2)))
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-22")], NOW_MS) == 0
        (stored,) = wire.asked("UpdateItem")
        assert "modified_date = :modified, due_at = :now" in stored["UpdateExpression"]
        assert stored["ExpressionAttributeValues"][":now"] == {"N": str(NOW_MS)}

    def test_a_contact_that_went_after_the_read_is_due_too(self, wire: ScriptedAws) -> None:
        """A worker may mark it as gone between the read and the write."""
        wire.script("BatchGetItem", batch(as_listed("4711")))
        wire.script("UpdateItem", error(TestLimiterOnTheWire.LOST), answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-22")], NOW_MS) == 0
        refused, stored = wire.asked("UpdateItem")
        assert "times_gone = :zero" in refused["ConditionExpression"]
        assert "due_at = :now" in stored["UpdateExpression"]
        assert stored["ConditionExpression"] == "attribute_exists(registered_at)"


class TestPaceInDynamo:
    """Changes are appended to the pace, and folded into it now and then."""

    TAKE = Take(Limits(calls_per_second=4, calls_per_day=9_000), NOW_MS, 3_600_000)

    @pytest.fixture
    def dynamodb(self, moto: Clients) -> Any:
        create_table(moto.dynamodb, TABLE)
        return moto.dynamodb

    @pytest.fixture
    def paces(self, dynamodb: Any) -> tuple[DynamoPace, DynamoPace]:
        return DynamoPace(dynamodb, TABLE), DynamoPace(dynamodb, TABLE)

    def take(self, pace: DynamoPace, times: int) -> list[Pace]:
        return [pace.change(self.TAKE) for _ in range(times)]

    @staticmethod
    def item(dynamodb: Any) -> Item:
        return Item(dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "pace"}})["Item"])

    def test_functions_of_the_previous_version_take_other_slots(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """After an update, while both run, each sees the slots of the other. Later folds are rare again."""
        dynamodb.put_item(TableName=TABLE, Item=stored_pace(5, NOW_MS) | {"folds": {"NULL": True}})
        dynamodb.update_item(TableName=TABLE, Key={"pk": {"S": "pace"}}, UpdateExpression="REMOVE folds")
        slots_ms: list[int | None] = []
        for number in range(12):
            if number % 3 == 2:
                slots_ms.append(take_as_before(dynamodb, TABLE, NOW_MS))
            else:
                slot = take_slot(paces[number % 2].change(self.TAKE), self.TAKE.limits, NOW_MS)
                assert slot
                slots_ms.append(slot.at_ms)
        assert slots_ms == [NOW_MS + number * self.TAKE.limits.slot_ms for number in range(12)]
        assert paces[0].load().used == 17
        later = replace(self.TAKE, from_ms=NOW_MS + CHANGEOVER_MS)
        for _ in range(3):
            paces[0].change(later)
        assert len(self.item(dynamodb).texts("changes")) == 3

    def test_changes_appended_during_a_fold_survive_it(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """The worker that folds has not seen them. They stay, in order."""
        ours, theirs = paces
        seen = [*self.take(ours, FOLD_EVERY), *self.take(theirs, 3)]
        ours.tidy()
        assert self.item(dynamodb).whole("used") == FOLD_EVERY
        assert len(self.item(dynamodb).texts("changes")) == 3
        seen += self.take(theirs, 1)
        assert [pace.used for pace in seen] == list(range(FOLD_EVERY + 4))
        assert theirs.load().used == FOLD_EVERY + 4

    def test_a_second_fold_of_the_same_changes_does_nothing(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """Not even when the changes left the pace as it was."""
        ours, theirs = paces
        in_vain = Take(Limits(4, 0), NOW_MS, 0)
        for _ in range(FOLD_EVERY):
            ours.change(in_vain)
        theirs.load()
        ours.tidy()
        self.take(ours, FOLD_EVERY)
        theirs.tidy()
        assert len(self.item(dynamodb).texts("changes")) == FOLD_EVERY
        assert ours.load().used == FOLD_EVERY

    def test_another_worker_folds_what_a_dead_one_left(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """Until then the item grows to three times its usual length, and no further."""
        gone, here = paces
        self.take(gone, ALWAYS_FOLD_FROM + 5)
        for _ in range(ALWAYS_FOLD_FROM):
            here.load()
            here.tidy()
            self.take(here, 1)
            assert len(self.item(dynamodb).texts("changes")) <= ALWAYS_FOLD_FROM + 5
        assert here.load().used == 2 * ALWAYS_FOLD_FROM + 5

    def test_the_item_stays_within_a_write_unit(self, dynamodb: Any) -> None:
        """Even when four workers append before a fold arrives."""
        pace = DynamoPace(dynamodb, TABLE)
        for _ in range(FOLD_EVERY + 4):
            pace.change(Take(Limits(2.5, 10_000), NOW_MS, 900_000))
        assert item_bytes(dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "pace"}})["Item"]) < 1_024

    def test_a_pace_of_the_previous_version_is_continued(self, dynamodb: Any) -> None:
        """Its item has no changes. Its calls and its slot still count, before and after a fold."""
        dynamodb.put_item(TableName=TABLE, Item=stored_pace(5, NOW_MS + 700))
        pace = DynamoPace(dynamodb, TABLE)
        assert pace.load() == Pace(NOW_MS // DAY_MS, 5, NOW_MS + 700)
        assert self.take(pace, FOLD_EVERY)[0] == Pace(NOW_MS // DAY_MS, 5, NOW_MS + 700)
        pace.tidy()
        assert self.item(dynamodb).whole("used") == 5 + FOLD_EVERY


def test_a_failed_call_to_aws_is_an_error_of_ours(wire: ScriptedAws, clock: VirtualClock) -> None:
    """It names the code of AWS, and nothing that was sent."""
    for operation in (
        *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"),
        *("SendMessageBatch", "GetQueueAttributes"),
    ):
        wire.script(operation, error("AccessDeniedException"))
    contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
    limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, Limits(4, 9_000), clock)
    queue = SqsQueue(aws_client("sqs"), QUEUE_URL, sleep=clock.sleep)
    asked: list[Callable[[], object]] = [
        lambda: contacts.get("4711"),
        lambda: contacts.save(Contact("4711", NOW_MS, NOW_MS)),
        lambda: contacts.erase("4711", 1),
        lambda: claimed(contacts, most=1),
        lambda: list(contacts.outlines()),
        lambda: DynamoPauses(aws_client("dynamodb"), TABLE).get(),
        lambda: DynamoTally(aws_client("dynamodb"), TABLE).add(1, {"Email Opened": 1}),
        lambda: DynamoListings(aws_client("dynamodb"), TABLE).put(Listing()),
        lambda: limiter.acquire(deadline_ms=LATER_MS),
        lambda: queue.send([of_contact("4711", NOW_MS)]),
        queue.depth,
    ]
    for ask in asked:
        with pytest.raises(RetryError, match="AccessDeniedException") as raised:
            ask()
        assert "4711" not in str(raised.value)


def test_throttling_that_does_not_end_is_an_error_of_ours(wire: ScriptedAws) -> None:
    """After botocore has repeated the call."""
    wire.script("GetItem", error("ThrottlingException"))
    with pytest.raises(RetryError, match="ThrottlingException"):
        DynamoContacts(aws_client("dynamodb"), TABLE, threads=1).get("4711")
    assert len(wire.asked("GetItem")) > 1


# ------------------------------------------------------------------------------------- dead letters


def test_dead_letters_are_deleted_or_given_back_one_by_one(moto: Clients) -> None:
    """Only the letter that is named is deleted; one that is given back can be taken again at once."""
    url = moto.sqs.create_queue(QueueName="dead")["QueueUrl"]
    for number in range(3):
        moto.sqs.send_message(QueueUrl=url, MessageBody=item_to_body(of_contact(str(number), NOW_MS)))
    letters = SqsDeadLetters(moto.sqs, url)
    taken = {str(letter.item): letter for part in letters.take() for letter in part}
    assert sorted(taken) == ["contact 0", "contact 1", "contact 2"]
    assert letters.delete([taken["contact 1"], taken["contact 2"]]) == 2
    assert not list(letters.take())
    letters.give_back([taken["contact 0"]])
    assert [str(letter.item) for part in letters.take() for letter in part] == ["contact 0"]


def test_a_client_gives_up_before_a_function_does() -> None:
    """Seconds for a connection and an answer, and few tries: a stuck call must not cost an invocation."""
    config = aws_client("dynamodb").meta.config
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    assert config.retries["total_max_attempts"] == 1 + RETRIES
