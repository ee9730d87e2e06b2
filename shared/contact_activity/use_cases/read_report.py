"""Reads one campaign's report of one type, and publishes what is new to the contacts that it names.

What is published is remembered by each contact, right after the bus has it, and nowhere else. A crash in
between costs at most a second publication of one part of a page, with equal ids.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from contact_activity.domain import schedule
from contact_activity.domain.activity import Activity, ActivityType, derive_id
from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId, ReportProgress
from contact_activity.domain.contact import Contact
from contact_activity.domain.event import Event, data_digest, to_event
from contact_activity.domain.freshness import by_bucket
from contact_activity.domain.paging import MAX_RESTARTS, Rounds
from contact_activity.domain.reported import ContactMemory, Memory, Standing, lacks_url, once_each
from contact_activity.domain.shifts import publish_by_ms
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.trust import Mode, SampledRow, TypeTrust
from contact_activity.domain.vouching import VouchingMemory
from contact_activity.domain.witness import NO_EDGE, numbered
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkPolicy
from contact_activity.errors import (
    FatalError,
    PartlyAcceptedError,
    RefusedError,
    RetryError,
    StandstillError,
    WaitError,
    WaitReason,
    describe,
)
from contact_activity.ports import WorkPorts
from contact_activity.use_cases import link_urls
from contact_activity.use_cases.change_trust import change_trust
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.report_access import MissingRightError, confirm_right, note_answer

MAX_PAGES = 20
PAGES_BETWEEN_MARKERS = 5
# Contacts whose rows are published and remembered together: a crash repeats at most so much.
CONTACTS_AT_ONCE = 100
CONFIRM_GONE_S = 1.0
CURSORS_DID_NOT_HOLD = "the API's cursors did not hold until the end of the report"


def read_report(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Read the report of an item, or take a sample of it while its type is not trusted yet.

    A report that fails is no failed message: it is due again later, and the contacts' own walks carry it
    (where they only vouch, what they ask of it stays owed).
    Raises `StandstillError` if nothing can be stored, and an error that nobody foresaw.
    """
    now_ms = ports.clock.now_ms()
    if ports.store.pauses.get().active(now_ms):
        return Report(Outcome.PAUSED)
    id_ = ReportId.parse(item.id)
    stored = ports.store.reports.get(id_) if id_ else None
    if stored is None or stored.due_ms is None:
        return Report(Outcome.STALE)
    if stored.read_ms is not None and item.planned_ms <= stored.read_ms <= now_ms:
        return Report(Outcome.STALE)
    if stored.is_held(now_ms):
        return Report(Outcome.HELD)
    if policy.reading.is_witnessed and ports.store.reports.access().most_tried(now_ms) == 0:
        return Report(Outcome.REFUSED)
    return _Read(stored.set_right(now_ms), item, ports, policy, deadline_ms).run()


class UnknownReportError(RefusedError):
    """The API says that there is no such report."""


