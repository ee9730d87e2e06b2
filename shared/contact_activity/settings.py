"""Read the settings from an environment that is handed in.

A missing, incomplete or malformed setting raises a `SettingsError` of one line, which names the setting
and says how to correct it. An empty value counts as not set; any other value must be valid.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from contact_activity.domain.activity import ActivityType
from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.memory import MAX_REMEMBERED
from contact_activity.domain.near_match import did_you_mean
from contact_activity.domain.pace import Limits
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.times import parse_time
from contact_activity.domain.watermark import ALL_REPORT, Reading

Environment = Mapping[str, str]
T = TypeVar("T")

ACTIVITY_REPORTS = tuple(type_.report for type_ in ActivityType)
SUMMARY_REPORTS = tuple(kind.report for kind in SummaryKind)


class SettingsError(ValueError):
    """One line: the setting, what is wrong, and what to do. Never shows the value of a secret."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as the operator knows it. `default` is text; "" means that there is none."""

    name: str
    default: str
    meaning: str
    secret: bool = False


class Version(StrEnum):
    """A version of the API."""

    V2 = "v2"
    V3 = "v3"


_API_KEY, _ACCESS_TOKEN = "CONSTANT_CONTACT_API_KEY", "CONSTANT_CONTACT_ACCESS_TOKEN"
_CLIENT_ID, _CLIENT_SECRET = "CONSTANT_CONTACT_CLIENT_ID", "CONSTANT_CONTACT_CLIENT_SECRET"
_REFRESH_TOKEN, _VERSION = "CONSTANT_CONTACT_REFRESH_TOKEN", "CONSTANT_CONTACT_API_VERSION"
_V3_ONLY = (_CLIENT_ID, _CLIENT_SECRET, _REFRESH_TOKEN)
_BASE_URL, _TOKEN_URL = "CONSTANT_CONTACT_BASE_URL", "CONSTANT_CONTACT_TOKEN_URL"
_BASE_URLS = {Version.V2: "https://api.constantcontact.com/v2", Version.V3: "https://api.cc.email/v3"}

GET_CLIENT_ID = (
    "It is the API key (Client ID) of an application: in Constant Contact's developer portal open My "
    "Applications, click New Application (or open one), and copy it from there"
)

