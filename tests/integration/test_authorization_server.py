"""The simulated authorisation server of v3, called over real HTTP as a client would."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from contact_activity.simulated import (
    Application,
    Consent,
    Fault,
    Reply,
    Server,
    SimulatedAccount,
    TokenSwitches,
)
from contact_activity.simulated.grants import challenge_of
from contact_activity.simulated.tokens import DEVICE_GRANT, TOKEN_PATH
from tests.support.v3_caller import Clock, V3Caller, calling

CLIENT, SECRET, PUBLIC = "simulated-client", "simulated-secret", "simulated-public-client"
BASIC = (CLIENT, SECRET)
REDIRECT = "http://127.0.0.1:8765/callback"
SCOPES = "contact_data campaign_data account_read offline_access"
VERIFIER = "v" * 64


@dataclass
class Client:
    """An application with a browser. Each call is a second after the last, unless `pace_s` is another."""

    caller: V3Caller
    clock: Clock
    pace_s: float = 1.0
    monotonic_s: list[float] = field(default_factory=lambda: [0.0])

    @property
    def server(self) -> Server:
        return self.caller.server

    def authorize(self, **parameters: str) -> requests.Response:
        asked = {"response_type": "code", "client_id": CLIENT, "redirect_uri": REDIRECT, "scope": SCOPES}
        return requests.get(
            self.server.authorize_url,
            params={**asked, "state": "s1", **parameters},
            allow_redirects=False,
            timeout=10,
        )

    def code(self, **parameters: str) -> str:
        return redirected(self.authorize(**parameters))["code"]

    def post(self, url: str, auth: tuple[str, str] | None, **fields: str) -> requests.Response:
        self.monotonic_s[0] += self.pace_s
        return requests.post(url, data=fields, auth=auth, timeout=10)

    def token(self, auth: tuple[str, str] | None = BASIC, **fields: str) -> requests.Response:
        return self.post(self.server.token_url, auth, **fields)

    def exchange(self, code: str, auth: tuple[str, str] | None = BASIC, **fields: str) -> requests.Response:
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        return self.token(auth, **{**given, **fields})

    def refresh(self, token: str, auth: tuple[str, str] | None = BASIC, **fields: str) -> requests.Response:
        return self.token(auth, grant_type="refresh_token", refresh_token=token, **fields)

    def device(self, scope: str = SCOPES) -> dict[str, Any]:
        answer = self.post(self.server.device_url, None, client_id=PUBLIC, response_type="code", scope=scope)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def poll(self, device_code: str, *, after_s: float = 5) -> requests.Response:
        self.clock.now += timedelta(seconds=after_s)
        return self.token(None, client_id=PUBLIC, device_code=device_code, grant_type=DEVICE_GRANT)

    def may_read(self, access_token: str) -> bool:
        self.caller.token = access_token
        return self.caller.get("/contacts").status_code == 200


Begin = Callable[..., Client]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Serve an empty account, and give a client of its authorisation server."""
    with ExitStack() as stack:

        def start(*, pace_s: float = 1.0, **options: Any) -> Client:
            clock, monotonic_s = Clock(), [0.0]
            switches = TokenSwitches(**{k: v for k, v in options.items() if k != "applications"})
            others = {k: v for k, v in options.items() if k == "applications"}
            caller = stack.enter_context(
                calling(
                    SimulatedAccount(),
                    now=clock,
                    monotonic=lambda: monotonic_s[0],
                    tokens=switches,
                    **others,
                )
            )
            return Client(caller, clock, pace_s, monotonic_s)

        yield start


def redirected(response: requests.Response) -> dict[str, str]:
    """What a redirection hands to the application."""
    assert response.status_code == 302, response.text
    location = urlsplit(response.headers["Location"])
    assert location._replace(query="").geturl() == REDIRECT
    return dict(parse_qsl(location.query))


def error_of(response: requests.Response, status: int = 400) -> str:
    body = response.json()
    assert response.status_code == status, response.text
    assert set(body) == {"error", "error_description"}
    return str(body["error"])


