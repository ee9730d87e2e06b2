"""A tick looks at the campaign list, and hands out the reports that are due, before the contacts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import Refusal
from contact_activity.domain.campaign import ListedCampaign, SentCampaign
from contact_activity.domain.campaign_feed import (
    FIRST_EVERY_MS,
    REFUSED_FOR_MS,
    WHOLE_EVERY_MS,
    CampaignFeed,
)
from contact_activity.domain.campaign_report import (
    WATCHED_MS,
    WATCHED_WEEKLY_MS,
    CampaignReport,
    ReportId,
)
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pauses import PauseReason
from contact_activity.domain.times import midnight_after
from contact_activity.domain.trust import Mode, TypeTrust
from contact_activity.domain.work import Outcome, WorkItem, WorkKind
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.state.reports import MAX_DUE
from contact_activity.use_cases.hand_out_reports import MAX_SAMPLING
from contact_activity.use_cases.look_at_campaigns import MAX_ASKED_AGAIN, MAX_LOOKED_AT
from contact_activity.use_cases.look_at_campaigns import MAX_PAGES as MAX_LIST_PAGES
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickOutcome
from contact_activity.use_cases.turns import Turn
from tests.support.rows import DAY_MS, HOUR_MS, NOON_MS, activity
from tests.support.world import CALL_MS, TICK_MS, World, drain_all

OPENED, SENT = ActivityType.OPENED, ActivityType.SENT
ALL = tuple(ActivityType)


def campaigns(world: World, *ids: str, sent_ms: int = NOON_MS) -> None:
    """Have the list show these, each sent a second before the one above it."""
    world.source.sent = [ListedCampaign(id_, sent_ms) for id_ in ids]
    for number, id_ in enumerate(ids):
        if id_ not in world.source.resources:
            world.source.resources[id_] = SentCampaign(id_, sent_ms - 1_000 * number, {})


def of_kind(items: Sequence[WorkItem], kind: WorkKind) -> list[str]:
    return [item.id for item in items if item.kind is kind]


def handed_out(world: World) -> list[str]:
    """The reports that wait in the queue; it is empty then."""
    return of_kind(drain_all(world.queue), WorkKind.REPORT)


def asked_by_tick(world: World, wait_ms: int = TICK_MS) -> list[str]:
    """What the next tick asks the API about campaigns."""
    world.wait(wait_ms)
    before = world.source.calls
    world.tick(begin_listing=False)
    return [resource for resource, _, _ in world.source.asked[before:] if resource != "contacts"]


def watched(world: World) -> list[str]:
    return sorted(str(report.id) for report in world.reports.outlines())


def reports(*campaign_ids: str, types: Sequence[ActivityType] = ALL) -> list[str]:
    return sorted(str(ReportId(id_, type_)) for id_ in campaign_ids for type_ in types)


@pytest.fixture
def world() -> World:
    """Two contacts that are listed, three campaigns that are not yet, and trust in all types."""
    world = World(types=ALL)
    world.source.page_rows = 50
    world.source.listed = [ListedContact(id_, "") for id_ in ("1", "2")]
    campaigns(world, "c", "b", "a")
    world.trust(*ALL)
    world.tick()
    drain_all(world.queue)
    return world


# --- the campaign list ------------------------------------------------------------------------------


def test_no_report_is_read_before_the_contacts_are_listed(world: World) -> None:
    """Until then it names contacts that nobody knows. The fixture's tick listed them."""
    assert [resource for resource, _, _ in world.source.asked] == ["contacts"]
    assert watched(world) == []
    assert asked_by_tick(world) == ["campaigns", "campaign c", "campaign b", "campaign a"]


def test_a_listing_that_is_interrupted_holds_up_the_reports() -> None:
    """A contact of a later page would be unknown to them."""
    world = World(types=ALL)
    world.source.listed = [ListedContact(str(n), "") for n in range(6)]
    campaigns(world, "a")
    for _ in range(2):
        world.tick(for_ms=int(1.5 * CALL_MS / 0.6))
        world.wait(TICK_MS)
    assert not any(resource.startswith("campaign") for resource, _, _ in world.source.asked)


