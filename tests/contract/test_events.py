"""The published contract of the events: schemas against samples against code against the README."""

import copy
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent, SQSEvent
from cloudevents.core.formats.json import JSONFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from moto import mock_aws

from contact_activity.constant_contact.v2_rows import PROVIDER_TYPES, TIME_FIELDS, parse_row
from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.addresses import TEXT_LIMIT_BYTES
from contact_activity.domain.event import EVENT_SOURCE, EmailAddresses, to_event
from contact_activity.domain.summary import (
    COUNT_NAMES,
    Change,
    Published,
    Snapshot,
    Summarized,
    SummaryCounts,
    SummaryKind,
    compare,
    summary_event,
)
from contact_activity.domain.times import parse_time
from contact_activity.domain.work import WorkItem
from contact_activity.example_subscriber.timeline import UnusableEventError, entry_of
from contact_activity.state.codec import item_from_body, item_to_body

EVENTS = Path(__file__).parents[2] / "events"
README = (EVENTS / "README.md").read_text(encoding="utf-8")
REGION = "eu-west-1"
EXTRAS = {
    "link_id": "id",
    "link_uri": "url",
    "bounce_code": "code",
    "bounce_description": "description",
    "bounce_message": "message",
    "unsubscribe_source": "source",
    "unsubscribe_reason": "reason",
}
# JSON can carry it as an escape; UTF-8 cannot.
LONE_SURROGATE = "\ud800"
Json = dict[str, Any]


def read(folder: str, type_: ActivityType | SummaryKind) -> Json:
    name = type_.event_type.removeprefix("contact-activity.")
    document: Json = json.loads((EVENTS / folder / f"{name}.json").read_text())
    return document


def closed(schema: Any) -> Any:
    """The same schema, refusing any key that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    return parts | {"additionalProperties": False} if parts.get("type") == "object" else parts


def validator(schema: Json) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


SCHEMAS = {type_: read("schemas", type_) for type_ in ActivityType}
SAMPLES = {type_: read("samples", type_) for type_ in ActivityType}
OPEN = {type_: validator(schema) for type_, schema in SCHEMAS.items()}
STRICT = {type_: validator(closed(schema)) for type_, schema in SCHEMAS.items()}
SUMMARY_SCHEMAS = {kind: read("schemas", kind) for kind in SummaryKind}
SUMMARY_SAMPLES = {kind: read("samples", kind) for kind in SummaryKind}
SUMMARIES = {kind: sample["detail"] for kind, sample in SUMMARY_SAMPLES.items()}
SUMMARY_OPEN = {kind: validator(schema) for kind, schema in SUMMARY_SCHEMAS.items()}
SUMMARY_STRICT = {kind: validator(closed(schema)) for kind, schema in SUMMARY_SCHEMAS.items()}
each_kind = pytest.mark.parametrize("kind", SummaryKind, ids=lambda kind: kind.subject)
each_type = pytest.mark.parametrize("type_", ActivityType, ids=lambda type_: type_.past_tense)


def objects(value: Any) -> Iterator[Json]:
    """Every object inside a JSON value, itself first."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from objects(part)


