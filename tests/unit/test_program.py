"""How hints call this program."""

import ast
import sys
from pathlib import Path

import pytest

from contact_activity.run.program import NAME, program

PACKAGE = Path(__file__).parents[2] / "shared" / "contact_activity"
ROOMS = ("cli", "operations", "run", "simulated")


@pytest.mark.parametrize(
    ("started", "is_on_the_path", "called"),
    [
        (".venv/bin/contact-activity", False, ".venv/bin/contact-activity"),
        ("./contact-activity", False, "./contact-activity"),
        ("my tools/contact-activity", False, "'my tools/contact-activity'"),
        (".venv/bin/contact-activity", True, NAME),
        (NAME, False, NAME),
        ("/opt/contact-activity/bin/contact-activity", False, NAME),
        ("shared/contact_activity/__main__.py", False, NAME),
    ],
)
def test_hints_call_it_as_it_was_typed_where_its_name_would_not_be_found(
    started: str, *, is_on_the_path: bool, called: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if is_on_the_path:
        (tmp_path / NAME).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [started, "run"])
    assert program() == called


@pytest.mark.parametrize("room", ROOMS)
def test_no_hint_has_the_name_itself(room: str) -> None:
    """A command in a line that is put together. Help has many lines, and the sandbox is told the name."""
    texts = [
        part.value
        for path in sorted((PACKAGE / room).glob("*.py"))
        for text in ast.walk(ast.parse(path.read_text()))
        if isinstance(text, ast.JoinedStr)
        for part in text.values
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    assert not [text for text in texts if f"{NAME} " in text and text.count("\n") < 2]
