"""An environment in which no setting of the user's AWS reaches a client, and no client reaches AWS."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest


@contextmanager
def nobodys_aws() -> Iterator[None]:
    """While it lasts; stand-ins for AWS take its credentials."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            environment.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            environment.setenv(name, "/dev/null")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        environment.setenv("NO_PROXY", "127.0.0.1")
        boto3.setup_default_session()
        yield
    boto3.setup_default_session()
