"""Explains a contact or a campaign from the table of a stack, with the AWS settings of the caller."""

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.operations.campaign_explanation import CampaignFacts
from contact_activity.operations.explain import facts_of, unknown
from contact_activity.operations.explain_campaign import campaign_facts, unknown_campaign
from contact_activity.operations.explanation import Explanation, explain
from contact_activity.operations.stack import describe_stack
from contact_activity.ports import Store
from contact_activity.settings import Settings, read_settings


def stack_explanation(stack_name: str, contact_id: str) -> Explanation:
    """Return why the contact is late. Raises `RunError` if there is no such stack, or contact in it."""
    store, settings = _opened(stack_name)
    facts = facts_of(stack_name, store, contact_id, settings, SystemClock().now_ms(), is_folder=False)
    if facts is None:
        raise unknown(contact_id, f"the stack {stack_name}")
    return explain(facts)


def stack_campaign(stack_name: str, campaign_id: str) -> CampaignFacts:
    """Return what is known of a campaign. Raises `RunError` if there is no such stack, or campaign in it."""
    store, settings = _opened(stack_name)
    facts = campaign_facts(stack_name, store, campaign_id, settings, SystemClock().now_ms())
    if facts is None:
        raise unknown_campaign(campaign_id, f"the stack {stack_name}")
    return facts


def _opened(stack_name: str) -> tuple[Store, Settings]:
    outputs, environment = describe_stack(aws_client("cloudformation"), stack_name)
    settings = read_settings(environment)
    table = outputs["TableName"]
    return dynamo_store(aws_client("dynamodb"), table, settings.limits, SystemClock()), settings
