"""`contact-activity check`: says whether a run would work, in a few calls, and what to do if it would not."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from rich.console import Console

from contact_activity.cli.arguments import Commands, add_place, pasted_place, print_line
from contact_activity.cli.exit_status import EXIT_DONE, STATUS_OF_FAULT, fail, warn
from contact_activity.cli.narrow import narrow_columns, print_broken
from contact_activity.clock import SystemClock
from contact_activity.operations.check import CREDENTIALS, check
from contact_activity.operations.check_folder import checked_folder, simulated_pauses
from contact_activity.operations.findings import Fault, Finding
from contact_activity.run.given_account import given_account
from contact_activity.run.program import program
from contact_activity.settings import Environment, read_settings, read_version, unknown_settings

_DESCRIPTION = """\
Says whether a run would work with these settings and this state folder, or with this stack: a line for each
thing that it needs, which is ok, a warning or failing, and below it what to do. It makes up to six calls,
or some more where they fail, and all count as a run's. A run may use the folder or the stack meanwhile. A
stack's way to the API is tried from this machine, not from where its functions run.
"""
_EPILOG = """\
example, where the application may not read campaigns:

  $ contact-activity check
  ok       credentials     API v3, the stored login: an access token until tomorrow 09:12 UTC, and a refresh
                           token that renews it
  ok       token endpoint  authz.constantcontact.com can be reached
  ok       API             api.cc.email answers
  failing  campaigns       may not be read (403 access_denied): the scope campaign_data is missing
                           to do: `contact-activity login`, which asks for all scopes ...

what it looks at:
  credentials     which are used, of the environment or of `contact-activity login`; a token is renewed only
                  if it is due
  token endpoint  of v3: whether it can be reached; nothing is sent
  state           whether the folder holds what was read from this version of the API
  API             whether it answers
  account         of v3: whether it is the one that the folder is of
  contacts, campaigns, reports
                  whether they may be read; in v3 which scope or privilege is missing
  calls today     how many of the day's calls are left, by this folder's own count
  pauses          what keeps a run from making calls, and what ends that
  clock           whether this machine's is as the API's, within 20 s

exit status: that of the worst line
  0  nothing fails; there may be warnings, or no credentials
  2  a setting is wrong, or the folder is of another account or version
  3  the credential is refused, or may not list contacts
  1  something else fails; or a run would end with exit status 0, but without what the last line names
  4  the day's calls are used up
"""


def add_check(commands: Commands) -> None:
    parser = commands.add_parser(
        "check",
        help="say whether a run would work, and what to do if not",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(parser)
    parser.set_defaults(command=_check)


def _check(arguments: argparse.Namespace, environment: Environment, _: Console) -> int:
    state_dir, clock = Path(arguments.state), SystemClock()
    for text in unknown_settings(environment):
        warn(text)
    if arguments.stack:
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.operations.check_stack import checked_stack
        from contact_activity.operations.stack_credential import stack_credential

        stack = stack_credential(arguments.stack, environment, clock)
        with checked_stack(stack, pasted_place(arguments).strip()) as checked:
            return _told(check(checked, clock))
    account = given_account(environment, state_dir)
    if account is None:
        none_set = Finding(
            CREDENTIALS,
            "none are set, so a run reads the simulated account, and nothing leaves this machine",
            "for your own account "
            f"`{program()} login --client-id ID --state {quote(str(state_dir))}`; its --help "
            "says how to get a client id",
        )
        limits = read_settings(environment).limits
        return _told([none_set, *simulated_pauses(state_dir, read_version(environment), limits, clock)])
    with checked_folder(account, state_dir, clock) as checked:
        return _told(check(checked, clock))


def _told(findings: Iterable[Finding]) -> int:
    """Print the findings as they come. Return the exit status."""
    failing = []
    for finding in findings:
        _print(finding)
        if finding.fault:
            failing.append(finding)
    for fault in Fault:
        if not any(finding.fault is fault for finding in failing):
            continue
        topics = ", ".join(finding.topic for finding in failing)
        return fail(STATUS_OF_FAULT[fault], f"a run would {_outcome(fault, failing)}: {topics}")
    print_line("a run would work")
    return EXIT_DONE


def _outcome(worst: Fault, failing: Iterable[Finding]) -> str:
    """What a run would do in spite of what fails."""
    if worst is not Fault.PART:
        return "fail"
    if any(finding.is_silencing for finding in failing):
        return "publish nothing, and end with exit status 0"
    return "work without these, with exit status 0"


def _print(finding: Finding) -> None:
    if narrow_columns() is not None:
        for line in (f"{finding.level} {finding.topic}", f"  {finding.text}"):
            print_broken(line)
        if finding.remedy:
            print_broken(f"  to do: {finding.remedy}")
        return
    print_line(f"{finding.level:8} {finding.topic:15} {finding.text}")
    if finding.remedy:
        print_line(f"{'':24} to do: {finding.remedy}")
