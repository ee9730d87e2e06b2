"""An authorization server: single use of refresh tokens, reuse detection, device flow, PKCE.

`Authorisation` holds the rules and answers forms; `AuthorisationServer` serves it over HTTP.
"""

import hashlib
import json
import threading
from base64 import b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from contact_activity.constant_contact.transport import NoAnswerError, Reply
from contact_activity.errors import Cause
from tests.support.served import served_by

PATH = "/oauth2/default/v1"
CLIENT_ID = "client-1"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# What becomes of one call for tokens, before or after the server has done its part.
LOST, BUSY, CUT, CLOSED, THROTTLED = "lost", "busy", "cut", "closed", "throttled"

Answer = tuple[int, dict[str, object]]


@dataclass
class Authorisation:
    """The server's rules. `spent` lists every refresh token in the order of its uses.

    `faults` says what becomes of the next calls for tokens: LOST (done, the connection is closed), CUT
    (done, half an answer), BUSY (503), THROTTLED (429), CLOSED (closed, nothing done), None (well).
    """

    client_secret: str | None = None
    life_s: int = 86_400
    is_rotating: bool = True
    has_refresh_token: bool = True
    device_life_s: int = 600
    interval_s: int = 1
    faults: deque[str | None] = field(default_factory=deque)
    spent: list[str] = field(default_factory=list)
    called_s: list[float] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    # What the device endpoint says before the user decides; then True or False, as the user decided.
    device_answers: deque[str] = field(default_factory=deque)
    accepts_any: bool = True
    # Whether a refresh token in the name of another application counts as wrong, not the application.
    owns_tokens: bool = False
    # The account of every token; None: no token may ask for it.
    account_id: str | None = "p07e1l8cdif9dl"
    # Whether refusals have status 200, as those of some servers.
    refuses_with_200: bool = False
    # What the token endpoint answers to everything, as another server would; None: as the rules say.
    token_status: int | None = None
    refused_access: set[str] = field(default_factory=set)
    _number: int = 0
    _family_of: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _revoked: set[str] = field(default_factory=set)
    _access: dict[str, str] = field(default_factory=dict)
    _codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _devices: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def grant(self) -> str:
        """A refresh token of a new family, as somebody gets it by hand."""
        with self._lock:
            return str(self._tokens(f"family-{self._next()}")["refresh_token"])

    def accepts(self, access_token: str) -> bool:
        """Whether the API takes this access token."""
        family = self._access.get(access_token)
        if family is None or not self.accepts_any:
            return False
        return family not in self._revoked and access_token not in self.refused_access

    def answer_token(self, form: Mapping[str, str], authorization: str | None) -> Answer:
        status, body = self._answer_token(form, authorization)
        return 200 if self.refuses_with_200 else status, body

    def _answer_token(self, form: Mapping[str, str], authorization: str | None) -> Answer:
        with self._lock:
            if not self._is_client(form, authorization):
                if self.owns_tokens and form.get("grant_type") == "refresh_token":
                    return 400, {"error": "invalid_grant"}
                return 401, {"error": "invalid_client"}
            match form.get("grant_type"):
                case "refresh_token":
                    return self._refreshed(form.get("refresh_token", ""))
                case "authorization_code":
                    return self._exchanged(form)
                case grant if grant == DEVICE_GRANT:
                    return self._polled(form.get("device_code", ""))
            return 400, {"error": "unsupported_grant_type"}

    def answer_device(self, form: Mapping[str, str]) -> Answer:
        with self._lock:
            if form.get("client_id") != CLIENT_ID or form.get("response_type") != "code":
                return 400, {"error": "invalid_client", "error_description": "secret text"}
            self.scopes += form.get("scope", "").split()
            code = f"device-{self._next()}"
            self._devices.add(code)
            return 200, {
                "device_code": code,
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://portal.example.org/activate",
                "verification_uri_complete": "https://portal.example.org/activate?user_code=WDJB-MJHT",
                "expires_in": self.device_life_s,
                "interval": self.interval_s,
            }

    def answer_api(self, path: str, bearer: str) -> Answer:
        """What the API says: to each good bearer the same, but for the account and what it refuses."""
        if not self.accepts(bearer) or "refused" in path:
            return 401, {"error_key": "unauthorized", "error_message": "Unauthorized"}
        if path != "/v3/account/summary":
            return 200, {"contacts": []}
        if self.account_id is None:
            return 403, {"error_key": "access_denied"}
        return 200, {"encoded_account_id": self.account_id}

    def authorize(self, url: str) -> str:
        """What the browser does at the address of a sign-in. Returns where it is sent."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        self.scopes += query["scope"].split()
        code = f"code-{self._next()}"
        self._codes[code] = query
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    def _is_client(self, form: Mapping[str, str], authorization: str | None) -> bool:
        is_device = form.get("grant_type") == DEVICE_GRANT
        if self.client_secret is None or is_device:
            return form.get("client_id") == CLIENT_ID
        kind, _, pair = (authorization or "").partition(" ")
        given = b64decode(pair).decode().split(":")
        return kind == "Basic" and [unquote(part) for part in given] == [CLIENT_ID, self.client_secret]

    def _refreshed(self, refresh_token: str) -> Answer:
        self.spent.append(refresh_token)
        family = self._family_of.get(refresh_token)
        if family is None or family in self._revoked:
            return 400, {"error": "invalid_grant"}
        if self.is_rotating and refresh_token in self._used:
            self._revoked.add(family)
            return 400, {"error": "invalid_grant"}
        self._used.add(refresh_token)
        return 200, self._tokens(family, refresh_token)

    def _exchanged(self, form: Mapping[str, str]) -> Answer:
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        if not asked or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, self._tokens(f"family-{self._next()}")

    def _polled(self, device_code: str) -> Answer:
        if device_code not in self._devices:
            return 400, {"error": "invalid_grant"}
        if self.device_answers:
            return 400, {"error": self.device_answers.popleft()}
        self._devices.discard(device_code)
        return 200, self._tokens(f"family-{self._next()}")

    def _tokens(self, family: str, before: str | None = None) -> dict[str, object]:
        number = self._next()
        access = f"access-{number}"
        self._access[access] = family
        answer: dict[str, object] = {"token_type": "Bearer", "access_token": access}
        answer["expires_in"] = self.life_s
        if before and not self.is_rotating:
            return answer
        if self.has_refresh_token:
            answer["refresh_token"] = f"refresh-{number}"
            self._family_of[f"refresh-{number}"] = family
        return answer

    def _next(self) -> int:
        self._number += 1
        return self._number


@dataclass(frozen=True)
class AuthorisationServer:
    """The rules over HTTP, and an API beside them at `/v3` that takes the bearers which the rules accept.

    `requests` has the path and the form of each call, and the bearer of each call to the API.
    """

    url: str
    rules: Authorisation
    requests: list[tuple[str, str]]

    @property
    def token_url(self) -> str:
        return f"{self.url}{PATH}/token"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v3"


@contextmanager
def served(
    rules: Authorisation, now_s: Callable[[], float], answer_after_s: float = 0.0
) -> Iterator[AuthorisationServer]:
    """Serve the rules. Each call for tokens takes `answer_after_s`."""
    requests: list[tuple[str, str]] = []
    waiting = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the inherited signature
            """Log nothing."""

        def do_GET(self) -> None:
            bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            requests.append((self.path, bearer))
            self._send(*rules.answer_api(self.path, bearer))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.path, text))
            form = dict(parse_qsl(text))
            if self.path == f"{PATH}/device/authorize":
                self._send(*rules.answer_device(form))
                return
            if self.path != f"{PATH}/token":
                self._send(404, {"error_message": "not found"})
                return
            if rules.token_status:
                self._send(rules.token_status, {})
                return
            rules.called_s.append(now_s())
            fault = rules.faults.popleft() if rules.faults else None
            if fault in (BUSY, THROTTLED):
                self._send(503 if fault == BUSY else 429, {"error_message": "busy"})
                return
            answer = (0, {}) if fault == CLOSED else rules.answer_token(form, self.headers["Authorization"])
            waiting.wait(answer_after_s)
            if fault in (LOST, CLOSED):
                self.close_connection = True
            else:
                self._send(*answer, is_cut=fault == CUT)

        def _send(self, status: int, body: dict[str, object], *, is_cut: bool = False) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
            self.close_connection = self.close_connection or is_cut

    with served_by(Handler) as url:
        try:
            yield AuthorisationServer(url, rules, requests)
        finally:
            waiting.set()


class InProcess:
    """The `FormTransport` port, straight to the rules. Every exchange takes 10 ms of `pass_ms`."""

    def __init__(self, rules: Authorisation, pass_ms: Callable[[int], object] = lambda _: None) -> None:
        self._rules = rules
        self._pass_ms = pass_ms

    @contextmanager
    def connected(self, *, within_s: float) -> Iterator["InProcess"]:  # noqa: ARG002  the port's
        yield self

    def is_quiet(self) -> bool:
        return True

    def get(self, target: str, headers: Mapping[str, str], *, within_s: float) -> Reply:
        raise NotImplementedError

    def post_form(
        self,
        target: str,  # noqa: ARG002  the port's
        headers: Mapping[str, str],
        form: Mapping[str, str],
        *,
        within_s: float,  # noqa: ARG002  the port's
    ) -> Reply:
        self._pass_ms(10)
        fault = self._rules.faults.popleft() if self._rules.faults else None
        if fault == BUSY:
            return Reply(503)
        if fault == CLOSED:
            raise NoAnswerError(Cause.CONNECTION_CLOSED)
        status, body = self._rules.answer_token(form, headers.get("Authorization"))
        if fault in (LOST, CUT):
            raise NoAnswerError(Cause.TIMED_OUT)
        return Reply(status, {}, json.dumps(body).encode())
