"""What AWS says when it does not do what it is asked, as an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.errors import RetryError


def error_code(error: ClientError | BotoCoreError) -> str:
    """The code that AWS gives, or what kept the call from it; never a message, which may hold anything."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "no code"))
    return type(error).__name__


@contextmanager
def as_our_errors(what: str) -> Iterator[None]:
    """Raises `RetryError` where botocore raises; `what` names the service in a few words."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise RetryError(f"{what} did not answer as it should: {error_code(error)}") from error