def test_every_report_of_what_was_sent_is_watched_and_handed_out(world: World) -> None:
    """Those of the newest send first, and all before the contacts."""
    world.wait(TICK_MS)
    report = world.tick()
    assert report.reports_enqueued == 18
    assert report.report_calls >= 18
    assert world.reports.feed().report_calls == report.report_calls
    assert watched(world) == reports("a", "b", "c")
    items = drain_all(world.queue)
    kinds = [item.kind for item in items]
    assert kinds == sorted(kinds, key=lambda kind: kind is WorkKind.CONTACT)
    sent = [item.id.partition("-")[0] for item in items if item.kind is WorkKind.REPORT]
    assert sent == [*["c"] * 6, *["b"] * 6, *["a"] * 6]


def test_a_message_names_its_tick(world: World) -> None:
    """And when it was planned."""
    world.wait(TICK_MS)
    world.tick(correlation_id="tick-1")
    items = [item for item in drain_all(world.queue) if item.kind is WorkKind.REPORT]
    assert {item.correlation_id for item in items} == {"tick-1"}
    assert {item.window for item in items} == {None}


def test_a_list_in_which_nothing_is_new_costs_one_page(world: World) -> None:
    """And no call for a campaign, but one an hour for the first, which does not move if it is sent again."""
    world.source.page_rows = 2
    asked_by_tick(world)
    hour = [asked_by_tick(world) for _ in range(8)]
    first_at = FIRST_EVERY_MS // TICK_MS - 1
    assert hour[:first_at] == [["campaigns"]] * first_at
    assert [asked for asked in hour if asked != ["campaigns"]] == [["campaigns", "campaign c"]] * 2


def test_the_whole_list_is_read_once_a_day(world: World) -> None:
    """A campaign that pages shifted out of sight is found then."""
    world.source.page_rows = 2
    asked_by_tick(world)
    world.source.sent.append(ListedCampaign("hidden", NOON_MS))
    world.source.resources["hidden"] = SentCampaign("hidden", NOON_MS - DAY_MS, {})
    assert "campaign hidden" not in asked_by_tick(world)
    asked = asked_by_tick(world, WHOLE_EVERY_MS)
    assert asked.count("campaigns") == 2
    assert "campaign hidden" in asked
    assert reports("hidden")[0] in watched(world)


def test_a_new_campaign_is_looked_at_alone(world: World) -> None:
    """As far as the list is new, page by page."""
    asked_by_tick(world)
    world.source.page_rows = 2
    campaigns(world, "f", "e", "d", "c", "b", "a", sent_ms=NOON_MS + HOUR_MS)
    assert asked_by_tick(world) == ["campaigns", "campaign f", "campaign e", "campaigns", "campaign d"]
    assert asked_by_tick(world) == ["campaigns"]


def test_a_campaign_that_moved_up_was_sent_again(world: World) -> None:
    """Its reports are due at once, and watched anew."""
    asked_by_tick(world)
    handed_out(world)
    for report in list(world.reports.outlines()):
        assert world.reports.save(replace(report, due_ms=NOON_MS + 9 * DAY_MS, quiet=2, deep_ms=NOON_MS))
    campaigns(world, "a", "c", "b")
    sent_ms = world.clock.now_ms()
    world.source.resources["a"] = SentCampaign("a", sent_ms, {})
    assert asked_by_tick(world) == ["campaigns", "campaign a"]
    assert sorted(handed_out(world)) == reports("a")
    again = world.report("a-opens")
    assert (again.sent_ms, again.quiet, again.deep_ms) == (sent_ms, 0, None)


