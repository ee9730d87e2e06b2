"""The template: what must hold of it on AWS, and that it fits the code."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aws_lambda_powertools.metrics import MetricUnit
from hypothesis import given
from hypothesis import strategies as st

from contact_activity.aws.contacts import FORGOTTEN
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.event import EVENT_SOURCE
from contact_activity.domain.schedule import MAX_GONE, MAX_GONE_PERCENT
from contact_activity.entrypoints.telemetry import NAMESPACE, Metric
from contact_activity.example_subscriber.subscriber import REMEMBERED_S
from contact_activity.local_cloud.template import REPOSITORY
from contact_activity.run.memory_queue import MAX_RECEIVES
from contact_activity.settings import DEPLOYMENT_SETTINGS, SETTINGS, Setting, SettingsError, read_settings
from tests.support.families import whole_template

HOUR_S = 3_600
DAY_S = 86_400
SYNCING = ("Dispatcher", "Worker")
FUNCTIONS = (*SYNCING, "Subscriber")
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL"}
# What nothing but the worker needs.
WORKER_ONLY = {"EVENT_BUS_NAME"}
# All that the example of a subscriber is told.
SUBSCRIBER_ENVIRONMENT = {"TIMELINE_TABLE_NAME", "DELIVERIES_TABLE_NAME"} | POWERTOOLS
NO_VALUE = {"Ref": "AWS::NoValue"}
PUBLIC_SETTINGS = [setting for setting in SETTINGS if not setting.secret]


def on_aws(value: Any, *, has_key: bool = False) -> Any:
    """The value with every choice made as on AWS, where Local is false and there is a topic."""
    if isinstance(value, list):
        items = [on_aws(item, has_key=has_key) for item in value]
        return [item for item in items if item != NO_VALUE]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        condition, chosen, otherwise = value["Fn::If"]
        is_so = {
            "IsLocal": False,
            "IsV3": True,
            "HasAlarmTopic": True,
            "HasKey": has_key,
            "HasCaBundleLayer": True,
        }[condition]
        return on_aws(chosen if is_so else otherwise, has_key=has_key)
    named = {name: on_aws(item, has_key=has_key) for name, item in value.items()}
    return {name: item for name, item in named.items() if item != NO_VALUE}


WHOLE = whole_template()
TEMPLATE = on_aws(WHOLE)
WITH_KEY = on_aws(WHOLE, has_key=True)
PARAMETERS: Mapping[str, Mapping[str, Any]] = TEMPLATE["Parameters"]


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = TEMPLATE["Resources"][name]["Properties"]
    return found


def of_type(type_: str) -> list[str]:
    return [name for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == type_]


def environment(function: str) -> dict[str, Any]:
    own = dict[str, Any](properties(function).get("Environment", {}).get("Variables", {}))
    if "Environment" not in TEMPLATE["Resources"][function].get("IgnoreGlobals", []):
        own.update(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    return own


def statements(role: str, template: Mapping[str, Any] = TEMPLATE) -> dict[str, dict[str, Any]]:
    """By name, of the one policy that a role has."""
    granted = template["Resources"][f"{role}Role"]["Properties"]
    (policy,) = granted["Policies"]
    assert "ManagedPolicyArns" not in granted
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def actions(statement: Mapping[str, Any]) -> list[str]:
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


def arn(name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [name, "Arn"]}


def references(value: Any) -> Iterator[str]:
    """The logical names that a part of the template refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("Ref"), str):
            yield value["Ref"]
        if "Fn::GetAtt" in value:
            yield value["Fn::GetAtt"][0]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def parameter_of(setting: Setting) -> str:
    return "".join(word.capitalize() for word in setting.name.split("_"))


def template_accepts(parameter: str, text: str) -> bool:
    rules = PARAMETERS[parameter]
    if "AllowedValues" in rules:
        return text in rules["AllowedValues"]
    # CloudFormation has a pattern match the whole value, and knows ASCII's digits only.
    return re.fullmatch(rules["AllowedPattern"], text, re.ASCII) is not None


def code_accepts(setting: str, text: str) -> bool:
    try:
        read_settings({setting: text})
    except SettingsError:
        return False
    return True


# ------------------------------------------------------------------------------------ the functions


def test_functions_run_on_the_python_and_platform_that_the_layer_is_built_for() -> None:
    """The layer's Makefile builds by default for the Python and the processor of the functions."""
    defaults = dict(re.findall(r"^(PLATFORM|PYVER) \?= (\S+)$", layer_makefile(), re.MULTILINE))
    shared = TEMPLATE["Globals"]["Function"]
    assert (shared["Runtime"], shared["Architectures"]) == (f"python{defaults['PYVER']}", ["arm64"])
    assert defaults["PLATFORM"].startswith("aarch64")
    layer = properties("SharedLayer")
    assert layer["CompatibleRuntimes"] == [shared["Runtime"]]
    assert layer["CompatibleArchitectures"] == shared["Architectures"]
    assert set(of_type("AWS::Serverless::Function")) == set(FUNCTIONS)


def test_everything_built_has_a_target_in_the_layer_makefile() -> None:
    """The layer and each function are built by a target that bears their name."""
    built = of_type("AWS::Serverless::Function") + of_type("AWS::Serverless::LayerVersion")
    rules = re.findall(r"^(build-[\w -]+):", layer_makefile(), re.MULTILINE)
    assert {f"build-{name}" for name in built} == {target for rule in rules for target in rule.split()}
    assert {TEMPLATE["Resources"][name]["Metadata"]["BuildMethod"] for name in built} == {"makefile"}


