"""The next step that `contact-activity explain` gives for the simulated account can be pasted, and helps."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from contact_activity.clock import SystemClock
from contact_activity.domain.pace import Limits
from contact_activity.run.state_folder import SIMULATED_DATABASE, SIMULATED_V3_DATABASE
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_store
from tests.support.command_line import SHARED, run_command

OWN = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "CALLS_PER_SECOND": "1000"}


@pytest.mark.parametrize(("version", "name"), [("v2", SIMULATED_DATABASE), ("v3", SIMULATED_V3_DATABASE)])
def test_what_explain_says_is_next_reads_the_contact(tmp_path: Path, version: str, name: str) -> None:
    """In either version, each of which has a state of its own, whatever the shell that asks is set for."""
    state = ["--state", str(tmp_path)]
    begun = OWN | {"CONSTANT_CONTACT_API_VERSION": version}
    assert run_command("run", "--quiet", *state, environment=begun).returncode == 0
    with closing(Database(tmp_path / name)) as database:
        contacts = sqlite_store(database, Limits(100, 10_000), SystemClock()).contacts
        contact_id = next(contacts.outlines()).id
        contacts.make_due(1)
        shown = run_command("explain", contact_id, *state, environment=OWN).stdout
        (line,) = [line for line in shown.splitlines() if line.startswith("  next: ")]
        python = f"{sys.executable} -m contact_activity"
        pasted = line.removeprefix("  next: ").replace("contact-activity", python)
        environment = OWN | {"PYTHONPATH": str(SHARED)}
        subprocess.run(["sh", "-c", pasted], env=environment, capture_output=True, check=True)
        contact = contacts.get(contact_id)
        assert contact
        assert contact.due_ms > SystemClock().now_ms()
