"""A world in virtual time: the real use cases, client and limiter, and everything that can go wrong.

One seed is one history. Workers are processes of one thread each; a second one runs inside a first
whenever that calls a port, which is how two handle one contact at once.
"""

import io
import random
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from contact_activity import telemetry
from contact_activity.activity import EmailAddresses, Event
from contact_activity.adapters.constant_contact import ConstantContact
from contact_activity.adapters.embedded import (
    Database,
    SqliteCampaigns,
    SqliteContacts,
    SqliteLease,
    SqliteListings,
    SqlitePauses,
    SqliteTally,
    sqlite_limiter,
)
from contact_activity.adapters.transport import Connection, NoAnswerError, Reply
from contact_activity.campaigns import CampaignOutcome, CampaignPorts, CampaignReport, summarize
from contact_activity.dispatch import DispatchPorts, DispatchReport, dispatch
from contact_activity.local.simulated import Server
from contact_activity.local.simulated.transport import Incoming
from contact_activity.ports import (
    AnyMessage,
    CampaignMessage,
    Cause,
    Contact,
    FatalError,
    M,
    Message,
    PartlyAcceptedError,
    RefusedError,
    RetryError,
    WaitError,
)
from contact_activity.rate_limit import SLOW_DOWN_MS, Limits, Pause, PauseReason, calls_left
from contact_activity.settings import Credentials
from contact_activity.summary import SummaryKind
from contact_activity.sync import Outcome, SyncPolicy, SyncPorts, SyncReport, sync
from contact_activity.watermark import Reading

TICK_MS = 15 * 60_000
INVOCATION_MS = 75_000
TICK_TIME_MS = 240_000
RECEIVES_MAX = 3
CREDENTIALS = Credentials("sim-key-canary", "sim-token-canary")
BASE_PATH = "/v2"
OTHERS_PATH = f"{BASE_PATH}/others"
REFUSALS = {401, 403, 429}
REFUSALS_BELIEVED = 2
# A call is on its way so long. What is left of the margin is for a worker that wakes late.
ARRIVAL_S = (0.02, 0.02, 0.14)
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 10


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even what should run at its end."""


class ThrottledError(Exception):
    """AWS took a call as a whole no more, or took it and its answer was lost."""


class BrokenPromiseError(AssertionError):
    """What a history shows that must never be; the message names the seed."""


class Clock:
    """Time passes only for who sleeps."""

    def __init__(self, start_ms: int) -> None:
        self.time_ms = start_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_ms(self) -> int:
        return self.time_ms

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
    connection_timed_out: float = 0.0
    answer_timed_out: float = 0.0
    bus_takes_a_part: float = 0.0
    queue_takes_a_part: float = 0.0
    message_lost: float = 0.0
    message_doubled: float = 0.0
    message_handled_twice_at_once: float = 0.0


class InProcess:
    """The `Transport` port to the API server, without a socket; what breaks on the wire breaks here too."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def connected(self, **_: float) -> AbstractContextManager[Connection]:
        return nullcontext(self)

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None:
        pass

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
        delivery = world.server.answer(_incoming(target, headers))
        is_whole = delivery.status in REFUSALS or world.server._calls[-1].fault is None
        self._process.answers.append(delivery.status if is_whole else 0)
        world.clock.sleep(0.05 + delivery.pause_s)
        self._process.may_crash()
        if world.happens("answer_timed_out"):
            world.clock.sleep(READ_TIMEOUT_S)
            self._process.answers.append(0)
            raise NoAnswerError(Cause.TIMED_OUT)
        if delivery.status == 0 or delivery.length != len(delivery.sent):
            raise NoAnswerError(Cause.CONNECTION_CLOSED)
        if delivery.status == 403 and b"over.ratelimit" in delivery.sent:
            world.count("day_used_up_at_the_api")
            self._process.is_day_used_up = True
        elif delivery.status in {403, 429}:
            self._process.slow_until_ms = world.clock.now_ms() + SLOW_DOWN_MS
        received = {name.lower(): value for name, value in delivery.headers.items()}
        return Reply(delivery.status, received, delivery.sent)


def _incoming(target: str, headers: Mapping[str, str]) -> Incoming:
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    key = query.pop("api_key", None)
    return Incoming("GET", url.path, query, key, headers["Authorization"], headers["Accept"])


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
            self._process.may_crash()
            if self._is_aws and self._process.world.happens("aws_answer_lost"):
                raise ThrottledError
            return result

        return call


