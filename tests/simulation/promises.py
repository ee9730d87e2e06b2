"""What must hold all along a history and at its end, whatever happens in it."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

from contact_activity.domain.asks import Ask
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.memory import MAX_REMEMBERED, unpack
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.schedule import queued_until_ms
from contact_activity.domain.shifts import NO_CALL_MS
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import DAY_MS, HOUR_MS, iso, midnight_after, parse_time
from contact_activity.domain.trust import Mode
from contact_activity.domain.walk import MAX_UNDECIDED_PAGES
from contact_activity.domain.watermark import Mark, Reading, Watermark
from contact_activity.domain.work import Outcome, Report, WorkItem
from contact_activity.simulated import Kind, Server, SimulatedAccount, Switches
from contact_activity.simulated.account import Row
from contact_activity.simulated.api_json import shown_ms
from contact_activity.simulated.quota import most_in_a_second
from contact_activity.simulated.server import Call
from contact_activity.simulated.switches import Side
from contact_activity.use_cases.tick_report import TickReport

if TYPE_CHECKING:
    from tests.simulation.stores import Stored
    from tests.simulation.world import Process, World

SUMMARY_TYPES = {kind.detail_type for kind in SummaryKind}
PAGES_A_CRASH_REPEATS = 11
# Rows of one millisecond may be forgotten together.
TIES_MOST = 5
MEMORY_NEARLY_FULL = 2_000
KEY_BYTES = 14
# Slots that lie ahead when a tick begins.
SLOW_STARTS = 10
# How a message ends that does not come to the API.
IDLE = {Outcome.STALE, Outcome.HELD, Outcome.LATE, Outcome.EARLY}


@dataclass(slots=True)
class Told:
    """A row of the account, by what its event must be.

    `contact_id`: as the API's version has it. `is_promised`: it came inside the window in which nothing is
    lost. `is_had`: it was published, under whatever name of the account; `is_kept`: and that was stored.
    """

    row: Row
    contact_id: str
    shown_ms: int
    is_promised: bool
    is_had: bool = False
    is_kept: bool = False


@dataclass
class Promises:
    """Looks at every event, every write and every message of a world."""

    world: "World"
    account: SimulatedAccount
    switches: Switches
    address_domain: str
    by_contact: dict[str, list[Told]] = field(default_factory=dict)
    owed: dict[str, dict[int, Told]] = field(default_factory=dict)
    by_id: dict[str, Told] = field(default_factory=dict)
    # What each of these ids says of the time; another one where the two sides differ.
    shown_ms: dict[str, int] = field(default_factory=dict)
    published_as: dict[str, str] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    activities: set[str] = field(default_factory=set)
    watermarks: dict[str, Watermark] = field(default_factory=dict)
    # By the true clock: since when each contact is read, and the beginning of its last sync that ended.
    reading_since_ms: dict[str, int] = field(default_factory=dict)
    synced_ms: dict[str, int] = field(default_factory=dict)
    # Contacts whose walk was gone on with, of which nobody knows whether an earlier part had news.
    resumed: set[str] = field(default_factory=set)
    # Contacts whose walk began anew for so long that it sets nothing aside any more.
    undecided: set[str] = field(default_factory=set)
    resyncs: dict[str, tuple[int, int]] = field(default_factory=dict)
    resynced_kinds: dict[str, set[Kind]] = field(default_factory=dict)
    summaries: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    summaries_in_doubt: set[str] = field(default_factory=set)
    unreadable_told: set[tuple[str, str]] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    registered: int = 0
    # When the operator had contacts forgotten that were not listed as changed since.
    forgotten_ms: dict[str, int] = field(default_factory=dict)
    settings_changed: bool = False

    def fail(self, what: str) -> NoReturn:
        self.world.fail(what)

    # What the account has.

    def id_of(self, row: Row, account: str, side: Side = Side.CONTACT) -> str:
        kind, campaign_id, contact_id, _, link_id = row.key
        time_ms = str(shown_ms(row, self.switches, side))
        key = [account, kind, campaign_id, contact_id, time_ms, link_id]
        return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]

    def _tell(self, told: Told, account: str) -> None:
        """By both ids, if the two sides show two times."""
        for side in Side:
            id_ = self.id_of(told.row, account, side)
            if id_ not in self.by_id:
                self.by_id[id_] = told
                self.shown_ms[id_] = shown_ms(told.row, self.switches, side)

    def expect(self, row: Row, *, is_promised: bool) -> None:
        told = self._told(row, is_promised=is_promised)
        self.by_contact.setdefault(told.contact_id, []).append(told)
        if self._is_activity_told(told):
            return
        for account in self.accounts | {self.world.reading.account}:
            self._tell(told, account)
        if is_promised:
            self.owed.setdefault(told.contact_id, {})[id(told)] = told

    def _is_activity_told(self, told: Told) -> bool:
        """Whether an equal row came before."""
        return self.id_of(told.row, self.world.reading.account) in self.by_id

    def _told(self, row: Row, *, is_promised: bool) -> Told:
        return Told(row, row.contact_id, shown_ms(row, self.switches), is_promised)

    def account_renamed(self, account: str) -> None:
        """Every id changes, and what is published again under an old name is no repetition."""
        self.accounts |= {self.world.reading.account, account}
        for own in self.by_contact.values():
            for told in own:
                self._tell(told, account)
        self.excused |= set(self.published_as) & set(self.by_id)

    def excuse_before(self, start_ms: int, start_least_ms: int) -> None:
        """The start date moves later: what was asked for and is not read yet may be missed from now on."""
        for owed in self.owed.values():
            for key, told in list(owed.items()):
                if start_least_ms <= told.shown_ms < start_ms:
                    del owed[key]

    def excuse_late(self, late_most_h: float) -> None:
        """The overlap is less: what came in later than that and is not read yet may be missed."""
        for owed in self.owed.values():
            for key, told in list(owed.items()):
                if told.row.inserted_ms - told.shown_ms > late_most_h * HOUR_MS:
                    del owed[key]

    def newest_shown_ms(self, contact_id: str, now_ms: int) -> int:
        times = (
            told.shown_ms
            for told in self.by_contact.get(contact_id, ())
            if told.row.inserted_ms <= now_ms and told.shown_ms <= now_ms
        )
        return max(times, default=now_ms)

    @property
    def is_one_side_shifted(self) -> bool:
        return self.switches.shift is not None and self.switches.shift.side is not None

    # Each event.

    def publishing(self, process: "Process", event: Event) -> None:
        detail = json.loads(event.detail)
        data = json.dumps(detail["data"], sort_keys=True)
        is_again = event.id in self.published_as
        if not self._is_equal(event.id, self.published_as.setdefault(event.id, data), data):
            self.fail(f"two events of the id {event.id} differ in their data")
        if is_again and event.id not in self.excused:
            self.fail(
                f"an event of {process.subject} was published again for no reason{self._known_of(event)}"
            )
        self.excused.discard(event.id)
        told = self.by_id.get(event.id)
        if told and told.contact_id in process.unaware:
            self.excused.add(event.id)
        process.unsaved[event.id] = None
        if not iso(process.began_ms) <= detail["observedtime"] <= iso(process.clock.now_ms()):
            self.fail("an event does not say when it was observed")
        if detail.get("correlationid") not in self.world.ticks:
            self.fail("an event does not say which tick it comes from")
        if event.detail_type in SUMMARY_TYPES:
            self._summary(event, detail, is_again=is_again)
        else:
            self._activity(process, event, detail, is_again=is_again)

    def _is_equal(self, event_id: str, before: str, now: str) -> bool:
        """A click whose contact's row lacks the URL has it where the campaign tells it."""
        told = self.by_id.get(event_id)
        has_two = self.world.has_ever_reports and self.switches.missing_fields_share > 0
        if before == now or told is None or told.row.kind is not Kind.CLICK or not has_two:
            return before == now
        one, other = json.loads(before), json.loads(now)
        if len({"url" in data["link"] for data in (one, other)}) == 2:
            self.world.accidents["url_on_one_side"] += 1
        for data in (one, other):
            data["link"].pop("url", None)
        return bool(one == other)

    def _known_of(self, event: Event) -> str:
        told = self.by_id.get(event.id)
        if told is None:
            return f": {event.detail_type}"
        row = told.row
        late_h = (row.inserted_ms - told.shown_ms) / HOUR_MS
        kept = "stored" if told.is_kept else "not stored"
        return f": {row.kind.report} at {told.shown_ms}, {late_h:.1f} h late, {kept}"

    def _activity(
        self, process: "Process", event: Event, detail: Mapping[str, object], *, is_again: bool
    ) -> None:
        told = self.by_id.get(event.id)
        if told is None:
            self.fail(f"the event {event.id} is of no activity of the account")
        self.activities.add(event.id)
        at_ms = self.shown_ms[event.id]
        self._data_is_true(told, detail["data"], at_ms)
        if process.is_report:
            self._backfill_of_report_is_true(process, told, detail["backfill"], at_ms)
        else:
            self._backfill_is_true(process, told, event.id, detail["backfill"], is_again=is_again)
        # A walk that a resync asked for is finished as it was begun.
        readings = [process.reading, process.reading if process.is_report else self._reading_of(process)]
        if all(at_ms < (reading.start_ms or 0) for reading in readings):
            self.fail("an activity before the start date was published")
        for other in self._other_ids(event.id):
            if other not in self.published_as:
                continue
            if other not in self.excused and not self._gives_up_memory(told.contact_id):
                self.fail(f"an activity of {process.subject} was published under both of its times")
            self.world.accidents["published_under_both_times"] += 1
        told.is_had = True
        self.owed.get(told.contact_id, {}).pop(id(told), None)

    def _gives_up_memory(self, contact_id: str) -> bool:
        """Whether a walk cannot tell at its end what it has shown, or comes to none: it publishes at once."""
        return contact_id in self.undecided or len(self.by_contact.get(contact_id, ())) > 2 * MAX_REMEMBERED

    def _other_ids(self, event_id: str) -> set[str]:
        """Under the same name of the account, where one side shows another time."""
        row = self.by_id[event_id].row
        for account in self.accounts | {self.world.reading.account}:
            ids = {self.id_of(row, account, side) for side in Side}
            if event_id in ids:
                return ids - {event_id}
        return set()

    def _data_is_true(self, told: Told, data: object, at_ms: int) -> None:
        assert isinstance(data, dict)
        own = dict(told.row.own)
        if data["contact"]["id"] != told.contact_id or data["campaign"]["id"] != self._campaign_id(told):
            self.fail("an event names another contact or campaign than its row")
        if data["contact"].get("email_address", told.row.email_address) != told.row.email_address:
            self.fail("an event has another address than its row")
        if data["activity"]["occurred_at"] != iso(at_ms):
            self.fail("an event has another time than its row")
        link = data.get("link", {})
        if link.get("url", own.get("link_uri")) != own.get("link_uri") or link.get("id") != own.get(
            "link_id"
        ):
            self.fail("an event has another link than its row")
        if data.get("bounce", {}).get("code") != own.get("bounce_code"):
            self.fail("an event has another bounce than its row")
        if data.get("unsubscribe", {}).get("source") != own.get("unsubscribe_source"):
            self.fail("an event has another source of unsubscription than its row")

    def _campaign_id(self, told: Told) -> str:
        return told.row.campaign_id

    def _backfill_of_report_is_true(self, process: "Process", told: Told, said: object, at_ms: int) -> None:
        """Older than its contact here; a report brings nothing again."""
        contact = process.seen.get(told.contact_id)
        if contact is None:
            self.fail(f"{process.subject} publishes of a contact that it did not look at")
        if contact.registered_ms <= process.clock.now_ms() and said is not (at_ms < contact.registered_ms):
            self.fail(f"an event of a report says backfill {said}, and it is not so")

    def _backfill_is_true(
        self, process: "Process", told: Told, event_id: str, said: object, *, is_again: bool
    ) -> None:
        """Older than its contact here; and what a resync brings again."""
        contact = process.contact
        if contact is None or process.reading.account in self.accounts:
            return
        if contact.registered_ms > process.clock.now_ms():
            # By a clock that was ahead; it counts as registered when this sync began.
            return
        floors = [mark.floor_ms or 0 for mark in contact.watermark.marks]
        if told.shown_ms < contact.registered_ms:
            wanted: bool | None = True
        elif contact.watermark.resync_ms is None:
            wanted = False
        elif any(other in self.published_as for other in self._other_ids(event_id)):
            # A resync brings it under its contact's time, which may be new.
            wanted = None
        elif told.is_kept and is_again:
            wanted = True
        else:
            wanted = False if told.shown_ms >= max(floors, default=0) and not is_again else None
        if wanted is not None and said is not wanted:
            self.fail(f"an event says backfill {said}, and it is not so")

    def _summary(self, event: Event, detail: Mapping[str, object], *, is_again: bool) -> None:
        data = detail["data"]
        assert isinstance(data, dict)
        key = (
            event.detail_type,
            data.get("contact", {}).get("id", ""),
            data.get("campaign", {}).get("id", ""),
        )
        before, now = self.summaries.get(key), data["summary"]
        moved = [name for name in now if before is None or before.get(name) != now[name]]
        if not is_again and not self.summaries_in_doubt & set(key[1:]) and data["changed"] != moved:
            self.fail(f"a summary says that {data['changed']} changed, and {moved} did")
        self.summaries[key] = now

    def given_up(self, process: "Process") -> None:
        """A process that crashed, or that AWS failed: what it published and did not store may come again."""
        page = (self.world.page_rows + TIES_MOST) * self._pages_a_crash_repeats(process)
        own = [id_ for id_ in process.unsaved if id_ in self.by_id]
        if len(own) > page:
            self.fail(f"a crash repeats {len(own)} events, of pages of {self.world.page_rows}")
        self.excused |= set(process.unsaved)
        self.summaries_in_doubt.add(process.subject)
        process.unsaved.clear()

    def _pages_a_crash_repeats(self, process: "Process") -> int:
        return 1 if process.is_report else PAGES_A_CRASH_REPEATS

    # Each write, and the reading before it.

    def read(self, contact: Contact) -> None:
        """A sync begins, or the walk of an earlier one goes on."""
        if contact.progress is None:
            self.reading_since_ms[contact.id] = self.world.clock.now_ms()
        else:
            self.resumed.add(contact.id)
        goes_on = contact.continued(self.world.reading)[0].progress
        self.undecided.discard(contact.id)
        if goes_on and goes_on.undecided_pages >= MAX_UNDECIDED_PAGES:
            self.undecided.add(contact.id)

    def saved(self, process: "Process", before: "Stored | None", contact: Contact) -> None:
        """A watermark never moves back, and never passes an activity that is not published."""
        if before is None or before.version != contact.version:
            self.fail(f"a write to contact {contact.id} overwrote another's")
        for event_id in process.unsaved:
            if told := self.by_id.get(event_id):
                told.is_kept = True
            elif process.met_operator:
                # Who gives way keeps what it published of the activity alone.
                self.excused.add(event_id)
                self.summaries_in_doubt.add(process.subject)
        process.unsaved.clear()
        self._marks_hold(process, contact)
        if process.is_reading and contact.held_until_ms is not None and contact.progress is None:
            # Taken in hand: nothing is known of it yet that was not before.
            self.watermarks[contact.id] = contact.watermark
            return
        self._floor_is_right(process, contact)
        if self.is_resync_open(contact.id) and contact.watermark.resync_ms is None:
            kinds = kinds_of(process.reading) & kinds_of(self._reading_of(process))
            self.resynced_kinds[contact.id] = kinds
        self.watermarks[contact.id] = contact.watermark
        self._is_due_in_time(process, contact)
        stored = self.world.stores.look(contact.id)
        if stored and contact.progress is None and stored.queued_until_ms and not contact.failures:
            self.fail(f"contact {contact.id} is in no message, and counts as if it were")
        is_synced = not (contact.progress or contact.failures or contact.times_gone)
        # Who gives way writes of another's sync, which was looked at when that was written.
        is_own = contact.synced_ms != before.synced_ms
        if contact.synced_ms is not None and is_synced and is_own and process.is_reading:
            self.synced_ms[contact.id] = self.reading_since_ms[contact.id]
            at_ms = process.true_ms(contact.synced_ms)
            if self.world.clock_error_most_ms:
                # A sync that began by another clock.
                at_ms = min(at_ms, self.synced_ms[contact.id])
            self.nothing_is_missing(contact.id, at_ms, process.reading, self._reading_of(process))

    def remembered(
        self, process: "Process", looked: "Stored | None", before: Contact, after: Contact
    ) -> None:
        """A report adds to the memory, and changes nothing else but what waits for it."""
        stored = self.world.stores.look(after.id)
        if looked is None or stored is None or stored.queued_until_ms != looked.queued_until_ms:
            self.fail(f"a report changed whether contact {after.id} is in a message")
        old, new = before.watermark, after.watermark
        watermark = replace(old, marks=new.marks, remembered=new.remembered, reported=new.reported)
        kept = replace(before, version=before.version + 1, due_ms=after.due_ms, watermark=watermark)
        kept = replace(kept, asks=self._asks_left(process, before, after))
        if kept != after or after.due_ms > before.due_ms:
            self.fail(f"a report changed more of contact {after.id} than its memory")
        known = {mark.type for mark in old.marks}
        if [mark for mark in new.marks if mark.type in known] != list(old.marks):
            self.fail(f"a report moved a mark of contact {after.id}")
        if any(mark != Mark(mark.type) for mark in new.marks if mark.type not in known):
            self.fail(f"a report made a mark of contact {after.id} that says something")
        memory = {*unpack(new.remembered), *unpack(new.reported)}
        if not {*unpack(old.remembered), *unpack(old.reported)} <= memory:
            self.fail(f"a report lost memory of contact {after.id}")
        for event_id in list(process.unsaved):
            told = self.by_id.get(event_id)
            if told and told.contact_id == after.id:
                told.is_kept = self._key_of(event_id) in memory
                if not told.is_kept and not self._is_wanted_again(process, event_id, after):
                    self.fail(f"what a report published of contact {after.id} is not remembered")
                del process.unsaved[event_id]
        self.watermarks[after.id] = new

    def _asks_left(
        self,
        process: "Process",  # noqa: ARG002  v3's
        before: Contact,
        after: Contact,  # noqa: ARG002  v3's
    ) -> tuple[Ask, ...]:
        """What still asks after a report showed some rows of a contact."""
        return before.asks

    def _is_wanted_again(self, process: "Process", event_id: str, after: Contact) -> bool:  # noqa: ARG002  v3's
        """Whether a resync was asked for since that report looked at the contact."""
        return False

    def _key_of(self, event_id: str) -> bytes:
        return self.shown_ms[event_id].to_bytes(6) + bytes.fromhex(event_id[:16])

    def report_handled(self, process: "Process", report: Report) -> None:
        calls, outcome, world = len(process.calls), report.outcome, self.world
        world.accidents[f"report_{outcome}"] += 1
        world.accidents["rows_left_to_contacts"] += report.rows_left
        world.accidents["rows_shifted_in_report"] += report.rows_shifted
        if calls and (process.was_paused or outcome in IDLE):
            self.fail(f"a report that is {outcome} cost a call")
        for event_id in list(process.unsaved):
            contact_id = self.by_id[event_id].contact_id
            if world.state.contacts.get(contact_id) is not None and not process.met_operator:
                self.fail(f"what a report published of contact {contact_id} was not remembered")
            self.excused.add(event_id)
            del process.unsaved[event_id]

    def _reading_of(self, process: "Process") -> Reading:
        """A long walk may be finished as it was begun, whatever the settings are by now."""
        progress = process.contact and process.contact.progress
        if not progress or progress.fingerprint == process.reading.fingerprint:
            return process.reading
        return process.reading.as_begun(progress.fingerprint) or process.reading

    def _marks_hold(self, process: "Process", contact: Contact) -> None:
        old, now_ms = self.watermarks.get(contact.id, Watermark()), process.clock.now_ms()
        for mark in old.marks:
            now = contact.watermark.mark(mark.type)
            # But to the beginning of the sync, where a clock was ahead.
            least = [min(time_ms or 0, process.began_ms) for time_ms in (mark.through_ms, mark.floor_ms)]
            if (now.through_ms or 0) < least[0] or (now.floor_ms or 0) < least[1]:
                self.fail(f"a mark of contact {contact.id} moved back")
        for mark in contact.watermark.marks:
            latest_ms = now_ms + self.world.clock_error_most_ms
            if (mark.through_ms or 0) > latest_ms:
                self.fail(f"a mark of contact {contact.id} lies in the future")
        floor_ms = max((mark.floor_ms or 0 for mark in contact.watermark.marks), default=0)
        known = {*unpack(contact.watermark.remembered), *unpack(contact.watermark.reported)}
        lost = {*unpack(old.remembered), *unpack(old.reported)} - known
        if any(int.from_bytes(key[:6]) >= floor_ms for key in lost):
            self.fail(f"memory of contact {contact.id} was lost")

    def _floor_is_right(self, process: "Process", contact: Contact) -> None:
        """Only what is beyond the newest and older than the window is forgotten, and all of that."""
        old, reading, watermark = (
            self.watermarks.get(contact.id, Watermark()),
            process.reading,
            contact.watermark,
        )
        raised = [
            mark.floor_ms
            for mark in watermark.marks
            if mark.floor_ms is not None and mark.floor_ms > (old.mark(mark.type).floor_ms or 0)
        ]
        keys = len(watermark.remembered + watermark.reported) // KEY_BYTES
        if keys >= MEMORY_NEARLY_FULL:
            return
        through_ms = max((mark.through_ms or 0 for mark in watermark.marks), default=0)
        oldest_ms = through_ms - reading.overlap_h * HOUR_MS
        if raised and max(raised) > oldest_ms:
            self.fail(f"contact {contact.id} forgot what is inside the window")
        if raised and keys < reading.remembered_min - TIES_MOST:
            self.fail(f"contact {contact.id} remembers {keys} activities, not {reading.remembered_min}")
        if (
            self.settings_changed
            or watermark == old
            or self.is_one_side_shifted
            or watermark.resync_ms is not None
            or not process.is_reading
            or contact.progress
            or len(kinds_of(reading)) < len(Kind)
        ):
            return
        if contact.synced_ms is not None and not contact.failures and not contact.times_gone:
            newest_ms = min(through_ms, contact.synced_ms)
            old_keys = unpack(watermark.remembered)[reading.remembered_min :]
            limit_ms = newest_ms - reading.overlap_h * HOUR_MS
            if through_ms and any(int.from_bytes(key[:6]) < limit_ms for key in old_keys):
                self.fail(f"contact {contact.id} remembers more than it must")

    def _is_due_in_time(self, process: "Process", contact: Contact) -> None:
        """Cadence after a sync, back-off after a failure."""
        if not process.is_reading or process.contact is None or process.met_others:
            return
        if process.met_operator:
            return
        wait_ms = contact.due_ms - process.clock.now_ms()
        tick_ms = self.world.tick_ms
        if contact.failures > process.contact.failures:
            wanted_ms = min(DAY_MS, tick_ms * 2 ** (contact.failures - 1))
            if wait_ms != wanted_ms:
                self.fail(f"a contact that failed {contact.failures} times waits {wait_ms} ms")
        elif contact.times_gone > process.contact.times_gone:
            if self.world.api.cursor in process.calls[-1].query:
                self.fail(f"contact {contact.id} counts as gone by what was said of a cursor")
            ladder_ms = (tick_ms, DAY_MS, 7 * DAY_MS, 14 * DAY_MS, 28 * DAY_MS)
            if wait_ms != ladder_ms[min(contact.times_gone, len(ladder_ms)) - 1]:
                self.fail(f"a contact that was gone {contact.times_gone} times waits {wait_ms} ms")
        elif self._reading_of(process) == process.reading and not (
            contact.failures or contact.times_gone or contact.progress
        ):
            limits = self.world.limits
            a_day = min(limits.calls_per_day, DAY_MS / limits.slot_ms)
            each_ms = process.reading.calls_each * DAY_MS / a_day
            least_ms = max(tick_ms, self.world.contacts_listed_least() * each_ms * 0.99 - 1)
            # A full listing counts those that it shows, also the erased, which are new when they are back.
            counted = self.registered + self.world.accidents["contact_erased"]
            # Reports may take nine tenths of the day.
            are_read = self.world.state.reports.feed().report_calls_a_day(process.clock.now_ms()) > 0
            most_ms = max(tick_ms, counted * each_ms * (10.1 if are_read else 1.01) + 1)
            if not least_ms <= wait_ms <= most_ms:
                self.fail(f"a contact that was synced waits {wait_ms} ms, not {least_ms} to {most_ms}")

    def registered_page(
        self,
        listed: Sequence[ListedContact],
        before: Mapping[str, "Stored | None"],
        now_ms: int,
        new: int,
        *,
        is_full: bool,
    ) -> None:
        """A listing adds, wakes those that are gone and changed (a full one: all it shows), and no more.

        One that was erased is added only if it was edited after that.
        """
        self.registered += new
        left_out = {
            contact.id for contact in listed if before[contact.id] is None and self._is_left_out(contact)
        }
        if new != sum(stored is None for stored in before.values()) - len(left_out):
            self.fail(f"a listing counts {new} new contacts")
        for contact in listed:
            old, stored = before[contact.id], self.world.stores.look(contact.id)
            if contact.id in left_out:
                if stored is not None:
                    self.fail("a contact that was erased and not edited after that is known again")
                continue
            self.forgotten_ms.pop(contact.id, None)
            if stored is None or stored.modified_date != contact.modified_date:
                self.fail("a listed contact is not stored as it was listed")
            if old is None:
                continue
            is_woken = old.times_gone > 0 and (is_full or old.modified_date != contact.modified_date)
            if is_woken and stored.due_ms > now_ms:
                self.fail("a contact that was gone and changed is not due")
            if not old.times_gone and stored.due_ms != old.due_ms:
                self.fail("a listing moved when a contact is due")
            if stored.version != old.version or stored.queued_until_ms != old.queued_until_ms:
                self.fail("a listing touched what a worker stored")

    def _is_left_out(self, contact: ListedContact) -> bool:
        forgotten_ms = self.forgotten_ms.get(contact.id)
        return forgotten_ms is not None and (parse_time(contact.modified_date) or 0) <= forgotten_ms

    def _is_free(self, outline: ContactOutline, now_ms: int) -> bool:
        """In no message; or as a clock that was ahead said it, longer than any message is waited for."""
        return not now_ms < outline.queued_until_ms <= now_ms + 3 * self.world.tick_ms

    def claimed(
        self,
        before: Sequence[ContactOutline],
        ids: Sequence[str],
        so_far: Sequence[str],
        began_ms: int,
        claimed_ms: range,
    ) -> None:
        """Some of those that are due and in no message, oldest first; `so_far` in this tick.

        Taken at `claimed_ms`, in a tick that began to hand out at `began_ms`.
        """
        if not set(ids) <= set(self._free(before, claimed_ms[-1])):
            self.fail("a contact was handed out that is not due, or is in a message")
        if self.world.is_index_stale:
            return
        free = self._free(before, began_ms)
        left = [due_ms for id_, due_ms in free.items() if id_ not in so_far]
        taken = [free[id_] for id_ in ids if id_ in free]
        if left and taken and max(taken) > min(left):
            self.fail("a contact that waits longer was left for one that waits less")
        for id_ in ids:
            stored = self.world.stores.look(id_)
            if stored and stored.queued_until_ms - queued_until_ms(0, self.world.tick_ms) not in claimed_ms:
                self.fail("a contact that is handed out does not count as out")

    def all_claimed(
        self, before: Sequence[ContactOutline], ids: Sequence[str], now_ms: int, most: int
    ) -> None:
        """Each of them once, and of those that are due no fewer than asked for."""
        if len(ids) > most or len(set(ids)) < len(ids):
            self.fail("more contacts were claimed than were asked for")
        if not self.world.is_index_stale and len(ids) < min(most, len(self._free(before, now_ms))):
            self.fail("a contact that is due was left")

    def _free(self, before: Sequence[ContactOutline], now_ms: int) -> dict[str, int]:
        return {o.id: o.due_ms for o in before if o.due_ms <= now_ms and self._is_free(o, now_ms)}

    # Each message.

    def handled(self, process: "Process", message: WorkItem, before: "Stored | None", report: Report) -> None:
        calls, outcome, now_ms = len(process.calls), report.outcome, process.began_ms
        synced_ms = before.synced_ms if before else None
        was_synced = synced_ms is not None
        if synced_ms is not None and message.planned_ms <= synced_ms <= now_ms and calls:
            self.fail("a message of a contact that was synced since cost a call")
        if outcome is Outcome.STALE and not was_synced and not process.met_others:
            self.fail("a contact that was never synced counts as synced")
        if process.was_paused and calls:
            self.fail("a call in a pause")
        window = process.item.window if process.item else None
        is_ending = window is not None and window.is_ending(process.clock.now_ms())
        is_sent = process.sent or process.refused
        is_stopped = self._is_stopped_by_asks(message)
        if outcome is Outcome.UNFINISHED and report.pages and not (is_sent or is_ending or is_stopped):
            self.fail("a walk that is not done has no message to go on with")
        if outcome is Outcome.EARLY and not is_sent:
            self.fail("a message that came early is not sent again")
        is_left = outcome in {Outcome.PAUSED, Outcome.LATE} or (outcome is Outcome.UNFINISHED and not is_sent)
        self.world.accidents[f"contact_{outcome}"] += 1
        self.world.accidents["rows_shifted_in_walk"] += report.counts.shifted
        stored = self.world.stores.look(message.id)
        if is_left and stored and stored.queued_until_ms > now_ms and not process.met_others:
            self.fail("a contact that is left alone still counts as out")
        for digest in report.unreadable:
            told = (message.id, digest)
            if told in self.unreadable_told and not self.world.chances_ever:
                self.fail("an unreadable row was told twice")
            self.unreadable_told.add(told)

    def _is_stopped_by_asks(self, message: WorkItem) -> bool:  # noqa: ARG002  v3's
        """Whether a walk waits for reports."""
        return False

    def failed(self, process: "Process", message: WorkItem) -> None:
        """A message that fails is counted once, so that its contact waits longer each time."""
        known, stored = process.contact, self.world.state.contacts.get(message.id)
        if process.met_others or self.world.chances_ever or known is None or stored is None:
            return
        failed_ms = known.failed_ms or 0
        is_again = message.planned_ms < failed_ms <= process.clock.now_ms()
        wanted = known.failures + (not is_again)
        if stored.failures != wanted:
            self.fail(f"a contact that failed {wanted} times counts {stored.failures} failures")

    def ticked(self, process: "Process", report: TickReport, calls_left_before: int) -> None:
        """A tick hands out what can be granted before the next, and says what is so."""
        world, now_ms = self.world, process.clock.now_ms()
        if process.met_others or world.is_index_stale or world.clock_error_most_ms:
            return
        if report.enqueued > process.sent and report.campaigns_failed is None:
            self.fail("a tick says that it handed out more than it did")
        due = [outline for outline in world.state.contacts.outlines() if outline.due_ms <= now_ms]
        lag_ms = max((now_ms - outline.due_ms for outline in due), default=0)
        if report.lag_ms != lag_ms:
            self.fail(f"a tick says that the lag is {report.lag_ms} ms, not {lag_ms}")
        if (report.calls_used or 0) < world.calls_by_day[now_ms // DAY_MS] and not world.chances_ever:
            self.fail("a tick counts fewer calls than were made")
        if report.enqueued + report.rejected > process.claimed + process.urgent:
            self.fail("a tick hands out contacts that are neither due nor urgent")
        if process.depth_seen is None or not process.claimed or world.has_reports:
            # Reports have a part of the day.
            return
        free = [of for of in due if of.due_ms <= process.began_ms and self._is_free(of, now_ms)]
        is_all = not free or report.rejected > 0
        self._is_as_much_as_can_be_granted(process, calls_left_before, is_all=is_all)

    def _is_as_much_as_can_be_granted(
        self, process: "Process", calls_left_before: int, *, is_all: bool
    ) -> None:
        """No more, beside what was out, and no less; `is_all`: there was nothing else to hand out."""
        handed, out = process.claimed, process.depth_seen or 0
        each, limits = process.reading.calls_each, self.world.limits
        from_ms, until_ms = self._turn_of_contacts(process)
        slots = (until_ms - from_ms) // limits.slot_ms
        by_day = calls_left_before
        if midnight_after(process.began_ms) < until_ms:
            by_day += limits.calls_per_day
        most = max(1, min(slots, by_day) // each)
        if handed + out > most:
            self.fail(f"a tick hands out {handed} beside {out}, of {most} that can be granted")
        spent = len(process.calls) + 2 + SLOW_STARTS
        least = (min(slots, by_day) - spent) // each
        if not is_all and handed + out < least:
            self.fail(f"a tick hands out {handed} beside {out}, of {least} that can be granted")

    def _turn_of_contacts(self, process: "Process") -> tuple[int, int]:
        """From when until when those that a tick claims are called for: a tick, or the rest of their shift.

        A dispatcher that starts within a stored tick works by the shifts of that one.
        """
        from_ms, world = process.claims_began_ms, self.world
        shifts = world.state.reports.shifts() if world.has_shifts else None
        if shifts is None:
            return from_ms, from_ms + world.tick_ms
        return max(from_ms, shifts.contacts.from_ms), shifts.contacts.until_ms - NO_CALL_MS

    def pausing(self, process: "Process", pause: Pause, *, is_left: bool, is_known: bool) -> None:
        """Nobody pauses for a quota that is not used up, or for a credential that was refused once."""
        if pause.reason is PauseReason.QUOTA:
            if is_left and not process.is_day_used_up:
                self.fail("a pause for a quota that is not used up")
            now_ms = process.clock.now_ms()
            until_ms = pause.until_ms or 0
            hour_ms = now_ms + HOUR_MS
            least_ms, most_ms = sorted((hour_ms - 1, midnight_after(now_ms)))
            if not is_left and until_ms != midnight_after(now_ms):
                self.fail("a pause for the day's calls does not end with the day")
            if is_left and process.is_day_used_up and not least_ms - 120_000 <= until_ms <= most_ms + HOUR_MS:
                self.fail("a pause for others' calls ends neither in an hour nor with the day")
        if pause.reason is PauseReason.CREDENTIAL:
            if not is_known and process.refusals() < 2:
                self.fail("a credential that was refused once is given up")
            if process.is_neutral_call_accepted():
                self.fail("a credential is given up that the API had just accepted")

    # The end.

    def nothing_is_missing(self, contact_id: str, at_ms: int, *readings: Reading) -> None:
        """Of what each of the readings would show."""
        start_ms = max(reading.start_ms or 0 for reading in readings)
        kinds = set(Kind).intersection(*map(kinds_of, readings))
        for told in self.owed.get(contact_id, {}).values():
            row = told.row
            if row.inserted_ms <= at_ms and told.shown_ms >= start_ms and row.kind in kinds:
                late_h = (row.inserted_ms - told.shown_ms) / HOUR_MS
                self.fail(f"a {row.kind.report} row of contact {contact_id}, {late_h:.1f} h late, was passed")

    def resync_is_done(self, contact_id: str, since_ms: int, events_before: int) -> None:
        """A resync brings the types that were read when it was worked off, and no others later."""
        again = {event.id for event in self.world.published[events_before:]}
        reading = self.world.reading
        since_ms = max(since_ms, reading.start_ms or 0)
        kinds = kinds_of(reading) & self.resynced_kinds.get(contact_id, set(Kind))
        had = {id(self.by_id[id_]) for id_ in again if id_ in self.by_id}
        for told in self.by_contact.get(contact_id, ()):
            if told.shown_ms < since_ms or told.row.kind not in kinds:
                continue
            if told.row.inserted_ms > self.world.clock.now_ms():
                continue
            same = self.by_id[self.id_of(told.row, reading.account)]
            if id(same) not in had:
                self.fail(f"a resync of contact {contact_id} left out a {told.row.kind.report} row")

    def resync_asked(self, contact_id: str, since_ms: int) -> None:
        """What it reaches may come again, also what a worker publishes before it learns of it."""
        known = self.resyncs.get(contact_id)
        self.resynced_kinds.pop(contact_id, None)
        self.resyncs[contact_id] = (since_ms, len(self.world.published))
        if known and known[0] < since_ms and self.is_resync_open(contact_id):
            since_ms = known[0]
            self.resyncs[contact_id] = (since_ms, len(self.world.published))
        for id_, told in self.by_id.items():
            if told.contact_id == contact_id and id_ in self.published_as:
                self._excuse_since(since_ms, id_, told)

    def _excuse_since(self, since_ms: int, id_: str, told: Told) -> None:
        if told.shown_ms >= since_ms:
            self.excused.add(id_)

    def is_resync_open(self, contact_id: str) -> bool:
        known = self.watermarks.get(contact_id)
        return known is not None and known.resync_ms is not None

    def erased(self, contact_id: str) -> None:
        self.watermarks.pop(contact_id, None)
        self.resyncs.pop(contact_id, None)
        self.summaries_in_doubt.add(contact_id)
        for told in self.by_contact.get(contact_id, ()):
            told.is_kept = False
        own = {id_ for id_, told in self.by_id.items() if told.contact_id == contact_id}
        self.excused |= own & set(self.published_as)
        for event_id in self.published_as:
            if event_id not in self.by_id and f'"{contact_id}"' in self.published_as[event_id]:
                self.excused.add(event_id)
        self.unreadable_told = {told for told in self.unreadable_told if told[0] != contact_id}

    def trust_is_right(self) -> None:
        """Other times than the contacts' are never trusted, and the same times never distrusted."""
        trust, shift = self.world.state.reports.trust(), self.switches.shift
        self.world.accidents.update(f"type_in_{of.mode}" for of in trust.types.values())
        for type_, of in trust.types.items():
            is_shifted = self.is_one_side_shifted and shift is not None and type_.report in shift.reports
            if is_shifted and shift is not None and not shift.from_ms and of.mode is Mode.PUBLISH:
                self.fail(f"the reports of {type_.report} are trusted, and their times are others")
            has_two = type_.report == "clicks" and self.switches.missing_fields_share
            if of.mode is Mode.OFF and not is_shifted and not has_two:
                self.fail(f"the reports of {type_.report} are switched off, and show what contacts show")

    def at_the_end(self, server: Server) -> None:
        for contact in self.account.contacts():
            id_ = self.world.api.contact_id(contact.id)
            self.nothing_is_missing(id_, self.world.clock.now_ms(), self.world.reading)
            if id_ in self.resyncs:
                self.resync_is_done(id_, *self.resyncs[id_])
        if server.violations:
            self.fail(f"the API was asked what it refuses: {server.violations[0]}")
        self.nothing_is_told()

    def summaries_are_true(self, kinds: Sequence[SummaryKind], campaign_ids: Sequence[str]) -> None:
        """What was published last of each contact and campaign is what was done."""
        now_ms = self.world.clock.now_ms()
        everyone: list[Row] = []
        for contact in self.account.contacts():
            rows = self.account.rows_of_contact(contact.id, now_ms)
            everyone += rows
            if SummaryKind.CONTACT in kinds:
                self._is_true((SummaryKind.CONTACT.detail_type, contact.id, ""), counts_of(rows))
            if SummaryKind.CONTACT_CAMPAIGN in kinds:
                for campaign_id in {row.campaign_id for row in rows}:
                    own = [row for row in rows if row.campaign_id == campaign_id]
                    counts = counts_of(own) | {
                        "clicks": len({row.key[-1] for row in own if row.kind is Kind.CLICK})
                    }
                    del counts["sends"], counts["unsubscribes"]
                    self._is_true((SummaryKind.CONTACT_CAMPAIGN.detail_type, contact.id, campaign_id), counts)
        for campaign_id in campaign_ids:
            contacts = {(row.kind, row.contact_id) for row in everyone if row.campaign_id == campaign_id}
            counts = dict(Counter(kind.report for kind, _ in contacts))
            wanted = {kind.report: counts.get(kind.report, 0) for kind in Kind}
            self._is_true((SummaryKind.CAMPAIGN.detail_type, "", campaign_id), wanted)

    def _is_true(self, key: tuple[str, str, str], wanted: Mapping[str, int]) -> None:
        said = self.summaries.get(key)
        if said != wanted:
            self.fail(f"the last summary {key} is not true: {said}, not {dict(wanted)}")

    def calls_are_within_limits(self, calls: Sequence[Call]) -> None:
        most = most_in_a_second(call.at_s for call in calls)
        if most > self.world.calls_per_second:
            self.fail(f"{most} calls in a second")
        days = Counter(call.at.date() for call in calls)
        if days and max(days.values()) > self.world.limits_most.calls_per_day:
            self.fail(f"{max(days.values())} calls in a day")

    def nothing_is_told(self) -> None:
        """No token, no key and no address is in a log line, a metric, a trace or a message."""
        messages = [d.message for d in self.world.queue] + self.world.dead_letters
        said = self.world.journal.text + repr(messages)
        for secret in (*self.world.secrets, self.address_domain):
            if secret in said:
                at = said.index(secret)
                self.fail(f"a secret or an address was told: {said[max(0, at - 80) : at + 40]!r}")


def asked_from(watermark: Watermark, report: str, start_ms: int) -> int:
    """The earliest activity of a type that is neither before the start date nor forgotten."""
    since_ms = start_ms
    for mark in watermark.marks:
        if mark.type.report == report:
            for span in mark.forgotten:
                if (span.from_ms or 0) <= since_ms:
                    since_ms = max(since_ms, span.to_ms)
    return since_ms


def counts_of(rows: Sequence[Row]) -> dict[str, int]:
    counts = Counter(row.kind.report for row in rows)
    return {kind.report: counts[kind.report] for kind in Kind}


def kinds_of(reading: Reading) -> set[Kind]:
    return {kind for kind in Kind if reading.reports == ("all",) or kind.report in reading.reports}
