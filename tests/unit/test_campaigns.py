"""Campaign summaries: listed and handed out by a tick, asked for and published by a worker."""

import pytest

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import Campaign, ListedCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.summary import Summarized, SummaryCounts, SummaryKind
from contact_activity.domain.times import CLOCKS_DIFFER_MS, iso
from contact_activity.domain.work import Outcome, WorkKind
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.use_cases.list_campaigns import CHANGED_BEFORE_SEND_MS, EVERY_MS, MAX_PAGES
from contact_activity.use_cases.summarize_campaign import HELD_MS
from contact_activity.use_cases.tick_report import TickOutcome
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS
from tests.support.world import CALL_MS, World, drain_all

LOOKBACK_DAYS = 30
OLDEST_MS = NOON_MS + CALL_MS - LOOKBACK_DAYS * DAY_MS - CHANGED_BEFORE_SEND_MS
"""The tick's one page of contacts was read by then."""


@pytest.fixture
def world() -> World:
    """No contacts, and five campaigns on three pages of their list."""
    world = World(lookback_days=LOOKBACK_DAYS)
    world.source.sent = [ListedCampaign(str(number), NOON_MS - DAY_MS) for number in range(5)]
    world.source.counts = {(None, "1"): SummaryCounts(sends=9, opens=3)}
    return world


def handed_out(world: World) -> list[str]:
    messages = drain_all(world.queue)
    return [message.id for message in messages if message.kind is WorkKind.CAMPAIGN]


def listings(world: World) -> int:
    return sum(resource == "campaigns" and next_ is None for resource, _, next_ in world.source.asked)


def pages(world: World) -> int:
    return sum(resource == "campaigns" for resource, _, _ in world.source.asked)


# --- the dispatcher -------------------------------------------------------------------------------


def test_a_tick_hands_out_every_recent_campaign_once_an_interval(world: World) -> None:
    """All pages are read; the next ticks of the same six hours ask for nothing."""
    assert world.tick().campaigns_enqueued == 5
    assert handed_out(world) == ["0", "1", "2", "3", "4"]
    world.wait(EVERY_MS - HOUR_MS)
    assert world.tick().campaigns_enqueued == 0
    world.wait(HOUR_MS)
    assert world.tick().campaigns_enqueued == 5
    assert listings(world) == 2


def test_no_campaign_is_listed_unless_its_summary_is_wanted(world: World) -> None:
    """Without `campaign_summary` a tick makes no call for campaigns."""
    world.lookback_days = None
    world.tick()
    assert listings(world) == 0


def test_the_look_back_counts_from_the_last_change_with_room_for_a_planned_send(world: World) -> None:
    """A campaign last changed 30 days before the look-back is the last that is asked for; one without a
    date is asked for too."""
    world.source.sent = [
        ListedCampaign("oldest", OLDEST_MS),
        ListedCampaign("too-old", OLDEST_MS - 1),
        ListedCampaign("undated", None),
        ListedCampaign("oldest", OLDEST_MS),
    ]
    world.tick()
    assert handed_out(world) == ["oldest", "undated"]
    (since_ms, *_) = [since for resource, since, _ in world.source.asked if resource == "campaigns"]
    assert since_ms == OLDEST_MS


def test_contacts_are_handed_out_before_campaigns(world: World) -> None:
    """Activity comes first, whatever the campaigns' list does."""
    world.source.listed = [ListedContact("4711", "")]
    world.tick()
    assert drain_all(world.queue)[0].kind is WorkKind.CONTACT


@pytest.mark.parametrize("failure", [RetryError("busy"), Refusal.NEXT_EXPIRED])
def test_a_list_that_fails_is_begun_again_after_an_hour(world: World, failure: Exception | Refusal) -> None:
    """Nothing is handed out before the list is whole, and the tick itself has not failed."""
    world.source.faults[3] = failure
    report = world.tick()
    assert (report.outcome, report.campaigns_enqueued) == (TickOutcome.DISPATCHED, 0)
    assert report.campaigns_failed is not None
    assert world.tick().campaigns_enqueued == 0
    world.wait(HOUR_MS)
    assert world.tick().campaigns_enqueued == 5


