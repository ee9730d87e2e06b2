"""Changes stored contacts, several at a time, by conditional writes."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from contact_activity.domain.contact import Contact
from contact_activity.errors import RetryError
from contact_activity.operations.system import System

# Another process may write a contact between the read and the conditional write.
MAX_TRIES = 10
THREADS = 8
MAX_SUBMITTED = 1_000

# Returns the changed contact, or None to leave it as it is.
Change = Callable[[Contact], Contact | None]


def change_contacts(system: System, contact_ids: Iterable[str], change: Change) -> Iterator[bool]:
    """Change each contact. Yield whether it was changed: False for one that is unknown or left as it is.

    Raises `RetryError` if other processes write a contact all the time.
    """
    ids = iter(contact_ids)
    with ThreadPoolExecutor(THREADS) as pool:
        # In parts, since a pool holds everything that it is given.
        while part := list(islice(ids, MAX_SUBMITTED)):
            yield from pool.map(lambda contact_id: _change_contact(system, contact_id, change), part)


def _change_contact(system: System, contact_id: str, change: Change) -> bool:
    for _ in range(MAX_TRIES):
        contact = system.store.contacts.get(contact_id)
        changed = contact and change(contact)
        if not changed:
            return False
        if system.store.contacts.save(changed):
            return True
    raise RetryError(f"contact {contact_id} is written all the time: pause first, then try again")
