"""One seed, one history: chaos for some days, then peace; and what must hold all along."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.contact import Contact as Known
from contact_activity.domain.event import Event
from contact_activity.domain.freshness import by_bucket
from contact_activity.domain.pace import Limits, calls_left
from contact_activity.domain.pauses import PauseReason, is_own_budget
from contact_activity.domain.schedule import MAX_GONE_WAIT_MS
from contact_activity.domain.shadows import MAX_SHIFT_H
from contact_activity.domain.summary import SummaryKind, is_due
from contact_activity.domain.times import DAY_MS, HOUR_MS, midnight_after, parse_time
from contact_activity.domain.trust import Mode, TypeTrust
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import WorkKind
from contact_activity.operations.forget import forget
from contact_activity.operations.resync import request_resync
from contact_activity.operations.system import System
from contact_activity.simulated import (
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
from contact_activity.simulated.account import Campaign, Contact, Link, Row
from contact_activity.simulated.api_json import chosen
from contact_activity.simulated.switches import FIVE_HOURS_EARLY, Shift, Side
from contact_activity.use_cases.list_campaigns import EVERY_MS
from tests.simulation.apis import V2, Api
from tests.simulation.promises import SUMMARY_TYPES, Promises, asked_from, kinds_of
from tests.simulation.stores import AwsStores, EmbeddedStores
from tests.simulation.world import CREDENTIALS, INVOCATION_MS, OTHERS_PATH, TICK_MS, Chances, Clock, World

ACCOUNTS = ("sim", "sim-renamed")
START_MS = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp() * 1_000)
ADDRESS_DOMAIN = "@canary.example.org"
CALLS_PER_SECOND = 4
OTHERS_CALLS_PER_DAY = 200
CAMPAIGN_IDS = ("7", "8")
# Sent before any summary is asked for.
OLD_CAMPAIGN_ID = "5"
ALL_REPORTS = ("all",)
SOME_REPORTS = (("sends", "opens", "bounces"), ("sends",), ("opens", "clicks"))
CONTACT_SUMMARIES = (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN)
SHIFT_MS = 5 * HOUR_MS
# After the last fault: a paused day, a day of doubled waits, one sweep, and what lists take of few calls.
MAX_PEACE_TICKS = 4 * 96
ROW_OF_THE_FUTURE_H = 24
LINK_IDS = ("1", "2")
LINKS = tuple(Link(id_, "https://www.example.org/") for id_ in LINK_IDS)
# What a history has of campaigns' reports, and how often.
REPORTS = ("none", "shifts only", "on", "switched")
HOW_OFTEN = (6, 1, 12, 2)
REPORT_ACTS = (
    "campaign_sent",
    "campaign_sent",
    "campaign_sent_again",
    "campaign_deleted",
    "resync_and_activity",
)
MESSAGES_A_STEP = 40
# No more rows of a report are of one millisecond than a page holds.
MOMENT_H = 7 / HOUR_MS
CLOCK_ERRORS_MS = (3 * HOUR_MS, 400 * DAY_MS, -3 * HOUR_MS)


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of account a history has, and how it is read; each value is drawn for a history."""

    contacts: tuple[int, ...] = (2, 3, 4, 5, 6)
    rows: tuple[int, ...] = (0, 3, 12, 25)
    span_h: float = 24 * 60
    page_rows: tuple[int, ...] = (6, 9, 500)
    overlap_h: tuple[int, ...] = (78,)
    remembered: tuple[int, ...] = (1, 5, 40)
    calls_per_second: tuple[float, ...] = (CALLS_PER_SECOND,)
    calls_per_day: tuple[int, ...] = (60, 400)
    invocation_ms: tuple[int, ...] = (INVOCATION_MS, INVOCATION_MS, 4_000)
    steps: int = 18
    often: tuple[float, ...] = (0.0, 0.02, 0.1)
    has_settings_changed: float = 0.4
    has_clocks_set: bool = False
    is_aws: bool = False


SHAPES = {
    "usual": Shape(),
    "many contacts": Shape(contacts=(14,), calls_per_day=(400,), steps=12),
    "deep": Shape(
        contacts=(1, 2, 3),
        rows=(120, 250, 500),
        span_h=24 * 20,
        page_rows=(50, 120, 500),
        overlap_h=(2, 12, 78),
        remembered=(1, 5, 40, 200),
        calls_per_day=(400, 2_000),
        invocation_ms=(INVOCATION_MS, 3_000),
        steps=18,
        has_settings_changed=0.6,
    ),
    "backlog": Shape(
        contacts=(40, 60),
        rows=(0, 0, 0, 0, 0, 1, 3, 30),
        page_rows=(6,),
        calls_per_second=(0.05,),
        calls_per_day=(3_000,),
        invocation_ms=(INVOCATION_MS,),
        steps=8,
        often=(0.0, 0.0, 0.02),
    ),
    "clocks set": Shape(has_clocks_set=True, steps=16),
    "aws": Shape(
        contacts=(1, 2),
        rows=(0, 3, 12),
        page_rows=(6, 500),
        invocation_ms=(INVOCATION_MS, 4_000),
        steps=6,
        is_aws=True,
    ),
    "thousands": Shape(
        contacts=(1, 2),
        rows=(3,),
        page_rows=(500,),
        remembered=(40, 200),
        calls_per_day=(2_000,),
        # One ends after the walk gave up memory, and before its last page.
        invocation_ms=(INVOCATION_MS, 7_000, 7_200),
        steps=5,
        has_settings_changed=0.0,
    ),
}
THOUSANDS = (12_300, 12_600)
TIES_A_PAGE = 4


