"""The client and its v2 calls, in virtual time, against a scripted transport."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import parse_qsl, urlsplit

import pytest

from contact_activity.constant_contact import transport
from contact_activity.constant_contact.client import ApiClient
from contact_activity.constant_contact.transport import Connection
from contact_activity.constant_contact.v2 import ConstantContactV2
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.answers import TrackingPage
from contact_activity.domain.campaign import SentCampaign
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.times import HOUR_MS
from contact_activity.errors import Cause, FatalError, RefusedError, RetryError, WaitError, WaitReason
from contact_activity.settings import Credentials
from contact_activity.sqlite.database import Database
from contact_activity.sqlite.store import sqlite_limiter
from tests.support.rows import NOON_MS, row
from tests.support.virtual_clock import VirtualClock

PAGE = (200, json.dumps({"meta": {"pagination": {}}, "results": []}))
REFUSED = (401, '[{"error_key": "http.status.authentication.invalid_token"}]')
FORBIDDEN = (403, "[]")
TOO_FAST = (403, '[{"error_key": "mashery.not.authorized.over.qps"}]')
USED_UP = (403, '[{"error_key": "mashery.not.authorized.over.ratelimit"}]')
BROKEN = (503, "<html>maintenance</html>")
MINUTE_MS = 60_000

Reply = tuple[int, str] | tuple[int, str, dict[str, str]]


class ScriptedTransport:
    """Answers with `script`, then with `always`. `queries` holds the query of each call."""

    def __init__(self, always: Reply = PAGE) -> None:
        self.script: list[Reply] = []
        self.always = always
        self.queries: list[dict[str, str]] = []

    def connected(self, **_: float) -> AbstractContextManager[Connection]:
        return nullcontext(self)

    def is_quiet(self) -> bool:
        return True

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> transport.Reply:  # noqa: ARG002
        self.queries.append(dict(parse_qsl(urlsplit(target).query)))
        status, body, *said = self.script.pop(0) if self.script else self.always
        return transport.Reply(status, dict(*said), body.encode())

    def close(self) -> None:
        pass


class Client:
    """A client with its own clock, limiter and transport."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOON_MS)
        self.transport = ScriptedTransport()
        self.limiter = sqlite_limiter(Database(":memory:"), Limits(4, 10_000), self.clock)
        credentials = Credentials("secret-key", "secret-token")
        self.api = ConstantContactV2(
            ApiClient(
                "https://api.example.org/v2",
                lambda: credentials,
                self.limiter,
                self.clock,
                jitter=lambda: 0.5,
                transport=self.transport,
            )
        )

    def tracking(
        self, *script: Reply, report: str = "all", next_: str | None = None, for_ms: int = MINUTE_MS
    ) -> object:
        self.transport.script = list(script)
        deadline_ms = self.clock.now_ms() + for_ms
        return self.api.tracking("4711", report, since_ms=NOON_MS, next_=next_, deadline_ms=deadline_ms)

    def report(self, type_: ActivityType, *script: Reply, next_: str | None = None) -> object:
        """A page of the report of campaign 51."""
        self.transport.script = list(script)
        return self.api.campaign_report(
            "51", type_, since_ms=NOON_MS, next_=next_, deadline_ms=self.clock.now_ms() + MINUTE_MS
        )


@pytest.fixture
def client() -> Client:
    return Client()


# --- what is asked --------------------------------------------------------------------------------


def test_a_first_page_is_requested_with_limit_and_window(client: Client) -> None:
    """`created_since` is UTC with milliseconds. The bounces have no such filter."""
    client.tracking()
    client.tracking(report="bounces")
    since = {"created_since": "2024-06-12T12:00:00.000Z"}
    assert client.transport.queries == [
        {"limit": "500", "api_key": "secret-key", **since},
        {"limit": "500", "api_key": "secret-key"},
    ]


@pytest.mark.parametrize("type_", ActivityType)
def test_a_report_of_a_campaign_has_a_window_for_each_type(client: Client, type_: ActivityType) -> None:
    """For bounces too: they have the filter here, and who ignores it sends more rows."""
    client.report(type_)
    since = {"created_since": "2024-06-12T12:00:00.000Z"}
    assert client.transport.queries == [{"limit": "500", "api_key": "secret-key", **since}]


