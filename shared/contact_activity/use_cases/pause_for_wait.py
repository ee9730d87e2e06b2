"""Which waits pause the whole system."""

from contact_activity.domain.pauses import Pause, PauseReason
from contact_activity.errors import WaitError, WaitReason
from contact_activity.ports import PauseBoard

PAUSE_BY_WAIT = {WaitReason.QUOTA: PauseReason.QUOTA, WaitReason.CREDENTIAL: PauseReason.CREDENTIAL}


def pause_for(wait: WaitError, pauses: PauseBoard) -> None:
    """Pause everything if the wait is for the quota or the credential, and nothing otherwise."""
    reason = PAUSE_BY_WAIT.get(wait.reason)
    if reason:
        pauses.pause(Pause(reason, wait.until_ms, wait.lacks))
