"""One seed, one history: chaos for some days, then peace; and what must hold all along."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from contact_activity.adapters.embedded import SqliteContacts
from contact_activity.local.simulated import Cursor, Fault, Kind, Server, SimulatedAccount, Switches, Tie
from contact_activity.local.simulated.account import Row
from contact_activity.local.simulated.wire import shown_ms
from contact_activity.ports import Contact
from contact_activity.rate_limit import DAY_MS, HOUR_MS, Limits
from contact_activity.watermark import Mark, Reading
from tests.simulation.world import CREDENTIALS, TICK_MS, Chances, Clock, World

ACCOUNT = "sim"
START_MS = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp() * 1_000)
OVERLAP_H = 96
LATE_MOST_H = 72
CALLS_PER_DAY = 400
CHAOS_STEPS = 40
# After the last fault: a paused day, a day of doubled waits, and one sweep.
PEACE_TICKS_MAX = 3 * 96


class BrokenPromiseError(AssertionError):
    """What the history shows that must never be; the message names the seed."""


@dataclass
class Promises:
    """Checks every stored contact, and the whole at the end."""

    world: World
    account: SimulatedAccount
    switches: Switches
    events_read: int = 0
    published: dict[str, str] = field(default_factory=dict)
    marks: dict[str, tuple[Mark, ...]] = field(default_factory=dict)

    def fail(self, what: str) -> None:
        raise BrokenPromiseError(f"seed {self.world.seed}: {what}")

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
        if contact.synced_ms is not None and contact.progress is None and not contact.failures:
            self.nothing_is_missing(contact.id, contact.synced_ms)

    def nothing_is_missing(self, contact_id: str, at_ms: int) -> None:
        for row in self.account.rows_of_contact(contact_id, at_ms):
            if self.id_of(row) not in self.published:
                late_h = (row.inserted_ms - row.occurred_ms) / HOUR_MS
                self.fail(f"a {row.kind.report} row of contact {contact_id}, {late_h:.1f} h late, was passed")

    def at_the_end(self, server: Server) -> None:
        self.read_events()
        for contact in self.account.contacts():
            self.nothing_is_missing(contact.id, self.world.clock.now_ms())
        if server.violations:
            self.fail(f"the API was asked what it refuses: {server.violations[0]}")
        if server.max_calls_in_any_second() > 4:
            self.fail(f"{server.max_calls_in_any_second()} calls in a second")
        days = Counter(call.at.date() for call in server.calls)
        if max(days.values()) > CALLS_PER_DAY:
            self.fail(f"{max(days.values())} calls in a day")


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


class History:
    """The account, the world around it, and what the seed makes of both."""

    def __init__(self, seed: int, trace: Callable[[str], None] = lambda _: None) -> None:
        self.rng = random.Random(f"{seed}:history")
        self.clock = Clock(START_MS)
        self.account = SimulatedAccount()
        self.switches = self._switches(seed)
        self.server = Server(
            self.account,
            api_key=CREDENTIALS.api_key,
            access_token=CREDENTIALS.access_token,
            switches=self.switches,
            calls_per_day=CALLS_PER_DAY + 200,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )
        reading = Reading(ACCOUNT, self._reports(), None, OVERLAP_H, self.rng.choice([1, 5, 40]))
        self.world = World(seed, self.clock, self.server, reading, Limits(4, CALLS_PER_DAY), trace=trace)
        self.promises = Promises(self.world, self.account, self.switches)
        self.world.saves.append(self.promises.saved)
        self._populate()

    def _switches(self, seed: int) -> Switches:
        rate = self.rng.choice([0.0, 0.1, 0.3])
        return Switches(
            cursor=self.rng.choice([Cursor.TIME, Cursor.OFFSET]),
            tie=self.rng.choice([Tie.STRETCHED, Tie.REPEATED]),
            page_rows_max=self.rng.choice([6, 9, 500]),
            limit_plus_one=self.rng.random() < 0.3,
            numeric_ids=self.rng.random() < 0.3,
            five_hour_shift=self.rng.random() < 0.3,
            faults=dict.fromkeys(Fault, rate / len(Fault)),
            seed=seed,
        )

    def _reports(self) -> tuple[str, ...]:
        return self.rng.choice([("all",), ("all",), ("sends", "opens", "bounces")])

    def _kinds(self) -> list[Kind]:
        if self.world.reading.reports == ("all",):
            return list(Kind)
        return [Kind.SEND, Kind.OPEN, Kind.BOUNCE]

    def _populate(self) -> None:
        for number in range(self.rng.randrange(2, 7)):
            contact = self.account.add_contact(f"c{number}@example.org", at=self.clock.now())
            for _ in range(self.rng.choice([0, 3, 12, 25])):
                self._add_row(contact.id, ago_h=self.rng.random() * 24 * 60)

    def _add_row(self, contact_id: str, *, ago_h: float, inserted_in_h: float = 0.0) -> None:
        at = self.clock.now() - timedelta(hours=ago_h)
        inserted_at = self.clock.now() + timedelta(hours=inserted_in_h)
        campaign_id = str(self.rng.choice([7, 8]))
        self.account.add_row(
            self.rng.choice(self._kinds()), contact_id, campaign_id, at=at, inserted_at=inserted_at
        )

    def run(self) -> Outcome:
        """Raises `BrokenPromiseError`."""
        self.world.chances = self._chances()
        for _ in range(CHAOS_STEPS):
            self._step()
        peace_ticks = self._peace()
        self._nothing_changed()
        self.promises.at_the_end(self.server)
        world = self.world
        faults = Counter(str(call.fault.name).lower() for call in self.server.calls if call.fault)
        return Outcome(
            events=len(world.published),
            activities=len(self.promises.published),
            repeated=len(world.published) - len(self.promises.published),
            calls=len(self.server.calls),
            dead_letters=len(world.dead_letters),
            peace_ticks=peace_ticks,
            accidents=world.accidents + faults,
        )

    def _chances(self) -> Chances:
        often = self.rng.choice([0.0, 0.02, 0.1])
        return Chances(
            crash=often / 4,
            throttled=often / 4,
            second_worker=often,
            bus_takes_a_part=often,
            queue_takes_a_part=often,
            message_lost=often,
            message_doubled=often,
        )

    def _step(self) -> None:
        act = self.rng.choice([self._activity] * 3 + [self._late, self._tie, self._pass, self._disturb])
        act()
        self.world.tick()
        for _ in range(self.rng.randrange(8)):
            self.world.deliver()

    def _activity(self) -> None:
        for contact in self.account.contacts():
            for _ in range(self.rng.choice([0, 0, 1, 4])):
                self._add_row(contact.id, ago_h=self.rng.random())

    def _late(self) -> None:
        """Inserted now, or while something reads, with a stamp of up to three days ago; or of tomorrow."""
        contact = self.rng.choice(self.account.contacts())
        for _ in range(3):
            ago_h = self.rng.choice([self.rng.random() * LATE_MOST_H, -self.rng.random() * 24])
            self._add_row(contact.id, ago_h=ago_h, inserted_in_h=self.rng.choice([0, 0.0001, 0.001]))

    def _tie(self) -> None:
        """Rows of one millisecond."""
        contact = self.rng.choice(self.account.contacts())
        ago_h = self.rng.random()
        for _ in range(4):
            self._add_row(contact.id, ago_h=ago_h)

    def _pass(self) -> None:
        """Time passes, to the next tick or over midnight."""
        self.clock.time_ms += self.rng.choice([TICK_MS, TICK_MS, 6 * HOUR_MS, DAY_MS])

    def _disturb(self) -> None:
        """The token is revoked, or good again; a new contact joins."""
        disturbance = self.rng.choice(["revoke", "restore", "join"])
        self.world.trace(disturbance)
        if disturbance == "revoke":
            self.server.revoke_token()
        elif disturbance == "restore":
            self.server.restore_token()
        else:
            self.account.add_contact(f"n{self.rng.random()}@example.org", at=self.clock.now())

    def _peace(self) -> int:
        """No fault any more: how many ticks until every contact is synced since; the backlog drains."""
        self.world.chances = Chances()
        self.server.restore_token()
        self.server.calm()
        began_ms = self.clock.now_ms() + HOUR_MS
        for tick in range(PEACE_TICKS_MAX):
            self._tick_in_peace()
            if self._all_synced_since(began_ms):
                return tick
        self.promises.fail(f"the backlog did not drain in {PEACE_TICKS_MAX} ticks")
        return PEACE_TICKS_MAX

    def _nothing_changed(self) -> None:
        """One more sweep, of all, publishes nothing."""
        published = len(self.world.published)
        self.clock.time_ms += TICK_MS
        SqliteContacts(self.world.database).make_due(self.clock.now_ms())
        began_ms = self.clock.now_ms()
        for _ in range(PEACE_TICKS_MAX):
            self._tick_in_peace()
            if self._all_synced_since(began_ms):
                break
        if len(self.world.published) > published:
            self.promises.fail("a sweep in which nothing changed published again")

    def _tick_in_peace(self) -> None:
        self.clock.time_ms += TICK_MS
        self.world.tick()
        while self.world.queue:
            self.world.deliver()

    def _all_synced_since(self, began_ms: int) -> bool:
        rows = self.world.database.rows("SELECT id, synced_ms FROM contact")
        synced = {str(id_) for id_, at_ms in rows if isinstance(at_ms, int) and at_ms >= began_ms}
        return synced == {contact.id for contact in self.account.contacts()}
