"""Have functions wait where a credential cannot be had.

As failures, messages would use up their receives and be dead letters within the hour.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contact_activity.errors import RetryError, StandstillError, WaitError, WaitReason
from contact_activity.ports import BearerTokens
from contact_activity.settings import SettingsError

Log = Callable[[Exception], object]


@contextmanager
def errors_as_waits(log: Log) -> Iterator[None]:
    """Treat what keeps a credential from being read like a refused one: log it, and raise `WaitError`."""
    try:
        yield
    except (SettingsError, RetryError, StandstillError) as error:
        log(error)
        raise WaitError(WaitReason.CREDENTIAL) from None


class TokensAsWaits:
    """The `BearerTokens` port over another one, whose errors are waits.

    `check` is called before a token is given, and raises what is wrong.
    """

    def __init__(self, tokens: BearerTokens, check: Callable[[], object], log: Log) -> None:
        self._tokens, self._check, self._log = tokens, check, log

    def access_token(self, *, deadline_ms: int) -> str:
        with errors_as_waits(self._log):
            self._check()
            return self._tokens.access_token(deadline_ms=deadline_ms)

    def accepted(self, token: str) -> None:
        with errors_as_waits(self._log):
            self._tokens.accepted(token)

    def refused(self, token: str, *, deadline_ms: int) -> None:
        with errors_as_waits(self._log):
            self._tokens.refused(token, deadline_ms=deadline_ms)
