"""Draws what the commands print, as the pictures of the README: `python -m tests.pictures`."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
COLUMNS = 100
PICTURES = {
    "run": ("run --all", "status"),
    "late": ("tail --lines 8 --no-follow", "explain {contact}"),
}


def printed(command: str, state: Path) -> str:
    """What a command prints on a state folder of the simulated account."""
    words = [sys.executable, "-m", "contact_activity", *command.split(), "--state", str(state)]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONSTANT_CONTACT_", "AWS_"))
    }
    ran = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"COLUMNS": str(COLUMNS)},
        check=True,
    )
    return ran.stdout.replace(f" --state {state}", "").replace(f"{state}/", ".local/")


def draw(title: str, transcript: Sequence[tuple[str, str]]) -> str:
    """The picture of a terminal in which commands printed something, as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    for command, output in transcript:
        console.print(Text(f"$ contact-activity {command}", style="bold green"))
        console.print(Text(output), end="\n", soft_wrap=False)
    svg = console.export_svg(title=title, unique_id=f"contact-activity-{title}")
    # A reader's own fonts will do: nothing is fetched from elsewhere.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        contact = ""
        for title, commands in PICTURES.items():
            transcript = []
            for command in commands:
                given = command.format(contact=contact)
                output = printed(given, state)
                transcript.append((given, output))
                if command.startswith("tail"):
                    contact = output.splitlines()[-1].split()[4]
            (FOLDER / f"{title}.svg").write_text(draw(title, transcript), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
