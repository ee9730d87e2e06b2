"""`contact-activity status`: shows what is known, due, late, used up and paused.

Changes nothing, and makes no call to Constant Contact.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from contact_activity.cli.arguments import Commands, add_place, command_line, now_ms, pasted_place
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.cli.standard_files import drawn_on
from contact_activity.cli.told_errors import failure_line, is_foreseen
from contact_activity.domain.listing import TickFailure
from contact_activity.domain.pauses import Pause
from contact_activity.domain.rights import Right
from contact_activity.domain.times import iso
from contact_activity.operations.status import LoginStatus, Status
from contact_activity.operations.told_times import stamp
from contact_activity.operations.verdict import verdict_of
from contact_activity.run.errors import UsageError
from contact_activity.settings import Environment, SettingsError, read_settings

# How often the status is looked at: each look at a stack scans its table.
WATCH_FOLDER_S, WATCH_STACK_S = 2, 15

_EPILOG = """\
--json prints {"observed_at": ..., "systems": [...]}; later releases only add keys. Of each system:
  verdict       word (OK, LATE, PAUSED, QUOTA, FAILING), because, and next: a command, or ""
  name          the stack's, or "account" and "simulated" in a state folder
  contacts      known; due (in a message or not); waiting (in a message); failing; gone; never_synced;
                activities of v3 that wait for their mailing's report: asking, owed (for more than a day, or
                all of them while a right is missing)
  lag_s         median, p95, oldest: seconds that due contacts have been due; null if none is
  since_sync_s  median, p95, oldest: seconds since contacts were last read; null if none was
  quota         used and limit: calls of the UTC day, as this system counts them; until: when there are
                some again at the latest, null while there are; asked_again: if the API alone says so
  cadence       tick_s: from tick to tick; sweep_s: between two turns of a contact; late_after_s: who is due
                for longer is late (is_late); idle_s: since anything was read or tried (null: never); is_idle:
                for longer than from tick to tick
  pauses        reason (quota, credential, operator) and until (null: until it is lifted)
  messages      waiting, dead_letters, failed_ticks; null for a state folder
  clock         contacts with times that only a clock that was ahead can have set: due, read, failed
  listing       pages_today: pages of the contact list read on the UTC day; waits: its share is used up
  campaign_reports  mode: off, probation or publish, of the least trusted type that was compared so far
                (v2: probation also while CAMPAIGN_REPORTS is off; v3: publish), or refused: the API
                lists no campaigns; modes by type; watched, due, failing: numbers of reports;
                calls_today: planned for them; owing: reports that activity of v3 waits for, and that fail
  missing_right kind (scope or privilege) and name of what the credential of v3 lacks; null if nothing
  login         of v3, what is stored of it: account; renewed_at: when the access token was asked for;
                is_renewed: by a refresh token, which the provider takes no more if is_dead; ends_at: of one
                that is not; fault: why the stored tokens cannot be read, or ""; null under v2
  published     events by day (UTC, today and yesterday) and detail type
  freshness_s   by day: p50 and p95 of the seconds from an activity to its event (no backfill), or null
  failing_by_cause  number of failing contacts by the error of their last try
  tick_failure  error and at: why and when the last tick failed; null if it did not

LATE: a contact has been due for longer than it takes until each has its turn; or from tick to tick (and 12
minutes for the queue), as soon as nothing is read any more. A folder whose run ends by itself is expected
to be read once a day.

--watch shows it anew every 2 seconds, that of a stack every 15, since each look scans its table. A terminal
shows the last look alone, anything else gets one after the other. A look that fails is told in a line, and
the next one comes. Ctrl-C ends it, with exit status 0.

A run may use the folder meanwhile. AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and the like say where a
stack is. Reading it takes cloudformation:DescribeStacks, sqs:GetQueueAttributes and dynamodb:Scan,
Query, GetItem and BatchGetItem.
"""


def add_status(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="show what is known, due, late, paused and used up, and change nothing",
        description="Show what is known, due, late, paused and used up, and change nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(status)
    how = status.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document, for scripts")
    how.add_argument("--watch", action="store_true", help="show it again and again, until Ctrl-C")
    status.set_defaults(command=_status, only_shows=True)


class _Output(Console):
    """Standard output whose reader may leave, which Rich makes a failure without a word."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _status(arguments: argparse.Namespace, environment: Environment, _: Console) -> int:
    if arguments.watch:
        return _watch(arguments, environment)
    statuses = _read(arguments, environment)
    if arguments.json:
        print(json.dumps(to_json(statuses, now_ms(), pasted_place(arguments))))  # noqa: T201
        return EXIT_DONE
    _print(_console(), statuses, pasted_place(arguments))
    return EXIT_DONE


