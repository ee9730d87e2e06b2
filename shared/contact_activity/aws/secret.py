"""The credentials, read by name from Secrets Manager when they are used."""

import json
import threading
from collections.abc import Callable

from botocore.client import BaseClient

from contact_activity.aws.errors import as_our_errors
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.settings import Credentials, SettingsError, check_credential

_NAMES = ("api_key", "access_token")
# Where AWS fails to give the secret: a moment's trouble of AWS is no reason to stop everything.
SERVES_S = 3_600.0
ASK_AGAIN_S = 15.0


def secret_credentials(
    client: BaseClient, secret_id: str, clock: Clock, max_age_s: float = 300.0
) -> Callable[[], Credentials]:
    """A reader for any number of threads, which asks again after `max_age_s`: a new token takes effect.

    It raises `SettingsError` for a secret without a usable value, and `RetryError` where AWS does not
    give it and has not for an hour: until then the last one serves. Neither error is kept.
    """
    lock = threading.Lock()
    kept: Credentials | None = None
    kept_until_ms = 0.0
    serves_until_ms = 0.0

    def read() -> Credentials:
        nonlocal kept, kept_until_ms, serves_until_ms
        with lock:
            if kept is not None and clock.monotonic_ms() < kept_until_ms:
                return kept
            last, kept = kept, None
            try:
                kept = parse_secret(secret_id, _value(client, secret_id))
            except RetryError:
                if last is None or clock.monotonic_ms() >= serves_until_ms:
                    raise
                kept, kept_until_ms = last, clock.monotonic_ms() + ASK_AGAIN_S * 1_000
                return kept
            kept_until_ms = clock.monotonic_ms() + max_age_s * 1_000
            serves_until_ms = clock.monotonic_ms() + SERVES_S * 1_000
            return kept

    return read


def _value(client: BaseClient, secret_id: str) -> str:
    with as_our_errors("the secret"):
        try:
            return str(client.get_secret_value(SecretId=secret_id).get("SecretString") or "")
        except client.exceptions.ResourceNotFoundException:
            raise _unusable(secret_id, "has no value") from None


def parse_secret(secret_id: str, text: str) -> Credentials:
    """The credentials in a secret's value. Raises `SettingsError`, which shows nothing of it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable(secret_id, "is no JSON") from None
    if not isinstance(value, dict):
        raise _unusable(secret_id, "is no JSON object")
    found = []
    for name in _NAMES:
        credential = value.get(name)
        if not isinstance(credential, str) or not credential.strip():
            raise _unusable(secret_id, f"has no {name}")
        check_credential(f"{name} in the secret {secret_id}", credential.strip())
        found.append(credential.strip())
    return Credentials(*found)


def _unusable(secret_id: str, fault: str) -> SettingsError:
    return SettingsError(
        f'the secret {secret_id} {fault}: store {{"api_key": "...", "access_token": "..."}} in it'
    )
