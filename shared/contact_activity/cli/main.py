"""The entry point of `contact-activity`: parses the arguments, runs a command, explains its error."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from rich.console import Console

from contact_activity.cli.aws_place import use_aws_place
from contact_activity.cli.check import add_check
from contact_activity.cli.dead_letters import add_dead_letters
from contact_activity.cli.event import add_event
from contact_activity.cli.exit_status import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, STATUS_OF_FAULT, fail
from contact_activity.cli.explain import add_explain
from contact_activity.cli.forget import add_forget
from contact_activity.cli.login import add_login, add_logout
from contact_activity.cli.pause import add_pause, add_resume
from contact_activity.cli.plain_console import plain_console
from contact_activity.cli.resync import add_resync
from contact_activity.cli.run import add_run
from contact_activity.cli.sandbox import add_sandbox
from contact_activity.cli.standard_files import drawn_on, flush_stdout, open_standard_files
from contact_activity.cli.status import add_status
from contact_activity.cli.tail import add_tail
from contact_activity.cli.told_errors import failure_line, is_foreseen
from contact_activity.domain.near_match import did_you_mean
from contact_activity.operations.contact_lookup import LookupFailedError
from contact_activity.run.errors import UsageError
from contact_activity.run.program import NAME, program
from contact_activity.settings import SettingsError

_EPILOG = """\
to begin with:
  contact-activity run                        read a simulated account, and see what events look like
  contact-activity login --client-id 2f1c...  sign in to your own account (see `login --help`)
  contact-activity check                      say whether a run would work
  contact-activity run --every 5              read the account for as long as it runs
  contact-activity status                     how far it is
"""


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """A command refuses what it does not know itself, so that the error names its own help."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [option for option in self._option_string_actions if option.startswith("--")]
            question = did_you_mean(unknown[0].partition("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{question and f': {question}'}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        # An address at the wrong place, or one that argparse took for another argument.
        told = re.sub(r"[^\s'=]+@[^\s',]*", "[address]", _meant(message))
        self.exit(EXIT_USAGE, f"{self.prog}: {told} (see {program()}{self.prog.removeprefix(NAME)} --help)\n")


def _meant(message: str) -> str:
    """Return argparse's message, for a wrong word with the likeliest right one in place of all."""
    wrong = re.fullmatch(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
    if not wrong:
        return message
    question = did_you_mean(wrong[1], re.findall(r"[a-z-]+", wrong[2]))
    return f"there is no command {wrong[1]}: {question}" if question else message


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    is_stdout_closed = sys.stdout is None
    open_standard_files()
    parser = _parser()
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help()
        return flush_stdout(EXIT_DONE)
    arguments = parser.parse_args(argv, argparse.Namespace(is_stdout_closed=is_stdout_closed))
    # The state and the events hold personal data, so that only their owner may read them.
    os.umask(0o077)
    # boto3 knows the other name only.
    if region := os.environ.get("AWS_REGION"):
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    console = plain_console(stderr=True, force_interactive=drawn_on(sys.stderr))
    return flush_stdout(_run_command(arguments, console))


def _run_command(arguments: argparse.Namespace, console: Console) -> int:
    try:
        use_aws_place(arguments)
        return int(arguments.command(arguments, os.environ, console))
    except BrokenPipeError:
        # Whoever has seen enough of what only shows something, such as `head`, has lost nothing.
        if getattr(arguments, "only_shows", False):
            return EXIT_DONE
        return fail(EXIT_FAILED, "the reader of standard output has left before the end")
    except (SettingsError, UsageError) as error:
        return fail(EXIT_USAGE, str(error))
    except LookupFailedError as error:
        return fail(STATUS_OF_FAULT[error.fault], str(error))
    except KeyboardInterrupt:
        if getattr(arguments, "every", None):
            return EXIT_DONE
        return fail(EXIT_FAILED, "interrupted: nothing is lost, run again to go on")
    except Exception as error:
        if arguments.debug and not is_foreseen(error):
            raise
        return fail(EXIT_FAILED, failure_line(error, getattr(arguments, "stack", None)))


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog=NAME,
        description="Constant Contact e-mail activity as events on an EventBridge bus.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('contact-activity')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_run(commands)
    add_check(commands)
    add_status(commands)
    add_explain(commands)
    add_tail(commands)
    add_login(commands)
    add_logout(commands)
    add_pause(commands)
    add_resume(commands)
    add_forget(commands)
    add_resync(commands)
    add_dead_letters(commands)
    add_event(commands)
    add_sandbox(commands)
    return parser