def test_the_first_campaign_tells_by_its_date_that_it_was_sent_again(world: World) -> None:
    """Within an hour."""
    asked_by_tick(world)
    sent_ms = world.clock.now_ms()
    world.source.resources["c"] = SentCampaign("c", sent_ms, {})
    for _ in range(FIRST_EVERY_MS // TICK_MS):
        asked_by_tick(world)
    assert world.report("c-opens").sent_ms == sent_ms
    assert world.report("b-opens").sent_ms < sent_ms


def test_a_campaign_that_is_gone_holds_up_no_other(world: World) -> None:
    """It was deleted since it was listed; it is not asked for again."""
    del world.source.resources["b"]
    asked_by_tick(world)
    assert watched(world) == reports("a", "c")
    assert asked_by_tick(world) == ["campaigns"]


def test_a_campaign_that_was_deleted_leaves_the_list_as_it_is(world: World) -> None:
    """The others do not count as moved."""
    asked_by_tick(world)
    campaigns(world, "c", "a")
    assert asked_by_tick(world) == ["campaigns"]


def test_a_campaign_that_was_never_sent_is_not_watched(world: World) -> None:
    """It may be scheduled."""
    world.source.resources["b"] = SentCampaign("b", None, {})
    asked_by_tick(world)
    assert watched(world) == reports("a", "c")


@pytest.mark.parametrize("sent_ms", [None, "gone"])
def test_a_campaign_that_is_listed_before_it_tells_of_its_send_is_asked_again(
    world: World, sent_ms: object
) -> None:
    """With the whole list, once a day.

    https://github.com/MisterClean/chicago-crashes-pipeline/issues/85: children came in before their parents.
    """
    told = world.source.resources["b"]
    world.source.resources["b"] = SentCampaign("b", None, {})
    if sent_ms:
        del world.source.resources["b"]
    asked_by_tick(world)
    assert not set(watched(world)) & set(reports("b"))
    world.source.resources["b"] = told
    asked_by_tick(world, WHOLE_EVERY_MS)
    assert set(reports("b")) <= set(watched(world))
    assert "campaign b" not in asked_by_tick(world, WHOLE_EVERY_MS)


def test_of_those_that_never_tell_ten_are_asked_again_a_day(world: World) -> None:
    """However many there are."""
    ids = [f"never{number}" for number in range(MAX_ASKED_AGAIN + 5)]
    campaigns(world, *ids)
    for id_ in ids:
        world.source.resources[id_] = SentCampaign(id_, None, {})
    asked_by_tick(world)
    asked = [name for name in asked_by_tick(world, WHOLE_EVERY_MS) if name.startswith("campaign ")]
    assert len(asked) == MAX_ASKED_AGAIN
    assert asked_by_tick(world) == ["campaigns"]


def test_old_campaigns_end_the_list(world: World) -> None:
    """Behind one that was sent before the watch all are older."""
    world.source.page_rows = 2
    campaigns(world, "c", "b", "a", "old", "older", "oldest")
    for id_ in ("old", "older", "oldest"):
        world.source.resources[id_] = SentCampaign(id_, NOON_MS - WATCHED_MS, {})
    asked = asked_by_tick(world)
    assert asked[-1] == "campaign old"
    assert watched(world) == reports("a", "b", "c")
    assert asked_by_tick(world) == ["campaigns"]


@pytest.mark.parametrize("is_first", [True, False])
def test_of_many_new_campaigns_a_tick_looks_at_sixty(world: World, *, is_first: bool) -> None:
    """The newest first; the next ticks at the rest, whether or not the list was read whole before."""
    if not is_first:
        campaigns(world, "a")
        asked_by_tick(world)
        world.reports.put_feed(replace(world.reports.feed(), first_ms=world.clock.now_ms() + TICK_MS))
    ids = [f"n{number}" for number in range(2 * MAX_LOOKED_AT + 5)]
    campaigns(world, *ids)
    looked_at = [[id_ for id_ in asked_by_tick(world) if id_ != "campaigns"] for _ in range(4)]
    assert [len(of) for of in looked_at[:2]] == [MAX_LOOKED_AT] * 2
    assert looked_at[0] == [f"campaign {id_}" for id_ in ids[:MAX_LOOKED_AT]]
    assert {id_ for of in looked_at for id_ in of} == {f"campaign {id_}" for id_ in ids}
    assert set(reports(*ids)) <= set(watched(world))


def test_a_list_in_another_order_each_time_takes_a_share_of_the_day(world: World) -> None:
    """All of it looks moved each time, and contacts have the rest of the calls."""
    ids = [f"n{number}" for number in range(50)]
    looked_at: Counter[int] = Counter()
    for tick in range(2 * DAY_MS // TICK_MS):
        campaigns(world, *(ids if tick % 2 else ids[::-1]))
        asked = asked_by_tick(world)
        looked_at[world.clock.now_ms() // DAY_MS] += sum(name.startswith("campaign ") for name in asked)
    most = CampaignFeed().looks_left(world.limits.calls_per_day, NOON_MS)
    assert max(looked_at.values()) == most


# --- a list that fails ------------------------------------------------------------------------------


def test_a_list_that_is_refused_is_left_alone_for_a_day(world: World) -> None:
    """A key may read contacts and not campaigns: it is said, pauses nothing, and contacts have the tick."""
    world.source.fault_of["campaigns"] = RefusedError("the API refuses this resource: 403")
    world.contacts.make_due(NOON_MS)
    world.wait(TICK_MS)
    report = world.tick(begin_listing=False)
    assert (report.outcome, report.enqueued) == (TickOutcome.DISPATCHED, 2)
    assert report.campaigns_failed == "the API refuses this resource: 403"
    assert not world.pauses.get().by_reason
    del world.source.fault_of["campaigns"]
    assert asked_by_tick(world) == []
    assert asked_by_tick(world, REFUSED_FOR_MS)[0] == "campaigns"
    assert world.reports.feed().refused_ms is None


@pytest.mark.parametrize("fault", [RetryError("busy"), FatalError("no"), RefusedError("403")])
def test_a_list_that_fails_holds_up_no_report_that_is_known(world: World, fault: Exception) -> None:
    """It is said, and the tick itself has not failed."""
    asked_by_tick(world)
    handed_out(world)
    world.source.fault_of["campaigns"] = fault
    world.reports.make_due(NOON_MS)
    world.wait(TICK_MS)
    report = world.tick(begin_listing=False)
    assert (report.outcome, report.campaigns_failed) == (TickOutcome.DISPATCHED, str(fault))
    assert len(handed_out(world)) == report.reports_enqueued > 0


def test_a_cursor_of_the_list_that_expires_is_a_failure(world: World) -> None:
    """What was looked at until then stays watched; the next tick reads on."""
    world.source.page_rows = 2
    world.source.fault_of_next = Refusal.NEXT_EXPIRED
    world.wait(TICK_MS)
    assert world.tick(begin_listing=False).campaigns_failed
    assert watched(world) == reports("b", "c")
    world.source.fault_of_next = None
    asked_by_tick(world)
    assert watched(world) == reports("a", "b", "c")


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(
    ("wait", "reason"),
    [
        (WaitError(WaitReason.CREDENTIAL), PauseReason.CREDENTIAL),
        (WaitError(WaitReason.QUOTA, midnight_after(NOON_MS)), PauseReason.QUOTA),
    ],
)
def test_the_quota_and_the_credential_pause(
    world: World, wait: WaitError, reason: PauseReason, call: int
) -> None:
    """Nothing else is asked in this tick, and nobody is handed out."""
    world.source.faults[world.source.calls + call] = wait
    world.contacts.make_due(NOON_MS)
    calls = world.source.calls
    report = world.tick()
    assert (report.outcome, report.paused_by, report.enqueued) == (TickOutcome.PAUSED, reason, 0)
    assert [pause.reason for pause in world.pauses.get().by_reason] == [reason]
    assert world.source.calls == calls + call


@pytest.mark.parametrize("fault", [RetryError("no answer came in time"), FatalError("the API answered 422")])
def test_a_campaign_that_fails_holds_up_no_other(world: World, fault: Exception) -> None:
    """It is said, and asked for again at the next tick, and nobody else is."""
    world.source.fault_of["campaign b"] = fault
    world.wait(TICK_MS)
    assert world.tick(begin_listing=False).campaigns_failed == str(fault)
    assert watched(world) == reports("a", "c")
    assert asked_by_tick(world) == ["campaigns", "campaign b"]
    del world.source.fault_of["campaign b"]
    asked_by_tick(world)
    assert watched(world) == reports("a", "b", "c")


def test_a_slow_api_does_not_keep_a_look_from_getting_on(world: World) -> None:
    """What was looked at before the time was up is not asked for again."""
    for _ in range(3):
        world.wait(TICK_MS)
        world.tick(for_ms=2 * CALL_MS, begin_listing=False)
    assert [resource for resource, _, _ in world.source.asked[1:]] == [
        *("campaigns", "campaign c"),
        *("campaigns", "campaign b"),
        *("campaigns", "campaign a"),
    ]
    assert watched(world) == reports("a", "b", "c")


@pytest.mark.parametrize("broken", ["a page links to itself", "links go round", "ever new cursors"])
def test_a_list_that_goes_round_costs_few_calls(world: World, broken: str) -> None:
    """In every tick; what it shows is watched."""
    world.source.page_rows = 1
    if broken == "ever new cursors":
        world.source.round_pages = 3
    else:
        world.source.links = {"2": "2"} if broken == "a page links to itself" else {"2": "0"}
    assert asked_by_tick(world).count("campaigns") <= 7
    assert watched(world) == reports("a", "b", "c")
    assert asked_by_tick(world).count("campaigns") <= 7
    assert MAX_LIST_PAGES > 7


def test_an_empty_page_of_the_list_fails_no_tick(world: World) -> None:
    """Though it says that there is another."""
    asked_by_tick(world)
    world.source.sent = []
    world.source.links = {None: "2"}
    world.contacts.make_due(NOON_MS)
    world.wait(TICK_MS)
    report = world.tick(begin_listing=False)
    assert (report.outcome, report.enqueued) == (TickOutcome.DISPATCHED, 2)


# --- which reports ----------------------------------------------------------------------------------


def test_only_the_types_that_are_read_are_watched(world: World) -> None:
    """As the setting says."""
    world.types = (SENT, OPENED)
    asked_by_tick(world)
    assert watched(world) == reports("a", "b", "c", types=world.types)
    assert sorted(handed_out(world)) == watched(world)


def test_a_type_that_is_left_out_costs_no_call(world: World) -> None:
    """Its reports are put off by a day each time, and handed out when it is read again."""
    asked_by_tick(world)
    handed_out(world)
    world.types = (SENT,)
    world.reports.make_due(NOON_MS)
    asked_by_tick(world)
    assert sorted(handed_out(world)) == reports("a", "b", "c", types=(SENT,))
    now_ms = world.clock.now_ms()
    due_ms = world.report("a-opens").due_ms
    assert due_ms
    assert now_ms < due_ms <= now_ms + DAY_MS
    world.types = ALL
    asked_by_tick(world, DAY_MS)
    assert set(reports("a", "b", "c", types=(OPENED,))) <= set(handed_out(world))


def test_a_type_that_is_added_is_read_of_all_campaigns_within_a_day(world: World) -> None:
    """Though none of them moves in the list, and without a call for each."""
    world.types = (SENT,)
    asked_by_tick(world)
    world.types = (SENT, OPENED)
    asked = asked_by_tick(world, WHOLE_EVERY_MS)
    assert watched(world) == reports("a", "b", "c", types=world.types)
    assert set(asked) <= {"campaigns", "campaign c"}


def test_reports_that_are_switched_off_are_not_trusted_when_they_are_on_again(world: World) -> None:
    """Off, no call is made for campaigns; on again, they begin on probation."""
    asked_by_tick(world)
    handed_out(world)
    world.types = ()
    assert asked_by_tick(world) == []
    assert world.reports.trust().types == {}
    version = world.reports.trust().version
    assert asked_by_tick(world) == []
    assert world.reports.trust().version == version
    world.types = ALL
    asked_by_tick(world)
    assert {world.trust_of(type_).mode for type_ in ALL} == {Mode.PROBATION}


def test_a_clock_that_ran_ahead_has_no_report_read_anew_each_time(world: World) -> None:
    """It wrote since when the type is trusted. A report of many pages would never be read to its end."""
    campaigns(world, "7")
    year_ms = NOON_MS + 365 * DAY_MS
    ahead = world.reports.trust().with_type(OPENED, TypeTrust(Mode.PUBLISH, year_ms, sampled_ms=NOON_MS))
    assert world.reports.save_trust(ahead)
    world.register("1")
    world.source.shown["7"] = [activity(NOON_MS - n * 1_000) for n in range(50)]
    world.source.page_rows = 2
    for _ in range(2):
        world.tick()
        item = next(item for item in drain_all(world.queue) if item.id == "7-opens")
        told = world.work_on(item)
        world.wait(TICK_MS)
    assert (told.outcome, len(world.ids)) == (Outcome.READ, 50)
    assert world.report("7-opens").read_ms is not None


@pytest.mark.parametrize("ahead_ms", [20 * DAY_MS, WATCHED_WEEKLY_MS])
def test_a_clock_that_ran_ahead_ends_no_watch(world: World, ahead_ms: int) -> None:
    """By it the campaigns were old, some too old to be read again. Once it is right they are young."""
    world.tick()
    world.wait(ahead_ms)
    world.tick()
    for item in drain_all(world.queue):
        world.work_on(item)
    world.wait(-ahead_ms)
    world.tick()
    assert sorted(handed_out(world)) == reports("a", "b", "c")


def test_a_tick_may_leave_the_reports_out(world: World) -> None:
    """A run that was once through them does not begin again."""
    world.wait(TICK_MS)
    calls = world.source.calls
    ports = world.tick_ports()
    deadline_ms = world.clock.now_ms() + HOUR_MS
    run_tick(ports, tick_ms=TICK_MS, deadline_ms=deadline_ms, types=ALL, has_reports=False)
    assert [resource for resource, _, _ in world.source.asked[calls:]] == ["contacts"]
    assert world.trust_of(OPENED).mode is Mode.PUBLISH


def test_a_type_that_is_off_is_said_and_not_read(world: World) -> None:
    """The others are."""
    world.trust(OPENED, mode=Mode.OFF)
    world.wait(TICK_MS)
    assert world.tick().report_types_off == ("opens",)
    assert not set(handed_out(world)) & set(reports("a", "b", "c", types=(OPENED,)))


def test_on_probation_a_few_reports_of_each_type_are_handed_out_for_a_sample(world: World) -> None:
    """Until one was taken; then none for a day."""
    world.trust(*ALL, mode=Mode.PROBATION)
    campaigns(world, "d", "c", "b", "a", sent_ms=NOON_MS + 1)
    trust = world.reports.trust()
    assert world.reports.save_trust(trust.with_type(OPENED, TypeTrust()))
    asked_by_tick(world)
    assert len(handed_out(world)) == MAX_SAMPLING
    asked_by_tick(world, DAY_MS)
    found = handed_out(world)
    for type_ in ALL:
        assert sum(id_.endswith(f"-{type_.report}") for id_ in found) == MAX_SAMPLING


def test_what_the_queue_does_not_take_stays_due(world: World) -> None:
    """The next tick hands it out."""
    world.queue.rejected = {"c-opens"}
    world.wait(TICK_MS)
    assert world.tick().reports_enqueued == 17
    world.queue.rejected = set()
    handed_out(world)
    asked_by_tick(world)
    assert "c-opens" in handed_out(world)


class NoTurn:
    """The `Turns` port of a dispatcher that came too late for reports."""

    def of_reports(self, work_ms: int) -> Turn | None:
        return Turn() if work_ms == 0 else None

    def of_contacts(self) -> Turn | None:
        return Turn()


def test_without_a_turn_reports_wait_for_another_tick(world: World) -> None:
    """The list is looked at, and contacts are handed out."""
    world.contacts.make_due(NOON_MS)
    world.wait(TICK_MS)
    ports = world.tick_ports()
    deadline_ms = world.clock.now_ms() + HOUR_MS
    report = run_tick(ports, tick_ms=TICK_MS, deadline_ms=deadline_ms, types=ALL, turns=NoTurn())
    assert (report.reports_enqueued, report.report_calls, report.enqueued) == (0, 0, 2)
    assert watched(world) == reports("a", "b", "c")
    assert handed_out(world) == []
    assert world.reports.feed().report_calls == 0


# --- what is handed out with the contacts -----------------------------------------------------------


def test_urgent_contacts_are_handed_out_once_and_first(world: World) -> None:
    """Theirs are compared with the sample, whether they are due or not."""
    for contact_id in ("1", "2"):
        world.sync(contact_id)
    world.reports.add_urgent(["2"])
    world.wait(TICK_MS)
    assert world.tick(begin_listing=False).enqueued >= 1
    contacts = [item for item in drain_all(world.queue) if item.kind is WorkKind.CONTACT]
    assert (contacts[0].id, contacts[0].is_sampled) == ("2", True)
    assert world.reports.take_urgent() == ()
    assert not any(item.is_sampled for item in contacts[1:])


def test_an_urgent_contact_that_is_due_too_is_read_once(world: World) -> None:
    """Of its two messages the second is stale."""
    rows = [activity(NOON_MS)]
    world.source.activities["1"] = rows
    world.contacts.make_due(NOON_MS)
    world.reports.add_urgent(["1"])
    world.wait(TICK_MS)
    world.tick(begin_listing=False)
    items = [item for item in drain_all(world.queue) if item.id == "1"]
    outcomes = [world.work_on(item).outcome for item in items]
    assert outcomes == [Outcome.SYNCED, Outcome.STALE]


def test_an_account_of_campaigns_is_read_to_its_end(world: World) -> None:
    """Tick by tick: every row that contacts and reports show is published once."""
    rows = [
        replace(activity(NOON_MS + n * 1_000, type_, contact_id=contact_id), campaign_id=campaign_id)
        for n, type_ in enumerate((SENT, OPENED, ActivityType.BOUNCED))
        for contact_id in ("1", "2", "3")
        for campaign_id in ("a", "b", "c")
    ]
    for row in rows:
        world.source.shown.setdefault(row.campaign_id or "", []).append(row)
        world.source.activities.setdefault(row.contact_id, []).append(row)
    for _ in range(3):
        world.wait(TICK_MS)
        world.tick()
        for item in drain_all(world.queue):
            world.work_on(item)
    known = [row for row in rows if row.contact_id != "3"]
    assert len(world.ids) == len(set(world.ids)) == len(known)


def test_reports_that_wait_for_a_sample_hold_up_no_other(world: World) -> None:
    """However many there are: a store gives only so many of those that are due, who waits longest first.

    https://github.com/apache/airflow/issues/19622: tasks that could not run stood before all others.
    """
    world.trust(SENT, mode=Mode.PROBATION)
    for number in range(MAX_DUE):
        id_ = ReportId(f"old{number}", SENT)
        assert world.reports.save(CampaignReport(id_, NOON_MS, world.clock.now_ms()))
    asked_by_tick(world)
    handed_out(world)
    campaigns(world, "d", "c", "b", "a", sent_ms=NOON_MS + 1)
    asked_by_tick(world)
    asked_by_tick(world)
    assert "d-opens" in handed_out(world)


def test_a_report_that_waits_for_a_sample_is_over_after_ninety_days(world: World) -> None:
    """Though none was taken of it."""
    asked_by_tick(world)
    assert set(reports("a", "b", "c", types=(SENT,))) <= set(watched(world))
    world.wait(WATCHED_WEEKLY_MS)
    trust = world.reports.trust()
    now_ms = world.clock.now_ms()
    taken = TypeTrust(Mode.PROBATION, now_ms, sampled_ms=now_ms)
    assert world.reports.save_trust(trust.with_type(SENT, taken))
    asked_by_tick(world)
    assert not set(watched(world)) & set(reports("a", "b", "c", types=(SENT,)))