def paths(schema: Json, prefix: str = "") -> Iterator[str]:
    """The dotted path of every field of a schema that is no object itself."""
    for name, part in schema["properties"].items():
        if "properties" in part:
            yield from paths(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def row_of(detail: Json) -> Json:
    """The provider's row that gives this event."""
    data, activity = detail["data"], detail["data"]["activity"]
    type_ = ActivityType[activity["type"].upper()]
    extra = data.get("link") or data.get("bounce") or data.get("unsubscribe") or {}
    return {
        "activity_type": activity["provider_type"],
        "campaign_id": data["campaign"]["id"],
        "contact_id": data["contact"]["id"],
        "email_address": data["contact"]["email_address"],
        TIME_FIELDS[type_]: activity["provider_time"],
    } | {field: extra[name] for field, name in EXTRAS.items() if name in extra}


def published(
    activity: Activity,
    mode: EmailAddresses,
    observed_ms: int = 1,
    *,
    backfill: bool,
    correlation_id: str | None = None,
    parent_id: str | None = None,
) -> Json:
    event = to_event(
        activity,
        account="default",
        email_addresses=mode,
        observed_ms=observed_ms,
        backfill=backfill,
        correlation_id=correlation_id,
        parent_id=parent_id,
    )
    detail: Json = json.loads(event.detail.encode())
    assert detail["id"] == event.id
    return detail


# Schemas


def test_every_event_has_a_schema_and_a_sample_and_nothing_else_has() -> None:
    """`schemas/` and `samples/` hold one file for each type that the code knows, and no other."""
    expected = {f"email.{type_.past_tense}.v1.json" for type_ in ActivityType}
    expected |= {f"{kind.subject}.summarized.v1.json" for kind in SummaryKind}
    for folder in ("schemas", "samples"):
        assert {path.name for path in (EVENTS / folder).iterdir()} == expected


@each_type
def test_a_schema_is_valid_and_named_by_its_urn(type_: ActivityType) -> None:
    """Each schema is a valid 2020-12 schema whose `$id` is the event's `dataschema`."""
    schema = SCHEMAS[type_]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == type_.schema_uri == schema["properties"]["dataschema"]["const"]
    assert schema["properties"]["type"]["const"] == type_.event_type
    assert schema["title"] == type_.detail_type


@each_type
def test_the_common_part_is_the_same_in_every_schema(type_: ActivityType) -> None:
    """Leaving out what names the type and what only it has, all schemas are equal."""

    def common(type_: ActivityType) -> Json:
        schema = copy.deepcopy(SCHEMAS[type_])
        data = schema["properties"]["data"]
        for own in ("link", "bounce", "unsubscribe"):
            data["properties"].pop(own, None)
        # A bounce may lack its code where it says so.
        for condition in ("if", "then"):
            data.pop(condition, None)
        data["required"] = [name for name in data["required"] if name in data["properties"]]
        del data["title"], data["properties"]["activity"]["title"]
        for name in ("type", "provider_type"):
            del data["properties"]["activity"]["properties"][name]
        for name in ("type", "dataschema"):
            del schema["properties"][name]["const"]
        return {name: part for name, part in schema.items() if name not in {"$id", "title", "description"}}

    assert common(type_) == common(ActivityType.SENT)


def named_parts(schema: Json) -> Iterator[Json]:
    """Every part of a schema that a generator makes a type of its own: an object with fields, an enum.

    Conditions are none. Alternatives (`anyOf`) would be types without a name, so that there are none.
    """
    conditions = [part["if"] for part in objects(schema) if "if" in part]
    in_conditions = [id(part) for condition in conditions for part in objects(condition)]
    for part in objects(schema):
        assert not part.keys() & {"anyOf", "oneOf", "allOf"}
        if id(part) in in_conditions:
            continue
        if "enum" in part or isinstance(part.get("properties"), dict):
            yield part


def test_every_type_that_a_generator_makes_has_a_name() -> None:
    """Objects and enums have a title. Within a schema none comes twice."""
    for schema in (*SCHEMAS.values(), *SUMMARY_SCHEMAS.values()):
        titles = [part.get("title", "") for part in named_parts(schema)]
        assert all(re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)*", title) for title in titles), titles
        assert len(set(titles)) == len(titles)
        assert schema["properties"]["data"]["title"] == f"{schema['title']} Data"


def test_a_name_means_the_same_in_every_schema() -> None:
    """Parts with one title have the same fields or values: of several schemas one type can be made."""
    shapes: dict[str, set[str]] = {}
    for schema in (*SCHEMAS.values(), *SUMMARY_SCHEMAS.values()):
        for part in named_parts(schema):
            words = part.get("enum") or sorted(part["properties"])
            shapes.setdefault(part["title"], set()).add(json.dumps(words))
    # The provider's word depends on the activity.
    assert {title for title, found in shapes.items() if len(found) > 1} <= {"Provider Type"}


# Samples


@each_type
def test_a_sample_is_valid_under_the_schema_with_nothing_unnamed(type_: ActivityType) -> None:
    """Each sample's `detail` satisfies its schema even when that is closed to unnamed fields."""
    STRICT[type_].validate(SAMPLES[type_]["detail"])


@each_type
def test_a_schema_is_open_and_its_strict_form_is_not(type_: ActivityType) -> None:
    """A field added to any object of an event passes the schema, and fails its strict form."""
    count = len(list(objects(SAMPLES[type_]["detail"])))
    for position in range(count):
        detail = copy.deepcopy(SAMPLES[type_]["detail"])
        list(objects(detail))[position]["added_within_v1"] = "x"
        assert OPEN[type_].is_valid(detail)
        assert not STRICT[type_].is_valid(detail)


@each_type
def test_a_schema_refuses_an_event_that_lacks_a_promised_field(type_: ActivityType) -> None:
    """Each field that the README says is always there is required."""
    promised = re.findall(r"^\| `([a-z0-9_.]+)` \| (?:yes|with every `bounce`) \|", README, re.MULTILINE)
    assert len(promised) == 18
    for path in promised:
        detail = copy.deepcopy(SAMPLES[type_]["detail"])
        *parents, name = path.split(".")
        place = detail
        for parent in parents:
            place = place.get(parent, {})
        if place.pop(name, None) is not None:
            assert not OPEN[type_].is_valid(detail), path


@each_type
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("time", "2024-06-12T08:15:40Z"),
        ("time", "2024-06-31T08:15:40.207Z"),
        ("time", "2024-06-12T08:15:40.207+00:00"),
        ("observedtime", "2024-06-12"),
        ("id", "6F1C"),
        ("subject", 4711),
        ("backfill", "false"),
        ("correlationid", ""),
        ("correlationid", "two words"),
        ("campaignid", ""),
        ("campaignid", 4711),
        ("data.contact.id", 4711),
        ("data.contact.email_address_sha256", "0" * 64),
        ("data.campaign", {}),
        ("data.activity.type", "delivered"),
    ],
)
def test_a_schema_refuses_a_field_of_the_wrong_form(type_: ActivityType, path: str, value: object) -> None:
    """A stamp without milliseconds or of no real day, a number for an id or both addresses are invalid."""
    detail = copy.deepcopy(SAMPLES[type_]["detail"])
    *parents, name = path.split(".")
    place = detail
    for parent in parents:
        place = place[parent]
    place[name] = value
    assert not OPEN[type_].is_valid(detail)


