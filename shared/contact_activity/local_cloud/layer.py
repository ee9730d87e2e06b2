"""Builds the layer for the emulator, with the Makefile that builds the real one.

Only the platform and the Python version differ: they are those of the emulator's own Python.
`python -m contact_activity.local_cloud.layer` downloads the packages, so that no run needs the network.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from contact_activity.local_cloud.emulator import PYTHON, EmulatorError
from contact_activity.local_cloud.template import REPOSITORY

MAX_BUILD_S = 300.0


def build_layer(out_dir: Path, *, source: Path, variables: Mapping[str, str]) -> None:
    """Build the content of the layer into a folder. `variables` are passed to its Makefile.

    Raises `EmulatorError` with the reason if it cannot be built.
    """
    _make("build-SharedLayer", out_dir, source, variables)


def fetch_packages(source: Path, cache: Path) -> Path:
    """Return the folder of third-party packages for this machine. Only the first call uses the network."""
    variables = host_variables()
    lock = (source / "requirements.txt").read_bytes() + json.dumps(dict(variables)).encode()
    folder = cache / f"packages-{hashlib.sha256(lock).hexdigest()[:32]}"
    if not folder.exists():
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            _make("packages", Path(unfinished), source, variables)
            with contextlib.suppress(FileExistsError):
                (Path(unfinished) / "python").rename(folder)
    return folder


def host_variables() -> Mapping[str, str]:
    """Return the variables that make the layer fit the Python of the emulator."""
    configuration = (PYTHON.parents[1] / "pyvenv.cfg").read_text(encoding="utf-8")
    version = next(
        line.split("=")[1].strip() for line in configuration.splitlines() if line.startswith("version")
    )
    uv = REPOSITORY / ".venv" / "bin" / "uv"
    return {"PLATFORM": "", "PYVER": ".".join(version.split(".")[:2]), "UV": str(uv)}


def _make(target: str, out_dir: Path, source: Path, variables: Mapping[str, str]) -> None:
    command = [
        *("make", "--silent", "--directory", str(source), target, f"ARTIFACTS_DIR={out_dir}"),
        *(f"{name}={value}" for name, value in variables.items()),
    ]
    # Without the options of a `make` that may have started this process.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    try:
        subprocess.run(  # noqa: S603
            command, env=environment, check=True, capture_output=True, text=True, timeout=MAX_BUILD_S
        )
    except subprocess.CalledProcessError as error:
        raise EmulatorError(f"the layer cannot be built: {_first_error(error.stderr)}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulatorError(f"the layer cannot be built: {error}") from None


def _first_error(output: str) -> str:
    """Return the first line that is not from `make` itself."""
    lines = [line for line in output.strip().splitlines() if line.strip() and not line.startswith("make")]
    return lines[0].strip() if lines else "no message"


if __name__ == "__main__":
    fetch_packages(REPOSITORY / "shared", REPOSITORY / ".build")
