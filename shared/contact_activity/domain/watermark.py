"""Holds how far a contact's reports are known, between walks and within one.

Pure. The API can insert a row late with an old stamp, so a watermark is not a high-water mark: the
newest activities are remembered one by one, and everything from `floor` on is read again and
compared with them. A page holds 500 rows, so reading again costs no call for most contacts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.memory import (
    DIGEST_BYTES,
    KEY_BYTES,
    REMEMBERED_MAX,
    UNREADABLE_MAX,
    key_time_ms,
    pack,
    unpack,
)

# A start date that is moved later, again and again, may leave so many times that were never asked for.
SPANS_MAX = 8
ALL_REPORT = "all"
TYPES_BY_REPORT = {ALL_REPORT: tuple(ActivityType)} | {type_.report: (type_,) for type_ in ActivityType}


@dataclass(frozen=True, slots=True)
class Span:
    """All activities from `from_ms` to before `to_ms` are published, and no longer remembered.

    `from_ms` None: stored by a version that did not note it; the start date of the next walk stands
    for it.
    """

    from_ms: int | None
    to_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one activity type is known.

    `through_ms`: newest activity of a finished walk, never later than the walk's end.
    `forgotten`: spans in the order of time, more than one only where a start date kept a time between
    them from being asked for.
    """

    type: ActivityType
    through_ms: int | None = None
    forgotten: tuple[Span, ...] = ()

    @property
    def floor_ms(self) -> int | None:
        """All that is later is asked for and compared with what is remembered; never falls."""
        return self.forgotten[-1].to_ms if self.forgotten else None


