"""Translate the errors of AWS calls."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.errors import RetryError


def error_code(error: ClientError | BotoCoreError) -> str:
    """Return the code of AWS, or the class of an error on the way to it.

    Never the message, which may hold personal data or a secret.
    """
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "no code"))
    return type(error).__name__


@contextmanager
def as_retry_error(service: str) -> Iterator[None]:
    """Raise `RetryError` in place of an error of botocore. `service` is named in its text."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise RetryError(f"a call to {service} failed: {error_code(error)}") from error
