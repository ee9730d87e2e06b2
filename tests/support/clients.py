"""The clients of v2 and of v3, and how each version names the things of one simulated account."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from contact_activity.clock import SystemClock
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.tokens import FixedToken
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.constant_contact.v3 import ConstantContactV3
from contact_activity.domain.activity import Activity
from contact_activity.domain.answers import TrackingPage
from contact_activity.domain.pace import Limits
from contact_activity.domain.times import iso
from contact_activity.ports import BearerTokens, Clock, Source
from contact_activity.settings import Credentials
from contact_activity.simulated import Server, activity_uuid, campaign_uuid, contact_uuid
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.rows import NOON_MS
from tests.support.running import ACCESS_TOKEN, API_KEY, ActivityKey

LIMITS = Limits(1_000, 100_000)
Given = Callable[[], Credentials] | BearerTokens


class HastyClock(SystemClock):
    """Begins at noon, shows the time that passes, and skips what somebody would sleep."""

    def __init__(self) -> None:
        self._skipped_ms = 0
        self._begun_ms = super().monotonic_ms()

    def now_ms(self) -> int:
        return NOON_MS + self.monotonic_ms() - self._begun_ms

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() + self._skipped_ms

    def sleep(self, wait_s: float) -> None:
        self._skipped_ms += round(wait_s * 1_000)


@dataclass(frozen=True)
class Version:
    """A version of the API: its client, and the ids under which it knows what v2 has numbers for.

    `campaign_id` is what the list of campaigns names, `mailing_id` what has reports.
    """

    name: str
    given: Callable[[str, str], Given]
    client: Callable[[ApiClient], Source]
    contact_id: Callable[[str], str]
    campaign_id: Callable[[str], str]
    mailing_id: Callable[[str], str]

    def __str__(self) -> str:
        return self.name

    def base_url(self, server: Server) -> str:
        return f"{server.origin}/{self.name}"

    @contextmanager
    def source(
        self,
        base_url: str,
        clock: Clock,
        *,
        key: str = API_KEY,
        token: str = ACCESS_TOKEN,
        tokens: BearerTokens | None = None,
        limits: Limits = LIMITS,
        **options: Any,
    ) -> Iterator[Source]:
        """A client over HTTP, with a limiter of its own. `tokens`: instead of the token that stays."""
        with closing(Database(":memory:")) as database:
            limiter = sqlite_limiter(database, limits, clock)
            client = ApiClient(base_url, tokens or self.given(key, token), limiter, clock, **options)
            with closing(client):
                yield self.client(client)


def _same(id_: str) -> str:
    return id_


V2 = Version(
    "v2",
    lambda key, token: lambda: Credentials(key, token),
    ConstantContactV2,
    contact_id=_same,
    campaign_id=_same,
    mailing_id=_same,
)
V3 = Version(
    "v3",
    lambda _, token: FixedToken(token),
    ConstantContactV3,
    contact_id=contact_uuid,
    campaign_id=campaign_uuid,
    mailing_id=activity_uuid,
)
VERSIONS = (V2, V3)


def walked(read: Callable[[str | None], Any]) -> list[Any]:
    """All pages of a list or a report, of which none may be a refusal."""
    pages: list[Any] = []
    next_: str | None = None
    for _ in range(1_000):
        page = read(next_)
        assert hasattr(page, "next"), page
        pages.append(page)
        next_ = page.next
        if next_ is None:
            return pages
    pytest.fail("the walk has no end")


def activities_in(pages: Sequence[TrackingPage]) -> list[Activity]:
    return [activity for page in pages for activity in page.activities]


def key_of_activity(activity: Activity) -> ActivityKey:
    """Return what `key_of` returns of the event of an activity."""
    link_id = (activity.link and activity.link.id) or ""
    at = iso(activity.occurred_ms)
    return (activity.provider_type, activity.campaign_id or "", activity.contact_id, at, link_id)
