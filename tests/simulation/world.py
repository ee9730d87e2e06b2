"""A world in virtual time: the real use cases, client and limiter, and everything that can go wrong.

One seed is one history. Workers are processes of one thread each; a second one runs inside a first
whenever that calls a port, which is how two handle one contact at once.
"""

import io
import json
import random
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.tokens import FixedToken
from contact_activity.constant_contact.transport import NoAnswerError, Reply
from contact_activity.domain.campaign import Campaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ListedContact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import SLOW_DOWN_MS, Limits, calls_left
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.shifts import NO_CALL_MS, NO_PUBLICATION_MS, Window
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.trust import Mode, Trust
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind, WorkPolicy
from contact_activity.entrypoints import telemetry
from contact_activity.errors import (
    Cause,
    FatalError,
    PartlyAcceptedError,
    RefusedError,
    RetryError,
    WaitError,
)
from contact_activity.ports import Store, TickPorts, WorkPorts
from contact_activity.settings import Credentials
from contact_activity.simulated import Server
from contact_activity.simulated.http_server import Incoming
from contact_activity.state.codec import item_from_body, item_to_body
from contact_activity.use_cases.read_history import CURSORS_DID_NOT_HOLD
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickOutcome, TickReport
from contact_activity.use_cases.turns import OneAfterTheOther, StoredShifts, Turns
from contact_activity.use_cases.work_on import work_on
from tests.simulation.apis import V2, Api
from tests.simulation.promises import Promises
from tests.simulation.stores import EmbeddedStores, Stores
from tests.support.in_process import Reached, incoming, received

