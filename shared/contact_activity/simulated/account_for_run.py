"""Serves the simulated account that a run reads when no credentials are set."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from contact_activity.settings import AnyCredentials, Credentials, Settings, V3Credentials, Version
from contact_activity.simulated import Server, open_account
from contact_activity.simulated.storage import read_account

_CREDENTIALS = Credentials("simulated-key", "simulated-token")
_V3_CREDENTIALS = V3Credentials(access_token=_CREDENTIALS.access_token)


@contextmanager
def served_account(
    path: Path, settings: Settings, *, is_kept: bool = False
) -> Iterator[tuple[str, AnyCredentials]]:
    """Open the account in a file, serve it, and give its base URL and credentials.

    `is_kept`: the file must be there, and stays as it is.
    """
    account = read_account(path) if is_kept else open_account(path, datetime.now(UTC))
    with Server(
        account,
        api_key=_CREDENTIALS.api_key,
        access_token=_CREDENTIALS.access_token,
        calls_per_second=max(1, int(settings.calls_per_second)),
        calls_per_day=settings.calls_per_day,
    ) as server:
        if settings.api_version is Version.V3:
            yield server.v3_url, _V3_CREDENTIALS
        else:
            yield server.base_url, _CREDENTIALS