SETTINGS = (
    Setting(_API_KEY, "", "v2: the application's key", secret=True),
    Setting(_ACCESS_TOKEN, "", "v2: the account's token; alone: v3, for a day's trial", secret=True),
    Setting(_CLIENT_ID, "", "v3: the application's API key (Client ID)"),
    Setting(_CLIENT_SECRET, "", "v3: its secret, unless it has none", secret=True),
    Setting(_REFRESH_TOKEN, "", "v3: a refresh token, instead of `contact-activity login`", secret=True),
    Setting(_BASE_URL, "", "where the API is: " + " or ".join(_BASE_URLS.values()) + ", by the version"),
    Setting(
        _TOKEN_URL, "https://authz.constantcontact.com/oauth2/default/v1/token", "v3: where tokens come from"
    ),
    Setting("CONSTANT_CONTACT_PROXY", "", "the proxy for every call, as http://host:port"),
    Setting("CONSTANT_CONTACT_CA_BUNDLE", "", "a PEM file with the only authorities to trust"),
    Setting(_VERSION, Version.V2.value, "the API's version: v2, or v3; by the credentials that are set"),
    Setting("CALLS_PER_SECOND", "4", "the key's calls in any second, shared by every worker"),
    Setting("CALLS_PER_DAY", "10000", "the key's calls in a UTC day"),
    Setting("QUOTA_SHARE", "0.9", "the part of the day's calls that this system may use"),
    Setting("ACCOUNT", "default", "names the account in ids and events; changing it changes every id"),
    Setting(
        "REPORTS",
        "all",
        "all, or any of " + ",".join(ACTIVITY_REPORTS) + "; and any of " + ",".join(SUMMARY_REPORTS),
    ),
    Setting("START_DATE", "", "activities before it are neither read nor published"),
    Setting("OVERLAP_HOURS", "168", "the shortest window that is read again"),
    Setting("REMEMBERED_ACTIVITIES", "200", "activities remembered of each contact, at least"),
    Setting("CAMPAIGN_REPORTS", "auto", "campaigns' reports beside contacts' own: auto, or off"),
    Setting("CAMPAIGN_LOOKBACK_DAYS", "30", "for how many days a campaign's summary is read"),
    Setting("EMAIL_ADDRESSES", "plain", "e-mail addresses in events: plain, hashed or omitted"),
)
# The template sets these for the functions. Each function gets those that it uses.
DEPLOYMENT_SETTINGS = (
    Setting("TICK_MINUTES", "5", "minutes between two ticks of the schedule"),
    Setting("TABLE_NAME", "", "the DynamoDB table"),
    Setting("QUEUE_URL", "", "the contact queue"),
    Setting("EVENT_BUS_NAME", "", "the bus that activity events go to"),
    Setting("SECRET_ID", "", "the secret that holds the credential"),
    Setting("TOKENS_SECRET_ID", "", "v3: the secret of the tokens that came of it"),
    Setting("LOCAL_CREDENTIALS_FOLDER", "", "on the local cloud: the folder whose tokens outlive it"),
)
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS + DEPLOYMENT_SETTINGS}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The API key and the access token of v2. Every call sends both. `repr` shows neither."""

    api_key: str = field(repr=False)
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class V3Credentials:
    """What the environment gives for v3. Each may be missing; `repr` shows no secret.

    `access_token` is used as it is, and stands alone. Otherwise tokens are refreshed: from
    `refresh_token`, or from what `login` stored.
    """

    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)


AnyCredentials = Credentials | V3Credentials


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings except the credentials.

    `proxy` may hold a password. `ca_bundle` is an absolute path; the file has not been opened yet.
    """

    base_url: str
    proxy: str | None = field(repr=False)
    ca_bundle: str | None
    calls_per_second: float
    calls_per_day: int
    quota_share: float
    account: str
    reports: tuple[str, ...]
    start_ms: int | None
    overlap_h: int
    remembered_min: int
    has_campaign_reports: bool
    campaign_lookback_days: int
    email_addresses: EmailAddresses
    api_version: Version
    token_url: str

    @property
    def limits(self) -> Limits:
        """The part of the API key that this system may use; at least one call a day."""
        return Limits(self.calls_per_second, max(1, int(self.calls_per_day * self.quota_share)))

    @property
    def reading(self) -> Reading:
        read = tuple(name for name in self.reports if name not in SUMMARY_REPORTS)
        is_witnessed = self.api_version is Version.V3
        return Reading(
            self.account, read, self.start_ms, self.overlap_h, self.remembered_min, is_witnessed=is_witnessed
        )

    @property
    def campaign_reports(self) -> tuple[ActivityType, ...]:
        """The types whose reports of campaigns are read; none if that is switched off.

        In v3 nothing else publishes: switched off, those are read that contacts' rows ask for.
        """
        reading = self.reading
        return reading.types if self.has_campaign_reports or reading.is_witnessed else ()

    @property
    def contact_summaries(self) -> tuple[SummaryKind, ...]:
        """The summary reports that are read for each contact."""
        kinds = (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN)
        return tuple(kind for kind in kinds if kind.report in self.reports)

    @property
    def lookback_days(self) -> int | None:
        """For how many days after its send a campaign's summary is read; None: never."""
        return self.campaign_lookback_days if SummaryKind.CAMPAIGN.report in self.reports else None


