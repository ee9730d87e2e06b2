"""Reads what the functions tell of their calls: their log lines, as the local AWS keeps them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from contact_activity.domain.retries import TryTally
from contact_activity.ports import Clock

# A line has the time at which its invocation ended, and is kept some moments later.
OVERLAP_MS = 5_000
# More than come in that time, even if the clock is set back by minutes.
MOST_STREAMS = 10_000


class ToldTries:
    """The tries of the functions of these log groups, from now on. Each is returned once.

    Lines come when their invocation has ended, each time in a stream of their own.
    """

    def __init__(self, logs: Any, groups: Sequence[str], clock: Clock) -> None:
        self._logs, self._groups, self._clock = logs, groups, clock
        self._begun_ms = clock.now_ms()
        self._since_ms = self._begun_ms
        # In the order in which they were read.
        self._read: dict[str, None] = {}

    def read(self) -> list[TryTally]:
        """Return what was told since the last time."""
        now_ms = self._clock.now_ms()
        told = [line for group in self._groups for line in self._lines(group)]
        self._since_ms = max(self._begun_ms, now_ms - OVERLAP_MS)
        return [TryTally.told_by(line) for line in told]

    def _lines(self, group: str) -> Iterator[dict[str, Any]]:
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=self._since_ms, filterPattern='"calls"'
        )
        found = [event for page in pages for event in page["events"]]
        new = [event for event in found if event["logStreamName"] not in self._read]
        self._read |= {event["logStreamName"]: None for event in new}
        for stream in list(self._read)[:-MOST_STREAMS]:
            del self._read[stream]
        for event in new:
            line = _object(event["message"])
            if "calls" in line:
                yield line


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