class TestCodeFlow:
    def test_with_a_secret(self, begin: Begin) -> None:
        """A code gives tokens, once, with HTTP Basic. The access token reads the account."""
        client = begin()
        answer = client.exchange(client.code())
        granted = answer.json()
        assert (answer.status_code, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 86_400)
        assert granted["scope"].split() == sorted(SCOPES.split())
        assert 1_000 <= len(granted["access_token"]) <= 1_200
        assert client.may_read(granted["access_token"])
        assert answer.headers["Cache-Control"] == "no-store"

    def test_with_pkce(self, begin: Begin) -> None:
        """A public client proves that it asked. It has no secret."""
        client = begin()
        pkce = {
            "client_id": PUBLIC,
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        wrong = client.exchange(client.code(**pkce), None, client_id=PUBLIC, code_verifier="w" * 64)
        assert error_of(wrong) == "invalid_grant"
        granted = client.exchange(client.code(**pkce), None, client_id=PUBLIC, code_verifier=VERIFIER).json()
        assert client.may_read(granted["access_token"])
        again = client.refresh(granted["refresh_token"], None, client_id=PUBLIC)
        assert client.may_read(again.json()["access_token"])

    def test_the_challenge_is_that_of_the_standard(self) -> None:
        """The example of RFC 7636, appendix B."""
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    def test_a_code_is_good_once(self, begin: Begin) -> None:
        """A second use is refused, and ends what the first one gave."""
        client = begin()
        code = client.code()
        granted = client.exchange(code).json()
        assert error_of(client.exchange(code)) == "invalid_grant"
        assert not client.may_read(granted["access_token"])
        assert error_of(client.refresh(granted["refresh_token"])) == "invalid_grant"

    def test_a_code_expires(self, begin: Begin) -> None:
        """After five minutes."""
        client = begin()
        code = client.code()
        client.clock.now += timedelta(seconds=300)
        assert error_of(client.exchange(code)) == "invalid_grant"

    def test_the_redirect_address_must_be_the_same(self, begin: Begin) -> None:
        """In the token call as in the authorisation."""
        client = begin()
        answer = client.exchange(client.code(), redirect_uri="http://127.0.0.1:1/other")
        assert error_of(answer) == "invalid_grant"

    def test_offline_access_is_needed_for_a_refresh_token(self, begin: Begin) -> None:
        """Without it there is an access token alone."""
        client = begin()
        granted = client.exchange(client.code(scope="contact_data")).json()
        assert "refresh_token" not in granted
        assert client.may_read(granted["access_token"])

    @pytest.mark.parametrize(
        ("parameters", "error"),
        [
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"scope": "everything"}, "invalid_scope"),
            ({"client_id": PUBLIC}, "invalid_request"),
            ({"code_challenge": "c", "code_challenge_method": "plain"}, "invalid_request"),
        ],
    )
    def test_a_bad_request_goes_back(self, begin: Begin, parameters: dict[str, str], error: str) -> None:
        """With the state, to the application. A public client must use PKCE."""
        found = redirected(begin().authorize(**parameters))
        assert found == {"error": error, "state": "s1"}

    @pytest.mark.parametrize(
        "parameters", [{"client_id": "other"}, {"redirect_uri": "https://evil.example/callback"}]
    )
    def test_nobody_is_sent_to_an_unknown_address(self, begin: Begin, parameters: dict[str, str]) -> None:
        """The browser sees the error."""
        assert error_of(begin().authorize(**parameters)) == "invalid_request"

    def test_registered_addresses(self, begin: Begin) -> None:
        """Only those are accepted, if there are any."""
        client = begin(applications=(Application(CLIENT, SECRET, (REDIRECT,)),))
        assert client.code()
        assert client.authorize(redirect_uri="http://127.0.0.1:1/callback").status_code == 400

    def test_a_user_may_refuse(self, begin: Begin) -> None:
        """The application is told so."""
        found = redirected(begin(consent=Consent.REFUSED).authorize())
        assert found == {"error": "access_denied", "state": "s1"}


