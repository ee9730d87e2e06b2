"""Create the AWS clients."""

import boto3
from botocore.client import BaseClient
from botocore.config import Config

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
RETRIES = 3


def aws_client(service: str) -> BaseClient:
    """Create a client with short time-outs. boto3 takes another endpoint from `AWS_ENDPOINT_URL`."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": RETRIES},
    )
    return boto3.client(service, config=config)
