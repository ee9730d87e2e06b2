"""A campaign's report of one type: when it is read, from where on, and what a read makes of it.

A report tells what all contacts did with one campaign. It keeps nothing of what was published: that is
the memory of each contact.
"""

from dataclasses import dataclass, replace

from contact_activity.domain.activity import USABLE_ID, ActivityType
from contact_activity.domain.schedule import is_held
from contact_activity.domain.times import CLOCKS_DIFFER_MS, DAY_MS, HOUR_MS, WEEK_MS
from contact_activity.domain.witness import NO_EDGE, Edge

# Rows appear minutes after their stamp: of a mean of 90 s one in a million is later than 20 minutes.
OVERLAP_MS = 20 * 60_000
# So long after its send a report is read from its beginning again, for rows that came in late.
DEEP_AFTER_MS = tuple(days * DAY_MS for days in (1, 3, 8, 29))
SENDS_DEEP_AFTER_MS = DEEP_AFTER_MS[:1]
WATCHED_MS = 30 * DAY_MS
WATCHED_WEEKLY_MS = 90 * DAY_MS
MAX_WAIT_MS = DAY_MS
# Of what was sent less than 30 days ago, with room for a long tick and for clocks that differ.
LATEST_YOUNG_DUE_MS = 2 * DAY_MS
# The wait grows with the age of the send, as opens decay, and doubles with each read without news.
WAITS_AN_AGE, WAITS_AN_OLD_AGE = 96, 24
FRESH_MS, MAX_FRESH_WAIT_MS = WEEK_MS, 20 * 60_000
MAX_QUIET = 2
# A failing API is no reason to leave a report alone for long; one that is refused mostly stays so.
MAX_FAILURE_WAIT_MS = HOUR_MS
REFUSALS_BELIEVED = 2
YOUNG_MS = DAY_MS
# A campaign whose sends report shows a send so much later was sent again.
SENT_WITHIN_MS = HOUR_MS
# After the newest ask of a contact's row. The last one lets a row that is missing be judged.
ASKED_AGAIN_AFTER_MS = (0, HOUR_MS, 4 * HOUR_MS, 23 * HOUR_MS)
# A report that answered nothing so often is read once a day for what is asked.
MISSES_BELIEVED = 2
MAX_REFUSED_WAIT_MS = 28 * DAY_MS
_TYPES = {type_.report: type_ for type_ in ActivityType}


