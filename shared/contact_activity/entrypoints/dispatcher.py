"""Run the dispatcher function."""

from collections.abc import Callable
from dataclasses import dataclass

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.watermark import Reading
from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.invocation import deadline_ms
from contact_activity.ports import TickPorts
from contact_activity.use_cases.tick import run_tick
from contact_activity.use_cases.tick_report import TickReport
from contact_activity.use_cases.turns import StoredShifts


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The dispatcher with everything it needs."""

    ports: TickPorts
    tick_ms: int
    reading: Reading
    campaign_lookback_days: int | None
    read_credentials: Callable[[], object]
    campaign_reports: tuple[ActivityType, ...] = ()
    has_watch: bool = True

    def run(self, remaining_ms: int, correlation_id: str) -> dict[str, object]:
        """Run one tick and return its report. A tick that raises is measured too."""
        telemetry.correlate(correlation_id)
        try:
            self.read_credentials()
        except Exception:
            telemetry.record_unreadable_credentials()
            raise
        report = TickReport()
        try:
            run_tick(
                self.ports,
                tick_ms=self.tick_ms,
                deadline_ms=deadline_ms(remaining_ms),
                calls_each=self.reading.calls_each,
                campaign_lookback_days=self.campaign_lookback_days,
                types=self.campaign_reports,
                is_witnessed=self.reading.is_witnessed,
                has_watch=self.has_watch,
                turns=StoredShifts(self.ports.store, self.ports.clock, self.tick_ms),
                correlation_id=correlation_id,
                report=report,
            )
        finally:
            result = telemetry.record_tick(report)
        return result
