"""Erases what is stored of a contact: its state, its dead letters, its lines in an events file."""

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contact_activity.operations.dead_letters import contact_id_of, taken_letters
from contact_activity.operations.system import System
from contact_activity.ports import Reports
from contact_activity.run.errors import RunError
from contact_activity.state.files import is_at, sync_folder


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was stored of a contact. `dead_letters` counts its dead letters."""

    is_known: bool
    dead_letters: int


def forget(system: System, contact_id: str, now_ms: int, *, is_dry_run: bool) -> Forgotten:
    """Erase the dead letters of a contact, what is held of it to be compared, then its state.

    A digest of its id stays, also of one that is not known: a listing leaves it out until it is changed.
    The state goes last: as long as it is there, a command that was cut off shows that it is to be repeated.
    """
    dead_letters = 0
    with taken_letters(system) as taken:
        for batch in taken.batches():
            of_contact = [letter for letter in batch if contact_id_of(letter) == contact_id]
            dead_letters += len(of_contact)
            if not is_dry_run:
                taken.delete(of_contact)
    is_known = system.store.contacts.get(contact_id) is not None
    if not is_dry_run:
        _drop_sample(system.store.reports, contact_id)
        system.store.reports.drop_urgent(contact_id)
        system.store.contacts.erase(contact_id, now_ms)
    return Forgotten(is_known, dead_letters)


def _drop_sample(reports: Reports, contact_id: str) -> None:
    is_gone = False
    while not is_gone:
        trust = reports.trust()
        is_gone = not trust.pending_of(contact_id) or reports.save_trust(trust.without(contact_id))


def forget_events(path: Path, contact_id: str, *, is_dry_run: bool) -> int:
    """Erase the events of a contact from an events file. Return how many there were.

    A line that cannot be parsed is erased if it contains the contact's id. A last line that a kill
    cut is erased too, as at the start of a run. Raises `RunError` while a run writes the file.
    """
    # If the path is a link, the file that it points to is replaced, not the link.
    path = path.resolve()
    with path.open("rb") as lines:
        found = sum(_contact_of(line) == contact_id for line in lines)
        if not is_dry_run:
            lines.seek(0)
            _rewrite(path, lines, lambda line: line.endswith(b"\n") and not _is_about(line, contact_id))
    return found


def _rewrite(path: Path, lines: BinaryIO, is_kept: Callable[[bytes], bool]) -> None:
    """Replace an open file by one with some of its lines. A crash leaves the old file.

    The owner and the permissions stay.
    """
    try:
        fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"a run writes {path}: wait for it to end") from None
    if not is_at(lines.fileno(), path):
        raise RunError(f"{path} was just replaced by another file: try again")
    new_path = path.with_name(f"{path.name}.forgetting")
    new_path.unlink(missing_ok=True)
    before = os.fstat(lines.fileno())
    with os.fdopen(os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
        os.fchown(kept.fileno(), before.st_uid, before.st_gid)
        os.fchmod(kept.fileno(), stat.S_IMODE(before.st_mode))
        kept.writelines(line for line in lines if is_kept(line))
        kept.flush()
        os.fsync(kept.fileno())
    new_path.replace(path)
    sync_folder(path.parent)


def _is_about(line: bytes, contact_id: str) -> bool:
    found = _contact_of(line)
    if found is not None:
        return found == contact_id
    # An event names its contact before anything else about it, so that a cut line names it too.
    return (
        re.search(rb"(?<![A-Za-z0-9-])%b(?![A-Za-z0-9-])" % re.escape(contact_id).encode(), line) is not None
    )


def _contact_of(line: bytes) -> str | None:
    """Return the contact's id of an event, "" if it is about no contact, None if the line is no event."""
    try:
        contact = json.loads(line)["detail"]["data"].get("contact", {})
        return str(contact.get("id", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