@dataclass(frozen=True, slots=True)
class ReportId:
    """Which report: its campaign and its type."""

    campaign_id: str
    type: ActivityType

    def __str__(self) -> str:
        return f"{self.campaign_id}-{self.type.report}"

    @property
    def is_usable(self) -> bool:
        """Whether its text can be part of a key or a message."""
        return USABLE_ID.fullmatch(str(self)) is not None

    @classmethod
    def parse(cls, text: str) -> "ReportId | None":
        """The report of a text such as `1117643206590-opens`, or None."""
        campaign_id, _, report = text.rpartition("-")
        return cls(campaign_id, _TYPES[report]) if campaign_id and report in _TYPES else None


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """A read that is not finished.

    `since_ms`: from where on it reads; None: from the report's beginning. `next`: the cursor of the next
    page; None for the first. `newest_ms`: the newest stamp so far. `news`: how many rows it published.
    `pages`, `kept_page`, `repeats` and `empty_pages` detect pages that never end, however few an invocation
    reads.
    `edge`: the clicks of the last stamp that was read, and `answered`: how many rows that contacts ask
    for it showed, where rows only vouch.
    """

    started_ms: int
    since_ms: int | None
    next: str | None = None
    newest_ms: int | None = None
    rows: int = 0
    news: int = 0
    restarts: int = 0
    pages: int = 0
    kept_page: str | None = None
    repeats: int = 0
    empty_pages: int = 0
    edge: Edge = NO_EDGE
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What contacts' rows ask of a report, where rows only vouch.

    `since_ms`: the oldest stamp that is asked for; None: all of it, since it was never read to its end.
    `newest_ms`: when a row asked for the first time, of the newest that did. `due_ms`: when to read it for
    them; None: no more. `misses`: how many reads for them in a row answered none. `read_ms`: when the last
    such read began that is finished, and `read_since_ms`: how far down it went. `gone_ms`: when the API
    last said, twice, that there is no such report; None: not since it was read. `forbidden_ms`: when the API
    last refused it, though maybe a right is missing; None: that is not how its last try ended.
    """

    newest_ms: int
    since_ms: int | None = None
    due_ms: int | None = None
    misses: int = 0
    read_ms: int | None = None
    read_since_ms: int | None = None
    gone_ms: int | None = None
    forbidden_ms: int | None = None

    def again(self, since_ms: int | None, now_ms: int, *, is_new: bool, is_wanted: bool = False) -> "Asked":
        """With rows that ask from now on; `is_new`: some of them for the first time.

        `is_wanted`: a resync has them ask, which is no reason to wait.
        """
        is_over = self.due_ms is None
        oldest_ms = since_ms if is_over else _oldest(self.since_ms, since_ms)
        is_patient = self.misses >= MISSES_BELIEVED and self.read_ms is not None and not is_wanted
        waits_ms = DAY_MS if is_patient else 0
        due_ms = _earliest(self.due_ms, max(now_ms, (self.read_ms or 0) + waits_ms))
        newest_ms = now_ms if is_new else self.newest_ms
        return replace(self, newest_ms=newest_ms, since_ms=oldest_ms, due_ms=due_ms)

    def after(self, read: ReportProgress, now_ms: int, *, answered: bool) -> "Asked":
        """After a finished read. One that went less deep is no answer.

        Who asked while it was read may have been passed already, so that it is read again.
        """
        is_deep = read.since_ms is None or (self.since_ms is not None and read.since_ms <= self.since_ms)
        if self.due_ms is None or not is_deep:
            return self
        misses = 0 if answered else self.misses + 1
        if read.started_ms >= self.newest_ms:
            due_ms = _next_read_ms(self.newest_ms, read.started_ms, misses)
        else:
            due_ms = now_ms if misses < MISSES_BELIEVED else read.started_ms + DAY_MS
        return replace(
            self,
            due_ms=due_ms,
            misses=misses,
            read_ms=read.started_ms,
            read_since_ms=read.since_ms,
            gone_ms=None,
            forbidden_ms=None,
        )

    def set_right(self, now_ms: int) -> "Asked":
        """Without times after `now_ms`, which a clock that ran ahead wrote."""
        due_ms = self.due_ms
        if due_ms is not None and due_ms > now_ms + MAX_REFUSED_WAIT_MS:
            due_ms = now_ms
        return replace(
            self,
            newest_ms=min(self.newest_ms, now_ms),
            due_ms=due_ms,
            read_ms=_at_most(self.read_ms, now_ms),
            gone_ms=_at_most(self.gone_ms, now_ms),
            forbidden_ms=_at_most(self.forbidden_ms, now_ms),
        )

    def has_looked_for(self, stamp_ms: int, began_ms: int) -> bool:
        """Whether a finished read that began then or later went down to a stamp."""
        is_late = self.read_ms is not None and self.read_ms >= began_ms
        return is_late and (self.read_since_ms is None or self.read_since_ms <= stamp_ms)

    def has_looked_through(self, began_ms: int) -> bool:
        """Whether a read that began then or later went down to the report's end."""
        return self.read_since_ms is None and self.read_ms is not None and self.read_ms >= began_ms


def _next_read_ms(newest_ms: int, read_ms: int, misses: int) -> int | None:
    left = [newest_ms + after_ms for after_ms in ASKED_AGAIN_AFTER_MS if newest_ms + after_ms > read_ms]
    if not left:
        return None
    return read_ms + DAY_MS if misses >= MISSES_BELIEVED else left[0]


