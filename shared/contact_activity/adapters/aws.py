"""The ports on AWS, for whoever wires them, and the client that they are built on."""

import boto3
from botocore.client import BaseClient
from botocore.config import Config

from contact_activity.adapters.aws_bus import EventBridgeBus
from contact_activity.adapters.aws_pace import dynamo_limiter
from contact_activity.adapters.aws_queue import SqsQueue
from contact_activity.adapters.aws_secret import secret_credentials
from contact_activity.adapters.aws_store import DynamoStore, dynamo_store
from contact_activity.adapters.aws_table import (
    DynamoCampaigns,
    DynamoContacts,
    DynamoLease,
    DynamoListings,
    DynamoPauses,
    DynamoTally,
)

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
RETRIES = 3

__all__ = [
    "DynamoCampaigns",
    "DynamoContacts",
    "DynamoLease",
    "DynamoListings",
    "DynamoPauses",
    "DynamoStore",
    "DynamoTally",
    "EventBridgeBus",
    "SqsQueue",
    "aws_client",
    "dynamo_limiter",
    "dynamo_store",
    "secret_credentials",
]


def aws_client(service: str) -> BaseClient:
    """A client with time-outs of its own; `AWS_ENDPOINT_URL`, which boto3 reads, is all that moves it."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": RETRIES},
    )
    return boto3.client(service, config=config)
