"""Serves a simulated account until Ctrl-C, and says what a client of it needs: `contact-activity sandbox`."""

import argparse
import secrets
import signal
import sys
import threading
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from contact_activity.simulated.server import Server
from contact_activity.simulated.storage import AccountFileError, open_account
from contact_activity.simulated.switches import Switches
from contact_activity.simulated.token_switches import APPLICATIONS, SCOPES, TokenSwitches
from contact_activity.simulated.v3_switches import PRIVILEGES, V3Switches

DEFAULT_ACCOUNT = Path(".local/sandbox.json")
MAX_PORT = 65_535
PUBLIC_CLIENT = APPLICATIONS[1].client_id
_NAMES = (
    "API_VERSION",
    "BASE_URL",
    "TOKEN_URL",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "REFRESH_TOKEN",
    "API_KEY",
    "ACCESS_TOKEN",
)
EPILOG = """\
It prints lines to paste into another terminal. Their state folder is one of its own, so that a login of
yours stays as it is.

examples:
  contact-activity sandbox                            v3, where `login` signs in by the device flow
  contact-activity sandbox --api v2 --port 8080       v2, always at the same port
  contact-activity sandbox --contacts 10000           a larger account, if it is a new one
  contact-activity sandbox --fault-rate 0.1           one call of ten fails
  contact-activity sandbox --calls-per-day 500        a day's quota that is soon used up
  contact-activity sandbox --expires-in 60            v3: tokens that have to be renewed each minute
  contact-activity sandbox --refresh-token            v3: a refresh token in place of the login
  contact-activity sandbox --without-scope contact_data      v3: a token that may not read contacts
  contact-activity sandbox --without-privilege campaign:read v3: a user who may not list campaigns

with what it printed for v2:
  curl -H 'Accept: application/json' -H "Authorization: Bearer $CONSTANT_CONTACT_ACCESS_TOKEN" \\
       "$CONSTANT_CONTACT_BASE_URL/contacts?limit=2&api_key=$CONSTANT_CONTACT_API_KEY"

The code flow begins at /oauth2/default/v1/authorize and the device flow at .../device/authorize, with the
client simulated-client (secret simulated-secret) or simulated-public-client. What was given out by an earlier
start is unknown: paste the lines again.

Each start adds activity since the last one, and more becomes visible while it runs. Delete the account's
file to start a new account.

exit status: 0 ended by Ctrl-C or SIGTERM; 1 the account's file or the port cannot be used; 2 wrong usage
"""


class SandboxError(Exception):
    """The server cannot start. The message is one line that says what to do."""


def serve(options: argparse.Namespace, program: str) -> None:
    """Serve until SIGINT or SIGTERM. `options`: see `add_arguments`. `program`: how a shell starts it.

    Raises `SandboxError` if the account or the port cannot be opened.
    """
    # Until the account is made, a signal ends this as any other program.
    server = _server(options)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as problem:
            raise SandboxError(
                f"port {options.port} of this machine cannot be used ({problem.strerror}): "
                "give another --port, or none for a free one"
            ) from problem
        _announce(server, options, program)
        ended.wait()
    sys.stderr.write(f"calls answered: {len(server.calls):,}\n")


def _server(options: argparse.Namespace) -> Server:
    try:
        account = open_account(options.state, datetime.now(UTC), options.contacts, seed=options.seed)
    except AccountFileError as problem:
        raise SandboxError(str(problem)) from problem
    except OSError as problem:
        raise SandboxError(
            f"--state {options.state} cannot be used ({problem.strerror}): give a file that can be written"
        ) from problem
    v3 = V3Switches(privileges=PRIVILEGES - set(options.without_privilege))
    return Server(
        account,
        switches=replace(Switches.faulty(options.fault_rate, seed=options.seed), v3=v3),
        api_key=options.api_key,
        access_token=options.access_token,
        tokens=_token_switches(options),
        calls_per_second=options.calls_per_second,
        calls_per_day=options.calls_per_day,
        port=options.port,
    )


def _token_switches(options: argparse.Namespace) -> TokenSwitches:
    # A seed of its own for each start: nobody can guess a token of this server.
    return TokenSwitches(
        expires_in_s=options.expires_in,
        rotating=not options.long_lived,
        seed=secrets.randbits(64),
        scopes=SCOPES - set(options.without_scope),
    )


