"""What is read out of a command's text."""

import re

_TOLD = re.compile(r"\b(?:today|yesterday|tomorrow|\d{4}-\d\d-\d\d)\s+\d\d:\d\d(?::\d\d)?(?![\d:.Z])")
_ANY_CLOCK = re.compile(r"(?<![\d.])\d{1,2}:\d\d(?!\d)")


def oddly_told(text: str) -> list[str]:
    """The times of a text that are not told as `told_times` says, and the lines that do not say UTC."""
    has_heading = "(UTC)" in text
    silent = [line for line in text.splitlines() if _TOLD.search(line) and "UTC" not in line]
    return _ANY_CLOCK.findall(_TOLD.sub("", text)) + ([] if has_heading else silent)