def test_a_cursor_is_sent_alone(client: Client) -> None:
    """The API accepts no other parameter beside `next` and the key."""
    client.tracking(next_="abc")
    client.report(ActivityType.OPENED, next_="abc")
    assert client.transport.queries == [{"next": "abc", "api_key": "secret-key"}] * 2


def test_a_page_is_parsed(client: Client) -> None:
    """Readable rows become activities of the contact, the others become digests."""
    page = client.tracking((200, json.dumps({"results": [row(contact_id=4711), {}]})))
    assert isinstance(page, TrackingPage)
    assert [of.contact_id for of in page.activities] == ["4711"]
    assert len(page.unreadable) == 1


# --- a refusal ------------------------------------------------------------------------------------


def test_a_single_refusal_is_not_believed(client: Client) -> None:
    """Under load the API refuses valid tokens at random. A second later it accepts the call."""
    assert client.tracking(REFUSED, PAGE, PAGE)
    assert client.clock.now_ms() >= NOON_MS + 1_000
    assert client.transport.queries[1] == {"limit": "1", "api_key": "secret-key"}


@pytest.mark.parametrize("reply", [REFUSED, FORBIDDEN])
def test_a_refused_neutral_call_means_a_refused_credential(client: Client, reply: Reply) -> None:
    """The neutral call, a second later, is refused too, so a new credential has to be waited for."""
    with pytest.raises(WaitError) as wait:
        client.tracking(reply, reply)
    assert wait.value.reason is WaitReason.CREDENTIAL
    assert client.clock.now_ms() >= NOON_MS + 1_000


@pytest.mark.parametrize("script", [(REFUSED, PAGE, REFUSED, PAGE), (FORBIDDEN, PAGE)])
def test_an_accepted_neutral_call_means_a_refused_resource(client: Client, script: tuple[Reply, ...]) -> None:
    """The error names status and error key, and the credential counts as good."""
    with pytest.raises(RefusedError) as error:
        client.tracking(*script)
    assert str(error.value).startswith(f"the API refuses this resource: {script[0][0]}")
    assert len(client.transport.queries) == len(script)


def test_a_refused_contact_list_is_checked_by_the_neutral_call_too(client: Client) -> None:
    """A credential may be allowed to read one contact, but not to list them all."""
    client.transport.script = [FORBIDDEN, PAGE]
    with pytest.raises(RefusedError):
        client.api.contacts(since_ms=None, next_=None, deadline_ms=NOON_MS + MINUTE_MS)


def test_refusals_of_earlier_calls_do_not_count(client: Client) -> None:
    """An accepted call stands between them, however many there are."""
    for _ in range(3):
        assert client.tracking(REFUSED, PAGE, PAGE)


def test_a_neutral_call_that_is_not_answered_is_made_again(client: Client) -> None:
    """Only a clear answer decides. A broken one, or "too fast", says nothing about the credential."""
    assert client.tracking(REFUSED, BROKEN, TOO_FAST, (200, "{}"), PAGE, PAGE)
    client.transport.always = BROKEN
    with pytest.raises(RetryError) as error:
        client.tracking(REFUSED)
    assert error.value.cause is Cause.SERVER_ERROR


def test_a_neutral_call_can_use_up_the_day(client: Client) -> None:
    """Then the next day has to be waited for, whatever was refused."""
    with pytest.raises(WaitError) as wait:
        client.tracking(REFUSED, USED_UP)
    assert wait.value.reason is WaitReason.QUOTA


def test_a_refusal_near_the_deadline_is_no_failure_of_the_contact(client: Client) -> None:
    """There is no time to check it, so it is a `WaitError`."""
    with pytest.raises(WaitError):
        client.tracking(REFUSED, for_ms=900)