@each_type
def test_a_sample_is_a_cloud_event(type_: ActivityType) -> None:
    """The CloudEvents SDK reads each sample's `detail` as an event of version 1.0."""
    detail = SAMPLES[type_]["detail"]
    event = JSONFormat().read(None, json.dumps(detail))
    assert event.get_specversion() == "1.0"
    assert event.get_id() == detail["id"]
    assert event.get_type() == type_.event_type
    assert event.get_dataschema() == type_.schema_uri
    assert event.get_time() == datetime.fromisoformat(detail["time"])
    assert event.get_extension("backfill") is detail["backfill"]
    assert event.get_extension("observedtime") == detail["observedtime"]
    assert event.get_extension("correlationid") == detail["correlationid"]
    assert event.get_data() == detail["data"]


@each_type
def test_a_sample_is_what_the_code_publishes(type_: ActivityType) -> None:
    """The row behind a sample, put through the code, gives the sample's `detail` and `detail-type`."""
    sample = SAMPLES[type_]
    detail = sample["detail"]
    activity = parse_row(row_of(detail), detail["subject"])
    observed_ms = parse_time(detail["observedtime"])
    assert isinstance(activity, Activity)
    assert observed_ms is not None
    context = {"backfill": detail["backfill"], "correlation_id": detail["correlationid"]}
    assert published(activity, EmailAddresses.PLAIN, observed_ms, **context) == detail
    assert (sample["source"], sample["detail-type"]) == (EVENT_SOURCE, type_.detail_type)


@each_type
def test_a_sample_id_digests_what_makes_the_activity(type_: ActivityType) -> None:
    """The id is SHA-256 over account, type, campaign, contact, milliseconds and link, cut to 32 digits."""
    data = SAMPLES[type_]["detail"]["data"]
    since_1970 = datetime.fromisoformat(data["activity"]["occurred_at"]) - datetime(1970, 1, 1, tzinfo=UTC)
    key = (
        data["account"],
        data["activity"]["provider_type"],
        data["campaign"]["id"],
        data["contact"]["id"],
        f"{since_1970.days * 86_400_000 + since_1970.seconds * 1000 + since_1970.microseconds // 1000}",
        data.get("link", {}).get("id", ""),
    )
    assert SAMPLES[type_]["detail"]["id"] == hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


@each_type
def test_a_sample_happened_was_read_and_was_published_in_this_order(type_: ActivityType) -> None:
    """`detail.time` is before `observedtime`, and that before the envelope's `time`."""
    sample = SAMPLES[type_]
    stamps = [sample["detail"]["time"], sample["detail"]["observedtime"], sample["time"]]
    assert stamps == sorted(stamps)


@each_type
def test_a_sample_has_the_envelope_of_eventbridge(type_: ActivityType) -> None:
    """A sample holds the nine keys that EventBridge delivers, in its order and forms."""
    sample = SAMPLES[type_]
    keys = "version id detail-type source account time region resources detail"
    assert list(sample) == keys.split()
    assert (sample["version"], sample["resources"]) == ("0", [])
    assert re.fullmatch(r"[0-9]{12}", sample["account"])
    assert sample["time"] == f"{datetime.fromisoformat(sample['time']):%Y-%m-%dT%H:%M:%SZ}"


