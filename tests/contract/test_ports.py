"""The contract of the ports. Each test runs on SQLite and on both local AWS."""

import json
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contact_activity.domain.activity import Activity, ActivityType, Bounce, BounceCategory
from contact_activity.domain.campaign import Campaign, WatchedCampaign
from contact_activity.domain.campaign_feed import CampaignFeed
from contact_activity.domain.campaign_report import Asked, CampaignReport, ReportId, ReportProgress
from contact_activity.domain.contact import Contact, ContactOutline, ListedContact
from contact_activity.domain.event import EVENT_SOURCE, EmailAddresses, Event, to_event
from contact_activity.domain.freshness import ENDS_S
from contact_activity.domain.listing import Listing, TickFailure
from contact_activity.domain.memory import MAX_REMEMBERED, MAX_UNREADABLE
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import ReportAccess
from contact_activity.domain.schedule import longest_waits, standing
from contact_activity.domain.shifts import Shifts
from contact_activity.domain.summary import (
    COUNT_NAMES,
    MAX_CAMPAIGNS,
    Published,
    Summarized,
    SummaryCounts,
    SummaryKind,
)
from contact_activity.domain.times import DAY_MS, iso, midnight_after
from contact_activity.domain.trust import Match, Mode, SampledRow, Trust, TypeTrust
from contact_activity.domain.watermark import Mark, Progress, Span, Watermark
from contact_activity.domain.work import WorkItem, WorkKind
from contact_activity.errors import WaitError, WaitReason
from contact_activity.ports import Contacts, Limiter, Reports
from contact_activity.state.reports import MAX_DUE, MAX_URGENT
from tests.support.families import Family
from tests.support.items import of_campaign, of_contact
from tests.support.virtual_clock import VirtualClock

NOW_MS = 1_795_435_200_000
TICK_MS = 15 * 60_000
UNTIL_MS = NOW_MS + 2 * TICK_MS
FOUR_A_SECOND = Limits(calls_per_second=4, calls_per_day=9_000)
THREADS = 16
T = TypeVar("T")

MARKS = (
    Mark(ActivityType.OPENED, NOW_MS - 5, (Span(0, 900), Span(NOW_MS - 1_000, NOW_MS - 900))),
    Mark(ActivityType.SENT, None, (Span(None, 7),)),
    Mark(ActivityType.CLICKED),
)
PROGRESS = Progress(
    started_ms=NOW_MS,
    fingerprint="default all None",
    report="all",
    next="bmV4dD0x",
    candidates=bytes(range(28)),
    unreadable=bytes(range(8)),
    through=((ActivityType.CLICKED, NOW_MS - 77), (ActivityType.SENT, 1)),
    forgotten_ms=None,
    restarts=1,
)
SYNCED = {
    "due_ms": NOW_MS + DAY_MS,
    "synced_ms": NOW_MS + 1,
    "failures": 2,
    "last_error": "the API failed 3 times: the connection is refused",
    "failed_ms": NOW_MS - 3,
    "watermark": Watermark(
        MARKS, bytes(range(140)), bytes(range(16)), NOW_MS - 5, NOW_MS - 4, bytes(range(28))
    ),
    "summaries": (
        Summarized(SummaryKind.CONTACT, NOW_MS, (Published("", 3, SummaryCounts(9, 4, 0, 0, 1, 2)),)),
        Summarized(
            SummaryKind.CONTACT_CAMPAIGN,
            None,
            (
                Published("111", 0, SummaryCounts(opens=1, clicks=0)),
                Published("1117643206590", 12, SummaryCounts(bounces=1)),
            ),
        ),
    ),
}


def register(contacts: Contacts, *ids: str, now_ms: int = NOW_MS, modified: str = "2026-11-01") -> int:
    return contacts.register([ListedContact(id_, modified) for id_ in ids], now_ms)


def claim(contacts: Contacts, most: int = 100, now_ms: int = NOW_MS) -> list[str]:
    claims = contacts.claim(VirtualClock(now_ms), tick_ms=TICK_MS, most=most)
    return [id_ for ids in claims for id_ in ids]


def stored(contacts: Contacts, contact_id: str) -> Contact:
    contact = contacts.get(contact_id)
    assert contact is not None
    return contact


def save(contacts: Contacts, contact_id: str, **changes: object) -> Contact:
    changed = replace(stored(contacts, contact_id), **changes)  # type: ignore[arg-type]
    assert contacts.save(changed)
    return replace(changed, version=changed.version + 1)


def at_once(do: Callable[[int], T], times: int = THREADS) -> list[T]:
    """Call `do` in so many threads, which start together."""
    barrier = threading.Barrier(times)

    def wait_and_do(number: int) -> T:
        barrier.wait()
        return do(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(wait_and_do, range(times)))


