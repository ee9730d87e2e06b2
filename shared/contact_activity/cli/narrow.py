"""Lays out lines for a narrow terminal, which would fold them anywhere.

A line is broken between words, so that an id stays whole. A time is one word, and so is a command to paste:
where it is wider than the terminal, that folds it, and a paste has no newline in it. What is no terminal gets
each line whole.
"""

import re
import shutil
import sys

from rich.cells import cell_len

from contact_activity.cli.arguments import print_line

# Below this the columns of a table would cut words, and lines are broken.
LEAST_COLUMNS = 72
_INDENT = 2
_PROGRAM = r"(?:'[^']*/contact-activity'|(?:\S+/)?contact-activity)"
_COMMAND = rf"[^\s`]*`[^`]*`\S*|(?:[A-Z_]+=\S+ )?{_PROGRAM} .*"
_TIME = r"(?:\d{4}-\d\d-\d\d|today|yesterday|tomorrow) \d\d:\d\d\S*(?: UTC\b\S*)?"
_WORD = re.compile(rf"\s*(?:{_COMMAND}|{_TIME}|\S+)")


def print_broken(line: str) -> None:
    """Print a line of the result on standard output, on a narrow terminal as several."""
    for part in broken(line, narrow_columns()):
        print_line(part)


def narrow_columns() -> int | None:
    """Return how wide the terminal is; None if that is wide enough, or standard output is no terminal."""
    if not sys.stdout.isatty():
        return None
    columns = shutil.get_terminal_size().columns
    return columns if columns < LEAST_COLUMNS else None


def broken(line: str, columns: int | None) -> list[str]:
    """Return the lines in which a line has room. A word that is too wide has one to itself, from its edge."""
    if columns is None or cell_len(line) <= columns:
        return [line]
    margin, lines = len(line) - len(line.lstrip()), list[str]()
    for found in _WORD.findall(line):
        if lines and cell_len(lines[-1] + found) <= columns:
            lines[-1] += found
            continue
        word = found.strip()
        room = max(0, columns - cell_len(word))
        lines.append(" " * min(margin + _INDENT * bool(lines), room) + word)
    return lines
