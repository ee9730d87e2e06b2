"""Speaks to the Constant Contact v2 API."""
