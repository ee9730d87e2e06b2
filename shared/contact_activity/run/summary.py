"""Result of a run, and how the workers add to it."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right, missing_right
from contact_activity.domain.work import Outcome, Report, WorkItem, WorkKind
from contact_activity.ports import Store


@dataclass(slots=True)
class Summary:
    """Result of a run.

    `events` counts what was published, by detail type. `failed` maps contacts and campaigns to the
    error of their last try. `reports` counts the campaigns' reports that were read, or sampled.
    `failed_reports` maps the ids of others to the error of their last try: no failure of the run, since
    contacts' own reports show the same. `failed_calls` counts calls by the cause of their failure,
    including calls that succeeded at a later try. `tries` counts the tries of all calls, `retries` those that
    another one followed, by the status or the cause. `unreachable` says in one line why the run gave up
    connecting to the API, or could not try a refused credential again, and what to check; None if neither
    happened. `asking`: the rows of contacts that
    no report has shown yet, `owed` of them for more than a day. `missing_right`: what the credential lacks,
    for which contacts' own reports were refused (`refused`, not failed), or mailings' reports, so that their
    rows are owed; None if nothing is missing. `owing` maps the ids of reports that rows wait for to the
    failure of their last try. `pause` is the pause that ended the run; None if there was none. `denied`: the
    last error by which the token endpoint refused a refresh; "" if it refused none.
    """

    contacts: int = 0
    synced: int = 0
    gone: int = 0
    newly_gone: int = 0
    unreadable_rows: int = 0
    unreadable_contacts: int = 0
    collapsed: int = 0
    full_memories: int = 0
    restarts: int = 0
    owed_summaries: int = 0
    reports: int = 0
    asking: int = 0
    owed: int = 0
    calls_today: int = 0
    events: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    failed_reports: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    owing: dict[str, str] = field(default_factory=dict)
    missing_right: Right | None = None
    failed_calls: Counter[str] = field(default_factory=Counter)
    tries: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    unreachable: str | None = None
    pause: Pause | None = None
    denied: str = ""

    @property
    def published(self) -> int:
        return self.events.total()

    @property
    def finished(self) -> int:
        """How many contacts were read, are gone, or failed at all tries."""
        return self.synced + self.gone + len(self.failed) + len(self.refused)

    @property
    def finished_reports(self) -> int:
        """How many reports were read or sampled, or failed."""
        return self.reports + len(self.failed_reports)


def add_what_waits(summary: Summary, store: Store) -> None:
    """Add what contacts' rows wait for, where they only vouch, and why."""
    access, outlines = store.reports.access(), list(store.contacts.outlines())
    # If the API gave some contacts' own reports in this run, those that it refused have failed.
    contacts = [] if summary.synced else outlines
    right = missing_right(
        access,
        list_lacks=store.reports.feed().lacks,
        contacts=contacts,
        pauses=[summary.pause] if summary.pause else (),
    )
    if summary.synced or right is None:
        summary.failed |= summary.refused
        summary.refused.clear()
    summary.missing_right = right
    summary.asking = sum(contact.asking for contact in outlines)
    summary.owed = summary.asking if access.is_missing else sum(contact.owed for contact in outlines)
    if not access.is_missing:
        owing = (report for report in store.reports.outlines() if report.is_owing)
        summary.owing = {str(report.id): report.last_error or "" for report in owing}


class WorkRecorder:
    """Adds the results of workers to a summary. Every method may be called from any thread."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._lock = threading.Lock()

    def record_report(self, item: WorkItem, report: Report) -> None:
        with self._lock:
            self._summary.unreadable_rows += len(report.unreadable)
            self._summary.failed.pop(str(item), None)
            self._summary.refused.pop(str(item), None)
            if item.kind is WorkKind.CONTACT:
                self._add_contact(item, report)
            elif item.kind is WorkKind.REPORT:
                self._add_report(item, report)

    def record_failure(self, item: WorkItem, error: Exception) -> None:
        with self._lock:
            is_of_report = item.kind is WorkKind.REPORT
            failed = self._summary.failed_reports if is_of_report else self._summary.failed
            failed[item.id if is_of_report else str(item)] = str(error)

    def _add_report(self, item: WorkItem, report: Report) -> None:
        is_read = report.outcome in (Outcome.READ, Outcome.SAMPLED)
        self._summary.reports += is_read
        if is_read:
            self._summary.failed_reports.pop(item.id, None)
        elif report.outcome is Outcome.FAILED:
            self._summary.failed_reports[item.id] = report.error or ""

    def _add_contact(self, item: WorkItem, report: Report) -> None:
        summary = self._summary
        if report.outcome is Outcome.REFUSED:
            summary.refused[str(item)] = report.error or ""
        summary.synced += report.outcome is Outcome.SYNCED
        summary.gone += report.outcome is Outcome.GONE
        summary.newly_gone += report.is_newly_gone
        summary.collapsed += report.counts.collapsed
        summary.full_memories += report.memory_is_full
        summary.restarts += report.restarts
        summary.owed_summaries += report.summaries_owed + report.summaries_refused
