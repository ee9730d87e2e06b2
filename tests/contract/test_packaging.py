"""What is shipped to Lambda: nothing that is not needed, and all that is."""

import platform
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import boto3
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from contact_activity.local_cloud.emulator import PYTHON, EmulatorError
from contact_activity.local_cloud.layer import build_layer, host_variables
from contact_activity.local_cloud.template import REPOSITORY

SHARED = REPOSITORY / "shared"
FUNCTIONS = ("dispatcher", "worker", "subscriber")
LEFT_OUT = {"__main__.py", "sqlite", "run", "local_cloud", "simulated", "operations", "cli"}
# What every Python runtime of Lambda has.
OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py")
OF_THE_RUNTIME_BY_NAME = {"boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six"}
ZIP_LIMIT_BYTES = 5_000_000

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
layer, runtime, *handlers = sys.argv[1:]
sys.path += [layer, runtime]
import contact_activity
names = [module.name for module in pkgutil.walk_packages(contact_activity.__path__, "contact_activity.")]
for name in names:
    importlib.import_module(name)
for number, handler in enumerate(handlers):
    spec = importlib.util.spec_from_file_location(f"app_{number}", handler)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.handler)
import requests
assert requests.__file__.startswith(layer), requests.__file__
print(*names)
"""


def uv_variable() -> dict[str, str]:
    return {"UV": host_variables()["UV"]}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer as `sam build` makes it, for the Python and the processor of AWS."""
    out = tmp_path_factory.mktemp("layer")
    build_layer(out, source=SHARED, variables=uv_variable())
    return out / "python"


@pytest.fixture(scope="module")
def host_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same layer for the Python that runs the functions on this machine."""
    out = tmp_path_factory.mktemp("host-layer")
    build_layer(out, source=SHARED, variables=host_variables())
    return out / "python"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the Lambda runtime and no others."""
    folder = tmp_path_factory.mktemp("runtime")
    installed = Path(boto3.__file__).parents[1]
    for name in OF_THE_RUNTIME:
        (folder / name).symlink_to(installed / name)
    return folder


def files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def installed(layer: Path) -> dict[str, Distribution]:
    return {canonicalize_name(found.name): found for found in distributions(path=[str(layer)])}


def own_modules(folder: Path) -> list[Path]:
    return [path for path in files(folder) if path.suffix != ".pyc"]


def test_layer_ships_the_package_without_the_operators_tools(layer: Path) -> None:
    """The package is shipped whole, but for the command line, the local engines and their state file."""
    package = SHARED / "contact_activity"
    expected = [path for path in own_modules(package) if path.parts[0] not in LEFT_OUT]
    assert own_modules(layer / "contact_activity") == expected
    assert all((package / name).exists() for name in LEFT_OUT)


def test_layer_has_nothing_that_lambda_has_or_does_not_need(layer: Path) -> None:
    """No SDK, no byte code of another Python, no scripts with a path of this machine."""
    assert not {name.partition(".")[0] for name in OF_THE_RUNTIME} & {path.stem for path in layer.iterdir()}
    assert not [path for path in layer.rglob("*") if path.name == "__pycache__" or path.suffix == ".pyc"]
    assert not (layer / "bin").exists()
    assert {path.name for path in layer.parent.iterdir()} == {"python"}


def test_compiled_code_of_the_layer_is_for_the_functions(layer: Path) -> None:
    """Every compiled module is for Python 3.13 on arm64, whatever this machine is."""
    compiled = [path.name for path in files(layer) if path.suffix == ".so"]
    assert compiled
    assert all(name.endswith("cpython-313-aarch64-linux-gnu.so") for name in compiled)


def test_layer_is_small_enough_for_a_quick_cold_start(layer: Path, tmp_path: Path) -> None:
    """Zipped, the layer is under 5 MB."""
    archive = tmp_path / "layer.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files(layer):
            target.write(layer / path, str(path))
    assert archive.stat().st_size < ZIP_LIMIT_BYTES


def test_everybody_may_read_the_layer(layer: Path) -> None:
    """Lambda runs as another user, so no file depends on the builder's umask."""
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in layer.rglob("*"))


def test_layer_holds_the_locked_versions(layer: Path) -> None:
    """What is installed is what shared/requirements.txt pins, each once."""
    lines = (SHARED / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split()[0].split("==") for line in lines if line[:1].isalpha())
    assert {name: found.version for name, found in installed(layer).items()} == pinned


