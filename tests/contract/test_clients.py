"""What both clients do, v2's and v3's: one suite over real HTTP, on one simulated account.

Waits are skipped. Where the two differ, a table names the difference and why.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contact_activity.domain.activity import Activity, ActivityType
from contact_activity.domain.answers import CampaignsPage, ContactsPage, Refusal, TrackingPage
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import SummaryKind, SummaryReport
from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.watermark import ALL_REPORT
from contact_activity.errors import FatalError, RefusedError, RetryError, WaitError
from contact_activity.ports import Source
from contact_activity.run.tokens import bearer_tokens
from contact_activity.settings import V3Credentials, read_settings
from contact_activity.simulated import (
    Campaign,
    Cursor,
    Fault,
    Kind,
    Link,
    Reply,
    Role,
    Row,
    Server,
    SimulatedAccount,
    Step,
    Switches,
    TokenSwitches,
    V3Switches,
    activity_uuid,
    campaign_uuid,
    contact_uuid,
    error,
)
from contact_activity.simulated.http_server import Incoming
from contact_activity.simulated.quota import Over
from contact_activity.simulated.server import Step as Scripted
from contact_activity.simulated.times import to_ms
from contact_activity.simulated.v3_replies import over_limit, single, unauthorized
from tests.support.clients import (
    V2,
    V3,
    VERSIONS,
    HastyClock,
    Version,
    activities_in,
    key_of_activity,
    walked,
)
from tests.support.running import (
    ACCESS_TOKEN,
    API_KEY,
    NOW,
    account_of,
    key_of_row,
    key_of_v3_row,
    served,
)

ADA, GRACE, ALAN, NOBODY = "1001", "1002", "1003", "1999"
NEWS, OTHER, NOTHING = "1117000000001", "1117000000002", "1117999999999"
SENT_AT = NOW - timedelta(days=20)
# Enough for four tries of a call that fails.
FOR_MS = 4_000
# More than a call tries.
MANY = 60
SECRETS = (API_KEY, ACCESS_TOKEN, "example.org", "127.0.0.1", "http:")


def an_account() -> SimulatedAccount:
    """Two contacts who did all of it with two campaigns, and one who was sent one of them."""
    account = SimulatedAccount()
    for name, contact_id in (("ada", ADA), ("grace", GRACE), ("alan", ALAN)):
        account.add_contact(f"{name}@example.org", contact_id=contact_id, at=NOW - timedelta(days=90))
    links = [Link("0", "https://example.org/a"), Link("7", "https://example.org/b")]
    for place, campaign_id in enumerate((NEWS, OTHER)):
        sent_at = (SENT_AT + timedelta(days=place)).replace(second=0, microsecond=0)
        account.add_campaign(f"News {place}", campaign_id=campaign_id, sent_at=sent_at, links=links)
        for minutes, contact_id in enumerate((ADA, GRACE)):
            add_rows(account, contact_id, campaign_id, sent_at + timedelta(minutes=minutes))
    account.add_row(Kind.SEND, ALAN, NEWS, at=SENT_AT)
    return account


def add_rows(account: SimulatedAccount, contact_id: str, campaign_id: str, at: datetime) -> None:
    for hours, kind in enumerate(Kind):
        account.add_row(kind, contact_id, campaign_id, at=at + timedelta(hours=hours))
    for hours in (7, 8, 9):
        account.add_row(Kind.OPEN, contact_id, campaign_id, at=at + timedelta(hours=hours))
    for hours, link_id in ((10, "0"), (10, "7"), (11, "7")):
        account.add_row(Kind.CLICK, contact_id, campaign_id, at=at + timedelta(hours=hours), link_id=link_id)


# --- what is asked --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Of:
    """Whose report is asked for, by v2's ids."""

    contact: str = ADA
    campaign: str = NEWS


ADAS, GRACES = Of(), Of(GRACE, OTHER)
Ask = Callable[[Source, Version, Of, str | None, int], object]


def _summary(kind: SummaryKind) -> Ask:
    return lambda source, version, of, _, until_ms: source.contact_summary(
        version.contact_id(of.contact), kind, deadline_ms=until_ms
    )


PAGED: Mapping[str, Ask] = {
    "contacts": lambda source, _, of, next_, until_ms: source.contacts(  # noqa: ARG005
        since_ms=None, next_=next_, deadline_ms=until_ms
    ),
    "tracking": lambda source, version, of, next_, until_ms: source.tracking(
        version.contact_id(of.contact), ALL_REPORT, since_ms=None, next_=next_, deadline_ms=until_ms
    ),
    "campaigns": lambda source, _, of, next_, until_ms: source.campaigns(  # noqa: ARG005
        since_ms=None, next_=next_, deadline_ms=until_ms
    ),
    "campaign report": lambda source, version, of, next_, until_ms: source.campaign_report(
        version.mailing_id(of.campaign),
        ActivityType.OPENED,
        since_ms=None,
        next_=next_,
        deadline_ms=until_ms,
    ),
}
ASKS: Mapping[str, Ask] = {
    **PAGED,
    "campaign": lambda source, version, of, _, until_ms: source.campaign(
        version.campaign_id(of.campaign), deadline_ms=until_ms
    ),
    "contact summary": _summary(SummaryKind.CONTACT),
    "summary by campaign": _summary(SummaryKind.CONTACT_CAMPAIGN),
    "campaign summary": lambda source, version, of, _, until_ms: source.campaign_summaries(
        [version.mailing_id(of.campaign)], deadline_ms=until_ms
    )[version.mailing_id(of.campaign)],
    "probe": lambda source, _, of, next_, until_ms: source.probe(deadline_ms=until_ms),  # noqa: ARG005
}


