"""Which waits pause the whole system."""

from contact_activity.ports import PauseBoard, WaitError, WaitReason
from contact_activity.rate_limit import Pause, PauseReason

PAUSE_BY_WAIT = {WaitReason.QUOTA: PauseReason.QUOTA, WaitReason.CREDENTIAL: PauseReason.CREDENTIAL}


def pause_for(wait: WaitError, pauses: PauseBoard) -> None:
    """Pause everything if the wait is for the quota or the credential, and nothing otherwise."""
    reason = PAUSE_BY_WAIT.get(wait.reason)
    if reason:
        pauses.pause(Pause(reason, wait.until_ms))
