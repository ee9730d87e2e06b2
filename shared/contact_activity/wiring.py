"""The functions' way in, under a name that does not change.

An update of a stack replaces a function's code and its layer in two steps. In between the old code runs
with the new layer, or the new code with the old one, so what a function imports must be in both.
"""

from contact_activity.entrypoints.wiring import dispatcher, worker
from contact_activity.entrypoints.worker import Worker

__all__ = ["Worker", "dispatcher", "worker"]
