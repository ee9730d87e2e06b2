"""Runs the command line as an operator does: as a process, against a simulated API."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contact_activity.domain.times import iso
from contact_activity.simulated import Kind, Server, SimulatedAccount, Step, Switches, realistic_account
from contact_activity.simulated.account import Row
from contact_activity.simulated.token_switches import APPLICATIONS, Application, TokenSwitches
from contact_activity.simulated.v3_ids import activity_of, contact_uuid
from tests.support.command_line import COMMAND, run_command

API_KEY, ACCESS_TOKEN = "canary-key-5f1c", "canary-token-9a7e"
CLIENT_ID, CLIENT_SECRET = "canary-client", "canary-secret-3b7d"
CAMPAIGN = "1117643206590"
CALLS_PER_SECOND = 100
# The API's time stands still, so that what it shows changes only when a test changes it.
NOW = datetime.now(UTC)
ActivityKey = tuple[str, str, str, str, str]
_V3_TYPES = {
    Kind.SEND: "em_sends",
    Kind.OPEN: "em_opens",
    Kind.CLICK: "em_clicks",
    Kind.FORWARD: "em_forwards",
    Kind.BOUNCE: "em_bounces",
    Kind.UNSUBSCRIBE: "em_optouts",
}


def account_of(contacts: int, *, seed: int = 7) -> SimulatedAccount:
    """Return a realistic account."""
    return realistic_account(seed, contacts=contacts, now=NOW)


def served(
    account: SimulatedAccount,
    switches: Switches | None = None,
    calls_per_day: int = 10_000,
    calls_per_second: int = CALLS_PER_SECOND,
    tokens: TokenSwitches | None = None,
    now: Callable[[], datetime] = lambda: NOW,
) -> Server:
    """Return a server of the account that accepts the canary credentials."""
    return Server(
        account,
        api_key=API_KEY,
        access_token=ACCESS_TOKEN,
        applications=(*APPLICATIONS, Application(CLIENT_ID, CLIENT_SECRET)),
        switches=switches,
        tokens=tokens,
        calls_per_second=calls_per_second,
        calls_per_day=calls_per_day,
        now=now,
    )


@dataclass
class Operator:
    """An operator with a state folder, an events file and an environment. `said` keeps all output."""

    folder: Path
    environment: dict[str, str]
    engine: str = "embedded"
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, server: Server, engine: str = "embedded", **settings: str) -> "Operator":
        environment = {
            "PATH": os.environ["PATH"],
            "CONSTANT_CONTACT_API_KEY": API_KEY,
            "CONSTANT_CONTACT_ACCESS_TOKEN": ACCESS_TOKEN,
            "CONSTANT_CONTACT_BASE_URL": server.base_url,
            "CALLS_PER_SECOND": str(CALLS_PER_SECOND),
        }
        return cls(folder, environment | settings, engine)

    @classmethod
    def of_v3(
        cls,
        folder: Path,
        server: Server,
        engine: str = "embedded",
        *,
        is_renewing: bool = False,
        **settings: str,
    ) -> "Operator":
        """Someone who has an access token of v3 and nothing else, or a client with tokens to renew."""
        operator = cls.of(folder, server, engine)
        for name in ("CONSTANT_CONTACT_API_KEY", "CONSTANT_CONTACT_ACCESS_TOKEN"):
            del operator.environment[name]
        operator.environment |= {
            "CONSTANT_CONTACT_API_VERSION": "v3",
            "CONSTANT_CONTACT_BASE_URL": server.v3_url,
            "CONSTANT_CONTACT_TOKEN_URL": server.token_url,
        }
        if is_renewing:
            operator.environment |= renewed_by(server)
        else:
            operator.environment["CONSTANT_CONTACT_ACCESS_TOKEN"] = ACCESS_TOKEN
        operator.environment |= settings
        return operator

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    def command(self, *arguments: str) -> list[str]:
        where = ["--state", str(self.state_dir), "--events", str(self.events_file)]
        return [str(COMMAND), "run", "--engine", self.engine, "--once", *where, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self._start(self.command(*arguments))

    def start_every(self, minutes: int) -> subprocess.Popen[str]:
        """Start a run that keeps ticking."""
        once = self.command()
        once.remove("--once")
        return self._start([*once, "--every", str(minutes)])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ended = self._run(self.command(*arguments))
        self.said += [ended.stdout, ended.stderr]
        return ended

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        if self.engine == "embedded":
            return run_command(*command[1:], environment=self.environment, folder=self.folder, within_s=100)
        with self._start(command) as process:
            out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def status(self) -> dict[str, Any]:
        """What `status --json` says of the system in the state folder."""
        where = ("--state", str(self.state_dir))
        told = run_command("status", "--json", *where, environment=self.environment)
        told.check_returncode()
        self.said += [told.stdout, told.stderr]
        (system,) = json.loads(told.stdout)["systems"]
        assert isinstance(system, dict)
        return system

    def events(self) -> list[dict[str, Any]]:
        if not self.events_file.exists():
            return []
        text = self.events_file.read_text(encoding="utf-8")
        # The last line may be on its way.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def published(self) -> list[ActivityKey]:
        return [key_of(event) for event in self.events()]

    def ids_by_key(self) -> Mapping[ActivityKey, set[str]]:
        ids: dict[ActivityKey, set[str]] = {}
        for event in self.events():
            ids.setdefault(key_of(event), set()).add(event["detail"]["id"])
        return ids


def renewed_by(server: Server) -> dict[str, str]:
    """Return the settings of a client with a new refresh token."""
    return {
        "CONSTANT_CONTACT_CLIENT_ID": CLIENT_ID,
        "CONSTANT_CONTACT_CLIENT_SECRET": CLIENT_SECRET,
        "CONSTANT_CONTACT_REFRESH_TOKEN": server.authorization.issue(CLIENT_ID).refresh_token or "",
    }


def key_of(event: dict[str, Any]) -> ActivityKey:
    data = event["detail"]["data"]
    return (
        data["activity"]["provider_type"],
        data["campaign"]["id"],
        data["contact"]["id"],
        data["activity"]["occurred_at"],
        data.get("link", {}).get("id", ""),
    )


def truth_of(account: SimulatedAccount) -> set[ActivityKey]:
    """Return the keys of all activities that the account shows."""
    return {key_of_row(row.key) for row in account.truth(NOW)}


def truth_of_v3(account: SimulatedAccount, step_ms: int = Step.MINUTE) -> set[ActivityKey]:
    """Return the keys of all activities that the account shows in v3, with stamps of a step."""
    return {key_of_v3_row(row, account, step_ms) for row in account.truth(NOW)}


def key_of_row(row_key: tuple[str, str, str, int, str]) -> ActivityKey:
    """Return what `key_of` returns of the event of a row."""
    kind, campaign_id, contact_id, at_ms, link_id = row_key
    return (kind, campaign_id, contact_id, iso(at_ms), link_id)


def key_of_v3_row(row: Row, account: SimulatedAccount, step_ms: int) -> ActivityKey:
    """Return what `key_of` returns of the event of a row that v3 shows, with stamps of a step."""
    at_ms = row.occurred_ms - row.occurred_ms % step_ms
    mailing = activity_of(row, account)
    return (_V3_TYPES[row.kind], mailing, contact_uuid(row.contact_id), iso(at_ms), row.key[4])
