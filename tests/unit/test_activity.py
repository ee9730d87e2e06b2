"""From a provider's row to the event that is published."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st

from contact_activity.constant_contact.fields import row_digest
from contact_activity.constant_contact.v2_rows import PROVIDER_TYPES, parse_campaign_row, parse_row
from contact_activity.domain.activity import (
    Activity,
    ActivityType,
    BounceCategory,
    Link,
    Unreadable,
    derive_id,
)
from contact_activity.domain.addresses import TEXT_LIMIT_BYTES
from contact_activity.domain.event import EmailAddresses, Event, to_event
from contact_activity.domain.times import iso, parse_time
from tests.support.rows import ANY_TEXT, JSON, NOON_MS, TIMES_MS, TYPES, activity, row, rows

IDS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1)
KEYS = st.tuples(st.text("abc-1", min_size=1), TYPES, IDS, st.text("0123456789", min_size=1), TIMES_MS, IDS)


def parsed(provided: object) -> Activity:
    result = parse_row(provided, "4711")
    assert isinstance(result, Activity)
    return result


def event_of(
    provided: Activity, addresses: EmailAddresses = EmailAddresses.PLAIN, *, backfill: bool = False
) -> Event:
    return to_event(
        provided, account="default", email_addresses=addresses, observed_ms=NOON_MS, backfill=backfill
    )


def data_of(provided: object, addresses: EmailAddresses = EmailAddresses.PLAIN) -> Any:
    return json.loads(event_of(parsed(provided), addresses).detail)["data"]


def of_key(key: tuple[str, ActivityType, str | None, str, int, str | None]) -> tuple[str, Activity]:
    account, type_, campaign_id, contact_id, at_ms, link_id = key
    link = Link(link_id, None) if link_id is not None else None
    return account, Activity(type_, contact_id, campaign_id, at_ms, "", PROVIDER_TYPES[type_], link=link)


# --- the derived id -------------------------------------------------------------------------------


def test_an_id_is_the_documented_digest() -> None:
    """The id is the first 32 hex digits of SHA-256 over the six parts of the key, a line each."""
    clicked = activity(NOON_MS, ActivityType.CLICKED, contact_id="4711", link_id="0")
    key = f"default\nEMAIL_CLICK\n7\n4711\n{NOON_MS}\n0"
    assert derive_id("default", clicked) == hashlib.sha256(key.encode()).hexdigest()[:32]


@given(KEYS, KEYS)
def test_ids_are_equal_exactly_when_the_keys_are(
    one: tuple[str, ActivityType, str | None, str, int, str | None],
    other: tuple[str, ActivityType, str | None, str, int, str | None],
) -> None:
    """Two activities share an id if and only if account, type, campaign, contact, time and link are equal."""
    assert (derive_id(*of_key(one)) == derive_id(*of_key(other))) == (one == other)


@given(KEYS, ANY_TEXT)
def test_an_id_does_not_depend_on_what_is_outside_its_key(
    key: tuple[str, ActivityType, str | None, str, int, str | None], text: str
) -> None:
    """The address and the wording of the time change no id."""
    account, of = of_key(key)
    assert derive_id(account, replace(of, email_address=text, provider_time=text)) == derive_id(account, of)


def test_a_number_and_its_digits_are_the_same_id() -> None:
    """A row whose ids come as numbers is the same activity as one whose ids come as strings."""
    numbers = row(ActivityType.CLICKED, campaign_id=51, link_id=9.0)
    strings = row(ActivityType.CLICKED, campaign_id="51", link_id="9")
    assert derive_id("a", parsed(numbers)) == derive_id("a", parsed(strings))


# --- rows -----------------------------------------------------------------------------------------


@given(rows())
@example(row(open_date="2024-06-12\ud80008:15:40Z"))
def test_any_json_is_parsed_into_a_publishable_event_or_a_digest(provided: object) -> None:
    """Whatever JSON a row is, it becomes a valid CloudEvent in UTF-8, or a digest without its content."""
    result = parse_row(provided, "4711")
    if isinstance(result, Unreadable):
        assert len(bytes.fromhex(result.digest)) == 8
        return
    cloud_event = JSONFormat().read(CloudEvent, event_of(result).detail.encode("utf-8"))
    assert cloud_event.get_id() == derive_id("default", result)


@given(JSON, JSON)
def test_texts_are_cut_to_whole_characters_within_the_limit(value: object, other: object) -> None:
    """No text of an event is longer than the limit, and none is broken inside a character."""
    for mode in EmailAddresses:
        bounce = data_of(row(ActivityType.BOUNCED, bounce_message=value, bounce_code=other), mode)["bounce"]
        for name in ("message", "code"):
            assert len(bounce.get(name, "").encode("utf-8")) <= TEXT_LIMIT_BYTES


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("x" * 4096, "x" * 4096),
        ("x" * 4097, "x" * 4096),
        ("x" * 4095 + "é", "x" * 4095),
        ("é" * 2049, "é" * 2048),
        ("x" * 4094 + "€", "x" * 4094),
        ("😀" * 1025, "😀" * 1024),
    ],
)
def test_a_long_text_is_cut_at_a_character_within_4_096_bytes(given_text: str, kept: str) -> None:
    """The cut never leaves a part of a character behind."""
    assert data_of(row(ActivityType.BOUNCED, bounce_message=given_text))["bounce"]["message"] == kept


def test_a_provider_time_is_bounded_too() -> None:
    """A stamp with endless digits does not make an event that no bus takes."""
    provided = row(open_date="2024-06-12T08:15:40." + "2" * 300_000 + "Z")
    result = parse_row(provided, "4711")
    assert isinstance(result, Unreadable) or len(event_of(result).detail) < 256_000


@pytest.mark.parametrize("type_", ActivityType)
def test_each_type_is_read_from_its_own_field(type_: ActivityType) -> None:
    """Each of the six types has its time in a field of its own and its own event type."""
    event = json.loads(event_of(parsed(row(type_))).detail)
    assert event["time"] == event["data"]["activity"]["occurred_at"] == "2024-06-12T08:15:40.207Z"
    assert event["type"] == f"contact-activity.email.{type_.past_tense}.v1"
    assert event["data"]["activity"]["provider_type"] == PROVIDER_TYPES[type_]


@pytest.mark.parametrize(
    ("provided", "reason"),
    [
        (["a row"], "not an object"),
        (None, "not an object"),
        ({}, "unknown activity type"),
        ({"activity_type": "EMAIL_REPLY"}, "unknown activity type"),
        ({"activity_type": ["EMAIL_OPEN"]}, "unknown activity type"),
        ({"activity_type": "EMAIL_OPEN"}, "no usable time"),
        (row(open_date=1_718_180_140_207), "no usable time"),
        (row(open_date=""), "no usable time"),
        (row(ActivityType.OPENED, activity_type="EMAIL_SEND"), "no usable time"),
    ],
)
def test_a_row_without_known_type_or_usable_time_is_unreadable(provided: object, reason: str) -> None:
    """Such a row is told by reason and digest only."""
    assert parse_row(provided, "1") == Unreadable(reason, row_digest(provided))


def test_a_digest_tells_rows_apart_but_not_the_order_of_their_keys() -> None:
    """The same row is the same digest, another row is another."""
    assert row_digest({"a": 1, "b": 2}) == row_digest({"b": 2, "a": 1}) != row_digest({"a": 1, "b": 3})


# --- rows of a campaign's report ------------------------------------------------------------------

CAMPAIGN = "1117643206590"


def reported(provided: object, type_: ActivityType = ActivityType.OPENED) -> Activity:
    result = parse_campaign_row(provided, CAMPAIGN, type_)
    assert isinstance(result, Activity)
    return result


@pytest.mark.parametrize("type_", ActivityType)
@pytest.mark.parametrize("contact_id", ["4711", 4711, 4711.0])
@pytest.mark.parametrize(
    "named", [{}, {"campaign_id": None}, {"campaign_id": ""}, {"campaign_id": int(CAMPAIGN)}]
)
def test_a_row_of_a_campaign_is_what_the_contact_shows(
    type_: ActivityType, contact_id: object, named: dict[str, object]
) -> None:
    """The ids are strings, and the campaign is the one that was asked for, whatever the row says of it."""
    provided = row(type_, contact_id=contact_id)
    del provided["campaign_id"]
    read = reported(provided | named, type_)
    assert read == parsed(row(type_, campaign_id=CAMPAIGN))
    assert (read.contact_id, read.campaign_id) == ("4711", CAMPAIGN)


@pytest.mark.parametrize("contact_id", [None, "", True, 0.5, [], {}, "a/../b", "4711?x=y", "é", "x" * 65])
def test_a_row_without_a_usable_contact_is_unreadable(contact_id: object) -> None:
    """An event needs its contact. Another reason is not looked for."""
    provided = row(contact_id=contact_id)
    assert parse_campaign_row(provided, CAMPAIGN, ActivityType.OPENED) == Unreadable(
        "no usable contact", row_digest(provided)
    )


def test_a_row_of_a_campaign_may_leave_out_its_contact() -> None:
    """Nothing else names it."""
    provided = row()
    del provided["contact_id"]
    assert parse_campaign_row(provided, CAMPAIGN, ActivityType.OPENED) == Unreadable(
        "no usable contact", row_digest(provided)
    )


@pytest.mark.parametrize("type_", ActivityType)
@pytest.mark.parametrize("of", ActivityType)
def test_a_report_has_rows_of_its_own_type(type_: ActivityType, of: ActivityType) -> None:
    """A row of another type is unreadable, since no mark of this report stands for it."""
    result = parse_campaign_row(row(of), CAMPAIGN, type_)
    assert isinstance(result, Activity) == (of is type_)
    if isinstance(result, Unreadable):
        assert result == Unreadable("not of the report's type", row_digest(row(of)))


@pytest.mark.parametrize(
    ("provided", "reason"),
    [
        (["a row"], "no usable contact"),
        (None, "no usable contact"),
        ({}, "no usable contact"),
        (row(activity_type="EMAIL_REPLY"), "unknown activity type"),
        (row(activity_type=None), "unknown activity type"),
        (row(open_date=None), "no usable time"),
        (row(open_date="yesterday"), "no usable time"),
        (row(open_date=1_718_180_140_207), "no usable time"),
    ],
)
def test_a_row_of_a_campaign_without_known_type_or_usable_time_is_unreadable(
    provided: object, reason: str
) -> None:
    """By the same reasons and digests as a row of a contact."""
    result = parse_campaign_row(provided, CAMPAIGN, ActivityType.OPENED)
    assert result == Unreadable(reason, row_digest(provided))


def test_a_click_of_a_campaign_has_a_link_without_url() -> None:
    """The campaign's own resource has it. A URL in the row is taken, if there is one."""
    clicked = row(ActivityType.CLICKED, link_id=9)
    assert reported(clicked, ActivityType.CLICKED).link == Link("9", None)
    clicked["link_uri"] = "https://example.org/a"
    assert reported(clicked, ActivityType.CLICKED).link == Link("9", "https://example.org/a")
    assert reported(row(ActivityType.CLICKED), ActivityType.CLICKED).link is None


