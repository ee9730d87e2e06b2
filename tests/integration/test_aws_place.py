"""`--region` and `--profile`, and what commands on a stack say of AWS settings that cannot be used."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from contact_activity.aws.errors import as_retry_error
from contact_activity.cli.told_errors import told
from contact_activity.operations.aws_session import use_aws
from contact_activity.operations.stack_credential import explained
from contact_activity.run.errors import RunError
from tests.support.command_line import SHARED, STACK_COMMANDS, run_command
from tests.support.nobodys_aws import nobodys_aws

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


def said(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return the status and the one line on standard error."""
    with nobodys_aws():
        own = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        ended = run_command(*arguments, environment={**own, **(environment or {})})
    (line,) = ended.stderr.splitlines()
    return ended.returncode, line


def configured(folder: Path) -> dict[str, str]:
    """Return an environment with a profile that has keys, and no region."""
    path = folder / "config"
    path.write_text("[profile there]\naws_access_key_id = KEYOFPROFILE\naws_secret_access_key = s\n")
    return {"AWS_CONFIG_FILE": str(path), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


@pytest.mark.parametrize("command", STACK_COMMANDS)
@pytest.mark.parametrize("option", ["--region", "--profile"])
def test_a_region_or_a_profile_belongs_to_a_stack(command: str, option: str) -> None:
    status, line = said(command, *STACK_COMMANDS[command], option, "any")
    assert (status, line.count(f"{option} belongs to --stack")) == (2, 1)


@pytest.mark.parametrize("command", STACK_COMMANDS)
def test_an_unknown_profile_is_told_with_what_to_do(command: str, tmp_path: Path) -> None:
    arguments = [command, *STACK_COMMANDS[command], "--stack", "any", "--profile", "none"]
    status, line = said(*arguments, environment=configured(tmp_path))
    assert status == 1
    assert "ProfileNotFound" in line
    assert "aws configure list-profiles" in line


@pytest.mark.parametrize("command", STACK_COMMANDS)
def test_a_missing_region_is_told_with_what_to_do(command: str, tmp_path: Path) -> None:
    arguments = [command, *STACK_COMMANDS[command], "--stack", "any", "--profile", "there"]
    status, line = said(*arguments, environment=configured(tmp_path))
    assert status == 1
    assert "give --region" in line


def test_missing_credentials_are_told_with_what_to_do(tmp_path: Path) -> None:
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": NOWHERE}
    arguments = ["status", "--stack", "any", "--region", "eu-west-1"]
    status, line = said(*arguments, environment=configured(tmp_path) | environment)
    assert status == 1
    assert "sign in to AWS" in line


def test_an_endpoint_that_nobody_answers_is_told_with_what_to_do(tmp_path: Path) -> None:
    arguments = ["status", "--stack", "any", "--region", "eu-west-1", "--profile", "there"]
    status, line = said(*arguments, environment=configured(tmp_path) | {"AWS_ENDPOINT_URL": NOWHERE})
    assert status == 1
    assert "check the network" in line


def test_a_region_and_a_profile_win_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over the keys of the environment, which the variable for a profile does not."""
    import boto3

    with nobodys_aws():
        for name, value in configured(tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        use_aws("eu-central-1", "there")
        client = boto3.client("sqs")
        keys = boto3.DEFAULT_SESSION.get_credentials()
        assert client.meta.region_name == "eu-central-1"
        assert keys.access_key == "KEYOFPROFILE"


@pytest.mark.parametrize(
    "error",
    [
        UnauthorizedSSOTokenError(),
        SSOTokenLoadError(error_msg="may hold anything"),
        TokenRetrievalError(provider="sso", error_msg="may hold anything"),
    ],
)
def test_a_login_that_has_ended_is_told_with_what_to_do(error: Exception) -> None:
    assert "aws sso login" in told(error)
    assert "anything" not in told(error)


@pytest.mark.parametrize(
    ("variables", "config", "remedy"),
    [
        ({"HTTP_PROXY": NOWHERE}, "aws_access_key_id = a\naws_secret_access_key = b", "in NO_PROXY"),
        ({}, "credential_process = /bin/false", "the credential_process of the profile"),
        ({}, "role_arn = arn:aws:iam::1:role/a\nsource_profile = missing", "check the profile"),
    ],
    ids=["proxy", "process", "role"],
)
def test_a_way_to_aws_that_is_barred_is_told_with_what_to_do(
    variables: dict[str, str], config: str, remedy: str, tmp_path: Path
) -> None:
    """A proxy is asked for an emulator on this machine, too."""
    path = tmp_path / "config"
    path.write_text(f"[profile mine]\nregion = eu-west-1\n{config}\n")
    own = {"AWS_CONFIG_FILE": str(path), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "NO_PROXY": ""}
    environment = own | {"no_proxy": "", "AWS_ENDPOINT_URL": NOWHERE} | variables
    status, line = said("status", "--stack", "a", "--profile", "mine", environment=environment)
    assert status == 1
    assert remedy in line


def test_a_missing_permission_is_named() -> None:
    """And not who lacks it, nor on what."""
    message = "User: arn:aws:iam::1:user/me is not authorized to perform: dynamodb:Scan on resource: arn:t"
    error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, "Scan")
    assert "lacks dynamodb:Scan" in told(error)
    assert "arn:" not in told(error)


def test_a_refusal_without_a_code_names_the_call() -> None:
    assert "lacks the permission for GetItem" in told(ClientError({"Error": {"Code": "403"}}, "GetItem"))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(28, "No space left on device", "kept"), "kept: No space left on device: free some room"),
        (OSError(30, "Read-only file system", "kept"), "a folder that can be written to"),
        (PermissionError(13, "Permission denied", "kept"), "that you may write to"),
    ],
)
def test_what_the_system_refuses_is_told_with_what_to_do(error: OSError, remedy: str) -> None:
    assert remedy in told(error)


def test_forget_asks_with_the_region_of_the_stack(tmp_path: Path) -> None:
    """Two regions may have stacks of one name. Nobody is asked for anything before the answer."""
    ours, theirs = os.openpty()
    os.write(ours, b"n\n")
    place = ["--stack", "one", "--region", "eu-west-1", "--profile", "there"]
    ended = subprocess.run(
        [sys.executable, "-m", "contact_activity", "forget", "4711", *place],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SHARED), **configured(tmp_path)},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        text=True,
    )
    asked = os.read(ours, 4_096).decode()
    for end in (ours, theirs):
        os.close(end)
    assert " ".join(place) in asked
    assert ended.stdout == "nothing is erased\n"


@pytest.mark.parametrize(
    "error",
    [
        *(ClientError({"Error": {"Code": code}}, "GetItem") for code in ("Throttling", "ExpiredToken")),
        ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetItem"),
        SSOTokenLoadError(error_msg="may hold anything"),
        EndpointConnectionError(endpoint_url="https://aws"),
    ],
)
def test_a_stack_that_is_opened_says_the_same(error: ClientError | BotoCoreError) -> None:
    """Whichever command meets the error: what to do is one sentence."""
    with pytest.raises(RunError) as raised, explained("stack"), as_retry_error("DynamoDB"):
        raise error
    _, remedy = told(error).split(": ", 1)
    assert str(raised.value).endswith(remedy)
