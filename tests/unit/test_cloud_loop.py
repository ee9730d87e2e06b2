"""The loop of a run on the local cloud, with its shifts, in virtual time over a table of moto."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import DynamoStore, dynamo_store
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import Asked, CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.retries import Retry, TryTally
from contact_activity.domain.rights import ReportAccess, Right
from contact_activity.domain.shifts import EARLY_END_MS, NO_CALL_MS, Shifts
from contact_activity.domain.times import DAY_MS
from contact_activity.errors import Cause
from contact_activity.local_cloud.tick_loop import MAX_STALL_MS, CloudTickLoop
from contact_activity.run.connection_watch import ConnectionWatch
from contact_activity.run.errors import RunError
from contact_activity.run.options import RunOptions
from contact_activity.run.progress import RunProgress
from contact_activity.use_cases.report_access import note_answer
from tests.support.families import create_table
from tests.support.nobodys_aws import nobodys_aws
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock
from tests.support.world import LIMITS

MINUTE_MS = 60_000
POLL_MS = 5_000
# Reports have as long a shift as they ever have, much longer than a run waits without progress.
SHIFTS = Shifts(NOON_MS, NOON_MS + 14 * MINUTE_MS, NOON_MS + 30 * MINUTE_MS - EARLY_END_MS)
IDS = ("4711", "4712", "4713")
REFUSED = Pause(PauseReason.CREDENTIAL, None)
REPORTS = [CampaignReport(ReportId("111", type_), NOON_MS, NOON_MS) for type_ in ActivityType]


class HurriedClock(VirtualClock):
    """Polls rarely."""

    def sleep(self, wait_s: float) -> None:
        super().sleep(max(wait_s, POLL_MS / 1_000))


class Queue:
    """Holds as many messages as are not done by now: `done_ms`, when each is."""

    def __init__(self, clock: VirtualClock) -> None:
        self.done_ms: list[int] = []
        self._clock = clock

    def depth(self) -> int:
        return sum(self._clock.now_ms() < done_ms for done_ms in self.done_ms)


class ToldTries:
    """What the functions tell, a part each time that it is read."""

    def __init__(self) -> None:
        self.told: list[TryTally] = []

    def read(self) -> list[TryTally]:
        return [self.told.pop(0)] if self.told else []


class System:
    """A deployed system whose workers are done with each message when the test says so.

    `ticks`: what each tick hands out: when its reports are read, and when its contacts.
    """

    log_path = Path("emulator.log")

    def __init__(
        self, store: DynamoStore, clock: VirtualClock, ticks: list[tuple[list[int], list[int]]]
    ) -> None:
        self.store, self.clock, self.ticks = store, clock, ticks
        self.queue, self.dead_letters = Queue(clock), Queue(clock)
        self.ticked_ms: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.told_tries = ToldTries()

    def drop_messages(self) -> None: ...

    def tick(self) -> dict[str, Any]:
        now_ms = self.clock.now_ms()
        self.ticked_ms.append(now_ms)
        self.meanwhile()
        reports_ms, contacts_ms = self.ticks.pop(0)
        self.queue.done_ms += reports_ms + contacts_ms
        for id_, done_ms in zip(IDS, contacts_ms, strict=False):
            self._put_off(id_, done_ms)
        return {
            "listing_waits": False,
            "listing_is_complete": True,
            "reports_enqueued": len(reports_ms),
            "enqueued": len(contacts_ms),
        }

    def _put_off(self, contact_id: str, synced_ms: int) -> None:
        """As if its sync had ended; the loop looks only when the queue is empty."""
        contact = self.store.contacts.get(contact_id)
        assert contact
        self.store.contacts.save(replace(contact, synced_ms=synced_ms, due_ms=synced_ms + DAY_MS))

    def refuse_all(self) -> None:
        """As if contacts' own reports were refused for want of a right."""
        now_ms, error = self.clock.now_ms(), f"403: is the privilege {Right.METRICS} missing?"
        for contact in self.store.contacts.get_many(IDS).values():
            failed = contact.failed(error, now_ms=now_ms, tick_ms=DAY_MS, planned_ms=now_ms, progress=None)
            assert self.store.contacts.save(failed)


@dataclass
class Reader:
    received: Counter[str] = field(default_factory=Counter)

    def drain(self) -> None: ...


@dataclass
class Shown:
    progress: list[RunProgress] = field(default_factory=list)

    def step(self, text: str) -> None: ...

    def show(self, progress: RunProgress) -> None:
        self.progress.append(progress)

    def published(self, lines: bytes) -> None: ...

    def tick_is_over(self) -> None: ...


@pytest.fixture
def clock() -> VirtualClock:
    return HurriedClock(NOON_MS)


@pytest.fixture
def store(clock: VirtualClock) -> Iterator[DynamoStore]:
    """With three contacts and six reports that are due, and the shifts of a tick that has just begun."""
    with nobodys_aws(), mock_aws():
        client = aws_client("dynamodb")
        store = dynamo_store(client, create_table(client, "loop"), LIMITS, clock, threads=1)
        store.contacts.register([ListedContact(id_, "") for id_ in IDS], NOON_MS)
        for report in REPORTS:
            assert store.reports.save(report)
        assert store.reports.save_shifts(SHIFTS, None)
        yield store


