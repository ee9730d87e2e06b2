"""`--region` and `--profile`: where a stack is, and with whose rights it is used."""

import argparse

from contact_activity.run.errors import UsageError


def add_aws_place(parser: argparse.ArgumentParser) -> None:
    """Add the options. They win over the environment."""
    parser.add_argument("--region", metavar="REGION", help="the stack's AWS region (default AWS_REGION)")
    parser.add_argument("--profile", metavar="NAME", help="the AWS profile to use (default AWS_PROFILE)")


def use_aws_place(arguments: argparse.Namespace) -> None:
    """Have boto3 use the region and the profile that the arguments name, if any.

    Raises `UsageError` without a stack.
    """
    region, profile = getattr(arguments, "region", None), getattr(arguments, "profile", None)
    if region is None and profile is None:
        return
    name = "--profile" if region is None else "--region"
    if not arguments.stack:
        raise UsageError(f"{name} belongs to --stack: a state folder is on this machine")
    if not region and not profile:
        raise UsageError(f"{name} is empty: give one, or leave it out")
    # Imported only here, since boto3 takes as long as an embedded run takes to start.
    from contact_activity.operations.aws_session import use_aws

    use_aws(region or None, profile or None)