class TestContacts:
    def test_a_registered_contact_is_new_once_and_due_at_once(self, family: Family) -> None:
        """It counts as new when it is first listed, and is due from then on."""
        assert register(family.contacts, "4711", "4712") == 2
        assert register(family.contacts, "4712", "4713", "4713", now_ms=NOW_MS + 1) == 1
        assert family.contacts.get("4712") == Contact("4712", registered_ms=NOW_MS, due_ms=NOW_MS)

    def test_an_unknown_contact_is_none(self, family: Family) -> None:
        """A contact that was never listed."""
        assert family.contacts.get("4711") is None

    def test_an_empty_page_registers_nothing(self, family: Family) -> None:
        """No contact is new."""
        assert register(family.contacts) == 0

    def test_a_page_of_contacts_is_registered_whole(self, family: Family) -> None:
        """Also a page with many more contacts than threads."""
        ids = [f"contact-{number}" for number in range(60)]
        assert register(family.contacts, *ids) == 60
        assert sorted(claim(family.contacts)) == sorted(ids)

    def test_registering_never_touches_what_a_worker_stored(self, family: Family) -> None:
        """A contact that is listed again, changed or not, keeps its stored state."""
        register(family.contacts, "4711")
        saved = save(family.contacts, "4711", **SYNCED, progress=PROGRESS)
        for modified in ("2026-11-01", "2026-11-22"):
            register(family.contacts, "4711", now_ms=NOW_MS + 9, modified=modified)
            assert stored(family.contacts, "4711") == saved

    def test_a_gone_contact_is_due_again_when_it_changed(self, family: Family) -> None:
        """Nothing else of it changes. An unchanged one stays as it is."""
        register(family.contacts, "4711")
        gone = save(family.contacts, "4711", due_ms=NOW_MS + 7 * DAY_MS, times_gone=1)
        assert register(family.contacts, "4711", now_ms=NOW_MS + 5, modified="2026-11-01") == 0
        assert stored(family.contacts, "4711") == gone
        assert register(family.contacts, "4711", now_ms=NOW_MS + 6, modified="2026-11-22") == 0
        assert stored(family.contacts, "4711") == replace(gone, due_ms=NOW_MS + 6)

    def test_a_gone_contact_is_made_due_once_for_a_change(self, family: Family) -> None:
        """A change that was listed before does not make it due again."""
        register(family.contacts, "4711")
        save(family.contacts, "4711", due_ms=NOW_MS + 7 * DAY_MS, times_gone=1)
        register(family.contacts, "4711", modified="2026-11-22")
        gone = save(family.contacts, "4711", due_ms=NOW_MS + 14 * DAY_MS, times_gone=2)
        register(family.contacts, "4711", modified="2026-11-22")
        assert stored(family.contacts, "4711") == gone

    def test_claims_take_the_oldest_first(self, family: Family) -> None:
        """At most as many as asked for, in the order of their due times."""
        due_ms = {f"contact-{number}": NOW_MS - 100 + 7 * number % 31 for number in range(31)}
        for contact_id, due in due_ms.items():
            register(family.contacts, contact_id, now_ms=due)
        oldest_first = sorted(due_ms, key=lambda contact_id: due_ms[contact_id])
        assert claim(family.contacts, most=5) == oldest_first[:5]
        assert claim(family.contacts, most=100) == oldest_first[5:]

    def test_a_claimed_contact_is_not_claimed_again(self, family: Family) -> None:
        """Not before its claim is over. Then it is due as before."""
        register(family.contacts, "4711")
        assert claim(family.contacts) == ["4711"]
        assert claim(family.contacts, now_ms=UNTIL_MS - 1) == []
        assert claim(family.contacts, now_ms=UNTIL_MS) == ["4711"]

    def test_a_contact_that_is_not_due_is_not_claimed(self, family: Family) -> None:
        """It can be claimed from its due time on."""
        register(family.contacts, "4711")
        assert claim(family.contacts, now_ms=NOW_MS - 1) == []
        assert claim(family.contacts, now_ms=NOW_MS) == ["4711"]

    def test_claims_get_past_those_in_messages(self, family: Family) -> None:
        """The next due contacts are found, however many older ones are in messages."""
        register(family.contacts, *(f"old-{number}" for number in range(50)), now_ms=NOW_MS - 2)
        register(family.contacts, *(f"new-{number}" for number in range(5)), now_ms=NOW_MS - 1)
        assert len(claim(family.contacts, most=50)) == 50
        assert sorted(claim(family.contacts, most=2) + claim(family.contacts, most=3)) == [
            f"new-{number}" for number in range(5)
        ]

    # moto is asked one request at a time, so that there nobody meets anybody.
    @pytest.mark.parametrize(
        "family", ["embedded", "emulator", pytest.param("moto", marks=pytest.mark.long)], indirect=True
    )
    def test_simultaneous_claims_are_disjoint(self, family: Family) -> None:
        """Dispatchers that run at once never claim the same contact."""
        register(family.contacts, *(f"contact-{number}" for number in range(40)))
        claims = at_once(lambda _: claim(family.contacts, most=10), times=8)
        claimed = [contact_id for ids in claims for contact_id in ids]
        assert len(claimed) == len(set(claimed)) == 40

    def test_a_stalled_tick_does_not_claim_what_was_queued_meanwhile(self, family: Family) -> None:
        """A claim uses the time at which it is made, not the start of its tick."""
        register(family.contacts, "4711", "4712")
        clock = VirtualClock(NOW_MS)
        claims = family.contacts.claim(clock, tick_ms=TICK_MS, most=10)
        clock.sleep(120)
        family.contacts.save(stored(family.contacts, "4711"), queued_until_ms=UNTIL_MS + 120_000)
        assert [id_ for ids in claims for id_ in ids] == ["4712"]

    def test_a_released_contact_can_be_claimed(self, family: Family) -> None:
        """It is due as before. Releasing an unknown contact adds nothing."""
        register(family.contacts, "4711", "4712")
        claim(family.contacts)
        family.contacts.release(["4711", "unknown"])
        assert claim(family.contacts) == ["4711"]
        assert family.contacts.get("unknown") is None

    def test_saving_stores_everything_and_counts_the_version(self, family: Family) -> None:
        """The saved contact is read back, with a version one higher. None removes a value."""
        register(family.contacts, "4711")
        saved = save(family.contacts, "4711", **SYNCED, progress=PROGRESS, times_gone=3)
        assert saved.version == 1
        assert stored(family.contacts, "4711") == saved
        emptied = save(
            family.contacts,
            "4711",
            synced_ms=None,
            progress=None,
            watermark=Watermark(),
            times_gone=0,
            last_error=None,
            failed_ms=None,
        )
        assert emptied.version == 2
        assert stored(family.contacts, "4711") == emptied

    def test_the_second_save_of_a_version_fails(self, family: Family) -> None:
        """Of two workers that read the same version, the second stores nothing and gets False."""
        register(family.contacts, "4711")
        read = stored(family.contacts, "4711")
        assert family.contacts.save(replace(read, failures=1))
        assert not family.contacts.save(replace(read, failures=9))
        assert stored(family.contacts, "4711") == replace(read, failures=1, version=1)

    def test_one_of_many_simultaneous_saves_wins(self, family: Family) -> None:
        """All save the same version at the same moment."""
        register(family.contacts, "4711")
        read = stored(family.contacts, "4711")
        won = at_once(lambda number: family.contacts.save(replace(read, failures=number)))
        assert won.count(True) == 1
        assert stored(family.contacts, "4711") == replace(read, failures=won.index(True), version=1)

    def test_saving_an_unknown_contact_adds_nothing(self, family: Family) -> None:
        """A worker cannot bring back a contact that was erased."""
        assert not family.contacts.save(Contact("4711", registered_ms=NOW_MS, due_ms=NOW_MS))
        assert family.contacts.get("4711") is None

    def test_an_erased_contact_leaves_nothing(self, family: Family) -> None:
        """Nothing stays stored, its worker cannot bring it back, and it is never claimed."""
        register(family.contacts, "4711", "4712")
        read = save(family.contacts, "4711", **SYNCED, progress=PROGRESS)
        assert family.contacts.erase("4711", NOW_MS)
        assert not family.contacts.save(read)
        family.contacts.release(["4711"])
        family.contacts.make_due(NOW_MS)
        assert family.contacts.get("4711") is None
        assert [outline.id for outline in family.contacts.outlines()] == ["4712"]
        assert claim(family.contacts) == ["4712"]
        assert not family.contacts.erase("4711", NOW_MS)

    def test_an_erased_contact_that_was_changed_since_is_new(self, family: Family) -> None:
        """It is registered again as a new contact, without its old state."""
        register(family.contacts, "4711")
        save(family.contacts, "4711", **SYNCED)
        family.contacts.erase("4711", NOW_MS)
        changed = iso(NOW_MS + 1)
        assert register(family.contacts, "4711", now_ms=NOW_MS + 7, modified=changed) == 1
        assert stored(family.contacts, "4711") == Contact("4711", NOW_MS + 7, NOW_MS + 7)
        assert family.contacts.erased_ms("4711") is None

    @pytest.mark.parametrize("modified", [iso(NOW_MS), iso(NOW_MS - 1), "", "yesterday", "1970-01-01"])
    @pytest.mark.parametrize("is_full", [False, True])
    def test_an_erased_contact_is_left_out_until_it_is_changed(
        self, family: Family, modified: str, is_full: bool
    ) -> None:
        """Also where nothing was stored of it. A date that cannot be used is no change."""
        register(family.contacts, "4711", modified="2026-11-01")
        assert family.contacts.erase("4711", NOW_MS)
        assert not family.contacts.erase("unknown", NOW_MS)
        listed = [ListedContact(id_, modified) for id_ in ("4711", "new", "unknown", "4711")]
        assert family.contacts.register(listed, NOW_MS + DAY_MS, is_full=is_full) == 1
        assert [outline.id for outline in family.contacts.outlines()] == ["new"]
        assert family.contacts.get_many(["4711", "unknown"]) == {}

    def test_who_came_back_is_a_contact_like_any_other(self, family: Family) -> None:
        """Its change is not asked for again, also when it is erased once more, later."""
        changed_ms = NOW_MS + 5
        family.contacts.erase("4711", NOW_MS)
        assert register(family.contacts, "4711", modified=iso(changed_ms)) == 1
        assert register(family.contacts, "4711", modified="2026-11-01") == 0
        assert family.contacts.erase("4711", NOW_MS + 9)
        assert register(family.contacts, "4711", modified=iso(changed_ms)) == 0
        assert register(family.contacts, "4711", modified=iso(NOW_MS + 10)) == 1

    def test_the_last_time_of_an_erasure_counts(self, family: Family) -> None:
        """A command that is repeated holds for what was changed in between."""
        for erased_ms in (NOW_MS, NOW_MS + 9):
            family.contacts.erase("4711", erased_ms)
        assert family.contacts.erased_ms("4711") == NOW_MS + 9
        assert register(family.contacts, "4711", modified=iso(NOW_MS + 8)) == 0

    def test_a_page_of_erased_contacts_is_left_out_whole(self, family: Family) -> None:
        """Also one with many more contacts than are looked up at once."""
        ids = [f"contact-{number}" for number in range(120)]
        for id_ in ids[:110]:
            family.contacts.erase(id_, NOW_MS)
        assert register(family.contacts, *ids) == 10

    def test_a_saved_contact_is_in_no_message_unless_it_continues(self, family: Family) -> None:
        """A finished contact can be claimed when it is due, one that continues not before the given time."""
        register(family.contacts, "finished", "unfinished")
        claim(family.contacts)
        save(family.contacts, "finished", synced_ms=NOW_MS)
        unfinished = replace(stored(family.contacts, "unfinished"), progress=PROGRESS)
        assert family.contacts.save(unfinished, queued_until_ms=UNTIL_MS + 1)
        assert claim(family.contacts) == ["finished"]
        assert claim(family.contacts, now_ms=UNTIL_MS) == ["finished"]
        assert claim(family.contacts, now_ms=UNTIL_MS + 1) == ["unfinished"]

    def test_a_hold_is_stored_with_the_contact(self, family: Family) -> None:
        """Other workers see until when one of them publishes its activity."""
        register(family.contacts, "4711")
        save(family.contacts, "4711", held_until_ms=NOW_MS + 1)
        assert stored(family.contacts, "4711").held_until_ms == NOW_MS + 1
        save(family.contacts, "4711", held_until_ms=None)
        assert stored(family.contacts, "4711").held_until_ms is None

    @pytest.mark.parametrize("is_full", [False, True])
    def test_a_full_listing_makes_a_gone_contact_due(self, family: Family, is_full: bool) -> None:
        """Other listings do so only for a changed one. A contact that is not gone keeps its due time."""
        register(family.contacts, "gone", "here")
        for contact_id, times_gone in (("gone", 3), ("here", 0)):
            save(family.contacts, contact_id, times_gone=times_gone, due_ms=NOW_MS + DAY_MS)
        listed = [ListedContact(contact_id, "2026-11-01") for contact_id in ("gone", "here")]
        assert family.contacts.register(listed, NOW_MS + 5, is_full=is_full) == 0
        due_ms = NOW_MS + 5 if is_full else NOW_MS + DAY_MS
        assert stored(family.contacts, "gone").due_ms == due_ms
        assert stored(family.contacts, "here").due_ms == NOW_MS + DAY_MS

    def test_making_due_reaches_every_contact(self, family: Family) -> None:
        """All are due and can be claimed, and none is due later than before."""
        register(family.contacts, "early", now_ms=NOW_MS - 9)
        register(family.contacts, "later", "in-message")
        save(family.contacts, "later", due_ms=NOW_MS + DAY_MS)
        claim(family.contacts)
        family.contacts.make_due(NOW_MS + 1)
        due_ms = {id_: stored(family.contacts, id_).due_ms for id_ in ("early", "later", "in-message")}
        assert due_ms == {"early": NOW_MS - 9, "later": NOW_MS + 1, "in-message": NOW_MS}
        assert claim(family.contacts, now_ms=NOW_MS + 1) == ["early", "in-message", "later"]

    def test_a_wait_that_only_a_clock_ahead_can_have_set_is_over(self, family: Family) -> None:
        """A contact that is due later than its standing allows is due now. Others keep their time."""
        waits = longest_waits(contacts=1, calls_each=1, tick_ms=TICK_MS, limits=FOUR_A_SECOND)
        standings = {"usual": (0, 0), "failing": (1, 0), "gone": (0, 3)}
        for name, (failures, times_gone) in standings.items():
            latest_ms = waits.latest_ms(NOW_MS, standing(failures=failures, times_gone=times_gone))
            for id_, due_ms in ((f"{name}-honest", latest_ms), (f"{name}-late", latest_ms + 1)):
                register(family.contacts, id_)
                save(family.contacts, id_, due_ms=due_ms, failures=failures, times_gone=times_gone)
        assert family.contacts.pull_back(NOW_MS, waits) == len(standings)
        assert sorted(claim(family.contacts)) == ["failing-late", "gone-late", "usual-late"]

    def test_the_oldest_due_contact_gives_the_lag(self, family: Family) -> None:
        """It is the earliest past due time, in a message or not; None when no contact is due."""
        assert family.contacts.oldest_due_ms(NOW_MS) is None
        for number in range(30):
            register(family.contacts, f"contact-{number}", now_ms=NOW_MS - 100 + 7 * number % 31)
        assert family.contacts.oldest_due_ms(NOW_MS - 101) is None
        assert family.contacts.oldest_due_ms(NOW_MS - 100) == NOW_MS - 100
        claim(family.contacts)
        assert family.contacts.oldest_due_ms(NOW_MS) == NOW_MS - 100
        save(family.contacts, "contact-0", due_ms=NOW_MS + DAY_MS)
        assert family.contacts.oldest_due_ms(NOW_MS) == NOW_MS - 99

    def test_the_outlines_hold_what_an_operator_counts(self, family: Family) -> None:
        """Each contact appears once, with its stored times and counts."""
        register(family.contacts, "new", "claimed", "synced")
        save(family.contacts, "synced", due_ms=NOW_MS + DAY_MS, synced_ms=NOW_MS + 1)
        save(family.contacts, "new", failures=2, times_gone=3, last_error="refused", failed_ms=NOW_MS - 4)
        assert sorted(claim(family.contacts)) == ["claimed", "new"]
        family.contacts.release(["new"])
        assert set(family.contacts.outlines()) == {
            ContactOutline("new", NOW_MS, 0, None, 2, 3, "refused", NOW_MS - 4),
            ContactOutline("claimed", NOW_MS, UNTIL_MS, None, 0, 0),
            ContactOutline("synced", NOW_MS + DAY_MS, 0, NOW_MS + 1, 0, 0),
        }

    def test_without_contacts_there_are_no_outlines(self, family: Family) -> None:
        """Other stored state is not taken for a contact."""
        family.listings.put(Listing(contacts=1))
        family.pauses.pause(Pause(PauseReason.OPERATOR, None))
        family.tally.add(1, {"Email Sent": 1})
        assert list(family.contacts.outlines()) == []

    def test_the_largest_contact_can_be_stored(self, family: Family) -> None:
        """With its memory and an unfinished walk at their maximum."""
        register(family.contacts, "4711")
        key = bytes.fromhex("018f00c0ffee") + bytes(8)
        watermark = Watermark(
            MARKS, key * MAX_REMEMBERED, bytes(8) * MAX_UNREADABLE, reported=key * (MAX_REMEMBERED // 2)
        )
        progress = replace(PROGRESS, candidates=key * 2 * MAX_REMEMBERED, unreadable=watermark.unreadable)
        counts = SummaryCounts(*[999_999] * len(COUNT_NAMES))
        published = tuple(
            Published(str(1_117_643_000_000 + number), 9_999, counts) for number in range(MAX_CAMPAIGNS)
        )
        summaries = (Summarized(SummaryKind.CONTACT_CAMPAIGN, NOW_MS, published),)
        saved = save(family.contacts, "4711", watermark=watermark, progress=progress, summaries=summaries)
        assert stored(family.contacts, "4711") == saved

    @pytest.mark.long
    def test_many_contacts_are_read_at_once(self, family: Family) -> None:
        """As they are one by one; also more than one read of the store holds, and the same one twice."""
        ids = [f"contact-{number}" for number in range(620)]
        register(family.contacts, *ids)
        saved = save(family.contacts, "contact-7", **SYNCED, progress=PROGRESS)
        found = family.contacts.get_many([*ids, "contact-7", "contact-619"])
        assert sorted(found) == sorted(ids)
        assert found["contact-7"] == saved
        assert found["contact-619"] == stored(family.contacts, "contact-619")

    def test_only_registered_contacts_are_found(self, family: Family) -> None:
        """Not one that was never listed, nor one that was erased."""
        register(family.contacts, "4711", "4712")
        family.contacts.erase("4712", NOW_MS)
        assert list(family.contacts.get_many(["unknown", "4711", "4712"])) == ["4711"]
        assert family.contacts.get_many([]) == {}

    def test_what_is_remembered_is_stored_alone(self, family: Family) -> None:
        """Marks and memory change, and the due time if asked for. All else stays, also a claim."""
        register(family.contacts, "4711", now_ms=NOW_MS - 1)
        before = save(family.contacts, "4711", **{**SYNCED, "due_ms": NOW_MS - 1}, progress=PROGRESS)
        claim(family.contacts)
        remembered = Watermark(MARKS[1:], b"", b"none", 1, 2, bytes(range(42)))
        changed = replace(before, due_ms=NOW_MS, watermark=remembered)
        other = replace(changed, registered_ms=1, failures=9, times_gone=9, synced_ms=None, progress=None)
        other = replace(other, summaries=(), last_error=None, failed_ms=None, held_until_ms=1)
        assert family.contacts.remember([other], due={"4711"}) == []
        watermark = replace(
            before.watermark,
            marks=remembered.marks,
            remembered=remembered.remembered,
            reported=remembered.reported,
        )
        kept = replace(before, version=before.version + 1, due_ms=NOW_MS, watermark=watermark)
        assert stored(family.contacts, "4711") == kept
        assert claim(family.contacts) == []
        assert claim(family.contacts, now_ms=UNTIL_MS) == ["4711"]
        assert family.contacts.remember([replace(kept, due_ms=NOW_MS + 9)]) == []
        assert stored(family.contacts, "4711").due_ms == NOW_MS

    def test_nothing_reported_is_remembered_too(self, family: Family) -> None:
        """It takes the place of what was."""
        register(family.contacts, "4711")
        saved = save(family.contacts, "4711", watermark=Watermark(reported=bytes(14)))
        assert family.contacts.remember([replace(saved, watermark=Watermark())]) == []
        assert stored(family.contacts, "4711").watermark == Watermark()

    def test_who_was_stored_since_or_erased_is_not_remembered(self, family: Family) -> None:
        """Their ids come back; the others are stored. An erased contact stays erased."""
        ids = ["same", "stored", "same too", "erased"]
        register(family.contacts, *ids)
        read = family.contacts.get_many(ids)
        save(family.contacts, "stored", failures=1)
        family.contacts.erase("erased", NOW_MS)
        changed = [replace(read[id_], watermark=Watermark(reported=bytes(14))) for id_ in ids]
        assert family.contacts.remember(changed) == ["stored", "erased"]
        found = family.contacts.get_many(ids)
        assert {id_: (of.version, of.watermark.reported) for id_, of in found.items()} == {
            "same": (1, bytes(14)),
            "stored": (1, b""),
            "same too": (1, bytes(14)),
        }
        assert family.contacts.remember(changed[-1:]) == ["erased"]
        assert register(family.contacts, "erased", modified=iso(NOW_MS + 1)) == 1
        assert family.contacts.remember([]) == []

    def test_one_of_many_who_remember_at_once_wins(self, family: Family) -> None:
        """All store the same version at the same moment, of two contacts: each is won once."""
        register(family.contacts, "4711", "4712")
        read = list(family.contacts.get_many(["4711", "4712"]).values())

        def remember(number: int) -> list[str]:
            watermark = Watermark(reported=bytes([number]))
            return family.contacts.remember([replace(of, watermark=watermark) for of in read])

        lost = at_once(remember)
        for contact_id in ("4711", "4712"):
            (winner,) = [number for number, ids in enumerate(lost) if contact_id not in ids]
            contact = stored(family.contacts, contact_id)
            assert (contact.version, contact.watermark.reported) == (1, bytes([winner]))


times = st.integers(min_value=0, max_value=2**53)
types = st.sampled_from(list(ActivityType))
spans = st.lists(st.builds(Span, st.none() | times, times), max_size=3).map(tuple)
times_by_type = st.lists(st.tuples(types, times), unique_by=lambda pair: pair[0]).map(tuple)
watermarks = st.builds(
    Watermark,
    marks=st.lists(st.builds(Mark, types, st.none() | times, spans), unique_by=lambda mark: mark.type).map(
        tuple
    ),
    remembered=st.binary(),
    unreadable=st.binary(),
    resync_ms=st.none() | times,
    resync_asked_ms=st.none() | times,
    reported=st.binary(),
)
progresses = st.builds(
    Progress,
    fingerprint=st.text(),
    report=st.text(),
    next=st.none() | st.text(),
    candidates=st.binary(),
    unreadable=st.binary(),
    through=times_by_type,
    oldest=times_by_type,
    again_from=times_by_type,
    forgotten_ms=st.none() | times,
    started_ms=st.integers(min_value=0, max_value=1 << 47),
    restarts=st.integers(min_value=0, max_value=1_000),
)


counts = st.builds(SummaryCounts, *(st.none() | st.integers(0, 2**53) for _ in COUNT_NAMES))
published = st.builds(Published, st.text(), st.integers(0, 10**9), counts)
summaries = st.lists(
    st.builds(
        Summarized,
        st.sampled_from(SummaryKind),
        st.none() | times,
        st.lists(published, max_size=3, unique_by=lambda last: last.key).map(tuple),
    ),
    unique_by=lambda known: known.kind,
).map(tuple)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    watermark=watermarks, progress=st.none() | progresses, synced_ms=st.none() | times, summaries=summaries
)
def test_any_watermark_progress_and_summaries_come_back(
    family: Family,
    watermark: Watermark,
    progress: Progress | None,
    synced_ms: int | None,
    summaries: tuple[Summarized, ...],
) -> None:
    """They are read back as they were stored."""
    register(family.contacts, "4711")
    saved = save(
        family.contacts,
        "4711",
        watermark=watermark,
        progress=progress,
        synced_ms=synced_ms,
        summaries=summaries,
    )
    assert stored(family.contacts, "4711") == saved


