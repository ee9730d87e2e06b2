"""v3 through the deployed template: functions that renew tokens, and a login that is stored in the stack."""

import copy
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from contact_activity.aws.secret_tokens import Secrets, SecretTokens
from contact_activity.aws.table import Table
from contact_activity.clock import SystemClock
from contact_activity.domain.rights import Right
from contact_activity.domain.tokens import StoredTokens
from contact_activity.local_cloud.deploy import Stack
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.event_reader import subscribe
from contact_activity.local_cloud.template import STACK_NAME
from contact_activity.settings import V3Credentials
from contact_activity.simulated import Server, error
from contact_activity.simulated.token_switches import TokenSwitches
from contact_activity.simulated.v3_ids import contact_uuid
from contact_activity.state.credentials_file import CredentialsFile
from tests.support.command_line import run_command
from tests.support.deployed import aws_settings, deployed, deployed_v3, eventually, store_secret, tick
from tests.support.logging_in import login
from tests.support.running import account_of, served

pytestmark = pytest.mark.cloud

CLIENT_ID = "simulated-public-client"
TOKENS = TokenSwitches(device_interval_s=1, calls_per_second=100)


@pytest.fixture
def emulator(tmp_path: Path) -> Any:
    with Emulator(tmp_path / "cloud") as running:
        yield running


def stored(emulator: Emulator, stack: Stack) -> StoredTokens:
    secrets = Secrets(
        emulator.client("secretsmanager"), stack.outputs["SecretArn"], stack.outputs["TokensSecretArn"]
    )
    table = Table(emulator.client("dynamodb"), stack.outputs["TableName"])
    return SecretTokens(secrets, table, SystemClock(), V3Credentials(), replaces=True).read()


def waiting(emulator: Emulator, queue_url: str) -> int:
    name = "ApproximateNumberOfMessages"
    answer = emulator.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def refreshes(server: Server) -> int:
    """How often a refresh token was sent; `check` asks without one and without a client, which is a 401."""
    asked = [call for call in server.token_calls if call.status != 401]
    return sum(call.query.get("grant_type") == "refresh_token" for call in asked)


def refused(server: Server) -> int:
    """How often a refresh token was sent that was spent before."""
    return sum(call.status == 400 for call in server.token_calls)


def seed_of(server: Server) -> dict[str, str]:
    refresh_token = server.authorization.issue(CLIENT_ID).refresh_token
    assert refresh_token
    return {"refresh_token": refresh_token}


def test_functions_renew_the_tokens_and_publish(emulator: Emulator) -> None:
    """One refresh for all of them. What the operator put in stays as it is.

    A right that goes missing then is the first that `explain` says of a contact.
    """
    account = account_of(10)
    with served(account, tokens=TOKENS) as server:
        seed = seed_of(server)
        stack = deployed_v3(emulator, server, seed, CLIENT_ID)
        queue_url = subscribe(emulator, stack.outputs["EventBusName"])
        first = tick(emulator, stack)
        assert first["new_contacts"] == 10
        assert tick(emulator, stack)["reports_enqueued"]
        eventually(lambda: waiting(emulator, queue_url) > 0)
        assert refreshes(server) == 1
        tokens = stored(emulator, stack)
        given = emulator.client("secretsmanager").get_secret_value(SecretId=stack.outputs["SecretArn"])
        server.script("/v3/contacts", *[error(403, "http.status.forbidden", "x")] * 20)
        assert tick(emulator, stack)["paused_by"] == "credential"
        contact_id = contact_uuid(account.contacts()[0].id)
        environment = {"PATH": "/usr/bin", **aws_settings(emulator)}
        told = run_command("explain", contact_id, "--stack", STACK_NAME, environment=environment)
    assert f"{STACK_NAME}: {Right.CONTACTS_READ.missing}: no call goes out" in told.stdout.splitlines()[0]
    assert json.loads(given["SecretString"]) == seed
    assert tokens.has_taken(seed["refresh_token"], CLIENT_ID)
    assert tokens.refresh_token not in (None, seed["refresh_token"])
    logs = emulator.client("logs").filter_log_events(logGroupName="/aws/lambda/contact-activity-dispatcher")
    secrets = [seed["refresh_token"], tokens.refresh_token or "", tokens.access.text if tokens.access else ""]
    assert all(secret not in event["message"] for event in logs["events"] for secret in secrets)