@dataclass
class Client:
    """A client of one version, the server that it asks, and its time."""

    version: Version
    server: Server
    source: Source
    clock: HastyClock
    _calm: dict[tuple[str, Of], tuple[object, str]] = field(default_factory=dict)

    def ask(self, name: str, of: Of = ADAS, *, next_: str | None = None, for_ms: int = FOR_MS) -> object:
        """An answer, or what was raised."""
        until_ms = self.clock.monotonic_ms() + for_ms
        try:
            return ASKS[name](self.source, self.version, of, next_, until_ms)
        except (RetryError, FatalError, WaitError) as raised:
            told = repr(raised)
            assert not [secret for secret in SECRETS if secret in told], told
            return raised

    def outcome(self, name: str, of: Of = ADAS, *, next_: str | None = None, for_ms: int = FOR_MS) -> str:
        return outcome_of(self.ask(name, of, next_=next_, for_ms=for_ms))

    def pages(self, name: str, of: Of = ADAS) -> list[Any]:
        return walked(lambda next_: self.ask(name, of, next_=next_))

    def tracked(
        self, contact_id: str, report: str = ALL_REPORT, since_ms: int | None = None
    ) -> list[Activity]:
        """What a contact (by this version's id) did, from all pages."""
        until_ms = self.clock.monotonic_ms() + DAY_MS
        read = partial(self.source.tracking, contact_id, report, since_ms=since_ms, deadline_ms=until_ms)
        return activities_in(walked(lambda next_: read(next_=next_)))

    def reported(self, mailing_id: str, type_: ActivityType, since_ms: int | None = None) -> list[Activity]:
        """What was done with a mailing (by this version's id), from all pages."""
        until_ms = self.clock.monotonic_ms() + DAY_MS
        read = partial(
            self.source.campaign_report, mailing_id, type_, since_ms=since_ms, deadline_ms=until_ms
        )
        return activities_in(walked(lambda next_: read(next_=next_)))

    def calm(self, name: str, of: Of = ADAS) -> object:
        """What is answered while nothing goes wrong."""
        return self._calmly(name, of)[0]

    def path(self, name: str, of: Of = ADAS) -> str:
        """Where a call goes."""
        return self._calmly(name, of)[1]

    def _calmly(self, name: str, of: Of) -> tuple[object, str]:
        if (name, of) not in self._calm:
            self._calm[name, of] = self.ask(name, of), self.server.calls[-1].path
        return self._calm[name, of]

    def right_answer(self, name: str, of: Of = ADAS, *, next_: str | None = None) -> bytes:
        """The body with which the server answers a call."""
        self.ask(name, of, next_=next_)
        call = self.server.calls[-1]
        incoming = Incoming(
            "GET", call.path, call.query, API_KEY, f"Bearer {ACCESS_TOKEN}", "application/json"
        )
        return self.server.answer(incoming).sent

    def script(self, name: str, *steps: Scripted) -> None:
        self.server.script(self.path(name), *steps)


def outcome_of(answer: object) -> str:
    match answer:
        case Refusal():
            return answer.name.lower()
        case RefusedError():
            return "refused"
        case FatalError():
            return "fatal"
        case RetryError():
            return f"retry: {answer.cause and answer.cause.value}"
        case WaitError():
            return f"wait: {answer.reason}"
    return "a value"


@contextmanager
def clients_of(
    account: SimulatedAccount, *versions: Version, switches: Switches | None = None, **options: Any
) -> Iterator[list[Client]]:
    """A client of each version, which all ask one server."""
    with ExitStack() as stack:
        server = stack.enter_context(served(account, switches, calls_per_second=100_000, **options))
        clocks = [HastyClock() for _ in versions]
        sources = [
            stack.enter_context(version.source(version.base_url(server), clock, jitter=lambda: 0.5))
            for version, clock in zip(versions, clocks, strict=True)
        ]
        parts = zip(versions, sources, clocks, strict=True)
        yield [Client(version, server, source, clock) for version, source, clock in parts]


EXACT = V3Switches(step=Step.MILLISECOND)
SMALL_PAGES = Switches(max_page_rows=1, summary_every_h=0, slow_s=0.3, v3=EXACT)


@pytest.fixture(scope="module", params=VERSIONS, ids=str)
def shared_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with clients_of(an_account(), request.param, switches=SMALL_PAGES, calls_per_day=1_000_000) as (client,):
        yield client


@pytest.fixture
def client(shared_client: Client) -> Iterator[Client]:
    """A client of either version. Each list and report has several pages."""
    yield shared_client
    shared_client.server.calm()
    shared_client.server.restore_token()


# --- what an answer means -------------------------------------------------------------------------