def test_no_two_samples_share_an_id() -> None:
    """Envelope ids and derived ids differ from sample to sample."""
    samples = [*SAMPLES.values(), *SUMMARY_SAMPLES.values()]
    assert len({sample["id"] for sample in samples}) == len(samples)
    assert len({sample["detail"]["id"] for sample in samples}) == len(samples)


# Code


def texts() -> st.SearchStrategy[str]:
    """Any text that JSON can carry, lone surrogates included, at times longer than the limit."""
    characters = st.characters() | st.just(LONE_SURROGATE)
    counts = st.integers(TEXT_LIMIT_BYTES // 4, TEXT_LIMIT_BYTES + 1)
    return st.text(characters, max_size=8) | st.builds(lambda char, n: char * n, characters, counts)


def values() -> st.SearchStrategy[object]:
    """What a field of a row may hold: what official material shows, and what no one should send."""
    return st.none() | st.booleans() | st.integers() | st.floats() | texts() | st.just([]) | st.just("")


def stamps() -> st.SearchStrategy[str]:
    """Stamps in and out of the documented form."""
    moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - the zone is text
    separators = st.sampled_from(["T", " ", LONE_SURROGATE])
    zones = st.sampled_from(["Z", "", "+05:30", "-05:00"])
    return st.builds(lambda at, sep, zone: f"{at.date()}{sep}{at.time()}{zone}", moments, separators, zones)


OWN_PREFIX = {
    ActivityType.CLICKED: "link_",
    ActivityType.BOUNCED: "bounce_",
    ActivityType.UNSUBSCRIBED: "unsubscribe_",
}


@st.composite
def rows(draw: st.DrawFn, type_: ActivityType) -> Mapping[str, object]:
    """Rows of one type, whatever their fields hold, some fields left out."""
    own = [name for name in EXTRAS if name.startswith(OWN_PREFIX.get(type_, "none"))]
    optional = ["campaign_id", "email_address", *own]
    fields = draw(st.fixed_dictionaries({}, optional={name: values() for name in optional}))
    return {**fields, "activity_type": PROVIDER_TYPES[type_], TIME_FIELDS[type_]: draw(stamps())}


@each_type
@settings(deadline=None, max_examples=80)
@given(data=st.data(), mode=st.sampled_from(EmailAddresses), backfill=st.booleans())
def test_any_row_that_parses_gives_a_valid_event(
    type_: ActivityType, data: st.DataObject, mode: EmailAddresses, *, backfill: bool
) -> None:
    """Whatever a row's fields hold, its event is UTF-8, in the limits and valid under the strict schema."""
    activity = parse_row(data.draw(rows(type_)), data.draw(st.from_regex(r"[1-9][0-9]{0,9}", fullmatch=True)))
    assume(isinstance(activity, Activity))
    assert isinstance(activity, Activity)
    detail = published(activity, mode, backfill=backfill)
    STRICT[type_].validate(detail)
    JSONFormat().read(None, json.dumps(detail))
    for name in ("link", "bounce", "unsubscribe"):
        for text in detail["data"].get(name, {}).values():
            assert len(text.encode()) <= TEXT_LIMIT_BYTES
    assert detail["subject"] == detail["data"]["contact"]["id"]
    assert detail["time"] == detail["data"]["activity"]["occurred_at"]
    assert detail["source"] == f"/constant-contact/{detail['data']['account']}"


@each_type
def test_two_publications_differ_in_their_context_only(type_: ActivityType) -> None:
    """Read again at another time, an activity gives the same event but for its context."""
    detail = SAMPLES[type_]["detail"]
    activity = parse_row(row_of(detail), detail["subject"])
    assert isinstance(activity, Activity)
    one = published(activity, EmailAddresses.PLAIN, 1_000, backfill=True, correlation_id="tick-1")
    other = published(activity, EmailAddresses.PLAIN, 2_000, backfill=False, correlation_id="tick-2")
    differing = {name for name in one if one[name] != other[name]}
    assert differing == {"observedtime", "backfill", "correlationid"}


@each_type
def test_an_event_without_a_tick_has_no_correlation_id(type_: ActivityType) -> None:
    """A message that names no tick gives a valid event, which lacks the attribute."""
    detail = SAMPLES[type_]["detail"]
    activity = parse_row(row_of(detail), detail["subject"])
    assert isinstance(activity, Activity)
    lacking = published(activity, EmailAddresses.PLAIN, backfill=False)
    assert "correlationid" not in lacking
    STRICT[type_].validate(lacking)


@each_type
def test_the_campaign_of_a_mailing_is_part_of_the_context(type_: ActivityType) -> None:
    """Id and `data` are the same without it."""
    detail = SAMPLES[type_]["detail"]
    activity = parse_row(row_of(detail), detail["subject"])
    assert isinstance(activity, Activity)
    one = published(activity, EmailAddresses.PLAIN, backfill=False)
    other = published(activity, EmailAddresses.PLAIN, backfill=False, parent_id="8c0f828c-47db-55fd")
    STRICT[type_].validate(other)
    assert other.pop("campaignid") == "8c0f828c-47db-55fd"
    assert (one, list(one)) == (other, list(other))
    assert "campaignid" not in one


def test_a_summary_of_a_mailing_names_its_campaign() -> None:
    """With the id that the same counts have without it."""
    snapshot = Snapshot(SummaryKind.CAMPAIGN, None, "m1", SummaryCounts(sends=1))
    changes = [Change(of, 0, ("sends",)) for of in (snapshot, dataclasses.replace(snapshot, parent_id="c1"))]
    one, other = (json.loads(summary_event(of, account="a", observed_ms=1).detail) for of in changes)
    SUMMARY_STRICT[SummaryKind.CAMPAIGN].validate(other)
    assert other.pop("campaignid") == "c1"
    assert one == other


# Summaries


def snapshot_of(detail: Json) -> Snapshot:
    """The report's row that gives this event."""
    data = detail["data"]
    contact_id, campaign_id = (data.get(name, {}).get("id") for name in ("contact", "campaign"))
    (kind,) = (kind for kind in SummaryKind if kind.event_type == detail["type"])
    return Snapshot(kind, contact_id, campaign_id, SummaryCounts(**data["summary"]))


def sequence_of(detail: Json) -> int:
    """The sequence number with which the id is the digest that it has to be."""
    data = detail["data"]
    for sequence in range(100):
        key = (
            data["account"],
            detail["type"].removeprefix("contact-activity.").removesuffix(".v1"),
            data.get("contact", {}).get("id", ""),
            data.get("campaign", {}).get("id", ""),
            str(sequence),
            *(f"{name}={data['summary'][name]}" for name in COUNT_NAMES if name in data["summary"]),
        )
        if hashlib.sha256("\n".join(key).encode()).hexdigest()[:32] == detail["id"]:
            return sequence
    raise AssertionError("the id digests something else")


@each_kind
def test_a_summary_schema_is_valid_and_named_by_its_urn(kind: SummaryKind) -> None:
    """Each is a valid 2020-12 schema whose `$id` is the event's `dataschema`."""
    schema = SUMMARY_SCHEMAS[kind]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == kind.schema_uri == schema["properties"]["dataschema"]["const"]
    assert schema["properties"]["type"]["const"] == kind.event_type
    assert schema["title"] == kind.detail_type
    assert schema["required"] == SCHEMAS[ActivityType.SENT]["required"]


@each_kind
def test_a_summary_sample_is_valid_and_a_cloud_event(kind: SummaryKind) -> None:
    """Each sample satisfies its schema, even closed to unnamed fields, and the CloudEvents SDK reads it."""
    detail = SUMMARIES[kind]
    SUMMARY_STRICT[kind].validate(detail)
    event = JSONFormat().read(None, json.dumps(detail))
    assert event.get_type() == kind.event_type
    assert event.get_time() == datetime.fromisoformat(detail["observedtime"])
    assert event.get_extension("backfill") is False
    assert event.get_data() == detail["data"]
    assert list(SUMMARY_SAMPLES[kind]) == list(SAMPLES[ActivityType.SENT])


@each_kind
def test_a_summary_schema_refuses_an_event_that_lacks_a_field(kind: SummaryKind) -> None:
    """Every field of a sample is promised but the single counts, and every object is open to more."""
    required = [*SUMMARY_SCHEMAS[kind]["required"], *(f"data.{name}" for name in SUMMARIES[kind]["data"])]
    for path in required:
        detail = copy.deepcopy(SUMMARIES[kind])
        place = detail["data"] if path.startswith("data.") else detail
        del place[path.removeprefix("data.")]
        assert not SUMMARY_OPEN[kind].is_valid(detail), path
    for position in range(len(list(objects(SUMMARIES[kind])))):
        detail = copy.deepcopy(SUMMARIES[kind])
        list(objects(detail))[position]["added_within_v1"] = "x"
        assert SUMMARY_OPEN[kind].is_valid(detail)
        assert not SUMMARY_STRICT[kind].is_valid(detail)


@each_kind
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("summary", {}),
        ("summary", {"opens": -1}),
        ("summary", {"opens": "1"}),
        ("summary", {"opens": 1.5}),
        ("changed", []),
        ("changed", ["openings"]),
        ("changed", ["opens", "opens"]),
    ],
)
def test_a_summary_schema_refuses_what_is_no_count(kind: SummaryKind, name: str, value: object) -> None:
    """Counts are whole and not negative, and something has changed."""
    detail = copy.deepcopy(SUMMARIES[kind])
    detail["data"][name] = value
    assert not SUMMARY_OPEN[kind].is_valid(detail)


