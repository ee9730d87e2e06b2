"""Prints how to look at what a run on the local cloud did."""

from shlex import quote
from urllib.request import getproxies

from rich.console import Console

from contact_activity.run.options import RunOptions
from contact_activity.run.program import program


def print_stack_place(console: Console, endpoint_url: str, region: str, access_key: str, stack: str) -> None:
    """Print what to paste into another terminal, to look at a stack that runs on."""
    # boto3 and `aws` ask a proxy for this machine's own addresses, too.
    past_proxy = ["export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1"] if getproxies() else []
    for line in (
        "The local AWS runs until Ctrl-C. To look at the stack, paste into another terminal:",
        f"export AWS_ENDPOINT_URL={endpoint_url} AWS_REGION={region} AWS_DEFAULT_REGION={region}",
        f"export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={access_key}",
        *past_proxy,
        f"{program()} status --stack {stack}",
        f"aws --endpoint-url {endpoint_url} cloudformation list-stack-resources --stack-name {stack}",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def print_where_to_look(console: Console, options: RunOptions) -> None:
    """Print what shows the events when the local AWS has ended, and what shows the stack."""
    tail = f"{program()} tail --no-follow --events {quote(str(options.events))}"
    console.print(f"Look at them: {tail}", highlight=False, soft_wrap=True)
    if options.hold is None:
        text = "With --keep the stack runs on after a run, for `status --stack` and `explain --stack`."
        console.print(text, highlight=False, soft_wrap=True)
