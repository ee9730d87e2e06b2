"""The name by which hints call this program, so that they can be pasted where it was started."""

import os
import shutil
import sys
from pathlib import Path
from shlex import quote

NAME = "contact-activity"


def program() -> str:
    """Return `contact-activity`, or the path by which it was started.

    That is a path such as `.venv/bin/contact-activity`, from the folder where it was typed, and only where
    the name alone would not be found. An absolute path is of a script or a service, and no one types it.
    """
    path = Path(sys.argv[0])
    is_typed = path.name == NAME and os.sep in sys.argv[0] and not path.is_absolute()
    return quote(sys.argv[0]) if is_typed and shutil.which(NAME) is None else NAME
