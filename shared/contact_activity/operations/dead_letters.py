"""Lists what failed, contacts, campaigns' reports and dead letters, and has it tried again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import Contact, ContactOutline
from contact_activity.domain.work import DeadLetter, WorkKind
from contact_activity.errors import RetryError
from contact_activity.operations.change_contacts import MAX_TRIES, change_contacts
from contact_activity.operations.system import System
from contact_activity.ports import DeadLetters, Reports


@dataclass(frozen=True, slots=True)
class Failures:
    """What failed and waits: contacts and campaigns' reports whose last try failed, and dead letters.

    `letter_contacts` holds the contact of each of `letters`, None where no contact is stored.
    """

    contacts: list[ContactOutline]
    reports: list[CampaignReport]
    letters: list[DeadLetter]
    letter_contacts: list[ContactOutline | None]


def find_failures(system: System) -> Failures:
    """Read what failed. The dead letters stay in their queue."""
    with taken_letters(system) as taken:
        letters = [letter for batch in taken.batches() for letter in batch]
    contact_ids = {contact_id_of(letter) for letter in letters}
    outlines = [
        outline
        for outline in system.store.contacts.outlines()
        if outline.failures or outline.id in contact_ids
    ]
    by_id = {outline.id: outline for outline in outlines}
    return Failures(
        [outline for outline in outlines if outline.failures],
        _failing_reports(system.store.reports),
        letters,
        [by_id.get(contact_id_of(letter) or "") for letter in letters],
    )


def _failing_reports(reports: Reports) -> list[CampaignReport]:
    failing = (report for report in reports.outlines() if report.last_error is not None)
    return sorted(failing, key=lambda report: str(report.id))


@dataclass(frozen=True, slots=True)
class Redriven:
    """Result of a redrive: contacts and reports that are due now, letters that were deleted, or that stay.

    `unreadable` letters are no messages of this program. They stay in the queue.
    """

    contacts: int
    reports: int
    letters: int
    unreadable: int


def redrive(system: System, now_ms: int) -> Redriven:
    """Make every contact and every report that failed due now. Delete its dead letters once that is stored.

    No message is sent again, since it may be stale: the next tick hands them out anew.
    """
    reports = system.store.reports
    report_ids = {report.id for report in _failing_reports(reports)}
    ids = {outline.id for outline in system.store.contacts.outlines() if outline.failures}
    deleted = unreadable = 0

    def retry(contact: Contact) -> Contact:
        return contact.retried(now_ms)

    with taken_letters(system) as taken:
        for batch in taken.batches():
            readable = [letter for letter in batch if letter.item]
            batch_ids = {id_ for letter in readable if (id_ := contact_id_of(letter))}
            list(change_contacts(system, sorted(batch_ids), retry))
            if any(letter.item.kind is WorkKind.CAMPAIGN for letter in readable if letter.item):
                # The next tick lists the campaigns anew.
                system.store.campaigns.put_listed(None)
            of_batch = {report_id for letter in readable if (report_id := report_id_of(letter))}
            for report_id in of_batch:
                _retry_report(reports, report_id, now_ms)
            report_ids |= of_batch
            deleted += taken.delete(readable)
            ids |= batch_ids
            unreadable += len(batch) - len(readable)
    redriven = sum(change_contacts(system, sorted(ids), retry))
    redriven_reports = sum(_retry_report(reports, id_, now_ms) for id_ in report_ids)
    return Redriven(redriven, redriven_reports, deleted, unreadable)


def _retry_report(reports: Reports, id_: ReportId, now_ms: int) -> bool:
    """Return whether the report is due now: False for one that is not watched.

    Raises `RetryError` if other processes write it all the time.
    """
    for _ in range(MAX_TRIES):
        report = reports.get(id_)
        if report is None or report.due_ms is None:
            return False
        if reports.save(report.retried(now_ms)):
            return True
    raise RetryError(f"report {id_} is written all the time: pause first, then try again")


def contact_id_of(letter: DeadLetter) -> str | None:
    """Return the contact's id of a letter. None if it is about no contact, or not readable."""
    return letter.item.id if letter.item and letter.item.kind is WorkKind.CONTACT else None


def report_id_of(letter: DeadLetter) -> ReportId | None:
    """Return the report of a letter. None if it is about no campaign's report."""
    return ReportId.parse(letter.item.id) if letter.item and letter.item.kind is WorkKind.REPORT else None


class TakenLetters:
    """Dead letters that this process took from the queue. Nobody else sees them meanwhile."""

    def __init__(self, letters: DeadLetters | None) -> None:
        self._letters = letters
        self._kept: dict[str, DeadLetter] = {}

    def batches(self) -> Iterator[Sequence[DeadLetter]]:
        """Take all dead letters, some at a time. Yields nothing if the system has no queue for them."""
        for batch in self._letters.take() if self._letters else ():
            self._kept.update((letter.id, letter) for letter in batch)
            yield batch

    def delete(self, letters: Sequence[DeadLetter]) -> int:
        """Delete letters. Return how many were deleted."""
        if self._letters is None or not letters:
            return 0
        for letter in letters:
            del self._kept[letter.id]
        return self._letters.delete(letters)

    def give_back(self) -> None:
        """Put the letters that were not deleted back into the queue."""
        if self._letters:
            self._letters.give_back(list(self._kept.values()))


@contextmanager
def taken_letters(system: System) -> Iterator[TakenLetters]:
    """Give access to the dead letters. At the end those that were not deleted go back into the queue."""
    taken = TakenLetters(system.dead_letters)
    try:
        yield taken
    finally:
        taken.give_back()
