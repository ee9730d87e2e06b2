"""The smoke test of a real AWS account on the local AWS: all but the deployment by SAM."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from contact_activity.local_cloud.deploy import deploy
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.template import TEMPLATE
from contact_activity.settings import Credentials, V3Credentials
from tests.smoke.__main__ import main
from tests.smoke.round import SmokeError, smoke
from tests.support.deployed import aws_settings
from tests.support.running import ACCESS_TOKEN, API_KEY, CALLS_PER_SECOND, account_of, served

CLIENT_ID = "simulated-public-client"
STACK = "contact-activity-smoke"


class ToTheEmulator:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def deploy(self, stack_name: str, parameters: Mapping[str, str]) -> None:
        deploy(self._emulator, TEMPLATE, stack_name=stack_name, parameters=parameters)


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """All clients of this process lead there."""
    with Emulator(tmp_path / "cloud") as running:
        for name, value in aws_settings(running).items():
            monkeypatch.setenv(name, value)
        yield running


def left(emulator: Emulator) -> list[str]:
    """What is there of queues, tables, buses and rules."""
    buses = emulator.client("events").list_event_buses()["EventBuses"]
    return [
        *emulator.client("sqs").list_queues().get("QueueUrls", []),
        *emulator.client("dynamodb").list_tables()["TableNames"],
        *(bus["Name"] for bus in buses if bus["Name"] != "default"),
    ]


@pytest.mark.cloud
@pytest.mark.parametrize("is_well", [True, False])
def test_a_round_brings_an_event_and_leaves_nothing(emulator: Emulator, is_well: bool) -> None:
    """Nor does one that brings none: it says why, and deletes all the same."""
    told: list[str] = []
    with served(account_of(3)) as server:
        parameters = {"ConstantContactBaseUrl": server.base_url, "CallsPerSecond": str(CALLS_PER_SECOND)}
        credentials = Credentials(API_KEY if is_well else "another", ACCESS_TOKEN)

        def go(within_s: float) -> object:
            return smoke(
                ToTheEmulator(emulator),
                credentials,
                parameters,
                stack_name=STACK,
                within_s=within_s,
                tell=told.append,
            )["detail"]

        if is_well:
            assert isinstance(go(60), dict)
        else:
            with pytest.raises(SmokeError, match="no event came in time"):
                go(5)
    assert told == [
        f"deploying {STACK}",
        "storing the credentials",
        "ticking, and waiting for an event",
        "deleting",
    ]
    assert left(emulator) == []


@pytest.mark.cloud
def test_a_round_with_a_refresh_token_spends_it_and_brings_an_event_of_v3(emulator: Emulator) -> None:
    """The stack takes the token up as a stack of an operator does, and nothing is left of it."""
    told: list[str] = []
    with served(account_of(3)) as server:
        token = server.authorization.issue(CLIENT_ID).refresh_token
        parameters = {
            "ConstantContactApiVersion": "v3",
            "ConstantContactBaseUrl": server.v3_url,
            "ConstantContactTokenUrl": server.token_url,
            "CallsPerSecond": str(CALLS_PER_SECOND),
        }
        event = smoke(
            ToTheEmulator(emulator),
            V3Credentials(CLIENT_ID, None, token),
            parameters,
            stack_name=STACK,
            within_s=60,
            tell=told.append,
        )
        assert isinstance(event["detail"], dict)
        assert [call.status for call in server.token_calls] == [200]
    assert told[-1] == "deleting"
    assert left(emulator) == []


def test_it_asks_for_credentials_before_it_deploys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked of AWS without an account to read, or with one that AWS cannot reach."""
    for name in ("CONSTANT_CONTACT_API_KEY", "CONSTANT_CONTACT_ACCESS_TOKEN", "CONSTANT_CONTACT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--yes"]) == 2
    monkeypatch.setenv("CONSTANT_CONTACT_API_KEY", API_KEY)
    monkeypatch.setenv("CONSTANT_CONTACT_ACCESS_TOKEN", ACCESS_TOKEN)
    monkeypatch.setenv("CONSTANT_CONTACT_BASE_URL", "http://127.0.0.1:8080/v2")
    assert main(["--yes"]) == 2
    assert (
        capsys.readouterr().err.splitlines()
        == ["smoke: give both credentials, and an address that AWS reaches by https"] * 2
    )
