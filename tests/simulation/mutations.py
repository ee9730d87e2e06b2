"""Mistakes in the product that the histories must show, and the seeds known to show each.

`python -m tests.simulation --teeth` finds the seeds anew.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path("shared", "contact_activity")


@dataclass(frozen=True, slots=True)
class Mutation:
    """`wrong` stands in `file` where `right` stood, once; `seeds` of `api` are tried before all others."""

    name: str
    file: str
    right: str
    wrong: str
    seeds: tuple[int, ...] = ()
    api: str = "v2"


def run_mutated(mutation: Mutation, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the histories on a copy of the product, made in `folder`, that has this mistake."""
    # With the compiled files, which stay valid for all but the one that changes.
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE)
    path = folder / PACKAGE / mutation.file
    source = path.read_text(encoding="utf-8")
    assert source.count(mutation.right) == 1, f"{mutation.name}: {mutation.file} has another text now"
    path.write_text(source.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--api", mutation.api, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )


PUBLISH = "            self._ports.bus.publish(events, deadline_ms=publish_by_ms(self._deadline_ms))\n"
EVENTS_OF_REPORT = (
    "        events = {id_: [self._event(by_id[id_], row, now_ms) for row in own]"
    " for id_, own in new.items()}\n"
)
MARKED = "        marked = self._with_mark(type_)\n        if resync != self.resync:\n"
TURN_PAGE = "            self._history.turn(page)\n"
REPLACE = "__import__('dataclasses').replace"
MUTATIONS = (
    Mutation(
        "progress is stored before the events are published",
        "use_cases/sync_contact.py",
        "        if fresh.activities and not self._publish_new(fresh, now_ms):\n",
        "        self._held.save_progress(self._history.progress(), goes_on=True)\n"
        "        if fresh.activities and not self._publish_new(fresh, now_ms):\n",
        (10,),
    ),
    Mutation(
        "the watermark moves with every page",
        "use_cases/sync_contact.py",
        TURN_PAGE,
        f"            moved = {REPLACE}(self._held.contact, watermark=self._history.walk.finish())\n"
        f"            self._held.save(moved)\n{TURN_PAGE}",
        (0,),
    ),
    Mutation(
        "what the bus did not take is forgotten",
        "use_cases/sync_contact.py",
        PUBLISH,
        f"            try:\n    {PUBLISH}            except RetryError:\n                pass\n",
        (34, 55),
    ),
    Mutation(
        "there is no overlap",
        "domain/memory.py",
        "through_ms - overlap_h * HOUR_MS",
        "through_ms",
        (4,),
    ),
    Mutation(
        "the limiter goes by the pace that it saw first",
        "sqlite/store.py",
        "                found = _pace_of(seen)\n",
        "                found = self._found = getattr(self, '_found', None) or _pace_of(seen)\n",
        (0,),
    ),
    Mutation(
        "a worker does not see what others took",
        "aws/pace.py",
        "return log.pace_after(len(log.changes) - 1)",
        "return log.pace",
        (33,),
    ),
    Mutation(
        "calls are forgotten where they are folded",
        "aws/pace.py",
        "        pace = log.pace_after(count)\n",
        "        pace = log.pace\n",
        (153,),
    ),
    Mutation(
        "remembered activities are dropped",
        "domain/walk.py",
        "self._known = set(self._remembered)",
        "self._known = set()",
        (0,),
    ),
    Mutation(
        "a cursor that comes again ends the walk",
        "use_cases/read_history.py",
        "        if self._rounds.was_seen(page.next):\n            self._restart()\n",
        "        if self._rounds.was_seen(page.next):\n            self._is_report_read = True\n",
        (90,),
    ),
    Mutation(
        "a quota and a credential are a contact's failure",
        "use_cases/sync_contact.py",
        "            return self._wait(wait)\n",
        "            raise RetryError(str(wait)) from wait\n",
        (1,),
    ),
    Mutation(
        "a walk goes on under other reports",
        "domain/contact.py",
        "progress is None or progress.fingerprint == reading.fingerprint",
        "True",
        (48, 68),
    ),
    Mutation(
        "a resync leaves out what is remembered",
        "domain/walk.py",
        "return self.watermark.resync_ms is not None and key_time_ms(key) >= self.watermark.resync_ms",
        "return False",
        (2, 4),
    ),
    Mutation(
        "a worker that comes too late for its slot calls all the same",
        "state/shared_limiter.py",
        "            if self._clock.monotonic_ms() <= due_ms + LATE_FOR_SLOT_MS:\n                return\n",
        "            return\n",
        (27, 43),
    ),
    Mutation(
        "a call near midnight counts for the day that ends",
        "domain/pace.py",
        "    if midnight_after(at_ms) - at_ms <= ARRIVAL_MARGIN_MS:\n        at_ms = midnight_after(at_ms)\n",
        "",
        (268,),
    ),
    Mutation(
        "who was too fast goes on",
        "constant_contact/client.py",
        "                self._limiter.slow_down(answer.retry_after_s)\n                self._note_retry",
        "                self._note_retry",
        (4,),
    ),
    Mutation(
        "a cursor that expired is a contact that is gone",
        "constant_contact/verdict.py",
        "case 400 | 404 if has_cursor",
        "case 400 if has_cursor",
        (29,),
    ),
    Mutation(
        "a pause ends the others",
        "domain/pauses.py",
        "return Pauses((*self.without(pause.reason).by_reason, pause))",
        "return Pauses((pause,))",
        (133,),
    ),
    Mutation(
        "no listing is a full one after the first",
        "domain/listing.py",
        "is_full = listing.full_ms is None or now_ms - listing.full_ms >= FULL_LISTING_EVERY_MS",
        "is_full = listing.full_ms is None",
        (237,),
    ),
    Mutation(
        "an error names the call that failed",
        "constant_contact/client.py",
        "            return Answer(0, failure=error.cause)\n",
        "            raise RetryError(request.path_url) from None\n",
        (0,),
    ),
    # One line each.
    Mutation(
        "the window begins an hour too late",
        "domain/walk.py",
        "min(forgotten_ms + 1, latest_ms)",
        "min(forgotten_ms + 3_600_000, latest_ms)",
        (4,),
    ),
    Mutation(
        "the window begins with what is forgotten",
        "domain/walk.py",
        "min(forgotten_ms + 1, latest_ms)",
        "min(forgotten_ms, latest_ms)",
        (1,),
    ),
    Mutation(
        "the first activity that is not forgotten is left out",
        "domain/watermark.py",
        "not any(from_ms <= occurred_ms < to_ms for from_ms, to_ms in self.forgotten)",
        "not any(from_ms <= occurred_ms <= to_ms for from_ms, to_ms in self.forgotten)",
        (14,),
    ),
    Mutation(
        "an activity at the very start date is left out",
        "domain/watermark.py",
        "if occurred_ms < self.start_ms:",
        "if occurred_ms <= self.start_ms:",
        (0,),
    ),
    Mutation(
        "a millisecond too little is asked for",
        "domain/walk.py",
        "return since_ms or None",
        "return since_ms + 1",
        (14,),
    ),
    Mutation(
        "the whole history is asked for each time",
        "domain/walk.py",
        "return since_ms or None",
        "return None",
        (0,),
    ),
    Mutation(
        "what one type forgot is not asked for of any",
        "domain/walk.py",
        "since_ms = min(self._windows",
        "since_ms = max(self._windows",
        (11,),
    ),
    Mutation(
        "a resumed walk does not know what it published",
        "domain/walk.py",
        "        walk._known |= walk._candidates\n",
        "",
        (7,),
    ),
    Mutation(
        "a resumed walk does not remember what it published",
        "domain/walk.py",
        "walk._candidates = set(unpack(progress.candidates))",
        "walk._candidates = set()",
        (10,),
    ),
    Mutation(
        "a resumed walk counts as begun later",
        "domain/walk.py",
        "            progress.started_ms,\n",
        "            progress.started_ms + 86_400_000,\n",
        (64, 89),
    ),
    Mutation(
        "a long walk that gives up memory gives up all of it",
        "domain/walk.py",
        "        self._candidates = {*kept, *on_page, *self._partly}\n",
        "        self._candidates = set()\n",
        (7,),
    ),
    Mutation(
        "a long walk does not note what it gave up",
        "domain/walk.py",
        "        self._forgotten_ms = latest(self._forgotten_ms, forgotten_ms)\n",
        "",
        (57,),
    ),
    Mutation(
        "a mark moves back",
        "domain/walk.py",
        "type_: latest(self.watermark.mark(type_).through_ms, self._through.get(type_))",
        "type_: self._through.get(type_)",
        (4,),
    ),
    Mutation(
        "the window is an hour shorter",
        "domain/memory.py",
        "through_ms - overlap_h * HOUR_MS",
        "through_ms - (overlap_h - 1) * HOUR_MS",
        (4,),
    ),
    Mutation(
        "nothing is forgotten",
        "domain/memory.py",
        "kept = ordered[:remembered_min] + [key for key in ordered[remembered_min:] if key >= oldest]",
        "kept = ordered",
        (2,),
    ),
    Mutation(
        "a contact that is out of sight is forgotten",
        "domain/contact.py",
        "            times_gone=times_gone,\n            due_ms=due_after_gone_ms(",
        "            watermark=Watermark(),\n"
        "            times_gone=times_gone,\n            due_ms=due_after_gone_ms(",
        (4,),
    ),
    Mutation(
        "a walk that ran out of time sends no message",
        "use_cases/sync_contact.py",
        "elif not is_time or self._is_shift_ending() or self._ports.queue.send([self._item]):",
        "elif not is_time or self._is_shift_ending():",
        (19,),
    ),
    Mutation(
        "a message of a contact that was synced since costs a call",
        "use_cases/sync_contact.py",
        "    if stored.synced_ms is not None and item.planned_ms <= stored.synced_ms <= now_ms:",
        "    if False:",
        (2,),
    ),
    Mutation(
        "nothing is backfill but what a resync brings",
        "use_cases/sync_contact.py",
        "if activity.occurred_ms < contact.registered_ms:",
        "if False:",
        (0,),
    ),
    Mutation(
        "what a resync brings is no backfill",
        "use_cases/sync_contact.py",
        "return contact.watermark.resync_ms is not None and self._history.walk.is_again(activity)",
        "return False",
        (102,),
    ),
    Mutation(
        "an event does not name its tick",
        "use_cases/sync_contact.py",
        "            correlation_id=self._item.correlation_id,\n        )\n\n    def _wait",
        "        )\n\n    def _wait",
        (0,),
    ),
    Mutation(
        "only the first report is read",
        "use_cases/read_history.py",
        "        return bool(following)\n",
        "        return False\n",
        (0,),
    ),
    Mutation(
        "what was published is not counted",
        "use_cases/sync_contact.py",
        "    if report.by_type:\n",
        "    if False:\n",
        (0,),
    ),
    Mutation(
        "backfill counts as late",
        "use_cases/sync_contact.py",
        "live = (activity for activity in published if not self._is_backfill(activity))",
        "live = published",
        (0,),
    ),
    Mutation(
        "what the bus did not take of a page counts as published",
        "use_cases/sync_contact.py",
        "            accepted = error.accepted\n",
        "            accepted = frozenset(event.id for event in events)\n",
        (7,),
    ),
    Mutation(
        "who waits shortest comes first",
        "sqlite/contacts.py",
        '" ORDER BY due_ms LIMIT ?"',
        '" ORDER BY due_ms DESC LIMIT ?"',
        (21,),
    ),
    Mutation(
        "a contact that is in a message is handed out",
        "sqlite/contacts.py",
        "(queued_until_ms <= ? OR queued",
        "(queued_until_ms <= ? + 9000000 OR queued",
        (0,),
    ),
    Mutation(
        "a contact that is not due is handed out",
        "sqlite/contacts.py",
        "WHERE due_ms <= ? AND (queued",
        "WHERE due_ms <= ? + 9000000 AND (queued",
        (0,),
    ),
    Mutation(
        "a contact that is handed out does not count as out",
        "sqlite/contacts.py",
        "            self._queue_until(ids, schedule.queued_until_ms(now_ms, tick_ms))\n",
        "",
        (0,),
    ),
    Mutation(
        "a write to a contact overwrites another's",
        "sqlite/contacts.py",
        'queued_until_ms = ?, version = version + 1"\n            " WHERE id = ? AND version = ?"',
        'queued_until_ms = ?, version = version + 1"\n            " WHERE id = ? AND ? >= 0"',
        (42,),
    ),
    Mutation(
        "the lag is that of who waits shortest",
        "sqlite/contacts.py",
        "WHERE due_ms <= ? ORDER BY due_ms LIMIT 1",
        "WHERE due_ms <= ? ORDER BY due_ms DESC LIMIT 1",
        (0,),
    ),
    Mutation(
        "two dispatchers work at once",
        "sqlite/store.py",
        'if schedule.is_held(held["until_ms"], now_ms)',
        'if schedule.is_held(held["until_ms"], now_ms + 10**15)',
        (1,),
    ),
    Mutation(
        "a contact that fails again waits no longer",
        "domain/schedule.py",
        "tick_ms << min(failures - 1, 20)",
        "tick_ms",
        (59,),
    ),
    Mutation(
        "the first failure waits for two ticks",
        "domain/schedule.py",
        "tick_ms << min(failures - 1, 20)",
        "tick_ms << min(failures, 20)",
        (5,),
    ),
    Mutation(
        "a contact that is gone once waits for a day",
        "domain/schedule.py",
        "waits_ms[min(times_gone, len(waits_ms)) - 1]",
        "waits_ms[min(times_gone, len(waits_ms) - 1)]",
        (4,),
    ),
    Mutation(
        "a contact is due before it can be handed out",
        "domain/schedule.py",
        "return now_ms + max(tick_ms, contacts",
        "return now_ms + min(tick_ms, contacts",
        (0,),
    ),
    Mutation(
        "a tick hands out half of what can be granted",
        "domain/schedule.py",
        "max(1, calls // calls_each) if calls",
        "max(1, calls // calls_each // 2) if calls",
        (21,),
    ),
    Mutation(
        "a tick hands out as much as if nothing were out",
        "domain/schedule.py",
        "return max(0, contacts - outstanding)",
        "return contacts",
        (21,),
    ),
    Mutation(
        "a shift that is nearly over gets contacts for a whole tick",
        "use_cases/tick.py",
        "until_ms=window.until_ms - NO_CALL_MS if window else now_ms + self.tick_ms",
        "until_ms=now_ms + self.tick_ms",
        (49,),
    ),
    Mutation(
        "an erased contact is back with the next listing",
        "domain/contact.py",
        "return modified_ms is not None and modified_ms > time_ms",
        "return True",
        (0,),
    ),
    Mutation(
        "a credential that is good again is not noticed",
        "use_cases/tick.py",
        "        ports.store.pauses.lift(PauseReason.CREDENTIAL)\n",
        "        pass\n",
        (1,),
    ),
    Mutation(
        "slots have no margin",
        "domain/pace.py",
        "return ceil((1_000 + ARRIVAL_MARGIN_MS) / self.calls_per_second)",
        "return ceil(1_000 / self.calls_per_second)",
        (0,),
    ),
    Mutation(
        "a day has a call too many",
        "domain/pace.py",
        "if used >= limits.calls_per_day:",
        "if used > limits.calls_per_day:",
        (54,),
    ),
    Mutation(
        "a summary says that every count moved",
        "domain/summary.py",
        "if before.get(name) != value)",
        "if True)",
        (2,),
    ),
    # Campaigns' reports.
    Mutation(
        "a report's rows are remembered before the bus has them",
        "use_cases/read_report.py",
        EVENTS_OF_REPORT,
        f"{EVENTS_OF_REPORT}"
        "        before = {id_: memories[id_].keys_of(own, ()) for id_, own in new.items()}\n"
        "        self._remember(by_id, before, set())\n",
        (27,),
    ),
    Mutation(
        "a report gives up a memory that somebody else wrote",
        "use_cases/read_report.py",
        "current = self._ports.store.contacts.get_many(lost) if lost else {}",
        "current = {}",
        (55,),
    ),
    Mutation(
        "what the bus took of a report's page is not remembered",
        "use_cases/read_report.py",
        "            accepted = error.accepted\n",
        "            accepted = frozenset()\n",
        (55,),
    ),
    Mutation(
        "what the bus did not take of a report's page is remembered",
        "use_cases/read_report.py",
        "            accepted = error.accepted\n",
        "            accepted = frozenset(of.id for own in events.values() for of in own)\n",
        (56,),
    ),
    Mutation(
        "a report publishes in probation",
        "use_cases/read_report.py",
        "return self._sample() if self._trust.mode is Mode.PROBATION else self._read_pages()",
        "return self._read_pages()",
        (4,),
    ),
    Mutation(
        "a report is not held",
        "use_cases/read_report.py",
        "        if not self._is_held:\n",
        "        self._is_held = True\n        if not self._is_held:\n",
        (27, 37),
    ),
    Mutation(
        "a report that another worker holds is read",
        "use_cases/read_report.py",
        "    if stored.is_held(now_ms):\n",
        "    if False:\n",
        (34,),
    ),
    Mutation(
        "a report has no backfill",
        "use_cases/read_report.py",
        "backfill=row.occurred_ms < min(contact.registered_ms, now_ms)",
        "backfill=False",
        (2,),
    ),
    Mutation(
        "a report is read on from where it ended",
        "domain/campaign_report.py",
        "OVERLAP_MS = 20 * 60_000",
        "OVERLAP_MS = 0",
        (4,),
    ),
    Mutation(
        "a report is read on from five minutes before it ended",
        "domain/campaign_report.py",
        "OVERLAP_MS = 20 * 60_000",
        "OVERLAP_MS = 5 * 60_000",
        (4,),
    ),
    Mutation(
        "a report ends at rows that are known",
        "use_cases/read_report.py",
        "            if page.next is None:\n",
        "            if page.next is None or self._report.counts.known >= len(page.activities) > 0:\n",
        (134,),
    ),
    Mutation(
        "a report does not know what an unfinished walk published",
        "domain/reported.py",
        '*unpack(progress.candidates if progress else b"")',
        "",
        (48,),
    ),
    Mutation(
        "a report moves a mark",
        "domain/watermark.py",
        MARKED,
        "        keys = list(keys)\n"
        "        marks = (*self.marks, Mark(type_, max(map(key_time_ms, keys))))\n"
        "        marked = self if self.mark(type_) in self.marks else replace(self, marks=marks)\n"
        "        if resync != self.resync:\n",
        (9, 28),
    ),
    Mutation(
        "a report forgets",
        "domain/watermark.py",
        MARKED,
        "        keys = list(keys)\n"
        "        spans = (Span(0, min(map(key_time_ms, keys))),)\n"
        "        marked = replace(self, marks=tuple(replace(of, forgotten=spans) for of in self.marks))\n"
        "        if resync != self.resync:\n",
        (2,),
    ),
    Mutation(
        "a resync brings again what a report published since",
        "domain/watermark.py",
        "        if resync != self.resync:\n",
        "        if True:\n",
        (15,),
    ),
    Mutation(
        "a resync does not bring again what a report published while it was asked for",
        "domain/watermark.py",
        "        if resync != self.resync:\n",
        "        if False:\n",
        (27,),
    ),
    Mutation(
        "a walk publishes the like of what a report published",
        "domain/walk.py",
        "            elif self._is_set_aside(key, activity):\n",
        "            elif False:\n",
        (18,),
    ),
    Mutation(
        "a walk publishes what reports published",
        "domain/walk.py",
        "        self._remembered.update(reported)\n",
        "",
        (2,),
    ),
    Mutation(
        "a message is worked on in any shift",
        "use_cases/work_on.py",
        "        ended = wait_for_shift(item, window, ports)\n"
        "        if ended or window is None:\n"
        "            return ended or Report(Outcome.LATE)\n"
        "        item = replace(item, window=window)\n"
        "        deadline_ms = deadline_in(window, ports, deadline_ms)\n",
        "",
        (2,),
    ),
    Mutation(
        "a memory overwrites another's",
        "sqlite/contacts.py",
        '" asks = ?, version = version + 1 WHERE id = ? AND version = ?"',
        '" asks = ?, version = version + 1 WHERE id = ? AND ? >= 0"',
        (56,),
    ),
    # Where contacts' rows only vouch.
    Mutation(
        "a contact's row is published though its report has it",
        "use_cases/judge_contact.py",
        "    return is_old and not ask.is_elsewhere and asked.has_looked_through(",
        "    return is_old or asked.has_looked_through(",
        seeds=(0,),
        api="v3",
    ),
    Mutation(
        "a contact's row that its report may show under another stamp is published",
        "use_cases/judge_contact.py",
        "    return is_old and not ask.is_elsewhere and asked",
        "    return is_old and asked",
        seeds=(2,),
        api="v3",
    ),
    Mutation(
        "a refusal counts for rows that were met after it",
        "use_cases/judge_contact.py",
        "is_gone = asked.gone_ms is not None and asked.gone_ms >= ask.met_ms",
        "is_gone = asked.gone_ms is not None",
        seeds=(6,),
        api="v3",
    ),
    Mutation(
        "one refusal is believed",
        "use_cases/read_report.py",
        "            self._ports.clock.sleep(CONFIRM_GONE_S)\n            page = self._ask_or_refuse()\n",
        "            pass\n",
        seeds=(0,),
        api="v3",
    ),
    Mutation(
        "equal clicks vouch for one",
        "domain/witness.py",
        '    return _click_key("witness", account, activity, number)\n',
        '    return _click_key("witness", account, activity, 1)\n',
        seeds=(4,),
        api="v3",
    ),
    Mutation(
        "a mailing's report ends at rows that are known",
        "use_cases/read_report.py",
        "            if page.next is None:\n",
        "            if page.next is None or self._report.counts.known >= len(page.activities) > 0:\n",
        seeds=(8,),
        api="v3",
    ),
    Mutation(
        "a mailing's rows are remembered before the bus has them",
        "use_cases/read_report.py",
        EVENTS_OF_REPORT,
        f"{EVENTS_OF_REPORT}"
        "        before = {id_: memories[id_].keys_of(own, ()) for id_, own in new.items()}\n"
        "        self._remember(by_id, before, set())\n",
        seeds=(8, 10),
        api="v3",
    ),
    Mutation(
        "a row that was published for itself is not remembered",
        "use_cases/judge_contact.py",
        "            for type_, keys in walk.note_published(out).items():\n",
        "            for type_, keys in {}.items():\n",
        seeds=(0,),
        api="v3",
    ),
    Mutation(
        "a worker publishes after its shift",
        "domain/shifts.py",
        "    return deadline_ms + NO_CALL_MS - NO_PUBLICATION_MS\n",
        "    return deadline_ms + 10 * NO_CALL_MS\n",
        seeds=(8, 21),
        api="v3",
    ),
    Mutation(
        "a message of v3 is worked on in any shift",
        "use_cases/work_on.py",
        "        ended = wait_for_shift(item, window, ports)\n"
        "        if ended or window is None:\n"
        "            return ended or Report(Outcome.LATE)\n"
        "        item = replace(item, window=window)\n"
        "        deadline_ms = deadline_in(window, ports, deadline_ms)\n",
        "",
        seeds=(0,),
        api="v3",
    ),
    Mutation(
        "a walk's marker drops what asks",
        "use_cases/judge_contact.py",
        "        asks = (*self._asked_for(), *self._history.walk.asks_ahead())\n",
        "        self._asked_for()\n        asks = ()\n",
        seeds=(2, 7),
        api="v3",
    ),
    Mutation(
        "a walk's marker drops what asks on pages that come",
        "use_cases/judge_contact.py",
        "        asks = (*self._asked_for(), *self._history.walk.asks_ahead())\n",
        "        asks = self._asked_for()\n",
        seeds=(19,),
        api="v3",
    ),
    Mutation(
        "a row that asks is forgotten",
        "domain/judging.py",
        "            if from_ms < upper_ms:\n",
        "            if False:\n",
        seeds=(0,),
        api="v3",
    ),
    Mutation(
        "a row that asks is forgotten under the stamp of its report",
        "domain/judging.py",
        "        off_ms = MAX_SHIFT_H * HOUR_MS if may_answer and not self.memory_is_full else 0\n",
        "        off_ms = 0\n",
        seeds=(85,),
        api="v3",
    ),
    Mutation(
        "a resync drops no key",
        "domain/watermark.py",
        "        before = {key for key in unpack(self.remembered) if key_time_ms(key) < from_ms}\n",
        "        before = set(unpack(self.remembered))\n",
        seeds=(1,),
        api="v3",
    ),
)
