"""Runs the use cases in one process, on this machine."""