def loop_over(system: System, shown: Shown) -> CloudTickLoop:
    # The stand-ins have what the loop uses of the real ones, which need an emulator.
    stand_in: Any = system
    reader: Any = Reader()
    watch = ConnectionWatch(system.clock, lambda _: None, is_one_time=True)
    return CloudTickLoop(stand_in, reader, RunOptions(Path("state"), Path("events")), shown, watch)


def test_what_the_functions_tell_of_their_calls_is_shown_and_counted(
    store: DynamoStore, clock: VirtualClock
) -> None:
    """While they work, and what the last of them tells in the summary."""
    system, shown = System(store, clock, [([], [NOON_MS + MINUTE_MS] * 3)]), Shown()
    failed = Retry(503, Cause.SERVER_ERROR.value, 0)
    system.told_tries.told = [TryTally(4, Counter({failed: 1})), *[TryTally(1)] * 30]
    summary = loop_over(system, shown).run_once()
    assert "api answered 503" in {of.trouble for of in shown.progress}
    assert (summary.retries, shown.progress[-1].trouble) == ({"503": 1}, "")
    assert summary.tries > 4


@pytest.mark.parametrize("was_refused", [True, False])
def test_a_credential_that_was_refused_before_is_no_cause_where_nobody_answers(
    store: DynamoStore, clock: VirtualClock, *, was_refused: bool
) -> None:
    """One that is refused in this run is, whatever else failed in it."""
    system = System(store, clock, [([], [])])
    system.meanwhile = lambda: store.pauses.pause(REFUSED)
    if was_refused:
        store.pauses.pause(REFUSED)
    failures = Counter({(Cause.CONNECTION_REFUSED.value, 0): 1})
    system.told_tries.told = [TryTally(1, failures=failures)]
    summary = loop_over(system, Shown()).run_once()
    assert summary.pause == REFUSED
    assert bool(summary.unreachable) == was_refused


def test_contacts_that_wait_for_their_shift_are_progress(store: DynamoStore, clock: VirtualClock) -> None:
    """The reports are read in a minute; the contacts of the same tick come when their shift begins."""
    contacts_ms = [SHIFTS.change_ms + 2 * MINUTE_MS] * 3
    system, shown = System(store, clock, [([NOON_MS + MINUTE_MS] * 6, contacts_ms)]), Shown()
    summary = loop_over(system, shown).run_once()
    assert (summary.contacts, summary.synced, len(system.ticked_ms)) == (3, 3, 1)
    seen = [(of.counted, of.done, of.planned, of.waits_for) for of in shown.progress]
    reading, waiting = ("reports", 0, 6, ""), ("reports", 6, 6, "the contacts' shift")
    assert list(dict.fromkeys(seen)) == [reading, waiting, ("contacts", 0, 3, ""), ("contacts", 3, 3, "")]
    left_s = [of.left_s or 0 for of in shown.progress if of.waits_for]
    assert left_s[0] == (SHIFTS.change_ms - NOON_MS - MINUTE_MS) / 1_000
    assert left_s == sorted(left_s, reverse=True)


def test_who_is_handed_out_twice_is_counted_once_a_tick(store: DynamoStore, clock: VirtualClock) -> None:
    """The second tick counts its own: there are never more contacts than are known."""
    short = Shifts(NOON_MS, NOON_MS, NOON_MS + 3 * MINUTE_MS)
    assert store.reports.save_shifts(short, SHIFTS)
    again_ms = short.end_ms + MINUTE_MS
    system = System(store, clock, [([], [NOON_MS + MINUTE_MS] * 2), ([], [again_ms] * 3)])
    shown = Shown()
    assert loop_over(system, shown).run_once().synced == 3
    assert {of.planned for of in shown.progress} == {2, 3}
    waiting = [of for of in shown.progress if of.waits_for]
    assert all((of.done, of.waits_for) == (2, "the next shift") for of in waiting)
    assert all(0 < (of.left_s or 0) <= 3 * 60 for of in waiting)


def test_contacts_that_wait_in_the_queue_say_so(store: DynamoStore, clock: VirtualClock) -> None:
    """Where this tick read no reports, but its shift of contacts has not begun."""
    system = System(store, clock, [([], [SHIFTS.change_ms + MINUTE_MS] * 3)])
    shown = Shown()
    assert loop_over(system, shown).run_once().synced == 3
    seen = [(of.done, of.planned, of.waits_for) for of in shown.progress]
    assert list(dict.fromkeys(seen)) == [(0, 3, "the contacts' shift"), (0, 3, ""), (3, 3, "")]


def test_what_another_tick_hands_out_is_no_negative_progress(store: DynamoStore, clock: VirtualClock) -> None:
    """The emulator's schedule may tick meanwhile: the queue then holds more than this run knows of."""
    contacts_ms = [SHIFTS.change_ms + MINUTE_MS] * 3
    system, shown = System(store, clock, [([NOON_MS + MINUTE_MS], contacts_ms)]), Shown()
    system.queue.done_ms += [SHIFTS.change_ms + MINUTE_MS] * 20
    assert loop_over(system, shown).run_once().synced == 3
    assert all(0 <= of.done <= of.planned for of in shown.progress)


