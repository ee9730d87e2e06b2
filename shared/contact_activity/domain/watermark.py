"""How far a contact's reports are known, between walks and within one.

The API can insert a row late with an old stamp, so a watermark is not a high-water mark: the newest
activities are remembered one by one, and everything from `floor` on is read again and compared with
them. A page holds 500 rows, so reading again costs most contacts no call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.memory import (
    DIGEST_BYTES,
    KEY_BYTES,
    MAX_REMEMBERED,
    MAX_UNREADABLE,
    key_time_ms,
    pack,
    unpack,
)
from contact_activity.domain.witness import NO_EDGE, Edge

# A start date that moves later again and again leaves so many gaps that were never asked for.
MAX_SPANS = 8
ALL_REPORT = "all"
TYPES_BY_REPORT = {ALL_REPORT: tuple(ActivityType)} | {type_.report: (type_,) for type_ in ActivityType}


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time whose activities are all published and no longer remembered.

    It goes from `from_ms` to just before `to_ms`. An earlier version stored no `from_ms`: None stands for
    the start date of the next walk.
    """

    from_ms: int | None
    to_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one activity type is known.

    `through_ms`: the newest activity of a finished walk, never later than the walk's end.
    `forgotten`: spans in the order of time. There is more than one only if a start date kept the time
    between them from being asked for.
    """

    type: ActivityType
    through_ms: int | None = None
    forgotten: tuple[Span, ...] = ()

    @property
    def floor_ms(self) -> int | None:
        """From here on every activity is read again and compared with the memory. It never falls."""
        return self.forgotten[-1].to_ms if self.forgotten else None


@dataclass(frozen=True, slots=True)
class Window:
    """When an activity must have happened to be published, if it is not known.

    From `start_ms` on, but in none of the forgotten spans.
    """

    start_ms: int
    forgotten: tuple[tuple[int, int], ...]

    def holds(self, occurred_ms: int) -> bool:
        if occurred_ms < self.start_ms:
            return False
        return not any(from_ms <= occurred_ms < to_ms for from_ms, to_ms in self.forgotten)

    @property
    def since_ms(self) -> int:
        """The earliest time inside it."""
        since_ms = self.start_ms
        for from_ms, to_ms in self.forgotten:
            if from_ms <= since_ms:
                since_ms = max(since_ms, to_ms)
        return since_ms


@dataclass(frozen=True, slots=True)
class Watermark:
    """What is known of one contact, for all its reports together.

    `remembered` and `unreadable` are packed: 14 bytes an activity, newest first, and 8 bytes a row.
    `resync_ms`: the next walk publishes the activities from then on again, even if it remembers or
    forgot them; None: it does not. `resync_asked_ms`: when that was asked for.
    `reported`: what campaigns' reports published and no finished walk has shown yet, packed like
    `remembered`. No resync wants it again that was asked for before.
    """

    marks: tuple[Mark, ...] = ()
    remembered: bytes = b""
    unreadable: bytes = b""
    resync_ms: int | None = None
    resync_asked_ms: int | None = None
    reported: bytes = b""

    def mark(self, type_: ActivityType) -> Mark:
        """The mark of a type; an empty one if the type was never read."""
        return next((mark for mark in self.marks if mark.type is type_), Mark(type_))

    def window(self, type_: ActivityType, start_ms: int) -> Window:
        """When an activity of a type must have happened to be published, from a start date on."""
        return Window(start_ms, tuple(known_spans(self.mark(type_), start_ms)))

    @property
    def resync(self) -> tuple[int | None, int | None]:
        """Which resync is asked for. Two requests differ."""
        return self.resync_ms, self.resync_asked_ms

    def with_resync(self, from_ms: int, asked_ms: int) -> "Watermark":
        """With a resync that also wants again what reports published; the earlier of two dates holds."""
        return replace(
            self,
            remembered=pack({*unpack(self.remembered), *unpack(self.reported)}),
            reported=b"",
            resync_ms=from_ms if self.resync_ms is None else min(self.resync_ms, from_ms),
            resync_asked_ms=max(asked_ms, (self.resync_asked_ms or 0) + 1),
        )

    def with_reported(
        self, type_: ActivityType, keys: Iterable[bytes], resync: tuple[int | None, int | None]
    ) -> "Watermark":
        """With what a campaign's report of a type published while that resync was asked for.

        A resync that was asked for since then wants it again. A type that was never read gets an empty
        mark: it says that the memory holds some of it.
        """
        marked = self._with_mark(type_)
        if resync != self.resync:
            return replace(marked, remembered=pack({*unpack(self.remembered), *keys}))
        return replace(marked, reported=pack({*unpack(self.reported), *keys}))

    def with_vouched(
        self, type_: ActivityType, keys: Iterable[bytes], resync: tuple[int | None, int | None]
    ) -> "Watermark":
        """With what a report shows while that resync was asked for, where contacts' rows only vouch.

        It is kept apart until the contact's next walk, which is told by it that there is news. A resync that
        was asked for since then wants what lies in it again.
        """
        marked = self._with_mark(type_)
        if resync == self.resync or self.resync_ms is None:
            return replace(marked, reported=pack({*unpack(self.reported), *keys}))
        added = {key for key in keys if key_time_ms(key) < self.resync_ms}
        return replace(marked, remembered=pack({*unpack(self.remembered), *added}))

    def _with_mark(self, type_: ActivityType) -> "Watermark":
        """With a mark of a type, an empty one if it was never read: the memory holds some of it."""
        is_unread = self.mark(type_) not in self.marks
        return replace(self, marks=(*self.marks, Mark(type_))) if is_unread else self

    def cut_back(self) -> "Watermark":
        """Without all that a resync wants again, where contacts' rows only vouch.

        What was published after it was asked for stays.
        """
        if self.resync_ms is None:
            return self
        from_ms = self.resync_ms
        marks = tuple(replace(mark, forgotten=_cut(mark.forgotten, from_ms)) for mark in self.marks)
        before = {key for key in unpack(self.remembered) if key_time_ms(key) < from_ms}
        remembered = pack({*before, *unpack(self.reported)})
        return Watermark(marks, remembered, self.unreadable)

    def is_too_long_with(self, progress: "Progress") -> bool:
        """Whether the memory has no room for all that an unfinished walk published, if it is given up."""
        packed_bytes = len(self.remembered) + len(self.reported) + len(progress.candidates)
        return packed_bytes > MAX_REMEMBERED // 2 * KEY_BYTES

    def with_published(self, progress: "Progress") -> "Watermark":
        """This watermark with all that an unfinished walk published, though the walk is given up.

        What the walk forgot becomes a span of each type that it read. What the contact's item has no room
        for, beside the next walk, is forgotten as well.
        """
        remembered = unpack(self.remembered)
        room = max(0, 2 * MAX_REMEMBERED - len(remembered) - len(unpack(self.reported)))
        known = {*remembered, *unpack(self.reported)}
        candidates = sorted(set(unpack(progress.candidates)).difference(known), reverse=True)
        let_go = key_time_ms(candidates[room]) if len(candidates) > room else None
        edges = {time_ms for _, time_ms in progress.oldest}
        partly = set(unpack(progress.partly))
        beyond = candidates[room:]
        kept = candidates[:room] + [key for key in beyond if key_time_ms(key) in edges or key in partly]
        spans = progress.forgotten_spans(latest(let_go, progress.forgotten_ms))
        marks = {mark.type: mark for mark in self.marks}
        for type_ in progress.types:
            mark = marks.get(type_, Mark(type_))
            before = known_spans(mark, progress.start_ms)
            marks[type_] = replace(mark, forgotten=united([*before, *spans.get(type_, ())]))
        digests = dict.fromkeys(unpack(self.unreadable, DIGEST_BYTES))
        digests |= dict.fromkeys(unpack(progress.unreadable, DIGEST_BYTES))
        unreadable = b"".join(list(digests)[-MAX_UNREADABLE:])
        keys = pack([*remembered, *kept])
        return replace(self, marks=tuple(marks.values()), remembered=keys, unreadable=unreadable)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of each contact, and how much of it is remembered.

    `is_witnessed`: its own rows only vouch, and campaigns' reports publish (v3).
    """

    account: str
    reports: tuple[str, ...] = (ALL_REPORT,)
    start_ms: int | None = None
    overlap_h: int = 168
    remembered_min: int = 200
    is_witnessed: bool = False

    @property
    def fingerprint(self) -> str:
        """A text that differs if an unfinished walk reads something else than a new one would."""
        return f"{self.account} {','.join(self.reports)} {self.start_ms}"

    @property
    def types(self) -> tuple[ActivityType, ...]:
        return _types_of(self.reports)

    @property
    def calls_each(self) -> int:
        """How many calls a contact takes when nothing is new. Where rows only vouch, one has all types."""
        return 1 if self.is_witnessed else len(self.reports)

    @classmethod
    def of_fingerprint(cls, fingerprint: str) -> "Reading":
        """What a walk of that fingerprint reads, with a default memory."""
        account, reports, start = fingerprint.split(" ")
        return cls(account, tuple(reports.split(",")), None if start == "None" else int(start))

    def as_begun(self, fingerprint: str) -> "Reading | None":
        """This reading with the reports and the start date of a walk; None if its account is another."""
        begun = Reading.of_fingerprint(fingerprint)
        if begun.account != self.account:
            return None
        return replace(self, reports=begun.reports, start_ms=begun.start_ms)


