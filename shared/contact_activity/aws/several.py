"""Make several calls at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def each(do: Callable[[A], R], arguments: Sequence[A], threads: int) -> list[R]:
    """Call `do` for each argument, so many at once. Results are in the order of the arguments."""
    if threads == 1 or len(arguments) < 2:
        return [do(argument) for argument in arguments]
    with ThreadPoolExecutor(min(threads, len(arguments))) as pool:
        return list(pool.map(do, arguments))
