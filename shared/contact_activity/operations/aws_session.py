"""Chooses the AWS settings of this process."""

import boto3


def use_aws(region: str | None, profile: str | None) -> None:
    """Have every client use this region and this profile, where given, before the environment's.

    A profile wins over AWS_ACCESS_KEY_ID too, which AWS_PROFILE would not. Raises botocore's
    `ProfileNotFound`.
    """
    boto3.setup_default_session(region_name=region, profile_name=profile)