@given(rows(), TYPES, st.sampled_from(["4711", 4711, "no id", None]))
def test_any_row_of_a_campaign_is_read_as_the_contact_has_it(
    provided: object, type_: ActivityType, contact_id: object
) -> None:
    """Apart from the campaign, which the report knows better, both sides read the same."""
    if isinstance(provided, dict):
        provided = {**provided, "contact_id": contact_id}
    result, of_contact = parse_campaign_row(provided, CAMPAIGN, type_), parse_row(provided, "4711")
    if isinstance(result, Activity):
        assert isinstance(of_contact, Activity)
        assert result == replace(of_contact, campaign_id=CAMPAIGN)
    elif isinstance(of_contact, Activity):
        assert of_contact.type is not type_ or contact_id in {"no id", None}


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2024-06-12T08:15:40.207Z", 1_718_180_140_207),
        ("2024-06-12T08:15:40Z", 1_718_180_140_000),
        ("2024-06-12T08:15:40.207999Z", 1_718_180_140_207),
        ("2024-06-12T10:15:40.207+02:00", 1_718_180_140_207),
        ("2024-06-12T03:15:40.207-0500", 1_718_180_140_207),
        ("2024-06-12T08:15:40.207", 1_718_180_140_207),
        ("2024-06-12", 1_718_150_400_000),
        ("1970-01-01T00:00:00.001Z", 1),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("1970-01-01T00:00:00.000Z", None),
        ("1969-12-31T19:00:00.000Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59.999-12:00", None),
        ("10000-01-01T00:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_stamp_is_read_as_utc_milliseconds_or_as_no_time(text: str, time_ms: int | None) -> None:
    """Zulu, offsets, no offset and dates are times; epoch 0, which means never, and garbage are none."""
    assert parse_time(text) == time_ms


@given(TIMES_MS)
def test_a_written_time_reads_back(time_ms: int) -> None:
    """What `iso` writes, `parse_time` reads, to the millisecond."""
    assert parse_time(iso(time_ms)) == time_ms


@given(ANY_TEXT)
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    """Any text is a time that can be written again, or none."""
    time_ms = parse_time(text)
    assert time_ms is None or iso(time_ms).endswith("Z")


# --- events ---------------------------------------------------------------------------------------


def test_fields_left_out_have_no_key_and_empty_ones_are_kept() -> None:
    """`null` and absent are the same: no key; an empty text stays an empty text."""
    bounced = row(ActivityType.BOUNCED, bounce_code="F", bounce_message="", bounce_description=None)
    assert data_of(bounced)["bounce"] == {"code": "F", "category": "soft", "message": ""}
    assert "campaign" not in data_of(row(campaign_id=None))
    assert data_of(row(email_address=""))["contact"] == {"id": "4711", "email_address": ""}
    assert data_of(row(ActivityType.UNSUBSCRIBED, unsubscribe_reason=""))["unsubscribe"] == {"reason": ""}
    assert "unsubscribe" not in data_of(row(ActivityType.UNSUBSCRIBED))
    assert "link" not in data_of(row(ActivityType.CLICKED))


@pytest.mark.parametrize(("link_id", "text"), [("0", "0"), (0, "0"), (1117643206611, "1117643206611")])
def test_link_id_0_is_a_link_and_numbers_become_strings(link_id: object, text: str) -> None:
    """Ids are strings in events, and `0` is one of them."""
    assert data_of(row(ActivityType.CLICKED, link_id=link_id))["link"] == {"id": text}


@pytest.mark.parametrize("value", [True, False, [], {}, None])
def test_what_is_neither_text_nor_number_is_no_id(value: object) -> None:
    """A field of another kind counts as left out."""
    assert "campaign" not in data_of(row(campaign_id=value))


def test_the_address_is_plain_hashed_or_omitted() -> None:
    """The three modes: the row's address, the digest of its trimmed lower-case form, or no key."""
    provided = row(email_address="  Ada@Example.ORG ")
    digest = hashlib.sha256(b"ada@example.org").hexdigest()
    assert data_of(provided)["contact"] == {"id": "4711", "email_address": "  Ada@Example.ORG "}
    hashed = data_of(provided, EmailAddresses.HASHED)["contact"]
    assert hashed == {"id": "4711", "email_address_sha256": digest}
    assert data_of(provided, EmailAddresses.OMITTED)["contact"] == {"id": "4711"}
    assert data_of(row(email_address=None), EmailAddresses.HASHED)["contact"] == {"id": "4711"}


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("B", BounceCategory.HARD),
        ("S", BounceCategory.HARD),
        ("D", BounceCategory.SOFT),
        ("F", BounceCategory.SOFT),
        ("Z", BounceCategory.BLOCKED),
        ("V", BounceCategory.AUTO_REPLY),
        ("X", BounceCategory.UNKNOWN),
        ("Q", BounceCategory.UNKNOWN),
        ("", BounceCategory.UNKNOWN),
        (None, BounceCategory.UNKNOWN),
    ],
)
def test_a_bounce_code_has_a_category(code: str | None, category: BounceCategory) -> None:
    """Each documented letter has its category; every other is unknown."""
    assert data_of(row(ActivityType.BOUNCED, bounce_code=code))["bounce"]["category"] == category.value


@given(rows(), TIMES_MS, TIMES_MS)
def test_only_the_context_differs_between_two_publications(provided: object, one: int, other: int) -> None:
    """Read again at another time, an activity has the same id and the same data."""
    first, second = parse_row(provided, "1"), parse_row(provided, "1")
    if isinstance(first, Unreadable) or isinstance(second, Unreadable):
        assert first == second
        return
    details = [
        json.loads(
            to_event(
                of,
                account="a",
                email_addresses=EmailAddresses.PLAIN,
                observed_ms=observed_ms,
                backfill=observed_ms == one,
            ).detail
        )
        for of, observed_ms in ((first, one), (second, other))
    ]
    for detail in details:
        del detail["observedtime"], detail["backfill"]
    assert details[0] == details[1]


@pytest.mark.parametrize("text", [f"2024-06-12T08:15:40.{'1' * 60}Z", "2024-06-12T08:15:4٠Z"])
def test_a_stamp_too_long_or_in_other_digits_is_not_usable(text: str) -> None:
    """Python reads some of them: what a stamp may look like is not left to it."""
    assert parse_time(text) is None
