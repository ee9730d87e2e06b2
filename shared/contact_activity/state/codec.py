"""Read and write what is stored or sent: plain JSON without e-mail addresses, the same on every engine."""

import base64
import json
from collections.abc import Mapping, Sequence

from contact_activity.domain.activity import USABLE_ID, ActivityType
from contact_activity.domain.pace import Limits, PaceChange, SetRight, SlowDown, Take
from contact_activity.domain.summary import COUNT_NAMES, Published, Summarized, SummaryCounts, SummaryKind
from contact_activity.domain.tally import DayTally
from contact_activity.domain.times import iso, parse_time
from contact_activity.domain.watermark import Mark, Progress, Span
from contact_activity.domain.work import WorkItem, WorkKind

_TYPES = {type_.report: type_ for type_ in ActivityType}
_KINDS = {kind.report: kind for kind in SummaryKind}
_WITHIN = "within "


def marks_to_json(marks: tuple[Mark, ...]) -> str:
    """`{"opens": [through_ms, floor_ms, [[from_ms, to_ms], ...]], ...}`"""
    return _dump(
        {
            mark.type.report: [
                mark.through_ms,
                mark.floor_ms,
                [[span.from_ms, span.to_ms] for span in mark.forgotten],
            ]
            for mark in marks
        }
    )


def marks_from_json(text: str) -> tuple[Mark, ...]:
    return tuple(_mark(_TYPES[report], *stored) for report, stored in json.loads(text).items())


def _mark(
    type_: ActivityType,
    through_ms: int | None,
    floor_ms: int | None,
    spans: Sequence[Sequence[int]] | None = None,
) -> Mark:
    """An earlier version stored `floor_ms` and no spans."""
    if spans is None:
        return Mark(type_, through_ms, () if floor_ms is None else (Span(None, floor_ms),))
    return Mark(type_, through_ms, tuple(Span(*span) for span in spans))


def progress_to_json(progress: Progress) -> str:
    return _dump(
        {
            "started_ms": progress.started_ms,
            "fingerprint": progress.fingerprint,
            "report": progress.report,
            "next": progress.next,
            "candidates": base64.b64encode(progress.candidates).decode(),
            "unreadable": base64.b64encode(progress.unreadable).decode(),
            "through": {type_.report: time_ms for type_, time_ms in progress.through},
            "forgotten_ms": progress.forgotten_ms,
            "restarts": progress.restarts,
            "pages": progress.pages,
            "oldest": {type_.report: time_ms for type_, time_ms in progress.oldest},
            "again_from": {type_.report: time_ms for type_, time_ms in progress.again_from},
            "partly": base64.b64encode(progress.partly).decode(),
        }
    )


def progress_from_json(text: str) -> Progress:
    stored = json.loads(text)
    progress = Progress(
        started_ms=stored["started_ms"],
        fingerprint=stored["fingerprint"],
        report=stored["report"],
        next=stored["next"],
        candidates=base64.b64decode(stored["candidates"]),
        unreadable=base64.b64decode(stored["unreadable"]),
        through=_times(stored["through"]),
        forgotten_ms=stored["forgotten_ms"],
        restarts=stored["restarts"],
        pages=stored["pages"],
        oldest=_times(stored.get("oldest", {})),
        again_from=_times(stored.get("again_from", {})),
        partly=base64.b64decode(stored.get("partly", "")),
    )
    # An earlier version stored neither `oldest` nor `again_from`.
    return progress if "oldest" in stored else progress.with_oldest()


def _times(stored: Mapping[str, int]) -> tuple[tuple[ActivityType, int], ...]:
    return tuple((_TYPES[report], time_ms) for report, time_ms in stored.items())


def summaries_to_json(summaries: tuple[Summarized, ...]) -> str:
    """`{"summary": {"asked_ms": ..., "published": {"": [sequence, sends, opens, ...]}}, ...}`"""
    return _dump(
        {
            known.kind.report: {
                "asked_ms": known.asked_ms,
                "published": {
                    last.key: [last.sequence, *(getattr(last.counts, name) for name in COUNT_NAMES)]
                    for last in known.published
                },
            }
            for known in summaries
        }
    )


