"""Ask v2 for the contacts that have an address."""

from collections.abc import Iterator

from contact_activity.constant_contact.by_address import ids_with
from contact_activity.constant_contact.client import Call
from contact_activity.constant_contact.v2_pages import read_page


def v2_contacts_with(address: str) -> Call[tuple[str, ...]]:
    """Return the call, whose result is their ids. v2 does not find those that were deleted."""

    def read(body: object) -> tuple[str, ...] | None:
        page = read_page(body)
        return None if page is None else ids_with(address, page.rows, "id", _addresses)

    return Call("/contacts", {"email": address}, read)


def _addresses(row: dict[str, object]) -> Iterator[object]:
    listed = row.get("email_addresses")
    for of in listed if isinstance(listed, list) else ():
        if isinstance(of, dict):
            yield of.get("email_address")