def test_a_login_is_stored_in_the_stack(emulator: Emulator, tmp_path: Path) -> None:
    """It wins at once, and lifts the pause. `check` sees it, and `logout` removes it."""
    with served(account_of(5), tokens=TOKENS) as server:
        stack = deployed_v3(emulator, server, {"refresh_token": "spent-long-ago"}, CLIENT_ID)
        assert "errorMessage" not in tick(emulator, stack)
        assert tick(emulator, stack)["paused_by"] == "credential"

        environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), **aws_settings(emulator)}
        said = login(environment, server, "--stack", "contact-activity")
        assert "logged in" in said
        eventually(lambda: tick(emulator, stack)["new_contacts"] == 5)
        assert refreshes(server) == 1

        checked = run_command("check", "--stack", "contact-activity", environment=environment)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "the secrets of the stack" in checked.stdout

        out = run_command("logout", "--stack", "contact-activity", environment=environment)
        assert out.returncode == 0, out.stderr
        assert stored(emulator, stack).is_empty
        # What deploys secrets puts the old one in once more: it is good for nothing, and not tried again.
        store_secret(emulator, stack, {"refresh_token": "spent-long-ago"})
        again = run_command("check", "--stack", "contact-activity", environment=environment)
        assert again.returncode == 2
        assert "login --stack" in again.stderr
        assert refreshes(server) == 1


@pytest.mark.parametrize("action", ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"])
def test_without_a_right_to_the_tokens_none_is_spent(emulator: Emulator, action: str) -> None:
    """Nothing is read, and all goes on when the right is there."""
    with served(account_of(3), tokens=TOKENS) as server:
        stack = deployed_v3(emulator, server, seed_of(server), CLIENT_ID)
        iam, functions = emulator.client("iam"), emulator.client("lambda")
        found = functions.get_function(FunctionName=stack.outputs["DispatcherName"])["Configuration"]
        role = {"RoleName": str(found["Role"]).rsplit("/", 1)[-1], "PolicyName": "dispatcher"}
        whole = iam.get_role_policy(**role)["PolicyDocument"]
        whole = whole if isinstance(whole, dict) else json.loads(whole)
        less = copy.deepcopy(whole)
        (tokens,) = [statement for statement in less["Statement"] if statement["Sid"] == "Tokens"]
        tokens["Action"].remove(action)

        iam.put_role_policy(**role, PolicyDocument=json.dumps(less))
        for _ in range(2):
            told = tick(emulator, stack)
        # What it cannot read fails the tick, what it cannot store makes it wait.
        assert told.get("paused_by") == "credential" or "Secrets Manager" in told["errorMessage"]
        assert server.calls == []
        assert refreshes(server) == 0

        iam.put_role_policy(**role, PolicyDocument=json.dumps(whole))
        environment = found["Environment"] | {"Variables": found["Environment"]["Variables"] | {"IS": "new"}}
        functions.update_function_configuration(
            FunctionName=stack.outputs["DispatcherName"], Environment=environment
        )
        assert tick(emulator, stack)["new_contacts"] == 3
        assert refreshes(server) == 1


def test_tokens_outlive_a_local_cloud_that_is_killed(tmp_path: Path) -> None:
    """They are in the state folder. What is stored in the emulator is gone each time."""
    folder = tmp_path / "state"
    tokens = TokenSwitches(expires_in_s=1, calls_per_second=100)
    with served(account_of(3), tokens=tokens) as server:
        seed = server.authorization.issue(CLIENT_ID).refresh_token
        store = CredentialsFile(folder)
        with store.exclusive(within_s=1):
            store.save(StoredTokens(CLIENT_ID, seed))
        for wait_s in (0.2, 0.6, 1.0):
            with Emulator(tmp_path / "cloud") as emulator:
                stack = deployed_locally(emulator, server, folder)
                functions = emulator.client("lambda")
                functions.invoke(
                    FunctionName=stack.outputs["DispatcherName"], InvocationType="Event", Payload=b"{}"
                )
                time.sleep(wait_s)
                os.killpg(emulator.pid, signal.SIGKILL)
        # Whoever was killed between sending and saving left the one that was sent.
        is_lost = refused(server) > 0 or store.read().unanswered > 0
        with Emulator(tmp_path / "cloud") as emulator:
            stack = deployed_locally(emulator, server, folder)
            tick(emulator, stack)
            assert is_lost or server.calls
            assert is_lost or store.read().refresh_token not in (None, seed)
        # One that was spent before is sent once more at most: then it is known.
        assert refused(server) <= int(is_lost)


def deployed_locally(emulator: Emulator, server: Server, folder: Path) -> Stack:
    return deployed(
        emulator,
        server.v3_url,
        {"client_id": CLIENT_ID},
        ConstantContactApiVersion="v3",
        ConstantContactTokenUrl=server.token_url,
        LocalCredentialsFolder=str(folder),
    )
