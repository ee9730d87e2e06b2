"""What an operator does when something went wrong: pause, forget, publish again, try again.

The same over a state folder and over a stack. Each can be repeated, and with `is_dry_run` changes
nothing. A worker that has a contact under its hands meanwhile loses its race and loses nothing: what
it published comes again with equal ids.
"""

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from contact_activity.clock import SystemClock
from contact_activity.domain.contact import Contact, ContactOutline
from contact_activity.domain.pace import Limits
from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.work import DeadLetter, WorkKind
from contact_activity.errors import RetryError
from contact_activity.ports import DeadLetters, Store
from contact_activity.run.events_file import is_at, sync_folder
from contact_activity.run.options import RunError, databases_in
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store

# So often another write may come between a read and its conditional write.
TRIES = 10
THREADS = 8
AT_ONCE = 1_000
# Nothing here calls the API.
NO_CALLS = Limits(calls_per_second=1, calls_per_day=0)


@dataclass(frozen=True, slots=True)
class System:
    """One account's state. `dead_letters` None: its queue is in the memory of a run."""

    name: str
    store: Store
    dead_letters: DeadLetters | None = None


@contextmanager
def folder_systems(state_dir: Path, *, is_read_only: bool) -> Iterator[list[System]]:
    """Each system whose state is in the folder, also while a run holds it. Raises `RunError` for none."""
    with ExitStack() as opened:
        databases = {
            name: opened.enter_context(closing(Database(path, is_read_only=is_read_only)))
            for name, path in databases_in(state_dir).items()
        }
        yield [
            System(name, sqlite_store(database, NO_CALLS, SystemClock()))
            for name, database in databases.items()
        ]


def pause(system: System, until_ms: int | None, *, is_dry_run: bool) -> None:
    """Nothing is read until then, or until it is resumed; what is under way comes to its end."""
    if not is_dry_run:
        system.store.pauses.pause(Pause(PauseReason.OPERATOR, until_ms))


def resume(system: System, now_ms: int, *, is_dry_run: bool) -> bool:
    """End the operator's pause, and no other; False if there was none."""
    is_paused = any(
        known.reason is PauseReason.OPERATOR for known in system.store.pauses.get().active(now_ms)
    )
    if is_paused and not is_dry_run:
        system.store.pauses.lift(PauseReason.OPERATOR)
    return is_paused


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was stored of a person."""

    is_known: bool
    dead_letters: int


def forget(system: System, contact_id: str, *, is_dry_run: bool) -> Forgotten:
    """Erase the contact's dead letters, then its watermark, memory and summaries."""
    its_own = 0
    with _taken(system) as taken:
        for batch in taken.batches():
            of_contact = [letter for letter in batch if _contact_id(letter) == contact_id]
            its_own += len(of_contact)
            if not is_dry_run:
                taken.delete(of_contact)
    is_known = system.store.contacts.get(contact_id) is not None
    if is_known and not is_dry_run:
        system.store.contacts.erase(contact_id)
    return Forgotten(is_known, its_own)


def forget_events(path: Path, contact_id: str, *, is_dry_run: bool) -> int:
    """Erase the lines of the contact from an events file; returns how many events they were.

    A line that cannot be read is no event to any reader: it goes if it names the contact, and stays
    otherwise. A last line that a kill cut goes too, as at the start of a run. Raises `RunError` while
    a run writes the file.
    """
    # Of a link, what it points to.
    path = path.resolve()
    with path.open("rb") as lines:
        found = sum(_contact_of(line) == contact_id for line in lines)
        if not is_dry_run:
            lines.seek(0)
            _keep(path, lines, lambda line: line.endswith(b"\n") and not _tells_of(line, contact_id))
    return found