def layer_makefile() -> str:
    return (REPOSITORY / "shared" / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("function", SYNCING)
def test_function_gets_exactly_the_settings_that_the_code_reads(function: str) -> None:
    """The environment holds every setting that is no secret and what the deployment adds, no more."""
    expected = {setting.name for setting in [*PUBLIC_SETTINGS, *DEPLOYMENT_SETTINGS]} | POWERTOOLS
    if function != "Worker":
        expected -= WORKER_ONLY
    assert set(environment(function)) == expected


@pytest.mark.parametrize("setting", PUBLIC_SETTINGS, ids=lambda setting: setting.name)
def test_setting_is_a_parameter_with_the_same_default(setting: Setting) -> None:
    """A setting comes from the parameter of its name, and both have the same default."""
    parameter = parameter_of(setting)
    assert str(PARAMETERS[parameter]["Default"]) == setting.default
    for function in SYNCING:
        assert environment(function)[setting.name] == {"Ref": parameter}


def test_tick_of_the_code_is_that_of_the_schedule() -> None:
    """The functions are told the minutes that the schedule has, with the same default."""
    tick = next(setting for setting in DEPLOYMENT_SETTINGS if setting.name == "TICK_MINUTES")
    assert str(PARAMETERS["ScheduleMinutes"]["Default"]) == tick.default
    assert environment("Dispatcher")["TICK_MINUTES"] == {"Ref": "ScheduleMinutes"}
    assert schedule()["ScheduleExpression"] == {"Fn::Sub": "rate(${ScheduleMinutes} minutes)"}
    # EventBridge has another word for one minute.
    assert not template_accepts("ScheduleMinutes", "1")


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.secret], ids=lambda s: s.name)
def test_no_credential_is_a_parameter_or_in_an_environment(setting: Setting) -> None:
    """Credentials are in the secret only, which the template creates without a value."""
    assert parameter_of(setting) not in PARAMETERS
    assert all(setting.name not in environment(function) for function in FUNCTIONS)
    assert not {"SecretString", "GenerateSecretString"} & set(properties("Secret"))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("CONSTANT_CONTACT_BASE_URL", "https://api.example.org/v2"),
        ("CONSTANT_CONTACT_BASE_URL", "http://127.0.0.1:8080/v2"),
        ("CONSTANT_CONTACT_BASE_URL", "http://localhost:8080"),
        ("CONSTANT_CONTACT_PROXY", "http://proxy.example.org:3128"),
        ("CONSTANT_CONTACT_PROXY", "http://10.0.0.1:80/"),
        ("CONSTANT_CONTACT_CA_BUNDLE", "/opt/company.pem"),
        ("CALLS_PER_SECOND", "0.5"),
        ("CALLS_PER_DAY", "1"),
        ("QUOTA_SHARE", "1"),
        ("ACCOUNT", "shop-1.north_2"),
        ("REPORTS", "opens"),
        ("REPORTS", "sends,opens,clicks,forwards,bounces,unsubscribes"),
        ("REPORTS", "all,summary,summary_by_campaign,campaign_summary"),
        ("REPORTS", "campaign_summary,opens,summary,clicks"),
        ("REPORTS", "summary_by_campaign,all"),
        ("START_DATE", "2026-01-31"),
        ("START_DATE", "2026-01-31T10:00:00+02:00"),
        ("START_DATE", "2026-01-31T10:00:00.123Z"),
        ("OVERLAP_HOURS", "8784"),
        ("REMEMBERED_ACTIVITIES", "5000"),
        ("CAMPAIGN_LOOKBACK_DAYS", "366"),
        ("EMAIL_ADDRESSES", "hashed"),
    ],
)
def test_template_and_code_take_the_same_values(setting: str, text: str) -> None:
    """A value that the code can use can be given as the parameter."""
    assert code_accepts(setting, text)
    assert template_accepts(parameter_of(Setting(setting, "", "")), text)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("CONSTANT_CONTACT_BASE_URL", "http://api.example.org/v2"),
        ("CONSTANT_CONTACT_BASE_URL", "ftp://api.example.org/v2"),
        ("CONSTANT_CONTACT_BASE_URL", "https://user@api.example.org/v2"),
        ("CONSTANT_CONTACT_BASE_URL", "https://api.example.org/v2?a=b"),
        ("CONSTANT_CONTACT_PROXY", "proxy.example.org:3128"),
        ("CONSTANT_CONTACT_PROXY", "http://proxy.example.org"),
        ("CONSTANT_CONTACT_PROXY", "http://proxy.example.org:0"),
        ("CONSTANT_CONTACT_PROXY", "http://proxy.example.org:3128/path"),
        ("CONSTANT_CONTACT_PROXY", "socks5://proxy.example.org:1080"),
        ("CONSTANT_CONTACT_PROXY", "https://proxy.example.org:3128"),
        ("CONSTANT_CONTACT_CA_BUNDLE", "company.pem"),
        ("CONSTANT_CONTACT_API_VERSION", "v1"),
        ("CALLS_PER_SECOND", "0.001"),
        ("CALLS_PER_SECOND", "1001"),
        ("CALLS_PER_DAY", "0"),
        ("QUOTA_SHARE", "0"),
        ("QUOTA_SHARE", "1.1"),
        ("ACCOUNT", "a b"),
        ("ACCOUNT", "-a"),
        ("ACCOUNT", "a" * 65),
        ("REPORTS", "all,opens"),
        ("REPORTS", "opened"),
        ("REPORTS", "summary"),
        ("REPORTS", "summary,campaign_summary"),
        ("REPORTS", "all,summary,opens"),
        ("REPORTS", "opens,summary_by_contact"),
        ("START_DATE", "31.01.2026"),
        ("START_DATE", "1969-12-31"),
        ("START_DATE", "2026-13-01"),
        ("OVERLAP_HOURS", "0"),
        ("OVERLAP_HOURS", "8785"),
        ("REMEMBERED_ACTIVITIES", "5001"),
        ("CAMPAIGN_LOOKBACK_DAYS", "367"),
        ("EMAIL_ADDRESSES", "encrypted"),
    ],
)
def test_template_refuses_what_the_code_refuses(setting: str, text: str) -> None:
    """A mistake in a setting is found when it is deployed, not when it is run."""
    assert not code_accepts(setting, text)
    assert not template_accepts(parameter_of(Setting(setting, "", "")), text)


