"""What the pages say holds: their links, commands, settings and parameters exist. Nothing is said twice."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from contact_activity import settings
from contact_activity.cli.main import _parser

ROOT = Path(__file__).parents[2]
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "events/README.md",
        "functions/README.md",
        "shared/README.md",
        "tests/README.md",
    )
}
CODE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
SETTING = re.compile(r"`((?:CONSTANT_CONTACT|CALLS|CAMPAIGN)_[A-Z_]+)")

each_page = pytest.mark.parametrize("page", PAGES)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link is to a file or folder that exists, and to a heading in it."""
    links = LINK.findall(PAGES[page])
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def console_lines(text: str) -> Iterator[str]:
    """The commands of the console blocks of a page, without what is said of them."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            yield re.split(r"\s+#\s", line)[0].strip()


def words_of_commands(text: str) -> Iterator[list[str]]:
    """The words of each command in the console blocks of a page, one of a pipe or of `&&` by itself."""
    for line in console_lines(text):
        for command in re.split(r"\s(?:&&|\|)\s", line):
            yield shlex.split(command)


COMMANDS = sorted(
    {
        tuple(words[1:])
        for text in PAGES.values()
        for words in words_of_commands(text)
        if words[0].endswith("contact-activity") and words[1:]
    }
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_can_be_given(words: tuple[str, ...]) -> None:
    """Each command that a page shows is one that the command line takes."""
    assert _parser().parse_args(words).command


def test_the_first_page_shows_the_commands() -> None:
    """The commands above are those of the pages, and not none of them."""
    assert {words[0] for words in COMMANDS} >= {
        "run",
        "login",
        "check",
        "status",
        "pause",
        "resync",
        "forget",
    }


@each_page
def test_targets_of_make_exist(page: str) -> None:
    """`make` has each target that a page names, in a block or in a sentence."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for words in words_of_commands(PAGES[page]) if words[0] == "make" for word in words[1:2]}
    named |= set(re.findall(r"`make ([a-z]+)", PAGES[page]))
    assert named <= targets


class _TemplateLoader(yaml.SafeLoader):
    """Reads the short functions of CloudFormation as plain values."""


_TemplateLoader.add_multi_constructor("!", lambda *_: None)


@each_page
def test_parameters_are_those_of_the_template(page: str) -> None:
    """Each `PARAMETERS=` sets what the template has."""
    template = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), _TemplateLoader)  # noqa: S506
    given = re.findall(r'PARAMETERS="([^"]*)"', PAGES[page])
    names = {name for text in given for name in re.findall(r"(\w+)=", text)}
    assert names <= set(template["Parameters"])


def test_settings_are_those_that_are_read() -> None:
    """The table names each setting that is read, and no page names another."""
    table = PAGES["functions/README.md"].split("\n## Settings\n")[1].split("\n### ")[0]
    rows = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([A-Z_]+)`", row)
    }
    read = {setting.name for setting in settings.SETTINGS}
    assert rows == read
    for page, text in PAGES.items():
        assert set(SETTING.findall(text)) <= read, page


def test_the_first_page_is_short() -> None:
    """A stranger reads it in five minutes."""
    assert len(PAGES["README.md"].splitlines()) <= 160


def test_nothing_is_said_twice() -> None:
    """No line of prose and no row of a table stands on two pages, or twice on one."""
    lines = Counter(
        line.strip()
        for text in PAGES.values()
        for line in CODE.sub("", text).splitlines()
        if len(line.strip()) > 60 and not re.fullmatch(r"[|: -]+", line.strip())
    )
    assert [line for line, times in lines.items() if times > 1] == []


def test_the_calls_of_a_check_are_counted_alike() -> None:
    """In the operator's page and in the help."""
    said = "makes up to six calls, or some more where they fail"
    page, module = PAGES["functions/README.md"], (ROOT / "shared/contact_activity/cli/check.py").read_text()
    assert [said in " ".join(text.split()) for text in (page, module)] == [True, True]
