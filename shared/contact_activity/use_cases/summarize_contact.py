"""Ask for a contact's summary reports at the end of its sync, and publish what moved."""

from collections.abc import Sequence
from dataclasses import replace

from contact_activity.domain.summary import Summarized, SummaryKind, is_due
from contact_activity.domain.work import Report
from contact_activity.errors import FatalError, RetryError, WaitError
from contact_activity.ports import WorkPorts
from contact_activity.use_cases.held_contact import HeldContact
from contact_activity.use_cases.pause_for_wait import PAUSE_BY_WAIT, pause_for
from contact_activity.use_cases.publish import publish_changes

# A report that takes longer is asked for at the next sync: trying on would cost calls.
SUMMARY_TIME_MS = 30_000


class ContactSummaries:
    """The summaries of one contact. A summary that cannot be had now holds up nothing."""

    def __init__(
        self,
        held: HeldContact,
        ports: WorkPorts,
        report: Report,
        *,
        account: str,
        deadline_ms: int,
        correlation_id: str | None,
    ) -> None:
        self._held = held
        self._ports = ports
        self._report = report
        self._account = account
        self._deadline_ms = deadline_ms
        self._correlation_id = correlation_id
        self._is_pausing = False

    def renewed(self, kinds: Sequence[SummaryKind], *, found_new: bool) -> tuple[Summarized, ...]:
        """What is known of each kind once those that are due were asked for and published."""
        contact, now_ms = self._held.contact, self._ports.clock.now_ms()
        others = [known for known in contact.summaries if known.kind not in kinds]
        wanted = map(contact.summarized, kinds)
        asked = [
            self._ask(known) if is_due(known, now_ms=now_ms, found_new=found_new) else known
            for known in wanted
        ]
        return (*others, *asked)

    def _ask(self, known: Summarized) -> Summarized:
        try:
            if not self._is_pausing and self._held.hold():
                return self._read(known)
        except WaitError as wait:
            self._is_pausing = wait.reason in PAUSE_BY_WAIT
            pause_for(wait, self._ports.store.pauses)
        except RetryError:
            pass
        except FatalError:
            self._report.summaries_refused += 1
            return replace(known, asked_ms=self._ports.clock.now_ms())
        self._report.summaries_owed += 1
        return replace(known, asked_ms=None)

    def _read(self, known: Summarized) -> Summarized:
        give_up_ms = min(self._deadline_ms, self._ports.clock.monotonic_ms() + SUMMARY_TIME_MS)
        contact_id = self._held.contact.id
        answer = self._ports.source.contact_summary(contact_id, known.kind, deadline_ms=give_up_ms)
        done = publish_changes(
            known,
            answer,
            account=self._account,
            bus=self._ports.bus,
            now_ms=self._ports.clock.now_ms(),
            deadline_ms=self._deadline_ms,
            correlation_id=self._correlation_id,
        )
        self._report.by_type.update(done.by_type)
        self._report.unreadable.extend(done.unreadable)
        self._report.campaigns_left_out += done.left_out
        self._report.summaries_owed += done.is_owed
        return done.summarized
