"""A call that did not succeed and is tried again, in words for whoever waits for it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

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
        return (
            self.past if self.is_rate_limited else f"{self.past}, next try in {max(1, round(self.wait_s))} s"
        )

    @property
    def past(self) -> str:
        """What happened."""
        if self.is_rate_limited:
            return RATE_LIMITED
        return f"api answered {self.status}" if self.status >= 400 else self.cause


@dataclass(slots=True)
class TryTally:
    """How many tries there were, those that another one followed, and those that failed.

    `retries` have no wait. `failures` are by cause and status.
    """

    tries: int = 0
    retries: Counter[Retry] = field(default_factory=Counter)
    failures: Counter[tuple[str, int]] = field(default_factory=Counter)

    def fields(self) -> dict[str, object]:
        """Return it for a structured log line; nothing where nothing was tried."""
        retried = [
            {"status": each.status, "cause": each.cause, "rate_limited": each.is_rate_limited, "count": count}
            for each, count in self.retries.items()
        ]
        failed = [
            {"status": status, "cause": cause, "count": count}
            for (cause, status), count in self.failures.items()
        ]
        told = {"calls": self.tries, "calls_retried": retried, "calls_failed": failed}
        return {name: value for name, value in told.items() if value}

    @classmethod
    def told_by(cls, line: Mapping[str, Any]) -> Self:
        """Return what a structured log line tells of it."""
        retried, failed = line.get("calls_retried", ()), line.get("calls_failed", ())
        return cls(
            int(line.get("calls", 0)),
            Counter({Retry(of["status"], of["cause"], 0, of["rate_limited"]): of["count"] for of in retried}),
            Counter({(of["cause"], of["status"]): of["count"] for of in failed}),
        )
