"""`contact-activity event sample`: an event of each kind, to try a subscriber with."""

import argparse
import json
import re
from pathlib import Path

from rich.console import Console

from contact_activity.cli.arguments import Commands, print_line
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.near_match import did_you_mean
from contact_activity.domain.summary import SummaryKind
from contact_activity.run.errors import UsageError
from contact_activity.run.program import program
from contact_activity.settings import Environment

_SAMPLE = """\
Prints an event as EventBridge delivers it, or as `put-events` takes it. Without TYPE it lists the types.
Each sample has the same detail.id every time: a subscriber that de-duplicates drops the second.

examples:
  contact-activity event sample clicked
  aws events put-events --entries "$(contact-activity event sample clicked --put-events)"
"""
_BUS = "contact-activity"
# Copies of events/samples/, since an installed command line has no checkout.
_FOLDER = Path(__file__).with_name("samples")
_KINDS: dict[str, ActivityType | SummaryKind] = {type_.past_tense: type_ for type_ in ActivityType} | {
    f"{kind.subject}.summarized": kind for kind in SummaryKind
}


def add_event(commands: Commands) -> None:
    event = commands.add_parser("event", help="show what events look like")
    actions = event.add_subparsers(metavar="COMMAND", required=True)
    sample = actions.add_parser(
        "sample",
        help="print an event to try a subscriber with",
        description=_SAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sample.add_argument("type", nargs="?", metavar="TYPE", help="what it tells of, such as clicked")
    sample.add_argument(
        "--put-events", action="store_true", help="print the --entries of `aws events put-events`"
    )
    sample.add_argument(
        "--bus",
        type=_bus,
        metavar="NAME",
        help=f"the bus that --put-events names, or its ARN (default {_BUS})",
    )
    sample.set_defaults(command=_sample, debug=False, only_shows=True)


def _bus(text: str) -> str:
    if not re.fullmatch(
        r"(arn:[a-z0-9-]+:events:[a-z0-9-]+:\d{12}:event-bus/)?[/.\-_A-Za-z0-9]{1,256}", text
    ):
        raise argparse.ArgumentTypeError("give a bus's name or its ARN, as the stack's output EventBusName")
    return text


def _sample(arguments: argparse.Namespace, _: Environment, __: Console) -> int:
    if arguments.bus and not arguments.put_events:
        raise UsageError("--bus belongs to --put-events: add that")
    if arguments.type is None and arguments.put_events:
        raise UsageError(f"--put-events needs a TYPE: `{program()} event sample` lists the types")
    if arguments.type is None:
        width = max(map(len, _KINDS))
        for name, kind in _KINDS.items():
            print_line(f"{name:{width}}  {kind.detail_type}")
        return EXIT_DONE
    text = _text_of(arguments.type)
    print_line(_entries(text, arguments.bus or _BUS) if arguments.put_events else text)
    return EXIT_DONE


def _text_of(name: str) -> str:
    kind = _KINDS.get(name)
    if kind is None:
        other_names = {of.detail_type: short for short, of in _KINDS.items()}
        other_names |= {of.event_type: short for short, of in _KINDS.items()}
        meant = did_you_mean(other_names.get(name, name), _KINDS)
        hint = meant or f"`{program()} event sample` lists the types"
        raise UsageError(f"there is no event {name}: {hint}")
    file = f"{kind.event_type.removeprefix('contact-activity.')}.json"
    return (_FOLDER / file).read_text(encoding="utf-8").rstrip("\n")


def _entries(text: str, bus: str) -> str:
    event = json.loads(text)
    entry = {
        "EventBusName": bus,
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"]),
    }
    return json.dumps([entry], indent=2)
