"""Read a contact's tracking reports, page by page, with their cursors and restarts."""

from typing import Generic, Literal, Protocol, TypeVar

from contact_activity.domain.answers import Refusal, TrackingPage
from contact_activity.domain.paging import MAX_RESTARTS, Rounds
from contact_activity.domain.watermark import Progress
from contact_activity.errors import FatalError, RetryError
from contact_activity.ports import Source

# Two and a half million activities: no contact has them, so the API's cursors go in circles.
MAX_PAGES = 5_000
# A cursor that expired twice does not outlive an invocation: it is not stored, and an invocation
# that cannot finish without one has failed.
RESTARTS_WITH_STORED_CURSOR = 1
CURSORS_DID_NOT_HOLD = "the API's cursors did not hold until the end of the walk"


class PagedWalk(Protocol):
    """What a walk through pages tells of itself, and is told."""

    restarts: int
    pages: int

    @property
    def is_undecided(self) -> bool: ...

    def since_ms(self, report: str) -> int | None: ...

    def begin_report(self) -> None: ...

    def begin_anew(self) -> None: ...

    def progress(self, report: str, next_: str | None) -> Progress: ...


W = TypeVar("W", bound=PagedWalk)


class History(Generic[W]):
    """The reading position of one walk: which report, which page, and how often it began again.

    Take a page with `next_page`, let the walk take it, then call `turn`. `reports`: which are read, one
    after the other; `progress`: where the walk goes on.
    """

    def __init__(
        self, source: Source, contact_id: str, walk: W, reports: tuple[str, ...], progress: Progress | None
    ) -> None:
        self._source = source
        self._contact_id = contact_id
        self.walk = walk
        self._reports = reports
        self._rounds = Rounds()
        self._is_report_read = False
        self._restarts_before = 0
        self._report = progress.report if progress else reports[0]
        self._next = progress.next if progress else None

    @property
    def restarts(self) -> int:
        """How often this walk began a report again."""
        return max(self._restarts_before, self.walk.restarts)

    @property
    def is_at_end(self) -> bool:
        """All pages of the last report were read."""
        return self._is_report_read

    @property
    def needs_cursor(self) -> bool:
        """The walk cannot go on in another invocation: its cursor is not stored after two restarts."""
        return self.walk.restarts > RESTARTS_WITH_STORED_CURSOR

    def next_page(self, deadline_ms: int) -> TrackingPage | Literal[Refusal.GONE] | None:
        """The next page, `Refusal.GONE` for a contact that does not exist, or None after the last page.

        Raises what the source raises, and `RetryError` if cursors expired too often.
        """
        if self._is_report_read and not self._begin_next_report():
            return None
        while True:
            page = self._source.tracking(
                self._contact_id,
                self._report,
                since_ms=self.walk.since_ms(self._report),
                next_=self._next,
                deadline_ms=deadline_ms,
            )
            if page is not Refusal.NEXT_EXPIRED:
                return page
            self._restart()

    def turn(self, page: TrackingPage) -> None:
        """Go on behind a page that was published.

        A cursor that comes again would never end, and what follows it was not read: it counts as expired.
        Raises `FatalError` if the pages go in circles under new cursors.
        """
        if page.next is None:
            self._is_report_read = True
            return
        if self.walk.pages >= MAX_PAGES:
            self.begin_anew()
            raise FatalError(f"a history of more than {MAX_PAGES} pages")
        if self._rounds.are_endless(hash((page.activities, page.unreadable)), is_empty=page.is_empty):
            self.begin_anew()
            raise FatalError("the API's pages go round, each with another cursor")
        if self._rounds.was_seen(page.next):
            self._restart()
        else:
            self._next = page.next

    def begin_anew(self) -> None:
        """Have the next invocation begin at page one with what is published so far, and no restarts."""
        self._next = None
        self.walk.begin_anew()
        self._restarts_before, self.walk.restarts = self.walk.restarts, 0

    def progress(self) -> Progress:
        """The marker from which the next invocation goes on."""
        if self.walk.is_undecided:
            # It may be about a row of any report so far.
            return self.walk.progress(self._reports[0], None)
        return self.walk.progress(self._report, None if self.needs_cursor else self._next)

    def _begin_next_report(self) -> bool:
        following = self._reports[self._reports.index(self._report) + 1 :]
        if following:
            self._report, self._next = following[0], None
            self._rounds = Rounds()
            self._is_report_read = False
            self.walk.begin_report()
        return bool(following)

    def _restart(self) -> None:
        self.walk.restarts += 1
        if self.walk.restarts > MAX_RESTARTS:
            self.begin_anew()
            raise RetryError(CURSORS_DID_NOT_HOLD)
        self.walk.begin_anew()
        self._next = None
        self._rounds = Rounds()