def test_a_stall_in_the_contacts_shift_ends_the_run(store: DynamoStore, clock: VirtualClock) -> None:
    """The time is counted from the beginning of that shift."""
    system = System(store, clock, [([NOON_MS + MINUTE_MS] * 6, [NOON_MS + DAY_MS] * 3)])
    with pytest.raises(RunError, match="makes no progress"):
        loop_over(system, Shown()).run_once()
    assert MAX_STALL_MS < clock.now_ms() - SHIFTS.change_ms <= MAX_STALL_MS + 2 * POLL_MS


def test_without_shifts_a_stall_ends_the_run(store: DynamoStore, clock: VirtualClock) -> None:
    """Those of an earlier tick are over."""
    clock.sleep(3_600)
    system = System(store, clock, [([], [NOON_MS + DAY_MS] * 3)])
    with pytest.raises(RunError, match="makes no progress"):
        loop_over(system, Shown()).run_once()
    assert clock.now_ms() - system.ticked_ms[0] <= MAX_STALL_MS + 2 * POLL_MS


@pytest.mark.parametrize("is_read", [False, True])
def test_a_right_that_is_missing_is_named(store: DynamoStore, clock: VirtualClock, is_read: bool) -> None:
    """As on the embedded engine. A run tries what was refused before, for somebody may have mended it."""
    reports, refused = store.reports, ReportAccess().refused(NOON_MS)
    assert reports.save_access(refused, ReportAccess())
    reports.put_feed(replace(reports.feed(), refused_ms=NOON_MS, lacks="campaign_data"))
    forbidden = CampaignReport(
        ReportId("m", ActivityType.OPENED), 0, NOON_MS + DAY_MS, asked=Asked(NOON_MS, forbidden_ms=NOON_MS)
    )
    assert reports.save(forbidden)
    system = System(store, clock, [([], [SHIFTS.change_ms + MINUTE_MS] * 3)])
    if is_read:
        system.meanwhile = partial(note_answer, reports, forbidden.id)
    summary = loop_over(system, Shown()).run_once()
    assert summary.missing_right is Right.CAMPAIGN_DATA
    found = reports.get(forbidden.id)
    assert found is not None
    assert (found.due_ms, reports.feed().refused_ms) == (NOON_MS, None)
    assert reports.access().is_missing is not is_read
    assert reports.access().refused_ms == 0


def test_contacts_that_are_refused_are_said_once(store: DynamoStore, clock: VirtualClock) -> None:
    """All of them, for want of the privilege; none has failed."""
    system = System(store, clock, [([], [])])
    system.meanwhile = system.refuse_all
    summary = loop_over(system, Shown()).run_once()
    assert (len(summary.refused), summary.failed, summary.missing_right) == (3, {}, Right.METRICS)


def test_contacts_of_another_shift_are_waited_for(store: DynamoStore, clock: VirtualClock) -> None:
    """A run that was ended in the shift of reports planned it; this one hands out no reports in that tick."""
    system = System(store, clock, [([], [SHIFTS.change_ms + MINUTE_MS] * 3)])
    assert loop_over(system, Shown()).run_once().synced == 3


def test_who_came_too_late_is_read_in_the_next_shift(store: DynamoStore, clock: VirtualClock) -> None:
    """Near the end of a shift nobody is handed out: no tick runs, and lists contacts, until it is over."""
    short = Shifts(NOON_MS, NOON_MS, NOON_MS + 3 * MINUTE_MS)
    assert store.reports.save_shifts(short, SHIFTS)
    over_ms, later_ms = short.end_ms - NO_CALL_MS, short.end_ms + MINUTE_MS
    system = System(store, clock, [([], [over_ms] * 2), ([], [later_ms] * 3)])
    assert loop_over(system, Shown()).run_once().synced == 3
    assert system.ticked_ms[0] == NOON_MS
    assert short.end_ms <= system.ticked_ms[1] <= short.end_ms + POLL_MS


def test_reports_that_were_read_and_that_failed_are_counted(store: DynamoStore, clock: VirtualClock) -> None:
    """Only those of this run. One that failed is no failed contact."""
    read, failed = REPORTS[0], REPORTS[1]
    for report in (
        replace(read, version=1, read_ms=NOON_MS + 1),
        replace(failed, version=1, last_error="the API failed", failed_ms=NOON_MS + 1),
        replace(REPORTS[2], version=1, read_ms=NOON_MS - 1),
        replace(REPORTS[3], version=1, last_error="the API failed", failed_ms=NOON_MS - 1),
    ):
        assert store.reports.save(report)
    system = System(store, clock, [([], [SHIFTS.change_ms + MINUTE_MS] * 3)])
    summary = loop_over(system, Shown()).run_once()
    assert (summary.reports, summary.failed) == (1, {})
    assert summary.failed_reports == {str(failed.id): "the API failed"}