class OwnClock:
    """Who sleeps may wake late: others run meanwhile."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    def now_ms(self) -> int:
        return self._process.world.clock.now_ms()

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
    message: AnyMessage
    receives: int = 1


@dataclass
class World:
    """The API, the shared state, the queue and the bus, and the accidents that befall them."""

    seed: int
    clock: Clock
    server: Server
    reading: Reading
    limits: Limits
    summaries: tuple[SummaryKind, ...] = ()
    campaign_lookback_days: int | None = None
    chances: Chances = field(default_factory=Chances)
    accidents: Counter[str] = field(default_factory=Counter)
    queue: list[Delivered] = field(default_factory=list)
    dead_letters: list[AnyMessage] = field(default_factory=list)
    published: list[Event] = field(default_factory=list)
    saves: list[Callable[[Contact], None]] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    trace: Callable[[str], None] = lambda _: None
    depth: int = 0
    is_stopped: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}:world")
        self.database = Database(":memory:")

    def fail(self, what: str) -> NoReturn:
        raise BrokenPromiseError(f"seed {self.seed}: {what}")

    def count(self, name: str) -> None:
        self.accidents[name] += 1
        self.trace(f"accident: {name}")

    def happens(self, name: str) -> bool:
        chance = getattr(self.chances, name)
        if not chance or self.rng.random() >= chance:
            return False
        self.count(name)
        return True

    def others_call(self, times: int) -> None:
        """Another stack spends calls of the same key, at once; its token is another."""
        for _ in range(times):
            self.server.answer(
                Incoming("GET", OTHERS_PATH, {}, CREDENTIALS.api_key, "Bearer other", "application/json")
            )

    def pause_as_operator(self) -> None:
        SqlitePauses(self.database).pause(Pause(PauseReason.OPERATOR, None))
        self.is_stopped = True

    def tick(self) -> None:
        """One invocation of the dispatcher."""
        process = Process(self)
        process.run(process.dispatch)

    def deliver(self) -> None:
        """One message of the queue, any, to a new worker."""
        if not self.queue:
            return
        place = self.rng.randrange(len(self.queue))
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

    def hand(self, message: AnyMessage) -> bool:
        """A message to a new worker; True if it is done with."""
        process = Process(self)
        return process.run(lambda: process.handle(message))


class Process:
    """One invocation: its own client and limiter, over the state that all share."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_dead = False
        self.message: AnyMessage | None = None
        self.answers: list[int] = []
        self.is_stopped = world.is_stopped
        self.is_day_used_up = False
        self.slow_until_ms = 0
        database, clock = world.database, OwnClock(self)
        self.limiter: Any = Fragile(sqlite_limiter(database, world.limits, clock), self)
        client = ConstantContact(
            "https://api.example.org/v2",
            lambda: CREDENTIALS,
            self.limiter,
            clock,
            jitter=world.rng.random,
            transport=InProcess(self),
        )
        self.source: Any = Fragile(client, self, is_aws=False)
        self.contacts: Any = Fragile(WatchedContacts(world), self)
        self.pauses: Any = Fragile(WatchedPauses(self), self)
        self.listings: Any = Fragile(SqliteListings(database), self)
        self.campaigns: Any = Fragile(SqliteCampaigns(database), self)
        self.tally: Any = Fragile(SqliteTally(database), self)
        self.lease: Any = Fragile(SqliteLease(database), self)
        self.bus: Any = Fragile(SimulatedBus(world), self)
        self.queue: Any = Fragile(SimulatedQueue(world), self)

    def run(self, work: Callable[[], object]) -> bool:
        """True if it came to its end; a failure of any kind gives the message back."""
        try:
            outcome = work()
        except Crash:
            return False
        except WaitError as wait:
            self.world.fail(f"a message goes back for nobody's failure: {wait}")
        except (RetryError, FatalError, ThrottledError) as error:
            self.world.trace(f"failed: {error}")
            self.world.journal.note_failure()
            self._was_its_own_failure(error)
            return False
        self.world.trace(f"done: {outcome}")
        return True

    def _was_its_own_failure(self, error: Exception) -> None:
        """The quota and the credential are nobody's failure: only what fails itself may go back."""
        if isinstance(error, ThrottledError | PartlyAcceptedError | RefusedError):
            return
        if set(self.answers) <= REFUSALS | {200}:
            self.world.fail(f"a quota or a credential counts as a failure: {error}")

    def before_call(self, *, is_aws: bool) -> None:
        if self.is_dead:
            raise Crash
        world = self.world
        self.others_may_run()
        if is_aws and world.happens("throttled"):
            raise ThrottledError
        self.may_crash()

    def others_may_run(self) -> None:
        world = self.world
        if world.depth:
            return
        if world.happens("operator_paused_meanwhile"):
            world.pause_as_operator()
        world.depth += 1
        if world.happens("second_worker"):
            world.deliver()
        if self.message and world.happens("message_handled_twice_at_once"):
            world.hand(self.message)
        if world.happens("second_dispatcher"):
            world.tick()
        world.depth -= 1

    def may_call(self) -> None:
        """What the API or the operator said before holds."""
        world = self.world
        if self.is_stopped:
            world.fail("a call while the operator paused")
        if self.is_day_used_up:
            world.fail("a call after the API said that the day is used up")
        if world.clock.now_ms() < self.slow_until_ms:
            world.fail("a call within a second after the API said that calls come too fast")

    def may_crash(self) -> None:
        if self.world.happens("crash"):
            self.is_dead = True
            raise Crash

    def dispatch(self) -> DispatchReport:
        world = self.world
        ports = DispatchPorts(
            self.contacts,
            self.source,
            self.queue,
            self.pauses,
            self.listings,
            self.lease,
            self.limiter,
            world.clock,
            self.campaigns,
        )
        report = dispatch(
            ports,
            tick_ms=TICK_MS,
            deadline_ms=world.clock.now_ms() + TICK_TIME_MS,
            calls_each=len(world.reading.reports),
            campaign_lookback_days=world.campaign_lookback_days,
        )
        world.journal.listen(lambda: telemetry.tell_tick(report))
        return report

    def handle(self, message: AnyMessage) -> SyncReport | CampaignReport:
        self.message = message
        try:
            if isinstance(message, CampaignMessage):
                return self._summarize(message)
            return self._sync(message)
        except (RetryError, FatalError) as error:
            failure = error
            self.world.journal.listen(lambda: telemetry.tell_failure(message, failure))
            raise

    def _sync(self, message: Message) -> SyncReport:
        world = self.world
        ports = SyncPorts(
            self.contacts,
            self.source,
            self.bus,
            self.queue,
            self.pauses,
            self.listings,
            self.limiter,
            world.clock,
            self.tally,
        )
        policy = SyncPolicy(world.reading, EmailAddresses.PLAIN, TICK_MS, world.summaries)
        report = sync(message, ports, policy, deadline_ms=world.clock.now_ms() + INVOCATION_MS)
        if report.outcome is Outcome.RACE_LOST:
            world.count("conditional_write_lost")
        world.journal.listen(lambda: telemetry.tell_sync(report, message.contact_id))
        return report

    def _summarize(self, message: CampaignMessage) -> CampaignReport:
        world = self.world
        ports = CampaignPorts(
            self.campaigns, self.source, self.bus, self.queue, self.pauses, world.clock, self.tally
        )
        deadline_ms = world.clock.now_ms() + INVOCATION_MS
        report = summarize(message, ports, account=world.reading.account, deadline_ms=deadline_ms)
        if report.outcome is CampaignOutcome.RACE_LOST:
            world.count("conditional_write_lost")
        world.journal.listen(lambda: telemetry.tell_campaign(report, message.campaign_id))
        return report


