"""Which use case does which kind of work."""

from collections.abc import Mapping
from typing import Protocol

from contact_activity.domain.work import Report, WorkItem, WorkKind, WorkPolicy
from contact_activity.ports import WorkPorts
from contact_activity.use_cases.summarize_campaign import summarize
from contact_activity.use_cases.sync_contact import sync


class UseCase(Protocol):
    """Does the work of one item."""

    def __call__(
        self, item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int
    ) -> Report: ...


USE_CASES: Mapping[WorkKind, UseCase] = {WorkKind.CONTACT: sync, WorkKind.CAMPAIGN: summarize}


def work_on(item: WorkItem, ports: WorkPorts, policy: WorkPolicy, *, deadline_ms: int) -> Report:
    """Do the work of an item by the use case of its kind, until `deadline_ms` of the monotonic clock.

    Raises `RetryError` or `FatalError` if the item itself failed, and `StandstillError` if nothing can
    be stored.
    """
    return USE_CASES[item.kind](item, ports, policy, deadline_ms=deadline_ms)
