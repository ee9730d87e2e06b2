"""What a run says with `--quiet`, and of variables that look like settings and are none."""

import os
from pathlib import Path

import pytest

from contact_activity.domain.account import StoredAccount
from contact_activity.run.account_file import AccountFile
from contact_activity.run.given_account import given_account
from contact_activity.settings import SettingsError, unknown_settings
from tests.support.command_line import run_command

OWN = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "CALLS_PER_SECOND": "1000"}


def test_a_quiet_run_says_nothing_and_publishes(tmp_path: Path) -> None:
    ended = run_command("run", "--quiet", "--state", str(tmp_path), environment=OWN)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "events.jsonl").stat().st_size


def test_a_quiet_run_tells_its_error(tmp_path: Path) -> None:
    environment = OWN | {"REPORTS": "none"}
    ended = run_command("run", "--quiet", "--state", str(tmp_path), environment=environment)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CALLS_PER_SECONDS", "did you mean CALLS_PER_SECOND?"),
        ("CALL_PER_DAY", "did you mean CALLS_PER_DAY?"),
        ("CONSTANT_CONTACT_ACESS_TOKEN", "did you mean CONSTANT_CONTACT_ACCESS_TOKEN?"),
        ("QUOTA_SHAER", "did you mean QUOTA_SHARE?"),
        ("EMAIL_ADRESSES", "did you mean EMAIL_ADDRESSES?"),
        ("START_DATES", "did you mean START_DATE?"),
        ("OVERLAP_HOUR", "did you mean OVERLAP_HOURS?"),
        ("calls_per_day", "did you mean CALLS_PER_DAY?"),
        ("CONSTANT_CONTACT_ZZZ", "CONSTANT_CONTACT_ZZZ is no setting"),
    ],
)
def test_an_unknown_setting_is_warned_of_without_its_value(tmp_path: Path, name: str, meant: str) -> None:
    ended = run_command("check", "--state", str(tmp_path), environment=OWN | {name: "secret-value"})
    assert ended.returncode == 0
    (line,) = ended.stderr.splitlines()
    assert meant in line
    assert "secret-value" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    "name", ["REPORT", "ACCOUNTS", "START_TIME", "http_proxy", "HTTPS_PROXY", "EMAIL", "TZ", "CALLSIGN"]
)
def test_a_variable_of_somebody_else_is_not_warned_of(name: str) -> None:
    assert unknown_settings({name: "theirs"}) == []


def test_a_run_warns_of_an_unknown_setting_also_if_it_is_quiet(tmp_path: Path) -> None:
    """Which shows warnings: nobody watches it, and a bound that is misspelled does not hold."""
    environment = OWN | {"CALLS_PER_SECONDS": "secret-value"}
    loud = run_command("run", "--state", str(tmp_path), environment=environment)
    quiet = run_command("run", "--quiet", "--state", str(tmp_path), environment=environment)
    assert "warning: CALLS_PER_SECONDS is no setting" in loud.stderr
    assert "secret-value" not in loud.stderr
    (line,) = quiet.stderr.splitlines()
    assert "warning: CALLS_PER_SECONDS is no setting" in line
    assert "secret-value" not in line


def test_v2_over_a_folder_of_v3_is_told_to_leave_it_out(tmp_path: Path) -> None:
    """A login would change nothing."""
    AccountFile(tmp_path).save(StoredAccount("an-account", ""))
    with pytest.raises(SettingsError, match=r"is v2, but .* is of v3: leave it out, or give another --state"):
        given_account({"CONSTANT_CONTACT_API_VERSION": "v2"}, tmp_path)
