"""Contact summaries within a sync: when they are asked for, and what a failure of theirs may cost."""

import pytest

from contact_activity.domain.answers import Refusal
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.summary import SUMMARY_AGE_MS, SummaryCounts, SummaryKind
from contact_activity.domain.times import iso
from contact_activity.domain.work import Outcome
from contact_activity.errors import FatalError, RetryError, WaitError, WaitReason
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.world import CALL_MS, World

PAST_MS = NOON_MS - 10 * DAY_MS
BOTH = (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN)
REPORTS = [kind.report for kind in BOTH]


@pytest.fixture
def world() -> World:
    """One contact, `1`, with one activity, in two campaigns; both its summaries are read."""
    world = World(summaries=BOTH)
    world.register("1", [activity(PAST_MS)])
    world.source.counts = {
        ("1", None): SummaryCounts(sends=2, opens=1),
        ("1", "111"): SummaryCounts(opens=1),
        ("1", "112"): SummaryCounts(opens=0),
    }
    return world


def be_active(world: World) -> None:
    """A new open, which the counts show too."""
    world.wait(HOUR_MS)
    world.source.activities["1"].append(activity(world.clock.now_ms() - 1))
    world.source.counts["1", None] = SummaryCounts(sends=2, opens=2)
    world.source.counts["1", "111"] = SummaryCounts(opens=2)


def asked(world: World) -> list[str]:
    return [resource for resource, _, _ in world.source.asked if resource in REPORTS]


def changed(world: World, start: int) -> list[tuple[str, list[str]]]:
    """Type and changed counts of the summary events from the `start`-th event on."""
    found = [event for event in world.events[start:] if "changed" in event["data"]]
    return [(event["type"], event["data"]["changed"]) for event in found]


def test_a_first_sync_publishes_every_summary(world: World) -> None:
    """The contact's own counts and one event for each campaign, after its activity, observed now."""
    report = world.sync()
    assert (report.outcome, report.published, report.summaries_owed) == (Outcome.SYNCED, 4, 0)
    assert [event["type"].split(".")[1] for event in world.events] == [
        *("email", "contact", "contact-campaign", "contact-campaign")
    ]
    assert world.times[1] == iso(NOON_MS + 2 * CALL_MS)
    assert world.contact().summarized(SummaryKind.CONTACT).asked_ms == NOON_MS + 2 * CALL_MS


def test_without_news_no_summary_is_asked_for(world: World) -> None:
    """A sync that finds nothing new costs its one call, until the summaries are 28 days old."""
    world.sync()
    world.wait(SUMMARY_AGE_MS - HOUR_MS)
    before = world.source.calls
    assert world.sync().published == 0
    assert world.source.calls == before + 1
    world.wait(HOUR_MS)
    assert world.sync().published == 0
    assert asked(world) == 2 * REPORTS


def test_with_news_exactly_what_moved_is_published(world: World) -> None:
    """The contact and the one campaign whose counts moved, with what moved."""
    world.sync()
    start = len(world.events)
    be_active(world)
    assert world.sync().published == 3
    assert changed(world, start) == [
        ("contact-activity.contact.summarized.v1", ["opens"]),
        ("contact-activity.contact-campaign.summarized.v1", ["opens"]),
    ]


def test_only_the_summaries_that_are_wanted_are_asked_for(world: World) -> None:
    """A report that is switched off keeps its place, and goes on in its sequence when it is back."""
    world.sync()
    be_active(world)
    world.summaries = (SummaryKind.CONTACT,)
    start = len(world.events)
    world.sync()
    assert changed(world, start) == [("contact-activity.contact.summarized.v1", ["opens"])]
    world.summaries = BOTH
    be_active(world)
    start = len(world.events)
    world.sync()
    assert changed(world, start) == [("contact-activity.contact-campaign.summarized.v1", ["opens"])]


def test_a_crash_after_publishing_publishes_again_with_equal_ids(world: World) -> None:
    """What was published and not stored comes again under the same ids, with the same data."""
    world.sync()
    be_active(world)
    (stored,) = world.database.rows("SELECT remembered, summaries FROM contact")
    start = len(world.events)
    world.sync()
    published = {event["id"]: event["data"] for event in world.events[start:]}
    world.database.execute("UPDATE contact SET remembered = ?, summaries = ?", stored)
    again = len(world.events)
    world.wait(HOUR_MS)
    world.sync()
    assert {event["id"]: event["data"] for event in world.events[again:]} == published
    assert len(published) == 3


