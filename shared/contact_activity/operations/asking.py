"""How a command asks the API itself: in the slots that the runs share, and without what only a run may do."""

from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.transport import Transport
from contact_activity.domain.pace import calls_left
from contact_activity.domain.pauses import PauseReason, Pauses, is_own_budget
from contact_activity.ports import BearerTokens, Clock, Limiter
from contact_activity.settings import Credentials, Settings


def asking_client(
    settings: Settings,
    credentials: Credentials | BearerTokens,
    limiter: Limiter,
    clock: Clock,
    transport: Transport,
) -> ApiClient:
    """Return a client whose calls count as a run's."""
    return ApiClient(
        settings.base_url,
        (lambda: credentials) if isinstance(credentials, Credentials) else _OnlyUsed(credentials),
        limiter,
        clock,
        transport=transport,
    )


def day_refused_until(pauses: Pauses, limiter: Limiter, now_ms: int) -> int | None:
    """Return until when the API may not be asked, since it said that the day's calls are used up.

    None if it did not, or if only our own count had said so, which has calls left by now.
    """
    left = calls_left(limiter.pace(), limiter.limits, now_ms)
    refused = [
        pause.until_ms
        for pause in pauses.active(now_ms)
        if pause.reason is PauseReason.QUOTA and not (left and is_own_budget(pause, now_ms))
    ]
    return refused[-1] if refused else None


class _OnlyUsed:
    """The `BearerTokens` port over another one, which is not told what the API accepts.

    Only a run knows whether a new token is of the right account, and drops what it replaced.
    """

    def __init__(self, tokens: BearerTokens) -> None:
        self._tokens = tokens

    def access_token(self, *, deadline_ms: int) -> str:
        return self._tokens.access_token(deadline_ms=deadline_ms)

    def accepted(self, token: str) -> None: ...

    def refused(self, token: str, *, deadline_ms: int) -> None:
        self._tokens.refused(token, deadline_ms=deadline_ms)