def test_a_dead_credential_met_at_the_list_pauses(world: World) -> None:
    """It holds for the contacts as well."""
    world.source.faults[2] = WaitError(WaitReason.CREDENTIAL)
    world.tick()
    assert [pause.reason for pause in world.pauses.get().by_reason] == [PauseReason.CREDENTIAL]


@pytest.mark.parametrize("failure", [FatalError("refused"), RefusedError("refused")])
def test_a_list_that_is_refused_pauses_nothing(world: World, failure: Exception) -> None:
    """A key may read contacts and not campaigns; it is asked again after an interval."""
    world.source.faults[2] = failure
    report = world.tick()
    assert report.outcome is TickOutcome.DISPATCHED
    assert report.campaigns_failed is not None
    assert world.pauses.get().by_reason == ()
    assert world.tick().campaigns_failed is None
    world.wait(EVERY_MS - HOUR_MS)
    world.tick()
    assert listings(world) == 1


def test_a_used_up_day_pauses_and_the_list_is_asked_for_after_it(world: World) -> None:
    """The quota concerns everybody."""
    world.source.faults[2] = WaitError(WaitReason.QUOTA, NOON_MS + HOUR_MS)
    world.tick()
    assert world.pauses.get().by_reason == (Pause(PauseReason.QUOTA, NOON_MS + HOUR_MS),)
    world.wait(HOUR_MS)
    assert world.tick().campaigns_enqueued == 5


def test_a_list_that_goes_round_ends(world: World) -> None:
    """A cursor that comes again, and a list without end, are failures with a bound."""
    world.source.links = {"2": "2"}
    assert world.tick(begin_listing=False).campaigns_failed is not None
    assert pages(world) == 2
    world.source.links = {str(n): str(n + 2) for n in range(2, 4 * MAX_PAGES, 2)}
    world.source.links[None] = "2"
    world.source.sent = []
    world.wait(HOUR_MS)
    assert world.tick(begin_listing=False).campaigns_failed is not None
    assert pages(world) == 2 + MAX_PAGES


# --- the worker -----------------------------------------------------------------------------------


def test_a_campaign_is_published_first_and_then_when_it_moved(world: World) -> None:
    """Everything, nothing, and then exactly what moved."""
    assert world.summarize("1").published == 1
    world.wait(EVERY_MS)
    report = world.summarize("1")
    assert (report.outcome, report.published) == (Outcome.SUMMARIZED, 0)
    world.source.counts[None, "1"] = SummaryCounts(sends=9, opens=4)
    world.wait(EVERY_MS)
    assert world.summarize("1").published == 1
    first, second = world.events
    assert (first["subject"], first["time"]) == ("1", iso(NOON_MS + CALL_MS))
    assert [event["data"]["changed"] for event in (first, second)] == [["sends", "opens"], ["opens"]]
    assert len(set(world.ids)) == 2


def test_a_message_that_comes_twice_costs_one_call(world: World) -> None:
    """Who was asked since the message was planned is not asked again."""
    world.summarize("1", planned_ms=NOON_MS)
    assert world.summarize("1", planned_ms=NOON_MS).outcome is Outcome.STALE
    assert world.source.calls == 1


def test_a_crash_before_storing_publishes_again_with_an_equal_id(world: World) -> None:
    """The same counts at the same place in the sequence are the same event."""
    world.summarize("1")
    world.database.execute("DELETE FROM campaign")
    world.wait(HOUR_MS)
    world.summarize("1")
    assert len(world.ids) == 2
    assert len(set(world.ids)) == 1


def test_two_workers_with_one_campaign_publish_once(world: World) -> None:
    """Of two workers with one campaign only one asks and publishes."""
    inner: list[Outcome] = []
    world.source.meanwhile[1] = lambda: inner.append(world.summarize("1").outcome)
    assert world.summarize("1").outcome is Outcome.SUMMARIZED
    assert inner == [Outcome.STALE]
    assert len(world.ids) == 1


