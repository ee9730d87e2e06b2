"""`contact-activity pause` and `contact-activity resume`."""

import argparse

from rich.console import Console

from contact_activity.cli.arguments import (
    Commands,
    add_system_command,
    now_ms,
    opened_systems,
    pasted_place,
    print_line,
    time_argument,
)
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.operations.pause import pause, resume
from contact_activity.operations.told_times import when
from contact_activity.run.errors import RunError
from contact_activity.run.program import program
from contact_activity.settings import Environment

_PAUSE = """\
Nothing is read from Constant Contact, and nothing is published, until --until or `contact-activity
resume`. Work that is under way finishes. Contacts stay due, and nothing is lost. Meanwhile `run` ends
with status 1, and `run --every` waits.

example:
  contact-activity pause --stack contact-activity --until 2026-12-01T06:00+01:00
"""
_RESUME = """\
Ends the operator's pause. A pause for the quota or the credential stays: it ends by itself.

example:
  contact-activity resume --stack contact-activity
"""


def add_pause(commands: Commands) -> None:
    parser = add_system_command(
        commands, "pause", summary="stop reading until it is resumed", description=_PAUSE, command=_pause
    )
    parser.add_argument("--until", type=time_argument, metavar="TIME", help="resume by itself at that time")


def add_resume(commands: Commands) -> None:
    add_system_command(
        commands, "resume", summary="end the operator's pause", description=_RESUME, command=_resume
    )


def _pause(arguments: argparse.Namespace, _: Environment, __: Console) -> int:
    until_ms: int | None = arguments.until
    if until_ms is not None and until_ms <= now_ms():
        raise RunError(f"--until {when(until_ms, now_ms())} is past: give a time in the future")
    with opened_systems(arguments) as systems:
        for system in systems:
            pause(system, until_ms, is_dry_run=arguments.dry_run)
            resume_it = f"`{program()} resume{pasted_place(arguments)}`"
            end = resume_it if until_ms is None else when(until_ms, now_ms())
            print_line(f"{system.name}: paused until {end}")
    return EXIT_DONE


def _resume(arguments: argparse.Namespace, _: Environment, __: Console) -> int:
    with opened_systems(arguments) as systems:
        for system in systems:
            was_paused = resume(system, now_ms(), is_dry_run=arguments.dry_run)
            print_line(f"{system.name}: " + ("resumed" if was_paused else "was not paused by the operator"))
    return EXIT_DONE
