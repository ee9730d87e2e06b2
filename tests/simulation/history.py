"""One seed, one history: chaos for some days, then peace; and what must hold all along."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from contact_activity.adapters.embedded import SqliteContacts, SqlitePauses
from contact_activity.local.simulated import (
    Cursor,
    Fault,
    Kind,
    Order,
    Server,
    SimulatedAccount,
    Switches,
    Tie,
    error,
)
from contact_activity.local.simulated.account import Row
from contact_activity.local.simulated.quota import most_in_a_second
from contact_activity.local.simulated.server import Call
from contact_activity.local.simulated.wire import shown_ms
from contact_activity.planning import GONE_WAIT_MAX_MS
from contact_activity.ports import Contact
from contact_activity.rate_limit import DAY_MS, HOUR_MS, Limits, PauseReason, midnight_after
from contact_activity.summary import SummaryKind
from contact_activity.watermark import Mark, Reading
from tests.simulation.world import (
    CREDENTIALS,
    OTHERS_PATH,
    TICK_MS,
    Chances,
    Clock,
    World,
)

ACCOUNT = "sim"
START_MS = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp() * 1_000)
ADDRESS_DOMAIN = "@canary.example.org"
# A row is at most three days late, and its stamp five hours early.
OVERLAP_H = 78
LATE_MOST_H = 72
CALLS_PER_SECOND = 4
CALLS_PER_DAY = (60, 400)
OTHERS_CALLS_PER_DAY = 200
CAMPAIGN_IDS = ("7", "8")
ALL_REPORTS, THREE_REPORTS = ("all",), ("sends", "opens", "bounces")
CONTACT_SUMMARIES = (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN)
CHAOS_STEPS = 40
# After the last fault: a paused day, a day of doubled waits, and one sweep.
PEACE_TICKS_MAX = 3 * 96


@dataclass
class Promises:
    """Checks every stored contact, and the whole at the end."""

    world: World
    account: SimulatedAccount
    switches: Switches
    events_read: int = 0
    published: dict[str, str] = field(default_factory=dict)
    activities: set[str] = field(default_factory=set)
    true_ids: set[str] = field(default_factory=set)
    marks: dict[str, tuple[Mark, ...]] = field(default_factory=dict)
    resyncs: dict[str, tuple[int, int]] = field(default_factory=dict)

    def fail(self, what: str) -> NoReturn:
        self.world.fail(what)

    def id_of(self, row: Row) -> str:
        kind, campaign_id, contact_id, _, link_id = row.key
        time_ms = str(shown_ms(row, self.switches))
        key = [ACCOUNT, kind, campaign_id, contact_id, time_ms, link_id]
        return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]

    def read_events(self) -> None:
        """Equal ids have equal data, however often they are published."""
        for event in self.world.published[self.events_read :]:
            data = json.dumps(json.loads(event.detail)["data"], sort_keys=True)
            if self.published.setdefault(event.id, data) != data:
                self.fail(f"two events of the id {event.id} differ in their data")
            if event.detail_type in SUMMARY_TYPES:
                continue
            self.activities.add(event.id)
            if event.id not in self.true_ids:
                self.fail(f"the event {event.id} is of no activity of the account")
        self.events_read = len(self.world.published)

    def saved(self, contact: Contact) -> None:
        """A watermark never moves back, and never passes an activity that is not published."""
        self.read_events()
        before = {mark.type: mark for mark in self.marks.get(contact.id, ())}
        for mark in contact.watermark.marks:
            known = before.get(mark.type, Mark(mark.type))
            if (known.floor_ms or 0) > (mark.floor_ms or 0) or (known.through_ms or 0) > (
                mark.through_ms or 0
            ):
                self.fail(f"a mark of contact {contact.id} moved back")
            if (mark.through_ms or 0) > self.world.clock.now_ms():
                self.fail(f"a mark of contact {contact.id} lies in the future")
        self.marks[contact.id] = contact.watermark.marks
        is_synced = not (contact.progress or contact.failures or contact.times_gone)
        if contact.synced_ms is not None and is_synced:
            self.nothing_is_missing(contact.id, contact.synced_ms)

    def nothing_is_missing(self, contact_id: str, at_ms: int) -> None:
        for row in self.account.rows_of_contact(contact_id, at_ms):
            if self.id_of(row) not in self.published:
                late_h = (row.inserted_ms - row.occurred_ms) / HOUR_MS
                self.fail(f"a {row.kind.report} row of contact {contact_id}, {late_h:.1f} h late, was passed")

    def resync_is_done(self, contact_id: str, since_ms: int, events_before: int) -> None:
        again = {event.id for event in self.world.published[events_before:]}
        for row in self.account.rows_of_contact(contact_id, self.world.clock.now_ms()):
            if shown_ms(row, self.switches) >= since_ms and self.id_of(row) not in again:
                self.fail(f"a resync of contact {contact_id} left out a {row.kind.report} row")

    def at_the_end(self, server: Server) -> None:
        self.read_events()
        for contact in self.account.contacts():
            self.nothing_is_missing(contact.id, self.world.clock.now_ms())
            if contact.id in self.resyncs:
                self.resync_is_done(contact.id, *self.resyncs[contact.id])
        if server.violations:
            self.fail(f"the API was asked what it refuses: {server.violations[0]}")
        self.calls_are_within_limits([call for call in server.calls if call.path != OTHERS_PATH])
        self.nothing_is_told()

    def summaries_are_true(self, out_of_sight: set[str]) -> None:
        """What was published last of each contact is what it did."""
        if SummaryKind.CONTACT not in self.world.summaries:
            return
        last = {}
        for event in self.world.published:
            if event.detail_type == SummaryKind.CONTACT.detail_type:
                data = json.loads(event.detail)["data"]
                last[data["contact"]["id"]] = data["summary"]
        for contact in self.account.contacts():
            rows = self.account.rows_of_contact(contact.id, self.world.clock.now_ms())
            counts = Counter(row.kind.report for row in rows)
            said = last.get(contact.id, {})
            if contact.id not in out_of_sight and any(said.get(k.report) != counts[k.report] for k in Kind):
                self.fail(f"the last summary of contact {contact.id} is not true")

    def nothing_is_repeated(self) -> None:
        """Where no process crashes, no walk begins anew and nobody asks, each event is published once."""
        if len(self.world.published) > len(self.published):
            self.fail("an event was published again for no reason")

    def calls_are_within_limits(self, calls: list[Call]) -> None:
        most = most_in_a_second(call.at_s for call in calls)
        if most > CALLS_PER_SECOND:
            self.fail(f"{most} calls in a second")
        days = Counter(call.at.date() for call in calls)
        if max(days.values()) > self.world.limits.calls_per_day:
            self.fail(f"{max(days.values())} calls in a day")

    def nothing_is_told(self) -> None:
        """No token, no key and no address is in a log line, a metric, a trace or a message."""
        messages = [d.message for d in self.world.queue] + self.world.dead_letters
        said = self.world.journal.text + repr(messages)
        for secret in (CREDENTIALS.api_key, CREDENTIALS.access_token, ADDRESS_DOMAIN):
            if secret in said:
                at = said.index(secret)
                self.fail(f"a secret or an address was told: {said[max(0, at - 80) : at + 40]!r}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a history came to."""

    events: int
    activities: int
    repeated: int
    calls: int
    dead_letters: int
    peace_ticks: int
    accidents: Counter[str]
    broken: str | None = None