TEXT = "refused for ada@example.org"
QPS, RATE = "mashery.not.authorized.over.qps", "mashery.not.authorized.over.ratelimit"
ANSWER = "retry: the answer cannot be used"
CLOSED = "retry: the connection was closed"
SERVER = "retry: the API answers with server errors"
TIME, QUOTA, CREDENTIAL = "wait: time", "wait: quota", "wait: credential"
VALUE = "a value"


@dataclass(frozen=True)
class Answer:
    """What v2 and v3 send, and the outcome of a call that gets it once, and each time."""

    v2: Scripted
    v3: Scripted
    once: str
    ever: str

    def of(self, version: Version) -> Scripted:
        return self.v2 if version is V2 else self.v3


def both(step: Scripted, once: str, ever: str) -> Answer:
    return Answer(step, step, once, ever)


def as_200(v2: Reply, v3: Reply, once: str, ever: str) -> Answer:
    return Answer(replace(v2, status=200), replace(v3, status=200), once, ever)


V2_401 = error(401, "http.status.authentication.invalid_token", TEXT)
V2_403, V3_403 = error(403, "http.status.forbidden", TEXT), single(403, "access_denied", TEXT)
V2_404, V3_404 = error(404, "http.status.not_found", TEXT), error(404, "reportingsvc.not_found", TEXT)
V2_400 = error(400, "http.status.bad_request", TEXT)
V3_400 = error(400, "reportingsvc.validation.error", TEXT)
TOO_FAST_FOR_3_S = Reply(429, [], headers={"Retry-After": "3"})
ANSWERS = {
    "too many calls in a second": both(Fault.OVER_QPS, VALUE, TIME),
    "429": both(Fault.TOO_MANY, VALUE, TIME),
    "the day is used up": Answer(error(403, RATE, TEXT), over_limit(Over.DAY, None), QUOTA, QUOTA),
    "401": both(Fault.UNAUTHORIZED, VALUE, "refused"),
    "403": Answer(V2_403, V3_403, "refused", "refused"),
    "404": Answer(V2_404, V3_404, "gone", "gone"),
    "400": Answer(V2_400, V3_400, "fatal", "fatal"),
    "406": both(error(406, "http.status.not_acceptable", TEXT), "fatal", "fatal"),
    "500": both(Fault.SERVER_ERROR, VALUE, SERVER),
    "502 without a body": both(Fault.BAD_GATEWAY, VALUE, SERVER),
    "503 with HTML": both(Fault.UNAVAILABLE_HTML, VALUE, SERVER),
    "a redirect": both(Reply(302, b"", headers={"Location": "/elsewhere"}), VALUE, ANSWER),
    "HTML": both(Reply(200, "<html>Sign in</html>", "text/html"), VALUE, ANSWER),
    "no body": both(Fault.EMPTY_BODY, VALUE, ANSWER),
    "half of the JSON": both(Fault.TRUNCATED_JSON, VALUE, ANSWER),
    "half of the body": both(Fault.CUT_CONNECTION, VALUE, CLOSED),
    "a closed connection": both(Fault.CLOSED_CONNECTION, VALUE, CLOSED),
    "{}": both(Reply(200, {}), VALUE, ANSWER),
    "[]": both(Reply(200, []), VALUE, ANSWER),
    "200: too many calls": as_200(error(200, QPS, TEXT), over_limit(Over.SECOND, None), VALUE, TIME),
    "200: the day is used up": as_200(error(200, RATE, TEXT), over_limit(Over.DAY, None), QUOTA, QUOTA),
    "200: 401": as_200(V2_401, unauthorized(1), VALUE, "refused"),
    "200: 403": as_200(error(200, "mashery.not.authorized", TEXT), V3_403, VALUE, "refused"),
    "200: 404": as_200(V2_404, V3_404, "gone", "gone"),
    "200: 400": as_200(V2_400, V3_400, "fatal", "fatal"),
    "200: another error": both(Reply(200, {"error_key": "busy"}), VALUE, ANSWER),
}
# Whoever has no list has the wrong address; and the neutral call, which decides what a refusal means, asks
# for contacts too.
EITHER: Mapping[tuple[str, str], str] = {
    (name, of): "fatal" for name in ("404", "200: 404") for of in ("contacts", "campaigns")
}
EVER: Mapping[tuple[str, str], str] = {
    **EITHER,
    **{(name, "contacts"): CREDENTIAL for name in ("401", "403", "200: 401", "200: 403")},
}
# The outcome in this version, and why it is not the other's.
DIFFERENCES: Mapping[tuple[Version, str, str], tuple[str, str]] = {
    (V2, "[]", "summary by campaign"): (VALUE, "v2 sends a bare array, empty for a contact without activity"),
}
ASKED = [asked for asked in ASKS if asked != "probe"]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_one_outcome(client: Client, name: str) -> None:
    """Whatever is asked for: got once, then each time. A value that comes at last is the right one."""
    step = ANSWERS[name].of(client.version)
    different = {
        of: outcome
        for (version, answer, of), (outcome, _) in DIFFERENCES.items()
        if (version, answer) == (client.version, name)
    }
    found, expected = {}, {}
    for asked in ASKED:
        calm = client.calm(asked)
        client.script(asked, step)
        once = client.ask(asked)
        client.server.calm()
        client.script(asked, *[step] * MANY)
        found[asked] = outcome_of(once), client.outcome(asked)
        client.server.calm()
        usual = EITHER.get((name, asked), ANSWERS[name].once), EVER.get((name, asked), ANSWERS[name].ever)
        expected[asked] = (different[asked], different[asked]) if asked in different else usual
        assert outcome_of(once) != VALUE or once == calm or asked in different
    assert found == expected


