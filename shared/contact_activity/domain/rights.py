"""The right that a credential lacks in v3, and how that is told from the refusal of one report.

The API answers 403 for a scope that the token lacks, for a privilege that its user lacks, and maybe for one
report alone. Only a report that it still gives tells the last from the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.pauses import Pause
from contact_activity.domain.times import HOUR_MS

# Two, since a report that is refused itself says nothing of others.
MAX_ANSWERING = 2
# So many are refused in a row before others wait, and then tried in an hour.
TRIED_AT_ONCE = 10
TRIED_EVERY_MS = HOUR_MS


class Right(StrEnum):
    """What a call takes, by the provider's name."""

    METRICS = "ui:campaign:metrics"
    CAMPAIGN_DATA = "campaign_data"
    CAMPAIGN_READ = "campaign:read"
    CONTACT_DATA = "contact_data"
    CONTACTS_READ = "contacts:read"
    ACCOUNT_READ = "account_read"

    @property
    def kind(self) -> str:
        """A scope is of the token, a privilege of the user who logged in."""
        return "privilege" if ":" in self.value else "scope"

    @property
    def missing(self) -> str:
        """That it is missing, in the words of every command."""
        return f"the {self.kind} {self.value} is missing"

    @classmethod
    def named(cls, name: str | None) -> "Right | None":
        return next((right for right in cls if right == name), None)


@dataclass(frozen=True, slots=True)
class ReportAccess:
    """Whether the API gives the reports of mailings to this credential.

    `answering`: the ids of reports that it gave, 2 at most. `refusals`: how many it refused since it gave
    one, though none is known that it still gives; `refused_ms`: when it last did.
    """

    answering: tuple[str, ...] = ()
    refusals: int = 0
    refused_ms: int = 0

    @property
    def is_missing(self) -> bool:
        """Whether a right is missing, as far as anybody knows."""
        return self.refusals > 0

    def answered(self, report: str) -> "ReportAccess":
        """After the API gave a report."""
        known = self.answering if report in self.answering else (*self.answering, report)
        return ReportAccess(known[:MAX_ANSWERING])

    def refused(self, now_ms: int) -> "ReportAccess":
        """After it refused one, and gives none that it gave before."""
        return ReportAccess((), self.refusals + 1, now_ms)

    def retried(self) -> "ReportAccess":
        """With reports to be tried now: somebody may have mended it."""
        return ReportAccess(self.answering, self.refusals)

    def most_tried(self, now_ms: int) -> int | None:
        """How many reports may be tried now; None: all.

        What is refused costs calls, so that it is tried a few at a time: ten in a row, then ten in an hour.
        """
        if self.refusals < TRIED_AT_ONCE:
            return None
        tried = self.refusals % TRIED_AT_ONCE
        is_over = not 0 <= now_ms - self.refused_ms < TRIED_EVERY_MS
        return TRIED_AT_ONCE - tried if tried or is_over else 0


def missing_right(
    access: ReportAccess,
    *,
    list_lacks: str,
    contacts: Iterable[ContactOutline] = (),
    pauses: Iterable[Pause] = (),
) -> Right | None:
    """The right that is missing, by what the API refuses; None: none, as far as anybody knows.

    `list_lacks`: what the campaign list takes that was refused; "": it was not. Contacts' own reports take
    the privilege alone (v3 contract), so if they answer, the scope is missing where the list is refused too.
    Nobody knows before the first of `contacts` was asked for. `pauses`: one may be for want of a right.
    """
    if right := next((right for pause in pauses if (right := Right.named(pause.lacks))), None):
        return right
    outlines = list(contacts)
    if are_refused(outlines):
        return Right.METRICS
    listed = Right.named(list_lacks)
    if listed is Right.CAMPAIGN_DATA and outlines and not any(map(_was_read, outlines)):
        return None
    if access.is_missing:
        return Right.CAMPAIGN_DATA if listed is Right.CAMPAIGN_DATA else Right.METRICS
    return listed


def _was_read(contact: ContactOutline) -> bool:
    return contact.synced_ms is not None or contact.asking > 0


def is_refused(contact: ContactOutline) -> bool:
    """Whether its own report was refused for want of a right when it was read last."""
    return Right.METRICS in (contact.last_error or "")


def are_refused(contacts: Sequence[ContactOutline]) -> bool:
    """Whether contacts' own reports are refused, and none was read since the first was."""
    refused_ms = min((of.failed_ms or 0 for of in contacts if is_refused(of)), default=None)
    if refused_ms is None:
        return False
    return not any((of.synced_ms or 0) > refused_ms for of in contacts if not of.times_gone)