NUMBERS = {
    "CallsPerSecond": (0.01, 1_000),
    "CallsPerDay": (1, 100_000_000),
    "QuotaShare": (0.0001, 1),
    "OverlapHours": (1, 8_784),
    "RememberedActivities": (1, 5_000),
    "CampaignLookbackDays": (1, 366),
    "ScheduleMinutes": (2, 1_440),
    "WorkerConcurrency": (2, 1_000),
    "ArchiveDays": (0, 3_653),
    "LagAlarmSeconds": (900, 2_592_000),
    "FreshnessAlarmSeconds": (900, 2_592_000),
}
FRACTIONS = {"CallsPerSecond", "QuotaShare"}
NO_NUMBERS = ["", " 10", "10 ", "010", "00", "-10", "+10", "1e1", "10,0", "1_0", "ten", "٣٠", "0x10", "10\n"]
OF_ANOTHER_SERVICE = [
    "arn:aws:s3:::bucket",
    "arn:aws:lambda:eu-west-1:123456789012:function:mine",
    "arn:aws:sqs:eu-west-1:123456789012:queue",
    "arn:gcp:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
]
SWITCH: tuple[list[str], list[str]] = (["true", "false"], ["", "True", "yes", "1", " true"])
# What each other parameter takes, and what it must refuse.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "ConstantContactBaseUrl": (
        ["", "https://api.example.org:8443/v2/", "http://127.0.0.1:8080/v2", "http://[::1]:8080"],
        [
            *("api.example.org/v2", "//api.example.org", "https://", "https:///v2", "https://:443"),
            *("https://api.example.org:0", "https://api.example.org:65536", "http://127.0.0.256"),
            *("https://api.example.org/a b", " https://api.example.org", "https://me@api.example.org"),
            *("https://api..org", "https://api.example.org/ü", "http://127.0.0.1.example.org"),
        ],
    ),
    "ConstantContactTokenUrl": (
        ["https://authz.example.org/oauth2/default/v1/token", "http://127.0.0.1:8080/token"],
        ["", "authz.example.org/token", "http://authz.example.org/token", "https://me@authz.example.org"],
    ),
    "ConstantContactProxy": (
        ["", "http://proxy:3128", "http://10.0.0.1:65535/"],
        ["proxy:3128", "http://proxy:65536", "http://proxy:080", "http://a b:80", "http://me:x@proxy:80"],
    ),
    "ConstantContactCaBundle": (
        ["", "/opt/company.pem"],
        [
            "company.pem",
            "/",
            "/opt/",
            "/opt/our authorities.pem",
            "/opt/company.pem ",
            "/opt/a\nb.pem",
            "s3://bucket/company.pem",
        ],
    ),
    "CaBundleLayerArn": (
        ["", "arn:aws:lambda:eu-west-1:123456789012:layer:certificates:3"],
        [*OF_ANOTHER_SERVICE, "arn:aws:lambda:eu-west-1:123456789012:layer:certificates", "certificates:3"],
    ),
    "ConstantContactApiVersion": (["v2", "v3"], ["", "v1", "2", "V2"]),
    "ConstantContactClientId": (["", "2f1c-9a"], ["two words", "ä", "x" * 4097]),
    "LocalCredentialsFolder": (["", "/var/lib/contact-activity"], ["state", "./state"]),
    "Account": (["shop-1.north_2"], ["", "a b", "-a", "a" * 65, "ä", "a/b", "shop "]),
    "CampaignReports": (["auto", "off"], ["", "on", "AUTO", "false"]),
    "Reports": (
        ["all,summary", "opens,clicks"],
        ["", "opened", "opens, clicks", "all,opens", "summary", "opens,", "OPENS", "opens;clicks"],
    ),
    "StartDate": (
        ["", "2026-01-31", "2024-02-29", "2000-02-29T23:59:59.5Z", "2026-01-31T10:00+02:00"],
        [
            *("2026-02-29", "2100-02-29", "2026-02-30", "2026-04-31", "2026-00-10", "26-01-31", "31.01.2026"),
            *("2026-01-31T24:00Z", "2026-01-31T10:60Z", "2026-01-31T10:00", "2026-01-31T10:00+24:00"),
            *(" 2026-01-31", "2026-01-31 10:00Z", "today", "-5"),
        ],
    ),
    "EmailAddresses": (["plain", "hashed", "omitted"], ["", "Plain", "encrypted", "hashed "]),
    "LogLevel": (["DEBUG", "ERROR"], ["", "debug", "TRACE", "20"]),
    "LogRetentionDays": (["1", "3653"], ["", "0", "2", "030", "30.0", "-1", "never"]),
    "KmsKeyArn": (
        [
            "",
            "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        ],
        [
            *(*OF_ANOTHER_SERVICE, "1234abcd-12ab-34cd-56ef-1234567890ab", "alias/mine"),
            "arn:aws:kms:eu-west-1:123456789012:alias/mine",
            "arn:aws:kms:eu-west-1:123456789012:key/mine",
        ],
    ),
    "AlarmTopicArn": (
        ["", "arn:aws:sns:eu-west-1:123456789012:alarms", "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a"],
        [
            *(*OF_ANOTHER_SERVICE, "alarms", "ops@example.org"),
            # CloudWatch sends to no such topic.
            "arn:aws:sns:eu-west-1:123456789012:alarms.fifo",
            "arn:aws:sns:eu-west-1:123456789012:alarms:1234abcd-12ab-34cd-56ef-1234567890ab",
        ],
    ),
    "Local": SWITCH,
    "DeploySubscriber": SWITCH,
    "DeployDashboard": SWITCH,
    "SubscriberAccounts": (
        ["", "123456789012", "123456789012,210987654321"],
        [
            *("12345678901", "1234567890123", "123456789012,", "123456789012, 210987654321", "*"),
            *("123456789012;210987654321", "arn:aws:iam::123456789012:root", ",".join(["123456789012"] * 21)),
        ],
    ),
}


def test_every_parameter_has_examples_and_says_what_it_takes() -> None:
    """A new parameter is not forgotten, and CloudFormation shows what a refused value should have been."""
    assert set(NUMBERS) | set(EXAMPLES) == set(PARAMETERS)
    for parameter in PARAMETERS.values():
        # As a Number CloudFormation would take 007, 2.5 and 1e3, and hand them on as they are.
        assert parameter["Type"] == "String"
        assert parameter["ConstraintDescription"]
        assert len({"AllowedValues", "AllowedPattern"} & set(parameter)) == 1


@pytest.mark.parametrize("parameter", EXAMPLES)
def test_parameter_takes_what_works_and_refuses_what_fails_later(parameter: str) -> None:
    """What no function, schedule or alarm could use is refused before anything is created."""
    good, bad = EXAMPLES[parameter]
    assert [
        text for text in [*good, PARAMETERS[parameter]["Default"]] if not template_accepts(parameter, text)
    ] == []
    assert [text for text in bad if template_accepts(parameter, text)] == []


@pytest.mark.parametrize("parameter", NUMBERS)
def test_number_is_a_plain_one_within_its_bounds(parameter: str) -> None:
    """No sign, no space, no leading zero, no exponent; whole, but for what may be a fraction."""
    least, most = NUMBERS[parameter]
    for text in NO_NUMBERS:
        assert not template_accepts(parameter, text), text
    for text in (f"{least:g}", f"{most:.0f}", PARAMETERS[parameter]["Default"]):
        assert template_accepts(parameter, text), text
    assert not template_accepts(parameter, f"{most + 1:.0f}")
    assert not template_accepts(parameter, f"{most:.0f}.5")
    assert template_accepts(parameter, "0.5") is (parameter in FRACTIONS)