def summaries_from_json(text: str) -> tuple[Summarized, ...]:
    return tuple(
        Summarized(
            _KINDS[report],
            stored["asked_ms"],
            tuple(
                Published(key, sequence, SummaryCounts(*counts))
                for key, (sequence, *counts) in stored["published"].items()
            ),
        )
        for report, stored in json.loads(text).items()
    )


def tally_to_counts(events: Mapping[str, int], ages: Mapping[int, int]) -> dict[str, int]:
    """`{"Email Opened": 5, "within 3600": 4}`: events by detail type, ages by bucket end in s."""
    return {**events, **{f"{_WITHIN}{end_s}": count for end_s, count in ages.items()}}


def tally_from_counts(counts: Mapping[str, int]) -> DayTally:
    """An earlier version stored no ages."""
    events = {name: count for name, count in counts.items() if not name.startswith(_WITHIN)}
    ages = {int(name.removeprefix(_WITHIN)): count for name, count in counts.items() if name not in events}
    return DayTally(events, ages)


def item_to_body(item: WorkItem) -> str:
    """`{"contact_id": "4711", "planned_at": "2026-11-23T12:00:00.000Z", "correlation_id": "..."}`

    Work on a campaign has a `campaign_id` instead.
    """
    body = {_id_name(item.kind): item.id, "planned_at": iso(item.planned_ms)}
    if item.correlation_id is not None:
        body["correlation_id"] = item.correlation_id
    return json.dumps(body)


def item_from_body(body: str) -> WorkItem:
    """Read a message. Unknown keys are ignored.

    Raises `ValueError` for any other body. Its text does not show the body.
    """
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("a message body that is not JSON") from None
    if not isinstance(sent, dict):
        raise ValueError("a message body that is not a JSON object")  # noqa: TRY004  one error for a caller
    kind = next((kind for kind in reversed(WorkKind) if _id_name(kind) in sent), WorkKind.CONTACT)
    id_, planned_at = sent.get(_id_name(kind)), sent.get("planned_at")
    if not isinstance(id_, str) or not USABLE_ID.fullmatch(id_):
        raise ValueError(f"a message body without a usable {_id_name(kind)}")
    planned_ms = parse_time(planned_at) if isinstance(planned_at, str) else None
    if planned_ms is None:
        raise ValueError("a message body without a usable planned_at")
    correlation_id = sent.get("correlation_id")
    if correlation_id is not None and not (
        isinstance(correlation_id, str) and USABLE_ID.fullmatch(correlation_id)
    ):
        raise ValueError("a message body whose correlation_id cannot be used")
    return WorkItem(kind, id_, planned_ms, correlation_id)


def _id_name(kind: WorkKind) -> str:
    return f"{kind}_id"


def _dump(value: Mapping[str, object] | Sequence[object]) -> str:
    return json.dumps(value, separators=(",", ":"))


def pace_change_to_json(change: PaceChange) -> str:
    """`["take", 4, 9000, from_ms, within_ms]`: short, because the shared item holds many."""
    match change:
        case Take(Limits(calls_per_second, calls_per_day), from_ms, within_ms):
            return _dump(["take", calls_per_second, calls_per_day, from_ms, within_ms])
        case SlowDown(now_ms, wait_ms):
            return _dump(["slow", now_ms, wait_ms])
        case SetRight(now_ms):
            return _dump(["right", now_ms])


def pace_change_from_json(text: str) -> PaceChange:
    """Raises `ValueError` if the text is not a change."""
    match json.loads(text):
        case ["take", calls_per_second, calls_per_day, from_ms, within_ms]:
            return Take(Limits(calls_per_second, calls_per_day), from_ms, within_ms)
        case ["slow", now_ms, wait_ms]:
            return SlowDown(now_ms, wait_ms)
        case ["right", now_ms]:
            return SetRight(now_ms)
    raise ValueError("not a change of the pace")
