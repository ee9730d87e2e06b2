"""Which of the contacts that a list shows have an address. Pure."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from contact_activity.constant_contact.fields import usable_id


def ids_with(
    address: str,
    rows: Sequence[object],
    id_name: str,
    addresses_of: Callable[[dict[str, object]], Iterable[object]],
) -> tuple[str, ...] | None:
    """Return the ids of the rows that have the address, however it is written.

    None if the rows have other addresses only: then the API did not answer what it was asked. Nobody may
    take one of these for the contact.
    """
    wanted, ids, is_other = _written_alike(address), list[str](), False
    for row in rows:
        if not isinstance(row, dict):
            continue
        named = [text for text in addresses_of(row) if isinstance(text, str) and text]
        id_ = usable_id(row.get(id_name))
        if id_ is not None and wanted in map(_written_alike, named):
            ids.append(id_)
        is_other |= bool(named)
    return None if is_other and not ids else tuple(dict.fromkeys(ids))


def _written_alike(address: str) -> str:
    return unicodedata.normalize("NFC", address.strip().casefold())