class _Read:
    """One item being worked on."""

    def __init__(
        self, report: CampaignReport, item: WorkItem, ports: WorkPorts, policy: WorkPolicy, deadline_ms: int
    ) -> None:
        self._stored = report
        self._item = item
        self._ports = ports
        self._policy = policy
        self._deadline_ms = deadline_ms
        self._type = report.id.type
        self._trust = trust_of(self._type, ports, policy)
        self._read = report.begun(ports.clock.now_ms(), self._trust.since_ms)
        self._rounds = Rounds.resume(
            self._read.pages, self._read.kept_page, self._read.repeats, self._read.empty_pages
        )
        self._is_held = False
        self._has_asked_for_urls = False
        self._watched = ports.store.reports.watched(report.id.campaign_id)
        self._report = Report(Outcome.UNFINISHED)
        self._numbered: dict[str, list[tuple[Activity, int]]] = {}
        self._next_edge = NO_EDGE

    def run(self) -> Report:
        if self._trust.mode is Mode.OFF:
            return Report(Outcome.STALE)
        try:
            self._report.outcome = self._read_or_wait()
        except StandstillError:
            raise
        except Exception as error:
            # Any error: trying again at every tick would cost calls of the day, for ever.
            self._fail(error)
            if not isinstance(error, RetryError | FatalError):
                raise
        finally:
            self._count_published()
        return self._report

    def _read_or_wait(self) -> Outcome:
        try:
            return self._sample() if self._trust.mode is Mode.PROBATION else self._read_pages()
        except WaitError as wait:
            pause_for(wait, self._ports.store.pauses)
            return self._stop(is_paused=wait.reason is not WaitReason.TIME)

    def _read_pages(self) -> Outcome:
        for _ in range(MAX_PAGES if self._item.pages is None else min(MAX_PAGES, self._item.pages)):
            page = self._next_page()
            if page is None:
                continue
            if not self._take(page):
                return Outcome.RACE_LOST
            is_sampled = self._report.pages == 1 and not self._policy.reading.is_witnessed
            if is_sampled and self._trust.is_sample_due(self._ports.clock.now_ms()):
                self._take_sample_of(page)
            if page.next is None:
                return self._finish()
            self._turn(page, page.next)
            if self._report.pages % PAGES_BETWEEN_MARKERS == 0 and not self._save_progress():
                return Outcome.RACE_LOST
        return self._stop(is_paused=False)

    def _next_page(self) -> TrackingPage | None:
        """The next page, or None if the cursor expired and the read begins again.

        Raises `RefusedError` for a campaign that does not exist or is refused, and what the source raises.
        """
        page = self._ask_or_refuse()
        if page is Refusal.GONE and self._policy.reading.is_witnessed:
            # A contact's row may be published for want of it, so that it is asked for twice.
            self._ports.clock.sleep(CONFIRM_GONE_S)
            page = self._ask_or_refuse()
        if page is Refusal.GONE:
            raise UnknownReportError("the API does not know this report")
        if page is Refusal.NEXT_EXPIRED:
            self._begin_again()
            return None
        assert isinstance(page, TrackingPage)  # noqa: S101  the other refusals are handled
        return page

    def _ask_or_refuse(self) -> TrackingPage | Refusal:
        """Ask. A report that is refused counts as one that is not there, if the API gives others.

        Raises `MissingRightError` if it may be for want of a right.
        """
        try:
            return self._ask()
        except RefusedError as error:
            if not self._policy.reading.is_witnessed or not error.is_forbidden:
                raise
            confirm_right(self._ports, self._stored.id, error, deadline_ms=self._deadline_ms)
        try:
            return self._ask()
        except RefusedError as error:
            if not error.is_forbidden:
                raise
            raise UnknownReportError("the API refuses this report, and gives others") from None

    def _ask(self) -> TrackingPage | Refusal:
        return self._ports.source.campaign_report(
            self._stored.id.campaign_id,
            self._type,
            since_ms=self._read.since_ms,
            next_=self._read.next,
            deadline_ms=self._deadline_ms,
        )

    def _turn(self, page: TrackingPage, next_: str) -> None:
        if self._rounds.are_endless(_digest(page), is_empty=page.is_empty):
            self._read = _from_first_page(self._read)
            raise FatalError("the API's pages go round, each with another cursor")
        if self._rounds.was_seen(next_):
            self._begin_again()
        else:
            self._read = replace(
                self._read,
                next=next_,
                pages=self._rounds.pages,
                kept_page=str(self._rounds.kept),
                repeats=self._rounds.repeats,
                empty_pages=self._rounds.empty,
                edge=self._next_edge,
            )

    def _begin_again(self) -> None:
        """Read from the first page again. The contacts know what is published."""
        self._report.restarts += 1
        self._rounds = Rounds()
        self._read = replace(_from_first_page(self._read), restarts=self._read.restarts + 1)
        if self._read.restarts > MAX_RESTARTS:
            self._read = replace(self._read, restarts=0)
            raise RetryError(CURSORS_DID_NOT_HOLD)

    def _take(self, page: TrackingPage) -> bool:
        """Publish what is new on a page. False if another worker has the report in hand."""
        self._report.pages += 1
        if self._report.pages == 1 and self._policy.reading.is_witnessed:
            note_answer(self._ports.store.reports, self._stored.id)
        self._report.counts.rows += len(page.activities)
        # Before rows collapse: each of a contact's clicks in one moment vouches by itself.
        if self._policy.reading.is_witnessed:
            self._number(page.activities)
        rows = once_each(self._policy.reading.account, self._with_urls(page.activities))
        self._report.counts.collapsed += len(page.activities) - len(rows)
        newest = [
            time_ms for time_ms in (self._read.newest_ms, *(row.occurred_ms for row in rows)) if time_ms
        ]
        self._read = replace(
            self._read,
            newest_ms=max(newest, default=None),
            rows=self._read.rows + len(page.activities),
        )
        by_contact: dict[str, list[Activity]] = {}
        for row in rows:
            by_contact.setdefault(row.contact_id, []).append(row)
        contacts = self._ports.store.contacts.get_many(list(by_contact))
        self._report.rows_unknown += sum(len(own) for id_, own in by_contact.items() if id_ not in contacts)
        known = iter(contacts.values())
        while part := list(islice(known, CONTACTS_AT_ONCE)):
            if not self._take_part(part, by_contact):
                return False
        return True

    def _take_part(self, contacts: Sequence[Contact], rows: Mapping[str, Sequence[Activity]]) -> bool:
        now_ms = self._ports.clock.now_ms()
        memories = {contact.id: self._memory_of(contact, now_ms) for contact in contacts}
        new: dict[str, list[Activity]] = {}
        known: dict[str, list[Activity]] = {}
        left: list[str] = []
        for contact_id, memory in memories.items():
            for row in rows[contact_id]:
                match memory.standing(row):
                    case Standing.NEW:
                        new.setdefault(contact_id, []).append(row)
                    case Standing.KNOWN:
                        known.setdefault(contact_id, []).append(row)
                        self._report.counts.known += 1
                    case Standing.OUTSIDE:
                        self._report.counts.out_of_window += 1
                    case standing:
                        self._leave(row, left, is_shifted=standing is Standing.SHIFTED)
        if new and not self._hold():
            return False
        by_id = {contact.id: contact for contact in contacts}
        accepted: frozenset[str] = frozenset()
        events = {id_: [self._event(by_id[id_], row, now_ms) for row in own] for id_, own in new.items()}
        try:
            if events:
                all_events = [event for own in events.values() for event in own]
                self._ports.bus.publish(all_events, deadline_ms=publish_by_ms(self._deadline_ms))
                accepted = frozenset(event.id for event in all_events)
        except PartlyAcceptedError as error:
            accepted = error.accepted
            raise
        finally:
            out = {
                id_: [row for row, event in zip(own, events[id_], strict=True) if event.id in accepted]
                for id_, own in new.items()
            }
            keys = {
                id_: own
                for id_, memory in memories.items()
                if (own := memory.keys_of(out.get(id_, ()), known.get(id_, ())))
            }
            self._report.late_details += sum(memory.late_details for memory in memories.values())
            self._remember(by_id, keys, set(left))
            self._note_published(by_id, events, out, accepted, now_ms)
        return True

    def _number(self, activities: Sequence[Activity]) -> None:
        """Number the rows of a page by contact."""
        numbers, self._next_edge = numbered(activities, self._read.edge, is_report=True)
        self._numbered = {}
        for row, number in zip(activities, numbers, strict=True):
            self._numbered.setdefault(row.contact_id, []).append((row, number))

    def _memory_of(self, contact: Contact, now_ms: int) -> Memory:
        contact, reading = contact.set_right(now_ms), self._policy.reading
        if not reading.is_witnessed:
            return ContactMemory(contact, reading, now_ms)
        return VouchingMemory(contact, reading, self._numbered[contact.id])

    def _leave(self, row: Activity, left: list[str], *, is_shifted: bool) -> None:
        """Leave a row to its contact, which is read soon if the row was not met before."""
        self._report.rows_left += 1
        is_met_first = self._read.since_ms is None or row.occurred_ms > (self._stored.through_ms or 0)
        if is_met_first and not self._read.restarts:
            # Of one person who opens at whole hours only one row counts.
            self._report.rows_shifted += is_shifted and row.contact_id not in left
            left.append(row.contact_id)

    def _remember(
        self, contacts: Mapping[str, Contact], keys: Mapping[str, set[bytes]], left: set[str]
    ) -> None:
        """Add what is published to the memory of its contacts, whoever else writes them meanwhile."""
        met = {id_ for id_, contact in contacts.items() if contact.met_in(self._stored.id) is not contact}
        before = {id_: contacts[id_].watermark.resync for id_ in {*keys, *left, *met}}
        current = {id_: contacts[id_] for id_ in before}
        now_ms = self._ports.clock.now_ms()
        while current:
            due = {id_ for id_ in left if id_ in current and current[id_].due_ms > now_ms}
            changed = [
                replace(
                    self._with_keys(contact, keys.get(id_, set()), before[id_]).met_in(self._stored.id),
                    due_ms=now_ms if id_ in due else contact.due_ms,
                )
                for id_, contact in current.items()
                if id_ in keys or id_ in due or id_ in met
            ]
            lost = self._ports.store.contacts.remember(changed, due=due)
            self._count_answered(current, changed, lost)
            # Who was erased meanwhile is not there any more.
            current = self._ports.store.contacts.get_many(lost) if lost else {}
        if left:
            self._ports.store.reports.add_urgent(left)

    def _with_keys(
        self, contact: Contact, keys: set[bytes], resync: tuple[int | None, int | None]
    ) -> Contact:
        if not keys:
            return contact
        if self._policy.reading.is_witnessed:
            return contact.vouched(self._type, keys, resync)
        return replace(contact, watermark=contact.watermark.with_reported(self._type, keys, resync))

    def _count_answered(
        self, before: Mapping[str, Contact], after: Iterable[Contact], lost: Collection[str]
    ) -> None:
        answered = sum(len(before[of.id].asks) - len(of.asks) for of in after if of.id not in lost)
        if answered:
            self._read = replace(self._read, answered=self._read.answered + answered)

    def _note_published(
        self,
        contacts: Mapping[str, Contact],
        events: Mapping[str, Sequence[Event]],
        out: Mapping[str, Sequence[Activity]],
        accepted: frozenset[str],
        now_ms: int,
    ) -> None:
        detail_types = [of.detail_type for own in events.values() for of in own if of.id in accepted]
        self._report.by_type.update(detail_types)
        self._read = replace(self._read, news=self._read.news + len(detail_types))
        live = [
            row for id_, own in out.items() for row in own if row.occurred_ms >= contacts[id_].registered_ms
        ]
        self._report.ages_s.extend(max(0, now_ms - row.occurred_ms) // 1_000 for row in live)

    def _with_urls(self, rows: Sequence[Activity]) -> Sequence[Activity]:
        """The rows, with the URL of each link that is clicked: a campaign's report has only its id."""
        if self._type is not ActivityType.CLICKED or self._policy.reading.is_witnessed:
            return rows
        link_ids = {row.link.id for row in rows if row.link and row.link.id and link_urls.lacks_url(row)}
        return link_urls.with_urls(rows, self._decided(link_ids))

    def _decided(self, link_ids: set[str]) -> WatchedCampaign:
        """The campaign with the URLs of these links. It is asked once a read."""
        watched = self._watched or WatchedCampaign(self._stored.id.campaign_id, self._stored.sent_ms)
        if not link_ids <= set(watched.urls) and not self._has_asked_for_urls:
            self._has_asked_for_urls = True
            told = self._ports.source.campaign(watched.id, deadline_ms=self._deadline_ms)
            if not isinstance(told, Refusal):
                watched = watched.told(told)
                self._ports.store.reports.put_watched(watched)
        self._watched = link_urls.decided(watched, link_ids, self._ports.store.reports)
        return self._watched

    def _event(self, contact: Contact, row: Activity, now_ms: int) -> Event:
        return to_event(
            row,
            account=self._policy.reading.account,
            email_addresses=self._policy.email_addresses,
            observed_ms=now_ms,
            backfill=row.occurred_ms < min(contact.registered_ms, now_ms),
            correlation_id=self._item.correlation_id,
            parent_id=self._stored.parent_id,
        )

    def _sample(self) -> Outcome:
        """Take a sample instead of publishing anything."""
        page = self._next_page()
        if page:
            self._take_sample_of(page)
        put_off = self._stored.put_off(self._ports.clock.now_ms(), self._policy.tick_ms)
        self._ports.store.reports.save(put_off)
        self._report.pages += 1
        return Outcome.SAMPLED

    def _take_sample_of(self, page: TrackingPage) -> None:
        """Note what some contacts' rows of a page look like, to be compared with their own."""
        now_ms = self._ports.clock.now_ms()
        rows = self._sampled_rows(page, now_ms)
        if rows:
            self._take_sample(rows, now_ms)

    def _sampled_rows(self, page: TrackingPage, now_ms: int) -> dict[str, list[SampledRow]]:
        """The rows of a page that their contacts show too, if nothing is wrong."""
        reading, found = self._policy.reading, dict[str, list[SampledRow]]()
        rows = once_each(reading.account, self._with_urls(page.activities))
        contacts = self._ports.store.contacts.get_many(list({row.contact_id for row in rows}))
        memories = {
            id_: ContactMemory(contact, reading, now_ms)
            for id_, contact in contacts.items()
            if not contact.failures and not contact.times_gone
        }
        for row in rows:
            memory = memories.get(row.contact_id)
            if not memory or lacks_url(row):
                continue
            if memory.standing(row) not in (Standing.OUTSIDE, Standing.LEFT):
                digest = data_digest(row, reading.account, self._policy.email_addresses)
                sampled = SampledRow(derive_id(reading.account, row), row.occurred_ms, digest)
                found.setdefault(row.contact_id, []).append(sampled)
        return found

    def _take_sample(self, rows: Mapping[str, Sequence[SampledRow]], now_ms: int) -> None:
        reports = self._ports.store.reports
        trust = change_trust(
            reports,
            self._type,
            lambda of: of.sampled(rows, now_ms) if of.is_sample_due(now_ms) else of,
        )
        reports.add_urgent(list(trust.pending))

    def _hold(self) -> bool:
        """Hold the report before the first publication. False if another worker wrote it since."""
        if not self._is_held:
            left_ms = self._deadline_ms - self._ports.clock.monotonic_ms()
            until_ms = schedule.held_until_ms(self._ports.clock.now_ms(), left_ms)
            self._is_held = self._save(replace(self._stored, held_until_ms=until_ms))
        return self._is_held

    def _save(self, report: CampaignReport) -> bool:
        if not self._ports.store.reports.save(report):
            return False
        self._stored = replace(report, version=report.version + 1)
        return True

    def _save_progress(self) -> bool:
        return self._save(replace(self._stored, progress=self._read))

    def _finish(self) -> Outcome:
        now_ms = self._ports.clock.now_ms()
        finished = self._stored.finished(
            self._read, now_ms, self._policy.tick_ms, answered=self._read.answered > 0
        )
        if self._stored.is_sent_again(self._read):
            sent_ms = min(now_ms, self._read.newest_ms or now_ms)
            self._watch_anew(sent_ms, now_ms)
            finished = replace(finished, sent_ms=sent_ms, due_ms=now_ms)
        return Outcome.READ if self._save(finished) else Outcome.RACE_LOST

    def _watch_anew(self, sent_ms: int, now_ms: int) -> None:
        """The campaign was sent once more: its other reports are due now. One that is in hand comes later."""
        reports = self._ports.store.reports
        for type_ in self._policy.reading.types:
            other = reports.get(ReportId(self._stored.id.campaign_id, type_))
            if other and type_ is not self._type:
                reports.save(other.sent_again(sent_ms, now_ms))

    def _stop(self, *, is_paused: bool) -> Outcome:
        """Keep how far it is; the report stays due. While its shift goes on, another message does."""
        has_read = self._report.pages or self._report.restarts
        if has_read and not self._save(self._stored.interrupted(self._read)):
            return Outcome.RACE_LOST
        if is_paused:
            return Outcome.PAUSED
        if self._goes_on(has_read=bool(has_read)):
            pages = self._item.pages
            left = None if pages is None else pages - self._report.pages - self._report.restarts
            self._ports.queue.send([replace(self._item, pages=left)])
        return Outcome.UNFINISHED

    def _goes_on(self, *, has_read: bool) -> bool:
        """Whether another message goes on in this shift: it has pages left, or was not begun."""
        window, pages = self._item.window, self._item.pages
        if pages is not None and self._report.pages + self._report.restarts >= pages:
            return False
        if window is None:
            return has_read
        return not window.is_ending(self._ports.clock.now_ms())

    def _fail(self, error: Exception) -> None:
        is_forbidden = isinstance(error, MissingRightError)
        self._report.outcome = Outcome.REFUSED if is_forbidden else Outcome.FAILED
        self._report.error = describe(error)
        read = self._read if self._report.pages else self._stored.progress
        failed = self._stored.failed(
            describe(error),
            read,
            is_refused=isinstance(error, RefusedError) and not is_forbidden,
            is_gone=isinstance(error, UnknownReportError),
            is_forbidden=is_forbidden,
            now_ms=self._ports.clock.now_ms(),
            tick_ms=self._policy.tick_ms,
        )
        self._save(failed)

    def _count_published(self) -> None:
        now_ms = self._ports.clock.now_ms()
        published, shifted = self._report.by_type, self._report.rows_shifted
        if (published or shifted) and not self._policy.reading.is_witnessed:
            change_trust(
                self._ports.store.reports,
                self._type,
                lambda of: of.counted(news=published.total(), shifted=shifted, now_ms=now_ms),
            )
        if published:
            ages: Counter[int] = by_bucket(self._report.ages_s)
            self._ports.store.tally.add(now_ms // DAY_MS, published, ages)


def trust_of(type_: ActivityType, ports: WorkPorts, policy: WorkPolicy) -> TypeTrust:
    """How far a type is trusted. Where contacts' rows only vouch, nothing else publishes."""
    if policy.reading.is_witnessed:
        return TypeTrust(Mode.PUBLISH)
    return ports.store.reports.trust().of(type_)


def _from_first_page(read: ReportProgress) -> ReportProgress:
    begun = replace(read, next=None, rows=0, pages=0, kept_page=None, repeats=0, empty_pages=0)
    return replace(begun, edge=NO_EDGE)


def _digest(page: TrackingPage) -> str:
    """The same in every process."""
    return hashlib.sha256(repr((page.activities, page.unreadable)).encode()).hexdigest()[:16]
