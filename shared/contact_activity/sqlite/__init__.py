"""Implements the store on one SQLite file."""
