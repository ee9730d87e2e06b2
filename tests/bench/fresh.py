"""How fresh the bus is at any size of an account: a week in virtual time, `make fresh`.

The real tick, workers, client and limiter run against the simulated account under the limits that
everybody has: 4 calls a second, and 9,000 of 10,000 calls a day. The delay of an activity is the time
from when the API shows it until its event is on the bus.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import EmailAddresses, Event
from contact_activity.domain.pace import Limits
from contact_activity.domain.schedule import next_due_ms
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import WorkPolicy
from contact_activity.ports import TickPorts, WorkPorts
from contact_activity.run.memory_queue import MemoryQueue
from contact_activity.settings import Credentials
from contact_activity.simulated import Server, SimulatedAccount
from contact_activity.simulated.account import Row
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import SqliteStore, sqlite_store
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.turns import OneAfterTheOther
from contact_activity.use_cases.work_on import work_on
from tests.bench.measure import table
from tests.bench.plot import delays_svg
from tests.support.in_process import InProcess
from tests.support.running import ActivityKey, key_of, key_of_row
from tests.support.virtual_clock import VirtualClock
from tests.support.week import DAYS, MAILINGS, week_account

START_MS = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1_000)
LIMITS = Limits(calls_per_second=4, calls_per_day=9_000)
TICK_MS = 5 * 60_000
ANSWER_S = 0.2
# To publish an activity and to remember it, on AWS.
STORE_S = 0.008
WORK_FOR_MS = 300_000
SIZES = (1_000, 10_000, 100_000)
TITLE = "a week, 4 calls a second, 9,000 a day"
UNLISTED = {mailing.campaign_id for mailing in MAILINGS if not mailing.is_listed}


@dataclass(slots=True)
class TimedBus:
    """The `Bus` port: notes when each activity arrives, and how often."""

    clock: VirtualClock
    arrived_ms: dict[ActivityKey, int] = field(default_factory=dict)
    repeated: int = 0

    def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:  # noqa: ARG002  the port's
        now_ms = self.clock.now_ms()
        for event in events:
            key = key_of({"detail": json.loads(event.detail)})
            self.repeated += key in self.arrived_ms
            self.arrived_ms.setdefault(key, now_ms)
        self.clock.sleep(STORE_S * len(events))


@dataclass(frozen=True, slots=True)
class Freshness:
    """Delays of one group of activities. `percentiles_s`: p50, p95, p99; None if they never arrived.

    `within`: shares on the bus within 15 minutes, an hour and a day; `complete`: by the week's end.
    """

    activities: int
    percentiles_s: tuple[float | None, ...]
    within: tuple[float, ...]
    complete: float


class Week:
    """One account for a week, read by one worker, since the limiter is what bounds the pace."""

    def __init__(self, contacts: int, tick_ms: int, *, has_reports: bool) -> None:
        self.contacts = contacts
        self.tick_ms = tick_ms
        self.clock = VirtualClock(START_MS)
        self.account: SimulatedAccount = week_account(contacts, START_MS)
        self.server = Server(
            self.account,
            api_key="key",
            access_token="token",
            calls_per_second=4,
            calls_per_day=10_000,
            now=lambda: datetime.fromtimestamp(self.clock.now_ms() / 1_000, UTC),
            monotonic=lambda: self.clock.now_ms() / 1_000,
        )
        self.store: SqliteStore = sqlite_store(Database(":memory:"), LIMITS, self.clock)
        self.bus = TimedBus(self.clock)
        source = ConstantContactV2(
            ApiClient(
                "https://api.example.org/v2",
                lambda: Credentials("key", "token"),
                self.store.limiter,
                self.clock,
                jitter=random.Random(1).random,
                transport=InProcess(self.server, self.clock, answer_s=ANSWER_S),
            )
        )
        self.queue = MemoryQueue()
        self.tick_ports = TickPorts(self.store, source, self.queue, self.clock)
        self.work_ports = WorkPorts(self.store, source, self.queue, self.bus, self.clock)
        self.policy = WorkPolicy(Reading("default"), EmailAddresses.PLAIN, tick_ms)
        self.types = self.policy.reading.types if has_reports else ()
        self._register_everybody()
        trusted = TypeTrust(Mode.PUBLISH, START_MS - DAY_MS, sampled_ms=START_MS)
        self.store.reports.save_trust(Trust(dict.fromkeys(self.types, trusted)))

    def _register_everybody(self) -> None:
        """The account was read for months: everybody is known, and due at some time of the cadence."""
        listed = [ListedContact(of.id, iso(of.modified_ms)) for of in self.account.contacts()]
        self.store.contacts.register(listed, START_MS - 90 * DAY_MS)
        sweep_ms = (
            next_due_ms(0, contacts=self.contacts, calls_each=1, tick_ms=self.tick_ms, limits=LIMITS) + 1
        )
        rng = random.Random(1)
        for of in listed:
            contact = self.store.contacts.get(of.id)
            assert contact
            due_ms = START_MS + rng.randrange(sweep_ms)
            self.store.contacts.save(replace(contact, synced_ms=due_ms - sweep_ms, due_ms=due_ms))
        listing = replace(
            self.store.listings.get(),
            mark_ms=START_MS - HOUR_MS,
            full_ms=START_MS,
            deep_ms=START_MS,
            contacts=self.contacts,
        )
        self.store.listings.put(listing)

    def run(self) -> None:
        end_ms = START_MS + DAYS * DAY_MS
        tick_at_ms = START_MS
        while tick_at_ms < end_ms:
            self._sleep_until(tick_at_ms)
            tick_at_ms += self.tick_ms
            run_tick(
                self.tick_ports,
                tick_ms=self.tick_ms,
                deadline_ms=self.clock.monotonic_ms() + WORK_FOR_MS,
                types=self.types,
                turns=OneAfterTheOther(self._work_until(tick_at_ms)),
            )
            self._work_until(tick_at_ms)()

    def _work_until(self, until_ms: int) -> Callable[[], None]:
        def work() -> None:
            while self.clock.now_ms() < until_ms and (delivery := self.queue.receive(wait_s=0)):
                self.queue.complete()
                deadline_ms = self.clock.monotonic_ms() + WORK_FOR_MS
                work_on(delivery.item, self.work_ports, self.policy, deadline_ms=deadline_ms)

        return work

    def _sleep_until(self, at_ms: int) -> None:
        self.clock.sleep(max(0, at_ms - self.clock.now_ms()) / 1_000)

    def delays_s(self) -> dict[ActivityKey, float | None]:
        """The delay of each activity that the API showed within the week; None if it is not on the bus."""
        end_ms = START_MS + DAYS * DAY_MS
        shown = {key_of_row(row.key): row for row in self.account.rows() if row.inserted_ms < end_ms}
        return {key: self._delay_s(key, row) for key, row in shown.items()}

    def freshness(self) -> dict[str, Freshness]:
        """By group: all, what contacts did themselves, and mailings that no list shows."""
        delays_s = self.delays_s()
        is_reaction = {key: key[0] != "EMAIL_SEND" for key in delays_s}
        return {
            "all": _freshness(delays_s.values()),
            "reactions": _freshness(delay for key, delay in delays_s.items() if is_reaction[key]),
            "unlisted": _freshness(delay for key, delay in delays_s.items() if key[1] in UNLISTED),
        }

    def _delay_s(self, key: ActivityKey, row: Row) -> float | None:
        arrived_ms = self.bus.arrived_ms.get(key)
        return None if arrived_ms is None else (arrived_ms - row.inserted_ms) / 1_000


def _freshness(delays: Iterable[float | None]) -> Freshness:
    ordered = sorted(delays, key=lambda delay: (delay is None, delay))
    most = len(ordered)
    arrived = [delay for delay in ordered if delay is not None]
    return Freshness(
        activities=most,
        percentiles_s=tuple(ordered[min(most - 1, most * percent // 100)] for percent in (50, 95, 99)),
        within=tuple(sum(delay <= limit_s for delay in arrived) / most for limit_s in (900, 3_600, 86_400)),
        complete=len(arrived) / most,
    )


def _span(delay_s: float | None) -> str:
    if delay_s is None:
        return "never"
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if delay_s >= 1.5 * seconds:
            return f"{delay_s / seconds:.1f} {unit}"
    return f"{delay_s:.0f} s"


def _rows(week: Week, took_s: float) -> Iterable[Sequence[str]]:
    calls = len(week.server.calls)
    for group, found in week.freshness().items():
        yield (
            f"{week.contacts:,}",
            group,
            f"{found.activities:,}",
            *map(_span, found.percentiles_s),
            *(f"{share:.1%}" for share in (*found.within, found.complete)),
            f"{calls / DAYS:,.0f}" if group == "all" else "",
            f"{calls / max(1, len(week.bus.arrived_ms)):.2f}" if group == "all" else "",
            f"{took_s:.0f}" if group == "all" else "",
        )


HEAD = (
    *("contacts", "what", "activities", "p50", "p95", "p99", "15 min", "1 h", "24 h", "complete"),
    *("calls a day", "calls an activity", "s to run"),
)


def main() -> int:
    """Print a table; exit status 1 if an activity came twice or the API saw more than the key's limits."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fresh", description=__doc__)
    parser.add_argument("contacts", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--tick-minutes", type=int, default=TICK_MS // 60_000)
    parser.add_argument("--reports", choices=("auto", "off"), default="auto", help="CAMPAIGN_REPORTS")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the delays as SVG")
    arguments = parser.parse_args()
    console, is_wrong, rows = Console(stderr=True), False, list[Sequence[str]]()
    curves: dict[str, tuple[list[float], int]] = {}
    for contacts in arguments.contacts:
        begun_s = time.monotonic()
        week = Week(contacts, arguments.tick_minutes * 60_000, has_reports=arguments.reports == "auto")
        week.run()
        rows += _rows(week, time.monotonic() - begun_s)
        delays_s = list(week.delays_s().values())
        curves[f"{contacts:,} contacts"] = ([of for of in delays_s if of is not None], len(delays_s))
        console.print(f"{contacts:,} contacts done", highlight=False)
        most_a_day = max(_calls_by_day(week).values())
        is_over = most_a_day > LIMITS.calls_per_day or week.server.max_calls_in_any_second() > 4
        if week.bus.repeated or is_over:
            is_wrong = True
            console.print(f"{contacts:,}: {week.bus.repeated} came twice, {most_a_day:,} calls on one day")
    table(TITLE, HEAD, rows)
    if arguments.plot:
        arguments.plot.write_text(delays_svg(f"On the bus after ... ({TITLE})", curves))
    return int(is_wrong)


def _calls_by_day(week: Week) -> dict[int, int]:
    by_day: dict[int, int] = {}
    for call in week.server.calls:
        by_day[call.at.toordinal()] = by_day.get(call.at.toordinal(), 0) + 1
    return by_day


if __name__ == "__main__":
    raise SystemExit(main())