def test_a_campaign_that_is_gone_publishes_nothing(world: World) -> None:
    """Deleted since it was listed: no failure."""
    world.source.faults[1] = Refusal.GONE
    assert world.summarize("1").outcome is Outcome.GONE
    assert world.events == []


@pytest.mark.parametrize(
    "wait", [WaitError(WaitReason.CREDENTIAL), WaitError(WaitReason.QUOTA, NOON_MS + HOUR_MS)]
)
def test_the_quota_and_the_credential_pause(world: World, wait: WaitError) -> None:
    """What holds for the contacts holds for the campaigns."""
    world.source.faults[1] = wait
    assert world.summarize("1").outcome is Outcome.PAUSED
    assert world.pauses.get().by_reason
    assert world.queue.depth() == 0


def test_a_campaign_that_is_refused_pauses_nothing(world: World) -> None:
    """A key that may read contacts need not be allowed to read campaigns: no failure, and due again."""
    world.source.faults[1] = RefusedError("the API refuses this resource: 403")
    assert world.summarize("1").outcome is Outcome.REFUSED
    assert not world.pauses.get().by_reason
    assert world.campaigns.get("1").summarized.asked_ms is None


def test_a_paused_system_asks_for_no_campaign(world: World) -> None:
    """The message completes without a call; the next listing hands it out again."""
    world.pauses.pause(Pause(PauseReason.OPERATOR, None))
    assert world.summarize("1").outcome is Outcome.PAUSED
    assert world.source.calls == 0


@pytest.mark.parametrize("ahead_ms", [0, 15, CLOCKS_DIFFER_MS])
def test_a_campaign_in_the_hands_of_a_worker_whose_clock_differs_is_left_to_it(
    world: World, ahead_ms: int
) -> None:
    """Both would publish the same summary."""
    until_ms = world.clock.now_ms() + ahead_ms + HELD_MS
    world.campaigns.save(Campaign("1", summarized=Summarized(SummaryKind.CAMPAIGN, until_ms)))
    assert world.summarize("1").outcome is Outcome.STALE
    assert world.source.calls == 0


def test_running_out_of_time_sends_the_message_again_within_its_interval(world: World) -> None:
    """Later the next listing has handed it out anyway, so that no message goes round for ever."""
    assert world.summarize("1", for_ms=1).outcome is Outcome.UNFINISHED
    assert handed_out(world) == ["1"]
    planned_ms = world.clock.now_ms() - EVERY_MS
    assert world.summarize("1", planned_ms=planned_ms, for_ms=1).outcome is Outcome.UNFINISHED
    assert handed_out(world) == []


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, 400 * DAY_MS])
def test_a_message_of_a_time_to_come_does_not_go_round_until_then(world: World, ahead_ms: int) -> None:
    """A clock that ran ahead planned it; it is worked on, and not sent again when time runs out."""
    planned_ms = world.clock.now_ms() + ahead_ms
    assert world.summarize("1", planned_ms=planned_ms, for_ms=1).outcome is Outcome.UNFINISHED
    assert handed_out(world) == []
    assert world.summarize("1", planned_ms=planned_ms).outcome is Outcome.SUMMARIZED


def test_a_campaign_that_fails_gives_its_message_back(world: World) -> None:
    """It is tried again like a contact, and nothing of it is stored."""
    world.source.faults[1] = RetryError("busy")
    with pytest.raises(RetryError):
        world.summarize("1")
    assert world.campaigns.get("1").summarized.asked_ms is None
    assert world.summarize("1").outcome is Outcome.SUMMARIZED


def test_every_campaigns_message_names_its_tick(world: World) -> None:
    """The tick's correlation id goes into each message, and so the operator finds what it led to."""
    world.tick(correlation_id="tick-1")
    assert {message.correlation_id for message in drain_all(world.queue)} == {"tick-1"}
