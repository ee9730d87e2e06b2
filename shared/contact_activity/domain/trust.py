"""Whether campaigns' reports may publish, type by type: trust is earned by comparing with contacts' rows.

Old captures show stamps of one side that are hours off, by type. A row that both sides show is compared
by its id and by the digest of its `data`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.times import DAY_MS, HOUR_MS

MAX_SAMPLED = 50
MAX_SAMPLED_DAILY = 20
MAX_ROWS_EACH = 3
EXACT_ENOUGH = 20
SAMPLE_EVERY_MS = DAY_MS
# A row may show on one side before it does on the other.
BOTH_SHOW_MS = HOUR_MS
MAX_SHIFTED = 10
MAX_SHIFTED_PERCENT = 1
# One may be a person who opened twice, at whole hours.
MAX_SHIFTED_SAMPLED = 2
SHIFTED_OF_LEAST = 200


class Mode(StrEnum):
    """What a type's reports may do; the least trusted comes first."""

    OFF = "off"
    PROBATION = "probation"
    PUBLISH = "publish"


class Match(StrEnum):
    """What the contact's own report shows of a sampled row."""

    EXACT = "exact"
    UNEQUAL = "unequal"
    SHIFTED = "shifted"
    ABSENT = "absent"


DIFFERENT = (Match.UNEQUAL, Match.SHIFTED)


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A row of a report: id, time, and digest of the `data` that its event would have."""

    id: str
    occurred_ms: int
    digest: str


@dataclass(frozen=True, slots=True)
class TypeTrust:
    """How far the reports of one type are trusted.

    `since_ms`: when the mode began. `sampled_ms`: when the last sample was taken, and `asked_ms` when its
    contacts were handed out last. `pending`: the sampled rows of each contact that are not compared yet.
    `found`: how many of the sample matched in which way. `news` and `shifted`: the rows that reports
    published since `since_ms`, and those that are the like of a known one at another hour;
    `shifted_in_a_row`: since the last row of a sample that was exact.
    """

    mode: Mode = Mode.PROBATION
    since_ms: int = 0
    sampled_ms: int | None = None
    asked_ms: int | None = None
    pending: Mapping[str, tuple[SampledRow, ...]] = field(default_factory=dict)
    found: Mapping[Match, int] = field(default_factory=dict)
    news: int = 0
    shifted: int = 0
    shifted_in_a_row: int = 0

    def is_sample_due(self, now_ms: int) -> bool:
        if self.mode is Mode.OFF:
            return False
        return self.sampled_ms is None or not 0 <= now_ms - self.sampled_ms < SAMPLE_EVERY_MS

    def set_right(self, now_ms: int) -> "TypeTrust":
        """This trust since now at the latest: a clock that ran ahead wrote a later time."""
        return replace(self, since_ms=min(self.since_ms, now_ms))

    @property
    def sample_size(self) -> int:
        return MAX_SAMPLED if self.mode is Mode.PROBATION else MAX_SAMPLED_DAILY

    def sampled(self, rows: Mapping[str, Sequence[SampledRow]], now_ms: int) -> "TypeTrust":
        """With a new sample, of some rows of some contacts."""
        chosen = list(rows.items())[: self.sample_size]
        pending = {contact_id: tuple(own[:MAX_ROWS_EACH]) for contact_id, own in chosen}
        return replace(self, sampled_ms=now_ms, asked_ms=now_ms, pending=pending, found={})

    def compared(self, contact_id: str, matches: Mapping[str, Match], now_ms: int) -> "TypeTrust":
        """After a contact's own report was read to its end; `matches` by the id of each sampled row."""
        left = tuple(row for row in self.pending.get(contact_id, ()) if row.id not in matches)
        pending = {of: rows for of, rows in self.pending.items() if of != contact_id}
        if left:
            pending[contact_id] = left
        found = dict(self.found)
        for match in matches.values():
            found[match] = found.get(match, 0) + 1
        in_a_row = 0 if Match.EXACT in matches.values() else self.shifted_in_a_row
        compared = replace(self, pending=pending, found=found, shifted_in_a_row=in_a_row)
        return _judged(compared, now_ms)

    def counted(self, *, news: int, shifted: int, now_ms: int) -> "TypeTrust":
        """With rows that reports published, and with contacts of whom either side met shifted rows."""
        counted = replace(
            self,
            news=self.news + news,
            shifted=self.shifted + shifted,
            shifted_in_a_row=self.shifted_in_a_row + shifted if shifted else 0,
        )
        return _judged(counted, now_ms)

    def without(self, contact_id: str) -> "TypeTrust":
        """Without what is held of a contact."""
        return replace(self, pending={of: rows for of, rows in self.pending.items() if of != contact_id})

    @property
    def is_doubted(self) -> bool:
        """Whether its two sides were seen to differ."""
        return self.mode is Mode.OFF or any(self.found.get(match) for match in DIFFERENT)

    def is_asked_again(self, now_ms: int) -> bool:
        """Whether to hand the contacts of the sample out again: some rows may show by now."""
        return bool(self.pending) and not 0 <= now_ms - (self.asked_ms or 0) < BOTH_SHOW_MS

    @property
    def is_proven(self) -> bool:
        """Whether enough of the sample is exact, and nothing of it is otherwise."""
        exact = self.found.get(Match.EXACT, 0)
        is_enough = exact >= EXACT_ENOUGH or (exact > 0 and not self.pending)
        return is_enough and sum(self.found.values()) == exact

    @property
    def is_disproved(self) -> bool:
        """Whether a row of the sample differed, or too many rows are shifted."""
        if self.found.get(Match.UNEQUAL) or self.found.get(Match.SHIFTED, 0) >= MAX_SHIFTED_SAMPLED:
            return True
        met = self.news + self.shifted
        is_often = met >= SHIFTED_OF_LEAST and self.shifted * 100 > met * MAX_SHIFTED_PERCENT
        return is_often or self.shifted_in_a_row >= MAX_SHIFTED


def _judged(trust: TypeTrust, now_ms: int) -> TypeTrust:
    if trust.mode is Mode.PROBATION and trust.is_proven:
        return TypeTrust(Mode.PUBLISH, now_ms, sampled_ms=trust.sampled_ms)
    if trust.mode is Mode.PUBLISH and trust.is_disproved:
        return replace(trust, mode=Mode.OFF, since_ms=now_ms, pending={})
    return trust


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the reports of each type are trusted. Version 0: nothing is stored."""

    types: Mapping[ActivityType, TypeTrust] = field(default_factory=dict)
    version: int = 0

    def of(self, type_: ActivityType) -> TypeTrust:
        return self.types.get(type_, TypeTrust())

    def with_type(self, type_: ActivityType, trust: TypeTrust) -> "Trust":
        return replace(self, types={**self.types, type_: trust})

    def without(self, contact_id: str) -> "Trust":
        """Without what is held of a contact."""
        return replace(self, types={type_: of.without(contact_id) for type_, of in self.types.items()})

    def pending_of(self, contact_id: str) -> dict[ActivityType, tuple[SampledRow, ...]]:
        """The sampled rows of a contact that are to be compared."""
        return {type_: of.pending[contact_id] for type_, of in self.types.items() if contact_id in of.pending}
