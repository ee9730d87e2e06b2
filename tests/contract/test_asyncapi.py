"""events/asyncapi.yaml: valid AsyncAPI, and the same events as the schemas, the samples and the code."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.event import EVENT_SOURCE

EVENTS = Path(__file__).parents[2] / "events"
Json = dict[str, Any]
DOCUMENT: Json = yaml.safe_load((EVENTS / "asyncapi.yaml").read_text(encoding="utf-8"))
MESSAGES: dict[str, Json] = DOCUMENT["components"]["messages"]
SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted((EVENTS / "schemas").iterdir())}
ASYNCAPI = Draft7Validator(
    json.loads((Path(__file__).parent / "asyncapi" / "schema-3.0.0.json").read_text(encoding="utf-8"))
)
each_message = pytest.mark.parametrize("name", MESSAGES)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def resolved(reference: str) -> Any:
    """What a reference of the document stands for. Raises `KeyError` or `OSError` if there is nothing."""
    file, _, pointer = reference.partition("#")
    found = json.loads((EVENTS / file).read_text(encoding="utf-8")) if file else DOCUMENT
    for step in pointer.split("/")[1:]:
        found = found[step]
    return found


def schema_file(name: str) -> str:
    return str(MESSAGES[name]["payload"]["$ref"]).removeprefix("./schemas/")


def test_the_document_is_valid_asyncapi() -> None:
    """It satisfies the JSON Schema that the AsyncAPI Initiative publishes for 3.0.0."""
    assert [error.message for error in ASYNCAPI.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("asyncapi", "2.6.0"),
        ("channels.bus.adress", "contact-activity"),
        ("operations.publishActivity.action", "publish"),
        ("components.messages.emailSent.payload", "./schemas/email.sent.v1.json"),
        ("components.messages.emailSent.examples", [{"value": {}}]),
        ("info.version", 1.0),
    ],
)
def test_a_mistake_in_the_document_would_be_found(path: str, value: Any) -> None:
    """The check refuses a wrong version, name or type."""
    document = copy.deepcopy(DOCUMENT)
    *parents, name = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[name] = value
    assert not ASYNCAPI.is_valid(document)


def test_every_reference_leads_somewhere() -> None:
    """Within the document, to the schemas and into the samples."""
    found = list(references(DOCUMENT))
    assert len(found) >= 3 * len(MESSAGES)
    assert all(resolved(reference) for reference in found)


def test_there_is_a_message_for_each_schema_and_no_other() -> None:
    """The files in `schemas/`, the messages and the channel's messages are the same events."""
    assert sorted(schema_file(name) for name in MESSAGES) == sorted(SCHEMAS)
    channel = DOCUMENT["channels"]["bus"]["messages"]
    assert channel == {name: {"$ref": f"#/components/messages/{name}"} for name in MESSAGES}


def test_there_is_a_message_for_each_activity_type_and_no_other_is_an_email() -> None:
    """What the code publishes of an e-mail is what the document tells of."""
    told = {message["name"] for message in MESSAGES.values() if ".email." in message["name"]}
    assert told == {type_.event_type for type_ in ActivityType}


@each_message
def test_a_message_is_named_as_its_schema_names_it(name: str) -> None:
    """The CloudEvents type, the title, and what a rule matches on the envelope."""
    message, schema = MESSAGES[name], SCHEMAS[schema_file(name)]
    assert message["name"] == schema["properties"]["type"]["const"]
    assert message["title"] == schema["title"]
    assert message["x-eventbridge"] == {"source": EVENT_SOURCE, "detail-type": schema["title"]}


@each_message
def test_the_example_of_a_message_is_its_sample(name: str) -> None:
    """It is the `detail` of the sample beside the schema, whose envelope has the message's detail type."""
    (example,) = MESSAGES[name]["examples"]
    assert example["payload"]["$ref"] == f"./samples/{schema_file(name)}#/detail"
    envelope = json.loads((EVENTS / "samples" / schema_file(name)).read_text(encoding="utf-8"))
    assert envelope["detail-type"] == MESSAGES[name]["x-eventbridge"]["detail-type"]
    assert resolved(example["payload"]["$ref"]) == envelope["detail"]
    Draft202012Validator(resolved(MESSAGES[name]["payload"]["$ref"])).validate(envelope["detail"])


@each_message
def test_a_payload_means_the_same_to_readers_of_asyncapis_own_dialect(name: str) -> None:
    """AsyncAPI reads a payload as draft-07: there too the sample passes, and no promised field may lack."""
    schema = {key: part for key, part in SCHEMAS[schema_file(name)].items() if key not in ("$schema", "$id")}
    reader = Draft7Validator(schema)
    reader.check_schema(schema)
    detail = resolved(MESSAGES[name]["examples"][0]["payload"]["$ref"])
    reader.validate(detail)
    for field in schema["required"]:
        assert not reader.is_valid({key: part for key, part in detail.items() if key != field})
        assert not reader.is_valid(detail | {field: []})