def _variables(server: Server, options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of a client, without the first part of their names."""
    if options.api == "v2":
        return {
            "API_VERSION": "v2",
            "BASE_URL": server.base_url,
            "API_KEY": options.api_key,
            "ACCESS_TOKEN": options.access_token,
        }
    variables = {"API_VERSION": "v3", "BASE_URL": server.v3_url}
    if options.trial:
        return {**variables, "ACCESS_TOKEN": options.access_token}
    variables["TOKEN_URL"] = server.token_url
    if not options.refresh_token:
        return {**variables, "CLIENT_ID": PUBLIC_CLIENT}
    application = APPLICATIONS[0]
    return {
        **variables,
        "CLIENT_ID": application.client_id,
        "CLIENT_SECRET": application.client_secret or "",
        "REFRESH_TOKEN": server.authorization.issue(application.client_id).refresh_token or "",
    }


def _announce(server: Server, options: argparse.Namespace, program: str) -> None:
    """Say on standard error what is served, and print on standard output what can be pasted."""
    other = "v2" if options.api == "v3" else "v3"
    place = f"--state {quote(str(options.state.with_suffix('')))}-{options.api}"
    sys.stderr.write(
        f"Serving a simulated account until Ctrl-C:\n  v2  {server.base_url}\n  v3  {server.v3_url}"
        f"{_taken_away(options)}\n\n"
        f"Paste into another terminal (--api {other} prints the lines for the other version;\n"
        f"`{program} check`, `status`, `explain` and `tail` there take {place}, too):\n"
    )
    sys.stderr.flush()
    variables = _variables(server, options)
    # What is left from the other version, or from a real account, would be refused beside these.
    left = " ".join(f"CONSTANT_CONTACT_{name}" for name in _NAMES if name not in variables)
    sys.stdout.write(f"unset {left}\n" if left else "")
    sys.stdout.writelines(
        f"export CONSTANT_CONTACT_{name}={quote(value)}\n" for name, value in variables.items()
    )
    if variables.get("CLIENT_ID") == PUBLIC_CLIENT:
        sys.stdout.write(f"{program} login {place}\n")
    sys.stdout.write(f"{program} run {place}\n")
    sys.stdout.flush()


def _taken_away(options: argparse.Namespace) -> str:
    """The rights that v3 lacks here, as they were given; "" if none."""
    kinds = (("scope", options.without_scope), ("privilege", options.without_privilege))
    rights = [f"the {kind} {name}" for kind, names in kinds for name in dict.fromkeys(names)]
    return f"  (without {', '.join(rights)})" if rights else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    add = parser.add_argument
    add("--port", type=_port, default=0, help="port on 127.0.0.1 (default: any free one)")
    add(
        "--api",
        choices=("v2", "v3"),
        default="v3",
        help="the version whose settings are printed (default: %(default)s); both are served",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--refresh-token", action="store_true", help="v3: print a refresh token in place of a login"
    )
    instead.add_argument(
        "--trial", action="store_true", help="v3: print an access token alone, which never expires"
    )
    add(
        "--expires-in",
        type=_positive,
        default=86_400,
        metavar="SECONDS",
        help="v3: life of the access tokens that are issued (default: %(default)s)",
    )
    add("--long-lived", action="store_true", help="v3: refresh tokens stay the same when they are used")
    _add_rights(parser, "--without-scope", SCOPES, "a scope that no token has")
    _add_rights(parser, "--without-privilege", PRIVILEGES, "a privilege that the user lacks")
    add(
        "--state",
        type=Path,
        default=DEFAULT_ACCOUNT,
        metavar="FILE",
        help="file that keeps the account (JSON; default: %(default)s)",
    )
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
        help="share of calls that fail, from 0 to 1 (default: %(default)s)",
    )
    add("--api-key", default=secrets.token_hex(8), help="the key to accept (default: random)")
    add("--access-token", default=secrets.token_hex(16), help="the token to accept (default: random)")


def _add_rights(parser: argparse.ArgumentParser, option: str, rights: Collection[str], what: str) -> None:
    known = sorted(rights)
    text = f"v3: {what}; repeat the option to take away several: {', '.join(known)}"
    parser.add_argument(option, action="append", default=[], choices=known, metavar="NAME", help=text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("give a whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("give a share from 0 to 1, such as 0.1")
    return share


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"give a port from 1 to {MAX_PORT}, or 0 for any free one")
    return int(text)