@pytest.mark.parametrize(
    "failure", [RetryError("busy"), WaitError(WaitReason.TIME), Refusal.GONE, FatalError("refused")]
)
def test_a_summary_that_cannot_be_had_holds_up_no_activity(
    world: World, failure: Exception | Refusal
) -> None:
    """The contact is synced and its watermark moves, whatever its summary answers."""
    world.source.faults[2] = failure
    report = world.sync()
    assert report.outcome is Outcome.SYNCED
    assert len(world.contact().watermark.remembered) > 0
    assert world.contact().failures == 0
    assert "contact-activity.contact-campaign.summarized.v1" in {event["type"] for event in world.events}


def test_a_summary_that_failed_is_owed_until_it_is_read(world: World) -> None:
    """It is asked for at the next sync, also without news."""
    world.source.faults[2] = RetryError("busy")
    assert world.sync().summaries_owed == 1
    world.wait(HOUR_MS)
    report = world.sync()
    assert (report.published, report.summaries_owed) == (1, 0)
    assert asked(world) == [*REPORTS, "summary"]


@pytest.mark.parametrize("answer", [FatalError("refused"), Refusal.GONE])
def test_a_summary_that_is_refused_is_not_asked_for_every_time(
    world: World, answer: Exception | Refusal
) -> None:
    """Asking again without news would double what a contact costs."""
    world.source.faults[2] = answer
    report = world.sync()
    assert report.summaries_refused == isinstance(answer, FatalError)
    world.wait(HOUR_MS)
    world.sync()
    assert asked(world) == REPORTS


def test_a_bus_that_takes_no_summary_leaves_it_owed(world: World) -> None:
    """Nothing is noted as published that the bus did not take."""
    world.source.meanwhile[2] = lambda: setattr(world.bus, "is_down", True)
    assert world.sync().summaries_owed == 2
    world.bus.is_down = False
    world.wait(HOUR_MS)
    assert world.sync().published == 3


def test_a_used_up_day_pauses_and_leaves_the_summaries_owed(world: World) -> None:
    """The activity is published and noted; the pause is told to all, and no other summary is asked for."""
    until_ms = NOON_MS + HOUR_MS
    world.source.faults = {2: WaitError(WaitReason.QUOTA, until_ms)}
    report = world.sync()
    assert (report.outcome, report.published, report.summaries_owed) == (Outcome.SYNCED, 1, 2)
    assert asked(world) == REPORTS[:1]
    assert world.pauses.get().by_reason == (Pause(PauseReason.QUOTA, until_ms),)


def test_a_resumed_walk_counts_as_news(world: World) -> None:
    """What its first part published is known to the last part only by its marker."""
    world.source.activities["1"] += [activity(PAST_MS - n) for n in range(1, 5)]
    world.sync()
    be_active(world)
    before = len(asked(world))
    first = world.sync(for_ms=2 * CALL_MS + 1)
    assert (first.outcome, first.published) == (Outcome.UNFINISHED, 1)
    assert len(asked(world)) == before
    last = world.sync()
    assert (last.outcome, last.by_type["Email Opened"]) == (Outcome.SYNCED, 0)
    assert asked(world)[before:] == REPORTS


def test_an_unreadable_summary_is_told_by_its_digest(world: World) -> None:
    """It is in the report of the sync, beside the rows that were no activity."""
    world.source.unreadable_summaries = ("0123456789abcdef",)
    assert world.sync().unreadable == ["0123456789abcdef"] * 2


def test_a_bus_that_takes_a_part_of_the_summaries_is_owed_the_rest(world: World) -> None:
    """What it took is known and does not come again; the rest comes with the next sync, without news."""
    world.source.meanwhile[3] = lambda: setattr(world.bus, "takes_only", 1)
    report = world.sync()
    assert (report.published, report.summaries_owed) == (3, 1)
    world.bus.takes_only = None
    world.wait(HOUR_MS)
    assert world.sync().published == 1
    assert len(world.ids) == len(set(world.ids)) == 4


def test_a_summary_names_the_tick_that_asked_for_it(world: World) -> None:
    """As every event does, so that one can be traced to its tick."""
    world.sync(correlation_id="tick-1")
    assert len(world.events) > 2
    assert {event["correlationid"] for event in world.events} == {"tick-1"}
