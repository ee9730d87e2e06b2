"""The OAuth2 authorisation server of the simulated account: code, refresh and device flow.

The flows are those of RFC 6749, 7636 and 8628, as far as the v3 documentation has them.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from contact_activity.simulated.faults import Fault
from contact_activity.simulated.faulty_replies import damaged_reply
from contact_activity.simulated.grants import (
    AccessToken,
    Code,
    DeviceCode,
    Family,
    Grants,
    Mint,
    challenge_of,
)
from contact_activity.simulated.http_server import Incoming
from contact_activity.simulated.oauth import (
    TokenRequest,
    client_of,
    invalid_grant,
    may_redirect,
    oauth_error,
    problem_of,
    redirection,
    scopes_in,
)
from contact_activity.simulated.quota import Quota
from contact_activity.simulated.replies import Refusal, Reply
from contact_activity.simulated.times import SECOND_MS
from contact_activity.simulated.token_switches import (
    APPLICATIONS,
    SCOPES,
    Application,
    Consent,
    TokenSwitches,
)

ROOT = "/oauth2/default/v1"
AUTHORIZE_PATH = f"{ROOT}/authorize"
TOKEN_PATH = f"{ROOT}/token"
DEVICE_PATH = f"{ROOT}/device/authorize"
ACTIVATE_PATH = "/activate"
_ACTIVATE_PAGE = """\
<!doctype html><title>Activate a device</title>
<form>Enter the code, or open this address with ?user_code=CODE: <input name="user_code" autofocus>
<button>Activate</button></form>
"""
PATHS = frozenset((AUTHORIZE_PATH, TOKEN_PATH, DEVICE_PATH, ACTIVATE_PATH))

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

_NO_DAY = date.min
_ANY_NUMBER = 1 << 62
_SLOW_DOWN_MS = 5 * SECOND_MS
_DELIVERY_FAULTS = {
    *(Fault.TRUNCATED_JSON, Fault.CUT_CONNECTION, Fault.CLOSED_CONNECTION, Fault.SLOW_BODY),
    Fault.EMPTY_BODY,
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token and, unless the flow gave none, a refresh token."""

    access_token: str
    refresh_token: str | None


