"""Which contact a command is about: its id, or `--email`, for which the API is asked.

The address goes to the API and nowhere else: no text, no state and no log holds it.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contact_activity.cli.arguments import contact_id_argument
from contact_activity.cli.used_account import used_account
from contact_activity.clock import SystemClock
from contact_activity.operations.check import Checked
from contact_activity.operations.check_folder import checked_folder
from contact_activity.operations.contact_lookup import contact_with
from contact_activity.ports import Clock
from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.given_account import given_account
from contact_activity.run.state_folder import ACCOUNT_DATABASE, database_name, databases_in
from contact_activity.settings import Environment

# The longest that SMTP takes (RFC 5321).
MAX_ADDRESS_CHARACTERS = 254
STDIN = "-"
EMAIL_EPILOG = """
--email asks the API for the contact, in one call that counts as a run's (two if the address has capitals, or
if a right is missing).
The folder's or the stack's own credential is used, and a pause holds. The address is sent to the API and is
in no log, state or message of this program; `--email -` reads it from standard input, which keeps it out of
the shell's history and the list of processes. On a stack it takes, beside the above,
secretsmanager:GetSecretValue and PutSecretValue, and dynamodb:GetItem and UpdateItem.
"""


def add_contact_choice(group: argparse._MutuallyExclusiveGroup, metavar: str) -> None:
    """Add the contact's id and `--email` to a group of arguments of which one must be given."""
    group.add_argument("contact_id", nargs="?", type=_contact_id, metavar=metavar, help="the contact's id")
    group.add_argument(
        "--email",
        type=_address,
        metavar="ADDRESS",
        help="the contact's address instead, which the API is asked for; - reads it from standard input",
    )


def _contact_id(text: str) -> str:
    if "@" in text:
        raise argparse.ArgumentTypeError("that is an address: give it with --email")
    return contact_id_argument(text)


def _address(text: str) -> str:
    if text.strip() == STDIN:
        return STDIN
    address = _usable(text)
    if address is None:
        raise argparse.ArgumentTypeError(_NO_ADDRESS)
    return address


_NO_ADDRESS = "that is no e-mail address: give one alone, with one @ and no blank in it"


def _usable(text: str) -> str | None:
    """Return an address without blanks around it; None if it is none, or one that nobody can have."""
    address = text.strip()
    is_one = re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", address) and address.isprintable()
    return address if is_one and len(address) <= MAX_ADDRESS_CHARACTERS else None


def chosen_contact(arguments: argparse.Namespace, environment: Environment, command: str) -> str:
    """Return the id of the contact. `command`: as in a hint, such as `explain`.

    Raises `LookupFailedError` if an address leads to no contact, or to several, `RunError` if the folder or
    the stack cannot be used, and `UsageError` or `SettingsError` if nobody can be asked.
    """
    if arguments.email is None:
        return str(arguments.contact_id)
    address = _read_address() if arguments.email == STDIN else str(arguments.email)
    clock = SystemClock()
    with _checked(arguments, environment, clock) as checked:
        return contact_with(address, checked, clock, command=command)


def _read_address() -> str:
    address = _usable(sys.stdin.readline())
    if address is None:
        raise UsageError(f"--email - reads a line of standard input, and {_NO_ADDRESS}")
    return address


@contextmanager
def _checked(arguments: argparse.Namespace, environment: Environment, clock: Clock) -> Iterator[Checked]:
    if arguments.stack:
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.operations.check_stack import checked_stack
        from contact_activity.operations.stack_credential import stack_credential

        with checked_stack(stack_credential(arguments.stack, environment, clock)) as checked:
            yield checked
        return
    state_dir = Path(arguments.state)
    held = [path.name for path in databases_in(state_dir).values()]
    if ACCOUNT_DATABASE in held and given_account(environment, state_dir) is None:
        raise UsageError(
            f"--state {state_dir} is of a real account, and no credentials are set to ask it for an address: "
            "set those of its runs, or give the contact's id"
        )
    with used_account(environment, state_dir, is_kept=True) as account:
        if database_name(is_simulated=account.is_simulated, version=account.settings.api_version) not in held:
            raise RunError(
                f"--state {state_dir} holds nothing of the account that the credentials are of: give the "
                "folder of its runs, or the contact's id"
            )
        with checked_folder(account, state_dir, clock) as checked:
            yield checked
