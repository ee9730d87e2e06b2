"""What a subscriber keeps of an event: one line in the timeline of a contact.

Pure. Reads what `events/README.md` promises, and takes no e-mail address, no address of a link and no
free text with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contact_activity.domain.times import iso, parse_time

_DERIVED_ID = re.compile(r"[0-9a-f]{32}")


class UnusableEventError(ValueError):
    """An event that breaks the contract: names the field, shows nothing of its content."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One activity. `None` is what the event does not have."""

    id: str
    contact_id: str
    time: str
    type: str
    campaign_id: str | None = None
    link_id: str | None = None
    bounce_category: str | None = None

    @property
    def time_id(self) -> str:
        """Sorts by time, and tells two activities of one millisecond apart."""
        return f"{self.time}#{self.id}"


def entry_of(envelope: Mapping[str, object]) -> Entry:
    """The entry of an event as EventBridge delivers it. Raises `UnusableEventError`."""
    return Entry(
        id=_required(envelope, "detail.id", _DERIVED_ID),
        contact_id=_required(envelope, "detail.data.contact.id"),
        time=_time(envelope),
        type=_required(envelope, "detail.data.activity.type"),
        campaign_id=_text(envelope, "detail.data.campaign.id"),
        link_id=_text(envelope, "detail.data.link.id"),
        bounce_category=_text(envelope, "detail.data.bounce.category"),
    )


def _time(envelope: Mapping[str, object]) -> str:
    """As text, in the one form whose alphabetical order is that of time."""
    text = _required(envelope, "detail.time")
    time_ms = parse_time(text)
    if time_ms is None or iso(time_ms) != text:
        raise UnusableEventError("an event without a usable detail.time")
    return text


def _required(envelope: Mapping[str, object], path: str, form: re.Pattern[str] | None = None) -> str:
    text = _text(envelope, path)
    if not text or (form and not form.fullmatch(text)):
        raise UnusableEventError(f"an event without a usable {path}")
    return text


def _text(envelope: Mapping[str, object], path: str) -> str | None:
    found: object = envelope
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None
