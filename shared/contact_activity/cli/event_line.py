"""An event in one line, for people."""

from collections.abc import Mapping
from typing import Any

from contact_activity.domain.times import iso, parse_time

MAX_DETAIL_CHARACTERS = 60
SUMMARIZED = "summarized"
_UNITS_S = (("days", 86_400), ("h", 3_600), ("min", 60))


def event_line(envelope: Mapping[str, Any]) -> str:
    """Return when an event was met (UTC), what happened, to which contact, with what, and how late that is.

    Raises `ValueError`, `LookupError` or `TypeError` for what is no event of this system.
    """
    detail = envelope["detail"]
    data, observed_ms = detail["data"], _time_ms(detail["observedtime"])
    words = [iso(observed_ms)[11:19], f"{what_happened(data):<12}", str(detail["subject"])]
    if about := _about(data):
        words.append(about)
    late_ms = observed_ms - _time_ms(detail["time"])
    if "activity" in data:
        words.append("backfill" if detail["backfill"] else _later(late_ms))
    return "  ".join(printable(word) for word in words)


def what_happened(data: Mapping[str, Any]) -> str:
    """Return the type of an activity, or that it is a summary."""
    return str(data["activity"]["type"]) if "activity" in data else SUMMARIZED


def _about(data: Mapping[str, Any]) -> str:
    """What tells one activity of its kind from another: the link, the bounce, the mailing, what moved."""
    link, bounce, left = data.get("link", {}), data.get("bounce", {}), data.get("unsubscribe", {})
    about = (
        str(link.get("url", "")).partition("://")[2]
        or bounce.get("category")
        or left.get("reason")
        or " ".join(data.get("changed", ()))
        or data.get("campaign", {}).get("id")
        or ""
    )
    return about if len(about) <= MAX_DETAIL_CHARACTERS else f"{about[: MAX_DETAIL_CHARACTERS - 1]}…"


def _later(late_ms: int) -> str:
    late_s = max(0, late_ms // 1_000)
    for unit, unit_s in _UNITS_S:
        if late_s >= 2 * unit_s:
            return f"{late_s // unit_s} {unit} later"
    return f"{late_s} s later"


def _time_ms(stamp: object) -> int:
    time_ms = parse_time(stamp) if isinstance(stamp, str) else None
    if time_ms is None:
        raise ValueError(stamp)
    return time_ms


def printable(text: str) -> str:
    """Return the text so that it cannot steer somebody's terminal, whoever wrote it."""
    return "".join(character if character.isprintable() else "?" for character in text)
