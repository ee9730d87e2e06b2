"""Whether the generators that subscribers use give each type of the schemas its name: `make generators`.

datamodel-code-generator and json2ts read each schema, Modelina the AsyncAPI document. A type has its name if
that is the `title` of what it stands for. Exit status 1 if one has none, such as `Link1`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

EVENTS = Path("events")
NODE = Path(".build/generators")
CODEGEN = Path(".venv-generators/bin/datamodel-codegen")
# Named by their place under `$defs`, and the channel, whose messages a document lists.
PLACES = {"Time", "Count", "Bus"}


def titles(part: Any) -> Iterator[str]:
    """The titles of a schema and of all parts in it that a generator makes a type of. Conditions are none."""
    if isinstance(part, list):
        for inner in part:
            yield from titles(inner)
    elif isinstance(part, dict):
        if "enum" in part or isinstance(part.get("properties"), dict):
            yield str(part.get("title", "?"))
        for name, inner in part.items():
            if name != "if":
                yield from titles(inner)


def output_of(*command: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def pydantic(schema: Path) -> set[str]:
    options = ("--input-file-type", "jsonschema", "--output-model-type", "pydantic_v2.BaseModel")
    made = output_of(CODEGEN, "--input", schema, *options, "--use-title-as-name", "--formatters", "builtin")
    return set(re.findall(r"^class (\w+)", made, re.MULTILINE))


def typescript(schema: Path) -> set[str]:
    made = output_of(NODE / "node_modules/.bin/json2ts", schema)
    return set(re.findall(r"^export (?:interface|type) (\w+)", made, re.MULTILINE))


def modelina() -> set[str]:
    return set(output_of("node", NODE / "modelina.mjs", EVENTS / "asyncapi.yaml").split())


def named(schema: Path) -> set[str]:
    """The names that the types of a schema should have."""
    return {title.replace(" ", "") for title in titles(json.loads(schema.read_text(encoding="utf-8")))}


@dataclass(frozen=True, slots=True)
class Made:
    """The types that a generator made, and those that it should have."""

    generator: str
    source: str
    names: set[str]
    wanted: set[str]

    @property
    def unnamed(self) -> list[str]:
        return sorted(self.names - self.wanted - PLACES)

    @property
    def missing(self) -> list[str]:
        return sorted(self.wanted - self.names)

    def row(self) -> tuple[str, ...]:
        count = str(len(self.names))
        return self.generator, self.source, count, ", ".join(self.unnamed), ", ".join(self.missing)


def all_made() -> Iterator[Made]:
    schemas = sorted((EVENTS / "schemas").glob("*.json"))
    for schema in schemas:
        yield Made("datamodel-code-generator", schema.name, pydantic(schema), named(schema))
    for schema in schemas:
        yield Made("json2ts", schema.name, typescript(schema), named(schema))
    yield Made("Modelina", "asyncapi.yaml", modelina(), set().union(*map(named, schemas)))


def main() -> int:
    made = list(all_made())
    table = Table("generator", "of", "types", "unnamed", "missing", box=box.SIMPLE)
    for of in made:
        table.add_row(*of.row())
    Console().print(table)
    if any(of.unnamed or of.missing for of in made):
        print("a type has no name of its own: give its part of the schema a title", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
