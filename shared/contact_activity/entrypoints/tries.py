"""Count the tries of a function's calls, until a log line tells of them."""

import threading
from dataclasses import replace

from contact_activity.domain.retries import Retry, TryTally
from contact_activity.errors import Cause


class TryCount:
    """The `TryWatch` port. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tally = TryTally()

    def record_try(self) -> None:
        with self._lock:
            self._tally.tries += 1

    def record_retry(self, retry: Retry) -> None:
        with self._lock:
            self._tally.retries[replace(retry, wait_s=0)] += 1

    def record_failure(self, cause: Cause, status: int) -> None:
        """Count a try that failed. `status` is 0 if no answer came."""
        with self._lock:
            self._tally.failures[cause.value, status] += 1

    def take(self) -> TryTally:
        """Return what was counted, and begin anew."""
        with self._lock:
            taken, self._tally = self._tally, TryTally()
        return taken
