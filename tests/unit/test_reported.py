"""What a report's rows are to their contacts, and that both sides together publish each activity once."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.activity import Activity, ActivityType, Link
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import MAX_REMEMBERED, activity_key, key_time_ms, pack, unpack
from contact_activity.domain.reported import ROOM_FOR_REPORTS, ContactMemory, Standing, once_each
from contact_activity.domain.shadows import MAX_SHIFT_H, Shadows, is_shifted
from contact_activity.domain.walk import Walk
from contact_activity.domain.watermark import (
    ALL_REPORT,
    TYPES_BY_REPORT,
    Mark,
    Progress,
    Reading,
    Span,
    Watermark,
)
from contact_activity.ports import Source
from contact_activity.state.codec import progress_from_json, progress_to_json
from contact_activity.use_cases.read_history import History
from contact_activity.use_cases.sync_contact import history_of
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, TYPES, activity

ALL = Reading("a")
BOUNCES = "bounces"
MINUTE_MS = 60_000
OPENED, CLICKED, SENT = ActivityType.OPENED, ActivityType.CLICKED, ActivityType.SENT
CHANCES = st.integers(0, 2**32 - 1).map(random.Random)
SHIFTS_H = st.integers(-MAX_SHIFT_H, MAX_SHIFT_H)


def key(of: Activity) -> bytes:
    return activity_key("a", of)


def keys(*activities: Activity) -> bytes:
    return pack({key(of) for of in activities})


def shifted(of: Activity, hours: int) -> Activity:
    return replace(of, occurred_ms=of.occurred_ms + hours * HOUR_MS)


def contact(watermark: Watermark | None = None, progress: Progress | None = None) -> Contact:
    return Contact("1", NOON_MS - DAY_MS, NOON_MS, watermark=watermark or Watermark(), progress=progress)


def progress(*candidates: Activity, forgotten_ms: int | None = None) -> Progress:
    return Progress(NOON_MS, ALL.fingerprint, ALL_REPORT, "next", keys(*candidates), b"", (), forgotten_ms, 0)


def standings(of: Contact, rows: Sequence[Activity], reading: Reading = ALL) -> list[Standing]:
    memory = ContactMemory(of, reading, NOON_MS)
    return [memory.standing(row) for row in rows]


# --- a like at another hour -----------------------------------------------------------------------

ROWS = st.builds(
    activity,
    st.integers(-30, 30).map(lambda halves: NOON_MS + halves * HOUR_MS // 2),
    st.sampled_from([OPENED, CLICKED]),
    link_id=st.sampled_from([None, "1"]),
)


@given(
    st.integers(0, 2 * NOON_MS), st.integers(0, 2 * NOON_MS) | st.integers(-30, 30).map(lambda h: h * HOUR_MS)
)
def test_times_are_shifted_by_some_whole_hours_and_not_too_many(one_ms: int, apart_ms: int) -> None:
    """In both directions; a time is not shifted against itself."""
    other_ms = one_ms + apart_ms
    expected = apart_ms in {h * HOUR_MS for h in range(-MAX_SHIFT_H, MAX_SHIFT_H + 1)} - {0}
    assert is_shifted(one_ms, other_ms) is is_shifted(other_ms, one_ms) is expected


@given(st.lists(ROWS, max_size=20, unique=True), ROWS)
def test_the_likes_of_an_activity_are_those_that_differ_in_the_hour_alone(
    known: list[Activity], of: Activity
) -> None:
    """The earliest first, of its own type and link."""
    likes = [
        key(one)
        for one in sorted(known, key=lambda one: one.occurred_ms)
        if is_shifted(one.occurred_ms, of.occurred_ms) and replace(one, occurred_ms=of.occurred_ms) == of
    ]
    assert list(Shadows("a", {key(one) for one in known}).of(of)) == likes
    assert list(Shadows("b", {key(one) for one in known}).of(of)) == []


def test_no_like_lies_before_all_time() -> None:
    """Of an activity of the first hours of 1970."""
    assert list(Shadows("a", {key(activity(2 * HOUR_MS))}).of(activity(HOUR_MS))) == [
        key(activity(2 * HOUR_MS))
    ]


# --- what a row is to its contact ---------------------------------------------------------------------


@given(st.lists(ROWS, max_size=8, unique=True), st.lists(ROWS, max_size=12), st.data())
def test_each_new_row_is_new_once(known: list[Activity], rows: list[Activity], data: st.DataObject) -> None:
    """Whether a walk, an unfinished one or another report published it, what is known stays known."""
    places = [data.draw(st.integers(0, 2)) for _ in known]
    parts = [[of for of, place in zip(known, places, strict=True) if place == at] for at in range(3)]
    of = contact(
        Watermark((), keys(*parts[0]), reported=keys(*parts[1])), progress(*parts[2]) if parts[2] else None
    )
    published = {key(one) for one in (*parts[0], *parts[2])} - {key(one) for one in parts[1]}
    told = standings(of, [_with_url(row) for row in rows])
    new = set[bytes]()
    for row, standing in zip(rows, told, strict=True):
        likes = list(Shadows("a", published).of(row))
        if row in known or key(row) in new:
            assert standing is Standing.KNOWN
        else:
            lacks_link = row.type is CLICKED and row.link is None
            expected = Standing.LEFT if lacks_link else Standing.SHIFTED if likes else Standing.NEW
            assert standing is expected
        if standing is Standing.NEW:
            new.add(key(row))


def _with_url(of: Activity) -> Activity:
    return replace(of, link=Link(of.link.id, "https://example.org")) if of.link else of


@given(ROWS, st.integers(1, MAX_SHIFT_H), st.sampled_from([1, -1]))
def test_what_a_report_published_is_no_shadow_of_its_other_rows(row: Activity, hours: int, sign: int) -> None:
    """People do open at whole hours' distance. Only what a contact's walk published may be the same row."""
    row = _with_url(replace(row, link=Link("1", None)))
    like = shifted(row, sign * hours)
    assert standings(contact(Watermark((), b"", reported=keys(like))), [row]) == [Standing.NEW]
    both = Watermark((), b"", reported=keys(like))
    assert standings(contact(both, progress(like)), [row]) == [Standing.NEW]
    assert standings(contact(Watermark((), keys(like))), [row]) == [Standing.SHIFTED]
    assert standings(contact(progress=progress(like)), [row]) == [Standing.SHIFTED]


@given(
    ROWS, st.none() | st.integers(-20, 20).map(lambda h: NOON_MS + h * HOUR_MS), st.integers(-20, 20), TYPES
)
def test_a_row_outside_of_the_contacts_window_is_not_published(
    row: Activity, start_ms: int | None, floor_h: int, type_: ActivityType
) -> None:
    """Before the start date, or in a span of its type that is forgotten; known or not."""
    floor_ms = NOON_MS + floor_h * HOUR_MS
    watermark = Watermark((Mark(type_, NOON_MS, (Span(NOON_MS - 5 * DAY_MS, floor_ms),)),), keys(row))
    is_outside = row.occurred_ms < (start_ms or 0) or (row.type is type_ and row.occurred_ms < floor_ms)
    expected = Standing.OUTSIDE if is_outside else Standing.KNOWN
    assert standings(contact(watermark), [row], Reading("a", start_ms=start_ms)) == [expected]


def test_what_is_not_the_reports_to_publish_is_left_to_the_contact() -> None:
    """While a worker holds it, after a walk that dropped memory, or where a click's URL is not known."""
    row, link = activity(NOON_MS), Link("1", "https://example.org")
    held = replace(contact(), held_until_ms=NOON_MS + MINUTE_MS)
    assert standings(held, [row]) == [Standing.LEFT]
    assert standings(replace(held, held_until_ms=NOON_MS), [row]) == [Standing.NEW]
    assert standings(contact(progress=progress(forgotten_ms=NOON_MS - DAY_MS)), [row]) == [Standing.LEFT]
    assert standings(contact(progress=progress()), [row]) == [Standing.NEW]
    click = replace(activity(NOON_MS, CLICKED), link=link)
    without = [replace(click, link=None), replace(click, link=Link("1", None))]
    assert standings(contact(), [*without, click]) == [Standing.LEFT, Standing.LEFT, Standing.NEW]


