"""The faults that the simulated API can show, and which call gets which fault."""

import random
from collections import Counter
from collections.abc import Mapping
from enum import Enum


class Fault(Enum):
    """A way in which one call fails or misleads. Those that concern `next` need a call that has one."""

    UNAUTHORIZED = "401 for a good token; at most once between two accepted calls"
    OVER_QPS = "403 mashery.not.authorized.over.qps, though the second is not used up"
    TOO_MANY = "429 with an error body"
    SERVER_ERROR = "500 with an error body"
    BAD_GATEWAY = "502 with an empty body"
    UNAVAILABLE_HTML = "503 with an HTML page"
    EMPTY_BODY = "200 with an empty body"
    TRUNCATED_JSON = "200 with half of the JSON and the length of that half"
    CUT_CONNECTION = "200 with the length of the whole body, closed after half of it"
    CLOSED_CONNECTION = "closed without any answer"
    SLOW_BODY = "200 with a pause of `slow_s` in the middle of the body"
    REPEATED_ROWS = "the page's rows, some of them twice"
    REPEATED_NEXT = "a page whose next_link has the token that asked for it"
    NEXT_REFUSED_400 = "400 for a good `next`"
    NEXT_REFUSED_404 = "404 for a good `next`"


_NEED_NEXT = {Fault.REPEATED_NEXT, Fault.NEXT_REFUSED_400, Fault.NEXT_REFUSED_404}
# The parameters that ask for a next page: v2's and v3's.
_TOKENS = {"next", "cursor"}


class FaultPicker:
    """Picks the fault of each call at random. Not thread-safe.

    The n-th call of a path gets the same fault in every run with the same seed.
    """

    def __init__(self, probabilities: Mapping[Fault, float], seed: int) -> None:
        self._probabilities = probabilities
        self._seed = seed
        self._calls: Counter[str] = Counter()
        self._may_refuse_token = True

    def next_fault(self, path: str) -> Fault | None:
        """Count a call of a path, and return its fault. None for no fault."""
        if not self._probabilities:
            return None
        self._calls[path] += 1
        fault = self._pick(random.Random(f"{self._seed}:{path}:{self._calls[path]}").random())
        if fault is not Fault.UNAUTHORIZED:
            return fault
        # Two refusals in a row would mean that the token is really bad.
        may_refuse, self._may_refuse_token = self._may_refuse_token, False
        return fault if may_refuse else None

    def record_success(self) -> None:
        """Allow the next 401, since a call was answered 200."""
        self._may_refuse_token = True

    def _pick(self, draw: float) -> Fault | None:
        for fault, probability in self._probabilities.items():
            draw -= probability
            if draw < 0:
                return fault
        return None


def can_happen(fault: Fault, parameters: Mapping[str, str]) -> bool:
    """Whether a fault can happen to a call with these parameters."""
    return fault not in _NEED_NEXT or not _TOKENS.isdisjoint(parameters)
