"""Read and write what is stored or sent: plain JSON without e-mail addresses, the same on every engine."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from contact_activity.domain.activity import USABLE_ID, ActivityType
from contact_activity.domain.asks import Ask
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import Asked, CampaignReport, ReportId, ReportProgress
from contact_activity.domain.memory import KEY_BYTES, TIME_BYTES, unpack
from contact_activity.domain.pace import Limits, PaceChange, SetRight, SlowDown, Take
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.shifts import Shifts, Window
from contact_activity.domain.summary import COUNT_NAMES, Published, Summarized, SummaryCounts, SummaryKind
from contact_activity.domain.tally import DayTally
from contact_activity.domain.times import iso, parse_time
from contact_activity.domain.trust import Match, Mode, SampledRow, Trust, TypeTrust
from contact_activity.domain.watermark import Mark, Progress, Span
from contact_activity.domain.witness import Edge, NumberedClick
from contact_activity.domain.work import MAX_CAMPAIGNS_A_CALL, WorkItem, WorkKind

_TYPES = {type_.report: type_ for type_ in ActivityType}
_KINDS = {kind.report: kind for kind in SummaryKind}
_WITHIN = "within "
_OWED, _ELSEWHERE, _UNSEEN = 1, 2, 4


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
            "undecided_pages": progress.undecided_pages,
            **({} if progress.edge == Edge() else {"edge": asdict(progress.edge)}),
            **({"is_resynced": True} if progress.is_resynced else {}),
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
        undecided_pages=stored.get("undecided_pages", 0),
        edge=_edge(stored.get("edge")),
        is_resynced=stored.get("is_resynced", False),
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


def report_to_json(report: CampaignReport) -> str:
    """All of a report but its id, its version and when it is due."""
    stored = {key: value for key, value in asdict(report).items() if key not in ("id", "version", "due_ms")}
    if report.progress and report.progress.edge == Edge():
        del stored["progress"]["edge"]
    if report.progress and report.progress.empty_pages == 0:
        del stored["progress"]["empty_pages"]
    if report.asked and report.asked.forbidden_ms is None:
        del stored["asked"]["forbidden_ms"]
    return _dump({key: value for key, value in stored.items() if value not in (None, 0)})


def report_from_json(id_: ReportId, version: int, due_ms: int | None, text: str) -> CampaignReport:
    stored = json.loads(text)
    progress, asked = stored.pop("progress", None), stored.pop("asked", None)
    return CampaignReport(
        id_,
        stored.pop("sent_ms", 0),
        due_ms,
        version,
        progress=progress and ReportProgress(**{**progress, "edge": _edge(progress.get("edge"))}),
        asked=asked and Asked(**asked),
        **stored,
    )


def _edge(stored: Mapping[str, Any] | None) -> Edge:
    """The edge of a page; an empty one where none is stored."""
    if stored is None:
        return Edge()
    return Edge(stored["stamp_ms"], tuple(NumberedClick(**click) for click in stored["clicks"]))


def asks_to_json(asks: Sequence[Ask]) -> str:
    """`{"8892baf9-...-clicks": "..."}`: for each report key, time and flags, in base 64."""
    by_report: dict[str, bytes] = {}
    for ask in asks:
        flags = bytes([ask.is_owed * _OWED | ask.is_elsewhere * _ELSEWHERE | ask.is_unseen * _UNSEEN])
        packed = ask.key + ask.met_ms.to_bytes(TIME_BYTES) + flags
        by_report[str(ask.report)] = by_report.get(str(ask.report), b"") + packed
    return _dump({report: base64.b64encode(packed).decode() for report, packed in by_report.items()})


def asks_from_json(text: str) -> tuple[Ask, ...]:
    """Those of a type that this version does not know are left out."""
    asks = []
    for report, stored in json.loads(text).items():
        id_ = ReportId.parse(report)
        if id_ is None:
            continue
        for packed in unpack(base64.b64decode(stored), KEY_BYTES + TIME_BYTES + 1):
            met_ms = int.from_bytes(packed[KEY_BYTES:-1])
            of = packed[-1]
            flags = bool(of & _OWED), bool(of & _ELSEWHERE), bool(of & _UNSEEN)
            asks.append(Ask(id_, packed[:KEY_BYTES], met_ms, *flags))
    asks.sort(key=attrgetter("key"), reverse=True)
    return tuple(asks)


def watched_to_json(campaign: WatchedCampaign) -> str:
    mailings = {"mailings": campaign.mailings} if campaign.mailings else {}
    return _dump({"sent_ms": campaign.sent_ms, "urls": dict(campaign.urls), **mailings})


def watched_from_json(campaign_id: str, text: str) -> WatchedCampaign:
    stored = json.loads(text)
    mailings = tuple(stored.get("mailings", ()))
    return WatchedCampaign(campaign_id, stored["sent_ms"], stored["urls"], mailings)


def feed_to_json(feed: CampaignFeed) -> str:
    return _dump(asdict(feed))


def feed_from_json(text: str) -> CampaignFeed:
    """What a later release added is left out."""
    known = {of.name for of in fields(CampaignFeed)}
    stored = {name: value for name, value in json.loads(text).items() if name in known}
    return CampaignFeed(**{**stored, "listed": tuple(stored["listed"])})


def access_to_json(access: ReportAccess) -> str:
    return _dump(asdict(access))


def access_from_json(text: str) -> ReportAccess:
    """What a later release added is left out."""
    known = {of.name for of in fields(ReportAccess)}
    stored = {name: value for name, value in json.loads(text).items() if name in known}
    return ReportAccess(**{**stored, "answering": tuple(stored["answering"])})


def shifts_to_json(shifts: Shifts) -> str:
    return _dump(asdict(shifts))


def shifts_from_json(text: str) -> Shifts:
    return Shifts(**json.loads(text))


def trust_to_json(trust: Trust) -> str:
    """`{"opens": {"mode": "publish", "pending": {"4711": [[id, occurred_ms, digest], ...]}, ...}, ...}`"""
    return _dump({type_.report: _type_trust(of) for type_, of in trust.types.items()})


def _type_trust(trust: TypeTrust) -> Mapping[str, object]:
    pending = {
        contact_id: [[row.id, row.occurred_ms, row.digest] for row in rows]
        for contact_id, rows in trust.pending.items()
    }
    return {
        "mode": trust.mode.value,
        "since_ms": trust.since_ms,
        "sampled_ms": trust.sampled_ms,
        "asked_ms": trust.asked_ms,
        "pending": pending,
        "found": {match.value: count for match, count in trust.found.items()},
        "news": trust.news,
        "shifted": trust.shifted,
        "shifted_in_a_row": trust.shifted_in_a_row,
    }


def trust_from_json(text: str, version: int) -> Trust:
    return Trust({_TYPES[report]: _trust_of_type(of) for report, of in json.loads(text).items()}, version)


def _trust_of_type(stored: Mapping[str, Any]) -> TypeTrust:
    return TypeTrust(
        **{
            **stored,
            "mode": Mode(stored["mode"]),
            "pending": {
                contact_id: tuple(SampledRow(*row) for row in rows)
                for contact_id, rows in stored["pending"].items()
            },
            "found": {Match(match): count for match, count in stored["found"].items()},
        }
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

    Work on a campaign has a `campaign_id` instead, on a campaign's report a `report_id`. `from` and
    `until`: when it may be worked on. `is_sampled` is left out where it is false, `pages` where a report
    may be read to its end, and `campaign_ids`, further campaigns, where there are none.
    """
    body: dict[str, object] = {_id_name(item.kind): item.id, "planned_at": iso(item.planned_ms)}
    if item.correlation_id is not None:
        body["correlation_id"] = item.correlation_id
    if item.window is not None:
        body |= {"from": iso(item.window.from_ms), "until": iso(item.window.until_ms)}
    if item.is_sampled:
        body["is_sampled"] = True
    if item.pages is not None:
        body["pages"] = item.pages
    if item.more:
        body["campaign_ids"] = list(item.more)
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
    is_sampled = sent.get("is_sampled") is True
    pages = sent.get("pages")
    granted = pages if isinstance(pages, int) and pages > 0 else None
    more = _more(sent) if kind is WorkKind.CAMPAIGN else ()
    return WorkItem(kind, id_, planned_ms, correlation_id, _window(sent), is_sampled, granted, more)


def _more(sent: Mapping[str, object]) -> tuple[str, ...]:
    """The further campaigns of a message. An earlier version sent none."""
    more = sent.get("campaign_ids", [])
    if not isinstance(more, list) or len(more) >= MAX_CAMPAIGNS_A_CALL:
        raise ValueError("a message body whose campaign_ids cannot be used")
    if not all(isinstance(id_, str) and USABLE_ID.fullmatch(id_) for id_ in more):
        raise ValueError("a message body whose campaign_ids cannot be used")
    return tuple(more)


def _window(sent: Mapping[str, object]) -> Window | None:
    """The window of a message. An earlier version sent none."""
    times = [sent.get(name) for name in ("from", "until")]
    if times == [None, None]:
        return None
    from_ms, until_ms = (parse_time(of) if isinstance(of, str) else None for of in times)
    if from_ms is None or until_ms is None:
        raise ValueError("a message body whose from and until cannot be used")
    return Window(from_ms, until_ms)


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