@each_kind
def test_a_summary_sample_is_what_the_code_publishes(kind: SummaryKind) -> None:
    """The report behind a sample, put through the code, gives the sample's `detail` and `detail-type`."""
    detail = SUMMARIES[kind]
    snapshot, at_ms = snapshot_of(detail), parse_time(detail["time"])
    assert at_ms is not None
    change = Change(snapshot, sequence_of(detail), tuple(detail["data"]["changed"]))
    event = summary_event(
        change, account="default", observed_ms=at_ms, correlation_id=detail["correlationid"]
    )
    assert json.loads(event.detail) == detail
    assert event.detail_type == SUMMARY_SAMPLES[kind]["detail-type"]


counts = st.builds(SummaryCounts, *(st.none() | st.integers(0, 2**53) for _ in COUNT_NAMES))


@each_kind
@given(before=st.none() | counts, now=counts, sequence=st.integers(0, 10**6))
def test_any_summary_that_moved_gives_a_valid_event(
    kind: SummaryKind, before: SummaryCounts | None, now: SummaryCounts, sequence: int
) -> None:
    """Whatever the counts, what is published is valid under the strict schema."""
    assume(now.present)
    snapshot = dataclasses.replace(snapshot_of(SUMMARIES[kind]), counts=now)
    last = () if before is None else (Published(snapshot.key, sequence, before),)
    for change in compare(Summarized(kind, 0, last), [snapshot], 1).changes:
        SUMMARY_STRICT[kind].validate(
            json.loads(summary_event(change, account="default", observed_ms=1).detail)
        )


