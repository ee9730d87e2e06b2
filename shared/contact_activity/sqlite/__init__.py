"""Implement the store on one SQLite file."""
