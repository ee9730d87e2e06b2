"""The AWS adapters where the local AWS is blind: partial failures on the wire, limits, what AWS refuses."""

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
from contact_activity.aws.bus import BATCH_BYTES, BATCH_ENTRIES, EventBridgeBus, batches, entry_bytes
from contact_activity.aws.clients import aws_client
from contact_activity.aws.contacts import DynamoContacts, due_shard
from contact_activity.aws.dead_letters import SqsDeadLetters
from contact_activity.aws.pace import CHANGEOVER_MS, FOLD_AT_LATEST, FOLD_EVERY, DynamoPace, dynamo_limiter
from contact_activity.aws.queue import SqsQueue
from contact_activity.aws.secret import secret_credentials
from contact_activity.aws.store import DynamoListings, DynamoPauses, DynamoTally
from contact_activity.aws.table import PAGE_ROWS, Item
from contact_activity.constant_contact.v2_rows import PROVIDER_TYPES
from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import EVENT_SOURCE, EmailAddresses, Event, to_event
from contact_activity.domain.listing import Listing
from contact_activity.domain.memory import REMEMBERED_MAX, UNREADABLE_MAX
from contact_activity.domain.pace import Limits, Pace, Take, take_slot
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.watermark import Progress, Watermark
from contact_activity.domain.work import DeadLetter, WorkItem
from contact_activity.errors import FatalError, PartlyAcceptedError, RetryError, WaitError
from contact_activity.settings import Credentials, SettingsError
from contact_activity.state.codec import item_from_body, item_to_body, pace_change_to_json
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
    """AWS by a script, found by `AWS_ENDPOINT_URL` alone."""
    with scripted_aws() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
        yield aws


