"""Reading the settings. A wrong one is an error of one line."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.domain.event import EmailAddresses
from contact_activity.domain.summary import SummaryKind
from contact_activity.domain.watermark import Reading
from contact_activity.settings import (
    DEPLOYMENT_SETTINGS,
    SETTINGS,
    Credentials,
    Settings,
    SettingsError,
    V3Credentials,
    Version,
    read_client,
    read_credentials,
    read_settings,
    read_tick_ms,
    required,
)
from tests.support.rows import ANY_TEXT

KEY, TOKEN = "CONSTANT_CONTACT_API_KEY", "CONSTANT_CONTACT_ACCESS_TOKEN"
CLIENT_ID, CLIENT_SECRET = "CONSTANT_CONTACT_CLIENT_ID", "CONSTANT_CONTACT_CLIENT_SECRET"
REFRESH, VERSION = "CONSTANT_CONTACT_REFRESH_TOKEN", "CONSTANT_CONTACT_API_VERSION"
URL, TOKEN_URL = "CONSTANT_CONTACT_BASE_URL", "CONSTANT_CONTACT_TOKEN_URL"
V3_TOKEN_URL = "https://authz.constantcontact.com/oauth2/default/v1/token"
PROXY, CA_BUNDLE = "CONSTANT_CONTACT_PROXY", "CONSTANT_CONTACT_CA_BUNDLE"

DEFAULTS = {
    KEY: "",
    TOKEN: "",
    CLIENT_ID: "",
    CLIENT_SECRET: "",
    REFRESH: "",
    TOKEN_URL: V3_TOKEN_URL,
    URL: "",
    "CONSTANT_CONTACT_PROXY": "",
    "CONSTANT_CONTACT_CA_BUNDLE": "",
    "CONSTANT_CONTACT_API_VERSION": "v2",
    "CALLS_PER_SECOND": "4",
    "CALLS_PER_DAY": "10000",
    "QUOTA_SHARE": "0.9",
    "ACCOUNT": "default",
    "REPORTS": "all",
    "START_DATE": "",
    "OVERLAP_HOURS": "168",
    "REMEMBERED_ACTIVITIES": "200",
    "CAMPAIGN_REPORTS": "auto",
    "CAMPAIGN_LOOKBACK_DAYS": "30",
    "EMAIL_ADDRESSES": "plain",
}
PARSED_DEFAULTS = Settings(
    base_url="https://api.constantcontact.com/v2",
    proxy=None,
    ca_bundle=None,
    calls_per_second=4,
    calls_per_day=10_000,
    quota_share=0.9,
    account="default",
    reports=("all",),
    start_ms=None,
    overlap_h=168,
    remembered_min=200,
    has_campaign_reports=True,
    campaign_lookback_days=30,
    email_addresses=EmailAddresses.PLAIN,
    api_version=Version.V2,
    token_url=V3_TOKEN_URL,
)


def refusal(environment: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as error:
        read_settings(environment)
    return str(error.value)


def test_the_defaults_are_the_documented_ones() -> None:
    """An empty environment means the same as one with every default."""
    assert {setting.name: setting.default for setting in SETTINGS} == DEFAULTS
    assert read_settings({}) == read_settings(DEFAULTS) == PARSED_DEFAULTS
    assert read_settings(dict.fromkeys(DEFAULTS, "  ")) == PARSED_DEFAULTS


def test_the_part_of_the_day_for_others_is_not_used() -> None:
    """The limits hold QUOTA_SHARE of the day's calls, at least one."""
    assert read_settings({}).limits.calls_per_day == 9_000
    assert read_settings({"QUOTA_SHARE": "1"}).limits.calls_per_day == 10_000
    assert read_settings({"CALLS_PER_DAY": "1", "QUOTA_SHARE": "0.5"}).limits.calls_per_day == 1


