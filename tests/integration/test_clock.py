"""A clock that was ahead and is set right: no time that it stored holds anything up.

Every number that the two stores hold is here, with what it is. A time has the longest that it can
honestly lie in the future; later ones are tried one by one.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.pace import FOLD_EVERY
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import ListedCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.pace import MAX_SLOT_AHEAD_MS, Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.schedule import MAX_HELD_MS, longest_waits, queued_until_ms, standing
from contact_activity.domain.summary import SummaryCounts
from contact_activity.domain.times import iso, midnight_after
from contact_activity.domain.watermark import Progress, Reading
from tests.support.account import System
from tests.support.families import AwsFamily, Clients, EmbeddedFamily, Family
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.stored import DynamoStored, SqliteStored, Stored, names
from tests.support.virtual_clock import SettableClock
from tests.support.world import TICK_MS

MINUTE_MS = 60_000
LIMITS = Limits(4, 9_000)
READING = Reading("default", overlap_h=1, remembered_min=2)
BEYOND_MS = {"minutes": 5 * MINUTE_MS, "days": 3 * DAY_MS, "a year": 400 * DAY_MS}

# The longest that each can honestly lie behind the moment in which it is set.
TIMES_MS = {
    "contact.registered_ms": 0,
    "contact.due_ms": 0,  # And what its contact waits.
    "contact.queued_until_ms": queued_until_ms(0, TICK_MS),
    "contact.held_until_ms": MAX_HELD_MS,
    "contact.synced_ms": 0,
    "contact.failed_ms": 0,
    "contact.resync_ms": 0,
    "contact.resync_asked_ms": 0,
    "contact.marks.*[0]": 0,
    "contact.marks.*[1]": 0,
    "contact.marks.*[2][0][0]": 0,
    "contact.marks.*[2][0][1]": 0,
    "contact.progress.started_ms": 0,
    "contact.summaries.*.asked_ms": 0,
    "campaign.summary.*.asked_ms": 0,
    "campaigns_listed": 0,
    "listing.started_ms": 0,
    "listing.since_ms": -HOUR_MS,
    "listing.mark_ms": -HOUR_MS,
    "listing.full_ms": 0,
    "listing.deep_ms": 0,
    "lease.until_ms": MAX_HELD_MS,
    "pace.next_slot_ms": MAX_SLOT_AHEAD_MS,
    "pauses.quota": midnight_after(NOON_MS) - NOON_MS,
    # It is told from the operator's by the probe that each tick sends.
    "pauses.credential": 0,
}
# In a table only: changes of the pace that are not in it yet, which count by the slots that they take.
IN_A_TABLE_MS = {"pace.changes.*[3]": MAX_SLOT_AHEAD_MS}
DAYS = {"pace.day", "listing.day"}
# Stamps of the provider's rows, taken over as they are: no clock of ours sets them.
STAMPS = {
    "contact.progress.through.*",
    "contact.progress.oldest.*",
    "contact.progress.again_from.*",
    "contact.progress.forgotten_ms",
}
# An operator may pause for years.
BY_A_PERSON = {"pauses.operator"}
# Nobody but people looks at it.
FOR_PEOPLE = {"published.day", "tick_failure.at_ms"}
NO_TIMES = {
    *("contact.version", "contact.failures", "contact.times_gone", "contact.due_shard"),
    *("contact.progress.pages", "contact.progress.restarts", "contact.progress.next"),
    *("contact.progress", "contact.progress.undecided_pages", "contact.last_error"),
    *("contact.summaries.*.published.*[0]", *(f"contact.summaries.*.published.*[{n}]" for n in range(1, 7))),
    *("campaign.version", *(f"campaign.summary.*.published.*[{n}]" for n in range(7))),
    *("listing.contacts", "listing.counted", "listing.next", "listing.pages"),
    *("pace.folds", "pace.changes.*[1]", "pace.changes.*[2]", "pace.changes.*[4]"),
    *("tick_failure", "pace.used", "published.events", "published.*"),
}


@dataclass(frozen=True, slots=True)
class Store:
    """A family of adapters, and what it holds."""

    family: Family
    stored: Stored


@pytest.fixture(autouse=True, scope="module")
def _nobodys_aws() -> Iterator[None]:
    with nobodys_aws():
        yield


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Store]:
    family = EmbeddedFamily(tmp_path / "state.db")
    yield Store(family, SqliteStored(tmp_path / "state.db"))
    family.close()


@pytest.fixture
def moto() -> Iterator[Store]:
    with mock_aws():
        clients = Clients(aws_client)
        family = AwsFamily(clients)
        yield Store(family, DynamoStored(clients.dynamodb, family.table))


def lived(store: Store) -> System:
    """A system that has worked for two days, with everything stored that can be, at noon.

    All is due. Each contact has one activity that is not published, one contact is not known yet, and
    the summaries moved.
    """
    system = System(store.family, SettableClock(NOON_MS - 2 * DAY_MS), LIMITS, READING)
    account = system.account
    ids = ("plain", "quiet", "walking", "failing", "gone", "resynced")
    account.listed = [ListedContact(id_, iso(NOON_MS - 20 * DAY_MS)) for id_ in ids]
    for number, id_ in enumerate(ids):
        account.activities[id_] = [
            activity(NOON_MS - 9 * DAY_MS + n * HOUR_MS + number, contact_id=id_) for n in range(6)
        ]
        account.counts[(id_, None)] = SummaryCounts(sends=1, opens=6)
    account.sent = [ListedCampaign("7", NOON_MS - 5 * DAY_MS)]
    account.counts[(None, "7")] = SummaryCounts(sends=6)
    system.tick()
    limiter = system.family.limiter(LIMITS, system.clock)
    for _ in range(FOLD_EVERY + 1):
        limiter.acquire(deadline_ms=system.clock.monotonic_ms() + HOUR_MS)
    system.clock.sleep((NOON_MS - system.clock.real_ms) / 1_000)
    leave_all_that_can_be(system)
    for id_ in ids[:1] + ids[2:]:
        account.activities[id_].append(activity(NOON_MS - 5 * MINUTE_MS, contact_id=id_))
    account.listed.append(ListedContact("new", iso(NOON_MS - HOUR_MS)))
    account.activities["new"] = [activity(NOON_MS - HOUR_MS, contact_id="new")]
    account.counts[("quiet", None)] = SummaryCounts(sends=1, opens=7)
    account.counts[(None, "7")] = SummaryCounts(sends=6, opens=1)
    return system


def leave_all_that_can_be(system: System) -> None:
    family, account = system.family, system.account
    hour_ago_ms = NOON_MS - HOUR_MS
    for id_ in account.activities:
        contact = replace(system.contact(id_), due_ms=NOON_MS - 1, summaries=old(system, id_))
        match id_:
            case "walking":
                progress = a_walk(account.activities[id_][-1].occurred_ms)
                contact = replace(contact, progress=progress, held_until_ms=hour_ago_ms)
            case "failing":
                contact = replace(contact, failures=2, last_error="no answer", failed_ms=hour_ago_ms)
            case "gone":
                contact = replace(contact, times_gone=3)
            case "resynced":
                ago_ms = NOON_MS - 10 * MINUTE_MS
                watermark = replace(contact.watermark, resync_ms=ago_ms, resync_asked_ms=ago_ms)
                contact = replace(contact, watermark=watermark)
        assert family.contacts.save(contact, queued_until_ms=hour_ago_ms)
    account.gone = {"gone"}
    family.campaigns.put_listed(NOON_MS - 7 * HOUR_MS)
    family.listings.put(
        Listing(
            next="0",
            started_ms=hour_ago_ms,
            since_ms=hour_ago_ms - DAY_MS,
            mark_ms=hour_ago_ms - HOUR_MS,
            full_ms=NOON_MS - 2 * DAY_MS,
            contacts=6,
            deep_ms=NOON_MS - 7 * HOUR_MS,
            day=NOON_MS // DAY_MS,
            pages=3,
        )
    )
    family.listings.put_failure(TickFailure("no answer", hour_ago_ms))
    for reason in PauseReason:
        family.pauses.pause(Pause(reason, hour_ago_ms))
    assert family.lease().take(now_ms=hour_ago_ms, until_ms=hour_ago_ms + 1)


def old(system: System, contact_id: str) -> tuple:  # type: ignore[type-arg]
    asked_ms = NOON_MS - 29 * DAY_MS if contact_id == "quiet" else NOON_MS - 2 * DAY_MS
    return tuple(replace(known, asked_ms=asked_ms) for known in system.contact(contact_id).summaries)


def a_walk(newest_ms: int) -> Progress:
    times = ((ActivityType.OPENED, newest_ms - 5 * HOUR_MS),)
    return Progress(
        started_ms=NOON_MS - HOUR_MS,
        fingerprint=READING.fingerprint,
        report="all",
        next="0",
        candidates=b"",
        unreadable=b"",
        through=times,
        forgotten_ms=newest_ms - 5 * HOUR_MS,
        restarts=0,
        pages=1,
        oldest=times,
        again_from=times,
    )


def times_in(engine: str) -> set[str]:
    return {*TIMES_MS, *(IN_A_TABLE_MS if engine == "moto" else ())}


def put_off(stored: Stored, name: str, beyond_ms: int) -> int:
    """Move every time of that name so far behind the longest that is honest; returns how many there are."""
    found = 0
    failures: dict[str, dict[str, int]] = {}

    def note(owner: str, of: str, value: object) -> object:
        if of in {"contact.failures", "contact.times_gone"}:
            failures.setdefault(owner, {})[of.removeprefix("contact.")] = int(str(value))
        return value

    def change(owner: str, of: str, value: object) -> object:
        nonlocal found
        if of != name or value is None:
            return value
        found += 1
        if name in DAYS:
            return NOON_MS // DAY_MS + 1 + beyond_ms // DAY_MS
        honest_ms = (TIMES_MS | IN_A_TABLE_MS)[name]
        if name == "contact.due_ms":
            waits = longest_waits(contacts=6, calls_each=1, tick_ms=TICK_MS, limits=LIMITS)
            honest_ms = waits.by_standing_ms[standing(**failures[owner])]
        return NOON_MS + honest_ms + beyond_ms

    stored.change(note)
    stored.change(change)
    return found


def work_goes_on(system: System) -> None:
    """Within a tick all is read that is due, then tick by tick and on the next day; all of it once."""
    account, calls = system.account, system.account.calls
    system.tick()
    assert set(account.read_ms) >= set(account.activities)
    missing = {id_ for id_, read_ms in account.read_ms.items() if read_ms[-1] < NOON_MS}
    assert not missing, f"not read: {missing}"
    all_is_out(system)
    assert ("contact.summarized", "quiet") in summarized(system)
    assert ("campaign.summarized", "7") in summarized(system)
    for _ in range(2):
        system.clock.sleep(TICK_MS / 1_000)
        account.activities["plain"].append(activity(system.clock.real_ms - 1, contact_id="plain"))
        system.tick()
        all_is_out(system)
    system.clock.sleep(DAY_MS / 1_000)
    account.activities["failing"].append(activity(system.clock.real_ms - 1, contact_id="failing"))
    system.tick()
    all_is_out(system)
    pace = system.family.limiter(LIMITS, system.clock).pace()
    assert 0 < pace.used_on(system.clock.now_ms()) < 20
    assert account.calls - calls < 80


def all_is_out(system: System) -> None:
    ids = Counter(event.id for event in system.bus.events)
    assert ids.most_common(1)[0][1] == 1, "an event twice"
    known = {id_ for id_ in system.account.activities if id_ not in system.account.gone}
    wanted = {(id_, iso(of.occurred_ms)) for id_ in known for of in system.account.activities[id_]}
    lost = wanted - {(subject, time) for _, subject, time in published(system)}
    assert not lost, f"lost: {sorted(lost)}"


def published(system: System) -> list[tuple[str, str, str]]:
    details = [json.loads(event.detail) for event in system.bus.events]
    return [(detail["type"], detail["subject"], detail["time"]) for detail in details]


def summarized(system: System) -> set[tuple[str, str]]:
    """What was summarized since noon."""
    return {
        (type_.removeprefix("contact-activity.").removesuffix(".v1"), subject)
        for type_, subject, time in published(system)
        if time >= iso(NOON_MS)
    }


# --------------------------------------------------------------------------------- every stored time


@pytest.mark.parametrize("engine", ["embedded", "moto"])
def test_every_number_that_is_stored_is_known(engine: str, request: pytest.FixtureRequest) -> None:
    """One that is new is a time with a bound, a time that none of our clocks sets, or no time."""
    store: Store = request.getfixturevalue(engine)
    lived(store)
    found = names(store.stored)
    times = times_in(engine) | DAYS | BY_A_PERSON | STAMPS
    assert found - times - NO_TIMES - FOR_PEOPLE == set()
    assert times - found == set()


@pytest.mark.parametrize("engine", ["embedded", pytest.param("moto", marks=pytest.mark.long)])
def test_nothing_is_held_up_where_no_clock_was_ahead(engine: str, request: pytest.FixtureRequest) -> None:
    """What the other tests expect is what happens anyway."""
    store: Store = request.getfixturevalue(engine)
    work_goes_on(lived(store))


@pytest.mark.long
@pytest.mark.parametrize("beyond", BEYOND_MS)
@pytest.mark.parametrize("name", sorted({*TIMES_MS, *DAYS}))
def test_work_goes_on_whatever_time_lies_in_the_future(embedded: Store, name: str, beyond: str) -> None:
    """Every contact is read, new ones are found, and nothing is lost or published twice."""
    system = lived(embedded)
    assert put_off(embedded.stored, name, BEYOND_MS[beyond])
    work_goes_on(system)


# The rules of the others are the pure core's, which both stores share.
@pytest.mark.long
@pytest.mark.parametrize("name", ["contact.due_ms", "contact.queued_until_ms", "lease.until_ms"])
def test_work_goes_on_in_a_table_whatever_time_lies_in_the_future(moto: Store, name: str) -> None:
    """The same of the items of a table."""
    system = lived(moto)
    assert put_off(moto.stored, name, BEYOND_MS["minutes"])
    work_goes_on(system)


@pytest.mark.long
@pytest.mark.parametrize("beyond", BEYOND_MS)
@pytest.mark.parametrize("engine", ["embedded", "moto"])
def test_work_goes_on_though_all_times_lie_in_the_future(
    engine: str, beyond: str, request: pytest.FixtureRequest
) -> None:
    """As a clock leaves them that was ahead for long."""
    store: Store = request.getfixturevalue(engine)
    system = lived(store)
    for name in times_in(engine) | DAYS:
        assert put_off(store.stored, name, BEYOND_MS[beyond])
    work_goes_on(system)


@pytest.mark.parametrize("engine", ["embedded", "moto"])
def test_an_operator_may_pause_for_a_year(engine: str, request: pytest.FixtureRequest) -> None:
    """It is the one time that is taken as given."""
    system = lived(request.getfixturevalue(engine))
    system.family.pauses.pause(Pause(PauseReason.OPERATOR, NOON_MS + 400 * DAY_MS))
    calls = system.account.calls
    system.tick_until(NOON_MS + 3 * TICK_MS)
    assert system.account.calls == calls
    system.clock.ahead_ms = 400 * DAY_MS
    system.tick()
    assert system.account.calls > calls


@pytest.mark.long
@pytest.mark.parametrize("engine", ["embedded", "moto"])
def test_a_day_to_come_that_is_used_up_is_today(engine: str, request: pytest.FixtureRequest) -> None:
    """What a clock counted that was ahead counts once: today, and not on the day that it showed."""
    store: Store = request.getfixturevalue(engine)
    system = lived(store)
    used_up = {"pace.day": NOON_MS // DAY_MS + 30, "pace.used": LIMITS.calls_per_day}
    store.stored.change(lambda _, name, value: used_up.get(name, value))
    calls = system.account.calls
    system.tick_until(midnight_after(NOON_MS))
    assert system.account.calls == calls
    system.tick()
    all_is_out(system)


# ----------------------------------------------------------------------------------------- histories

BUSY = ("1", "2", "3", "4", "5")
# Hardly more than a day of ticks takes.
FEW = Limits(4, 1_000)


class History:
    """Five contacts that go on reading mail, one that the API fails for, and one that is gone.

    The API's clock is right, whatever ours shows.
    """

    def __init__(self, family: Family) -> None:
        self.system = System(family, SettableClock(NOON_MS), FEW, READING)
        self.account = self.system.account
        self.account.listed = [
            ListedContact(id_, iso(NOON_MS - DAY_MS)) for id_ in (*BUSY, "gone", "failing")
        ]
        self.account.gone, self.account.failing = {"gone"}, {"failing"}
        self.account.activities = {id_: [] for id_ in BUSY}
        self.late_ms = 0
        self._numbers = itertools.count()

    def go_on(self, for_ms: int) -> None:
        until_ms = self.system.clock.real_ms + for_ms
        while self.system.clock.real_ms < until_ms:
            self._live()
            self.system.tick_until(self.system.clock.real_ms + 1)

    def _live(self) -> None:
        number = next(self._numbers)
        id_ = BUSY[number % len(BUSY)]
        occurred_ms = self.system.clock.real_ms - 1 - number % 60_000
        self.account.activities[id_].append(activity(occurred_ms, contact_id=id_))
        if number == 7:
            self.late_ms = self.system.clock.real_ms
            self.account.listed.append(ListedContact("late", iso(self.system.clock.real_ms - HOUR_MS)))
            self.account.activities["late"] = [
                activity(self.system.clock.real_ms - HOUR_MS, contact_id="late")
            ]

    def check(self, since_ms: int) -> None:
        """All is out, once; from then on nobody waited longer than it may, and no day had more calls."""
        self.system.tick_until(self.system.clock.real_ms + 3 * TICK_MS)
        all_is_out(self.system)
        usual_ms = longest_waits(contacts=8, calls_each=1, tick_ms=TICK_MS, limits=FEW).by_standing_ms[0]
        for id_, read_ms in self.account.read_ms.items():
            bound_ms = {"gone": 28 * DAY_MS, "failing": DAY_MS}.get(id_, usual_ms)
            known_ms = max(since_ms, self.late_ms) if id_ == "late" else since_ms
            times_ms = [known_ms, *(at_ms for at_ms in read_ms if at_ms >= since_ms)]
            gaps_ms = [later - earlier for earlier, later in pairwise([*times_ms, self.system.clock.real_ms])]
            assert max(gaps_ms) <= bound_ms + 2 * TICK_MS, f"{id_} waited for {max(gaps_ms)} ms"
        days = Counter(at_ms // DAY_MS for at_ms in self.account.called_ms if at_ms >= since_ms)
        assert max(days.values()) <= FEW.calls_per_day


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, 26 * HOUR_MS, 10 * DAY_MS, 30 * DAY_MS, 400 * DAY_MS])
def test_a_clock_that_was_ahead_and_is_set_right_costs_nothing(ahead_ms: int) -> None:
    """Work goes on, whatever it did meanwhile."""
    history = History(EmbeddedFamily())
    history.go_on(2 * HOUR_MS)
    history.system.clock.ahead_ms = ahead_ms
    history.go_on(5 * HOUR_MS)
    history.system.clock.ahead_ms = 0
    history.go_on(26 * HOUR_MS)
    history.check(NOON_MS + 7 * HOUR_MS)


@pytest.mark.long
@pytest.mark.parametrize("ahead_ms", [26 * HOUR_MS, 400 * DAY_MS])
def test_a_stack_goes_on_after_a_clock_that_was_ahead(moto: Store, ahead_ms: int) -> None:
    """The same on the AWS adapters."""
    history = History(moto.family)
    history.go_on(2 * TICK_MS)
    history.system.clock.ahead_ms = ahead_ms
    history.go_on(3 * TICK_MS)
    history.system.clock.ahead_ms = 0
    history.go_on(3 * TICK_MS)
    history.check(NOON_MS + 5 * TICK_MS)


JUMPS_MS = st.sampled_from([0, -2 * HOUR_MS, 90_000, HOUR_MS, 26 * HOUR_MS, 10 * DAY_MS, 400 * DAY_MS])


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(JUMPS_MS, st.integers(1, 8), st.integers(0, 6)), min_size=1, max_size=5))
def test_a_clock_that_jumps_while_work_is_under_way_costs_nothing(jumps: list[tuple[int, int, int]]) -> None:
    """Forward and back, between two ticks and between two calls."""
    history = History(EmbeddedFamily())
    clock = history.system.clock

    def jump(ahead_ms: int) -> None:
        clock.ahead_ms = ahead_ms

    history.go_on(2 * TICK_MS)
    for ahead_ms, ticks, calls in jumps:
        history.account.meanwhile[history.account.calls + calls] = partial(jump, ahead_ms)
        history.go_on(ticks * TICK_MS)
    jump(0)
    since_ms = clock.real_ms
    history.go_on(6 * HOUR_MS)
    history.check(since_ms)
