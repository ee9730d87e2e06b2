"""An environment without the user's AWS settings, with credentials that only stand-ins for AWS accept."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest


@contextmanager
def nobodys_aws() -> Iterator[None]:
    """Set the environment while the `with` block lasts."""
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