@pytest.mark.parametrize("parameter", sorted(set(NUMBERS) - FRACTIONS))
def test_pattern_of_a_whole_number_is_its_bounds(parameter: str) -> None:
    """Each number is taken exactly if it lies within them."""
    least, most = NUMBERS[parameter]
    tried = {*range(12_000), *(10**power + by for power in range(4, 10) for by in (-1, 0, 1))}
    tried |= {int(most) + by for by in range(-1_000, 1_000)} | {
        int(most) * tenth // 10 for tenth in range(20)
    }
    wrong = [n for n in tried if n >= 0 and template_accepts(parameter, str(n)) is not (least <= n <= most)]
    assert wrong == []


@pytest.mark.parametrize("setting", PUBLIC_SETTINGS, ids=lambda setting: setting.name)
@given(data=st.data())
def test_whatever_the_template_takes_the_code_can_use(setting: Setting, data: st.DataObject) -> None:
    """No value passes the deployment and fails the functions."""
    rules = PARAMETERS[parameter_of(setting)]
    if "AllowedValues" in rules:
        text = data.draw(st.sampled_from(rules["AllowedValues"]))
    else:
        text = data.draw(st.from_regex(re.compile(rules["AllowedPattern"], re.ASCII), fullmatch=True))
    assert code_accepts(setting.name, text)


def test_layer_of_certificates_is_not_given_for_nothing() -> None:
    """Without the path of its file nothing of it would be trusted, and the deployment would look well."""
    (rule,) = WHOLE["Rules"].values()
    (assertion,) = rule["Assertions"]
    for condition, parameter in (
        (rule["RuleCondition"], "CaBundleLayerArn"),
        (assertion["Assert"], "ConstantContactCaBundle"),
    ):
        assert condition == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
    assert assertion["AssertDescription"]


def test_the_password_of_a_proxy_is_no_parameter() -> None:
    """It would stand in the functions' environment, where more people read than in the secret."""
    assert not template_accepts("ConstantContactProxy", "http://me:hunter2@proxy.example.org:3128")


def test_a_layer_with_certificates_is_the_users_own() -> None:
    """It is beside the layer of the code, and without one there is none."""
    assert PARAMETERS["CaBundleLayerArn"]["Default"] == ""
    assert WHOLE["Globals"]["Function"]["Layers"] == [
        {"Ref": "SharedLayer"},
        {"Fn::If": ["HasCaBundleLayer", {"Ref": "CaBundleLayerArn"}, NO_VALUE]},
    ]


# ---------------------------------------------------------------------------------- queues, schedule


def test_message_stays_hidden_for_six_times_the_workers_timeout() -> None:
    """A message that is still being worked on is not delivered again."""
    assert properties("ContactQueue")["VisibilityTimeout"] >= 6 * properties("Worker")["Timeout"]


def test_worker_gives_back_only_what_failed() -> None:
    """The worker takes small batches, reports single failures, and is limited in number."""
    source = properties("Worker")["Events"]["Contacts"]["Properties"]
    assert source["Queue"] == arn("ContactQueue")
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] <= 10
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "WorkerConcurrency"}}
    # AWS takes no less than two.
    assert not template_accepts("WorkerConcurrency", "1")


def test_long_history_is_not_cut_as_a_loop() -> None:
    """The worker may send to its own queue as often as a history needs."""
    assert properties("Worker")["RecursiveLoop"] == "Allow"


def test_hints_last_a_day_and_poison_is_kept_for_two_weeks() -> None:
    """The contact queue forgets in a day; what was received in vain is kept for 14 days."""
    queue = properties("ContactQueue")
    assert queue["MessageRetentionPeriod"] == DAY_S
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": arn("ContactDeadLetters"),
        "maxReceiveCount": MAX_RECEIVES,
    }
    assert properties("ContactDeadLetters")["MessageRetentionPeriod"] == 14 * DAY_S
    assert properties("DispatchFailures")["MessageRetentionPeriod"] == 14 * DAY_S


def test_workers_that_do_not_start_lose_no_message_for_three_quarters_of_an_hour() -> None:
    """AWS advises five receives; the last of them begins 48 minutes after the first."""
    queue = properties("ContactQueue")
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    last_s = (queue["RedrivePolicy"]["maxReceiveCount"] - 1) * queue["VisibilityTimeout"]
    assert last_s == 48 * 60


def test_dead_letters_come_from_the_contact_queue_only() -> None:
    """The dead-letter queue names its one source, whose name is fixed for that."""
    policy = properties("ContactDeadLetters")["RedriveAllowPolicy"]
    (source,) = policy["sourceQueueArns"]
    assert policy["redrivePermission"] == "byQueue"
    assert source["Fn::Sub"] == (
        "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:"
        + properties("ContactQueue")["QueueName"]["Fn::Sub"]
    )