def live_ages_s(events: Iterable[Event]) -> Iterator[int]:
    """From when each activity that is no backfill happened to when it was met, as its event says."""
    for event in events:
        detail = json.loads(event.detail)
        if event.detail_type not in SUMMARY_TYPES and not detail["backfill"]:
            observed_ms, occurred_ms = parse_time(detail["observedtime"]), parse_time(detail["time"])
            assert observed_ms is not None
            assert occurred_ms is not None
            yield max(0, observed_ms - occurred_ms) // 1_000


def shape_of(seed: int, rng: random.Random) -> str:
    """Those that take long are few."""
    if seed % 50 == 7:
        return "thousands"
    if seed % 30 == 3:
        return "aws"
    names = ("usual", "many contacts", "deep", "backlog", "clocks set")
    return rng.choices(names, weights=(9, 1, 6, 1, 1))[0]


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
    "contact_refused",
    "contact_erased",
    "day_used_by_others",
    "budget_raised",
    "paused_by_operator",
    "resumed_by_operator",
    "resync_asked",
    "reports_changed",
    "start_date_changed",
    "account_renamed",
    "overlap_changed",
    "memory_changed",
    "clock_set",
}


class History:
    """The account, the world around it, and what the seed makes of both."""

    api: Api = V2
    shapes: Mapping[str, Shape] = SHAPES
    report_modes: tuple[str, ...] = REPORTS
    how_often: tuple[int, ...] = HOW_OFTEN
    is_witnessed = False
    peace_ticks_most = MAX_PEACE_TICKS
    thousands: tuple[int, ...] = THOUSANDS

    def __init__(self, seed: int, trace: Callable[[str], None] = lambda _: None) -> None:
        self.rng = random.Random(f"{self.api.seed_prefix}{seed}:history")
        self.name = shape_of(seed, self.rng)
        self.shape = shape = self.shapes[self.name]
        self.clock = Clock(START_MS)
        self.account = SimulatedAccount()
        self.reports_rng = random.Random(f"{self.api.seed_prefix}{seed}:reports")
        self.reports = self.reports_rng.choices(self.report_modes, weights=self.how_often)[0]
        self.campaign_ids = [*CAMPAIGN_IDS]
        self.switches = self._switches(seed)
        if self.has_reports:
            self.switches = self._switches_of_reports()
        limits = Limits(self.rng.choice(shape.calls_per_second), self.rng.choice(shape.calls_per_day))
        self.server = Server(
            self.account,
            api_key=CREDENTIALS.api_key,
            access_token=CREDENTIALS.access_token,
            switches=self.switches,
            calls_per_second=CALLS_PER_SECOND,
            calls_per_day=2 * limits.calls_per_day + OTHERS_CALLS_PER_DAY,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )
        self.may_change_settings = self.rng.random() < shape.has_settings_changed
        self.overlap_least_h = self.rng.choice(shape.overlap_h)
        reading = Reading(
            ACCOUNTS[0],
            self._reports(),
            None,
            self.overlap_least_h,
            self.rng.choice(shape.remembered),
            is_witnessed=self.is_witnessed,
        )
        self.world = World(
            seed,
            self.clock,
            self.server,
            reading,
            limits,
            calls_per_second=CALLS_PER_SECOND if limits.calls_per_second > 1 else 1,
            page_rows=self.switches.max_page_rows,
            summaries=self.rng.choice([(), (), (SummaryKind.CONTACT,), CONTACT_SUMMARIES]),
            campaign_lookback_days=self.rng.choice([None, None, 30]),
            invocation_ms=self.rng.choice(shape.invocation_ms),
            trace=trace,
            api=self.api,
        )
        self.world.has_shifts = self.has_shifts
        self.world.has_reports = self.world.has_ever_reports = self.has_reports
        self.world.stores = AwsStores(lambda: self.world.is_index_stale) if shape.is_aws else EmbeddedStores()
        self.promises = self.world.promises = self._promises()
        self.world.ask_as_operator = self._ask_meanwhile
        self.is_long_peace = self.rng.random() < 0.3
        self.out_of_sight: set[str] = set()
        self.start_least_ms = 0
        self.next_tick_ms = self.clock.now_ms()
        if self.has_reports and self._may_be_trusted() and self.reports_rng.random() < 0.7:
            self._trust_reports()
        self._populate()
        told = [told for own in self.promises.by_contact.values() for told in own]
        if self.may_change_settings and told and self.rng.random() < 0.4:
            self.start_least_ms = self.rng.choice(told).shown_ms
            self.world.reading = replace(self.world.reading, start_ms=self.start_least_ms)

    def _switches(self, seed: int) -> Switches:
        rate = self.rng.choice([0.0, 0.1, 0.3])
        if self.name in {"thousands", "backlog"}:
            rate /= 5
        return Switches(
            cursor=self.rng.choice([Cursor.TIME, Cursor.OFFSET]),
            tie=self.rng.choice([Tie.STRETCHED, Tie.REPEATED]),
            order=self.rng.choice([Order.NEWEST_FIRST, Order.NEWEST_FIRST, Order.OLDEST_FIRST]),
            max_page_rows=self.rng.choice(self.shape.page_rows),
            next_keeps_created_since=self.rng.random() < 0.7,
            wrong_next_path=self.rng.random() < 0.3,
            expired_next_status=self.rng.choice([400, 404]),
            next_lifetime_s=self.rng.choice([None] if self.name == "backlog" else [None, None, 30.0, 600.0]),
            contacts_newest_first=self.rng.random() < 0.3,
            unknown_type_share=self.rng.choice([0.0, 0.2]),
            missing_fields_share=self.rng.choice([0.0, 0.2]),
            limit_plus_one=self.rng.random() < 0.3,
            numeric_ids=self.rng.random() < 0.3,
            shift=FIVE_HOURS_EARLY
            if self.rng.random() < 0.3 and min(self.shape.overlap_h) * HOUR_MS > 2 * SHIFT_MS
            else None,
            faults=dict.fromkeys(Fault, rate / len(Fault)),
            seed=seed,
        )

    def _promises(self) -> Promises:
        return Promises(self.world, self.account, self.switches, ADDRESS_DOMAIN)

    def _id(self, contact: Contact) -> str:
        """The id of a contact of the account, as the API's version has it."""
        return self.api.contact_id(contact.id)

    def _account_ids(self) -> dict[str, str]:
        """The ids of the account's contacts, by those that the API's version has."""
        return {self._id(contact): contact.id for contact in self.account.contacts()}

    @property
    def has_shifts(self) -> bool:
        return self.reports != "none"

    @property
    def has_reports(self) -> bool:
        return self.reports in {"on", "switched"}

    def _switches_of_reports(self) -> Switches:
        rng, switches = self.reports_rng, self.switches
        shift = switches.shift
        if shift is None and rng.random() < 0.35 and min(self.shape.overlap_h) * HOUR_MS > 2 * SHIFT_MS:
            one = rng.choice([kind.report for kind in Kind])
            middle_ms = START_MS + rng.randrange(4 * HOUR_MS)
            shift = Shift(
                side=rng.choice(list(Side)),
                reports=rng.choice([Shift().reports, frozenset([one])]),
                from_ms=rng.choice([0, middle_ms, middle_ms]),
            )
        return replace(
            switches,
            shift=shift,
            campaign_order=rng.choice(list(Order)),
            campaign_clicks_have_urls=rng.random() < 0.3,
            campaign_reports_refused=rng.random() < 0.05,
            missing_link_share=rng.choice([0.0, 0.0, 0.5, 1.0]),
            listed_after_s=rng.choice([0.0, 0.0, 600.0, 7_200.0]),
            unlisted_campaign_share=rng.choice([0.0, 0.0, 0.3]),
        )

    def _may_be_trusted(self) -> bool:
        """Not where a sample of the beginning would have shown that the sides differ."""
        return not self.promises.is_one_side_shifted or (self.switches.shift or Shift()).from_ms > 0

    def _trust_reports(self) -> None:
        """As if samples had been compared; what was read before that is read again."""
        reports = self.world.state.reports
        now_ms = self.clock.now_ms()
        types = {type_: TypeTrust(Mode.PUBLISH, now_ms, now_ms) for type_ in ActivityType}
        reports.save_trust(replace(reports.trust(), types=types))

    def _reports(self) -> tuple[str, ...]:
        return self.rng.choice([ALL_REPORTS, ALL_REPORTS, *SOME_REPORTS[:1]])

    def _populate(self) -> None:
        for campaign_id in CAMPAIGN_IDS:
            self.account.add_campaign("news", sent_at=self.clock.now(), campaign_id=campaign_id, links=LINKS)
        long_ago = self.clock.now() - timedelta(days=100)
        self.account.add_campaign("old news", sent_at=long_ago, campaign_id=OLD_CAMPAIGN_ID)
        for number in range(self.rng.choice(self.shape.contacts)):
            contact = self.account.add_contact(f"c{number}{ADDRESS_DOMAIN}", at=self.clock.now())
            for _ in range(self.rng.choice(self.shape.rows)):
                self._add_row(contact.id, ago_h=self.rng.random() * self.shape.span_h)
        if self.name == "thousands":
            self._add_thousands()

    def _add_thousands(self) -> None:
        """Of one contact: more than a walk holds in memory, and perhaps more than is ever remembered."""
        contact = self.account.add_contact(f"much{ADDRESS_DOMAIN}", at=self.clock.now())
        span_h = self.rng.choice([24 * 400, 24 * 7])
        rows = self.rng.choice(self.thousands)
        for number in range(rows):
            self._add_row(contact.id, ago_h=span_h * (number + self.rng.random()) / rows)

    def _add_row(
        self,
        contact_id: str,
        *,
        ago_h: float,
        inserted_in_h: float = 0.0,
        kind: Kind | None = None,
        is_promised: bool = True,
        campaign_id: str | None = None,
        link_id: str | None = None,
    ) -> Row:
        at = self.clock.now() - timedelta(milliseconds=round(ago_h * HOUR_MS))
        inserted_at = self.clock.now() + timedelta(hours=inserted_in_h)
        own = {"link_id": link_id or self.rng.choice(["1", "2"])} if kind is Kind.CLICK else {}
        row = self.account.add_row(
            kind or self.rng.choice(list(Kind)),
            contact_id,
            campaign_id or self.rng.choice(self.campaign_ids),
            at=at,
            inserted_at=inserted_at,
            **own,
        )
        self.promises.expect(row, is_promised=is_promised and not self._is_behind_start(row.occurred_ms))
        return row

    def _is_behind_start(self, occurred_ms: int) -> bool:
        """Before a start date that was moved later: what is asked for no more may be missed."""
        start_ms = self.world.reading.start_ms or 0
        return self.start_least_ms <= occurred_ms and occurred_ms - SHIFT_MS < start_ms > self.start_least_ms

    def run(self) -> Outcome:
        """Raises `BrokenPromiseError`."""
        try:
            return self._run()
        finally:
            self.world.stores.close()

    def _run(self) -> Outcome:
        self.world.chances = self._chances()
        self.world.chances_ever = not self.world.chances.are_none
        for _ in range(self.shape.steps):
            self._step()
        chances = self.world.chances
        peace_ticks = self._peace()
        self._reports_bring_what_comes_late()
        self._nothing_changed()
        self.promises.at_the_end(self.server)
        self.promises.trust_is_right()
        # It lets time pass, in which rows come in that nobody has read yet.
        self._summaries_are_true()
        self._calls_are_right(chances)
        if not (chances.crash or chances.throttled or chances.aws_answer_lost or chances.bus_takes_a_part):
            self._tally_is_true()
        return self.outcome(peace_ticks)

    def outcome(self, peace_ticks: int = 0, broken: str | None = None) -> Outcome:
        world = self.world
        faults = Counter(str(call.fault.name).lower() for call in self.server.calls if call.fault)
        return Outcome(
            events=len(world.published),
            activities=len(self.promises.activities),
            repeated=len(world.published) - len(self.promises.published_as),
            calls=len(self.server.calls),
            dead_letters=len(world.dead_letters),
            peace_ticks=peace_ticks,
            accidents=world.accidents
            + faults
            + Counter(
                [f"history_of_{self.name.replace(' ', '_')}", f"reports_{self.reports.replace(' ', '_')}"]
            ),
            broken=broken,
        )

    def _chances(self) -> Chances:
        often = self.rng.choice(self.shape.often)
        if self.has_reports and often:
            often *= self.reports_rng.choice([1, 2, 3])
        return Chances(
            crash=often / 4,
            throttled=often / 4,
            aws_answer_lost=often / 4,
            second_worker=often,
            second_dispatcher=often / 4,
            key_used_by_others=often,
            credential_revoked_meanwhile=often / 4,
            operator_paused_meanwhile=often / 20,
            operator_asks_before_memory=min(0.5, 3 * often) if self.has_reports else 0.0,
            report_handled_again_before_memory=min(0.5, 3 * often) if self.has_reports else 0.0,
            bus_takes_a_part_of_report=min(0.5, 3 * often) if self.has_reports else 0.0,
            operator_asks_meanwhile=often / 2 if self.world.has_shifts else 0.0,
            connection_timed_out=often / 4,
            answer_timed_out=often / 4,
            bus_takes_a_part=often,
            queue_takes_a_part=often,
            message_lost=often,
            message_doubled=often,
            message_handled_twice_at_once=often / 4,
            secret_slow=often / 4,
            index_stale=0.5 if self.shape.is_aws else 0.0,
            clock_differs=often,
        )

    def _step(self) -> None:
        if self.world.has_shifts and self.reports_rng.random() < 0.6:
            self.clock.time_ms += TICK_MS
        if self.has_reports and self.reports_rng.random() < 0.6:
            # Otherwise most of a history is a pause.
            self.server.restore_token()
            self._resumed_by_operator()
        if self.has_reports and self.reports_rng.random() < 0.45:
            self._act_on_reports()
        acts = [self._activity, self._late, self._pass]
        if self.name == "deep":
            acts.append(self._at_the_edge)
        act = self.rng.choice([*acts, *acts, self._tie, self._disturb])
        day = self.clock.now_ms() // DAY_MS
        act()
        if self.rng.random() < 0.2 and self._contacts_in_a_walk():
            self._change_settings()
        self.world.tick()
        messages = MESSAGES_A_STEP if self.has_reports else 8
        for _ in range(self.rng.randrange(messages)):
            self.world.deliver()
        self.world.accidents["message_delayed"] += len(self.world.queue)
        self.world.accidents["midnight"] += self.clock.now_ms() // DAY_MS - day

    def _act_on_reports(self) -> None:
        acts = [*REPORT_ACTS, *["reports_switched"] * 3 * (self.reports == "switched")]
        act = self.reports_rng.choice(acts)
        if getattr(self, f"_{act}")() is not False:
            self.world.count(act)

    def _reports_switched(self) -> None:
        self.world.has_reports = not self.world.has_reports

    def _campaign_sent(self) -> Campaign:
        """To all contacts, within seconds; and one or another opens it at once."""
        campaign = self.account.add_campaign("fresh news", sent_at=self.clock.now(), links=LINKS)
        self.campaign_ids.append(campaign.id)
        self._sent_to_all(campaign.id)
        return campaign

    def _campaign_sent_again(self) -> bool:
        campaign = self.account.campaign(self.reports_rng.choice(self.campaign_ids))
        assert campaign
        now_ms = self.clock.now_ms()
        self._put_campaign(
            replace(campaign, resent_ms=(*campaign.resent_ms, now_ms), modified_ms=now_ms, status="SENT")
        )
        self._sent_to_all(campaign.id)
        return True

    def _sent_to_all(self, campaign_id: str) -> None:
        for number, contact in enumerate(self.account.contacts()):
            inserted_in_h = self.reports_rng.choice([0, 0, 0.01, 0.15])
            self._add_row(
                contact.id,
                ago_h=number * MOMENT_H,
                inserted_in_h=inserted_in_h,
                kind=Kind.SEND,
                campaign_id=campaign_id,
            )
            for _ in range(self.reports_rng.choice([0, 0, 1, 3])):
                ago_h = (number + self.reports_rng.random()) * MOMENT_H
                self._add_row(contact.id, ago_h=ago_h, campaign_id=campaign_id)

    def _campaign_deleted(self) -> bool:
        """The contacts' own reports show its activity still. Those with a summary stay."""
        ids = self.campaign_ids if self.world.campaign_lookback_days is None else self.campaign_ids[2:]
        if not ids:
            return False
        campaign = self.account.campaign(self.reports_rng.choice(ids))
        assert campaign
        self._put_campaign(replace(campaign, status="DELETED", modified_ms=self.clock.now_ms()))
        return True

    def _put_campaign(self, campaign: Campaign) -> None:
        self.account._campaigns[campaign.id] = campaign

    def _resync_and_activity(self) -> bool:
        """A report meets what is new before the contact's own walk brings it all again."""
        if not self._resync_asked():
            return False
        self._activity()
        return True

    def _activity(self) -> None:
        for contact in self.account.contacts()[:10]:
            for _ in range(self.rng.choice([0, 0, 1, 4])):
                self._add_row(contact.id, ago_h=self.rng.random())

    def _late(self) -> None:
        """Inserted now, or while something reads, with a stamp from inside the window; or of tomorrow."""
        contact_id = self.rng.choice(self._contacts_in_a_walk() or [c.id for c in self.account.contacts()])
        for _ in range(3):
            most_h = self._late_most_h()
            late_h = self.rng.choice([self.rng.random() * most_h, max(0.0, most_h - self.rng.random())])
            ago_h = self.rng.choice([late_h, -self.rng.random() * ROW_OF_THE_FUTURE_H])
            inserted_in_h = self.rng.choice([0, 0.0001, 0.001])
            self._add_row(contact_id, ago_h=ago_h, inserted_in_h=inserted_in_h)
            self.world.count("row_inserted_late" if ago_h > 0 else "row_of_the_future")
            if inserted_in_h:
                self.world.count("row_inserted_meanwhile")

    def _late_most_h(self) -> float:
        """A stamp may show five hours less, and clocks may differ; a full memory promises less."""
        if self.name == "thousands":
            return 0.1
        shift_h = SHIFT_MS / HOUR_MS if self._is_contacts_side_shifted else 0.0
        error_h = self.world.clock_error_most_ms / HOUR_MS
        if self.shape.has_clocks_set:
            # By a clock that is ahead, a row of the future is one of now.
            error_h += ROW_OF_THE_FUTURE_H
        return max(0.1, self.overlap_least_h - shift_h - 0.01 - error_h)

    @property
    def _is_contacts_side_shifted(self) -> bool:
        return self.switches.shift is not None and self.switches.shift.side is not Side.CAMPAIGN

    def _at_the_edge(self) -> None:
        """At the end of the window, to the millisecond: what may be lost last, and what may not."""
        contact, now_ms = self.rng.choice(self.account.contacts()), self.clock.now_ms()
        self._add_shown(contact.id, now_ms)
        self._add_shown(contact.id, now_ms - self.overlap_least_h * HOUR_MS - 1, is_promised=False)
        self.clock.time_ms += TICK_MS
        self.world.state.contacts.make_due(self.clock.now_ms() + self.world.clock_error_ms)
        self.world.tick()
        for _ in range(4):
            self.world.deliver()
        edge_ms = (
            self.promises.newest_shown_ms(self._id(contact), self.clock.now_ms())
            - self.overlap_least_h * HOUR_MS
        )
        if contact.id in self._contacts_in_a_walk():
            edge_ms = self.clock.now_ms() - self.overlap_least_h * HOUR_MS
        for inside_ms in (0, self.rng.choice([1, 999, HOUR_MS // 2])):
            self._add_shown(contact.id, edge_ms + inside_ms)
        self.world.count("row_at_the_edge")

    def _add_shown(self, contact_id: str, time_ms: int, *, is_promised: bool = True) -> None:
        kind = self.rng.choice(list(Kind))
        shift = self.switches.shift
        from_ms = shift.from_ms if shift and kind.report in shift.reports else None
        is_shifted = self._is_contacts_side_shifted and from_ms is not None
        shift_ms = SHIFT_MS if is_shifted and time_ms + SHIFT_MS >= (from_ms or 0) else 0
        ago_h = (self.clock.now_ms() - time_ms - shift_ms) / HOUR_MS
        self._add_row(contact_id, ago_h=ago_h, kind=kind, is_promised=is_promised)

    def _contacts_in_a_walk(self) -> list[str]:
        if self.shape.is_aws or self.name == "backlog":
            return []
        found = []
        for contact in self.account.contacts():
            stored = self.world.state.contacts.get(self._id(contact))
            if stored and stored.progress:
                found.append(contact.id)
        return found

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
        often = ["clock_set"] * len(DISTURBANCES) if self.shape.has_clocks_set else []
        disturbance = self.rng.choice([*sorted(DISTURBANCES), *often])
        if getattr(self, f"_{disturbance}")() is not False:
            self.world.count(disturbance)
            self.promises.settings_changed |= disturbance.endswith(("_changed", "_renamed"))

    def _change_settings(self) -> None:
        changes = (
            "reports_changed",
            "start_date_changed",
            "account_renamed",
            "overlap_changed",
            "memory_changed",
        )
        change = self.rng.choice(changes)
        if getattr(self, f"_{change}")() is not False:
            self.world.count(change)
            self.promises.settings_changed = True

    def _credential_revoked(self) -> None:
        self.server.revoke_token()

    def _credential_restored(self) -> None:
        self.server.restore_token()

    def _contact_joined(self) -> None:
        """It is listed up to a day late; or as one that was changed long ago: a full listing finds it."""
        late_h = max(0.0, 23 - self.world.clock_error_most_ms / HOUR_MS)
        ago_h = self.rng.choice([0, late_h, 24 * 30] if self.is_long_peace else [0, late_h])
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
        self.server.script(self._id(contact), error(404, "http.status.not_found", "Not found."))
        self.out_of_sight.add(self._id(contact))

    def _contact_refused(self) -> None:
        """The credential is good, and this contact is refused for a while."""
        contact = self.rng.choice(self.account.contacts())
        refusal = error(403, "http.status.forbidden", "Forbidden.")
        self.server.script(self._id(contact), *[refusal] * self.rng.choice([2, 10, 60]))
        self.world.refused_contacts.add(self._id(contact))

    def _contact_erased(self) -> None:
        """All that is stored of it is forgotten; the API has it still, and it is back when it is edited."""
        self._erase(self._id(self.rng.choice(self.account.contacts())))

    def _erase(self, contact_id: str) -> None:
        now_ms = self.clock.now_ms()
        self.promises.forgotten_ms[contact_id] = now_ms
        if forget(System("simulation", self.world.state), contact_id, now_ms, is_dry_run=False).is_known:
            self.promises.erased(contact_id)
            self._met_operator(contact_id)

    def _met_operator(self, contact_id: str) -> None:
        for process in self.world.working:
            if process.subject == contact_id or contact_id in process.seen:
                process.met_operator = True
                process.unaware.add(contact_id)

    def _ask_meanwhile(self, contact_ids: Sequence[str]) -> None:
        """Of a contact that is worked on."""
        known = self._account_ids()
        ids = [id_ for id_ in contact_ids if id_ in known]
        if ids:
            contact_id = self.reports_rng.choice(ids)
            if self.reports_rng.random() < 0.2:
                self._erase(contact_id)
            else:
                self._resync(contact_id)

    def _day_used_by_others(self) -> None:
        self.world.others_call(self.rng.choice([20, OTHERS_CALLS_PER_DAY, 2 * OTHERS_CALLS_PER_DAY]))

    def _budget_raised(self) -> bool:
        world = self.world
        if world.limits.calls_per_day >= 1.5 * min(self.shape.calls_per_day):
            return False
        world.limits = replace(world.limits, calls_per_day=round(1.5 * world.limits.calls_per_day))
        world.limits_most = world.limits
        return True

    def _paused_by_operator(self) -> None:
        self.world.pause_as_operator()

    def _resumed_by_operator(self) -> None:
        self.world.state.pauses.lift(PauseReason.OPERATOR)
        self.world.is_stopped = False

    def _resync_asked(self) -> bool:
        """As the operator's command does: of a contact, since some time of its past."""
        return self._resync(self._id(self.rng.choice(self.account.contacts())))

    def _resync(self, contact_id: str) -> bool:
        state = self.world.state
        now_ms = self.clock.now_ms() + self.world.clock_error_ms
        resync_ms = now_ms - self.rng.randrange(round(self.shape.span_h * HOUR_MS))
        system = System("simulation", state)
        if not all(request_resync(system, [contact_id], resync_ms, now_ms)):
            return False
        self.promises.resync_asked(contact_id, resync_ms)
        if contact := state.contacts.get(contact_id):
            self.promises.watermarks[contact_id] = contact.watermark
        self._met_operator(contact_id)
        return True

    def _reports_changed(self) -> bool:
        """A type that is not read waits, with its own mark."""
        if not self.may_change_settings:
            return False
        reports = self.rng.choice([ALL_REPORTS, ALL_REPORTS, *SOME_REPORTS])
        self.world.reading = replace(self.world.reading, reports=reports)
        return True

    def _start_date_changed(self) -> bool:
        """To the very stamp of an activity, to any time, or away."""
        if not self.may_change_settings:
            return False
        told = [told for own in self.promises.by_contact.values() for told in own]
        stamps = [self.rng.choice(told).shown_ms] if told else []
        any_ms = self.clock.now_ms() - self.rng.randrange(round(self.shape.span_h * HOUR_MS))
        start_ms = self.rng.choice([None, any_ms, *stamps, *stamps])
        if start_ms is not None and start_ms >= self.clock.now_ms():
            return False
        before_ms = self.world.reading.start_ms or 0
        if (start_ms or 0) > before_ms:
            self.promises.excuse_before(start_ms or 0, self.start_least_ms)
        self.start_least_ms = min(self.start_least_ms, start_ms or 0)
        self.world.reading = replace(self.world.reading, start_ms=start_ms)
        return True

    def _account_renamed(self) -> bool:
        if not self.may_change_settings or self.rng.random() < 0.7:
            return False
        account = ACCOUNTS[self.world.reading.account == ACCOUNTS[0]]
        self.promises.account_renamed(account)
        self.world.reading = replace(self.world.reading, account=account)
        return True

    def _overlap_changed(self) -> bool:
        if not self.may_change_settings:
            return False
        least_h = 12 if self.switches.shift else 1
        overlap_h = max(least_h, self.rng.choice([*self.shape.overlap_h, self.overlap_least_h // 2]))
        self.overlap_least_h = min(self.overlap_least_h, overlap_h)
        self.promises.excuse_late(self._late_most_h())
        self.world.reading = replace(self.world.reading, overlap_h=overlap_h)
        return True

    def _memory_changed(self) -> bool:
        if not self.may_change_settings:
            return False
        self.world.reading = replace(
            self.world.reading, remembered_min=self.rng.choice(self.shape.remembered)
        )
        return True

    def _clock_set(self) -> bool:
        """Wrong, or right again."""
        if not self.shape.has_clocks_set:
            return False
        world = self.world
        world.clock_error_ms = 0 if world.clock_error_ms else self.rng.choice(CLOCK_ERRORS_MS)
        world.clock_error_most_ms = max(world.clock_error_most_ms, abs(world.clock_error_ms))
        return True

    def _peace(self) -> int:
        """No fault any more: how many ticks until every contact is synced since; the backlog drains."""
        world = self.world
        world.chances = Chances()
        world.clock_error_ms = 0
        world.is_index_stale = False
        self.server.restore_token()
        self.server.calm()
        self._resumed_by_operator()
        if self.rng.random() < 0.7:
            world.reading = replace(world.reading, reports=ALL_REPORTS)
        if self.is_long_peace:
            self.clock.time_ms += MAX_GONE_WAIT_MS
        for contact in self.account.contacts():
            is_unseen = self._id(contact) in self.out_of_sight and not self.is_long_peace
            if self._id(contact) in self.promises.forgotten_ms or is_unseen:
                self.account.touch_contact(contact.id, at=self.clock.now() + timedelta(milliseconds=1))
        began_ms = self.clock.now_ms() + (0 if self.shape.is_aws else TICK_MS)
        self.next_tick_ms = self.clock.now_ms() + TICK_MS
        ticks = 0
        while not self._is_drained(began_ms):
            ticks += 1
            if ticks > self.peace_ticks_most:
                self.promises.fail(f"the backlog did not drain in {self.peace_ticks_most} ticks")
            self._tick_in_peace()
        return ticks

    def _is_drained(self, began_ms: int) -> bool:
        return self._all_synced_since(began_ms) and self._campaigns_summarized()

    def _reports_bring_what_comes_late(self) -> None:
        """Rows that come in minutes after their stamp, though no contact is asked meanwhile."""
        world = self.world
        is_sure = self.world.has_reports and not (
            self.promises.is_one_side_shifted
            or self.switches.campaign_reports_refused
            or self.switches.unlisted_campaign_share
            or self.switches.listed_after_s > 600
            or world.limits.calls_per_day < 400
            or world.limits.calls_per_second < 1
            or self.reports_rng.random() < 0.5
        )
        if not is_sure:
            return
        self.clock.time_ms = midnight_after(self.clock.now_ms()) + TICK_MS
        self._trust_reports()
        kind = next(kind for kind in (Kind.OPEN, Kind.SEND) if kind in kinds_of(world.reading))
        campaign = self._campaign_sent()
        self.clock.time_ms += round(self.switches.listed_after_s * 1_000)
        read = ReportId(campaign.id, next(type_ for type_ in ActivityType if type_.report == kind.report))
        began_ms, ticks = self.clock.now_ms(), 0
        while not self._is_read_since(read, began_ms):
            self._tick_of_reports()
            ticks += 1
            if ticks > 8:
                self.promises.fail("the report of a fresh campaign is not read")
        self.next_tick_ms = max(self.clock.now_ms(), self.next_tick_ms)
        self.clock.time_ms = self.next_tick_ms
        rows, late_h = [], self.reports_rng.choice([8, 18]) / 60
        for number, contact_id in enumerate(self._contacts_at_rest()):
            late = [(1 / 60, late_h), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]
            for row, (ago_h, inserted_in_h) in enumerate(late):
                rows.append(
                    self._add_row(
                        contact_id,
                        ago_h=ago_h + (4 * number + row) * MOMENT_H,
                        inserted_in_h=inserted_in_h,
                        kind=kind,
                        campaign_id=campaign.id,
                    )
                )
        # A read that found nothing is followed by one ten minutes later, then by one twenty minutes later.
        for _ in range(4 if late_h < 0.2 else 9):
            self._tick_of_reports()
        is_paused = bool(world.state.pauses.get().active(self.clock.now_ms()))
        world.accidents["late_rows_of_reports"] += not is_paused
        told = [self.promises.by_id[self.promises.id_of(row, world.reading.account)] for row in rows]
        if not is_paused and not all(one.is_had for one in told):
            self.promises.fail("a report did not bring a row that came in minutes after its stamp")
        # What reports leave to contacts comes now.
        self._sweep()

    def _sweep(self) -> int:
        """Read every contact once more. Return how many ticks it took."""
        self.world.state.contacts.make_due(self.clock.now_ms())
        began_ms, ticks = self.clock.now_ms(), 0
        while not self._all_synced_since(began_ms) and ticks < MAX_PEACE_TICKS:
            self._tick_in_peace()
            ticks += 1
        return ticks

    def _is_read_since(self, id_: ReportId, since_ms: int) -> bool:
        report = self.world.state.reports.get(id_)
        return report is not None and (report.read_ms or 0) >= since_ms

    def _contacts_at_rest(self) -> list[str]:
        """Those that are registered, of which all is read, and that forgot nothing of the last hours.

        What lies just above a floor is left to its contact.
        """
        ids = [contact.id for contact in self.account.contacts()]
        known = self.world.state.contacts.get_many(ids)
        least_ms = self.clock.now_ms() - (MAX_SHIFT_H + 2) * HOUR_MS
        return [
            id_
            for id_, of in known.items()
            if not (of.progress or of.held_until_ms or of.failures)
            and all((mark.floor_ms or 0) < least_ms for mark in of.watermark.marks)
        ]

    def _tick_of_reports(self) -> None:
        """A tick whose messages of contacts are all lost."""
        world = self.world
        self.clock.time_ms = max(self.clock.time_ms, self.next_tick_ms)
        self.next_tick_ms = self.clock.time_ms + TICK_MS
        world.tick()
        while world.queue:
            world.queue[:] = [of for of in world.queue if of.message.kind is WorkKind.REPORT]
            world.deliver()

    def _nothing_changed(self) -> None:
        """One more sweep, of all, publishes nothing, and costs each contact as few calls as there can be."""
        published, calls = self._activities_published(), len(self.server.calls)
        known = [self.world.state.contacts.get(self._id(contact)) for contact in self.account.contacts()]
        needed = self._calls_needed_each()
        self.promises.resumed.clear()
        ticks = self._sweep()
        if self._activities_published() > published:
            self.promises.fail("a sweep in which nothing changed published again")
        if self.world.limits.calls_per_second > 1:
            asked = Counter(call.path for call in self.server.calls[calls:])
            owed = {of.id for of in known if of and self._is_owed_a_summary(of)}
            self._sweep_was_cheap(asked, ticks, owed | self.promises.resumed, needed)

    def _calls_needed_each(self) -> dict[str, int]:
        """Of each contact, as far as is known now."""
        reports = self.world.reading.reports
        return {
            self._id(contact): sum(self._calls_needed(self._id(contact), report) for report in reports)
            for contact in self.account.contacts()
        }

    def _is_owed_a_summary(self, contact: Known) -> bool:
        """Or asked for it so long ago that it is asked for anew; or a report brought something new."""
        now_ms = self.clock.now_ms()
        known, found_new = map(contact.summarized, self.world.summaries), bool(contact.watermark.reported)
        return any(is_due(of, now_ms=now_ms, found_new=found_new) for of in known)

    def _sweep_was_cheap(
        self, calls: Counter[str], ticks: int, owed: Set[str], needed: Mapping[str, int]
    ) -> None:
        """`needed`: at its beginning; a stamp of the future whose time comes in it may raise a floor."""
        needed_now = self._calls_needed_each()
        for contact in self.account.contacts():
            id_, reports = self._id(contact), self.world.reading.reports
            own = f"/v2/contacts/{id_}/tracking/reports/"
            has_summary = any(path.startswith(own) for path in calls)
            if ticks == 1 and has_summary and id_ not in owed:
                self.promises.fail("a summary was asked for though nothing is new")
            most = ticks * max(needed[id_], needed_now[id_])
            made = sum(calls[path] for path in {self.api.activity_path(id_, report) for report in reports})
            if made > most:
                self.promises.fail(f"a sweep asked {made} times for contact {id_}, not {most}")

    def _calls_needed(self, contact_id: str, report: str) -> int:
        """One for a page; of several pages the later ones may begin where the first one does not."""
        watermark = self.promises.watermarks[contact_id]
        kinds = [kind for kind in Kind if report in {"all", kind.report}]
        start_ms = self.world.reading.start_ms or 0
        since_ms = min(asked_from(watermark, kind.report, start_ms) for kind in kinds)
        if report == "bounces":
            since_ms = 0
        told = [told for told in self.promises.by_contact.get(contact_id, ()) if told.row.kind in kinds]
        rows = sum(told_one.shown_ms >= since_ms for told_one in told) + 1
        if rows <= self.world.page_rows:
            return 1
        return 3 + 2 * len(told) // (self.world.page_rows - TIES_A_PAGE)

    def _summaries_are_true(self) -> None:
        """Once more is asked for each campaign, after all that can be seen."""
        world = self.world
        if world.campaign_lookback_days is not None:
            self.clock.time_ms += EVERY_MS
            self.next_tick_ms = self.clock.now_ms()
            self._tick_in_peace()
            while world.queue:
                world.deliver()
        if any("campaigns/5/" in call.path for call in self.server.calls):
            self.promises.fail("a summary of a campaign that is too old was asked for")
        doubtful = self.out_of_sight or world.refused_contacts or self.name == "backlog"
        contact_kinds = () if doubtful or not self._are_all_read() else world.summaries
        is_paused = bool(world.state.pauses.get().active(self.clock.now_ms()))
        campaigns = () if world.campaign_lookback_days is None or is_paused else self._summarized_ids()
        self.promises.summaries_are_true(contact_kinds, campaigns)

    def _are_all_read(self) -> bool:
        return all(
            told.is_had
            for own in self.promises.by_contact.values()
            for told in own
            if self.account.contact(told.row.contact_id)
        )

    def _calls_are_right(self, chances: Chances) -> None:
        world = self.world
        if world.clock_error_most_ms:
            return
        calls = [call for call in self.server.calls if call.path != OTHERS_PATH]
        self.promises.calls_are_within_limits(calls)
        full = [
            call.at
            for call in calls
            if self.api.is_full_listing(call.path, call.query) and call.status == 200
        ]
        days = (self.clock.now_ms() - START_MS) / DAY_MS
        is_calm = chances.are_none and not any(self.switches.faults.values())
        if is_calm and self.switches.next_lifetime_s is None and len(full) > 1 + days / 7:
            self.promises.fail(f"{len(full)} full listings in {days:.0f} days")

    def _tally_is_true(self) -> None:
        counted: Counter[str] = Counter()
        fresh: Counter[int] = Counter()
        for day in range(START_MS // DAY_MS - 1, self.clock.now_ms() // DAY_MS + 1):
            tally = self.world.state.tally.on(day)
            counted.update(tally.events)
            fresh.update(tally.ages)
        published = Counter(event.detail_type for event in self.world.published)
        if counted != published and not self.world.clock_error_most_ms:
            self.promises.fail(f"the tally says {counted}, and {published} were published")
        ages = by_bucket(live_ages_s(self.world.published))
        if fresh != ages and not self.world.clock_error_most_ms:
            self.promises.fail(f"the tally says that ages are {fresh}, and they are {ages}")

    def _activities_published(self) -> int:
        """Summaries are computed later than the activity, and may be news still."""
        return sum(event.detail_type not in SUMMARY_TYPES for event in self.world.published)

    def _tick_in_peace(self) -> None:
        """A tick, and what is done before the next; a long walk goes on while ticks pass."""
        world = self.world
        self.clock.time_ms = max(self.clock.time_ms, self.next_tick_ms)
        self.next_tick_ms = self.clock.time_ms + TICK_MS
        world.tick()
        self._pauses_are_lifted()
        while world.queue and self.clock.time_ms < self.next_tick_ms:
            world.deliver()

    def _pauses_are_lifted(self) -> None:
        """The credential is good and is asked about at each tick; a raised budget counts at once."""
        world, now_ms = self.world, self.clock.now_ms()
        active = world.state.pauses.get().active(now_ms)
        if [pause.reason for pause in active] == [PauseReason.CREDENTIAL]:
            self.promises.fail("a credential that is good again is still paused for")
        pace = world.stores.store(world.limits, self.clock).limiter.pace()
        own = [pause for pause in active if is_own_budget(pause, now_ms)]
        if (
            own
            and calls_left(pace, world.limits, now_ms) > 0
            and len(active) == 1
            and not self._was_api_right()
        ):
            self.promises.fail("a pause for the day's calls holds though there are more")

    def _was_api_right(self) -> bool:
        """The API itself said that the day is used up."""
        return any(call.status == self.api.quota_status for call in self.server.calls)

    def _campaigns_summarized(self) -> bool:
        """Each campaign's summary was published once at least, if it is asked for."""
        if self.world.campaign_lookback_days is None:
            return True
        kind = SummaryKind.CAMPAIGN.detail_type
        events = [event for event in self.world.published if event.detail_type == kind]
        return {json.loads(event.detail)["subject"] for event in events} >= set(self._summarized_ids())

    def _summarized_ids(self) -> list[str]:
        share = self.switches.unlisted_campaign_share
        return [id_ for id_ in CAMPAIGN_IDS if not chosen(share, "campaign", id_)]

    def _all_synced_since(self, began_ms: int) -> bool:
        synced_ms = self.promises.synced_ms
        return all(synced_ms.get(self._id(contact), 0) >= began_ms for contact in self.account.contacts())
