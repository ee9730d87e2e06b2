"""A world in virtual time: the real use cases, client and limiter, and everything that can go wrong.

One seed is one history. Workers are processes of one thread each; a second one runs inside a first
whenever that calls a port, which is how two handle one contact at once.
"""

import io
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3
from requests import ConnectionError as NoConnection
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

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
from contact_activity.dispatch import DispatchPorts, dispatch
from contact_activity.local.simulated import Server
from contact_activity.local.simulated.faults import Delivery
from contact_activity.local.simulated.transport import Incoming
from contact_activity.ports import Contact, FatalError, Message, RetryError
from contact_activity.rate_limit import Limits
from contact_activity.settings import Credentials
from contact_activity.sync import SyncPolicy, SyncPorts, sync
from contact_activity.watermark import Reading

TICK_MS = 15 * 60_000
INVOCATION_MS = 75_000
RECEIVES_MAX = 3
CREDENTIALS = Credentials("sim-key", "sim-token")


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even what should run at its end."""


class ThrottledError(Exception):
    """AWS took a call as a whole no more."""


class Clock:
    """Time passes only for who sleeps."""

    def __init__(self, start_ms: int) -> None:
        self.time_ms = start_ms

    def now_ms(self) -> int:
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
    second_worker: float = 0.0
    bus_takes_a_part: float = 0.0
    queue_takes_a_part: float = 0.0
    message_lost: float = 0.0
    message_doubled: float = 0.0


class InProcess(HTTPAdapter):
    """The API server without a socket; what breaks on the wire breaks here too."""

    def __init__(self, server: Server, clock: Clock) -> None:
        super().__init__()
        self._server = server
        self._clock = clock

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        target = urlsplit(str(request.url))
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        key, headers = query.pop("api_key", None), request.headers
        self._clock.sleep(0.02)
        delivery = self._server.answer(
            Incoming("GET", target.path, query, key, headers["Authorization"], headers["Accept"])
        )
        self._clock.sleep(0.05 + delivery.pause_s)
        if delivery.status == 0:
            raise NoConnection("closed")
        return self.build_response(request, _raw(delivery))


def _raw(delivery: Delivery) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(
        io.BytesIO(delivery.sent),
        headers={"Content-Length": str(delivery.length), **delivery.headers},
        status=delivery.status,
        preload_content=False,
        request_method="GET",
    )


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
            self._process.after_call()
            return result

        return call


@dataclass(slots=True)
class Delivered:
    message: Message
    receives: int = 1


@dataclass
class World:
    """The API, the shared state, the queue and the bus, and the accidents that befall them."""

    seed: int
    clock: Clock
    server: Server
    reading: Reading
    limits: Limits
    chances: Chances = field(default_factory=Chances)
    accidents: Counter[str] = field(default_factory=Counter)
    queue: list[Delivered] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    published: list[Event] = field(default_factory=list)
    saves: list[Callable[[Contact], None]] = field(default_factory=list)
    trace: Callable[[str], None] = lambda _: None
    depth: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}:world")
        self.database = Database(":memory:")

    def happens(self, name: str) -> bool:
        chance = getattr(self.chances, name)
        if not chance or self.rng.random() >= chance:
            return False
        self.accidents[name] += 1
        self.trace(f"accident: {name}")
        return True

    def tick(self) -> None:
        """One invocation of the dispatcher."""
        process = Process(self)
        process.run(
            lambda: dispatch(
                process.dispatch_ports(), tick_ms=TICK_MS, deadline_ms=self.clock.now_ms() + 240_000
            )
        )

    def deliver(self) -> None:
        """One message of the queue, any, to a new worker."""
        if not self.queue:
            return
        delivered = self.queue.pop(self.rng.randrange(len(self.queue)))
        if self.happens("message_lost"):
            return
        if self.happens("message_doubled"):
            self.queue.append(replace(delivered))
        process = Process(self)
        policy = SyncPolicy(self.reading, EmailAddresses.PLAIN, TICK_MS)
        deadline_ms = self.clock.now_ms() + INVOCATION_MS
        is_done = process.run(
            lambda: sync(delivered.message, process.sync_ports(), policy, deadline_ms=deadline_ms)
        )
        if is_done:
            return
        if delivered.receives < RECEIVES_MAX:
            self.queue.append(Delivered(delivered.message, delivered.receives + 1))
        else:
            self.dead_letters.append(delivered.message)


class Process:
    """One invocation: its own client and limiter, over the state that all share."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_dead = False
        database, clock = world.database, world.clock
        self.limiter = sqlite_limiter(database, world.limits, clock)
        self.source = ConstantContact(
            "https://api.example.org/v2", lambda: CREDENTIALS, self.limiter, clock, jitter=world.rng.random
        )
        self.source._session.mount("https://", InProcess(world.server, clock))
        self.contacts = Fragile(WatchedContacts(world), self)
        self.pauses = Fragile(SqlitePauses(database), self)
        self.listings = Fragile(SqliteListings(database), self)

    def run(self, work: Callable[[], object]) -> bool:
        """True if it came to its end; a failure of any kind gives the message back."""
        try:
            outcome = work()
        except Crash:
            return False
        except (RetryError, FatalError, ThrottledError) as error:
            self.world.trace(f"failed: {error}")
            return False
        self.world.trace(f"done: {outcome}")
        return True

    def before_call(self, *, is_aws: bool) -> None:
        if self.is_dead:
            raise Crash
        world = self.world
        if world.depth == 0 and world.happens("second_worker"):
            world.depth += 1
            world.deliver()
            world.depth -= 1
        if is_aws and world.happens("throttled"):
            raise ThrottledError
        self._may_crash()

    def after_call(self) -> None:
        self._may_crash()

    def _may_crash(self) -> None:
        if self.world.happens("crash"):
            self.is_dead = True
            raise Crash

    def sync_ports(self) -> SyncPorts:
        source: Any = Fragile(self.source, self, is_aws=False)
        bus: Any = Fragile(SimulatedBus(self.world), self)
        queue: Any = Fragile(SimulatedQueue(self.world), self)
        contacts: Any = self.contacts
        pauses: Any = self.pauses
        listings: Any = self.listings
        tally: Any = Fragile(SqliteTally(self.world.database), self)
        return SyncPorts(
            contacts, source, bus, queue, pauses, listings, self.limiter, self.world.clock, tally
        )

    def dispatch_ports(self) -> DispatchPorts:
        source: Any = Fragile(self.source, self, is_aws=False)
        queue: Any = Fragile(SimulatedQueue(self.world), self)
        lease: Any = Fragile(SqliteLease(self.world.database), self)
        contacts: Any = self.contacts
        pauses: Any = self.pauses
        listings: Any = self.listings
        campaigns: Any = Fragile(SqliteCampaigns(self.world.database), self)
        return DispatchPorts(
            contacts, source, queue, pauses, listings, lease, self.limiter, self.world.clock, campaigns
        )


class WatchedContacts(SqliteContacts):
    """Every stored contact is shown to whoever checks the world."""

    def __init__(self, world: World) -> None:
        super().__init__(world.database)
        self._world = world

    def save(self, contact: Contact) -> bool:
        is_saved = super().save(contact)
        if is_saved:
            for check in self._world.saves:
                check(contact)
        return is_saved


class SimulatedBus:
    """Accepts everything, or only the first part of it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        if self._world.happens("bus_takes_a_part"):
            self._world.published.extend(events[: self._world.rng.randrange(len(events))])
            raise RetryError("the bus took a part")
        self._world.published.extend(events)


class SimulatedQueue:
    """Accepts everything, or all but some."""

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, messages: Sequence[Message]) -> list[Message]:
        rejected = [message for message in messages if self._world.happens("queue_takes_a_part")]
        self._world.queue.extend(Delivered(message) for message in messages if message not in rejected)
        return rejected

    def depth(self) -> int:
        return len(self._world.queue)
