"""events/patterns/: the templates of subscribers. What their patterns match is in test_events.py."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contact_activity.local_cloud.template import REPOSITORY, load_template

FOLDER = REPOSITORY / "events" / "patterns"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))
Json = dict[str, Any]
each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def resources(path: Path, type_: str) -> list[Json]:
    return [part for part in load_template(path)["Resources"].values() if part["Type"] == type_]


def with_defaults(value: Any, parameters: Json) -> Any:
    """The value as it is when the stack is deployed with no parameter given."""
    if isinstance(value, list):
        return [with_defaults(part, parameters) for part in value]
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return parameters[value["Ref"]]["Default"]
        return {name: with_defaults(part, parameters) for name, part in value.items()}
    return value


def statements(value: Any) -> Iterator[Json]:
    """Every statement of every policy in a template."""
    if isinstance(value, dict):
        yield from value.get("Statement", [])
        for part in value.values():
            yield from statements(part)
    elif isinstance(value, list):
        for part in value:
            yield from statements(part)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_each_template_has_its_pattern_beside_it() -> None:
    """There is a `.json` for each `.yaml`, and nothing else."""
    assert len(TEMPLATES) == 4
    names = {path.stem for path in TEMPLATES}
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}.{ext}" for name in names for ext in ("yaml", "json")
    }


@each_template
def test_the_pattern_is_the_one_of_the_rule(path: Path) -> None:
    """The JSON is what the template's only rule asks for, with its parameters' defaults."""
    template = load_template(path)
    (rule,) = resources(path, "AWS::Events::Rule")
    pattern = with_defaults(rule["Properties"]["EventPattern"], template["Parameters"])
    assert pattern == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert rule["Properties"]["EventBusName"] == {"Ref": "EventBusName"}


@each_template
def test_what_cannot_be_delivered_is_kept_for_a_fortnight(path: Path) -> None:
    """Each target has a dead-letter queue, which the rule, and only this rule, may send to."""
    template = load_template(path)
    (name,) = (name for name, part in template["Resources"].items() if part["Type"] == "AWS::Events::Rule")
    (policy,) = resources(path, "AWS::SQS::QueuePolicy")
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    for target in template["Resources"][name]["Properties"]["Targets"]:
        arn = target["DeadLetterConfig"]["Arn"]
        assert arn != target["Arn"]
        queue = template["Resources"][arn["Fn::GetAtt"][0]]["Properties"]
        assert queue["MessageRetentionPeriod"] == 14 * 86_400
        assert arn in listed(statement["Resource"])
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [name, "Arn"]}}}


@each_template
def test_no_permission_is_wider_than_its_use(path: Path) -> None:
    """No statement allows a wildcard action, or an action on every resource; no principal is everyone."""
    found = list(statements(load_template(path)["Resources"]))
    assert found
    for statement in found:
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        assert "*" not in listed(statement.get("Resource", []))
        assert statement.get("Principal") != "*"


def test_the_templates_are_valid() -> None:
    """cfn-lint has nothing to say about them."""
    linter = Path(sys.executable).with_name("cfn-lint")
    lint = subprocess.run(
        [linter, "--regions", "eu-west-1", "--", *TEMPLATES], capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")


def fields(schema: Json) -> Any:
    """The fields of a schema as a tree, down to `None`."""
    return (
        {name: fields(part) for name, part in schema["properties"].items()}
        if "properties" in schema
        else None
    )


def merged(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return one or other
    return {name: merged(one.get(name), other.get(name)) for name in one.keys() | other.keys()}


def columns(struct: str) -> Any:
    """The fields of a Glue type as a tree, down to `None`."""
    if not struct.startswith("struct<"):
        return None
    found, depth, start = {}, 0, 0
    inner = struct.removeprefix("struct<").removesuffix(">") + ","
    for place, sign in enumerate(inner):
        depth += {"<": 1, ">": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            name, _, type_ = inner[start:place].partition(":")
            found[name], start = columns(type_), place + 1
    return found


def test_the_table_has_every_field_of_the_schemas() -> None:
    """Athena finds all of `detail`, but for the three constants of a CloudEvents envelope."""
    tree: Any = {}
    for path in (REPOSITORY / "events" / "schemas").iterdir():
        tree = merged(tree, fields(json.loads(path.read_text(encoding="utf-8"))))
    (table,) = resources(FOLDER / "everything-to-s3.yaml", "AWS::Glue::Table")
    types = {
        column["Name"]: column["Type"]
        for column in table["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]
    }
    for name in ("specversion", "source", "datacontenttype", "dataschema"):
        del tree[name]
    assert columns(types["detail"]) == tree