def _oldest(one_ms: int | None, other_ms: int | None) -> int | None:
    return None if one_ms is None or other_ms is None else min(one_ms, other_ms)


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """All that is stored of a report.

    `sent_ms`: when its campaign was sent last; 0 for one that only contacts' rows tell of.
    `due_ms`: None when it is no longer watched.
    `read_ms`: when its last finished read began. `through_ms`: the newest stamp of all finished reads,
    never later than now; `through_seen_ms`: when the read ended that met it first.
    `deep_ms`: when a finished read from its beginning began last.
    `quiet`: finished reads in a row without news. `rows`: of the last read from its beginning.
    `refusals`: how many of its last failures in a row were refusals. `failed_ms`: when it failed last.
    `held_until_ms`: until when a worker publishes from it and no other may.
    `asked`: what contacts' rows ask of it; `due_ms` is the earlier of its times and that of its watch.
    `parent_id`: the campaign whose mailing it is of (v3), if the campaign list told.
    """

    id: ReportId
    sent_ms: int
    due_ms: int | None
    version: int = 0
    read_ms: int | None = None
    through_ms: int | None = None
    through_seen_ms: int | None = None
    deep_ms: int | None = None
    quiet: int = 0
    failures: int = 0
    refusals: int = 0
    rows: int = 0
    held_until_ms: int | None = None
    progress: ReportProgress | None = None
    last_error: str | None = None
    failed_ms: int | None = None
    asked: Asked | None = None
    parent_id: str | None = None

    def asked_for(
        self, stamp_ms: int | None, now_ms: int, *, is_new: bool = True, is_wanted: bool = False
    ) -> "CampaignReport":
        """Due for contacts' rows that no report has shown; None: to its end, as if it never was read so."""
        since_ms = None if self.deep_ms is None else stamp_ms
        asked = (self.asked or Asked(now_ms)).again(since_ms, now_ms, is_new=is_new, is_wanted=is_wanted)
        if self.refusals and self.asked and self.asked.due_ms is not None:
            # What the API refuses is not tried again for each row that asks, but daily.
            asked = replace(asked, due_ms=min(self.asked.due_ms, now_ms + DAY_MS))
        return replace(self, asked=asked, due_ms=_earliest(self.due_ms, asked.due_ms))

    def will_look_for(self, stamp_ms: int | None, now_ms: int) -> bool:
        """Whether a read that has not begun, and comes next, goes down to a stamp (or the end) anyway."""
        asked = self.asked
        # A clock that ran ahead may have left only one of the two due times in the future.
        if self.progress or not asked or asked.due_ms is None or max(asked.due_ms, self.due_ms or 0) > now_ms:
            return False
        return asked.since_ms is None or (stamp_ms is not None and asked.since_ms <= stamp_ms)

    def is_looking_for(self, stamp_ms: int | None, began_ms: int) -> bool:
        """Whether a read is under way that began then or later and goes down to a stamp (or the end)."""
        if self.progress is None or self.progress.started_ms < began_ms or not self.is_asked:
            return False
        since_ms = self.progress.since_ms
        return since_ms is None or (stamp_ms is not None and since_ms <= stamp_ms)

    @property
    def is_asked(self) -> bool:
        return self.asked is not None and self.asked.due_ms is not None

    @property
    def is_owing(self) -> bool:
        """Whether rows wait for it that it owes by a failure: it is there, and no right is missing."""
        asked = self.asked
        is_there = asked is not None and asked.gone_ms is None and asked.forbidden_ms is None
        return self.is_asked and is_there and self.failed_ms is not None

    def is_held(self, now_ms: int) -> bool:
        return is_held(self.held_until_ms, now_ms)

    def set_right(self, now_ms: int) -> "CampaignReport":
        """This report without times after `now_ms`, which a clock that ran ahead wrote."""
        progress = self.progress
        if progress and progress.started_ms > now_ms:
            progress = None
        return replace(
            self,
            sent_ms=min(self.sent_ms, now_ms),
            read_ms=_at_most(self.read_ms, now_ms),
            through_ms=_at_most(self.through_ms, now_ms),
            through_seen_ms=_at_most(self.through_seen_ms, now_ms),
            deep_ms=_at_most(self.deep_ms, now_ms),
            progress=progress,
            asked=self.asked and self.asked.set_right(now_ms),
        )

    def begun(self, now_ms: int, trusted_ms: int) -> ReportProgress:
        """Where to read on, or the beginning of the next read.

        What was read before `trusted_ms` was not published, so it is read again.
        """
        if self.progress and self.progress.started_ms >= trusted_ms:
            return self.progress
        is_known = self.read_ms is not None and self.read_ms >= trusted_ms
        since_ms = self._since_ms(now_ms) if is_known else None
        if self.asked and self.is_asked:
            since_ms = _oldest(since_ms, self.asked.since_ms)
        return ReportProgress(now_ms, since_ms)

    def is_long(self, trusted_ms: int) -> bool:
        """Whether the next read may take more than a few pages."""
        return self.progress is not None or self.read_ms is None or self.read_ms < trusted_ms

    def finished(
        self, read: ReportProgress, now_ms: int, tick_ms: int, *, answered: bool = False
    ) -> "CampaignReport":
        """After a read to its last page. `answered`: it showed a row that a contact asked for."""
        asked = self.asked and self.asked.after(read, now_ms, answered=answered)
        is_deep = read.since_ms is None
        newest_ms = None if read.newest_ms is None else min(now_ms, read.newest_ms)
        is_newer = newest_ms is not None and (self.through_ms is None or newest_ms > self.through_ms)
        quiet = 0 if read.news else min(MAX_QUIET, self.quiet + (not self.is_asked))
        due_ms = due_after_read_ms(now_ms, sent_ms=self.sent_ms, quiet=quiet, tick_ms=tick_ms)
        return replace(
            self,
            due_ms=_earliest(due_ms, asked.due_ms if asked else None),
            asked=asked,
            read_ms=read.started_ms,
            through_ms=newest_ms if is_newer else self.through_ms,
            through_seen_ms=now_ms if is_newer else self.through_seen_ms,
            deep_ms=read.started_ms if is_deep else self.deep_ms,
            rows=read.rows if is_deep else self.rows,
            quiet=quiet,
            failures=0,
            refusals=0,
            held_until_ms=None,
            progress=None,
            last_error=None,
            failed_ms=None,
        )

    def is_sent_again(self, read: ReportProgress) -> bool:
        """Whether a read of the sends shows that the campaign was sent once more since `sent_ms`."""
        is_of_sends = self.id.type is ActivityType.SENT and read.news > 0 and self.sent_ms > 0
        return is_of_sends and (read.newest_ms or 0) > self.sent_ms + SENT_WITHIN_MS

    def put_off(self, now_ms: int, tick_ms: int) -> "CampaignReport":
        """Due later, though it was not read: it had nothing to sample."""
        quiet = min(MAX_QUIET, self.quiet + 1)
        due_ms = due_after_read_ms(now_ms, sent_ms=self.sent_ms, quiet=quiet, tick_ms=tick_ms)
        return replace(self, due_ms=due_ms, quiet=quiet)

    def interrupted(self, read: ReportProgress) -> "CampaignReport":
        """In a read that stops at `read`, held by nobody, and still due."""
        return replace(self, progress=read, held_until_ms=None)

    def failed(
        self,
        error: str,
        read: ReportProgress | None,
        *,
        is_refused: bool,
        is_gone: bool = False,
        is_forbidden: bool = False,
        now_ms: int,
        tick_ms: int,
    ) -> "CampaignReport":
        """After a failure. It is tried again after a wait that doubles to an hour.

        One that is refused again and again is tried daily, once its campaign is a day old. When its watch
        is over, it is not tried again. `is_forbidden`: maybe a right is missing.
        """
        failures, refusals = self.failures + 1, self.refusals + 1 if is_refused else 0
        age_ms = now_ms - self.sent_ms
        is_old = age_ms >= YOUNG_MS
        is_believed = refusals >= REFUSALS_BELIEVED and is_old
        wait_ms = MAX_WAIT_MS if is_believed else min(MAX_FAILURE_WAIT_MS, tick_ms << min(failures - 1, 20))
        asked, due_ms = self.asked, None if age_ms >= WATCHED_WEEKLY_MS else now_ms + wait_ms
        if asked and asked.due_ms is not None:
            if refusals:
                wait_ms = min(MAX_REFUSED_WAIT_MS, HOUR_MS << 5 * min(refusals - 1, 5))
            asked = replace(
                asked,
                due_ms=now_ms + wait_ms,
                gone_ms=now_ms if is_gone else None,
                forbidden_ms=now_ms if is_forbidden else None,
            )
            due_ms = _earliest(due_ms, asked.due_ms)
        return replace(
            self,
            due_ms=due_ms,
            asked=asked,
            failures=failures,
            refusals=refusals,
            held_until_ms=None,
            progress=read,
            last_error=error,
            failed_ms=now_ms,
        )

    def sent_again(self, sent_ms: int, now_ms: int) -> "CampaignReport":
        """Watched anew after its campaign was sent once more. What was read of it stays read."""
        return replace(self, sent_ms=sent_ms, due_ms=now_ms, deep_ms=None, quiet=0, failures=0, refusals=0)

    def is_put_off(self, now_ms: int) -> bool:
        """Whether it is due later than that of a young campaign can be, or never: a clock ran ahead."""
        return self.due_ms is None or self.due_ms > now_ms + LATEST_YOUNG_DUE_MS

    def of_parent(self, parent_id: str | None) -> "CampaignReport":
        """This report with the campaign whose mailing it is of, once that is known."""
        return self if parent_id in (None, self.parent_id) else replace(self, parent_id=parent_id)

    def retried(self, now_ms: int) -> "CampaignReport":
        """Due now, as if it had never failed. One that is not watched stays so."""
        due_ms = None if self.due_ms is None else min(self.due_ms, now_ms)
        return replace(self, due_ms=due_ms, failures=0, refusals=0, last_error=None, failed_ms=None)

    def _since_ms(self, now_ms: int) -> int | None:
        """From where on to read: only rows that came in since the last read lie behind it.

        Stamps may be hours off, so the newest stamp counts where it is older than the last read. What is
        older than that has all come in once a read began an overlap after it was first seen. A whole
        mailing may bear that stamp, so it is left out too, once a read found nothing new.
        """
        if self.read_ms is None or self.through_ms is None or self._is_deep_read_due(now_ms):
            return None
        is_settled = self.read_ms >= (self.through_seen_ms or self.read_ms) + OVERLAP_MS
        left_out_ms = 1 if self.quiet else 0
        from_through_ms = self.through_ms + (left_out_ms if is_settled else -OVERLAP_MS)
        return max(0, min(self.read_ms - OVERLAP_MS, from_through_ms))

    def _is_deep_read_due(self, now_ms: int) -> bool:
        afters_ms = SENDS_DEEP_AFTER_MS if self.id.type is ActivityType.SENT else DEEP_AFTER_MS
        deep_ms = self.sent_ms if self.deep_ms is None else self.deep_ms
        return any(deep_ms < self.sent_ms + after_ms <= now_ms for after_ms in afters_ms)


