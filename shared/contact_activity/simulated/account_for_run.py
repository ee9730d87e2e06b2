"""The simulated account that a run reads when no credentials are set."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from contact_activity.settings import Credentials, Settings
from contact_activity.simulated import Server, open_account

_CREDENTIALS = Credentials("simulated-key", "simulated-token")


@contextmanager
def simulated(path: Path, settings: Settings) -> Iterator[tuple[str, Credentials]]:
    """Serve the account kept in `path`, which has lived on since the last time; gives its base URL."""
    account = open_account(path, datetime.now(UTC))
    with Server(
        account,
        api_key=_CREDENTIALS.api_key,
        access_token=_CREDENTIALS.access_token,
        calls_per_second=max(1, int(settings.calls_per_second)),
        calls_per_day=settings.calls_per_day,
    ) as server:
        yield server.base_url, _CREDENTIALS
