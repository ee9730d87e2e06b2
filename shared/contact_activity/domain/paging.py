"""Whether the pages of a list or a report go round, or never hold. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass, field

# An API may show a page twice, such as when rows come in while it is read; not so often.
MEETINGS_MAX = 5
# As often as that no cursor holds by chance, and each further try costs calls that others wait for.
RESTARTS_MAX = 20


@dataclass(slots=True)
class Rounds:
    """One reading of pages, from the first on.

    Each page is compared with one that is kept, which moves on at every power of two of pages: so a
    round of any length is met, and one page is all that has to be remembered.
    """

    _cursors: set[str] = field(default_factory=set)
    _kept: Hashable = None
    _pages: int = 0
    _keep_at: int = 1
    _meetings: int = 0

    def was_seen(self, next_: str) -> bool:
        """Whether a page before led to this cursor too; from now on one did."""
        was_seen = next_ in self._cursors
        self._cursors.add(next_)
        return was_seen

    def are_endless(self, page: Hashable) -> bool:
        """Whether pages that were seen before were met more than `MEETINGS_MAX` times.

        Their cursors may be new each time. Of empty pages each is the same.
        """
        self._meetings += page == self._kept
        self._pages += 1
        if self._pages == self._keep_at:
            self._kept, self._keep_at = page, 2 * self._keep_at
        return self._meetings > MEETINGS_MAX
