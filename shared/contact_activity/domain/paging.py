"""Detect pages that go in circles, as the API's cursors sometimes do."""

from collections.abc import Hashable
from dataclasses import dataclass, field

# A page may come twice when rows are inserted while a report is read, but not so often.
MAX_REPEATS = 5
# An API that filters after it has cut its pages shows empty ones, and rows behind them.
MAX_EMPTY_IN_A_ROW = 50
# Cursors that fail so often do not fail by chance, and each further try costs calls.
MAX_RESTARTS = 20


@dataclass(slots=True)
class Rounds:
    """Detects circles in one reading of pages, from the first page on.

    Compares each page with one earlier page, which is replaced at every power of two of pages (Brent's
    algorithm). So it finds a circle of any length and remembers a single page. Empty pages are all equal and
    say nothing, so that they only count in a row.
    """

    _cursors: set[str] = field(default_factory=set)
    _kept: Hashable = None
    _pages: int = 0
    _keep_at: int = 1
    _repeats: int = 0
    _empty: int = 0

    @classmethod
    def resume(cls, pages: int, kept: Hashable, repeats: int, empty: int) -> "Rounds":
        """Go on after so many pages, though without the cursors that led to them."""
        keep_at = 1 << pages.bit_length()
        return cls(_kept=kept, _pages=pages, _keep_at=keep_at, _repeats=repeats, _empty=empty)

    @property
    def pages(self) -> int:
        """How many pages had rows."""
        return self._pages

    @property
    def kept(self) -> Hashable:
        """The page that later ones are compared with."""
        return self._kept

    @property
    def repeats(self) -> int:
        return self._repeats

    @property
    def empty(self) -> int:
        """How many pages in a row had none, at last."""
        return self._empty

    def was_seen(self, next_: str) -> bool:
        """Return whether an earlier page led to this cursor too, and remember it."""
        was_seen = next_ in self._cursors
        self._cursors.add(next_)
        return was_seen

    def are_endless(self, page: Hashable, *, is_empty: bool) -> bool:
        """Return whether known pages came again too often, or too many were empty, and count this one.

        Their cursors may be new each time.
        """
        if is_empty:
            self._empty += 1
            return self._empty > MAX_EMPTY_IN_A_ROW
        self._empty = 0
        self._repeats += page == self._kept
        self._pages += 1
        if self._pages == self._keep_at:
            self._kept, self._keep_at = page, 2 * self._keep_at
        return self._repeats > MAX_REPEATS
