"""Holds what every store shares: the form of what is stored, and the shared pace."""
