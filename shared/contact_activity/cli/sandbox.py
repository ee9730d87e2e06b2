"""`contact-activity sandbox`: serves a simulated account, to try the commands on."""

import argparse

from rich.console import Console

from contact_activity.cli.arguments import Commands
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.program import program
from contact_activity.settings import Environment
from contact_activity.simulated.sandbox import EPILOG, SandboxError, add_arguments, serve

# The scope for which an authorization server gives refresh tokens.
OFFLINE_ACCESS = "offline_access"


def add_sandbox(commands: Commands) -> None:
    sandbox = commands.add_parser(
        "sandbox",
        help="serve a simulated account, to try the commands on",
        description="Serve a simulated Constant Contact account on this machine: v2 and v3 of its API.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(sandbox)
    sandbox.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    sandbox.set_defaults(command=_sandbox)


def _sandbox(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:  # noqa: ARG001
    if arguments.refresh_token and OFFLINE_ACCESS in arguments.without_scope:
        raise UsageError(
            f"--refresh-token prints a refresh token, and --without-scope {OFFLINE_ACCESS} is an account "
            "that gives none: leave one of them out"
        )
    try:
        serve(arguments, program())
    except SandboxError as error:
        raise RunError(str(error)) from error
    return EXIT_DONE
