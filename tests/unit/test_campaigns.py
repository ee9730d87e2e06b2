"""Campaign summaries: listed and handed out by a tick, asked for and published by a worker."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import Campaign, ListedCampaign, SentCampaign
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.event import Event
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.summary import Summarized, SummaryCounts, SummaryKind
from contact_activity.domain.times import CLOCKS_DIFFER_MS, iso
from contact_activity.domain.watermark import Reading
from contact_activity.domain.work import Outcome, WorkKind
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.state.codec import item_from_body, item_to_body
from contact_activity.use_cases.list_campaigns import CHANGED_BEFORE_SEND_MS, EVERY_MS, MAX_PAGES
from contact_activity.use_cases.list_mailings import MAX_ASKED
from contact_activity.use_cases.summarize_campaign import HELD_MS
from contact_activity.use_cases.tick_report import TickOutcome
from tests.support.items import of_campaign
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS
from tests.support.world import CALL_MS, FailingBus, World, drain_all

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


# --- in v3, where mailings have the summaries -------------------------------------------------------


def v3_world(campaigns: int = 13) -> World:
    """Each campaign has one mailing; the newest has two."""
    world = World(reading=Reading("a", is_witnessed=True), lookback_days=LOOKBACK_DAYS)
    sent_ms = NOON_MS - DAY_MS
    world.source.sent = [ListedCampaign(str(n), sent_ms - n, sent_ms - n) for n in range(campaigns)]
    for n in range(campaigns):
        mailings = (f"m{n}", f"again{n}") if n == 0 else (f"m{n}",)
        world.source.resources[str(n)] = SentCampaign(str(n), None, {}, mailings)
    return world


def asked_for(world: World) -> int:
    return sum(resource.startswith("campaign ") for resource, _, _ in world.source.asked)


def summaries_out(world: World) -> list[tuple[str, ...]]:
    return [message.ids for message in drain_all(world.queue) if message.kind is WorkKind.CAMPAIGN]


def test_mailings_are_handed_out_ten_a_message() -> None:
    """A campaign tells its mailings once, and again when it was sent again."""
    world = v3_world()
    assert world.tick().campaigns_enqueued == 14
    first, second = summaries_out(world)
    assert first == ("m0", "again0", *(f"m{n}" for n in range(1, 9)))
    assert second == ("m9", "m10", "m11", "m12")
    assert asked_for(world) == 13
    world.source.sent[5] = ListedCampaign("5", NOON_MS, NOON_MS)
    world.source.resources["5"] = SentCampaign("5", None, {}, ("m5", "again5"))
    world.wait(EVERY_MS)
    assert world.tick().campaigns_enqueued == 15
    assert asked_for(world) == 14


def test_only_what_was_sent_within_the_look_back_is_asked_for_in_v3() -> None:
    """The list tells when that was."""
    world = v3_world(2)
    old_ms = NOON_MS - LOOKBACK_DAYS * DAY_MS - HOUR_MS
    world.source.sent[1] = ListedCampaign("1", old_ms, old_ms)
    world.tick()
    assert summaries_out(world) == [("m0", "again0")]


def test_a_campaign_that_does_not_tell_its_mailings_holds_up_no_other() -> None:
    """It is asked again in an hour; of many that are new so many are asked at once."""
    world = v3_world(3)
    world.source.fault_of["campaign 1"] = RetryError("busy")
    assert world.tick().campaigns_enqueued == 3
    del world.source.fault_of["campaign 1"]
    world.wait(HOUR_MS)
    assert world.tick().campaigns_enqueued == 4
    many = v3_world(MAX_ASKED + 5)
    assert many.tick(for_ms=600_000).campaigns_enqueued == MAX_ASKED + 1
    many.wait(HOUR_MS)
    assert many.tick(for_ms=600_000).campaigns_enqueued == MAX_ASKED + 6


def test_mailings_that_are_known_are_handed_out_where_campaigns_are_refused() -> None:
    """For want of a right; the refusal is told, and costs one call."""
    world = v3_world(3)
    world.tick()
    world.source.sent.append(ListedCampaign("3", NOON_MS, NOON_MS))
    world.source.sent.append(ListedCampaign("4", NOON_MS, NOON_MS))
    world.source.fault = RefusedError("403", is_forbidden=True)
    world.source.fault_of = {"campaigns": None, "contacts": None}  # type: ignore[dict-item]
    world.wait(EVERY_MS)
    before = asked_for(world)
    told = world.tick(begin_listing=False)
    assert (told.campaigns_enqueued, told.campaigns_failed) == (4, "403")
    assert asked_for(world) == before + 1


def test_one_call_brings_the_summaries_of_ten() -> None:
    """What moved of each is published; a mailing that is gone, or was asked for since, holds up no other."""
    world = v3_world()
    ids = tuple(f"m{n}" for n in range(10))
    world.summarize("m3")
    calls = world.source.calls
    item = replace(of_campaign(ids[0], world.clock.now_ms() - 1), more=ids[1:])
    report = world.work_on(item)
    assert (report.outcome, report.published) == (Outcome.SUMMARIZED, 9)
    assert world.source.calls == calls + 1
    assert {event["data"]["campaign"]["id"] for event in world.events} == set(ids)
    again = world.work_on(item)
    assert (again.outcome, len(world.events)) == (Outcome.STALE, 10)


@pytest.mark.parametrize("failure", [RetryError("busy"), RefusedError("403"), WaitError(WaitReason.TIME)])
def test_a_call_that_fails_leaves_all_ten_to_be_asked_for(failure: Exception) -> None:
    """Nothing of them is stored."""
    world = v3_world()
    world.source.faults[1] = failure
    item = replace(of_campaign("m0", world.clock.now_ms()), more=("m1", "m2"))
    with suppress(RetryError):
        world.work_on(item)
    assert [world.campaigns.get(id_).summarized.asked_ms for id_ in item.ids] == [None] * 3
    world.work_on(item)
    assert len(world.events) == 3


def test_a_bus_that_fails_in_between_repeats_nothing_of_those_before() -> None:
    """Those behind are asked for again."""
    world = v3_world()
    item = replace(of_campaign("m0", world.clock.now_ms()), more=("m1", "m2"))
    bus = world.bus

    class OneOnly(FailingBus):
        def publish(self, events: Sequence[Event], *, deadline_ms: int) -> None:
            bus.publish(events, deadline_ms=deadline_ms)
            self.is_down = bus.is_down = True

    world.bus = OneOnly(bus)
    with pytest.raises(RetryError):
        world.work_on(item)
    world.bus = bus
    bus.is_down = False
    world.work_on(item)
    assert len(world.ids) == len(set(world.ids)) == 3


@pytest.mark.parametrize("more", [["m1"], [f"m{n}" for n in range(9)]])
def test_a_message_names_further_campaigns(more: list[str]) -> None:
    """Nine at most, since a call takes ten; an earlier version sent none."""
    item = replace(of_campaign("m0", NOON_MS), more=tuple(more))
    assert item_from_body(item_to_body(item)) == item
    assert "campaign_ids" not in item_to_body(of_campaign("m0", NOON_MS))


@pytest.mark.parametrize("more", ["m1", [1], ["a b"], [f"m{n}" for n in range(10)], {"m1": 1}])
def test_a_message_whose_campaigns_cannot_be_used_is_none_of_ours(more: object) -> None:
    """Too many, or no ids."""
    body = json.dumps({**json.loads(item_to_body(of_campaign("m0", NOON_MS))), "campaign_ids": more})
    with pytest.raises(ValueError, match="campaign_ids"):
        item_from_body(body)


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
