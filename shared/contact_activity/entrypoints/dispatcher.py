"""Runs the dispatcher function."""

from collections.abc import Callable
from dataclasses import dataclass

from contact_activity.entrypoints import telemetry
from contact_activity.entrypoints.invocation import deadline_ms
from contact_activity.ports import TickPorts
from contact_activity.settings import Credentials
from contact_activity.use_cases.tick import dispatch
from contact_activity.use_cases.tick_report import DispatchReport


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The dispatcher function."""

    ports: TickPorts
    tick_ms: int
    calls_each: int
    campaign_lookback_days: int | None
    credentials: Callable[[], Credentials]

    def run(self, remaining_ms: int, correlation_id: str) -> dict[str, object]:
        """One tick; returns what the invocation answers. Also a tick that raises is measured."""
        telemetry.correlate(correlation_id)
        try:
            self.credentials()
        except Exception:
            telemetry.tell_no_credentials()
            raise
        report = DispatchReport()
        try:
            dispatch(
                self.ports,
                tick_ms=self.tick_ms,
                deadline_ms=deadline_ms(remaining_ms),
                calls_each=self.calls_each,
                campaign_lookback_days=self.campaign_lookback_days,
                correlation_id=correlation_id,
                report=report,
            )
        finally:
            told = telemetry.tell_tick(report)
        return told
