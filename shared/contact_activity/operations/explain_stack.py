"""Explains a contact from the table of a deployed stack, with the AWS settings of the caller."""

from contact_activity.aws.clients import aws_client
from contact_activity.aws.store import dynamo_store
from contact_activity.clock import SystemClock
from contact_activity.operations.explain import facts_of, unknown
from contact_activity.operations.explanation import Explanation, explain
from contact_activity.operations.stack import describe_stack
from contact_activity.settings import read_settings


def stack_explanation(stack_name: str, contact_id: str) -> Explanation:
    """Return why the contact is late. Raises `RunError` if there is no such stack, or contact in it."""
    clock = SystemClock()
    outputs, environment = describe_stack(aws_client("cloudformation"), stack_name)
    settings = read_settings(environment)
    store = dynamo_store(aws_client("dynamodb"), outputs["TableName"], settings.limits, clock)
    facts = facts_of(stack_name, store, contact_id, settings.reading, clock.now_ms())
    if facts is None:
        raise unknown(contact_id, f"the stack {stack_name}")
    return explain(facts)