def test_failed_tick_is_kept_and_not_repeated() -> None:
    """A tick that fails or cannot be handed over is not tried again at once, but is seen."""
    invocation = properties("Dispatcher")["EventInvokeConfig"]
    assert invocation["MaximumRetryAttempts"] == 0
    assert invocation["DestinationConfig"]["OnFailure"] == {
        "Type": "SQS",
        "Destination": arn("DispatchFailures"),
    }
    assert schedule()["DeadLetterConfig"] == {"Arn": arn("DispatchFailures")}
    assert schedule()["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 60 * 15


def test_schedules_of_two_stacks_do_not_collide() -> None:
    """The schedule's name is left to CloudFormation."""
    assert schedule()["OmitName"] is True
    assert "Name" not in schedule()


def schedule() -> dict[str, Any]:
    (event,) = properties("Dispatcher")["Events"].values()
    assert event["Type"] == "ScheduleV2"
    found: dict[str, Any] = event["Properties"]
    return found


# --------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_queue_is_encrypted(queue: str) -> None:
    """Every queue is encrypted at rest."""
    assert properties(queue)["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_queue_is_spoken_to_over_tls_only(queue: str) -> None:
    """Whoever comes without TLS is denied everything, by the one policy that each queue has of its own."""
    (policy,) = [policy for policy in attached_policies() if {"Ref": queue} in policy["Queues"]]
    assert policy["Queues"] == [{"Ref": queue}]
    (denied,) = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
    assert (denied["Principal"], actions(denied)) == ("*", ["sqs:*"])
    assert denied["Resource"] == arn(queue)
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_statement_of_a_policy_attached_to_a_resource_names_that_resource_alone() -> None:
    """SQS takes one resource in a statement, EventBridge one bus: with a list the first deployment fails."""
    documents = [policy["PolicyDocument"] for policy in attached_policies()]
    documents += [
        {"Statement": [properties(name)["Statement"]]} for name in of_type("AWS::Events::EventBusPolicy")
    ]
    named = [statement["Resource"] for document in documents for statement in document["Statement"]]
    assert len(named) >= len(of_type("AWS::SQS::Queue"))
    assert all(isinstance(resource, dict) and len(resource) == 1 for resource in named)


def attached_policies() -> list[dict[str, Any]]:
    return [properties(name) for name in of_type("AWS::SQS::QueuePolicy")]


def test_archive_keeps_our_events_if_it_is_asked_for() -> None:
    """Events hold addresses, so nothing is kept for replay unless somebody says for how long."""
    archive, parameter = properties("Archive"), TEMPLATE["Parameters"]["ArchiveDays"]
    assert (TEMPLATE["Resources"]["Archive"]["Condition"], parameter["Default"]) == ("HasArchive", "0")
    assert TEMPLATE["Conditions"]["HasArchive"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ArchiveDays"}, "0"]}]
    }
    assert archive["SourceArn"] == arn("EventBus")
    assert archive["EventPattern"] == {"source": [EVENT_SOURCE]}
    assert archive["RetentionDays"] == {"Ref": "ArchiveDays"}


def test_table_is_encrypted_recoverable_and_outlives_the_stack() -> None:
    """Losing the table would publish everything again, so it can be restored and is not deleted."""
    table, resource = properties("Table"), TEMPLATE["Resources"]["Table"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_table_has_one_key_and_the_due_index() -> None:
    """An item is found by pk; due contacts by shard and time, as keys only."""
    table = properties("Table")
    types = {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]}
    (index,) = table["GlobalSecondaryIndexes"]
    assert types == {"pk": "S", "due_shard": "N", "due_at": "N"}
    assert table["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert index["IndexName"] == "due"
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]] == [
        ("due_shard", "HASH"),
        ("due_at", "RANGE"),
    ]


@pytest.mark.parametrize("table", of_type("AWS::DynamoDB::Table"))
def test_every_table_is_encrypted_and_paid_by_use(table: str) -> None:
    """Every table is encrypted at rest, and one that nobody uses costs nothing but its storage."""
    assert properties(table)["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert properties(table)["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_logs_of_each_function_end_some_day(function: str) -> None:
    """Each function logs to a group of the stack, whose retention the operator sets."""
    group = properties(function)["LoggingConfig"]["LogGroup"]["Ref"]
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_no_log_group_is_shared() -> None:
    """Each function has its own log group, and no group is without a function."""
    used = [properties(function)["LoggingConfig"]["LogGroup"]["Ref"] for function in FUNCTIONS]
    assert sorted(used) == sorted(of_type("AWS::Logs::LogGroup"))


# Where a resource names the key of its own that it is encrypted with.
KEY_PROPERTIES = {
    "AWS::SQS::Queue": ["KmsMasterKeyId"],
    "AWS::DynamoDB::Table": ["SSESpecification", "KMSMasterKeyId"],
    "AWS::SecretsManager::Secret": ["KmsKeyId"],
    "AWS::Logs::LogGroup": ["KmsKeyId"],
    "AWS::Events::Archive": ["KmsKeyIdentifier"],
}


@pytest.mark.parametrize("type_", KEY_PROPERTIES)
def test_whatever_keeps_something_takes_the_operators_key(type_: str) -> None:
    """With `KmsKeyArn` every queue, table, secret, log group and archive has it; without it, none has one."""
    for name in of_type(type_):
        found, without = WITH_KEY["Resources"][name]["Properties"], properties(name)
        for step in KEY_PROPERTIES[type_]:
            found, without = found.get(step, {}), without.get(step, {})
        assert (found, without) == ({"Ref": "KmsKeyArn"}, {})
        # SQS takes one kind of encryption at a time.
        assert "SqsManagedSseEnabled" not in WITH_KEY["Resources"][name]["Properties"]


@pytest.mark.parametrize("role", [*FUNCTIONS, "Schedule"])
def test_roles_may_use_the_operators_key_and_no_other(role: str) -> None:
    """Queues, table and secret are read and written with it by whoever reads and writes them."""
    key = statements(role, WITH_KEY)["Key"]
    assert (set(actions(key)), key["Resource"]) == (
        {"kms:Decrypt", "kms:GenerateDataKey"},
        {"Ref": "KmsKeyArn"},
    )
    assert "Key" not in statements(role)


# --------------------------------------------------------------------------- the subscriber (example)


def test_nothing_of_the_subscriber_is_deployed_unless_asked_for() -> None:
    """Whatever the function, its rule, tables, queue or logs need has the one condition, and no other has."""
    asked = {"Fn::Equals": [{"Ref": "DeploySubscriber"}, "true"]}
    assert PARAMETERS["DeploySubscriber"]["Default"] == "false"
    assert WHOLE["Conditions"]["HasSubscriber"] == asked
    conditional = {
        name
        for part in ("Resources", "Outputs")
        for name, resource in WHOLE[part].items()
        if resource.get("Condition") == "HasSubscriber"
    }
    assert conditional == {
        "Subscriber",
        "SubscriberRole",
        "SubscriberLogs",
        "SubscriberFailures",
        "SubscriberFailuresPolicy",
        "SubscriberFailuresAlarm",
        "Deliveries",
        "Timeline",
        "SubscriberName",
        "SubscriberFailuresUrl",
        "TimelineTableName",
        "DeliveriesTableName",
    }
    others = {name: part for name, part in WHOLE["Resources"].items() if name not in conditional}
    assert conditional.isdisjoint(references(others))


def test_subscriber_is_told_of_its_tables_only() -> None:
    """The example has none of the settings, and gets no name of what it may not use."""
    assert set(environment("Subscriber")) == SUBSCRIBER_ENVIRONMENT
    assert environment("Subscriber")["TIMELINE_TABLE_NAME"] == {"Ref": "Timeline"}
    assert environment("Subscriber")["DELIVERIES_TABLE_NAME"] == {"Ref": "Deliveries"}


def test_subscriber_asks_for_every_activity() -> None:
    """Its rule is on the stack's bus and names the events that tell of an activity, no others."""
    rule = subscription()
    assert rule["EventBusName"] == {"Ref": "EventBus"}
    assert rule["Pattern"] == {
        "source": [EVENT_SOURCE],
        "detail-type": [type_.detail_type for type_ in ActivityType],
    }


def test_event_that_the_subscriber_does_not_get_or_handle_is_kept() -> None:
    """EventBridge and Lambda each try for hours, then put the event where it is kept for two weeks."""
    kept = arn("SubscriberFailures")
    rule, invocation = subscription(), properties("Subscriber")["EventInvokeConfig"]
    assert rule["DeadLetterConfig"] == {"Arn": kept}
    assert rule["RetryPolicy"]["MaximumEventAgeInSeconds"] >= HOUR_S
    assert invocation["DestinationConfig"]["OnFailure"] == {"Type": "SQS", "Destination": kept}
    assert invocation["MaximumRetryAttempts"] >= 1
    assert invocation["MaximumEventAgeInSeconds"] >= HOUR_S
    assert properties("SubscriberFailures")["MessageRetentionPeriod"] == 14 * DAY_S


def test_only_the_subscribers_rule_may_send_to_its_failures() -> None:
    """EventBridge is let into the queue for the one rule that names it."""
    policy = properties("SubscriberFailuresPolicy")["PolicyDocument"]
    (statement,) = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert actions(statement) == ["sqs:SendMessage"]
    assert statement["Resource"] == arn("SubscriberFailures")
    # The name that SAM gives to the rule of the function's event.
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": arn("SubscriberActivities")}}
    assert list(properties("Subscriber")["Events"]) == ["Activities"]


def test_deliveries_are_forgotten_when_no_dead_letter_can_bring_them_again() -> None:
    """What was handled is remembered as long as a failed event is kept, then DynamoDB removes it."""
    table = properties("Deliveries")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert properties("SubscriberFailures")["MessageRetentionPeriod"] <= REMEMBERED_S


def test_other_accounts_may_put_rules_on_the_bus_only_if_they_are_named() -> None:
    """Off by default; an account manages the rules that it made itself, and may publish nothing."""
    assert PARAMETERS["SubscriberAccounts"]["Default"] == ""
    assert WHOLE["Resources"]["SubscriberAccountsPolicy"]["Condition"] == "HasSubscriberAccounts"
    assert WHOLE["Conditions"]["HasSubscriberAccounts"] == {
        "Fn::And": [
            {"Condition": "IsInAws"},
            {"Fn::Not": [{"Fn::Equals": [{"Ref": "SubscriberAccounts"}, ""]}]},
        ]
    }
    policy = properties("SubscriberAccountsPolicy")
    assert policy["EventBusName"] == {"Ref": "EventBus"}
    statement = policy["Statement"]
    assert statement["Principal"] == {"AWS": {"Fn::Split": [",", {"Ref": "SubscriberAccounts"}]}}
    assert statement["Resource"]["Fn::Sub"].endswith(":rule/${EventBus}/*")
    assert {action.split(":")[0] for action in actions(statement)} == {"events"}
    assert "events:PutEvents" not in actions(statement)
    assert statement["Condition"] == {
        "StringEqualsIfExists": {"events:creatorAccount": "${aws:PrincipalAccount}"}
    }


def test_dashboard_can_be_left_out() -> None:
    """AWS charges for more than three in an account."""
    assert PARAMETERS["DeployDashboard"]["Default"] == "true"
    conditions = [
        WHOLE["Resources"]["Dashboard"]["Condition"],
        WHOLE["Outputs"]["DashboardName"]["Condition"],
    ]
    assert conditions == ["HasDashboard"] * 2
    assert WHOLE["Conditions"]["HasDashboard"] == {"Fn::Equals": [{"Ref": "DeployDashboard"}, "true"]}


def test_timeline_is_one_partition_a_contact_in_order_of_time() -> None:
    """The key is the contact, then time and id; the table can be restored."""
    table = properties("Timeline")
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
        ("contact_id", "HASH"),
        ("time_id", "RANGE"),
    ]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def subscription() -> dict[str, Any]:
    (event,) = properties("Subscriber")["Events"].values()
    assert event["Type"] == "EventBridgeRule"
    found: dict[str, Any] = event["Properties"]
    return found


# -------------------------------------------------------------------------------------- permissions

# What AWS itself does in a role's name: no failing function would show that one of these is missing. Of
# every other permission that it is needed, and enough, is shown where the functions run under their roles.
BY_AWS = {
    "Logs": {"logs:CreateLogStream", "logs:PutLogEvents"},
    "Traces": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    "Failures": {"sqs:SendMessage"},
    "Take": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    "Tick": {"lambda:InvokeFunction"},
}
RESOURCES_BY_AWS = {
    "Schedule": {"Tick": arn("Dispatcher"), "Failures": arn("DispatchFailures")},
    "Dispatcher": {"Failures": arn("DispatchFailures")},
    "Worker": {"Take": arn("ContactQueue")},
    "Subscriber": {"Failures": arn("SubscriberFailures")},
}


@pytest.mark.parametrize("role", RESOURCES_BY_AWS)
def test_what_aws_does_for_a_role_is_granted_and_no_more(role: str) -> None:
    """Logs, traces, failures that are kept, the queue that is polled and the tick that is sent."""
    expected: dict[str, object] = {**RESOURCES_BY_AWS[role]}
    if role in FUNCTIONS:
        # X-Ray has no resources that a permission could name.
        expected |= {"Logs": arn(f"{role}Logs"), "Traces": "*"}
    granted = {sid: found for sid, found in statements(role).items() if sid in BY_AWS}
    assert {sid: found["Resource"] for sid, found in granted.items()} == expected
    assert all(set(actions(found)) == BY_AWS[sid] for sid, found in granted.items())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_has_the_role_of_its_name(function: str) -> None:
    """SAM then adds no policy of AWS's, which would be for every queue and every log of the account."""
    assert properties(function)["Role"] == arn(f"{function}Role")
    assert "Policies" not in properties(function)
    (trust,) = properties(f"{function}Role")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_schedule_has_a_role_that_only_this_account_lends_it() -> None:
    """The service is trusted on behalf of the account's own schedules alone."""
    (trust,) = properties("ScheduleRole")["AssumeRolePolicyDocument"]["Statement"]
    assert schedule()["RoleArn"] == arn("ScheduleRole")
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


@pytest.mark.parametrize("role", RESOURCES_BY_AWS)
def test_no_permission_has_a_wildcard(role: str) -> None:
    """Each is for one resource of the stack; that of the traces alone, which have none, is for all."""
    granted = statements(role)
    assert granted.pop("Traces", {"Resource": "*"})["Resource"] == "*"
    assert "*" not in json.dumps([[*actions(found), found["Resource"]] for found in granted.values()])
    for statement in granted.values():
        assert set(references(statement["Resource"])) <= set(TEMPLATE["Resources"])
        assert isinstance(statement["Resource"], dict)
        assert statement["Effect"] == "Allow"


def test_dispatcher_deletes_nothing_but_digests_of_forgotten_contacts() -> None:
    """No contact, no watermark and no other item of the table; and no other role of ours deletes."""
    condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{FORGOTTEN}*"]}}
    assert statements("Dispatcher")["Forgotten"]["Condition"] == condition
    deleting = {
        (role, sid)
        for role in RESOURCES_BY_AWS
        for sid, found in statements(role).items()
        if "dynamodb:DeleteItem" in actions(found)
    }
    assert deleting == {("Dispatcher", "Forgotten"), ("Subscriber", "Once")}


def test_events_of_another_name_cannot_be_published() -> None:
    """The worker may publish only as contact-activity."""
    condition = {"StringEquals": {"events:source": "contact-activity"}}
    assert statements("Worker")["Publish"]["Condition"] == condition


# ------------------------------------------------------------------------------------ the operator


def test_outputs_tell_a_subscriber_and_an_operator_where_things_are() -> None:
    """The outputs name the bus, the secret, the functions, the table and the queues."""
    assert set(TEMPLATE["Outputs"]) == {
        "EventBusName",
        "EventBusArn",
        "SecretArn",
        "TokensSecretArn",
        "DispatcherName",
        "WorkerName",
        "TableName",
        "ContactQueueUrl",
        "ContactDeadLettersUrl",
        "DispatchFailuresUrl",
        "DashboardName",
        "SubscriberName",
        "TimelineTableName",
        "DeliveriesTableName",
        "SubscriberFailuresUrl",
    }
    assert all(output["Description"] for output in TEMPLATE["Outputs"].values())


def test_every_parameter_is_described_grouped_and_used() -> None:
    """The console shows every parameter once, with its meaning."""
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)
    assert all(parameter["Description"] for parameter in PARAMETERS.values())
    assert set(PARAMETERS) <= set(references(WHOLE)) | {"Local"}


