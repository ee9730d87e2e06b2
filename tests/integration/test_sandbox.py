"""`contact-activity sandbox`: a process that serves a simulated account, and lines to paste that use it."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.command_line import COMMAND, SHARED, run_command

BANNER = "banner.txt"


def clean_environment() -> dict[str, str]:
    """The environment of the tests, without settings, and with the code of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONSTANT_CONTACT_")}
    return kept | {"PYTHONPATH": str(SHARED)}


@contextmanager
def sandbox(folder: Path, *arguments: str) -> Iterator[list[str]]:
    """Start a sandbox, and give the lines that it prints. It must end with 0 on Ctrl-C.

    What it says beside them is in the folder's file `BANNER`.
    """
    with (
        (folder / BANNER).open("w") as banner,
        subprocess.Popen(
            [str(COMMAND), "sandbox", "--contacts", "20", *arguments],
            cwd=folder,
            env=clean_environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=banner,
        ) as process,
    ):
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith("contact-activity run")):
            line = process.stdout.readline()
            assert line, lines
            lines.append(line.strip())
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def pasted(folder: Path, lines: list[str], environment: dict[str, str] | None = None) -> str:
    """Give the lines to a shell, and enter the code of a login as in a browser. Return what it said."""
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-e"],
        cwd=folder,
        env=clean_environment() | {"PATH": path, "BROWSER": "true"} | (environment or {}),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write("".join(f"{line}\n" for line in lines))
        shell.stdin.close()
        said = ""
        for line in shell.stdout:
            said += line
            if found := re.search(r"Open (\S+) and enter the code (\S+)", line):
                requests.get(found[1], params={"user_code": found[2]}, timeout=10).raise_for_status()
    assert shell.returncode == 0, said
    return said


def test_what_it_prints_logs_in_and_runs(tmp_path: Path) -> None:
    """The lines for v3, in a shell: the device flow gives tokens, and the run reads the account by v3."""
    with sandbox(tmp_path) as lines:
        assert "contact-activity login --state .local/sandbox-v3" in lines
        assert "`tail` there take --state .local/sandbox-v3, too" in (tmp_path / BANNER).read_text()
        said = pasted(tmp_path, lines)
    assert "API v3 · reading http://127.0.0.1:" in said
    assert (tmp_path / ".local/sandbox-v3/events.jsonl").read_text().count("\n") > 100


def test_its_lines_for_v2_run_in_a_shell_that_had_those_for_v3(tmp_path: Path) -> None:
    """What another version left in the shell is taken out first. What v3 lacks is said."""
    left = {"CONSTANT_CONTACT_API_VERSION": "v3", "CONSTANT_CONTACT_CLIENT_ID": "simulated-public-client"}
    taken = ("--without-scope", "contact_data", "--without-privilege", "campaign:read")
    with sandbox(tmp_path, "--api", "v2", *taken) as lines:
        said = pasted(tmp_path, lines, left)
    banner = (tmp_path / BANNER).read_text()
    assert "/v3  (without the scope contact_data, the privilege campaign:read)\n" in banner
    assert "API v2 · reading http://127.0.0.1:" in said
    assert (tmp_path / ".local/sandbox-v2/events.jsonl").read_text().count("\n") > 100


def test_a_key_of_ones_own_is_pasted_as_it_is(tmp_path: Path) -> None:
    """Whatever it means to a shell."""
    given = ("--api-key", "k;touch made", "--access-token", "$HOME'`t`")
    with sandbox(tmp_path, "--api", "v2", *given) as lines:
        shown = [f'echo "$CONSTANT_CONTACT_{name}"' for name in ("API_KEY", "ACCESS_TOKEN")]
        said = pasted(tmp_path, [line for line in lines if line.startswith("export ")] + shown)
    assert said.splitlines() == ["k;touch made", "$HOME'`t`"]
    assert not (tmp_path / "made").exists()


def test_a_port_in_use_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_command("sandbox", "--port", str(port), environment=clean_environment(), folder=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert (
        f"port {port} of this machine cannot be used (Address already in use): give another --port"
        in ended.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--port", "70000"), "give a port from 1 to 65535"),
        (("--port", "http"), "give a port from 1 to 65535"),
        (("--contacts", "0"), "give a whole number from 1 on"),
        (("--contacts", "many"), "give a whole number from 1 on"),
        (("--fault-rate", "2"), "give a share from 0 to 1"),
        (("--fault-rate", "often"), "give a share from 0 to 1"),
        (("--trial", "--refresh-token"), "not allowed with argument"),
        (("--refresh-token", "--without-scope", "offline_access"), "leave one of them out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_argument_says_what_is_right(arguments: tuple[str, ...], remedy: str, tmp_path: Path) -> None:
    ended = run_command("sandbox", *arguments, environment=clean_environment(), folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert remedy in ended.stderr


def test_a_folder_is_no_account(tmp_path: Path) -> None:
    """`--state` is a folder elsewhere, so that somebody will give one here."""
    ended = run_command("sandbox", "--state", str(tmp_path), environment=clean_environment())
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "give a file" in ended.stderr
