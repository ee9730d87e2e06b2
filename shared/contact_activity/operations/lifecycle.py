"""A stack's beginning with the table of an earlier one, and what stands in the way of its end.

For `make adopt` and `make remove`, by the AWS settings of whoever asks.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from contact_activity.aws.clients import aws_client
from contact_activity.local_cloud.deploy import load_template
from contact_activity.local_cloud.engine import TEMPLATE

_TABLE = "Table"


def adopt(table: str, *, stack_name: str, kms_key_arn: str = "") -> None:
    """Create a stack that holds nothing but this table; a deployment then adds the rest to it.

    CloudFormation imports into a new stack only if the template has nothing else to create.
    """
    cloudformation = aws_client("cloudformation")
    identifier = {"TableName": table}
    # A name of its own: a change set that failed stays, and keeps its name.
    change_set = {"StackName": stack_name, "ChangeSetName": f"adopt-{uuid.uuid4().hex}"}
    cloudformation.create_change_set(
        **change_set,
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(_only_the_table()),
        Parameters=[{"ParameterKey": "KmsKeyArn", "ParameterValue": kms_key_arn}],
        ResourcesToImport=[
            {
                "ResourceType": "AWS::DynamoDB::Table",
                "LogicalResourceId": _TABLE,
                "ResourceIdentifier": identifier,
            }
        ],
    )
    cloudformation.get_waiter("change_set_create_complete").wait(**change_set)
    cloudformation.execute_change_set(**change_set)
    cloudformation.get_waiter("stack_import_complete").wait(StackName=stack_name)


def _only_the_table() -> dict[str, Any]:
    """Without a name for the table: the whole template has none, and its removal would replace the table."""
    whole = load_template(TEMPLATE)
    return {
        "AWSTemplateFormatVersion": whole["AWSTemplateFormatVersion"],
        "Parameters": {"KmsKeyArn": whole["Parameters"]["KmsKeyArn"]},
        "Conditions": {"HasKey": whole["Conditions"]["HasKey"]},
        "Resources": {_TABLE: whole["Resources"][_TABLE]},
    }


def rules_of_others(stack_name: str) -> list[str]:
    """Rules on the stack's bus that the stack did not make: EventBridge deletes no bus that has any."""
    described = aws_client("cloudformation").describe_stack_resources(StackName=stack_name)
    resources = described["StackResources"]
    buses = [
        resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::Events::EventBus" and resource.get("PhysicalResourceId")
    ]
    # None in a stack that only took up a table, and in one whose creation failed early.
    if not buses:
        return []
    own = {
        resource["PhysicalResourceId"].split("|")[-1]
        for resource in resources
        if resource["ResourceType"] == "AWS::Events::Rule"
    }
    pages = aws_client("events").get_paginator("list_rules").paginate(EventBusName=buses[0])
    rules = [rule for page in pages for rule in page["Rules"]]
    # One that AWS manages goes with the archive that it feeds.
    return [rule["Name"] for rule in rules if rule["Name"] not in own and "ManagedBy" not in rule]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command == "adopt":
            adopt(options.table, stack_name=options.stack, kms_key_arn=options.kms_key_arn)
            has_it = f"{options.stack} has the table {options.table} now"
            sys.stdout.write(f"{has_it}. Next: make deploy STACK={options.stack}\n")
            return 0
        rules = rules_of_others(options.stack)
    except (ClientError, BotoCoreError) as error:
        sys.stderr.write(f"{options.command}: {_reason(error)}\n")
        return 1
    if rules:
        sys.stderr.write(f"The bus has rules of subscribers, delete them first: {', '.join(rules)}\n")
    return 1 if rules else 0


def _reason(error: ClientError | BotoCoreError) -> str:
    told = error.last_response.get("StatusReason") if isinstance(error, WaiterError) else None
    return str(told or error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contact_activity.operations.lifecycle", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    adopting = commands.add_parser("adopt", help="begin a stack with a table that outlived another one")
    adopting.add_argument("--table", required=True, help="its name: TableName of the stack that is gone")
    adopting.add_argument("--kms-key-arn", default="", help="KmsKeyArn of that stack, if it had one")
    removing = commands.add_parser(
        "rules", help="list subscribers' rules on the bus; status 1 if there are any"
    )
    for command in (adopting, removing):
        command.add_argument("--stack", default="contact-activity", help="the stack's name: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