class TestRefresh:
    def test_a_token_is_good_once(self, begin: Begin) -> None:
        """Each use gives a new pair. The access token before stays good until it expires."""
        client = begin()
        first = client.server.authorization.issue()
        assert first.refresh_token
        second = client.refresh(first.refresh_token).json()
        third = client.refresh(second["refresh_token"]).json()
        tokens = {first.refresh_token, second["refresh_token"], third["refresh_token"]}
        assert len(tokens) == 3
        assert all(map(client.may_read, (first.access_token, second["access_token"], third["access_token"])))

    def test_a_second_use_ends_the_family(self, begin: Begin) -> None:
        """All tokens of that consent, and of no other."""
        client = begin()
        mine, others = client.server.authorization.issue(), client.server.authorization.issue()
        assert mine.refresh_token
        assert others.refresh_token
        granted = client.refresh(mine.refresh_token).json()
        assert error_of(client.refresh(mine.refresh_token)) == "invalid_grant"
        assert error_of(client.refresh(granted["refresh_token"])) == "invalid_grant"
        assert not client.may_read(granted["access_token"])
        assert client.refresh(others.refresh_token).status_code == 200

    def test_the_long_lived_kind_stays(self, begin: Begin) -> None:
        """The answer repeats it."""
        client = begin(rotating=False)
        token = client.server.authorization.issue().refresh_token
        assert token
        assert [client.refresh(token).json()["refresh_token"] for _ in range(3)] == [token] * 3

    @pytest.mark.parametrize("rotating", [True, False])
    def test_an_unused_token_expires(self, begin: Begin, *, rotating: bool) -> None:
        """After 180 days. Each use begins them anew."""
        client = begin(rotating=rotating)
        token = client.server.authorization.issue().refresh_token
        assert token
        client.clock.now += timedelta(days=179)
        token = client.refresh(token).json()["refresh_token"]
        client.clock.now += timedelta(days=179)
        token = client.refresh(token).json()["refresh_token"]
        client.clock.now += timedelta(days=180)
        answer = client.refresh(token)
        assert error_of(answer) == "invalid_grant"
        assert answer.json()["error_description"] == "The refresh token is invalid or expired."

    def test_an_access_token_can_live_for_seconds(self, begin: Begin) -> None:
        """As the answer says."""
        client = begin(expires_in_s=3)
        tokens = client.server.authorization.issue()
        assert tokens.refresh_token
        assert client.refresh(tokens.refresh_token).json()["expires_in"] == 3
        client.clock.now += timedelta(seconds=2.999)
        assert client.may_read(tokens.access_token)
        client.clock.now += timedelta(milliseconds=1)
        assert not client.may_read(tokens.access_token)

    def test_a_token_is_its_clients(self, begin: Begin) -> None:
        """Another one cannot use it, nor ask for a scope that was not granted."""
        client = begin()
        token = client.server.authorization.issue().refresh_token
        assert token
        assert error_of(client.refresh(token, None, client_id=PUBLIC)) == "invalid_grant"
        assert error_of(client.refresh(token, scope="everything")) == "invalid_scope"
        assert client.refresh(token).status_code == 200

    def test_all_can_be_revoked(self, begin: Begin) -> None:
        """Access tokens alone, or whatever was issued."""
        client = begin()
        tokens = client.server.authorization.issue()
        assert tokens.refresh_token
        client.server.authorization.revoke_access_tokens()
        assert not client.may_read(tokens.access_token)
        granted = client.refresh(tokens.refresh_token).json()
        client.server.authorization.revoke_families()
        assert not client.may_read(granted["access_token"])
        assert error_of(client.refresh(granted["refresh_token"])) == "invalid_grant"


class TestDeviceFlow:
    def test_a_user_visits_the_address(self, begin: Begin) -> None:
        """Until then the device waits. Its code is good once."""
        client = begin()
        asked = client.device()
        assert set(asked) == {
            *("device_code", "user_code", "verification_uri", "verification_uri_complete"),
            *("expires_in", "interval"),
        }
        assert error_of(client.poll(asked["device_code"])) == "authorization_pending"
        assert requests.get(asked["verification_uri_complete"], timeout=10).status_code == 200
        granted = client.poll(asked["device_code"]).json()
        assert client.may_read(granted["access_token"])
        assert client.refresh(granted["refresh_token"], None, client_id=PUBLIC).status_code == 200
        assert error_of(client.poll(asked["device_code"])) == "invalid_grant"

    def test_too_many_polls(self, begin: Begin) -> None:
        """Each poll that comes too soon makes the device wait 5 s longer."""
        client = begin()
        code = client.device()["device_code"]
        assert error_of(client.poll(code, after_s=1)) == "authorization_pending"
        assert error_of(client.poll(code, after_s=4.9)) == "slow_down"
        assert error_of(client.poll(code, after_s=5)) == "slow_down"
        assert error_of(client.poll(code, after_s=15)) == "authorization_pending"

    def test_a_code_expires(self, begin: Begin) -> None:
        """Also one that was allowed."""
        client = begin(device_lifetime_s=30)
        asked = client.device()
        client.server.authorization.allow_device(asked["user_code"])
        assert error_of(client.poll(asked["device_code"], after_s=30)) == "expired_token"

    def test_a_user_may_refuse(self, begin: Begin) -> None:
        """The device is told so, once."""
        client = begin()
        asked = client.device()
        client.server.authorization.refuse_device(asked["user_code"])
        assert error_of(client.poll(asked["device_code"])) == "access_denied"
        with pytest.raises(KeyError):
            client.server.authorization.allow_device("OTHER")

    def test_it_may_give_no_refresh_token(self, begin: Begin) -> None:
        """By the switch, or without the scope. Consent may be given at once."""
        client = begin(device_refresh_token=False, device_consent=Consent.GIVEN)
        assert "refresh_token" not in client.poll(client.device()["device_code"]).json()
        with_switch = begin(device_consent=Consent.GIVEN)
        code = with_switch.device("contact_data")["device_code"]
        assert "refresh_token" not in with_switch.poll(code).json()

    def test_unknown_scopes_and_codes(self, begin: Begin) -> None:
        """Are refused."""
        client = begin()
        answer = client.post(client.server.device_url, None, client_id=PUBLIC, scope="everything")
        assert error_of(answer) == "invalid_scope"
        assert error_of(client.poll("other")) == "invalid_grant"
        assert requests.get(f"{client.server.origin}/activate?user_code=OTHER", timeout=10).status_code == 404

    def test_the_page_asks_for_the_code(self, begin: Begin) -> None:
        """Which a form sends as the complete address has it."""
        client = begin()
        page = requests.get(f"{client.server.origin}/activate", timeout=10)
        assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
        assert 'name="user_code"' in page.text


