"""The real template on the local AWS, with the secret that the simulated API takes."""

import json
from collections.abc import Mapping

from contact_activity.local.cloud import STACK_NAME, TEMPLATE
from contact_activity.local.emulator import Emulator
from contact_activity.local.stack import Stack, deploy
from tests.integration.running import ACCESS_TOKEN, API_KEY, CALLS_PER_SECOND

SECRET = {"api_key": API_KEY, "access_token": ACCESS_TOKEN}


def deployed(
    emulator: Emulator, base_url: str, secret: Mapping[str, str] = SECRET, **parameters: str
) -> Stack:
    """`parameters` are the template's, beside the address and the pace of the API."""
    given = {"ConstantContactBaseUrl": base_url, "CallsPerSecond": str(CALLS_PER_SECOND)} | parameters
    stack = deploy(emulator, TEMPLATE, stack_name=STACK_NAME, parameters=given)
    emulator.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs["SecretArn"], SecretString=json.dumps(dict(secret))
    )
    return stack