DISTURBANCES = {
    "credential_revoked",
    "credential_restored",
    "contact_joined",
    "contact_deleted",
    "contact_out_of_sight",
    "day_used_by_others",
    "paused_by_operator",
    "resumed_by_operator",
    "resync_asked",
    "reports_changed",
}
SUMMARY_TYPES = {kind.detail_type for kind in SummaryKind}


class History:
    """The account, the world around it, and what the seed makes of both."""

    def __init__(self, seed: int, trace: Callable[[str], None] = lambda _: None) -> None:
        self.rng = random.Random(f"{seed}:history")
        self.clock = Clock(START_MS)
        self.account = SimulatedAccount()
        self.switches = self._switches(seed)
        limits = Limits(CALLS_PER_SECOND, self.rng.choice(CALLS_PER_DAY))
        self.server = Server(
            self.account,
            api_key=CREDENTIALS.api_key,
            access_token=CREDENTIALS.access_token,
            switches=self.switches,
            calls_per_second=CALLS_PER_SECOND,
            calls_per_day=limits.calls_per_day + OTHERS_CALLS_PER_DAY,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )
        reading = Reading(ACCOUNT, self._reports(), None, OVERLAP_H, self.rng.choice([1, 5, 40]))
        self.world = World(
            seed,
            self.clock,
            self.server,
            reading,
            limits,
            summaries=self.rng.choice([(), (), (SummaryKind.CONTACT,), CONTACT_SUMMARIES]),
            campaign_lookback_days=self.rng.choice([None, None, 30]),
            trace=trace,
        )
        self.is_long_peace = self.rng.random() < 0.3
        self.out_of_sight: set[str] = set()
        self.may_change_reports = self.rng.random() < 0.3
        self.promises = Promises(self.world, self.account, self.switches)
        self.world.saves.append(self.promises.saved)
        self._populate()

    def _switches(self, seed: int) -> Switches:
        rate = self.rng.choice([0.0, 0.1, 0.3])
        return Switches(
            cursor=self.rng.choice([Cursor.TIME, Cursor.OFFSET]),
            tie=self.rng.choice([Tie.STRETCHED, Tie.REPEATED]),
            order=self.rng.choice([Order.NEWEST_FIRST, Order.NEWEST_FIRST, Order.OLDEST_FIRST]),
            page_rows_max=self.rng.choice([6, 9, 500]),
            next_keeps_created_since=self.rng.random() < 0.7,
            wrong_next_path=self.rng.random() < 0.3,
            expired_next_status=self.rng.choice([400, 404]),
            next_lifetime_s=self.rng.choice([None, None, 30.0, 600.0]),
            contacts_newest_first=self.rng.random() < 0.3,
            unknown_type_share=self.rng.choice([0.0, 0.2]),
            missing_fields_share=self.rng.choice([0.0, 0.2]),
            limit_plus_one=self.rng.random() < 0.3,
            numeric_ids=self.rng.random() < 0.3,
            five_hour_shift=self.rng.random() < 0.3,
            faults=dict.fromkeys(Fault, rate / len(Fault)),
            seed=seed,
        )

    def _reports(self) -> tuple[str, ...]:
        return self.rng.choice([ALL_REPORTS, ALL_REPORTS, THREE_REPORTS])

    def _kinds(self) -> list[Kind]:
        if self.world.reading.reports == ALL_REPORTS and not self.may_change_reports:
            return list(Kind)
        return [Kind.SEND, Kind.OPEN, Kind.BOUNCE]

    def _populate(self) -> None:
        for campaign_id in CAMPAIGN_IDS:
            self.account.add_campaign("news", sent_at=self.clock.now(), campaign_id=campaign_id)
        many = [14] if self.world.limits.calls_per_day == max(CALLS_PER_DAY) else []
        for number in range(self.rng.choice([*range(2, 7), *many])):
            contact = self.account.add_contact(f"c{number}{ADDRESS_DOMAIN}", at=self.clock.now())
            for _ in range(self.rng.choice([0, 3, 12, 25])):
                self._add_row(contact.id, ago_h=self.rng.random() * 24 * 60)

    def _add_row(self, contact_id: str, *, ago_h: float, inserted_in_h: float = 0.0) -> None:
        at = self.clock.now() - timedelta(hours=ago_h)
        inserted_at = self.clock.now() + timedelta(hours=inserted_in_h)
        row = self.account.add_row(
            self.rng.choice(self._kinds()),
            contact_id,
            self.rng.choice(CAMPAIGN_IDS),
            at=at,
            inserted_at=inserted_at,
        )
        self.promises.true_ids.add(self.promises.id_of(row))

    def run(self) -> Outcome:
        """Raises `BrokenPromiseError`."""
        chances = self.world.chances = self._chances()
        for _ in range(CHAOS_STEPS):
            self._step()
        peace_ticks = self._peace()
        self._nothing_changed()
        self.promises.at_the_end(self.server)
        self.promises.summaries_are_true(self.out_of_sight)
        may_repeat = chances.crash or self.promises.resyncs or self.out_of_sight or self.may_change_reports
        if not may_repeat:
            self.promises.nothing_is_repeated()
        return self.outcome(peace_ticks)

    def outcome(self, peace_ticks: int = 0, broken: str | None = None) -> Outcome:
        world = self.world
        faults = Counter(str(call.fault.name).lower() for call in self.server.calls if call.fault)
        return Outcome(
            events=len(world.published),
            activities=len(self.promises.activities),
            repeated=len(world.published) - len(self.promises.published),
            calls=len(self.server.calls),
            dead_letters=len(world.dead_letters),
            peace_ticks=peace_ticks,
            accidents=world.accidents + faults,
            broken=broken,
        )

    def _chances(self) -> Chances:
        often = self.rng.choice([0.0, 0.02, 0.1])
        return Chances(
            crash=often / 4,
            throttled=often / 4,
            aws_answer_lost=often / 4,
            second_worker=often,
            second_dispatcher=often / 4,
            key_used_by_others=often,
            credential_revoked_meanwhile=often / 4,
            operator_paused_meanwhile=often / 20,
            connection_timed_out=often / 4,
            answer_timed_out=often / 4,
            bus_takes_a_part=often,
            queue_takes_a_part=often,
            message_lost=often,
            message_doubled=often,
            message_handled_twice_at_once=often / 4,
        )

    def _step(self) -> None:
        acts = [self._activity, self._late, self._pass]
        act = self.rng.choice([*acts, *acts, self._tie, self._disturb])
        day = self.clock.now_ms() // DAY_MS
        act()
        if self.rng.random() < 0.3 and self._contacts_in_a_walk():
            self._reports_changed()
        self.world.tick()
        for _ in range(self.rng.randrange(8)):
            self.world.deliver()
        self.world.accidents["message_delayed"] += len(self.world.queue)
        self.world.accidents["midnight"] += self.clock.now_ms() // DAY_MS - day

    def _activity(self) -> None:
        for contact in self.account.contacts():
            for _ in range(self.rng.choice([0, 0, 1, 4])):
                self._add_row(contact.id, ago_h=self.rng.random())

    def _late(self) -> None:
        """Inserted now, or while something reads, with a stamp of up to three days ago; or of tomorrow."""
        contact_id = self.rng.choice(self._contacts_in_a_walk() or [c.id for c in self.account.contacts()])
        for _ in range(3):
            late_h = self.rng.choice([self.rng.random() * LATE_MOST_H, LATE_MOST_H - self.rng.random()])
            ago_h = self.rng.choice([late_h, -self.rng.random() * 24])
            inserted_in_h = self.rng.choice([0, 0.0001, 0.001])
            self._add_row(contact_id, ago_h=ago_h, inserted_in_h=inserted_in_h)
            self.world.count("row_inserted_late" if ago_h > 0 else "row_of_the_future")
            if inserted_in_h:
                self.world.count("row_inserted_meanwhile")

    def _contacts_in_a_walk(self) -> list[str]:
        known = {contact.id for contact in self.account.contacts()}
        rows = self.world.database.rows("SELECT id FROM contact WHERE progress IS NOT NULL ORDER BY id")
        return [id_ for (id_,) in rows if isinstance(id_, str) and id_ in known]

    def _tie(self) -> None:
        """Rows of one millisecond."""
        contact = self.rng.choice(self.account.contacts())
        ago_h = self.rng.random()
        for _ in range(4):
            self._add_row(contact.id, ago_h=ago_h)
        self.world.count("tie")

    def _pass(self) -> None:
        """Time passes, to the next tick or over midnight."""
        before_midnight_ms = midnight_after(self.clock.now_ms()) - self.rng.randrange(5_000)
        to_midnight_ms = max(0, before_midnight_ms - self.clock.now_ms())
        self.clock.time_ms += self.rng.choice([TICK_MS, TICK_MS, 6 * HOUR_MS, DAY_MS, to_midnight_ms])

    def _disturb(self) -> None:
        """The token, the key, the account or the operator does something."""
        disturbance = self.rng.choice(sorted(DISTURBANCES))
        self.world.count(disturbance)
        getattr(self, f"_{disturbance}")()

    def _credential_revoked(self) -> None:
        self.server.revoke_token()

    def _credential_restored(self) -> None:
        self.server.restore_token()

    def _contact_joined(self) -> None:
        """It is listed up to a day late; or as one that was changed long ago: a full listing finds it."""
        ago_h = self.rng.choice([0, 23, 24 * 30] if self.is_long_peace else [0, 23])
        at = self.clock.now() - timedelta(hours=ago_h)
        contact = self.account.add_contact(f"n{self.rng.random()}{ADDRESS_DOMAIN}", at=at)
        self._add_row(contact.id, ago_h=self.rng.random())

    def _contact_deleted(self) -> None:
        """For good: the API knows it no more."""
        contacts = self.account.contacts()
        if len(contacts) > 1:
            self.account.forget_contact(self.rng.choice(contacts).id)

    def _contact_out_of_sight(self) -> None:
        """404 for once; the contact is edited when peace comes, or asked again by itself."""
        contact = self.rng.choice(self.account.contacts())
        self.server.script(contact.id, error(404, "http.status.not_found", "Not found."))
        self.out_of_sight.add(contact.id)

    def _day_used_by_others(self) -> None:
        self.world.others_call(self.rng.choice([20, OTHERS_CALLS_PER_DAY, 2 * OTHERS_CALLS_PER_DAY]))

    def _paused_by_operator(self) -> None:
        self.world.pause_as_operator()

    def _resumed_by_operator(self) -> None:
        SqlitePauses(self.world.database).lift(PauseReason.OPERATOR)
        self.world.is_stopped = False

    def _resync_asked(self) -> None:
        """As the operator's command does: of a contact, since some time of its past."""
        contacts = SqliteContacts(self.world.database)
        contact = contacts.get(self.rng.choice(self.account.contacts()).id)
        if contact and not contact.times_gone:
            resync_ms = self.clock.now_ms() - self.rng.randrange(60 * DAY_MS)
            if contact.watermark.resync_ms is not None:
                resync_ms = min(resync_ms, contact.watermark.resync_ms)
            self.promises.resyncs[contact.id] = resync_ms, len(self.world.published)
            asked = replace(contact, watermark=replace(contact.watermark, resync_ms=resync_ms), progress=None)
            contacts.save(asked)

    def _reports_changed(self) -> None:
        """Both read every kind that there is; a walk that was interrupted begins anew."""
        if self.may_change_reports:
            reading = self.world.reading
            reports = THREE_REPORTS if reading.reports == ALL_REPORTS else ALL_REPORTS
            self.world.reading = replace(reading, reports=reports)

    def _peace(self) -> int:
        """No fault any more: how many ticks until every contact is synced since; the backlog drains."""
        self.world.chances = Chances()
        self.server.restore_token()
        self.server.calm()
        self._resumed_by_operator()
        if self.is_long_peace:
            self.clock.time_ms += GONE_WAIT_MAX_MS
        for contact in self.account.contacts():
            if contact.id in self.out_of_sight and not self.is_long_peace:
                self.account.touch_contact(contact.id, at=self.clock.now())
        began_ms = self.clock.now_ms() + HOUR_MS
        ticks = 0
        while not (self._all_synced_since(began_ms) and self._campaigns_summarized()):
            ticks += 1
            if ticks > PEACE_TICKS_MAX:
                self.promises.fail(f"the backlog did not drain in {PEACE_TICKS_MAX} ticks")
            self._tick_in_peace()
        return ticks

    def _nothing_changed(self) -> None:
        """One more sweep, of all, publishes nothing."""
        published = self._activities_published()
        self.clock.time_ms += TICK_MS
        SqliteContacts(self.world.database).make_due(self.clock.now_ms())
        began_ms = self.clock.now_ms()
        for _ in range(PEACE_TICKS_MAX):
            self._tick_in_peace()
            if self._all_synced_since(began_ms):
                break
        if self._activities_published() > published:
            self.promises.fail("a sweep in which nothing changed published again")

    def _activities_published(self) -> int:
        """Summaries are computed later than the activity, and may be news still."""
        return sum(event.detail_type not in SUMMARY_TYPES for event in self.world.published)

    def _tick_in_peace(self) -> None:
        self.clock.time_ms += TICK_MS
        self.world.tick()
        while self.world.queue:
            self.world.deliver()

    def _campaigns_summarized(self) -> bool:
        """Each campaign's summary was published once at least, if it is asked for."""
        if self.world.campaign_lookback_days is None:
            return True
        kind = SummaryKind.CAMPAIGN.detail_type
        events = [event for event in self.world.published if event.detail_type == kind]
        return {json.loads(event.detail)["subject"] for event in events} >= set(CAMPAIGN_IDS)

    def _all_synced_since(self, began_ms: int) -> bool:
        rows = self.world.database.rows("SELECT id, synced_ms FROM contact")
        synced = {str(id_) for id_, at_ms in rows if isinstance(at_ms, int) and at_ms >= began_ms}
        return synced >= {contact.id for contact in self.account.contacts()}
