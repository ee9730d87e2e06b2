"""What to do about a failure: something to do, or to paste."""

from contact_activity.errors import Cause
from contact_activity.settings import AnyCredentials, Credentials, Settings, V3Credentials

BASE_URL, TOKEN_URL = "CONSTANT_CONTACT_BASE_URL", "CONSTANT_CONTACT_TOKEN_URL"
PROXY, CA_BUNDLE = "CONSTANT_CONTACT_PROXY", "CONSTANT_CONTACT_CA_BUNDLE"
_CLIENT_ID, _CLIENT_SECRET = "CONSTANT_CONTACT_CLIENT_ID", "CONSTANT_CONTACT_CLIENT_SECRET"

# By the error of the authorization server when the application is wrong, and not what it sent.
WRONG_CLIENT = {
    "invalid_client": f"{_CLIENT_ID}, or {_CLIENT_SECRET} if there is one, is not as the portal shows it: "
    "copy it again",
    "unauthorized_client": f"{_CLIENT_ID} is of an application that may not sign in this way: create one for "
    "the Device Flow, or for --code one for the PKCE Flow or the Authorization Code Flow",
    "unsupported_grant_type": f"{_CLIENT_ID} is of an application that may not sign in this way: create "
    "another, as `contact-activity login --help` says",
}


def login(credentials: AnyCredentials, where: str) -> str:
    """Return the login that brings other tokens. `where`: the option that names the system, or ""."""
    command = f"`{f'contact-activity login {where}'.rstrip()}`"
    is_trial = isinstance(credentials, V3Credentials) and credentials.access_token
    return f"unset CONSTANT_CONTACT_ACCESS_TOKEN, then {command}" if is_trial else command


def renewal(credentials: AnyCredentials, where: str = "") -> str:
    """Return what to do when the API refuses the credential. `where`: see `login`."""
    if isinstance(credentials, Credentials):
        return "renew CONSTANT_CONTACT_ACCESS_TOKEN (or CONSTANT_CONTACT_API_KEY)"
    if credentials.access_token:
        return f"renew CONSTANT_CONTACT_ACCESS_TOKEN, or {login(credentials, where)}"
    return f"{login(credentials, where)}, or set CONSTANT_CONTACT_REFRESH_TOKEN to a new one"


def lacking(scope: str, privilege: str) -> str:
    """Name what a refused call lacks. An empty name is not what it lacks."""
    of_user = f"its user the privilege {privilege}"
    if not scope:
        return of_user.replace("its user", "the user of this login lacks")
    return f"the token lacks the scope {scope}, or {of_user}"


def for_right(scope: str, privilege: str, login: str) -> str:
    """Return how to get a scope or a privilege. `login`: what brings other tokens."""
    role = f"ask the account owner for a role with the privilege {privilege}"
    if not scope:
        return f"{role}, then {login}"
    asks = (
        f"{login}, which asks for all scopes (a token that is made by hand: ask for {scope} in its consent)"
    )
    return f"{asks}; if that changes nothing, {role}"


def for_cause(cause: Cause, url: str, settings: Settings) -> str:
    """Return what to do when a call fails. `url`: the setting that names where it goes."""
    way_out = f"; if a proxy is the only way out, set {PROXY}"
    if cause is Cause.UNKNOWN_HOST:
        if settings.proxy:
            return f"check the host in {PROXY}"
        return f"check the host in {url}, and that this machine looks up names{way_out}"
    if cause is Cause.CONNECTION_REFUSED:
        if settings.proxy:
            return f"check host and port in {PROXY}"
        return f"check host and port in {url}{way_out}"
    if cause is Cause.CERTIFICATE_UNTRUSTED:
        if settings.ca_bundle:
            return f"add the authority of this server to the file in {CA_BUNDLE}, or unset that"
        return (
            f"if your company signs, set {CA_BUNDLE} to a PEM file with its authority; otherwise check {url}"
        )
    if cause is Cause.PROXY_REFUSED:
        return f"check user, password and port in {PROXY}, whether it lets you through, and {url}"
    if cause is Cause.ANSWER_UNUSABLE:
        return f"see whether it is the right server that answers: check {url} and {PROXY}"
    if cause is Cause.SERVER_ERROR:
        return "the provider has trouble: check again later"
    return f"see whether a firewall lets this machine out, check {url}{way_out}; then check again"
