"""What is counted of one day."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DayTally:
    """What was published on one UTC day.

    `events` counts events by detail type. `ages` counts the activities that were no backfill by the
    upper end of their age's bucket, in seconds.
    """

    events: Mapping[str, int]
    ages: Mapping[int, int]
