"""The embedded engine: runs the use cases in one process, on this machine."""
