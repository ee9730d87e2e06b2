"""The functions' logs and metrics, under a name that does not change: see `wiring`."""

from contact_activity.entrypoints.telemetry import logger, metrics

__all__ = ["logger", "metrics"]