# README


def test_the_readme_describes_every_field_and_no_other() -> None:
    """The field table holds exactly the fields of the schemas."""
    described = set(
        re.findall(r"^\| `([a-z0-9_.]+)` \| (?:yes|if sent|see below|with)", README, re.MULTILINE)
    )
    schemas = [*SCHEMAS.values(), *SUMMARY_SCHEMAS.values()]
    assert described - {"data"} == {path for schema in schemas for path in paths(schema)}


def test_the_readme_lists_every_event() -> None:
    """The table of events names detail type, activity type, own object, schema and sample of each."""
    for type_ in ActivityType:
        own = set(SCHEMAS[type_]["properties"]["data"]["properties"]) & {"link", "bounce", "unsubscribe"}
        (row,) = re.findall(rf"^\| `{type_.detail_type}` \| `{type_.past_tense}` \|.*", README, re.MULTILINE)
        cells = [cell.strip() for cell in row.split("|")]
        file = f"email.{type_.past_tense}.v1.json"
        assert cells[4] == "".join(f"`{name}`" for name in own)
        assert cells[5:7] == [f"[schema](schemas/{file})", f"[sample](samples/{file})"]
    for kind in SummaryKind:
        (row,) = re.findall(rf"^\| `{kind.detail_type}` \|.*", README, re.MULTILINE)
        file = f"{kind.subject}.summarized.v1.json"
        assert [cell.strip() for cell in row.split("|")][3:6] == [
            ", ".join(f"`{name}`" for name in ("contact", "campaign") if name in SUMMARIES[kind]["data"]),
            f"[schema](schemas/{file})",
            f"[sample](samples/{file})",
        ]


def test_the_readme_shows_a_sample_as_it_is() -> None:
    """The event shown whole is the click of the samples."""
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(shown) == SAMPLES[ActivityType.CLICKED]


def test_the_readme_gives_each_bounce_code_its_category() -> None:
    """The table of bounce codes agrees with the code, and so does its last line for any other letter."""
    table = dict(re.findall(r"^\| `([A-Z])` \|[^|]*\| `(\w+)` \|$", README, re.MULTILINE))
    row = row_of(SAMPLES[ActivityType.BOUNCED]["detail"])

    def category(code: str) -> str:
        activity = parse_row(row | {"bounce_code": code}, "4711")
        assert isinstance(activity, Activity)
        assert activity.bounce
        return activity.bounce.category.value

    assert sorted(table) == list("BDFSVXZ")
    assert {code: category(code) for code in table} == table
    assert category("Q") == category("") == "unknown"


def test_the_readme_links_to_files_and_headings_that_exist() -> None:
    """No relative link of the README is dead."""
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\((?!https:)([^)]+)\)", README)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert (EVENTS / path).exists() if path else anchor in anchors, link