SUMMARIZED = Summarized(SummaryKind.CAMPAIGN, NOW_MS, (Published("111", 7, SummaryCounts(9, 8, 7, 6, 5, 4)),))


class TestCampaigns:
    def test_nothing_is_known_of_a_new_campaign(self, family: Family) -> None:
        """It was never listed or read, and nothing of it is published."""
        assert family.campaigns.listed_ms() is None
        assert family.campaigns.get("111") == Campaign("111")

    def test_the_time_of_the_last_listing_is_stored(self, family: Family) -> None:
        """None makes them due again."""
        for listed_ms in (NOW_MS, NOW_MS + 1, None):
            family.campaigns.put_listed(listed_ms)
            assert family.campaigns.listed_ms() == listed_ms

    def test_a_saved_campaign_is_read_back(self, family: Family) -> None:
        """Each campaign has its own counts and version, and is not a contact."""
        assert family.campaigns.save(Campaign("111", summarized=SUMMARIZED))
        assert family.campaigns.get("111") == Campaign("111", 1, SUMMARIZED)
        later = replace(SUMMARIZED, asked_ms=NOW_MS + 1)
        assert family.campaigns.save(Campaign("111", 1, later))
        assert family.campaigns.get("111") == Campaign("111", 2, later)
        assert family.campaigns.get("112") == Campaign("112")
        assert family.contacts.get("111") is None
        assert claim(family.contacts) == []

    def test_the_second_save_of_a_version_fails(self, family: Family) -> None:
        """Of two workers with the same version, also version 0, the second stores nothing."""
        for version in (0, 1):
            first = Campaign("111", version, SUMMARIZED)
            assert family.campaigns.save(first)
            assert not family.campaigns.save(replace(first, summarized=Summarized(SummaryKind.CAMPAIGN)))
            assert family.campaigns.get("111") == Campaign("111", version + 1, SUMMARIZED)


