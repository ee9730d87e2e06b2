"""The real template on the local AWS, with the secret that the simulated API takes."""

import json
import time
from collections.abc import Callable, Mapping

from contact_activity.local_cloud.deploy import Stack, deploy
from contact_activity.local_cloud.emulator import ACCESS_KEY, REGION, Emulator
from contact_activity.local_cloud.engine import STACK_NAME, TEMPLATE
from tests.support.running import ACCESS_TOKEN, API_KEY, CALLS_PER_SECOND

WITHIN_S = 60.0
SECRET = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}


def deployed(
    emulator: Emulator, base_url: str, secret: Mapping[str, str] = SECRET, **parameters: str
) -> Stack:
    """`parameters` are the template's, beside the address and the pace of the API."""
    given = {"ConstantContactBaseUrl": base_url, "CallsPerSecond": str(CALLS_PER_SECOND)} | parameters
    stack = deploy(emulator, TEMPLATE, stack_name=STACK_NAME, parameters=given)
    store_secret(emulator, stack, secret)
    return stack


def store_secret(emulator: Emulator, stack: Stack, secret: Mapping[str, str]) -> None:
    emulator.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs["SecretArn"], SecretString=json.dumps(dict(secret))
    )


def aws_settings(emulator: Emulator) -> dict[str, str]:
    """What leads a process's AWS clients to the emulator."""
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }


def set_polling(emulator: Emulator, *, is_enabled: bool, workers: int | None = None) -> None:
    """Whether the queue leads to the worker, and to how many at once; the local template has four."""
    functions = emulator.client("lambda")
    (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
    scaling = {"ScalingConfig": {"MaximumConcurrency": workers}} if workers else {}
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=is_enabled, **scaling)


def record(message_id: str, receipt_handle: str, body: str) -> dict[str, object]:
    """A message as Lambda hands it over."""
    return {
        "messageId": message_id,
        "receiptHandle": receipt_handle,
        "body": body,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


def eventually(condition: Callable[[], bool]) -> None:
    """Return when it holds; it must in time."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
