"""Which permissions `contact-activity explain` takes on a stack: those that its help names, each of them."""

import json
from collections.abc import Callable, Iterator

import boto3
import pytest
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import dynamo_store
from contact_activity.cli.explain import _EPILOG
from contact_activity.cli.told_errors import told
from contact_activity.clock import SystemClock
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign import WatchedCampaign
from contact_activity.domain.campaign_report import CampaignReport, ReportId
from contact_activity.domain.contact import ListedContact
from contact_activity.domain.pace import Limits
from contact_activity.errors import RetryError
from contact_activity.operations.explain import facts_of
from contact_activity.operations.explain_campaign import campaign_facts
from contact_activity.ports import Store
from contact_activity.settings import read_settings
from tests.support.families import Clients, create_table
from tests.support.nobodys_aws import nobodys_aws

LIMITS = Limits(100, 10_000)
NOW_MS = SystemClock().now_ms()
ACTIONS = ("GetItem", "BatchGetItem", "Scan")


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Store]]:
    """Gives the store to somebody who is allowed some actions of DynamoDB, and nothing else.

    It knows a contact, one that was erased, and a campaign with a report.
    """
    with nobodys_aws(), mock_aws():
        clients = Clients(aws_client)
        create_table(clients.dynamodb, "contacts")
        store = dynamo_store(clients.dynamodb, "contacts", LIMITS, SystemClock())
        store.contacts.register([ListedContact("4711", ""), ListedContact("4712", "")], NOW_MS)
        store.contacts.erase("4712", NOW_MS)
        store.reports.put_watched(WatchedCampaign("9", NOW_MS))
        store.reports.save(CampaignReport(ReportId("9", ActivityType.OPENED), NOW_MS, NOW_MS))
        iam = boto3.client("iam")
        iam.create_user(UserName="one")
        key = iam.create_access_key(UserName="one")["AccessKey"]

        def allowed(*actions: str) -> Store:
            statement = {"Effect": "Allow", "Action": [f"dynamodb:{of}" for of in actions], "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName="one", PolicyName="reads", PolicyDocument=policy)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            boto3.setup_default_session()
            return dynamo_store(aws_client("dynamodb"), "contacts", LIMITS, SystemClock())

        yield allowed


def read_all(store: Store) -> None:
    settings = read_settings({})
    assert facts_of("stack", store, "4711", settings, NOW_MS, is_folder=False)
    assert facts_of("stack", store, "4712", settings, NOW_MS, is_folder=False)
    assert campaign_facts("stack", store, "9", settings, NOW_MS)


def test_what_the_help_names_is_enough(allow: Callable[..., Store]) -> None:
    store = allow(*ACTIONS)
    set_initial_no_auth_action_count(0)(read_all)(store)
    assert f"dynamodb:{ACTIONS[0]}, {ACTIONS[1]} and {ACTIONS[2]}." in _EPILOG


@pytest.mark.parametrize("missing", ACTIONS)
def test_each_that_is_missing_is_named(allow: Callable[..., Store], missing: str) -> None:
    store = allow(*(action for action in ACTIONS if action != missing))
    with pytest.raises(RetryError) as raised:
        set_initial_no_auth_action_count(0)(read_all)(store)
    assert f"lacks dynamodb:{missing}:" in told(raised.value)
