"""The memory of a contact: keys of published activities, packed into bytes."""

from collections.abc import Collection, Iterable

from contact_activity.domain.activity import Activity, derive_id
from contact_activity.domain.times import HOUR_MS

MAX_REMEMBERED = 5_000
MAX_UNREADABLE = 256

TIME_BYTES = 6
KEY_BYTES = TIME_BYTES + 8
DIGEST_BYTES = 8


def activity_key(account: str, activity: Activity) -> bytes:
    """The key of an activity: its time and the first 8 bytes of its id. Keys sort by time."""
    short_id = bytes.fromhex(derive_id(account, activity)[: 2 * (KEY_BYTES - TIME_BYTES)])
    return activity.occurred_ms.to_bytes(TIME_BYTES) + short_id


def key_time_ms(key: bytes) -> int:
    return int.from_bytes(key[:TIME_BYTES])


def pack(keys: Iterable[bytes]) -> bytes:
    """Join keys, newest first."""
    return b"".join(sorted(keys, reverse=True))


def unpack(packed: bytes, size: int = KEY_BYTES) -> list[bytes]:
    return [packed[at : at + size] for at in range(0, len(packed), size)]


def note_digests(known: list[bytes], digests: Iterable[str]) -> tuple[str, ...]:
    """Add the digests of unreadable rows to the known ones, of which the newest stay. Return the new ones."""
    new = []
    for digest in digests:
        packed = bytes.fromhex(digest)
        if packed not in known:
            known.append(packed)
            del known[:-MAX_UNREADABLE]
            new.append(digest)
    return tuple(new)


def forget(
    keys: Collection[bytes],
    *,
    through_ms: int | None,
    overlap_h: int,
    remembered_min: int,
    most: int = MAX_REMEMBERED,
) -> tuple[list[bytes], int | None]:
    """Return the keys to remember, newest first, and the time of the newest forgotten one, or None.

    A key is forgotten if it is beyond the newest `remembered_min` *and* older than the overlap before
    `through_ms`. Keys beyond the newest `most` are always forgotten.
    """
    ordered = sorted(keys, reverse=True)
    if len(ordered) <= remembered_min or through_ms is None:
        kept = ordered
    else:
        oldest = max(0, through_ms - overlap_h * HOUR_MS).to_bytes(TIME_BYTES)
        kept = ordered[:remembered_min] + [key for key in ordered[remembered_min:] if key >= oldest]
    kept = kept[:most]
    return kept, key_time_ms(ordered[len(kept)]) if len(kept) < len(ordered) else None
