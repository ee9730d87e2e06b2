"""Options of a run, and the account that it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contact_activity.run.summary import Summary
from contact_activity.settings import AnyCredentials, Settings

DEFAULT_TICK_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run. `every_ms` is the interval of the ticks; None for a run that ends by itself.

    With `is_copied_to_stdout` the events also go to standard output. `hold` is called at the end of a run on
    the local cloud, with the summary, the endpoint of the local AWS, which runs until it returns, and what
    moves the events that its schedule publishes meanwhile.
    """

    state_dir: Path
    events: Path
    treat_all_as_due: bool = False
    every_ms: int | None = None
    is_copied_to_stdout: bool = False
    hold: Callable[[Summary, str, Callable[[], None]], None] | None = None

    @property
    def is_one_time(self) -> bool:
        """Whether the run ends by itself."""
        return self.every_ms is None

    @property
    def tick_ms(self) -> int:
        return self.every_ms or DEFAULT_TICK_MS


@dataclass(frozen=True, slots=True)
class Account:
    """The Constant Contact account that a run reads."""

    settings: Settings
    credentials: AnyCredentials
    is_simulated: bool
