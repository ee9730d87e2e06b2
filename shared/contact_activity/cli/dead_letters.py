"""`contact-activity dead-letters`: lists what failed, and has it tried again."""

import argparse
import json
from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table

from contact_activity.cli.arguments import (
    Commands,
    add_system_command,
    now_ms,
    opened_systems,
    print_line,
)
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.cli.narrow import narrow_columns, print_broken
from contact_activity.cli.plain_console import plain_console
from contact_activity.domain.campaign_report import CampaignReport
from contact_activity.domain.contact import ContactOutline
from contact_activity.domain.counted import counted
from contact_activity.domain.schedule import MAX_FAILURE_WAIT_MS, MAX_GONE_WAIT_MS
from contact_activity.domain.times import is_too_late, iso
from contact_activity.domain.work import DeadLetter, WorkKind
from contact_activity.operations.dead_letters import Failures, find_failures, redrive
from contact_activity.operations.system import System
from contact_activity.operations.told_times import when_of_several
from contact_activity.settings import Environment

_DEAD_LETTERS = """\
Lists the contacts and the campaigns' reports whose last try failed, and the messages that were given up
after five tries (they are in the dead-letter queue of a stack), each with the last error and its time.
With --redrive all of these contacts and reports are due now, and their dead letters are deleted. A message
is only a hint: none is sent again, the next tick hands them out anew. A report that fails loses nothing:
its contacts' own reports show the same.

--json prints {"systems": [...]}; later releases only add keys. Of each system: name; contacts and reports
(id, failures, due, failed_at, error); letters (item: what it is about, or null; sent_at).

examples:
  contact-activity dead-letters --stack contact-activity
  contact-activity dead-letters --stack contact-activity --redrive
"""
MAX_SHOWN = 50
_HEADINGS = ("what", "id", "", "when (UTC)", "last failed (UTC)", "because")
# Wider than any terminal. A terminal wraps long lines itself, but cannot show what was cut off.
TABLE_WIDTH = 500


def add_dead_letters(commands: Commands) -> None:
    parser = add_system_command(
        commands,
        "dead-letters",
        summary="list what failed, and try it again",
        description=_DEAD_LETTERS,
        command=_dead_letters,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--redrive", action="store_true", help="have all of it tried again now")
    what.add_argument("--json", action="store_true", help="print one JSON document, for scripts")


def _dead_letters(arguments: argparse.Namespace, _: Environment, __: Console) -> int:
    # A list changes nothing, and the line of a dry run is no JSON.
    arguments.dry_run &= not arguments.json
    with opened_systems(arguments) as systems:
        if arguments.json:
            found = [_to_json(system.name, find_failures(system)) for system in systems]
            print_line(json.dumps({"systems": found}))
            return EXIT_DONE
        for system in systems:
            if arguments.redrive and not arguments.dry_run:
                _redrive(system)
            else:
                _print_failures(system.name, find_failures(system))
    return EXIT_DONE


def _redrive(system: System) -> None:
    done = redrive(system, now_ms())
    contacts, letters = counted(done.contacts, "contact"), counted(done.letters, "letter")
    print_broken(f"{system.name}: {contacts} due now, {letters} deleted")
    if done.reports:
        print_broken(f"{system.name}: {counted(done.reports, 'campaign report')} due now")
    if done.unreadable:
        stay = counted(
            done.unreadable,
            "letter is no message of ours and stays",
            "letters are no message of ours and stay",
        )
        print_broken(f"{system.name}: {stay}")


def _print_failures(name: str, failures: Failures) -> None:
    failing, letters = (
        counted(len(failures.contacts), "contact"),
        counted(len(failures.letters), "dead letter"),
    )
    print_broken(f"{name}: {failing} failing, {letters}")
    at_ms = now_ms()
    rows: list[Sequence[str]] = []
    for contact in failures.contacts[:MAX_SHOWN]:
        tries = f"{contact.failures} failed"
        rows.append(("contact", contact.id, tries, _next_try(contact, at_ms), *_last_failure(contact, at_ms)))
    given_up = zip(failures.letters, failures.letter_contacts, strict=True)
    for letter, of_letter in islice(given_up, MAX_SHOWN):
        since = f"since {when_of_several(letter.sent_ms, at_ms)}"
        rows.append(("dead letter", _letter_id(letter), "given up", since, *_last_failure(of_letter, at_ms)))
    if rows:
        _print_rows(rows)
    for report in failures.reports[:MAX_SHOWN]:
        print_broken(f"report {report.id}: {report.last_error}")
    if len(failures.reports) > MAX_SHOWN:
        more = counted(len(failures.reports) - MAX_SHOWN, "more report fails", "more reports fail")
        print_broken(f"... and {more}")


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    if narrow_columns() is None:
        table = Table(*_HEADINGS, box=None, pad_edge=False, header_style="dim")
        for column in table.columns:
            column.no_wrap = True
        for row in rows:
            table.add_row(*row)
        plain_console(width=TABLE_WIDTH).print(table, soft_wrap=True)
        return
    for what, id_, tries, *others in rows:
        print_broken(f"{what} {id_} {tries}")
        for heading, value in zip(_HEADINGS[-len(others) :], others, strict=True):
            if value:
                print_broken(f"  {heading}: {value}")


def _to_json(name: str, failures: Failures) -> dict[str, object]:
    return {
        "name": name,
        "contacts": [_failing(contact) for contact in failures.contacts],
        "reports": [_failing(report) for report in failures.reports],
        "letters": [
            {"item": letter.item and str(letter.item), "sent_at": iso(letter.sent_ms)}
            for letter in failures.letters
        ],
    }


def _failing(of: ContactOutline | CampaignReport) -> dict[str, object]:
    return {
        "id": str(of.id),
        "failures": of.failures,
        "due": None if of.due_ms is None else iso(of.due_ms),
        "failed_at": None if of.failed_ms is None else iso(of.failed_ms),
        "error": of.last_error,
    }


def _last_failure(contact: ContactOutline | None, at_ms: int) -> tuple[str, str]:
    if contact is None or contact.failed_ms is None:
        return "", ""
    return when_of_several(contact.failed_ms, at_ms), contact.last_error or ""


def _next_try(contact: ContactOutline, at_ms: int) -> str:
    longest_ms = MAX_GONE_WAIT_MS if contact.times_gone else MAX_FAILURE_WAIT_MS
    if is_too_late(contact.due_ms, at_ms + longest_ms):
        return "again at the next tick: the clock was ahead"
    return f"again {when_of_several(contact.due_ms, at_ms)}"


def _letter_id(letter: DeadLetter) -> str:
    if letter.item is None:
        return "no message of ours"
    return letter.item.id if letter.item.kind is WorkKind.CONTACT else str(letter.item)