def test_a_probe_learns_whether_the_credential_is_accepted(client: Client) -> None:
    """It makes the neutral call once."""
    deadline_ms = NOON_MS + MINUTE_MS
    client.api.probe(deadline_ms=deadline_ms)
    client.transport.script = [REFUSED, USED_UP, BROKEN]
    for reason in (WaitReason.CREDENTIAL, WaitReason.QUOTA):
        with pytest.raises(WaitError) as wait:
            client.api.probe(deadline_ms=deadline_ms)
        assert wait.value.reason is reason
    with pytest.raises(RetryError):
        client.api.probe(deadline_ms=deadline_ms)
    assert len(client.transport.queries) == 4


# --- limits and errors ----------------------------------------------------------------------------


def test_too_fast_slows_down_all_workers_and_is_retried(client: Client) -> None:
    """The shared pace moves on by a second."""
    assert client.tracking(TOO_FAST)
    assert client.clock.now_ms() >= NOON_MS + 1_000


def test_too_fast_without_end_is_a_lack_of_time(client: Client) -> None:
    """It is a `WaitError`, not a failure, and costs few calls."""
    client.transport.always = TOO_FAST
    with pytest.raises(WaitError) as wait:
        client.tracking()
    assert wait.value.reason is WaitReason.TIME
    assert len(client.transport.queries) <= 60


def test_a_used_up_day_is_probed_after_an_hour_if_our_count_has_calls_left(client: Client) -> None:
    """Somebody else uses the key, or the day of the provider ends at another time."""
    with pytest.raises(WaitError) as wait:
        client.tracking(USED_UP)
    assert (wait.value.reason, wait.value.until_ms) == (WaitReason.QUOTA, NOON_MS + HOUR_MS)


@pytest.mark.parametrize(
    "reply", [BROKEN, (500, "[]"), (200, ""), (200, '{"results": ['), (302, ""), (200, "{}")]
)
def test_a_temporary_failure_is_retried_until_the_deadline(client: Client, reply: Reply) -> None:
    """Back-off keeps the calls few, and the deadline is kept."""
    assert client.tracking(reply, reply)
    client.transport.always = reply
    started_ms = client.clock.now_ms()
    with pytest.raises(RetryError):
        client.tracking()
    assert client.clock.now_ms() <= started_ms + MINUTE_MS
    assert len(client.transport.queries) <= 20


@pytest.mark.parametrize("reply", [(400, ""), (406, "[]"), (409, "{}")])
def test_a_fatal_answer_does_not_show_what_was_sent(client: Client, reply: Reply) -> None:
    """Neither the URL nor a credential is in the error."""
    with pytest.raises(FatalError) as error:
        client.tracking(reply)
    assert str(reply[0]) in str(error.value)
    assert "secret" not in str(error.value)
    assert len(client.transport.queries) == 1


def test_every_call_takes_a_slot(client: Client) -> None:
    """Retries and probes count for the day too."""
    client.tracking(BROKEN, TOO_FAST, REFUSED)
    client.api.probe(deadline_ms=client.clock.now_ms() + MINUTE_MS)
    assert client.limiter.pace().used == len(client.transport.queries) == 6


# --- answers that do not fit the call -------------------------------------------------------------


def paged(*rows: object) -> Reply:
    return (200, json.dumps({"results": rows}))


OF_ANOTHER = paged(row(contact_id=4711), row(contact_id=9))


def test_a_page_with_a_row_of_another_contact_is_read_again(client: Client) -> None:
    """It counts as a failure, and none of its rows are used."""
    page = client.tracking(OF_ANOTHER, paged(row(contact_id="4711")))
    assert isinstance(page, TrackingPage)
    assert len(page.activities) == 1
    client.transport.always = OF_ANOTHER
    with pytest.raises(RetryError) as error:
        client.tracking()
    assert error.value.cause is Cause.ANSWER_UNUSABLE


def test_a_page_with_a_row_of_another_campaign_is_read_again(client: Client) -> None:
    """None of its rows are used. Rows of any contact are."""
    good = [row(campaign_id=51, contact_id=id_) for id_ in (1, "2")]
    page = client.report(ActivityType.OPENED, paged(*good, row(campaign_id=52)), paged(*good, {}))
    assert isinstance(page, TrackingPage)
    assert [(of.campaign_id, of.contact_id) for of in page.activities] == [("51", "1"), ("51", "2")]
    assert len(page.unreadable) == 1
    assert len(client.transport.queries) == 2