class TestTokenEndpoint:
    @pytest.mark.parametrize("auth", [(CLIENT, "wrong"), ("other", SECRET), None])
    def test_a_client_must_be_known(self, begin: Begin, auth: tuple[str, str] | None) -> None:
        """A secret in the form is not HTTP Basic."""
        answer = begin().token(auth, client_id=CLIENT, client_secret=SECRET, grant_type="refresh_token")
        assert error_of(answer, 401) == "invalid_client"

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({}, "invalid_request"),
            ({"grant_type": "password"}, "unsupported_grant_type"),
            ({"grant_type": "refresh_token"}, "invalid_request"),
            ({"grant_type": "refresh_token", "refresh_token": "other"}, "invalid_grant"),
            ({"grant_type": "authorization_code", "code": "other"}, "invalid_grant"),
        ],
    )
    def test_a_bad_request(self, begin: Begin, fields: dict[str, str], error: str) -> None:
        """Is 400 with the error of the standard."""
        assert error_of(begin().token(BASIC, **fields)) == error

    def test_only_forms_that_are_posted(self, begin: Begin) -> None:
        """JSON is refused, as is GET."""
        client = begin()
        assert error_of(requests.get(client.server.token_url, auth=BASIC, timeout=10), 405)
        client.monotonic_s[0] += 1
        posted = requests.post(client.server.token_url, json={}, auth=BASIC, timeout=10)
        assert error_of(posted) == "invalid_request"

    def test_parameters_in_the_address_are_misuse(self, begin: Begin) -> None:
        """They work, as staff show it, and stand in access logs for ever."""
        client = begin()
        token = client.server.authorization.issue().refresh_token
        client.monotonic_s[0] += 1
        answer = requests.post(
            client.server.token_url,
            params={"grant_type": "refresh_token", "refresh_token": token or ""},
            data={"a": "b"},
            auth=BASIC,
            timeout=10,
        )
        assert answer.status_code == 200
        assert client.server.violations == ["parameters of a token call in its URL"]

    @pytest.mark.parametrize("status", [429, 503])
    def test_one_call_a_second(self, begin: Begin, status: int) -> None:
        """More are refused as busy, and spend no token."""
        client = begin(pace_s=0.5, busy_status=status)
        token = client.server.authorization.issue().refresh_token
        assert token
        client.refresh("other")
        assert client.refresh(token).status_code == status
        client.pace_s = 1.0
        assert client.refresh(token).status_code == 200

    def test_its_calls_are_no_calls_of_the_api(self, begin: Begin) -> None:
        """They are recorded apart, without what was posted."""
        client = begin()
        client.refresh("other")
        (call,) = client.server.token_calls
        assert client.server.calls == []
        assert (call.method, call.path, call.status) == ("POST", TOKEN_PATH, 400)
        assert call.query == {"grant_type": "refresh_token"}

    @pytest.mark.parametrize("fault", [Fault.CLOSED_CONNECTION, Fault.CUT_CONNECTION])
    def test_a_lost_answer_has_spent_the_token(self, begin: Begin, fault: Fault) -> None:
        """A second try with it is a second use."""
        client = begin()
        token = client.server.authorization.issue().refresh_token
        assert token
        client.server.script(TOKEN_PATH, fault)
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            client.refresh(token)
        assert error_of(client.refresh(token)) == "invalid_grant"

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (Fault.SERVER_ERROR, 500),
            (Fault.UNAVAILABLE_HTML, 503),
            (Fault.BAD_GATEWAY, 502),
            (Fault.TOO_MANY, 429),
        ],
    )
    def test_a_refusal_has_not(self, begin: Begin, fault: Fault, status: int) -> None:
        """A second try is the first use."""
        client = begin()
        token = client.server.authorization.issue().refresh_token
        assert token
        client.server.script(TOKEN_PATH, fault, Reply(403, {"error": "blocked"}))
        assert [client.refresh(token).status_code for _ in range(3)] == [status, 403, 200]

    def test_equal_seeds_give_equal_tokens(self, begin: Begin) -> None:
        """Another seed gives others."""
        first, again, other = (begin(seed=seed).server.authorization.issue() for seed in (1, 1, 2))
        assert first == again
        assert {other.access_token, other.refresh_token}.isdisjoint({first.access_token, first.refresh_token})