def read_settings(environment: Environment, *, is_logged_in: bool = False) -> Settings:
    """Parse all settings. Raises `SettingsError` for the first one that cannot be used.

    `is_logged_in`: `contact-activity login` stored tokens, which makes v3 the version if the environment
    does not decide.
    """
    version = read_version(environment, is_logged_in=is_logged_in)
    return Settings(
        base_url=_parse(environment, _BASE_URL, _base_url_of(version), _BASE_URLS[version]),
        proxy=_parse(environment, "CONSTANT_CONTACT_PROXY", _proxy),
        ca_bundle=_parse(environment, "CONSTANT_CONTACT_CA_BUNDLE", _path),
        calls_per_second=_parse(environment, "CALLS_PER_SECOND", _number(0.01, 1_000)),
        calls_per_day=_parse(environment, "CALLS_PER_DAY", _whole(1, 100_000_000)),
        quota_share=_parse(environment, "QUOTA_SHARE", _number(0.0001, 1)),
        account=_parse(environment, "ACCOUNT", _account),
        reports=_parse(environment, "REPORTS", _reports),
        start_ms=_parse(environment, "START_DATE", _start),
        overlap_h=_parse(environment, "OVERLAP_HOURS", _whole(1, 24 * 366)),
        remembered_min=_parse(environment, "REMEMBERED_ACTIVITIES", _whole(1, MAX_REMEMBERED)),
        has_campaign_reports=_parse(environment, "CAMPAIGN_REPORTS", _auto_or_off),
        campaign_lookback_days=_parse(environment, "CAMPAIGN_LOOKBACK_DAYS", _whole(1, 366)),
        email_addresses=_parse(environment, "EMAIL_ADDRESSES", _email_addresses),
        api_version=version,
        token_url=_parse(environment, _TOKEN_URL, _base_url),
    )


def read_version(environment: Environment, *, is_logged_in: bool = False) -> Version:
    """Return the API's version: as it is set, else that of the credentials, else v3 after a login, else v2.

    Raises `SettingsError` for a version that does not exist, and for credentials of both versions.
    """
    if environment.get(_VERSION, "").strip():
        return _parse(environment, _VERSION, _api_version)
    given = _given(environment)
    of_v3 = [name for name in _V3_ONLY if name in given]
    if _API_KEY in given:
        if of_v3:
            raise SettingsError(
                f"{_VERSION} is not set, but {_API_KEY} of v2 and {of_v3[0]} of v3 are: set it to v2 or v3"
            )
        return Version.V2
    return Version.V3 if of_v3 or _ACCESS_TOKEN in given or is_logged_in else Version.V2


def read_credentials(
    environment: Environment, *, is_logged_in: bool = False, login: str = "contact-activity login"
) -> AnyCredentials | None:
    """Return the credentials of the version in use, or None if there are none.

    `is_logged_in`: as for `read_settings`. `login`: the command that logs in, for an error. Raises
    `SettingsError` if one is missing, or too many are set.
    """
    version, given = read_version(environment, is_logged_in=is_logged_in), _given(environment)
    return _v2_credentials(given) if version is Version.V2 else _v3_credentials(given, is_logged_in, login)


def read_client(
    environment: Environment, client_id: str | None = None, *, login: str = "contact-activity login"
) -> V3Credentials:
    """Return the client id and the client secret for a login. `client_id` comes before the environment's.

    `login`: as for `read_credentials`. Raises `SettingsError` if there is no client id, or if the credentials
    are those of v2.
    """
    given = _given(environment)
    if client_id and client_id != given.get(_CLIENT_ID):
        # The secret in the environment belongs to another application.
        given.pop(_CLIENT_SECRET, None)
        given[_CLIENT_ID] = client_id
    if _CLIENT_ID not in given:
        instead = f", but {_API_KEY} of v2 is" if _API_KEY in given else ""
        raise SettingsError(
            f"{_CLIENT_ID} is not set{instead}: set it, or give --client-id. {GET_CLIENT_ID}; "
            f"`{login} --help` has each step"
        )
    if read_version(environment, is_logged_in=True) is Version.V2:
        name = _API_KEY if _API_KEY in given else _VERSION
        raise SettingsError(f"{name} is of v2, but a login is for v3: leave it out")
    for name in (_CLIENT_ID, _CLIENT_SECRET):
        check_credential(name, given.get(name, "-"))
    return V3Credentials(given[_CLIENT_ID], given.get(_CLIENT_SECRET))