OPENS = ReportId("1117643206590", ActivityType.OPENED)
READ = CampaignReport(
    OPENS,
    sent_ms=NOW_MS - DAY_MS,
    due_ms=NOW_MS,
    read_ms=NOW_MS - 9,
    through_ms=NOW_MS - 8,
    through_seen_ms=NOW_MS - 7,
    deep_ms=NOW_MS - 6,
    quiet=1,
    failures=2,
    refusals=1,
    rows=12_345,
    held_until_ms=NOW_MS + 1,
    progress=ReportProgress(NOW_MS - 5, NOW_MS - 4, "bmV4dA", NOW_MS - 3, 500, 3, 1),
    last_error="the API failed 3 times: the connection is refused",
    failed_ms=NOW_MS - 2,
)


def watch(reports: Reports, *campaign_ids: str, due_ms: int | None = NOW_MS, sent_ms: int = NOW_MS) -> None:
    for campaign_id in campaign_ids:
        id_ = ReportId(campaign_id, ActivityType.OPENED)
        assert reports.save(CampaignReport(id_, sent_ms, due_ms))


def campaigns_of(reports: Iterable[CampaignReport]) -> list[str]:
    return [report.id.campaign_id for report in reports]


def _save_refused(reports: Reports, seen: ReportAccess, number: int) -> bool:
    return reports.save_access(seen.refused(NOW_MS + number), seen)


