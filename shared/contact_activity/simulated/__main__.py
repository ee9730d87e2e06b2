"""The simulated account as a program of its own: `python -m contact_activity.simulated`."""

import argparse
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from contact_activity.simulated.server import Server
from contact_activity.simulated.storage import AccountFileError, open_account
from contact_activity.simulated.switches import Switches

_EPILOG = """\
It prints the three environment variables that point a client at it, and serves until Ctrl-C:

  python -m contact_activity.simulated --port 8080 --state account.json
  curl -H 'Accept: application/json' -H "Authorization: Bearer $CONSTANT_CONTACT_ACCESS_TOKEN" \\
       "$CONSTANT_CONTACT_BASE_URL/contacts?limit=2&api_key=$CONSTANT_CONTACT_API_KEY"

The account lives on: each start adds what happened since the last one, and more becomes visible
while it runs. Delete the file to start a new account.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Returns 0, or 1 if the account or the port cannot be opened."""
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
            calls_per_second=options.calls_per_second,
            calls_per_day=options.calls_per_day,
            port=options.port,
        )
        with server:
            _announce(server, options.api_key, options.access_token)
            ended.wait()
    except (AccountFileError, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stderr.write(f"{len(server.calls):,} calls answered.\n")
    return 0


def _announce(server: Server, api_key: str, access_token: str) -> None:
    sys.stdout.write(
        f"export CONSTANT_CONTACT_BASE_URL={server.base_url}\n"
        f"export CONSTANT_CONTACT_API_KEY={api_key}\n"
        f"export CONSTANT_CONTACT_ACCESS_TOKEN={access_token}\n"
    )
    sys.stdout.flush()
    sys.stderr.write("Serving a simulated account; Ctrl-C ends it.\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contact_activity.simulated",
        description="A Constant Contact account that exists only on this machine, behind a v2 API.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; any free one by default")
    add("--state", type=Path, required=True, metavar="FILE", help="where the account is kept (JSON)")
    add("--contacts", type=_positive, default=250, help="of a new account (default: %(default)s)")
    add("--seed", type=int, default=1, help="of a new account and of the faults (default: %(default)s)")
    add("--calls-per-second", type=_positive, default=4, metavar="N", help="default: %(default)s")
    add("--calls-per-day", type=_positive, default=10_000, metavar="N", help="default: %(default)s")
    add("--fault-rate", type=_share, default=0.0, metavar="SHARE", help="of calls that fail, 0 to 1")
    add("--api-key", default=secrets.token_hex(8), help="the key to accept; random by default")
    add("--access-token", default=secrets.token_hex(16), help="the token to accept; random by default")
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
