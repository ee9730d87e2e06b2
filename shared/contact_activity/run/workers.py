"""Worker threads: they receive deliveries from the queue and handle them, several at a time."""

import logging
import threading
from types import TracebackType
from typing import Self

from contact_activity.domain.work import Report, WorkPolicy
from contact_activity.errors import FatalError, RetryError, StandstillError
from contact_activity.ports import WorkPorts
from contact_activity.run.memory_queue import Delivery, MemoryQueue
from contact_activity.run.summary import WorkRecorder
from contact_activity.use_cases.work_on import work_on

WORKERS = 8
MAX_HANDLING_MS = 120_000
MAX_STOPPING_MS = 5_000
RECEIVE_WAIT_S = 0.05

_log = logging.getLogger(__name__)


class Workers:
    """The worker threads of a run. They work while the `with` block lasts.

    A standstill that may pass makes them give up every delivery until `resume`; in a one-time run it
    stops them for good. So does every other error that is not the failure of a single item.
    """

    def __init__(
        self,
        ports: WorkPorts,
        queue: MemoryQueue,
        policy: WorkPolicy,
        recorder: WorkRecorder,
        *,
        is_one_time: bool,
    ) -> None:
        self._ports, self._queue, self._policy = ports, queue, policy
        self._recorder = recorder
        self._is_one_time = is_one_time
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._standstill: StandstillError | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(WORKERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every worker finish its call. What is not done stays due."""
        self._stopping.set()
        clock = self._ports.clock
        until_ms = clock.monotonic_ms() + MAX_STOPPING_MS
        for thread in self._threads:
            thread.join(timeout=max(0, until_ms - clock.monotonic_ms()) / 1_000)

    @property
    def are_stopped(self) -> bool:
        """Whether an error stopped them for good."""
        return self._error is not None

    @property
    def is_standstill(self) -> bool:
        """Whether they give up every delivery."""
        return self._standstill is not None

    def resume(self) -> None:
        """Handle deliveries again after a standstill."""
        self._standstill = None

    def raise_error(self) -> None:
        """Raise what stopped the workers, or the standstill. Does nothing if there was no error."""
        error = self._error or self._standstill
        if error:
            raise error

    def _work(self) -> None:
        while not self._stopping.is_set():
            delivery = self._queue.receive(wait_s=RECEIVE_WAIT_S)
            if delivery:
                self._handle_or_stop(delivery)

    def _handle_or_stop(self, delivery: Delivery) -> None:
        try:
            self._handle_unless_standstill(delivery)
        except StandstillError as error:
            self._stand_still(error)
        except Exception as error:  # noqa: BLE001  the main thread raises it
            self._stop_for(error)

    def _stand_still(self, error: StandstillError) -> None:
        if self._is_one_time or not error.is_passing:
            self._stop_for(error)
        else:
            self._standstill = error
            self._queue.complete()

    def _stop_for(self, error: Exception) -> None:
        self._error = error
        self._stopping.set()

    def _handle_unless_standstill(self, delivery: Delivery) -> None:
        if self._standstill:
            # Every delivery would wait as long as the first one did.
            self._queue.complete()
        else:
            self._handle(delivery)

    def _handle(self, delivery: Delivery) -> None:
        deadline_ms = self._ports.clock.monotonic_ms() + MAX_HANDLING_MS
        try:
            report = work_on(delivery.item, self._ports, self._policy, deadline_ms=deadline_ms)
        except (RetryError, FatalError) as error:
            if not delivery.is_last:
                self._queue.retry(delivery)
                return
            self._recorder.record_failure(delivery.item, error)
        else:
            _log_unreadable(report)
            self._recorder.record_report(delivery.item, report)
        self._queue.complete()


def _log_unreadable(report: Report) -> None:
    for digest in report.unreadable:
        _log.warning("skipped a row that cannot be read, digest %s", digest)