def test_deployment_tags_the_stack_and_takes_parameters() -> None:
    """Each bill and each list of resources shows whose they are; no parameter needs another command."""
    deployment = tomllib.loads((REPOSITORY / "samconfig.toml").read_text(encoding="utf-8"))
    assert deployment["default"]["deploy"]["parameters"]["tags"] == "product=contact-activity"
    parameters = "PARAMETERS=CallsPerDay=1 Reports=opens,clicks"
    asked = ["make", "--no-print-directory", "--dry-run", "deploy", parameters]
    printed = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1].endswith("--parameter-overrides CallsPerDay=1 Reports=opens,clicks")


@pytest.mark.parametrize("command", ["deploy", "adopt", "remove"])
def test_each_command_is_for_the_stack_that_is_named(command: str) -> None:
    """Also where its code is stored: what one stack's removal deletes is no other's."""
    asked = ["make", "--no-print-directory", "--dry-run", command, "STACK=shop", "TABLE=old"]
    printed = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    named = re.findall(r"--(?:stack|stack-name|s3-prefix) (\S+)", printed)
    assert set(named) == {"shop"}
    assert ("--s3-prefix shop" in printed) == (command == "deploy")
    deployment = tomllib.loads((REPOSITORY / "samconfig.toml").read_text(encoding="utf-8"))
    assert "s3_prefix" not in deployment["default"]["deploy"]["parameters"]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, resource in WHOLE["Resources"].items()
        if resource.get("Condition") in ("IsInAws", "HasSubscriberAccounts")
    ],
)
def test_the_readme_says_what_no_emulator_was_given(name: str) -> None:
    """Nobody takes for tried what was left out wherever the template was deployed."""
    readme = (REPOSITORY / "functions" / "README.md").read_text(encoding="utf-8")
    unseen = readme.split("### What was never seen on AWS")[1].split("\n### ")[0]
    assert f"`{name}`" in unseen


