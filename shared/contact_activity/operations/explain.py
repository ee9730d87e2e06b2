"""Explains a contact from the stores of a state folder, and from any store. Changes nothing."""

from contextlib import closing
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.domain.rights import missing_right
from contact_activity.domain.watermark import Reading
from contact_activity.operations.explanation import Explanation, Facts, explain
from contact_activity.ports import Store
from contact_activity.run.errors import RunError
from contact_activity.run.state_folder import databases_in
from contact_activity.settings import Settings
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store


def folder_explanations(state_dir: Path, contact_id: str, settings: Settings) -> list[Explanation]:
    """Return why the contact is late in each system of the folder that knows it, or erased it.

    Raises `RunError` if there is no system, or if none knows it.
    """
    clock, found, databases = SystemClock(), list[Explanation](), databases_in(state_dir)
    for name, path in databases.items():
        with closing(Database(path, is_read_only=True)) as database:
            store = sqlite_store(database, settings.limits, clock)
            if facts := facts_of(name, store, contact_id, settings.reading, clock.now_ms()):
                found.append(explain(facts))
    if not found:
        names = " and ".join(f'"{name}"' for name in databases)
        raise unknown(contact_id, f"{names} of --state {state_dir}")
    return found


def unknown(contact_id: str, where: str) -> RunError:
    """Return the error that a contact is nowhere."""
    return RunError(
        f"no contact {contact_id} in {where}: it is not in the account, or not listed yet "
        "(the contact list is read once a tick); give the id that Constant Contact has"
    )


def facts_of(name: str, store: Store, contact_id: str, reading: Reading, now_ms: int) -> Facts | None:
    """Return what is stored that decides when a contact is read; None if the store never knew it.

    Reads each contact once, without its memory.
    """
    contact = store.contacts.get(contact_id)
    if contact is None:
        erased_ms = store.contacts.erased_ms(contact_id)
        return None if erased_ms is None else Facts(name, contact_id, now_ms, erased_ms=erased_ms)
    outlines = list(store.contacts.outlines())
    return Facts(
        system=name,
        contact_id=contact_id,
        now_ms=now_ms,
        contact=contact,
        queued_until_ms=next((of.queued_until_ms for of in outlines if of.id == contact_id), 0),
        due_before=sum(of.due_ms < min(contact.due_ms, now_ms) for of in outlines),
        pauses=store.pauses.get().active(now_ms),
        calls_used=store.limiter.pace().used_on(now_ms),
        calls_per_day=store.limiter.limits.calls_per_day,
        right=missing_right(store.reports.access(), list_lacks=store.reports.feed().lacks, contacts=outlines),
        tick_failure=store.listings.failure(),
        types=reading.types,
        start_ms=reading.start_ms,
    )