PROBED = {
    "too many calls in a second": ANSWER,
    "the day is used up": QUOTA,
    "401": CREDENTIAL,
    "403": CREDENTIAL,
    "404": ANSWER,
    "500": SERVER,
    "half of the body": CLOSED,
    "no body": ANSWER,
}


@pytest.mark.parametrize("name", PROBED)
def test_a_probe_is_one_call(client: Client, name: str) -> None:
    """Nobody waits for its answer, so it is not tried again. Another call of v3 tells the right of a 403."""
    assert client.outcome("probe") == VALUE
    client.script("contacts", *[ANSWERS[name].of(client.version)] * MANY)
    before = len(client.server.calls)
    assert client.outcome("probe") == PROBED[name]
    has_rights = client.version.name == "v3" and name == "403"
    assert len(client.server.calls) == before + 1 + has_rights


def test_too_fast_slows_everybody_down(client: Client) -> None:
    """By a second, or by what the API asks for."""
    for step, least_ms in ((Fault.OVER_QPS, 1_000), (TOO_FAST_FOR_3_S, 3_000)):
        client.script("tracking", step)
        begun_ms = client.clock.monotonic_ms()
        assert client.ask("tracking") == client.calm("tracking")
        assert least_ms <= client.clock.monotonic_ms() - begun_ms < least_ms + 2_000


def test_too_fast_slows_everybody_down_where_a_right_is_asked_for() -> None:
    """The call that tells which right is missing is one as any other."""
    telling = "/v3/reports/contact_reports/00000000-0000-0000-0000-000000000000/activity_details"
    with clients_of(an_account(), V3) as (client,):
        client.script("contacts", V3_403)
        client.server.script(telling, TOO_FAST_FOR_3_S)
        begun_ms = client.clock.monotonic_ms()
        assert client.outcome("probe") == CREDENTIAL
        assert client.outcome("probe") == VALUE
        assert telling in [call.path for call in client.server.calls]
    assert client.clock.monotonic_ms() - begun_ms >= 3_000


def test_a_used_up_day_is_asked_about_after_an_hour(client: Client) -> None:
    """While our own count has calls left: somebody else uses them, or the day ends at another time."""
    client.script("tracking", ANSWERS["the day is used up"].of(client.version))
    wait = client.ask("tracking")
    assert isinstance(wait, WaitError)
    assert wait.until_ms is not None
    assert 3_500_000 < wait.until_ms - client.clock.now_ms() <= HOUR_MS


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(("theirs", "ours", "calls"), [(3, 1_000, 4), (1_000, 3, 3)])
def test_no_call_goes_out_once_the_day_is_used_up(
    version: Version, theirs: int, ours: int, calls: int
) -> None:
    """By our own count: without a call. By the API's: with the one that it refuses."""
    clock, limits = HastyClock(), Limits(1_000, ours)
    with (
        served(an_account(), calls_per_day=theirs) as server,
        version.source(version.base_url(server), clock, limits=limits) as source,
    ):
        client = Client(version, server, source, clock)
        assert [client.outcome("tracking") for _ in range(4)] == [VALUE] * 3 + [QUOTA]
        assert len(server.calls) == calls


# --- credentials ----------------------------------------------------------------------------------


def test_a_dead_credential_is_waited_for(client: Client) -> None:
    """Whatever is asked for, and until it is accepted again."""
    for asked in ASKED:
        client.calm(asked)
    client.server.revoke_token()
    assert {asked: client.outcome(asked) for asked in ASKS} == dict.fromkeys(ASKS, CREDENTIAL)
    client.server.restore_token()
    assert client.outcome("probe") == VALUE
    assert client.ask("tracking") == client.calm("tracking")


def test_a_token_is_renewed_in_v3_alone(tmp_path: Path) -> None:
    """v2's keys live until somebody ends them; v3's tokens live for a day, and a new one is fetched."""
    with served(an_account(), tokens=TokenSwitches(rate_limits=False)) as server:
        clock, issued = HastyClock(), server.authorization.issue("simulated-public-client")
        settings = read_settings({"CONSTANT_CONTACT_TOKEN_URL": server.token_url}, is_logged_in=True)
        given = V3Credentials("simulated-public-client", refresh_token=issued.refresh_token)
        tokens = bearer_tokens(tmp_path, settings, given, clock)
        with V3.source(V3.base_url(server), clock, tokens=tokens) as source:
            client = Client(V3, server, source, clock)
            calm = client.ask("tracking", for_ms=60_000)
            assert outcome_of(calm) == VALUE
            server.authorization.revoke_access_tokens()
            assert client.ask("tracking", for_ms=60_000) == calm
            server.authorization.revoke_families()
            assert {client.outcome(asked, for_ms=60_000) for asked in ASKS} == {CREDENTIAL}