class TemplateLoader(yaml.SafeLoader):
    """Reads the short functions of CloudFormation (`!Ref`, `!GetAtt`) as plain values."""


TemplateLoader.add_multi_constructor("!", lambda _, suffix, node: f"{suffix} {node.value}")
SNIPPETS = dict(re.findall(r"```yaml\n# ([^\n]+)\n(.*?)```", README, re.DOTALL))
DELIVERED = {
    "Everything": {
        *(type_.past_tense for type_ in ActivityType),
        "click of another campaign",
        "soft bounce",
        "backfilled click",
        "backfilled open",
        *(kind.subject for kind in SummaryKind),
    },
    "Activity without summaries": {
        *(type_.past_tense for type_ in ActivityType),
        "click of another campaign",
        "soft bounce",
        "backfilled click",
        "backfilled open",
    },
    "Clicks of one campaign": {"clicked", "backfilled click"},
    "Hard bounces": {"bounced"},
    "No backfill": {
        *(type_.past_tense for type_ in ActivityType if type_ is not ActivityType.BOUNCED),
        "click of another campaign",
        "soft bounce",
        *(kind.subject for kind in SummaryKind),
    },
}
DELIVERED |= {
    "hard-bounces-to-queue": DELIVERED["Hard bounces"],
    "clicks-of-a-campaign-to-function": DELIVERED["Clicks of one campaign"],
    "everything-to-s3": DELIVERED["Everything"],
    "opens-to-http": {"opened"},
}


def event_patterns() -> dict[str, Json]:
    """Each snippet's event pattern, by the comment that heads it, and each of `patterns/` by its file."""
    patterns = {path.stem: json.loads(path.read_text()) for path in (EVENTS / "patterns").glob("*.json")}
    for name, text in SNIPPETS.items():
        snippet = yaml.load(text, TemplateLoader)  # noqa: S506 - a SafeLoader
        resources = snippet.get("Resources", {"": {"Type": "AWS::Events::Rule", "Properties": snippet}})
        for part in resources.values():
            if part["Type"] == "AWS::Events::Rule":
                patterns[name] = part["Properties"]["EventPattern"]
    return patterns


