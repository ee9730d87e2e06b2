"""How a line is broken for a narrow terminal."""

import pytest

from contact_activity.cli.narrow import broken

ID = "c0ffee00-1234-11ef-8f5e-fa163e123456"
COMMAND = f"contact-activity tail --contact {ID} --no-follow --state '/a folder'"


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("all is well", ["all is well"]),
        (
            "  due: it waits its turn, at last since yesterday 23:10 UTC",
            ["  due: it waits its turn, at last since", "    yesterday 23:10 UTC"],
        ),
        (
            "  it is read again, and only today 09:12 UTC, or then",
            ["  it is read again, and only", "    today 09:12 UTC, or then"],
        ),
        (f"contact {ID} in account", ["contact", f"  {ID}", "  in account"]),
        (f"    a and b of {ID}, too", ["    a and b of", f"   {ID},", "      too"]),
        (f"  next: {COMMAND}", ["  next:", COMMAND]),
        (f"(`{COMMAND}`) makes it", [f"(`{COMMAND}`)", "  makes it"]),
        (f"  CALLS=1 {COMMAND}", [f"CALLS=1 {COMMAND}"]),
        (f"  next: .venv/bin/{COMMAND}", ["  next:", f".venv/bin/{COMMAND}"]),
        (
            "  next: './my tools/contact-activity' run --all --state x",
            ["  next:", "'./my tools/contact-activity' run --all --state x"],
        ),
    ],
)
def test_words_ids_times_and_commands_stay_whole(line: str, lines: list[str]) -> None:
    assert broken(line, 40) == lines
    assert broken(line, None) == [line]