def test_every_setting_is_parsed() -> None:
    """Each value arrives in the form that the domain uses."""
    settings = read_settings(
        {
            URL: "http://127.0.0.1:8080/v2/",
            PROXY: "http://proxy.example.org:3128/",
            CA_BUNDLE: " /etc/ssl/company.pem ",
            "CALLS_PER_SECOND": "2.5",
            "ACCOUNT": "acme-2.test_x",
            "REPORTS": " opens, sends,opens",
            "START_DATE": "2024-06-12",
            "OVERLAP_HOURS": "24",
            "REMEMBERED_ACTIVITIES": "500",
            "EMAIL_ADDRESSES": "hashed",
        }
    )
    assert settings.base_url == "http://127.0.0.1:8080/v2"
    assert settings.proxy == "http://proxy.example.org:3128"
    assert settings.ca_bundle == "/etc/ssl/company.pem"
    assert settings.limits.calls_per_second == 2.5
    assert settings.reading == Reading("acme-2.test_x", ("sends", "opens"), 1_718_150_400_000, 24, 500)
    assert settings.email_addresses is EmailAddresses.HASHED


def test_summaries_are_told_from_activity_reports() -> None:
    """Contact summaries and the campaign summary are separate, and neither changes what a walk reads."""
    settings = read_settings(
        {"REPORTS": "campaign_summary, summary_by_campaign,opens,summary", "CAMPAIGN_LOOKBACK_DAYS": "7"}
    )
    assert settings.reports == ("opens", "summary", "summary_by_campaign", "campaign_summary")
    assert settings.reading.reports == ("opens",)
    assert settings.contact_summaries == (SummaryKind.CONTACT, SummaryKind.CONTACT_CAMPAIGN)
    assert settings.lookback_days == 7
    without = read_settings({"REPORTS": "all,summary_by_campaign"})
    assert without.contact_summaries == (SummaryKind.CONTACT_CAMPAIGN,)
    assert without.lookback_days is None
    assert read_settings({}).contact_summaries == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLS_PER_SECOND", "0"),
        ("CALLS_PER_SECOND", "-1"),
        ("CALLS_PER_SECOND", "4/s"),
        ("CALLS_PER_SECOND", "nan"),
        ("CALLS_PER_SECOND", "1e3"),
        ("CALLS_PER_DAY", "0"),
        ("CALLS_PER_DAY", "10,000"),
        ("CALLS_PER_DAY", "10000.0"),
        ("QUOTA_SHARE", "0"),
        ("QUOTA_SHARE", "1.01"),
        ("QUOTA_SHARE", "90%"),
        ("ACCOUNT", "a b"),
        ("ACCOUNT", "a\nb"),
        ("ACCOUNT", "a/b"),
        ("ACCOUNT", "x" * 65),
        ("REPORTS", "openings"),
        ("REPORTS", "opens,"),
        ("REPORTS", "all,opens"),
        ("REPORTS", "summary"),
        ("REPORTS", "summary_by_campaign,campaign_summary"),
        ("REPORTS", "all,summary,opens"),
        ("REPORTS", "all,Summary"),
        ("REPORTS", "OPENS"),
        ("START_DATE", "12.06.2024"),
        ("START_DATE", "1969-12-31"),
        ("START_DATE", "2024-02-30"),
        ("OVERLAP_HOURS", "0"),
        ("OVERLAP_HOURS", "-168"),
        ("OVERLAP_HOURS", "a week"),
        ("REMEMBERED_ACTIVITIES", "0"),
        ("REMEMBERED_ACTIVITIES", "5001"),
        ("CAMPAIGN_REPORTS", "on"),
        ("CAMPAIGN_LOOKBACK_DAYS", "0"),
        ("EMAIL_ADDRESSES", "none"),
        ("CONSTANT_CONTACT_API_VERSION", "v1"),
        ("CONSTANT_CONTACT_API_VERSION", "3"),
        ("CONSTANT_CONTACT_API_VERSION", "V3"),
        (TOKEN_URL, "authz.constantcontact.com/oauth2"),
        (TOKEN_URL, "http://authz.constantcontact.com/oauth2"),
        (TOKEN_URL, "https://host/token?client_secret=hunter2"),
        (URL, "api.constantcontact.com/v2"),
        (URL, "ftp://api.constantcontact.com/v2"),
        (URL, "https://"),
        (URL, "https://host:port/v2"),
        (URL, "https://[::1/v2"),
        (URL, "https://host/v2?debug=1"),
        (URL, "https://host/v2#top"),
        (URL, "https://ho st/v2"),
        (URL, "https://host/v2\nX-Header: 1"),
        (PROXY, "proxy.example.org:3128"),
        (PROXY, "http://proxy.example.org"),
        (PROXY, "http://proxy.example.org:0"),
        (PROXY, "http://proxy.example.org:port"),
        (PROXY, "http://:3128"),
        (PROXY, "socks5://proxy.example.org:1080"),
        (PROXY, "https://proxy.example.org:3128"),
        (PROXY, "http://proxy.example.org:3128/path"),
        (PROXY, "http://proxy.example.org:3128?x=y"),
        (PROXY, "http://proxy.example.org:3128#top"),
        (PROXY, "http://proxy example.org:3128"),
        (CA_BUNDLE, "company.pem"),
        (CA_BUNDLE, "~/company.pem"),
        (CA_BUNDLE, "/etc/\x00company.pem"),
    ],
)
def test_a_malformed_value_is_an_error_of_one_line_that_names_the_setting(name: str, value: str) -> None:
    """It never falls back to the default."""
    told = refusal({name: value})
    assert told.startswith(name)
    assert len(told.splitlines()) == 1


