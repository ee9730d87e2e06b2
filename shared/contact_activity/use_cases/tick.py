"""Run one tick: list contacts into the registry, and hand out those that are due.

The listing goes on where the last tick ran out of time. A message is only a hint: if it is lost or
doubled, a later tick plans the contact again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contact_activity.domain import schedule
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pace import calls_left
from contact_activity.domain.pauses import Pause, PauseReason, is_own_budget
from contact_activity.domain.sharing import contacts_most
from contact_activity.domain.shifts import NO_CALL_MS
from contact_activity.domain.times import midnight_after
from contact_activity.domain.work import WorkItem, WorkKind
from contact_activity.errors import FatalError, RetryError, WaitError, describe
from contact_activity.ports import Clock, TickPorts
from contact_activity.use_cases.hand_out_reports import forget_trust, hand_out_reports
from contact_activity.use_cases.list_campaigns import give_up_listing, hand_out_campaigns
from contact_activity.use_cases.list_contacts import list_contacts
from contact_activity.use_cases.pause_for_wait import pause_for
from contact_activity.use_cases.tick_report import TickOutcome, TickReport
from contact_activity.use_cases.turns import OneAfterTheOther, Turn, Turns

LEASE_MARGIN_MS = 10_000


def run_tick(
    ports: TickPorts,
    *,
    tick_ms: int,
    deadline_ms: int,
    calls_each: int = 1,
    begin_listing: bool = True,
    correlation_id: str | None = None,
    campaign_lookback_days: int | None = None,
    types: tuple[ActivityType, ...] = (),
    is_witnessed: bool = False,
    has_watch: bool = True,
    turns: Turns | None = None,
    has_reports: bool = True,
    is_paced: bool = True,
    report: TickReport | None = None,
) -> TickReport:
    """Run one tick, unless another one holds the lease.

    `calls_each`: how many calls a contact takes when nothing is new. If `begin_listing` is False,
    it only continues a listing that is under way. `correlation_id` goes into every message.
    `campaign_lookback_days`: how long after its send a campaign's summary is asked for; None: never.
    `types`: whose reports of campaigns are read; none: contacts have the whole tick. `is_witnessed`:
    contacts' rows only vouch, and reports publish. `has_watch` False: of those only what rows ask for is
    read. `turns`: when reports
    and contacts are worked on; None: at any time. `has_reports` False: none in this tick.
    `is_paced`: where the day has too few calls for all,
    contacts get a part of it in each tick, so that reports find some until midnight.
    `report` is filled in as the tick goes, so that the caller can record a failed tick too.

    Raises `RetryError` if the listing failed, after handing out what is due. Raises `FatalError` if the
    API refuses to list: otherwise every contact would look gone.
    """
    report = report or TickReport()
    until_ms = _lease_until_ms(ports.clock, deadline_ms)
    if not ports.store.lease.take(now_ms=ports.clock.now_ms(), until_ms=until_ms):
        report.outcome = TickOutcome.LEASE_HELD
        return report
    try:
        _note_pauses(ports, report, tick_ms)
        ports.store.limiter.set_right()
        _lift_raised_budget(ports)
        _probe_credential(ports, deadline_ms)
        turns = turns or OneAfterTheOther()
        may_read_contacts = not is_witnessed or _is_first_listing_complete(ports)
        if not types:
            forget_trust(ports)
        elif has_reports and _is_first_listing_complete(ports) and not _stop_if_paused(ports, report):
            hand_out_reports(
                ports,
                report,
                types,
                turns,
                tick_ms=tick_ms,
                deadline_ms=deadline_ms,
                correlation_id=correlation_id,
                is_witnessed=is_witnessed,
                has_watch=has_watch,
            )
        failure = _list_if_not_paused(ports, report, deadline_ms, begin_listing)
        # Where rows only vouch, reports come first: otherwise contacts would ask for all of them.
        turn = turns.of_contacts() if may_read_contacts else None
        if turn and not _stop_if_paused(ports, report):
            budget = _Budget(tick_ms, calls_each, is_paced=is_paced and bool(types))
            _hand_out(ports, report, budget, turn, deadline_ms, correlation_id)
        if campaign_lookback_days is not None and not _stop_if_paused(ports, report):
            _hand_out_campaigns(
                ports,
                report,
                campaign_lookback_days,
                deadline_ms,
                correlation_id,
                are_mailings=is_witnessed,
            )
        _measure(ports, report)
    finally:
        ports.store.lease.give_back()
    if failure:
        raise failure
    return report


def _is_first_listing_complete(ports: TickPorts) -> bool:
    """Until then a report names contacts that nobody knows."""
    return ports.store.listings.get().full_ms is not None


def _lease_until_ms(clock: Clock, deadline_ms: int) -> int:
    return clock.now_ms() + deadline_ms - clock.monotonic_ms() + LEASE_MARGIN_MS


def _list_if_not_paused(
    ports: TickPorts, report: TickReport, deadline_ms: int, begin_listing: bool
) -> RetryError | None:
    if _stop_if_paused(ports, report):
        return None
    # Read before writing: a write costs more, and a tick rarely failed.
    has_failed = ports.store.listings.failure() is not None
    try:
        list_contacts(ports, report, deadline_ms, begin_listing, has_failed)
    except (RetryError, FatalError) as error:
        ports.store.listings.put_failure(TickFailure(describe(error), ports.clock.now_ms()))
        if isinstance(error, FatalError):
            raise
        return error
    if report.pages and has_failed:
        ports.store.listings.put_failure(None)
    return None


def _note_pauses(ports: TickPorts, report: TickReport, tick_ms: int) -> None:
    """Also record pauses that ended since the last tick, or one that recurs would never show."""
    now_ms = ports.clock.now_ms()
    _add_pauses(report, ports.store.pauses.get().active(now_ms, since_ms=now_ms - tick_ms))


def _add_pauses(report: TickReport, pauses: Sequence[Pause]) -> None:
    reasons = {*report.paused, *(pause.reason.value for pause in pauses)}
    report.paused = tuple(reason.value for reason in PauseReason if reason.value in reasons)


def _stop_if_paused(ports: TickPorts, report: TickReport) -> bool:
    """Record the pauses that hold now in the report. Return whether there are any."""
    active = ports.store.pauses.get().active(ports.clock.now_ms())
    if active:
        report.outcome, report.paused_by = TickOutcome.PAUSED, active[0].reason.value
        report.missing_right = next((of.lacks for of in active if of.lacks), report.missing_right)
        _add_pauses(report, active)
    return bool(active)


def _measure(ports: TickPorts, report: TickReport) -> None:
    now_ms = ports.clock.now_ms()
    oldest_ms = ports.store.contacts.oldest_due_ms(now_ms)
    report.lag_ms = 0 if oldest_ms is None else now_ms - oldest_ms
    report.calls_used = ports.store.limiter.pace().used_on(now_ms)
    report.calls_per_day = ports.store.limiter.limits.calls_per_day


def _lift_raised_budget(ports: TickPorts) -> None:
    """End a quota pause of our own if the operator raised the day's calls since."""
    now_ms = ports.clock.now_ms()
    own = [pause for pause in ports.store.pauses.get().active(now_ms) if is_own_budget(pause, now_ms)]
    if own and calls_left(ports.store.limiter.pace(), ports.store.limiter.limits, now_ms):
        ports.store.pauses.lift(PauseReason.QUOTA)