def _given(environment: Environment) -> dict[str, str]:
    """Return the credentials that are set, of either version."""
    names = (_API_KEY, _ACCESS_TOKEN, *_V3_ONLY)
    return {name: value for name in names if (value := environment.get(name, "").strip())}


def _v2_credentials(given: Mapping[str, str]) -> Credentials | None:
    names = (_API_KEY, _ACCESS_TOKEN)
    missing = [name for name in names if name not in given]
    of_v3 = [name for name in _V3_ONLY if name in given]
    if of_v3 and missing:
        raise SettingsError(f"{of_v3[0]} is of v3, but {_VERSION} is v2: set it to v3, or leave it out")
    if len(missing) == len(names):
        return None
    if missing:
        other = names[1 - names.index(missing[0])]
        hint = f"; an API key (Client ID) of v3 is {_CLIENT_ID}" if other == _API_KEY else ""
        raise SettingsError(f"{missing[0]} is not set, but {other} is: set both, or neither{hint}")
    for name in names:
        check_credential(name, given[name])
    return Credentials(given[_API_KEY], given[_ACCESS_TOKEN])


def _v3_credentials(given: Mapping[str, str], is_logged_in: bool, login: str) -> V3Credentials | None:
    if _API_KEY in given:
        is_set = _CLIENT_ID in given
        key = f"set {_CLIENT_ID} to the API key (Client ID) instead"
        instead = f"leave it out, since {_CLIENT_ID} is set" if is_set else key
        raise SettingsError(f"{_API_KEY} is of v2, but {_VERSION} is v3: {instead}")
    if _ACCESS_TOKEN in given and _REFRESH_TOKEN in given:
        raise SettingsError(f"{_ACCESS_TOKEN} and {_REFRESH_TOKEN} are both set: leave one of them out")
    for name in (_REFRESH_TOKEN, _CLIENT_SECRET):
        if name in given and _CLIENT_ID not in given:
            raise SettingsError(f"{_CLIENT_ID} is not set, but {name} is: set it, too. {GET_CLIENT_ID}")
    for name, value in given.items():
        check_credential(name, value)
    has_token = is_logged_in or _ACCESS_TOKEN in given or _REFRESH_TOKEN in given
    if not has_token and given:
        raise SettingsError(
            f"{_REFRESH_TOKEN} is not set, but {_CLIENT_ID} is: run `{login}`, set it, or "
            "leave both out for the simulated account"
        )
    if not has_token:
        return None
    if _ACCESS_TOKEN in given:
        return V3Credentials(access_token=given[_ACCESS_TOKEN])
    return V3Credentials(given.get(_CLIENT_ID), given.get(_CLIENT_SECRET), given.get(_REFRESH_TOKEN))


def check_credential(name: str, value: str) -> None:
    """Raise `SettingsError` if a value cannot be part of a URL or a header. Its text does not show it."""
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", value):
        raise SettingsError(f"{name} holds a character that no credential has: copy it again")


_PREFIXES = ("CONSTANT_CONTACT_", "CALLS_", "CALL_")
# Others are too short to say that something like them was meant.
_LONG_NAMES = tuple(setting.name for setting in SETTINGS if "_" in setting.name)


def unknown_settings(environment: Environment) -> list[str]:
    """Return a line for each variable that looks like a setting and is none. It never shows the value."""
    wrong = sorted(name for name in environment if name not in _DEFAULTS and _is_like_a_setting(name))
    return [f"{ascii(name)[1:-1]} is no setting{_meant(name)}: it is ignored" for name in wrong]


def _is_like_a_setting(name: str) -> bool:
    return name.startswith(_PREFIXES) or bool(did_you_mean(name.upper(), _LONG_NAMES, alike=0.9))


def _meant(name: str) -> str:
    question = did_you_mean(name.upper(), (setting.name for setting in SETTINGS), alike=0.8)
    return f" ({question})" if question else ""


