"""The requests that the authorisation server takes, and the forms of its answers (RFC 6749)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from contact_activity.simulated.replies import Refusal, Reply
from contact_activity.simulated.token_switches import SCOPES, Application

_LOOPBACK = {"127.0.0.1", "localhost"}


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A call of a token or device endpoint, whose client is known."""

    client: Application
    fields: Mapping[str, str]
    now_ms: int

    def field(self, name: str) -> str:
        """Return a field. Raises `Refusal` if it is missing."""
        if not self.fields.get(name):
            raise Refusal(oauth_error("invalid_request", f"{name} is missing."))
        return self.fields[name]


def client_of(
    authorization: str | None, fields: Mapping[str, str], applications: Mapping[str, Application]
) -> Application:
    """Return the client of a call. One with a secret must come with HTTP Basic (v3 documentation).

    Raises `Refusal` for an unknown one.
    """
    basic = _basic(authorization)
    client_id, secret = basic or (fields.get("client_id", ""), None)
    application = applications.get(client_id)
    if application is None or application.client_secret != secret:
        headers = {"WWW-Authenticate": 'Basic realm="authorization server"'} if authorization else {}
        reply = oauth_error("invalid_client", "The client is unknown or its secret is wrong.", 401)
        raise Refusal(Reply(reply.status, reply.content, headers=headers))
    return application


def scopes_in(fields: Mapping[str, str]) -> frozenset[str]:
    """Return the scopes that a request names."""
    return frozenset(fields.get("scope", "").split())


def problem_of(application: Application, query: Mapping[str, str]) -> str:
    """Return the error code of a bad authorisation request. Empty for a good one."""
    if query.get("response_type") != "code":
        return "unsupported_response_type"
    has_challenge = bool(query.get("code_challenge"))
    if has_challenge and query.get("code_challenge_method") != "S256":
        return "invalid_request"
    if "state" not in query or (application.client_secret is None and not has_challenge):
        return "invalid_request"
    scopes = scopes_in(query)
    return "" if scopes and scopes <= SCOPES else "invalid_scope"


def may_redirect(application: Application, redirect_uri: str) -> bool:
    """Whether an application may send browsers there."""
    if application.redirect_uris:
        return redirect_uri in application.redirect_uris
    address = urlsplit(redirect_uri)
    return address.scheme == "http" and address.hostname in _LOOPBACK


def redirection(redirect_uri: str, fields: Mapping[str, str]) -> Reply:
    """Return the reply that sends a browser back to its application."""
    joint = "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{joint}{urlencode(fields)}"
    return Reply(302, b"", headers={"Location": location, "Cache-Control": "no-store"})


def oauth_error(code: str, description: str, status: int = 400) -> Reply:
    """Return an error reply of an authorisation server (RFC 6749, section 5.2)."""
    return Reply(status, {"error": code, "error_description": description})


def invalid_grant(description: str) -> Reply:
    """Return the refusal of a code or a token."""
    return oauth_error("invalid_grant", description)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """Return client id and secret of an HTTP Basic header. None if there is none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return client_id, secret