def test_emulator_is_not_the_default() -> None:
    """Only a deployment that says so leaves out what the emulator lacks."""
    assert PARAMETERS["Local"]["Default"] == "false"
    assert WHOLE["Conditions"]["IsLocal"] == {"Fn::Equals": [{"Ref": "Local"}, "true"]}


# ------------------------------------------------------------------------------ alarms, dashboard

ALARMS = of_type("AWS::CloudWatch::Alarm")
METRICS = {metric.metric_name: metric for metric in Metric}
GAUGES_OF_A_TICK = {"LagSeconds", "QuotaLagSeconds", "PausedByCredential", "MissingRight"}
# Whose metrics AWS makes, by the dimension that tells one from another.
OF_AWS = {
    "AWS/SQS": ("QueueName", "AWS::SQS::Queue", {"ApproximateNumberOfMessagesVisible"}),
    "AWS/Lambda": ("FunctionName", "AWS::Serverless::Function", {"Errors", "Invocations", "Duration"}),
}


def watched_by(alarm: str) -> list[dict[str, Any]]:
    """Each metric that an alarm looks at, with its statistic: its own, or those of its expression."""
    if "Metrics" not in properties(alarm):
        watched = properties(alarm)
        return [{"Statistic": watched.get("ExtendedStatistic"), **watched}]
    stats = [metric["MetricStat"] for metric in properties(alarm)["Metrics"] if "MetricStat" in metric]
    return [stat["Metric"] | {"Statistic": stat["Stat"]} for stat in stats]


WATCHED = [(alarm, metric) for alarm in ALARMS for metric in watched_by(alarm)]


def dimensions(metric: dict[str, Any]) -> dict[str, Any]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}