@given(st.sampled_from([s.name for s in SETTINGS if not s.secret]), ANY_TEXT)
def test_any_text_is_accepted_or_an_error_of_one_short_line(name: str, text: str) -> None:
    """No text raises anything but a `SettingsError`."""
    try:
        read_settings({name: text})
    except SettingsError as error:
        told = str(error)
        assert told.startswith(name)
        assert len(told.splitlines()) == 1
        assert len(told) < 400


def test_a_very_long_value_is_not_shown_in_full() -> None:
    """The line stays short."""
    assert len(refusal({"ACCOUNT": "x" * 100_000})) < 300


# --- http -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8:8000", "[::1]:8000", "LOCALHOST"])
def test_http_is_accepted_for_this_machine(host: str) -> None:
    """A loopback host needs no encryption."""
    assert read_settings({URL: f"http://{host}/v2"}).base_url == f"http://{host}/v2"
    assert read_settings({TOKEN_URL: f"http://{host}/token"}).token_url == f"http://{host}/token"


@pytest.mark.parametrize(
    "host",
    [
        "api.constantcontact.com",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104
        "[fe80::1]",
        "localhost@example.org",
        "localhost\\.example.org",
    ],
)
def test_http_is_refused_for_any_other_host(host: str) -> None:
    """It would show the credentials to the network."""
    assert refusal({URL: f"http://{host}/v2"}).startswith(URL)
    assert refusal({TOKEN_URL: f"http://{host}/token"}).startswith(TOKEN_URL)


# --- secrets --------------------------------------------------------------------------------------


def test_the_credentials_are_both_or_neither() -> None:
    """Without both, the simulated account is used. If one is missing, the error names it.

    A token alone is one of v3, unless the version says otherwise.
    """
    assert read_credentials({}) is None
    assert read_credentials({KEY: " ", TOKEN: ""}) is None
    assert read_credentials({KEY: " k ", TOKEN: "t"}) == Credentials("k", "t")
    for missing, given_one in ((KEY, TOKEN), (TOKEN, KEY)):
        with pytest.raises(SettingsError) as error:
            read_credentials({given_one: "hunter2", VERSION: "v2"})
        assert str(error.value).startswith(missing)
        assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", [KEY, TOKEN])
@pytest.mark.parametrize(
    "value", ["hunter2\nhunter3", "hunter2 hunter3", "hünter2", "h\x00unter2", "x" * 5_000]
)
def test_a_credential_that_cannot_be_sent_is_an_error_without_its_value(name: str, value: str) -> None:
    """The line names only the setting."""
    with pytest.raises(SettingsError) as error:
        read_credentials({KEY: "k", TOKEN: "t", name: value})
    assert str(error.value).startswith(name)
    assert "unter" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("url", ["https://user:hunter2@host/v2", "https://host/v2?api_key=hunter2"])
def test_a_credential_in_the_url_is_refused_without_showing_it(url: str) -> None:
    """The error does not show the URL."""
    assert "hunter2" not in refusal({URL: url})
    assert "hunter2" not in refusal({TOKEN_URL: url})