# --- pages that are not what was asked for --------------------------------------------------------

# Of whom a page is, tells each of its rows, or the page itself.
NAMED = (
    "tracking",
    "campaign report",
    "campaign",
    "contact summary",
    "summary by campaign",
    "campaign summary",
)
UNNAMED = {(V2, "campaign summary"): "v2's has counts and nothing else"}


@pytest.mark.parametrize("asked", NAMED)
def test_a_page_of_another_is_broken(client: Client, asked: str) -> None:
    """Of another contact or another campaign. None of it is used, and it is asked for again."""
    calm = client.calm(asked)
    of_another = Reply(200, client.right_answer(asked, GRACES))
    client.script(asked, of_another)
    is_named = (client.version, asked) not in UNNAMED
    assert (client.ask(asked) == calm) is is_named
    client.server.calm()
    client.script(asked, *[of_another] * MANY)
    assert client.outcome(asked) == (ANSWER if is_named else VALUE)


@pytest.mark.parametrize("asked", PAGED)
def test_a_row_that_cannot_be_read_costs_no_other(client: Client, asked: str) -> None:
    """It is counted, and told by a digest; the list of campaigns leaves it out."""
    calm = client.calm(asked)
    body = json.loads(client.right_answer(asked))
    (rows,) = (part for part in body.values() if isinstance(part, list))
    rows += [7, {"error_key": "http.status.not_found"}]
    client.script(asked, Reply(200, body))
    page = client.ask(asked)
    assert rows_of(page) == rows_of(calm)
    match page:
        case TrackingPage():
            assert len(page.unreadable) == 2
        case ContactsPage():
            assert page.unreadable == 2


@pytest.mark.parametrize("asked", PAGED)
def test_repeated_rows_are_shown_as_they_are(client: Client, asked: str) -> None:
    """Whoever reads knows what is known; nothing else is lost or changed."""
    client.script(asked, Fault.REPEATED_ROWS)
    assert set(rows_of(client.ask(asked))) == set(rows_of(client.calm(asked)))


def rows_of(page: object) -> tuple[object, ...]:
    match page:
        case TrackingPage():
            return page.activities
        case ContactsPage():
            return page.contacts
        case CampaignsPage():
            return page.campaigns
    pytest.fail(f"no page: {page!r}")


# --- cursors and links ----------------------------------------------------------------------------


def cursor_of(page: object) -> str:
    cursor = getattr(page, "next", None)
    assert isinstance(cursor, str)
    return cursor


@pytest.mark.parametrize("asked", PAGED)
def test_a_cursor_that_is_refused_has_expired(client: Client, asked: str) -> None:
    """It is never taken for the end, nor for a contact or a campaign that is gone."""
    cursor = cursor_of(client.calm(asked))
    for fault in (Fault.NEXT_REFUSED_400, Fault.NEXT_REFUSED_404):
        client.script(asked, fault)
        assert client.outcome(asked, next_=cursor) == "next_expired"
    assert client.outcome(asked, next_=cursor) == VALUE


@pytest.mark.parametrize("asked", PAGED)
def test_a_cursor_that_comes_again_is_shown(client: Client, asked: str) -> None:
    """As it was sent, so that whoever follows it sees that the pages go round."""
    cursor = cursor_of(client.calm(asked))
    client.script(asked, Fault.REPEATED_NEXT)
    assert cursor_of(client.ask(asked, next_=cursor)) == cursor


@pytest.mark.parametrize("asked", PAGED)
def test_a_link_leads_nowhere_else(client: Client, asked: str) -> None:
    """Neither its host nor its path is followed: the next page comes from where this one came."""
    path, calm = client.path(asked), client.calm(asked)
    body = client.right_answer(asked).replace(f'"{path}?'.encode(), b'"http://evil.example.com:1/v9/else?')
    assert b"evil" in body
    client.script(asked, Reply(200, body))
    found = client.ask(asked)
    assert found == calm
    assert client.outcome(asked, next_=cursor_of(found)) == VALUE
    assert client.server.calls[-1].path == path


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("status", [400, 404])
def test_a_cursor_that_grew_old_has_expired(version: Version, status: int) -> None:
    """Whatever status says so; the walk from its beginning has all."""
    times = [NOW]
    switches = replace(SMALL_PAGES, next_lifetime_s=60, expired_next_status=status)
    with clients_of(an_account(), version, switches=switches, now=lambda: times[-1]) as (client,):
        cursors = {asked: cursor_of(client.ask(asked)) for asked in PAGED}
        times.append(NOW + timedelta(seconds=61))
        outcomes = {client.outcome(asked, next_=cursor) for asked, cursor in cursors.items()}
        assert outcomes == {"next_expired"}
        assert len(client.pages("contacts")) == 3