@dataclass(frozen=True, slots=True)
class Watermark:
    """What is known of one contact, for all its reports together.

    `remembered` and `unreadable` are packed (14 bytes an activity, newest first; 8 a row).
    `resync_ms`: the next walk publishes the activities from then on again, also those that are
    remembered or forgotten; None: it does not.
    """

    marks: tuple[Mark, ...] = ()
    remembered: bytes = b""
    unreadable: bytes = b""
    resync_ms: int | None = None

    def mark(self, type_: ActivityType) -> Mark:
        return next((mark for mark in self.marks if mark.type is type_), Mark(type_))

    def is_too_long_with(self, progress: "Progress") -> bool:
        """Whether not all that an unfinished walk published would be kept while its types are not read.

        Between that and what is remembered may lie what was not read yet.
        """
        packed_bytes = len(self.remembered) + len(progress.candidates)
        return packed_bytes > REMEMBERED_MAX // 2 * KEY_BYTES

    def with_published(self, progress: "Progress") -> "Watermark":
        """What an unfinished walk published counts as remembered, though the walk is given up.

        What it let go is a span of each type that it read, which has a mark by that. As much of the rest
        is let go as the contact's item has no room for beside the next walk.
        """
        remembered = unpack(self.remembered)
        room = max(0, 2 * REMEMBERED_MAX - len(remembered))
        candidates = sorted(set(unpack(progress.candidates)).difference(remembered), reverse=True)
        let_go = key_time_ms(candidates[room]) if len(candidates) > room else None
        edges = {time_ms for _, time_ms in progress.oldest}
        partly = set(unpack(progress.partly))
        beyond = candidates[room:]
        kept = candidates[:room] + [key for key in beyond if key_time_ms(key) in edges or key in partly]
        spans = progress.forgotten_spans(latest(let_go, progress.forgotten_ms))
        marks = {mark.type: mark for mark in self.marks}
        for type_ in progress.types:
            mark = marks.get(type_, Mark(type_))
            known = known_spans(mark, progress.start_ms)
            marks[type_] = replace(mark, forgotten=united([*known, *spans.get(type_, ())]))
        digests = dict.fromkeys(unpack(self.unreadable, DIGEST_BYTES))
        digests |= dict.fromkeys(unpack(progress.unreadable, DIGEST_BYTES))
        unreadable = b"".join(list(digests)[-UNREADABLE_MAX:])
        keys = pack([*remembered, *kept])
        return replace(self, marks=tuple(marks.values()), remembered=keys, unreadable=unreadable)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of each contact, and what is remembered of it."""

    account: str
    reports: tuple[str, ...] = (ALL_REPORT,)
    start_ms: int | None = None
    overlap_h: int = 168
    remembered_min: int = 200

    @property
    def fingerprint(self) -> str:
        """Changes whenever an unfinished walk reads something else than a new one would."""
        return f"{self.account} {','.join(self.reports)} {self.start_ms}"

    @property
    def types(self) -> tuple[ActivityType, ...]:
        return _types_of(self.reports)

    @classmethod
    def of_fingerprint(cls, fingerprint: str) -> "Reading":
        """What a walk of that fingerprint reads; the memory is not in it."""
        account, reports, start = fingerprint.split(" ")
        return cls(account, tuple(reports.split(",")), None if start == "None" else int(start))

    def as_begun(self, fingerprint: str) -> "Reading | None":
        """This, but for what a walk of that fingerprint reads; None for one of another account."""
        begun = Reading.of_fingerprint(fingerprint)
        if begun.account != self.account:
            return None
        return replace(self, reports=begun.reports, start_ms=begun.start_ms)


@dataclass(frozen=True, slots=True)
class Progress:
    """A walk that ran out of time: all that the next invocation needs to go on.

    `candidates` is packed like `Watermark.remembered`; `next` is None at a report's first page.
    `pages`: of this report, since it was begun or begun anew. `forgotten_ms`: newest activity that
    the walk published and no longer remembers. `oldest`: of each type, the oldest that it read of this
    report; `again_from`: the same, when the report was begun anew. `partly`, packed like `candidates`:
    what the bus accepted of a page of which it did not accept all.
    """

    started_ms: int
    fingerprint: str
    report: str
    next: str | None
    candidates: bytes
    unreadable: bytes
    through: tuple[tuple[ActivityType, int], ...]
    forgotten_ms: int | None
    restarts: int
    pages: int = 0
    oldest: tuple[tuple[ActivityType, int], ...] = ()
    again_from: tuple[tuple[ActivityType, int], ...] = ()
    partly: bytes = b""

    @property
    def start_ms(self) -> int:
        return Reading.of_fingerprint(self.fingerprint).start_ms or 0

    @property
    def types(self) -> tuple[ActivityType, ...]:
        """Those that were read, the last of them perhaps in part."""
        return (*self._types_done, *TYPES_BY_REPORT[self.report])

    @property
    def _types_done(self) -> tuple[ActivityType, ...]:
        reports = Reading.of_fingerprint(self.fingerprint).reports
        return _types_of(reports[: reports.index(self.report)])

    def with_oldest(self) -> "Progress":
        """This, with `oldest` by its candidates, newest first as the API gives them.

        As it is where they may be of another report.
        """
        if self._types_done or not self.candidates:
            return self
        oldest_ms = _oldest_ms(self.candidates)
        return replace(self, oldest=tuple((type_, oldest_ms) for type_ in self.types))

    def forgotten_spans(self, forgotten_ms: int | None) -> dict[ActivityType, tuple[tuple[int, int], ...]]:
        """Of each type the span that is published up to the newest forgotten activity."""
        if forgotten_ms is None:
            return {}
        done = dict.fromkeys(self._types_done, self.start_ms)
        # Of the oldest moment more may be on a page that was not read: its activities are candidates.
        begun = {type_: time_ms + 1 for type_, time_ms in self.oldest}
        return {type_: ((from_ms, forgotten_ms + 1),) for type_, from_ms in (done | begun).items()}


def _oldest_ms(packed: bytes) -> int:
    return key_time_ms(packed[-KEY_BYTES:])


def _types_of(reports: Iterable[str]) -> tuple[ActivityType, ...]:
    return tuple(type_ for report in reports for type_ in TYPES_BY_REPORT[report])


def known_spans(mark: Mark, start_ms: int) -> list[tuple[int, int]]:
    return [(_from_ms(span, start_ms), span.to_ms) for span in mark.forgotten]


def _from_ms(span: Span, start_ms: int) -> int:
    if span.from_ms is not None:
        return span.from_ms
    return start_ms if start_ms < span.to_ms else 0


def united(spans: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """In the order of time, those that meet as one; the earliest of more than `SPANS_MAX` as one."""
    united: list[tuple[int, int]] = []
    for from_ms, to_ms in sorted(span for span in spans if span[0] < span[1]):
        if united and from_ms <= united[-1][1]:
            united[-1] = (united[-1][0], max(to_ms, united[-1][1]))
        else:
            united.append((from_ms, to_ms))
    early, late = united[: -SPANS_MAX + 1], united[-SPANS_MAX + 1 :]
    joined = [(early[0][0], early[-1][1])] if early else []
    return tuple(Span(*span) for span in [*joined, *late])


def set_right(watermark: Watermark, now_ms: int) -> Watermark:
    """What a clock said that ran ahead hides nothing of what comes next.

    All that is newer than the newest forgotten one is remembered, so a floor in the future is put where
    the memory begins.
    """
    begins_ms = min(now_ms, _oldest_ms(watermark.remembered)) if watermark.remembered else now_ms

    def span(span: Span) -> Span:
        from_ms = None if (span.from_ms or 0) > now_ms else span.from_ms
        return Span(from_ms, begins_ms if span.to_ms > now_ms else span.to_ms)

    marks = tuple(
        replace(
            mark,
            through_ms=None if mark.through_ms is None else min(mark.through_ms, now_ms),
            forgotten=tuple(map(span, mark.forgotten)),
        )
        for mark in watermark.marks
    )
    return replace(watermark, marks=marks)


def latest(*times_ms: int | None) -> int | None:
    return max((time_ms for time_ms in times_ms if time_ms is not None), default=None)
