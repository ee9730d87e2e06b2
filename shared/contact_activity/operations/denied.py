"""What AWS tells of a permission that is missing."""

import re


def missing_action(message: str) -> str | None:
    """Return the action that a message of AWS names as not allowed, and nothing else of it."""
    named = re.search(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)", message)
    return named[1] if named else None
