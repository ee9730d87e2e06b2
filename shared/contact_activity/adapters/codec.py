"""How what is stored is written, the same in DynamoDB and in SQLite: plain JSON, ids only."""

import base64
import json
from collections.abc import Mapping

from contact_activity.activity import ActivityType
from contact_activity.watermark import Mark, Progress

_TYPES = {type_.report: type_ for type_ in ActivityType}


def marks_to_json(marks: tuple[Mark, ...]) -> str:
    """`{"opens": [through_ms, floor_ms], ...}`"""
    return _dump({mark.type.report: [mark.through_ms, mark.floor_ms] for mark in marks})


def marks_from_json(text: str) -> tuple[Mark, ...]:
    return tuple(Mark(_TYPES[report], *times) for report, times in json.loads(text).items())


def progress_to_json(progress: Progress) -> str:
    return _dump(
        {
            "fingerprint": progress.fingerprint,
            "report": progress.report,
            "next": progress.next,
            "candidates": base64.b64encode(progress.candidates).decode(),
            "unreadable": base64.b64encode(progress.unreadable).decode(),
            "through": {type_.report: time_ms for type_, time_ms in progress.through},
            "forgotten_ms": progress.forgotten_ms,
            "restarts": progress.restarts,
        }
    )


def progress_from_json(text: str) -> Progress:
    stored = json.loads(text)
    return Progress(
        fingerprint=stored["fingerprint"],
        report=stored["report"],
        next=stored["next"],
        candidates=base64.b64decode(stored["candidates"]),
        unreadable=base64.b64decode(stored["unreadable"]),
        through=tuple((_TYPES[report], time_ms) for report, time_ms in stored["through"].items()),
        forgotten_ms=stored["forgotten_ms"],
        restarts=stored["restarts"],
    )


def _dump(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))
