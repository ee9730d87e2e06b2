"""Keep the pace in DynamoDB, with one write for each change and no conflicts between workers."""

from dataclasses import dataclass
from functools import reduce

from botocore.client import BaseClient

from contact_activity.aws.table import Item, Table, Value
from contact_activity.domain.pace import Limits, Pace, PaceChange, Take, changed
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.state.codec import pace_change_from_json, pace_change_to_json
from contact_activity.state.shared_limiter import SharedLimiter

# Folding after so many changes keeps the item below 1 KB, which is one write unit.
FOLD_EVERY = 16
# From here on every reader folds, because the worker that should have done so may have died.
ALWAYS_FOLD_FROM = 3 * FOLD_EVERY
# An update expression may have 4 KB.
MAX_FOLDED_AT_ONCE = 4 * FOLD_EVERY
# After an update, functions of the previous version may run for so long. They read the pace without the
# changes.
CHANGEOVER_MS = 15 * 60_000
CHANGEOVER_TRIES = 12


@dataclass(frozen=True, slots=True)
class _PaceLog:
    """The pace as it was last folded, and the changes appended since then, in order.

    `since_ms`: when a change was first appended to an item of the version that appended none.
    """

    folds: int
    pace: Pace
    changes: tuple[PaceChange, ...]
    since_ms: int | None = None

    def pace_after(self, count: int) -> Pace:
        return reduce(changed, self.changes[:count], self.pace)

    @property
    def needs_fold(self) -> bool:
        """Whether its reader has to fold it: the one that appended every 16th change, later everyone."""
        count = len(self.changes)
        return count >= ALWAYS_FOLD_FROM or (count > 0 and count % FOLD_EVERY == 0)

    def is_changeover(self, now_ms: int) -> bool:
        """Whether functions of the previous version may still take slots."""
        if self.since_ms is None:
            return not self.folds and self.pace != Pace()
        return abs(now_ms - self.since_ms) < CHANGEOVER_MS


class DynamoPace:
    """The `PaceStore`: one item with a pace and the changes that are not yet in it.

    A change is appended, which cannot conflict with another change: one write, however many workers
    there are. The answer holds all changes before it, so it shows the pace that the change applies to.
    Now and then a separate write folds the changes into the pace.
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
            if self._make_known(log, change.from_ms if isinstance(change, Take) else change.now_ms):
                return log.pace_after(len(log.changes) - 1)
        raise RetryError(
            "functions of two versions take slots at once: this ends 15 minutes after the update"
        )

    def _make_known(self, log: _PaceLog, now_ms: int) -> bool:
        """Return whether every worker can see the change. In a changeover, fold it first.

        Functions of the previous version see only the pace. They could take the same slot.
        """
        if not log.is_changeover(now_ms):
            return True
        is_folded = self._fold(log, since_ms=log.since_ms or now_ms)
        return is_folded and len(log.changes) <= MAX_FOLDED_AT_ONCE

    def tidy(self) -> None:
        log, self._to_fold = self._to_fold, None
        if log:
            self._fold(log)

    def _fold(self, log: _PaceLog, since_ms: int | None = None) -> bool:
        """Move the first changes into the pace, as many as fit into one update expression.

        Changes that were appended since `log` was read stay. Return False, and change nothing, if
        another worker folded in the meantime.
        """
        count = min(len(log.changes), MAX_FOLDED_AT_ONCE)
        pace = log.pace_after(count)
        # From the last to the first, which is also right for a store that removes them one by one.
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
        """Read the item, and remember it for `tidy` if it needs a fold."""
        pace = Pace(item.whole("pace_day"), item.whole("used"), item.whole("next_slot_at"))
        changes = tuple(map(pace_change_from_json, item.texts("changes")))
        log = _PaceLog(item.whole("folds"), pace, changes, item.whole_or_none("appended_since"))
        if log.needs_fold:
            self._to_fold = log
        return log


def dynamo_limiter(client: BaseClient, table_name: str, limits: Limits, clock: Clock) -> SharedLimiter:
    """Return the `Limiter` port. 16 calls cost 17 writes: one each, and one fold."""
    return SharedLimiter(limits, DynamoPace(client, table_name), clock)
