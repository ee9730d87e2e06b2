"""What a check finds: a line for each thing that a run needs."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class Fault(Enum):
    """Why a run would fail, the worst first: as its exit status would say it. PART: it would do less."""

    SETTINGS = auto()
    CREDENTIAL = auto()
    OTHER = auto()
    QUOTA = auto()
    PART = auto()


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a topic. `remedy`: what to do; "" if all is well. `fault`: None if a run works.

    `is_silencing`: a run would end well, and publish nothing.
    """

    topic: str
    text: str
    remedy: str = ""
    fault: Fault | None = None
    is_silencing: bool = False

    @property
    def level(self) -> Level:
        if self.fault:
            return Level.FAILING
        return Level.WARNING if self.remedy else Level.OK
