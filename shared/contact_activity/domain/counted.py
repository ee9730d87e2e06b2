"""A number with what it counts, in words for people."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return `1 contact` or `1,234 contacts`. `many`: what is said of several; by default `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def times(number: int) -> str:
    """Return `once` or `3 times`."""
    return "once" if number == 1 else counted(number, "time")