class TestReports:
    def test_nothing_is_stored_at_first(self, family: Family) -> None:
        """No campaign was seen, no report is watched, no type is trusted, no contact is urgent."""
        reports = family.reports
        assert reports.feed() == CampaignFeed()
        assert reports.watched("111") is None
        assert reports.get(OPENS) is None
        assert reports.due(NOW_MS) == list(reports.outlines()) == []
        assert reports.trust() == Trust()
        assert reports.shifts() is None
        assert reports.access() == ReportAccess()
        assert reports.take_urgent() == ()
        reports.make_due(NOW_MS)

    def test_the_feed_is_replaced(self, family: Family) -> None:
        """By the one that was put last, also by an empty one."""
        listed = tuple(str(1_117_643_206_590 + number) for number in range(2_000))
        for feed in (CampaignFeed(listed, 1, 2, 3, 4, 5, 6), CampaignFeed()):
            family.reports.put_feed(feed)
            assert family.reports.feed() == feed

    def test_a_watched_campaign_is_replaced(self, family: Family) -> None:
        """Each campaign has its own links, of which some are not known."""
        first = WatchedCampaign("111", NOW_MS, {"1": "https://example.org/?a=1&b=ä", "2": None})
        for campaign in (first, WatchedCampaign("111", None), WatchedCampaign("112", 0, {"1": None})):
            family.reports.put_watched(campaign)
            assert family.reports.watched(campaign.id) == campaign
        assert family.reports.watched("111") == WatchedCampaign("111", None)
        assert family.reports.watched("113") is None
        assert list(family.reports.outlines()) == []

    def test_a_saved_report_is_read_back(self, family: Family) -> None:
        """With all that is known of it and with nothing, in a read and not, watched or not."""
        known = (
            READ,
            CampaignReport(OPENS, 0, 0),
            replace(READ, due_ms=None),
            replace(READ, progress=ReportProgress(NOW_MS, None)),
            replace(READ, asked=Asked(NOW_MS, 1, 2, 3, 4, 5, gone_ms=6)),
            replace(READ, asked=Asked(NOW_MS, None, NOW_MS, forbidden_ms=7), parent_id="c-1"),
        )
        for version, report in enumerate(known):
            assert family.reports.save(replace(report, version=version))
            saved = replace(report, version=version + 1)
            assert family.reports.get(OPENS) == saved
            is_watched = report.due_ms is not None
            assert list(family.reports.outlines()) == ([saved] if is_watched else [])
        assert family.reports.get(replace(OPENS, type=ActivityType.CLICKED)) is None

    def test_the_second_save_of_a_version_fails(self, family: Family) -> None:
        """Of two workers with the same version, also version 0, the second stores nothing."""
        for version in (0, 1):
            first = replace(READ, version=version)
            assert family.reports.save(first)
            assert not family.reports.save(replace(first, rows=1, due_ms=None))
            assert family.reports.get(OPENS) == replace(READ, version=version + 1)

    def test_a_save_of_a_version_that_never_was_adds_nothing(self, family: Family) -> None:
        """Nothing is stored of a report that is not known."""
        assert not family.reports.save(replace(READ, version=1))
        assert family.reports.get(OPENS) is None

    def test_one_of_many_simultaneous_saves_wins(self, family: Family) -> None:
        """All save a new report at the same moment."""
        won = at_once(lambda number: family.reports.save(replace(READ, rows=number)))
        assert won.count(True) == 1
        assert family.reports.get(OPENS) == replace(READ, rows=won.index(True), version=1)

    def test_a_report_is_due_from_its_time_on(self, family: Family) -> None:
        """Until it is saved with a later one, or with none."""
        watch(family.reports, "later", due_ms=NOW_MS + 1)
        watch(family.reports, "no more", due_ms=None)
        watch(family.reports, "now")
        assert campaigns_of(family.reports.due(NOW_MS - 1)) == []
        assert campaigns_of(family.reports.due(NOW_MS)) == ["now"]
        (now,) = family.reports.due(NOW_MS)
        assert family.reports.save(replace(now, due_ms=None))
        assert campaigns_of(family.reports.due(NOW_MS + 1)) == ["later"]

    def test_the_newest_sends_come_first(self, family: Family) -> None:
        """However long the others wait. Of one send, those come first that wait longest."""
        for number, (sent_ms, due_ms) in enumerate([(5, 9), (7, 8), (5, 2), (6, 3), (7, 7)]):
            watch(family.reports, str(number), sent_ms=sent_ms, due_ms=due_ms)
        assert campaigns_of(family.reports.due(NOW_MS)) == ["4", "1", "3", "2", "0"]

    @pytest.mark.long
    def test_at_most_a_thousand_are_due_at_once(self, family: Family) -> None:
        """Those that wait longest: the others are due when these are read."""
        at_once(lambda number: watch(family.reports, *(f"{number}-{n}" for n in range(63)), due_ms=NOW_MS))
        watch(family.reports, "oldest", due_ms=NOW_MS - 1, sent_ms=0)
        due = campaigns_of(family.reports.due(NOW_MS))
        assert len(due) == len(set(due)) == MAX_DUE
        assert due[-1] == "oldest"
        assert len(list(family.reports.outlines())) == THREADS * 63 + 1

    def test_making_due_reaches_every_watched_report(self, family: Family) -> None:
        """None is due later than before, and one that is no longer watched stays so."""
        watch(family.reports, "early", due_ms=NOW_MS - 9)
        watch(family.reports, "later", "last", due_ms=NOW_MS + DAY_MS)
        watch(family.reports, "no more", due_ms=None)
        family.reports.make_due(NOW_MS)
        due_ms = {of.id.campaign_id: of.due_ms for of in family.reports.due(NOW_MS)}
        assert due_ms == {"early": NOW_MS - 9, "later": NOW_MS, "last": NOW_MS}
        assert sorted(campaigns_of(family.reports.outlines())) == ["early", "last", "later"]

    def test_what_is_due_after_a_time_is_made_due_by_itself(self, family: Family) -> None:
        """What is due at that time keeps it."""
        watch(family.reports, "honest", due_ms=NOW_MS + DAY_MS)
        watch(family.reports, "late", due_ms=NOW_MS + DAY_MS + 1)
        family.reports.make_due(NOW_MS, after_ms=NOW_MS + DAY_MS)
        assert campaigns_of(family.reports.due(NOW_MS)) == ["late"]

    def test_reports_are_no_contacts_and_contacts_no_reports(self, family: Family) -> None:
        """Neither is handed out, counted or made due with the other."""
        watch(family.reports, "111", due_ms=NOW_MS - DAY_MS)
        register(family.contacts, "4711")
        assert campaigns_of(family.reports.due(NOW_MS)) == campaigns_of(family.reports.outlines()) == ["111"]
        assert family.contacts.oldest_due_ms(NOW_MS) == NOW_MS
        assert [outline.id for outline in family.contacts.outlines()] == ["4711"]
        save(family.contacts, "4711", due_ms=NOW_MS + DAY_MS)
        family.reports.make_due(NOW_MS)
        assert claim(family.contacts) == []
        assert family.campaigns.get("111") == Campaign("111")

    def test_trust_is_read_back(self, family: Family) -> None:
        """With all that is known of each type, and with nothing."""
        rows = (SampledRow("a" * 32, NOW_MS - 1, "digest"), SampledRow("b", 0, ""))
        whole = TypeTrust(Mode.OFF, 1, 2, 3, {"4711": rows, "4712": ()}, dict.fromkeys(Match, 7), 4, 5, 6)
        trust = Trust({ActivityType.OPENED: whole, ActivityType.SENT: TypeTrust(Mode.PUBLISH)})
        for version, stored_trust in enumerate((trust, Trust())):
            assert family.reports.save_trust(replace(stored_trust, version=version))
            assert family.reports.trust() == replace(stored_trust, version=version + 1)

    def test_the_second_save_of_trust_fails(self, family: Family) -> None:
        """Of two workers with the same version, also version 0, the second stores nothing."""
        for version in (0, 1):
            first = Trust({ActivityType.SENT: TypeTrust(news=version)}, version)
            assert family.reports.save_trust(first)
            assert not family.reports.save_trust(Trust({}, version))
            assert family.reports.trust() == replace(first, version=version + 1)
        assert not family.reports.save_trust(Trust({}, 9))

    def test_one_of_many_simultaneous_saves_of_trust_wins(self, family: Family) -> None:
        """Nobody's count is lost, for the others read it again."""

        def count(_: int) -> None:
            is_saved = False
            while not is_saved:
                trust = family.reports.trust()
                more = trust.of(ActivityType.SENT).counted(news=1, shifted=0, now_ms=NOW_MS)
                is_saved = family.reports.save_trust(trust.with_type(ActivityType.SENT, more))

        at_once(count, times=8)
        assert family.reports.trust() == Trust({ActivityType.SENT: TypeTrust(news=8)}, 8)

    def test_shifts_are_stored_if_nobody_else_stored_some(self, family: Family) -> None:
        """Who saw other shifts than those that are stored, or none, stores nothing."""
        first, second = Shifts(NOW_MS, NOW_MS + 1, NOW_MS + 2), Shifts(NOW_MS + 3, NOW_MS + 3, NOW_MS + 4)
        assert not family.reports.save_shifts(first, second)
        assert family.reports.shifts() is None
        assert family.reports.save_shifts(first, None)
        assert not family.reports.save_shifts(second, None)
        assert not family.reports.save_shifts(second, second)
        assert family.reports.shifts() == first
        assert family.reports.save_shifts(second, first)
        assert family.reports.shifts() == second

    @pytest.mark.parametrize("seen", [None, Shifts(1, 2, 3)])
    def test_one_of_many_simultaneous_shifts_is_stored(self, family: Family, seen: Shifts | None) -> None:
        """All saw the same."""
        if seen:
            assert family.reports.save_shifts(seen, None)
        won = at_once(lambda number: family.reports.save_shifts(Shifts(number, 0, 0), seen))
        assert won.count(True) == 1
        assert family.reports.shifts() == Shifts(won.index(True), 0, 0)

    def test_access_is_stored_if_nobody_else_stored_some(self, family: Family) -> None:
        """Who saw another stores nothing."""
        reports, nothing = family.reports, ReportAccess()
        refused, given = nothing.refused(NOW_MS), nothing.answered("111-opens").answered("112-sends")
        assert reports.access() == nothing
        assert not reports.save_access(refused, given)
        assert reports.save_access(refused, nothing)
        assert not reports.save_access(given, nothing)
        assert reports.access() == refused
        assert reports.save_access(given, refused)
        assert reports.access() == given

    def test_one_of_many_simultaneous_accesses_is_stored(self, family: Family) -> None:
        """All saw the same, nothing or something."""
        seen = ReportAccess()
        for _ in range(2):
            won = at_once(partial(_save_refused, family.reports, seen))
            assert won.count(True) == 1
            assert family.reports.access() == seen.refused(NOW_MS + won.index(True))
            seen = family.reports.access()

    def test_an_urgent_contact_is_taken_once(self, family: Family) -> None:
        """However often it was added until then."""
        family.reports.add_urgent([])
        assert family.reports.take_urgent() == ()
        family.reports.add_urgent(["4711", "4711", "4712"])
        family.reports.add_urgent(["4712", "4713"])
        assert sorted(family.reports.take_urgent()) == ["4711", "4712", "4713"]
        assert family.reports.take_urgent() == ()
        family.reports.add_urgent(["4711"])
        assert family.reports.take_urgent() == ("4711",)

    def test_urgent_contacts_are_bounded(self, family: Family) -> None:
        """The first that are added have the room; one that is in already takes none."""
        first, more = [str(number) for number in range(150)], [str(number) for number in range(100, 400)]
        family.reports.add_urgent(first)
        family.reports.add_urgent(more)
        family.reports.add_urgent(["1", "late"])
        taken = family.reports.take_urgent()
        assert len(taken) == len(set(taken)) == MAX_URGENT
        assert set(taken) == {str(number) for number in range(MAX_URGENT)}

    def test_an_urgent_contact_can_be_dropped(self, family: Family) -> None:
        """Alone, the last one too. Nothing happens to one that is not there."""
        reports = family.reports
        reports.drop_urgent("4711")
        reports.add_urgent(["4711", "4712"])
        for id_ in ("4711", "4713"):
            reports.drop_urgent(id_)
        assert reports.take_urgent() == ("4712",)
        reports.add_urgent(["4711"])
        reports.drop_urgent("4711")
        assert reports.take_urgent() == ()
        reports.add_urgent(["4711"])
        assert reports.take_urgent() == ("4711",)

    def test_simultaneous_urgent_contacts_are_all_kept(self, family: Family) -> None:
        """Also while somebody takes: none is lost, and none is taken twice."""
        taken: list[str] = []

        def add_or_take(number: int) -> None:
            if number == 0:
                for _ in range(20):
                    taken.extend(family.reports.take_urgent())
                return
            for n in range(8):
                family.reports.add_urgent([f"{number}-{n}", f"{number}-{n} too"])

        at_once(add_or_take, times=9)
        taken.extend(family.reports.take_urgent())
        added = [f"{number}-{n}{more}" for number in range(1, 9) for n in range(8) for more in ("", " too")]
        assert sorted(taken) == sorted(added)

    def test_simultaneous_urgent_contacts_are_bounded(self, family: Family) -> None:
        """Together they fill the room, and no more."""
        at_once(lambda number: family.reports.add_urgent([f"{number}-{n}" for n in range(30)]), times=8)
        assert len(family.reports.take_urgent()) == MAX_URGENT


