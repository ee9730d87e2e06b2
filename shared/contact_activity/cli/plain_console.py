"""The console on which commands tell what they do."""

from typing import IO

from rich.console import Console


def plain_console(
    *,
    file: IO[str] | None = None,
    stderr: bool = False,
    force_interactive: bool | None = None,
    width: int | None = None,
) -> Console:
    """Return a console that prints each text as it is.

    Otherwise the brackets of a folder's name, or of what the API answers, would style the text, get lost, or
    end the command.
    """
    return Console(
        file=file,
        stderr=stderr,
        force_interactive=force_interactive,
        width=width,
        markup=False,
        emoji=False,
    )