def bus_entries() -> dict[str, Json]:
    """The samples and some that differ from one in a single respect, as entries for the bus."""
    clicked, bounced = SAMPLES[ActivityType.CLICKED], SAMPLES[ActivityType.BOUNCED]
    elsewhere, soft, old = copy.deepcopy(clicked), copy.deepcopy(bounced), copy.deepcopy(clicked)
    old_open = copy.deepcopy(SAMPLES[ActivityType.OPENED])
    elsewhere["detail"]["data"]["campaign"]["id"] = "1117643206591"
    soft["detail"]["data"]["bounce"] |= {"code": "F", "category": "soft"}
    soft["detail"]["backfill"] = False
    for event in (old, old_open):
        event["detail"]["backfill"] = True
    summaries = {kind.subject: sample for kind, sample in SUMMARY_SAMPLES.items()}
    events = (
        {type_.past_tense: sample for type_, sample in SAMPLES.items()}
        | summaries
        | {
            "click of another campaign": elsewhere,
            "soft bounce": soft,
            "backfilled click": old,
            "backfilled open": old_open,
            "of another source": clicked | {"source": "shop"},
        }
    )
    return {
        name: {
            "EventBusName": "activity",
            "Source": event["source"],
            "DetailType": event["detail-type"],
            # The name travels as the subject, since the envelope's id is the bus's own.
            "Detail": json.dumps(event["detail"] | {"subject": name}),
        }
        for name, event in events.items()
    }


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Json]]]:
    """What a queue behind each rule of this folder receives when all entries are put on the bus."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        events = boto3.client("events", region_name=REGION)
        sqs = boto3.client("sqs", region_name=REGION)
        events.create_event_bus(Name="activity")
        urls = {}
        for number, (name, pattern) in enumerate(event_patterns().items()):
            rule, queue = f"rule-{number}", sqs.create_queue(QueueName=f"queue-{number}")["QueueUrl"]
            arn = f"arn:aws:sqs:{REGION}:123456789012:queue-{number}"
            events.put_rule(Name=rule, EventBusName="activity", EventPattern=json.dumps(pattern))
            events.put_targets(Rule=rule, EventBusName="activity", Targets=[{"Id": "queue", "Arn": arn}])
            urls[name] = queue
        for entry in bus_entries().values():
            assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
        yield {name: received(sqs, url) for name, url in urls.items()}


def received(sqs: Any, url: str) -> list[Json]:
    bodies: list[Json] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [json.loads(message["Body"]) for message in messages]
    return bodies


def test_each_pattern_delivers_what_it_says(deliveries: dict[str, list[Json]]) -> None:
    """On a bus with every kind of event, a rule of README or `patterns/` gets its own and no other."""
    names = {
        rule: sorted(envelope["detail"]["subject"] for envelope in envelopes)
        for rule, envelopes in deliveries.items()
    }
    assert names == {rule: sorted(expected) for rule, expected in DELIVERED.items()}


def test_the_stacks_of_the_readme_are_valid_templates(tmp_path: Path) -> None:
    """cfn-lint has nothing to say about the stacks that subscribe to everything and that archive it."""
    templates = [tmp_path / "everything.yaml", tmp_path / "archive.yaml"]
    for template, name in zip(templates, ("Everything", "An archive"), strict=True):
        template.write_text(SNIPPETS[name])
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--regions", REGION, "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (lint.returncode, lint.stdout) == (0, "")


# Triggers


def trigger(name: str) -> Json:
    payload: Json = json.loads((EVENTS / "triggers" / name).read_text())
    return payload


def test_the_schedule_trigger_is_what_the_scheduler_sends() -> None:
    """The payload of a schedule without an input of its own: its `detail` is a string."""
    event = EventBridgeEvent(trigger("schedule.json"))
    assert (event.source, event.detail_type) == ("aws.scheduler", "Scheduled Event")
    assert event["detail"] == "{}"


@pytest.mark.parametrize("name", ["contact-queue.json", "contact-queue-malformed.json"])
def test_a_queue_trigger_holds_two_intact_messages(name: str) -> None:
    """Each record has an id of its own, the digest of its body, and one queue as its source."""
    records = list(SQSEvent(trigger(name)).records)
    assert len({record.message_id for record in records}) == len(records) == 2
    for record in records:
        assert record.md5_of_body == hashlib.md5(record.body.encode(), usedforsecurity=False).hexdigest()
        assert record.event_source == "aws:sqs"
        assert record.queue_url.endswith("/contact-activity-contacts")


def test_the_queue_trigger_holds_messages_as_the_dispatcher_writes_them() -> None:
    """Both bodies are exactly what is sent for the contacts 4711 and 4712."""
    bodies = [record.body for record in SQSEvent(trigger("contact-queue.json")).records]
    messages = [item_from_body(body) for body in bodies]
    assert [isinstance(message, WorkItem) and message.id for message in messages] == ["4711", "4712"]
    assert [item_to_body(message) for message in messages] == bodies


def test_the_malformed_trigger_holds_one_readable_message_and_one_that_is_not() -> None:
    """The second body is cut off, so that only the first can be synced."""
    good, cut = SQSEvent(trigger("contact-queue-malformed.json")).records
    message = item_from_body(good.body)
    assert isinstance(message, WorkItem)
    assert message.id == "4711"
    with pytest.raises(ValueError, match="not JSON"):
        item_from_body(cut.body)


@pytest.mark.parametrize("name", ["subscriber.json", "subscriber-again.json"])
def test_a_subscriber_trigger_is_a_click_as_the_rule_delivers_it(name: str) -> None:
    """The whole envelope, with a `detail` that satisfies the schema."""
    event = trigger(name)
    assert list(event) == list(SAMPLES[ActivityType.CLICKED])
    STRICT[ActivityType.CLICKED].validate(event["detail"])
    assert event["detail-type"] == ActivityType.CLICKED.detail_type


def test_the_second_subscriber_trigger_is_the_same_activity_published_again() -> None:
    """Another envelope and another `observedtime` around the same id and the same data."""
    one, other = trigger("subscriber.json"), trigger("subscriber-again.json")
    assert (one["id"], one["time"]) != (other["id"], other["time"])
    differing = {name for name in one["detail"] if one["detail"][name] != other["detail"][name]}
    assert differing == {"observedtime"}


def test_the_malformed_subscriber_trigger_is_refused_for_its_time() -> None:
    """It is a click with an id of its own, whose only fault is a time that is none."""
    event = trigger("subscriber-malformed.json")
    faults = [list(error.absolute_path) for error in OPEN[ActivityType.CLICKED].iter_errors(event["detail"])]
    assert faults
    assert all(path == ["time"] for path in faults)
    assert event["detail"]["id"] != trigger("subscriber.json")["detail"]["id"]
    with pytest.raises(UnusableEventError):
        entry_of(event)


def test_the_readme_tells_of_every_trigger() -> None:
    """Each file in `triggers/` is in its table."""
    for path in (EVENTS / "triggers").iterdir():
        assert f"`{path.name}`" in README
