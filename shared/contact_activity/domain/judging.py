"""A walk through a contact's rows in v3, which publishes nothing: which of them no report has shown yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.asks import MAX_ASKS, Ask
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import (
    DIGEST_BYTES,
    MAX_REMEMBERED,
    activity_key,
    forget,
    key_time_ms,
    note_digests,
    pack,
    unpack,
)
from contact_activity.domain.shadows import MAX_SHIFT_H
from contact_activity.domain.times import HOUR_MS, WEEK_MS
from contact_activity.domain.walk import Counts
from contact_activity.domain.watermark import (
    Mark,
    Progress,
    Reading,
    Span,
    Watermark,
    Window,
    known_spans,
    latest,
    touching,
)
from contact_activity.domain.witness import Edge, marker_key, numbered, witness_key

# Each ask that waits for long is a gap in what is forgotten.
MAX_SPANS_BETWEEN_ASKS = 64


@dataclass(slots=True)
class Judging:
    """One reading of a contact's rows, newest first, over any number of invocations.

    `take` each page. `watermark` and `asks` are what to store, at the end and at each stop: the memory of
    what was published is kept by the reports, so that it only forgets here.
    """

    contact: Contact
    reading: Reading
    started_ms: int
    counts: Counts = field(default_factory=Counts)
    restarts: int = 0
    pages: int = 0
    memory_is_full: bool = False
    is_resumed: bool = False
    is_undecided: bool = False
    _known: set[bytes] = field(init=False)
    _asks: dict[bytes, Ask] = field(init=False)
    _asked_before: dict[bytes, Ask] = field(init=False)
    _new_asks: set[bytes] = field(default_factory=set)
    _rows: dict[bytes, Activity] = field(default_factory=dict)
    _unreadable: list[bytes] = field(init=False)
    _through: dict[ActivityType, int] = field(default_factory=dict)
    _oldest_ms: int | None = None
    _edge: Edge = field(default_factory=Edge)
    _windows: dict[ActivityType, Window] = field(init=False)

    def __post_init__(self) -> None:
        watermark = self.contact.watermark
        self._known = {*unpack(watermark.remembered), *unpack(watermark.reported)}
        self._unreadable = unpack(watermark.unreadable, DIGEST_BYTES)
        self._windows = {type_: self._window(type_) for type_ in ActivityType}
        self._asked_before = {ask.key: ask for ask in self.contact.asks}
        self._asks = {}
        progress = self.contact.progress
        # One that stopped at its first page, or behind its last, begins anew.
        if progress and progress.next is not None and progress.fingerprint == self.reading.fingerprint:
            self._resume(progress)

    def _resume(self, progress: Progress) -> None:
        self.is_resumed = True
        self.started_ms = progress.started_ms
        self.restarts, self.pages = progress.restarts, progress.pages
        self._through = dict(progress.through)
        self._oldest_ms = min((time_ms for _, time_ms in progress.oldest), default=None)
        self._edge = progress.edge
        # An ask of a page that was read before lies at or above the oldest row of it.
        if self._oldest_ms is not None:
            read = {key: ask for key, ask in self._asked_before.items() if ask.stamp_ms >= self._oldest_ms}
            self._asks = read

    @property
    def is_full(self) -> bool:
        """Whether to stop: reports must be read before it goes on."""
        return sum(not ask.is_owed for ask in self._asks.values()) >= MAX_ASKS

    @property
    def asks(self) -> tuple[Ask, ...]:
        """What of the rows read so far no report has shown, newest first."""
        return tuple(self._asks[key] for key in sorted(self._asks, reverse=True))

    @property
    def new_asks(self) -> tuple[Ask, ...]:
        """Those that no earlier walk met."""
        return tuple(ask for ask in self.asks if ask.key in self._new_asks)

    def settle(self, asks: Iterable[Ask]) -> None:
        """Take over what became of asks."""
        self._asks |= {ask.key: ask for ask in asks}

    def keep_unseen(self) -> None:
        """Keep once what asked before and was not shown: rows that vanish shift others over an edge."""
        for key, ask in self._asked_before.items():
            is_wanted = ask.report.type in self.reading.types and self._windows[ask.report.type].holds(
                ask.stamp_ms
            )
            if key not in self._asks and key not in self._known and is_wanted and not ask.is_unseen:
                self._asks[key] = replace(ask, is_unseen=True)

    def asks_ahead(self) -> tuple[Ask, ...]:
        """What asked before and lies on pages that were not read yet, newest first, as far as there is room.

        A walk that goes on later would take it for new, and a row that counts as met anew each time is
        never judged.
        """
        ahead = [
            ask
            for key, ask in self._asked_before.items()
            if key not in self._asks
            and key not in self._known
            and (self._oldest_ms is None or ask.stamp_ms <= self._oldest_ms)
        ]
        ahead.sort(key=lambda ask: ask.key, reverse=True)
        return tuple(ahead[: max(0, MAX_ASKS - len(self._asks))])

    def row_of(self, ask: Ask) -> Activity | None:
        """The row that asks; None if an earlier invocation read it."""
        return self._rows.get(ask.key)

    def is_published(self, activity: Activity) -> bool:
        """Whether an equal row was published for itself before."""
        return activity_key(self.reading.account, activity) in self._known

    def note_published(self, asks: Iterable[Ask]) -> dict[ActivityType, set[bytes]]:
        """Remember rows that were published for themselves. They ask no more. Return keys by type."""
        account, noted = self.reading.account, dict[ActivityType, set[bytes]]()
        for ask in asks:
            activity = self._rows[ask.key]
            keys = {ask.key, activity_key(account, activity)}
            if activity.type is ActivityType.CLICKED:
                keys.add(marker_key(account, activity, self._next_marker(activity)))
            self._known |= keys
            noted.setdefault(activity.type, set()).update(keys)
            del self._asks[ask.key]
        return noted

    def _next_marker(self, click: Activity) -> int:
        number = 1
        while marker_key(self.reading.account, click, number) in self._known:
            number += 1
        return number

    def begin_report(self) -> None:
        """There is one report for all types."""

    def begin_anew(self) -> None:
        """Go back to the first page."""
        self.pages = 0
        self._oldest_ms, self._edge = None, Edge()

    def since_ms(self, report: str) -> int | None:  # noqa: ARG002
        """From when on rows are wanted; None: all."""
        return min(self._windows[type_].since_ms for type_ in self.reading.types) or None

    def take(self, activities: Sequence[Activity], digests: Sequence[str], now_ms: int) -> tuple[str, ...]:
        """Judge the rows of a page. Return the digests of unreadable rows that were not told before."""
        self.pages += 1
        numbers, self._edge = numbered(activities, self._edge, is_report=False)
        for activity, number in zip(activities, numbers, strict=True):
            self.counts.rows += 1
            self._note_time(activity, now_ms)
            if not self._windows[activity.type].holds(activity.occurred_ms):
                self.counts.out_of_window += 1
                continue
            self._judge(activity, number, now_ms)
        return note_digests(self._unreadable, digests)

    def _judge(self, activity: Activity, number: int, now_ms: int) -> None:
        key = witness_key(self.reading.account, activity, number)
        if key in self._known:
            self.counts.known += 1
            return
        ask = self._asked_before.get(key)
        # A resync has what asked before met anew when the walk begins.
        if ask is None or ask.met_ms == self.started_ms:
            self._new_asks.add(key)
        if ask is None:
            ask = Ask(ReportId(activity.campaign_id or "", activity.type), key, now_ms)
        self._asks.setdefault(key, replace(ask, is_unseen=False))
        self._rows[key] = activity

    def _note_time(self, activity: Activity, now_ms: int) -> None:
        at_ms = activity.occurred_ms
        self._oldest_ms = at_ms if self._oldest_ms is None else min(self._oldest_ms, at_ms)
        if at_ms > now_ms:
            self.counts.in_future += 1
        elif at_ms > self._through.get(activity.type, -1):
            self._through[activity.type] = at_ms

    def progress(self, report: str, next_: str | None) -> Progress:
        """The marker to store if the walk stops before page `next_`."""
        oldest = () if self._oldest_ms is None else ((self.reading.types[0], self._oldest_ms),)
        return Progress(
            started_ms=self.started_ms,
            fingerprint=self.reading.fingerprint,
            report=report,
            next=next_,
            candidates=b"",
            unreadable=b"",
            through=tuple(self._through.items()),
            forgotten_ms=None,
            restarts=self.restarts,
            pages=self.pages,
            oldest=oldest,
            edge=self._edge,
        )

    def watermark(self, *, is_whole: bool) -> Watermark:
        """What is known now. `is_whole`: all rows were read.

        What is old enough is forgotten where all rows were read and none of them asks.
        """
        stored = self.contact.watermark
        through = {
            type_: latest(stored.mark(type_).through_ms, self._through.get(type_)) for type_ in ActivityType
        }
        spans = self._forgettable(latest(*through.values()), is_whole=is_whole)
        known = {type_: known_spans(stored.mark(type_), self._start_ms) for type_ in self._types}
        accepted = _as_many_as_fit(spans, list(known.values()))
        marks = []
        for type_ in self._types:
            mark = stored.mark(type_)
            is_read = is_whole and type_ in self.reading.types
            forgotten = tuple(Span(*span) for span in touching([*known[type_], *accepted]))
            marks.append(Mark(type_, through[type_] if is_read else mark.through_ms, forgotten))
        return replace(
            stored,
            marks=tuple(marks),
            remembered=pack(key for key in self._known if not _lies_in(key_time_ms(key), accepted)),
            reported=b"",
            unreadable=b"".join(self._unreadable),
        )

    @property
    def _start_ms(self) -> int:
        return self.reading.start_ms or 0

    @property
    def _types(self) -> list[ActivityType]:
        """Those that are read, and those of which the memory may hold something."""
        marked = {mark.type for mark in self.contact.watermark.marks}
        return [type_ for type_ in ActivityType if type_ in marked or type_ in self.reading.types]

    def _window(self, type_: ActivityType) -> Window:
        return self.contact.watermark.window(type_, self._start_ms)

    def _forgettable(self, newest_ms: int | None, *, is_whole: bool) -> list[tuple[int, int]]:
        """Spans of time, newest first, in which all rows were read and none asks.

        A key does not tell its type: while a type is not read that once was, only what has no room goes.
        """
        is_a_type_unread = len(self._types) > len(self.reading.types)
        through_ms = None if newest_ms is None or is_a_type_unread else min(newest_ms, self.started_ms)
        kept, forgotten_ms = forget(
            self._known,
            through_ms=through_ms,
            overlap_h=self.reading.overlap_h,
            remembered_min=self.reading.remembered_min,
        )
        if forgotten_ms is None or (self._oldest_ms is None and not is_whole):
            return []
        self.memory_is_full |= len(kept) == MAX_REMEMBERED
        lowest_ms = self._start_ms if is_whole else max(self._start_ms, (self._oldest_ms or 0) + 1)
        spans, upper_ms = [], forgotten_ms + 1
        for from_ms, to_ms in reversed(touching(map(self._gap, self._asks.values()))):
            if from_ms < upper_ms:
                spans.append((max(lowest_ms, to_ms), upper_ms))
                upper_ms = from_ms
        spans.append((lowest_ms, upper_ms))
        return [span for span in spans if span[0] < span[1]]

    def _gap(self, ask: Ask) -> tuple[int, int]:
        """When what asks may stand in its report, which may show another stamp: that must not be forgotten.

        While the report may still answer, and there is room, it is any that clocks and zones can make of it.
        """
        may_answer = not ask.is_owed or self.started_ms - ask.met_ms < WEEK_MS
        off_ms = MAX_SHIFT_H * HOUR_MS if may_answer and not self.memory_is_full else 0
        return ask.stamp_ms - off_ms, ask.stamp_ms + off_ms + 1


def _as_many_as_fit(
    spans: Sequence[tuple[int, int]], known: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[int, int]]:
    """The newest spans that can be stored beside the known ones of each type. None is joined over a gap."""
    accepted: list[tuple[int, int]] = []
    for span in spans:
        if all(len(touching([*of_type, *accepted, span])) <= MAX_SPANS_BETWEEN_ASKS for of_type in known):
            accepted.append(span)
    return accepted


def _lies_in(at_ms: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(from_ms <= at_ms < to_ms for from_ms, to_ms in spans)
