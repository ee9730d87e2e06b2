"""The contact that a worker works on, as it stored it last."""

from dataclasses import replace

from contact_activity.domain import schedule
from contact_activity.domain.contact import Contact
from contact_activity.domain.watermark import Progress
from contact_activity.ports import Clock, Contacts


class HeldContact:
    """Stores a contact and keeps its version, so that a write of anybody else is never overwritten.

    `is_held`: no other worker publishes anything of it before this invocation ends.
    """

    def __init__(
        self, contact: Contact, contacts: Contacts, clock: Clock, *, tick_ms: int, deadline_ms: int
    ) -> None:
        self.contact = contact
        self.is_held = False
        self._contacts = contacts
        self._clock = clock
        self._tick_ms = tick_ms
        self._deadline_ms = deadline_ms

    def hold(self) -> bool:
        """Hold it until this invocation ends, with one write the first time. False if a write was lost."""
        if not self.is_held:
            left_ms = self._deadline_ms - self._clock.monotonic_ms()
            until_ms = schedule.held_until_ms(self._clock.now_ms(), left_ms)
            held = replace(self.contact, held_until_ms=until_ms)
            self.is_held = self.save(held, is_queued=True)
        return self.is_held

    def save(self, contact: Contact, *, is_queued: bool = False) -> bool:
        """Store it, and whether a message for it is in the queue. False if somebody else wrote first."""
        until_ms = schedule.queued_until_ms(self._clock.now_ms(), self._tick_ms) if is_queued else 0
        # Somebody may have held it since it was read: the version says who wrote last.
        contact = replace(contact, version=self.contact.version)
        if not self._contacts.save(contact, queued_until_ms=until_ms):
            return False
        self.contact = replace(contact, version=contact.version + 1)
        return True

    def save_progress(self, progress: Progress, *, goes_on: bool) -> bool:
        """Store how far the walk is. It stays queued, so that no tick hands it out a second time.

        `goes_on`: this invocation still works on it and keeps holding it.
        """
        held_until_ms = self.contact.held_until_ms if goes_on else None
        return self.save(
            replace(self.contact, progress=progress, held_until_ms=held_until_ms), is_queued=True
        )

    def release(self) -> None:
        """It is in no message any more, so the next tick may hand it out."""
        self._contacts.release([self.contact.id])

    def give_way(self, progress: Progress) -> None:
        """Stop holding it after an operator's write won, and keep what this walk published.

        The operator may write again before that is stored: then it is read and stored again.
        """
        while (stored := self._contacts.get(self.contact.id)) and self._is_held_here(stored):
            if self._contacts.save(stored.given_way(self.contact.watermark, progress)):
                return

    def _is_held_here(self, stored: Contact) -> bool:
        return self.is_held and stored.held_until_ms == self.contact.held_until_ms
