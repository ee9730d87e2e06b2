"""An event in one line, for people."""

import json
from collections.abc import Mapping
from typing import Any

from contact_activity.domain.times import parse_time
from contact_activity.operations.told_times import duration, stamp

MAX_DETAIL_CHARACTERS = 60
SUMMARIZED = "summarized"


def event_line(envelope: Mapping[str, Any]) -> str:
    """Return when an event was met, what happened, to which contact, with what, and how late that is.

    Raises `ValueError`, `LookupError` or `TypeError` for what is no event of this system.
    """
    detail = envelope["detail"]
    data, observed_ms = detail["data"], _time_ms(detail["observedtime"])
    words = [stamp(observed_ms), f"{what_happened(data):<12}", str(detail["subject"])]
    if about := _about(data):
        words.append(about)
    late_ms = observed_ms - _time_ms(detail["time"])
    if "activity" in data:
        words.append("backfill" if detail["backfill"] else f"{duration(late_ms // 1_000)} later")
    return "  ".join(printable(word) for word in words)


def line_of(event: bytes) -> str | None:
    """Return the line of an event in JSON; None for what is no event of this system."""
    try:
        return event_line(json.loads(event))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


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


def _time_ms(stamp: object) -> int:
    time_ms = parse_time(stamp) if isinstance(stamp, str) else None
    if time_ms is None:
        raise ValueError(stamp)
    return time_ms


def printable(text: str) -> str:
    """Return the text so that it cannot steer somebody's terminal, whoever wrote it."""
    return "".join(character if character.isprintable() else "?" for character in text)
