"""A call that did not succeed and is tried again, in words for whoever waits for it."""

from dataclasses import dataclass

TOO_MANY_CALLS = 429
RATE_LIMITED = "rate limited by the API"


@dataclass(frozen=True, slots=True)
class Retry:
    """A try that is followed by another one, `wait_s` later at the soonest.

    `status` is 0 if no answer came. `cause` says then, and of an answer that cannot be used, what was wrong.
    `is_rate_limited`: the API asked for fewer calls a second.
    """

    status: int
    cause: str
    wait_s: float
    is_rate_limited: bool = False

    @property
    def kind(self) -> str:
        """What to count it by: the status that refused it, else the cause."""
        return str(self.status) if self.status >= 400 else self.cause

    @property
    def text(self) -> str:
        """One line on what happened, and when it goes on."""
        if self.is_rate_limited:
            return RATE_LIMITED
        what = f"api answered {self.status}" if self.status >= 400 else self.cause
        return f"{what}, next try in {max(1, round(self.wait_s))} s"
