"""Rows of a contact that no report has shown yet."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.memory import key_time_ms

# A walk that holds so many goes on after reports were read.
MAX_ASKS = 2_000


@dataclass(frozen=True, slots=True)
class Ask:
    """A row that asks for its mailing's report.

    `key`: by which the report's row will be remembered. `met_ms`: when a walk met it first.
    `is_owed`: a report that was read long enough after that does not show it. `is_elsewhere`: the report
    shows other rows of this contact, so that the two sides may differ in their stamps. `is_unseen`: the
    last walk did not show the row, as if pages had shifted.
    """

    report: ReportId
    key: bytes
    met_ms: int
    is_owed: bool = False
    is_elsewhere: bool = False
    is_unseen: bool = False

    @property
    def stamp_ms(self) -> int:
        return key_time_ms(self.key)


def unanswered(asks: Iterable[Ask], known: Collection[bytes]) -> tuple[Ask, ...]:
    """Those whose key is not known, in the order of their keys."""
    left = {ask.key: ask for ask in asks if ask.key not in known}
    return tuple(left[key] for key in sorted(left, reverse=True))
