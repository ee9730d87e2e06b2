"""Serves a simulated account until Ctrl-C: `python -m contact_activity.simulated`."""

import argparse
import secrets
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from contact_activity.simulated.server import Server
from contact_activity.simulated.storage import AccountFileError, open_account
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.token_switches import APPLICATIONS, TokenSwitches

_EPILOG = """\
It serves v2 and v3 until Ctrl-C, and prints the environment variables that a client of one needs:

  python -m contact_activity.simulated --port 8080 --state account.json
  curl -H 'Accept: application/json' -H "Authorization: Bearer $CONSTANT_CONTACT_ACCESS_TOKEN" \\
       "$CONSTANT_CONTACT_BASE_URL/contacts?limit=2&api_key=$CONSTANT_CONTACT_API_KEY"

  python -m contact_activity.simulated --api v3 --port 8080 --state account.json
  curl -u "$CONSTANT_CONTACT_CLIENT_ID:$CONSTANT_CONTACT_CLIENT_SECRET" -d grant_type=refresh_token \\
       -d "refresh_token=$CONSTANT_CONTACT_REFRESH_TOKEN" "$CONSTANT_CONTACT_TOKEN_URL"
  curl -H "Authorization: Bearer <access_token>" "$CONSTANT_CONTACT_BASE_URL/contacts?limit=2"

The code flow begins at /oauth2/default/v1/authorize and the device flow at .../device/authorize, with the
client simulated-client (secret simulated-secret) or simulated-public-client. A refresh token is good for
one use, and those of an earlier start are unknown.

Each start adds activity since the last one, and more becomes visible while it runs. Delete the file
to start a new account.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Return 0, or 1 if the account or the port cannot be opened."""
    options = _parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        account = open_account(options.state, datetime.now(UTC), options.contacts, seed=options.seed)
        switches = Switches.faulty(options.fault_rate, seed=options.seed)
        server = Server(
            account,
            switches=switches,
            api_key=options.api_key,
            access_token=options.access_token,
            tokens=_token_switches(options),
            calls_per_second=options.calls_per_second,
            calls_per_day=options.calls_per_day,
            port=options.port,
        )
        with server:
            _announce(_variables(server, options))
            ended.wait()
    except (AccountFileError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stderr.write(f"calls answered: {len(server.calls):,}\n")
    return 0


def _token_switches(options: argparse.Namespace) -> TokenSwitches:
    # A seed of its own for each start: nobody can guess a token of this server.
    return TokenSwitches(
        expires_in_s=options.expires_in, rotating=not options.long_lived, seed=secrets.randbits(64)
    )


def _variables(server: Server, options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of a client, without the first part of their names."""
    if options.api == "v2":
        return {
            "BASE_URL": server.base_url,
            "API_KEY": options.api_key,
            "ACCESS_TOKEN": options.access_token,
        }
    variables = {"API_VERSION": "v3", "BASE_URL": server.v3_url}
    if options.trial:
        return {**variables, "ACCESS_TOKEN": options.access_token}
    application = APPLICATIONS[0]
    return {
        **variables,
        "TOKEN_URL": server.token_url,
        "CLIENT_ID": application.client_id,
        "CLIENT_SECRET": application.client_secret or "",
        "REFRESH_TOKEN": server.authorization.issue(application.client_id).refresh_token or "",
    }


def _announce(variables: Mapping[str, str]) -> None:
    sys.stdout.writelines(f"export CONSTANT_CONTACT_{name}={value}\n" for name, value in variables.items())
    sys.stdout.flush()
    sys.stderr.write("Serving a simulated account; Ctrl-C ends it.\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contact_activity.simulated",
        description="Serve a simulated Constant Contact account on this machine: v2 and v3 of its API.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    add(
        "--api",
        choices=("v2", "v3"),
        default="v2",
        help="the version whose settings are printed (default: %(default)s)",
    )
    add("--trial", action="store_true", help="v3: print an access token alone, which never expires")
    add(
        "--expires-in",
        type=_positive,
        default=86_400,
        metavar="SECONDS",
        help="v3: life of the access tokens that are issued (default: %(default)s)",
    )
    add("--long-lived", action="store_true", help="v3: refresh tokens stay the same when they are used")
    add("--state", type=Path, required=True, metavar="FILE", help="file that keeps the account (JSON)")
    add(
        "--contacts",
        type=_positive,
        default=250,
        help="number of contacts of a new account (default: %(default)s)",
    )
    add("--seed", type=int, default=1, help="seed of a new account and of the faults (default: %(default)s)")
    add("--calls-per-second", type=_positive, default=4, metavar="N", help="default: %(default)s")
    add("--calls-per-day", type=_positive, default=10_000, metavar="N", help="default: %(default)s")
    add(
        "--fault-rate",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of calls that fail, from 0 to 1",
    )
    add("--api-key", default=secrets.token_hex(8), help="the key to accept (default: random)")
    add("--access-token", default=secrets.token_hex(16), help="the token to accept (default: random)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
