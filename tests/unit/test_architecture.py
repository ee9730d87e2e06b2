"""The layers, checked by what each module imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shared" / "contact_activity"
# What each may import of this package, by folder or by module beside the folders.
MAY_IMPORT = {
    "domain": {"domain"},
    "errors": set(),
    "clock": set(),
    "settings": {"domain"},
    "ports": {"domain"},
    "use_cases": {"use_cases", "domain", "ports", "errors"},
    "state": {"state", "domain", "ports", "errors"},
    "constant_contact": {"constant_contact", "domain", "ports", "errors", "settings"},
    "aws": {"aws", "state", "domain", "ports", "errors", "settings"},
    "sqlite": {"sqlite", "state", "domain", "ports", "errors"},
}
LEFT_OUT_OF_THE_LAYER = {"__main__", "sqlite", "run", "local_cloud", "simulated", "operations", "cli"}
# Beside all of the domain.
PURE = {
    *("constant_contact.fields", "constant_contact.v2_pages", "constant_contact.v2_rows"),
    *("constant_contact.v2_summaries", "constant_contact.token_answers", "example_subscriber.timeline"),
}
# What makes a module depend on when, where or how often it runs.
IMPURE = {
    "time",
    "random",
    "os",
    "logging",
    "threading",
    "socket",
    "sqlite3",
    "secrets",
    "uuid",
    "subprocess",
}
OUTSIDE = {"boto3", "botocore", "sqlite3", "requests", "urllib3"}
AWS = {"boto3", "botocore"}
MAY_IMPORT_OUTSIDE = {
    "aws": AWS,
    "example_subscriber": AWS,
    "operations": AWS,
    "local_cloud": AWS,
    "sqlite": {"sqlite3"},
    "constant_contact": {"requests", "urllib3"},
}
# The last two hand it on to the processes that they start; the example of a subscriber wires itself.
READS_ENVIRONMENT = {
    *("entrypoints.wiring", "example_subscriber.subscriber", "cli.main"),
    *("local_cloud.emulator", "local_cloud.layer"),
}
HANDLER_LINES_MAX = 30


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PURE_MODULES = sorted(PURE | {name for name in MODULES if name.startswith("domain.")})
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))
PYTHON = [*MODULES.values(), *HANDLERS, *sorted((ROOT / "tests").rglob("*.py"))]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports, wherever in it: modules, and names that may be modules."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def folder_of(name: str) -> str:
    return name.partition(".")[0]


def own_imports_of(path: Path) -> Iterator[str]:
    """Names of this package's modules that a file imports."""
    for name in imports_of(path):
        own = name.removeprefix("contact_activity.")
        if own != name and own in MODULES:
            yield own


def test_the_modules_that_the_rules_name_exist() -> None:
    """A rule about a module that was renamed would hold for nothing."""
    folders = {folder_of(name) for name in MODULES}
    assert MAY_IMPORT.keys() | MAY_IMPORT_OUTSIDE.keys() | LEFT_OUT_OF_THE_LAYER <= folders
    assert set(MODULES) >= PURE | READS_ENVIRONMENT
    assert len(HANDLERS) >= 3


@pytest.mark.parametrize("name", PURE_MODULES)
def test_what_is_pure_imports_only_the_standard_library_and_what_is_pure(name: str) -> None:
    """And of the standard library nothing that reads a clock, chance or the environment."""
    assert roots_of(MODULES[name]) - {"contact_activity"} <= sys.stdlib_module_names - IMPURE
    assert {own for own in own_imports_of(MODULES[name]) if "." in own} <= set(PURE_MODULES)


@pytest.mark.parametrize("name", PURE_MODULES)
def test_what_is_pure_asks_no_clock(name: str) -> None:
    """Nothing in it calls `now`, `utcnow` or `today`."""
    called = {node.attr for node in ast.walk(tree_of(MODULES[name])) if isinstance(node, ast.Attribute)}
    assert called.isdisjoint({"now", "utcnow", "today"})


@pytest.mark.parametrize("name", sorted(name for name in MODULES if folder_of(name) in MAY_IMPORT))
def test_a_module_imports_only_what_lies_further_in(name: str) -> None:
    """The rules know nothing of the use cases, and these reach the world through protocols."""
    folders = {folder_of(own) for own in own_imports_of(MODULES[name])}
    assert folders <= MAY_IMPORT[folder_of(name)]


@pytest.mark.parametrize(
    "name", sorted(name for name in MODULES if folder_of(name) in {"use_cases", "ports", "errors"})
)
def test_the_use_cases_and_the_ports_import_of_others_only_the_standard_library(name: str) -> None:
    """And of it nothing that reads a clock, chance or the environment."""
    assert roots_of(MODULES[name]) - {"contact_activity"} <= sys.stdlib_module_names - IMPURE


@pytest.mark.parametrize("name", sorted(MODULES))
def test_clients_of_the_outside_world_are_imported_by_adapters_only(name: str) -> None:
    """boto3, botocore, sqlite3, requests and urllib3; what works on a stack may use boto3."""
    assert roots_of(MODULES[name]) & OUTSIDE <= MAY_IMPORT_OUTSIDE.get(folder_of(name), set())


@pytest.mark.parametrize(
    "name", sorted(name for name in MODULES if folder_of(name) not in LEFT_OUT_OF_THE_LAYER)
)
def test_what_the_layer_ships_imports_nothing_that_it_leaves_out(name: str) -> None:
    """The command line and the local engines stay out of Lambda, and so does what only they need."""
    assert {folder_of(own) for own in own_imports_of(MODULES[name])}.isdisjoint(LEFT_OUT_OF_THE_LAYER)
    assert roots_of(MODULES[name]).isdisjoint({"rich", "argparse", "ministack", "moto"})


@pytest.mark.parametrize(
    "path",
    [*(path for name, path in MODULES.items() if name not in READS_ENVIRONMENT), *HANDLERS],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_the_wiring_and_the_command_line_read_the_environment(path: Path) -> None:
    """`os.environ` and `os.getenv` are in no other module, but where it is handed on to a new process."""
    named = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert named.isdisjoint({"environ", "getenv"})
    assert imports_of(path).isdisjoint({"os.environ", "os.getenv"})


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_only_wires(path: Path) -> None:
    """At most 30 lines, no branch, loop or `try`, and no client of its own."""
    branches = ast.If | ast.IfExp | ast.For | ast.While | ast.Try | ast.Match | ast.comprehension
    assert len(path.read_text(encoding="utf-8").splitlines()) <= HANDLER_LINES_MAX
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, branches)]
    assert roots_of(path).isdisjoint({"boto3", "botocore", "requests", "os"})


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_imports_only_names_that_never_change(path: Path) -> None:
    """Lambda replaces code and layer one after the other: for a moment one of them is the old one."""
    assert set(own_imports_of(path)) <= {"wiring", "telemetry", "subscriber"}


def test_nothing_is_mocked() -> None:
    """Fakes stand on the far side of a port or of the wire."""
    libraries = {"unittest", "mock"}
    # To parse all that there is takes two seconds of CPU, and few files name one of them.
    named = [path for path in PYTHON if any(name in path.read_text(encoding="utf-8") for name in libraries)]
    assert not [path for path in named if libraries & roots_of(path)]


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_category_of_tests_imports_no_other(path: Path) -> None:
    """What two of them need is in `tests/support`, which imports none of them."""
    category = path.relative_to(ROOT / "tests").parts[0]
    from_tests = {name.split(".")[1] for name in imports_of(path) if name.startswith("tests.")}
    assert from_tests <= {category, "support"}
    assert "tests" not in imports_of(path)
