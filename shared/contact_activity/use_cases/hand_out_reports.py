"""Hand out the campaigns' reports that are due."""

from collections.abc import Iterable
from dataclasses import replace

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import CampaignReport, latest_due_ms
from contact_activity.domain.pace import calls_left
from contact_activity.domain.rights import missing_right
from contact_activity.domain.sharing import PlannedReports, plan_reports
from contact_activity.domain.times import DAY_MS
from contact_activity.domain.trust import Mode, Trust, TypeTrust
from contact_activity.domain.work import WorkItem, WorkKind
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError, describe
from contact_activity.ports import TickPorts
from contact_activity.use_cases.change_trust import change_trust
from contact_activity.use_cases.look_at_campaigns import look_at_campaigns
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import Turns

# Enough to find rows for a sample, and few enough to cost little while there are none.
MAX_SAMPLING = 3


def hand_out_reports(
    ports: TickPorts,
    report: TickReport,
    types: tuple[ActivityType, ...],
    turns: Turns,
    *,
    tick_ms: int,
    deadline_ms: int,
    correlation_id: str | None,
    is_witnessed: bool = False,
    has_watch: bool = True,
) -> None:
    """Look at the campaign list, and send a message for each report that this tick reads.

    A list that fails is reported and holds up nothing: reports that are known are read all the same.
    `is_witnessed`: contacts' rows only vouch, so that reports need no trust. `has_watch` False: only what
    contacts' rows ask for is read.
    """
    if has_watch:
        _look(ports, report, types, deadline_ms)
    most = None
    if is_witnessed:
        access, lacks = ports.store.reports.access(), ports.store.reports.feed().lacks
        report.missing_right = missing_right(access, list_lacks=lacks) or ""
        most = access.most_tried(ports.clock.now_ms())
        trust = _all_trusted(ports, types)
    else:
        trust = _set_right(ports, types)
        _ask_samples_again(ports, types, trust)
        report.report_types_off = tuple(of.report for of in types if trust.of(of).is_doubted)
    if ports.store.pauses.get().active(ports.clock.now_ms()):
        return
    planned = _planned(ports, types, trust, tick_ms, only_asked=not has_watch, most=most)
    if not planned.reports:
        return
    turn = turns.of_reports(planned.work_ms)
    if turn is None:
        return
    now_ms = ports.clock.now_ms()
    items = [
        WorkItem(WorkKind.REPORT, str(of.id), now_ms, correlation_id, turn.window, pages=pages)
        for of, pages in zip(planned.reports, planned.pages, strict=True)
    ]
    rejected = ports.queue.send(items)
    report.reports_enqueued = len(items) - len(rejected)
    report.report_calls = planned.calls
    reports = ports.store.reports
    reports.put_feed(reports.feed().counted(planned.calls, now_ms))


def _all_trusted(ports: TickPorts, types: tuple[ActivityType, ...]) -> Trust:
    """Trust every type from the beginning, where nothing else publishes. Stored once, for who looks at it."""
    trust = ports.store.reports.trust()
    all_trusted = replace(trust, types={type_: TypeTrust(Mode.PUBLISH) for type_ in types})
    if all_trusted != trust:
        ports.store.reports.save_trust(all_trusted)
    return all_trusted


def forget_trust(ports: TickPorts) -> None:
    """While reports are switched off nobody trusts them: switched on again, they begin on probation.

    All of them are due then: those of a type that was off would wait for a day.
    """
    trust = ports.store.reports.trust()
    if trust.types and ports.store.reports.save_trust(replace(trust, types={})):
        ports.store.reports.make_due(ports.clock.now_ms())


def _set_right(ports: TickPorts, types: Iterable[ActivityType]) -> Trust:
    """Trust no type since a time to come: until then each read would count as one before, and begin anew."""
    reports, now_ms = ports.store.reports, ports.clock.now_ms()
    trust = reports.trust()
    ahead = [type_ for type_ in types if trust.of(type_).since_ms > now_ms]
    for type_ in ahead:
        change_trust(reports, type_, lambda of: of.set_right(now_ms))
    return reports.trust() if ahead else trust