@pytest.mark.parametrize("reported", [0, 400, ROOM_FOR_REPORTS])
def test_a_full_memory_has_room_for_a_thousand_of_reports(reported: int) -> None:
    """What comes then is left to the contact's walk, which makes room; what is known stays known."""
    rows = [activity(NOON_MS - number * 1_000) for number in range(ROOM_FOR_REPORTS + 1)]
    remembered = keys(*(activity(NOON_MS - DAY_MS - number) for number in range(MAX_REMEMBERED)))
    of = contact(Watermark((), remembered, reported=keys(*rows[:reported])))
    told = Counter(standings(of, rows))
    assert told[Standing.KNOWN] == reported
    assert told[Standing.NEW] == ROOM_FOR_REPORTS - reported
    assert told[Standing.LEFT] == 1


@given(st.lists(ROWS, max_size=20), st.lists(st.text(max_size=2), max_size=20))
def test_rows_that_are_equal_count_once_and_the_first_counts(
    rows: list[Activity], wordings: list[str]
) -> None:
    """In what makes an activity; the rest of a row may differ."""
    page = [replace(row, provider_time=text) for row, text in zip(rows, wordings, strict=False)]
    once = once_each("a", page)
    assert len({key(of) for of in once}) == len(once)
    assert {key(of) for of in once} == {key(of) for of in page}
    for of in once:
        assert of is next(row for row in page if key(row) == key(of))


