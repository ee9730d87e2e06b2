"""The example subscriber's way in, under a name that does not change: see `wiring`."""

from contact_activity.example_subscriber.subscriber import subscriber

__all__ = ["subscriber"]
