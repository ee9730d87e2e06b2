"""A plain HTTP client of v3 of the simulated account."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from contact_activity.simulated import Server, SimulatedAccount

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
KEY, TOKEN = "key-1", "token-1"
Parameters = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass
class Clock:
    """A `now` that tests move."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class V3Caller:
    """Calls with an access token: the static one, unless `token` is another."""

    server: Server
    token: str = TOKEN
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, parameters: Parameters = (), **headers: str) -> requests.Response:
        known = {"Authorization": f"Bearer {self.token}"}
        return self.session.get(
            self.server.v3_url + path,
            params=list(parameters.items()) if isinstance(parameters, Mapping) else list(parameters),
            headers={**known, **headers},
            timeout=10,
        )

    def json(self, path: str, **parameters: str) -> dict[str, Any]:
        """The body of an answer that must be 200."""
        response = self.get(path, parameters)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def pages(self, path: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """The pages of a list, by following its links."""
        for _ in range(1_000):
            page = self.json(path, **parameters)
            yield page
            href = next_of(page)
            if href is None:
                return
            link = urlsplit(href)
            assert link.path == f"/v3{path}"
            parameters = dict(parse_qsl(link.query))
        pytest.fail("the walk has no end")

    def walk(self, path: str, name: str, **parameters: str) -> list[dict[str, Any]]:
        """All rows of a list."""
        return [row for page in self.pages(path, **parameters) for row in page[name]]

    def details(self, contact_id: str, types: str, **parameters: str) -> list[dict[str, Any]]:
        """All rows of a contact (v3 id)."""
        path = f"/reports/contact_reports/{contact_id}/activity_details"
        return self.walk(path, "tracking_activities", tracking_activities_list=types, **parameters)

    def report(self, activity_id: str, report: str, **parameters: str) -> list[dict[str, Any]]:
        """All rows of a campaign activity's report."""
        path = f"/reports/email_reports/{activity_id}/tracking/{report}"
        return self.walk(path, "tracking_activities", **parameters)


def next_of(page: dict[str, Any]) -> str | None:
    """The link of a page, in any of its forms. None on the last page."""
    href = ((page.get("_links") or {}).get("next") or {}).get("href")
    assert href is None or isinstance(href, str)
    return href


@contextmanager
def calling(
    account: SimulatedAccount, *, calls_per_second: int = 10_000, **options: Any
) -> Iterator[V3Caller]:
    """Serve an account at `NOW`, and give a caller of it."""
    options = {"now": Clock(), **options}
    server = Server(account, api_key=KEY, access_token=TOKEN, calls_per_second=calls_per_second, **options)
    with server:
        caller = V3Caller(server)
        with closing(caller.session):
            yield caller
