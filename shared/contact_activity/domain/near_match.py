"""What somebody meant who wrote a name that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches

# As many of the characters of two names must be alike (see `difflib`).
ALIKE = 0.6


def did_you_mean(wrong: str, names: Iterable[str], *, alike: float = ALIKE) -> str:
    """Return the question `did you mean status?`; "" if none of the names is like the wrong one."""
    near = get_close_matches(wrong, list(names), n=1, cutoff=alike)
    return f"did you mean {near[0]}?" if near else ""
