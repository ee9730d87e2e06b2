"""Which contacts v3's list shows, and in which order."""

from collections.abc import Callable, Iterable, Mapping

from contact_activity.simulated import v3_json
from contact_activity.simulated.account import Contact
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.times import parse_iso
from contact_activity.simulated.v3_replies import invalid

CONTACTS_SERVICE = "contacts.api"
_STATUSES = {"all", "not_set", "temp_hold", *v3_json.STATUSES.values()}


def matching_contacts(
    contacts: Iterable[Contact], asked: Mapping[str, str], switches: Switches
) -> list[Contact]:
    """Return the contacts that meet all criteria of the parameters. Raises `Refusal` for a bad value.

    Without `status` those that are deleted are left out (v3 contract).
    """
    statuses = set(asked.get("status", "").split(",")) - {""}
    if not statuses <= _STATUSES:
        raise invalid(CONTACTS_SERVICE, "status does not have a valid value")
    bounds = [
        (
            time_of,
            bound(asked, f"{what}_after", CONTACTS_SERVICE),
            bound(asked, f"{what}_before", CONTACTS_SERVICE),
        )
        for what, time_of in _DATES.items()
    ]
    found = [
        contact
        for contact in contacts
        if _has_status(contact, statuses)
        and asked.get("email") in (None, contact.email_address)
        and all(lies_in(time_of(contact, switches), *edges) for time_of, *edges in bounds)
    ]
    if switches.contacts_newest_first:
        found.sort(key=lambda contact: v3_json.updated_ms(contact, switches), reverse=True)
    return found


def bound(asked: Mapping[str, str], name: str, service: str) -> int | None:
    """Return the ms of a date in the parameters. None if it is not there. Raises `Refusal` for no date."""
    if name not in asked:
        return None
    at_ms = parse_iso(asked[name])
    if at_ms is None:
        raise invalid(service, f"{name} does not have a valid value")
    return at_ms


def lies_in(at_ms: int | None, after_ms: int | None, before_ms: int | None) -> bool:
    """Whether a time lies between two, neither of which counts as between. None for no bound."""
    if at_ms is None:
        return after_ms is None and before_ms is None
    return (after_ms is None or at_ms > after_ms) and (before_ms is None or at_ms < before_ms)


def _has_status(contact: Contact, statuses: set[str]) -> bool:
    status = v3_json.status_of(contact)
    return "all" in statuses or (status in statuses if statuses else status != "deleted")


def _created_ms(contact: Contact, switches: Switches) -> int | None:  # noqa: ARG001 (as the others)
    return contact.created_ms


def _opted_out_ms(contact: Contact, switches: Switches) -> int | None:  # noqa: ARG001 (as the others)
    return v3_json.opted_out_ms(contact)


_DATES: dict[str, Callable[[Contact, Switches], int | None]] = {
    "updated": v3_json.updated_ms,
    "created": _created_ms,
    "optout": _opted_out_ms,
}

CONTACT_PARAMETERS = " ".join(
    (
        "cursor limit status email include include_count",
        *(f"{what}_{edge}" for what in _DATES for edge in ("after", "before")),
    )
)
"""The parameters that the list takes, with blanks between them."""