TICK_MS = 15 * 60_000
INVOCATION_MS = 75_000
TICK_TIME_MS = 240_000
# An invocation is over so long after its deadline.
RESERVE_MS = 45_000
LEASE_MARGIN_MS = 10_000
RECEIVES_MAX = 3
CREDENTIALS = Credentials("sim-key-canary", "sim-token-canary")
OTHERS_PATH = "/v2/others"
REFUSALS = {401, 403, 429}
# A call is on its way so long. What is left of the margin is for a worker that wakes late.
ARRIVAL_S = (0.02, 0.02, 0.14)
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 10
CLOCKS_DIFFER_MS = (-15, -7, 7, 15)
# Since the machine started.
MONOTONIC_START_MS = 3_600_000
SECRET_SLOW_S = 1.5
# As long as an invocation may last.
BUS_SLOW_MS, BUS_SLOW_MARGIN_MS = 100_000, 10_000
# Messages that come in any shift, and how often time goes on though some could be worked on.
STRAYS, SHIFT_PASSES = 0.15, 0.1
# A queue holds a message back no longer.
LONGEST_DELAY_MS = 20 * 60_000
# Of a call that waited for its slot until the last moment.
CALL_LATE_MS = 1_000


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even what should run at its end."""


class ThrottledError(Exception):
    """AWS took a call as a whole no more, or took it and its answer was lost."""


class BrokenPromiseError(AssertionError):
    """What a history shows that must never be; the message names the seed."""


class Clock:
    """Time passes only for who sleeps."""

    def __init__(self, start_ms: int) -> None:
        self.time_ms = self._start_ms = start_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_ms(self) -> int:
        return self.time_ms - self._start_ms + MONOTONIC_START_MS

    def sleep(self, wait_s: float) -> None:
        self.time_ms += max(1, round(wait_s * 1_000))

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_ms / 1_000, UTC)

    def monotonic(self) -> float:
        return self.time_ms / 1_000


@dataclass(frozen=True, slots=True)
class Chances:
    """How likely each accident is, at each opportunity."""

    crash: float = 0.0
    throttled: float = 0.0
    aws_answer_lost: float = 0.0
    second_worker: float = 0.0
    second_dispatcher: float = 0.0
    key_used_by_others: float = 0.0
    credential_revoked_meanwhile: float = 0.0
    operator_paused_meanwhile: float = 0.0
    operator_asks_meanwhile: float = 0.0
    operator_asks_before_memory: float = 0.0
    report_handled_again_before_memory: float = 0.0
    bus_takes_a_part_of_report: float = 0.0
    connection_timed_out: float = 0.0
    answer_timed_out: float = 0.0
    bus_takes_a_part: float = 0.0
    bus_slow: float = 0.0
    queue_takes_a_part: float = 0.0
    message_lost: float = 0.0
    message_doubled: float = 0.0
    message_handled_twice_at_once: float = 0.0
    secret_slow: float = 0.0
    index_stale: float = 0.0
    clock_differs: float = 0.0

    @property
    def are_none(self) -> bool:
        return not any(getattr(self, chance.name) for chance in fields(self))


class InProcess(Reached):
    """What breaks on the wire breaks here too."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:  # noqa: ARG002
        world = self._process.world
        self._process.may_call()
        self._process.may_crash()
        if world.happens("key_used_by_others"):
            world.others_call(world.rng.randrange(1, 6))
        if world.happens("credential_revoked_meanwhile"):
            world.server.revoke_token()
        if world.happens("connection_timed_out"):
            world.clock.sleep(CONNECT_TIMEOUT_S)
            self._process.answers.append(0)
            raise NoAnswerError(Cause.TIMED_OUT)
        world.clock.sleep(world.rng.choice(ARRIVAL_S))
        asked = incoming(target, headers)
        self._process.calls.append(asked)
        world.trace(f"call: {asked.path} {dict(asked.query)}")
        world.calls_by_day[world.clock.now_ms() // DAY_MS] += 1
        delivery = world.server.answer(asked)
        is_whole = delivery.status in REFUSALS or world.server._calls[-1].fault is None
        status = delivery.status if is_whole else 0
        self._process.answers.append(status)
        self._process.answered.append((asked, status))
        world.clock.sleep(0.05 + delivery.pause_s)
        self._process.may_crash()
        if world.happens("answer_timed_out"):
            world.clock.sleep(READ_TIMEOUT_S)
            self._process.answers.append(0)
            self._process.answered[-1] = asked, 0
            raise NoAnswerError(Cause.TIMED_OUT)
        if delivery.status == 0 or delivery.length != len(delivery.sent):
            raise NoAnswerError(Cause.CONNECTION_CLOSED)
        world.note_report_answer(asked, delivery.status)
        if world.api.is_day_used_up(delivery):
            world.count("day_used_up_at_the_api")
            self._process.is_day_used_up = True
        elif delivery.status in {403, 429}:
            self._process.slow_until_ms = world.clock.now_ms() + SLOW_DOWN_MS
        return received(delivery)


class Fragile:
    """A port of one process: each call may be that process's last, or AWS may not take it."""

    def __init__(self, port: Any, process: "Process", *, is_aws: bool = True) -> None:
        self._port = port
        self._process = process
        self._is_aws = is_aws

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._process.before_call(is_aws=self._is_aws)
            result = value(*arguments, **named)
            if isinstance(result, Iterator):
                return map(self._answered, result)
            return self._answered(result)

        return call

    def _answered(self, result: Any) -> Any:
        self._process.may_crash()
        if self._is_aws and self._process.world.happens("aws_answer_lost"):
            self._process.world.promises.given_up(self._process)
            raise ThrottledError
        return result


class OwnClock:
    """Who sleeps may wake late: others run meanwhile. It may be set wrong."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def now_ms(self) -> int:
        return self._process.world.clock.now_ms() + self._process.skew_ms

    def monotonic_ms(self) -> int:
        return self._process.world.clock.monotonic_ms()

    def sleep(self, wait_s: float) -> None:
        clock = self._process.world.clock
        wake_ms = clock.now_ms() + max(1, round(wait_s * 1_000))
        self._process.others_may_run()
        if clock.now_ms() < wake_ms:
            clock.sleep((wake_ms - clock.now_ms()) / 1_000)


class Journal:
    """Everything that the functions say: log lines, metrics, and the traces of what failed."""

    def __init__(self) -> None:
        self._said = io.StringIO()

    def listen(self, tell: Callable[[], object]) -> None:
        telemetry.logger.registered_handler.setStream(self._said)  # type: ignore[attr-defined]
        with redirect_stdout(self._said):
            tell()
            if telemetry.metrics.metric_set:
                telemetry.metrics.flush_metrics()

    def note_failure(self) -> None:
        self._said.write(traceback.format_exc())

    @property
    def text(self) -> str:
        return self._said.getvalue()


@dataclass(slots=True)
class Delivered:
    message: WorkItem
    receives: int = 1


@dataclass
class World:
    """The API, the shared state, the queue and the bus, and the accidents that befall them.

    `clock_error_ms`: how far the machines' clocks are ahead of the truth; `clock_error_most_ms`: ever were.
    `has_shifts`: the machines are functions, whose messages have windows. `has_reports`: campaigns' reports
    are switched on. Without shifts v3 is read by one engine, which finishes reports before it begins
    contacts; `has_watch`: it also reads those that no row asks for.
    """

    seed: int
    clock: Clock
    server: Server
    reading: Reading
    limits: Limits
    calls_per_second: int
    page_rows: int
    summaries: tuple[SummaryKind, ...] = ()
    campaign_lookback_days: int | None = None
    tick_ms: int = TICK_MS
    invocation_ms: int = INVOCATION_MS
    stores: Stores = field(default_factory=EmbeddedStores)
    chances: Chances = field(default_factory=Chances)
    accidents: Counter[str] = field(default_factory=Counter)
    queue: list[Delivered] = field(default_factory=list)
    dead_letters: list[WorkItem] = field(default_factory=list)
    published: list[Event] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    trace: Callable[[str], None] = lambda _: None
    ask_as_operator: Callable[[Sequence[str]], object] = lambda _: None
    depth: int = 0
    is_stopped: bool = False
    refused_contacts: set[str] = field(default_factory=set)
    is_index_stale: bool = False
    clock_error_ms: int = 0
    clock_error_most_ms: int = 0
    chances_ever: bool = False
    calls_by_day: Counter[int] = field(default_factory=Counter)
    ticks: set[str] = field(default_factory=set)
    working: "list[Process]" = field(default_factory=list)
    dispatching: "Process | None" = None
    has_shifts: bool = False
    has_reports: bool = False
    has_ever_reports: bool = False
    has_watch: bool = True
    api: Api = V2
    report_answers: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    promises: Promises = field(init=False)
    secrets: tuple[str, ...] = (CREDENTIALS.api_key, CREDENTIALS.access_token)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.api.seed_prefix}{self.seed}:world")
        self.limits_most = self.limits

    @property
    def state(self) -> Store:
        """As somebody sees it who is no process."""
        return self.stores.store(self.limits, self.clock)

    @property
    def are_invocations_short(self) -> bool:
        """Whether a contact of a few pages may take all of one."""
        return self.invocation_ms < INVOCATION_MS

    def contacts_listed_least(self) -> int:
        """Contacts that every count of them must hold."""
        is_lost = self.accidents["contact_erased"] or self.accidents["contact_deleted"]
        if self.chances_ever or is_lost:
            return 0
        return self.promises.registered

    def fail(self, what: str) -> NoReturn:
        raise BrokenPromiseError(f"{self.api.title(self.seed)}: {what}")

    def count(self, name: str) -> None:
        self.accidents[name] += 1
        self.trace(f"accident: {name}")

    def happens(self, name: str) -> bool:
        chance = getattr(self.chances, name)
        if not chance or self.rng.random() >= chance:
            return False
        self.count(name)
        return True

    def is_refused(self, subject: str) -> bool:
        """The API refuses this contact, though it accepts the credential."""
        return subject in self.refused_contacts

    def others_call(self, times: int) -> None:
        """Another stack spends calls of the same key, at once; its token is another."""
        for _ in range(times):
            self.server.answer(
                Incoming("GET", OTHERS_PATH, {}, CREDENTIALS.api_key, "Bearer other", "application/json")
            )

    def pause_as_operator(self) -> None:
        self.state.pauses.pause(Pause(PauseReason.OPERATOR, None))
        self.is_stopped = True

    def tick(self) -> None:
        """One invocation of the dispatcher."""
        self.is_index_stale = self.happens("index_stale")
        process = Process(self)
        process.run(process.dispatch)

    @property
    def is_engine(self) -> bool:
        """One machine does one kind of work after the other."""
        return self.reading.is_witnessed and not self.has_shifts

    def note_report_answer(self, asked: Incoming, status: int) -> None:
        """What the API said when somebody asked for the first page of a mailing's report."""
        if report := self.api.report_of(asked):
            self.report_answers.setdefault(report, []).append((self.clock.now_ms(), status))

    def work_off_reports(self) -> None:
        """As the engine does before it hands out contacts."""
        while any(delivered.message.kind is WorkKind.REPORT for delivered in self.queue):
            self.deliver(WorkKind.REPORT)

    def deliver(self, kind: WorkKind | None = None) -> None:
        """One message of the queue, any (of a kind), to a new worker."""
        if kind:
            places = [at for at, delivered in enumerate(self.queue) if delivered.message.kind is kind]
            if not places:
                return
            place = self.rng.choice(places)
        elif not self.queue:
            return
        else:
            place = self._next_place() if self.has_shifts else self.rng.randrange(len(self.queue))
        delivered = self.queue.pop(place)
        if place:
            self.count("message_overtaken")
        if self.happens("message_lost"):
            return
        if self.happens("message_doubled"):
            self.queue.append(replace(delivered))
        if self.hand(delivered.message):
            return
        if delivered.receives < RECEIVES_MAX:
            self.queue.append(Delivered(delivered.message, delivered.receives + 1))
        else:
            self.dead_letters.append(delivered.message)

    def _next_place(self) -> int:
        """Mostly of a message that may be worked on, when time comes to that; else of any."""
        places = list(range(len(self.queue)))
        if self.rng.random() < STRAYS:
            return self.rng.choice(places)
        waits = {place: self._wait_ms(self.queue[place].message.window) for place in places}
        may_pass = not self.depth and (0 not in waits.values() or self.rng.random() < SHIFT_PASSES)
        later = [wait_ms for wait_ms in waits.values() if wait_ms]
        if may_pass and later and min(later) <= LONGEST_DELAY_MS:
            passed_ms = min(later)
            self.clock.time_ms += max(0, passed_ms - self.rng.choice([0, 0, 0, 3_000]))
            self.count("shift_waited_for")
            return self.rng.choice([place for place in places if waits[place] == passed_ms])
        ready = [place for place in places if waits[place] == 0]
        return self.rng.choice(ready or places)

    def _wait_ms(self, window: Window | None) -> int | None:
        """How long until a message may be worked on; None if that is over."""
        now_ms = self.clock.now_ms() + self.clock_error_ms
        if window is None:
            return 0
        return None if window.is_over(now_ms) else window.wait_ms(now_ms)

    def hand(self, message: WorkItem) -> bool:
        """A message to a new worker; True if it is done with."""
        process = Process(self)
        return process.run(lambda: process.handle(message))


class Process:
    """One invocation: its own clock, client and limiter, over the state that all share."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_dead = False
        self.item: WorkItem | None = None
        self.subject = "the dispatcher"
        self.answers: list[int] = []
        self.calls: list[Incoming] = []
        self.answered: list[tuple[Incoming, int]] = []
        self.is_stopped = world.is_stopped
        self.is_day_used_up = False
        self.slow_until_ms = 0
        self.contact: Contact | None = None
        self.seen: dict[str, Contact] = {}
        self.trusted: Trust | None = None
        self.reading = world.reading
        self.is_reading = False
        self.was_paused = False
        self.met_others = self.met_operator = self.has_stalled = False
        # Contacts of which somebody asked something since it read them.
        self.unaware: set[str] = set()
        self.unsaved: dict[str, None] = {}
        self.sent = self.refused = 0
        self.depth_seen: int | None = None
        # Contacts of a tick: to whom reports left rows, and those that it claimed, from when on.
        self.urgent = self.claimed = 0
        self.claims_began_ms = 0
        self.lease_until_ms = 0
        differs = world.happens("clock_differs")
        self.skew_ms = world.clock_error_ms + (world.rng.choice(CLOCKS_DIFFER_MS) if differs else 0)
        self.clock = OwnClock(self)
        self.began_ms = self.clock.now_ms()
        own = world.stores.store(world.limits, self.clock)
        self.limiter: Any = Fragile(own.limiter, self)
        client = ApiClient(
            f"https://api.example.org/{world.api.name}",
            self._credentials if world.api.has_key else FixedToken(CREDENTIALS.access_token),
            self.limiter,
            self.clock,
            jitter=world.rng.random,
            transport=InProcess(self),
        )
        self.source: Any = Fragile(world.api.source(client), self, is_aws=False)
        self.contacts: Any = Fragile(WatchedContacts(self, own.contacts), self)
        self.pauses: Any = Fragile(WatchedPauses(self, own.pauses), self)
        self.listings: Any = Fragile(own.listings, self)
        self.campaigns: Any = Fragile(WatchedCampaigns(self, own.campaigns), self)
        self.reports: Any = Fragile(WatchedReports(self, own.reports), self)
        self.tally: Any = Fragile(own.tally, self)
        self.lease: Any = Fragile(WatchedLease(self, own.lease), self)
        self.bus: Any = Fragile(SimulatedBus(self), self)
        self.queue: Any = Fragile(SimulatedQueue(self), self)

    def _credentials(self) -> Credentials:
        if self.world.happens("secret_slow"):
            self.world.clock.sleep(SECRET_SLOW_S)
        return CREDENTIALS

    def true_ms(self, time_ms: int) -> int:
        """What a time of this process's clock is in truth."""
        return time_ms - self.skew_ms

    def run(self, work: Callable[[], object]) -> bool:
        """True if it came to its end; a failure of any kind gives the message back."""
        world = self.world
        world.working.append(self)
        try:
            outcome = work()
        except Crash:
            world.promises.given_up(self)
            return False
        except WaitError as wait:
            world.fail(f"a message goes back for nobody's failure: {wait}")
        except (RetryError, FatalError, ThrottledError) as error:
            world.trace(f"failed: {error}")
            world.journal.note_failure()
            self._was_its_own_failure(error)
            if isinstance(error, ThrottledError):
                world.promises.given_up(self)
            return False
        finally:
            world.working.remove(self)
            if world.dispatching is self:
                world.dispatching = None
        world.trace(f"done: {outcome}")
        if self.unsaved and self.met_operator:
            world.promises.given_up(self)
        return True

    def _was_its_own_failure(self, error: Exception) -> None:
        """The quota and the credential are nobody's failure: only what fails itself may go back."""
        if isinstance(error, ThrottledError | PartlyAcceptedError | RefusedError):
            return
        if str(error) == CURSORS_DID_NOT_HOLD:
            # In an earlier part of the walk, perhaps.
            return
        if not self.calls and self._is_out_of_shift():
            return
        if set(self.answers) <= REFUSALS | {200} and not self.world.is_refused(self.subject):
            self.world.fail(f"a quota or a credential counts as a failure: {error}")

    @property
    def is_late(self) -> bool:
        window = self.item.window if self.item else None
        return window is not None and window.is_over(self.clock.now_ms())

    def _is_out_of_shift(self) -> bool:
        """It gives a message back that failed in its shift, or that the queue did not take back."""
        window, now_ms = self.item.window if self.item else None, self.clock.now_ms()
        return window is not None and (window.is_over(now_ms) or window.wait_ms(now_ms) > 0)

    def refusals(self) -> int:
        return sum(status in {401, 403} for status in self.answers)

    def is_neutral_call_accepted(self) -> bool:
        """The last call about the credential alone was answered."""
        asked = [
            status
            for call, status in self.answered
            if call.path == f"/{self.world.api.name}/contacts" and call.query == {"limit": "1"}
        ]
        return bool(asked) and asked[-1] == 200

    def before_call(self, *, is_aws: bool) -> None:
        if self.is_dead:
            raise Crash
        world = self.world
        self.others_may_run()
        if is_aws and world.happens("throttled"):
            world.promises.given_up(self)
            raise ThrottledError
        self.may_crash()

    def others_may_run(self) -> None:
        world = self.world
        if world.depth:
            return
        if world.happens("operator_paused_meanwhile"):
            world.pause_as_operator()
        if world.happens("operator_asks_meanwhile"):
            world.ask_as_operator([*self.seen] if self.is_report else [self.subject])
        world.depth += 1
        if world.happens("second_worker"):
            self.met_others = True
            world.deliver(self.item.kind if self.item and world.is_engine else None)
        if self.item and world.happens("message_handled_twice_at_once"):
            self.handle_again()
        if world.happens("second_dispatcher"):
            self.met_others = True
            world.tick()
        world.depth -= 1

    def handle_again(self) -> None:
        """The queue gives this message to another worker too."""
        assert self.item
        self.met_others = True
        self.world.hand(self.item)

    def may_call(self) -> None:
        """What the API or the operator said before holds."""
        world = self.world
        if self.is_stopped:
            world.fail("a call while the operator paused")
        if self.is_day_used_up:
            world.fail("a call after the API said that the day is used up")
        if world.clock.now_ms() < self.slow_until_ms:
            world.fail("a call within a second after the API said that calls come too fast")
        if not self.met_others and not self._is_in_shift(NO_CALL_MS - CALL_LATE_MS):
            world.fail("a call out of its shift")

    def may_publish(self) -> None:
        """In its shift, and a report only if its type is trusted."""
        if not self._is_in_shift(NO_PUBLICATION_MS):
            self.world.fail(f"{self.subject} is published out of its shift")
        id_ = ReportId.parse(self.subject) if self.is_report else None
        if self.reading.is_witnessed:
            return
        if id_ and (self.trusted is None or self.trusted.of(id_.type).mode is not Mode.PUBLISH):
            self.world.fail(f"{self.subject} is published, and is not trusted")

    @property
    def is_report(self) -> bool:
        return self.item is not None and self.item.kind is WorkKind.REPORT

    def _is_in_shift(self, margin_ms: int) -> bool:
        if self.item is None or self.item.kind is WorkKind.CAMPAIGN or not self.world.has_shifts:
            return True
        window = self.item.window
        return window is not None and window.from_ms <= self.clock.now_ms() < window.until_ms - margin_ms

    def may_crash(self) -> None:
        if self.world.happens("crash"):
            self.is_dead = True
            raise Crash

    def dispatch(self) -> TickReport:
        world = self.world
        ports = TickPorts(self, self.source, self.queue, self.clock)
        tick = f"tick-{len(world.ticks)}"
        world.ticks.add(tick)
        used = world.stores.store(world.limits, self.clock).limiter.pace()
        report = run_tick(
            ports,
            tick_ms=TICK_MS,
            deadline_ms=world.clock.monotonic_ms() + TICK_TIME_MS,
            calls_each=world.reading.calls_each,
            campaign_lookback_days=world.campaign_lookback_days,
            types=world.reading.types if world.has_reports else (),
            is_witnessed=world.reading.is_witnessed,
            has_watch=world.has_watch,
            turns=self._turns(),
            correlation_id=tick,
        )
        if report.outcome is not TickOutcome.LEASE_HELD:
            world.promises.ticked(self, report, calls_left(used, world.limits, self.began_ms))
        if not world.is_engine:
            self._is_in_time(TICK_TIME_MS)
        world.journal.listen(lambda: telemetry.record_tick(report))
        return report

    def _turns(self) -> Turns | None:
        if self.world.has_shifts:
            return StoredShifts(self, self.clock, TICK_MS)
        return OneAfterTheOther(self.world.work_off_reports) if self.world.is_engine else None

    def handle(self, item: WorkItem) -> Report:
        self.item = item
        self.subject = item.id
        self.was_paused = bool(self.world.state.pauses.get().active(self.clock.now_ms()))
        try:
            return self._work_on(item)
        except (RetryError, FatalError) as error:
            failure = error
            if item.kind is WorkKind.CONTACT:
                self.world.promises.failed(self, item)
            self.world.journal.listen(lambda: telemetry.record_failure(item, failure))
            raise

    def _is_in_time(self, allowed_ms: int) -> None:
        took_ms = self.clock.now_ms() - self.began_ms
        if took_ms > allowed_ms + RESERVE_MS and not self.met_others:
            self.world.fail(f"an invocation of {allowed_ms} ms took {took_ms} ms")

    def _work_on(self, item: WorkItem) -> Report:
        world = self.world
        ports = WorkPorts(self, self.source, self.queue, self.bus, self.clock)
        policy = WorkPolicy(self.reading, EmailAddresses.PLAIN, TICK_MS, world.summaries, world.has_shifts)
        self.is_reading = item.kind is WorkKind.CONTACT
        before = world.stores.look(item.id)
        report = work_on(item, ports, policy, deadline_ms=world.clock.monotonic_ms() + world.invocation_ms)
        if report.outcome is Outcome.RACE_LOST:
            world.count("conditional_write_lost")
        if item.kind is WorkKind.CONTACT:
            world.promises.handled(self, item, before, report)
            self._is_in_time(world.invocation_ms)
        if item.kind is WorkKind.REPORT:
            world.promises.report_handled(self, report)
            self._is_in_time(world.invocation_ms)
        world.journal.listen(lambda: telemetry.record_work(item, report))
        return report


def _brief(contact: Contact) -> str:
    marks = {m.type.report: (m.through_ms, m.floor_ms) for m in contact.watermark.marks}
    is_unfinished = "in a walk" if contact.progress else "done"
    return (
        f"contact {contact.id} {is_unfinished}, due {contact.due_ms}, failures {contact.failures},"
        f" gone {contact.times_gone}, remembers {len(contact.watermark.remembered) // 14}, marks {marks}"
    )


class Watched:
    """A store of all that a process shares, with somebody who looks at what it does."""

    def __init__(self, process: Process, store: Any) -> None:
        self._process = process
        self._world = process.world
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class WatchedContacts(Watched):
    """Every stored contact is shown to whoever checks the world."""

    def get(self, contact_id: str) -> Contact | None:
        contact: Contact | None = self._store.get(contact_id)
        if self._process.contact is None:
            self._process.contact = contact
        if contact is not None and not self._process.is_late:
            self._world.promises.read(contact)
        return contact

    def get_many(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        contacts: dict[str, Contact] = self._store.get_many(contact_ids)
        self._process.seen |= contacts
        self._process.unaware -= set(contacts)
        return contacts

    def remember(self, contacts: Sequence[Contact], *, due: Collection[str] = ()) -> list[str]:
        ids = [contact.id for contact in contacts]
        looked, before = {id_: self._world.stores.look(id_) for id_ in ids}, self._store.get_many(ids)
        lost: list[str] = self._store.remember(contacts, due=due)
        after = self._store.get_many(ids)
        for id_ in ids:
            if id_ not in lost:
                self._world.trace(f"remembered: {_brief(after[id_])}")
                self._world.promises.remembered(self._process, looked[id_], before[id_], after[id_])
        for contact in contacts:
            if contact.id in lost:
                self._world.count("memory_raced")
                if contact.id in before and before[contact.id].version == contact.version:
                    self._world.fail("a memory was refused though nobody else wrote")
        return lost

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        before = self._world.stores.look(contact.id)
        is_saved: bool = self._store.save(contact, queued_until_ms=queued_until_ms)
        if is_saved:
            self._world.trace(f"saved: {_brief(contact)}")
            self._world.promises.saved(self._process, before, contact)
        elif before is not None and before.version == contact.version:
            self._world.fail("a write was refused though nobody else wrote")
        return is_saved

    def register(self, listed: Sequence[ListedContact], now_ms: int, *, is_full: bool = False) -> int:
        before = {contact.id: self._world.stores.look(contact.id) for contact in listed}
        new: int = self._store.register(listed, now_ms, is_full=is_full)
        self._world.promises.registered_page(listed, before, now_ms, new, is_full=is_full)
        return new

    def claim(self, clock: Clock, *, tick_ms: int, most: int) -> Iterator[list[str]]:
        before, began_ms = list(self._store.outlines()), clock.now_ms()
        claimed: list[str] = []
        self._process.claims_began_ms = began_ms
        claims = self._store.claim(clock, tick_ms=tick_ms, most=most)
        while True:
            looked, now_ms = list(self._store.outlines()), clock.now_ms()
            ids = next(claims, None)
            if ids is None:
                break
            claimed += ids
            self._process.claimed += len(ids)
            self._world.promises.claimed(looked, ids, claimed, began_ms, range(now_ms, clock.now_ms() + 1))
            yield ids
        self._world.promises.all_claimed(before, claimed, began_ms, most)


class WatchedCampaigns(Watched):
    """What was published of a campaign is stored with it."""

    def save(self, campaign: Campaign) -> bool:
        is_saved: bool = self._store.save(campaign)
        if is_saved:
            self._process.unsaved.clear()
        return is_saved


class WatchedReports(Watched):
    """What a worker or a dispatcher goes by is known to whoever checks the world."""

    def take_urgent(self) -> tuple[str, ...]:
        urgent: tuple[str, ...] = self._store.take_urgent()
        self._process.urgent += len(urgent)
        return urgent

    def trust(self) -> Trust:
        trust: Trust = self._store.trust()
        self._process.trusted = trust
        return trust

    def save(self, report: CampaignReport) -> bool:
        before = self._store.get(report.id)
        is_saved: bool = self._store.save(report)
        self._world.trace(f"{'saved' if is_saved else 'lost'}: {report}")
        if (before.version if before else 0) == report.version and not is_saved:
            self._world.fail("a report was refused though nobody else wrote")
        return is_saved


class WatchedPauses(Watched):
    """Every pause is shown to whoever checks the world."""

    def pause(self, pause: Pause) -> None:
        process, world = self._process, self._world
        pace = world.stores.store(world.limits, process.clock).limiter.pace()
        is_left = calls_left(pace, world.limits, process.clock.now_ms()) > 0
        is_known = pause.reason in {known.reason for known in self._store.get().by_reason}
        world.promises.pausing(process, pause, is_left=is_left, is_known=is_known)
        self._store.pause(pause)


class WatchedLease(Watched):
    """No two dispatchers work at once, as long as the first is within its time."""

    def take(self, *, now_ms: int, until_ms: int) -> bool:
        is_taken: bool = self._store.take(now_ms=now_ms, until_ms=until_ms)
        holder, world = self._world.dispatching, self._world
        if is_taken:
            allowed_ms = TICK_TIME_MS + LEASE_MARGIN_MS
            if (
                holder
                and not holder.is_dead
                and now_ms < holder.began_ms + allowed_ms
                and not world.clock_error_most_ms
            ):
                world.fail("two dispatchers work at once")
            world.dispatching = self._process
        return is_taken


class SimulatedBus:
    """Accepts everything, or only the first part of it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
        if not self._process.has_stalled and self._world.happens("bus_slow"):
            self._process.has_stalled = True
            over_ms = self._process.began_ms + self._world.invocation_ms + RESERVE_MS - BUS_SLOW_MARGIN_MS
            self._world.clock.sleep(min(BUS_SLOW_MS, max(0, over_ms - self._process.clock.now_ms())) / 1_000)
        if self._process.clock.monotonic_ms() >= deadline_ms:
            self._world.count("no_time_to_publish")
            raise PartlyAcceptedError("no time was left", frozenset())
        self._process.may_publish()
        if len({event.id for event in events}) < len(events):
            self._world.fail("an activity is published twice at once")
        is_many = self._process.is_report and len(events) > 1
        if self._world.happens("bus_takes_a_part_of_report" if is_many else "bus_takes_a_part"):
            part = events[: self._world.rng.randrange(len(events))]
            self._take(part)
            raise PartlyAcceptedError("the bus took a part", frozenset(event.id for event in part))
        self._take(events)
        is_of_rows = self._process.is_report or self._process.reading.is_witnessed
        if is_of_rows and self._world.happens("operator_asks_before_memory"):
            ids = {json.loads(event.detail)["data"]["contact"]["id"] for event in events}
            self._world.ask_as_operator(sorted(ids))
        if self._process.is_report and self._world.happens("report_handled_again_before_memory"):
            self._process.handle_again()

    def _take(self, events: Sequence[Event]) -> None:
        self._world.trace(f"published: {len(events)} of {self._process.subject}")
        if self._process.is_report:
            self._world.accidents["published_by_report"] += len(events)
        for event in events:
            self._world.promises.publishing(self._process, event)
            self._world.published.append(event)


class SimulatedQueue:
    """Accepts everything, or all but some."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def send(self, messages: Sequence[WorkItem]) -> list[WorkItem]:
        rejected = [message for message in messages if self._world.happens("queue_takes_a_part")]
        accepted = [item_from_body(item_to_body(m)) for m in messages if m not in rejected]
        self._world.queue.extend(map(Delivered, accepted))
        self._process.sent += len(accepted)
        self._process.refused += len(rejected)
        return rejected

    def depth(self) -> int:
        self._process.depth_seen = len(self._world.queue)
        return len(self._world.queue)