def test_another_campaign_is_read_again(client: Client) -> None:
    """The body must be the campaign that was asked for."""
    client.transport.script = [(200, '{"id": 52}'), (200, '{"id": 51}')]
    read = client.api.campaign("51", deadline_ms=NOON_MS + MINUTE_MS)
    assert read == SentCampaign("51", None, {})


@pytest.mark.parametrize("wrap", [lambda error: [error], lambda error: error])
def test_an_error_body_with_status_200_counts_as_an_error(
    client: Client, wrap: Callable[[object], object]
) -> None:
    """Its key decides, as if it had its own status. Without a known key it is a broken page."""

    def error(key: str) -> Reply:
        return (200, json.dumps(wrap({"error_key": key, "error_message": "..."})))

    assert client.tracking(error("mashery.not.authorized.over.qps"))
    assert client.clock.now_ms() >= NOON_MS + 1_000
    assert client.tracking(error("http.status.internal_server_error"))
    with pytest.raises(WaitError) as wait:
        client.tracking(error("mashery.not.authorized.over.ratelimit"))
    assert wait.value.reason is WaitReason.QUOTA
    with pytest.raises(WaitError) as wait:
        client.tracking(*[error("http.status.authentication.invalid_token")] * 2)
    assert wait.value.reason is WaitReason.CREDENTIAL


def test_a_page_whose_rows_look_like_errors_is_a_page(client: Client) -> None:
    """A field of a row says nothing about the answer."""
    rows = [row(contact_id=4711, error_key="mashery.not.authorized.over.ratelimit")]
    assert isinstance(client.tracking(paged(*rows)), TrackingPage)
    assert len(client.transport.queries) == 1


@pytest.mark.parametrize("body", ["{}", "[]", '{"error_key": "busy"}', '{"opens": -1}', '{"opens": "many"}'])
@pytest.mark.parametrize("kind", [SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN])
def test_a_summary_of_another_shape_is_a_failure(client: Client, kind: SummaryKind, body: str) -> None:
    """It is read again later. The summary by campaign may be an empty array."""
    client.transport.always = (200, body)

    def ask() -> object:
        return client.api.contact_summary("4711", kind, deadline_ms=NOON_MS + 10_000)

    if kind is SummaryKind.CONTACT_CAMPAIGN and body == "[]":
        assert ask() == SummaryReport()
    else:
        with pytest.raises(RetryError) as error:
            ask()
        assert error.value.cause is Cause.ANSWER_UNUSABLE
        assert len(client.transport.queries) > 1


# --- how long to wait -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        (429, "", {"retry-after": "40"}),
        (*TOO_FAST, {"retry-after": "Wed, 12 Jun 2024 12:00:40 GMT"}),
        (503, "", {"retry-after": "40"}),
        (503, "", {"retry-after": "Wed, 12 Jun 2024 09:00:40 GMT", "date": "Wed, 12 Jun 2024 09:00:00 GMT"}),
    ],
)
def test_the_api_may_ask_for_more_time(client: Client, reply: Reply) -> None:
    """After "too fast" all workers wait; after 503 only this call does."""
    assert client.tracking(reply)
    waited_ms = client.clock.now_ms() - NOON_MS
    assert 40_000 <= waited_ms <= 41_000


def test_a_wait_beyond_the_deadline_ends_the_call(client: Client) -> None:
    """After 503 it is a failure; after "too fast" it is a lack of time."""
    with pytest.raises(RetryError) as error:
        client.tracking((503, "", {"retry-after": "60"}))
    assert str(error.value) == "the API failed 1 time, at last: the API answers with server errors (503)"
    with pytest.raises(WaitError) as wait:
        client.tracking((429, "", {"retry-after": "60"}))
    assert wait.value.reason is WaitReason.TIME
    assert client.clock.now_ms() < NOON_MS + MINUTE_MS