@pytest.mark.parametrize(
    "steps",
    [
        (None, Fault.NEXT_REFUSED_400),
        (None, Fault.NEXT_REFUSED_404),
        (None, *[Fault.REPEATED_NEXT] * MANY),
    ],
)
@pytest.mark.parametrize("asked", ["contact summary", "summary by campaign"])
def test_a_summary_whose_pages_do_not_hold_is_read_again(asked: str, steps: tuple[Scripted, ...]) -> None:
    """v3's has pages, v2's has none. Half of a summary would be a wrong one."""
    with clients_of(an_account(), V3, switches=SMALL_PAGES) as (client,):
        client.script(asked, *steps)
        assert client.outcome(asked) == "retry: None"
        client.server.calm()
        assert client.ask(asked) == client.calm(asked)


@pytest.mark.parametrize("asked", ["contact summary", "summary by campaign"])
def test_a_summary_counts_repeated_rows_once(asked: str) -> None:
    """Pages of v3 shift when a mailing is sent; v2's array has none."""
    with clients_of(an_account(), V3, switches=SMALL_PAGES) as (client,):
        calm = client.calm(asked)
        client.script(asked, *[Fault.REPEATED_ROWS] * MANY)
        assert client.ask(asked) == calm


# --- the deadline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKS)
def test_a_deadline_that_has_come_costs_no_call(client: Client, asked: str) -> None:
    """It is a lack of time, and no failure."""
    calls = len(client.server.calls)
    assert client.outcome(asked, for_ms=0) == TIME
    assert len(client.server.calls) == calls


@pytest.mark.parametrize("asked", ["tracking", "campaign report"])
def test_a_deadline_that_comes_ends_the_call(client: Client, asked: str) -> None:
    """In the middle of an answer it is a lack of time; after a failure it is that failure."""
    client.path(asked)
    client.script(asked, Fault.SLOW_BODY)
    assert client.outcome(asked, for_ms=100) == TIME
    client.script(asked, *[Fault.SERVER_ERROR] * MANY)
    begun_ms = client.clock.monotonic_ms()
    assert client.outcome(asked, for_ms=1_000) == SERVER
    assert client.clock.monotonic_ms() - begun_ms <= 1_000


# --- who is gone ----------------------------------------------------------------------------------


def test_whoever_is_not_there_is_gone(client: Client) -> None:
    """And is not asked for again."""
    for asked in NAMED:
        before = len(client.server.calls)
        assert client.outcome(asked, Of(NOBODY, NOTHING)) == "gone"
        assert len(client.server.calls) == before + 1


def test_a_deleted_contact_is_readable_until_it_is_forgotten() -> None:
    account = an_account()
    with clients_of(account, *VERSIONS) as clients:
        account.remove_contact(ADA, at=NOW)
        for client in clients:
            assert len(rows_of(client.ask("tracking"))) == len(account.rows_of_contact(ADA, to_ms(NOW)))
            listed = {of.id for page in client.pages("contacts") for of in page.contacts}
            assert client.version.contact_id(ADA) in listed
        account.forget_contact(ADA)
        assert {client.outcome("tracking") for client in clients} == {"gone"}


# --- one account, read through both ---------------------------------------------------------------


def a_large_account() -> SimulatedAccount:
    """With automations, late rows, deleted contacts and one campaign that was sent again."""
    account = account_of(25)
    sent_at, again_at = NOW - timedelta(days=9), NOW - timedelta(days=6)
    sent_ms, again_ms = to_ms(sent_at), to_ms(again_at)
    account.put_campaign(Campaign("5", "Twice", "SENT", sent_ms, again_ms, sent_ms, resent_ms=(again_ms,)))
    for place, contact in enumerate(account.contacts()):
        for at in (sent_at, again_at)[: 1 + place % 2]:
            for kind, hours in ((Kind.SEND, 0), (Kind.OPEN, 2), (Kind.OPEN, 2)):
                account.add_row(kind, contact.id, "5", at=at + timedelta(hours=hours))
    account.remove_contact(account.contacts()[1].id, at=NOW - timedelta(days=1))
    return account


def without_link(key: tuple[str, ...]) -> tuple[str, ...]:
    return key[:4]


