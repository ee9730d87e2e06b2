"""The real template: where it is, and how to read it without the SAM command line."""

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[3]
TEMPLATE = REPOSITORY / "template.yaml"
STACK_NAME = "contact-activity"


def load_template(path: Path) -> dict[str, Any]:
    """Return a template with its short forms (`!Ref X`) written as long ones (`{"Ref": "X"}`)."""
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _TemplateLoader)  # noqa: S506
    return loaded


class _TemplateLoader(yaml.SafeLoader):
    """Knows the short forms of CloudFormation."""


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_TemplateLoader.add_multi_constructor("!", _long_form)