@pytest.mark.parametrize(
    "proxy", ["http://me:hunter2@host:8080/path", "http://me:hunter2@host", "http://me:hunter2@ho st:8080"]
)
def test_the_password_of_a_proxy_is_never_shown(proxy: str) -> None:
    """Neither the error nor the text of the settings shows it."""
    assert "hunter2" not in refusal({PROXY: proxy})
    settings = read_settings({PROXY: "http://me:hunter2@host:8080"})
    assert settings.proxy == "http://me:hunter2@host:8080"
    assert "hunter2" not in f"{settings!r}"


def test_credentials_are_not_shown() -> None:
    """No secret is in the text of the credentials of either version."""
    assert "hunter2" not in f"{Credentials('hunter2', 'hunter2')!r}"
    assert "hunter2" not in f"{V3Credentials('id', 'hunter2', 'hunter2', 'hunter2')!r}"


# --- v3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "is_logged_in", "version"),
    [
        ({}, False, Version.V2),
        ({}, True, Version.V3),
        ({KEY: "k", TOKEN: "t"}, False, Version.V2),
        ({KEY: "k", TOKEN: "t"}, True, Version.V2),
        ({TOKEN: "t"}, False, Version.V3),
        ({CLIENT_ID: "c", REFRESH: "r"}, False, Version.V3),
        ({CLIENT_ID: "c"}, True, Version.V3),
        ({VERSION: "v3"}, False, Version.V3),
        ({VERSION: "v2"}, True, Version.V2),
        ({VERSION: "v2", KEY: "k", TOKEN: "t", CLIENT_ID: "c"}, False, Version.V2),
    ],
)
def test_the_version_is_as_set_or_that_of_the_credentials(
    given: dict[str, str], is_logged_in: bool, version: Version
) -> None:
    """What the environment gives comes before what login stored. The address follows the version."""
    settings = read_settings(given, is_logged_in=is_logged_in)
    assert settings.api_version is version
    assert settings.base_url == (
        "https://api.cc.email/v3" if version is Version.V3 else "https://api.constantcontact.com/v2"
    )
    assert read_settings({**given, URL: "https://host"}, is_logged_in=is_logged_in).base_url == "https://host"


@pytest.mark.parametrize(
    ("given", "is_logged_in", "credentials"),
    [
        ({TOKEN: " t "}, False, V3Credentials(access_token="t")),
        ({TOKEN: "t", CLIENT_ID: "c"}, True, V3Credentials(access_token="t")),
        ({CLIENT_ID: "c", REFRESH: "r"}, False, V3Credentials("c", None, "r")),
        ({CLIENT_ID: "c", CLIENT_SECRET: "s", REFRESH: "r"}, True, V3Credentials("c", "s", "r")),
        ({}, True, V3Credentials()),
        ({CLIENT_ID: "c", CLIENT_SECRET: "s"}, True, V3Credentials("c", "s")),
        ({VERSION: "v3"}, False, None),
        ({VERSION: "v2"}, True, None),
        ({VERSION: "v2", KEY: "k", TOKEN: "t", CLIENT_ID: "c", REFRESH: "r"}, True, Credentials("k", "t")),
    ],
)
def test_the_credentials_of_v3(
    given: dict[str, str], is_logged_in: bool, credentials: V3Credentials | Credentials | None
) -> None:
    """An access token alone, a refresh token with its client, or what login stored."""
    assert read_credentials(given, is_logged_in=is_logged_in) == credentials


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({TOKEN: "hunter2", REFRESH: "hunter3", CLIENT_ID: "c"}, (TOKEN, REFRESH)),
        ({REFRESH: "hunter2"}, (CLIENT_ID, REFRESH)),
        ({CLIENT_SECRET: "hunter2"}, (CLIENT_ID, CLIENT_SECRET)),
        ({CLIENT_ID: "hunter2"}, (REFRESH, "contact-activity login")),
        ({KEY: "hunter2", VERSION: "v3"}, (KEY, CLIENT_ID)),
        ({CLIENT_ID: "c", REFRESH: "hunter2", VERSION: "v2"}, (CLIENT_ID, VERSION)),
        ({KEY: "hunter2", TOKEN: "hunter3", CLIENT_ID: "c", VERSION: "v3"}, (KEY, CLIENT_ID)),
        ({KEY: "hunter2", TOKEN: "hunter3", CLIENT_ID: "c"}, (VERSION, KEY, CLIENT_ID)),
        ({KEY: "hunter2", REFRESH: "hunter3"}, (VERSION, KEY, REFRESH)),
        ({CLIENT_ID: "c", REFRESH: "hunter2 hunter3"}, (REFRESH,)),
        ({TOKEN: "hünter2"}, (TOKEN,)),
    ],
)
def test_credentials_that_do_not_fit_are_an_error_that_names_the_setting(
    given: dict[str, str], named: tuple[str, ...]
) -> None:
    """One line, which names the settings and shows no value."""
    with pytest.raises(SettingsError) as error:
        read_credentials(given)
    told = str(error.value)
    assert told.startswith(named[0])
    assert all(name in told for name in named)
    assert "unter" not in told
    assert len(told.splitlines()) == 1