class TestLimiter:
    def test_slots_are_granted_in_order_and_spaced(self, family: Family) -> None:
        """One worker waits from slot to slot."""
        clock = VirtualClock(NOW_MS)
        limiter = family.limiter(FOUR_A_SECOND, clock)
        slots_ms = [self._slot_ms(limiter, clock) for _ in range(4)]
        assert slots_ms == [NOW_MS + number * FOUR_A_SECOND.slot_ms for number in range(4)]

    def test_simultaneous_workers_share_the_slots(self, family: Family) -> None:
        """Sixteen threads over two limiters never get the same slot, and skip none."""
        clock = VirtualClock(NOW_MS)
        limiters = [family.limiter(FOUR_A_SECOND, clock) for _ in range(2)]
        slots_ms = at_once(lambda number: [self._slot_ms(limiters[number % 2], clock) for _ in range(3)])
        taken_ms = sorted(slot_ms for taken in slots_ms for slot_ms in taken)
        assert taken_ms == [NOW_MS + number * FOUR_A_SECOND.slot_ms for number in range(3 * THREADS)]

    def test_the_days_budget_is_never_exceeded(self, family: Family) -> None:
        """However many workers ask, exactly the day's calls are granted."""
        clock = VirtualClock(NOW_MS)
        limiter = family.limiter(Limits(calls_per_second=4, calls_per_day=21), clock)

        def use_up(_: int) -> tuple[int, WaitError]:
            for granted in range(22):
                try:
                    limiter.acquire(deadline_ms=NOW_MS + DAY_MS)
                except WaitError as wait:
                    return granted, wait
            pytest.fail("the day's budget has no end")

        granted, waits = zip(*at_once(use_up), strict=True)
        assert sum(granted) == limiter.pace().used_on(NOW_MS) == 21
        assert {(wait.reason, wait.until_ms) for wait in waits} == {
            (WaitReason.QUOTA, midnight_after(NOW_MS))
        }

    def test_the_next_day_has_its_own_budget(self, family: Family) -> None:
        """At 00:00 UTC calls are granted again."""
        clock = VirtualClock(midnight_after(NOW_MS) - 1_000)
        limiter = family.limiter(Limits(calls_per_second=100, calls_per_day=1), clock)
        limiter.acquire(deadline_ms=NOW_MS + DAY_MS)
        with pytest.raises(WaitError):
            limiter.acquire(deadline_ms=NOW_MS + DAY_MS)
        clock.sleep(1)
        assert self._slot_ms(limiter, clock) == midnight_after(NOW_MS)

    def test_a_slot_after_the_deadline_is_not_taken(self, family: Family) -> None:
        """It is a `WaitError`, and uses up nothing."""
        clock = VirtualClock(NOW_MS)
        limiter = family.limiter(FOUR_A_SECOND, clock)
        limiter.acquire(deadline_ms=NOW_MS)
        before = limiter.pace()
        with pytest.raises(WaitError) as raised:
            limiter.acquire(deadline_ms=NOW_MS + FOUR_A_SECOND.slot_ms - 1)
        assert raised.value.reason is WaitReason.TIME
        assert limiter.pace() == before

    def test_slowing_down_holds_for_all_workers(self, family: Family) -> None:
        """After one worker was too fast, the others wait a second longer too."""
        clock = VirtualClock(NOW_MS)
        ours, theirs = (family.limiter(FOUR_A_SECOND, clock) for _ in range(2))
        ours.acquire(deadline_ms=NOW_MS)
        theirs.slow_down()
        assert self._slot_ms(ours, clock) == NOW_MS + FOUR_A_SECOND.slot_ms + 1_000
        assert theirs.pace().used == 2

    def test_calls_counted_by_a_clock_ahead_count_for_today(self, family: Family) -> None:
        """Once the clock is right, calls continue at once, and the earlier ones count for the day."""
        limits = Limits(calls_per_second=4, calls_per_day=2)
        family.limiter(limits, VirtualClock(NOW_MS + 3 * DAY_MS)).acquire(deadline_ms=NOW_MS + 4 * DAY_MS)
        clock = VirtualClock(NOW_MS)
        limiter = family.limiter(limits, clock)
        limiter.set_right()
        assert self._slot_ms(limiter, clock) == NOW_MS
        assert limiter.pace().used_on(NOW_MS) == 2
        with pytest.raises(WaitError):
            limiter.acquire(deadline_ms=NOW_MS + DAY_MS)

    @staticmethod
    def _slot_ms(limiter: Limiter, clock: VirtualClock) -> int:
        """Take a slot and return it: the clock of this thread then shows its time."""
        limiter.acquire(deadline_ms=NOW_MS + DAY_MS)
        return clock.now_ms()


