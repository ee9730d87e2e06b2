"""The pace in DynamoDB: one write for each change, however many workers make changes at once."""

from dataclasses import dataclass
from functools import reduce

from botocore.client import BaseClient

from contact_activity.aws.table import Item, Table, Value
from contact_activity.domain.pace import Limits, Pace, PaceChange, Take, changed
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.state.codec import pace_change_from_json, pace_change_to_json
from contact_activity.state.shared_limiter import SharedLimiter

# The item stays below 1 KB, which is one write unit, also while others append before it is folded.
FOLD_EVERY = 16
FOLD_AT_LATEST = 3 * FOLD_EVERY
# An expression has at most 4 KB.
FOLD_MOST = 4 * FOLD_EVERY
# Functions of the version before may run so long after an update. They know the pace, but no changes.
CHANGEOVER_MS = 15 * 60_000
CHANGEOVER_TRIES = 12


@dataclass(frozen=True, slots=True)
class _PaceLog:
    """The pace as it was folded last, and the changes since then in the order in which they came.

    `since_ms`: when changes were first appended to the pace of a version that appended none.
    """

    folds: int
    pace: Pace
    changes: tuple[PaceChange, ...]
    since_ms: int | None = None

    def pace_after(self, count: int) -> Pace:
        return reduce(changed, self.changes[:count], self.pace)

    @property
    def is_to_fold(self) -> bool:
        """One of its readers folds it, or each if that one never came back."""
        count = len(self.changes)
        return count >= FOLD_AT_LATEST or (count > 0 and count % FOLD_EVERY == 0)

    def is_changeover(self, now_ms: int) -> bool:
        if self.since_ms is None:
            return not self.folds and self.pace != Pace()
        return abs(now_ms - self.since_ms) < CHANGEOVER_MS


class DynamoPace:
    """The `PaceStore`: an item with the pace and the changes that are not in it yet.

    A change is appended, which no other change can refuse: one write, however many workers there
    are. Its answer holds all changes before it, so its place in their order is known, and with it the
    pace that it was made of. Every so many changes are folded into the pace, by a write of its own.
    """

    def __init__(self, client: BaseClient, table_name: str) -> None:
        self._table = Table(client, table_name)
        self._to_fold: _PaceLog | None = None

    def load(self) -> Pace:
        log = self._read(self._table.get("pace"))
        return log.pace_after(len(log.changes))

    def change(self, change: PaceChange) -> Pace:
        for _ in range(CHANGEOVER_TRIES):
            log = self._read(self._table.append("pace", "changes", pace_change_to_json(change)))
            if self._is_known_to_all(log, change.from_ms if isinstance(change, Take) else change.now_ms):
                return log.pace_after(len(log.changes) - 1)
        raise RetryError("functions of two versions take slots: in a quarter of an hour they do no more")

    def _is_known_to_all(self, log: _PaceLog, now_ms: int) -> bool:
        """In a changeover, once it is in the pace; otherwise another may have the same slot."""
        if not log.is_changeover(now_ms):
            return True
        is_folded = self._fold(log, since_ms=log.since_ms or now_ms)
        return is_folded and len(log.changes) <= FOLD_MOST

    def tidy(self) -> None:
        log, self._to_fold = self._to_fold, None
        if log:
            self._fold(log)

    def _fold(self, log: _PaceLog, since_ms: int | None = None) -> bool:
        """The first changes, as many as an expression takes.

        Changes may be appended meanwhile: only those that are in the pace then are removed.

        False if the pace or its folds are others by now: then nothing is done.
        """
        count = min(len(log.changes), FOLD_MOST)
        pace = log.pace_after(count)
        # From the last to the first: right also for a store that removes one after the other.
        removed = ", ".join(f"changes[{number}]" for number in reversed(range(count)))
        values: dict[str, Value] = {
            "day": pace.day,
            "used": pace.used,
            "slot": pace.next_slot_ms,
            "next": log.folds + 1,
            "seen_day": log.pace.day,
            "seen_used": log.pace.used,
            "seen_slot": log.pace.next_slot_ms,
        }
        is_as_seen = "pace_day = :seen_day AND used = :seen_used AND next_slot_at = :seen_slot"
        if log.pace == Pace():
            is_as_seen = f"(attribute_not_exists(pace_day) OR ({is_as_seen}))"
        if log.folds:
            values["folds"] = log.folds
        is_as_seen += " AND folds = :folds" if log.folds else " AND attribute_not_exists(folds)"
        change = "SET pace_day = :day, used = :used, next_slot_at = :slot, folds = :next"
        if since_ms is not None:
            change, values["since"] = f"{change}, appended_since = :since", since_ms
        return self._table.update("pace", f"{change} REMOVE {removed}", is_as_seen, **values)

    def _read(self, item: Item) -> _PaceLog:
        pace = Pace(item.whole("pace_day"), item.whole("used"), item.whole("next_slot_at"))
        changes = tuple(map(pace_change_from_json, item.texts("changes")))
        log = _PaceLog(item.whole("folds"), pace, changes, item.whole_or_none("appended_since"))
        if log.is_to_fold:
            self._to_fold = log
        return log


def dynamo_limiter(client: BaseClient, table_name: str, limits: Limits, clock: Clock) -> SharedLimiter:
    """The `Limiter` port: 17 writes for 16 calls, whoever makes them."""
    return SharedLimiter(limits, DynamoPace(client, table_name), clock)