def _ask_samples_again(ports: TickPorts, types: Iterable[ActivityType], trust: Trust) -> None:
    """Have the contacts of a sample read again whose rows were not all shown an hour ago."""
    now_ms = ports.clock.now_ms()
    for type_ in types:
        if trust.of(type_).is_asked_again(now_ms):
            asked = change_trust(ports.store.reports, type_, lambda of: replace(of, asked_ms=now_ms))
            ports.store.reports.add_urgent(list(asked.pending))


def _look(ports: TickPorts, report: TickReport, types: tuple[ActivityType, ...], deadline_ms: int) -> None:
    reports, now_ms = ports.store.reports, ports.clock.now_ms()
    feed = reports.feed()
    if feed.is_refused(now_ms):
        return
    try:
        seen = look_at_campaigns(ports, feed, types, deadline_ms)
    except RefusedError as error:
        # A key may read contacts and not campaigns. That is no reason to pause.
        report.campaigns_failed = describe(error)
        seen = replace(reports.feed(), refused_ms=now_ms, lacks=error.lacks)
    except (RetryError, FatalError) as error:
        report.campaigns_failed = describe(error)
        return
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)
        return
    if seen != feed:
        reports.put_feed(seen)


def _planned(
    ports: TickPorts,
    types: tuple[ActivityType, ...],
    trust: Trust,
    tick_ms: int,
    *,
    only_asked: bool,
    most: int | None,
) -> PlannedReports:
    """What this tick reads. `most`: only so many, those that are due for longest; None: all."""
    store, now_ms = ports.store, ports.clock.now_ms()
    if most == 0:
        return PlannedReports()
    store.reports.make_due(now_ms, after_ms=latest_due_ms(now_ms))
    # What is due before the next tick is due now, or a wait of one tick would take two.
    found = store.reports.due(now_ms + tick_ms // 2)
    if only_asked:
        _put_off_unasked(ports, found)
    wanted = [report for report in found if report.is_asked or not only_asked]
    due = _wanted(ports, wanted, types, trust, tick_ms)
    if not due:
        return PlannedReports()
    if most is not None:
        due = sorted(due, key=lambda report: report.due_ms or 0)[:most]
    return plan_reports(
        due,
        contacts=store.listings.get().contacts,
        trusted_ms={
            type_: trust.of(type_).since_ms for type_ in types if trust.of(type_).mode is Mode.PUBLISH
        },
        calls_left=calls_left(store.limiter.pace(), store.limiter.limits, now_ms),
        now_ms=now_ms,
        tick_ms=tick_ms,
        slot_ms=store.limiter.limits.slot_ms,
    )


def _put_off_unasked(ports: TickPorts, due: Iterable[CampaignReport]) -> None:
    """A store gives only the first that are due: those that nobody asks for would stay before all."""
    for report in due:
        if not report.is_asked:
            ports.store.reports.save(replace(report, due_ms=ports.clock.now_ms() + DAY_MS))


def _wanted(
    ports: TickPorts,
    due: Iterable[CampaignReport],
    types: tuple[ActivityType, ...],
    trust: Trust,
    tick_ms: int,
) -> list[CampaignReport]:
    """Those of the types that are read and trusted, and a few of those that need a sample.

    The others are put off: a store gives only the first that are due, and they would stay before all.
    """
    now_ms = ports.clock.now_ms()
    wanted: list[CampaignReport] = []
    sampling = dict.fromkeys(types, 0)
    for report in due:
        type_ = report.id.type
        of_type = trust.of(type_)
        if type_ not in types or of_type.mode is Mode.OFF:
            ports.store.reports.save(replace(report, due_ms=now_ms + DAY_MS))
        elif of_type.mode is Mode.PUBLISH:
            wanted.append(report)
        elif of_type.is_sample_due(now_ms) and sampling[type_] < MAX_SAMPLING:
            sampling[type_] += 1
            wanted.append(report)
        else:
            ports.store.reports.save(report.put_off(now_ms, tick_ms))
    return wanted