class TestPauses:
    def test_pauses_are_kept_by_reason(self, family: Family) -> None:
        """Each reason has its own end, or none. Lifting one leaves the others."""
        quota, credential = Pause(PauseReason.QUOTA, NOW_MS + 5), Pause(PauseReason.CREDENTIAL, None)
        assert family.pauses.get().by_reason == ()
        family.pauses.lift(PauseReason.OPERATOR)
        family.pauses.pause(credential)
        family.pauses.pause(quota)
        assert set(family.pauses.get().by_reason) == {quota, credential}
        family.pauses.lift(PauseReason.QUOTA)
        assert family.pauses.get().by_reason == (credential,)
        family.pauses.lift(PauseReason.CREDENTIAL)
        assert family.pauses.get().by_reason == ()

    def test_the_last_pause_of_a_reason_counts(self, family: Family) -> None:
        """It replaces the end, also by an earlier one or none."""
        for until_ms in (NOW_MS + 5, NOW_MS + 1, None, NOW_MS + 9):
            family.pauses.pause(Pause(PauseReason.OPERATOR, until_ms))
            assert family.pauses.get().by_reason == (Pause(PauseReason.OPERATOR, until_ms),)

    def test_a_pause_keeps_the_right_that_is_missing(self, family: Family) -> None:
        """Until another pause of the reason, which may be for something else, or until it is lifted."""
        lacking, refused = (Pause(PauseReason.CREDENTIAL, None, lacks) for lacks in ("contact_data", ""))
        for pause in (lacking, refused, lacking):
            family.pauses.pause(pause)
            assert family.pauses.get().by_reason == (pause,)
        family.pauses.lift(PauseReason.CREDENTIAL)
        assert family.pauses.get().by_reason == ()
        family.pauses.pause(refused)
        assert family.pauses.get().by_reason == (refused,)

    def test_simultaneous_pauses_are_all_kept(self, family: Family) -> None:
        """Pauses for different reasons at the same moment do not overwrite each other."""
        pauses = [Pause(reason, NOW_MS + number) for number, reason in enumerate(PauseReason)]
        for _ in range(20):
            at_once(lambda number: family.pauses.pause(pauses[number]), times=len(pauses))
            assert set(family.pauses.get().by_reason) == set(pauses)
            at_once(lambda number: family.pauses.lift(pauses[number].reason), times=len(pauses))
            assert family.pauses.get().by_reason == ()


class TestLease:
    def test_one_holder_at_a_time(self, family: Family) -> None:
        """While a dispatcher holds the lease no other gets it. The holder may extend it."""
        ours, theirs = family.lease(), family.lease()
        assert ours.take(now_ms=NOW_MS, until_ms=NOW_MS + 10)
        assert not theirs.take(now_ms=NOW_MS + 9, until_ms=NOW_MS + 99)
        assert ours.take(now_ms=NOW_MS + 9, until_ms=NOW_MS + 20)
        assert not theirs.take(now_ms=NOW_MS + 10, until_ms=NOW_MS + 99)

    def test_a_lease_ends_with_its_time(self, family: Family) -> None:
        """A dispatcher that died keeps the others out only until then."""
        ours, theirs = family.lease(), family.lease()
        assert ours.take(now_ms=NOW_MS, until_ms=NOW_MS + 10)
        assert theirs.take(now_ms=NOW_MS + 10, until_ms=NOW_MS + 20)
        assert not ours.take(now_ms=NOW_MS + 11, until_ms=NOW_MS + 30)

    def test_a_lease_given_back_is_free(self, family: Family) -> None:
        """Only its holder can give it back. Then any dispatcher may take it."""
        ours, theirs = family.lease(), family.lease()
        ours.give_back()
        assert ours.take(now_ms=NOW_MS, until_ms=NOW_MS + 10)
        theirs.give_back()
        assert not theirs.take(now_ms=NOW_MS, until_ms=NOW_MS + 10)
        ours.give_back()
        assert theirs.take(now_ms=NOW_MS, until_ms=NOW_MS + 10)

    def test_one_of_many_simultaneous_takers_gets_the_lease(self, family: Family) -> None:
        """All start at the same moment."""
        leases = [family.lease() for _ in range(THREADS)]
        taken = at_once(lambda number: leases[number].take(now_ms=NOW_MS, until_ms=NOW_MS + 10))
        assert taken.count(True) == 1