def latest_due_ms(now_ms: int) -> int:
    """The latest due time of a report. A clock that ran ahead wrote any later one."""
    return now_ms + MAX_REFUSED_WAIT_MS + CLOCKS_DIFFER_MS


def due_after_read_ms(now_ms: int, *, sent_ms: int, quiet: int, tick_ms: int) -> int | None:
    """When a report is due again that was just read; None: never.

    Every tick at first, then rarer as its campaign ages and as reads find nothing: at least every twenty
    minutes in the first week, then daily, weekly after 30 days, and no more after 90.
    """
    age_ms = max(0, now_ms - sent_ms)
    if age_ms >= WATCHED_WEEKLY_MS:
        return None
    if age_ms >= WATCHED_MS:
        return now_ms + WEEK_MS
    if age_ms < FRESH_MS:
        wait_ms = min(MAX_FRESH_WAIT_MS, max(tick_ms, age_ms // WAITS_AN_AGE) << quiet)
    else:
        wait_ms = min(MAX_WAIT_MS, age_ms // WAITS_AN_OLD_AGE << quiet)
    return now_ms + max(tick_ms, wait_ms)


def _earliest(one_ms: int | None, other_ms: int | None) -> int | None:
    return min((time_ms for time_ms in (one_ms, other_ms) if time_ms is not None), default=None)


def _at_most(time_ms: int | None, now_ms: int) -> int | None:
    return None if time_ms is None else min(time_ms, now_ms)
