"""Explains a contact from the stores of a state folder, and from any store. Changes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.contact import Contact
from contact_activity.domain.rights import missing_right
from contact_activity.domain.schedule import longest_waits, standing
from contact_activity.domain.times import DAY_MS
from contact_activity.operations.explanation import Explanation, Facts, explain
from contact_activity.operations.system import System, folder_systems
from contact_activity.ports import Store
from contact_activity.run.errors import RunError
from contact_activity.run.state_folder import ACCOUNT, is_locked
from contact_activity.settings import Settings


def folder_explanations(
    state_dir: Path, contact_id: str, settings: Settings, *, has_credentials: bool = True
) -> list[Explanation]:
    """Return why the contact is late in each system of the folder that knows it, or erased it.

    `has_credentials`: whether a run of whoever asks would read the account, and not the simulated one.
    Raises `RunError` if there is no system, or if none knows it.
    """
    now_ms, is_running = SystemClock().now_ms(), is_locked(state_dir)
    with folder_systems(state_dir, is_read_only=True, limits=settings.limits) as systems:
        known = (facts_of(of.name, of.store, contact_id, settings, now_ms, is_folder=True) for of in systems)
        found = [
            explain(_asked_by(facts, has_credentials=has_credentials, is_running=is_running))
            for facts in known
            if facts
        ]
        if not found:
            raise unknown(contact_id, in_folder(systems, state_dir))
    return found


def _asked_by(facts: Facts, *, has_credentials: bool, is_running: bool) -> Facts:
    lacks_credentials = facts.system == ACCOUNT and not has_credentials
    return replace(facts, lacks_credentials=lacks_credentials, is_running=is_running)


def in_folder(systems: Sequence[System], state_dir: Path) -> str:
    """Return the words for where something was looked for."""
    return " and ".join(f'"{system.name}"' for system in systems) + f" of --state {state_dir}"


def unknown(contact_id: str, where: str) -> RunError:
    """Return the error that a contact is nowhere."""
    return RunError(
        f"no contact {contact_id} in {where}: it is not in the account, or not listed yet "
        "(the contact list is read once a tick); give the id that Constant Contact has"
    )


def facts_of(
    name: str, store: Store, contact_id: str, settings: Settings, now_ms: int, *, is_folder: bool
) -> Facts | None:
    """Return what is stored that decides when a contact is read; None if the store never knew it.

    Reads each contact once, without its memory.
    """
    contact = store.contacts.get(contact_id)
    if contact is None:
        erased_ms = store.contacts.erased_ms(contact_id)
        return None if erased_ms is None else Facts(name, contact_id, now_ms, erased_ms=erased_ms)
    outlines, reading = list(store.contacts.outlines()), settings.reading
    return Facts(
        system=name,
        contact_id=contact_id,
        now_ms=now_ms,
        contact=contact,
        queued_until_ms=next((of.queued_until_ms for of in outlines if of.id == contact_id), 0),
        due_before=sum(of.due_ms < min(contact.due_ms, now_ms) for of in outlines),
        latest_due_ms=_latest_due_ms(store, contact, now_ms),
        pauses=store.pauses.get().active(now_ms),
        calls_used=store.limiter.pace().used_on(now_ms),
        calls_per_day=store.limiter.limits.calls_per_day,
        right=missing_right(
            store.reports.access(),
            list_lacks=store.reports.feed().lacks,
            contacts=outlines,
        ),
        tick_failure=store.listings.failure(),
        types=reading.types,
        summaries=settings.contact_summaries,
        start_ms=reading.start_ms,
        is_folder=is_folder,
    )


def _latest_due_ms(store: Store, contact: Contact, now_ms: int) -> int:
    """Return the latest time that any schedule would set a contact due."""
    waits = longest_waits(
        contacts=store.listings.get().contacts,
        # Each report by itself, whatever the shell of whoever asks says.
        calls_each=len(ActivityType),
        # A folder does not say how often its run ticks. Once a day is the longest interval.
        tick_ms=DAY_MS,
        limits=store.limiter.limits,
        reserved=store.reports.feed().reserved(now_ms, DAY_MS),
    )
    return waits.latest_ms(now_ms, standing(failures=contact.failures, times_gone=contact.times_gone))
