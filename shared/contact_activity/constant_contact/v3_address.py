"""Ask v3 for the contacts that have an address."""

from contact_activity.constant_contact.by_address import ids_with
from contact_activity.constant_contact.client import Call
from contact_activity.constant_contact.v3_pages import read_page


def v3_contacts_with(address: str) -> Call[tuple[str, ...]]:
    """Return the call, whose result is their ids, of those too that were deleted."""

    def read(body: object) -> tuple[str, ...] | None:
        page = read_page(body, "contacts")
        return None if page is None else ids_with(address, page.rows, "contact_id", _address)

    return Call("/contacts", {"email": address, "status": "all"}, read)


def _address(row: dict[str, object]) -> tuple[object, ...]:
    of = row.get("email_address")
    return (of.get("address"),) if isinstance(of, dict) else ()