def _keep(path: Path, lines: BinaryIO, is_kept: Callable[[bytes], bool]) -> None:
    """Write an open file anew, as its owner's, with some of its lines; a crash leaves the old one."""
    try:
        fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"a run writes {path}: wait for it to end") from None
    if not is_at(lines.fileno(), path):
        raise RunError(f"{path} was just written anew: try again")
    anew = path.with_name(f"{path.name}.forgetting")
    anew.unlink(missing_ok=True)
    before = os.fstat(lines.fileno())
    with os.fdopen(os.open(anew, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
        os.fchown(kept.fileno(), before.st_uid, before.st_gid)
        os.fchmod(kept.fileno(), stat.S_IMODE(before.st_mode))
        kept.writelines(line for line in lines if is_kept(line))
        kept.flush()
        os.fsync(kept.fileno())
    anew.replace(path)
    sync_folder(path.parent)


def _tells_of(line: bytes, contact_id: str) -> bool:
    found = _contact_of(line)
    if found is not None:
        return found == contact_id
    # An event names its contact before it says anything about it.
    return (
        re.search(rb"(?<![A-Za-z0-9-])%b(?![A-Za-z0-9-])" % re.escape(contact_id).encode(), line) is not None
    )


def _contact_of(line: bytes) -> str | None:
    """The contact that an event is about, "" for one about none; None for what is no event."""
    try:
        contact = json.loads(line)["detail"]["data"].get("contact", {})
        return str(contact.get("id", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def known_ids(system: System) -> list[str]:
    """The contacts that a resync of all reaches: those that are not gone."""
    return [outline.id for outline in system.store.contacts.outlines() if not outline.times_gone]


def request_resync(system: System, contact_ids: Iterable[str], from_ms: int, now_ms: int) -> Iterator[bool]:
    """Have each contact's activity from then on published again; False for one that is gone or unknown.

    Asked twice before it is served, the earlier date holds. Raises `RetryError`.
    """

    def ask(contact: Contact) -> Contact | None:
        return None if contact.times_gone else contact.resynced(from_ms, now_ms)

    yield from _each(system, contact_ids, ask)


@dataclass(frozen=True, slots=True)
class Failing:
    """What failed until now: contacts that wait for another try, and messages given up.

    `letter_contacts`: what is stored of the contact of each of `letters`, None where nothing is.
    """

    contacts: list[ContactOutline]
    letters: list[DeadLetter]
    letter_contacts: list[ContactOutline | None]


def failing(system: System) -> Failing:
    """Look, and put everything back."""
    with _taken(system) as taken:
        letters = [letter for batch in taken.batches() for letter in batch]
    its_ids = {_contact_id(letter) for letter in letters}
    outlines = [of for of in system.store.contacts.outlines() if of.failures or of.id in its_ids]
    by_id = {outline.id: outline for outline in outlines}
    return Failing(
        [outline for outline in outlines if outline.failures],
        letters,
        [by_id.get(_contact_id(letter) or "") for letter in letters],
    )


@dataclass(frozen=True, slots=True)
class Redriven:
    """`unreadable`: letters that are no message of ours; they stay where they are."""

    contacts: int
    letters: int
    unreadable: int


def redrive(system: System, now_ms: int) -> Redriven:
    """Whatever failed is due now; its dead letters are deleted once that is stored.

    A message is a hint that may be stale: not it is sent again, its contact is planned again.
    """
    ids = {outline.id for outline in system.store.contacts.outlines() if outline.failures}
    deleted = unreadable = 0

    def retry(contact: Contact) -> Contact:
        return contact.retried(now_ms)

    with _taken(system) as taken:
        for batch in taken.batches():
            readable = [letter for letter in batch if letter.item]
            its_ids = {id_ for letter in readable if (id_ := _contact_id(letter))}
            list(_each(system, sorted(its_ids), retry))
            if any(not _contact_id(letter) for letter in readable):
                system.store.campaigns.put_listed(None)
            deleted += taken.delete(readable)
            ids |= its_ids
            unreadable += len(batch) - len(readable)
    redriven = sum(_each(system, sorted(ids), retry))
    return Redriven(redriven, deleted, unreadable)


def _each(
    system: System, contact_ids: Iterable[str], change: Callable[[Contact], Contact | None]
) -> Iterator[bool]:
    ids = iter(contact_ids)
    with ThreadPoolExecutor(THREADS) as pool:
        # In parts, since a pool takes in all that it is given at once.
        while part := list(islice(ids, AT_ONCE)):
            yield from pool.map(lambda contact_id: _change(system, contact_id, change), part)


def _change(system: System, contact_id: str, change: Callable[[Contact], Contact | None]) -> bool:
    for _ in range(TRIES):
        contact = system.store.contacts.get(contact_id)
        changed = contact and change(contact)
        if not changed:
            return False
        if system.store.contacts.save(changed):
            return True
    raise RetryError(f"contact {contact_id} is written all the time: pause first, then try again")


def _contact_id(letter: DeadLetter) -> str | None:
    return letter.item.id if letter.item and letter.item.kind is WorkKind.CONTACT else None


class _Taken:
    """The dead letters under our hands; those that are not deleted are given back at the end."""

    def __init__(self, letters: DeadLetters | None) -> None:
        self._letters = letters
        self._kept: dict[str, DeadLetter] = {}

    def batches(self) -> Iterator[Sequence[DeadLetter]]:
        for batch in self._letters.take() if self._letters else ():
            self._kept.update((letter.id, letter) for letter in batch)
            yield batch

    def delete(self, letters: Sequence[DeadLetter]) -> int:
        if self._letters is None or not letters:
            return 0
        for letter in letters:
            del self._kept[letter.id]
        return self._letters.delete(letters)

    def give_back(self) -> None:
        if self._letters:
            self._letters.give_back(list(self._kept.values()))


@contextmanager
def _taken(system: System) -> Iterator[_Taken]:
    taken = _Taken(system.dead_letters)
    try:
        yield taken
    finally:
        taken.give_back()
