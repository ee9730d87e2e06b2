"""Tell a report that is refused from a right that is missing: only another report that is given tells."""

from contact_activity.domain.answers import TrackingPage
from contact_activity.domain.campaign_report import ReportId
from contact_activity.errors import RefusedError
from contact_activity.ports import Reports, WorkPorts


class MissingRightError(RefusedError):
    """A report is refused, and none is known that is not: maybe for want of a right."""


def note_answer(reports: Reports, id_: ReportId) -> None:
    """Note that the API gives a report, if that is news."""
    is_noted = False
    while not is_noted:
        access = reports.access()
        answered = access.answered(str(id_))
        is_noted = answered == access or reports.save_access(answered, access)


def confirm_right(ports: WorkPorts, id_: ReportId, refusal: RefusedError, *, deadline_ms: int) -> None:
    """Return if the API still gives another report than the one that it refused.

    Raises `MissingRightError` if it gives none, which is noted, and what the source raises.
    """
    reports = ports.store.reports
    access = reports.access()
    others = [other for text in access.answering if (other := ReportId.parse(text)) and other != id_]
    if any(_is_given(ports, other, deadline_ms) for other in others):
        return
    reports.save_access(access.refused(ports.clock.now_ms()), access)
    raise MissingRightError(str(refusal), is_forbidden=True, lacks=refusal.lacks)


def _is_given(ports: WorkPorts, id_: ReportId, deadline_ms: int) -> bool:
    now_ms = ports.clock.now_ms()
    try:
        page = ports.source.campaign_report(
            id_.campaign_id, id_.type, since_ms=now_ms, next_=None, deadline_ms=deadline_ms
        )
    except RefusedError as error:
        if not error.is_forbidden:
            raise
        return False
    return isinstance(page, TrackingPage)