def told_by(activity: Activity) -> tuple[object, ...]:
    """What both versions tell of an activity: v3's reports have no address of today, and fewer words."""
    has_address = activity.type not in (ActivityType.FORWARDED, ActivityType.UNSUBSCRIBED)
    return (
        activity.type,
        activity.email_address if has_address else None,
        activity.link and activity.link.url,
        activity.bounce and (activity.bounce.code, activity.bounce.category),
        (activity.unsubscribe and activity.unsubscribe.reason) or "",
    )


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("step", "cursor"),
    [
        (Step.MILLISECOND, Cursor.TIME),
        (Step.MINUTE, Cursor.OFFSET),
        pytest.param(Step.MILLISECOND, Cursor.OFFSET, marks=LONG),
        pytest.param(Step.SECOND, Cursor.TIME, marks=LONG),
        pytest.param(Step.SECOND, Cursor.OFFSET, marks=LONG),
        pytest.param(Step.MINUTE, Cursor.TIME, marks=LONG),
    ],
)
def test_an_account_is_the_same_through_both(step: Step, cursor: Cursor) -> None:
    """Each activity, by its identity in v2 and the one that goes with it in v3, and by how often it is there.

    A contact's row of v3 names no link. Stamps of a minute join what v2 tells apart.
    """
    account = a_large_account()
    switches = Switches(max_page_rows=60, cursor=cursor, v3=V3Switches(step=step))
    ids = [contact.id for contact in account.contacts()]
    with clients_of(account, *VERSIONS, switches=switches) as (v2, v3):
        of_v2 = [activity for id_ in ids for activity in v2.tracked(id_)]
        poor = [activity for id_ in ids for activity in v3.tracked(contact_uuid(id_))]
        mailings = {activity.campaign_id or "" for activity in poor}
        of_v3 = [of for mailing in mailings for type_ in ActivityType for of in v3.reported(mailing, type_)]
        assert v2.server.violations == []
    rows = account.truth(NOW)
    assert len(of_v2) == len(poor) == len(of_v3) == len(rows)
    mapped = {key_of_row(row.key): key_of_v3_row(row, account, step) for row in rows}
    keys = [key_of_activity(activity) for activity in of_v2]
    assert set(keys) == set(mapped)
    assert {mapped[key] for key in keys} == set(map(key_of_activity, of_v3))
    assert Counter(without_link(mapped[key]) for key in keys) == Counter(
        without_link(key_of_activity(activity)) for activity in poor
    )
    if step is Step.MILLISECOND:
        told = {mapped[key_of_activity(activity)]: told_by(activity) for activity in of_v2}
        assert {key_of_activity(activity): told_by(activity) for activity in of_v3} == told


@pytest.mark.parametrize("rows", [4, 60])
def test_every_contact_is_listed_once(rows: int) -> None:
    """Those that are deleted too."""
    account = a_large_account()
    with clients_of(account, *VERSIONS, switches=Switches(max_page_rows=rows)) as clients:
        for client in clients:
            listed = [of.id for page in client.pages("contacts") for of in page.contacts]
            assert listed == [client.version.contact_id(of.id) for of in account.contacts()]


@pytest.mark.parametrize("rows", [4, 60])
def test_every_campaign_that_was_sent_is_listed_once(rows: int) -> None:
    """Last sent first. v2's list tells when a campaign was changed, v3's when it was sent last."""
    account = a_large_account()
    sent = [of for of in account.campaigns() if of.status == "SENT" and of.listed]
    sent.sort(key=lambda of: of.last_run_ms(to_ms(NOW)) or 0, reverse=True)
    with clients_of(account, *VERSIONS, switches=Switches(max_page_rows=rows)) as (v2, v3):
        of_v2, of_v3 = (
            [of for page in client.pages("campaigns") for of in page.campaigns] for client in (v2, v3)
        )
        assert [(of.id, of.modified_ms) for of in of_v2] == [(of.id, of.modified_ms) for of in sent]
        last_ms = [(campaign_uuid(of.id), of.last_run_ms(to_ms(NOW))) for of in sent]
        assert [(of.id, of.sent_ms) for of in of_v3] == last_ms


def test_a_campaign_tells_what_has_reports() -> None:
    """In v2 itself; in v3 its mail, and what was sent again. An automation is no campaign to either."""
    account = a_large_account()
    with clients_of(account, *VERSIONS) as clients:
        for of in account.campaigns():
            found = [client.ask("campaign", Of(campaign=of.id)) for client in clients]
            if not of.listed:
                assert found == [Refusal.GONE] * 2
                continue
            roles = [Role.PRIMARY, Role.RESEND] if of.resent_ms else [Role.PRIMARY]
            mailings = tuple(activity_uuid(of.id, role) for role in roles)
            assert [getattr(sent, "mailings", None) for sent in found] == [(), mailings]


# --- since a time ---------------------------------------------------------------------------------

SINCE = NOW - timedelta(days=5)
# How often a listing of who changed shows each. v2's date is inclusive and v3's is not, which costs nothing:
# listings overlap by an hour. v3 has a list of its own of who unsubscribed; who was deleted is in both.
CHANGED = {
    V2: {"edited": 1, "unsubscribed": 1, "deleted": 1, "edited at that moment": 1},
    V3: {"edited": 1, "unsubscribed": 1, "deleted": 2},
}


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("rows", [1, 60])
def test_who_changed_is_listed(version: Version, rows: int) -> None:
    """Whoever unsubscribed or was deleted has changed."""
    account, late = SimulatedAccount(), SINCE + timedelta(hours=1)
    names = ["untouched", *CHANGED[V2]]
    ids = {
        version.contact_id(account.add_contact("", at=SINCE - timedelta(days=1)).id): name for name in names
    }
    own = dict(zip(names, (of.id for of in account.contacts()), strict=True))
    account.touch_contact(own["edited"], at=late)
    account.touch_contact(own["edited at that moment"], at=SINCE)
    account.set_status(own["unsubscribed"], "OPTOUT", at=late)
    account.remove_contact(own["deleted"], at=late)
    with clients_of(account, version, switches=Switches(max_page_rows=rows)) as (client,):
        until_ms = client.clock.monotonic_ms() + FOR_MS
        pages = walked(
            lambda next_: client.source.contacts(since_ms=to_ms(SINCE), next_=next_, deadline_ms=until_ms)
        )
    assert Counter(ids[of.id] for page in pages for of in page.contacts) == CHANGED[version]