def test_a_login_needs_a_client_id_and_may_have_a_secret() -> None:
    """The option comes before the environment, whose secret belongs to its own client id only."""
    assert read_client({CLIENT_ID: "c", CLIENT_SECRET: "s"}) == V3Credentials("c", "s")
    assert read_client({CLIENT_ID: "c", CLIENT_SECRET: "s"}, "c") == V3Credentials("c", "s")
    assert read_client({CLIENT_ID: "c", CLIENT_SECRET: "s"}, "d") == V3Credentials("d")
    for environment in ({}, {KEY: "hunter2"}):
        with pytest.raises(SettingsError, match=CLIENT_ID) as error:
            read_client(environment, login="bin/contact-activity login")
        assert "My Applications" in str(error.value)
        assert "`bin/contact-activity login --help`" in str(error.value)
        assert "hunter2" not in str(error.value)


# --- the environment ------------------------------------------------------------------------------


class _Watched(Mapping[str, str]):
    """An environment that records which names are read."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("settings are read by name")

    def __len__(self) -> int:
        raise AssertionError("settings are read by name")


def test_exactly_the_documented_settings_are_read() -> None:
    """Nothing else of the environment has any effect."""
    watched = _Watched()
    read_settings(watched)
    read_credentials(watched)
    assert watched.asked == {setting.name for setting in SETTINGS}


def test_the_tick_and_the_resources_come_from_the_template() -> None:
    """The tick has a default. A missing resource is an error that names it."""
    assert read_tick_ms({}) == 5 * 60_000
    assert read_tick_ms({"TICK_MINUTES": "15"}) == 15 * 60_000
    assert required({"TABLE_NAME": " table "}, "TABLE_NAME") == "table"
    for name in (setting.name for setting in DEPLOYMENT_SETTINGS if not setting.default):
        with pytest.raises(SettingsError, match=name):
            required({name: " "}, name)
    with pytest.raises(SettingsError, match="TICK_MINUTES"):
        read_tick_ms({"TICK_MINUTES": "0"})


@pytest.mark.parametrize(
    ("version", "url", "other"),
    [
        ("v3", "https://api.constantcontact.com/v2/", "v2"),
        ("v2", "https://api.cc.email/v3", "v3"),
        ("v2", "https://proxy.example/v3", "v3"),
        ("v3", "http://127.0.0.1:8080/constant-contact/v2", "v2"),
    ],
)
def test_the_address_of_the_other_version_is_refused(version: str, url: str, other: str) -> None:
    """Both settings are named. What such an address answers looks like a missing right."""
    with pytest.raises(SettingsError, match="CONSTANT_CONTACT_BASE_URL") as refused:
        read_settings({"CONSTANT_CONTACT_API_VERSION": version, "CONSTANT_CONTACT_BASE_URL": url})
    assert f"set CONSTANT_CONTACT_API_VERSION to {other}" in str(refused.value)


@pytest.mark.parametrize("path", ["", "/", "/constant-contact", "/v3/gateway", "/v30", "/v3/v2"])
def test_an_address_that_tells_no_other_version_is_taken(path: str) -> None:
    """Whoever stands between may have any path."""
    settings = read_settings({"CONSTANT_CONTACT_BASE_URL": f"https://proxy.example{path}"})
    assert settings.base_url == f"https://proxy.example{path}".rstrip("/")
