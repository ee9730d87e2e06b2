"""Numbers in words: one thing is never several."""

import re
from pathlib import Path

import pytest

from contact_activity.domain.counted import counted, times

PACKAGE = Path(__file__).parents[2] / "shared" / "contact_activity"
# What the command line prints, and the errors that it hands on.
TOLD = [
    *(path for room in ("cli", "operations", "run", "local_cloud") for path in (PACKAGE / room).glob("*.py")),
    *(PACKAGE / "constant_contact" / name for name in ("client.py", "tokens.py")),
    PACKAGE / "aws" / "bus.py",
]
NOUNS = (
    "contacts|events|calls|rows|reports|letters|lines|activities|summaries|mailings|campaigns|messages|failures"
    "|pages|tries|times|tokens|types|restarts|files"
)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 contacts"), (1, "1 contact"), (2, "2 contacts"), (1_234, "1,234 contacts")]
)
def test_a_number_says_what_it_counts(number: int, text: str) -> None:
    assert counted(number, "contact") == text


def test_several_may_have_words_of_their_own() -> None:
    assert [counted(number, "activity waits", "activities wait") for number in (1, 2)] == [
        "1 activity waits",
        "2 activities wait",
    ]


def test_how_often_something_was() -> None:
    assert [times(number) for number in (1, 2, 1_000)] == ["once", "2 times", "1,000 times"]


@pytest.mark.parametrize("path", TOLD, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_text_takes_one_for_several(path: Path) -> None:
    """A number before a plural goes through `counted`, but for a constant, and for one of several."""
    found = re.findall(rf"\{{[^{{}}]*\}} (?:\w+ )?(?:{NOUNS})\b(?!/)", path.read_text(encoding="utf-8"))
    wrong = [text for text in found if not re.match(r"\{(?:_?[A-Z_]+(?::,)?|would|word|others|mode)\}", text)]
    assert wrong == []
