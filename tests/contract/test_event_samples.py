"""`contact-activity event sample`: what it prints is what events/ shows."""

import json
from pathlib import Path

import pytest

import contact_activity.cli
from contact_activity.domain.activity import ActivityType
from contact_activity.domain.summary import SummaryKind
from tests.support.command_line import run_command

SAMPLES = Path(__file__).parents[2] / "events" / "samples"
PACKAGED = Path(contact_activity.cli.__file__).with_name("samples")
FILES = {type_.past_tense: f"email.{type_.past_tense}.v1.json" for type_ in ActivityType} | {
    f"{kind.subject}.summarized": f"{kind.subject}.summarized.v1.json" for kind in SummaryKind
}


def test_the_packaged_samples_are_the_published_ones() -> None:
    """File by file, byte by byte."""
    packaged = {path.name: path.read_bytes() for path in PACKAGED.glob("*.json")}
    assert packaged == {path.name: path.read_bytes() for path in SAMPLES.iterdir()}


@pytest.mark.parametrize("name", FILES)
def test_an_event_is_printed_whole(name: str) -> None:
    """On standard output alone, so that it can be piped."""
    ended = run_command("event", "sample", name)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (SAMPLES / FILES[name]).read_text(encoding="utf-8")


def test_an_event_is_printed_as_put_events_takes_it() -> None:
    """One entry for the bus that is named, with `detail` as a string."""
    ended = run_command("event", "sample", "bounced", "--put-events", "--bus", "mine")
    (entry,) = json.loads(ended.stdout)
    event = json.loads((SAMPLES / FILES["bounced"]).read_text(encoding="utf-8"))
    assert json.loads(entry.pop("Detail")) == event["detail"]
    assert entry == {
        "EventBusName": "mine",
        "Source": "contact-activity",
        "DetailType": "Email Bounced",
    }


def test_without_a_type_the_types_are_listed() -> None:
    """One a line, each with its detail type."""
    listed = run_command("event", "sample").stdout.splitlines()
    kinds = [*ActivityType, *SummaryKind]
    assert [line.split(maxsplit=1) for line in listed] == [
        [name, kind.detail_type] for name, kind in zip(FILES, kinds, strict=True)
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sample", "cliked"], "there is no event cliked: did you mean clicked?"),
        (["sample", "Email Link Clicked"], "did you mean clicked?"),
        (["sample", "contact-activity.email.clicked.v1"], "did you mean clicked?"),
        (["sample", "--put-events"], "--put-events needs a TYPE"),
        (["sample", "clicked", "--bus", "mine"], "--bus belongs to --put-events"),
        (["sample", "clicked", "--put-events", "--bus", ""], "give a bus's name or its ARN"),
        (["sample", "clicked", "--put-events", "--bus", "a b"], "give a bus's name or its ARN"),
        (["sample", "4711"], "there is no event 4711: `contact-activity event sample` lists the types"),
        (["sample", "--put-evnts"], "did you mean --put-events? (see contact-activity event sample --help)"),
        (["smaple"], "there is no command smaple: did you mean sample?"),
    ],
)
def test_an_unknown_type_has_one_line(arguments: list[str], said: str) -> None:
    """It names the likeliest one, or where they are listed."""
    ended = run_command("event", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
