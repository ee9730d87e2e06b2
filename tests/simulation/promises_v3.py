"""What must hold in a history of v3, where contacts' rows only vouch and mailings' reports publish."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from contact_activity.domain.asks import MAX_ASKS, Ask
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import Event
from contact_activity.domain.memory import unpack
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso
from contact_activity.domain.watermark import Mark, Reading, Watermark
from contact_activity.domain.work import WorkItem
from contact_activity.simulated import Kind
from contact_activity.simulated.account import Row
from contact_activity.simulated.api_json import chosen, shown_ms
from contact_activity.simulated.faults import Fault
from contact_activity.simulated.server import Server
from contact_activity.simulated.switches import Cursor, Side, Tie
from contact_activity.simulated.times import SECOND_MS
from contact_activity.simulated.v3_ids import Role, activity_of, contact_uuid, role_of
from contact_activity.simulated.v3_json import TYPES
from contact_activity.simulated.visibility import is_listed
from tests.simulation.promises import KEY_BYTES, MEMORY_NEARLY_FULL, TIES_MOST, Promises, Told, kinds_of
from tests.simulation.promises import counts_of as counts_of_rows

if TYPE_CHECKING:
    from tests.simulation.stores import Stored
    from tests.simulation.world import Process

# By which the clocks of two machines differ, and what an answer takes.
ABOUT_MS = 2_000
# Of rows that are forgotten together: more have one stamp where it is a minute, and a click has two keys.
KEYS_OF_A_STAMP_MOST = 3 * TIES_MOST
LOOKED_AGAIN_MS = 23 * HOUR_MS
# What only a report tells of each kind.
MISSING = {
    Kind.SEND: ["email_address"],
    Kind.OPEN: ["email_address"],
    Kind.CLICK: ["email_address", "link"],
    Kind.FORWARD: None,
    Kind.BOUNCE: ["bounce", "email_address"],
    Kind.UNSUBSCRIBE: ["unsubscribe"],
}
HAS_ADDRESS = {Kind.SEND, Kind.OPEN, Kind.CLICK, Kind.BOUNCE}
GONE, REFUSED, ANSWERS = "gone", "refused", "answers"


@dataclass(slots=True)
class Witnessed(Told):
    """A row, as its contact and its mailing's report show it; `shown_ms` is the stamp of its contact.

    `report_ms`: the stamp of the report. `vouched_ms`, `reported_ms`: from when on each side shows it;
    None: no report ever does.
    """

    mailing: str = ""
    report: tuple[str, str] = ("", "")
    report_ms: int = 0
    vouched_ms: int = 0
    reported_ms: int | None = None

    @property
    def moment(self) -> tuple[str, str, int]:
        """What a contact's row tells of it beside the contact."""
        return self.mailing, self.row.kind.report, self.shown_ms

    def is_reported(self, now_ms: int) -> bool:
        return self.reported_ms is not None and self.reported_ms <= now_ms


