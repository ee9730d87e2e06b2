"""Call the provider's authorization server (RFC 6749, RFC 7636, RFC 8628).

The addresses are the provider's: `…/v1/token`, and beside it `authorize` and `device/authorize`. A call is
tried once, on a connection of its own, and follows no redirect. What is secret goes into the body or the
`Authorization` header, never into a URL.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from contact_activity.constant_contact.http_transport import transport_to
from contact_activity.constant_contact.token_answers import (
    Busy,
    Denied,
    DeviceCode,
    Lost,
    TokenAnswer,
    read_device_answer,
    read_token_answer,
)
from contact_activity.constant_contact.transport import ANSWER_TIMEOUT_S, FormTransport, NoAnswerError
from contact_activity.constant_contact.verdict import read_answer
from contact_activity.errors import RetryError
from contact_activity.ports import Clock
from contact_activity.settings import Settings, V3Credentials

T = TypeVar("T")

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# What every v3 report needs: contacts and their reports, campaigns and theirs. The account names itself only
# to `account_read`. `offline_access` asks for a refresh token.
SCOPES = ("contact_data", "campaign_data", "account_read", "offline_access")


class AuthorizationServer:
    """The authorization server, for one application. `client`: its id, and its secret if it has one."""

    def __init__(self, token_url: str, client: V3Credentials, transport: FormTransport, clock: Clock) -> None:
        self._token_url = token_url
        self._client = client
        self._transport = transport
        self._clock = clock

    def refresh(self, refresh_token: str, client_id: str | None) -> TokenAnswer:
        """Spend a refresh token. `client_id`: the application that it belongs to; None: that of `client`.

        Takes at most 25 s.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._ask_token(form, client_id or self._client.client_id)

    def exchange(self, code: str, *, verifier: str, redirect_uri: str) -> TokenAnswer:
        """Spend an authorization code. `verifier` is the secret of PKCE."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self._ask_token({**form, "code_verifier": verifier}, self._client.client_id)

    def poll(self, device: DeviceCode) -> TokenAnswer:
        """Ask whether the user has entered the code."""
        form = {"grant_type": DEVICE_GRANT, "device_code": device.device_code}
        return self._ask_token(form, self._client.client_id, has_secret=False)

    def probe(self) -> TokenAnswer:
        """Ask for a refresh without a refresh token, of no application, which can only be refused."""
        return self._post("token", {"grant_type": "refresh_token"}, {}, read_token_answer)

    def begin_device(self, state: str) -> DeviceCode | Denied | Busy | Lost:
        """Ask for a code that the user enters elsewhere."""
        form = {"response_type": "code", "scope": " ".join(SCOPES), "state": state}
        form["client_id"] = self._client.client_id or ""
        return self._post("device/authorize", form, {}, read_device_answer)

    def authorize_url(self, *, state: str, verifier: str, redirect_uri: str) -> str:
        """Return the address at which the user signs in. Its answer goes to `redirect_uri`."""
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "client_id": self._client.client_id or "",
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._beside_token('authorize')}?{urlencode(query, quote_via=quote)}"

    def _ask_token(
        self, form: Mapping[str, str], client_id: str | None, *, has_secret: bool = True
    ) -> TokenAnswer:
        secret = self._client.client_secret
        # The secret belongs to one application only.
        if has_secret and secret and client_id == self._client.client_id:
            # RFC 6749, section 2.3.1.
            pair = f"{quote(client_id or '', safe='')}:{quote(secret, safe='')}"
            headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
            return self._post("token", form, headers, read_token_answer)
        return self._post("token", {**form, "client_id": client_id or ""}, {}, read_token_answer)

    def _post(
        self,
        name: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        read: Callable[[int, object, float], T],
    ) -> T | Busy | Lost:
        target = urlsplit(self._token_url if name == "token" else self._beside_token(name)).path or "/"
        try:
            with self._transport.connected(within_s=ANSWER_TIMEOUT_S) as connection:
                try:
                    headers = {"Accept": "application/json", **headers}
                    reply = connection.post_form(target, headers, form, within_s=ANSWER_TIMEOUT_S)
                except NoAnswerError as error:
                    return Lost(error.cause.value)
        except NoAnswerError as error:
            return Busy(error.cause.value)
        answer = read_answer(reply, self._clock.now_ms())
        return read(answer.status, answer.body, answer.retry_after_s)

    def _beside_token(self, name: str) -> str:
        return f"{self._token_url.rpartition('/')[0]}/{name}"


def authorization_server(settings: Settings, client: V3Credentials, clock: Clock) -> AuthorizationServer:
    """Return the provider's. Raises `SettingsError` if the CA bundle cannot be used."""
    # No connection is kept: calls are rare, and none may be lost to one that the server has closed.
    transport = transport_to(settings.token_url, settings, connections=0)
    return AuthorizationServer(settings.token_url, client, transport, clock)


class HasApplication(Protocol):
    """Where the client id and the client secret are stored."""

    def application(self) -> V3Credentials: ...


class StoredRefresher:
    """Spends refresh tokens for the application that is stored, which may change."""

    def __init__(self, settings: Settings, stored: HasApplication, clock: Clock) -> None:
        self._settings, self._stored, self._clock = settings, stored, clock

    def refresh(self, refresh_token: str, client_id: str | None) -> TokenAnswer:
        try:
            application = self._stored.application()
        except RetryError as error:
            # Nothing was sent.
            return Busy(str(error))
        server = authorization_server(self._settings, application, self._clock)
        return server.refresh(refresh_token, client_id)
