"""Tell functions to wait where the tokens of the v3 API cannot be had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contact_activity.errors import RetryError, StandstillError, WaitError, WaitReason
from contact_activity.ports import BearerTokens
from contact_activity.settings import SettingsError


class TokensAsWaits:
    """The `BearerTokens` port over another one: what keeps it from giving a token is a wait, and logged.

    As failures, messages would use up their receives and be dead letters within the hour. `check` is called
    before a token is given, and raises what is wrong.
    """

    def __init__(
        self, tokens: BearerTokens, check: Callable[[], object], log: Callable[[Exception], object]
    ) -> None:
        self._tokens, self._check, self._log = tokens, check, log

    def access_token(self, *, deadline_ms: int) -> str:
        with self._as_waits():
            self._check()
            return self._tokens.access_token(deadline_ms=deadline_ms)

    def accepted(self, token: str) -> None:
        with self._as_waits():
            self._tokens.accepted(token)

    def refused(self, token: str, *, deadline_ms: int) -> None:
        with self._as_waits():
            self._tokens.refused(token, deadline_ms=deadline_ms)

    @contextmanager
    def _as_waits(self) -> Iterator[None]:
        try:
            yield
        except (SettingsError, RetryError, StandstillError) as error:
            self._log(error)
            raise WaitError(WaitReason.CREDENTIAL) from None
