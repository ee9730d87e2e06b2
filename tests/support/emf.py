"""Reads lines in CloudWatch's embedded metric format as strictly as its specification is written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

METRICS_MOST = 100
VALUES_MOST = 100
DIMENSIONS_MOST = 30


@dataclass(frozen=True, slots=True)
class Emitted:
    """One metric of one line."""

    namespace: str
    dimensions: tuple[tuple[str, str], ...]
    name: str
    unit: str
    values: tuple[float, ...]


def emitted(lines: Iterable[str]) -> list[Emitted]:
    """The metrics of the lines that are in the format; raises `AssertionError` where one breaks a rule."""
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    return [found for document in documents if "_aws" in document for found in _read(document)]


def _read(document: dict[str, Any]) -> list[Emitted]:
    assert isinstance(document["_aws"]["Timestamp"], int)
    directives = document["_aws"]["CloudWatchMetrics"]
    assert directives
    return [found for directive in directives for found in _read_directive(document, directive)]


def _read_directive(document: dict[str, Any], directive: dict[str, Any]) -> list[Emitted]:
    assert 1 <= len(directive["Namespace"]) <= 1024
    assert 1 <= len(directive["Metrics"]) <= METRICS_MOST
    (names,) = directive["Dimensions"]
    assert len(names) <= DIMENSIONS_MOST
    dimensions = tuple((name, document[name]) for name in names)
    assert all(isinstance(value, str) and value for _, value in dimensions)
    return [
        Emitted(directive["Namespace"], dimensions, metric["Name"], metric["Unit"], _values(document, metric))
        for metric in directive["Metrics"]
    ]


def _values(document: dict[str, Any], metric: dict[str, Any]) -> tuple[float, ...]:
    assert metric["Unit"] in {unit.value for unit in MetricUnit}
    found = document[metric["Name"]]
    values = found if isinstance(found, list) else [found]
    assert 1 <= len(values) <= VALUES_MOST
    assert all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return tuple(values)
