"""Deploys the real template to the local AWS, with the secret that the simulated API accepts."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from contact_activity.local_cloud.deploy import Stack, deploy
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.template import STACK_NAME, TEMPLATE
from contact_activity.simulated import Server
from tests.support.running import ACCESS_TOKEN, API_KEY, CALLS_PER_SECOND

WITHIN_S = 60.0
SECRET = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}


def deployed(
    emulator: Emulator, base_url: str, secret: Mapping[str, str] = SECRET, **parameters: str
) -> Stack:
    """Deploy the template. `parameters` are added to the base URL and the pace of the API."""
    given = {"ConstantContactBaseUrl": base_url, "CallsPerSecond": str(CALLS_PER_SECOND)} | parameters
    stack = deploy(emulator, TEMPLATE, stack_name=STACK_NAME, parameters=given)
    store_secret(emulator, stack, secret)
    return stack


def deployed_v3(
    emulator: Emulator, server: Server, secret: Mapping[str, str], client_id: str, **parameters: str
) -> Stack:
    """Deploy the template for v3, with the secret of a client whose tokens the functions renew."""
    given = {
        "ConstantContactApiVersion": "v3",
        "ConstantContactTokenUrl": server.token_url,
        "ConstantContactClientId": client_id,
    }
    return deployed(emulator, server.v3_url, secret, **given, **parameters)


def store_secret(emulator: Emulator, stack: Stack, secret: Mapping[str, str]) -> None:
    emulator.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs["SecretArn"], SecretString=json.dumps(dict(secret))
    )


def aws_settings(emulator: Emulator) -> dict[str, str]:
    """Return the environment variables that make AWS clients use the emulator."""
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }


def tick(emulator: Emulator, stack: Stack) -> dict[str, Any]:
    """Invoke the dispatcher, and return what it answers."""
    answer = emulator.client("lambda").invoke(FunctionName=stack.outputs["DispatcherName"], Payload=b"{}")
    answered: dict[str, Any] = json.loads(answer["Payload"].read())
    return answered


def set_polling(emulator: Emulator, *, is_enabled: bool, workers: int | None = None) -> None:
    """Start or stop the polling of the queue, by `workers` at once. The local template has four."""
    functions = emulator.client("lambda")
    (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
    scaling = {"ScalingConfig": {"MaximumConcurrency": workers}} if workers else {}
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=is_enabled, **scaling)


def record(message_id: str, receipt_handle: str, body: str) -> dict[str, object]:
    """Return a message in the form in which Lambda passes it."""
    return {
        "messageId": message_id,
        "receiptHandle": receipt_handle,
        "body": body,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds. Fails if that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
