"""The work that a message asks for, and the report of its result.

A message is a hint: it may be lost, doubled or late. The stored watermark alone says what is done.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.shifts import Window
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.walk import Counts
from contact_activity.domain.watermark import Reading

# So many summaries one call of v3 takes.
MAX_CAMPAIGNS_A_CALL = 10


class WorkKind(StrEnum):
    """What a message asks for."""

    CONTACT = "contact"
    CAMPAIGN = "campaign"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One contact, campaign or report that was due at `planned_ms`. Holds no personal data.

    `correlation_id` names the tick that planned it, for logs and events. `window`: when it may be worked
    on; None: at any time, where nothing else works meanwhile. `is_sampled`: its reports' rows are to be
    compared with a sample. `pages`: how many of a report may be read, by this message and those that go on
    with it; None: all. `more`: further campaigns that one call asks for, too.
    """

    kind: WorkKind
    id: str
    planned_ms: int
    correlation_id: str | None = None
    window: Window | None = None
    is_sampled: bool = False
    pages: int | None = None
    more: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.id, *self.more)

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    def is_shift_ending(self, now_ms: int) -> bool:
        """Whether another message would come too late for its shift."""
        return self.window is not None and self.window.is_ending(now_ms)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was received too often. `item` is None if its body is not one of ours."""

    item: WorkItem | None
    id: str
    sent_ms: int
    receipt_handle: str


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """The settings of a worker. `has_shifts`: others may work at the same time, so messages have windows."""

    reading: Reading
    email_addresses: EmailAddresses
    tick_ms: int
    summaries: tuple[SummaryKind, ...] = ()
    has_shifts: bool = False


class Outcome(StrEnum):
    """How a message ended that must not be delivered again."""

    SYNCED = "synced"
    READ = "read"
    SAMPLED = "sampled"
    SUMMARIZED = "summarized"
    UNFINISHED = "unfinished"
    GONE = "gone"
    PAUSED = "paused"
    REFUSED = "refused"
    STALE = "stale"
    LATE = "late"
    EARLY = "early"
    FAILED = "failed"
    UNKNOWN_CONTACT = "unknown_contact"
    RACE_LOST = "race_lost"
    HELD = "held"


def _no_ages() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Report:
    """Result of one message.

    `by_type` counts the published events by detail type. `ages_s` holds the age of each published
    activity that is no backfill, 8 bytes each, since there may be hundreds of thousands. `unreadable`
    holds row digests, which are safe to log. `summaries_owed` will be asked for at the next sync;
    `summaries_refused` are refused by the API; `campaigns_left_out` is what a summary by campaign has
    beyond its bound. `is_newly_gone`: the API did not know the contact, for the first time.
    `asking`: rows of a contact that no report has shown yet, `owed` of them though reports were read for it,
    or all of them, for want of a right.
    Of a campaign's report: `rows_left` to their contacts' own walks, `rows_unknown` of contacts that are
    not registered. `rows_shifted` are the like of a known activity at another hour; `late_details` were
    published without their details before. `error`: why a report failed.
    """

    outcome: Outcome
    by_type: Counter[str] = field(default_factory=Counter)
    ages_s: "array[int]" = field(default_factory=_no_ages)
    pages: int = 0
    restarts: int = 0
    memory_is_full: bool = False
    is_newly_gone: bool = False
    summaries_owed: int = 0
    summaries_refused: int = 0
    campaigns_left_out: int = 0
    counts: Counts = field(default_factory=Counts)
    unreadable: list[str] = field(default_factory=list)
    rows_left: int = 0
    rows_unknown: int = 0
    rows_shifted: int = 0
    asking: int = 0
    owed: int = 0
    late_details: int = 0
    error: str | None = None

    @property
    def published(self) -> int:
        return self.by_type.total()
