"""What a credential may read: how a call is looked at, and what the answers of v3 tell together."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest

from contact_activity.constant_contact.client import ApiClient, Call, Look
from contact_activity.constant_contact.permissions import T
from contact_activity.constant_contact.transport import Connection, NoAnswerError, Reply
from contact_activity.constant_contact.v2 import V2
from contact_activity.constant_contact.v3_permissions import v3_permissions
from contact_activity.constant_contact.verdict import Verdict
from contact_activity.domain.pace import Limits
from contact_activity.errors import Cause, RetryError, WaitError, WaitReason
from contact_activity.settings import Credentials
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.rows import NOON_MS
from tests.support.virtual_clock import VirtualClock

PAGE = Reply(200, {}, b'{"meta": {"pagination": {}}, "results": []}')
UNAUTHORIZED, BROKEN = Reply(401), Reply(503)
THROTTLED, USED_UP = Reply(429), Reply(429, {}, b'{"error_key": "quota_exceeded"}')
OTHER_CALL: Call[object] = Call("/other", {}, lambda body: body)


class Answering:
    """The `Transport` port: gives these answers one after the other."""

    def __init__(self, *answers: Reply | Cause) -> None:
        self.answers = list(answers)
        self.asked = 0

    def connected(self, **_: float) -> AbstractContextManager[Connection]:
        return nullcontext(self)

    def is_quiet(self) -> bool:
        return True

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:  # noqa: ARG002
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Cause):
            raise NoAnswerError(answer)
        return answer

    def close(self) -> None:
        """Nothing is open."""


def looked(transport: Answering, call: Call[T]) -> Look[T]:
    clock = VirtualClock(NOON_MS)
    limiter = sqlite_limiter(Database(":memory:"), Limits(4, 100), clock)
    credentials = Credentials("key", "token")
    client = ApiClient("https://api.example.org", lambda: credentials, limiter, clock, transport=transport)
    return client.look(call, V2, deadline_ms=clock.monotonic_ms() + 60_000)


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([PAGE], Verdict.OK),
        ([BROKEN, THROTTLED, PAGE], Verdict.OK),
        ([Cause.CONNECTION_CLOSED, PAGE], Verdict.OK),
        ([UNAUTHORIZED, PAGE], Verdict.OK),
        ([UNAUTHORIZED, UNAUTHORIZED], Verdict.REFUSED),
        ([Reply(403)], Verdict.REFUSED),
        ([Reply(404)], Verdict.GONE),
        ([Reply(406)], Verdict.FATAL),
    ],
)
def test_an_answer_is_returned_whatever_it_is(answers: list[Reply | Cause], verdict: Verdict) -> None:
    """It is tried again where that helps: a failure, too many calls, the first 401."""
    for call in (V2.neutral_call, OTHER_CALL):
        transport = Answering(*answers)
        assert looked(transport, call).verdict is verdict
        assert transport.answers == []


@pytest.mark.parametrize(
    ("answers", "cause"),
    [([BROKEN] * 3, Cause.SERVER_ERROR), ([BROKEN, Cause.TIMED_OUT], Cause.TIMED_OUT)],
)
def test_an_api_that_fails_is_not_waited_for(answers: list[Reply | Cause], cause: Cause) -> None:
    """Three failures are enough, or one that took twenty seconds."""
    with pytest.raises(RetryError) as failed:
        looked(Answering(*answers, PAGE), V2.neutral_call)
    assert failed.value.cause is cause


def test_a_day_that_is_used_up_is_no_answer() -> None:
    """Nobody may call before it ends."""
    with pytest.raises(WaitError) as wait:
        looked(Answering(USED_UP, PAGE), V2.neutral_call)
    assert wait.value.reason is WaitReason.QUOTA


def missing(refused: set[str]) -> dict[str, str | None]:
    """What is missing by area, where calls of these paths are refused. Everything else is empty."""
    asked: list[str] = []

    def look(call: Call[T], /) -> Look[T]:
        asked.append(call.path)
        if any(call.path.endswith(path) for path in refused):
            return Look(Verdict.REFUSED, 403, "access_denied", None)
        body: dict[str, object] = {"contacts": [], "campaigns": [], "bulk_email_campaign_summaries": []}
        return Look(Verdict.OK, 200, "", call.read(body))

    found = list(v3_permissions(look))
    assert len(asked) <= 6
    return {found.area: found.lacks for found in found if found.look.is_refused}


def test_two_calls_tell_a_scope_from_a_privilege() -> None:
    """The scope is there if either of them is accepted."""
    sent, emails = "email_campaign_summaries", "/emails"
    assert missing(set()) == {}
    assert missing({"/contacts"}) == {"contacts": "contacts:read"}
    assert missing({"/contacts", "/activity_details"}) == {"contacts": "contact_data"}
    assert missing({sent}) == {"reports": "ui:campaign:metrics"}
    assert missing({emails}) == {"campaigns": "campaign:read"}
    assert missing({sent, emails}) == {
        "campaigns": "campaign_data",
        "reports": "campaign_data",
    }
