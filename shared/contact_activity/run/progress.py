"""How far a run is, for whatever shows it."""

from dataclasses import dataclass
from typing import Protocol

LISTING_WAITS = "the contact list has used its share of the day's calls: it goes on at 00:00 UTC"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is. `done` and `planned` count contacts.

    `left_s` is the estimated time that is left. `waits_for` says what the run waits for; "" for nothing.
    """

    done: int
    planned: int
    events: int
    calls_today: int
    left_s: float
    waits_for: str = ""


class Display(Protocol):
    """Shows the progress of a run. An engine may call it many times a second."""

    def step(self, text: str) -> None:
        """Show what the run does now."""

    def show(self, progress: RunProgress) -> None:
        """Show how far it is."""