def test_layer_lacks_nothing_but_what_the_runtime_has(layer: Path) -> None:
    """Every package that one in the layer or the project asks for is there, or is the runtime's."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {
        needed
        for found in installed(layer).values()
        for needed in needed_names(found.requires or [], python="3.13")
    } | needed_names(project["dependency-groups"]["layer"], python="3.13")
    assert asked - set(installed(layer)) <= OF_THE_RUNTIME_BY_NAME


def needed_names(requirements: Iterable[str], *, python: str) -> set[str]:
    environment = {"extra": "", "python_version": python, "platform_machine": "aarch64"}
    parsed = [Requirement(text) for text in requirements]
    return {
        canonicalize_name(needed.name)
        for needed in parsed
        if needed.marker is None or needed.marker.evaluate(environment)
    }


def test_functions_run_with_the_layer_and_the_runtime_alone(host_layer: Path, runtime: Path) -> None:
    """Every shipped module and each handler imports with nothing else on the path, and without settings."""
    handlers = [str(REPOSITORY / "functions" / function / "app.py") for function in FUNCTIONS]
    environment = {"POWERTOOLS_SERVICE_NAME": "contact-activity", "POWERTOOLS_TRACE_DISABLED": "true"}
    command = [str(PYTHON), "-I", "-S", "-B", "-c", IMPORT_ALL, str(host_layer), str(runtime), *handlers]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert {"contact_activity.use_cases.sync_contact", "contact_activity.entrypoints.wiring"} <= set(
        ended.stdout.split()
    )


def test_layer_can_be_built_for_this_machine(host_layer: Path) -> None:
    """With the variables of the emulator's Python the compiled modules are this machine's."""
    compiled = [path.name for path in files(host_layer) if path.suffix == ".so"]
    assert all(platform.machine() in name or platform.system() == "Darwin" for name in compiled)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_is_one_file(function: str, tmp_path: Path) -> None:
    """A function's folder holds its handler only, and that is what is shipped."""
    folder = REPOSITORY / "functions" / function
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"app.py"}
    assert {path.name for path in folder.parent.iterdir()} == {*FUNCTIONS, "README.md"}
    target = f"build-{function.capitalize()}"
    subprocess.run(
        ["make", "--silent", "--makefile", SHARED / "Makefile", target, f"ARTIFACTS_DIR={tmp_path}"],
        cwd=folder,
        check=True,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_layer_is_not_built_from_what_is_not_locked(tmp_path: Path) -> None:
    """A requirement without a version and a digest stops the build with one line that says so."""
    source = tmp_path / "shared"
    source.mkdir()
    (source / "Makefile").symlink_to(SHARED / "Makefile")
    (source / "contact_activity").symlink_to(SHARED / "contact_activity")
    (source / "requirements.txt").write_text("requests\n", encoding="utf-8")
    with pytest.raises(EmulatorError, match="the layer cannot be built") as caught:
        build_layer(tmp_path / "out", source=source, variables=uv_variable())
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_the_command_line_is_installed_with_all_that_it_needs(tmp_path: Path) -> None:
    """As `uv tool install` and `pipx install` do it: away from the checkout it runs, and says what it is."""
    uv, python = uv_variable()["UV"], tmp_path / "venv" / "bin" / "python"
    source = tmp_path / "source"
    shutil.copytree(SHARED / "contact_activity", source / "shared" / "contact_activity")
    shutil.copy(REPOSITORY / "pyproject.toml", source)
    shutil.copy(REPOSITORY / "LICENSE", source)
    made = [uv, "venv", str(tmp_path / "venv")]
    for command in (made, [uv, "pip", "install", "--python", str(python), str(source)]):
        subprocess.run(command, check=True, capture_output=True)

    def said(*arguments: str, status: int = 0) -> str:
        ended = subprocess.run(
            [python.parent / "contact-activity", *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    assert said("--version").startswith("contact-activity ")
    assert "to begin with" in said()
    assert '"detail-type": "Email Link Clicked"' in said("event", "sample", "clicked")
    said("run", "--state", "state")
    assert (tmp_path / "state" / "events.jsonl").stat().st_size
    assert "checkout" in said("run", "--engine", "cloud", status=2)
    # What works on a stack is there, too.
    assert "AWS_REGION" in said("status", "--stack", "mine", status=1)