class TestListings:
    def test_nothing_is_stored_at_first(self, family: Family) -> None:
        """Before the first tick the listing is empty."""
        assert family.listings.get() == Listing()

    @pytest.mark.parametrize(
        "listing",
        [
            Listing("bmV4dA", NOW_MS, NOW_MS - DAY_MS, NOW_MS - 1, NOW_MS - 2, 12_345),
            Listing(mark_ms=0, contacts=1),
            Listing(),
        ],
    )
    def test_a_stored_listing_is_read_back(self, family: Family, listing: Listing) -> None:
        """It replaces the one before."""
        family.listings.put(Listing("before", 1, 2, 3, 4, 5))
        family.listings.put(listing)
        assert family.listings.get() == listing

    def test_the_failure_of_the_last_tick_is_kept_until_it_is_removed(self, family: Family) -> None:
        """A later failure replaces an earlier one. The listing is not affected."""
        assert family.listings.failure() is None
        for failure in (TickFailure("refused", NOW_MS), TickFailure("unknown", NOW_MS + 1), None):
            family.listings.put_failure(failure)
            assert family.listings.failure() == failure
        assert family.listings.get() == Listing()


class TestTally:
    DAY = NOW_MS // DAY_MS

    def test_nothing_is_counted_at_first(self, family: Family) -> None:
        """A day without events has no counts."""
        assert family.tally.on(self.DAY).events == {}

    def test_counts_add_up_by_day_and_type(self, family: Family) -> None:
        """Other days and types keep their counts."""
        family.tally.add(self.DAY, {"Email Sent": 2, "Email Link Clicked": 1})
        family.tally.add(self.DAY, {"Email Link Clicked": 40})
        family.tally.add(self.DAY - 1, {"Email Sent": 7})
        assert family.tally.on(self.DAY).events == {"Email Sent": 2, "Email Link Clicked": 41}
        assert family.tally.on(self.DAY - 1).events == {"Email Sent": 7}

    def test_simultaneous_counts_are_all_kept(self, family: Family) -> None:
        """However many workers count at the same moment, no event is lost."""

        def count(_: int) -> None:
            for _ in range(4):
                family.tally.add(self.DAY, {"Email Opened": 3})

        at_once(count)
        assert family.tally.on(self.DAY).events == {"Email Opened": 3 * 4 * THREADS}

    def test_ages_add_up_beside_the_events(self, family: Family) -> None:
        """Ages are counted by bucket and day, and are not events."""
        assert family.tally.on(self.DAY).ages == {}
        family.tally.add(self.DAY, {"Email Sent": 3}, {60: 2, 86_400: 1})
        family.tally.add(self.DAY, {"Email Sent": 1}, {60: 1})
        family.tally.add(self.DAY, {"Email Opened": 5})
        family.tally.add(self.DAY - 1, {"Email Sent": 1}, {ENDS_S[-1]: 1})
        assert family.tally.on(self.DAY).ages == {60: 3, 86_400: 1}
        assert family.tally.on(self.DAY).events == {"Email Sent": 4, "Email Opened": 5}
        assert family.tally.on(self.DAY - 1).ages == {ENDS_S[-1]: 1}


class TestQueue:
    def test_every_message_arrives(self, family: Family) -> None:
        """In any number, each as it was sent."""
        messages = [
            WorkItem(
                WorkKind.CONTACT,
                f"contact-{number}",
                NOW_MS + number,
                f"tick-{number}" if number % 2 else None,
            )
            for number in range(23)
        ]
        assert family.queue.send(messages) == []
        assert sorted(family.received(23), key=lambda message: message.planned_ms) == messages

    def test_campaigns_are_told_from_contacts(self, family: Family) -> None:
        """Both kinds of message share the queue, and keep their kind."""
        messages: list[WorkItem] = [
            of_campaign("111", NOW_MS),
            of_contact("111", NOW_MS + 1),
        ]
        assert family.queue.send(messages) == []
        assert sorted(family.received(2), key=lambda message: message.planned_ms) == messages

    def test_the_depth_counts_messages_waiting_and_in_flight(self, family: Family) -> None:
        """A message counts until it is deleted, not only until it is delivered."""
        assert family.queue.depth() == 0
        assert family.queue.send([]) == []
        family.queue.send(
            [
                of_contact("4711", NOW_MS),
                of_contact("4712", NOW_MS),
                of_contact("4713", NOW_MS),
            ]
        )
        assert family.queue.depth() == 3
        assert len(family.received(1)) == 1
        assert family.queue.depth() == 3


EVENTS = [
    to_event(
        activity,
        account="default",
        email_addresses=EmailAddresses.PLAIN,
        observed_ms=NOW_MS,
        backfill=number == 0,
    )
    for number, activity in enumerate(
        [
            Activity(
                ActivityType.SENT, "4711", "111", NOW_MS - 9, "2026-11-23", "EMAIL_SEND", "ada@example.org"
            ),
            Activity(
                ActivityType.BOUNCED,
                "4711",
                None,
                NOW_MS - 8,
                "2026-11-23",
                "EMAIL_BOUNCE",
                bounce=Bounce("Z", BounceCategory.BLOCKED, 'Grüße, "später" 💌\n', ""),
            ),
            *(
                Activity(ActivityType.OPENED, "4711", "111", NOW_MS - n, "2026-11-23", "EMAIL_OPEN")
                for n in range(1, 8)
            ),
            *(
                Activity(ActivityType.FORWARDED, "4711", "1", NOW_MS - n, "2026-11-23", "EMAIL_FORWARD")
                for n in range(4)
            ),
        ]
    )
]


class TestBus:
    def test_events_arrive_as_the_whole_envelope(self, family: Family) -> None:
        """A subscriber receives the envelope of EventBridge with the type and the detail of the event."""
        family.bus(VirtualClock(NOW_MS)).publish(EVENTS, deadline_ms=NOW_MS + 60_000)
        received = family.published(len(EVENTS))
        for envelope in received:
            assert set(envelope) == {
                *("version", "id", "detail-type", "source", "account"),
                *("time", "region", "resources", "detail"),
            }
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", envelope["time"])
            assert re.fullmatch(r"\d{12}", envelope["account"])
            assert (envelope["version"], envelope["source"]) == ("0", EVENT_SOURCE)
            assert envelope["resources"] == []
        assert len({envelope["id"] for envelope in received}) == len(EVENTS)
        assert self._contents(received) == self._sent(EVENTS)

    def test_nothing_is_published_for_nothing(self, family: Family) -> None:
        """A walk without new activity publishes nothing."""
        bus = family.bus(VirtualClock(NOW_MS))
        bus.publish([], deadline_ms=NOW_MS)
        bus.publish(EVENTS[:1], deadline_ms=NOW_MS + 60_000)
        assert self._contents(family.published(1)) == self._sent(EVENTS[:1])

    @staticmethod
    def _contents(received: list[dict[str, object]]) -> dict[str, tuple[object, object]]:
        found: dict[str, tuple[object, object]] = {}
        for envelope in received:
            detail = envelope["detail"]
            assert isinstance(detail, dict)
            found[detail["id"]] = envelope["detail-type"], detail
        return found

    @staticmethod
    def _sent(events: list[Event]) -> dict[str, tuple[object, object]]:
        return {event.id: (event.detail_type, json.loads(event.detail)) for event in events}