REPORTS = (ALL_REPORT, *(type_.report for type_ in ActivityType))
# v2 does not filter the bounces of a contact, unless they come with all else.
UNFILTERED = {(V2, ActivityType.BOUNCED.report)}


@pytest.mark.parametrize("report", REPORTS)
def test_a_contacts_report_begins_at_a_time(client: Client, report: str) -> None:
    """That of a row, which is in it; the newest come first."""
    account = an_account()
    kinds = [kind for kind in Kind if report in (ALL_REPORT, kind.report)]
    own = [row for row in account.rows_of_contact(ADA, to_ms(NOW)) if row.kind in kinds]
    since_ms = own[len(own) // 2].occurred_ms
    wanted = (
        own if (client.version, report) in UNFILTERED else [of for of in own if of.occurred_ms >= since_ms]
    )
    found = client.tracked(client.version.contact_id(ADA), report, since_ms)
    assert [of.occurred_ms for of in found] == [row.occurred_ms for row in wanted]
    assert Counter(without_link(key_of_activity(of)) for of in found) == Counter(
        without_link(key_in(client.version, row, account)) for row in wanted
    )


@pytest.mark.parametrize("type_", ActivityType)
def test_a_campaigns_report_begins_at_a_time(client: Client, type_: ActivityType) -> None:
    """For each type; the newest come first."""
    account = an_account()
    rows = account.rows_of_campaign(NEWS, to_ms(NOW))
    own = sorted((row for row in rows if row.kind.report == type_.report), key=lambda row: -row.occurred_ms)
    since_ms = own[len(own) // 2].occurred_ms
    found = client.reported(client.version.mailing_id(NEWS), type_, since_ms)
    wanted = [row for row in own if row.occurred_ms >= since_ms]
    assert [of.occurred_ms for of in found] == [row.occurred_ms for row in wanted]
    assert {key_of_activity(of) for of in found} == {key_in(client.version, row, account) for row in wanted}


def key_in(version: Version, row: Row, account: SimulatedAccount) -> tuple[str, ...]:
    return key_of_row(row.key) if version is V2 else key_of_v3_row(row, account, Step.MILLISECOND)


@pytest.mark.parametrize(("version", "beside"), [(V2, 0), (V3, 1)], ids=str)
def test_the_campaigns_of_a_time_are_listed(version: Version, beside: int) -> None:
    """v3's list has no date to ask for: it ends behind the first page that lies before, here of one row."""
    account = a_large_account()
    sent = [of for of in account.campaigns() if of.status == "SENT" and of.listed]
    last_ms = sorted((of.last_run_ms(to_ms(NOW)) or 0 for of in sent), reverse=True)
    assert len(last_ms) > 2
    with clients_of(account, version, switches=Switches(max_page_rows=1)) as (client,):
        until_ms = client.clock.monotonic_ms() + FOR_MS
        pages = walked(
            lambda next_: client.source.campaigns(since_ms=last_ms[1], next_=next_, deadline_ms=until_ms)
        )
    assert sum(len(page.campaigns) for page in pages) == 2 + beside


# --- summaries ------------------------------------------------------------------------------------

# What the two count otherwise in a contact's summary by campaign.
COUNTED_OTHERWISE = {
    "clicks": "v2 counts the links, v3 the clicks",
    "sends": "v2 leaves them out",
    "unsubscribes": "v2 leaves them out",
}


def counts_in(report: object) -> dict[str | None, dict[str, int]]:
    assert isinstance(report, SummaryReport)
    return {of.campaign_id: dict(of.counts.present) for of in report.snapshots}


def test_summaries_count_the_same() -> None:
    """Of a contact, of a campaign, and of both as far as both have a number."""
    with clients_of(an_account(), *VERSIONS, switches=SMALL_PAGES) as (v2, v3):
        for asked in ("contact summary", "campaign summary"):
            (one,), (other,) = (counts_in(client.ask(asked)).values() for client in (v2, v3))
            assert one == other
            assert set(one) == {type_.report for type_ in ActivityType}
        of_v2, of_v3 = (counts_in(client.ask("summary by campaign")) for client in (v2, v3))
        assert {activity_uuid(id_ or "") for id_ in of_v2} == set(of_v3)
        for id_, counts in of_v2.items():
            others = of_v3[activity_uuid(id_ or "")]
            assert {name for name in others if counts.get(name) != others[name]} == set(COUNTED_OTHERWISE)


def test_the_summaries_of_several_campaigns_come_together(client: Client) -> None:
    """Each by its id, and one that is not there is gone. v3 gives ten a call, v2 one."""
    ids = [client.version.mailing_id(id_) for id_ in (NEWS, NOTHING, OTHER)]
    until_ms = client.clock.monotonic_ms() + FOR_MS
    calls = len(client.server.calls)
    first, missing, last = client.source.campaign_summaries(ids, deadline_ms=until_ms).values()
    assert len(client.server.calls) - calls == (3 if client.version is V2 else 1)
    assert first == client.calm("campaign summary")
    assert missing is Refusal.GONE
    assert last == client.calm("campaign summary", Of(campaign=OTHER))