@dataclass
class PromisesV3(Promises):
    """`asks`: what each contact asks for, as it is stored. `in_reports`: its rows by the report they are in.

    `by_side`: the row of an id, for each side by itself. One row's stamp in its report may be another's
    stamp in their contact's own report, so that an id is of two rows.
    """

    asks: dict[str, tuple[Ask, ...]] = field(default_factory=dict)
    moments: dict[str, dict[tuple[str, str, int], list[Witnessed]]] = field(default_factory=dict)
    mailings: dict[Row, str] = field(default_factory=dict)
    in_reports: dict[tuple[str, tuple[str, str]], list[Witnessed]] = field(default_factory=dict)
    by_side: dict[Side, dict[str, Told]] = field(default_factory=lambda: {side: {} for side in Side})

    # What the account has.

    def _stamp_ms(self, row: Row, side: Side) -> int:
        v3 = self.switches.v3
        step_ms = v3.campaign_step if side is Side.CAMPAIGN and v3.campaign_step else v3.step
        time_ms = shown_ms(row, self.switches, side)
        return time_ms - time_ms % step_ms

    @property
    def do_sides_differ(self) -> bool:
        """Whether one row may have two stamps, which are two activities for all that anybody can tell."""
        v3 = self.switches.v3
        return self.is_one_side_shifted or v3.campaign_step not in (None, v3.step)

    def _told(self, row: Row, *, is_promised: bool) -> Witnessed:
        v3 = self.switches.v3
        self.mailings.setdefault(row, activity_of(row, self.account))
        is_missing = chosen(v3.missing_in_campaign_reports_share, "report", *row.key)
        reported_ms = row.inserted_ms + round(v3.campaign_reports_late_s * SECOND_MS)
        told = Witnessed(
            row,
            contact_uuid(row.contact_id),
            self._stamp_ms(row, Side.CONTACT),
            is_promised,
            mailing=self.mailings[row],
            report=(self.mailings[row], TYPES[row.kind].removeprefix("em_")),
            report_ms=self._stamp_ms(row, Side.CAMPAIGN),
            vouched_ms=row.inserted_ms + round(v3.contact_reports_late_s * SECOND_MS),
            reported_ms=None if is_missing else reported_ms,
        )
        moments = self.moments.setdefault(told.contact_id, {})
        moments.setdefault(told.moment, []).append(told)
        self.in_reports.setdefault((told.contact_id, told.report), []).append(told)
        return told

    def id_of(self, row: Row, account: str, side: Side = Side.CONTACT) -> str:
        """Of a row as its report has it; of a row for itself, which does not tell a link."""
        link_id = row.key[-1] if side is Side.CAMPAIGN else ""
        time_ms, contact_id = str(self._stamp_ms(row, side)), contact_uuid(row.contact_id)
        key = [account, TYPES[row.kind], self.mailings[row], contact_id, time_ms, link_id]
        return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]

    def _tell(self, told: Told, account: str) -> None:
        for side in Side:
            id_ = self.id_of(told.row, account, side)
            self.by_side[side].setdefault(id_, told)
            if id_ not in self.by_id:
                self.by_id[id_] = told
                self.shown_ms[id_] = self._stamp_ms(told.row, side)

    def _is_activity_told(self, told: Told) -> bool:
        """An equal row came before. Both are seen as soon as one is, and missed where both are."""
        same = self.by_id.get(self.id_of(told.row, self.world.reading.account, Side.CAMPAIGN))
        if same is None:
            return False
        # Reports may tell two rows as one that the contact's own report tells apart.
        alone = self.id_of(told.row, self.world.reading.account)
        self.by_side[Side.CONTACT].setdefault(alone, told)
        if alone not in self.by_id:
            self.by_id[alone], self.shown_ms[alone] = told, told.shown_ms
        assert isinstance(same, Witnessed)
        assert isinstance(told, Witnessed)
        if same.shown_ms == told.shown_ms:
            known = [time_ms for time_ms in (same.reported_ms, told.reported_ms) if time_ms is not None]
            same.reported_ms = min(known, default=None)
            if told.is_promised and not same.is_promised and not same.is_had:
                same.is_promised = True
                self.owed.setdefault(told.contact_id, {})[id(same)] = same
        return True

    def _own(self, contact_id: str) -> list[Witnessed]:
        return [told for told in self.by_contact.get(contact_id, ()) if isinstance(told, Witnessed)]

    def _owed(self, contact_id: str) -> list[Witnessed]:
        return [told for told in self.owed.get(contact_id, {}).values() if isinstance(told, Witnessed)]

    def newest_shown_ms(self, contact_id: str, now_ms: int) -> int:
        times = (
            told.shown_ms
            for told in self._own(contact_id)
            if told.vouched_ms <= now_ms and told.shown_ms <= now_ms
        )
        return max(times, default=now_ms)

    def _campaign_id(self, told: Told) -> str:
        return self.mailings[told.row]

    def answer_of(self, told: Witnessed) -> str:
        """What the API says now when the report of a row is asked for."""
        v3, row = self.switches.v3, told.row
        if self.switches.campaign_reports_refused or v3.campaign_reports_refused == 403:
            return REFUSED
        campaign = self.account.campaign(row.campaign_id)
        if v3.campaign_reports_refused is not None or (campaign and campaign.status == "DELETED"):
            return GONE
        role = role_of(row, self.account)
        if campaign is None or not is_listed(campaign, self.world.clock.now_ms(), self.switches):
            return ANSWERS if v3.automation_reports_answer and role is Role.PRIMARY else GONE
        return ANSWERS

    # Each event.

    def _is_equal(self, event_id: str, before: str, now: str) -> bool:  # noqa: ARG002  v2's
        """But for what a row that was published for itself lacks."""
        one, other = json.loads(before), json.loads(now)
        if one.get("missing") == other.get("missing"):
            return before == now
        for name in {*one.pop("missing", ()), *other.pop("missing", ())}:
            for data in (one, other):
                (data["contact"] if name == "email_address" else data).pop(name, None)
        return bool(one == other)

    def _activity(
        self, process: "Process", event: Event, detail: Mapping[str, object], *, is_again: bool
    ) -> None:
        told = self.by_side[Side.CAMPAIGN if process.is_report else Side.CONTACT].get(event.id)
        if not isinstance(told, Witnessed):
            self.fail(f"the event {event.id} is of no activity of the account")
        self.activities.add(event.id)
        at_ms, now_ms = self.shown_ms[event.id], self.world.clock.now_ms()
        data = detail["data"]
        assert isinstance(data, dict)
        self._is_whole_or_alone(process, told, data, at_ms)
        if at_ms < (process.reading.start_ms or 0):
            self.fail("an activity before the start date was published")
        own = self.moments[told.contact_id][told.moment]
        if process.is_report:
            self._backfill_of_report_is_true(process, told, detail["backfill"], at_ms)
        else:
            self._backfill_is_true(process, told, event.id, detail["backfill"], is_again=is_again)
            self._stands_alone(own, now_ms)
            self.world.accidents["published_alone"] += 1
        self._is_under_one_id(event.id, own)
        for of in [told] if process.is_report else own:
            of.is_had = True
            self.owed.get(of.contact_id, {}).pop(id(of), None)

    def _is_whole_or_alone(
        self, process: "Process", told: Witnessed, data: Mapping[str, object], at_ms: int
    ) -> None:
        row, own = told.row, dict(told.row.own)
        contact, campaign, activity = data["contact"], data["campaign"], data["activity"]
        assert isinstance(contact, dict)
        assert isinstance(campaign, dict)
        assert isinstance(activity, dict)
        if contact["id"] != told.contact_id or campaign["id"] != told.mailing:
            self.fail("an event names another contact or mailing than its row")
        if activity["occurred_at"] != iso(at_ms):
            self.fail("an event has another time than its row")
        is_whole = process.is_report
        link = {"id": own["link_id"], "url": own["link_uri"]} if row.kind is Kind.CLICK else None
        wanted = {
            "missing": None if is_whole else MISSING[row.kind],
            "link": link if is_whole else None,
        }
        if {name: data.get(name) for name in wanted} != wanted:
            self.fail(f"an event of {row.kind.report} says {dict(data)}, not {wanted}")
        address = row.email_address if is_whole and row.kind in HAS_ADDRESS else None
        if contact.get("email_address") != address:
            self.fail("an event has another address than its row")
        bounce = data.get("bounce")
        code = bounce.get("code") if isinstance(bounce, dict) else None
        if code != (own.get("bounce_code") if is_whole else None):
            self.fail("an event has another bounce than its row")

    def _stands_alone(self, own: Sequence[Witnessed], now_ms: int) -> None:
        """A contact's row is published only where there is no report of it, or none that shows its contact.

        `own`: the rows that it may be.
        """
        if self.world.clock_error_most_ms:
            return
        met_ms, told = min(of.vouched_ms for of in own), own[0]
        answers = self.world.report_answers.get(told.report, [])
        all_answers = chain.from_iterable(self.world.report_answers.values())
        # Where another report is given, 403 is no missing right.
        refusals = {404, 403} if any(status == 200 for _, status in all_answers) else {404}
        gone = [at_ms for at_ms, status in answers if status in refusals and at_ms >= met_ms - ABOUT_MS]
        if len(gone) >= 2 and now_ms - told.shown_ms > DAY_MS - ABOUT_MS:
            self.world.accidents["published_alone_where_gone"] += 1
            return
        looked_ms = met_ms + LOOKED_AGAIN_MS - ABOUT_MS
        looked = [at_ms for at_ms, status in answers if status == 200 and at_ms >= looked_ms]
        in_vain = [at_ms for at_ms in looked if not self._is_contact_shown(told, at_ms - ABOUT_MS)]
        if not in_vain or now_ms - met_ms < DAY_MS - ABOUT_MS:
            self.fail(f"a {told.row.kind.report} row was published for itself, and its report has rows of it")

    def _is_contact_shown(self, told: Witnessed, at_ms: int) -> bool:
        """Whether the report of a row shows anything of its contact."""
        own = self.in_reports.get((told.contact_id, told.report), ())
        return any(of.is_reported(at_ms) for of in own)

    def _is_under_one_id(self, event_id: str, own: Sequence[Witnessed]) -> None:
        """Either whole or for itself. Of several clicks of one moment some may be the one, some the other."""
        if len(own) > 1 and own[0].row.kind is Kind.CLICK:
            return
        for other in self._other_ids(event_id):
            if other not in self.published_as or other in self.excused:
                continue
            if not (self.do_sides_differ or self._may_be_shown_twice(own[0])):
                self.fail("an activity was published both whole and for itself")
            self.world.accidents["published_under_both_times"] += 1

    def _may_be_shown_twice(self, told: Witnessed) -> bool:
        """A click that its contact shows twice counts as two, of which a report that is gone showed one."""
        path = self.world.api.activity_path(told.contact_id, "all")
        is_repeated = self.switches.tie is Tie.REPEATED or self.switches.cursor is Cursor.OFFSET
        is_repeated |= any(
            of.fault is Fault.REPEATED_ROWS and of.path == path for of in self.world.server.calls
        )
        return told.row.kind is Kind.CLICK and is_repeated

    def _backfill_is_true(
        self,
        process: "Process",
        told: Told,
        event_id: str,  # noqa: ARG002  as in v2
        said: object,
        *,
        is_again: bool,  # noqa: ARG002  as in v2
    ) -> None:
        """Older than its contact here, or than the resync that brings it."""
        contact = process.contact
        if contact is None or process.reading.account in self.accounts or self.world.clock_error_most_ms:
            return
        known_ms = contact.registered_ms
        if contact.watermark.resync_ms is not None:
            known_ms = max(known_ms, contact.watermark.resync_asked_ms or 0)
        if known_ms <= process.clock.now_ms() and said is not (told.shown_ms < known_ms):
            self.fail(f"an event says backfill {said}, and it is not so")

    def _pages_a_crash_repeats(self, process: "Process") -> int:
        """All that a contact publishes for itself it publishes at once."""
        return 1 if process.is_report else MAX_ASKS

    # Each write.

    def saved(self, process: "Process", before: "Stored | None", contact: Contact) -> None:
        self.asks[contact.id] = contact.asks
        super().saved(process, before, contact)

    def _reading_of(self, process: "Process") -> Reading:
        """A walk under other settings is given up."""
        return process.reading

    def _asks_left(self, process: "Process", before: Contact, after: Contact) -> tuple[Ask, ...]:
        """A report takes away what it answers, and notes what it shows of the contact beside."""
        self.asks[after.id] = after.asks
        known = {ask.key: ask for ask in before.asks}
        memory = {*unpack(after.watermark.remembered), *unpack(after.watermark.reported)}
        answered = set(known) - {ask.key for ask in after.asks}
        if not answered <= memory and not process.met_operator:
            self.fail(f"a report took asks of contact {after.id} away that it did not answer")
        for ask in after.asks:
            if ask.key not in known or replace(known[ask.key], is_elsewhere=ask.is_elsewhere) != ask:
                self.fail(f"a report changed what contact {after.id} asks for")
        return after.asks

    def _is_wanted_again(self, process: "Process", event_id: str, after: Contact) -> bool:
        resync_ms = after.watermark.resync_ms
        is_wanted = resync_ms is not None and self.shown_ms[event_id] >= resync_ms and process.met_operator
        if is_wanted:
            self.excused.add(event_id)
        return is_wanted

    def _excuse_since(self, since_ms: int, id_: str, told: Told) -> None:  # noqa: ARG002  v2's
        if self.shown_ms[id_] >= since_ms:
            self.excused.add(id_)

    def _marks_hold(self, process: "Process", contact: Contact) -> None:
        """What is forgotten is forgotten for all types, and only a resync takes that back."""
        old, new = self.watermarks.get(contact.id, Watermark()), contact.watermark
        if old.resync_ms is not None and new.resync_ms is None:
            old = old.cut_back()
        read = process.contact.watermark if process.contact else Watermark()
        for mark in old.marks:
            now, floor_ms = new.mark(mark.type), mark.floor_ms or 0
            if process.is_reading:
                # A walk that begins anew takes back what it forgot, and remembers it again.
                floor_ms = min(floor_ms, read.mark(mark.type).floor_ms or 0)
            least = [min(time_ms, process.began_ms) for time_ms in (mark.through_ms or 0, floor_ms)]
            if (now.through_ms or 0) < least[0] or (now.floor_ms or 0) < least[1]:
                self.fail(f"a mark of contact {contact.id} moved back")
        latest_ms = process.clock.now_ms() + self.world.clock_error_most_ms
        if any((mark.through_ms or 0) > latest_ms for mark in new.marks):
            self.fail(f"a mark of contact {contact.id} lies in the future")
        lost = {*unpack(old.remembered), *unpack(old.reported)}
        lost -= {*unpack(new.remembered), *unpack(new.reported)}
        for key in lost:
            at_ms = int.from_bytes(key[:6])
            if not all(_is_forgotten(mark, at_ms) for mark in new.marks):
                self.fail(f"memory of contact {contact.id} was lost")

    def _floor_is_right(self, process: "Process", contact: Contact) -> None:
        """Only what is beyond the newest and older than the window is forgotten, and nothing that is owed."""
        reading, new = process.reading, contact.watermark
        old = self.watermarks.get(contact.id, Watermark())
        if old.resync_ms is not None:
            old = old.cut_back()
        raised_ms = [_raised_ms(old.mark(mark.type), mark) for mark in new.marks]
        began_ms = self.reading_since_ms.get(contact.id, 0)
        for told in self._owed(contact.id):
            marks = [mark for mark in new.marks if mark.type.report == told.row.kind.report]
            is_read = told.vouched_ms <= began_ms and told.row.kind in kinds_of(reading)
            is_lost = any(
                _is_forgotten(mark, told.shown_ms) and not _is_forgotten(old.mark(mark.type), told.shown_ms)
                for mark in marks
            )
            if is_read and is_lost:
                self.fail(f"contact {contact.id} forgot a {told.row.kind.report} row that is owed")
        keys = len(new.remembered + new.reported) // KEY_BYTES
        if keys >= MEMORY_NEARLY_FULL or self.settings_changed:
            return
        of_walk = contact.progress.through if contact.progress else ()
        through_ms = max(
            (*(mark.through_ms or 0 for mark in new.marks), *(at_ms for _, at_ms in of_walk)), default=0
        )
        if any(raised_ms) and max(raised_ms) > through_ms - reading.overlap_h * HOUR_MS:
            self.fail(f"contact {contact.id} forgot what is inside the window")
        if any(raised_ms) and keys < reading.remembered_min - KEYS_OF_A_STAMP_MOST:
            self.fail(f"contact {contact.id} remembers {keys} activities, not {reading.remembered_min}")

    def _is_stopped_by_asks(self, message: WorkItem) -> bool:
        return len(self.by_contact.get(message.id, ())) >= MAX_ASKS

    # The end.

    def nothing_is_missing(self, contact_id: str, at_ms: int, *readings: Reading) -> None:
        """Of what its contact shows everything is published or asks for its report."""
        if self.is_stopped_for_good(contact_id):
            return
        asked = self._asked(contact_id)
        for told in self._wanted(contact_id, at_ms, *readings):
            if told.moment not in asked and not self._is_counted_elsewhere(told, at_ms):
                late_h = (told.vouched_ms - told.shown_ms) / HOUR_MS
                self.fail(
                    f"a {told.row.kind.report} row of contact {contact_id}, {late_h:.1f} h late,"
                    " is neither published nor asks"
                )

    def _wanted(self, contact_id: str, at_ms: int, *readings: Reading) -> list[Witnessed]:
        """What is owed of a contact's rows that were there at a time, and that each of the readings has."""
        start_ms = max(reading.start_ms or 0 for reading in readings)
        kinds = set(Kind).intersection(*map(kinds_of, readings))
        return [
            told
            for told in self._owed(contact_id)
            if told.vouched_ms <= at_ms
            and min(told.shown_ms, told.report_ms) >= start_ms
            and told.row.kind in kinds
        ]

    def _asked(self, contact_id: str) -> set[tuple[str, str, int]]:
        return {
            (ask.report.campaign_id, ask.report.type.report, ask.stamp_ms)
            for ask in self.asks.get(contact_id, ())
        }

    def still_asked_for(self) -> set[str]:
        """The ids of rows that ask, such as those that a resync brings again."""
        return {
            id_
            for id_, told in self.by_id.items()
            if isinstance(told, Witnessed) and told.moment in self._asked(told.contact_id)
        }

    def _is_counted_elsewhere(self, told: Witnessed, at_ms: int) -> bool:
        """Clicks of one moment vouch by their number, and a report may show others of them first."""
        if told.row.kind is not Kind.CLICK:
            return False
        own, now_ms = self.moments[told.contact_id][told.moment], self.world.clock.now_ms()
        vouched = sum(of.vouched_ms <= at_ms for of in own)
        return vouched <= sum(of.is_reported(now_ms) for of in own) or self._are_rows_repeated(told)

    def _are_rows_repeated(self, told: Witnessed) -> bool:
        """A report with a row twice on one page vouches for one click too many."""
        mailing, report = told.report
        path = f"/v3/reports/email_reports/{mailing}/tracking/{report}"
        return any(of.fault is Fault.REPEATED_ROWS and of.path == path for of in self.world.server.calls)

    def unsettled(self) -> str | None:
        """A row that is not published, though the rules do not say that it stays owed; or None."""
        now_ms = self.world.clock.now_ms()
        for contact in self.account.contacts():
            id_ = contact_uuid(contact.id)
            if self.is_stopped_for_good(id_):
                continue
            for told in self._wanted(id_, now_ms, self.world.reading):
                if not self._stays_owed(told):
                    return f"a {told.row.kind.report} row of contact {id_} at {told.shown_ms}: {told}"
            if left := self._left_out_of_resync(id_):
                return f"a resync of contact {id_} left out a {left.row.kind.report} row: {left}"
        return None

    def is_stopped_for_good(self, contact_id: str) -> bool:
        """Whether its walk waits for reports, all of which the API refuses."""
        waiting = sum(not ask.is_owed for ask in self.asks.get(contact_id, ()))
        own = self._own(contact_id)
        return waiting >= MAX_ASKS and all(self.answer_of(told) == REFUSED for told in own)

    def is_published(self, campaign_id: str) -> bool:
        """Whether something of a campaign is."""
        own = (told for of in self.by_contact.values() for told in of if told.row.campaign_id == campaign_id)
        return any(told.is_had for told in own)

    def _stays_owed(self, told: Witnessed) -> bool:
        """It asks, and is counted: its report is refused, or shows its contact and not this row."""
        now_ms = self.world.clock.now_ms()
        asks = [ask for ask in self.asks.get(told.contact_id, ()) if self._is_ask_of(ask, told)]
        if not asks:
            return told.row.kind is Kind.CLICK and self._are_rows_repeated(told)
        answer = self.answer_of(told)
        if answer == REFUSED:
            return True
        if answer == GONE or told.is_reported(now_ms) or not self._is_contact_shown(told, now_ms):
            return False
        return all(ask.is_owed for ask in asks)

    def _is_ask_of(self, ask: Ask, told: Witnessed) -> bool:
        return (ask.report.campaign_id, ask.report.type.report, ask.stamp_ms) == told.moment

    def _left_out_of_resync(self, contact_id: str) -> Witnessed | None:
        """A row that a resync did not bring again, though it reaches it."""
        if contact_id not in self.resyncs:
            return None
        since_ms, events_before = self.resyncs[contact_id]
        reading, now_ms = self.world.reading, self.world.clock.now_ms()
        since_ms = max(since_ms, reading.start_ms or 0)
        again = {event.id for event in self.world.published[events_before:]}
        for told in self._own(contact_id):
            is_reached = told.shown_ms >= since_ms <= told.report_ms and told.row.kind in kinds_of(reading)
            if not is_reached or told.vouched_ms > now_ms:
                continue
            own = self.moments[contact_id][told.moment]
            alone = {self.id_of(told.row, reading.account)}
            whole = {self.id_of(of.row, reading.account, Side.CAMPAIGN) for of in own} - alone
            wanted = alone | (whole if len(own) > 1 else {self._whole_id(told)})
            if not wanted & again and not self._stays_owed(told):
                return told
        return None

    def _whole_id(self, told: Witnessed) -> str:
        return self.id_of(told.row, self.world.reading.account, Side.CAMPAIGN)

    def resync_is_done(self, contact_id: str, since_ms: int, events_before: int) -> None:  # noqa: ARG002  as in v2
        if left := self._left_out_of_resync(contact_id):
            self.fail(f"a resync of contact {contact_id} left out a {left.row.kind.report} row")

    def trust_is_right(self) -> None:
        """Nobody earns trust where nobody else publishes."""

    def at_the_end(self, server: Server) -> None:
        super().at_the_end(server)
        if what := self.unsettled():
            self.fail(what)
        for outline in self.world.state.contacts.outlines():
            asks = self.asks.get(outline.id, ())
            owed = sum(ask.is_owed for ask in asks)
            if (outline.asking, outline.owed) != (len(asks), owed):
                self.fail(f"contact {outline.id} counts {outline.owed} owed of {outline.asking}, not {owed}")
            self.world.accidents["owed_at_the_end"] += owed

    def summaries_are_true(self, kinds: Sequence[SummaryKind], campaign_ids: Sequence[str]) -> None:  # noqa: ARG002  v2's
        """A contact's counts are those of its rows, by mailing too. A type that is not read moves none."""
        late_ms = round(self.switches.v3.contact_reports_late_s * SECOND_MS)
        for contact in self.account.contacts():
            id_ = contact_uuid(contact.id)
            if self.is_stopped_for_good(id_) or self._is_summary_out_of_time(id_):
                continue
            rows = self.account.rows_of_contact(contact.id, self.world.clock.now_ms() - late_ms)
            if SummaryKind.CONTACT in kinds:
                self._is_true((SummaryKind.CONTACT.detail_type, id_, ""), counts_of_rows(rows))
            if SummaryKind.CONTACT_CAMPAIGN in kinds:
                self._by_mailing_are_true(id_, rows)

    def _is_summary_out_of_time(self, contact_id: str) -> bool:
        """Whether one is owed, as the contact is told, where a walk may take all of an invocation."""
        stored = self.world.state.contacts.get(contact_id)
        is_owed = stored is not None and any(known.asked_ms is None for known in stored.summaries)
        return is_owed and self.world.are_invocations_short

    def _is_true(self, key: tuple[str, str, str], wanted: Mapping[str, int]) -> None:
        read = {kind.report for kind in kinds_of(self.world.reading)}
        said = self.summaries.get(key)
        if said is None:
            super()._is_true(key, wanted)
        elif said.keys() != wanted.keys() or any(said[name] != wanted[name] for name in read):
            self.fail(f"the last summary {key} is not true: {dict(said)}, not {dict(wanted)}")

    def _by_mailing_are_true(self, contact_id: str, rows: Iterable[Row]) -> None:
        by_mailing: dict[str, list[Row]] = {}
        for row in rows:
            by_mailing.setdefault(self.mailings[row], []).append(row)
        for mailing, own in by_mailing.items():
            key = (SummaryKind.CONTACT_CAMPAIGN.detail_type, contact_id, mailing)
            self._is_true(key, counts_of_rows(own))


def _is_forgotten(mark: Mark, at_ms: int) -> bool:
    return any((span.from_ms or 0) <= at_ms < span.to_ms for span in mark.forgotten)


def _raised_ms(old: Mark, new: Mark) -> int:
    """The end of what is forgotten since; 0 if that is nothing."""
    known = {(span.from_ms, span.to_ms) for span in old.forgotten}
    added = [span.to_ms for span in new.forgotten if (span.from_ms, span.to_ms) not in known]
    return max((to_ms for to_ms in added if to_ms > (old.floor_ms or 0)), default=0)
