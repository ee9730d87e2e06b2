"""Compare what a contact's own report shows with the rows that a sample of campaigns' reports has of it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from contact_activity.domain.activity import Activity, ActivityType, derive_id
from contact_activity.domain.event import data_digest
from contact_activity.domain.shadows import is_shifted
from contact_activity.domain.trust import BOTH_SHOW_MS, Match, SampledRow, TypeTrust
from contact_activity.domain.work import WorkPolicy
from contact_activity.ports import Reports
from contact_activity.use_cases.change_trust import change_trust


class SampleComparison:
    """The sampled rows of one contact, and what its walk shows of them."""

    def __init__(self, reports: Reports, contact_id: str, policy: WorkPolicy) -> None:
        self._reports = reports
        self._contact_id = contact_id
        self._policy = policy
        self._sampled = reports.trust().pending_of(contact_id)
        self._matches: dict[ActivityType, dict[str, Match]] = {type_: {} for type_ in self._sampled}

    def see(self, activities: Sequence[Activity]) -> None:
        """Compare the rows of a page."""
        for activity in activities:
            for row in self._sampled.get(activity.type, ()):
                match = self._match(row, activity)
                if match:
                    self._note(activity.type, row.id, match)

    def _match(self, row: SampledRow, activity: Activity) -> Match | None:
        account = self._policy.reading.account
        if derive_id(account, activity) == row.id:
            digest = data_digest(activity, account, self._policy.email_addresses)
            return Match.EXACT if digest == row.digest else Match.UNEQUAL
        if is_shifted(row.occurred_ms, activity.occurred_ms):
            like = replace(activity, occurred_ms=row.occurred_ms)
            return Match.SHIFTED if derive_id(account, like) == row.id else None
        return None

    def _note(self, type_: ActivityType, row_id: str, match: Match) -> None:
        """A row that is shown itself is not the like of another."""
        if match is not Match.SHIFTED or row_id not in self._matches[type_]:
            self._matches[type_][row_id] = match

    def store(self, now_ms: int) -> None:
        """Store what was found after the walk's last page."""
        for type_ in self._sampled:
            change_trust(self._reports, type_, partial(self._compared, type_=type_, now_ms=now_ms))

    def _compared(self, trust: TypeTrust, *, type_: ActivityType, now_ms: int) -> TypeTrust:
        """What is not shown counts as absent once both sides must show it, and waits until then."""
        rows = trust.pending.get(self._contact_id, ())
        found = self._matches[type_]
        matches = {row.id: found[row.id] for row in rows if row.id in found}
        if now_ms - (trust.sampled_ms or 0) >= BOTH_SHOW_MS:
            matches |= {row.id: Match.ABSENT for row in rows if row.id not in found}
        return trust.compared(self._contact_id, matches, now_ms) if rows else trust