def required(environment: Environment, name: str) -> str:
    """Return a setting that the template sets. Raises `SettingsError` if it is not set."""
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: the template sets it, deploy it again")
    return value


def read_tick_ms(environment: Environment) -> int:
    return _parse(environment, "TICK_MINUTES", _whole(1, 24 * 60)) * 60_000


def _parse(environment: Environment, name: str, parse: Callable[[str], T], default: str = "") -> T:
    text = environment.get(name, "").strip() or default or _DEFAULTS[name]
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{name}{_shown(name, text)} cannot be used: {error}") from None


def _shown(name: str, text: str) -> str:
    """Return the value for an error text. A URL is left out, because it may hold a password or a key."""
    if name in (_BASE_URL, _TOKEN_URL, "CONSTANT_CONTACT_PROXY"):
        return ""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return f"={shown!r}"


def _number(minimum: float, maximum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text) or not minimum <= float(text) <= maximum:
            raise ValueError(f"give a number from {minimum:g} to {maximum:g}")
        return float(text)

    return parse


def _whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"give a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _api_version(text: str) -> Version:
    if text not in list(Version):
        raise ValueError("give v2 or v3")
    return Version(text)


def _base_url(text: str) -> str:
    """Remove a trailing slash. Only a loopback host may use http: it shows the credentials to the network."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("give a URL without spaces")
    parts = urlsplit(text)
    _ = parts.port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an https URL")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("give only scheme, host, port and path")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("http is only for this machine, give https")
    return text.rstrip("/")


def _base_url_of(version: Version) -> Callable[[str], str]:
    """Refuse an address whose path ends as that of the other version: its answers look like missing scopes.

    Whoever stands between, and has another host, keeps the provider's path.
    """

    def parse(text: str) -> str:
        url = _base_url(text)
        last = urlsplit(url).path.rpartition("/")[2]
        for other in Version:
            if other is not version and last == other.value:
                raise ValueError(
                    f"it is the address of {other.value}, but the version is {version.value}: leave it out, "
                    f"or set {_VERSION} to {other.value}"
                )
        return url

    return parse


def _proxy(text: str) -> str | None:
    """Remove a trailing slash. The URL may hold a user name and a password."""
    if not text:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("give a URL without spaces")
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise ValueError("give http://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("give http://host:port without a path")
    return text.rstrip("/")


def _path(text: str) -> str | None:
    if not text:
        return None
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("give the absolute path of a PEM file")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _account(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("give at most 64 letters, digits, dots, dashes and underscores")
    return text


def _reports(text: str) -> tuple[str, ...]:
    """Return the activity reports, then the summary reports, in the order of the constants, each once."""
    given = [name.strip() for name in text.split(",")]
    for name in given:
        if name not in (ALL_REPORT, *ACTIVITY_REPORTS, *SUMMARY_REPORTS):
            raise ValueError(
                f"give {ALL_REPORT}, or any of {','.join(ACTIVITY_REPORTS)}; and any of "
                + ",".join(SUMMARY_REPORTS)
            )
    activity = tuple(name for name in (ALL_REPORT, *ACTIVITY_REPORTS) if name in given)
    if not activity:
        raise ValueError(
            f"give {ALL_REPORT} or an activity report too: new activity decides when a summary is read"
        )
    if ALL_REPORT in activity and len(activity) > 1:
        raise ValueError(f"{ALL_REPORT} holds every type already, leave the others out")
    return activity + tuple(name for name in SUMMARY_REPORTS if name in given)


def _auto_or_off(text: str) -> bool:
    if text not in ("auto", "off"):
        raise ValueError("give auto or off")
    return text == "auto"


def _start(text: str) -> int | None:
    if not text:
        return None
    start_ms = parse_time(text)
    if start_ms is None:
        raise ValueError("give a date after 1970 such as 2026-01-31, or a time with its offset")
    return start_ms


def _email_addresses(text: str) -> EmailAddresses:
    if text not in list(EmailAddresses):
        raise ValueError(f"give one of {', '.join(EmailAddresses)}")
    return EmailAddresses(text)
