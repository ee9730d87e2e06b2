"""`contact-activity explain`: says why the events of a contact or a campaign are late, the cause first.

Changes nothing, and makes no call to Constant Contact, but for `--email`.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from rich.console import Console

from contact_activity.cli.arguments import (
    Commands,
    add_place,
    command_line,
    now_ms,
    pasted_place,
    print_line,
)
from contact_activity.cli.contact_choice import EMAIL_EPILOG, add_contact_choice, chosen_contact
from contact_activity.cli.event_line import printable
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.cli.explain_campaign import campaign_json, campaign_lines, next_lines
from contact_activity.cli.narrow import print_broken
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.campaign_report import ReportId
from contact_activity.domain.counted import counted
from contact_activity.domain.times import iso, parse_time
from contact_activity.errors import StandstillError
from contact_activity.operations.campaign_explanation import CampaignFacts
from contact_activity.operations.explain import folder_explanations
from contact_activity.operations.explain_campaign import folder_campaigns
from contact_activity.operations.explanation import CauseKind, Explanation
from contact_activity.operations.recent_events import SEARCHED_BYTES, RecentEvent, RecentEvents, recent_events
from contact_activity.operations.told_times import when, when_of_several
from contact_activity.run.given_account import given_account
from contact_activity.run.program import program
from contact_activity.run.state_folder import EVENTS_FILES
from contact_activity.settings import Environment, SettingsError, read_settings

_EPILOG = """\
--json prints {"observed_at": ..., "systems": [...]}; later releases only add keys. Of each system that
knows the contact:
  name, contact the system ("account", "simulated" or the stack's) and the contact's id
  causes        the most decisive first: kind, text, until (null: not known), remedy and command (both may
                be ""). Kinds: forgotten, paused, gone, missing_right, failing, put_off, tick_failed,
                quota_used_up, resync, being_read, waiting_turn, waiting_report, summary_owed, left_out,
                nothing_wrong
  last_read_at, due_at  null if it was never read, or was erased
  failures, times_gone, due_before, asking, owed  numbers
  remembered    activities that are remembered one by one
  known         by report: through (the newest activity) and floor (older ones are not asked for again)
events, beside systems: of the folder's events.jsonl, null without such a file:
  events        the last of the contact, at most 5: detail_type, occurred_at, observed_at
  broken        lines that name the contact and are no event
  is_whole      false if fewer are in the last 64 MiB of the file, and what is before was not read
events_error: why that file cannot be read, or null
With --campaign each system has name, campaign, causes (kind, text), next (a command, or ""), sent_at,
mailings and, by report, reports: mode, read_at, due_at, rows, failures and last_error. Kinds: paused,
missing_right, tick_failed, quota_used_up, list_refused, reports_off, left_out, not_watched,
no_longer_watched, failing, being_read, due, on_probation, nothing_wrong

REPORTS, START_DATE and CAMPAIGN_REPORTS of a folder are those of this shell. A run may use it meanwhile.
AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and the like say where a stack is. Reading it takes
cloudformation:DescribeStacks and dynamodb:GetItem, BatchGetItem and Scan.
The exit status is 1 if no system knows the contact.
"""


def add_explain(commands: Commands) -> None:
    parser = commands.add_parser(
        "explain",
        help="say why the events of a contact or a campaign are late, and change nothing",
        description="Say why the events of a contact or a campaign are late, and change nothing.",
        epilog=_EPILOG + EMAIL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    add_contact_choice(what, "CONTACT")
    what.add_argument(
        "--campaign", metavar="ID", type=_campaign_id, help="a campaign, or a mailing (v3), in its place"
    )
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document, for scripts")
    parser.set_defaults(command=_explain, only_shows=True)


def _campaign_id(text: str) -> str:
    if not text or not all(ReportId(text, type_).is_usable for type_ in ActivityType):
        raise argparse.ArgumentTypeError("give a campaign's id as Constant Contact has it")
    return text


def _explain(arguments: argparse.Namespace, environment: Environment, _: Console) -> int:
    if arguments.campaign:
        return _explain_campaign(arguments, environment)
    contact_id = chosen_contact(arguments, environment, "explain")
    explanations, found = _read(arguments, environment, contact_id), _events(arguments, contact_id)
    place = pasted_place(arguments)
    if arguments.json:
        print_line(json.dumps(_to_json(explanations, found, place)))
        return EXIT_DONE
    for explanation in explanations:
        _print_lines(_lines(explanation, place))
    _print_lines(_event_lines(found, f"tail --contact {contact_id} --no-follow{place}"))
    return EXIT_DONE


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print_broken(printable(line))


def _explain_campaign(arguments: argparse.Namespace, environment: Environment) -> int:
    found = _campaigns(arguments, environment)
    if arguments.json:
        systems = [campaign_json(facts, pasted_place(arguments)) for facts in found]
        print_line(json.dumps({"observed_at": iso(now_ms()), "systems": systems}))
        return EXIT_DONE
    for facts in found:
        _print_lines(campaign_lines(facts, pasted_place(arguments)))
    return EXIT_DONE


def _campaigns(arguments: argparse.Namespace, environment: Environment) -> list[CampaignFacts]:
    if arguments.stack:
        from contact_activity.operations.explain_stack import stack_campaign

        return [stack_campaign(arguments.stack, arguments.campaign)]
    state_dir = Path(arguments.state)
    return folder_campaigns(
        state_dir,
        arguments.campaign,
        read_settings(environment),
        has_credentials=_has_credentials(environment, state_dir),
    )


def _has_credentials(environment: Environment, state_dir: Path) -> bool:
    """Whether a run with this environment would read the account, or say what is wrong."""
    try:
        return given_account(environment, state_dir) is not None
    except (SettingsError, StandstillError):
        return True


def _read(arguments: argparse.Namespace, environment: Environment, contact_id: str) -> list[Explanation]:
    if arguments.stack:
        # Imported only here, since boto3 takes as long as an embedded run takes to start.
        from contact_activity.operations.explain_stack import stack_explanation

        return [stack_explanation(arguments.stack, contact_id)]
    state_dir = Path(arguments.state)
    return folder_explanations(
        state_dir,
        contact_id,
        read_settings(environment),
        has_credentials=_has_credentials(environment, state_dir),
    )


@dataclass(frozen=True, slots=True)
class _Events:
    """What the folder's events file tells. `recent`: None without one; `error`: why it cannot be read."""

    recent: RecentEvents | None = None
    error: str | None = None


def _events(arguments: argparse.Namespace, contact_id: str) -> _Events:
    if arguments.stack:
        return _Events()
    try:
        return _Events(recent_events(Path(arguments.state) / EVENTS_FILES["embedded"], contact_id))
    except OSError as error:
        return _Events(error=error.strerror or type(error).__name__)


def _lines(explanation: Explanation, place: str) -> list[str]:
    facts, (first, *others) = explanation.facts, explanation.causes
    lines = [f"contact {facts.contact_id} in {facts.system}: {first.text}"]
    lines += [f"  also: {cause.text}" for cause in others]
    lines += _watermark_lines(explanation)
    if first.kind is CauseKind.FORGOTTEN:
        return lines
    return [*lines, *_next(explanation, place)]


def _next(explanation: Explanation, place: str) -> list[str]:
    """What to do about the first cause that something can be done about, its command on a line by itself."""
    wrong = takewhile(lambda cause: cause.kind is not CauseKind.NOTHING_WRONG, explanation.causes)
    for cause in wrong:
        if command := command_line(cause.command, place, explanation.facts.system):
            return next_lines(command, cause.remedy)
        if cause.remedy:
            return next_lines(cause.remedy)
    return next_lines(command_line("status", place))


def _watermark_lines(explanation: Explanation) -> list[str]:
    contact = explanation.facts.contact
    if contact is None:
        return []
    now_ms = explanation.facts.now_ms
    is_reported = contact.synced_ms is None and explanation.remembered > 0
    unread = "not yet, what is remembered came from campaigns' reports" if is_reported else "never"
    read = unread if contact.synced_ms is None else when_of_several(contact.synced_ms, now_ms)
    lines = [f"  last read: {read}; due: {when(contact.due_ms, now_ms)}"]
    if through := _by_report({of.report: of.through_ms for of in explanation.known}, now_ms):
        lines.append(f"  read through: {through}")
    floors = _by_report({of.report: of.floor_ms for of in explanation.known}, now_ms)
    below = f"what is older is not asked for again: {floors}" if floors else "nothing is forgotten"
    return [
        *lines,
        f"  remembers {counted(explanation.remembered, 'activity', 'activities')} one by one; {below}",
    ]


def _by_report(times_ms: Mapping[str, int | None], now_ms: int) -> str:
    """Return the times that there are, each with its report; "" if there is none."""
    told = [f"{report} {when_of_several(ms, now_ms)}" for report, ms in times_ms.items() if ms]
    return f"{', '.join(told)} UTC" if told else ""


def _event_lines(found: _Events, tail: str) -> list[str]:
    """`tail`: the command that shows all of them."""
    if found.error:
        return [f"  event: the events file cannot be read ({found.error})"]
    events = found.recent
    if events is None:
        return []
    lines = [_event_line(event) for event in events.events]
    if events.broken:
        broken = counted(
            events.broken,
            "broken line of the events file that names it",
            "broken lines of the events file that name it",
        )
        lines.append(f"  skipped {broken}")
    if not events.is_whole:
        part = f"the last {SEARCHED_BYTES >> 20} MiB of the events file"
        lines.append(f"  event: no more in {part}; all of it: {program()} {tail}")
    return lines or ["  event: none in the events file"]


def _event_line(event: RecentEvent) -> str:
    at_ms = now_ms()
    times_ms = [parse_time(text) for text in (event.occurred_at, event.observed_at)]
    happened, seen = (when_of_several(time_ms, at_ms) for time_ms in times_ms if time_ms is not None)
    return f"  event: {event.detail_type}, happened {happened}, seen {seen} UTC"


def _to_json(explanations: Sequence[Explanation], found: _Events, place: str) -> dict[str, object]:
    return {
        "observed_at": iso(now_ms()),
        "systems": [_system(explanation, place) for explanation in explanations],
        "events": None if found.recent is None else asdict(found.recent),
        "events_error": found.error,
    }


def _system(explanation: Explanation, place: str) -> dict[str, object]:
    facts = explanation.facts
    contact = facts.contact
    asks = contact.asks if contact else ()
    return {
        "name": facts.system,
        "contact": facts.contact_id,
        "causes": [
            {
                "kind": cause.kind.value,
                "text": cause.text,
                "until": _iso(cause.until_ms),
                "remedy": cause.remedy,
                "command": command_line(cause.command, place, facts.system),
            }
            for cause in explanation.causes
        ],
        "last_read_at": _iso(contact.synced_ms if contact else None),
        "due_at": _iso(contact.due_ms if contact else None),
        "failures": contact.failures if contact else 0,
        "times_gone": contact.times_gone if contact else 0,
        "due_before": facts.due_before,
        "asking": len(asks),
        "owed": sum(ask.is_owed for ask in asks),
        "remembered": explanation.remembered,
        "known": {
            of.report: {"through": _iso(of.through_ms), "floor": _iso(of.floor_ms)}
            for of in explanation.known
        },
    }


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso(time_ms)
