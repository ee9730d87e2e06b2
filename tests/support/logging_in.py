"""Logs in to the simulated account, as a user with a browser does."""

import re
import subprocess
from collections.abc import Mapping

from contact_activity.simulated import Server
from tests.support.command_line import COMMAND


def login(environment: Mapping[str, str], server: Server, *where: str) -> str:
    """Start a login to a folder or a stack, and enter its code as in a browser. Return what it said."""
    command = [str(COMMAND), "login", "--no-browser", *where]
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        said = ""
        while "enter the code" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        code = re.search(r"enter the code (\S+)", said)
        assert code is not None
        server.authorization.allow_device(code[1])
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said + rest
    return said + rest