def dashboard_metrics() -> list[tuple[str, str, str, str, str]]:
    """Namespace, name, dimension, its value and the statistic of each metric that is shown."""
    body = json.loads(properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    shown = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    return [(*metric[:4], metric[4]["stat"]) for metric in shown]


def logical_name(reference: str) -> str:
    (name,) = re.fullmatch(r"\$\{(\w+)(?:\.QueueName)?\}", reference).groups()  # type: ignore[union-attr]
    return str(name)


@pytest.mark.parametrize("watched", [metric for _, metric in WATCHED])
def test_alarm_watches_a_metric_that_is_sent(watched: dict[str, Any]) -> None:
    """Its name, namespace and dimension are those of the code that sends it, or of a resource of ours."""
    name = watched["MetricName"]
    if watched["Namespace"] == NAMESPACE:
        assert name in METRICS
        assert dimensions(watched) == {
            "service": TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        }
        return
    dimension, type_, names = OF_AWS[watched["Namespace"]]
    (resource,) = {*of_type(type_)} & {*references(watched), *attributes_of(watched)}
    assert name in names
    assert dimensions(watched) == {
        dimension: {"Ref": resource}
        if type_ == "AWS::Serverless::Function"
        else {"Fn::GetAtt": [resource, "QueueName"]}
    }


def attributes_of(value: Any) -> Iterator[str]:
    """The logical names whose attributes a part of the template takes."""
    if isinstance(value, dict):
        if "Fn::GetAtt" in value:
            yield value["Fn::GetAtt"][0]
        for item in value.values():
            yield from attributes_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from attributes_of(item)


def test_dashboard_shows_metrics_that_are_sent() -> None:
    """Each metric of each widget has the code's name, or is one of AWS, of a resource of the stack."""
    for namespace, name, dimension, value, _ in dashboard_metrics():
        if namespace == NAMESPACE:
            assert name in METRICS
            assert (dimension, value) == ("service", "${AWS::StackName}")
            continue
        expected, type_, names = OF_AWS[namespace]
        assert (dimension, name in names) == (expected, True)
        assert logical_name(value) in of_type(type_)


def test_each_metric_is_read_by_the_statistic_that_its_unit_asks_for() -> None:
    """Counts are summed; a time, a percentage and what is 0 or 1 in each tick are not.

    Of activities there are many, some of them late: their times are read by percentiles.
    """
    watched = [(metric["MetricName"], metric["Statistic"]) for _, metric in WATCHED]
    shown = [(name, statistic) for _, name, _, _, statistic in dashboard_metrics()]
    for name, statistic in watched + shown:
        if name in METRICS:
            is_sum = METRICS[name].unit is MetricUnit.Count and not name.startswith(
                ("Paused", "ReportTypesOff", "MissingRight")
            )
            of_many = {"p50", "p95"} if METRICS[name] is Metric.FRESHNESS else {"Maximum"}
            assert (name, statistic in ({"Sum"} if is_sum else of_many)) == (name, True)


def test_service_of_the_metrics_is_the_stack() -> None:
    """Two stacks in one region do not add up to one figure."""
    assert environment("Worker")["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}


def test_what_an_operator_must_know_has_an_alarm() -> None:
    """Late, out of quota, refused, owed, distrusted, unreadable, gone, dead, failing, still, and no more."""
    assert {metric["MetricName"] for _, metric in WATCHED} == {
        *("LagSeconds", "FreshnessSeconds", "QuotaLagSeconds", "PausedByCredential", "UnreadableRows"),
        *("ReportTypesOff", "RowsOwed", "MissingRight"),
        *("ContactsNewlyGone", "ContactsGone", "ContactsSynced"),
        *("ApproximateNumberOfMessagesVisible", "Errors", "Invocations"),
    }
    assert dimensions(properties("DeadLettersAlarm")) == {
        "QueueName": {"Fn::GetAtt": ["ContactDeadLetters", "QueueName"]}
    }
    for alarm in ("DispatcherFailuresAlarm", "NoTickAlarm"):
        assert dimensions(properties(alarm)) == {"FunctionName": {"Ref": "Dispatcher"}}


def test_alarm_on_freshness_lets_a_sweep_of_the_whole_day_pass() -> None:
    """Nineteen of twenty are met within a sweep, which by default may take a day."""
    alarm = properties("FreshnessAlarm")
    assert (alarm["MetricName"], alarm["ExtendedStatistic"]) == (Metric.FRESHNESS.metric_name, "p95")
    assert alarm["Threshold"] == {"Ref": "FreshnessAlarmSeconds"}
    assert int(PARAMETERS["FreshnessAlarmSeconds"]["Default"]) == DAY_S
    # CloudWatch looks back no further than a day, or a week if a period has an hour and more.
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= DAY_S
    # Without it the alarm of an account with few activities would never change.
    assert alarm["EvaluateLowSampleCountPercentile"] == "evaluate"


@pytest.mark.parametrize("queue", sorted({*of_type("AWS::SQS::Queue")} - {"ContactQueue"}))
def test_queue_of_failures_has_an_alarm_on_its_depth(queue: str) -> None:
    """Whatever comes to lie there is told within minutes, and as long as it lies there."""
    depth = {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}}
    (alarm,) = [name for name, metric in WATCHED if dimensions(metric) == depth]
    watched = properties(alarm)
    assert watched["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (watched["Threshold"], watched["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    assert watched["Period"] * watched["EvaluationPeriods"] <= 300
    conditions = [TEMPLATE["Resources"][name].get("Condition") for name in (alarm, queue)]
    assert conditions[0] == conditions[1]


def test_alarm_on_gone_contacts_has_the_bound_that_a_run_has() -> None:
    """More than ten, and more than one in a hundred of those that were read."""
    expression, *_ = properties("GoneAlarm")["Metrics"]
    bound = f"gone > {MAX_GONE} AND gone * {100 // MAX_GONE_PERCENT} > FILL(synced, 0) + FILL(allgone, 0)"
    assert expression["Expression"] == f"IF({bound}, gone, 0)"
    assert (properties("GoneAlarm")["Threshold"], properties("GoneAlarm")["ComparisonOperator"]) == (
        0,
        "GreaterThanThreshold",
    )


def test_silence_means_what_it_means_for_each_metric() -> None:
    """A tick's gauges may be hours apart, a count is sent only when there is one, a tick must come."""
    for alarm in ALARMS:
        watched = properties(alarm)
        expected = "ignore" if watched.get("MetricName") in GAUGES_OF_A_TICK else "notBreaching"
        assert watched["TreatMissingData"] == ("breaching" if alarm == "NoTickAlarm" else expected)


def test_missing_ticks_are_told_later_than_the_longest_schedule() -> None:
    """A daily schedule does not set off the alarm for a schedule that stopped."""
    watched = properties("NoTickAlarm")
    assert watched["DatapointsToAlarm"] == watched["EvaluationPeriods"]
    longest_m = max(minutes for minutes in range(2_000) if template_accepts("ScheduleMinutes", str(minutes)))
    assert watched["Period"] * watched["EvaluationPeriods"] > 60 * longest_m


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarm_goes_to_the_topic_if_there_is_one(alarm: str) -> None:
    """Both its beginning and its end are sent to the operator's topic; by default there is none."""
    watched = WHOLE["Resources"][alarm]["Properties"]
    told = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
    assert (watched["AlarmActions"], watched["OKActions"]) == (told, told)
    assert PARAMETERS["AlarmTopicArn"]["Default"] == ""
    assert template_accepts("AlarmTopicArn", "")
    assert template_accepts("AlarmTopicArn", "arn:aws:sns:eu-west-1:123456789012:alarms")
    assert not template_accepts("AlarmTopicArn", "ops@example.org")
    assert WHOLE["Conditions"]["HasAlarmTopic"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]
    }