class AuthorizationServer:
    """Issues and checks tokens. Every method may be called from any thread.

    `now_ms` is the clock of all lives. `origin` gives scheme, host and port of the server.
    """

    def __init__(
        self,
        switches: TokenSwitches,
        applications: tuple[Application, ...] = APPLICATIONS,
        *,
        now_ms: Callable[[], int],
        origin: Callable[[], str],
    ) -> None:
        self._switches = switches
        self._applications = {application.client_id: application for application in applications}
        self._now_ms, self._origin = now_ms, origin
        self._lock = threading.RLock()
        self._grants = Grants()
        self._mint = Mint(switches.seed)
        self._ever_issued: list[str] = []
        self._quota = Quota(switches.calls_per_second, _ANY_NUMBER, counts_refused=True)
        self._grant_types: Mapping[str, Callable[[TokenRequest], Reply]] = {
            "authorization_code": self._grant_code,
            "refresh_token": self._grant_refresh,
            DEVICE_GRANT: self._grant_device,
        }

    def issue(self, client_id: str = APPLICATIONS[0].client_id, scopes: frozenset[str] = SCOPES) -> Tokens:
        """Issue tokens of a new family, as if its user had just given consent.

        There is a refresh token if `scopes` has `offline_access`.
        """
        with self._lock:
            return self._issue(self._family(client_id, scopes), self._now_ms())

    def scopes_of(self, authorization: str | None) -> frozenset[str] | None:
        """Return the scopes of the access token in an `Authorization` header. None if it is not good."""
        with self._lock:
            token = self._grants.access.get((authorization or "").removeprefix("Bearer "))
            if token is None or token.family.is_revoked or self._now_ms() >= token.expires_ms:
                return None
            return token.family.scopes

    @property
    def grantable(self) -> frozenset[str]:
        """The scopes that a token may have."""
        return self._switches.scopes

    @property
    def issued(self) -> list[str]:
        """All tokens that were issued so far, of both kinds, good or not."""
        with self._lock:
            return list(self._ever_issued)

    def revoke_access_tokens(self) -> None:
        """Accept no access token that was issued so far. Refresh tokens stay as they are."""
        with self._lock:
            self._grants.access.clear()

    def revoke_families(self) -> None:
        """Accept no token that was issued so far, as if all users had taken their consent back."""
        with self._lock:
            self._grants.access.clear()
            for family in (*self._grants.refresh.values(), *self._grants.spent.values()):
                family.is_revoked = True

    def allow_device(self, user_code: str) -> None:
        """Decide as the user who types this code and consents. Raises `KeyError` for an unknown one."""
        self._decide(user_code, is_allowed=True)

    def refuse_device(self, user_code: str) -> None:
        """Decide as the user who types this code and refuses. Raises `KeyError` for an unknown one."""
        self._decide(user_code, is_allowed=False)

    def answer(self, incoming: Incoming, at_s: float) -> Reply:
        """Answer a call of one of `PATHS`, at a time of the clock of the rate limit."""
        with self._lock:
            if incoming.path == TOKEN_PATH and self._is_busy(at_s):
                return _busy(self._switches.busy_status)
            try:
                return self._answer(incoming)
            except Refusal as refusal:
                return refusal.reply

    def faulty(self, fault: Fault, incoming: Incoming, at_s: float) -> Reply:
        """Return the answer with a fault. Only faults of the delivery come after what was asked is done."""
        if fault in _DELIVERY_FAULTS:
            reply = self.answer(incoming, at_s)
            return damaged_reply(fault) or reply
        refusals = {
            Fault.UNAUTHORIZED: oauth_error("invalid_client", "Invalid client.", 401),
            Fault.SERVER_ERROR: oauth_error("server_error", "The server failed.", 500),
        }
        return refusals.get(fault) or damaged_reply(fault) or _busy(self._switches.busy_status)

    def _is_busy(self, at_s: float) -> bool:
        return self._quota.take(at_s, _NO_DAY) is not None and self._switches.rate_limits

    def _answer(self, incoming: Incoming) -> Reply:
        if incoming.path == AUTHORIZE_PATH:
            return self._authorize(incoming.query)
        if incoming.path == ACTIVATE_PATH:
            return self._activate(incoming.query.get("user_code", ""))
        if incoming.method != "POST":
            raise Refusal(oauth_error("invalid_request", "Only POST is accepted.", 405))
        if incoming.form is None:
            raise Refusal(oauth_error("invalid_request", "The body is no form."))
        fields = {**incoming.query, **incoming.form}
        request = TokenRequest(
            client_of(incoming.authorization, fields, self._applications), fields, self._now_ms()
        )
        return self._device(request) if incoming.path == DEVICE_PATH else self._token(request)

    def _authorize(self, query: Mapping[str, str]) -> Reply:
        """Answer the browser of a user: with a redirection, or with an error if there is nowhere to go."""
        application = self._applications.get(query.get("client_id", ""))
        redirect_uri = query.get("redirect_uri", "")
        if application is None or not may_redirect(application, redirect_uri):
            return oauth_error("invalid_request", "The client or its redirect address is unknown.")
        state = {"state": query["state"]} if "state" in query else {}
        problem = problem_of(application, query) or self._refused()
        if problem:
            return redirection(redirect_uri, {"error": problem, **state})
        code = self._mint.text("code")
        self._grants.codes[code] = Code(
            application.client_id,
            scopes_in(query),
            redirect_uri,
            query.get("code_challenge"),
            self._now_ms() + self._switches.code_lifetime_s * SECOND_MS,
        )
        return redirection(redirect_uri, {"code": code, **state})

    def _refused(self) -> str:
        return "" if self._switches.consent is Consent.GIVEN else "access_denied"

    def _token(self, request: TokenRequest) -> Reply:
        grant = self._grant_types.get(request.field("grant_type"))
        if grant is None:
            return oauth_error("unsupported_grant_type", "The grant type is not supported.")
        return grant(request)

    def _grant_code(self, request: TokenRequest) -> Reply:
        text = request.field("code")
        if text in self._grants.used_codes:
            _revoke(self._grants.used_codes[text])
        code = self._grants.codes.pop(text, None)
        if code is None or not _fits(code, request):
            return invalid_grant("The authorization code is invalid or has expired.")
        family = self._family(code.client_id, code.scopes)
        self._grants.used_codes[text] = family
        return self._issued(family, request.now_ms)

    def _grant_refresh(self, request: TokenRequest) -> Reply:
        text = request.field("refresh_token")
        if spent := self._grants.spent.get(text):
            # Somebody else has the token too: nobody may go on with this consent.
            _revoke(spent)
        family = self._grants.refresh.get(text)
        if family is None or not self._is_good(family, request):
            return invalid_grant("The refresh token is invalid or expired.")
        wanted = frozenset(request.fields.get("scope", "").split())
        if not wanted <= family.scopes:
            return oauth_error("invalid_scope", "A scope was not granted before.")
        if self._switches.rotating:
            self._grants.spent[text] = self._grants.refresh.pop(text)
            family.refresh_token = None
        return self._issued(family, request.now_ms)

    def _is_good(self, family: Family, request: TokenRequest) -> bool:
        idle_ms = request.now_ms - family.used_ms
        return (
            not family.is_revoked
            and family.client_id == request.client.client_id
            and idle_ms < self._switches.refresh_idle_s * SECOND_MS
        )

    def _device(self, request: TokenRequest) -> Reply:
        scopes = scopes_in(request.fields)
        if not scopes or not scopes <= SCOPES:
            return oauth_error("invalid_scope", "A scope is missing or unknown.")
        consent, switches = self._switches.device_consent, self._switches
        code = self._mint.text("device code")
        decided = None if consent is Consent.WAITED_FOR else consent is Consent.GIVEN
        device = DeviceCode(
            request.client.client_id,
            scopes,
            self._mint.user_code(),
            request.now_ms + switches.device_lifetime_s * SECOND_MS,
            switches.device_interval_s * SECOND_MS,
            is_allowed=decided,
        )
        self._grants.devices[code] = device
        address = f"{self._origin()}{ACTIVATE_PATH}"
        return Reply(
            200,
            {
                "device_code": code,
                "user_code": device.user_code,
                "verification_uri": address,
                "verification_uri_complete": f"{address}?user_code={device.user_code}",
                "expires_in": switches.device_lifetime_s,
                "interval": switches.device_interval_s,
            },
        )

    def _activate(self, user_code: str) -> Reply:
        """Answer the browser of a user who was sent to the verification address: to come is to consent."""
        if not user_code:
            return Reply(200, _ACTIVATE_PAGE, "text/html")
        try:
            self.allow_device(user_code)
        except KeyError:
            return Reply(404, "Unknown code.\n", "text/plain")
        return Reply(200, "The device is connected. You may close this page.\n", "text/plain")

    def _grant_device(self, request: TokenRequest) -> Reply:
        text = request.field("device_code")
        device = self._grants.devices.get(text)
        if device is None or device.client_id != request.client.client_id:
            return invalid_grant("The device code is invalid.")
        if request.now_ms >= device.expires_ms:
            return oauth_error("expired_token", "The device code has expired.")
        if _polls_too_soon(device, request.now_ms):
            return oauth_error("slow_down", "The device polls too often.")
        if device.is_allowed is None:
            return oauth_error("authorization_pending", "The user has not decided yet.")
        del self._grants.devices[text]
        if not device.is_allowed:
            return oauth_error("access_denied", "The user refused.")
        left_out = frozenset() if self._switches.device_refresh_token else {"offline_access"}
        return self._issued(self._family(device.client_id, device.scopes - left_out), request.now_ms)

    def _family(self, client_id: str, scopes: frozenset[str]) -> Family:
        return Family(client_id, scopes & self._switches.scopes)

    def _decide(self, user_code: str, *, is_allowed: bool) -> None:
        with self._lock:
            for device in self._grants.devices.values():
                if device.user_code == user_code:
                    device.is_allowed = is_allowed
                    return
        raise KeyError(user_code)

    def _issued(self, family: Family, now_ms: int) -> Reply:
        tokens = self._issue(family, now_ms)
        content: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": self._switches.expires_in_s,
            "access_token": tokens.access_token,
            "scope": " ".join(sorted(family.scopes)),
        }
        if tokens.refresh_token is not None:
            content["refresh_token"] = tokens.refresh_token
        return Reply(200, content, headers={"Cache-Control": "no-store"})

    def _issue(self, family: Family, now_ms: int) -> Tokens:
        access_token = self._mint.access_token()
        expires_ms = now_ms + self._switches.expires_in_s * SECOND_MS
        self._grants.access[access_token] = AccessToken(family, expires_ms)
        if "offline_access" in family.scopes and family.refresh_token is None:
            family.refresh_token = self._mint.text("refresh token")
            self._grants.refresh[family.refresh_token] = family
            self._ever_issued.append(family.refresh_token)
        self._ever_issued.append(access_token)
        family.used_ms = now_ms
        return Tokens(access_token, family.refresh_token)


def _busy(status: int) -> Reply:
    # Not an error of RFC 6749: the limit stands before the authorisation server.
    return Reply(status, {"error_key": "throttled", "error_message": "Too many requests."})


def _revoke(family: Family | None) -> None:
    if family is not None:
        family.is_revoked = True


def _fits(code: Code, request: TokenRequest) -> bool:
    verifier = request.fields.get("code_verifier", "")
    return (
        code.client_id == request.client.client_id
        and code.redirect_uri == request.fields.get("redirect_uri")
        and request.now_ms < code.expires_ms
        and code.challenge in (None, challenge_of(verifier))
    )


def _polls_too_soon(device: DeviceCode, now_ms: int) -> bool:
    """Record a poll, and whether it came too soon. Then the device must wait longer (RFC 8628)."""
    last_ms, device.polled_ms = device.polled_ms, now_ms
    if last_ms is None or now_ms - last_ms >= device.interval_ms:
        return False
    device.interval_ms += _SLOW_DOWN_MS
    return True
