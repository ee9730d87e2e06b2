"""A walk through a contact's reports: what is new on each page, and the watermark at the end."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.memory import (
    DIGEST_BYTES,
    MAX_REMEMBERED,
    TIME_BYTES,
    activity_key,
    forget,
    key_time_ms,
    note_digests,
    pack,
    unpack,
)
from contact_activity.domain.shadows import Shadows
from contact_activity.domain.watermark import (
    TYPES_BY_REPORT,
    Mark,
    Progress,
    Reading,
    Watermark,
    Window,
    known_spans,
    latest,
    united,
)

# A walk that does not fit into one invocation would begin anew for ever.
MAX_UNDECIDED_PAGES = 500


@dataclass(slots=True)
class Counts:
    """How many rows a walk met, and how many were no new activity.

    `shifted`: rows that are the like of a report's row at another hour, and so no activity of their own.
    """

    rows: int = 0
    known: int = 0
    collapsed: int = 0
    out_of_window: int = 0
    in_future: int = 0
    shifted: int = 0


@dataclass(frozen=True, slots=True)
class NewOnPage:
    """What of a page must be published, oldest first, and the unreadable rows that were not reported."""

    activities: tuple[Activity, ...]
    unreadable: tuple[str, ...]


@dataclass(slots=True)
class Walk:
    """One reading of a contact's reports, from the first page of the first report to the last page.

    `take` each page and publish what it returns, with `begin_report` between two reports. After the last
    page `finish` returns the next watermark. Until then nothing of the walk counts.
    `started_ms`: a row inserted later may be on a page that was read before, so no activity newer than
    this makes another forgotten, however long the walk is interrupted.
    `pages`: how many pages of this report were read since it was begun or begun anew.
    `memory_is_full`: more activity lies inside the overlap than can be remembered, which shortens the
    promised window. `is_resumed`: some pages were read by an earlier invocation. `undecided_pages`: how
    many were read in vain, since it began anew for what was set aside; after so many it sets nothing aside.

    A new row whose like at another hour a campaign's report published is set aside: either the two sides
    differ in their stamps, or both happened. If this walk shows the like too, both did.
    """

    watermark: Watermark
    reading: Reading
    started_ms: int
    counts: Counts = field(default_factory=Counts)
    restarts: int = 0
    pages: int = 0
    memory_is_full: bool = False
    is_resumed: bool = False
    undecided_pages: int = 0
    _published_before: set[bytes] = field(init=False)
    _remembered: set[bytes] = field(init=False)
    _known: set[bytes] = field(init=False)
    _candidates: set[bytes] = field(default_factory=set)
    _unreadable: list[bytes] = field(init=False)
    _through: dict[ActivityType, int] = field(default_factory=dict)
    _oldest: dict[ActivityType, int] = field(default_factory=dict)
    _oldest_before: dict[ActivityType, int] = field(default_factory=dict)
    _forgotten_ms: int | None = None
    _again_from: dict[ActivityType, int] = field(default_factory=dict)
    _on_page: set[bytes] = field(default_factory=set)
    _partly: set[bytes] = field(default_factory=set)
    _windows: dict[ActivityType, Window] = field(init=False)
    _aside: dict[bytes, tuple[bytes, Activity]] = field(default_factory=dict)
    _aside_before: dict[bytes, tuple[bytes, Activity]] = field(default_factory=dict)
    _shadows: Shadows = field(init=False)

    def __post_init__(self) -> None:
        remembered, reported = map(unpack, (self.watermark.remembered, self.watermark.reported))
        self._published_before = {*remembered, *reported}
        self._remembered = {key for key in remembered if not self._is_wanted_again(key)}
        self._remembered.update(reported)
        self._shadows = Shadows(self.reading.account, set(reported))
        self._known = set(self._remembered)
        self._unreadable = unpack(self.watermark.unreadable, DIGEST_BYTES)
        self._windows = {type_: self._window(type_) for type_ in ActivityType}

    @classmethod
    def resume(cls, watermark: Watermark, reading: Reading, progress: Progress) -> "Walk":
        """Go on with a walk that stored its progress."""
        walk = cls(
            watermark,
            reading,
            progress.started_ms,
            restarts=progress.restarts,
            pages=progress.pages,
            is_resumed=True,
            undecided_pages=progress.undecided_pages,
        )
        walk._candidates = set(unpack(progress.candidates))
        walk._known |= walk._candidates
        walk._unreadable = unpack(progress.unreadable, DIGEST_BYTES)
        walk._through = dict(progress.through)
        walk._forgotten_ms = progress.forgotten_ms
        walk._oldest = dict(progress.oldest)
        walk._again_from = dict(progress.again_from)
        walk._partly = set(unpack(progress.partly))
        if progress.next is None:
            walk.begin_anew()
        return walk

    def begin_report(self) -> None:
        """Go on to another report, at its first page."""
        self.pages = 0
        self._oldest.clear()
        self._again_from.clear()
        self._partly.clear()

    def begin_anew(self) -> None:
        """Go back to the report's first page."""
        self.pages = 0
        self._again_from = dict(self._oldest)

    def is_again(self, activity: Activity) -> bool:
        """Whether an earlier walk published it, or may have. Only a resync brings such an activity back."""
        key = activity_key(self.reading.account, activity)
        return self._is_forgotten(activity) or key in self._published_before

    def since_ms(self, report: str) -> int | None:
        """The `created_since` to ask with; None for the whole history."""
        since_ms = min(self._windows[type_].since_ms for type_ in TYPES_BY_REPORT[report])
        return since_ms or None

    def take(self, activities: Sequence[Activity], digests: Sequence[str], now_ms: int) -> NewOnPage:
        """Sort a page into what is new and what is not, and count what is new as published."""
        self.pages += 1
        self._oldest_before = dict(self._oldest)
        on_page: set[bytes] = set()
        new: list[tuple[bytes, Activity]] = []
        for activity in activities:
            self.counts.rows += 1
            if not self._windows[activity.type].holds(activity.occurred_ms):
                self.counts.out_of_window += 1
                continue
            key = activity_key(self.reading.account, activity)
            if key in on_page:
                self.counts.collapsed += 1
                continue
            on_page.add(key)
            self._note_time(activity, now_ms)
            if key in self._known:
                self.counts.known += 1
            elif self._was_forgotten_here(activity):
                self.counts.known += 1
                on_page.remove(key)
            elif self._is_set_aside(key, activity):
                on_page.remove(key)
            else:
                new.append((key, activity))
        new += self._shown_with_their_likes(on_page)
        on_page.update(key for key, _ in new)
        self._on_page = on_page
        self._partly -= on_page
        self._known |= on_page
        self._candidates |= on_page
        self._compact(on_page)
        new.sort(key=lambda keyed: keyed[0])
        return NewOnPage(tuple(activity for _, activity in new), note_digests(self._unreadable, digests))

    def take_back(self, activities: Iterable[Activity], digests: Collection[str] = ()) -> None:
        """Undo that activities of the last page count as published, and digests as reported."""
        untold = {bytes.fromhex(digest) for digest in digests}
        self._unreadable = [digest for digest in self._unreadable if digest not in untold]
        keys = {activity_key(self.reading.account, activity) for activity in activities}
        # The page that is read again need not show them.
        self._aside.update((like, own) for like, own in self._aside_before.items() if own[0] in keys)
        if keys:
            self._oldest = self._oldest_before
            self._partly |= self._on_page - keys
        self._candidates -= keys
        self._known -= keys

    def shifted_by_type(self) -> dict[ActivityType, int]:
        """How many rows are the like of a report's row at another hour, at the end of the walk."""
        return {} if self.is_resumed else Counter(activity.type for _, activity in self._aside.values())

    @property
    def is_undecided(self) -> bool:
        """Whether rows are set aside: the walk cannot go on in another invocation but from its beginning."""
        return bool(self._aside)

    def progress(self, report: str, next_: str | None) -> Progress:
        """The marker to store if time runs out before page `next_` of `report` is read."""
        return Progress(
            started_ms=self.started_ms,
            fingerprint=self.reading.fingerprint,
            report=report,
            next=next_,
            candidates=pack(self._candidates),
            unreadable=b"".join(self._unreadable),
            through=tuple(self._through.items()),
            forgotten_ms=self._forgotten_ms,
            restarts=self.restarts,
            pages=self.pages,
            oldest=tuple(self._oldest.items()),
            again_from=tuple(self._again_from.items()),
            partly=pack(self._partly),
            undecided_pages=self.undecided_pages + (self.pages if self.is_undecided else 0),
        )

    def finish(self) -> Watermark:
        """The watermark after the last page of the last report was published."""
        through = {
            type_: latest(self.watermark.mark(type_).through_ms, self._through.get(type_))
            for type_ in ActivityType
        }
        newest_ms = self._newest_at_start(*through.values())
        unseen, given_up = self._unseen()
        keys = (self._candidates | self._published_before) - unseen - given_up
        shown = self._candidates
        if self._aside and self.is_resumed:
            # What is set aside lies above every floor, so that the next walk meets it again, and decides.
            kept, forgotten_ms = sorted(keys, reverse=True), None
        else:
            shifted = {key for key, _ in self._aside.values()}
            self.counts.shifted += len(shifted)
            shown = shown | set(self._aside)
            kept, forgotten_ms = self._forget(keys | shifted, newest_ms, most=MAX_REMEMBERED - len(unseen))
        forgotten_ms = latest(forgotten_ms, self._forgotten_ms)
        # Thousands of future stamps could force a floor into the future, which would lose what comes next.
        latest_ms = self.started_ms if newest_ms is None else newest_ms
        # What reports published is newer than what this walk was shown, and fills the memory as well.
        latest_ms = min(self.started_ms, max(latest_ms, self._newest_reported_ms))
        floor_ms = None if forgotten_ms is None else min(forgotten_ms + 1, latest_ms)
        marks = []
        for type_ in ActivityType:
            mark = self.watermark.mark(type_)
            spans = known_spans(mark, self._start_ms)
            # Only types that were read before have anything in the memory.
            spans += _span_of(given_up) if mark in self.watermark.marks else []
            if type_ in self.reading.types:
                spans += [] if floor_ms is None else [(self._start_ms, floor_ms)]
                marks.append(Mark(type_, through[type_], united(spans)))
            elif mark in self.watermark.marks:
                marks.append(replace(mark, forgotten=united(spans)))
        remembered = {*unseen, *(key for key in kept if key_time_ms(key) >= (floor_ms or 0))}
        # A row may show here later than in its campaign's report, and then at another hour.
        unshown = remembered & (set(unpack(self.watermark.reported)) - shown)
        return Watermark(
            marks=tuple(marks),
            remembered=pack(remembered - unshown),
            unreadable=b"".join(self._unreadable),
            reported=pack(unshown),
        )

    @property
    def _newest_reported_ms(self) -> int:
        return max(map(key_time_ms, unpack(self.watermark.reported)), default=0)

    @property
    def _start_ms(self) -> int:
        return self.reading.start_ms or 0

    def _unseen(self) -> tuple[set[bytes], set[bytes]]:
        """Remembered keys that this walk did not ask for, and those of them that must be forgotten.

        They may be of types that are not read now (a key does not tell its type), or lie before the start
        date. If they are read again later, the memory must still be as it was. So they are kept apart from
        the rest, in at most half of the memory.
        """
        is_type_unread = any(mark.type not in self.reading.types for mark in self.watermark.marks)
        start = self._start_ms.to_bytes(TIME_BYTES)
        unseen = self._published_before - self._candidates
        ordered = sorted((key for key in unseen if is_type_unread or key < start), reverse=True)
        kept, given_up = ordered[: MAX_REMEMBERED // 2], ordered[MAX_REMEMBERED // 2 :]
        self.memory_is_full |= bool(given_up)
        return set(kept), set(given_up)

    def _window(self, type_: ActivityType) -> Window:
        resync_ms = self.watermark.resync_ms
        spans = known_spans(self.watermark.mark(type_), self._start_ms)
        forgotten = ((from_ms, _earliest(to_ms, resync_ms)) for from_ms, to_ms in spans)
        return Window(self._start_ms, tuple(forgotten))

    def _is_set_aside(self, key: bytes, activity: Activity) -> bool:
        """Set a row aside if it may be a report's row at another hour. One of those stands for one row.

        A walk that dropped something from memory cannot tell what it has shown, and publishes.
        """
        if key in self._published_before or self._forgotten_ms is not None:
            return False
        if self.undecided_pages >= MAX_UNDECIDED_PAGES:
            return False
        for like in self._shadows.of(activity):
            own, _ = self._aside.get(like, (key, activity))
            is_shown = like in self._candidates or not self._windows[activity.type].holds(key_time_ms(like))
            if own == key and not is_shown:
                self._aside[like] = key, activity
                return True
        return False

    def _shown_with_their_likes(self, on_page: Collection[bytes]) -> list[tuple[bytes, Activity]]:
        """Take back what is set aside and happened: its like was shown too."""
        is_cramped = len(self._candidates) + len(on_page) > 2 * MAX_REMEMBERED
        shown = [like for like in self._aside if is_cramped or like in on_page]
        self._aside_before = {like: self._aside.pop(like) for like in shown}
        return list(self._aside_before.values())

    def _is_forgotten(self, activity: Activity) -> bool:
        spans = known_spans(self.watermark.mark(activity.type), self._start_ms)
        return any(from_ms <= activity.occurred_ms < to_ms for from_ms, to_ms in spans)

    def _was_forgotten_here(self, activity: Activity) -> bool:
        """Whether this walk published it before it began anew, and dropped it from memory."""
        from_ms = self._again_from.get(activity.type)
        if from_ms is None or self._forgotten_ms is None:
            return False
        return from_ms < activity.occurred_ms <= self._forgotten_ms

    def _is_wanted_again(self, key: bytes) -> bool:
        return self.watermark.resync_ms is not None and key_time_ms(key) >= self.watermark.resync_ms

    def _note_time(self, activity: Activity, now_ms: int) -> None:
        oldest_ms = self._oldest.get(activity.type, activity.occurred_ms)
        self._oldest[activity.type] = min(oldest_ms, activity.occurred_ms)
        if activity.occurred_ms > now_ms:
            self.counts.in_future += 1
        elif activity.occurred_ms > self._through.get(activity.type, -1):
            self._through[activity.type] = activity.occurred_ms

    def _compact(self, on_page: Collection[bytes]) -> None:
        """Bound the memory of a walk of any length. What is forgotten now would be forgotten at its end.

        Three things stay known. The last page: rows inserted meanwhile shift it onto the next page. The
        oldest activities of each type: more of the same moment may be on the next page. And what was
        published of a page that comes again: no span of time tells it from the rest of that page.
        """
        if len(self._candidates) <= 2 * MAX_REMEMBERED:
            return
        newest_ms = self._newest_at_start(*self._through.values())
        kept, forgotten_ms = self._forget(self._candidates, newest_ms)
        # The page that was just read may be taken back, and the edges before it count again.
        oldest = {*self._oldest.values(), *self._oldest_before.values()}
        kept += [key for key in self._candidates if key_time_ms(key) in oldest]
        self._candidates = {*kept, *on_page, *self._partly}
        self._known = self._candidates | self._remembered
        self._forgotten_ms = latest(self._forgotten_ms, forgotten_ms)

    def _newest_at_start(self, *times_ms: int | None) -> int | None:
        newest_ms = latest(*times_ms)
        return None if newest_ms is None else min(newest_ms, self.started_ms)

    def _forget(
        self, keys: Collection[bytes], through_ms: int | None, most: int = MAX_REMEMBERED
    ) -> tuple[list[bytes], int | None]:
        kept, forgotten_ms = forget(
            keys,
            through_ms=through_ms,
            overlap_h=self.reading.overlap_h,
            remembered_min=self.reading.remembered_min,
            most=most,
        )
        self.memory_is_full |= len(kept) == most and forgotten_ms is not None
        return kept, forgotten_ms


def _span_of(keys: Collection[bytes]) -> list[tuple[int, int]]:
    times_ms = [key_time_ms(key) for key in keys]
    return [(min(times_ms), max(times_ms) + 1)] if times_ms else []


def _earliest(time_ms: int, other_ms: int | None) -> int:
    return time_ms if other_ms is None else min(time_ms, other_ms)
