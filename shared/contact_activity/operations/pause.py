"""Pauses a system, and resumes it."""

from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.operations.system import System


def pause(system: System, until_ms: int | None, *, is_dry_run: bool) -> None:
    """Read nothing until a time, or until `resume` if it is None. Work that is under way finishes."""
    if not is_dry_run:
        system.store.pauses.pause(Pause(PauseReason.OPERATOR, until_ms))


def resume(system: System, now_ms: int, *, is_dry_run: bool) -> bool:
    """End the operator's pause, but no other. Return whether there was one."""
    is_paused = any(
        known.reason is PauseReason.OPERATOR for known in system.store.pauses.get().active(now_ms)
    )
    if is_paused and not is_dry_run:
        system.store.pauses.lift(PauseReason.OPERATOR)
    return is_paused
