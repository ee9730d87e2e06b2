"""Histories of v3: the same accidents, and those of two sides of which one vouches and one publishes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from contact_activity.domain.times import HOUR_MS
from contact_activity.simulated import Cursor, Fault, Kind, Switches, Tie, error
from contact_activity.simulated.account import Campaign, Row
from contact_activity.simulated.switches import FIVE_HOURS_EARLY, Shift, Side
from contact_activity.simulated.v3_ids import Role, activity_uuid
from contact_activity.simulated.v3_switches import PageEnd, Step, V3Switches
from tests.simulation.apis import V3
from tests.simulation.history import (
    ADDRESS_DOMAIN,
    CAMPAIGN_IDS,
    LINK_IDS,
    LINKS,
    OLD_CAMPAIGN_ID,
    SHAPES,
    SHIFT_MS,
    History,
    Shape,
)
from tests.simulation.promises_v3 import PromisesV3
from tests.simulation.world import TICK_MS, Chances

# Of mails that no list shows, and one that nothing but rows tells of.
AUTOMATION_ID, UNKNOWN_ID = "90", "91"
MINUTES_10_S, HOURS_2_S, HOURS_45_S = 600.0, 7_200.0, 45 * 3_600.0
REPORT_ACTS = (
    "campaign_sent",
    "campaign_sent",
    "campaign_sent_again",
    "campaign_deleted",
    "resync_and_activity",
    "report_out_of_sight",
    "report_out_of_sight",
    "clicks_of_one_moment",
    "late_under_many",
)
# What is asked for in vain is asked for a day later, and one sweep after that it is published.
MAX_PEACE_TICKS = 10 * 96


class HistoryV3(History):
    """One seed, one history of v3."""

    api = V3
    is_witnessed = True
    report_modes = ("engine", "shifts", "switched")
    how_often = (4, 8, 2)
    peace_ticks_most = MAX_PEACE_TICKS
    shapes: Mapping[str, Shape] = {
        name: replace(shape, calls_per_day=tuple(max(120, calls) for calls in shape.calls_per_day))
        for name, shape in SHAPES.items()
    }
    thousands = (2_050, 2_300, 2_300, 5_300)

    promises: PromisesV3
    is_sending = False

    def _promises(self) -> PromisesV3:
        self.world.campaign_lookback_days = None
        self.world.has_watch = self.reports_rng.random() < 0.8
        self.campaign_ids = [*CAMPAIGN_IDS, OLD_CAMPAIGN_ID, AUTOMATION_ID, UNKNOWN_ID]
        return PromisesV3(self.world, self.account, self.switches, ADDRESS_DOMAIN)

    @property
    def has_shifts(self) -> bool:
        """Where calls are so slow that the lists take all of the reports' shift, no report is ever read."""
        return self.reports != "engine" and self.name != "backlog"

    @property
    def has_reports(self) -> bool:
        return True

    def _trust_reports(self) -> None:
        """They publish from the beginning."""

    def _switches(self, seed: int) -> Switches:
        rate = self.rng.choice([0.0, 0.1, 0.3])
        if self.name in {"thousands", "backlog"}:
            rate /= 5
        is_wide = min(self.shape.overlap_h) * HOUR_MS > 2 * SHIFT_MS
        return Switches(
            cursor=self.rng.choice([Cursor.TIME, Cursor.OFFSET]),
            tie=self.rng.choice([Tie.STRETCHED, Tie.REPEATED]),
            max_page_rows=self.rng.choice(self.shape.page_rows),
            expired_next_status=self.rng.choice([400, 404]),
            next_lifetime_s=self.rng.choice([None] if self.name == "backlog" else [None, None, 30.0, 600.0]),
            contacts_newest_first=self.rng.random() < 0.3,
            limit_plus_one=self.rng.random() < 0.3,
            shift=self._shift() if is_wide else None,
            campaign_reports_refused=self.rng.random() < 0.03,
            listed_after_s=self.rng.choice([0.0, 0.0, 600.0, 7_200.0]),
            unlisted_campaign_share=self.rng.choice([0.0, 0.0, 0.3]),
            v3=self._v3_switches(),
            faults=dict.fromkeys(Fault, rate / len(Fault)),
            seed=seed,
        )

    def _shift(self) -> Shift | None:
        """Mostly on both sides: two stamps of one row are two activities for all that anybody can tell."""
        side = self.rng.choice(list(Side)) if self.rng.random() < 0.2 else None
        return replace(FIVE_HOURS_EARLY, side=side) if self.rng.random() < 0.3 else None

    def _v3_switches(self) -> V3Switches:
        steps = [Step.MILLISECOND, Step.SECOND, Step.MINUTE, Step.MINUTE]
        late_s = [0.0, 0.0, 60.0, MINUTES_10_S]
        if self.name in {"thousands", "clocks set"}:
            late_s = [0.0]
        return V3Switches(
            step=self.rng.choice(steps),
            campaign_step=self.rng.choice(steps) if self.rng.random() < 0.1 else None,
            page_end=self.rng.choice([None, *PageEnd]),
            links_keep_parameters=self.rng.random() < 0.3,
            contact_reports_late_s=self.rng.choice(late_s),
            campaign_reports_late_s=self.rng.choice([*late_s, *late_s, HOURS_2_S, HOURS_45_S]),
            missing_in_campaign_reports_share=self.rng.choice([0.0, 0.0, 0.0, 0.2, 1.0]),
            campaign_reports_refused=self.rng.choice([404, 403]) if self.rng.random() < 0.06 else None,
            automation_reports_answer=self.rng.random() < 0.6,
            optouts_update=self.rng.random() < 0.3,
        )

    def _switches_of_reports(self) -> Switches:
        return self.switches

    def _chances(self) -> Chances:
        """One engine is alone."""
        chances = super()._chances()
        chances = replace(chances, bus_slow=chances.operator_asks_before_memory)
        return chances if self.has_shifts else replace(chances, second_dispatcher=0.0)

    # The account.

    def _populate(self) -> None:
        sent_at = self.clock.now() - timedelta(days=40)
        self.account.add_campaign(
            "welcome", sent_at=sent_at, campaign_id=AUTOMATION_ID, links=LINKS, listed=False
        )
        super()._populate()

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
        """A send moves what comes after it to the second mailing of its campaign, so that no other may."""
        campaign_id = campaign_id or self.rng.choice(self.campaign_ids)
        campaign, kind = self.account.campaign(campaign_id), kind or self.rng.choice(list(Kind))
        if campaign and campaign.resent_ms and kind is Kind.SEND and not self.is_sending:
            kind = Kind.OPEN
        return super()._add_row(
            contact_id,
            ago_h=ago_h,
            inserted_in_h=inserted_in_h,
            kind=kind,
            is_promised=is_promised,
            campaign_id=campaign_id,
            link_id=link_id,
        )

    def _sent_to_all(self, campaign_id: str) -> None:
        self.is_sending = True
        super()._sent_to_all(campaign_id)
        self.is_sending = False

    def _late_most_h(self) -> float:
        """Stamps tell the beginning of their step."""
        late_h = self.switches.v3.contact_reports_late_s / 3_600
        return max(0.02, super()._late_most_h() - late_h - self.switches.v3.step / HOUR_MS)

    def _add_shown(self, contact_id: str, time_ms: int, *, is_promised: bool = True) -> None:
        step_ms = self.switches.v3.step
        is_now = not self.switches.v3.contact_reports_late_s
        super()._add_shown(contact_id, -(-time_ms // step_ms) * step_ms, is_promised=is_promised and is_now)

    # What happens.

    def _act_on_reports(self) -> None:
        acts = [*REPORT_ACTS, *["watch_switched"] * 3 * (self.reports == "switched")]
        act = self.reports_rng.choice(acts)
        if getattr(self, f"_{act}")() is not False:
            self.world.count(act)

    def _watch_switched(self) -> None:
        self.world.has_watch = not self.world.has_watch

    def _sent(self) -> list[Campaign]:
        """Campaigns with a report, of which no row lies ahead."""
        now_ms = self.clock.now_ms()
        ahead = {row.campaign_id for row in self.account.rows() if row.occurred_ms > now_ms - TICK_MS}
        return [
            campaign
            for campaign in self.account.campaigns()
            if campaign.status == "SENT" and campaign.listed and campaign.id not in ahead
        ]

    def _campaign_sent_again(self) -> bool:
        sent = self._sent()
        if not sent:
            return False
        campaign, now_ms = self.reports_rng.choice(sent), self.clock.now_ms()
        self._put_campaign(replace(campaign, resent_ms=(*campaign.resent_ms, now_ms), modified_ms=now_ms))
        self._sent_to_all(campaign.id)
        return True

    def _campaign_deleted(self) -> bool:
        """Its reports are gone; the contacts' own reports show its activity still."""
        sent = self._sent()
        if not sent or self.promises.do_sides_differ:
            return False
        campaign = self.reports_rng.choice(sent)
        self._put_campaign(replace(campaign, status="DELETED", modified_ms=self.clock.now_ms()))
        return True

    def _report_out_of_sight(self) -> bool:
        """The reports of a mailing are refused, or are not there, for a while."""
        if self.promises.do_sides_differ:
            return False
        campaign_id, role = self.reports_rng.choice(self.campaign_ids), self.reports_rng.choice(list(Role))
        status = self.reports_rng.choice([403, 404])
        refusal = error(status, "access_denied" if status == 403 else "reportingsvc.not_found", "Not now.")
        times = self.reports_rng.choice([1, 2, 6, 30])
        self.server.script(activity_uuid(campaign_id, role), *[refusal] * times)
        return True

    def _clicks_of_one_moment(self) -> None:
        """On each link of a mail, of which some come in later."""
        contact = self.reports_rng.choice(self.account.contacts())
        campaign_id, ago_h = self.reports_rng.choice(self.campaign_ids), self.reports_rng.random() / 10
        most_h = min(6.0, max(0.0, self._late_most_h() - ago_h))
        for link_id in (*LINK_IDS, self.reports_rng.choice(LINK_IDS)):
            self._add_row(
                contact.id,
                ago_h=ago_h,
                inserted_in_h=self.reports_rng.choice([0.0, self.reports_rng.random() * most_h]),
                kind=Kind.CLICK,
                campaign_id=campaign_id,
                link_id=link_id,
            )

    def _late_under_many(self) -> bool:
        """A page full of one kind of a mailing, and behind it a row that comes in later."""
        if self.world.page_rows > 9 or self._late_most_h() < 1.5:
            return False
        contact = self.reports_rng.choice(self.account.contacts())
        campaign_id, kind = self.reports_rng.choice(self.campaign_ids), self.reports_rng.choice(list(Kind))
        for ago_min in range(1, self.world.page_rows + 3):
            self._add_row(contact.id, ago_h=ago_min / 60, kind=kind, campaign_id=campaign_id)
        inserted_in_h = self.reports_rng.uniform(0.6, min(12.0, self._late_most_h() - 0.6))
        self._add_row(contact.id, ago_h=0.5, inserted_in_h=inserted_in_h, kind=kind, campaign_id=campaign_id)
        return True

    # Peace.

    def _is_drained(self, began_ms: int) -> bool:
        return self._all_synced_since(began_ms) and self.promises.unsettled() is None

    def _all_synced_since(self, began_ms: int) -> bool:
        return all(
            self.promises.synced_ms.get(id_, 0) >= began_ms or self.promises.is_stopped_for_good(id_)
            for id_ in map(self._id, self.account.contacts())
        )

    def _tick_in_peace(self) -> None:
        """Where nothing is due for now, time passes by the hour."""
        super()._tick_in_peace()
        now_ms, state = self.clock.now_ms(), self.world.state
        is_one_due = state.contacts.oldest_due_ms(now_ms) is not None or any(state.reports.due(now_ms))
        if not (is_one_due or self.world.queue) or self.shape.is_aws:
            self.next_tick_ms = now_ms + HOUR_MS

    def _are_all_read(self) -> bool:
        """A summary counts what its contact shows, whatever is published of it."""
        return True

    def _reports_bring_what_comes_late(self) -> None:
        """A mailing whose report is read before its contacts are, so that none of its rows asks."""
        if self.reports_rng.random() < 0.5 or self.world.limits.calls_per_second < 1:
            return
        campaign = self._campaign_sent()
        v3 = self.switches.v3
        late_s = max(v3.contact_reports_late_s, v3.campaign_reports_late_s) + 600
        self.clock.time_ms += round(1_000 * (self.switches.listed_after_s + late_s))
        for _ in range(2):
            self._tick_of_reports()
        self.world.accidents["read_before_contacts"] += self.promises.is_published(campaign.id)
        self._sweep()
        while self.promises.unsettled() is not None:
            self._tick_in_peace()

    def _nothing_changed(self) -> None:
        """One more sweep costs each contact as few calls as there can be, and publishes nothing again."""
        calls, published = len(self.server.calls), len(self.world.published)
        before = {event.id for event in self.world.published} - self.promises.still_asked_for()
        ticks = self._sweep()
        again = [event for event in self.world.published[published:] if event.id in before]
        if again:
            self.promises.fail("a sweep in which nothing changed published again")
        if self.world.limits.calls_per_second > 1:
            self._sweep_of_v3_was_cheap(calls, ticks)
        # A row that came in meanwhile may ask for a report that was read in vain, and waits for a day.
        while self.promises.unsettled() is not None:
            self._tick_in_peace()

    def _sweep_of_v3_was_cheap(self, calls: int, ticks: int) -> None:
        page_rows = min(100, self.world.page_rows)
        for contact in self.account.contacts():
            id_ = self._id(contact)
            path = self.api.activity_path(id_, "all")
            made = sum(call.path == path for call in self.server.calls[calls:])
            most = ticks * (3 + 2 * len(self.promises.by_contact.get(id_, ())) // page_rows)
            if made > most:
                self.promises.fail(f"a sweep asked {made} times for contact {id_}, not {most}")
