"""The layers, checked by what each module imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shared" / "contact_activity"
CORE = {
    *("activity", "addresses", "freshness", "paging", "summary"),
    *("watermark", "planning", "rate_limit", "timeline"),
}
USE_CASES = {
    *("ports", "failures", "sync", "summaries", "campaigns", "dispatch", "work", "working"),
    *("held_contact", "pausing", "read_history", "summarize_contact"),
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
CLOUD_SIDE = {
    "local.emulator",
    "local.stack",
    "local.cloud",
    "local.emulator_main",
    "local.stack_status",
    "local.lifecycle",
}
# The last two hand it on to the processes that they start; the example of a subscriber wires itself.
READS_ENVIRONMENT = {"wiring", "subscriber", "cli", "local.emulator", "local.stack"}
HANDLER_LINES_MAX = 30


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
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


def own_imports_of(path: Path) -> Iterator[str]:
    """Names of this package's modules that a file imports."""
    for name in imports_of(path):
        own = name.removeprefix("contact_activity.")
        if own != name and own in MODULES:
            yield own


def test_the_modules_that_the_rules_name_exist() -> None:
    """A rule about a module that was renamed would hold for nothing."""
    assert CORE | USE_CASES | {"wiring", "cli", "settings", "telemetry"} <= set(MODULES)
    assert len(HANDLERS) >= 3


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_imports_only_the_standard_library_and_itself(name: str) -> None:
    """And of the standard library nothing that reads a clock, chance or the environment."""
    roots = roots_of(MODULES[name]) - {"contact_activity"}
    assert roots <= sys.stdlib_module_names - IMPURE
    assert set(own_imports_of(MODULES[name])) <= CORE


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_asks_no_clock(name: str) -> None:
    """Nothing in it calls `now`, `utcnow` or `today`."""
    called = {node.attr for node in ast.walk(tree_of(MODULES[name])) if isinstance(node, ast.Attribute)}
    assert called.isdisjoint({"now", "utcnow", "today"})


@pytest.mark.parametrize("name", sorted(USE_CASES))
def test_the_use_cases_import_only_the_core_and_the_ports(name: str) -> None:
    """They reach the world through protocols."""
    assert roots_of(MODULES[name]) - {"contact_activity"} <= sys.stdlib_module_names - IMPURE
    assert set(own_imports_of(MODULES[name])) <= CORE | USE_CASES


@pytest.mark.parametrize("name", sorted(MODULES))
def test_clients_of_the_outside_world_are_imported_by_adapters_only(name: str) -> None:
    """boto3, botocore, sqlite3, requests and urllib3; the launcher of the local cloud may use boto3."""
    allowed = OUTSIDE if name.startswith("adapters.") else set()
    if name in CLOUD_SIDE:
        allowed = {"boto3", "botocore"}
    assert roots_of(MODULES[name]) & OUTSIDE <= allowed


@pytest.mark.parametrize("name", sorted(name for name in MODULES if not name.startswith(("local", "cli"))))
def test_what_the_layer_ships_imports_nothing_that_it_leaves_out(name: str) -> None:
    """The command line and the local engines stay out of Lambda, and so does what only they need."""
    assert not [own for own in own_imports_of(MODULES[name]) if own == "cli" or own.startswith("local")]
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


def test_nothing_is_mocked() -> None:
    """Fakes stand on the far side of a port or of the wire."""
    assert not [path for path in PYTHON if "unittest" in roots_of(path) or "mock" in roots_of(path)]


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_category_of_tests_imports_no_other(path: Path) -> None:
    """What two of them need is in `tests/support`, which imports none of them."""
    category = path.relative_to(ROOT / "tests").parts[0]
    from_tests = {name.split(".")[1] for name in imports_of(path) if name.startswith("tests.")}
    assert from_tests <= {category, "support"}
    assert "tests" not in imports_of(path)
