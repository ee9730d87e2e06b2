"""The smoke test of a real AWS account: `make smoke`, or `python -m tests.smoke --help`."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from contact_activity.aws.clients import aws_client
from contact_activity.local_cloud.template import REPOSITORY
from contact_activity.settings import SettingsError, V3Credentials, read_credentials, read_settings
from tests.smoke.round import SmokeError, smoke

_DESCRIPTION = """\
Deploys the template to a stack of its own in your AWS account, stores the credentials in its secret,
runs a tick, waits for one event on the bus, and deletes all of it again, the table included.
Exit status 0: an event came. 1: it did not, and the line says why. 2: a setting is missing.

It takes some minutes and at most as many calls of the API as you allow. The AWS settings are yours
(AWS_PROFILE, AWS_REGION). What stays is the code that sam uploaded, in the bucket that it keeps.

A refresh token of v3 that rotates is spent by it, and its successor goes with the stack: give it one of a
login of its own, never one that a run or a stack uses, and log in again for the next round.
"""
_EPILOG = """\
the account that is read, real or simulated, by the environment:
  CONSTANT_CONTACT_API_KEY, CONSTANT_CONTACT_ACCESS_TOKEN      v2: both
  CONSTANT_CONTACT_CLIENT_ID, CONSTANT_CONTACT_REFRESH_TOKEN   v3: both, and
  CONSTANT_CONTACT_CLIENT_SECRET                               if the application has one
  CONSTANT_CONTACT_BASE_URL, CONSTANT_CONTACT_TOKEN_URL        if it is not the real one

A simulated account must be reached from AWS by https, such as through a tunnel to
  contact-activity sandbox --port 8080
which prints the settings.
"""


class Sam:
    """Deploys by the SAM command line, as `make deploy` does."""

    def deploy(self, stack_name: str, parameters: Mapping[str, str]) -> None:
        given = [f"{name}={value}" for name, value in parameters.items()]
        _sam("build")
        _sam(
            *("deploy", "--stack-name", stack_name, "--s3-prefix", stack_name),
            *("--no-confirm-changeset", "--parameter-overrides", *given),
        )


def _sam(*arguments: str) -> None:
    command = [str(REPOSITORY / ".venv-sam/bin/sam"), *arguments]
    path = f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0", "UV_PYTHON_DOWNLOADS": "never", "PATH": path}
    if subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode:
        raise SmokeError(f"sam {arguments[0]} failed")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    begun_s = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - begun_s:5.0f} s  {text}", flush=True)

    try:
        credentials, settings = read_credentials(os.environ), read_settings(os.environ)
    except SettingsError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 2
    is_v3 = isinstance(credentials, V3Credentials)
    addresses = [settings.base_url, *([settings.token_url] if is_v3 else [])]
    if credentials is None or any(urlsplit(address).scheme != "https" for address in addresses):
        print("smoke: give both credentials, and an address that AWS reaches by https", file=sys.stderr)
        return 2
    if is_v3:
        print("a refresh token that rotates is spent by this: log in again for the next use of it")
    parameters = {
        "ConstantContactApiVersion": settings.api_version.value,
        "ConstantContactBaseUrl": settings.base_url,
        "ConstantContactTokenUrl": settings.token_url,
        "CallsPerDay": str(options.calls_per_day),
        # Its own ticks are enough.
        "ScheduleMinutes": "1440",
    }
    try:
        account = aws_client("sts").get_caller_identity()["Account"]
        if not options.yes and input(f"Deploy {options.stack} to the AWS account {account}? [y/N] ") != "y":
            return 1
        event = smoke(
            Sam(), credentials, parameters, stack_name=options.stack, within_s=options.within, tell=tell
        )
    except (SmokeError, ClientError, BotoCoreError) as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    tell(f"well: {event['detail-type']}, id {event['detail']['id']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.smoke",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", default="contact-activity-smoke", help="the stack's name: %(default)s")
    parser.add_argument("--within", type=float, default=600, help="seconds to wait for an event: %(default)s")
    parser.add_argument("--calls-per-day", type=int, default=500, help="at most: %(default)s")
    parser.add_argument("--yes", action="store_true", help="deploy without asking")
    return parser


if __name__ == "__main__":
    sys.exit(main())