def _probe_credential(ports: TickPorts, deadline_ms: int) -> None:
    """Ask once a tick whether a refused credential works again."""
    active = ports.store.pauses.get().active(ports.clock.now_ms())
    if [pause.reason for pause in active] != [PauseReason.CREDENTIAL]:
        return
    try:
        ports.source.probe(deadline_ms=deadline_ms)
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)
    except RetryError:
        return
    else:
        ports.store.pauses.lift(PauseReason.CREDENTIAL)


@dataclass(frozen=True, slots=True)
class _Budget:
    """What decides how many contacts a tick hands out."""

    tick_ms: int
    calls_each: int
    is_paced: bool

    def contacts(self, ports: TickPorts, report: TickReport, turn: Turn, now_ms: int) -> int:
        pace, limits = ports.store.limiter.pace(), ports.store.limiter.limits
        window = turn.window
        budget = schedule.tick_budget(
            pace,
            limits,
            from_ms=max(now_ms, window.from_ms) if window else now_ms,
            until_ms=window.until_ms - NO_CALL_MS if window else now_ms + self.tick_ms,
            calls_each=self.calls_each,
            outstanding=ports.queue.depth(),
        )
        if not self.is_paced:
            return budget
        most = contacts_most(
            contacts=ports.store.listings.get().contacts * self.calls_each,
            calls_left=calls_left(pace, limits, now_ms),
            planned=report.report_calls,
            report_calls_a_day=ports.store.reports.feed().report_calls_a_day(now_ms),
            now_ms=now_ms,
            tick_ms=self.tick_ms,
        )
        return budget if most is None else min(budget, max(1, most // self.calls_each))


def _hand_out(
    ports: TickPorts,
    report: TickReport,
    budget: _Budget,
    turn: Turn,
    deadline_ms: int,
    correlation_id: str | None,
) -> None:
    now_ms = ports.clock.now_ms()
    pace, limits = ports.store.limiter.pace(), ports.store.limiter.limits
    report.pulled_back = _pull_back(ports, now_ms, budget.tick_ms, budget.calls_each)
    if calls_left(pace, limits, now_ms) == 0:
        ports.store.pauses.pause(Pause(PauseReason.QUOTA, midnight_after(now_ms)))
        _stop_if_paused(ports, report)
        return
    urgent = [
        WorkItem(WorkKind.CONTACT, contact_id, now_ms, correlation_id, turn.window, is_sampled=True)
        for contact_id in ports.store.reports.take_urgent()
    ]
    if urgent:
        report.enqueued += len(urgent) - len(ports.queue.send(urgent))
    most = budget.contacts(ports, report, turn, now_ms)
    claims = ports.store.contacts.claim(ports.clock, tick_ms=budget.tick_ms, most=most)
    while ports.clock.monotonic_ms() < deadline_ms and not report.rejected:
        now_ms = ports.clock.now_ms()
        claimed = next(claims, None)
        if claimed is None:
            return
        items = [
            WorkItem(WorkKind.CONTACT, contact_id, now_ms, correlation_id, turn.window)
            for contact_id in claimed
        ]
        rejected = ports.queue.send(items)
        ports.store.contacts.release([item.id for item in rejected])
        report.enqueued += len(claimed) - len(rejected)
        report.rejected += len(rejected)


def _pull_back(ports: TickPorts, now_ms: int, tick_ms: int, calls_each: int) -> int:
    """If a clock that ran ahead put contacts off for days or years, make them due now."""
    contacts, limits = ports.store.listings.get().contacts, ports.store.limiter.limits
    reserved = ports.store.reports.feed().reserved(now_ms, tick_ms)
    waits = schedule.longest_waits(
        contacts=contacts, calls_each=calls_each, tick_ms=tick_ms, limits=limits, reserved=reserved
    )
    return ports.store.contacts.pull_back(now_ms, waits)


def _hand_out_campaigns(
    ports: TickPorts,
    report: TickReport,
    lookback_days: int,
    deadline_ms: int,
    correlation_id: str | None,
    *,
    are_mailings: bool,
) -> None:
    """Hand out campaigns after the contacts. A list that fails is reported and holds up nothing."""
    try:
        handed_out = hand_out_campaigns(
            ports,
            lookback_days=lookback_days,
            deadline_ms=deadline_ms,
            correlation_id=correlation_id,
            are_mailings=are_mailings,
        )
        report.campaigns_enqueued = handed_out.campaigns
        report.campaigns_failed = report.campaigns_failed or handed_out.failed
    except (RetryError, FatalError) as error:
        _give_up_campaigns(ports, report, str(error), is_refused=isinstance(error, FatalError))
    except WaitError as wait:
        pause_for(wait, ports.store.pauses)


def _give_up_campaigns(ports: TickPorts, report: TickReport, cause: str, *, is_refused: bool) -> None:
    """Ask for the list later: trying at every tick would use up calls that contacts need."""
    report.campaigns_failed = cause
    give_up_listing(ports.store.campaigns, ports.clock.now_ms(), is_refused=is_refused)
