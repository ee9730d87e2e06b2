"""Which use case does which kind of work."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind, WorkPolicy
from contact_activity.ports import WorkPorts
from contact_activity.use_cases.in_shift import deadline_in, wait_for_shift, window_of
from contact_activity.use_cases.judge_contact import judge
from contact_activity.use_cases.read_report import read_report
from contact_activity.use_cases.summarize_campaign import summarize
from contact_activity.use_cases.sync_contact import sync


class UseCase(Protocol):
    """Does the work of one item."""

    def __call__(
        self, item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int
    ) -> Report: ...


def read_contact(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Sync a contact, or judge its rows where they only vouch."""
    use_case: UseCase = judge if policy.reading.is_witnessed else sync
    return use_case(item, ports, policy, deadline_ms=deadline_ms)


USE_CASES: Mapping[WorkKind, UseCase] = {
    WorkKind.CONTACT: read_contact,
    WorkKind.CAMPAIGN: summarize,
    WorkKind.REPORT: read_report,
}


def work_on(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Do the work of an item by the use case of its kind, until `deadline_ms` of the monotonic clock.

    Raises `RetryError` or `FatalError` if the item itself failed, and `StandstillError` if nothing can
    be stored.
    """
    # A summary is published by nobody else, so it may be asked for in any shift.
    if policy.has_shifts and item.kind is not WorkKind.CAMPAIGN:
        window = window_of(item, ports)
        ended = wait_for_shift(item, window, ports)
        if ended or window is None:
            return ended or Report(Outcome.LATE)
        item = replace(item, window=window)
        deadline_ms = deadline_in(window, ports, deadline_ms)
    return USE_CASES[item.kind](item, ports, policy, deadline_ms=deadline_ms)