class WatchedContacts(SqliteContacts):
    """Every stored contact is shown to whoever checks the world."""

    def __init__(self, world: World) -> None:
        super().__init__(world.database)
        self._world = world

    def save(self, contact: Contact, *, queued_until_ms: int = 0) -> bool:
        is_saved = super().save(contact, queued_until_ms=queued_until_ms)
        if is_saved:
            for check in self._world.saves:
                check(contact)
        return is_saved


class WatchedPauses(SqlitePauses):
    """Nobody pauses for a quota that is not used up, or for a credential that was refused once."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.world.database)
        self._process = process

    def pause(self, pause: Pause) -> None:
        process, world = self._process, self._process.world
        pace = sqlite_limiter(world.database, world.limits, world.clock).pace()
        is_left = calls_left(pace, world.limits, world.clock.now_ms()) > 0
        if pause.reason is PauseReason.QUOTA and is_left and not process.is_day_used_up:
            world.fail("a pause for a quota that is not used up")
        is_new = PauseReason.CREDENTIAL not in {known.reason for known in self.get().by_reason}
        is_believed = process.answers.count(401) >= REFUSALS_BELIEVED
        if pause.reason is PauseReason.CREDENTIAL and is_new and not is_believed:
            world.fail("a credential that was refused once is given up")
        super().pause(pause)


class SimulatedBus:
    """Accepts everything, or only the first part of it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        if len({event.id for event in events}) < len(events):
            self._world.fail("an activity is published twice at once")
        if self._world.happens("bus_takes_a_part"):
            part = events[: self._world.rng.randrange(len(events))]
            self._world.published.extend(part)
            raise PartlyAcceptedError("the bus took a part", frozenset(event.id for event in part))
        self._world.published.extend(events)


class SimulatedQueue:
    """Accepts everything, or all but some."""

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, messages: Sequence[M]) -> list[M]:
        rejected = [message for message in messages if self._world.happens("queue_takes_a_part")]
        self._world.queue.extend(Delivered(message) for message in messages if message not in rejected)
        return rejected

    def depth(self) -> int:
        return len(self._world.queue)
