"""How fresh the bus is at any size of an account: a week in virtual time, `make fresh`.

The real tick, workers, client and limiter run against the simulated account under the limits that
everybody has: 4 calls a second, and 9,000 of 10,000 calls a day. The delay of an activity is the time
from when the API shows it until its event is on the bus.
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from rich.console import Console

from contact_activity.domain.times import DAY_MS
from contact_activity.simulated.account import Row
from contact_activity.simulated.v3_ids import Role, activity_uuid
from contact_activity.simulated.v3_switches import Step
from tests.bench.measure import table
from tests.bench.plot import Curve, delays_svg
from tests.support.running import ActivityKey, key_of_row, key_of_v3_row
from tests.support.virtual_reader import LIMITS, TICK_MS, VirtualReader
from tests.support.week import DAYS, MAILINGS, week_account

START_MS = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1_000)
SIZES = (1_000, 10_000, 100_000)
TITLE = "a week, 4 calls a second, 9,000 a day"
# How often contacts alone were read, before there were reports.
ALONE_TICK_MS = 15 * 60_000
SIDES = {"auto": (True,), "off": (False,), "both": (True, False)}
UNLISTED = {mailing.campaign_id for mailing in MAILINGS if not mailing.is_listed}


@dataclass(frozen=True, slots=True)
class Freshness:
    """Delays of one group of activities. `percentiles_s`: p50, p95, p99; None if they never arrived.

    `within`: shares on the bus within 15 minutes, an hour and a day; `complete`: by the week's end.
    """

    activities: int
    percentiles_s: tuple[float | None, ...]
    within: tuple[float, ...]
    complete: float


class Week(VirtualReader):
    """One account for a week, as it is read once all is known and trusted."""

    def __init__(
        self, contacts: int, tick_ms: int = TICK_MS, *, has_reports: bool = True, is_v3: bool = False
    ) -> None:
        account = week_account(contacts, START_MS)
        super().__init__(account, START_MS, has_reports=has_reports, tick_ms=tick_ms, is_v3=is_v3)
        self.contacts = contacts
        mailings = {activity_uuid(of, role) for of in UNLISTED for role in Role}
        self.unlisted = mailings if is_v3 else UNLISTED
        self.register_everybody()
        self.trust_reports()

    @property
    def name(self) -> str:
        return f"{self.contacts:,}" + (", v3" * self.is_v3) + ("" if self.has_reports else ", contacts alone")

    def run(self) -> None:
        self.run_until(START_MS + DAYS * DAY_MS)

    def delays_s(self) -> dict[ActivityKey, float | None]:
        """The delay of each activity that the API showed within the week; None if it is not on the bus."""
        end_ms = START_MS + DAYS * DAY_MS
        shown: dict[ActivityKey, Row] = {}
        # Rows that are one activity count from the first.
        for row in sorted(self.account.rows(), key=lambda row: row.inserted_ms):
            if row.inserted_ms < end_ms:
                shown.setdefault(self._key(row), row)
        return {key: self._delay_s(key, row) for key, row in shown.items()}

    def freshness(self) -> dict[str, Freshness]:
        """By group: all, what contacts did themselves, and mailings that no list shows."""
        delays_s = self.delays_s()
        is_reaction = {key: key[0] not in ("EMAIL_SEND", "em_sends") for key in delays_s}
        return {
            "all": _freshness(delays_s.values()),
            "reactions": _freshness(delay for key, delay in delays_s.items() if is_reaction[key]),
            "unlisted": _freshness(delay for key, delay in delays_s.items() if key[1] in self.unlisted),
        }

    def _key(self, row: Row) -> ActivityKey:
        return key_of_v3_row(row, self.account, Step.MINUTE) if self.is_v3 else key_of_row(row.key)

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
            week.name,
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
    parser.add_argument(
        "--reports", choices=SIDES, default="auto", help="CAMPAIGN_REPORTS, or both to compare"
    )
    parser.add_argument("--api", choices=("v2", "v3"), default="v2", help="the API's version")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the delays as SVG")
    arguments = parser.parse_args()
    console, is_right, rows, curves = Console(stderr=True), True, list[Sequence[str]](), list[Curve]()
    tick_ms, sides = arguments.tick_minutes * 60_000, SIDES[arguments.reports]
    for week in _weeks(arguments.contacts, tick_ms, sides, is_v3=arguments.api == "v3"):
        begun_s = time.monotonic()
        week.run()
        rows += _rows(week, time.monotonic() - begun_s)
        curves.append(_curve(week))
        console.print(f"{week.name} done", highlight=False)
        is_right &= _keeps_promises(week, console)
    table(TITLE, HEAD, rows)
    if arguments.plot:
        arguments.plot.write_text(delays_svg(f"On the bus after ... ({TITLE})", curves))
    return int(not is_right)


def _weeks(sizes: Iterable[int], tick_ms: int, sides: Iterable[bool], *, is_v3: bool) -> Iterator[Week]:
    """Those of contacts alone have the schedule that they had then."""
    for contacts, has_reports in product(sizes, sides):
        own_tick_ms = tick_ms if has_reports else max(tick_ms, ALONE_TICK_MS)
        yield Week(contacts, own_tick_ms, has_reports=has_reports, is_v3=is_v3)


def _curve(week: Week) -> Curve:
    delays_s = list(week.delays_s().values())
    arrived_s = [delay_s for delay_s in delays_s if delay_s is not None]
    return Curve(week.name, f"{week.contacts}", arrived_s, len(delays_s), is_dashed=not week.has_reports)


def _keeps_promises(week: Week, console: Console) -> bool:
    most_a_day = max(week.calls_by_day().values())
    is_over = most_a_day > LIMITS.calls_per_day or week.server.max_calls_in_any_second() > 4
    if week.bus.repeated or is_over:
        console.print(f"{week.name}: {week.bus.repeated} came twice, {most_a_day:,} calls on one day")
    return not week.bus.repeated and not is_over


if __name__ == "__main__":
    raise SystemExit(main())
