"""Finds the contact that has an address, by asking the API. No text here holds the address."""

from typing import TypeVar

from contact_activity.constant_contact.client import Call, Look
from contact_activity.constant_contact.v2 import V2
from contact_activity.constant_contact.v2_address import v2_contacts_with
from contact_activity.constant_contact.v3 import V3
from contact_activity.constant_contact.v3_address import v3_contacts_with
from contact_activity.constant_contact.v3_permissions import lacking_for_contacts
from contact_activity.constant_contact.verdict import Verdict
from contact_activity.domain.counted import counted
from contact_activity.domain.pauses import PauseReason
from contact_activity.domain.rights import Right
from contact_activity.errors import RetryError, WaitError, WaitReason
from contact_activity.operations import remedies
from contact_activity.operations.asking import asking_client, day_refused_until
from contact_activity.operations.check import Checked
from contact_activity.operations.findings import Fault
from contact_activity.operations.told_times import when
from contact_activity.ports import Clock
from contact_activity.run.errors import RunError
from contact_activity.run.program import program
from contact_activity.settings import Version

T = TypeVar("T")

MAX_LOOKUP_MS = 60_000
MAX_NAMED = 10
_BY_ID = "or give the contact's id"


class LookupFailedError(RunError):
    """The address leads to no contact, or to several. `fault`: why, for the exit status."""

    def __init__(self, message: str, fault: Fault = Fault.OTHER) -> None:
        super().__init__(message)
        self.fault = fault


def contact_with(address: str, checked: Checked, clock: Clock, *, command: str) -> str:
    """Return the id of the one contact of the account that has the address.

    It costs a call; another one if the address has capitals, and the API knows none that is written so, or
    to tell which right is missing.
    `command`: what is to be done with the contact, as it is typed. Raises `LookupFailedError`, and
    `RetryError` if AWS fails.
    """
    return _Lookup(checked, clock, command).contact_with(address)


class _Lookup:
    def __init__(self, checked: Checked, clock: Clock, command: str) -> None:
        self._checked, self._clock, self._command = checked, clock, command
        self._is_v3 = checked.settings.api_version is Version.V3
        self._version = V3 if self._is_v3 else V2
        self._deadline_ms = clock.monotonic_ms() + MAX_LOOKUP_MS
        self._client = asking_client(
            checked.settings, checked.credentials, checked.limiter, clock, checked.transport
        )

    def contact_with(self, address: str) -> str:
        self._check_version()
        self._check_pauses()
        try:
            # v2 says that it matches exactly, and most addresses are stored in small letters.
            for written in dict.fromkeys((address, address.lower())):
                if found := self._ids(self._asked(written)):
                    return self._only(found)
        except WaitError as wait:
            raise self._must_wait(wait) from None
        except RetryError as error:
            if error.cause is None:
                raise
            remedy = remedies.for_cause(error.cause, remedies.BASE_URL, self._checked.settings)
            raise LookupFailedError(f"{error}: {remedy}") from None
        raise self._none()

    def _check_version(self) -> None:
        held, version = self._checked.held, self._checked.settings.api_version
        if held.contacts and held.version is not version:
            raise LookupFailedError(
                f"{self._checked.where} was read from API {held.version.value}, and the credentials are of "
                f"{version.value}, which has other ids: give those of {held.version.value}, {_BY_ID}",
                Fault.SETTINGS,
            )

    def _check_pauses(self) -> None:
        now_ms, where = self._clock.now_ms(), self._checked.where
        if any(pause.reason is PauseReason.OPERATOR for pause in self._checked.pauses.active(now_ms)):
            raise LookupFailedError(
                f"{where} is paused by the operator, so that no call goes out: `{program()} resume "
                f"{where}`, {_BY_ID}"
            )
        until_ms = day_refused_until(self._checked.pauses, self._checked.limiter, now_ms)
        if until_ms is not None:
            raise self._must_wait(WaitError(WaitReason.QUOTA, until_ms))

    def _asked(self, address: str) -> Look[tuple[str, ...]]:
        call = (v3_contacts_with if self._is_v3 else v2_contacts_with)(address)
        look = self._look(call)
        if look.status == 401 and self._is_v3:
            # Only the neutral call has a token renewed.
            self._look(self._version.neutral_call)
            look = self._look(call)
        return look

    def _ids(self, look: Look[tuple[str, ...]]) -> tuple[str, ...]:
        if look.result is not None:
            return look.result
        told = f"{look.status} {look.error_key}".rstrip()
        if not look.is_refused:
            remedy = (
                f"check {remedies.BASE_URL}"
                if look.verdict is Verdict.GONE
                else "give the contact's id instead"
            )
            raise LookupFailedError(f"the API does not look up the address given ({told}): {remedy}")
        if self._is_v3 and look.status != 401:
            raise self._lacking(lacking_for_contacts(look, self._look), told)
        raise self._refused(told)

    def _look(self, call: Call[T], /) -> Look[T]:
        return self._client.look(call, self._version, deadline_ms=self._deadline_ms)

    def _lacking(self, right: Right | None, told: str) -> LookupFailedError:
        missing = f"{right.missing}: " if right else ""
        remedy = remedies.for_right(right or Right.CONTACT_DATA, self._checked.login)
        return LookupFailedError(f"contacts may not be read ({told}): {missing}{remedy}")

    def _refused(self, told: str) -> LookupFailedError:
        text = f"the API refuses the credential ({told}): {self._checked.renewal}"
        return LookupFailedError(text, Fault.CREDENTIAL)

    def _must_wait(self, wait: WaitError) -> LookupFailedError:
        if wait.reason is WaitReason.CREDENTIAL:
            return self._refused("401")
        if wait.reason is WaitReason.QUOTA:
            until = "" if wait.until_ms is None else f" until {when(wait.until_ms, self._clock.now_ms())}"
            text = f"the calls of the day are used up{until}: try again after that, {_BY_ID}"
            return LookupFailedError(text, Fault.QUOTA)
        return LookupFailedError(f"no call had its turn within a minute: try again later, {_BY_ID}")

    def _only(self, ids: tuple[str, ...]) -> str:
        if len(ids) == 1:
            return ids[0]
        more = f" and {len(ids) - MAX_NAMED:,} more" if len(ids) > MAX_NAMED else ""
        raise LookupFailedError(
            f"{counted(len(ids), 'contact')} have the address given: {', '.join(ids[:MAX_NAMED])}{more}; "
            f"name one by its id, as in `{program()} {self._command} {ids[0]} {self._checked.where}`"
        )

    def _none(self) -> LookupFailedError:
        among = "deleted ones too" if self._is_v3 else "but v2 does not find deleted ones"
        return LookupFailedError(
            f"the account of {self._checked.where} has no contact with the address given ({among}): check "
            "how it is spelt; if the contact was deleted, or has another address now, give its id, which "
            "stands in its events as detail.data.contact.id"
        )
