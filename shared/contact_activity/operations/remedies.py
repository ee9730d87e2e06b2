"""What to do about a failure: something to do, or to paste."""

from contact_activity.domain.rights import Right
from contact_activity.errors import Cause
from contact_activity.run.program import program
from contact_activity.settings import AnyCredentials, Credentials, Settings, V3Credentials

BASE_URL, TOKEN_URL = "CONSTANT_CONTACT_BASE_URL", "CONSTANT_CONTACT_TOKEN_URL"
PROXY, CA_BUNDLE = "CONSTANT_CONTACT_PROXY", "CONSTANT_CONTACT_CA_BUNDLE"
_CLIENT_ID, _CLIENT_SECRET = "CONSTANT_CONTACT_CLIENT_ID", "CONSTANT_CONTACT_CLIENT_SECRET"

# How this program was started does not change.
AS_HELP_SAYS = f"as `{program()} login --help` says"
# By the error of the authorization server when the application is wrong, and not what it sent.
WRONG_CLIENT = {
    "invalid_client": f"{_CLIENT_ID}, or {_CLIENT_SECRET} if there is one, is not as the portal shows it: "
    f"copy it again, {AS_HELP_SAYS}",
    "unauthorized_client": f"{_CLIENT_ID} is of an application that may not sign in this way: create one for "
    f"the Device Flow, or for --code one for the PKCE Flow or the Authorization Code Flow, {AS_HELP_SAYS}",
    "unsupported_grant_type": f"{_CLIENT_ID} is of an application that may not sign in this way: create "
    f"another, {AS_HELP_SAYS}",
}
# Of a day that a run or tick with other settings used up.
LOWER_LIMIT = "the calls of a lower CALLS_PER_DAY or QUOTA_SHARE are used up, of these some are left"


def goes_on_with_these(*, is_folder: bool) -> str:
    """Return what goes on by itself after `LOWER_LIMIT`."""
    return "the next run with these goes on" if is_folder else "the next tick goes on"


def login_command(where: str) -> str:
    """Return the login that brings other tokens. `where`: the options that name the system, or ""."""
    return f"`{f'{program()} login {where.strip()}'.rstrip()}`"


def login(credentials: AnyCredentials, where: str) -> str:
    """Return what brings other tokens in place of these. `where`: see `login_command`."""
    is_trial = isinstance(credentials, V3Credentials) and credentials.access_token
    unset = "unset CONSTANT_CONTACT_ACCESS_TOKEN, then " if is_trial else ""
    return f"{unset}{login_command(where)}"


def renewal(credentials: AnyCredentials, where: str = "") -> str:
    """Return what to do when the API refuses the credential. `where`: see `login`."""
    if isinstance(credentials, Credentials):
        return "renew CONSTANT_CONTACT_ACCESS_TOKEN (or CONSTANT_CONTACT_API_KEY)"
    if credentials.access_token:
        return f"renew CONSTANT_CONTACT_ACCESS_TOKEN, or {login(credentials, where)}"
    return f"{login(credentials, where)}, or set CONSTANT_CONTACT_REFRESH_TOKEN to a new one"


# What may be missing in place of a scope, where all that takes either is refused.
_PRIVILEGES_BESIDE = {
    Right.CONTACT_DATA: f"the privilege {Right.CONTACTS_READ}",
    Right.CAMPAIGN_DATA: f"the privileges {Right.CAMPAIGN_READ} and {Right.METRICS}",
    Right.ACCOUNT_READ: "the privilege account:read",
}


def for_right(right: Right, login: str) -> str:
    """Return how to get a right that is missing. `login`: what brings other tokens."""
    role = f"ask the account owner for a role with {_PRIVILEGES_BESIDE.get(right, f'the privilege {right}')}"
    if right not in _PRIVILEGES_BESIDE:
        return f"{role}, then {login}"
    asks = (
        f"{login}, which asks for all scopes (a token that is made by hand: ask for {right} in its consent)"
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
