"""What of a mailing's report is new in v3, and what of it its contacts' rows vouch for."""

from collections.abc import Iterable, Sequence

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.contact import Contact
from contact_activity.domain.memory import MAX_REMEMBERED, activity_key, key_time_ms, unpack
from contact_activity.domain.reported import Standing
from contact_activity.domain.watermark import Reading, Window
from contact_activity.domain.witness import marker_key, spent_key, witness_key


class VouchingMemory:
    """Tells what a report's rows are to one contact. What it calls new, it knows from then on.

    A row that is asked for has room in any case: its contact waits for it. The contact's own walk makes room
    for the others. A click that was published without its link, since no report showed it, is not new.
    """

    def __init__(self, contact: Contact, reading: Reading, numbers: Iterable[tuple[Activity, int]]) -> None:
        watermark = contact.watermark
        self._reading = reading
        self._marks = watermark
        self._known = {*unpack(watermark.remembered), *unpack(watermark.reported)}
        self._stored = set(self._known)
        self._asked = {ask.key for ask in contact.asks}
        self._room = MAX_REMEMBERED - len(self._known)
        self._clicks: dict[bytes, list[int]] = {}
        self._late: dict[bytes, bytes] = {}
        for row, number in numbers:
            self._clicks.setdefault(self._key(row), []).append(number)

    @property
    def late_details(self) -> int:
        """How many rows show now what was published without them."""
        return len(self._late)

    def standing(self, activity: Activity) -> Standing:
        if not self._window(activity.type).holds(activity.occurred_ms):
            return Standing.OUTSIDE
        key = self._key(activity)
        if key in self._known:
            return Standing.KNOWN
        if self._is_late(activity, key):
            self._known.add(key)
            return Standing.KNOWN
        if self._room <= 0 and not self._is_asked(activity, key):
            return Standing.LEFT
        self._known.add(key)
        self._room -= 2 if activity.type is ActivityType.CLICKED else 1
        return Standing.NEW

    def keys_of(self, published: Sequence[Activity], known: Sequence[Activity]) -> set[bytes]:
        """What to remember of rows that are out, if it is not stored yet.

        So many clicks of a stamp vouch as are out: one that the bus refused vouches for none.
        """
        keys = {self._key(row) for row in published} | {*self._late, *self._late.values()}
        out: dict[int, list[int]] = {}
        clicks: dict[int, Activity] = {}
        for row in (*published, *known):
            if row.type is ActivityType.CLICKED:
                out.setdefault(row.occurred_ms, []).extend(self._clicks.get(self._key(row), ()))
                clicks[row.occurred_ms] = row
        for at_ms, numbers in out.items():
            first = sorted(set(self._of_stamp(at_ms)))[: len(numbers)]
            keys |= {witness_key(self._reading.account, clicks[at_ms], number) for number in first}
        return keys - self._stored

    def _is_late(self, activity: Activity, key: bytes) -> bool:
        """Whether a click was published without its link. Each such publication stands for one row."""
        if activity.type is not ActivityType.CLICKED:
            return False
        account, number = self._reading.account, 1
        while marker_key(account, activity, number) in self._stored:
            spent = spent_key(account, activity, number)
            if spent not in self._stored and spent not in self._late.values():
                self._late[key] = spent
                return True
            number += 1
        return False

    def _of_stamp(self, at_ms: int) -> list[int]:
        of_stamp = (numbers for key, numbers in self._clicks.items() if key_time_ms(key) == at_ms)
        return [number for numbers in of_stamp for number in numbers]

    def _is_asked(self, activity: Activity, key: bytes) -> bool:
        if activity.type is not ActivityType.CLICKED:
            return key in self._asked
        account, numbers = self._reading.account, self._of_stamp(activity.occurred_ms)
        return any(witness_key(account, activity, number) in self._asked for number in numbers)

    def _key(self, activity: Activity) -> bytes:
        return activity_key(self._reading.account, activity)

    def _window(self, type_: ActivityType) -> Window:
        return self._marks.window(type_, self._reading.start_ms or 0)