# --- both sides together ------------------------------------------------------------------------------


@dataclass(slots=True)
class OneContact:
    """A contact whose rows both sides show, its stored state, and what was published of it.

    `shift_h`: how many hours the stamps of campaigns' reports are ahead. `rows` are as the contact shows
    them. What each side published is noted as the contact shows it.
    """

    reading: Reading
    chance: random.Random
    shift_h: int = 0
    rows: list[Activity] = field(default_factory=list)
    stored: Contact = field(default_factory=contact)
    published: Counter[bytes] = field(default_factory=Counter)
    now_ms: int = NOON_MS
    cursors: dict[str, list[list[Activity]]] = field(default_factory=dict)

    def tracking(
        self,
        contact_id: str,  # noqa: ARG002  the protocol's
        report: str,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,  # noqa: ARG002
    ) -> TrackingPage | Refusal:
        """Pages in any order and of any length, some rows twice; a cursor may expire."""
        if next_ is None:
            types = TYPES_BY_REPORT[report]
            rows = [of for of in self.rows if of.type in types]
            if since_ms is not None and report != BOUNCES:
                rows = [of for of in rows if of.occurred_ms >= since_ms]
            rows += self.chance.sample(rows, k=len(rows) // 4)
            self.chance.shuffle(rows)
            size = self.chance.choice([1, 2, 5])
            pages = [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]
            cursor = f"{report} {len(self.cursors)}"
            self.cursors[cursor] = pages
            at = 0
        else:
            if self.chance.random() < 0.02:
                return Refusal.NEXT_EXPIRED
            cursor, _, number = next_.rpartition(" ")
            pages, at = self.cursors[cursor], int(number)
        following = f"{cursor} {at + 1}" if at + 1 < len(pages) else None
        return TrackingPage(tuple(pages[at]), (), following)

    def read_report(self) -> None:
        """Reports of all types publish what is new to the contact, some rows or all of them."""
        rows = [shifted(of, self.shift_h) for of in self.rows if self.chance.random() < 0.7]
        self.chance.shuffle(rows)
        memory = ContactMemory(self.stored, self.reading, self.now_ms)
        new = [row for row in rows if memory.standing(_with_url(row)) is Standing.NEW]
        watermark, resync = self.stored.watermark, self.stored.watermark.resync
        for row in new:
            watermark = watermark.with_reported(row.type, [key(row)], resync)
        self.published.update(key(shifted(row, -self.shift_h)) for row in new)
        self.stored = replace(self.stored, watermark=watermark)

    def walk(self, *, interrupted: bool = True) -> None:
        """Walk until one is finished; if that may be, over several invocations with reports between."""
        while not self._invoke(interrupted=interrupted):
            if self.chance.random() < 0.5:
                self.read_report()
            self.now_ms += MINUTE_MS

    def _invoke(self, *, interrupted: bool) -> bool:
        """Read pages until the walk is finished, or something stops it. What is stored may be lost to others.

        As the use case does it: hold the contact before the first publication, give way to another's write.
        """
        begun, is_held = self.stored, False
        history = history_of(cast(Source, self), begun, self.reading, self.now_ms)
        while (page := history.next_page(0)) is not None:
            assert isinstance(page, TrackingPage)
            fresh = history.walk.take(page.activities, page.unreadable, self.now_ms).activities
            if fresh and not is_held:
                if self.stored is not begun:
                    return False
                begun = self.stored = replace(begun, held_until_ms=self.now_ms + MINUTE_MS)
                is_held = True
            accepted = len(fresh)
            if interrupted and self.chance.random() < 0.2:
                accepted = self.chance.randrange(len(fresh) + 1)
            self.published.update(key(of) for of in fresh[:accepted])
            history.walk.take_back(fresh[accepted:])
            if accepted < len(fresh):
                return self._stop(history, begun, is_held=is_held)
            history.turn(page)
            if interrupted and self.chance.random() < 0.1:
                return self._stop(history, begun, is_held=is_held)
            if interrupted and self.chance.random() < 0.2:
                self.read_report()
                self.stored = replace(self.stored, due_ms=self.now_ms)
        finished = history.walk.finish()
        if self.stored is not begun:
            return self._stop(history, begun, is_held=is_held)
        self.stored = begun.synced(finished, summaries=(), started_ms=self.now_ms, due_ms=self.now_ms)
        return True

    def _stop(self, history: History[Walk], begun: Contact, *, is_held: bool) -> bool:
        if self.stored is begun:
            self.stored = begun.interrupted(self._stored_progress(history))
        elif is_held:
            self.stored = self.stored.given_way(begun.watermark, self._stored_progress(history))
        return False

    def _stored_progress(self, history: History[Walk]) -> Progress:
        return progress_from_json(progress_to_json(history.progress()))

    def resync(self, from_ms: int) -> None:
        self.stored = self.stored.resynced(from_ms, self.now_ms)


READINGS = st.builds(
    Reading,
    account=st.just("a"),
    reports=st.sampled_from([(ALL_REPORT,), ("sends", "opens", BOUNCES), (BOUNCES, "opens")]),
    overlap_h=st.just(168),
    remembered_min=st.just(200),
)
TRACKED = [ActivityType.OPENED, ActivityType.BOUNCED]
# When rows come in: their times in minutes before then, and the type of each.
ROUNDS = st.lists(
    st.lists(st.tuples(st.integers(0, 20 * 60), st.sampled_from(TRACKED)), max_size=5), min_size=1, max_size=5
)
# All of one minute of the hour, so that each may be the like of another.
HOURLY_ROUNDS = st.lists(
    st.lists(st.tuples(st.integers(0, 20).map(lambda h: 60 * h), st.sampled_from(TRACKED)), max_size=6),
    min_size=1,
    max_size=5,
)


@given(ROUNDS, READINGS, SHIFTS_H, CHANCES)
def test_with_one_side_shifted_each_activity_counts_once(
    rounds: list[list[tuple[int, ActivityType]]], reading: Reading, shift_h: int, chance: random.Random
) -> None:
    """Whatever the pages, interruptions and resumptions, whichever side comes first.

    Here no two activities are whole hours apart, so that each row has one like.
    """
    one, minutes = OneContact(reading, chance, shift_h), set[int]()
    for ages in rounds:
        one.now_ms += HOUR_MS
        for age_min, type_ in ages:
            at_ms = one.now_ms - age_min * MINUTE_MS
            if at_ms % HOUR_MS not in minutes:
                minutes.add(at_ms % HOUR_MS)
                one.rows.append(activity(at_ms, type_))
        if chance.random() < 0.7:
            one.read_report()
        if chance.random() < 0.7:
            one.walk()
    one.walk(interrupted=False)
    one.read_report()
    one.walk(interrupted=False)
    assert one.published == Counter(key(of) for of in one.rows)


@given(HOURLY_ROUNDS, READINGS, CHANCES)
def test_activities_at_whole_hours_distance_are_all_published_once(
    rounds: list[list[tuple[int, ActivityType]]], reading: Reading, chance: random.Random
) -> None:
    """Both sides show the same. At the latest the second walk that nothing interrupts has them all."""
    one = OneContact(reading, chance)
    _come_in(one, rounds)
    one.walk(interrupted=False)
    one.walk(interrupted=False)
    assert one.published == Counter(key(of) for of in one.rows)


@given(HOURLY_ROUNDS, READINGS, CHANCES)
def test_no_floor_passes_an_activity_that_is_not_decided(
    rounds: list[list[tuple[int, ActivityType]]], reading: Reading, chance: random.Random
) -> None:
    """Where a walk forgets all that it can, what it set aside is published all the same, and once."""
    one = OneContact(replace(reading, overlap_h=40, remembered_min=1), chance)
    _come_in(one, rounds)
    for _ in range(2):
        one.now_ms += 10 * DAY_MS
        one.rows.append(activity(one.now_ms, chance.choice(TRACKED)))
        one.walk()
    one.walk(interrupted=False)
    one.walk(interrupted=False)
    assert one.published == Counter(key(of) for of in one.rows)


def _come_in(one: OneContact, rounds: list[list[tuple[int, ActivityType]]]) -> None:
    for ages in rounds:
        one.now_ms += HOUR_MS - one.now_ms % HOUR_MS
        new = {activity(one.now_ms - age_min * MINUTE_MS, type_) for age_min, type_ in ages}
        one.rows += sorted(new - set(one.rows), key=key)
        if one.chance.random() < 0.7:
            one.read_report()
        if one.chance.random() < 0.7:
            one.walk()


@given(HOURLY_ROUNDS, HOURLY_ROUNDS, READINGS, st.integers(0, 20), CHANCES)
def test_a_resync_brings_again_what_both_sides_published_before_it_and_that_once(
    before: list[list[tuple[int, ActivityType]]],
    after: list[list[tuple[int, ActivityType]]],
    reading: Reading,
    from_h: int,
    chance: random.Random,
) -> None:
    """From its date on, whichever side published it; what reports publish after it is not wanted again."""
    one = OneContact(reading, chance)
    _come_in(one, before)
    from_ms = one.now_ms - from_h * HOUR_MS
    again = Counter(of for of in one.published if key_time_ms(of) >= from_ms)
    one.resync(from_ms)
    _come_in(one, after)
    one.walk(interrupted=False)
    one.walk(interrupted=False)
    assert one.published == Counter(key(of) for of in one.rows) + again
    assert one.stored.watermark.resync == (None, None)
    assert not unpack(one.stored.watermark.reported)