@pytest.fixture
def moto() -> Iterator[Clients]:
    """AWS in this process, which checks what it is given more strictly than the local AWS."""
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
    def test_every_batch_is_one_that_aws_takes(self, events: list[Event]) -> None:
        """Batches hold all events in order, none is empty, each within 10 entries and 256,000 bytes."""
        parted = batches(events)
        assert [event for batch in parted for event in batch] == events
        for batch in parted:
            assert 1 <= len(batch) <= 10
            entries = [f"{EVENT_SOURCE}{event.detail_type}{event.detail}" for event in batch]
            assert sum(len(entry.encode("utf-8")) for entry in entries) <= 256_000

    @REPEATABLE
    @given(events=events)
    def test_no_batch_is_cut_short(self, events: list[Event]) -> None:
        """The first event of a batch would not have fitted into the one before."""
        parted = batches(events)
        for batch, following in pairwise(parted):
            is_full = len(batch) == BATCH_ENTRIES
            assert is_full or sum(map(entry_bytes, [*batch, following[0]])) > BATCH_BYTES

    def test_bytes_are_counted_in_utf_8(self) -> None:
        """A character counts with all its bytes: two events that fit by characters may not fit by bytes."""
        umlauts = Event("id", "Email Bounced", "ä" * 65_000)
        assert entry_bytes(umlauts) == len("contact-activity") + len("Email Bounced") + 130_000
        assert batches([umlauts, umlauts]) == [[umlauts], [umlauts]]

    def test_an_event_at_the_limit_is_taken(self) -> None:
        """256,000 bytes go out, alone."""
        largest = event_of_bytes(256_000)
        assert batches([event("a"), largest, event("b")]) == [[event("a")], [largest], [event("b")]]

    def test_an_event_over_the_limit_is_fatal_before_anything_is_sent(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """One byte more can never be published: the contact fails, without a call and without its content."""
        bus = EventBridgeBus(aws_client("events"), "bus", clock)
        with pytest.raises(FatalError, match="256001 bytes") as raised:
            bus.publish([event("a"), event_of_bytes(256_001)], deadline_ms=LATER_MS)
        assert "xxx" not in str(raised.value)
        assert wire.requests == []


def put_events(*failing: str, code: str = "ThrottlingException") -> Answer:
    """Accept all entries but those whose detail has one of these ids."""

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

    def test_an_entry_is_what_the_contract_says(self, wire: ScriptedAws, bus: EventBridgeBus) -> None:
        """An entry has bus, source, detail type and detail; no time, so that the publish time holds."""
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

    def test_only_failed_entries_go_out_again(
        self, wire: ScriptedAws, bus: EventBridgeBus, clock: VirtualClock
    ) -> None:
        """Of a batch that was accepted in part just the rest is repeated, in order, after a growing wait."""
        wire.script(
            "PutEvents", put_events("b", "d", "e"), put_events("d", code="InternalFailure"), put_events()
        )
        bus.publish([event(name) for name in "abcdef"], deadline_ms=LATER_MS)
        assert put_ids(wire) == [list("abcdef"), list("bde"), ["d"]]
        assert clock.slept_s == [0.1, 0.2]

    def test_a_batch_is_accepted_before_the_next_goes_out(
        self, wire: ScriptedAws, bus: EventBridgeBus
    ) -> None:
        """Events are published in order: a failed entry is not overtaken by the batches behind it."""
        wire.script("PutEvents", put_events("c"), put_events())
        bus.publish([event(name) for name in "abcdefghijkl"], deadline_ms=LATER_MS)
        assert put_ids(wire) == [list("abcdefghij"), ["c"], ["k", "l"]]

    def test_it_gives_up_before_it_would_sleep_past_the_deadline(
        self, wire: ScriptedAws, bus: EventBridgeBus, clock: VirtualClock
    ) -> None:
        """An entry that is never accepted ends in an error that can be retried, in time, without content."""
        wire.script("PutEvents", put_events("b"))
        deadline_ms = NOW_MS + 10_000
        with pytest.raises(PartlyAcceptedError) as raised:
            bus.publish([event("a"), event("b")], deadline_ms=deadline_ms)
        assert raised.value.accepted == {"a"}
        assert str(raised.value) == "the bus did not accept 1 events in 7 tries"
        assert clock.slept_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
        assert clock.now_ms() < deadline_ms

    def test_what_is_left_is_tried_once_behind_the_deadline(
        self, wire: ScriptedAws, bus: EventBridgeBus, clock: VirtualClock
    ) -> None:
        """A page that was read at the last moment is still published, but never waited for."""
        bus.publish([event("a")], deadline_ms=NOW_MS - 1)
        wire.script("PutEvents", put_events("b"))
        with pytest.raises(RetryError):
            bus.publish([event("b")], deadline_ms=NOW_MS - 1)
        assert put_ids(wire) == [["a"], ["b"]]
        assert clock.slept_s == []

    def test_waits_are_jittered(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """Workers that failed together come back spread over half the wait."""
        wire.script("PutEvents", put_events("a"), put_events("a"), put_events())
        jitter = iter([0.0, 0.5])
        bus = EventBridgeBus(aws_client("events"), "bus", clock, jitter=lambda: next(jitter))
        bus.publish([event("a")], deadline_ms=LATER_MS)
        assert clock.slept_s == pytest.approx([0.05, 0.15])

    @pytest.mark.parametrize("code", sorted(aws_bus._REFUSALS))
    def test_an_entry_that_no_try_can_mend_is_told_at_once(
        self, wire: ScriptedAws, bus: EventBridgeBus, code: str
    ) -> None:
        """The error codes that are documented as final are not tried again; what was taken is told."""
        wire.script("PutEvents", put_events("b", code=code))
        with pytest.raises(PartlyAcceptedError, match=code) as raised:
            bus.publish([event("a"), event("b")], deadline_ms=LATER_MS)
        assert raised.value.accepted == {"a"}
        assert len(put_ids(wire)) == 1

    @pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalFailure", 500)])
    def test_a_call_that_is_throttled_or_fails_is_repeated_whole(
        self, wire: ScriptedAws, bus: EventBridgeBus, code: str, status: int
    ) -> None:
        """When not the entries but the call failed, all of it goes out again."""
        wire.script("PutEvents", error(code, status), put_events())
        bus.publish([event("a"), event("b")], deadline_ms=LATER_MS)
        assert put_ids(wire) == [["a", "b"], ["a", "b"]]

    def test_a_bus_that_stays_away_is_told(self, wire: ScriptedAws, bus: EventBridgeBus) -> None:
        """A refusal of the whole call ends in an error that names AWS's code and what was taken before."""
        wire.script("PutEvents", put_events(), error("AccessDeniedException"))
        with pytest.raises(PartlyAcceptedError, match="AccessDeniedException") as raised:
            bus.publish([event(name) for name in "abcdefghijkl"], deadline_ms=LATER_MS)
        assert raised.value.accepted == set("abcdefghij")
        assert len(put_ids(wire)) == 2

    def test_real_events_are_what_aws_accepts(self, moto: Clients, clock: VirtualClock) -> None:
        """Every type of event passes AWS's own checks of an entry, and arrives."""
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

    def test_a_detail_that_is_no_json_is_told_at_once(self, moto: Clients, clock: VirtualClock) -> None:
        """AWS refuses a malformed detail; nobody tries it again, nobody repeats it."""
        create_bus(moto, "bus")
        bus = EventBridgeBus(moto.events, "bus", clock)
        with pytest.raises(PartlyAcceptedError, match="MalformedDetail") as raised:
            bus.publish([Event("a", "Email Opened", '{"ada@example.org')], deadline_ms=LATER_MS)
        assert "ada" not in str(raised.value)
        assert clock.slept_s == []


def received(*ids: str) -> Answer:
    """A receive that gives these dead letters."""
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

    def test_one_that_is_seen_again_does_not_end_the_look(
        self, wire: ScriptedAws, letters: SqsDeadLetters
    ) -> None:
        """In a long queue the first ones are visible again before the last one is seen."""
        wire.script("ReceiveMessage", received("a", "b"), received("a"), received("b", "c"), received())
        assert [letter.id for batch in letters.take() for letter in batch] == ["a", "b", "c"]

    def test_a_queue_that_never_ends_is_left(self, wire: ScriptedAws, letters: SqsDeadLetters) -> None:
        """When for a long time nothing new was seen."""
        wire.script("ReceiveMessage", received("a"))
        assert [letter.id for batch in letters.take() for letter in batch] == ["a"]

    def test_what_is_in_other_hands_by_now_cannot_be_given_back(
        self, wire: ScriptedAws, letters: SqsDeadLetters
    ) -> None:
        """AWS says so for each of a batch, which is no failure of the look."""
        failed = [{"Id": "0", "Code": "InvalidParameterValue", "SenderFault": True}]
        wire.script("ChangeMessageVisibilityBatch", answered({"Failed": failed, "Successful": []}))
        letters.give_back([DeadLetter(None, str(n), NOW_MS, f"handle-{n}") for n in range(11)])
        handles = [len(call["Entries"]) for call in wire.asked("ChangeMessageVisibilityBatch")]
        assert handles == [10, 1]


# ---------------------------------------------------------------------------------------------- queue


def send_batch(*failing: str, is_our_fault: bool = False) -> Answer:
    """Accept all messages but those of these contacts."""

    def answer(parameters: Json) -> tuple[int, Json]:
        successful, failed = [], []
        for entry in parameters["Entries"]:
            if json.loads(entry["MessageBody"])["contact_id"] in failing:
                failed.append({"Id": entry["Id"], "Code": "Scripted", "SenderFault": is_our_fault})
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

    def test_messages_go_out_ten_at_a_time(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """A call holds ten messages at most, each with an id of its own; the body is the contract's."""
        assert queue.send(messages("abcdefghijklmnopqrstuvw")) == []
        assert sent_ids(wire) == [list("abcdefghij"), list("klmnopqrst"), list("uvw")]
        entries = wire.asked("SendMessageBatch")[0]["Entries"]
        assert len({entry["Id"] for entry in entries}) == 10
        assert entries[0]["MessageBody"] == '{"contact_id": "a", "planned_at": "2026-11-23T12:00:00.000Z"}'

    def test_only_failed_messages_go_out_again(
        self, wire: ScriptedAws, queue: SqsQueue, clock: VirtualClock
    ) -> None:
        """What failed in several batches is sent together again, after a growing wait."""
        wire.script("SendMessageBatch", send_batch("b", "d"), send_batch("k"), send_batch("d"), send_batch())
        assert queue.send(messages("abcdefghijkl")) == []
        assert sent_ids(wire) == [list("abcdefghij"), ["k", "l"], ["b", "d", "k"], ["d"]]
        assert clock.slept_s == [0.2, 0.4]

    def test_what_is_never_accepted_comes_back(
        self, wire: ScriptedAws, queue: SqsQueue, clock: VirtualClock
    ) -> None:
        """After a few tries the messages that were not accepted are returned, and only those."""
        wire.script("SendMessageBatch", send_batch("b", "c"))
        assert queue.send(messages("abcd")) == messages("bc")
        assert sent_ids(wire) == [list("abcd")] + [["b", "c"]] * (aws_queue.SEND_TRIES - 1)
        assert len(clock.slept_s) == aws_queue.SEND_TRIES - 1

    def test_a_message_that_is_our_fault_is_not_tried_again(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """A message that AWS says it will never accept is returned at once."""
        wire.script("SendMessageBatch", send_batch("a", is_our_fault=True))
        assert queue.send(messages("ab")) == messages("a")
        assert sent_ids(wire) == [["a", "b"]]

    def test_a_throttled_call_is_repeated(self, wire: ScriptedAws, queue: SqsQueue) -> None:
        """When the call itself was throttled, all of it goes out again."""
        wire.script("SendMessageBatch", error("ThrottlingException"), send_batch())
        assert queue.send(messages("ab")) == []
        assert sent_ids(wire) == [["a", "b"], ["a", "b"]]

    def test_the_depth_is_what_waits_is_in_flight_or_delayed(
        self, wire: ScriptedAws, queue: SqsQueue
    ) -> None:
        """All three counts of the queue are asked for, and added."""
        counts = {
            "ApproximateNumberOfMessages": "4",
            "ApproximateNumberOfMessagesNotVisible": "20",
            "ApproximateNumberOfMessagesDelayed": "100",
        }
        wire.script("GetQueueAttributes", answered({"Attributes": counts}))
        assert queue.depth() == 124
        assert set(wire.asked("GetQueueAttributes")[0]["AttributeNames"]) == set(counts)

    def test_a_message_can_come_back_sooner(self, moto: Clients) -> None:
        """A message in flight is delivered again after the wait that was asked for."""
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
    def test_a_message_comes_back(self, contact_id: str, planned_ms: int, correlation_id: str | None) -> None:
        """A body is read as the message that it was written from, to the millisecond."""
        message = of_contact(contact_id, planned_ms, correlation_id)
        assert item_from_body(item_to_body(message)) == message

    def test_what_a_later_release_adds_is_let_be(self) -> None:
        """A body with more keys is still a message, so that functions can be deployed one by one."""
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
    def test_anything_else_is_refused_without_repeating_it(self, body: str) -> None:
        """A body that is no message is an error that shows nothing of it, also not by its cause."""
        with pytest.raises(ValueError, match="a message body") as raised:
            item_from_body(body)
        assert "ada" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None

    @REPEATABLE
    @given(body=st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
    def test_any_text_is_a_message_or_refused(self, body: str) -> None:
        """No body whatever makes another error than the one that its reader waits for."""
        with pytest.raises(ValueError, match="a message body"):
            item_from_body(body)


# --------------------------------------------------------------------------------------------- secret


class TestSecret:
    GOOD = json.dumps({"api_key": "the-key", "access_token": "the-token"})

    def test_both_credentials_are_read_by_name(self, moto: Clients, clock: VirtualClock) -> None:
        """The secret holds a JSON object with both; white space around a copied value does not matter."""
        moto.secrets.create_secret(
            Name=SECRET, SecretString='{"api_key": " the-key", "access_token": "the-token\\n"}'
        )
        assert secret_credentials(moto.secrets, SECRET, clock)() == Credentials("the-key", "the-token")

    def test_a_new_value_takes_effect_soon(self, moto: Clients, clock: VirtualClock) -> None:
        """The value is kept for the given age, and read again after it."""
        moto.secrets.create_secret(Name=SECRET, SecretString=self.GOOD)
        read = secret_credentials(moto.secrets, SECRET, clock, max_age_s=300)
        before = read()
        moto.secrets.put_secret_value(SecretId=SECRET, SecretString=self.GOOD.replace("the-", "new-"))
        clock.sleep(299.999)
        assert read() == before
        clock.sleep(0.001)
        assert read() == Credentials("new-key", "new-token")

    def test_a_moments_trouble_of_aws_stops_nothing(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """The last value serves for an hour, and is asked for again soon; a bad new one never waits."""
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
        """However many threads ask at once, Secrets Manager is asked one time."""
        wire.script("GetSecretValue", answered({"SecretString": self.GOOD}))
        read = secret_credentials(aws_client("secretsmanager"), SECRET, clock)
        with ThreadPoolExecutor(16) as pool:
            found = set(pool.map(lambda _: read(), range(64)))
        assert found == {Credentials("the-key", "the-token")}
        assert wire.asked("GetSecretValue") == [{"SecretId": SECRET}]

    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            ("", "is no JSON"),
            ("hunter2", "is no JSON"),
            ('["hunter2"]', "is no JSON object"),
            ('{"api_key": "hunter2"}', "has no access_token"),
            ('{"api_key": "", "access_token": "hunter2"}', "has no api_key"),
            ('{"api_key": 7, "access_token": "hunter2"}', "has no api_key"),
            ('{"api_key": "x", "access_token": "hunter2 hunter2"}', "character that no credential has"),
        ],
    )
    def test_an_unusable_value_is_told_without_showing_it(
        self, wire: ScriptedAws, clock: VirtualClock, value: str, fault: str
    ) -> None:
        """One line names the secret and says what is wrong with it, and shows nothing of the value."""
        wire.script("GetSecretValue", answered({"SecretString": value}))
        with pytest.raises(SettingsError, match=fault) as raised:
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()
        assert SECRET in str(raised.value)
        assert "\n" not in str(raised.value)
        assert "hunter2" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None

    def test_a_secret_without_a_value_says_how_to_store_one(self, moto: Clients, clock: VirtualClock) -> None:
        """After a first deployment the secret is there without a value: the error says what to store."""
        moto.secrets.create_secret(Name=SECRET)
        with pytest.raises(SettingsError, match=r'has no value: store \{"api_key"'):
            secret_credentials(moto.secrets, SECRET, clock)()

    def test_a_binary_secret_is_told(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """A secret that was stored as bytes is no JSON text."""
        wire.script("GetSecretValue", answered({"SecretBinary": "aHVudGVyMg=="}))
        with pytest.raises(SettingsError, match="is no JSON"):
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()

    def test_a_secret_that_aws_does_not_give_is_told_by_its_code(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """A missing permission, a disabled key or an outage may end by itself, and is told in a word."""
        wire.script("GetSecretValue", error("AccessDeniedException"))
        with pytest.raises(RetryError, match="the secret did not answer as it should: AccessDeniedException"):
            secret_credentials(aws_client("secretsmanager"), SECRET, clock)()

    def test_a_mended_value_is_read_at_once(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """An unusable value is never kept."""
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
    """In one thread, since moto loses updates in several."""

    @pytest.fixture
    def dynamodb(self, moto: Clients) -> Any:
        create_table(moto.dynamodb, TABLE)
        return moto.dynamodb

    @pytest.fixture
    def contacts(self, dynamodb: Any) -> DynamoContacts:
        return DynamoContacts(dynamodb, TABLE, threads=1)

    def test_claims_page_on_past_a_crowd_in_messages(self, contacts: DynamoContacts) -> None:
        """Due contacts are found behind more queued ones than a page of the index holds."""
        crowd = [id_ for id_ in map(str, range(5_000)) if due_shard(id_) == 3][: PAGE_ROWS + 20]
        contacts.register([ListedContact(id_, "") for id_ in crowd[:-3]], NOW_MS)
        contacts.register([ListedContact(id_, "") for id_ in crowd[-3:]], NOW_MS + 1)
        assert len(claimed(contacts, NOW_MS + 1, most=PAGE_ROWS + 17)) == PAGE_ROWS + 17
        assert sorted(claimed(contacts, NOW_MS + 1, most=10)) == sorted(crowd[-3:])

    def test_contacts_are_spread_over_all_shards(self) -> None:
        """No partition of the index gets more than its share, and a contact always has the same."""
        counts = [0] * 8
        for number in range(8_000):
            counts[due_shard(str(1_000_000 + number))] += 1
        assert min(counts) > 800
        assert due_shard("4711") == 7

    def test_a_contact_has_no_attribute_but_these(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """What an operator finds in a contact's item; no address is among it."""
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
        """Memory and progress at their bounds stay well under DynamoDB's 400 KB an item."""
        contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS)
        read = contacts.get("4711")
        assert read is not None
        memory = Watermark((), bytes(14) * REMEMBERED_MAX, bytes(8) * UNREADABLE_MAX)
        progress = Progress(
            NOW_MS, "f" * 100, "all", "n" * 2_000, memory.remembered * 2, memory.unreadable, (), NOW_MS, 9
        )
        assert contacts.save(replace(read, watermark=memory, progress=progress))
        item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "contact#4711"}})["Item"]
        size_bytes = sum(len(name) + len(value) for name, typed in item.items() for value in typed.values())
        assert 250_000 < size_bytes < 300_000

    def test_nobody_unknown_leaves_an_item(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """Releasing or saving a contact that is not there writes nothing at all."""
        contacts.release(["4711"])
        contacts.save(Contact("4711", registered_ms=NOW_MS, due_ms=NOW_MS))
        assert dynamodb.scan(TableName=TABLE)["Count"] == 0

    def test_only_contacts_are_in_the_index(self, contacts: DynamoContacts, dynamodb: Any) -> None:
        """The items that all share are no contacts: nobody claims them."""
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
        """The stored pace is read once; from then on each slot is one write that nothing can refuse."""
        wire.script("GetItem", answered({"Item": stored_pace(5, NOW_MS)}))
        wire.script("UpdateItem", answered({}))
        limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock)
        for _ in range(3):
            limiter.acquire(deadline_ms=LATER_MS)
        assert [operation for operation, _ in wire.requests] == ["GetItem"] + ["UpdateItem"] * 3
        assert wire.asked("GetItem")[0]["ConsistentRead"] is True
        assert not any("ConditionExpression" in asked for asked in wire.asked("UpdateItem"))

    def test_a_slot_lies_behind_those_of_the_changes_before(
        self, wire: ScriptedAws, clock: VirtualClock
    ) -> None:
        """The answer shows what others took since the worker looked last, so that no read is needed."""
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
        """Without a call left the refusal costs no write."""
        wire.script("GetItem", answered({"Item": stored_pace(9_000, NOW_MS)}))
        limiter = dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock)
        with pytest.raises(WaitError):
            limiter.acquire(deadline_ms=LATER_MS)
        assert wire.asked("UpdateItem") == []

    def test_a_throttled_write_is_repeated(self, wire: ScriptedAws, clock: VirtualClock) -> None:
        """DynamoDB's throttling is waited out."""
        wire.script("GetItem", answered({}))
        wire.script("UpdateItem", error("ProvisionedThroughputExceededException"), answered({}))
        dynamo_limiter(aws_client("dynamodb"), TABLE, self.LIMITS, clock).acquire(deadline_ms=LATER_MS)
        assert len(wire.asked("UpdateItem")) == 2


def as_listed(contact_id: str, modified: str = "2026-11-01", times_gone: int = 0) -> dict[str, object]:
    """What a listing reads of a stored contact."""
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
    def test_a_page_as_known_costs_five_reads_and_no_write(self, wire: ScriptedAws) -> None:
        """500 contacts, of which each is read in a batch of a hundred, at half the price."""
        ids = [str(number) for number in range(500)]
        wire.script("BatchGetItem", batch(*map(as_listed, ids)))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact(id_, "2026-11-01") for id_ in ids], NOW_MS) == 0
        asked = [request["RequestItems"][TABLE] for request in wire.asked("BatchGetItem")]
        assert [len(batch["Keys"]) for batch in asked] == [100] * 5
        assert not any(batch.get("ConsistentRead") for batch in asked)
        assert {operation for operation, _ in wire.requests} == {"BatchGetItem"}

    def test_only_what_differs_is_written(self, wire: ScriptedAws) -> None:
        """One that is new, one that changed; the third is as it was."""
        wire.script("BatchGetItem", batch(as_listed("changed", "2026-10-31"), as_listed("same")))
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        listed = [ListedContact(id_, "2026-11-01") for id_ in ("new", "changed", "same")]
        assert contacts.register(listed, NOW_MS) == 1
        written = [request["Key"]["pk"]["S"] for request in wire.asked("UpdateItem")]
        assert written == ["contact#new", "contact#changed"]

    def test_what_a_batch_left_out_is_read_alone(self, wire: ScriptedAws) -> None:
        """DynamoDB may answer for a part of a batch only."""
        wire.script("BatchGetItem", batch(as_listed("1"), left=["2", "3"]))
        wire.script("GetItem", answered({"Item": as_listed("2")}), answered({}))
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact(id_, "2026-11-01") for id_ in "123"], NOW_MS) == 1
        assert [request["Key"]["pk"]["S"] for request in wire.asked("UpdateItem")] == ["contact#3"]

    def test_a_contact_that_another_dispatcher_registered_is_not_new(self, wire: ScriptedAws) -> None:
        """What was read is a moment old; the write has the last word, whatever it returns."""
        wire.script("BatchGetItem", batch())
        wire.script("UpdateItem", error(TestLimiterOnTheWire.LOST))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-01")], NOW_MS) == 0

    def test_a_gone_contact_that_changed_is_stored_in_one_write(self, wire: ScriptedAws) -> None:
        """The change and the new due time are stored together: a crash between loses neither."""
        wire.script("BatchGetItem", batch(as_listed("4711", times_gone=2)))
        wire.script("UpdateItem", answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-22")], NOW_MS) == 0
        (stored,) = wire.asked("UpdateItem")
        assert "modified_date = :modified, due_at = :now" in stored["UpdateExpression"]
        assert stored["ExpressionAttributeValues"][":now"] == {"N": str(NOW_MS)}

    def test_one_that_is_gone_since_it_was_read_is_due_too(self, wire: ScriptedAws) -> None:
        """A worker may find it gone between the read and the write."""
        wire.script("BatchGetItem", batch(as_listed("4711")))
        wire.script("UpdateItem", error(TestLimiterOnTheWire.LOST), answered({}))
        contacts = DynamoContacts(aws_client("dynamodb"), TABLE, threads=1)
        assert contacts.register([ListedContact("4711", "2026-11-22")], NOW_MS) == 0
        refused, stored = wire.asked("UpdateItem")
        assert "times_gone = :zero" in refused["ConditionExpression"]
        assert "due_at = :now" in stored["UpdateExpression"]
        assert stored["ConditionExpression"] == "attribute_exists(registered_at)"


class TestPaceInDynamo:
    """The changes behind the pace are folded into it now and then."""

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

    def test_functions_of_the_version_before_take_other_slots(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """While both run after an update, each sees what the other took; later a fold is rare again."""
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

    def test_what_is_appended_meanwhile_outlives_a_fold(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """Whoever folds has not seen the changes behind those it folds; they stay, in their order."""
        ours, theirs = paces
        seen = [*self.take(ours, FOLD_EVERY), *self.take(theirs, 3)]
        ours.tidy()
        assert self.item(dynamodb).whole("used") == FOLD_EVERY
        assert len(self.item(dynamodb).texts("changes")) == 3
        seen += self.take(theirs, 1)
        assert [pace.used for pace in seen] == list(range(FOLD_EVERY + 4))
        assert theirs.load().used == FOLD_EVERY + 4

    def test_a_fold_that_comes_second_changes_nothing(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """Also where the changes that both saw left the pace as it was."""
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

    def test_what_one_leaves_unfolded_another_folds(
        self, dynamodb: Any, paces: tuple[DynamoPace, DynamoPace]
    ) -> None:
        """A worker that never comes back has the item grow to three times its length, and no more."""
        gone, here = paces
        self.take(gone, FOLD_AT_LATEST + 5)
        for _ in range(FOLD_AT_LATEST):
            here.load()
            here.tidy()
            self.take(here, 1)
            assert len(self.item(dynamodb).texts("changes")) <= FOLD_AT_LATEST + 5
        assert here.load().used == 2 * FOLD_AT_LATEST + 5

    def test_the_item_stays_within_a_write_unit(self, dynamodb: Any) -> None:
        """Also while four workers append before a fold arrives."""
        pace = DynamoPace(dynamodb, TABLE)
        for _ in range(FOLD_EVERY + 4):
            pace.change(Take(Limits(2.5, 10_000), NOW_MS, 900_000))
        assert item_bytes(dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "pace"}})["Item"]) < 1_024

    def test_a_pace_of_the_version_before_goes_on(self, dynamodb: Any) -> None:
        """Its item has no changes; its calls and its slot count as before, also when they are folded."""
        dynamodb.put_item(TableName=TABLE, Item=stored_pace(5, NOW_MS + 700))
        pace = DynamoPace(dynamodb, TABLE)
        assert pace.load() == Pace(NOW_MS // DAY_MS, 5, NOW_MS + 700)
        assert self.take(pace, FOLD_EVERY)[0] == Pace(NOW_MS // DAY_MS, 5, NOW_MS + 700)
        pace.tidy()
        assert self.item(dynamodb).whole("used") == 5 + FOLD_EVERY


def test_what_aws_does_not_do_is_an_error_of_ours(wire: ScriptedAws, clock: VirtualClock) -> None:
    """A use case counts it as a failure and backs off; it names AWS's code, and nothing that was sent."""
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
        lambda: contacts.erase("4711"),
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
    """When botocore has repeated the call in vain."""
    wire.script("GetItem", error("ThrottlingException"))
    with pytest.raises(RetryError, match="ThrottlingException"):
        DynamoContacts(aws_client("dynamodb"), TABLE, threads=1).get("4711")
    assert len(wire.asked("GetItem")) > 1
