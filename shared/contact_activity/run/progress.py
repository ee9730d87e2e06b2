"""How far a run is, for whatever shows it."""

from dataclasses import dataclass
from typing import Protocol

from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.domain.rights import Right
from contact_activity.ports import Store

CONTACTS, REPORTS = "contacts", "reports"
LISTING_WAITS = "the contact list has used its share of the day's calls: it goes on tomorrow 00:00 UTC"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is. `done` and `planned` count what it is at: contacts, or campaigns' reports.

    `left_s` is the estimated time that is left, or until what the run waits for comes; None if nobody knows.
    `waits_for` says what that is; "" for nothing.
    `trouble` says why a call is tried again; "" if none is.
    """

    done: int
    planned: int
    events: int
    calls_today: int
    left_s: float | None
    waits_for: str = ""
    counted: str = CONTACTS
    trouble: str = ""


def active_pause(store: Store, now_ms: int) -> Pause | None:
    """Return a pause that holds now; None if there is none."""
    active = store.pauses.get().active(now_ms)
    return active[0] if active else None


def is_credential_refused(pause: Pause | None) -> bool:
    """Whether a pause is that of a refused credential."""
    return pause is not None and pause.reason is PauseReason.CREDENTIAL


def calls_today(store: Store, now_ms: int) -> int:
    return store.limiter.pace().used_on(now_ms)


def progress_of(
    store: Store,
    now_ms: int,
    *,
    done: int,
    queued: int,
    events: int,
    waits_for: str,
    wait_ms: int | None = None,
    counted: str = CONTACTS,
    trouble: str = "",
) -> RunProgress:
    """Return how far a run is that has queued so many messages. A pause is what it waits for first.

    `wait_ms`: how long until what it waits for comes; None if nobody knows.
    """
    if waits_for:
        left_s = None if wait_ms is None else max(0, wait_ms) / 1_000
    else:
        left_s = queued * store.limiter.limits.slot_ms / 1_000
    pause = active_pause(store, now_ms)
    return RunProgress(
        done=done,
        planned=done + queued,
        events=events,
        calls_today=calls_today(store, now_ms),
        left_s=_left_s(pause, now_ms) if pause else left_s,
        waits_for=_pause_text(pause) if pause else waits_for,
        counted=counted,
        trouble=trouble,
    )


def _left_s(pause: Pause, now_ms: int) -> float | None:
    return None if pause.until_ms is None else max(0, pause.until_ms - now_ms) / 1_000


def _pause_text(pause: Pause) -> str:
    right = Right.named(pause.lacks)
    return f"pause: {right.missing if right else pause.reason}"


class Display(Protocol):
    """Shows the progress of a run. An engine may call it many times a second."""

    def step(self, text: str) -> None:
        """Show what the run does now."""

    def show(self, progress: RunProgress) -> None:
        """Show how far it is."""

    def published(self, lines: bytes) -> None:
        """Show events that are published, a JSON line each. Any thread may call it; it raises nothing."""

    def tick_is_over(self) -> None:
        """Show what a tick of a run that goes on has published beside."""