@dataclass(frozen=True, slots=True)
class Progress:
    """A walk that ran out of time: all that the next invocation needs to go on.

    `candidates`: what the walk published or met again, packed like `Watermark.remembered`.
    `next`: the cursor of the next page; None for a report's first page.
    `pages`: how many pages of this report were read since it was begun or begun anew.
    `forgotten_ms`: the newest activity that the walk published and no longer remembers.
    `oldest`: the oldest activity of each type that was read of this report; `again_from`: the same at
    the moment when the report was begun anew.
    `partly`: what the bus accepted of a page that it accepted in part, packed like `candidates`.
    `undecided_pages`: how many were read before it began anew for what was set aside.
    `edge`: the clicks of the last stamp that was read, where rows only vouch. `is_resynced`: a resync wants
    what it asks for there.
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
    undecided_pages: int = 0
    edge: Edge = NO_EDGE
    is_resynced: bool = False

    @property
    def start_ms(self) -> int:
        return Reading.of_fingerprint(self.fingerprint).start_ms or 0

    @property
    def types(self) -> tuple[ActivityType, ...]:
        """The types that were read, the last report perhaps in part."""
        return (*self._types_done, *_types_of(self.report.split(",")))

    @property
    def _types_done(self) -> tuple[ActivityType, ...]:
        reports = Reading.of_fingerprint(self.fingerprint).reports
        # Where rows only vouch, one report has all types, by all their names.
        return _types_of(reports[: reports.index(self.report)]) if self.report in reports else ()

    def with_oldest(self) -> "Progress":
        """This progress with `oldest` taken from its candidates, for a marker of an earlier version.

        Unchanged if the candidates may be of another report.
        """
        if self._types_done or not self.candidates:
            return self
        oldest_ms = _oldest_ms(self.candidates)
        return replace(self, oldest=tuple((type_, oldest_ms) for type_ in self.types))

    def forgotten_spans(self, forgotten_ms: int | None) -> dict[ActivityType, tuple[tuple[int, int], ...]]:
        """For each type, the span that is published up to the newest forgotten activity."""
        if forgotten_ms is None:
            return {}
        done = dict.fromkeys(self._types_done, self.start_ms)
        # More of the oldest moment may be on the next page: its activities stay candidates.
        begun = {type_: time_ms + 1 for type_, time_ms in self.oldest}
        return {type_: ((from_ms, forgotten_ms + 1),) for type_, from_ms in (done | begun).items()}


def _oldest_ms(packed: bytes) -> int:
    return key_time_ms(packed[-KEY_BYTES:])


def _types_of(reports: Iterable[str]) -> tuple[ActivityType, ...]:
    return tuple(type_ for report in reports for type_ in TYPES_BY_REPORT[report])


def known_spans(mark: Mark, start_ms: int) -> list[tuple[int, int]]:
    """The forgotten spans of a mark, for a walk that begins at a start date."""
    return [(_from_ms(span, start_ms), span.to_ms) for span in mark.forgotten]


def _from_ms(span: Span, start_ms: int) -> int:
    if span.from_ms is not None:
        return span.from_ms
    return start_ms if start_ms < span.to_ms else 0


def united(spans: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """Join the spans that meet, in the order of time, and the earliest of more than `MAX_SPANS`."""
    united = touching(spans)
    early, late = united[: -MAX_SPANS + 1], united[-MAX_SPANS + 1 :]
    joined = [(early[0][0], early[-1][1])] if early else []
    return tuple(Span(*span) for span in [*joined, *late])


def _cut(spans: Iterable[Span], to_ms: int) -> tuple[Span, ...]:
    return tuple(Span(of.from_ms, min(of.to_ms, to_ms)) for of in spans if (of.from_ms or 0) < to_ms)


def touching(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the spans that meet, in the order of time."""
    joined: list[tuple[int, int]] = []
    for from_ms, to_ms in sorted(span for span in spans if span[0] < span[1]):
        if joined and from_ms <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(to_ms, joined[-1][1]))
        else:
            joined.append((from_ms, to_ms))
    return joined


def set_right(watermark: Watermark, now_ms: int) -> Watermark:
    """The watermark without times after `now_ms`, which a clock that ran ahead wrote.

    A floor in the future moves to where the memory begins: all that is newer than the newest forgotten
    activity is remembered.
    """
    packed = [keys for keys in (watermark.remembered, watermark.reported) if keys]
    begins_ms = min(now_ms, *map(_oldest_ms, packed)) if packed else now_ms

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
    """The latest of those that are not None, or None."""
    return max((time_ms for time_ms in times_ms if time_ms is not None), default=None)
