"""Where contacts' rows only vouch: histories of an account whose reports and contacts show rows late."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from contact_activity.constant_contact.v3_pages import tracking_page
from contact_activity.domain.activity import Activity, ActivityType, Link, derive_id
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso, parse_time
from contact_activity.domain.watermark import TYPES_BY_REPORT, Reading
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock
from tests.support.world import TICK_MS, ScriptedSource, World

MINUTE_MS = 60_000
TYPES = (ActivityType.SENT, ActivityType.OPENED, ActivityType.CLICKED)
PROVIDER_TYPES = {
    ActivityType.SENT: "em_sends",
    ActivityType.OPENED: "em_opens",
    ActivityType.CLICKED: "em_clicks",
}
# Two that the list shows, one of an automation, and one that was sent before anybody watched.
NEWS, MORE_NEWS, AUTOMATED, OLD = "m-news", "m-more", "m-auto", "m-old"
# One whose reports are not there, and one whose reports show nobody.
GONE, EMPTY = "m-gone", "m-empty"
# One whose reports show a row when it was published without its details long ago.
TARDY, TARDY_MS = "m-tardy", 45 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Row:
    """`shown_ms`: from when on the mailing's report shows it; `vouched_ms`: its contact's own report.

    None: it never does.
    """

    activity: Activity
    shown_ms: int | None
    vouched_ms: int

    def is_shown(self, now_ms: int) -> bool:
        return self.shown_ms is not None and self.shown_ms <= now_ms


class VouchingSource(ScriptedSource):
    """The `Source` port as v3 has it: newest first, no filter by date, and poor rows of contacts."""

    def __init__(self, clock: VirtualClock, rows: list[Row], page_rows: int) -> None:
        super().__init__(clock)
        self.rows = rows
        self.page_rows = page_rows

    def tracking(
        self, contact_id: str, report: str, *, since_ms: int | None, next_: str | None, deadline_ms: int
    ) -> TrackingPage | Refusal:
        refusal = self._call(contact_id, since_ms, next_, deadline_ms)
        types = [type_ for name in report.split(",") for type_ in TYPES_BY_REPORT[name]]
        now_ms = self._clock.now_ms()
        shown = [
            row.activity
            for row in self.rows
            if row.activity.contact_id == contact_id
            and row.activity.type in types
            and row.vouched_ms <= now_ms
        ]
        return refusal or self._newest_first(shown, since_ms, next_, is_poor=True)

    def campaign_report(
        self,
        campaign_id: str,
        type_: ActivityType,
        *,
        since_ms: int | None,
        next_: str | None,
        deadline_ms: int,
    ) -> TrackingPage | Refusal:
        refusal = self._call(f"{campaign_id}-{type_.report}", since_ms, next_, deadline_ms)
        if campaign_id == GONE:
            return Refusal.GONE
        now_ms = self._clock.now_ms()
        shown = [
            row.activity
            for row in self.rows
            if row.activity.campaign_id == campaign_id and row.activity.type is type_ and row.is_shown(now_ms)
        ]
        return refusal or self._newest_first(shown, since_ms, next_)

    def _newest_first(
        self, shown: list[Activity], since_ms: int | None, next_: str | None, *, is_poor: bool = False
    ) -> TrackingPage:
        shown = sorted(shown, key=lambda of: -of.occurred_ms)
        page, following = self._page(shown, next_)
        told = [replace(of, link=None) for of in page] if is_poor else page
        return tracking_page(told, following, since_ms)


@dataclass(slots=True)
class History:
    """One seed, one history."""

    seed: int
    rng: random.Random = field(init=False)
    world: World = field(init=False)
    rows: list[Row] = field(default_factory=list)
    step_ms: int = field(init=False)
    contacts: list[str] = field(init=False)
    again: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.step_ms = self.rng.choice([1, 1_000, MINUTE_MS])
        overlap_h, remembered = self.rng.choice([(168, 200), (6, 3), (1, 1)])
        reading = Reading("a", overlap_h=overlap_h, remembered_min=remembered, is_witnessed=True)
        self.world = World(reading=reading, types=tuple(ActivityType))
        self.world.source = VouchingSource(self.world.clock, self.rows, self.rng.choice([2, 3, 7, 500]))
        self.contacts = [f"c{number}" for number in range(self.rng.choice([1, 2, 5]))]
        self.world.source.listed = [ListedContact(id_, "") for id_ in self.contacts]
        self._send(NEWS, NOON_MS - 2 * DAY_MS)
        for _ in range(self.rng.choice([0, 5, 40])):
            self._add(
                self.rng.choice([NEWS, AUTOMATED, OLD, GONE, EMPTY, TARDY]),
                ago_ms=self.rng.randrange(150 * DAY_MS),
            )

    def _send(self, mailing: str, sent_ms: int) -> None:
        source = self.world.source
        source.sent.insert(0, ListedCampaign(f"c-{mailing}", sent_ms, sent_ms))
        source.resources[f"c-{mailing}"] = SentCampaign(f"c-{mailing}", None, {}, (mailing,))

    def _add(self, mailing: str, *, ago_ms: int, lag_ms: tuple[int, int] = (0, 0)) -> None:
        now_ms = self.world.clock.now_ms()
        occurred_ms = (now_ms - ago_ms) // self.step_ms * self.step_ms
        type_ = self.rng.choice(TYPES)
        activity = Activity(
            type_,
            self.rng.choice(self.contacts),
            mailing,
            occurred_ms,
            iso(occurred_ms),
            PROVIDER_TYPES[type_],
            link=Link(self.rng.choice("xyz"), "https://www.example.org/")
            if type_ is ActivityType.CLICKED
            else None,
        )
        shown_ms = None if mailing in (GONE, EMPTY) else now_ms + lag_ms[0]
        if mailing == TARDY:
            shown_ms = now_ms + TARDY_MS
        self.rows.append(Row(activity, shown_ms, now_ms + lag_ms[1]))

    def run(self) -> None:
        for number in range(self.rng.choice([3, 12])):
            if number == 2:
                self._send(MORE_NEWS, self.world.clock.now_ms())
            for _ in range(self.rng.choice([0, 1, 8])):
                mailing = self.rng.choice([NEWS, MORE_NEWS, AUTOMATED, OLD, GONE, EMPTY, TARDY])
                # All within the overlap, which is all that is promised.
                most_ms = min(18, self.world.reading.overlap_h) * HOUR_MS // 3
                late_ms = self.rng.choice([0, 0, MINUTE_MS, most_ms])
                lag_ms = (self.rng.choice([0, late_ms]), self.rng.choice([0, late_ms, 10 * MINUTE_MS]))
                self._add(mailing, ago_ms=self.rng.choice([0, 0, MINUTE_MS, late_ms]), lag_ms=lag_ms)
            self.tick(is_calm=False)
            if self.rng.random() < 0.06:
                self.resync()
            self.world.wait(self.rng.choice([TICK_MS, TICK_MS, HOUR_MS, 30 * HOUR_MS]))
        self.world.bus.takes_only = None
        for _ in range(80):
            self.world.contacts.make_due(self.world.clock.now_ms())
            self.tick(is_calm=True)
            self.world.wait(HOUR_MS)
        self.check()

    def resync(self) -> None:
        """Everything from a date on that is published already is wanted once more."""
        now_ms = self.world.clock.now_ms()
        from_ms = now_ms - self.rng.choice([HOUR_MS, 3 * DAY_MS, 200 * DAY_MS])
        for id_ in self.contacts:
            contact = self.world.contacts.get(id_)
            if contact:
                assert self.world.contacts.save(contact.resynced(from_ms, now_ms))
        since = {event["id"] for event in self.world.events if (parse_time(event["time"]) or 0) >= from_ms}
        self.again.update(since)

    def tick(self, *, is_calm: bool) -> None:
        self.world.bus.takes_only = None
        self.world.tick()
        while delivery := self.world.queue.receive(wait_s=0):
            item = delivery.item
            if not is_calm and self.rng.random() < 0.2:
                self.world.bus.takes_only = self.rng.choice([None, 0, 1, 2])
            for_ms = 600_000 if is_calm else self.rng.choice([600_000, 600_000, 2_000])
            try:
                self.world.work_on(item, for_ms=for_ms)
            except Exception:  # noqa: BLE001  what the bus did not take is tried again
                assert not is_calm
            finally:
                self.world.queue.complete()

    def check(self) -> None:
        published = Counter(self.world.ids)
        if self.again:
            wrong = {id_ for id_, times in published.items() if times > 1 + self.again[id_]}
            assert wrong == set(), "twice"
            # What was published without its link comes with it, once its report shows it.
            tardy_clicks = (row.activity for row in self.rows if row.activity.campaign_id == TARDY)
            excused = {derive_id("a", replace(activity, link=None)) for activity in tardy_clicks}
            lost = {id_ for id_ in self.again if published[id_] < 2 and id_ not in excused}
            assert lost == set(), "not published again"
            published = Counter(dict.fromkeys(published, 1))
        tardy = [row for row in self.rows if row.activity.campaign_id == TARDY]
        expected = {derive_id("a", as_published(row)) for row in self.rows if row not in tardy}
        self.check_tardy(tardy, set(published))
        for row in tardy:
            for activity in (row.activity, replace(row.activity, link=None)):
                published.pop(derive_id("a", activity), None)
        assert {id_ for id_, times in published.items() if times > 1} == set(), "twice"
        assert expected - set(published) == set(), "lost"
        assert set(published) - expected == set(), "of nothing"
        # Clicks on one link in one moment, on both sides of a page's edge, vouch for one.
        asks = [ask for id_ in self.contacts for ask in self.world.contact(id_).asks]
        assert all(ask.is_owed and ask.report.type is ActivityType.CLICKED for ask in asks)

    def check_tardy(self, tardy: list[Row], published: set[str]) -> None:
        """Each is published with its details or without them; where links are many, once for all or each."""
        moments: dict[tuple[object, ...], list[Activity]] = {}
        for row in tardy:
            of = row.activity
            moments.setdefault((of.type, of.contact_id, of.occurred_ms), []).append(of)
        for rows in moments.values():
            whole = {derive_id("a", of) for of in rows}
            without = {derive_id("a", replace(of, link=None)) for of in rows}
            out = published & (whole | without)
            assert out, "lost"
            if len(rows) == 1 and not self.again:
                assert len(out) == 1, "with its details and without them"


def as_published(row: Row) -> Activity:
    """A row as it is published: whole, or without its link where no report shows it."""
    return row.activity if row.shown_ms is not None else replace(row.activity, link=None)


@pytest.mark.parametrize("seed", range(4))
def test_each_row_is_published_once_from_its_report(seed: int) -> None:
    """Whichever side shows it first, however late, and whatever a page, a bus or an invocation takes."""
    History(seed).run()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 60))
def test_so_is_each_of_many_histories(seed: int) -> None:
    """The same, often enough for each kind of accident to happen."""
    History(seed).run()
