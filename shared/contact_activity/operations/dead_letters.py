"""Lists what failed, contacts and dead letters, and has it tried again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contact_activity.domain.contact import Contact, ContactOutline
from contact_activity.domain.work import DeadLetter, WorkKind
from contact_activity.operations.change_contacts import change_contacts
from contact_activity.operations.system import System
from contact_activity.ports import DeadLetters


@dataclass(frozen=True, slots=True)
class Failures:
    """What failed and waits: contacts whose last try failed, and dead letters.

    `letter_contacts` holds the contact of each of `letters`, None where no contact is stored.
    """

    contacts: list[ContactOutline]
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
        letters,
        [by_id.get(contact_id_of(letter) or "") for letter in letters],
    )


@dataclass(frozen=True, slots=True)
class Redriven:
    """Result of a redrive: contacts that are due now, letters that were deleted, letters that stay.

    `unreadable` letters are no messages of this program. They stay in the queue.
    """

    contacts: int
    letters: int
    unreadable: int


def redrive(system: System, now_ms: int) -> Redriven:
    """Make every contact that failed due now. Delete its dead letters once that is stored.

    No message is sent again, since it may be stale: the next tick queues the contacts anew.
    """
    ids = {outline.id for outline in system.store.contacts.outlines() if outline.failures}
    deleted = unreadable = 0

    def retry(contact: Contact) -> Contact:
        return contact.retried(now_ms)

    with taken_letters(system) as taken:
        for batch in taken.batches():
            readable = [letter for letter in batch if letter.item]
            batch_ids = {id_ for letter in readable if (id_ := contact_id_of(letter))}
            list(change_contacts(system, sorted(batch_ids), retry))
            if any(not contact_id_of(letter) for letter in readable):
                # A letter of a campaign: the next tick lists the campaigns anew.
                system.store.campaigns.put_listed(None)
            deleted += taken.delete(readable)
            ids |= batch_ids
            unreadable += len(batch) - len(readable)
    redriven = sum(change_contacts(system, sorted(ids), retry))
    return Redriven(redriven, deleted, unreadable)


def contact_id_of(letter: DeadLetter) -> str | None:
    """Return the contact's id of a letter. None if it is about no contact, or not readable."""
    return letter.item.id if letter.item and letter.item.kind is WorkKind.CONTACT else None


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
