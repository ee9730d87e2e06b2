"""Read the credentials from Secrets Manager when they are used."""

import json
import threading
from collections.abc import Callable, Mapping

from botocore.client import BaseClient

from contact_activity.aws.errors import as_retry_error
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.settings import Credentials, SettingsError, check_credential

_NAMES = ("api_key", "access_token")
# While Secrets Manager fails, go on with the last credentials for an hour, and ask every 15 s.
MAX_STALE_S = 3_600.0
# Then it is read again, for a new token.
MAX_AGE_S = 300.0
ASK_AGAIN_S = 15.0


class Age:
    """How long ago something was. A function may be frozen, and its monotonic clock with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun_ms, self._begun_on_ms = clock.monotonic_ms(), clock.now_ms()

    def seconds(self) -> float:
        """Return what has passed by the clock by which it is more."""
        passed_ms = self._clock.monotonic_ms() - self._begun_ms
        return max(passed_ms, self._clock.now_ms() - self._begun_on_ms) / 1_000


def secret_credentials(
    client: BaseClient, secret_id: str, clock: Clock, max_age_s: float = MAX_AGE_S
) -> Callable[[], Credentials]:
    """Return a reader for any number of threads. It asks again after `max_age_s`, for a new token.

    The reader raises `SettingsError` for a secret without a usable value, and `RetryError` when
    Secrets Manager fails and there are no credentials from the last hour. It never caches an error.
    """
    lock = threading.Lock()
    known: Credentials | None = None
    found, asked = Age(clock), Age(clock)
    wait_s = 0.0

    def read() -> Credentials:
        nonlocal known, found, asked, wait_s
        with lock:
            if known is not None and asked.seconds() < wait_s:
                return known
            last, known = known, None
            try:
                known = parse_secret(secret_id, _value(client, secret_id))
            except RetryError:
                if last is None or found.seconds() >= MAX_STALE_S:
                    raise
                known, asked, wait_s = last, Age(clock), ASK_AGAIN_S
                return known
            found = asked = Age(clock)
            wait_s = max_age_s
            return known

    return read


def _value(client: BaseClient, secret_id: str) -> str:
    with as_retry_error("Secrets Manager"):
        try:
            return str(client.get_secret_value(SecretId=secret_id).get("SecretString") or "")
        except client.exceptions.ResourceNotFoundException:
            raise _unusable(secret_id, "has no value") from None


def parse_secret(secret_id: str, text: str) -> Credentials:
    """Return the credentials in the value of a secret. Raises `SettingsError`, which shows nothing of it."""
    try:
        value = parse_object(text)
    except ValueError as error:
        raise _unusable(secret_id, str(error)) from None
    found = []
    for name in _NAMES:
        credential = value.get(name)
        if not isinstance(credential, str) or not credential.strip():
            raise _unusable(secret_id, f"has no {name}")
        check_credential(f"{name} in the secret {secret_id}", credential.strip())
        found.append(credential.strip())
    return Credentials(*found)


def parse_object(text: str) -> Mapping[str, object]:
    """Return the JSON object in a text. Raises `ValueError` with what the text is instead."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004  of a text
    return value


def _unusable(secret_id: str, fault: str) -> SettingsError:
    return SettingsError(
        f'the secret {secret_id} {fault}: store {{"api_key": "...", "access_token": "..."}} in it, or for v3 '
        "set ConstantContactApiVersion to v3"
    )