def _watch(arguments: argparse.Namespace, environment: Environment) -> int:
    """Print the status until somebody interrupts it. A look that fails is told, and the next one comes.

    Raises `SettingsError` and `UsageError`: what was given does not change meanwhile.
    """
    console, place = _console(), pasted_place(arguments)
    try:
        while True:
            _look(console, arguments, environment, place)
            time.sleep(WATCH_STACK_S if arguments.stack else WATCH_FOLDER_S)
    except KeyboardInterrupt:
        return EXIT_DONE


def _look(console: Console, arguments: argparse.Namespace, environment: Environment, place: str) -> None:
    """Print the status once, or in a line why it cannot be read. A terminal shows the last look alone."""
    failure, statuses = "", []
    try:
        statuses = _read(arguments, environment)
    except (SettingsError, UsageError):
        raise
    except Exception as error:
        if arguments.debug and not is_foreseen(error):
            raise
        failure = " ".join(failure_line(error, arguments.stack).split())
    if console.is_interactive:
        console.clear()
    console.print(stamp(now_ms()) + (f"  cannot be read: {failure}" if failure else ""))
    _print(console, statuses, place)
    if not console.is_interactive:
        console.print()
    sys.stdout.flush()


def _console() -> Console:
    return _Output(
        force_interactive=drawn_on(sys.stdout), highlight=False, soft_wrap=True, markup=False, emoji=False
    )


def _print(console: Console, statuses: Sequence[Status], place: str) -> None:
    from contact_activity.cli.status_table import print_status

    for status in statuses:
        print_status(console, status, place)


def _read(arguments: argparse.Namespace, environment: Environment) -> list[Status]:
    if arguments.stack:
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.operations.stack_status import stack_status

        return [stack_status(arguments.stack)]
    from contact_activity.operations.read_status import folder_status

    settings = read_settings(environment)
    calls_each = settings.reading.calls_each
    return folder_status(Path(arguments.state), settings.limits, calls_each)


def to_json(statuses: Sequence[Status], at_ms: int, place: str = "") -> dict[str, object]:
    """Return the document that `--json` prints. Later releases only add keys."""
    systems = [
        _facts(status)
        | {"verdict": _verdict(status, place)}
        | {"pauses": [_pause(pause) for pause in status.pauses]}
        | {"published": {count.day: dict(count.events) for count in status.published}}
        | {
            "freshness_s": {
                count.day: count.freshness and asdict(count.freshness) for count in status.published
            }
        }
        | {"missing_right": _right(status.missing_right)}
        | {"failing_by_cause": dict(status.failing_by_cause), "tick_failure": _failure(status.tick_failure)}
        for status in statuses
    ]
    return {"observed_at": iso(at_ms), "systems": systems}


def _facts(status: Status) -> dict[str, object]:
    facts = {name: value for name, value in asdict(status).items() if name not in ("at_ms", "is_running")}
    quota = status.quota
    until = {"until": _iso(quota.ends_ms), "asked_again": _iso(quota.asks_ms)}
    return facts | {
        "quota": {"used": quota.used, "limit": quota.limit} | until,
        "login": status.login and _login(status.login),
    }


def _login(login: LoginStatus) -> dict[str, object]:
    return {
        "account": login.account,
        "renewed_at": _iso(login.renewed_ms),
        "ends_at": _iso(login.ends_ms),
        "is_renewed": login.is_renewed,
        "is_dead": login.is_dead,
        "fault": login.fault,
    }


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)


def _verdict(status: Status, place: str) -> dict[str, str]:
    verdict = verdict_of(status)
    command = command_line(verdict.next, place, status.name)
    return {"word": verdict.word.value, "because": verdict.because, "next": command}


def _pause(pause: Pause) -> dict[str, str | None]:
    return {
        "reason": pause.reason.value,
        "until": _iso(pause.until_ms),
    }


def _right(right: Right | None) -> dict[str, str] | None:
    return None if right is None else {"kind": right.kind, "name": right.value}


def _failure(failure: TickFailure | None) -> dict[str, str] | None:
    return None if failure is None else {"error": failure.error, "at": iso(failure.at_ms)}
